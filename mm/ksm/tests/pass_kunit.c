// SPDX-License-Identifier: GPL-2.0
/* Who waits for ksm_pass_lock or for an mm: a batch gives way, and goes on later. */
#include <linux/cpumask.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "../bury.h"
#include "../ksmd.h"
#include "../mms.h"
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

/* Who waits for ksm_pass_lock. */
static struct task_struct *taker;

/* As a setter does that wants no batch under way. */
static void take_pass(struct work_struct *work)
{
	WRITE_ONCE(taker, current);
	ksm_state_take_pass();
	mutex_unlock(&ksm_pass_lock);
}

/* As one does that maps memory, or unmaps it. */
static void take_mm(struct work_struct *work)
{
	mmap_write_lock(at.mm);
	mmap_write_unlock(at.mm);
}

static DECLARE_WORK(setter, take_pass);
static DECLARE_WORK(mapper, take_mm);

static bool mm_wanted(void)
{
	return mmap_lock_is_contended(at.mm);
}

/*
 * Let another CPU wait for a lock that is held; flush the work when it is not any more.
 * False if nobody waits after ten seconds.
 */
static bool let(struct work_struct *who, bool (*waits)(void))
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	unsigned long until = jiffies + 10 * HZ;

	schedule_work_on(cpu, who);
	while (!waits() && time_before(jiffies, until))
		cpu_relax();
	return waits();
}

static bool let_pass_be_wanted(void)
{
	return let(&setter, ksm_state_pass_wanted);
}

static bool let_mm_be_wanted(void)
{
	return let(&mapper, mm_wanted);
}

static bool let_mm_exit(void)
{
	return ksm_mms_leave(at.mm) == KSM_LEAVE_BUSY;
}

/* The thread of a test is none that can be frozen, but for as long as it says so. */
static bool let_freeze(void)
{
	current->flags &= ~PF_NOFREEZE;
	ksm_test_freeze();
	return freezing(current);
}

