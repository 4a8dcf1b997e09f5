// SPDX-License-Identifier: GPL-2.0
/* Registered mms: who is visited when, and how one leaves. */
#include <linux/sched/mm.h>
#include <linux/wait.h>

#include "../mms.h"
#include "../record.h"
#include "../state.h"
#include "fixture.h"

/* ------------------------------------------------------------------------ */
/* In ksmd's place.                                                         */

static struct mm_struct *make_mm(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);

	ksm_test_enter(test, mm);
	return mm;
}

/* As make_mm(), while the run state is another. ksmd does not get to see that. */
static struct mm_struct *make_mm_during(struct kunit *test, enum ksm_run run)
{
	struct mm_struct *mm = ksm_test_mm(test);
	int err;

	mutex_lock(&ksm_pass_lock);
	WRITE_ONCE(ksm_state.run, run);
	mmap_write_lock(mm);
	err = ksm_mms_enter(mm);
	mmap_write_unlock(mm);
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_ASSERT_EQ(test, err, 0);
	return mm;
}

static void offer(struct mm_struct *mm)
{
	mmap_write_lock(mm);
	ksm_mms_offer(mm);
	mmap_write_unlock(mm);
}

static void rewind_cursor(void)
{
	mutex_lock(&ksm_pass_lock);
	ksm_mms_rewind();
	mutex_unlock(&ksm_pass_lock);
}

static struct ksm_mm *next(void)
{
	struct ksm_mm *km;

	mutex_lock(&ksm_pass_lock);
	km = ksm_mms_next();
	mutex_unlock(&ksm_pass_lock);
	return km;
}

static void put(struct ksm_mm *km, bool again)
{
	mutex_lock(&ksm_pass_lock);
	ksm_mms_put(km, again);
	mutex_unlock(&ksm_pass_lock);
}

/* Take the next mm and give it back at once; NULL at the end of the round. */
static struct mm_struct *visit(bool again)
{
	struct ksm_mm *km = next();
	struct mm_struct *mm = km ? ksm_mm_of(km) : NULL;

	if (km)
		put(km, again);
	return mm;
}

/* The rest of the round visits these, and then nobody: NULL ends them. */
static void expect_rest(struct kunit *test, struct mm_struct **want)
{
	do {
		KUNIT_EXPECT_PTR_EQ(test, visit(false), *want);
	} while (*want++);
}

/* Bury one of the dead; a burial that is under way takes none meanwhile. */
static struct mm_struct *bury(void)
{
	struct mm_struct *mm = NULL;
	unsigned long index;
	struct ksm_mm *km;

	lockdep_assert_held(&ksm_pass_lock);

	km = ksm_mms_first_dead();
	if (km) {
		mm = ksm_mm_of(km);
		for (index = 0; ksm_record_find(km, &index, ULONG_MAX); index++)
			ksm_record_erase(km, index);
		ksm_mms_bury(km);
	}
	return mm;
}

/* ------------------------------------------------------------------------ */
/* Entering.                                                                */

static void who_enters_is_registered(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	int held = atomic_read(&mm->mm_count);

	KUNIT_EXPECT_NULL(test, ksm_mms_find(mm));
	KUNIT_EXPECT_FALSE(test, ksm_mms_populated());
	ksm_test_enter(test, mm);
	KUNIT_ASSERT_NOT_NULL(test, ksm_mms_find(mm));
	KUNIT_EXPECT_PTR_EQ(test, ksm_mm_of(ksm_mms_find(mm)), mm);
	KUNIT_EXPECT_TRUE(test, ksm_mms_populated());
	KUNIT_EXPECT_TRUE(test, test_bit(MMF_VM_MERGEABLE, &mm->flags));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 1);
	/* The structure is held, not the address space: an exit goes ahead. */
	KUNIT_EXPECT_EQ(test, atomic_read(&mm->mm_count), held + 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&mm->mm_users), 1);
}

static int wakeups;

static int count_wakeup(struct wait_queue_entry *wait, unsigned int mode, int flags, void *key)
{
	wakeups++;
	return 0;
}

static void P41_the_first_to_enter_wakes_ksmd(struct kunit *test)
{
	struct mm_struct *first = ksm_test_mm(test), *second = ksm_test_mm(test);
	struct wait_queue_entry wait;

	init_waitqueue_func_entry(&wait, count_wakeup);
	wakeups = 0;
	add_wait_queue(&ksm_work_wait, &wait);
	mmap_write_lock(first);
	KUNIT_EXPECT_EQ(test, ksm_mms_enter(first), 0);
	mmap_write_unlock(first);
	KUNIT_EXPECT_EQ(test, wakeups, 1);
	mmap_write_lock(second);
	KUNIT_EXPECT_EQ(test, ksm_mms_enter(second), 0);
	mmap_write_unlock(second);
	KUNIT_EXPECT_EQ(test, wakeups, 1);
	remove_wait_queue(&ksm_work_wait, &wait);
}

