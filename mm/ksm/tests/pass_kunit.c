// SPDX-License-Identifier: GPL-2.0
/* Who waits for ksm_pass_lock: a batch gives way, and goes on later. */
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "../scan.h"
#include "../state.h"
#include "../walk.h"
#include "fixture.h"

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static int init(struct kunit *test)
{
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	return ksm_test_init_known(test, &at);
}

/* As a setter does that wants no batch under way. */
static void take_pass(struct work_struct *work)
{
	ksm_state_take_pass();
	mutex_unlock(&ksm_pass_lock);
}

static DECLARE_WORK(setter, take_pass);

/*
 * Let another CPU wait for the lock, which is held; flush the work when it is not any
 * more. False if nobody waits after ten seconds.
 */
static bool let_wait(void)
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	unsigned long until = jiffies + 10 * HZ;

	schedule_work_on(cpu, &setter);
	while (!ksm_state_pass_wanted() && time_before(jiffies, until))
		cpu_relax();
	return ksm_state_pass_wanted();
}

static void write_pages(struct kunit *test, unsigned int first, u64 content)
{
	for (; first < KSM_TEST_KNOWN; first++)
		ksm_test_write(test, at.mm, at.page[first], content++);
}

static void who_waits_comes_before_a_batch(struct kunit *test)
{
	unsigned long rounds, scanned;
	bool waits;

	write_pages(test, 0, 1000);
	mutex_lock(&ksm_pass_lock);
	waits = let_wait();
	rounds = ksm_counts.rounds;
	scanned = ksm_counts.scanned;
	ksm_scan_batch(1000);
	rounds = ksm_counts.rounds - rounds;
	scanned = ksm_counts.scanned - scanned;
	mutex_unlock(&ksm_pass_lock);
	flush_work(&setter);

	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_EQ(test, scanned, 0);
	KUNIT_EXPECT_EQ(test, rounds, 0);
	KUNIT_EXPECT_FALSE(test, ksm_state_pass_wanted());
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
}

/* In the middle of a batch. */
static struct {
	bool	met;	/* it has come there */
	bool	waits;
} middle;

static int let_wait_once(struct page *a, struct page *b, int order)
{
	if (!middle.met)
		middle.waits = let_wait();
	middle.met = true;
	return order;
}

static void who_comes_in_the_middle_waits_for_one_page(struct kunit *test)
{
	unsigned long rounds, scanned;

	memset(&middle, 0, sizeof(middle));
	ksm_test_write(test, at.mm, at.page[2], 7);
	ksm_test_write(test, at.mm, at.page[3], 7);
	KUNIT_ASSERT_EQ(test, ksm_test_scan_round(), 2);
	/* Now the two are compared, and those behind them are to be read. */
	write_pages(test, 4, 1000);
	ksm_test_on_compare(test, let_wait_once);
	mutex_lock(&ksm_pass_lock);
	rounds = ksm_counts.rounds;
	scanned = ksm_counts.scanned;
	ksm_scan_batch(1000);
	rounds = ksm_counts.rounds - rounds;
	scanned = ksm_counts.scanned - scanned;
	mutex_unlock(&ksm_pass_lock);
	flush_work(&setter);

	KUNIT_EXPECT_TRUE(test, middle.met);
	KUNIT_EXPECT_TRUE(test, middle.waits);
	KUNIT_EXPECT_EQ(test, scanned, 0);
	KUNIT_EXPECT_EQ(test, rounds, 0);
	/* None is left out. */
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN - 4);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[2]));
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[3]));
}

static struct ksm_glance_run run;

static void who_waits_does_not_wait_for_a_long_walk(struct kunit *test)
{
	unsigned long end;
	unsigned int found;
	bool waits;

	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.page[0], PAGE_SIZE, MADV_UNMERGEABLE), 0);
	/* What is recorded there goes first, or the walk ended for that. */
	KUNIT_ASSERT_EQ(test, ksm_test_scan_round(), 0);
	write_pages(test, 1, 1000);
	run.km = ksm_test_lock(at.mm);
	run.most = U64_MAX;
	run.reads = UINT_MAX;
	waits = let_wait();
	/* It may have taken a while, and a walk also ends for that. */
	cond_resched();
	ksm_walk_next(&run, 0);
	end = run.end;
	found = run.nr;
	ksm_walk_cut(&run, 0, 0);
	ksm_test_unlock(at.mm);
	flush_work(&setter);

	KUNIT_EXPECT_TRUE(test, waits);
	/* It has passed over the first VMA, in which nothing is offered. */
	KUNIT_EXPECT_EQ(test, end, at.page[1]);
	KUNIT_EXPECT_EQ(test, found, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN - 1);
}

static struct kunit_case pass_cases[] = {
	KUNIT_CASE(who_waits_comes_before_a_batch),
	KUNIT_CASE(who_comes_in_the_middle_waits_for_one_page),
	KUNIT_CASE(who_waits_does_not_wait_for_a_long_walk),
	{ }
};

static struct kunit_suite pass_suite = {
	.name = "ksm_pass",
	.init = init,
	.test_cases = pass_cases,
};

kunit_test_suite(pass_suite);
