// SPDX-License-Identifier: GPL-2.0
/* A glance at a PTE: what need not be read, and what must be all the same. */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>

#include "../mms.h"
#include "../record.h"
#include "../state.h"
#include "fixture.h"

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static int init(struct kunit *test)
{
	return ksm_test_init_known(test, &at);
}

static struct ksm_record recorded(unsigned int nr)
{
	void *entry = ksm_record_load(ksm_mms_find(at.mm), at.page[nr] >> PAGE_SHIFT);

	return xa_is_value(entry) ? ksm_record_unpack(entry) : (struct ksm_record) { };
}

/* Write to a page as a device does: no PTE knows of it. */
static void write_behind(unsigned int nr, u8 content)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.page[nr]);
	void *at = kmap_local_folio(folio, 0);

	memset(at, content, PAGE_SIZE);
	kunmap_local(at);
}

/* ------------------------------------------------------------------------ */
/* Unread.                                                                  */

static void an_unchanged_page_is_not_read(struct kunit *test)
{
	unsigned long unchanged = ksm_counts.unchanged;

	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.unchanged - unchanged, 2 * KSM_TEST_KNOWN);
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), KSM_TEST_KNOWN);
	/* To read it is no write. */
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[3], 103));
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
}

static void a_page_that_was_written_to_is_read(struct kunit *test)
{
	ksm_test_needs_hashes(test);
	ksm_test_write(test, at.mm, at.page[2], 7);
	ksm_test_write(test, at.mm, at.page[5], 8);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 2);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
}

/* Map another page there, of the same content, with a PTE that is clean. */
static void expect_read_as_another(struct kunit *test, unsigned int nr)
{
	ksm_test_replace(test, at.mm, at.page[nr], 100 + nr);
	ksm_test_change_pte(at.mm, at.page[nr], pte_mkclean);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
}

static void another_page_at_the_address_is_read(struct kunit *test)
{
	expect_read_as_another(test, 4);
	/* The others are at rest now, and looked at by a shorter way. */
	expect_read_as_another(test, 5);
}

static void unread_pages_merge_as_others_do(struct kunit *test)
{
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 2);
	/* It is seen for the second time that they are what they are. */
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.page[1]),
			    ksm_test_folio_at(at.mm, at.page[6]));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], 7));
}

static void P84_a_page_at_rest_that_has_failed_does_not_merge(struct kunit *test)
{
	/* All are at rest: of two there come twins. */
	ksm_test_scan_round();
	ksm_test_poison(test, ksm_test_folio_at(at.mm, at.page[6]));
	ksm_test_write(test, at.mm, at.page[1], 106);
	ksm_test_write(test, at.mm, at.page[2], 105);
	ksm_test_scan_rounds(3);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[5]));
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(at.mm, at.page[6]));
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

static void only_smart_scan_counts_as_skipped(struct kunit *test)
{
	unsigned long skipped = ksm_counts.skipped;

	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.skipped, skipped);
	WRITE_ONCE(ksm_state.smart_scan, true);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.skipped, skipped + KSM_TEST_KNOWN);
}

static void what_smart_scan_leaves_unread_is_counted(struct kunit *test)
{
	unsigned long skipped, read;
	unsigned int round;

	WRITE_ONCE(ksm_state.reread_rounds, 0);
	WRITE_ONCE(ksm_state.smart_scan, true);
	for (round = 0; round < 40; round++) {
		skipped = ksm_counts.skipped;
		read = ksm_test_scan_round();
		KUNIT_EXPECT_EQ(test, ksm_counts.skipped - skipped + read, KSM_TEST_KNOWN);
	}
	KUNIT_EXPECT_LT(test, read, KSM_TEST_KNOWN);
}

/* ------------------------------------------------------------------------ */
/* Not believed.                                                            */

static void no_PTE_is_believed_with_reread_rounds_0(struct kunit *test)
{
	WRITE_ONCE(ksm_state.reread_rounds, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
	/* What was read then was not cleaned before. */
	ksm_test_write(test, at.mm, at.page[0], 7);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
	KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[0])));
	/* So that it is clean later, by whomsoever, tells nothing. */
	ksm_test_change_pte(at.mm, at.page[0], pte_mkclean);
	WRITE_ONCE(ksm_state.reread_rounds, KSM_TEST_SELDOM);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
}

static void what_no_PTE_knows_of_is_found_within_reread_rounds(struct kunit *test)
{
	unsigned int i;

	ksm_test_needs_hashes(test);
	WRITE_ONCE(ksm_state.reread_rounds, 4);
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	write_behind(2, 7);
	for (i = 0; i < 4 && !atomic_long_read(&ksm_counts.fickle); i++)
		ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 1);
	KUNIT_EXPECT_FALSE(test, recorded(2).calm);
}

