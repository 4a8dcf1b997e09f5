// SPDX-License-Identifier: GPL-2.0
/*
 * Walking page tables: from an address to the next pages that could merge.
 *
 * They are walked by range, so that a hole costs nothing. A walk ends at a run:
 * neighbouring PTEs, KSM_RUN_PAGES at the most, of which at least one maps a
 * page that could merge, looked at under one hold of the PTL. The pages are
 * referenced there, with one reference for neighbours of a folio: as many as
 * pages would keep a huge page from ever being split.
 *
 * Does not know what is remembered of a page, nor what becomes of it.
 *
 * Floor 2: knows pages and VMAs.
 */
#include <linux/mm.h>
#include <linux/pagewalk.h>

#include "page.h"
#include "vma.h"
#include "walk.h"

static void add_page(struct ksm_walk_run *run, struct page *page, unsigned long addr)
{
	struct ksm_walk_page *last = run->nr ? &run->pages[run->nr - 1] : NULL;
	struct folio *folio = page_folio(page);
	bool shares = last && page_folio(last->page) == folio;

	if (!shares)
		folio_get(folio);
	run->pages[run->nr++] = (struct ksm_walk_page) {
		.page		= page,
		.addr		= addr,
		.referenced	= !shares,
	};
}

static void collect_ptes(struct ksm_walk_run *run, struct vm_area_struct *vma, pte_t *ptep,
			 unsigned long addr, unsigned long end)
{
	struct page *page;
	pte_t pte;

	for (; addr != end; ptep++, addr += PAGE_SIZE) {
		pte = ptep_get(ptep);
		if (!pte_present(pte))
			continue;
		page = vm_normal_page(vma, addr, pte);
		if (ksm_page_may_merge(page))
			add_page(run, page, addr);
	}
}

/* Collect from a huge page; false if there is none, or not any more. */
static bool collect_huge(struct ksm_walk_run *run, struct vm_area_struct *vma, pmd_t *pmd,
			 unsigned long addr, unsigned long end)
{
	struct page *page = NULL;
	spinlock_t *ptl;	/* of the page table */

	ptl = pmd_trans_huge_lock(pmd, vma);
	if (!ptl)
		return false;
	if (pmd_present(*pmd))
		page = vm_normal_page_pmd(vma, addr, *pmd);
	if (page) {
		page += (addr & ~HPAGE_PMD_MASK) >> PAGE_SHIFT;
		for (; addr != end; page++, addr += PAGE_SIZE)
			if (ksm_page_may_merge(page))
				add_page(run, page, addr);
	}
	spin_unlock(ptl);
	return true;
}

static int collect_pmd(pmd_t *pmd, unsigned long addr, unsigned long end,
		       struct mm_walk *walk)
{
	struct ksm_walk_run *run = walk->private;
	unsigned long next;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	for (; addr != end; addr = next) {
		next = min(end, ALIGN_DOWN(addr, KSM_RUN_PAGES * PAGE_SIZE) +
				KSM_RUN_PAGES * PAGE_SIZE);
		run->end = next;
		run->steps++;
		if (!collect_huge(run, walk->vma, pmd, addr, next)) {
			ptep = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
			if (ptep) {
				collect_ptes(run, walk->vma, ptep, addr, next);
				pte_unmap_unlock(ptep, ptl);
			} else {
				/* No table: nothing to find up to the end. */
				next = end;
				run->end = end;
			}
		}
		if (run->nr)
			return 1;
	}
	/* Let others in; the walk goes on from here. */
	return need_resched() || mmap_lock_is_contended(walk->mm);
}

static const struct mm_walk_ops collect_ops = {
	.pmd_entry	= collect_pmd,
	.walk_lock	= PGWALK_RDLOCK,
};

/**
 * ksm_walk_next() - walk up to the next run of pages
 * @run: what was found, filled in; without a page where the walk gave way, and
 *	 with ULONG_MAX for its end where the mm ends
 * @mm: the mm
 * @addr: where to begin
 *
 * Context: Process context. The caller holds @mm's mmap lock for read, knows that
 *	    it is not exiting, and lets go of every page with ksm_walk_pass_on()
 *	    or ksm_walk_cut() under the same hold.
 */
void ksm_walk_next(struct ksm_walk_run *run, struct mm_struct *mm, unsigned long addr)
{
	VMA_ITERATOR(vmi, mm, addr);
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);

	run->nr = 0;
	run->steps = 0;
	for_each_vma(vmi, vma) {
		if (!ksm_vma_offers(vma)) {
			/* There may be very many of these. */
			run->end = vma->vm_end;
			if (need_resched() || mmap_lock_is_contended(mm))
				return;
			continue;
		}
		run->vma = vma;
		if (walk_page_range_vma(vma, max(addr, vma->vm_start), vma->vm_end,
					&collect_ops, run) > 0)
			return;
	}
	run->end = ULONG_MAX;
}

/**
 * ksm_walk_pass_on() - be done with a page of a run
 * @run: the run
 * @i: number of the page; its reference goes to its successor if they share the
 *     folio
 *
 * Context: Process context.
 */
void ksm_walk_pass_on(struct ksm_walk_run *run, unsigned int i)
{
	struct ksm_walk_page *this = &run->pages[i], *next = this + 1;

	if (!this->referenced)
		return;
	this->referenced = false;
	if (i + 1 < run->nr && !next->referenced)
		next->referenced = true;
	else
		put_page(this->page);
}

/**
 * ksm_walk_cut() - end a run early
 * @run: the run
 * @i: number of the first page to leave out; its reference, and those of all
 *     behind it, are dropped
 * @end: where to go on
 *
 * Context: Process context.
 */
void ksm_walk_cut(struct ksm_walk_run *run, unsigned int i, unsigned long end)
{
	unsigned int rest;

	for (rest = i; rest < run->nr; rest++)
		if (run->pages[rest].referenced)
			put_page(run->pages[rest].page);
	run->nr = i;
	run->end = end;
}
