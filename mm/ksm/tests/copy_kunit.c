// SPDX-License-Identifier: GPL-2.0
/* Private copies of a run of KSM pages: all of it, or the part that is still there. */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "../../internal.h"
#include "../copy.h"
#include "../page.h"
#include "fixture.h"

#define PAGES	(KSM_COPY_AT_ONCE + 2)

/* Pages that are all merged into one, on which the test has a reference. */
static struct {
	struct mm_struct	*mm;
	unsigned long		addr;
	struct folio		*keep;
} at;

static unsigned long page(unsigned int nr)
{
	return at.addr + nr * PAGE_SIZE;
}

static int init(struct kunit *test)
{
	int err = ksm_test_init(test), i;

	if (err)
		return err;
	at.mm = ksm_test_mm(test);
	at.addr = ksm_test_map_equal(test, at.mm, PAGES);
	ksm_test_merge_pair(test, at.mm, page(0), page(1));
	for (i = 2; i < PAGES; i++)
		ksm_test_match(at.mm, page(i));
	at.keep = ksm_test_folio_at(at.mm, page(0));
	ksm_test_hold(test, at.keep);
	KUNIT_ASSERT_EQ(test, folio_mapcount(at.keep), PAGES);
	return 0;
}

/* Under the mmap lock: a run of at most so many pages. */
static struct ksm_copies begin(unsigned int first, unsigned int most)
{
	struct ksm_copies run = {
		.vma	= vma_lookup(at.mm, page(first)),
		.pmd	= mm_find_pmd(at.mm, page(first)),
		.addr	= page(first),
	};
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep = ksm_page_map(at.mm, page(first), &ptl);

	while (run.nr < most && ksm_copy_add(&run, ptep_get(ptep + run.nr)))
		;
	pte_unmap_unlock(ptep, ptl);
	return run;
}

static void expect_private(struct kunit *test, unsigned int from, unsigned int to)
{
	struct folio *folio;
	unsigned int i;

	for (i = from; i < to; i++) {
		folio = ksm_test_folio_at(at.mm, page(i));
		KUNIT_ASSERT_NOT_NULL(test, folio);
		KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio));
		KUNIT_EXPECT_TRUE(test, PageAnonExclusive(folio_page(folio, 0)));
		KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 1);
		KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
		KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
		/* There for reclaim and migration to find. */
		KUNIT_EXPECT_TRUE(test, folio_test_lru(folio));
		KUNIT_EXPECT_FALSE(test, pte_write(ksm_test_pte_at(at.mm, page(i))));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(i), 1));
	}
}

/* All but so many are as they were, and nobody but the test holds the KSM page. */
static void expect_merged(struct kunit *test, unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = from; i < to; i++)
		KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, page(i)), at.keep);
	KUNIT_EXPECT_EQ(test, folio_mapcount(at.keep), to - from);
	KUNIT_EXPECT_EQ(test, folio_ref_count(at.keep), to - from + 1);
}

/* ------------------------------------------------------------------------ */

static void a_run_becomes_private(struct kunit *test)
{
	unsigned long rss = get_mm_counter(at.mm, MM_ANONPAGES);
	struct ksm_copies run;
	int copied;

	mmap_write_lock(at.mm);
	run = begin(0, 4);
	copied = ksm_copy_replace(&run);
	mmap_write_unlock(at.mm);
	lru_add_drain_all();

	KUNIT_EXPECT_EQ(test, copied, 4);
	expect_private(test, 0, 4);
	expect_merged(test, 4, PAGES);
	KUNIT_EXPECT_EQ(test, get_mm_counter(at.mm, MM_ANONPAGES), rss);
}

static void the_copies_lie_in_order(struct kunit *test)
{
	struct folio *before, *folio;
	struct ksm_copies run;
	int copied, i;

	mmap_write_lock(at.mm);
	run = begin(0, KSM_COPY_AT_ONCE);
	copied = ksm_copy_replace(&run);
	mmap_write_unlock(at.mm);
	lru_add_drain_all();
	KUNIT_ASSERT_EQ(test, copied, KSM_COPY_AT_ONCE);
	for (i = 1; i < copied; i++) {
		before = ksm_test_folio_at(at.mm, page(i - 1));
		folio = ksm_test_folio_at(at.mm, page(i));
		if (folio_nid(before) == folio_nid(folio))
			KUNIT_EXPECT_LT(test, folio_pfn(before), folio_pfn(folio));
	}
	expect_private(test, 0, copied);
}

static void no_run_is_longer_than_it_may_be(struct kunit *test)
{
	struct ksm_copies run;
	int copied;

	mmap_write_lock(at.mm);
	run = begin(0, PAGES);
	copied = ksm_copy_replace(&run);
	mmap_write_unlock(at.mm);
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, copied, KSM_COPY_AT_ONCE);
	expect_merged(test, KSM_COPY_AT_ONCE, PAGES);
}

static pte_t read_meanwhile(pte_t pte)
{
	return pte_young(pte) ? pte_mkold(pte) : pte_mkyoung(pte);
}

/* Is a copy free, of those from the @first on? All are, but for what others got since. */
static bool is_any_free(const struct ksm_copies *run, unsigned int first)
{
	unsigned int i;

	for (i = first; i < run->nr; i++)
		if (!folio_ref_count(run->made[i]))
			return true;
	return false;
}

