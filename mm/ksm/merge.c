// SPDX-License-Identifier: GPL-2.0
/*
 * What a merge does to page tables: freeze a page that is to be kept, replace a
 * page by an equal one, split a huge page. Each does all of it or nothing.
 *
 * A page is replaced under one hold of the PTL, for as long as its PTE is empty:
 * nobody can get at it then, so what it holds can be compared, and a PTE of the
 * other page be set, or exactly the old one again. Who wants to write meanwhile
 * waits at the PTL, for as long as it takes to compare one page; therefore it is
 * one PTE at a time. All of it is done without sleeping.
 *
 * Frozen means: mapped read-only, clean, not exclusive, and nobody holds a
 * reference by which it could be written. While its folio lock is held, too, a
 * write fault cannot take the page for its own, so the content stands still.
 * Should the merge fail for which it was frozen, the next write takes it back.
 *
 * Does not know how pages are found that may be equal.
 *
 * Floor 3: knows pages, nodes and counters.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/mmu_notifier.h>
#include <linux/prefetch.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "../internal.h"
#include "content.h"
#include "merge.h"
#include "node.h"
#include "page.h"
#include "state.h"

/**
 * ksm_merge_begin() - tell secondary MMUs that a page is about to change
 * @offer: the page
 * @range: filled in, for ksm_merge_end()
 *
 * A KVM guest maps the pfn itself; it must let go of it before the PTE does.
 * One bracket spans freezing and replacing, but one page only: each page in
 * it is zapped from the guest, merged or not.
 *
 * Context: Process context; may sleep. The caller holds the mmap lock and no
 *	    folio lock: notifiers rank above those.
 */
void ksm_merge_begin(struct ksm_offer *offer, struct mmu_notifier_range *range)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, 0, offer->vma->vm_mm,
				offer->addr, offer->addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(range);
}

/**
 * ksm_merge_end() - close what ksm_merge_begin() opened
 * @range: the bracket
 *
 * Context: Process context; may sleep. As for ksm_merge_begin().
 */
void ksm_merge_end(struct mmu_notifier_range *range)
{
	mmu_notifier_invalidate_range_end(range);
}

/*
 * Is our reference the only one besides those of mappings and swap cache? A
 * mapping that comes or goes between the two counts could hide a reference, so
 * the reference count must say the same before and after. (An unmap lowers the
 * map count first, a fork raises it last: reading it in between errs to the
 * safe side. Only a fork and an unmap that both fall between the three reads hide
 * a reference, of a page that both share; it is not pinned, or no fork could share it.)
 */
static bool nobody_else_holds(struct folio *folio)
{
	int expected, before, after;

	before = folio_ref_count(folio);
	smp_rmb();	/* pairs with the atomics of map and unmap: count before map count */
	expected = folio_mapcount(folio) + 1 + folio_test_swapcache(folio);
	smp_rmb();	/* the same: map count before count */
	after = folio_ref_count(folio);

	return before == expected && after == expected;
}

/**
 * ksm_merge_is_held() - would a merge fail because somebody uses the page?
 * @offer: the page
 *
 * Context: The caller holds a reference on the page's small folio. A hint: only
 *	    who has emptied the PTE knows.
 * Return: true if it would now.
 */
bool ksm_merge_is_held(const struct ksm_offer *offer)
{
	return !nobody_else_holds(page_folio(offer->page));
}

/* ------------------------------------------------------------------------ */
/* An empty PTE.                                                            */

/* The PTE of an offer, emptied: what was there, and the lock that is held. */
struct gap {
	pte_t		*ptep;
	pte_t		old;
	spinlock_t	*ptl;	/* of the page table */
};

/* Let @pte stand where the gap is. */
static void close_gap(const struct ksm_offer *offer, struct gap *gap, pte_t pte)
{
	set_pte_at(offer->vma->vm_mm, offer->addr, gap->ptep, pte);
	pte_unmap_unlock(gap->ptep, gap->ptl);
}

/*
 * Empty the PTE of the page, if nobody can get around that.
 *
 * It is cleared and flushed before anything is counted: after that, a lockless
 * pin either shows in the reference count or has seen the PTE change. It is
 * flushed even if it looks read-only already, for another CPU may have made it
 * so and not have flushed yet.
 */
