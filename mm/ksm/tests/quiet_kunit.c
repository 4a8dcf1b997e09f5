// SPDX-License-Identifier: GPL-2.0
/* Pages at rest are not asked of the sieve: who gets a twin merges all the same. */
#include <linux/ksm.h>
#include <linux/mm.h>

#include "../content.h"
#include "../item.h"
#include "../ksmd.h"
#include "../match.h"
#include "../mms.h"
#include "../record.h"
#include "../scan.h"
#include "../sieve.h"
#include "../state.h"
#include "fixture.h"

#define ROUNDS	20	/* more than the sieve goes on with what it was told */
#define STAND_INS	64	/* as many as may have to be had until one is where another was */
#define NOT_IN_TREE	12345	/* no round that an item can be of */

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static bool use_zero_pages;	/* as it was before the test */

static void restore(void *unused)
{
	WRITE_ONCE(ksm_state.use_zero_pages, use_zero_pages);
}

static int init(struct kunit *test)
{
	int err = ksm_test_init_known(test, &at);

	if (err)
		return err;
	use_zero_pages = ksm_state.use_zero_pages;
	ksm_test_at_end(test, restore, NULL);
	WRITE_ONCE(ksm_state.use_zero_pages, false);
	return 0;
}

static unsigned int count_quiet(unsigned int rounds)
{
	unsigned int quiet = 0;

	while (rounds--) {
		ksm_test_scan_round();
		quiet += ksm_test_is_quiet();
	}
	return quiet;
}

static u64 hash_at(unsigned long addr)
{
	return ksm_content_hash(&ksm_test_folio_at(at.mm, addr)->page);
}

static void nearly_all_rounds_are_quiet(struct kunit *test)
{
	KUNIT_EXPECT_GT(test, count_quiet(3 * ROUNDS), 2 * ROUNDS);
}

/* Nobody merges with himself; and a page that changes disturbs no other. */
static void forks_and_writers_leave_rounds_quiet(struct kunit *test)
{
	unsigned int i, quiet = 0;

	ksm_test_needs_hashes(test);
	ksm_test_fork(test, at.mm);
	KUNIT_EXPECT_GT(test, count_quiet(3 * ROUNDS), 2 * ROUNDS);
	for (i = 0; i < 3 * ROUNDS; i++) {
		ksm_test_write(test, at.mm, at.page[2], 1000 + i);
		quiet += count_quiet(1);
	}
	KUNIT_EXPECT_GT(test, quiet, ROUNDS);
}

static void who_gets_a_twin_merges_at_any_time(struct kunit *test)
{
	u64 content = 1000;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++, content += 2) {
		ksm_test_write(test, at.mm, at.page[1], content);
		ksm_test_write(test, at.mm, at.page[6], content + 1);
		ksm_test_scan_rounds(2 + i);
		KUNIT_ASSERT_EQ(test, ksm_counts.sharing, 0);
		ksm_test_write(test, at.mm, at.page[6], content);
		/* To be read, and to have held. */
		ksm_test_scan_rounds(2);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], content));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], content));
	}
}

static void twins_that_come_together_merge_at_any_time(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		ksm_test_scan_rounds(i);
		ksm_test_write(test, at.mm, at.page[1], 1000 + i);
		ksm_test_write(test, at.mm, at.page[6], 1000 + i);
		ksm_test_scan_rounds(2);
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
		ksm_test_scan_rounds(2);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
		ksm_test_write(test, at.mm, at.page[1], 2000 + i);
		ksm_test_write(test, at.mm, at.page[6], 3000 + i);
		ksm_test_scan_rounds(2);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	}
}

static void pages_of_zeros_merge_when_that_is_asked_for(struct kunit *test)
{
	ksm_test_write(test, at.mm, at.page[3], 0);
	ksm_test_scan_rounds(5);
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 0);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_use_zero_pages(true), 0);
	ksm_test_scan_rounds(1);
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[3], 0));
}

