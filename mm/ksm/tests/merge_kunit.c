// SPDX-License-Identifier: GPL-2.0
/* What a merge does to page tables: all of it, or nothing. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched/numa_balancing.h>
#include <linux/sched/sysctl.h>
#include <linux/userfaultfd_k.h>

#include "../item.h"
#include "../merge.h"
#include "../mms.h"
#include "../node.h"
#include "../page.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

/* Two neighbouring pages of equal content: b is replaced by a. */
static struct {
	struct mm_struct	*mm;
	unsigned long		a, b;
} at;

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	at.mm = ksm_test_mm(test);
	at.a = ksm_test_map_equal(test, at.mm, 2);
	at.b = at.a + PAGE_SIZE;
	return 0;
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

static int freeze(unsigned long addr, pte_t *frozen)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_offer offer;
	int err = -ENOENT;

	if (ksm_test_offer(&offer, km, addr)) {
		err = freeze_locked(&offer);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	*frozen = offer.frozen;
	return err;
}

/*
 * Make page a a KSM page, and replace page b by it. @meanwhile happens between
 * the freezing of b and its replacement.
 */
static int replace(struct kunit *test, void (*meanwhile)(struct kunit *test))
{
	struct mmu_notifier_range range;
	struct ksm_offer offer;
	struct folio *keep, *folio;
	struct ksm_mm *km;
	pte_t frozen;
	int err;

	KUNIT_ASSERT_EQ(test, freeze(at.a, &frozen), 0);
	keep = ksm_test_folio_at(at.mm, at.a);
	ksm_test_keep_mapped(test, keep);
	KUNIT_ASSERT_EQ(test, freeze(at.b, &frozen), 0);
	if (meanwhile)
		meanwhile(test);

	km = ksm_test_lock(at.mm);
	err = ksm_test_offer(&offer, km, at.b) ? 0 : -ENOENT;
	if (!err) {
		offer.frozen = frozen;
		folio = page_folio(offer.page);
		ksm_merge_begin(&offer, &range);
		folio_lock(folio);
		folio_lock(keep);
		err = ksm_merge_replace(&offer, &keep->page);
		folio_unlock(keep);
		folio_unlock(folio);
		ksm_merge_end(&range);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	return err;
}

static bool is_exclusive(unsigned long addr)
{
	return PageAnonExclusive(&ksm_test_folio_at(at.mm, addr)->page);
}

/* ------------------------------------------------------------------------ */
/* Freezing.                                                                */

static void a_frozen_page_is_read_only_and_clean(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	pte_t before = ksm_test_pte_at(at.mm, at.a), frozen, pte;

	KUNIT_EXPECT_TRUE(test, pte_write(before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.a));
	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), 0);
	pte = ksm_test_pte_at(at.mm, at.a);
	KUNIT_EXPECT_TRUE(test, pte_same(pte, frozen));
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
	pte_t frozen;

	ksm_test_change_pte(at.mm, at.a, as_written_behind_our_back);
	folio_clear_dirty(folio);
	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), 0);
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.a)));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
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
	KUNIT_EXPECT_EQ(test, replace(test, NULL), 0);
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

static void P1_a_page_that_somebody_holds_is_not_frozen(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	pte_t before = ksm_test_pte_at(at.mm, at.a), frozen;

	folio_get(folio);
	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), -EAGAIN);
	folio_put(folio);
	/* And nothing is left of the attempt. */
	KUNIT_EXPECT_TRUE(test, pte_same(ksm_test_pte_at(at.mm, at.a), before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.a));
	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), 0);
}

static void P6_a_pinned_page_is_not_frozen(struct kunit *test)
{
	pte_t before, frozen;
	struct page *page;
	int pinned;

	mmap_read_lock(at.mm);
	pinned = pin_user_pages_remote(at.mm, at.a, 1, FOLL_WRITE | FOLL_LONGTERM, &page, NULL);
	mmap_read_unlock(at.mm);
	KUNIT_ASSERT_EQ(test, pinned, 1);
	before = ksm_test_pte_at(at.mm, at.a);
	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, pte_same(ksm_test_pte_at(at.mm, at.a), before));
	KUNIT_EXPECT_TRUE(test, is_exclusive(at.a));
	unpin_user_page(page);
	/* Who pins it from now on gets one of his own, or sees what others see. */
	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), 0);
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
	pte_t frozen;

	expect_not_frozen(test, ksm_test_swap_entry(test, ksm_test_pte_at(at.mm, at.a)));
	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), 0);
}

static void a_write_takes_a_frozen_page_back(struct kunit *test)
{
	pte_t frozen;

	KUNIT_EXPECT_EQ(test, freeze(at.a, &frozen), 0);
	ksm_test_write(test, at.mm, at.a, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 2));
	KUNIT_EXPECT_FALSE(test, pte_same(ksm_test_pte_at(at.mm, at.a), frozen));
}

