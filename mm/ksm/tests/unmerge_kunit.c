// SPDX-License-Identifier: GPL-2.0
/* Undoing everything: all pages are private again, and nothing is known any more. */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/swap.h>
#include <linux/workqueue.h>

#include "../forget.h"
#include "../mms.h"
#include "../node.h"
#include "../rmap.h"
#include "../scan.h"
#include "../state.h"
#include "../unmerge.h"
#include "fixture.h"

#define PAGES	4

static unsigned long merged_pages(struct kunit *test, struct mm_struct *mm, u64 content)
{
	unsigned long addr = ksm_test_map(test, mm, PAGES);
	int i;

	for (i = 0; i < PAGES; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, content + i / 2);
	for (i = 0; i < PAGES; i += 2)
		ksm_test_merge_pair(test, mm, addr + i * PAGE_SIZE, addr + (i + 1) * PAGE_SIZE);
	return addr;
}

/* What a 2 in the file run does, up to the return to user space. */
static int unmerge_all(void)
{
	int err;

	mutex_lock(&ksm_pass_lock);
	WRITE_ONCE(ksm_state.run, KSM_RUN_UNMERGE);
	err = ksm_unmerge_all();
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	mutex_unlock(&ksm_pass_lock);
	/* The copies are on their way to the LRU. */
	lru_add_drain_all();
	return err;
}

static void expect_private(struct kunit *test, struct mm_struct *mm, unsigned long addr,
			   u64 content)
{
	unsigned long at;
	int i;

	for (i = 0; i < PAGES; i++) {
		at = addr + i * PAGE_SIZE;
		KUNIT_ASSERT_NOT_NULL(test, ksm_test_folio_at(mm, at));
		KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_test_folio_at(mm, at)));
		KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_test_folio_at(mm, at)), 1);
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, at, content + i / 2));
	}
}

static void expect_nothing_known(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
}

static void everybody_gets_private_pages(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	unsigned long a = merged_pages(test, mm, 1), b = merged_pages(test, other, 10);
	struct folio *keep = ksm_test_folio_at(mm, a);

	KUNIT_ASSERT_EQ(test, ksm_counts.shared, PAGES);
	folio_get(keep);
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
	/* Nobody else holds the page that was merged. */
	KUNIT_EXPECT_EQ(test, folio_ref_count(keep), 1);
	folio_put(keep);
	KUNIT_EXPECT_FALSE(test, current->signal->oom_flag_origin);
	expect_private(test, mm, a, 1);
	expect_private(test, other, b, 10);
	expect_nothing_known(test);
	/* They are still offered, and can be merged again. */
	KUNIT_EXPECT_NOT_NULL(test, ksm_mms_find(mm));
	ksm_test_merge_pair(test, mm, a, a + PAGE_SIZE);
}

static void a_child_gets_private_pages(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long addr = merged_pages(test, mm, 1);

	/* No item of its own leads there. */
	child = ksm_test_fork(test, mm);
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
	expect_private(test, mm, addr, 1);
	expect_private(test, child, addr, 1);
	expect_nothing_known(test);
}

static void anchored_pages_become_private(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long addr = merged_pages(test, mm, 1);

	child = ksm_test_fork(test, mm);
	ksm_test_exit(test, mm);
	KUNIT_ASSERT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 1));
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(ksm_test_folio_at(child, addr)));
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
	expect_private(test, child, addr, 1);
	expect_nothing_known(test);
}

static void values_and_candidates_are_forgotten(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 2);
	int i;

	ksm_test_write(test, mm, addr, 1);
	ksm_test_write(test, mm, addr + PAGE_SIZE, 2);
	for (i = 0; i < 3; i++) {
		mutex_lock(&ksm_pass_lock);
		ksm_scan_batch(10);
		mutex_unlock(&ksm_pass_lock);
	}
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, 2);
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	expect_nothing_known(test);
}

