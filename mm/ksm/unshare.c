// SPDX-License-Identifier: GPL-2.0
/*
 * Breaking copy-on-write over a range: every KSM page becomes a private one.
 *
 * Page tables are walked, not addresses, so that a hole costs nothing. Pages that
 * lie side by side are copied together. What is more than plain, a zero page, one
 * that migrates or cannot be read, is left to a fault.
 *
 * That is an unshare fault and not a write: nothing is written, so a
 * userfaultfd must not hear of it, a read-only mapping is no obstacle, and
 * the soft-dirty and uffd-wp bits stay what they are.
 *
 * Does not know items or nodes: what is known of the range is for the caller
 * to forget afterwards.
 *
 * Floor 3: knows how a run is copied.
 */
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/sched/coredump.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "copy.h"
#include "unshare.h"

static bool maps_ksm(struct vm_area_struct *vma, unsigned long addr, pte_t pte)
{
	swp_entry_t entry;
	struct page *page;

	if (pte_present(pte)) {
		if (is_ksm_zero_pte(pte))
			return true;
		page = vm_normal_page(vma, addr, pte);
		return page && folio_test_ksm(page_folio(page));
	}
	if (pte_none(pte))
		return false;
	/* The page is only on its way to another place. */
	entry = pte_to_swp_entry(pte);
	return is_migration_entry(entry) &&
	       folio_test_ksm(pfn_swap_entry_folio(entry));
}

/* What an exit waits to unmap, or has been reaped, needs no copies. */
static bool is_over(struct mm_struct *mm)
{
	return !atomic_read(&mm->mm_users) || test_bit(MMF_UNSTABLE, &mm->flags);
}

/* A walk that makes KSM pages private, up to one that only a fault can. */
struct walk {
	unsigned long	addr;		/* where it has come to */
	bool		stuck;		/* at a KSM page */
	bool		gives_way;	/* it ends when somebody waits for the mmap lock */
	bool		copies;		/* so a call that begins anew comes further */
	unsigned long	since;		/* that was so, in jiffies */
	unsigned long	began;		/* the walk */
};

static void note_copy(struct walk *walk)
{
	if (walk->copies)
		return;
	walk->copies = true;
	walk->since = jiffies;
}

/* Is there something that the caller should see to first? */
static bool is_called(const struct walk *walk, struct mm_struct *mm)
{
	return is_over(mm) || (walk->gives_way && mmap_lock_is_contended(mm));
}

/*
 * Shall it end for a signal? If the program handles it, the call may begin anew: where
 * that would come no further than this time, as nothing was copied, a timer could have it
 * do so for ever. So that it does not look for pages all the time, it copies for as long
 * as it has looked for the first one.
 */
static bool is_signalled(const struct walk *walk)
{
	if (!signal_pending(current))
		return false;
	if (fatal_signal_pending(current) || freezing(current))
		return true;
	return walk->copies && jiffies - walk->since >= walk->since - walk->began;
}

/* Find the next KSM page from @walk's address on, and a run of copies to make. */
static bool find_run(struct walk *walk, struct ksm_copies *run, unsigned long end)
{
	struct vm_area_struct *vma = run->vma;
	unsigned long addr = walk->addr;
	pte_t *first, *ptep;
	spinlock_t *ptl;	/* of the page table */

	walk->addr = end;
	/* No table of PTEs: a huge page, or nothing. Neither holds KSM pages. */
	first = pte_offset_map_lock(vma->vm_mm, run->pmd, addr, &ptl);
	if (!first)
		return false;
	for (ptep = first; addr != end; ptep++, addr += PAGE_SIZE) {
		if (maps_ksm(vma, addr, ptep_get(ptep)))
			break;
	}
	walk->addr = addr;
	run->addr = addr;
	for (run->nr = 0; addr != end; ptep++, addr += PAGE_SIZE) {
		if (!ksm_copy_add(run, ptep_get(ptep)))
			break;
	}
	pte_unmap_unlock(first, ptl);
	return walk->addr != end;
}

