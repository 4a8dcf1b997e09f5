// SPDX-License-Identifier: GPL-2.0
/* Matching: which pages become one, and what is left when they do not. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>

#include "../content.h"
#include "../match.h"
#include "../node.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

static unsigned long new_page(struct kunit *test, struct mm_struct *mm, u64 content)
{
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, content);
	return addr;
}

static void expect_counts(struct kunit *test, unsigned long shared, unsigned long sharing)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), shared);
}

/* All these addresses map one KSM page, and all items say so. */
static void expect_merged(struct kunit *test, struct mm_struct *mm,
			  const unsigned long *addrs, unsigned int nr)
{
	struct folio *folio = ksm_test_folio_at(mm, addrs[0]);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(folio));
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, addrs[i]), folio);
		KUNIT_ASSERT_NOT_NULL(test, ksm_test_item_at(mm, addrs[i]));
		KUNIT_EXPECT_EQ(test, ksm_test_item_at(mm, addrs[i])->kind, KSM_ITEM_MERGED);
		KUNIT_EXPECT_PTR_EQ(test, ksm_test_item_at(mm, addrs[i])->node, ksm_node_of(folio));
		KUNIT_EXPECT_FALSE(test, pte_write(ksm_test_pte_at(mm, addrs[i])));
	}
}

/* ------------------------------------------------------------------------ */
/* Pages that become one.                                                   */

static void two_equal_pages_become_one(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long at[] = { new_page(test, mm, 1), new_page(test, mm, 1) };

	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, at[0]), KSM_MATCH_WAITING);
	expect_counts(test, 0, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, at[1]), KSM_MATCH_MERGED);
	expect_counts(test, 1, 1);
	expect_merged(test, mm, at, 2);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_test_folio_at(mm, at[0])), 2);
	KUNIT_EXPECT_EQ(test, folio_ref_count(ksm_test_folio_at(mm, at[0])), 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, at[0], 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, at[1], 1));
}

static void others_join_a_ksm_page(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long at[4];
	int i;

	for (i = 0; i < 4; i++)
		at[i] = new_page(test, mm, 1);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, at[0]), KSM_MATCH_WAITING);
	for (i = 1; i < 4; i++)
		KUNIT_EXPECT_EQ(test, ksm_test_match(mm, at[i]), KSM_MATCH_MERGED);
	expect_counts(test, 1, 3);
	expect_merged(test, mm, at, 4);
}

/* What a calm page is matched by is remembered, and it may have changed since. */
static int match_as(struct mm_struct *mm, unsigned long addr, u64 hash)
{
	struct ksm_mm *km = ksm_test_lock(mm);
	struct ksm_offer offer;
	int match = -ENOENT;

	if (km && ksm_test_offer(&offer, km, addr)) {
		match = ksm_match_page(&offer, hash, true);
		put_page(offer.page);
	}
	ksm_test_unlock(mm);
	return match;
}

static void a_node_has_the_hash_of_its_page(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long at[] = { new_page(test, mm, 1), new_page(test, mm, 1),
			       new_page(test, mm, 1) };
	u64 hash = ksm_content_hash(&ksm_test_folio_at(mm, at[0])->page);
	struct folio *folio;

	/* They are equal, but not what is remembered of them. */
	KUNIT_EXPECT_EQ(test, match_as(mm, at[0], hash ^ 1), KSM_MATCH_WAITING);
	KUNIT_ASSERT_EQ(test, match_as(mm, at[1], hash ^ 1), KSM_MATCH_MERGED);
	folio = ksm_test_folio_at(mm, at[0]);
	KUNIT_ASSERT_NOT_NULL(test, ksm_node_of(folio));
	KUNIT_EXPECT_EQ(test, ksm_node_of(folio)->hash, hash);
	/* By any other nobody would ever find it. */
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, at[2]), KSM_MATCH_MERGED);
	expect_merged(test, mm, at, 3);
}

static void P3_a_page_that_others_join_is_dirty(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long at[] = { new_page(test, mm, 1), new_page(test, mm, 1) };
	unsigned long c = new_page(test, mm, 1);
	struct folio *folio;

	ksm_test_merge_pair(test, mm, at[0], at[1]);
	folio = ksm_test_folio_at(mm, at[0]);
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	/* As MADV_FREE leaves it while it has one mapping. */
	folio_clear_dirty(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, c), folio);
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
}

static void pages_of_two_mms_become_one(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, other, 1);

	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(other, b), KSM_MATCH_MERGED);
	expect_counts(test, 1, 1);
	expect_merged(test, mm, &a, 1);
	expect_merged(test, other, &b, 1);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, a), ksm_test_folio_at(other, b));
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 1);
	KUNIT_EXPECT_EQ(test, other->ksm_merging_pages, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, a, 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(other, b, 1));
}

