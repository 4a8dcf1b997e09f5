// SPDX-License-Identifier: GPL-2.0
/* Without memory: nothing is done by halves, and it goes on when there is some again. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>

#include "../block.h"
#include "../match.h"
#include "../mms.h"
#include "../node.h"
#include "../state.h"
#include "fixture.h"

/* More allocations than anything here makes. */
#define MANY	20

/* A pair of pages; in the merge of the second the nth allocation fails, if it has one. */
static bool merge_without_memory(struct kunit *test, struct mm_struct *mm, unsigned int nth)
{
	unsigned long a = ksm_test_map(test, mm, 2), b = a + PAGE_SIZE;
	unsigned long shared = ksm_counts.shared;
	int match, again;
	bool failed;

	ksm_test_write(test, mm, a, nth);
	ksm_test_write(test, mm, b, nth);
	KUNIT_ASSERT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	ksm_test_fail_alloc(test, nth);
	match = ksm_test_match(mm, b);
	failed = ksm_test_alloc_failed();

	/* All of it or nothing: a KSM page has a node, and a node a page and items. */
	KUNIT_EXPECT_EQ(test, ksm_test_is_merged(mm, a), match == KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, ksm_test_is_merged(mm, b), match == KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared + (match == KSM_MATCH_MERGED));
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, ksm_counts.shared);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), ksm_counts.shared);
	if (match != KSM_MATCH_MERGED) {
		KUNIT_EXPECT_TRUE(test, failed);
		/* One of the two is still, or now, a candidate. */
		again = ksm_test_match(mm, match == KSM_MATCH_WAITING ? a : b);
		KUNIT_EXPECT_EQ(test, again, KSM_MATCH_MERGED);
	}
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, a), ksm_test_folio_at(mm, b));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, a, nth));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, b, nth));
	return failed;
}

/*
 * Another page of a content that is kept; in its merge the nth allocation fails. None of
 * its neighbours is known, so a record of it takes memory, too.
 */
static bool join_without_memory(struct kunit *test, struct mm_struct *mm, unsigned int nth)
{
	unsigned long sharing = ksm_counts.sharing;
	unsigned long addr = ksm_test_map(test, mm, KSM_BLOCK_PAGES);
	bool failed;
	int match;

	ksm_test_write(test, mm, addr, 1);
	ksm_test_fail_alloc(test, nth);
	match = ksm_test_match(mm, addr);
	failed = ksm_test_alloc_failed();
	KUNIT_EXPECT_EQ(test, ksm_test_is_merged(mm, addr), match == KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing + (match == KSM_MATCH_MERGED));
	if (match != KSM_MATCH_MERGED) {
		KUNIT_EXPECT_TRUE(test, failed);
		KUNIT_EXPECT_EQ(test, match, KSM_MATCH_FAILED);
		KUNIT_EXPECT_EQ(test, ksm_test_match(mm, addr), KSM_MATCH_MERGED);
	}
	return failed;
}

static void P44_without_memory_nobody_joins(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 2);
	unsigned int nth = 1;

	ksm_test_merge_pair(test, mm, addr, addr + PAGE_SIZE);
	while (nth < MANY && join_without_memory(test, mm, nth))
		nth++;
	/* For an item, and for a record of it. */
	KUNIT_EXPECT_GT(test, nth, 2);
	KUNIT_EXPECT_LT(test, nth, MANY);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 1);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, nth + 1);
}

static void P44_without_memory_nothing_is_published(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned int nth = 1;

	while (nth < MANY && merge_without_memory(test, mm, nth))
		nth++;
	/* An item and a node at the least. */
	KUNIT_EXPECT_GT(test, nth, 2);
	KUNIT_EXPECT_LT(test, nth, MANY);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, nth);
}

static void P39_a_child_without_memory_keeps_what_it_has(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long addr = ksm_test_map(test, mm, 2);
	unsigned int nth = 1;
	bool failed;
	int err;

	ksm_test_write(test, mm, addr, 1);
	ksm_test_write(test, mm, addr + PAGE_SIZE, 1);
	ksm_test_merge_pair(test, mm, addr, addr + PAGE_SIZE);
	child = ksm_test_fork(test, mm);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(child), KSM_LEAVE_DONE);

	/* As if it had not been registered at all: it is when there is memory. */
	mmap_write_lock(child);
	do {
		ksm_test_fail_alloc(test, nth++);
		err = ksm_mms_enter(child);
		failed = ksm_test_alloc_failed();
		/* What failed may have been a debugging aid's, and nothing was missed. */
		KUNIT_EXPECT_TRUE(test, !err || failed);
		KUNIT_EXPECT_EQ(test, !ksm_mms_find(child), !!err);
		KUNIT_EXPECT_EQ(test, test_bit(MMF_VM_MERGEABLE, &child->flags), !err);
	} while (err && nth < MANY);
	mmap_write_unlock(child);
	KUNIT_EXPECT_GT(test, nth, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(child, addr));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, addr, 1));
}

/* The child has the flag of its parent's VMA; that alone merges nothing. */
static void P39_a_child_that_asks_again_is_registered(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, 1);
	child = ksm_test_fork(test, mm);
	KUNIT_ASSERT_EQ(test, ksm_mms_leave(child), KSM_LEAVE_DONE);
	KUNIT_ASSERT_NULL(test, ksm_mms_find(child));

	KUNIT_EXPECT_EQ(test, do_madvise(child, addr, PAGE_SIZE, MADV_MERGEABLE), 0);
	KUNIT_EXPECT_NOT_NULL(test, ksm_mms_find(child));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 2);
}

static void what_cannot_be_registered_is_not_offered(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	vm_flags_t flags, wanted = 0;
	struct vm_area_struct *vma;
	unsigned long addr;
	int err;

	addr = ksm_test_map(test, mm, 1);
	KUNIT_ASSERT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_ASSERT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_DONE);

	mmap_write_lock(mm);
	vma = vma_lookup(mm, addr);
	flags = vma->vm_flags;
	wanted = flags;
	ksm_test_fail_alloc(test, 1);
	err = ksm_madvise(vma, addr, addr + PAGE_SIZE, MADV_MERGEABLE, &wanted);
	ksm_test_alloc_failed();
	mmap_write_unlock(mm);
	KUNIT_EXPECT_EQ(test, err, -ENOMEM);
	KUNIT_EXPECT_EQ(test, wanted, flags);
	KUNIT_EXPECT_NULL(test, ksm_mms_find(mm));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_MERGEABLE), 0);
	KUNIT_EXPECT_NOT_NULL(test, ksm_mms_find(mm));
}

static struct kunit_case memory_cases[] = {
	KUNIT_CASE(P44_without_memory_nothing_is_published),
	KUNIT_CASE(P44_without_memory_nobody_joins),
	KUNIT_CASE(P39_a_child_without_memory_keeps_what_it_has),
	KUNIT_CASE(P39_a_child_that_asks_again_is_registered),
	KUNIT_CASE(what_cannot_be_registered_is_not_offered),
	{ }
};

static struct kunit_suite memory_suite = {
	.name = "ksm_memory",
	.init = ksm_test_init,
	.test_cases = memory_cases,
};

kunit_test_suite(memory_suite);
