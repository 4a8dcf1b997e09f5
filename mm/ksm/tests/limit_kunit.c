// SPDX-License-Identifier: GPL-2.0
/* The limit to sharing: what counts, and what merging does at it. */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../forget.h"
#include "../match.h"
#include "../mms.h"
#include "../node.h"
#include "../record.h"
#include "../state.h"
#include "fixture.h"

#define LIMIT	4
#define PAGES	(3 * LIMIT)

/* Twelve pages of equal content. */
static struct {
	struct mm_struct	*mm;
	unsigned long		from;
} at;

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	ksm_test_limit(test, LIMIT);
	at.mm = ksm_test_mm(test);
	at.from = ksm_test_map_equal(test, at.mm, PAGES);
	return 0;
}

static unsigned long page(unsigned int nr)
{
	return at.from + nr * PAGE_SIZE;
}

static struct folio *folio_of(unsigned int nr)
{
	return ksm_test_folio_at(at.mm, page(nr));
}

static struct ksm_item *item_of(struct mm_struct *mm, unsigned int nr)
{
	return ksm_record_item(ksm_record_load(ksm_mms_find(mm), page(nr) >> PAGE_SHIFT));
}

static void expect_counts(struct kunit *test, unsigned long shared, unsigned long sharing,
			  unsigned long dups)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing);
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, dups);
	KUNIT_EXPECT_EQ(test, ksm_counts.chains, dups ? 1 : 0);
}

/* An item leads from each page to the node of what it maps, which holds what it held. */
static void expect_merged(struct kunit *test, unsigned int from, unsigned int to)
{
	for (; from < to; from++) {
		KUNIT_ASSERT_NOT_NULL(test, folio_of(from));
		KUNIT_ASSERT_NOT_NULL(test, item_of(at.mm, from));
		KUNIT_EXPECT_EQ(test, item_of(at.mm, from)->kind, KSM_ITEM_MERGED);
		KUNIT_EXPECT_PTR_EQ(test, item_of(at.mm, from)->node,
				    ksm_node_of(folio_of(from)));
		KUNIT_EXPECT_LE(test, folio_mapcount(folio_of(from)), LIMIT);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio_of(from)),
				folio_mapcount(folio_of(from)));
		KUNIT_EXPECT_FALSE(test, pte_write(ksm_test_pte_at(at.mm, page(from))));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(from), 1));
	}
}

static int match(unsigned int nr)
{
	return ksm_test_match(at.mm, page(nr));
}

/* All are merged: four to each page. */
static void merge_all(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		KUNIT_ASSERT_EQ(test, match(i), i % LIMIT ? KSM_MATCH_MERGED :
							  KSM_MATCH_WAITING);
	expect_merged(test, 0, PAGES);
	expect_counts(test, 3, PAGES - 3, 3);
}

/* Some are written to, and forgotten. */
static void leave(struct kunit *test, unsigned int from, unsigned int to)
{
	struct ksm_mm *km;

	for (; from < to; from++) {
		ksm_test_write(test, at.mm, page(from), 100 + from);
		km = ksm_test_lock(at.mm);
		ksm_forget_page(km, page(from) >> PAGE_SHIFT, KSM_FORGET_CHANGED);
		ksm_test_unlock(at.mm);
	}
}

static void no_page_is_joined_beyond_the_limit(struct kunit *test)
{
	merge_all(test);
	KUNIT_EXPECT_PTR_EQ(test, folio_of(0), folio_of(LIMIT - 1));
	KUNIT_EXPECT_PTR_NE(test, folio_of(0), folio_of(LIMIT));
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, PAGES);
}

static void an_odd_one_waits_for_another(struct kunit *test)
{
	unsigned int i;

	KUNIT_EXPECT_EQ(test, match(0), KSM_MATCH_WAITING);
	for (i = 1; i < LIMIT; i++)
		KUNIT_EXPECT_EQ(test, match(i), KSM_MATCH_MERGED);
	/* Alone it would be a copy that saves nothing. */
	KUNIT_EXPECT_EQ(test, match(LIMIT), KSM_MATCH_WAITING);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio_of(LIMIT)));
	expect_counts(test, 1, LIMIT - 1, 0);
	/* When there is room again, it takes that. */
	leave(test, 0, 1);
	KUNIT_EXPECT_EQ(test, match(LIMIT), KSM_MATCH_MERGED);
	expect_counts(test, 1, LIMIT - 1, 0);
	expect_merged(test, 1, LIMIT + 1);
}

