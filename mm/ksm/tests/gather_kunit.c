// SPDX-License-Identifier: GPL-2.0
/* Gathering: mappings that leave a page which few map for a fuller one. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>

#include "../forget.h"
#include "../node.h"
#include "../state.h"
#include "crowd.h"
#include "fixture.h"

static unsigned int compared;

static int init(struct kunit *test)
{
	compared = 0;
	return ksm_crowd_init(test);
}

static void forget_idle(void)
{
	mutex_lock(&ksm_pass_lock);
	ksm_forget_due(ULONG_MAX);
	mutex_unlock(&ksm_pass_lock);
}

/* Left are one mapping of the first page, two of the second, one of the third. */
static void spare_two(struct kunit *test)
{
	ksm_crowd_merge_all(test);
	ksm_crowd_leave(test, 0, 3);
	ksm_crowd_leave(test, LIMIT, LIMIT + 2);
	ksm_crowd_leave(test, 2 * LIMIT + 1, PAGES);
	ksm_test_tend_every(0);
}

static void mappings_leave_pages_that_few_map(struct kunit *test)
{
	struct folio *fullest;
	unsigned int i;

	spare_two(test);
	fullest = ksm_crowd_folio(LIMIT + 2);
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(2 * LIMIT));
	KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(LIMIT + 2));
	KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(3));
	for (i = 3; i <= 2 * LIMIT; i++)
		if (i == 3 || i >= LIMIT + 2) {
			KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(i), fullest);
			ksm_crowd_expect_merged(test, i, i + 1);
		}
	KUNIT_EXPECT_EQ(test, folio_mapcount(fullest), 4);
	KUNIT_EXPECT_EQ(test, ksm_crowd.mm->ksm_merging_pages, 4);
	ksm_crowd_expect_counts(test, 1, 3, 3);
	/* What nobody maps any more goes, and there is no chain then. */
	forget_idle();
	ksm_crowd_expect_counts(test, 1, 3, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
}

/* Of two that move, each uses up a batch that may merge no more than one. */
static void who_moves_counts_as_merged(struct kunit *test)
{
	unsigned long rounds;

	spare_two(test);
	ksm_test_limit_merges(test, 1);
	rounds = ksm_counts.rounds;
	ksm_test_scan_batch(1000);
	/* The batch has ended there, and not the round. */
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 2);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 2);
	ksm_test_scan_batch(1000);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 1);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 3);
}

static void where_nothing_is_gained_nothing_moves(struct kunit *test)
{
	unsigned int i;

	ksm_crowd_merge_all(test);
	ksm_crowd_leave(test, 0, 1);
	ksm_crowd_leave(test, LIMIT, LIMIT + 1);
	ksm_test_tend_every(0);
	/* Ten mappings need three pages. */
	for (i = 0; i < PAGES; i++)
		if (i % LIMIT)
			KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(i));
	ksm_crowd_expect_counts(test, 3, 7, 3);
}

static void nothing_moves_before_it_is_time(struct kunit *test)
{
	ksm_crowd_merge_all(test);
	ksm_crowd_leave(test, 0, 3);
	ksm_crowd_leave(test, LIMIT, 2 * LIMIT - 1);
	KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(2 * LIMIT - 1));
	ksm_test_tend_every(0);
	KUNIT_EXPECT_NE(test, ksm_crowd_gather(3), ksm_crowd_gather(2 * LIMIT - 1));
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(3), ksm_crowd_folio(2 * LIMIT - 1));
}

/* Two mappings of each of three pages, in turns: a run of the scan holds each so often. */
static void a_run_that_holds_a_page_twice_is_not_in_the_way(struct kunit *test)
{
	unsigned int i, nr;

	for (nr = 0; nr < 3; nr++)
		for (i = nr; i < PAGES; i += 3)
			ksm_crowd_match(i);
	for (nr = 0; nr < 3; nr++)
		KUNIT_ASSERT_PTR_EQ(test, ksm_crowd_folio(nr), ksm_crowd_folio(nr + 3));
	ksm_crowd_leave(test, 6, PAGES);
	ksm_crowd_expect_counts(test, 3, 3, 3);
	ksm_test_tend_every(0);
	ksm_test_scan_round();
	/* Six mappings need two pages. */
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 2);
	ksm_crowd_expect_merged(test, 0, 6);
}

/* One mapping of the first page is left, two of the second; the first can go. */
static struct ksm_item *spare_one(struct kunit *test)
{
	ksm_crowd_merge_all(test);
	ksm_crowd_leave(test, 0, 3);
	ksm_crowd_leave(test, LIMIT, LIMIT + 2);
	ksm_test_tend_every(0);
	return ksm_crowd_item(3);
}

