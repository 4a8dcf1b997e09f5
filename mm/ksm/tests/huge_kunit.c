// SPDX-License-Identifier: GPL-2.0
/* Huge pages, which one PMD maps: what it knows of writes, and what only looks like one. */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>

#include "../mms.h"
#include "../state.h"
#include "../walk.h"
#include "fixture.h"

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static int init(struct kunit *test)
{
	return ksm_test_init_known(test, &at);
}

/* ------------------------------------------------------------------------ */
/* Cleaning.                                                                */

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

/* ------------------------------------------------------------------------ */
/* What stands in a PMD.                                                    */

/* Bits of a page frame number; on x86 there are flags above these. */
#define PFN_BITS	40

/* Does who does not look closely find the page of @pmd, which maps @addr, in @entry? */
static bool looks_like(pmd_t entry, pmd_t pmd, unsigned long addr)
{
	struct vm_area_struct *vma;
	bool alike = false;

	if (pmd_none(entry) || pmd_present(entry) || pmd_pfn(entry) != pmd_pfn(pmd))
		return false;
	mmap_read_lock(at.mm);
	vma = vma_lookup(at.mm, addr);
	if (vma)
		alike = vm_normal_page_pmd(vma, addr, entry) == pmd_page(pmd);
	mmap_read_unlock(at.mm);
	return alike;
}

/* A swap entry that looks like the PMD which maps @addr. */
static pmd_t swap_entry(struct kunit *test, unsigned long addr)
{
	pmd_t pmd = ksm_test_pmd_at(at.mm, addr), entry;
	unsigned int i, shift;
	u64 offset;

	if (!thp_migration_supported())
		kunit_skip(test, "needs CONFIG_ARCH_ENABLE_THP_MIGRATION");
	/* Somewhere in the offset is the pfn; below and above it are zeros, or ones. */
	for (i = 0; i < 4 * PAGE_SHIFT; i++) {
		shift = i / 4;
		offset = (u64)pmd_pfn(pmd) << shift;
		if (i & 1)
			offset |= BIT_ULL(shift) - 1;
		if (i & 2)
			offset |= ~0ULL << (shift + PFN_BITS);
		entry = swp_entry_to_pmd(swp_entry(0, offset));
		if (looks_like(entry, pmd, addr))
			return entry;
	}
	kunit_skip(test, "no swap entry looks like a huge page here");
}

/* Under the mmap lock: put something else in the PMD's place. Returns what was there. */
static pmd_t set_pmd_entry(unsigned long addr, pmd_t entry)
{
	pmd_t *pmd = pmd_off(at.mm, addr), old;
	spinlock_t *ptl = pmd_lock(at.mm, pmd);

	old = pmdp_huge_clear_flush(vma_lookup(at.mm, addr), addr, pmd);
	set_pmd_at(at.mm, addr, pmd, entry);
	spin_unlock(ptl);
	return old;
}

static struct ksm_glance_run run;

/* Walk over a huge page of which nothing is known; how many of its pages are found? */
static unsigned int walk_over(unsigned long addr)
{
	unsigned int found = 0;

	run.km = ksm_mms_find(at.mm);
	run.most = U64_MAX;
	run.reads = UINT_MAX;
	run.end = addr;
	while (run.end < addr + HPAGE_PMD_SIZE) {
		ksm_walk_next(&run, run.end);
		found += run.nr;
		ksm_walk_cut(&run, 0, run.end);
	}
	return found;
}

static void P9_a_swap_entry_is_not_taken_for_a_huge_page(struct kunit *test)
{
	unsigned long addr = ksm_test_map_huge(test, at.mm);
	pmd_t entry = swap_entry(test, addr), before;
	unsigned int found, while_away;

	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(at.mm);
	before = set_pmd_entry(addr, entry);
	while_away = walk_over(addr);
	set_pmd_entry(addr, before);
	found = walk_over(addr);
	mmap_read_unlock(at.mm);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, while_away, 0);
	KUNIT_EXPECT_EQ(test, found, HPAGE_PMD_NR);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr + 5 * PAGE_SIZE, 1005));
}

/* ------------------------------------------------------------------------ */
/* Splitting.                                                               */

/*
 * A device has two huge pages pinned, which are equal. That each page of them has a
 * twin must not make a round look at all the others again and again.
 */
static void P68_who_cannot_be_split_costs_little(struct kunit *test)
{
	unsigned long a = ksm_test_map_huge(test, at.mm), b = ksm_test_map_huge(test, at.mm);
	struct folio *of_a = pmd_folio(ksm_test_pmd_at(at.mm, a));
	struct folio *of_b = pmd_folio(ksm_test_pmd_at(at.mm, b));
	unsigned long rounds, shared;
	unsigned int i;

	folio_get(of_a);
	folio_get(of_b);
	ksm_test_scan_round();
	ksm_test_scan_round();
	/* None is to be read again. Some batches may be cut, for others' sake. */
	rounds = ksm_counts.rounds;
	for (i = 0; i < 4 && ksm_counts.rounds == rounds; i++)
		ksm_test_scan_batch(HPAGE_PMD_NR / 8);
	rounds = ksm_counts.rounds - rounds;
	shared = ksm_counts.shared;
	folio_put(of_a);
	folio_put(of_b);
	KUNIT_EXPECT_EQ(test, rounds, 1);
	KUNIT_EXPECT_EQ(test, shared, 0);

	ksm_test_scan_round();
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, HPAGE_PMD_NR);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, a + 7 * PAGE_SIZE, 1007));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, b + 7 * PAGE_SIZE, 1007));
}

static struct kunit_case huge_cases[] = {
	KUNIT_CASE(a_huge_page_has_one_bit_for_all),
	KUNIT_CASE(what_a_PMD_knew_the_folio_knows),
	KUNIT_CASE(who_writes_on_makes_the_PMD_dirty_again),
	KUNIT_CASE(P9_a_swap_entry_is_not_taken_for_a_huge_page),
	KUNIT_CASE(P68_who_cannot_be_split_costs_little),
	{ }
};

static struct kunit_suite huge_suite = {
	.name = "ksm_huge",
	.init = init,
	.test_cases = huge_cases,
};

kunit_test_suite(huge_suite);