/* ------------------------------------------------------------------------ */
/* Going round.                                                             */

static void P59_a_round_visits_everybody_once(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test), *c = make_mm(test);
	int round;

	for (round = 0; round < 2; round++) {
		rewind_cursor();
		expect_rest(test, (struct mm_struct *[]){ a, b, c, NULL });
		KUNIT_EXPECT_NULL(test, visit(false));
	}
}

static void a_newcomer_waits_for_the_next_round(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test), *c;

	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	c = make_mm_during(test, KSM_RUN_MERGE);
	expect_rest(test, (struct mm_struct *[]){ b, NULL });

	rewind_cursor();
	expect_rest(test, (struct mm_struct *[]){ a, c, b, NULL });
}

static void newcomers_cannot_make_a_round_endless(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b;

	rewind_cursor();
	b = make_mm_during(test, KSM_RUN_MERGE);
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	make_mm_during(test, KSM_RUN_MERGE);
	KUNIT_EXPECT_NULL(test, visit(false));
	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), b);
}

static void P27_an_unmerge_finds_newcomers_too(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test), *c;

	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	c = make_mm_during(test, KSM_RUN_UNMERGE);
	expect_rest(test, (struct mm_struct *[]){ b, c, NULL });
}

static void a_round_that_stands_still_has_time_for_newcomers(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b;

	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	b = make_mm_during(test, KSM_RUN_STOP);
	expect_rest(test, (struct mm_struct *[]){ b, NULL });
}

static void who_is_not_finished_comes_again(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test);

	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(true), a);
	KUNIT_EXPECT_PTR_EQ(test, visit(true), a);
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	KUNIT_EXPECT_PTR_EQ(test, visit(true), b);
	expect_rest(test, (struct mm_struct *[]){ b, NULL });
}

static void an_offer_brings_the_round_back(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test);

	rewind_cursor();
	offer(b);	/* the round comes to it anyway */
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	offer(a);
	expect_rest(test, (struct mm_struct *[]){ b, a, NULL });
	offer(b);
	expect_rest(test, (struct mm_struct *[]){ b, NULL });
}

/* Begin a round, whose first visit is to @mm; that one offers memory meanwhile. */
static void visit_who_offers(struct kunit *test, struct mm_struct *mm, bool again)
{
	struct ksm_mm *km;

	rewind_cursor();
	km = next();
	KUNIT_ASSERT_PTR_EQ(test, km, ksm_mms_find(mm));
	offer(mm);
	put(km, again);
}

static void an_offer_during_the_visit_brings_the_round_back(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test);

	visit_who_offers(test, a, false);
	expect_rest(test, (struct mm_struct *[]){ b, a, NULL });

	/* Between two batches for the same mm. */
	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(true), b);
	offer(b);
	expect_rest(test, (struct mm_struct *[]){ b, a, b, NULL });

	/* During a batch that is not the last for the same mm. */
	visit_who_offers(test, a, true);
	expect_rest(test, (struct mm_struct *[]){ a, b, a, NULL });
}

static void offers_cannot_make_a_round_endless(struct kunit *test)
{
	struct mm_struct *mm = make_mm(test);
	int visits = 0;

	rewind_cursor();
	while (visit(false) && visits++ < 1000)
		offer(mm);
	KUNIT_EXPECT_GT(test, visits, 1);
	KUNIT_EXPECT_LT(test, visits, 100);
	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), mm);
}

static void an_offer_of_a_stranger_is_nothing(struct kunit *test)
{
	struct mm_struct *mm = make_mm(test);

	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), mm);
	offer(ksm_test_mm(test));
	KUNIT_EXPECT_NULL(test, visit(false));
}

/* ------------------------------------------------------------------------ */
/* Leaving.                                                                 */

static void who_leaves_empty_is_done(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	int held = atomic_read(&mm->mm_count);

	ksm_test_enter(test, mm);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_DONE);
	KUNIT_EXPECT_NULL(test, ksm_mms_find(mm));
	KUNIT_EXPECT_FALSE(test, ksm_mms_populated());
	KUNIT_EXPECT_FALSE(test, test_bit(MMF_VM_MERGEABLE, &mm->flags));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&mm->mm_count), held);
}

static void who_leaves_records_is_to_be_buried(struct kunit *test)
{
	struct mm_struct *mm = make_mm(test);
	struct ksm_record record = { .age = 1 };

	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, ksm_record_store(ksm_mms_find(mm), 1, ksm_record_pack(record)), 0);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_BURY);
	KUNIT_EXPECT_NULL(test, ksm_mms_find(mm));
	KUNIT_EXPECT_FALSE(test, ksm_mms_populated());
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 1);
	KUNIT_EXPECT_PTR_EQ(test, bury(), mm);
	KUNIT_EXPECT_NULL(test, bury());
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
}

