// SPDX-License-Identifier: GPL-2.0
/* The limit to sharing: what counts, and what merging does at it. */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../match.h"
#include "crowd.h"
#include "fixture.h"

static void no_page_is_joined_beyond_the_limit(struct kunit *test)
{
	ksm_crowd_merge_all(test);
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(0), ksm_crowd_folio(LIMIT - 1));
	KUNIT_EXPECT_PTR_NE(test, ksm_crowd_folio(0), ksm_crowd_folio(LIMIT));
	KUNIT_EXPECT_EQ(test, ksm_crowd.mm->ksm_merging_pages, PAGES);
}

static void an_odd_one_waits_for_another(struct kunit *test)
{
	unsigned int i;

	KUNIT_EXPECT_EQ(test, ksm_crowd_match(0), KSM_MATCH_WAITING);
	for (i = 1; i < LIMIT; i++)
		KUNIT_EXPECT_EQ(test, ksm_crowd_match(i), KSM_MATCH_MERGED);
	/* Alone it would be a copy that saves nothing. */
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(LIMIT), KSM_MATCH_WAITING);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_crowd_folio(LIMIT)));
	ksm_crowd_expect_counts(test, 1, LIMIT - 1, 0);
	/* When there is room again, it takes that. */
	ksm_crowd_leave(test, 0, 1);
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(LIMIT), KSM_MATCH_MERGED);
	ksm_crowd_expect_counts(test, 1, LIMIT - 1, 0);
	ksm_crowd_expect_merged(test, 1, LIMIT + 1);
}

static void forks_may_exceed_the_limit_and_nobody_joins_then(struct kunit *test)
{
	struct mm_struct *child;

	ksm_test_merge_pair(test, ksm_crowd.mm, ksm_crowd_page(0), ksm_crowd_page(1));
	child = ksm_test_fork(test, ksm_crowd.mm);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_crowd_folio(0)), 4);
	/* Two items, but four mappings. */
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(2), KSM_MATCH_WAITING);
	child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_crowd_folio(0)), 6);
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(3), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_NE(test, ksm_crowd_folio(3), ksm_crowd_folio(0));
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(3), ksm_crowd_folio(2));
	ksm_crowd_expect_counts(test, 2, 2, 2);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_crowd_folio(0)), 6);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, ksm_crowd_page(0), 1));
}

/* Of a page that forks map very often and another, the other becomes the KSM page. */
static void promote_other(struct kunit *test, unsigned int first, unsigned int second)
{
	struct mm_struct *child, *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 1);
	struct folio *often = ksm_crowd_folio(0), *other = ksm_test_folio_at(mm, addr);
	int i, matched[2];

	child = ksm_crowd.mm;
	for (i = 1; i < LIMIT; i++)
		child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, folio_mapcount(often), LIMIT);
	matched[first] = first ? ksm_test_match(mm, addr) : ksm_crowd_match(0);
	matched[second] = second ? ksm_test_match(mm, addr) : ksm_crowd_match(0);
	KUNIT_EXPECT_EQ(test, matched[first], KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, matched[second], KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, addr), other);
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(0), other);
	KUNIT_EXPECT_EQ(test, folio_mapcount(often), LIMIT - 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(other), 2);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(often));
	ksm_crowd_expect_counts(test, 1, 1, 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(ksm_crowd.mm, ksm_crowd_page(0), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, ksm_crowd_page(0), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1));
}

static void a_page_with_many_forks_joins_the_one_that_waits(struct kunit *test)
{
	promote_other(test, 1, 0);
}

static void a_page_with_many_forks_that_waits_joins(struct kunit *test)
{
	promote_other(test, 0, 1);
}

static unsigned int compared;

/* What decides says that they differ, once. */
static int differs_at_second_sight(struct page *a, struct page *b, int order)
{
	return compared++ == 1 ? 1 : order;
}

/* The twin is a KSM page by then, and no candidate any more. */
static void P48_who_could_not_join_waits_and_joins_next_time(struct kunit *test)
{
	struct mm_struct *child = ksm_crowd.mm, *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 1);
	int i;

	for (i = 1; i < LIMIT; i++)
		child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, addr), KSM_MATCH_WAITING);
	compared = 0;
	ksm_test_on_compare(test, differs_at_second_sight);
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(0), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_ASSERT_NOT_NULL(test, ksm_crowd_item(0));
	KUNIT_EXPECT_EQ(test, ksm_crowd_item(0)->kind, KSM_ITEM_CANDIDATE);
	ksm_crowd_expect_counts(test, 1, 0, 0);

	KUNIT_EXPECT_EQ(test, ksm_crowd_match(0), KSM_MATCH_MERGED);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(ksm_crowd.mm, ksm_crowd_page(0), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, ksm_crowd_page(0), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1));
}

static void two_pages_with_many_forks_stay_apart(struct kunit *test)
{
	struct mm_struct *child = ksm_crowd.mm;
	int i;

	for (i = 1; i < LIMIT; i++)
		child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(0), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(1), KSM_MATCH_WAITING);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_crowd_folio(0)));
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_crowd_folio(1)));
	KUNIT_EXPECT_PTR_NE(test, ksm_crowd_folio(0), ksm_crowd_folio(1));
	ksm_crowd_expect_counts(test, 0, 0, 0);
}

/* What is mapped already has its item, however many there are. */
static void P38_items_of_children_may_exceed_the_limit(struct kunit *test)
{
	struct mm_struct *child = ksm_crowd.mm;
	struct ksm_item *item;
	struct ksm_offer offer;
	struct ksm_mm *km;
	unsigned int i;

	ksm_test_merge_pair(test, ksm_crowd.mm, ksm_crowd_page(0), ksm_crowd_page(1));
	for (i = 0; i < 2 * LIMIT; i++) {
		child = ksm_test_fork(test, child);
		km = ksm_test_lock(child);
		if (ksm_test_offer(&offer, km, ksm_crowd_page(0))) {
			ksm_match_adopt(&offer);
			put_page(offer.page);
		}
		ksm_test_unlock(child);
		item = ksm_test_item_at(child, ksm_crowd_page(0));
		KUNIT_ASSERT_NOT_NULL(test, item);
		KUNIT_EXPECT_EQ(test, item->kind, KSM_ITEM_MERGED);
	}
	ksm_crowd_expect_counts(test, 1, 1 + 2 * LIMIT, 0);
	KUNIT_EXPECT_EQ(test, ksm_crowd_match(2), KSM_MATCH_WAITING);
}

static struct kunit_case limit_cases[] = {
	KUNIT_CASE(no_page_is_joined_beyond_the_limit),
	KUNIT_CASE(an_odd_one_waits_for_another),
	KUNIT_CASE(forks_may_exceed_the_limit_and_nobody_joins_then),
	KUNIT_CASE(a_page_with_many_forks_joins_the_one_that_waits),
	KUNIT_CASE(a_page_with_many_forks_that_waits_joins),
	KUNIT_CASE(P48_who_could_not_join_waits_and_joins_next_time),
	KUNIT_CASE(two_pages_with_many_forks_stay_apart),
	KUNIT_CASE(P38_items_of_children_may_exceed_the_limit),
	{ }
};

static struct kunit_suite limit_suite = {
	.name = "ksm_limit",
	.init = ksm_crowd_init,
	.test_cases = limit_cases,
};

kunit_test_suite(limit_suite);
