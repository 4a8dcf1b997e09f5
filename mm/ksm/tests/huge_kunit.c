// SPDX-License-Identifier: GPL-2.0
/* Huge pages, which one PMD maps: what it knows of writes is not lost, nor is the next one. */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include "fixture.h"

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static int init(struct kunit *test)
{
	return ksm_test_init_known(test, &at);
}

static void a_huge_page_has_one_bit_for_all(struct kunit *test)
{
	unsigned long addr = ksm_test_map_huge(test, at.mm);

	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), HPAGE_PMD_NR);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	ksm_test_write(test, at.mm, addr + 100 * PAGE_SIZE, 7);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), HPAGE_PMD_NR);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr + 100 * PAGE_SIZE, 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr, 1000));
}

static void what_a_PMD_knew_the_folio_knows(struct kunit *test)
{
	unsigned long addr = ksm_test_map_huge(test, at.mm);
	struct folio *folio = pmd_folio(ksm_test_pmd_at(at.mm, addr));

	KUNIT_ASSERT_TRUE(test, folio_test_large(folio));
	/* The PMD alone knows. */
	folio_clear_dirty(folio);
	KUNIT_EXPECT_TRUE(test, pmd_dirty(ksm_test_pmd_at(at.mm, addr)));
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), HPAGE_PMD_NR);
	KUNIT_EXPECT_FALSE(test, pmd_dirty(ksm_test_pmd_at(at.mm, addr)));
	KUNIT_EXPECT_TRUE(test, pmd_write(ksm_test_pmd_at(at.mm, addr)));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
}

/* A TLB entry that is still dirty would let a write pass by; a PMD tells of one in a round. */
static void who_writes_on_makes_the_PMD_dirty_again(struct kunit *test)
{
	unsigned long addr = ksm_test_map_huge(test, at.mm), page;
	unsigned int i;
	int err = 0;

	kthread_use_mm(at.mm);
	for (i = 0; i < 8; i++) {
		page = addr + i * 60 * PAGE_SIZE;
		err |= put_user(i, (u64 __user *)page);
		ksm_test_scan_round();
		KUNIT_EXPECT_FALSE(test, pmd_dirty(ksm_test_pmd_at(at.mm, addr)));
		err |= put_user(i, (u64 __user *)page + 1);
		KUNIT_EXPECT_TRUE(test, pmd_dirty(ksm_test_pmd_at(at.mm, addr)));
	}
	kthread_unuse_mm(at.mm);
	KUNIT_EXPECT_EQ(test, err, 0);
}

static struct kunit_case huge_cases[] = {
	KUNIT_CASE(a_huge_page_has_one_bit_for_all),
	KUNIT_CASE(what_a_PMD_knew_the_folio_knows),
	KUNIT_CASE(who_writes_on_makes_the_PMD_dirty_again),
	{ }
};

static struct kunit_suite huge_suite = {
	.name = "ksm_huge",
	.init = init,
	.test_cases = huge_cases,
};

kunit_test_suite(huge_suite);