static int unshare_pmd(pmd_t *pmd, unsigned long addr, unsigned long end,
		       struct mm_walk *mm_walk)
{
	struct ksm_copies run = { .vma = mm_walk->vma, .pmd = pmd };
	struct walk *walk = mm_walk->private;
	int copied;

	for (walk->addr = addr; find_run(walk, &run, end);) {
		copied = run.nr ? ksm_copy_replace(&run) : 0;
		if (copied == -ENOMEM)
			return copied;
		/* Otherwise look again. Ends: somebody else has changed the PTE. */
		if (copied > 0) {
			walk->addr += copied * PAGE_SIZE;
			note_copy(walk);
		}
		walk->stuck = !copied;
		if (walk->stuck || is_signalled(walk) || is_called(walk, mm_walk->mm))
			return 1;
		cond_resched();
	}
	cond_resched();
	return is_signalled(walk) || is_called(walk, mm_walk->mm);
}

static const struct mm_walk_ops walk_read_locked = {
	.pmd_entry	= unshare_pmd,
	.walk_lock	= PGWALK_RDLOCK,
};

static const struct mm_walk_ops walk_write_locked = {
	.pmd_entry	= unshare_pmd,
	.walk_lock	= PGWALK_WRLOCK,
};

/*
 * Let a fault see to the page at @addr. It may back out without a copy, so the
 * address is to be looked at again. Ends: it backs out when somebody else changed
 * the PTE, or after it waited for a migration. An error means that the page cannot
 * be read, and will not get better: then @addr is behind it.
 */
static int fault(struct vm_area_struct *vma, unsigned long *addr)
{
	vm_fault_t fault = handle_mm_fault(vma, *addr,
					   FAULT_FLAG_UNSHARE | FAULT_FLAG_REMOTE, NULL);

	if (fault & VM_FAULT_OOM)
		return -ENOMEM;
	if (fault & VM_FAULT_ERROR)
		*addr += PAGE_SIZE;
	return 0;
}

/**
 * ksm_unshare_range() - give a range private copies of its KSM pages
 * @vma: a VMA with an anon_vma
 * @start: first address; set to where to go on, to @end when it is through
 * @end: address behind the last
 * @write_locked: whether the mmap lock is held for write; then faults that
 *		  hold the VMA's lock alone are kept out, too. If not, it ends
 *		  early when somebody waits for the lock
 *
 * A page that is in the swap cache and not mapped is left alone: the swap-in
 * copies it, see ksm_rmap_swapin().
 *
 * Context: Process context; sleeps and faults. The caller holds the mmap lock
 *	    for read or write and no folio lock.
 * Return: 0 when no KSM page is left before @start (but for poisoned memory,
 *	   which cannot be copied, and in an mm that exits or was reaped);
 *	   -ENOMEM; -ERESTARTSYS for a signal, but one that can be handled ends it only
 *	   when something was copied.
 */
int ksm_unshare_range(struct vm_area_struct *vma, unsigned long *start,
		      unsigned long end, bool write_locked)
{
	const struct mm_walk_ops *ops = write_locked ? &walk_write_locked :
						       &walk_read_locked;
	struct walk walk = { .gives_way = !write_locked, .began = jiffies };
	struct mm_struct *mm = vma->vm_mm;
	int ended;

	mmap_assert_locked(mm);

	while (*start < end && !is_over(mm)) {
		if (is_signalled(&walk))
			return -ERESTARTSYS;

		walk.stuck = false;
		ended = walk_page_range_vma(vma, *start, end, ops, &walk);
		if (ended < 0)
			return ended;
		if (!ended)
			break;
		*start = walk.addr;
		if (walk.stuck) {
			ended = fault(vma, start);
			if (ended)
				return ended;
			if (*start == walk.addr)
				note_copy(&walk);
		}
		if (walk.gives_way && mmap_lock_is_contended(mm))
			return 0;
	}
	*start = end;
	return 0;
}