static void expect_not_moved(struct kunit *test, struct ksm_item *item, struct folio *folio)
{
	KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_item(3), item);
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(3), folio);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_crowd_folio(LIMIT + 2)), 2);
	ksm_crowd_expect_counts(test, 3, 4, 3);
	KUNIT_EXPECT_EQ(test, ksm_crowd.mm->ksm_merging_pages, 7);
}

static void P1_a_page_in_use_does_not_move(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *folio = ksm_crowd_folio(3);

	folio_get(folio);
	expect_not_moved(test, item, folio);
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(3));
	ksm_crowd_expect_merged(test, 3, 4);
}

static void a_locked_page_does_not_move(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *folio = ksm_crowd_folio(3), *keep = ksm_crowd_folio(LIMIT + 2);

	folio_lock(folio);
	expect_not_moved(test, item, folio);
	folio_unlock(folio);
	folio_lock(keep);
	expect_not_moved(test, item, folio);
	folio_unlock(keep);
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(3), keep);
}

static int differ_after_the_search(struct page *a, struct page *b, int order)
{
	return compared++ ? order ?: 1 : order;
}

static void P13_who_moves_is_compared(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);

	ksm_test_on_compare(test, differ_after_the_search);
	expect_not_moved(test, item, ksm_crowd_folio(3));
	KUNIT_EXPECT_EQ(test, compared, 2);
}

static pte_t unmapped;

/* After the page was found, and before it is locked. */
static int unmap(struct page *a, struct page *b, int order)
{
	if (!compared++)
		unmapped = ksm_test_set_pte(ksm_crowd.mm, ksm_crowd_page(3), __pte(0));
	return order;
}

static void a_page_that_is_unmapped_meanwhile_does_not_move(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *folio = ksm_crowd_folio(3);
	pte_t after;

	ksm_test_on_compare(test, unmap);
	KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(3));
	mmap_read_lock(ksm_crowd.mm);
	after = ksm_test_set_pte(ksm_crowd.mm, ksm_crowd_page(3), unmapped);
	mmap_read_unlock(ksm_crowd.mm);
	KUNIT_EXPECT_EQ(test, compared, 1);
	KUNIT_EXPECT_TRUE(test, pte_none(after));
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(3), folio);
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_item(3), item);
	KUNIT_EXPECT_EQ(test, item->kind, KSM_ITEM_MERGED);
}

static void without_memory_nothing_moves(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	bool moved;

	ksm_test_fail_alloc(test, 1);
	moved = ksm_crowd_gather(3);
	KUNIT_EXPECT_TRUE(test, ksm_test_alloc_failed());
	KUNIT_EXPECT_FALSE(test, moved);
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_item(3), item);
	ksm_crowd_expect_counts(test, 3, 4, 3);
}

static void P84_nobody_moves_to_a_poisoned_page(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *keep = ksm_crowd_folio(LIMIT + 2);

	ksm_test_poison(test, keep);
	KUNIT_EXPECT_FALSE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_item(3), item);
	KUNIT_EXPECT_EQ(test, ksm_node_of(keep)->place, KSM_NODE_ASIDE);
	KUNIT_EXPECT_EQ(test, folio_mapcount(keep), 2);
	ksm_crowd_expect_counts(test, 3, 4, 2);
}

/*
 * As spare_one(), but a search comes upon the page to move to at once, and not only
 * when it has gone through the chain: it is that page which is compared then.
 */
static struct ksm_item *spare_one_for_the_shown(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);

	KUNIT_ASSERT_FALSE(test, ksm_crowd_gather(LIMIT + 2));
	return item;
}

/* Not moved, for what happened to the KSM pages when the search compared them. */
static void expect_not_moved_after(struct kunit *test, struct ksm_item *item,
				   ksm_test_compare_fn *happens)
{
	ksm_test_on_compare(test, happens);
	expect_not_moved(test, item, ksm_crowd_folio(3));
	KUNIT_EXPECT_EQ(test, compared, 1);
}

static int let_keep_fail(struct page *a, struct page *b, int order)
{
	compared++;
	SetPageHWPoison(b);
	return order;
}

static void P84_the_page_to_move_to_may_fail_after_it_was_found(struct kunit *test)
{
	struct ksm_item *item;
	struct folio *keep;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");
	item = spare_one_for_the_shown(test);
	keep = ksm_crowd_folio(LIMIT + 2);
	expect_not_moved_after(test, item, let_keep_fail);
	KUNIT_EXPECT_TRUE(test, folio_test_hwpoison(keep));
	ClearPageHWPoison(&keep->page);
}

/* What is left where a page was that has moved is nobody's. */
static void leave_behind(struct page *page)
{
	if (!compared++)
		page_folio(page)->mapping = (void *)PAGE_MAPPING_KSM;
}

