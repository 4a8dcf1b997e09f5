// SPDX-License-Identifier: GPL-2.0
/* A round: what is read, in which batch, and what becomes of what was known. */
#include <linux/delay.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sizes.h>

#include "../block.h"
#include "../ksmd.h"
#include "../mms.h"
#include "../node.h"
#include "../record.h"
#include "../scan.h"
#include "../state.h"
#include "fixture.h"

#define PAGES	10

static unsigned int reread_rounds;

static void restart(void *unused)
{
	WRITE_ONCE(ksm_state.reread_rounds, reread_rounds);
	mutex_lock(&ksm_pass_lock);
	ksm_scan_restart();
	WRITE_ONCE(ksm_counts.rounds, 0);
	mutex_unlock(&ksm_pass_lock);
}

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	reread_rounds = ksm_state.reread_rounds;
	restart(NULL);
	ksm_test_at_end(test, restart, NULL);
	return 0;
}

/* Map pages of which each is different from all others. */
static unsigned long unique_pages(struct kunit *test, struct mm_struct *mm,
				  unsigned int pages)
{
	static u64 content = 1000;
	unsigned long addr = ksm_test_map(test, mm, pages);
	unsigned int i;

	for (i = 0; i < pages; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, content++);
	return addr;
}

static void expect_values(struct kunit *test, long fickle, long unshared)
{
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), fickle);
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), unshared);
}

static void expect_shared(struct kunit *test, unsigned long shared, unsigned long sharing)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing);
}

/* ------------------------------------------------------------------------ */
/* Batches.                                                                 */

static void a_round_reads_every_page(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);

	/* If no PTE says that there is no need. */
	WRITE_ONCE(ksm_state.reread_rounds, 0);
	unique_pages(test, mm, PAGES);
	unique_pages(test, other, 2 * PAGES);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 3 * PAGES);
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, 1);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 3 * PAGES);
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, 2);
}

static void a_batch_reads_no_more_than_its_pages(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);

	unique_pages(test, mm, PAGES);
	KUNIT_EXPECT_TRUE(test, ksm_scan_at_start());
	KUNIT_EXPECT_EQ(test, ksm_test_scan_batch(0), 0);
	KUNIT_EXPECT_LE(test, ksm_test_scan_batch(3), 3);
	KUNIT_EXPECT_FALSE(test, ksm_scan_at_start());
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, 0);
}

static void a_batch_goes_on_where_the_last_one_ended(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	unsigned long read, sum = 0;
	int batches = 0;

	unique_pages(test, mm, PAGES);
	unique_pages(test, other, PAGES);
	while (!ksm_counts.rounds && batches++ < 100) {
		read = ksm_test_scan_batch(3);
		KUNIT_EXPECT_LE(test, read, 3);
		sum += read;
	}
	/* Not one of them twice, and none left out. */
	KUNIT_EXPECT_EQ(test, sum, 2 * PAGES);
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, PAGES);
	KUNIT_EXPECT_EQ(test, other->ksm_rmap_items, PAGES);
	KUNIT_EXPECT_GE(test, batches, 2 * PAGES / 3);
}

static void a_hole_is_passed_over(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, SZ_128M / PAGE_SIZE);

	ksm_test_write(test, mm, addr, 1);
	ksm_test_write(test, mm, addr + SZ_128M - PAGE_SIZE, 2);
	/* A round, for which the price of very few pages is enough. */
	KUNIT_EXPECT_EQ(test, ksm_test_scan_batch(16), 2);
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, 1);
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, 2);
}

static void P32_an_mm_that_goes_in_the_middle_is_no_hindrance(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);

	unique_pages(test, mm, PAGES);
	unique_pages(test, other, PAGES);
	ksm_test_scan_batch(3);
	KUNIT_EXPECT_GT(test, mm->ksm_rmap_items, 0);
	KUNIT_EXPECT_EQ(test, other->ksm_rmap_items, 0);
	ksm_test_exit(test, mm);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), PAGES);
	KUNIT_EXPECT_EQ(test, other->ksm_rmap_items, PAGES);
}

