// SPDX-License-Identifier: GPL-2.0
/* What a merge does to the PTE of a page that is to be kept: all of it, or nothing. */
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include "../merge.h"
#include "fixture.h"

/* Two neighbouring pages. */
static struct ksm_test_pages at;

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 2);
}

/* Freeze a page, under the locks that it takes. */
static int freeze_locked(struct ksm_offer *offer)
{
	struct folio *folio = page_folio(offer->page);
	struct mmu_notifier_range range;
	int err;

	ksm_merge_begin(offer, &range);
	folio_lock(folio);
	err = ksm_merge_freeze(offer);
	folio_unlock(folio);
	ksm_merge_end(&range);
	return err;
}

static int freeze(unsigned long addr)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_offer offer;
	int err = -ENOENT;

	if (ksm_test_offer(&offer, km, addr)) {
		err = freeze_locked(&offer);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	return err;
}

static bool is_exclusive(unsigned long addr)
{
	return PageAnonExclusive(&ksm_test_folio_at(at.mm, addr)->page);
}

static void a_frozen_page_is_read_only_and_clean(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	pte_t before = ksm_test_pte_at(at.mm, at.a), pte;

	KUNIT_EXPECT_TRUE(test, pte_write(before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.a));
	KUNIT_EXPECT_EQ(test, freeze(at.a), 0);
	pte = ksm_test_pte_at(at.mm, at.a);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_EQ(test, pte_pfn(pte), pte_pfn(before));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
	KUNIT_EXPECT_FALSE(test, is_exclusive(at.a));
	/* The PTE knew that the page is dirty, now the page does. */
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 1));
}

static pte_t as_written_behind_our_back(pte_t pte)
{
	return pte_mkdirty(pte_wrprotect(pte));
}

static void P2_a_read_only_page_that_is_dirty_is_cleaned(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);

	ksm_test_change_pte(at.mm, at.a, as_written_behind_our_back);
	folio_clear_dirty(folio);
	KUNIT_EXPECT_EQ(test, freeze(at.a), 0);
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.a)));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
}

static void P1_a_page_that_somebody_holds_is_not_frozen(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	pte_t before = ksm_test_pte_at(at.mm, at.a);

	folio_get(folio);
	KUNIT_EXPECT_EQ(test, freeze(at.a), -EAGAIN);
	folio_put(folio);
	/* And nothing is left of the attempt. */
	KUNIT_EXPECT_TRUE(test, pte_same(ksm_test_pte_at(at.mm, at.a), before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.a));
	KUNIT_EXPECT_EQ(test, freeze(at.a), 0);
}

static void P6_a_pinned_page_is_not_frozen(struct kunit *test)
{
	struct page *page;
	pte_t before;
	int pinned;

	mmap_read_lock(at.mm);
	pinned = pin_user_pages_remote(at.mm, at.a, 1, FOLL_WRITE | FOLL_LONGTERM, &page, NULL);
	mmap_read_unlock(at.mm);
	KUNIT_ASSERT_EQ(test, pinned, 1);
	before = ksm_test_pte_at(at.mm, at.a);
	KUNIT_EXPECT_EQ(test, freeze(at.a), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, pte_same(ksm_test_pte_at(at.mm, at.a), before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.a));
	unpin_user_page(page);
	/* Who pins it from now on gets one of his own, or sees what others see. */
	KUNIT_EXPECT_EQ(test, freeze(at.a), 0);
	KUNIT_EXPECT_FALSE(test, is_exclusive(at.a));
}

static void a_page_that_went_is_not_frozen(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_offer offer, other;

	KUNIT_EXPECT_TRUE(test, ksm_test_offer(&offer, km, at.a));
	KUNIT_EXPECT_TRUE(test, ksm_test_offer(&other, km, at.b));
	/* Somebody else is mapped there. */
	swap(offer.addr, other.addr);
	KUNIT_EXPECT_EQ(test, freeze_locked(&offer), -EAGAIN);
	/* Nothing is. */
	zap_page_range_single(offer.vma, offer.addr, PAGE_SIZE, NULL);
	KUNIT_EXPECT_EQ(test, freeze_locked(&offer), -EAGAIN);
	put_page(other.page);
	put_page(offer.page);
	ksm_test_unlock(at.mm);
	KUNIT_EXPECT_TRUE(test, pte_write(ksm_test_pte_at(at.mm, at.a)));
}

