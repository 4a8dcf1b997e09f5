// SPDX-License-Identifier: GPL-2.0
/* A round that comes again, begins anew, or was cut: nobody is missed or met twice. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>

#include "../mms.h"
#include "../sieve.h"
#include "../state.h"
#include "../walk.h"
#include "fixture.h"

#define BEHIND	4

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;
static u64 content;

static int init(struct kunit *test)
{
	content = 1000;
	ksm_test_needs_hashes(test);
	return ksm_test_init_known(test, &at);
}

/* ------------------------------------------------------------------------ */
/* What is offered while a round is under way.                              */

/*
 * Begin a round, and end with the batch in which it leaves the known pages behind.
 * Returns where it is then.
 */
static struct mm_struct *leave_behind(struct kunit *test)
{
	struct mm_struct *behind = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, behind, BEHIND), rounds = ksm_counts.rounds;
	unsigned int i;

	for (i = 0; i < BEHIND; i++)
		ksm_test_write(test, behind, addr + i * PAGE_SIZE, ++content);
	for (i = 0; i < 100 && !behind->ksm_rmap_items; i++)
		ksm_test_scan_batch(1);
	KUNIT_ASSERT_GT(test, behind->ksm_rmap_items, 0);
	KUNIT_ASSERT_EQ(test, ksm_counts.rounds, rounds);
	return behind;
}

static void what_is_offered_behind_a_round_is_read_in_it(struct kunit *test)
{
	unsigned long addr;

	leave_behind(test);
	addr = ksm_test_map(test, at.mm, 1);
	ksm_test_write(test, at.mm, addr, ++content);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, KSM_TEST_KNOWN + 1);
}

static void who_offers_much_leaves_others_their_turns(struct kunit *test)
{
	struct mm_struct *half_way = leave_behind(test);
	unsigned long addr;
	unsigned int i;

	/* All of them are read by coming there once more. */
	for (i = 0; i < 100; i++)
		ksm_test_map(test, half_way, 1);
	addr = ksm_test_map(test, at.mm, 1);
	ksm_test_write(test, at.mm, addr, ++content);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, KSM_TEST_KNOWN + 1);
}

/* A return reads all of an mm again: who offers whenever it comes gets a few. */
static void who_offers_again_and_again_does_not_keep_a_round(struct kunit *test)
{
	unsigned int visits = 0;
	struct ksm_mm *km;

	mutex_lock(&ksm_pass_lock);
	ksm_mms_rewind();
	while (visits < 100 && (km = ksm_mms_next())) {
		visits++;
		mmap_write_lock(at.mm);
		ksm_mms_offer(at.mm);
		mmap_write_unlock(at.mm);
		ksm_mms_put(km, false);
	}
	ksm_mms_rewind();
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_GT(test, visits, 1);
	KUNIT_EXPECT_LT(test, visits, 10);
}

/* As prctl(PR_SET_MEMORY_MERGE) calls it. */
static int merge_any(struct mm_struct *mm)
{
	int err;

	mmap_write_lock(mm);
	err = ksm_enable_merge_any(mm);
	mmap_write_unlock(mm);
	return err;
}

/* A page that is written to, and not offered. */
static unsigned long map_unoffered(struct kunit *test, struct mm_struct *mm)
{
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, ++content);
	KUNIT_ASSERT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_UNMERGEABLE), 0);
	return addr;
}

static void who_merges_all_behind_a_round_is_read_in_it(struct kunit *test)
{
	map_unoffered(test, at.mm);
	leave_behind(test);
	KUNIT_ASSERT_EQ(test, merge_any(at.mm), 0);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, KSM_TEST_KNOWN + 1);
}

/* While KSM runs a newcomer stands where the round has been, and is read all the same. */
static void who_is_new_and_offers_is_read_in_the_round(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = map_unoffered(test, mm);
	int err;

	KUNIT_ASSERT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_DONE);
	leave_behind(test);
	/* ksmd does not get to see that. */
	mutex_lock(&ksm_pass_lock);
	WRITE_ONCE(ksm_state.run, KSM_RUN_MERGE);
	err = do_madvise(mm, addr, PAGE_SIZE, MADV_MERGEABLE);
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_ASSERT_EQ(test, err, 0);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, 1);
}

/* Whose page has just been looked at out of turn, as a candidate for somebody else's. */
static void what_is_offered_by_whom_others_use_is_read_in_the_round(struct kunit *test)
{
	unsigned long addr = map_unoffered(test, at.mm);
	struct ksm_mm *km = ksm_mms_find(at.mm);
	int err;

	leave_behind(test);
	mutex_lock(&ksm_pass_lock);
	ksm_mms_get(km);
	err = do_madvise(at.mm, addr, PAGE_SIZE, MADV_MERGEABLE);
	ksm_mms_drop(km);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_ASSERT_EQ(test, err, 0);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, KSM_TEST_KNOWN + 1);
}

/* ------------------------------------------------------------------------ */
/* A run that was cut, and a round that begins anew.                        */

#define BEFORE	128	/* pages up to the end of a run, enough to use up a batch of two */
#define TOTAL	(BEFORE + 16 + KSM_TEST_KNOWN)

