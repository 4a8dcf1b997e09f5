// SPDX-License-Identifier: GPL-2.0
/* A glance at a PTE: what need not be read, and what must be all the same. */
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

#include "../mms.h"
#include "../record.h"
#include "../scan.h"
#include "../state.h"
#include "../walk.h"
#include "fixture.h"

#define PAGES	8
#define SELDOM	1000000007	/* in no round of a test is a page read without need */

/* Pages of which each is different from all others, read once; and the round. */
static struct {
	struct mm_struct	*mm;
	unsigned long		addr;
	struct ksm_glance_run	run;
	unsigned int		reread;
	bool			smart;
	unsigned long		rounds;
} at;

static void restore(void *unused)
{
	WRITE_ONCE(ksm_state.reread_rounds, at.reread);
	WRITE_ONCE(ksm_state.smart_scan, at.smart);
	mutex_lock(&ksm_pass_lock);
	ksm_scan_restart();
	mutex_unlock(&ksm_pass_lock);
}

/* Scan to the end of a round; how many pages were read. */
static unsigned long scan_round(void)
{
	unsigned long rounds, scanned, read = 0;
	int tries = 1000;

	rounds = ksm_counts.rounds;
	while (ksm_counts.rounds == rounds && tries--) {
		mutex_lock(&ksm_pass_lock);
		scanned = ksm_counts.scanned;
		ksm_scan_batch(1000000);
		read += ksm_counts.scanned - scanned;
		mutex_unlock(&ksm_pass_lock);
	}
	return read;
}

static unsigned long page(unsigned int nr)
{
	return at.addr + nr * PAGE_SIZE;
}

static int init(struct kunit *test)
{
	int i, err = ksm_test_init(test);

	if (err)
		return err;
	at.reread = ksm_state.reread_rounds;
	at.smart = ksm_state.smart_scan;
	ksm_test_at_end(test, restore, NULL);
	restore(NULL);
	WRITE_ONCE(ksm_state.reread_rounds, SELDOM);
	WRITE_ONCE(ksm_state.smart_scan, false);

	at.mm = ksm_test_mm(test);
	at.addr = ksm_test_map(test, at.mm, PAGES);
	for (i = 0; i < PAGES; i++)
		ksm_test_write(test, at.mm, page(i), 100 + i);
	KUNIT_ASSERT_EQ(test, scan_round(), PAGES);
	return 0;
}

static struct ksm_record recorded(unsigned int nr)
{
	void *entry = ksm_record_load(ksm_mms_find(at.mm), page(nr) >> PAGE_SHIFT);

	return xa_is_value(entry) ? ksm_record_unpack(entry) : (struct ksm_record) { };
}

/* Write to a page as a device does: no PTE knows of it. */
static void write_behind(unsigned int nr, u8 content)
{
	struct folio *folio = ksm_test_folio_at(at.mm, page(nr));
	void *at = kmap_local_folio(folio, 0);

	memset(at, content, PAGE_SIZE);
	kunmap_local(at);
}

/* ------------------------------------------------------------------------ */
/* Unread.                                                                  */

static void an_unchanged_page_is_not_read(struct kunit *test)
{
	unsigned long unchanged = ksm_counts.unchanged;

	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.unchanged - unchanged, 2 * PAGES);
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), PAGES);
	/* To read it is no write. */
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(3), 103));
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
}

static void a_page_that_was_written_to_is_read(struct kunit *test)
{
	ksm_test_write(test, at.mm, page(2), 7);
	ksm_test_write(test, at.mm, page(5), 8);
	KUNIT_EXPECT_EQ(test, scan_round(), 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 2);
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
}

static void another_page_at_the_address_is_read(struct kunit *test)
{
	struct folio *old = ksm_test_folio_at(at.mm, page(4));

	/* Held, so that it is not the next one to be had. */
	folio_get(old);
	do_madvise(at.mm, page(4), PAGE_SIZE, MADV_DONTNEED);
	ksm_test_write(test, at.mm, page(4), 104);
	folio_put(old);
	ksm_test_change_pte(at.mm, page(4), pte_mkclean);
	KUNIT_EXPECT_EQ(test, scan_round(), 1);
}

