// SPDX-License-Identifier: GPL-2.0
/*
 * What a merge does to page tables: freeze a page, replace a page, split a huge
 * page. Each does all of it or nothing. A page that was frozen for a merge which
 * then fails stays so; the next write takes it back.
 *
 * Frozen means: mapped read-only, clean, not exclusive, and nobody holds a
 * reference by which it could be written. While its folio lock is held, too, a
 * write fault cannot take the page for its own, so the content stands still.
 *
 * Does not know what pages are equal, nor who keeps account of them.
 *
 * Floor 3: knows pages and counters.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "../internal.h"
#include "merge.h"
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
 * map count first, a fork raises it last: reading it in between errs, if at
 * all, to the safe side.)
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
 * ksm_merge_freeze() - write-protect a page, if nobody can get around that
 * @offer: the page; its @frozen is set
 *
 * The PTE is cleared and flushed before anything is counted: after that, a
 * lockless pin either shows in the reference count or has seen the PTE change.
 * It is flushed even if it looks read-only already, for another CPU may have
 * made it so and not have flushed yet.
 *
 * Context: Process context. The caller holds the mmap lock for read, the lock
 *	    of the page's small folio and one reference on it, and is inside a
 *	    bracket of ksm_merge_begin().
 * Return: 0; -EAGAIN when the page is not there any more, or in use.
 */
int ksm_merge_freeze(struct ksm_offer *offer)
{
	struct folio *folio = page_folio(offer->page);
	struct vm_area_struct *vma = offer->vma;
	struct mm_struct *mm = vma->vm_mm;
	pte_t *ptep, old, new;
	spinlock_t *ptl;	/* of the page table */
	int err = -EAGAIN;

	mmap_assert_locked(mm);
	VM_WARN_ON_FOLIO(!folio_test_locked(folio) || folio_test_large(folio), folio);

	ptep = ksm_page_map(mm, offer->addr, &ptl);
	if (!ptep)
		return -EAGAIN;
	old = ptep_get(ptep);
	if (!pte_present(old) || pte_pfn(old) != page_to_pfn(offer->page))
		goto unlock;

	flush_cache_page(vma, offer->addr, pte_pfn(old));
	old = ptep_clear_flush(vma, offer->addr, ptep);
	new = old;
	/* What is compared from now on must not come from another alias' cache. */
	flush_anon_page(vma, offer->page, offer->addr);
	flush_dcache_page(offer->page);
	if (!nobody_else_holds(folio))
		goto restore;
	if (PageAnonExclusive(offer->page) &&
	    folio_try_share_anon_rmap_pte(folio, offer->page))
		goto restore;

	/* The page is dirty even if only this PTE knows: reclaim must not drop it. */
	if (pte_dirty(old))
		folio_mark_dirty(folio);
	new = pte_mkclean(pte_wrprotect(old));
	err = 0;
restore:
	set_pte_at(mm, offer->addr, ptep, new);
	/* As it stands: some architectures keep bits of their own in it. */
	offer->frozen = ptep_get(ptep);
unlock:
	pte_unmap_unlock(ptep, ptl);
	return err;
}

/**
 * ksm_merge_freeze_equal() - freeze a page that gives way to a KSM page
 * @offer: the page; its @frozen is set
 * @keep: the KSM page
 *
 * This comparison is the one that decides.
 *
 * Context: As for ksm_merge_freeze(). The caller holds @keep's lock as well.
 * Return: 0; -EAGAIN when the page is not there any more, in use, or not equal:
 *	   then it may be frozen all the same, and the next write takes it back.
 */
int ksm_merge_freeze_equal(struct ksm_offer *offer, struct folio *keep)
{
	int err;

	VM_WARN_ON_FOLIO(!folio_test_locked(keep), keep);

	err = ksm_merge_freeze(offer);
	if (err)
		return err;
	if (ksm_page_compare(offer->page, &keep->page))
		return -EAGAIN;
	/*
	 * While it had a single mapping, MADV_FREE may have cleaned it, and
	 * reclaim would throw it away. Now others rely on it.
	 */
	if (!folio_test_swapcache(keep))
		folio_mark_dirty(keep);
	return 0;
}

/* @pte, with what is to be kept of the frozen PTE that it replaces. */
static pte_t make_pte(const struct ksm_offer *offer, pte_t pte)
{
	pte = pte_wrprotect(pte);
	/* What is recorded of the address outlives the page behind it. */
	pte = pte_soft_dirty(offer->frozen) ? pte_mksoft_dirty(pte) :
					      pte_clear_soft_dirty(pte);
	if (pte_uffd_wp(offer->frozen))
		pte = pte_mkuffd_wp(pte);
	if (!pte_young(offer->frozen))
		pte = pte_mkold(pte);
	return pte;
}

/*
 * Put @pte in place of the frozen PTE: of @keep, or of the zero page if that is
 * NULL.
 */
static int replace(struct ksm_offer *offer, struct page *keep, pte_t pte)
{
	struct folio *folio = page_folio(offer->page);
	struct vm_area_struct *vma = offer->vma;
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	mmap_assert_locked(mm);
	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);

	ptep = ksm_page_map(mm, offer->addr, &ptl);
	if (!ptep)
		return -EAGAIN;
	if (!pte_same(ptep_get(ptep), offer->frozen)) {
		pte_unmap_unlock(ptep, ptl);
		return -EAGAIN;
	}

	if (keep) {
		get_page(keep);
		folio_add_anon_rmap_pte(page_folio(keep), keep, vma, offer->addr, RMAP_NONE);
	} else {
		dec_mm_counter(mm, MM_ANONPAGES);
		ksm_state_count_zero(mm, 1);
	}
	flush_cache_page(vma, offer->addr, pte_pfn(offer->frozen));
	ptep_clear_flush(vma, offer->addr, ptep);
	set_pte_at(mm, offer->addr, ptep, make_pte(offer, pte));

	folio_remove_rmap_pte(folio, offer->page, vma);
	/* Nobody will fault it in from there any more. */
	if (!folio_mapped(folio))
		folio_free_swap(folio);
	folio_put(folio);
	pte_unmap_unlock(ptep, ptl);
	return 0;
}

/**
 * ksm_merge_replace() - map a KSM page where a frozen page is mapped
 * @offer: the frozen page; it loses the mapping, not the caller's reference
 * @keep: the KSM page, of equal content
 *
 * Context: Process context. The caller holds the mmap lock for read and the
 *	    locks of both folios, is inside the bracket, has linked the item, and
 *	    has compared the contents since the page was frozen.
 * Return: 0; -EAGAIN when the PTE has changed since.
 */
int ksm_merge_replace(struct ksm_offer *offer, struct page *keep)
{
	struct folio *kept = page_folio(keep);

	VM_WARN_ON_FOLIO(!folio_test_locked(kept) || !folio_test_ksm(kept), kept);

	return replace(offer, keep, mk_pte(keep, offer->vma->vm_page_prot));
}

/**
 * ksm_merge_zero() - map the zero page where a frozen page is mapped
 * @offer: the frozen page, all zeros; it loses the mapping, not the caller's
 *	   reference
 *
 * The PTE is dirty, by which it is known as ours: see is_ksm_zero_pte().
 *
 * Context: As for ksm_merge_replace(), but for the KSM page.
 * Return: 0; -EAGAIN when the PTE has changed since.
 */
int ksm_merge_zero(struct ksm_offer *offer)
{
	pte_t pte = pfn_pte(my_zero_pfn(offer->addr), offer->vma->vm_page_prot);

	return replace(offer, NULL, pte_mkdirty(pte_mkspecial(pte)));
}

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