/* Pages in two runs, all known and at rest: the first of the second run. */
static unsigned long map_two_runs(struct kunit *test)
{
	unsigned long addr = ksm_test_map(test, at.mm, 3 * KSM_RUN_PAGES);
	int i;

	addr = ALIGN(addr, KSM_RUN_PAGES * PAGE_SIZE) + KSM_RUN_PAGES * PAGE_SIZE;
	for (i = -BEFORE; i < 16; i++)
		ksm_test_write(test, at.mm, addr + i * PAGE_SIZE, ++content);
	ksm_test_scan_rounds(2);
	KUNIT_ASSERT_EQ(test, ksm_test_scan_round(), 0);
	KUNIT_ASSERT_EQ(test, at.mm->ksm_rmap_items, TOTAL);
	return addr;
}

/*
 * Write to two pages of the first run, and begin a round. The way to the two takes so
 * much that after one of them the run is cut. Returns how many pages were read.
 */
static unsigned long begin_and_cut(struct kunit *test, unsigned long second)
{
	unsigned long read;

	ksm_test_rewrite(test, at.mm, second - 100 * PAGE_SIZE, &content);
	ksm_test_rewrite(test, at.mm, second - 80 * PAGE_SIZE, &content);
	read = ksm_test_scan_batch(2);
	KUNIT_ASSERT_EQ(test, read, 1);
	KUNIT_ASSERT_EQ(test, ksm_mms_find(at.mm)->next, second - 80 * PAGE_SIZE);
	return read;
}

static void each_page_is_read_or_counted_once(struct kunit *test)
{
	unsigned long second = map_two_runs(test), rounds = ksm_counts.rounds;
	unsigned long unchanged = ksm_counts.unchanged, skipped = ksm_counts.skipped, read;
	unsigned int i;

	WRITE_ONCE(ksm_state.smart_scan, true);
	read = begin_and_cut(test, second);
	for (i = 0; i < 100 && ksm_counts.rounds == rounds; i++)
		read += ksm_test_scan_batch(2);
	KUNIT_EXPECT_EQ(test, read, 2);
	KUNIT_EXPECT_EQ(test, ksm_counts.unchanged - unchanged + read, TOTAL);
	KUNIT_EXPECT_EQ(test, ksm_counts.skipped - skipped + read, TOTAL);
}

/* What an unmerge that fails leaves of a round. */
static void a_round_that_begins_anew_begins_at_the_begin(struct kunit *test)
{
	unsigned long read;

	WRITE_ONCE(ksm_state.reread_rounds, 0);
	read = ksm_test_scan_batch(3);
	KUNIT_ASSERT_GT(test, read, 0);
	KUNIT_ASSERT_LT(test, read, KSM_TEST_KNOWN);
	ksm_test_restart();
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
}

static void a_round_that_begins_anew_notes_all_pages(struct kunit *test)
{
	u64 last = content + BEFORE;	/* of the first run */
	unsigned long second = map_two_runs(test), addr = ksm_test_map(test, at.mm, 3);
	unsigned int i;

	begin_and_cut(test, second);
	ksm_test_restart();
	ksm_test_scan_round();
	/* Twins of three that the cut run noted come, and merge. */
	for (i = 0; i < 3; i++)
		ksm_test_write(test, at.mm, addr + i * PAGE_SIZE, last - i);
	ksm_test_scan_rounds(3);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 3);
}

/* Of KSM pages there is one, and the sieve was told of very many. */
static bool wear_out_the_sieve(void)
{
	bool worn = false;
	int tries;

	mutex_lock(&ksm_pass_lock);
	for (tries = 0; !worn && tries < 100000; tries++) {
		ksm_sieve_keep(0);
		worn = ksm_sieve_worn(1);
	}
	mutex_unlock(&ksm_pass_lock);
	return worn;
}

static void a_round_that_renews_the_sieve_tells_of_KSM_pages(struct kunit *test)
{
	ksm_test_write(test, at.mm, at.page[1], ++content);
	ksm_test_write(test, at.mm, at.page[6], content);
	ksm_test_scan_rounds(2);
	KUNIT_ASSERT_EQ(test, ksm_counts.sharing, 1);
	/* That there were two it need not remember. */
	ksm_test_restart();
	KUNIT_ASSERT_TRUE(test, wear_out_the_sieve());
	ksm_test_scan_round();
	/* Who comes alone has a twin by that. */
	ksm_test_write(test, at.mm, at.page[3], content);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 2);
}

static struct kunit_case again_cases[] = {
	KUNIT_CASE(what_is_offered_behind_a_round_is_read_in_it),
	KUNIT_CASE(who_offers_much_leaves_others_their_turns),
	KUNIT_CASE(who_offers_again_and_again_does_not_keep_a_round),
	KUNIT_CASE(who_merges_all_behind_a_round_is_read_in_it),
	KUNIT_CASE(who_is_new_and_offers_is_read_in_the_round),
	KUNIT_CASE(what_is_offered_by_whom_others_use_is_read_in_the_round),
	KUNIT_CASE(each_page_is_read_or_counted_once),
	KUNIT_CASE(a_round_that_begins_anew_begins_at_the_begin),
	KUNIT_CASE(a_round_that_begins_anew_notes_all_pages),
	KUNIT_CASE(a_round_that_renews_the_sieve_tells_of_KSM_pages),
	{ }
};

static struct kunit_suite again_suite = {
	.name = "ksm_again",
	.init = init,
	.test_cases = again_cases,
};

kunit_test_suite(again_suite);
