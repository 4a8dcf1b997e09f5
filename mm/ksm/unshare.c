// SPDX-License-Identifier: GPL-2.0
/*
 * Breaking copy-on-write over a range: every KSM page becomes a private one.
 *
 * Page tables are walked, not addresses, so that a hole costs nothing. The
 * fault is an unshare fault and not a write: nothing is written, so a
 * userfaultfd must not hear of it, a read-only mapping is no obstacle, and
 * the soft-dirty and uffd-wp bits stay what they are.
 *
 * Does not know items or nodes: what is known of the range is for the caller
 * to forget afterwards.
 *
 * Floor 2: knows nobody.
 */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/sched/coredump.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>

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

/* A walk that looks for the next KSM page. */
struct search {
	unsigned long	addr;		/* where it has come to */
	bool		found;		/* there is one */
	bool		gives_way;	/* it ends when somebody waits for the mmap lock */
};

static int find_in_pmd(pmd_t *pmd, unsigned long addr, unsigned long end,
		       struct mm_walk *walk)
{
	struct search *search = walk->private;
	pte_t *first, *ptep;
	spinlock_t *ptl;	/* of the page table */

	/* No table of PTEs: a huge page, or nothing. Neither holds KSM pages. */
	first = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	for (ptep = first; first && addr != end; ptep++, addr += PAGE_SIZE) {
		search->found = maps_ksm(walk->vma, addr, ptep_get(ptep));
		if (search->found)
			break;
	}
	if (first)
		pte_unmap_unlock(first, ptl);
	else
		addr = end;
	search->addr = addr;
	cond_resched();
	return search->found ||
	       (search->gives_way && mmap_lock_is_contended(walk->mm));
}

static const struct mm_walk_ops find_read_locked = {
	.pmd_entry	= find_in_pmd,
	.walk_lock	= PGWALK_RDLOCK,
};

static const struct mm_walk_ops find_write_locked = {
	.pmd_entry	= find_in_pmd,
	.walk_lock	= PGWALK_WRLOCK,
};

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
 *	   -ENOMEM; -ERESTARTSYS for a signal.
 */
int ksm_unshare_range(struct vm_area_struct *vma, unsigned long *start,
		      unsigned long end, bool write_locked)
{
	const struct mm_walk_ops *ops = write_locked ? &find_write_locked :
						       &find_read_locked;
	struct search search = { .gives_way = !write_locked };
	struct mm_struct *mm = vma->vm_mm;
	vm_fault_t fault;
	int ended;

	mmap_assert_locked(mm);

	while (*start < end) {
		/* What an exit waits to unmap, or has been reaped, needs no copies. */
		if (!atomic_read(&mm->mm_users) || test_bit(MMF_UNSTABLE, &mm->flags))
			break;
		if (signal_pending(current))
			return -ERESTARTSYS;

		search.found = false;
		ended = walk_page_range_vma(vma, *start, end, ops, &search);
		if (ended < 0)
			return ended;
		if (!ended)
			break;
		*start = search.addr;
		if (!search.found)
			return 0;

		fault = handle_mm_fault(vma, search.addr,
					FAULT_FLAG_UNSHARE | FAULT_FLAG_REMOTE, NULL);
		if (fault & VM_FAULT_OOM)
			return -ENOMEM;
		/*
		 * A fault may back out without a copy, so look at the address
		 * again. Ends: it backs out when somebody else changed the
		 * PTE, or after it waited for a migration. An error means that
		 * the page cannot be read, and will not get better.
		 */
		if (fault & VM_FAULT_ERROR)
			*start += PAGE_SIZE;
		if (search.gives_way && mmap_lock_is_contended(mm))
			return 0;
	}
	*start = end;
	return 0;
}