/* ------------------------------------------------------------------------ */
/* What is remembered.                                                      */

static void a_page_is_calm_when_its_content_held(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = unique_pages(test, mm, PAGES);

	ksm_test_needs_hashes(test);
	ksm_test_scan_round();
	expect_values(test, PAGES, 0);
	ksm_test_scan_round();
	expect_values(test, 0, PAGES);
	ksm_test_write(test, mm, addr, 1);
	ksm_test_write(test, mm, addr + PAGE_SIZE, 2);
	ksm_test_scan_round();
	expect_values(test, 2, PAGES - 2);
	ksm_test_scan_round();
	expect_values(test, 0, PAGES);
	expect_shared(test, 0, 0);
}

static void what_is_unmapped_is_forgotten(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = unique_pages(test, mm, PAGES);

	ksm_test_scan_round();
	/* At the begin, in the middle, at the end. */
	do_madvise(mm, addr, PAGE_SIZE, MADV_DONTNEED);
	do_madvise(mm, addr + 4 * PAGE_SIZE, 2 * PAGE_SIZE, MADV_DONTNEED);
	do_madvise(mm, addr + (PAGES - 1) * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, PAGES - 4);
	expect_values(test, 0, PAGES - 4);
	do_madvise(mm, addr, PAGES * PAGE_SIZE, MADV_DONTNEED);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, 0);
	expect_values(test, 0, 0);
}

/* Of many neighbours the first and the last, in one block. */
static void what_is_left_of_many_takes_little(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 2 * KSM_BLOCK_PAGES);
	unsigned long gone = KSM_BLOCK_PAGES - 2, bytes;
	unsigned int i;

	addr = ALIGN(addr, KSM_BLOCK_PAGES * PAGE_SIZE);
	for (i = 0; i < KSM_BLOCK_PAGES; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 1000 + i);
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, mm->ksm_rmap_items, KSM_BLOCK_PAGES);
	bytes = ksm_mms_find(mm)->bytes;
	do_madvise(mm, addr + PAGE_SIZE, gone * PAGE_SIZE, MADV_DONTNEED);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, 2);
	KUNIT_EXPECT_LT(test, ksm_mms_find(mm)->bytes, bytes);
}

static void what_is_not_offered_any_more_is_forgotten(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = unique_pages(test, mm, PAGES);

	WRITE_ONCE(ksm_state.reread_rounds, 0);
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), PAGES - 1);
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, PAGES - 1);
}

/* ------------------------------------------------------------------------ */
/* Merging.                                                                 */

static void equal_pages_are_merged_in_the_second_round(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	unsigned long a = ksm_test_map(test, mm, PAGES), b = ksm_test_map(test, other, PAGES);
	int i;

	for (i = 0; i < PAGES; i++) {
		ksm_test_write(test, mm, a + i * PAGE_SIZE, i / 2);
		ksm_test_write(test, other, b + i * PAGE_SIZE, i / 2);
	}
	ksm_test_scan_round();
	expect_shared(test, 0, 0);
	ksm_test_scan_round();
	expect_shared(test, PAGES / 2, 2 * PAGES - PAGES / 2);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, PAGES);
	KUNIT_EXPECT_EQ(test, other->ksm_merging_pages, PAGES);
	expect_values(test, 0, 0);
	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, a + i * PAGE_SIZE),
				    ksm_test_folio_at(other, b + i * PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, a + i * PAGE_SIZE, i / 2));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(other, b + i * PAGE_SIZE, i / 2));
	}
}

static void a_newcomer_joins_in_its_first_round(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 3);

	ksm_test_write(test, mm, addr, 1);
	ksm_test_write(test, mm, addr + PAGE_SIZE, 1);
	ksm_test_scan_round();
	ksm_test_scan_round();
	expect_shared(test, 1, 1);
	ksm_test_write(test, mm, addr + 2 * PAGE_SIZE, 1);
	ksm_test_scan_round();
	expect_shared(test, 1, 2);
}

