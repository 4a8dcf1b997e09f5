// SPDX-License-Identifier: GPL-2.0
/* Cleaning of PTEs: what they knew is not lost, and what is written next is seen. */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/clock.h>
#include <linux/uaccess.h>

#include "../content.h"
#include "../mms.h"
#include "../policy.h"
#include "../record.h"
#include "../state.h"
#include "../walk.h"
#include "fixture.h"

/* No rest is longer, however long a flush takes. */
#define LONGEST_REST	NSEC_PER_SEC

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;
static u64 content;

static int init(struct kunit *test)
{
	content = 1000;
	return ksm_test_init_known(test, &at);
}

static void what_a_PTE_knew_the_folio_knows(struct kunit *test)
{
	struct folio *folio;
	unsigned int i;

	for (i = 0; i < KSM_TEST_KNOWN; i++) {
		folio = ksm_test_folio_at(at.mm, at.page[i]);
		KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[i])));
		KUNIT_EXPECT_TRUE(test, pte_write(ksm_test_pte_at(at.mm, at.page[i])));
		KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	}
}

/* A TLB entry that is still dirty would let a write pass the PTE by: that of any of them. */
static void who_writes_on_makes_the_PTE_dirty_again(struct kunit *test)
{
	unsigned int i, nr;
	int err = 0;

	kthread_use_mm(at.mm);
	for (i = 0; i < 3; i++) {
		for (nr = 3; nr < 6; nr++)
			err |= put_user(i, (u64 __user *)at.page[nr]);
		ksm_test_scan_round();
		for (nr = 3; nr < 6; nr++) {
			err |= put_user(i, (u64 __user *)at.page[nr] + 1);
			KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[nr])));
		}
	}
	kthread_unuse_mm(at.mm);
	KUNIT_EXPECT_EQ(test, err, 0);
}

static bool is_trusted(unsigned int nr)
{
	void *entry = ksm_record_load(ksm_mms_find(at.mm), at.page[nr] >> PAGE_SHIFT);

	return xa_is_value(entry) && ksm_record_unpack(entry).trusted;
}

static struct ksm_glance_run run;

static void a_page_that_was_cleaned_but_not_read_is_read_next(struct kunit *test)
{
	unsigned int i, found = 0;

	ksm_test_needs_hashes(test);
	ksm_test_write(test, at.mm, at.page[2], 7);
	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(at.mm);
	run.km = ksm_mms_find(at.mm);
	run.reread = KSM_TEST_SELDOM;
	run.may_clean = true;
	run.most = U64_MAX;
	run.reads = UINT_MAX;
	ksm_walk_next(&run, 0);
	for (i = 0; i < run.nr; i++)
		found += run.pages[i].addr == at.page[2] && run.pages[i].read;
	ksm_walk_cut(&run, 0, 0);
	mmap_read_unlock(at.mm);
	mutex_unlock(&ksm_pass_lock);

	KUNIT_ASSERT_EQ(test, found, 1);
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
	KUNIT_EXPECT_FALSE(test, is_trusted(2));
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
	KUNIT_EXPECT_TRUE(test, is_trusted(2));
}

static void a_page_that_is_always_written_to_is_not_cleaned(struct kunit *test)
{
	unsigned int i, cleaned = 0;

	for (i = 0; i < 24; i++) {
		ksm_test_rewrite(test, at.mm, at.page[2], &content);
		KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
		cleaned += !pte_dirty(ksm_test_pte_at(at.mm, at.page[2]));
	}
	/* While it is young. */
	KUNIT_EXPECT_EQ(test, cleaned, 3);
	KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
}

static void what_is_recorded_of_another_page_says_nothing(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 8; i++) {
		ksm_test_rewrite(test, at.mm, at.page[2], &content);
		ksm_test_scan_round();
	}
	KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
	ksm_test_replace(test, at.mm, at.page[2], ++content);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
}

/* Change a page that goes on to be known as a whole: see parts_kunit.c for others. */
static void change(struct kunit *test, unsigned int nr)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.page[nr]);
	unsigned int tries = 100;

	do
		ksm_test_write(test, at.mm, at.page[nr], ++content);
	while (tries-- && ksm_policy_restless(UINT_MAX, ksm_content_hash(&folio->page)));
	KUNIT_ASSERT_FALSE(test, ksm_policy_restless(UINT_MAX, ksm_content_hash(&folio->page)));
}

static void who_comes_to_rest_is_cleaned_and_trusted(struct kunit *test)
{
	unsigned int i;

	ksm_test_needs_hashes(test);
	for (i = 0; i < 8; i++) {
		change(test, 2);
		ksm_test_scan_round();
	}
	/* That it has held is seen, then it is cleaned. */
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
	KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
	KUNIT_EXPECT_FALSE(test, is_trusted(2));
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
	KUNIT_EXPECT_TRUE(test, is_trusted(2));
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[2], content));
}

static void who_comes_to_rest_merges_in_the_next_round(struct kunit *test)
{
	unsigned int i;

	ksm_test_needs_hashes(test);
	for (i = 0; i < 8; i++) {
		change(test, 2);
		change(test, 5);
		ksm_test_scan_round();
	}
	change(test, 2);
	ksm_test_write(test, at.mm, at.page[5], content);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[2], content));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[5], content));
}

static void soft_dirty_and_accessed_bits_stay(struct kunit *test)
{
	bool soft = pte_soft_dirty(pte_mksoft_dirty(__pte(0)));

	ksm_test_write(test, at.mm, at.page[2], 7);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, soft, !!pte_soft_dirty(ksm_test_pte_at(at.mm, at.page[2])));
	KUNIT_EXPECT_TRUE(test, pte_young(ksm_test_pte_at(at.mm, at.page[2])));
}

