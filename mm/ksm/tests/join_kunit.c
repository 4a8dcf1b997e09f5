// SPDX-License-Identifier: GPL-2.0
/* What a merge does to the PTE of a page that gives way: all of it, or nothing. */
#include <linux/highmem.h>
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched/numa_balancing.h>
#include <linux/sched/sysctl.h>
#include <linux/userfaultfd_k.h>

#include "../../internal.h"
#include "../item.h"
#include "../merge.h"
#include "../record.h"
#include "fixture.h"

/* Two neighbouring pages of equal content: b is replaced by a. */
static struct ksm_test_pages at;

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 2);
}

/* Do to a page what takes no other, under the locks that it takes. */
static int alone(unsigned long addr, int (*merge)(struct ksm_offer *offer))
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct mmu_notifier_range range;
	struct ksm_offer offer;
	int err = -ENOENT;

	if (ksm_test_offer(&offer, km, addr)) {
		ksm_merge_begin(&offer, &range);
		folio_lock(page_folio(offer.page));
		err = merge(&offer);
		folio_unlock(page_folio(offer.page));
		ksm_merge_end(&range);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	return err;
}

/* An item for @addr, in the records, which end it. */
static struct ksm_item *new_item(struct ksm_mm *km, unsigned long addr)
{
	struct ksm_item *item = ksm_item_alloc(km, PHYS_PFN(addr));

	if (item && ksm_record_store(km, PHYS_PFN(addr), item)) {
		ksm_item_free(item);
		item = NULL;
	}
	return item;
}

static int join_locked(struct ksm_offer *offer, struct ksm_item *item, struct folio *keep)
{
	struct folio *folio = page_folio(offer->page);
	struct mmu_notifier_range range;
	int err;

	ksm_merge_begin(offer, &range);
	folio_lock(folio);
	folio_lock(keep);
	err = ksm_merge_join(offer, item, ksm_node_of(keep), keep);
	folio_unlock(keep);
	folio_unlock(folio);
	ksm_merge_end(&range);
	return err;
}

/* Make page a a KSM page. */
static struct folio *keep_a(struct kunit *test)
{
	struct folio *keep;

	KUNIT_ASSERT_EQ(test, alone(at.a, ksm_merge_freeze), 0);
	keep = ksm_test_folio_at(at.mm, at.a);
	ksm_test_keep_mapped(test, keep);
	return keep;
}

/* Let page b join @keep, by the item that it has if it was tried before. */
static int join(struct folio *keep)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_item *item = ksm_record_item(ksm_record_load(km, PHYS_PFN(at.b)));
	struct ksm_offer offer;
	int err = -ENOENT;

	item = item ?: new_item(km, at.b);
	if (item && ksm_test_offer(&offer, km, at.b)) {
		err = join_locked(&offer, item, keep);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	return err;
}

/* Make page a a KSM page, and replace page b by it. */
static int replace(struct kunit *test)
{
	return join(keep_a(test));
}

static bool is_exclusive(unsigned long addr)
{
	return PageAnonExclusive(&ksm_test_folio_at(at.mm, addr)->page);
}

static void a_replaced_page_gives_way_to_the_kept_one(struct kunit *test)
{
	unsigned long anon = get_mm_counter_sum(at.mm, MM_ANONPAGES);
	struct folio *keep;
	pte_t pte;

	KUNIT_ASSERT_EQ(test, replace(test), 0);
	keep = ksm_test_folio_at(at.mm, at.a);
	pte = ksm_test_pte_at(at.mm, at.b);
	KUNIT_EXPECT_EQ(test, pte_pfn(pte), folio_pfn(keep));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
	KUNIT_EXPECT_EQ(test, folio_mapcount(keep), 2);
	KUNIT_EXPECT_EQ(test, folio_ref_count(keep), 2);
	KUNIT_EXPECT_FALSE(test, is_exclusive(at.b));
	KUNIT_EXPECT_EQ(test, get_mm_counter_sum(at.mm, MM_ANONPAGES), anon);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 1));
}

