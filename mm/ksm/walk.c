// SPDX-License-Identifier: GPL-2.0
/*
 * Walking page tables: from an address to the next pages that something is to be
 * done with.
 *
 * They are walked by range, so that a hole costs nothing, a run of neighbouring
 * PTEs under one hold of the PTL; see glance.c for what is made of them. PTEs that
 * are empty, many in a row, are as good as a hole. A walk ends at a run in which there
 * is something to do, and behind a hole of which something is recorded: a hole gets
 * no visit, and whatever was there is not there any more.
 *
 * Found pages are referenced, with one reference for neighbours of a folio: as many
 * as pages would keep a huge page from ever being split.
 *
 * Floor 4: knows glances, records and VMAs.
 */
#include <linux/freezer.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/prefetch.h>

#include "record.h"
#include "state.h"
#include "vma.h"
#include "walk.h"

/* So many empty PTEs in a row are passed over like a hole; fewer are looked at. */
#define EMPTY_MIN	16

/* So far ahead they are fetched: of a page table that is not in the cache, memory sets the pace. */
#define AHEAD		128

/* So many empty entries of a page table cost as much as a page that is passed over. */
#define EMPTY_PER_PAGE	64

/**
 * ksm_walk_cost() - what it took to come where a run ends
 * @run: the run
 *
 * Context: Any context.
 * Return: Units, to be spent with ksm_policy_spend().
 */
unsigned long ksm_walk_cost(const struct ksm_glance_run *run)
{
	return run->steps + run->empty / EMPTY_PER_PAGE + run->passed;
}

static bool is_spent(const struct ksm_glance_run *run)
{
	return ksm_walk_cost(run) >= run->most || !run->reads;
}

/* It was enough, or somebody else needs the thread, the lock, or the mm. */
static bool must_pause(const struct ksm_glance_run *run)
{
	return is_spent(run) || need_resched() || freezing(current) || ksm_state_pass_wanted() ||
	       READ_ONCE(run->km->exiting) || mmap_lock_is_contended(ksm_mm_of(run->km));
}

/* Is something known of what lies before @addr, where nothing is? */
static bool before_hole(struct ksm_glance_run *run, unsigned long addr)
{
	unsigned long index = run->begin >> PAGE_SHIFT;

	run->end = addr;
	return run->begin < addr &&
	       ksm_record_find(run->km, &index, (addr - 1) >> PAGE_SHIFT);
}

/* Are four PTEs empty? To count each takes longer than to look at it. */
static __always_inline bool are_empty(pte_t *ptep, int step)
{
	return pte_none(ptep_get(ptep)) && pte_none(ptep_get(ptep + step)) &&
	       pte_none(ptep_get(ptep + 2 * step)) && pte_none(ptep_get(ptep + 3 * step));
}

/* How many PTEs are empty from @ptep on, up or down by @step; 0 for a few. */
static __always_inline unsigned long count_empty(pte_t *ptep, unsigned long nr, int step)
{
	unsigned long empty;

	for (empty = 0; empty + 8 <= nr; empty += 8, ptep += 8 * step) {
		prefetch(ptep + step * AHEAD);
		if (!are_empty(ptep, step) || !are_empty(ptep + 4 * step, step))
			break;
	}
	for (; empty < nr && pte_none(ptep_get(ptep)); ptep += step)
		empty++;
	return empty < EMPTY_MIN ? 0 : empty;
}

enum look {
	LOOK_EMPTY,	/* there is nothing up to the end */
	LOOK_RECORDED,	/* there is something, but what is recorded before it goes first */
	LOOK_DONE,	/* at a run */
};

/* Begin a run at @at; it ends where all are aligned to, or before. */
static bool begin_run(struct ksm_glance_run *run, unsigned long at, unsigned long end)
{
	unsigned long last = at | (KSM_RUN_PAGES * PAGE_SIZE - 1);

	if (before_hole(run, at))
		return false;
	run->begin = at;
	run->end = min(end - 1, last) + 1;
	return true;
}

/* Look at the run of PTEs that begins at @ptep. Returns where what is behind it begins. */
static unsigned long look_at_ptes(struct ksm_glance_run *run, pte_t *ptep, spinlock_t *ptl)
{
	unsigned long behind = run->end, end, empty;

	empty = (behind - run->begin) >> PAGE_SHIFT;
	empty = count_empty(ptep + empty - 1, empty, -1);
	run->empty += empty;
	end = behind - (empty << PAGE_SHIFT);
	run->end = end;
	ksm_glance_ptes(run, ptep, ptl);
	VM_WARN_ON_ONCE(run->cleaned.to);
	return run->end == end ? behind : run->end;
}

/*
 * Look at the run that begins at *@at, or behind PTEs that are empty like a hole. *@at is
 * set to where to look next.
 */