/* Try to freeze page a while @entry stands in its PTE. */
static void expect_not_frozen(struct kunit *test, pte_t entry)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_offer offer;
	pte_t before, after;

	KUNIT_EXPECT_TRUE(test, ksm_test_offer(&offer, km, at.a));
	if (offer.page) {
		before = ksm_test_set_pte(at.mm, at.a, entry);
		KUNIT_EXPECT_EQ(test, freeze_locked(&offer), -EAGAIN);
		after = ksm_test_set_pte(at.mm, at.a, before);
		KUNIT_EXPECT_TRUE(test, pte_same(after, entry));
		KUNIT_EXPECT_TRUE(test, PageAnonExclusive(offer.page));
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
}

static void P7_a_page_that_a_device_has_is_not_frozen(struct kunit *test)
{
	expect_not_frozen(test, ksm_test_device_entry(test, ksm_test_pte_at(at.mm, at.a)));
}

static void P7_a_swap_entry_is_not_frozen(struct kunit *test)
{
	expect_not_frozen(test, ksm_test_swap_entry(test, ksm_test_pte_at(at.mm, at.a)));
	KUNIT_EXPECT_EQ(test, freeze(at.a), 0);
}

static void a_write_takes_a_frozen_page_back(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);

	KUNIT_EXPECT_EQ(test, freeze(at.a), 0);
	ksm_test_write(test, at.mm, at.a, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 2));
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.a), folio);
	KUNIT_EXPECT_TRUE(test, pte_write(ksm_test_pte_at(at.mm, at.a)));
}

/* So many that thousands of them come or go between two counts. */
#define MAPPINGS	300000

static int end_when_told(void)
{
	while (!kthread_should_stop())
		cond_resched();
	return 0;
}

/* As a process that exits does it: the map count first. */
static int unmap_all(void *data)
{
	struct folio *folio = data;

	while (folio_mapped(folio)) {
		atomic_add_negative(-1, &folio->_mapcount);
		folio_put_testzero(folio);
		cond_resched();
	}
	return end_when_told();
}

/* As a fork does it: the map count last. */
static int map_all(void *data)
{
	struct folio *folio = data;

	while (folio_mapcount(folio) < MAPPINGS) {
		folio_get(folio);
		atomic_inc(&folio->_mapcount);
		cond_resched();
	}
	return end_when_told();
}

/* Let no page table map a page, but its counts say so. */
static void count_mappings(struct folio *folio, int by)
{
	folio_ref_add(folio, by);
	atomic_add(by, &folio->_mapcount);
}

/* While another CPU maps or unmaps a page that is held, is that seen each time? */
static void expect_held(struct kunit *test, int (*changes)(void *folio), int mappings, int to)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_offer offer = { .page = &folio->page };
	struct task_struct *task = NULL;
	unsigned int cpu, hidden = 0;

	folio_get(folio);
	count_mappings(folio, mappings);
	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	if (cpu < nr_cpu_ids)
		task = kthread_run_on_cpu(changes, folio, cpu, "ksm_test/%u");
	if (!IS_ERR_OR_NULL(task)) {
		while (folio_mapcount(folio) != to)
			hidden += !ksm_merge_is_held(&offer);
		kthread_stop(task);
	}
	migrate_enable();
	count_mappings(folio, -folio_mapcount(folio));
	KUNIT_EXPECT_TRUE(test, ksm_merge_is_held(&offer));
	folio_put(folio);
	KUNIT_EXPECT_FALSE(test, ksm_merge_is_held(&offer));
	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_EXPECT_EQ(test, hidden, 0);
}

static void P1_an_unmap_does_not_hide_who_holds_a_page(struct kunit *test)
{
	expect_held(test, unmap_all, MAPPINGS, 0);
}

static void P1_a_fork_does_not_hide_who_holds_a_page(struct kunit *test)
{
	expect_held(test, map_all, 0, MAPPINGS);
}

static struct kunit_case merge_cases[] = {
	KUNIT_CASE(a_frozen_page_is_read_only_and_clean),
	KUNIT_CASE(P2_a_read_only_page_that_is_dirty_is_cleaned),
	KUNIT_CASE(P1_a_page_that_somebody_holds_is_not_frozen),
	KUNIT_CASE(P1_an_unmap_does_not_hide_who_holds_a_page),
	KUNIT_CASE(P1_a_fork_does_not_hide_who_holds_a_page),
	KUNIT_CASE(P6_a_pinned_page_is_not_frozen),
	KUNIT_CASE(a_page_that_went_is_not_frozen),
	KUNIT_CASE(P7_a_page_that_a_device_has_is_not_frozen),
	KUNIT_CASE(P7_a_swap_entry_is_not_frozen),
	KUNIT_CASE(a_write_takes_a_frozen_page_back),
	{ }
};

static struct kunit_suite merge_suite = {
	.name = "ksm_merge",
	.init = init,
	.test_cases = merge_cases,
};

kunit_test_suite(merge_suite);
