// SPDX-License-Identifier: GPL-2.0
/* Merges that fail on their way: whatever comes between, all is as it was before. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>

#include "../content.h"
#include "../forget.h"
#include "../hold.h"
#include "../match.h"
#include "../node.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

/* Three pages of equal content. */
static struct ksm_test_pages at;

/* What comes between, when pages are compared. */
static unsigned int compared;	/* so often since it was begun */
static struct folio *other;
static struct ksm_node *node;	/* of the other */

static int init(struct kunit *test)
{
	compared = 0;
	return ksm_test_init_pages(test, &at, 3);
}

static void expect_counts(struct kunit *test, unsigned long shared, unsigned long sharing,
			  long nodes)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, shared + sharing);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), nodes);
}

/* A page that belongs to nobody else, holds what was written, and can be written. */
static void expect_ordinary(struct kunit *test, unsigned long addr, u64 content)
{
	struct folio *folio = ksm_test_folio_at(at.mm, addr);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr, content));
	ksm_test_write(test, at.mm, addr, content + 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr, content + 1));
}

/* Merge the pages at a and b; be asked about what comes after. */
static struct folio *merge(struct kunit *test, ksm_test_compare_fn *say)
{
	struct folio *folio = ksm_test_merge(test, &at);

	ksm_test_on_compare(test, say);
	return folio;
}

/* The page at c could not be merged into @keep. */
static void expect_not_joined(struct kunit *test, struct folio *keep)
{
	KUNIT_EXPECT_EQ(test, folio_mapcount(keep), 2);
	KUNIT_EXPECT_EQ(test, folio_ref_count(keep), 2);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(keep));
	expect_counts(test, 1, 1, 1);
	expect_ordinary(test, at.c, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 1));
}

/* ------------------------------------------------------------------------ */
/* Content has the last word.                                               */

static int equal_at_first_sight(struct page *a, struct page *b, int order)
{
	return compared++ ? order : 0;
}

static void P13_what_pages_hold_that_nobody_can_write_to_decides(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.b);
	pte_t before = ksm_test_pte_at(at.mm, at.a);

	/* As if it was written to after it was found: the hash is not asked again. */
	KUNIT_ASSERT_TRUE(test, ksm_test_collide(&folio->page, 0));
	ksm_test_on_compare(test, equal_at_first_sight);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.a), KSM_MATCH_WAITING);
	/* It was made a KSM page before the other was looked at, and is one alone now. */
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.b), KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.b), folio);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 1);
	expect_counts(test, 1, 0, 1);
	KUNIT_EXPECT_EQ(test, pte_val(ksm_test_pte_at(at.mm, at.a)), pte_val(before));
	expect_ordinary(test, at.a, 1);
}

static void P13_who_joins_is_compared_once_more(struct kunit *test)
{
	struct folio *keep = merge(test, equal_at_first_sight);
	struct folio *folio = ksm_test_folio_at(at.mm, at.c);
	pte_t before = ksm_test_pte_at(at.mm, at.c);

	KUNIT_ASSERT_TRUE(test, ksm_test_collide(&folio->page, 0));
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_FAILED);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_EXPECT_EQ(test, pte_val(ksm_test_pte_at(at.mm, at.c)), pte_val(before));
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.c), folio);
	ksm_test_write(test, at.mm, at.c, 1);
	expect_not_joined(test, keep);
}

static int never_equal(struct page *a, struct page *b, int order)
{
	compared++;
	return order ?: 1;
}

static void P15_equal_bytes_are_not_all(struct kunit *test)
{
	ksm_test_on_compare(test, never_equal);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.b), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, compared, 1);
	expect_counts(test, 0, 0, 0);
	expect_ordinary(test, at.a, 1);
	expect_ordinary(test, at.b, 1);
}

static void P15_equal_bytes_of_a_ksm_page_are_not_all(struct kunit *test)
{
	struct folio *keep = merge(test, never_equal);

	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, compared, 1);
	expect_not_joined(test, keep);
}

/* ------------------------------------------------------------------------ */
/* Something comes between.                                                 */

/* When the two have found each other, somebody else makes a KSM page of that content. */
static int keep_another(struct page *a, struct page *b, int order)
{
	if (!compared++ && folio_trylock(other)) {
		compared += 2 * !!ksm_stable_insert(node, other);
		folio_unlock(other);
	}
	return order;
}

static void P10_no_error_leaves_a_ksm_page_outside_the_tree(struct kunit *test)
{
	other = ksm_test_folio(test, 1);
	node = ksm_node_alloc();
	KUNIT_ASSERT_NOT_NULL(test, node);
	ksm_test_at_end(test, ksm_test_drop, node);
	node->hash = ksm_content_hash(&other->page);
	ksm_test_on_compare(test, keep_another);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.a), KSM_MATCH_WAITING);
	/* One look at the candidate, one in the tree: twins. */
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.b), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_ASSERT_PTR_EQ(test, ksm_node_of(other), node);
	KUNIT_EXPECT_EQ(test, folio_ref_count(other), 1);
	expect_counts(test, 0, 0, 1);
	expect_ordinary(test, at.a, 1);
	expect_ordinary(test, at.b, 1);
}