static enum look look(struct ksm_glance_run *run, pmd_t *pmd, unsigned long *at,
		      unsigned long end)
{
	enum look what = LOOK_EMPTY;
	unsigned long skip;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	ptl = pmd_trans_huge_lock(pmd, run->vma);
	if (ptl) {
		what = begin_run(run, *at, end) ? LOOK_DONE : LOOK_RECORDED;
		if (what == LOOK_DONE && pmd_present(*pmd))
			ksm_glance_huge(run, pmd);
		else if (what == LOOK_DONE)
			ksm_glance_nothing(run);
		spin_unlock(ptl);
		*at = run->end;
		return what;
	}
	ptep = pte_offset_map_lock(ksm_mm_of(run->km), pmd, *at, &ptl);
	if (!ptep) {
		*at = end;
		return LOOK_EMPTY;
	}
	skip = count_empty(ptep, (end - *at) >> PAGE_SHIFT, 1);
	run->empty += skip;
	*at += skip << PAGE_SHIFT;
	if (*at != end)
		what = begin_run(run, *at, end) ? LOOK_DONE : LOOK_RECORDED;
	if (what == LOOK_DONE)
		*at = look_at_ptes(run, ptep + skip, ptl);
	pte_unmap_unlock(ptep, ptl);
	return what;
}

static int walk_pmd(struct ksm_glance_run *run, pmd_t *pmd, unsigned long addr,
		    unsigned long end)
{
	unsigned long at = addr;

	while (at != end) {
		run->steps++;
		switch (look(run, pmd, &at, end)) {
		case LOOK_EMPTY:
			run->end = end;
			continue;
		case LOOK_RECORDED:
			return 1;
		case LOOK_DONE:
			break;
		}
		if (run->nr || run->stale)
			return 1;
		run->begin = run->end;
		if (is_spent(run))
			return 1;
	}
	return must_pause(run);
}

/* Most PMDs of a sparse area are empty: for those the walker's own loop does too much. */
static int walk_pud(pud_t *pudp, unsigned long addr, unsigned long end, struct mm_walk *walk)
{
	struct ksm_glance_run *run = walk->private;
	pud_t pud = pudp_get(pudp);
	pmd_t *pmd, *first, *last;
	unsigned long next;
	int err;

	walk->action = ACTION_CONTINUE;
	if (!pud_present(pud) || pud_leaf(pud))
		return 0;
	run->vma = walk->vma;
	run->steps++;
	pmd = pmd_offset(pudp, addr);
	last = pmd_offset(pudp, end - 1);
	for (; addr != end; pmd++, addr = next) {
		for (first = pmd; pmd < last && pmd_none(pmdp_get_lockless(pmd)); pmd++)
			;
		if (pmd != first)
			addr = (addr & PMD_MASK) + (pmd - first) * PMD_SIZE;
		run->empty += pmd - first;
		next = pmd_addr_end(addr, end);
		err = walk_pmd(run, pmd, addr, next);
		if (err)
			return err;
	}
	/* There may be very many of these. */
	run->end = end;
	return must_pause(run);
}

static const struct mm_walk_ops walk_ops = {
	.pud_entry	= walk_pud,
	.walk_lock	= PGWALK_RDLOCK,
};

/**
 * ksm_walk_next() - walk up to the next run in which there is something to do
 * @run: what to go by; what was found is filled in. Without a page, and with nothing
 *	 stale, what is recorded from @begin to @end is to be forgotten, for nothing
 *	 is mapped there. With ULONG_MAX for @end the mm ends
 * @addr: where to begin
 *
 * Context: Process context. The caller holds ksm_pass_lock and the mm's mmap lock for
 *	    read, knows that it is not exiting, and lets go of every page with
 *	    ksm_walk_pass_on() or ksm_walk_cut() under the same hold.
 */
void ksm_walk_next(struct ksm_glance_run *run, unsigned long addr)
{
	VMA_ITERATOR(vmi, ksm_mm_of(run->km), addr);
	struct vm_area_struct *vma;

	lockdep_assert_held(&ksm_pass_lock);
	mmap_assert_locked(ksm_mm_of(run->km));

	run->begin = addr;
	run->offered = false;
	run->nr = 0;
	run->stale = 0;
	run->steps = 0;
	run->empty = 0;
	run->passed = 0;
	run->unchanged = 0;
	run->skipped = 0;
	for_each_vma(vmi, vma) {
		run->steps++;
		/* Even one that nobody has touched yet. */
		run->offered |= !!(vma->vm_flags & VM_MERGEABLE);
		if (!ksm_vma_offers(vma)) {
			/* There may be very many of these. */
			run->end = vma->vm_end;
			if (must_pause(run))
				return;
			continue;
		}
		if (walk_page_range_vma(vma, max(addr, vma->vm_start), vma->vm_end,
					&walk_ops, run) > 0)
			return;
		run->end = vma->vm_end;
		if (must_pause(run))
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
void ksm_walk_pass_on(struct ksm_glance_run *run, unsigned int i)
{
	struct ksm_glance_page *this = &run->pages[i], *next = this + 1;

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
 * @end: where to go on; up to where the run ended, the sieve was told of pages that
 *	 need not be read
 *
 * Context: Process context.
 */
void ksm_walk_cut(struct ksm_glance_run *run, unsigned int i, unsigned long end)
{
	unsigned int rest;

	for (rest = i; rest < run->nr; rest++)
		if (run->pages[rest].referenced)
			put_page(run->pages[rest].page);
	run->nr = i;
	run->noted = max(run->noted, run->end);
	run->end = end;
}