static void end_freeze(void)
{
	ksm_test_thaw();
	current->flags |= PF_NOFREEZE;
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
	waits = let_pass_be_wanted();
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

/* A batch that ends before it has read a page. False if it does not. */
static bool cut_batch(unsigned int pages)
{
	bool cut;

	mutex_lock(&ksm_pass_lock);
	cut = let_pass_be_wanted();
	ksm_scan_batch(pages);
	cut &= ksm_scan_is_cut();
	mutex_unlock(&ksm_pass_lock);
	flush_work(&setter);
	return cut;
}

/* It would have to wait as long as the user has set sleep_millisecs. */
static void the_rest_of_a_batch_that_was_cut_is_not_put_off(struct kunit *test)
{
	write_pages(test, 0, 1000);
	KUNIT_EXPECT_TRUE(test, cut_batch(2));
	KUNIT_EXPECT_EQ(test, ksm_test_scan_batch(2), 2);
	KUNIT_EXPECT_FALSE(test, ksm_scan_is_cut());
	/* When ksmd has stood still there is nothing that was put off. */
	KUNIT_EXPECT_TRUE(test, cut_batch(2));
	ksm_scan_pause();
	KUNIT_EXPECT_FALSE(test, ksm_scan_is_cut());
	KUNIT_EXPECT_TRUE(test, cut_batch(2));
	/* As much as somebody wants now. */
	KUNIT_EXPECT_EQ(test, ksm_test_scan_batch(1000), KSM_TEST_KNOWN - 2);
	KUNIT_EXPECT_FALSE(test, ksm_scan_is_cut());
}

/* Who sleeps uninterruptibly for two minutes is reported as a task that hangs. */
static void who_waits_for_an_unmerge_does_not_hang(struct kunit *test)
{
	unsigned long until = jiffies + 10 * HZ;
	unsigned int state = TASK_RUNNING;
	bool waits;

	WRITE_ONCE(taker, NULL);
	mutex_lock(&ksm_pass_lock);
	waits = let_pass_be_wanted();
	/* Nobody spins for a lock whose owner sleeps. */
	while (waits && state == TASK_RUNNING && time_before(jiffies, until)) {
		schedule_timeout_uninterruptible(1);
		if (READ_ONCE(taker))
			state = READ_ONCE(taker->__state);
	}
	mutex_unlock(&ksm_pass_lock);
	flush_work(&setter);

	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_EQ(test, state, TASK_INTERRUPTIBLE);
}

/* Those who want no batch under way; each sets what is set already. */
static void set_run(void)
{
	ksm_ksmd_set_run(ksm_state.run);
}

static void set_use_zero_pages(void)
{
	ksm_ksmd_set_use_zero_pages(ksm_state.use_zero_pages);
}

static void set_merge_across_nodes(void)
{
	ksm_ksmd_set_merge_across_nodes(ksm_state.merge_across_nodes);
}

static void set_max_page_sharing(void)
{
	ksm_ksmd_set_max_page_sharing(ksm_state.max_page_sharing);
}

static void set_max_kernel_pages(void)
{
	ksm_ksmd_set_max_kernel_pages(ksm_state.max_kernel_pages);
}

static void set_offlining(void)
{
	ksm_ksmd_set_offlining(false);
}

static const struct {
	const char	*name;
	void		(*set)(void);
} knobs[] = {
	{ "use_zero_pages",	set_use_zero_pages },
	{ "merge_across_nodes",	set_merge_across_nodes },
	{ "max_page_sharing",	set_max_page_sharing },
	{ "max_kernel_pages",	set_max_kernel_pages },
	{ "offlining",		set_offlining },
	/* Last: a burial follows, which asks as well. */
	{ "run",		set_run },
};

static unsigned int which;

static void set_knob(struct work_struct *work)
{
	knobs[which].set();
}

static DECLARE_WORK(user, set_knob);

static void who_sets_a_knob_comes_before_a_batch(struct kunit *test)
{
	bool waits;

	for (which = 0; which < ARRAY_SIZE(knobs); which++) {
		mutex_lock(&ksm_pass_lock);
		waits = let(&user, ksm_state_pass_wanted);
		mutex_unlock(&ksm_pass_lock);
		flush_work(&user);
		KUNIT_EXPECT_TRUE_MSG(test, waits, "%s", knobs[which].name);
	}
}

/* In the middle of a batch. */
static struct {
	bool		(*comes)(void);
	bool		met;	/* it has come there */
	bool		came;
	unsigned long	rounds;	/* and read pages, since then */
	unsigned long	scanned;
	struct ksm_mm	*km;
	unsigned long	next;	/* when two pages were last compared */
} middle;

static int let_come_once(struct page *a, struct page *b, int order)
{
	if (!middle.met)
		middle.came = middle.comes();
	middle.met = true;
	middle.next = READ_ONCE(middle.km->next);
	return order;
}

/* A batch, in the middle of which somebody comes: when the first two pages are compared. */
static void scan_until(struct kunit *test, bool (*comes)(void))
{
	memset(&middle, 0, sizeof(middle));
	middle.comes = comes;
	middle.km = ksm_mms_find(at.mm);
	ksm_test_on_compare(test, let_come_once);
	mutex_lock(&ksm_pass_lock);
	middle.rounds = ksm_counts.rounds;
	middle.scanned = ksm_counts.scanned;
	ksm_scan_batch(1000);
	middle.rounds = ksm_counts.rounds - middle.rounds;
	middle.scanned = ksm_counts.scanned - middle.scanned;
	mutex_unlock(&ksm_pass_lock);
	end_freeze();
	flush_work(&setter);
	flush_work(&mapper);

	KUNIT_EXPECT_TRUE(test, middle.met);
	KUNIT_EXPECT_TRUE(test, middle.came);
}

/* So that @pages of the known ones are compared in the next batch, two and two. */
static void make_pairs(struct kunit *test, unsigned int first, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < pages; i++)
		ksm_test_write(test, at.mm, at.page[first + i], 7 + i / 2);
	KUNIT_ASSERT_EQ(test, ksm_test_scan_round(), pages);
}

/* Who comes when two pages are about to merge does not wait for others to be read. */
static void expect_one_page(struct kunit *test, bool (*comes)(void))
{
	make_pairs(test, 2, 2);
	/* Those behind them are to be read. */
	write_pages(test, 4, 1000);
	scan_until(test, comes);
	KUNIT_EXPECT_EQ(test, middle.scanned, 0);
	KUNIT_EXPECT_EQ(test, middle.rounds, 0);
	/* None is left out. */
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN - 4);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[2]));
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[3]));
}

static void who_comes_in_the_middle_waits_for_one_page(struct kunit *test)
{
	expect_one_page(test, let_pass_be_wanted);
}

