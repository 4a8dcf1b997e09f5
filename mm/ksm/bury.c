// SPDX-License-Identifier: GPL-2.0
/*
 * Burying mms that have exited, whatever the run state.
 *
 * An exit does not wait: it leaves its registration among the dead, and a work
 * item drops what was known of it. By then the pages themselves are gone or
 * going; the nodes that are left without anybody are looked at once more, a
 * moment later, when the exits are through.
 *
 * Floor 5: knows mms and forgetting.
 */
#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "bury.h"
#include "forget.h"
#include "mms.h"
#include "node.h"
#include "state.h"

static void sweep(struct work_struct *work);
static void bury(struct work_struct *work);

static DECLARE_WORK(bury_work, bury);
static DECLARE_DELAYED_WORK(sweep_work, sweep);

/* Look at idle nodes again, as long as that ends some. */
static void sweep(struct work_struct *work)
{
	unsigned long before = ksm_node_count_idle(), left;

	ksm_state_take_pass();
	ksm_forget_idle(ULONG_MAX);
	mutex_unlock(&ksm_pass_lock);

	left = ksm_node_count_idle();
	if (left && left < before)
		queue_delayed_work(system_unbound_wq, &sweep_work, HZ);
}

static void bury(struct work_struct *work)
{
	struct ksm_mm *km;

	ksm_state_take_pass();
	while ((km = ksm_mms_take_dead())) {
		ksm_forget_all(km, KSM_FORGET_EMPTIED);
		ksm_mms_free(km);
		cond_resched();
	}
	mutex_unlock(&ksm_pass_lock);

	if (ksm_node_count_idle())
		queue_delayed_work(system_unbound_wq, &sweep_work, HZ);
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
