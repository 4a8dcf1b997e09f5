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

/* How far the unmerge of an mm has come. */
struct progress {
	unsigned long	addr;	/* to unshare from; ULONG_MAX: all is */
	unsigned long	first;	/* page number to forget from */
};

/* Unshare from @at on, at most to the end of a VMA. */
static int unshare_some(struct ksm_mm *km, struct progress *at)
{
	VMA_ITERATOR(vmi, ksm_mm_of(km), at->addr);
	struct vm_area_struct *vma;

	for_each_vma(vmi, vma) {
		at->addr = max(at->addr, vma->vm_start);
		if ((vma->vm_flags & VM_MERGEABLE) && vma->anon_vma)
			return ksm_unshare_range(vma, &at->addr, vma->vm_end, false);
	}
	at->addr = ULONG_MAX;
	return 0;
}

/* One step of unmerging an mm: 1 when the next is due, 0 at the end, -errno. */
static int unmerge_step(struct ksm_mm *km, struct progress *at)
{
	unsigned int most = KSM_FORGET_AT_ONCE;

	if (signal_pending(current))
		return -ERESTARTSYS;
	if (at->addr != ULONG_MAX)
		return unshare_some(km, at) ?: 1;
	if (!ksm_forget_range(km, &at->first, ULONG_MAX, KSM_FORGET_EMPTIED, &most))
		return 1;
	km->next = 0;
	return 0;
}

static int unmerge_mm(struct ksm_mm *km)
{
	struct mm_struct *mm = ksm_mm_of(km);
	struct progress at = { };
	int more;

	do {
		if (mmap_read_lock_killable(mm))
			return -ERESTARTSYS;
		more = READ_ONCE(km->exiting) ? 0 : unmerge_step(km, &at);
		mmap_read_unlock(mm);
		cond_resched();
	} while (more > 0);
	return more;
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
	int err;

	lockdep_assert_held(&ksm_pass_lock);

	set_current_oom_origin();
	/* A swap-in that does not know yet may map a KSM page behind us. */
	err = ksm_forget_meet_swapins();
	ksm_mms_rewind();
	while (!err && (km = ksm_mms_next())) {
		err = unmerge_mm(km);
		ksm_mms_put(km, false);
	}
	clear_current_oom_origin();
	if (err)
		return err;

	while (ksm_forget_dead()) {
		if (signal_pending(current))
			return -ERESTARTSYS;
		cond_resched();
	}
	ksm_forget_nodes();
	ksm_mms_rewind();
	return 0;
}
