// SPDX-License-Identifier: GPL-2.0
/*
 * Undoing everything: what a 2 in /sys/kernel/mm/ksm/run asks for.
 *
 * Owns nothing. The run state stands at unmerge while this works, which makes
 * new mms queue up behind the cursor and swap-ins copy.
 *
 * Floor 5: knows mms, unsharing and forgetting.
 */
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>

#include "forget.h"
#include "mms.h"
#include "state.h"
#include "unmerge.h"
#include "unshare.h"
#include "vma.h"

/* Bytes to go through before the mmap lock is offered to others. */
#define STRETCH		(64UL << 20)

/* Unshare one stretch from *@addr, and move that on: ULONG_MAX is the end. */
static int unshare_stretch(struct ksm_mm *km, unsigned long *addr)
{
	VMA_ITERATOR(vmi, ksm_mm_of(km), *addr);
	struct vm_area_struct *vma;
	unsigned long start, end;
	int err;

	for_each_vma(vmi, vma) {
		if (!(vma->vm_flags & VM_MERGEABLE) || !vma->anon_vma)
			continue;
		start = max(*addr, vma->vm_start);
		end = start + min(STRETCH, vma->vm_end - start);
		err = ksm_unshare_range(vma, start, end, false);
		*addr = end;
		return err;
	}
	*addr = ULONG_MAX;
	return 0;
}

static int unmerge_mm(struct ksm_mm *km)
{
	struct mm_struct *mm = ksm_mm_of(km);
	unsigned long addr = 0;
	int err = 0;

	while (!err && addr != ULONG_MAX) {
		mmap_read_lock(mm);
		if (READ_ONCE(km->exiting)) {
			mmap_read_unlock(mm);
			return 0;
		}
		err = unshare_stretch(km, &addr);
		if (!err && addr == ULONG_MAX) {
			ksm_forget_range(km, 0, ULONG_MAX, KSM_FORGET_EMPTIED);
			km->next = 0;
		}
		mmap_read_unlock(mm);
		cond_resched();
	}
	return err;
}

/**
 * ksm_unmerge_all() - give every process its own copies, and forget everything
 *
 * Needs memory for the copies: the task that asks for it is the first to be
 * killed when there is none.
 *
 * Context: Process context; sleeps, faults, may be interrupted. The caller holds
 *	    ksm_pass_lock, and has set the run state to KSM_RUN_UNMERGE.
 * Return: 0; -ENOMEM or -ERESTARTSYS with the work half done, and everything
 *	   consistent.
 */
int ksm_unmerge_all(void)
{
	struct ksm_mm *km;
	int err = 0;

	lockdep_assert_held(&ksm_pass_lock);

	set_current_oom_origin();
	ksm_mms_rewind();
	while (!err && (km = ksm_mms_next())) {
		err = unmerge_mm(km);
		ksm_mms_put(km, false);
	}
	clear_current_oom_origin();
	if (err)
		return err;

	ksm_forget_nodes();
	ksm_mms_rewind();
	return 0;
}
