// SPDX-License-Identifier: GPL-2.0
/* Signals that come while memory is unmerged, to programs that go on after them. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>

#include "../forget.h"
#include "../mms.h"
#include "../state.h"
#include "../unshare.h"
#include "fixture.h"

#define PAGES	4
#define MANY	64	/* more than are copied together */

static bool is_offered(struct mm_struct *mm, unsigned long addr)
{
	bool offered;

	mmap_read_lock(mm);
	offered = vma_lookup(mm, addr)->vm_flags & VM_MERGEABLE;
	mmap_read_unlock(mm);
	return offered;
}

static void P23_who_unmerges_heeds_a_signal(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES);
	int err;

	set_tsk_thread_flag(current, TIF_SIGPENDING);
	err = do_madvise(mm, addr, PAGES * PAGE_SIZE, MADV_UNMERGEABLE);
	clear_tsk_thread_flag(current, TIF_SIGPENDING);
	KUNIT_EXPECT_EQ(test, err, -ERESTARTSYS);
	/* Nothing was done, and the flag says so. */
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(mm, addr));
	KUNIT_EXPECT_TRUE(test, is_offered(mm, addr));
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, PAGES * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr));
	KUNIT_EXPECT_FALSE(test, is_offered(mm, addr));
}

/* To whom a signal comes meanwhile. Returns the first page that he has not come to. */
static unsigned int unshare_signalled(struct mm_struct *mm, unsigned long addr, int *err)
{
	unsigned long at = addr;

	mmap_write_lock(mm);
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	*err = ksm_unshare_range(vma_lookup(mm, addr), &at, addr + MANY * PAGE_SIZE, true);
	clear_tsk_thread_flag(current, TIF_SIGPENDING);
	mmap_write_unlock(mm);
	return (at - addr) / PAGE_SIZE;
}

/* Or a fast timer could have a program look for pages to copy again and again, in vain. */
static void P23_who_is_interrupted_has_come_further(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, MANY);
	unsigned int i, copied = 0;
	int err;

	do {
		i = copied;
		copied = unshare_signalled(mm, addr, &err);
		KUNIT_ASSERT_GT(test, copied, i);
	} while (err == -ERESTARTSYS);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, copied, MANY);
	for (i = 0; i < MANY; i++)
		KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr + i * PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1));
}

static void P23_what_is_left_to_forget_is_forgotten_at_once(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES), first = addr >> PAGE_SHIFT;
	struct ksm_mm *km;
	int i, err;

	for (i = 0; i < PAGES; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 1000 + i);
	KUNIT_ASSERT_EQ(test, atomic_long_read(&ksm_counts.items), PAGES);
	mmap_write_lock(mm);
	km = ksm_mms_find(mm);
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	err = ksm_forget_merged(km, first, first + PAGES - 1);
	clear_tsk_thread_flag(current, TIF_SIGPENDING);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1000));
}

static struct kunit_case signal_cases[] = {
	KUNIT_CASE(P23_who_unmerges_heeds_a_signal),
	KUNIT_CASE(P23_who_is_interrupted_has_come_further),
	KUNIT_CASE(P23_what_is_left_to_forget_is_forgotten_at_once),
	{ }
};

static struct kunit_suite signal_suite = {
	.name = "ksm_signal",
	.init = ksm_test_init,
	.test_cases = signal_cases,
};

kunit_test_suite(signal_suite);