static void unread_pages_merge_as_others_do(struct kunit *test)
{
	ksm_test_write(test, at.mm, page(1), 7);
	ksm_test_write(test, at.mm, page(6), 7);
	KUNIT_EXPECT_EQ(test, scan_round(), 2);
	/* It is seen for the second time that they are what they are. */
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, page(1)),
			    ksm_test_folio_at(at.mm, page(6)));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(1), 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(6), 7));
}

static void only_smart_scan_counts_as_skipped(struct kunit *test)
{
	unsigned long skipped = ksm_counts.skipped;

	scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.skipped, skipped);
	WRITE_ONCE(ksm_state.smart_scan, true);
	scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.skipped, skipped + PAGES);
}

/* ------------------------------------------------------------------------ */
/* Not believed.                                                            */

static void no_PTE_is_believed_with_reread_rounds_0(struct kunit *test)
{
	WRITE_ONCE(ksm_state.reread_rounds, 0);
	KUNIT_EXPECT_EQ(test, scan_round(), PAGES);
	KUNIT_EXPECT_EQ(test, scan_round(), PAGES);
	/* What was read then was not cleaned before. */
	ksm_test_write(test, at.mm, page(0), 7);
	KUNIT_EXPECT_EQ(test, scan_round(), PAGES);
	KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, page(0))));
	/* So that it is clean later, by whomsoever, tells nothing. */
	ksm_test_change_pte(at.mm, page(0), pte_mkclean);
	WRITE_ONCE(ksm_state.reread_rounds, SELDOM);
	KUNIT_EXPECT_EQ(test, scan_round(), PAGES);
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
}

static void what_no_PTE_knows_of_is_found_within_reread_rounds(struct kunit *test)
{
	unsigned int i;

	WRITE_ONCE(ksm_state.reread_rounds, 4);
	scan_round();
	KUNIT_ASSERT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	write_behind(2, 7);
	for (i = 0; i < 4 && !atomic_long_read(&ksm_counts.fickle); i++)
		scan_round();
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 1);
	KUNIT_EXPECT_FALSE(test, recorded(2).calm);
}

static void what_no_PTE_knows_of_is_not_merged_by_its_old_hash(struct kunit *test)
{
	ksm_test_write(test, at.mm, page(1), 7);
	scan_round();
	ksm_test_write(test, at.mm, page(6), 7);
	scan_round();
	write_behind(1, 9);
	scan_round();
	scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(1), 0x0909090909090909));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, page(6), 7));
}

static void smart_scan_does_not_put_off_a_reading_that_is_due(struct kunit *test)
{
	unsigned int i, k;

	WRITE_ONCE(ksm_state.smart_scan, true);
	WRITE_ONCE(ksm_state.reread_rounds, 3);
	/* Until all are old. */
	for (i = 0; i < 40; i++)
		scan_round();
	for (k = 0; k < 8; k++) {
		write_behind(2, 10 + k);
		for (i = 0; i < 3 && !atomic_long_read(&ksm_counts.fickle); i++)
			scan_round();
		KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 1);
		scan_round();
		KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	}
}

/* What was merged is another page now, of the number that the KSM page had. */
static void come_back_as_another(struct kunit *test)
{
	struct ksm_item *item;

	ksm_test_write(test, at.mm, page(1), 7);
	ksm_test_write(test, at.mm, page(6), 7);
	scan_round();
	scan_round();
	KUNIT_ASSERT_EQ(test, at.mm->ksm_merging_pages, 2);
	item = ksm_record_item(ksm_record_load(ksm_mms_find(at.mm), page(1) >> PAGE_SHIFT));
	KUNIT_ASSERT_NOT_NULL(test, item);
	ksm_test_write(test, at.mm, page(1), 8);
	WRITE_ONCE(item->node->pfn, folio_pfn(ksm_test_folio_at(at.mm, page(1))));
}

static void a_page_that_comes_back_as_another_is_no_KSM_page(struct kunit *test)
{
	come_back_as_another(test);
	scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 1);
}

static void a_clean_PTE_does_not_hide_that_for_ever(struct kunit *test)
{
	unsigned int i;
	pte_t pte;

	come_back_as_another(test);
	pte = pte_mkclean(ksm_test_pte_at(at.mm, page(1)));
	mmap_read_lock(at.mm);
	ksm_test_set_pte(at.mm, page(1), pte);
	mmap_read_unlock(at.mm);
	for (i = 0; i < 64; i++)
		scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 1);
}