static void forks_may_exceed_the_limit_and_nobody_joins_then(struct kunit *test)
{
	struct mm_struct *child;

	ksm_test_merge_pair(test, at.mm, page(0), page(1));
	child = ksm_test_fork(test, at.mm);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio_of(0)), 4);
	/* Two items, but four mappings. */
	KUNIT_EXPECT_EQ(test, match(2), KSM_MATCH_WAITING);
	child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio_of(0)), 6);
	KUNIT_EXPECT_EQ(test, match(3), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_NE(test, folio_of(3), folio_of(0));
	KUNIT_EXPECT_PTR_EQ(test, folio_of(3), folio_of(2));
	expect_counts(test, 2, 2, 2);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio_of(0)), 6);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, page(0), 1));
}

/* Of a page that forks map very often and another, the other becomes the KSM page. */
static void promote_other(struct kunit *test, unsigned int first, unsigned int second)
{
	struct mm_struct *child, *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 1);
	struct folio *often = folio_of(0), *other = ksm_test_folio_at(mm, addr);
	int i, matched[2];

	child = at.mm;
	for (i = 1; i < LIMIT; i++)
		child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, folio_mapcount(often), LIMIT);
	matched[first] = first ? ksm_test_match(mm, addr) : match(0);
	matched[second] = second ? ksm_test_match(mm, addr) : match(0);
	KUNIT_EXPECT_EQ(test, matched[first], KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, matched[second], KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, addr), other);
	KUNIT_EXPECT_PTR_EQ(test, folio_of(0), other);
	KUNIT_EXPECT_EQ(test, folio_mapcount(often), LIMIT - 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(other), 2);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(often));
	expect_counts(test, 1, 1, 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(0), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, page(0), 1));
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
	struct mm_struct *child = at.mm, *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 1);
	int i;

	for (i = 1; i < LIMIT; i++)
		child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, addr), KSM_MATCH_WAITING);
	compared = 0;
	ksm_test_on_compare(test, differs_at_second_sight);
	KUNIT_EXPECT_EQ(test, match(0), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_ASSERT_NOT_NULL(test, item_of(at.mm, 0));
	KUNIT_EXPECT_EQ(test, item_of(at.mm, 0)->kind, KSM_ITEM_CANDIDATE);
	expect_counts(test, 1, 0, 0);

	KUNIT_EXPECT_EQ(test, match(0), KSM_MATCH_MERGED);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(0), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, page(0), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1));
}

static void two_pages_with_many_forks_stay_apart(struct kunit *test)
{
	struct mm_struct *child = at.mm;
	int i;

	for (i = 1; i < LIMIT; i++)
		child = ksm_test_fork(test, child);
	KUNIT_EXPECT_EQ(test, match(0), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, match(1), KSM_MATCH_WAITING);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio_of(0)));
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio_of(1)));
	KUNIT_EXPECT_PTR_NE(test, folio_of(0), folio_of(1));
	expect_counts(test, 0, 0, 0);
}

/* What is mapped already has its item, however many there are. */
static void P38_items_of_children_may_exceed_the_limit(struct kunit *test)
{
	struct mm_struct *child = at.mm;
	struct ksm_offer offer;
	struct ksm_mm *km;
	unsigned int i;

	ksm_test_merge_pair(test, at.mm, page(0), page(1));
	for (i = 0; i < 2 * LIMIT; i++) {
		child = ksm_test_fork(test, child);
		km = ksm_test_lock(child);
		if (ksm_test_offer(&offer, km, page(0))) {
			ksm_match_adopt(&offer);
			put_page(offer.page);
		}
		ksm_test_unlock(child);
		KUNIT_ASSERT_NOT_NULL(test, item_of(child, 0));
		KUNIT_EXPECT_EQ(test, item_of(child, 0)->kind, KSM_ITEM_MERGED);
	}
	expect_counts(test, 1, 1 + 2 * LIMIT, 0);
	KUNIT_EXPECT_EQ(test, match(2), KSM_MATCH_WAITING);
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
	.init = init,
	.test_cases = limit_cases,
};

kunit_test_suite(limit_suite);