static void a_candidate_in_vain_is_a_value_again(struct kunit *test)
{
	ksm_test_needs_hashes(test);
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_rounds(1);
	ksm_test_write(test, at.mm, at.page[6], 8);
	ksm_test_scan_rounds(1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 1);
	ksm_test_scan_rounds(2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	/* It is not forgotten for that. */
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_rounds(2);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

static void free_item(void *item)
{
	ksm_item_free(item);
}

/*
 * Have the memory of an item that was freed, and let it lead to no page: a search that
 * comes to it says so, and takes it for one that is in the tree no more.
 */
static bool stand_in(struct kunit *test, struct ksm_item *gone, u64 hash)
{
	struct ksm_item *item = NULL;
	unsigned int i;

	for (i = 0; i < STAND_INS && item != gone; i++) {
		item = ksm_item_alloc(ksm_mms_find(at.mm), 0);
		KUNIT_ASSERT_NOT_NULL(test, item);
		ksm_test_at_end(test, free_item, item);
	}
	if (item != gone)
		return false;
	item->hash = hash;
	item->round = NOT_IN_TREE;
	return true;
}

/* Before a round is over it may come again to a candidate, which is something else then. */
static void a_candidate_that_changes_leaves_the_tree(struct kunit *test)
{
	struct mm_struct *behind = ksm_test_mm(test);
	unsigned long rounds;
	struct ksm_item *item;
	unsigned int i;
	bool there;
	u64 hash;

	ksm_test_needs_hashes(test);
	ksm_test_map(test, behind, 1);
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_rounds(1);
	ksm_test_write(test, at.mm, at.page[6], 8);
	hash = hash_at(at.page[1]);
	rounds = ksm_counts.rounds;
	for (i = 0; i < 100 && !atomic_long_read(&ksm_counts.items); i++) {
		mutex_lock(&ksm_pass_lock);
		ksm_scan_batch(1);
		mutex_unlock(&ksm_pass_lock);
	}
	KUNIT_ASSERT_EQ(test, ksm_counts.rounds, rounds);
	item = ksm_test_item_at(at.mm, at.page[1]);
	KUNIT_ASSERT_NOT_NULL(test, item);
	KUNIT_ASSERT_NE(test, item->round, 0);

	ksm_test_write(test, at.mm, at.page[1], 9);
	ksm_test_map(test, at.mm, 1);
	ksm_test_scan_rounds(1);
	KUNIT_ASSERT_NULL(test, ksm_test_item_at(at.mm, at.page[1]));
	/* The tree is what it was, until the next round begins. */
	ksm_test_write(test, at.mm, at.page[6], 7);
	/* With KASAN its memory is not to be had, and none may look at it. */
	there = stand_in(test, item, hash);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.page[6]), KSM_MATCH_WAITING);
	if (there)
		KUNIT_EXPECT_EQ(test, item->round, NOT_IN_TREE);
}

/* Merging across NUMA nodes, of those that had their twins elsewhere. */
static void a_change_of_mind_is_news_of_all(struct kunit *test)
{
	ksm_test_scan_rounds(4);
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(hash_at(at.page[3])));
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_merge_across_nodes(!ksm_state.merge_across_nodes), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_has_news(hash_at(at.page[3])));
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_merge_across_nodes(!ksm_state.merge_across_nodes), 0);
}

/*
 * An old page that changes is seldom read.  When it has come to rest the sieve must know
 * of it, also if it was not read in the round in which all are told of.
 */
