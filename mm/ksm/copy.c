// SPDX-License-Identifier: GPL-2.0
/*
 * Private copies of a run of KSM pages, made as an unshare fault makes one, but that
 * nobody is said to have used them: no fault is counted, and a multi-gen LRU takes them
 * for old.
 *
 * What a fault costs besides the copy is paid once for a run: the way down the
 * page tables, the bracket for secondary MMUs, the PTL, the flush. And while a page is
 * copied, the next one is on its way into the cache.
 *
 * The copies are made without the PTL; of the originals a reference is held
 * meanwhile. As a KSM page never changes, a copy is right if its PTE is still the
 * one that was found. Those that are so are emptied, flushed and set under one hold
 * of the PTL. Where one has changed, the run ends.
 *
 * Knows the plain case alone, and leaves all else as it is: for that there is the
 * fault.
 *
 * Floor 2: knows pages.
 */
#include <linux/delayacct.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/kmsan.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include <asm/tlbflush.h>

#include "content.h"
#include "copy.h"
#include "types.h"

/**
 * ksm_copy_add() - let a run go on with the next page
 * @run: the run
 * @pte: what is mapped behind its last page
 *
 * Context: The caller holds the PTL.
 * Return: true if it is a KSM page, on which the run holds a reference now; false
 *	   if it is something else, or for a fault to see to, or the run is full.
 */
bool ksm_copy_add(struct ksm_copies *run, pte_t pte)
{
	unsigned long addr = run->addr + run->nr * PAGE_SIZE;
	struct page *page;

	if (run->nr == KSM_COPY_AT_ONCE || !pte_present(pte))
		return false;
	/* A hint for NUMA balancing is to be taken first. */
	if (pte_protnone(pte) && vma_is_accessible(run->vma))
		return false;
	page = vm_normal_page(run->vma, addr, pte);
	if (!page || !folio_test_ksm(page_folio(page)))
		return false;

	folio_get(page_folio(page));
	run->found[run->nr++] = pte;
	return true;
}

/* ------------------------------------------------------------------------ */
/* Without the PTL.                                                         */

static struct folio *alloc(struct vm_area_struct *vma, unsigned long addr)
{
	struct folio *folio = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, addr, false);

	if (!folio)
		return NULL;
	if (mem_cgroup_charge(folio, vma->vm_mm, GFP_KERNEL)) {
		folio_put(folio);
		return NULL;
	}
	folio_throttle_swaprate(folio, GFP_KERNEL);
	return folio;
}

/*
 * Put the last folio among those before it in the order of memory. What merging has
 * freed comes back the other way round, and adjacent pages are worth something to
 * TLBs that join their entries. Those of other nodes have their place by policy.
 */
static void sort_in(struct folio **folios, unsigned int last)
{
	for (; last; last--) {
		struct folio **a = &folios[last - 1], **b = &folios[last];

		if (folio_nid(*a) != folio_nid(*b) || folio_pfn(*a) < folio_pfn(*b))
			break;
		swap(*a, *b);
	}
}

/* How many there is memory for. */
static unsigned int alloc_all(struct ksm_copies *run)
{
	unsigned int i;

	for (i = 0; i < run->nr; i++) {
		run->made[i] = alloc(run->vma, run->addr + i * PAGE_SIZE);
		if (!run->made[i])
			break;
		sort_in(run->made, i);
	}
	return i;
}

/* How many of the first @most can be read: poisoned memory is for the fault to report. */
static unsigned int fill(struct ksm_copies *run, unsigned int most)
{
	unsigned long addr = run->addr;
	struct ksm_ahead ahead;
	struct page *from, *to;
	unsigned int i;

	for (i = 0; i < most; i++, addr += PAGE_SIZE) {
		if (i + 1 < most) {
			ksm_content_plan(&ahead, pte_page(run->found[i + 1]), NULL);
			ksm_content_fetch(&ahead);
		}
		from = pte_page(run->found[i]);
		to = folio_page(run->made[i], 0);
		if (copy_mc_user_highpage(to, from, addr, run->vma))
			break;
		kmsan_copy_page_meta(to, from);
		__folio_mark_uptodate(run->made[i]);
	}
	return i;
}