static void P33_who_leaves_in_use_is_busy(struct kunit *test)
{
	struct mm_struct *mm = make_mm(test);
	struct ksm_mm *km;

	mutex_lock(&ksm_pass_lock);
	ksm_mms_rewind();
	km = ksm_mms_next();
	KUNIT_EXPECT_PTR_EQ(test, km, ksm_mms_find(mm));
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_BUSY);
	KUNIT_EXPECT_TRUE(test, km && READ_ONCE(km->exiting));
	/* Not finished, but it must not be entered any more. */
	if (km)
		ksm_mms_put(km, true);
	KUNIT_EXPECT_NULL(test, ksm_mms_next());
	KUNIT_EXPECT_PTR_EQ(test, bury(), mm);
	mutex_unlock(&ksm_pass_lock);
}

static void who_left_is_not_visited(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test), *c = make_mm(test);

	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(b), KSM_LEAVE_DONE);
	KUNIT_EXPECT_PTR_EQ(test, visit(false), c);
	KUNIT_EXPECT_NULL(test, visit(false));
}

static void P32_the_cursor_outlives_its_mm(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test), *c = make_mm(test);

	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), a);
	KUNIT_EXPECT_PTR_EQ(test, visit(false), b);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(b), KSM_LEAVE_DONE);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(a), KSM_LEAVE_DONE);
	KUNIT_EXPECT_PTR_EQ(test, visit(false), c);
	KUNIT_EXPECT_NULL(test, visit(false));
}

static void P32_the_last_to_leave_ends_the_round(struct kunit *test)
{
	struct mm_struct *mm = make_mm(test);

	rewind_cursor();
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_DONE);
	KUNIT_EXPECT_NULL(test, visit(false));
	mm = make_mm(test);
	rewind_cursor();
	KUNIT_EXPECT_PTR_EQ(test, visit(false), mm);
}

static void use_out_of_turn_keeps_the_turn(struct kunit *test)
{
	struct mm_struct *a = make_mm(test), *b = make_mm(test);
	struct ksm_mm *km;

	rewind_cursor();
	km = next();
	KUNIT_ASSERT_PTR_EQ(test, km, ksm_mms_find(a));
	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_PTR_EQ(test, ksm_mms_get(ksm_mms_find(b)), ksm_mms_find(b));
	KUNIT_EXPECT_EQ(test, ksm_mms_find(b)->users, 1);
	ksm_mms_drop(ksm_mms_find(b));
	KUNIT_EXPECT_EQ(test, ksm_mms_find(b)->users, 0);
	mutex_unlock(&ksm_pass_lock);
	put(km, false);
	KUNIT_EXPECT_PTR_EQ(test, visit(false), b);
	KUNIT_EXPECT_NULL(test, visit(false));
}

static void P35_who_is_leaving_cannot_be_used(struct kunit *test)
{
	struct mm_struct *mm = make_mm(test);
	struct ksm_mm *km;

	mutex_lock(&ksm_pass_lock);
	km = ksm_mms_get(ksm_mms_find(mm));
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_BUSY);
	KUNIT_EXPECT_NULL(test, ksm_mms_get(km));
	KUNIT_EXPECT_EQ(test, km->users, 1);
	ksm_mms_drop(km);
	KUNIT_EXPECT_PTR_EQ(test, bury(), mm);
	mutex_unlock(&ksm_pass_lock);
}

static struct kunit_case mms_cases[] = {
	KUNIT_CASE(who_enters_is_registered),
	KUNIT_CASE(P41_the_first_to_enter_wakes_ksmd),
	KUNIT_CASE(P59_a_round_visits_everybody_once),
	KUNIT_CASE(a_newcomer_waits_for_the_next_round),
	KUNIT_CASE(newcomers_cannot_make_a_round_endless),
	KUNIT_CASE(P27_an_unmerge_finds_newcomers_too),
	KUNIT_CASE(a_round_that_stands_still_has_time_for_newcomers),
	KUNIT_CASE(who_is_not_finished_comes_again),
	KUNIT_CASE(an_offer_brings_the_round_back),
	KUNIT_CASE(an_offer_during_the_visit_brings_the_round_back),
	KUNIT_CASE(offers_cannot_make_a_round_endless),
	KUNIT_CASE(an_offer_of_a_stranger_is_nothing),
	KUNIT_CASE(who_leaves_empty_is_done),
	KUNIT_CASE(who_leaves_records_is_to_be_buried),
	KUNIT_CASE(P33_who_leaves_in_use_is_busy),
	KUNIT_CASE(who_left_is_not_visited),
	KUNIT_CASE(P32_the_cursor_outlives_its_mm),
	KUNIT_CASE(P32_the_last_to_leave_ends_the_round),
	KUNIT_CASE(use_out_of_turn_keeps_the_turn),
	KUNIT_CASE(P35_who_is_leaving_cannot_be_used),
	{ }
};

static struct kunit_suite mms_suite = {
	.name = "ksm_mms",
	.init = ksm_test_init,
	.test_cases = mms_cases,
};

kunit_test_suite(mms_suite);