static void who_comes_to_rest_late_is_known(struct kunit *test)
{
	unsigned long fresh = ksm_test_map(test, at.mm, ROUNDS);
	unsigned int i, round;
	u64 content = 1000;

	WRITE_ONCE(ksm_state.smart_scan, true);
	WRITE_ONCE(ksm_state.reread_rounds, 0);
	for (round = 0; round < 120; round++) {
		ksm_test_write(test, at.mm, at.page[1], content++);
		ksm_test_scan_rounds(1);
	}
	for (i = 0; i < ROUNDS; i++) {
		/* Another distance between its turn and the begin of the sieve's time. */
		mutex_lock(&ksm_pass_lock);
		ksm_sieve_drop();
		mutex_unlock(&ksm_pass_lock);
		ksm_test_scan_rounds(i);
		ksm_test_write(test, at.mm, at.page[1], content);
		ksm_test_scan_rounds(65);
		ksm_test_write(test, at.mm, fresh + i * PAGE_SIZE, content);
		ksm_test_scan_rounds(3);
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
		ksm_test_write(test, at.mm, at.page[1], ++content);
		ksm_test_write(test, at.mm, fresh + i * PAGE_SIZE, ++content);
		ksm_test_scan_rounds(2);
		/* It is old again. */
		for (round = 0; round < 120; round++) {
			ksm_test_write(test, at.mm, at.page[1], ++content);
			ksm_test_scan_rounds(1);
		}
		content++;
	}
}

/* When it is read at last, its twin is told, and it need not wait for its turn again. */
static void who_comes_to_rest_late_merges_at_once(struct kunit *test)
{
	unsigned long index = at.page[1] >> PAGE_SHIFT;
	u64 content = 1000;
	unsigned int round;

	WRITE_ONCE(ksm_state.smart_scan, true);
	for (round = 0; round < 120; round++) {
		ksm_test_write(test, at.mm, at.page[1], content++);
		ksm_test_scan_rounds(1);
	}
	ksm_test_write(test, at.mm, at.page[6], content);
	ksm_test_scan_rounds(40);
	/* Not in the round in which all are told of, for that is no rule. */
	while (!ksm_test_is_quiet())
		ksm_test_scan_rounds(1);
	ksm_test_write(test, at.mm, at.page[1], content);
	for (round = 0; round < 40; round++) {
		ksm_test_scan_rounds(1);
		if (ksm_record_has(ksm_record_load(ksm_mms_find(at.mm), index),
				   hash_at(at.page[6])))
			break;
	}
	ksm_test_scan_rounds(3);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], content));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], content));
}

/* Whoever was not told of in a round that was given up is told of in the next. */
static void a_round_that_begins_anew_tells_of_all(struct kunit *test)
{
	ksm_test_scan_rounds(4);
	mutex_lock(&ksm_pass_lock);
	ksm_scan_batch(1);
	ksm_scan_restart();
	ksm_scan_batch(1);
	KUNIT_EXPECT_TRUE(test, ksm_sieve_is_new());
	ksm_scan_restart();
	mutex_unlock(&ksm_pass_lock);
}

static struct kunit_case quiet_cases[] = {
	KUNIT_CASE(nearly_all_rounds_are_quiet),
	KUNIT_CASE(forks_and_writers_leave_rounds_quiet),
	KUNIT_CASE(a_candidate_in_vain_is_a_value_again),
	KUNIT_CASE(a_candidate_that_changes_leaves_the_tree),
	KUNIT_CASE(a_change_of_mind_is_news_of_all),
	KUNIT_CASE(who_comes_to_rest_late_is_known),
	KUNIT_CASE(who_comes_to_rest_late_merges_at_once),
	KUNIT_CASE(a_round_that_begins_anew_tells_of_all),
	KUNIT_CASE(who_gets_a_twin_merges_at_any_time),
	KUNIT_CASE(twins_that_come_together_merge_at_any_time),
	KUNIT_CASE(who_has_a_hash_that_others_had_merges),
	KUNIT_CASE(pages_of_zeros_merge_when_that_is_asked_for),
	{ }
};

static struct kunit_suite quiet_suite = {
	.name = "ksm_quiet",
	.init = init,
	.test_cases = quiet_cases,
};

kunit_test_suite(quiet_suite);