static void what_no_PTE_knows_of_is_not_merged_by_its_old_hash(struct kunit *test)
{
	ksm_test_needs_hashes(test);
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_scan_round();
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_round();
	write_behind(1, 9);
	ksm_test_scan_round();
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], 0x0909090909090909));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], 7));
}

static void smart_scan_does_not_put_off_a_reading_that_is_due(struct kunit *test)
{
	unsigned int i, k;

	ksm_test_needs_hashes(test);
	WRITE_ONCE(ksm_state.smart_scan, true);
	WRITE_ONCE(ksm_state.reread_rounds, 3);
	/* Until all are old. */
	for (i = 0; i < 40; i++)
		ksm_test_scan_round();
	for (k = 0; k < 8; k++) {
		write_behind(2, 10 + k);
		for (i = 0; i < 3 && !atomic_long_read(&ksm_counts.fickle); i++)
			ksm_test_scan_round();
		KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 1);
		ksm_test_scan_round();
		KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	}
}

/* What was merged is another page now, of the number that the KSM page had. */
static void come_back_as_another(struct kunit *test)
{
	struct ksm_item *item;

	ksm_test_needs_hashes(test);
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_round();
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, at.mm->ksm_merging_pages, 2);
	item = ksm_test_item_at(at.mm, at.page[1]);
	KUNIT_ASSERT_NOT_NULL(test, item);
	ksm_test_write(test, at.mm, at.page[1], 8);
	WRITE_ONCE(item->node->pfn, folio_pfn(ksm_test_folio_at(at.mm, at.page[1])));
}

static void a_page_that_comes_back_as_another_is_no_KSM_page(struct kunit *test)
{
	come_back_as_another(test);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 1);
}

static void a_clean_PTE_does_not_hide_that_for_ever(struct kunit *test)
{
	unsigned int i;
	pte_t pte;

	come_back_as_another(test);
	pte = pte_mkclean(ksm_test_pte_at(at.mm, at.page[1]));
	mmap_read_lock(at.mm);
	ksm_test_set_pte(at.mm, at.page[1], pte);
	mmap_read_unlock(at.mm);
	for (i = 0; i < 64; i++)
		ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 1);
}

static void who_merged_in_vain_is_read_again(struct kunit *test)
{
	unsigned long a = at.page[1], b = at.page[6];
	struct folio *folio;

	ksm_test_needs_hashes(test);
	ksm_test_write(test, at.mm, a, 7);
	ksm_test_write(test, at.mm, b, 7);
	ksm_test_scan_round();
	/* Where the PTE knew of a write, freezing may have cleaned it. */
	folio = ksm_test_folio_at(at.mm, b);
	folio_lock(folio);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 2);
	folio_unlock(folio);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, a, 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, b, 7));
}

static void what_cannot_merge_is_not_read_again(struct kunit *test)
{
	unsigned long a = at.page[1], b = at.page[6];
	struct folio *folio;

	ksm_test_write(test, at.mm, a, 7);
	ksm_test_write(test, at.mm, b, 7);
	folio = ksm_test_folio_at(at.mm, b);
	folio_get(folio);
	ksm_test_scan_round();
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	folio_put(folio);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

static void what_is_shared_by_fork_is_not_read_again(struct kunit *test)
{
	struct mm_struct *child = ksm_test_fork(test, at.mm);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ksm_mms_find(child));
	for (i = 0; i < 3; i++)
		ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
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
	ksm_test_write(test, at.mm, at.page[0], 7);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
	KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[0])));
#else
	kunit_skip(test, "needs CONFIG_MMU_NOTIFIER");
#endif
}

static struct kunit_case glance_cases[] = {
	KUNIT_CASE(an_unchanged_page_is_not_read),
	KUNIT_CASE(a_page_that_was_written_to_is_read),
	KUNIT_CASE(another_page_at_the_address_is_read),
	KUNIT_CASE(unread_pages_merge_as_others_do),
	KUNIT_CASE(P84_a_page_at_rest_that_has_failed_does_not_merge),
	KUNIT_CASE(only_smart_scan_counts_as_skipped),
	KUNIT_CASE(what_smart_scan_leaves_unread_is_counted),
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
	{ }
};

static struct kunit_suite glance_suite = {
	.name = "ksm_glance",
	.init = init,
	.test_cases = glance_cases,
};

kunit_test_suite(glance_suite);