static void who_freezes_waits_for_one_page(struct kunit *test)
{
	ksm_test_may_freeze(test);
	expect_one_page(test, let_freeze);
}

static void who_wants_the_mm_waits_for_one_page(struct kunit *test)
{
	make_pairs(test, 2, 4);
	scan_until(test, let_mm_be_wanted);
	/* The lock was let go before the second pair was compared. */
	KUNIT_EXPECT_GT(test, middle.next, at.page[2]);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[3]));
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[5]));
}

static void expect_buried(struct kunit *test)
{
	ksm_bury_soon();
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 0));
}

static void P33_who_exits_waits_for_one_page(struct kunit *test)
{
	make_pairs(test, 2, 2);
	write_pages(test, 4, 1000);
	scan_until(test, let_mm_exit);
	KUNIT_EXPECT_EQ(test, middle.scanned, 0);
	KUNIT_EXPECT_EQ(test, middle.rounds, 1);
	expect_buried(test);
}

static struct ksm_glance_run run;

/* A walk, before which somebody comes. */
static void walk_after(struct kunit *test, bool (*comes)(void))
{
	unsigned long end;
	unsigned int found;
	bool came;

	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.page[0], PAGE_SIZE, MADV_UNMERGEABLE), 0);
	/* What is recorded there goes first, or the walk ended for that. */
	KUNIT_ASSERT_EQ(test, ksm_test_scan_round(), 0);
	write_pages(test, 1, 1000);
	mutex_lock(&ksm_pass_lock);
	ksm_mms_rewind();
	run.km = ksm_mms_next();
	mmap_read_lock(at.mm);
	run.most = U64_MAX;
	run.reads = UINT_MAX;
	came = comes();
	/* It may have taken a while, and a walk also ends for that. */
	cond_resched();
	ksm_walk_next(&run, 0);
	end = run.end;
	found = run.nr;
	ksm_walk_cut(&run, 0, 0);
	mmap_read_unlock(at.mm);
	ksm_mms_put(run.km, true);
	mutex_unlock(&ksm_pass_lock);
	end_freeze();
	flush_work(&setter);
	flush_work(&mapper);

	KUNIT_EXPECT_TRUE(test, came);
	/* It has passed over the first VMA, in which nothing is offered. */
	KUNIT_EXPECT_EQ(test, end, at.page[1]);
	KUNIT_EXPECT_EQ(test, found, 0);
}

static void who_waits_does_not_wait_for_a_long_walk(struct kunit *test)
{
	walk_after(test, let_pass_be_wanted);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN - 1);
}

static void who_wants_the_mm_does_not_wait_for_a_long_walk(struct kunit *test)
{
	walk_after(test, let_mm_be_wanted);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN - 1);
}

static void who_freezes_does_not_wait_for_a_long_walk(struct kunit *test)
{
	ksm_test_may_freeze(test);
	walk_after(test, let_freeze);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN - 1);
}

static void P33_who_exits_does_not_wait_for_a_long_walk(struct kunit *test)
{
	walk_after(test, let_mm_exit);
	expect_buried(test);
}

static struct kunit_case pass_cases[] = {
	KUNIT_CASE(who_waits_comes_before_a_batch),
	KUNIT_CASE(the_rest_of_a_batch_that_was_cut_is_not_put_off),
	KUNIT_CASE(who_waits_for_an_unmerge_does_not_hang),
	KUNIT_CASE(who_sets_a_knob_comes_before_a_batch),
	KUNIT_CASE(who_comes_in_the_middle_waits_for_one_page),
	KUNIT_CASE(who_freezes_waits_for_one_page),
	KUNIT_CASE(who_wants_the_mm_waits_for_one_page),
	KUNIT_CASE(P33_who_exits_waits_for_one_page),
	KUNIT_CASE(who_waits_does_not_wait_for_a_long_walk),
	KUNIT_CASE(who_wants_the_mm_does_not_wait_for_a_long_walk),
	KUNIT_CASE(who_freezes_does_not_wait_for_a_long_walk),
	KUNIT_CASE(P33_who_exits_does_not_wait_for_a_long_walk),
	{ }
};

static struct kunit_suite pass_suite = {
	.name = "ksm_pass",
	.init = init,
	.test_cases = pass_cases,
};

kunit_test_suite(pass_suite);
