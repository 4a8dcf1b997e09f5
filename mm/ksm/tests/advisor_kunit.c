// SPDX-License-Identifier: GPL-2.0
/* The advisor: which rounds tell how long the next ones will take. */
#include <linux/delay.h>

#include "../advisor.h"
#include "fixture.h"

/* More than a round as short as that of a test is worth. */
#define PAGES	1000

/* As it was before the test. */
static struct ksm_state before;

static void restore(void *unused)
{
	/* ksmd did not begin this round. */
	ksm_advisor_pause();
	ksm_advisor_set_mode(before.advisor_mode);
	WRITE_ONCE(ksm_state.advisor_min_pages, before.advisor_min_pages);
	WRITE_ONCE(ksm_state.advisor_max_pages, before.advisor_max_pages);
	WRITE_ONCE(ksm_state.advisor_max_cpu, before.advisor_max_cpu);
	WRITE_ONCE(ksm_state.advisor_target, before.advisor_target);
	WRITE_ONCE(ksm_state.pages_to_scan, before.pages_to_scan);
}

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	before = ksm_state;
	ksm_test_at_end(test, restore, NULL);
	ksm_advisor_set_min_pages(1);
	ksm_advisor_set_max_pages(2 * PAGES);
	ksm_advisor_set_target(200);
	return ksm_advisor_set_mode(KSM_ADVISOR_SCAN_TIME);
}

/* Let a round end, of batches with PAGES, and the next one begin. */
static bool is_advice(void)
{
	WRITE_ONCE(ksm_state.pages_to_scan, PAGES);
	ksm_advisor_round();
	return ksm_state.pages_to_scan != PAGES;
}

/*
 * Go through rounds up to one that is advice: the first is not, and ksmd may have been
 * about to pause.
 */
static bool comes_to_advice(void)
{
	int tries = 3000;

	while (!is_advice() && tries--)
		msleep(20);
	return tries >= 0;
}

static void a_round_is_advice_for_the_next_one(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, comes_to_advice());
	/* So short a round may be longer. */
	KUNIT_EXPECT_LT(test, ksm_state.pages_to_scan, PAGES);
}

static void a_round_with_a_pause_is_no_advice(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, comes_to_advice());
	ksm_advisor_pause();
	KUNIT_EXPECT_FALSE(test, is_advice());
	KUNIT_EXPECT_TRUE(test, comes_to_advice());
}

static void a_round_from_before_the_advisor_came_is_no_advice(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, comes_to_advice());
	ksm_advisor_set_mode(KSM_ADVISOR_NONE);
	KUNIT_EXPECT_FALSE(test, is_advice());
	ksm_advisor_set_mode(KSM_ADVISOR_SCAN_TIME);
	KUNIT_EXPECT_FALSE(test, is_advice());
	KUNIT_EXPECT_TRUE(test, comes_to_advice());
}

/* Of so many seconds on 64 bits, no bit of the nanoseconds is left if they wrap. */
static void a_target_can_be_of_any_length(struct kunit *test)
{
	ksm_advisor_set_target(ULONG_MAX / 512 + 1);
	/* So that only the target counts. */
	ksm_advisor_set_max_cpu(100);
	KUNIT_EXPECT_TRUE(test, comes_to_advice());
	KUNIT_EXPECT_LT(test, ksm_state.pages_to_scan, PAGES);
}

static struct kunit_case advisor_cases[] = {
	KUNIT_CASE(a_round_is_advice_for_the_next_one),
	KUNIT_CASE(a_target_can_be_of_any_length),
	KUNIT_CASE(a_round_with_a_pause_is_no_advice),
	KUNIT_CASE(a_round_from_before_the_advisor_came_is_no_advice),
	{ }
};

static struct kunit_suite advisor_suite = {
	.name = "ksm_advisor",
	.init = init,
	.test_cases = advisor_cases,
};

kunit_test_suite(advisor_suite);
