// SPDX-License-Identifier: GPL-2.0
/*
 * The thread, and the setters of what steers it.
 *
 * Owns the run state and the knobs. Does not know how users write them.
 *
 * Floor 7: knows scanning and unmerging.
 */
#include <linux/err.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "advisor.h"
#include "bury.h"
#include "content.h"
#include "forget.h"
#include "ksmd.h"
#include "mms.h"
#include "scan.h"
#include "sieve.h"
#include "state.h"
#include "unmerge.h"

/* Where nothing is offered, it is enough to look for offers so often. */
#define IDLE_REST	HZ

static struct task_struct *ksmd_task;

/* ------------------------------------------------------------------------ */
/* The thread.                                                              */

/* Is there anything to scan, and shall it be? A hint, but under ksm_pass_lock. */
static bool may_scan(void)
{
	return READ_ONCE(ksm_state.run) == KSM_RUN_MERGE &&
	       READ_ONCE(ksm_state.pages_to_scan) &&
	       !READ_ONCE(ksm_state.offlining) && ksm_mms_populated();
}

static void scan_batch(void)
{
	/* Waits for all CPUs: not under the lock that hotplug takes. */
	if (ksm_scan_wants_drain())
		lru_add_drain_all();

	/* It takes minutes to unmerge everything: not as a task that hangs. */
	if (mutex_lock_interruptible(&ksm_pass_lock))
		return;
	if (may_scan()) {
		if (ksm_scan_at_start())
			ksm_advisor_round();
		ksm_scan_batch(READ_ONCE(ksm_state.pages_to_scan));
	}
	mutex_unlock(&ksm_pass_lock);
}

static void rest(void)
{
	/* Pairs with the setter: the pace before the value that it stands for. */
	int pace = atomic_read_acquire(&ksm_state.pace);
	unsigned long pause = msecs_to_jiffies(READ_ONCE(ksm_state.sleep_millisecs));

	if (ksm_scan_is_idle())
		pause = max(pause, IDLE_REST);
	/* For whoever had the batch cut to have the lock: he may be about to stop ksmd. */
	if (ksm_scan_is_cut())
		pause = ksm_scan_wants_drain() ? 0 : 1;
	if (!may_scan()) {
		ksm_advisor_pause();
		ksm_scan_pause();
		wait_event_freezable(ksm_work_wait,
				     may_scan() || kthread_should_stop());
	} else if (pause) {
		wait_event_freezable_timeout(ksm_work_wait,
					     pace != atomic_read(&ksm_state.pace) ||
					     kthread_should_stop(),
					     pause);
	} else {
		cond_resched_tasks_rcu_qs();
	}
	try_to_freeze();
}

static int ksmd(void *unused)
{
	set_freezable();
	set_user_nice(current, 5);

	while (!kthread_should_stop()) {
		if (may_scan())
			scan_batch();
		rest();
	}
	return 0;
}

/**
 * ksm_ksmd_start() - start the thread
 *
 * Context: Boot.
 * Return: 0 or -errno.
 */
int __init ksm_ksmd_start(void)
{
	ksmd_task = kthread_run(ksmd, NULL, "ksmd");
	return PTR_ERR_OR_ZERO(ksmd_task);
}

/**
 * ksm_ksmd_stop() - stop the thread again when the start fails
 *
 * Context: Boot.
 */
void __init ksm_ksmd_stop(void)
{
	kthread_stop(ksmd_task);
}

/* ------------------------------------------------------------------------ */
/* Steering it.                                                             */

/* See to what no batch will: nodes that were let go of and not looked at since. */
static void leave_nothing(void)
{
	if (!may_scan())
		ksm_bury_soon();
}

/**
 * ksm_ksmd_set_run() - stop, merge, or stop and unmerge everything
 * @run: a value of &enum ksm_run
 *
 * An unmerge that fails leaves KSM stopped.
 *
 * Context: Process context; for an unmerge long, killable, and it faults.
 * Return: 0; -EINVAL; for an unmerge also -ENOMEM or -ERESTARTSYS.
 */
int ksm_ksmd_set_run(unsigned int run)
{
	int err = 0;

	if (run > KSM_RUN_UNMERGE)
		return -EINVAL;

	ksm_state_take_pass();
	if (ksm_state.run != run) {
		WRITE_ONCE(ksm_state.run, run);
		if (run == KSM_RUN_UNMERGE) {
			err = ksm_unmerge_all();
			ksm_scan_restart();
			if (err)
				WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
			else
				WRITE_ONCE(ksm_counts.rounds, 0);
		}
	}
	mutex_unlock(&ksm_pass_lock);

	ksm_state_wake();
	leave_nothing();
	return err;
}

/**
 * ksm_ksmd_set_pages_to_scan() - set how many pages a batch reads
 * @pages: their number; with 0 ksmd waits
 *
 * Context: Process context.
 * Return: 0; -EINVAL while the advisor sets it.
 */
int ksm_ksmd_set_pages_to_scan(unsigned int pages)
{
	int err = ksm_advisor_set_pages_to_scan(pages);

	ksm_state_wake();
	leave_nothing();
	return err;
}