static void who_merged_in_vain_is_read_again(struct kunit *test)
{
	unsigned long a = page(1), b = page(6);
	struct folio *folio;

	ksm_test_write(test, at.mm, a, 7);
	ksm_test_write(test, at.mm, b, 7);
	scan_round();
	/* Where the PTE knew of a write, freezing may have cleaned it. */
	folio = ksm_test_folio_at(at.mm, b);
	folio_lock(folio);
	scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_EQ(test, scan_round(), 2);
	folio_unlock(folio);
	scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, a, 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, b, 7));
}

static void what_cannot_merge_is_not_read_again(struct kunit *test)
{
	unsigned long a = page(1), b = page(6);
	struct folio *folio;

	ksm_test_write(test, at.mm, a, 7);
	ksm_test_write(test, at.mm, b, 7);
	folio = ksm_test_folio_at(at.mm, b);
	folio_get(folio);
	scan_round();
	scan_round();
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	folio_put(folio);
	scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

static void what_is_shared_by_fork_is_not_read_again(struct kunit *test)
{
	struct mm_struct *child = ksm_test_fork(test, at.mm);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ksm_mms_find(child));
	for (i = 0; i < 3; i++)
		scan_round();
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
}

#ifdef CONFIG_MMU_NOTIFIER
static const struct mmu_notifier_ops no_ops;

static void remove(void *notifier)
{
	mmu_notifier_unregister(notifier, at.mm);
}
#endif

static void no_PTE_is_believed_beside_other_page_tables(struct kunit *test)
{
#ifdef CONFIG_MMU_NOTIFIER
	static struct mmu_notifier notifier = { .ops = &no_ops };

	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&notifier, at.mm), 0);
	ksm_test_at_end(test, remove, &notifier);
	ksm_test_write(test, at.mm, page(0), 7);
	KUNIT_EXPECT_EQ(test, scan_round(), PAGES);
	KUNIT_EXPECT_EQ(test, scan_round(), PAGES);
	KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, page(0))));
#else
	kunit_skip(test, "needs CONFIG_MMU_NOTIFIER");
#endif
}

/* ------------------------------------------------------------------------ */
/* Cleaning.                                                                */

static void what_a_PTE_knew_the_folio_knows(struct kunit *test)
{
	struct folio *folio;
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		folio = ksm_test_folio_at(at.mm, page(i));
		KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, page(i))));
		KUNIT_EXPECT_TRUE(test, pte_write(ksm_test_pte_at(at.mm, page(i))));
		KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	}
}

/* A TLB entry that is still dirty would let a write pass the PTE by. */
static void who_writes_on_makes_the_PTE_dirty_again(struct kunit *test)
{
	unsigned long addr = page(3);
	int i, err = 0;

	kthread_use_mm(at.mm);
	for (i = 0; i < 3; i++) {
		err |= put_user(i, (u64 __user *)addr);
		scan_round();
		err |= put_user(i, (u64 __user *)addr + 1);
		KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, addr)));
	}
	kthread_unuse_mm(at.mm);
	KUNIT_EXPECT_EQ(test, err, 0);
}

static void a_page_that_was_cleaned_but_not_read_is_read_next(struct kunit *test)
{
	unsigned int i, found = 0;

	ksm_test_write(test, at.mm, page(2), 7);
	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(at.mm);
	at.run.km = ksm_mms_find(at.mm);
	at.run.reread = SELDOM;
	at.run.most = U64_MAX;
	at.run.reads = UINT_MAX;
	ksm_walk_next(&at.run, 0);
	for (i = 0; i < at.run.nr; i++)
		found += at.run.pages[i].addr == page(2) && at.run.pages[i].read;
	ksm_walk_cut(&at.run, 0, 0);
	mmap_read_unlock(at.mm);
	mutex_unlock(&ksm_pass_lock);

	KUNIT_ASSERT_EQ(test, found, 1);
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, page(2))));
	KUNIT_EXPECT_FALSE(test, recorded(2).trusted);
	KUNIT_EXPECT_EQ(test, scan_round(), 1);
	KUNIT_EXPECT_TRUE(test, recorded(2).trusted);
}

