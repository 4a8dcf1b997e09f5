// SPDX-License-Identifier: GPL-2.0
/* Who has a twin and cannot merge is tried again, and others are at rest all the same. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/random.h>

#include "../content.h"
#include "../ksmd.h"
#include "../scan.h"
#include "../sieve.h"
#include "../state.h"
#include "fixture.h"

#define ROUNDS	20	/* more than the sieve goes on with what it was told */
#define CROWD	10000	/* more than there is room for in the sieve's news */

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static unsigned long max_kernel_pages;	/* as it was before the test */

static void restore(void *unused)
{
	WRITE_ONCE(ksm_state.max_kernel_pages, max_kernel_pages);
}

static int init(struct kunit *test)
{
	int err = ksm_test_init_known(test, &at);

	if (err)
		return err;
	max_kernel_pages = ksm_state.max_kernel_pages;
	ksm_test_at_end(test, restore, NULL);
	return 0;
}

static u64 hash_at(unsigned long addr)
{
	return ksm_content_hash(&ksm_test_folio_at(at.mm, addr)->page);
}

/* Two pages of one content, of which somebody holds one: they cannot merge. */
static struct folio *hold_twin(struct kunit *test)
{
	struct folio *folio;

	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	folio = ksm_test_folio_at(at.mm, at.page[6]);
	folio_get(folio);
	return folio;
}

static void who_cannot_merge_leaves_others_at_rest(struct kunit *test)
{
	unsigned int i, news = 0;
	struct folio *folio;

	ksm_test_needs_hashes(test);
	folio = hold_twin(test);
	for (i = 0; i < 3 * ROUNDS; i++) {
		ksm_test_scan_round();
		KUNIT_EXPECT_TRUE(test, ksm_test_has_news(hash_at(at.page[1])));
		news += ksm_test_has_news(hash_at(at.page[3]));
	}
	KUNIT_EXPECT_LT(test, news, ROUNDS);
	folio_put(folio);
	ksm_test_scan_rounds(1);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

/* A round in which very many others cannot merge. */
static void scan_round_in_a_crowd(void)
{
	unsigned int i;

	mutex_lock(&ksm_pass_lock);
	ksm_scan_batch(0);
	for (i = 0; i < CROWD; i++)
		ksm_sieve_retry(get_random_u64());
	mutex_unlock(&ksm_pass_lock);
	ksm_test_scan_round();
}

/* Not in each round, or all pages would be judged in each. */
static void among_many_who_cannot_merge_each_gets_its_turn(struct kunit *test)
{
	unsigned int i, news = 0;
	struct folio *folio;

	ksm_test_needs_hashes(test);
	folio = hold_twin(test);
	for (i = 0; i < 3 * ROUNDS; i++) {
		scan_round_in_a_crowd();
		news += ksm_test_has_news(hash_at(at.page[1]));
	}
	KUNIT_EXPECT_LT(test, news, ROUNDS);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	folio_put(folio);
	for (i = 0; i < ROUNDS; i++)
		scan_round_in_a_crowd();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], 7));
}

static void who_waits_for_the_limit_merges_when_there_is_room(struct kunit *test)
{
	unsigned int i;

	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_rounds(2);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 1);
	KUNIT_ASSERT_EQ(test, ksm_ksmd_set_max_kernel_pages(1), 0);
	ksm_test_write(test, at.mm, at.page[2], 8);
	ksm_test_write(test, at.mm, at.page[5], 8);
	for (i = 0; i < 5; i++)
		scan_round_in_a_crowd();
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 1);
	KUNIT_ASSERT_EQ(test, ksm_ksmd_set_max_kernel_pages(0), 0);
	scan_round_in_a_crowd();
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[5], 8));
}

static void who_is_let_go_of_merges_at_once(struct kunit *test)
{
	struct folio *folio = hold_twin(test);

	ksm_test_scan_rounds(5);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	folio_put(folio);
	ksm_test_scan_rounds(1);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

static void who_waits_for_room_joins_when_there_is_some(struct kunit *test)
{
	ksm_test_needs_hashes(test);
	ksm_test_limit(test, 2);
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[4], 7);
	ksm_test_scan_rounds(2);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_rounds(6);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(hash_at(at.page[3])));
	ksm_test_write(test, at.mm, at.page[1], 1000);
	ksm_test_scan_rounds(2);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(ksm_test_folio_at(at.mm, at.page[6])));
}

static struct kunit_case retry_cases[] = {
	KUNIT_CASE(who_cannot_merge_leaves_others_at_rest),
	KUNIT_CASE(among_many_who_cannot_merge_each_gets_its_turn),
	KUNIT_CASE(who_is_let_go_of_merges_at_once),
	KUNIT_CASE(who_waits_for_the_limit_merges_when_there_is_room),
	KUNIT_CASE(who_waits_for_room_joins_when_there_is_some),
	{ }
};

static struct kunit_suite retry_suite = {
	.name = "ksm_retry",
	.init = init,
	.test_cases = retry_cases,
};

kunit_test_suite(retry_suite);
