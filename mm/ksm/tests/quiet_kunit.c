// SPDX-License-Identifier: GPL-2.0
/* Rounds in which nothing is asked of the sieve: who gets a twin then merges all the same. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../state.h"
#include "fixture.h"

#define ROUNDS	20	/* more than the sieve goes on with what it was told */

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

/* Knobs as they were before the test. */
static struct {
	unsigned long	max_kernel_pages;
	bool		use_zero_pages;
} before;

static void restore(void *unused)
{
	WRITE_ONCE(ksm_state.max_kernel_pages, before.max_kernel_pages);
	WRITE_ONCE(ksm_state.use_zero_pages, before.use_zero_pages);
}

static int init(struct kunit *test)
{
	int err = ksm_test_init_known(test, &at);

	if (err)
		return err;
	before.max_kernel_pages = ksm_state.max_kernel_pages;
	before.use_zero_pages = ksm_state.use_zero_pages;
	ksm_test_at_end(test, restore, NULL);
	WRITE_ONCE(ksm_state.use_zero_pages, false);
	return 0;
}

static void scan_rounds(unsigned int rounds)
{
	while (rounds--)
		ksm_test_scan_round();
}

static void nearly_all_rounds_are_quiet(struct kunit *test)
{
	unsigned int i, quiet = 0;

	for (i = 0; i < 3 * ROUNDS; i++) {
		ksm_test_scan_round();
		quiet += ksm_test_is_quiet();
	}
	KUNIT_EXPECT_GT(test, quiet, 2 * ROUNDS);
}

static void who_gets_a_twin_merges_at_any_time(struct kunit *test)
{
	u64 content = 1000;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++, content += 2) {
		ksm_test_write(test, at.mm, at.page[1], content);
		ksm_test_write(test, at.mm, at.page[6], content + 1);
		scan_rounds(2 + i);
		KUNIT_ASSERT_EQ(test, ksm_counts.sharing, 0);
		ksm_test_write(test, at.mm, at.page[6], content);
		/* To be read, and to have held. */
		scan_rounds(2);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], content));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], content));
	}
}

static void twins_that_come_together_merge_at_any_time(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		scan_rounds(i);
		ksm_test_write(test, at.mm, at.page[1], 1000 + i);
		ksm_test_write(test, at.mm, at.page[6], 1000 + i);
		scan_rounds(2);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], 1000 + i));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], 1000 + i));
	}
}

/* Of the old twin's hash the sieve knows until its time is over. */
static void who_has_a_hash_that_others_had_merges(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		ksm_test_write(test, at.mm, at.page[1], 1000);
		ksm_test_write(test, at.mm, at.page[6], 1000);
		scan_rounds(2);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
		ksm_test_write(test, at.mm, at.page[1], 2000 + i);
		ksm_test_write(test, at.mm, at.page[6], 3000 + i);
		scan_rounds(2);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	}
}

static void pages_of_zeros_merge_when_that_is_asked_for(struct kunit *test)
{
	ksm_test_write(test, at.mm, at.page[3], 0);
	scan_rounds(5);
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 0);
	WRITE_ONCE(ksm_state.use_zero_pages, true);
	scan_rounds(1);
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[3], 0));
}

static void who_waits_for_the_limit_merges_when_there_is_room(struct kunit *test)
{
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	scan_rounds(2);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 1);
	WRITE_ONCE(ksm_state.max_kernel_pages, 1);
	ksm_test_write(test, at.mm, at.page[2], 8);
	ksm_test_write(test, at.mm, at.page[5], 8);
	scan_rounds(5);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 1);
	WRITE_ONCE(ksm_state.max_kernel_pages, 0);
	scan_rounds(1);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[5], 8));
}

static void who_is_let_go_of_merges_at_once(struct kunit *test)
{
	struct folio *folio;

	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	folio = ksm_test_folio_at(at.mm, at.page[6]);
	folio_get(folio);
	scan_rounds(5);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	folio_put(folio);
	scan_rounds(1);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

static struct kunit_case quiet_cases[] = {
	KUNIT_CASE(nearly_all_rounds_are_quiet),
	KUNIT_CASE(who_gets_a_twin_merges_at_any_time),
	KUNIT_CASE(twins_that_come_together_merge_at_any_time),
	KUNIT_CASE(who_has_a_hash_that_others_had_merges),
	KUNIT_CASE(pages_of_zeros_merge_when_that_is_asked_for),
	KUNIT_CASE(who_waits_for_the_limit_merges_when_there_is_room),
	KUNIT_CASE(who_is_let_go_of_merges_at_once),
	{ }
};

static struct kunit_suite quiet_suite = {
	.name = "ksm_quiet",
	.init = init,
	.test_cases = quiet_cases,
};

kunit_test_suite(quiet_suite);
