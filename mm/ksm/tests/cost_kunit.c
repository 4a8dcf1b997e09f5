// SPDX-License-Identifier: GPL-2.0
/* What a batch may cost: the way to a page counts, whatever there is on it. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>

#include "../block.h"
#include "../mms.h"
#include "../policy.h"
#include "../scan.h"
#include "../state.h"
#include "../walk.h"
#include "fixture.h"

#define VMAS	64
#define MMS	8
#define ADOPTED	200	/* not more than max_page_sharing */

/* Memory of which the test says what is there, and the run that is looked at. */
static struct {
	struct mm_struct	*mm;
	unsigned long		addr;	/* where a page table begins */
	struct ksm_glance_run	run;
} at;

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	at.mm = ksm_test_mm(test);
	at.addr = ALIGN(ksm_test_map(test, at.mm, 4 * PTRS_PER_PTE), PMD_SIZE);
	return 0;
}

/* Walk from @addr, which may cost so much, and let go of what is found. */
static unsigned int walk(unsigned long addr, unsigned long most)
{
	unsigned int i;

	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(at.mm);
	at.run.km = ksm_mms_find(at.mm);
	at.run.most = most;
	at.run.reads = UINT_MAX;
	ksm_walk_next(&at.run, addr);
	for (i = 0; i < at.run.nr; i++)
		ksm_walk_pass_on(&at.run, i);
	mmap_read_unlock(at.mm);
	mutex_unlock(&ksm_pass_lock);
	return at.run.nr;
}

static void write_page(struct kunit *test, unsigned long nr)
{
	ksm_test_write(test, at.mm, at.addr + nr * PAGE_SIZE, nr);
}

/* How many empty entries were met from where the memory begins to the first pages. */
static unsigned long empty_before(struct kunit *test, unsigned int pages)
{
	KUNIT_EXPECT_EQ(test, walk(at.addr, ULONG_MAX), pages);
	return at.run.empty;
}

static void empty_entries_before_a_page_are_counted(struct kunit *test)
{
	write_page(test, PTRS_PER_PTE - 1);
	KUNIT_EXPECT_GE(test, empty_before(test, 1), PTRS_PER_PTE - 1);
}

static void empty_entries_behind_a_page_are_counted(struct kunit *test)
{
	write_page(test, 0);
	KUNIT_EXPECT_GE(test, empty_before(test, 1), KSM_RUN_PAGES - 1);
}

static void empty_entries_between_pages_are_counted(struct kunit *test)
{
	write_page(test, 0);
	write_page(test, KSM_RUN_PAGES - 1);
	KUNIT_EXPECT_EQ(test, empty_before(test, 2), KSM_RUN_PAGES - 2);
}

/* From where on they are counted, that is a number that eight divides, and one that it does not. */
static void a_page_is_found_wherever_it_is_among_empty_ones(struct kunit *test)
{
	unsigned long from, i, page;

	for (from = 0; from < 10; from += 5)
		for (i = from; i < PTRS_PER_PTE; i++) {
			page = at.addr + i * PAGE_SIZE;
			write_page(test, i);
			KUNIT_EXPECT_EQ(test, walk(at.addr + from * PAGE_SIZE, ULONG_MAX), 1);
			KUNIT_EXPECT_EQ(test, at.run.pages[0].addr, page);
			do_madvise(at.mm, page, PAGE_SIZE, MADV_DONTNEED);
		}
}

static void missing_page_tables_are_counted(struct kunit *test)
{
	/* The walker passes over these, and there are not many. */
	if (mm_pmd_folded(at.mm))
		kunit_skip(test, "needs page tables of three levels");
	write_page(test, 2 * PTRS_PER_PTE);
	KUNIT_EXPECT_GE(test, empty_before(test, 1), KSM_RUN_PAGES + 1);
}

/* A VMA may begin where a page table that is not there would map its middle. */
static void what_is_behind_a_missing_page_table_is_found(struct kunit *test)
{
	write_page(test, PTRS_PER_PTE);
	KUNIT_EXPECT_EQ(test, walk(at.addr + 5 * PAGE_SIZE, ULONG_MAX), 1);
}

/* A VMA ends in the middle of what its last page table would map; another one has the next. */
static void the_page_table_behind_a_vma_is_left_alone(struct kunit *test)
{
	write_page(test, 2 * PTRS_PER_PTE);
	ksm_test_unmap(at.mm, at.addr + PMD_SIZE + PMD_SIZE / 2, PTRS_PER_PTE / 2);
	KUNIT_EXPECT_EQ(test, walk(at.addr, ULONG_MAX), 1);
	KUNIT_EXPECT_EQ(test, at.run.pages[0].addr, at.addr + 2 * PMD_SIZE);
}

static void what_is_counted_costs_something(struct kunit *test)
{
	struct ksm_glance_run *run = &at.run;

	run->steps = 3;
	run->empty = PTRS_PER_PTE;
	run->passed = 5;
	KUNIT_EXPECT_EQ(test, ksm_walk_cost(run), 3 + PTRS_PER_PTE / 64 + 5);
}

/* ------------------------------------------------------------------------ */

/* Cut the memory before the last page into VMAs with nothing in them. */
static void make_vmas(struct kunit *test)
{
	unsigned int i;

	write_page(test, 2 * VMAS);
	for (i = 0; i < VMAS; i++)
		ksm_test_unmap(at.mm, at.addr + 2 * i * PAGE_SIZE, 1);
}

