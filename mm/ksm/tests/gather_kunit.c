// SPDX-License-Identifier: GPL-2.0
/* Gathering: mappings that leave a page which few map for a fuller one. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../forget.h"
#include "../gather.h"
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
	unsigned int		compared;
} at;

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	ksm_test_limit(test, LIMIT);
	at.compared = 0;
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

/* What a scan does with a KSM page. */
static bool gather(unsigned int nr)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_offer offer;
	bool moved = false;

	if (ksm_test_offer(&offer, km, page(nr))) {
		offer.item = item_of(at.mm, nr);
		moved = !ksm_gather_page(&offer);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	return moved;
}

static void forget_idle(void)
{
	mutex_lock(&ksm_pass_lock);
	ksm_forget_due(ULONG_MAX);
	mutex_unlock(&ksm_pass_lock);
}

static void mappings_leave_pages_that_few_map(struct kunit *test)
{
	struct folio *fullest;
	unsigned int i;

	merge_all(test);
	/* Left are one of the first, two of the second, one of the third. */
	leave(test, 0, 3);
	leave(test, LIMIT, LIMIT + 2);
	leave(test, 2 * LIMIT + 1, PAGES);
	fullest = folio_of(LIMIT + 2);
	ksm_test_tend_every(0);
	KUNIT_EXPECT_TRUE(test, gather(3));
	KUNIT_EXPECT_TRUE(test, gather(2 * LIMIT));
	KUNIT_EXPECT_FALSE(test, gather(LIMIT + 2));
	KUNIT_EXPECT_FALSE(test, gather(3));
	for (i = 3; i <= 2 * LIMIT; i++)
		if (i == 3 || i >= LIMIT + 2) {
			KUNIT_EXPECT_PTR_EQ(test, folio_of(i), fullest);
			expect_merged(test, i, i + 1);
		}
	KUNIT_EXPECT_EQ(test, folio_mapcount(fullest), 4);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 4);
	expect_counts(test, 1, 3, 3);
	/* What nobody maps any more goes, and there is no chain then. */
	forget_idle();
	expect_counts(test, 1, 3, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
}

static void where_nothing_is_gained_nothing_moves(struct kunit *test)
{
	unsigned int i;

	merge_all(test);
	leave(test, 0, 1);
	leave(test, LIMIT, LIMIT + 1);
	ksm_test_tend_every(0);
	/* Ten mappings need three pages. */
	for (i = 0; i < PAGES; i++)
		if (i % LIMIT)
			KUNIT_EXPECT_FALSE(test, gather(i));
	expect_counts(test, 3, 7, 3);
}

static void nothing_moves_before_it_is_time(struct kunit *test)
{
	merge_all(test);
	leave(test, 0, 3);
	leave(test, LIMIT, 2 * LIMIT - 1);
	KUNIT_EXPECT_FALSE(test, gather(3));
	KUNIT_EXPECT_FALSE(test, gather(2 * LIMIT - 1));
	ksm_test_tend_every(0);
	KUNIT_EXPECT_NE(test, gather(3), gather(2 * LIMIT - 1));
	KUNIT_EXPECT_PTR_EQ(test, folio_of(3), folio_of(2 * LIMIT - 1));
}

/* Two mappings of each of three pages, in turns: a run of the scan holds each so often. */
static void a_run_that_holds_a_page_twice_is_not_in_the_way(struct kunit *test)
{
	unsigned int i, nr;

	for (nr = 0; nr < 3; nr++)
		for (i = nr; i < PAGES; i += 3)
			match(i);
	for (nr = 0; nr < 3; nr++)
		KUNIT_ASSERT_PTR_EQ(test, folio_of(nr), folio_of(nr + 3));
	leave(test, 6, PAGES);
	expect_counts(test, 3, 3, 3);
	ksm_test_tend_every(0);
	ksm_test_scan_round();
	/* Six mappings need two pages. */
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 2);
	expect_merged(test, 0, 6);
}

/* One mapping of the first page is left, two of the second; the first can go. */
static struct ksm_item *spare_one(struct kunit *test)
{
	merge_all(test);
	leave(test, 0, 3);
	leave(test, LIMIT, LIMIT + 2);
	ksm_test_tend_every(0);
	return item_of(at.mm, 3);
}

static void expect_not_moved(struct kunit *test, struct ksm_item *item, struct folio *folio)
{
	KUNIT_EXPECT_FALSE(test, gather(3));
	KUNIT_EXPECT_PTR_EQ(test, item_of(at.mm, 3), item);
	KUNIT_EXPECT_PTR_EQ(test, folio_of(3), folio);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio_of(LIMIT + 2)), 2);
	expect_counts(test, 3, 4, 3);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 7);
}

static void P1_a_page_in_use_does_not_move(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *folio = folio_of(3);

	folio_get(folio);
	expect_not_moved(test, item, folio);
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, gather(3));
	expect_merged(test, 3, 4);
}

static void a_locked_page_does_not_move(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *folio = folio_of(3), *keep = folio_of(LIMIT + 2);

	folio_lock(folio);
	expect_not_moved(test, item, folio);
	folio_unlock(folio);
	folio_lock(keep);
	expect_not_moved(test, item, folio);
	folio_unlock(keep);
	KUNIT_EXPECT_TRUE(test, gather(3));
	KUNIT_EXPECT_PTR_EQ(test, folio_of(3), keep);
}