static void P18_a_write_concerns_nobody_else(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, other, 1);

	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(other, b), KSM_MATCH_MERGED);
	ksm_test_write(test, mm, a, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, a, 2));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(other, b, 1));
	ksm_test_write(test, other, b, 3);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, a, 2));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(other, b, 3));
}

static void a_volatile_page_joins_but_does_not_wait(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long at[] = { new_page(test, mm, 1), new_page(test, mm, 1),
			       new_page(test, mm, 1), new_page(test, mm, 2) };
	struct ksm_offer offer;
	struct ksm_mm *km;
	int i, match[4] = { };

	ksm_test_merge_pair(test, mm, at[0], at[1]);
	km = ksm_test_lock(mm);
	for (i = 2; i < 4; i++) {
		if (!ksm_test_offer(&offer, km, at[i]))
			continue;
		match[i] = ksm_match_page(&offer, ksm_content_hash(offer.page), false);
		put_page(offer.page);
	}
	ksm_test_unlock(mm);
	KUNIT_EXPECT_EQ(test, match[2], KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, match[3], KSM_MATCH_NONE);
	KUNIT_EXPECT_NULL(test, ksm_test_item_at(mm, at[3]));
	expect_merged(test, mm, at, 3);
}

/* Do with a KSM page that has no item what a scan does. */
static void adopt(struct mm_struct *mm, unsigned long addr)
{
	struct ksm_mm *km = ksm_test_lock(mm);
	struct ksm_offer offer;

	if (ksm_test_offer(&offer, km, addr)) {
		ksm_match_adopt(&offer);
		put_page(offer.page);
	}
	ksm_test_unlock(mm);
}

static void P38_a_child_gets_items_of_its_own(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long at[] = { new_page(test, mm, 1), new_page(test, mm, 1) };

	ksm_test_merge_pair(test, mm, at[0], at[1]);
	child = ksm_test_fork(test, mm);
	KUNIT_EXPECT_EQ(test, child->ksm_merging_pages, 0);
	adopt(child, at[0]);
	expect_counts(test, 1, 2);
	KUNIT_EXPECT_EQ(test, child->ksm_merging_pages, 1);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
	expect_merged(test, child, at, 1);
	expect_merged(test, mm, at, 2);
}

/* Who holds it may be on the way along the items. */
static void P49_an_item_comes_under_the_lock_of_its_page(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long at[] = { new_page(test, mm, 1), new_page(test, mm, 1) };
	struct folio *folio;

	ksm_test_merge_pair(test, mm, at[0], at[1]);
	folio = ksm_test_folio_at(mm, at[0]);
	child = ksm_test_fork(test, mm);
	folio_lock(folio);
	adopt(child, at[0]);
	KUNIT_EXPECT_EQ(test, ksm_node_of(folio)->nr_items, 2);
	KUNIT_EXPECT_FALSE(test, folio_trylock(folio));
	folio_unlock(folio);
	KUNIT_ASSERT_NOT_NULL(test, ksm_test_item_at(child, at[0]));
	KUNIT_ASSERT_EQ(test, ksm_test_item_at(child, at[0])->kind, KSM_ITEM_CANDIDATE);
	expect_counts(test, 1, 1);
	adopt(child, at[0]);
	expect_counts(test, 1, 2);
	expect_merged(test, child, at, 1);
}

/* ------------------------------------------------------------------------ */
/* Pages that do not.                                                       */

static void different_pages_stay_apart(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, mm, 2);

	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, b), KSM_MATCH_WAITING);
	expect_counts(test, 0, 0);
	KUNIT_EXPECT_PTR_NE(test, ksm_test_folio_at(mm, a), ksm_test_folio_at(mm, b));
}

/* Of the pages at @a and @b, which are equal, one cannot be merged for now. */
static void expect_apart(struct kunit *test, struct mm_struct *mm, unsigned long a,
			 unsigned long b, enum ksm_match match)
{
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, b), match);
	KUNIT_EXPECT_PTR_NE(test, ksm_test_folio_at(mm, a), ksm_test_folio_at(mm, b));
	/* A KSM page is never made for nothing. */
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_test_folio_at(mm, a)));
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_test_folio_at(mm, b)));
	expect_counts(test, 0, 0);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 0);
}

static void P1_a_page_in_use_is_not_merged(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, b);

	folio_get(folio);
	expect_apart(test, mm, a, b, KSM_MATCH_BUSY);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, b), folio);
	folio_put(folio);
}

static void a_page_in_use_does_not_keep_others_apart(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, mm, 1);
	unsigned long c = new_page(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, a);

	folio_get(folio);
	expect_apart(test, mm, a, b, KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, b), ksm_test_folio_at(mm, c));
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, a), folio);
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_MERGED);
}