static void memory_that_is_not_there_is_no_hindrance(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = merged_pages(test, mm, 1);

	ksm_test_map(test, ksm_test_mm(test), 1);
	do_madvise(mm, addr, PAGES * PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
	expect_nothing_known(test);
}

/* Who waits for a page table that somebody holds meanwhile gets a signal. */
static struct {
	struct mm_struct	*mm;
	unsigned long		addr;
	struct task_struct	*waiter;
	struct work_struct	work;
	bool			kills;
	bool			holds;
	bool			was_waited_for;
} table;

static void hold_table(struct work_struct *work)
{
	u64 until = local_clock() + 5ULL * NSEC_PER_SEC;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	ptep = pte_offset_map_lock(table.mm, pmd_off(table.mm, table.addr), table.addr, &ptl);
	WRITE_ONCE(table.holds, true);
	if (!ptep)
		return;
	while (!spin_is_contended(ptl) && local_clock() < until)
		cpu_relax();
	table.was_waited_for = spin_is_contended(ptl);
	if (table.kills)
		sigaddset(&table.waiter->pending.signal, SIGKILL);
	set_tsk_thread_flag(table.waiter, TIF_SIGPENDING);
	pte_unmap_unlock(ptep, ptl);
}

/* Two page tables without KSM pages; the signal comes at the first one. */
static int unmerge_nothing_signalled(struct kunit *test, bool kills)
{
	/* Keeps the thread on its CPU. */
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	int err;

	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	memset(&table, 0, sizeof(table));
	table.kills = kills;
	table.mm = mm;
	table.addr = ksm_test_map(test, mm, 2 * PTRS_PER_PTE);
	table.waiter = current;
	ksm_test_write(test, mm, table.addr, 1);
	ksm_test_write(test, mm, table.addr + PMD_SIZE, 2);
	INIT_WORK(&table.work, hold_table);
	schedule_work_on(cpu, &table.work);
	while (!READ_ONCE(table.holds))
		cond_resched();
	err = do_madvise(mm, table.addr, 2 * PMD_SIZE, MADV_UNMERGEABLE);
	flush_work(&table.work);
	sigdelset(&current->pending.signal, SIGKILL);
	clear_tsk_thread_flag(current, TIF_SIGPENDING);
	/* Some locks of virtual machines do not tell. But after five seconds it is there. */
	if (!table.was_waited_for)
		kunit_info(test, "nobody was seen to wait for the page table");
	KUNIT_EXPECT_EQ(test, do_madvise(mm, table.addr, 2 * PMD_SIZE, MADV_UNMERGEABLE), 0);
	return err;
}

static void P23_where_nothing_is_merged_a_signal_that_kills_is_heeded(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, unmerge_nothing_signalled(test, true), -ERESTARTSYS);
}

/* If not, a timer could have the call begin anew for ever. */
static void P23_where_nothing_is_merged_other_signals_wait(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, unmerge_nothing_signalled(test, false), 0);
}

/* As unmerge_all(), by somebody to whom a signal was sent. */
static int unmerge_all_signalled(void)
{
	int err;

	set_tsk_thread_flag(current, TIF_SIGPENDING);
	err = unmerge_all();
	clear_tsk_thread_flag(current, TIF_SIGPENDING);
	return err;
}

static void P23_a_signal_ends_an_unmerge_of_everything(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = merged_pages(test, mm, 1);

	KUNIT_EXPECT_EQ(test, unmerge_all_signalled(), -ERESTARTSYS);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(mm, addr));
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, PAGES / 2);
	KUNIT_EXPECT_FALSE(test, current->signal->oom_flag_origin);
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
	expect_private(test, mm, addr, 1);
	expect_nothing_known(test);
}

/* There is no KSM page, and nothing to copy: only to go from one mm to the next. */
static void P23_a_signal_ends_it_where_there_is_nothing_to_copy(struct kunit *test)
{
	ksm_test_map(test, ksm_test_mm(test), 1);
	KUNIT_EXPECT_EQ(test, unmerge_all_signalled(), -ERESTARTSYS);
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
}