static int let_keep_move(struct page *a, struct page *b, int order)
{
	leave_behind(b);
	return order;
}

static int let_mapped_move(struct page *a, struct page *b, int order)
{
	leave_behind(a);
	return order;
}

static void P54_both_pages_may_move_after_they_were_found(struct kunit *test)
{
	struct ksm_item *item = spare_one_for_the_shown(test);
	struct folio *folio = ksm_crowd_folio(3), *keep = ksm_crowd_folio(LIMIT + 2);
	struct address_space *of_folio = folio->mapping, *of_keep = keep->mapping;

	expect_not_moved_after(test, item, let_keep_move);
	KUNIT_EXPECT_PTR_NE(test, keep->mapping, of_keep);
	keep->mapping = of_keep;

	compared = 0;
	expect_not_moved_after(test, item, let_mapped_move);
	KUNIT_EXPECT_PTR_NE(test, folio->mapping, of_folio);
	if (folio_mapped(folio))
		folio->mapping = of_folio;
}

static void P50_who_moved_is_reachable(struct kunit *test)
{
	spare_one(test);
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(3));
	ksm_test_expect_found(test, ksm_crowd_folio(3), 3);
	ksm_crowd_expect_merged(test, 3, 4);
}

static void P53_who_moved_holds_the_anon_vma_once(struct kunit *test)
{
	int held;

	spare_one(test);
	held = ksm_test_anon_vma_refs(ksm_crowd.mm, ksm_crowd_page(3));
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_EQ(test, ksm_test_anon_vma_refs(ksm_crowd.mm, ksm_crowd_page(3)), held);
}

static void P52_who_shares_by_fork_stays_reachable(struct kunit *test)
{
	struct folio *folio, *keep;
	struct mm_struct *child;

	spare_one(test);
	folio = ksm_crowd_folio(3);
	keep = ksm_crowd_folio(LIMIT + 2);
	child = ksm_test_fork(test, ksm_crowd.mm);
	/* Room for one more is left: of the page to move to, four are mapped. */
	do_madvise(child, ksm_crowd_page(LIMIT), LIMIT * PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_PTR_EQ(test, ksm_crowd_folio(3), keep);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(child, ksm_crowd_page(3)), folio);
	ksm_test_expect_found(test, folio, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, ksm_crowd_page(3), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(ksm_crowd.mm, ksm_crowd_page(3), 1));
}

static pte_t mark(pte_t pte)
{
	return pte_mkuffd_wp(pte_mksoft_dirty(pte));
}

static void P17_what_is_recorded_of_the_address_stays(struct kunit *test)
{
	spare_one(test);
	ksm_test_change_pte(ksm_crowd.mm, ksm_crowd_page(3), mark);
	KUNIT_EXPECT_TRUE(test, ksm_crowd_gather(3));
	KUNIT_EXPECT_EQ(test, !!pte_soft_dirty(ksm_test_pte_at(ksm_crowd.mm, ksm_crowd_page(3))),
			IS_ENABLED(CONFIG_MEM_SOFT_DIRTY));
	KUNIT_EXPECT_EQ(test, !!pte_uffd_wp(ksm_test_pte_at(ksm_crowd.mm, ksm_crowd_page(3))),
			IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP));
	ksm_crowd_expect_merged(test, 3, 4);
}

static struct kunit_case gather_cases[] = {
	KUNIT_CASE(mappings_leave_pages_that_few_map),
	KUNIT_CASE(who_moves_counts_as_merged),
	KUNIT_CASE(where_nothing_is_gained_nothing_moves),
	KUNIT_CASE(nothing_moves_before_it_is_time),
	KUNIT_CASE(a_run_that_holds_a_page_twice_is_not_in_the_way),
	KUNIT_CASE(P1_a_page_in_use_does_not_move),
	KUNIT_CASE(a_locked_page_does_not_move),
	KUNIT_CASE(P13_who_moves_is_compared),
	KUNIT_CASE(a_page_that_is_unmapped_meanwhile_does_not_move),
	KUNIT_CASE(without_memory_nothing_moves),
	KUNIT_CASE(P84_nobody_moves_to_a_poisoned_page),
	KUNIT_CASE(P84_the_page_to_move_to_may_fail_after_it_was_found),
	KUNIT_CASE(P54_both_pages_may_move_after_they_were_found),
	KUNIT_CASE(P50_who_moved_is_reachable),
	KUNIT_CASE(P53_who_moved_holds_the_anon_vma_once),
	KUNIT_CASE(P52_who_shares_by_fork_stays_reachable),
	KUNIT_CASE(P17_what_is_recorded_of_the_address_stays),
	{ }
};

static struct kunit_suite gather_suite = {
	.name = "ksm_gather",
	.init = init,
	.test_cases = gather_cases,
};

kunit_test_suite(gather_suite);