static void a_rest_follows_on_a_huge_page_as_well(struct kunit *test)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	unsigned long addr = ksm_test_map_huge(test, at.mm);
	struct ksm_mm *km = ksm_mms_find(at.mm);
	u64 before = local_clock();

	/* All PTEs are clean: there is nothing else to be flushed. */
	km->rests_until = 0;
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), HPAGE_PMD_NR);
	KUNIT_EXPECT_FALSE(test, pmd_dirty(ksm_test_pmd_at(at.mm, addr)));
	KUNIT_EXPECT_GE(test, km->rests_until, before);
	KUNIT_EXPECT_LE(test, km->rests_until, local_clock() + LONGEST_REST);
#else
	kunit_skip(test, "needs CONFIG_TRANSPARENT_HUGEPAGE");
#endif
}

/* A program that runs until it is stopped, on a CPU of its own. */
static int run_on(void *mm)
{
	kthread_use_mm(mm);
	while (!kthread_should_stop())
		cond_resched();
	kthread_unuse_mm(mm);
	return 0;
}

/* When the CPU of a program hears of no flush, and of which PTE it looks then. */
static struct {
	unsigned long	addr;
	bool		shall;
	bool		is;
	bool		saw;	/* that the PTE was cleaned: the flush is yet to come */
} deaf;

/* Let who cleans the PTE wait for this CPU, for longer than a flush ever takes. */
static void turn_deaf(struct mm_struct *mm)
{
	pte_t *ptep = pte_offset_map(pmd_off(mm, deaf.addr), deaf.addr);
	u64 until;

	local_irq_disable();
	until = local_clock() + NSEC_PER_SEC;
	WRITE_ONCE(deaf.is, true);
	while (ptep && pte_dirty(ptep_get_lockless(ptep)) && local_clock() < until)
		cpu_relax();
	deaf.saw = ptep && !pte_dirty(ptep_get_lockless(ptep));
	if (deaf.saw)
		mdelay(20);
	local_irq_enable();
	if (ptep)
		pte_unmap(ptep);
}

static int run_on_deaf(void *mm)
{
	kthread_use_mm(mm);
	while (!READ_ONCE(deaf.shall) && !kthread_should_stop())
		cond_resched();
	if (READ_ONCE(deaf.shall))
		turn_deaf(mm);
	while (!kthread_should_stop())
		cond_resched();
	kthread_unuse_mm(mm);
	return 0;
}

static void a_running_program_is_given_a_rest(struct kunit *test)
{
	struct ksm_mm *km = ksm_mms_find(at.mm);
	bool rests = false;
	unsigned int i;

	ksm_test_let_run(test, run_on, at.mm);
	/* It was not interrupted for long. Who looks late finds that it is over. */
	for (i = 0; i < 20 && !rests; i++) {
		km->rests_until = 0;
		ksm_test_write(test, at.mm, at.page[2], 7);
		KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
		rests = km->rests_until > local_clock();
		KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
		KUNIT_EXPECT_LE(test, km->rests_until, local_clock() + LONGEST_REST);
	}
	KUNIT_EXPECT_TRUE(test, rests);

	/* What cannot be cleaned is read as long. */
	km->rests_until = U64_MAX;
	ksm_test_write(test, at.mm, at.page[2], 8);
	for (i = 0; i < 5; i++) {
		KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
		KUNIT_EXPECT_TRUE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
	}
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[2], 8));
}

static void a_rest_is_short_however_long_a_flush_takes(struct kunit *test)
{
	struct ksm_mm *km = ksm_mms_find(at.mm);
	struct task_struct *program;

	memset(&deaf, 0, sizeof(deaf));
	deaf.addr = at.page[2];
	program = ksm_test_let_run(test, run_on_deaf, at.mm);
	ksm_test_write(test, at.mm, at.page[2], 7);
	km->rests_until = 0;
	WRITE_ONCE(deaf.shall, true);
	while (!READ_ONCE(deaf.is))
		cond_resched();
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
	KUNIT_EXPECT_LE(test, km->rests_until, local_clock() + LONGEST_REST);
	kunit_release_action(test, ksm_test_end_program, program);
	if (!deaf.saw)
		kunit_skip(test, "the flush came too late to be held up");
}

static void who_does_not_run_needs_no_rest(struct kunit *test)
{
	ksm_mms_find(at.mm)->rests_until = U64_MAX;
	ksm_test_write(test, at.mm, at.page[2], 7);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, at.page[2])));
}

static struct kunit_case clean_cases[] = {
	KUNIT_CASE(what_a_PTE_knew_the_folio_knows),
	KUNIT_CASE(who_writes_on_makes_the_PTE_dirty_again),
	KUNIT_CASE(a_page_that_was_cleaned_but_not_read_is_read_next),
	KUNIT_CASE(a_page_that_is_always_written_to_is_not_cleaned),
	KUNIT_CASE(what_is_recorded_of_another_page_says_nothing),
	KUNIT_CASE(who_comes_to_rest_is_cleaned_and_trusted),
	KUNIT_CASE(who_comes_to_rest_merges_in_the_next_round),
	KUNIT_CASE(soft_dirty_and_accessed_bits_stay),
	KUNIT_CASE(a_rest_follows_on_a_huge_page_as_well),
	KUNIT_CASE(a_running_program_is_given_a_rest),
	KUNIT_CASE(a_rest_is_short_however_long_a_flush_takes),
	KUNIT_CASE(who_does_not_run_needs_no_rest),
	{ }
};

static struct kunit_suite clean_suite = {
	.name = "ksm_clean",
	.init = init,
	.test_cases = clean_cases,
};

kunit_test_suite(clean_suite);