/* ------------------------------------------------------------------------ */
/* Under the PTL.                                                           */

/* Empty the first PTEs, @most of them, while they are those that were found. */
static unsigned int empty(struct ksm_copies *run, pte_t *ptep, unsigned int most)
{
	struct vm_area_struct *vma = run->vma;
	unsigned long addr = run->addr;
	unsigned int i;

	for (i = 0; i < most; i++, addr += PAGE_SIZE) {
		/* That somebody has read it meanwhile is no change. */
		if (!pte_same(pte_mkold(ptep_get(ptep + i)), pte_mkold(run->found[i])))
			break;
		flush_cache_page(vma, addr, pte_pfn(run->found[i]));
		ptep_get_and_clear(vma->vm_mm, addr, ptep + i);
	}
	if (i)
		flush_tlb_range(vma, run->addr, addr);
	return i;
}

/* The PTE of a copy: not writable, and what is recorded of the address is kept. */
static pte_t make_pte(struct vm_area_struct *vma, struct folio *copy, pte_t old)
{
	pte_t pte = pte_sw_mkyoung(mk_pte(folio_page(copy, 0), vma->vm_page_prot));

	if (pte_soft_dirty(old))
		pte = pte_mksoft_dirty(pte);
	if (pte_uffd_wp(old))
		pte = pte_mkuffd_wp(pte);
	return pte;
}

/* Map the first copies, @nr of them, where the PTEs are empty. */
static void set(struct ksm_copies *run, pte_t *ptep, unsigned int nr)
{
	struct vm_area_struct *vma = run->vma;
	unsigned long addr = run->addr;
	struct folio *copy;
	struct page *page;
	unsigned int i;

	for (i = 0; i < nr; i++, addr += PAGE_SIZE) {
		copy = run->made[i];
		/* Nobody wrote, but the only copy of data is not clean. */
		folio_set_dirty(copy);
		folio_add_new_anon_rmap(copy, vma, addr, RMAP_EXCLUSIVE);
		folio_add_lru_vma(copy, vma);
		set_pte_at(vma->vm_mm, addr, ptep + i, make_pte(vma, copy, run->found[i]));
		update_mmu_cache(vma, addr, ptep + i);
		page = pte_page(run->found[i]);
		folio_remove_rmap_pte(page_folio(page), page, vma);
	}
}

/* How many of the first @most copies are mapped now. */
static unsigned int map(struct ksm_copies *run, unsigned int most)
{
	struct mm_struct *mm = run->vma->vm_mm;
	struct mmu_notifier_range range;
	unsigned int nr = 0;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, mm, run->addr,
				run->addr + most * PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	ptep = pte_offset_map_lock(mm, run->pmd, run->addr, &ptl);
	if (ptep) {
		nr = empty(run, ptep, most);
		set(run, ptep, nr);
		pte_unmap_unlock(ptep, ptl);
	}
	mmu_notifier_invalidate_range_end(&range);
	return nr;
}

/**
 * ksm_copy_replace() - map private copies in place of KSM pages
 * @run: the pages, at least one; it holds none of them any more then
 *
 * Context: Process context; sleeps. The caller has held the mmap lock since the first
 *	    page was added, and holds no folio lock.
 * Return: how many pages are private now, counted from the first: none if the first
 *	   is one for a fault to see to; -EAGAIN if it is not mapped any more as it was;
 *	   -ENOMEM if there is no memory even for one.
 */
int ksm_copy_replace(struct ksm_copies *run)
{
	unsigned int made, filled, nr, i;

	mmap_assert_locked(run->vma->vm_mm);

	delayacct_wpcopy_start();
	made = alloc_all(run);
	filled = fill(run, made);
	nr = filled ? map(run, filled) : 0;
	count_vm_events(COW_KSM, nr);
	delayacct_wpcopy_end();

	for (i = 0; i < run->nr; i++) {
		struct folio *folio = page_folio(pte_page(run->found[i]));

		if (i < nr) {
			free_swap_cache(folio);
			folio_put(folio);	/* of the mapping */
		} else if (i < made) {
			folio_put(run->made[i]);
		}
		folio_put(folio);
	}
	if (!made)
		return -ENOMEM;
	return filled && !nr ? -EAGAIN : nr;
}