/* A walk that may cost a few VMAs goes no further; the next ones come to the page. */
static void expect_short_walks(struct kunit *test)
{
	unsigned int walks = 1;

	KUNIT_ASSERT_EQ(test, walk(at.addr, VMAS / 4), 0);
	KUNIT_EXPECT_GE(test, ksm_walk_cost(&at.run), VMAS / 4);
	while (!walk(at.run.end, VMAS / 4) && walks < VMAS)
		walks++;
	KUNIT_EXPECT_EQ(test, at.run.nr, 1);
	KUNIT_EXPECT_GE(test, walks, 3);
}

static void a_walk_over_many_vmas_ends_on_the_way(struct kunit *test)
{
	make_vmas(test);
	expect_short_walks(test);
}

static void so_does_one_over_vmas_that_offer_nothing(struct kunit *test)
{
	make_vmas(test);
	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.addr, 2 * VMAS * PAGE_SIZE, MADV_UNMERGEABLE),
			-ENOMEM);	/* there are holes */
	expect_short_walks(test);
}

static void restart(void *unused)
{
	mutex_lock(&ksm_pass_lock);
	ksm_scan_restart();
	mutex_unlock(&ksm_pass_lock);
}

static void a_batch_does_not_visit_any_number_of_mms(struct kunit *test)
{
	bool is_over;
	int i;

	for (i = 0; i < MMS; i++)
		ksm_test_enter(test, ksm_test_mm(test));
	ksm_test_at_end(test, restart, NULL);
	restart(NULL);

	mutex_lock(&ksm_pass_lock);
	ksm_scan_batch(1);
	is_over = ksm_scan_at_start();
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_FALSE(test, is_over);
}

static void to_merge_with_the_zero_page_is_a_merge(struct kunit *test)
{
	int i;

	for (i = 0; i < 16; i++)
		ksm_test_write(test, at.mm, at.addr + i * PAGE_SIZE, 0);
	ksm_test_use_zero_pages(test);
	ksm_test_limit_merges(test, 2);
	ksm_test_scan_batch(1000);
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 2);
	ksm_test_scan_batch(1000);
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(at.mm), 4);
}

/* As much as to merge them, which it nearly is. */
static void to_adopt_what_a_fork_brought_costs_something(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long rounds;
	unsigned int i;

	ksm_test_map_merged(test, mm, ADOPTED);
	ksm_test_scan_round();
	ksm_test_fork(test, mm);
	rounds = ksm_counts.rounds;
	for (i = 0; ksm_counts.rounds == rounds && i < 1000; i++)
		ksm_test_scan_batch(1);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 2 * ADOPTED - 1);
	KUNIT_EXPECT_GT(test, i, ADOPTED * KSM_BUDGET_MERGE / KSM_BUDGET_READ);
	KUNIT_EXPECT_LT(test, i, 1000);
}

/* Nothing is found there any more that would have the scan come back to their block. */
static void what_gives_way_to_the_zero_page_takes_no_memory(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 2 * KSM_BLOCK_PAGES), before;
	struct ksm_mm *km;
	int i;

	addr = ALIGN(addr, KSM_BLOCK_PAGES * PAGE_SIZE);
	ksm_test_use_zero_pages(test);
	for (i = 0; i < KSM_BLOCK_PAGES; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 1000 + i);
	ksm_test_scan_round();
	km = ksm_test_lock(mm);
	before = km->bytes;
	ksm_test_unlock(mm);
	for (i = 1; i < KSM_BLOCK_PAGES; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 0);
	ksm_test_scan_rounds(2);
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(mm), KSM_BLOCK_PAGES - 1);
	km = ksm_test_lock(mm);
	KUNIT_EXPECT_LE(test, km->bytes + (KSM_BLOCK_PAGES - 16) * sizeof(void *), before);
	ksm_test_unlock(mm);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1000));
}

static struct kunit_case cost_cases[] = {
	KUNIT_CASE(empty_entries_before_a_page_are_counted),
	KUNIT_CASE(empty_entries_behind_a_page_are_counted),
	KUNIT_CASE(empty_entries_between_pages_are_counted),
	KUNIT_CASE(a_page_is_found_wherever_it_is_among_empty_ones),
	KUNIT_CASE(missing_page_tables_are_counted),
	KUNIT_CASE(what_is_behind_a_missing_page_table_is_found),
	KUNIT_CASE(the_page_table_behind_a_vma_is_left_alone),
	KUNIT_CASE(what_is_counted_costs_something),
	KUNIT_CASE(a_walk_over_many_vmas_ends_on_the_way),
	KUNIT_CASE(so_does_one_over_vmas_that_offer_nothing),
	KUNIT_CASE(a_batch_does_not_visit_any_number_of_mms),
	KUNIT_CASE(to_merge_with_the_zero_page_is_a_merge),
	KUNIT_CASE(to_adopt_what_a_fork_brought_costs_something),
	KUNIT_CASE(what_gives_way_to_the_zero_page_takes_no_memory),
	{ }
};

static struct kunit_suite cost_suite = {
	.name		= "ksm_cost",
	.init		= init,
	.test_cases	= cost_cases,
};

kunit_test_suite(cost_suite);