static void P23_a_signal_ends_the_burial_of_many(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, 1);
	ksm_test_scan_round();
	/* Nobody else has been told to bury it. */
	KUNIT_ASSERT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_BURY);
	KUNIT_EXPECT_EQ(test, unmerge_all_signalled(), -ERESTARTSYS);
	KUNIT_EXPECT_EQ(test, unmerge_all(), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
}

/* An unmerge beside the test, and what came of it. */
static struct task_struct *unmerger;
static int unmerged;

static void unmerge_beside(struct work_struct *work)
{
	WRITE_ONCE(unmerger, current);
	unmerged = unmerge_all();
}

static DECLARE_WORK(beside, unmerge_beside);

/* Wait until somebody waits for the lock of @folio; false after a minute. */
static bool is_waited_for(struct folio *folio)
{
	unsigned long until = jiffies + 60 * HZ;

	while (!folio_test_waiters(folio) && time_before(jiffies, until))
		msleep(20);
	return folio_test_waiters(folio);
}

/* A swap-in has asked what to map, and maps it a while later. */
static void P27_who_has_asked_before_the_unmerge_is_waited_for(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = merged_pages(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, addr), *got;
	bool waited;
	pte_t pte;

	folio_get(folio);
	folio_lock(folio);
	mmap_read_lock(mm);
	pte = ksm_test_set_pte(mm, addr, __pte(0));
	got = ksm_rmap_swapin(folio, vma_lookup(mm, addr), addr);
	mmap_read_unlock(mm);
	schedule_work(&beside);
	waited = is_waited_for(folio);
	/* Who has been here meanwhile does not see it. */
	mmap_read_lock(mm);
	ksm_test_set_pte(mm, addr, pte);
	mmap_read_unlock(mm);
	folio_unlock(folio);
	folio_put(folio);
	flush_work(&beside);

	KUNIT_EXPECT_PTR_EQ(test, got, folio);
	KUNIT_EXPECT_TRUE(test, waited);
	KUNIT_EXPECT_EQ(test, unmerged, 0);
	expect_private(test, mm, addr, 1);
	expect_nothing_known(test);
}

/* A process that holds its mmap lock for long must not make the writer of 2 immortal. */
static void P23_who_waits_for_a_process_can_be_killed(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = merged_pages(test, mm, 1), until = jiffies + 60 * HZ;
	unsigned int state = TASK_RUNNING;

	mmap_write_lock(mm);
	schedule_work(&beside);
	while (state == TASK_RUNNING && time_before(jiffies, until)) {
		msleep(20);
		if (mmap_lock_is_contended(mm))
			state = READ_ONCE(unmerger->__state);
	}
	mmap_write_unlock(mm);
	flush_work(&beside);

	KUNIT_EXPECT_EQ(test, state, TASK_KILLABLE);
	KUNIT_EXPECT_EQ(test, unmerged, 0);
	expect_private(test, mm, addr, 1);
	expect_nothing_known(test);
}

static struct kunit_case unmerge_cases[] = {
	KUNIT_CASE(everybody_gets_private_pages),
	KUNIT_CASE(a_child_gets_private_pages),
	KUNIT_CASE(anchored_pages_become_private),
	KUNIT_CASE(values_and_candidates_are_forgotten),
	KUNIT_CASE(P23_where_nothing_is_merged_a_signal_that_kills_is_heeded),
	KUNIT_CASE(P23_where_nothing_is_merged_other_signals_wait),
	KUNIT_CASE(P23_a_signal_ends_an_unmerge_of_everything),
	KUNIT_CASE(P23_a_signal_ends_it_where_there_is_nothing_to_copy),
	KUNIT_CASE(P23_a_signal_ends_the_burial_of_many),
	KUNIT_CASE(P23_who_waits_for_a_process_can_be_killed),
	KUNIT_CASE(P27_who_has_asked_before_the_unmerge_is_waited_for),
	KUNIT_CASE(memory_that_is_not_there_is_no_hindrance),
	{ }
};

static struct kunit_suite unmerge_suite = {
	.name = "ksm_unmerge",
	.init = ksm_test_init,
	.test_cases = unmerge_cases,
};

kunit_test_suite(unmerge_suite);