static void a_page_that_is_always_written_to_is_seldom_cleaned(struct kunit *test)
{
	unsigned int i, cleaned = 0;

	for (i = 0; i < 24; i++) {
		ksm_test_write(test, at.mm, page(2), 1000 + i);
		KUNIT_EXPECT_EQ(test, scan_round(), 1);
		cleaned += !pte_dirty(ksm_test_pte_at(at.mm, page(2)));
	}
	/* While it is young, and in every eighth round. */
	KUNIT_EXPECT_GE(test, cleaned, 3);
	KUNIT_EXPECT_LE(test, cleaned, 3 + 3);
}

static void soft_dirty_and_accessed_bits_stay(struct kunit *test)
{
	bool soft = pte_soft_dirty(pte_mksoft_dirty(__pte(0)));

	ksm_test_write(test, at.mm, page(2), 7);
	scan_round();
	KUNIT_EXPECT_EQ(test, soft, !!pte_soft_dirty(ksm_test_pte_at(at.mm, page(2))));
	KUNIT_EXPECT_TRUE(test, pte_young(ksm_test_pte_at(at.mm, page(2))));
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static unsigned long map_huge(struct kunit *test)
{
	unsigned long addr = ksm_test_map(test, at.mm, 2 * HPAGE_PMD_NR);
	unsigned int i;

	addr = ALIGN(addr, HPAGE_PMD_SIZE);
	clear_bit(MMF_DISABLE_THP, &at.mm->flags);
	do_madvise(at.mm, addr, HPAGE_PMD_SIZE, MADV_HUGEPAGE);
	for (i = 0; i < HPAGE_PMD_NR; i++)
		ksm_test_write(test, at.mm, addr + i * PAGE_SIZE, 1000 + i);
	/* No PTE there. */
	if (ksm_test_folio_at(at.mm, addr))
		kunit_skip(test, "got no huge page");
	return addr;
}
#endif

static void a_huge_page_has_one_bit_for_all(struct kunit *test)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	unsigned long addr = map_huge(test);

	KUNIT_EXPECT_EQ(test, scan_round(), HPAGE_PMD_NR);
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	ksm_test_write(test, at.mm, addr + 100 * PAGE_SIZE, 7);
	KUNIT_EXPECT_EQ(test, scan_round(), HPAGE_PMD_NR);
	KUNIT_EXPECT_EQ(test, scan_round(), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr + 100 * PAGE_SIZE, 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr, 1000));
#else
	kunit_skip(test, "needs CONFIG_TRANSPARENT_HUGEPAGE");
#endif
}

static struct kunit_case glance_cases[] = {
	KUNIT_CASE(an_unchanged_page_is_not_read),
	KUNIT_CASE(a_page_that_was_written_to_is_read),
	KUNIT_CASE(another_page_at_the_address_is_read),
	KUNIT_CASE(unread_pages_merge_as_others_do),
	KUNIT_CASE(only_smart_scan_counts_as_skipped),
	KUNIT_CASE(no_PTE_is_believed_with_reread_rounds_0),
	KUNIT_CASE(what_no_PTE_knows_of_is_found_within_reread_rounds),
	KUNIT_CASE(what_no_PTE_knows_of_is_not_merged_by_its_old_hash),
	KUNIT_CASE(smart_scan_does_not_put_off_a_reading_that_is_due),
	KUNIT_CASE(a_page_that_comes_back_as_another_is_no_KSM_page),
	KUNIT_CASE(a_clean_PTE_does_not_hide_that_for_ever),
	KUNIT_CASE(who_merged_in_vain_is_read_again),
	KUNIT_CASE(what_cannot_merge_is_not_read_again),
	KUNIT_CASE(what_is_shared_by_fork_is_not_read_again),
	KUNIT_CASE(no_PTE_is_believed_beside_other_page_tables),
	KUNIT_CASE(what_a_PTE_knew_the_folio_knows),
	KUNIT_CASE(who_writes_on_makes_the_PTE_dirty_again),
	KUNIT_CASE(a_page_that_was_cleaned_but_not_read_is_read_next),
	KUNIT_CASE(a_page_that_is_always_written_to_is_seldom_cleaned),
	KUNIT_CASE(soft_dirty_and_accessed_bits_stay),
	KUNIT_CASE(a_huge_page_has_one_bit_for_all),
	{ }
};

static struct kunit_suite glance_suite = {
	.name = "ksm_glance",
	.init = init,
	.test_cases = glance_cases,
};

kunit_test_suite(glance_suite);