static pte_t with_soft_dirty(pte_t pte)
{
	return pte_mksoft_dirty(pte);
}

static pte_t without_soft_dirty(pte_t pte)
{
	return pte_clear_soft_dirty(pte_wrprotect(pte));
}

static pte_t with_uffd_wp(pte_t pte)
{
	return pte_mkuffd_wp(pte_wrprotect(pte));
}

static pte_t old(pte_t pte)
{
	return pte_mkold(pte);
}

static void P17_soft_dirty_outlives_the_page(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		kunit_skip(test, "needs CONFIG_MEM_SOFT_DIRTY");
	ksm_test_change_pte(at.mm, at.b, with_soft_dirty);
	KUNIT_ASSERT_EQ(test, replace(test), 0);
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(ksm_test_pte_at(at.mm, at.b)));
}

static void P17_soft_dirty_is_not_invented(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		kunit_skip(test, "needs CONFIG_MEM_SOFT_DIRTY");
	ksm_test_change_pte(at.mm, at.b, without_soft_dirty);
	KUNIT_ASSERT_EQ(test, replace(test), 0);
	KUNIT_EXPECT_FALSE(test, pte_soft_dirty(ksm_test_pte_at(at.mm, at.b)));
}

static void P17_uffd_wp_outlives_the_page(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		kunit_skip(test, "needs CONFIG_HAVE_ARCH_USERFAULTFD_WP");
	ksm_test_change_pte(at.mm, at.b, with_uffd_wp);
	KUNIT_ASSERT_EQ(test, replace(test), 0);
	KUNIT_EXPECT_TRUE(test, pte_uffd_wp(ksm_test_pte_at(at.mm, at.b)));
	KUNIT_EXPECT_FALSE(test, pte_uffd_wp(ksm_test_pte_at(at.mm, at.a)));
}

static void age_outlives_the_page(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, pte_young(ksm_test_pte_at(at.mm, at.b)));
	KUNIT_ASSERT_EQ(test, replace(test), 0);
	KUNIT_EXPECT_TRUE(test, pte_young(ksm_test_pte_at(at.mm, at.b)));
}

static void an_old_page_does_not_grow_young(struct kunit *test)
{
	ksm_test_change_pte(at.mm, at.b, old);
	KUNIT_ASSERT_EQ(test, replace(test), 0);
	KUNIT_EXPECT_FALSE(test, pte_young(ksm_test_pte_at(at.mm, at.b)));
}

/* Page b does not join @keep, and nothing is left of the attempt, in its PTE least of all. */
static void expect_not_joined(struct kunit *test, struct folio *keep)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.b);
	pte_t before = ksm_test_pte_at(at.mm, at.b);
	int held = folio_ref_count(folio);

	KUNIT_EXPECT_EQ(test, join(keep), -EAGAIN);
	KUNIT_EXPECT_EQ(test, pte_val(ksm_test_pte_at(at.mm, at.b)), pte_val(before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.b));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), held);
	KUNIT_EXPECT_EQ(test, folio_mapcount(keep), 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(keep), 1);
	KUNIT_ASSERT_NOT_NULL(test, ksm_test_item_at(at.mm, at.b));
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, at.b)->kind, KSM_ITEM_CANDIDATE);
	KUNIT_EXPECT_EQ(test, ksm_node_of(keep)->nr_items, 0);
}

static void P13_a_page_that_differs_is_left_as_it_was(struct kunit *test)
{
	struct folio *keep = keep_a(test);

	ksm_test_write(test, at.mm, at.b, 2);
	KUNIT_ASSERT_TRUE(test, pte_write(ksm_test_pte_at(at.mm, at.b)));
	KUNIT_ASSERT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.b)));
	expect_not_joined(test, keep);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 2));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 1));
}

