// SPDX-License-Identifier: GPL-2.0
/*
 * Run state, knobs and counters of KSM.
 *
 * Owns nothing but numbers, the two locks that several rooms take, and the
 * wait queue on which ksmd rests. It judges no value: that is ksmd.c's work.
 *
 * Floor 0: knows nobody.
 */
#include <linux/kernel.h>
#include <linux/sched.h>

#include "state.h"

struct ksm_state ksm_state = {
	.run			= IS_ENABLED(CONFIG_SYSFS) ? KSM_RUN_STOP : KSM_RUN_MERGE,
	.pages_to_scan		= KSM_DEFAULT_PAGES_TO_SCAN,
	.sleep_millisecs	= 20,
	.smart_scan		= true,
	.reread_rounds		= 64,
	.merge_across_nodes	= true,
	.max_page_sharing	= 256,
	.chains_prune_millisecs	= 2000,
	.advisor_max_cpu	= 70,
	.advisor_min_pages	= 500,
	.advisor_max_pages	= 30000,
	.advisor_target		= 200,
};

struct ksm_counts ksm_counts;

/* Outermost: held for a batch, an unmerge of everything, a burial. */
DEFINE_MUTEX(ksm_pass_lock);
static atomic_t pass_wanted;

/* Leaf: which item belongs to which node, and the counters of that. */
DEFINE_SPINLOCK(ksm_link_lock);

DECLARE_WAIT_QUEUE_HEAD(ksm_work_wait);

/**
 * ksm_state_wake() - let ksmd look again at what it may do
 *
 * Call it after the change that ksmd shall see. The wait queue's lock orders
 * the change before ksmd's next look, so a wake-up cannot be lost.
 *
 * Context: Any context but holding ksm_work_wait's lock. Does not sleep.
 */
void ksm_state_wake(void)
{
	wake_up_interruptible(&ksm_work_wait);
}

/**
 * ksm_state_take_pass() - take ksm_pass_lock from a batch
 *
 * A batch can be as long as somebody has set pages_to_scan; it ends early for
 * us. An unmerge does not, and can take minutes: who waits as if a signal could
 * end it is not reported as a task that hangs. A worker never gets one.
 *
 * Context: Process context; sleeps.
 */
void ksm_state_take_pass(void)
{
	atomic_inc(&pass_wanted);
	if (mutex_lock_interruptible(&ksm_pass_lock))
		mutex_lock(&ksm_pass_lock);
	atomic_dec(&pass_wanted);
}

/**
 * ksm_state_pass_wanted() - shall a batch end?
 *
 * Context: Any context. A hint.
 * Return: true if somebody waits in ksm_state_take_pass().
 */
bool ksm_state_pass_wanted(void)
{
	return atomic_read(&pass_wanted);
}

/**
 * ksm_state_unshared() - count calm pages without a twin
 *
 * They are kept as values, or as items that are not merged.
 *
 * Context: Any context; takes ksm_link_lock.
 * Return: Number of pages, exact while no batch runs.
 */
long ksm_state_unshared(void)
{
	long merged;

	spin_lock(&ksm_link_lock);
	merged = ksm_counts.shared + ksm_counts.sharing;
	spin_unlock(&ksm_link_lock);
	return max(atomic_long_read(&ksm_counts.calm) +
		   atomic_long_read(&ksm_counts.items) - merged, 0L);
}

/**
 * ksm_state_known() - count pages of which something is recorded
 *
 * Context: Any context.
 * Return: Number of pages, exact while no batch runs.
 */
unsigned long ksm_state_known(void)
{
	return atomic_long_read(&ksm_counts.calm) + atomic_long_read(&ksm_counts.fickle) +
	       atomic_long_read(&ksm_counts.items);
}

/**
 * ksm_state_count_zero() - count PTEs by which KSM maps the zero page
 * @mm: where they are
 * @by: how many come; negative for those that go
 *
 * Context: Any context.
 */
void ksm_state_count_zero(struct mm_struct *mm, long by)
{
	atomic_long_add(by, &mm->ksm_zero_pages);
	atomic_long_add(by, &ksm_counts.zero_pages);
}
