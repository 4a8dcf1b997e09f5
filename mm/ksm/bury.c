// SPDX-License-Identifier: GPL-2.0
/*
 * Burying mms that have exited, whatever the run state.
 *
 * An exit does not wait: it leaves its registration among the dead, and a work
 * item drops what was known of it. By then the pages themselves are gone or
 * going; the nodes that are left without anybody are looked at once more, a
 * moment later, when the exits are through. So are those that ksmd would have
 * looked at, when it is stopped.
 *
 * Floor 5: knows nodes and forgetting.
 */
#include <linux/jiffies.h>
#include <linux/workqueue.h>

#include "bury.h"
#include "forget.h"
#include "node.h"
#include "sieve.h"
#include "state.h"

/* Idle nodes to look at before others may have ksm_pass_lock. */
#define NODES_AT_ONCE	4096UL

/* After so many sweeps in vain the pause is four minutes, and grows no more. */
#define SWEEPS_IN_VAIN	8U

/* A pause is at least so many times as long as what a sweep has looked at in vain took. */
#define PAUSE_TIMES	64

static void sweep(struct work_struct *work);
static void bury(struct work_struct *work);

static DECLARE_WORK(bury_work, bury);
static DECLARE_DELAYED_WORK(sweep_work, sweep);

/* Sweeps that found nothing to end, in a row: the next one waits longer. */
static unsigned int sweeps_in_vain;

/* Jiffies of the last sweep that went to nodes which are still there. */
static unsigned long time_in_vain;

/* When the next one is to come, in jiffies, if one is to come. */
static unsigned long sweep_at;

/* How long to wait for the next sweep, after so many in vain. */
static unsigned long pause_after(unsigned int vain)
{
	return max((unsigned long)HZ << vain, PAUSE_TIMES * READ_ONCE(time_in_vain));
}

/* Will there be one before anybody could have the next one come, and others after it? */
static bool sweep_is_near(void)
{
	return delayed_work_pending(&sweep_work) && !READ_ONCE(sweeps_in_vain) &&
	       time_before_eq(READ_ONCE(sweep_at), jiffies + pause_after(0));
}

/* @vain: of the sweeps before the next one */
static void sweep_later(unsigned int vain)
{
	unsigned long pause = pause_after(vain);

	lockdep_assert_held(&ksm_pass_lock);

	WRITE_ONCE(sweeps_in_vain, vain);
	if (!ksm_node_count_due())
		return;
	if (delayed_work_pending(&sweep_work) && !time_before(jiffies + pause, sweep_at))
		return;
	WRITE_ONCE(sweep_at, jiffies + pause);
	mod_delayed_work(system_unbound_wq, &sweep_work, pause);
}

/* To look at @before nodes took so many jiffies. */
static void end_sweep(unsigned long before, unsigned long took)
{
	unsigned long stay = min(ksm_node_count_due(), before);

	WRITE_ONCE(time_in_vain, before ? mult_frac(took, stay, before) : 0);
	sweep_later(stay < before ? 0 : min(sweeps_in_vain + 1, SWEEPS_IN_VAIN));
}

/* Look at idle nodes again, as long as that ends some. */
static void sweep(struct work_struct *work)
{
	unsigned long before = ksm_node_count_due(), left = before, some, began, took = 0;

	while (left) {
		some = min(left, NODES_AT_ONCE);
		left -= some;
		ksm_state_take_pass();
		began = jiffies;
		ksm_forget_due(some);
		took += jiffies - began;
		if (!left)
			end_sweep(before, took);
		mutex_unlock(&ksm_pass_lock);
	}
}

static void bury(struct work_struct *work)
{
	bool more;

	do {
		ksm_state_take_pass();
		more = ksm_forget_dead();
		if (!ksm_state_known())
			ksm_sieve_drop();
		if (!more)
			sweep_later(0);
		mutex_unlock(&ksm_pass_lock);
	} while (more);
}

/**
 * ksm_bury_soon() - see that the dead are buried, and idle nodes looked at
 *
 * Context: Any context. Does not sleep.
 */
void ksm_bury_soon(void)
{
	queue_work(system_unbound_wq, &bury_work);
}

/**
 * ksm_bury_idle() - see that idle nodes are looked at in a while
 *
 * May be called all the time: it does not disturb a batch again and again.
 *
 * Context: Any context. Does not sleep.
 */
void ksm_bury_idle(void)
{
	if (ksm_node_count_due() && !sweep_is_near())
		ksm_bury_soon();
}

#ifdef CONFIG_KSM_KUNIT_TEST
/**
 * ksm_bury_sweep() - have the next sweep come now
 *
 * Context: Process context; sleeps. The caller must not hold ksm_pass_lock.
 * Return: true if one was to come.
 */
bool ksm_bury_sweep(void)
{
	bool comes;

	flush_work(&bury_work);
	comes = work_busy(&sweep_work.work);
	flush_delayed_work(&sweep_work);
	return comes;
}

/**
 * ksm_bury_finish() - wait for a burial, and let no sweep come after it
 *
 * For a test, which nothing of what was before may run into.
 *
 * Context: Process context; sleeps. The caller must not hold ksm_pass_lock.
 */
void ksm_bury_finish(void)
{
	flush_work(&bury_work);
	cancel_delayed_work_sync(&sweep_work);
}
#endif