static int open_gap(struct ksm_offer *offer, struct gap *gap)
{
	struct folio *folio = page_folio(offer->page);
	struct vm_area_struct *vma = offer->vma;
	pte_t old;

	mmap_assert_locked(vma->vm_mm);
	VM_WARN_ON_FOLIO(!folio_test_locked(folio) || folio_test_large(folio), folio);

	gap->ptep = ksm_page_map(vma->vm_mm, offer->addr, &gap->ptl);
	if (!gap->ptep)
		return -EAGAIN;
	old = ptep_get(gap->ptep);
	if (!pte_present(old) || pte_pfn(old) != page_to_pfn(offer->page)) {
		pte_unmap_unlock(gap->ptep, gap->ptl);
		return -EAGAIN;
	}

	flush_cache_page(vma, offer->addr, pte_pfn(old));
	gap->old = ptep_clear_flush(vma, offer->addr, gap->ptep);
	/* What is compared from now on must not come from another alias' cache. */
	flush_anon_page(vma, offer->page, offer->addr);
	flush_dcache_page(offer->page);
	if (nobody_else_holds(folio))
		return 0;
	close_gap(offer, gap, gap->old);
	return -EAGAIN;
}

/*
 * Take from the page what its PTE alone knew: that it is exclusive, and dirty.
 * False if it is pinned.
 */
static bool strip(struct ksm_offer *offer, const struct gap *gap)
{
	struct folio *folio = page_folio(offer->page);

	if (PageAnonExclusive(offer->page) &&
	    folio_try_share_anon_rmap_pte(folio, offer->page))
		return false;
	/* The page is dirty even if only this PTE knows: reclaim must not drop it. */
	if (pte_dirty(gap->old))
		folio_mark_dirty(folio);
	return true;
}

/* ------------------------------------------------------------------------ */
/* The page that is kept.                                                   */

/**
 * ksm_merge_freeze() - write-protect a page, if nobody can get around that
 * @offer: the page
 *
 * Context: Process context. The caller holds the mmap lock for read, the lock
 *	    of the page's small folio and one reference on it, and is inside a
 *	    bracket of ksm_merge_begin().
 * Return: 0; -EAGAIN when the page is not there any more, or in use: then its
 *	   PTE is what it was.
 */
int ksm_merge_freeze(struct ksm_offer *offer)
{
	struct gap gap;
	int err = open_gap(offer, &gap);

	if (err)
		return err;
	if (!strip(offer, &gap)) {
		close_gap(offer, &gap, gap.old);
		return -EAGAIN;
	}
	close_gap(offer, &gap, pte_mkclean(pte_wrprotect(gap.old)));
	return 0;
}

/* ------------------------------------------------------------------------ */
/* The page that gives way.                                                 */

/*
 * Empty the PTE of a page that gives way to @keep, if the two are equal. This
 * comparison is the one that decides.
 */
static int open_equal(struct ksm_offer *offer, struct page *keep, struct gap *gap)
{
	int err = open_gap(offer, gap);

	if (err)
		return err;
	if (!ksm_content_compare_ahead(offer->page, keep, offer->ahead) && strip(offer, gap))
		return 0;
	close_gap(offer, gap, gap->old);
	return -EAGAIN;
}

/* @pte, with what is to be kept of @old, in whose place it comes. */
static pte_t make_pte(pte_t pte, pte_t old)
{
	pte = pte_wrprotect(pte);
	/* What is recorded of the address outlives the page behind it. */
	pte = pte_soft_dirty(old) ? pte_mksoft_dirty(pte) : pte_clear_soft_dirty(pte);
	if (pte_uffd_wp(old))
		pte = pte_mkuffd_wp(pte);
	if (!pte_young(old))
		pte = pte_mkold(pte);
	return pte;
}

