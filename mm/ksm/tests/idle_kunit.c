// SPDX-License-Identifier: GPL-2.0
/* Where nothing is offered, ksmd need not go round again and again. */
#include <linux/mm.h>
#include <linux/mman.h>

#include "../scan.h"
#include "../state.h"
#include "fixture.h"

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static int init(struct kunit *test)
{
	return ksm_test_init_known(test, &at);
}

static int advise(unsigned int first, unsigned int pages, int advice)
{
	return do_madvise(at.mm, at.page[first], pages * PAGE_SIZE, advice);
}

static bool is_idle_after_round(void)
{
	ksm_test_scan_round();
	return ksm_scan_is_idle();
}

static void where_nothing_is_offered_the_scan_is_idle(struct kunit *test)
{
	struct mm_struct *other;

	KUNIT_EXPECT_FALSE(test, is_idle_after_round());
	/* An offer of nothing is one: pages may come. */
	KUNIT_ASSERT_EQ(test, advise(0, KSM_TEST_KNOWN, MADV_DONTNEED), 0);
	KUNIT_EXPECT_FALSE(test, is_idle_after_round());
	KUNIT_ASSERT_EQ(test, advise(0, KSM_TEST_KNOWN, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_TRUE(test, is_idle_after_round());
	KUNIT_EXPECT_TRUE(test, is_idle_after_round());
	other = ksm_test_mm(test);
	ksm_test_map(test, other, 1);
	KUNIT_EXPECT_FALSE(test, is_idle_after_round());
	ksm_test_exit(test, other);
	KUNIT_EXPECT_TRUE(test, is_idle_after_round());

	KUNIT_ASSERT_EQ(test, advise(1, 1, MADV_MERGEABLE), 0);
	/* One that has only begun tells nothing. */
	mutex_lock(&ksm_pass_lock);
	ksm_scan_batch(0);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_FALSE(test, ksm_scan_is_idle());
	KUNIT_EXPECT_FALSE(test, is_idle_after_round());
}

/* Who has merged much and takes it back leaves many nodes behind: they go at ksmd's pace. */
static void while_nodes_are_forgotten_the_scan_is_not_idle(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < KSM_TEST_KNOWN; i++)
		ksm_test_write(test, at.mm, at.page[i], i / 2);
	ksm_test_scan_round();
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, atomic_long_read(&ksm_counts.nodes), KSM_TEST_KNOWN / 2);
	KUNIT_ASSERT_EQ(test, advise(0, KSM_TEST_KNOWN, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_FALSE(test, is_idle_after_round());
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	KUNIT_EXPECT_TRUE(test, is_idle_after_round());
}

static struct kunit_case idle_cases[] = {
	KUNIT_CASE(where_nothing_is_offered_the_scan_is_idle),
	KUNIT_CASE(while_nodes_are_forgotten_the_scan_is_not_idle),
	{ }
};

static struct kunit_suite idle_suite = {
	.name = "ksm_idle",
	.init = init,
	.test_cases = idle_cases,
};

kunit_test_suite(idle_suite);