static int differs_at_second_sight(struct page *a, struct page *b, int order)
{
	return compared++ == 1 ? 1 : order;
}

static void P50_who_is_not_mapped_after_all_is_not_linked(struct kunit *test)
{
	struct folio *keep = merge(test, differs_at_second_sight);

	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_FAILED);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_ASSERT_NOT_NULL(test, ksm_test_item_at(at.mm, at.c));
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, at.c)->kind, KSM_ITEM_CANDIDATE);
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, at.c)->round, 0);
	expect_not_joined(test, keep);

	ksm_test_write(test, at.mm, at.c, 1);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.c), keep);
}

/* The KSM page @b fails after it was found. */
static int let_fail(struct page *a, struct page *b, int order)
{
	compared++;
	SetPageHWPoison(b);
	return order;
}

static void P84_a_page_may_fail_after_it_was_found(struct kunit *test)
{
	struct folio *keep;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");
	keep = merge(test, let_fail);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_FAILED);
	ClearPageHWPoison(&keep->page);
	KUNIT_EXPECT_EQ(test, compared, 1);
	expect_not_joined(test, keep);
}

/* The KSM page @b moves after it was found: what is left there is nobody's. */
static int let_move(struct page *a, struct page *b, int order)
{
	if (!compared++)
		page_folio(b)->mapping = (void *)PAGE_MAPPING_KSM;
	return order;
}

static void P54_a_page_may_move_after_it_was_found(struct kunit *test)
{
	struct folio *keep = merge(test, let_move);
	struct address_space *mapping = keep->mapping;

	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_FAILED);
	keep->mapping = mapping;
	KUNIT_EXPECT_EQ(test, compared, 1);
	expect_not_joined(test, keep);
}

/* ------------------------------------------------------------------------ */
/* Candidates.                                                              */

static void P48_a_candidate_leaves_its_tree_before_it_can_fail(struct kunit *test)
{
	unsigned long d = ksm_test_map(test, at.mm, 1);
	struct folio *folio;

	ksm_test_write(test, at.mm, d, 2);
	KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, d), KSM_MATCH_WAITING);
	KUNIT_EXPECT_NE(test, ksm_test_item_at(at.mm, d)->round, 0);
	/* It has another content now, which is that of a KSM page; but it is locked. */
	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	ksm_test_write(test, at.mm, d, 1);
	folio = ksm_test_folio_at(at.mm, d);
	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, d), KSM_MATCH_FAILED);
	folio_unlock(folio);
	KUNIT_ASSERT_NOT_NULL(test, ksm_test_item_at(at.mm, d));
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, d)->kind, KSM_ITEM_CANDIDATE);
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, d)->round, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, d), KSM_MATCH_MERGED);
}

static void P47_a_stale_node_does_not_hide_the_twin_behind_it(struct kunit *test)
{
	struct folio *keep;
	unsigned long d;

	/* Two KSM pages of one hash; the first is the root of the tree. */
	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	d = ksm_test_map(test, at.mm, 2);
	ksm_test_write(test, at.mm, d, 1);
	ksm_test_write(test, at.mm, d + PAGE_SIZE, 1);
	KUNIT_ASSERT_TRUE(test, ksm_test_collide(&ksm_test_folio_at(at.mm, d)->page, 0));
	KUNIT_ASSERT_TRUE(test, ksm_test_collide(&ksm_test_folio_at(at.mm, d + PAGE_SIZE)->page,
						 0));
	ksm_test_merge_pair(test, at.mm, d, d + PAGE_SIZE);
	expect_counts(test, 2, 2, 2);
	keep = ksm_test_folio_at(at.mm, d);
	KUNIT_ASSERT_EQ(test, ksm_node_of(keep)->hash,
			ksm_node_of(ksm_test_folio_at(at.mm, at.a))->hash);

	/* The first goes, and nobody has noticed yet. */
	do_madvise(at.mm, at.a, 2 * PAGE_SIZE, MADV_DONTNEED);
	KUNIT_ASSERT_TRUE(test, ksm_test_collide(&ksm_test_folio_at(at.mm, at.c)->page, 0));
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.c), keep);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
}

static struct kunit_case failure_cases[] = {
	KUNIT_CASE(P13_what_pages_hold_that_nobody_can_write_to_decides),
	KUNIT_CASE(P13_who_joins_is_compared_once_more),
	KUNIT_CASE(P15_equal_bytes_are_not_all),
	KUNIT_CASE(P15_equal_bytes_of_a_ksm_page_are_not_all),
	KUNIT_CASE(P10_no_error_leaves_a_ksm_page_outside_the_tree),
	KUNIT_CASE(P50_who_is_not_mapped_after_all_is_not_linked),
	KUNIT_CASE(P84_a_page_may_fail_after_it_was_found),
	KUNIT_CASE(P54_a_page_may_move_after_it_was_found),
	KUNIT_CASE(P48_a_candidate_leaves_its_tree_before_it_can_fail),
	KUNIT_CASE(P47_a_stale_node_does_not_hide_the_twin_behind_it),
	{ }
};

static struct kunit_suite failure_suite = {
	.name = "ksm_failure",
	.init = init,
	.test_cases = failure_cases,
};

kunit_test_suite(failure_suite);