/* ------------------------------------------------------------------------ */
/* Replacing.                                                               */

static void a_replaced_page_gives_way_to_the_kept_one(struct kunit *test)
{
	unsigned long anon = get_mm_counter_sum(at.mm, MM_ANONPAGES);
	struct folio *keep;
	pte_t pte;

	KUNIT_ASSERT_EQ(test, replace(test, NULL), 0);
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
	KUNIT_ASSERT_EQ(test, replace(test, NULL), 0);
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(ksm_test_pte_at(at.mm, at.b)));
}

static void P17_soft_dirty_is_not_invented(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		kunit_skip(test, "needs CONFIG_MEM_SOFT_DIRTY");
	ksm_test_change_pte(at.mm, at.b, without_soft_dirty);
	KUNIT_ASSERT_EQ(test, replace(test, NULL), 0);
	KUNIT_EXPECT_FALSE(test, pte_soft_dirty(ksm_test_pte_at(at.mm, at.b)));
}

static void P17_uffd_wp_outlives_the_page(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		kunit_skip(test, "needs CONFIG_HAVE_ARCH_USERFAULTFD_WP");
	ksm_test_change_pte(at.mm, at.b, with_uffd_wp);
	KUNIT_ASSERT_EQ(test, replace(test, NULL), 0);
	KUNIT_EXPECT_TRUE(test, pte_uffd_wp(ksm_test_pte_at(at.mm, at.b)));
	KUNIT_EXPECT_FALSE(test, pte_uffd_wp(ksm_test_pte_at(at.mm, at.a)));
}

static void age_outlives_the_page(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, pte_young(ksm_test_pte_at(at.mm, at.b)));
	KUNIT_ASSERT_EQ(test, replace(test, NULL), 0);
	KUNIT_EXPECT_TRUE(test, pte_young(ksm_test_pte_at(at.mm, at.b)));
}

static void an_old_page_does_not_grow_young(struct kunit *test)
{
	ksm_test_change_pte(at.mm, at.b, old);
	KUNIT_ASSERT_EQ(test, replace(test, NULL), 0);
	KUNIT_EXPECT_FALSE(test, pte_young(ksm_test_pte_at(at.mm, at.b)));
}

static void write_to_b(struct kunit *test)
{
	ksm_test_write(test, at.mm, at.b, 2);
}

static void P13_a_page_written_meanwhile_is_not_replaced(struct kunit *test)
{
	struct folio *keep;

	KUNIT_EXPECT_EQ(test, replace(test, write_to_b), -EAGAIN);
	keep = ksm_test_folio_at(at.mm, at.a);
	KUNIT_EXPECT_EQ(test, folio_mapcount(keep), 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(keep), 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 2));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 1));
}

static void P18_a_write_gets_its_own_copy_back(struct kunit *test)
{
	unsigned long kept;

	KUNIT_ASSERT_EQ(test, replace(test, NULL), 0);
	ksm_test_write(test, at.mm, at.b, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 2));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 1));
	/* Even who is alone with a KSM page does not get it. */
	kept = pte_pfn(ksm_test_pte_at(at.mm, at.a));
	ksm_test_write(test, at.mm, at.a, 3);
	KUNIT_EXPECT_NE(test, pte_pfn(ksm_test_pte_at(at.mm, at.a)), kept);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_test_folio_at(at.mm, at.a)));
}

static struct kunit_case merge_cases[] = {
	KUNIT_CASE(a_frozen_page_is_read_only_and_clean),
	KUNIT_CASE(P2_a_read_only_page_that_is_dirty_is_cleaned),
	KUNIT_CASE(P5_a_page_with_a_NUMA_hint_is_frozen_as_any_other),
	KUNIT_CASE(P1_a_page_that_somebody_holds_is_not_frozen),
	KUNIT_CASE(P6_a_pinned_page_is_not_frozen),
	KUNIT_CASE(a_page_that_went_is_not_frozen),
	KUNIT_CASE(P7_a_page_that_a_device_has_is_not_frozen),
	KUNIT_CASE(P7_a_swap_entry_is_not_frozen),
	KUNIT_CASE(a_write_takes_a_frozen_page_back),
	KUNIT_CASE(a_replaced_page_gives_way_to_the_kept_one),
	KUNIT_CASE(P17_soft_dirty_outlives_the_page),
	KUNIT_CASE(P17_soft_dirty_is_not_invented),
	KUNIT_CASE(P17_uffd_wp_outlives_the_page),
	KUNIT_CASE(age_outlives_the_page),
	KUNIT_CASE(an_old_page_does_not_grow_young),
	KUNIT_CASE(P13_a_page_written_meanwhile_is_not_replaced),
	KUNIT_CASE(P18_a_write_gets_its_own_copy_back),
	{ }
};

static struct kunit_suite merge_suite = {
	.name = "ksm_merge",
	.init = init,
	.test_cases = merge_cases,
};

kunit_test_suite(merge_suite);