static int differ_after_the_search(struct page *a, struct page *b, int order)
{
	return at.compared++ ? order ?: 1 : order;
}

static void P13_who_moves_is_compared(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);

	ksm_test_on_compare(test, differ_after_the_search);
	expect_not_moved(test, item, folio_of(3));
	KUNIT_EXPECT_EQ(test, at.compared, 2);
}

static pte_t unmapped;

/* After the page was found, and before it is locked. */
static int unmap(struct page *a, struct page *b, int order)
{
	if (!at.compared++)
		unmapped = ksm_test_set_pte(at.mm, page(3), __pte(0));
	return order;
}

static void a_page_that_is_unmapped_meanwhile_does_not_move(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *folio = folio_of(3);
	pte_t after;

	ksm_test_on_compare(test, unmap);
	KUNIT_EXPECT_FALSE(test, gather(3));
	mmap_read_lock(at.mm);
	after = ksm_test_set_pte(at.mm, page(3), unmapped);
	mmap_read_unlock(at.mm);
	KUNIT_EXPECT_EQ(test, at.compared, 1);
	KUNIT_EXPECT_TRUE(test, pte_none(after));
	KUNIT_EXPECT_PTR_EQ(test, folio_of(3), folio);
	KUNIT_EXPECT_PTR_EQ(test, item_of(at.mm, 3), item);
	KUNIT_EXPECT_EQ(test, item->kind, KSM_ITEM_MERGED);
}

static void without_memory_nothing_moves(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	bool moved;

	ksm_test_fail_alloc(test, 1);
	moved = gather(3);
	KUNIT_EXPECT_TRUE(test, ksm_test_alloc_failed());
	KUNIT_EXPECT_FALSE(test, moved);
	KUNIT_EXPECT_PTR_EQ(test, item_of(at.mm, 3), item);
	expect_counts(test, 3, 4, 3);
}

static void P84_nobody_moves_to_a_poisoned_page(struct kunit *test)
{
	struct ksm_item *item = spare_one(test);
	struct folio *keep = folio_of(LIMIT + 2);

	ksm_test_poison(test, keep);
	KUNIT_EXPECT_FALSE(test, gather(3));
	KUNIT_EXPECT_PTR_EQ(test, item_of(at.mm, 3), item);
	KUNIT_EXPECT_EQ(test, ksm_node_of(keep)->place, KSM_NODE_ASIDE);
	KUNIT_EXPECT_EQ(test, folio_mapcount(keep), 2);
	expect_counts(test, 3, 4, 2);
}

/* Migration finds all mappings of a page, and finds them again. */
static void expect_reachable(struct kunit *test, struct folio *folio, int mappings)
{
	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "needs CONFIG_MIGRATION");
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), mappings);
	folio_get(folio);
	folio_lock(folio);
	try_to_migrate(folio, 0);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 0);
	remove_migration_ptes(folio, folio, 0);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), mappings);
	folio_unlock(folio);
	folio_put(folio);
}

static void P50_who_moved_is_reachable(struct kunit *test)
{
	spare_one(test);
	KUNIT_EXPECT_TRUE(test, gather(3));
	expect_reachable(test, folio_of(3), 3);
	expect_merged(test, 3, 4);
}

static void P52_who_shares_by_fork_stays_reachable(struct kunit *test)
{
	struct folio *folio, *keep;
	struct mm_struct *child;

	spare_one(test);
	folio = folio_of(3);
	keep = folio_of(LIMIT + 2);
	child = ksm_test_fork(test, at.mm);
	/* Room for one more is left: of the page to move to, four are mapped. */
	do_madvise(child, page(LIMIT), LIMIT * PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_TRUE(test, gather(3));
	KUNIT_EXPECT_PTR_EQ(test, folio_of(3), keep);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(child, page(3)), folio);
	expect_reachable(test, folio, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, page(3), 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(3), 1));
}

static pte_t mark(pte_t pte)
{
	return pte_mkuffd_wp(pte_mksoft_dirty(pte));
}

static void P17_what_is_recorded_of_the_address_stays(struct kunit *test)
{
	spare_one(test);
	ksm_test_change_pte(at.mm, page(3), mark);
	KUNIT_EXPECT_TRUE(test, gather(3));
	KUNIT_EXPECT_EQ(test, !!pte_soft_dirty(ksm_test_pte_at(at.mm, page(3))),
			IS_ENABLED(CONFIG_MEM_SOFT_DIRTY));
	KUNIT_EXPECT_EQ(test, !!pte_uffd_wp(ksm_test_pte_at(at.mm, page(3))),
			IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP));
	expect_merged(test, 3, 4);
}

static struct kunit_case gather_cases[] = {
	KUNIT_CASE(mappings_leave_pages_that_few_map),
	KUNIT_CASE(where_nothing_is_gained_nothing_moves),
	KUNIT_CASE(nothing_moves_before_it_is_time),
	KUNIT_CASE(a_run_that_holds_a_page_twice_is_not_in_the_way),
	KUNIT_CASE(P1_a_page_in_use_does_not_move),
	KUNIT_CASE(a_locked_page_does_not_move),
	KUNIT_CASE(P13_who_moves_is_compared),
	KUNIT_CASE(a_page_that_is_unmapped_meanwhile_does_not_move),
	KUNIT_CASE(without_memory_nothing_moves),
	KUNIT_CASE(P84_nobody_moves_to_a_poisoned_page),
	KUNIT_CASE(P50_who_moved_is_reachable),
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