/* Let @pte stand where the page of @offer was mapped, which loses that mapping. */
static void fill_gap(struct ksm_offer *offer, struct gap *gap, pte_t pte)
{
	struct folio *folio = page_folio(offer->page);

	set_pte_at(offer->vma->vm_mm, offer->addr, gap->ptep, make_pte(pte, gap->old));

	folio_remove_rmap_pte(folio, offer->page, offer->vma);
	/* Nobody will fault it in from there any more. */
	if (!folio_mapped(folio))
		folio_free_swap(folio);
	folio_put(folio);
	pte_unmap_unlock(gap->ptep, gap->ptl);
}

/**
 * ksm_merge_join() - map a KSM page in place of a page, if the two are equal
 * @offer: the page; it loses the mapping, not the caller's reference
 * @item: the item of the mapping, in no tree; linked before the PTE stands
 * @node: the node of the KSM page
 * @keep: the KSM page
 *
 * Context: Process context. The caller holds the mmap lock for read, the locks
 *	    of both folios, one reference on @offer's small folio, and is inside
 *	    a bracket of ksm_merge_begin().
 * Return: 0; -EAGAIN when the page is not there any more, in use, or not equal:
 *	   then its PTE is what it was, and @item is not linked.
 */
int ksm_merge_join(struct ksm_offer *offer, struct ksm_item *item,
		   struct ksm_node *node, struct folio *keep)
{
	struct vm_area_struct *vma = offer->vma;
	struct page *page = &keep->page;
	struct gap gap;
	int err;

	VM_WARN_ON_FOLIO(!folio_test_locked(keep) || ksm_node_of(keep) != node, keep);

	/* The next thing that is written to, if they are equal; the list stands still. */
	prefetchw(node->items.first);
	err = open_equal(offer, page, &gap);
	if (err)
		return err;
	/*
	 * While it had a single mapping, MADV_FREE may have cleaned it, and
	 * reclaim would throw it away. Now others rely on it.
	 */
	if (!folio_test_swapcache(keep))
		folio_mark_dirty(keep);
	ksm_node_link(node, item, vma->anon_vma, linear_page_index(vma, offer->addr));
	folio_get(keep);
	folio_add_anon_rmap_pte(keep, page, vma, offer->addr, RMAP_NONE);
	fill_gap(offer, &gap, mk_pte(page, vma->vm_page_prot));
	/* Held until here: a migration that is past its count of mappings missed this one. */
	VM_WARN_ON_FOLIO(!folio_test_locked(keep), keep);
	return 0;
}

/**
 * ksm_merge_zero() - map the zero page in place of a page that is all zeros
 * @offer: the page; it loses the mapping, not the caller's reference
 *
 * The PTE is dirty, by which it is known as ours: see is_ksm_zero_pte().
 *
 * Context: As for ksm_merge_join(), but for the KSM page.
 * Return: 0; -EAGAIN when the page is not there any more, in use, or not all
 *	   zeros: then its PTE is what it was.
 */
int ksm_merge_zero(struct ksm_offer *offer)
{
	pte_t pte = pfn_pte(my_zero_pfn(offer->addr), offer->vma->vm_page_prot);
	struct mm_struct *mm = offer->vma->vm_mm;
	struct gap gap;
	int err;

	err = open_equal(offer, ZERO_PAGE(offer->addr), &gap);
	if (err)
		return err;
	/* The peak is known only to who lowers it. */
	update_hiwater_rss(mm);
	dec_mm_counter(mm, MM_ANONPAGES);
	ksm_state_count_zero(mm, 1);
	fill_gap(offer, &gap, pte_mkdirty(pte_mkspecial(pte)));
	return 0;
}

/* ------------------------------------------------------------------------ */

/**
 * ksm_merge_split() - make small pages of the large folio around a page
 * @page: the page
 *
 * Context: Process context; may sleep. The caller holds the one reference that
 *	    is not a mapping's; it is @page's alone afterwards.
 * Return: 0; -EAGAIN or another error when the folio stays large for now.
 */
int ksm_merge_split(struct page *page)
{
	struct folio *folio = page_folio(page);
	int err;

	if (!folio_trylock(folio))
		return -EAGAIN;
	err = folio_test_large(folio) ? split_huge_page(page) : 0;
	/* After a split the lock is that of @page's own folio. */
	folio_unlock(page_folio(page));
	return err;
}
