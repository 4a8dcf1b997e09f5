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

/* After so many sweeps in vain, who is left is not going: minutes have passed. */
#define SWEEPS_IN_VAIN	8

static void sweep(struct work_struct *work);
static void bury(struct work_struct *work);

static DECLARE_WORK(bury_work, bury);
static DECLARE_DELAYED_WORK(sweep_work, sweep);

/* Sweeps that found nothing to end, in a row: the next one waits longer. */
static unsigned int sweeps_in_vain;

static void sweep_later(void)
{
	unsigned int vain = READ_ONCE(sweeps_in_vain);

	if (ksm_node_count_due() && vain < SWEEPS_IN_VAIN)
		queue_delayed_work(system_unbound_wq, &sweep_work, HZ << vain);
}

/* Look at idle nodes again, as long as that ends some. */
static void sweep(struct work_struct *work)
{
	unsigned long before = ksm_node_count_due(), left;

	for (left = before; left; left -= min(left, NODES_AT_ONCE)) {
		ksm_state_take_pass();
		ksm_forget_due(min(left, NODES_AT_ONCE));
		mutex_unlock(&ksm_pass_lock);
	}
	WRITE_ONCE(sweeps_in_vain, ksm_node_count_due() < before ? 0 :
				   READ_ONCE(sweeps_in_vain) + 1);
	sweep_later();
}

static void bury(struct work_struct *work)
{
	bool more;

	do {
		ksm_state_take_pass();
		more = ksm_forget_dead();
		if (!ksm_state_known())
			ksm_sieve_drop();
		mutex_unlock(&ksm_pass_lock);
	} while (more);

	WRITE_ONCE(sweeps_in_vain, 0);
	sweep_later();
}

/**
 * ksm_bury_soon() - see that the dead are buried
 *
 * Context: Any context. Does not sleep.
 */
void ksm_bury_soon(void)
{
	queue_work(system_unbound_wq, &bury_work);
}
