// SPDX-License-Identifier: GPL-2.0
/* The thread itself: when it scans, when it rests, and that it can be frozen. */
#include <linux/freezer.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/string.h>

#include "../advisor.h"
#include "../ksmd.h"
#include "../scan.h"
#include "../state.h"
#include "fixture.h"

/* More than the advisor makes of a round as short as that of a test. */
#define MANY	10000

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static struct task_struct *ksmd;

/* As it was before the test. */
static struct ksm_state before;

static void put_ksmd(void *unused)
{
	put_task_struct(ksmd);
}

static void restore(void *unused)
{
	/* ksmd did not begin this round. */
	ksm_advisor_pause();
	ksm_advisor_set_mode(before.advisor_mode);
	WRITE_ONCE(ksm_state.pages_to_scan, before.pages_to_scan);
	ksm_ksmd_set_sleep_millisecs(before.sleep_millisecs);
}

static int init(struct kunit *test)
{
	struct task_struct *task;

	ksmd = NULL;
	rcu_read_lock();
	for_each_process(task)
		if (task->flags & PF_KTHREAD && !strcmp(task->comm, "ksmd"))
			ksmd = task;
	if (ksmd)
		get_task_struct(ksmd);
	rcu_read_unlock();
	KUNIT_ASSERT_NOT_NULL(test, ksmd);
	ksm_test_at_end(test, put_ksmd, NULL);
	before = ksm_state;
	ksm_test_at_end(test, restore, NULL);
	return ksm_test_init_known(test, &at);
}

static bool ksmd_sleeps(void)
{
	return READ_ONCE(ksmd->__state) & TASK_INTERRUPTIBLE;
}

/* For what to do, or for its time. */
static bool ksmd_rests(void)
{
	/* Nobody else waits there. Asked again and again. */
	return waitqueue_active(&ksm_work_wait) && ksmd_sleeps();
}

/*
 * Interruptibly: whoever holds the lock may hold it for minutes, and after two a task that
 * waits otherwise is reported.
 */
static bool ksmd_waits_for_lock(void)
{
	/* Asked again and again, as above. */
	return !waitqueue_active(&ksm_work_wait) && ksmd_sleeps();
}

/* Let ksmd come up to where it waits for the lock, and find that run is 0 after all. */
static void let_come_in_vain(struct kunit *test)
{
	bool waits;

	KUNIT_ASSERT_FALSE(test, ksm_scan_wants_drain());
	mutex_lock(&ksm_pass_lock);
	WRITE_ONCE(ksm_state.run, KSM_RUN_MERGE);
	ksm_state_wake();
	/* It has looked at run before. */
	waits = ksm_test_comes_true(ksmd_waits_for_lock);
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_true(ksmd_rests));
}

static void no_batch_begins_after_run_was_set_to_0(struct kunit *test)
{
	unsigned long rounds, scanned;
	int i;

	for (i = 0; i < KSM_TEST_KNOWN; i++)
		ksm_test_write(test, at.mm, at.page[i], 1000 + i);
	rounds = ksm_counts.rounds;
	scanned = ksm_counts.scanned;
	let_come_in_vain(test);
	KUNIT_EXPECT_EQ(test, ksm_counts.scanned, scanned);
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds);
}

/* A thread of the kernel is not, unless it says so: a hibernation would save what it changes. */
static void ksmd_can_be_frozen(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_FREEZER))
		kunit_skip(test, "needs CONFIG_FREEZER");
	KUNIT_ASSERT_TRUE(test, ksm_test_comes_true(ksmd_rests));
	KUNIT_EXPECT_FALSE(test, READ_ONCE(ksmd->flags) & PF_NOFREEZE);
}

static bool ksmd_is_frozen(void)
{
	return frozen(ksmd);
}

static void ksmd_freezes_between_two_batches(struct kunit *test)
{
	bool freezes;

	ksm_test_may_freeze(test);
	ksm_test_at_end(test, ksm_test_stop_ksmd, NULL);
	/* Where it has no rest, there is no wait in which it could be frozen. */
	ksm_ksmd_set_sleep_millisecs(0);
	KUNIT_ASSERT_EQ(test, ksm_ksmd_set_run(KSM_RUN_MERGE), 0);
	KUNIT_ASSERT_TRUE(test, ksm_test_goes_round());
	ksm_test_freeze();
	freezes = ksm_test_comes_true(ksmd_is_frozen);
	ksm_test_thaw();
	KUNIT_EXPECT_TRUE(test, freezes);
	KUNIT_EXPECT_TRUE(test, ksm_test_goes_round());
}

static void a_pause_of_ksmd_belongs_to_no_round(struct kunit *test)
{
	ksm_advisor_set_mode(KSM_ADVISOR_SCAN_TIME);
	/* As if ksmd began one. */
	ksm_advisor_round();
	let_come_in_vain(test);
	WRITE_ONCE(ksm_state.pages_to_scan, MANY);
	ksm_advisor_round();
	KUNIT_EXPECT_EQ(test, ksm_state.pages_to_scan, MANY);
	/* That was a round without a pause. */
	ksm_advisor_round();
	KUNIT_EXPECT_NE(test, ksm_state.pages_to_scan, MANY);
}

static void ksmd_wakes_up_when_the_advisor_comes(struct kunit *test)
{
	ksm_test_at_end(test, ksm_test_stop_ksmd, NULL);
	/* It waits for something to do then; that run is 1 nobody tells it. */
	let_come_in_vain(test);
	WRITE_ONCE(ksm_state.pages_to_scan, 0);
	WRITE_ONCE(ksm_state.run, KSM_RUN_MERGE);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_advisor_mode(KSM_ADVISOR_SCAN_TIME), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_goes_round());
}

static struct kunit_case ksmd_cases[] = {
	KUNIT_CASE(no_batch_begins_after_run_was_set_to_0),
	KUNIT_CASE(ksmd_can_be_frozen),
	KUNIT_CASE(ksmd_freezes_between_two_batches),
	KUNIT_CASE(a_pause_of_ksmd_belongs_to_no_round),
	KUNIT_CASE(ksmd_wakes_up_when_the_advisor_comes),
	{ }
};

static struct kunit_suite ksmd_suite = {
	.name = "ksm_ksmd",
	.init = init,
	.test_cases = ksmd_cases,
};

kunit_test_suite(ksmd_suite);