static void P17_a_page_that_differs_keeps_what_is_recorded_of_it(struct kunit *test)
{
	struct folio *keep = keep_a(test);

	ksm_test_write(test, at.mm, at.b, 2);
	ksm_test_change_pte(at.mm, at.b, old);
	expect_not_joined(test, keep);
	if (IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP)) {
		ksm_test_change_pte(at.mm, at.b, with_uffd_wp);
		expect_not_joined(test, keep);
	}
	if (IS_ENABLED(CONFIG_MEM_SOFT_DIRTY)) {
		ksm_test_change_pte(at.mm, at.b, without_soft_dirty);
		expect_not_joined(test, keep);
		ksm_test_change_pte(at.mm, at.b, with_soft_dirty);
		expect_not_joined(test, keep);
	}
}

static void P1_a_page_that_somebody_holds_is_not_replaced(struct kunit *test)
{
	struct folio *keep = keep_a(test), *folio = ksm_test_folio_at(at.mm, at.b);

	folio_get(folio);
	expect_not_joined(test, keep);
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, join(keep), 0);
}

/* What is seen when the page at b is compared with that at a. */
static struct {
	unsigned int	times;
	pte_t		pte;
	bool		locked;
} seen;

static int see(struct page *a, struct page *b, int order)
{
	pmd_t *pmd = mm_find_pmd(at.mm, at.b);
	pte_t *ptep = pmd ? pte_offset_map(pmd, at.b) : NULL;

	if (ptep) {
		seen.pte = ptep_get(ptep);
		pte_unmap(ptep);
	}
	seen.times++;
	seen.locked = folio_test_locked(page_folio(a)) && folio_test_locked(page_folio(b));
	return order;
}

static void P13_pages_are_compared_while_nobody_can_write(struct kunit *test)
{
	struct folio *keep = keep_a(test);

	memset(&seen, 0, sizeof(seen));
	seen.pte = ksm_test_pte_at(at.mm, at.b);
	ksm_test_on_compare(test, see);
	KUNIT_EXPECT_EQ(test, join(keep), 0);
	KUNIT_EXPECT_EQ(test, seen.times, 1);
	KUNIT_EXPECT_TRUE(test, pte_none(seen.pte));
	/* P54: nor moves the page that is kept. */
	KUNIT_EXPECT_TRUE(test, seen.locked);
}

static void P50_who_joins_is_linked(struct kunit *test)
{
	struct folio *keep = keep_a(test);

	KUNIT_ASSERT_EQ(test, join(keep), 0);
	KUNIT_ASSERT_NOT_NULL(test, ksm_test_item_at(at.mm, at.b));
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, at.b)->kind, KSM_ITEM_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_item_at(at.mm, at.b)->node, ksm_node_of(keep));
}

static pte_t hint(pte_t pte)
{
	return pte_modify(pte, PAGE_NONE);
}

static void P5_a_page_with_a_NUMA_hint_is_frozen_as_any_other(struct kunit *test)
{
	bool was_on = sysctl_numa_balancing_mode;
	unsigned long kept;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_NUMA_BALANCING))
		kunit_skip(test, "needs CONFIG_NUMA_BALANCING");
	ksm_test_change_pte(at.mm, at.a, hint);
	pte = ksm_test_pte_at(at.mm, at.a);
	KUNIT_ASSERT_TRUE(test, pte_protnone(pte) && !pte_write(pte) && pte_dirty(pte));
	KUNIT_EXPECT_EQ(test, replace(test), 0);
	pte = ksm_test_pte_at(at.mm, at.a);
	kept = pte_pfn(pte);
	KUNIT_EXPECT_TRUE(test, pte_protnone(pte));
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
	KUNIT_EXPECT_FALSE(test, is_exclusive(at.a));

	/* Who takes the hint away does not make it writable: the next fault copies. */
	set_numabalancing_state(true);
	ksm_test_write(test, at.mm, at.a, 2);
	set_numabalancing_state(was_on);
	KUNIT_EXPECT_NE(test, pte_pfn(ksm_test_pte_at(at.mm, at.a)), kept);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 1));
}

