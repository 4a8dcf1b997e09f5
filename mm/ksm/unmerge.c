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

/* Entries to forget before somebody is asked whether he waits for the lock. */
#define FORGET_AT_ONCE	64

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

/* How far the unmerge of an mm has come. */
struct progress {
	unsigned long	addr;	/* to unshare from; ULONG_MAX: all is */
	unsigned long	first;	/* page number to forget from */
	bool		again;	/* it is the second time */
};

/* Forget one stretch, and more as long as nobody waits for the mmap lock. */
static bool forget_stretch(struct ksm_mm *km, struct progress *at)
{
	enum ksm_forget how = at->again ? KSM_FORGET_EMPTIED : KSM_FORGET_UNSHARED;
	unsigned int most;
	bool through;

	do {
		most = FORGET_AT_ONCE;
		through = ksm_forget_range(km, &at->first, ULONG_MAX, how, &most);
	} while (!through && !need_resched() &&
		 !mmap_lock_is_contended(ksm_mm_of(km)));
	return through;
}

/* One step of unmerging an mm: 1 when the next is due, 0 at the end, -errno. */
static int unmerge_step(struct ksm_mm *km, struct progress *at)
{
	if (at->addr != ULONG_MAX)
		return unshare_stretch(km, &at->addr) ?: 1;
	if (!forget_stretch(km, at))
		return 1;
	km->next = 0;
	if (xa_empty(&km->records))
		return 0;
	/*
	 * A swap-in that was under way when the run state changed has mapped a
	 * KSM page behind us. Those that began since make a copy, so once more
	 * is enough; what is still there then is poisoned and cannot be copied.
	 */
	*at = (struct progress) { .again = true };
	return 1;
}

static int unmerge_mm(struct ksm_mm *km)
{
	struct mm_struct *mm = ksm_mm_of(km);
	struct progress at = { };
	int more;

	do {
		mmap_read_lock(mm);
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