/* Let a PTE change between the look at it and the copy. */
static int copy_though(struct kunit *test, unsigned int changed, pte_t change(pte_t pte))
{
	struct ksm_copies run;
	bool any_free;
	int copied;

	mmap_write_lock(at.mm);
	run = begin(0, 4);
	ksm_test_set_pte(at.mm, page(changed), change(run.found[changed]));
	copied = ksm_copy_replace(&run);
	any_free = is_any_free(&run, max(copied, 0));
	mmap_write_unlock(at.mm);
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, any_free, copied < 4);
	return copied;
}

static void what_changed_meanwhile_ends_the_run(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, copy_though(test, 2, pte_mkdirty), 2);
	expect_private(test, 0, 2);
	expect_merged(test, 2, PAGES);
}

static void what_changed_at_once_is_left_alone(struct kunit *test)
{
	unsigned long rss = get_mm_counter(at.mm, MM_ANONPAGES);

	KUNIT_EXPECT_EQ(test, copy_though(test, 0, pte_mkdirty), -EAGAIN);
	expect_merged(test, 0, PAGES);
	KUNIT_EXPECT_EQ(test, get_mm_counter(at.mm, MM_ANONPAGES), rss);
}

static void what_was_read_meanwhile_has_not_changed(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, copy_though(test, 1, read_meanwhile), 4);
	expect_private(test, 0, 4);
	expect_merged(test, 4, PAGES);
}

static pte_t hint(pte_t pte)
{
	return pte_modify(pte, PAGE_NONE);
}

static void a_run_ends_at_a_NUMA_hint(struct kunit *test)
{
	struct ksm_copies run;
	int copied;

	if (!IS_ENABLED(CONFIG_NUMA_BALANCING))
		kunit_skip(test, "needs CONFIG_NUMA_BALANCING");
	ksm_test_change_pte(at.mm, page(2), hint);
	mmap_write_lock(at.mm);
	run = begin(0, 4);
	copied = ksm_copy_replace(&run);
	mmap_write_unlock(at.mm);
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, copied, 2);
	expect_private(test, 0, 2);
	/* A fault is to take it, by which NUMA balancing hears of it. */
	KUNIT_EXPECT_TRUE(test, pte_protnone(ksm_test_pte_at(at.mm, page(2))));
	expect_merged(test, 2, PAGES);
}

/* ------------------------------------------------------------------------ */

static void a_range_becomes_private_whatever_lies_between(struct kunit *test)
{
	struct folio *own;

	ksm_test_write(test, at.mm, page(3), 1);
	own = ksm_test_folio_at(at.mm, page(3));
	do_madvise(at.mm, page(7), PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, do_madvise(at.mm, at.addr, PAGES * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	lru_add_drain_all();

	expect_private(test, 0, 3);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, page(3)), own);
	expect_private(test, 4, 7);
	KUNIT_EXPECT_TRUE(test, pte_none(ksm_test_pte_at(at.mm, page(7))));
	expect_private(test, 8, PAGES);
	KUNIT_EXPECT_FALSE(test, folio_mapped(at.keep));
	KUNIT_EXPECT_EQ(test, folio_ref_count(at.keep), 1);
}

static void a_part_of_a_range_ends_where_it_ends(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, do_madvise(at.mm, page(2), 3 * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	lru_add_drain_all();
	expect_private(test, 2, 5);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, page(1)), at.keep);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, page(5)), at.keep);
	KUNIT_EXPECT_EQ(test, folio_mapcount(at.keep), PAGES - 3);
}

/* The page comes back when somebody waits for it, or when nobody will. */
static int bring_back(void *unused)
{
	while (!folio_test_waiters(at.keep) && !kthread_should_stop())
		cond_resched();
	remove_migration_ptes(at.keep, at.keep, 0);
	folio_unlock(at.keep);
	while (!kthread_should_stop())
		cond_resched();
	return 0;
}

static void P22_a_page_on_its_way_is_waited_for(struct kunit *test)
{
	struct task_struct *task;
	int err;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "needs CONFIG_MIGRATION");
	folio_lock(at.keep);
	try_to_migrate(at.keep, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(at.keep));
	task = kthread_create(bring_back, NULL, "ksm_test");
	if (IS_ERR(task)) {
		remove_migration_ptes(at.keep, at.keep, 0);
		folio_unlock(at.keep);
		KUNIT_FAIL_AND_ABORT(test, "no thread");
	}
	wake_up_process(task);
	err = do_madvise(at.mm, at.addr, PAGES * PAGE_SIZE, MADV_UNMERGEABLE);
	kthread_stop(task);
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, err, 0);
	expect_private(test, 0, PAGES);
	KUNIT_EXPECT_FALSE(test, folio_mapped(at.keep));
}

static struct kunit_case copy_cases[] = {
	KUNIT_CASE(a_run_becomes_private),
	KUNIT_CASE(the_copies_lie_in_order),
	KUNIT_CASE(no_run_is_longer_than_it_may_be),
	KUNIT_CASE(what_changed_meanwhile_ends_the_run),
	KUNIT_CASE(what_changed_at_once_is_left_alone),
	KUNIT_CASE(what_was_read_meanwhile_has_not_changed),
	KUNIT_CASE(a_run_ends_at_a_NUMA_hint),
	KUNIT_CASE(a_range_becomes_private_whatever_lies_between),
	KUNIT_CASE(a_part_of_a_range_ends_where_it_ends),
	KUNIT_CASE(P22_a_page_on_its_way_is_waited_for),
	{ }
};

static struct kunit_suite copy_suite = {
	.name		= "ksm_copy",
	.init		= init,
	.test_cases	= copy_cases,
};

kunit_test_suite(copy_suite);