static void P18_a_write_gets_its_own_copy_back(struct kunit *test)
{
	unsigned long kept;

	KUNIT_ASSERT_EQ(test, replace(test), 0);
	ksm_test_write(test, at.mm, at.b, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 2));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 1));
	/* Even who is alone with a KSM page does not get it. */
	kept = pte_pfn(ksm_test_pte_at(at.mm, at.a));
	ksm_test_write(test, at.mm, at.a, 3);
	KUNIT_EXPECT_NE(test, pte_pfn(ksm_test_pte_at(at.mm, at.a)), kept);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_test_folio_at(at.mm, at.a)));
}

/* ------------------------------------------------------------------------ */
/* The zero page.                                                           */

/* Page b does not give way to it, and its PTE is what it was. */
static void expect_not_zeroed(struct kunit *test)
{
	pte_t before = ksm_test_pte_at(at.mm, at.b);

	KUNIT_ASSERT_EQ(test, alone(at.b, ksm_merge_zero), -EAGAIN);
	KUNIT_EXPECT_EQ(test, pte_val(ksm_test_pte_at(at.mm, at.b)), pte_val(before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.b));
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 0);
}

static void expect_zeroed(struct kunit *test)
{
	pte_t pte;

	KUNIT_EXPECT_EQ(test, alone(at.b, ksm_merge_zero), 0);
	pte = ksm_test_pte_at(at.mm, at.b);
	KUNIT_EXPECT_TRUE(test, is_ksm_zero_pte(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 0));
}

static void P13_a_page_that_is_not_all_zeros_is_left_as_it_was(struct kunit *test)
{
	struct page *page = &ksm_test_folio_at(at.mm, at.b)->page;

	ksm_test_write(test, at.mm, at.b, 0);
	memset_page(page, PAGE_SIZE - 1, 1, 1);
	expect_not_zeroed(test);
	memset_page(page, PAGE_SIZE - 1, 0, 1);
	expect_zeroed(test);
}

static void P1_a_page_of_zeros_that_somebody_holds_is_not_replaced(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.b);

	ksm_test_write(test, at.mm, at.b, 0);
	folio_get(folio);
	expect_not_zeroed(test);
	folio_put(folio);
	expect_zeroed(test);
}

static struct kunit_case join_cases[] = {
	KUNIT_CASE(a_replaced_page_gives_way_to_the_kept_one),
	KUNIT_CASE(P17_soft_dirty_outlives_the_page),
	KUNIT_CASE(P17_soft_dirty_is_not_invented),
	KUNIT_CASE(P17_uffd_wp_outlives_the_page),
	KUNIT_CASE(age_outlives_the_page),
	KUNIT_CASE(an_old_page_does_not_grow_young),
	KUNIT_CASE(P13_a_page_that_differs_is_left_as_it_was),
	KUNIT_CASE(P17_a_page_that_differs_keeps_what_is_recorded_of_it),
	KUNIT_CASE(P1_a_page_that_somebody_holds_is_not_replaced),
	KUNIT_CASE(P13_pages_are_compared_while_nobody_can_write),
	KUNIT_CASE(P50_who_joins_is_linked),
	KUNIT_CASE(P5_a_page_with_a_NUMA_hint_is_frozen_as_any_other),
	KUNIT_CASE(P18_a_write_gets_its_own_copy_back),
	KUNIT_CASE(P13_a_page_that_is_not_all_zeros_is_left_as_it_was),
	KUNIT_CASE(P1_a_page_of_zeros_that_somebody_holds_is_not_replaced),
	{ }
};

static struct kunit_suite join_suite = {
	.name = "ksm_join",
	.init = init,
	.test_cases = join_cases,
};

kunit_test_suite(join_suite);