static void a_rewritten_page_parts_and_the_rest_stays(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 3);
	int i;

	for (i = 0; i < 3; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 1);
	ksm_test_scan_round();
	ksm_test_scan_round();
	expect_shared(test, 1, 2);
	ksm_test_write(test, mm, addr, 2);
	ksm_test_scan_round();
	expect_shared(test, 1, 1);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
	expect_values(test, 1, 0);
	/* And what the last ones leave behind is swept up. */
	do_madvise(mm, addr, 3 * PAGE_SIZE, MADV_DONTNEED);
	ksm_test_scan_round();
	expect_shared(test, 0, 0);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
}

static void a_child_is_counted_once_it_was_scanned(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long addr = ksm_test_map(test, mm, 2);

	ksm_test_write(test, mm, addr, 1);
	ksm_test_write(test, mm, addr + PAGE_SIZE, 1);
	ksm_test_scan_round();
	ksm_test_scan_round();
	child = ksm_test_fork(test, mm);
	expect_shared(test, 1, 1);
	ksm_test_scan_round();
	expect_shared(test, 1, 3);
	KUNIT_EXPECT_EQ(test, child->ksm_merging_pages, 2);
	ksm_test_exit(test, mm);
	KUNIT_ASSERT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 1));
	expect_shared(test, 1, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, addr, 1));
}

static void P56_ksmd_stands_still_while_memory_goes(struct kunit *test)
{
	struct memory_notify none = {
		.status_change_nid_normal = NUMA_NO_NODE,
		.status_change_nid = NUMA_NO_NODE,
	};
	unsigned long rounds;

	if (!IS_ENABLED(CONFIG_MEMORY_HOTREMOVE))
		kunit_skip(test, "needs CONFIG_MEMORY_HOTREMOVE");
	ksm_test_map(test, ksm_test_mm(test), 1);
	ksm_test_at_end(test, ksm_test_stop_ksmd, NULL);
	KUNIT_ASSERT_EQ(test, ksm_ksmd_set_run(KSM_RUN_MERGE), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_goes_round());

	memory_notify(MEM_GOING_OFFLINE, &none);
	rounds = READ_ONCE(ksm_counts.rounds);
	msleep(200);
	KUNIT_EXPECT_EQ(test, READ_ONCE(ksm_counts.rounds), rounds);
	memory_notify(MEM_CANCEL_OFFLINE, &none);
	KUNIT_EXPECT_TRUE(test, ksm_test_goes_round());
}

static struct kunit_case scan_cases[] = {
	KUNIT_CASE(P56_ksmd_stands_still_while_memory_goes),
	KUNIT_CASE(a_round_reads_every_page),
	KUNIT_CASE(a_batch_reads_no_more_than_its_pages),
	KUNIT_CASE(a_batch_goes_on_where_the_last_one_ended),
	KUNIT_CASE(a_hole_is_passed_over),
	KUNIT_CASE(P32_an_mm_that_goes_in_the_middle_is_no_hindrance),
	KUNIT_CASE(a_page_is_calm_when_its_content_held),
	KUNIT_CASE(what_is_unmapped_is_forgotten),
	KUNIT_CASE(what_is_left_of_many_takes_little),
	KUNIT_CASE(what_is_not_offered_any_more_is_forgotten),
	KUNIT_CASE(equal_pages_are_merged_in_the_second_round),
	KUNIT_CASE(a_newcomer_joins_in_its_first_round),
	KUNIT_CASE(a_rewritten_page_parts_and_the_rest_stays),
	KUNIT_CASE(a_child_is_counted_once_it_was_scanned),
	{ }
};

static struct kunit_suite scan_suite = {
	.name = "ksm_scan",
	.init = init,
	.test_cases = scan_cases,
};

kunit_test_suite(scan_suite);