/**
 * ksm_ksmd_set_advisor_mode() - say who sets how many pages a batch reads
 * @mode: a value of &enum ksm_advisor_mode
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_ksmd_set_advisor_mode(enum ksm_advisor_mode mode)
{
	int err = ksm_advisor_set_mode(mode);

	ksm_state_wake();
	return err;
}

/**
 * ksm_ksmd_set_smart_scan() - read each page in each round, or old ones less often
 * @smart: whether pages that never merged are read less often
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_ksmd_set_smart_scan(bool smart)
{
	WRITE_ONCE(ksm_state.smart_scan, smart);
	return 0;
}

/**
 * ksm_ksmd_set_reread_rounds() - say how long a PTE is believed that says "not written to"
 * @rounds: a page is read once in so many rounds whatever its PTE says; 0 to believe
 *	    none
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_ksmd_set_reread_rounds(unsigned int rounds)
{
	WRITE_ONCE(ksm_state.reread_rounds, rounds);
	return 0;
}

/**
 * ksm_ksmd_set_use_zero_pages() - say whether pages of zeros become the zero page
 * @use: whether those that merge from now on do; what is merged stays as it is
 *
 * Context: Process context; waits for a batch or an unmerge to end.
 * Return: 0.
 */
int ksm_ksmd_set_use_zero_pages(bool use)
{
	ksm_state_take_pass();
	WRITE_ONCE(ksm_state.use_zero_pages, use);
	/* Those that are long known have a twin now. */
	ksm_sieve_stir(ksm_content_zero_hash());
	mutex_unlock(&ksm_pass_lock);
	return 0;
}

/**
 * ksm_ksmd_set_merge_across_nodes() - say whether pages of two NUMA nodes merge
 * @across: 1 if they do; 0 if a page's twins are looked for on its own node
 *
 * KSM pages that nobody's item maps any more are put where they belong.
 *
 * Context: Process context; waits for a batch or an unmerge to end.
 * Return: 0; -EINVAL; -EBUSY while pages are shared and @across is a change.
 */
int ksm_ksmd_set_merge_across_nodes(unsigned long across)
{
	int err = 0;

	if (across > 1)
		return -EINVAL;

	ksm_state_take_pass();
	if (ksm_state.merge_across_nodes != across) {
		if (READ_ONCE(ksm_counts.shared))
			err = -EBUSY;
		else
			WRITE_ONCE(ksm_state.merge_across_nodes, across);
		/* Who had a twin on another node may merge. */
		ksm_sieve_stir_all();
		/* Before an item can make a node look as if it were in its place. */
		if (!err)
			ksm_forget_due(ULONG_MAX);
	}
	mutex_unlock(&ksm_pass_lock);
	return err;
}

/**
 * ksm_ksmd_set_max_page_sharing() - set how often merging may map a page
 * @most: how often, at least 2
 *
 * Context: Process context; waits for a batch to end.
 * Return: 0; -EINVAL; -EBUSY while there are KSM pages.
 */
int ksm_ksmd_set_max_page_sharing(int most)
{
	int err = 0;

	if (most < 2)
		return -EINVAL;

	ksm_state_take_pass();
	if (most != ksm_state.max_page_sharing && READ_ONCE(ksm_counts.shared))
		err = -EBUSY;
	else
		WRITE_ONCE(ksm_state.max_page_sharing, most);
	mutex_unlock(&ksm_pass_lock);
	return err;
}

/**
 * ksm_ksmd_set_chains_prune() - set how often chains are gone through
 * @millisecs: the time between two looks at a chain
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_ksmd_set_chains_prune(unsigned int millisecs)
{
	WRITE_ONCE(ksm_state.chains_prune_millisecs, millisecs);
	return 0;
}

/**
 * ksm_ksmd_set_max_kernel_pages() - set how many KSM pages there may be
 * @pages: their number; 0 for any
 *
 * Where there are more already, none is added; pages go on joining them.
 *
 * Context: Process context; waits for a batch or an unmerge to end.
 * Return: 0.
 */
int ksm_ksmd_set_max_kernel_pages(unsigned long pages)
{
	ksm_state_take_pass();
	WRITE_ONCE(ksm_state.max_kernel_pages, pages);
	/* Any number may have waited for that. */
	ksm_sieve_stir_all();
	mutex_unlock(&ksm_pass_lock);
	return 0;
}

/**
 * ksm_ksmd_set_max_pages_to_merge() - set how many merges a batch may make
 * @pages: their number; 0 for any
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_ksmd_set_max_pages_to_merge(unsigned int pages)
{
	WRITE_ONCE(ksm_state.max_pages_to_merge, pages);
	return 0;
}

/**
 * ksm_ksmd_set_sleep_millisecs() - set the rest between two batches
 * @millisecs: its length; 0 for none
 *
 * The rest that is under way ends.
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_ksmd_set_sleep_millisecs(unsigned int millisecs)
{
	WRITE_ONCE(ksm_state.sleep_millisecs, millisecs);
	/* Pairs with rest(): the value before the pace. */
	(void)atomic_inc_return_release(&ksm_state.pace);
	ksm_state_wake();
	return 0;
}

/**
 * ksm_ksmd_set_offlining() - hold the scan off while memory goes away
 * @offlining: whether it is going
 *
 * On return no batch is under way. Unmerging and reverse-map walks go on.
 *
 * Context: Process context; waits for a batch or an unmerge to end.
 */
void ksm_ksmd_set_offlining(bool offlining)
{
	ksm_state_take_pass();
	WRITE_ONCE(ksm_state.offlining, offlining);
	mutex_unlock(&ksm_pass_lock);
	if (!offlining)
		ksm_state_wake();
}