/* The other way round: the page in use comes second. */
static void a_page_in_use_takes_no_place(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, mm, 1);
	unsigned long c = new_page(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, a);

	folio_get(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, b), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_BUSY);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_MERGED);
	folio_put(folio);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, b), ksm_test_folio_at(mm, c));
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, a), folio);
}

static void a_page_in_use_does_not_join(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long at[] = { new_page(test, mm, 1), new_page(test, mm, 1) };
	unsigned long c = new_page(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, c);

	ksm_test_merge_pair(test, mm, at[0], at[1]);
	folio_get(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_BUSY);
	folio_put(folio);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, c), folio);
	expect_counts(test, 1, 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_test_folio_at(mm, at[0])), 2);
}

static void a_locked_page_is_not_waited_for(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, a);

	folio_lock(folio);
	expect_apart(test, mm, a, b, KSM_MATCH_WAITING);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_MERGED);
}

static void P60_a_page_shared_by_fork_is_not_merged_with_itself(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long a = new_page(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, a);

	child = ksm_test_fork(test, mm);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(child, a), KSM_MATCH_NONE);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 2);
	expect_counts(test, 0, 0);
}

static void P84_nobody_joins_a_poisoned_page(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, mm, 1);
	unsigned long c = new_page(test, mm, 1), d = new_page(test, mm, 1);
	struct folio *folio;

	ksm_test_merge_pair(test, mm, a, b);
	folio = ksm_test_folio_at(mm, a);
	ksm_test_poison(test, folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, d), KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 2);
	KUNIT_EXPECT_PTR_NE(test, ksm_test_folio_at(mm, c), folio);
	expect_counts(test, 2, 2);
}

static void P47_a_freed_page_is_not_in_the_way(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = new_page(test, mm, 1), b = new_page(test, mm, 1);
	unsigned long c = new_page(test, mm, 1), d = new_page(test, mm, 1);

	ksm_test_merge_pair(test, mm, a, b);
	do_madvise(mm, a, PAGE_SIZE, MADV_DONTNEED);
	do_madvise(mm, b, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, d), KSM_MATCH_MERGED);
	expect_counts(test, 1, 1);
	/* Whom the old node has left behind are orphans, and they are kept. */
	KUNIT_ASSERT_NOT_NULL(test, ksm_test_item_at(mm, a));
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(mm, a)->kind, KSM_ITEM_ORPHAN);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
}

static void P68_a_huge_page_is_to_be_split_for_its_twin(struct kunit *test)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long at[] = { new_page(test, mm, 1005), new_page(test, mm, 1005) };
	unsigned long huge = ksm_test_map_huge(test, mm);
	struct folio *folio;

	ksm_test_merge_pair(test, mm, at[0], at[1]);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, huge + 5 * PAGE_SIZE), KSM_MATCH_LARGE);
	expect_counts(test, 1, 1);
	/* Nothing has happened yet, and nobody but the two holds the page. */
	folio = ksm_test_folio_at(mm, at[0]);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
#else
	kunit_skip(test, "needs CONFIG_TRANSPARENT_HUGEPAGE");
#endif
}

static struct kunit_case match_cases[] = {
	KUNIT_CASE(two_equal_pages_become_one),
	KUNIT_CASE(others_join_a_ksm_page),
	KUNIT_CASE(a_node_has_the_hash_of_its_page),
	KUNIT_CASE(P3_a_page_that_others_join_is_dirty),
	KUNIT_CASE(pages_of_two_mms_become_one),
	KUNIT_CASE(P18_a_write_concerns_nobody_else),
	KUNIT_CASE(a_volatile_page_joins_but_does_not_wait),
	KUNIT_CASE(P38_a_child_gets_items_of_its_own),
	KUNIT_CASE(P49_an_item_comes_under_the_lock_of_its_page),
	KUNIT_CASE(different_pages_stay_apart),
	KUNIT_CASE(P1_a_page_in_use_is_not_merged),
	KUNIT_CASE(a_page_in_use_does_not_keep_others_apart),
	KUNIT_CASE(a_page_in_use_takes_no_place),
	KUNIT_CASE(a_page_in_use_does_not_join),
	KUNIT_CASE(a_locked_page_is_not_waited_for),
	KUNIT_CASE(P60_a_page_shared_by_fork_is_not_merged_with_itself),
	KUNIT_CASE(P84_nobody_joins_a_poisoned_page),
	KUNIT_CASE(P47_a_freed_page_is_not_in_the_way),
	KUNIT_CASE(P68_a_huge_page_is_to_be_split_for_its_twin),
	{ }
};

static struct kunit_suite match_suite = {
	.name = "ksm_match",
	.init = ksm_test_init,
	.test_cases = match_cases,
};

kunit_test_suite(match_suite);
