// SPDX-License-Identifier: GPL-2.0
/* What programs ask for: which VMAs get the flag, and what its loss leaves behind. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/sched/numa_balancing.h>
#include <linux/sched/sysctl.h>

#include "../advice.h"
#include "../match.h"
#include "../mms.h"
#include "../record.h"
#include "../state.h"
#include "fixture.h"

#define PAGES	4

static vm_flags_t flags_at(struct mm_struct *mm, unsigned long addr)
{
	vm_flags_t flags;

	mmap_read_lock(mm);
	flags = vma_lookup(mm, addr)->vm_flags;
	mmap_read_unlock(mm);
	return flags;
}

static void change_flags(struct mm_struct *mm, unsigned long addr, vm_flags_t set,
			 vm_flags_t clear)
{
	mmap_write_lock(mm);
	vm_flags_mod(vma_lookup(mm, addr), set, clear);
	mmap_write_unlock(mm);
}

/* As prctl(PR_SET_MEMORY_MERGE) calls it. */
static int merge_any(struct mm_struct *mm, bool any)
{
	int err;

	mmap_write_lock(mm);
	err = any ? ksm_enable_merge_any(mm) : ksm_disable_merge_any(mm);
	mmap_write_unlock(mm);
	return err;
}

static void add_vma(struct mm_struct *mm, unsigned long addr)
{
	mmap_write_lock(mm);
	ksm_add_vma(vma_lookup(mm, addr));
	mmap_write_unlock(mm);
}

/* ------------------------------------------------------------------------ */
/* madvise.                                                                 */

static void who_offers_is_registered_once(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	KUNIT_EXPECT_NOT_NULL(test, ksm_mms_find(mm));
	KUNIT_EXPECT_TRUE(test, flags_at(mm, addr) & VM_MERGEABLE);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_MERGEABLE), 0);
	ksm_test_map(test, mm, 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 1);
}

static void what_cannot_merge_is_ignored(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	change_flags(mm, addr, VM_MIXEDMAP, VM_MERGEABLE);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_MERGEABLE), 0);
	KUNIT_EXPECT_FALSE(test, flags_at(mm, addr) & VM_MERGEABLE);
	change_flags(mm, addr, 0, VM_MIXEDMAP);
}

static void P25_no_other_flag_is_touched(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1), flags = ULONG_MAX;
	struct vm_area_struct *vma;

	mmap_write_lock(mm);
	vma = vma_lookup(mm, addr);
	KUNIT_EXPECT_EQ(test, ksm_madvise(vma, addr, addr + PAGE_SIZE, MADV_UNMERGEABLE,
					  &flags), 0);
	KUNIT_EXPECT_EQ(test, flags, ~(unsigned long)VM_MERGEABLE);
	flags = 0;
	KUNIT_EXPECT_EQ(test, ksm_madvise(vma, addr, addr + PAGE_SIZE, MADV_MERGEABLE,
					  &flags), 0);
	KUNIT_EXPECT_EQ(test, flags, VM_MERGEABLE);
	mmap_write_unlock(mm);
}

static void what_is_not_offered_any_more_is_private(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES), i;

	/* The two in the middle. */
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr + PAGE_SIZE, 2 * PAGE_SIZE,
					 MADV_UNMERGEABLE), 0);
	for (i = 0; i < PAGES; i++) {
		bool middle = i == 1 || i == 2;

		KUNIT_EXPECT_EQ(test, ksm_test_is_merged(mm, addr + i * PAGE_SIZE), !middle);
		KUNIT_EXPECT_EQ(test, !(flags_at(mm, addr + i * PAGE_SIZE) & VM_MERGEABLE),
				middle);
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr + i * PAGE_SIZE, 1));
	}
	KUNIT_EXPECT_PTR_NE(test, ksm_test_folio_at(mm, addr + PAGE_SIZE),
			    ksm_test_folio_at(mm, addr + 2 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
	KUNIT_EXPECT_EQ(test, mm->ksm_rmap_items, 2);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
}

static pte_t mark(pte_t pte)
{
	return pte_mkuffd_wp(pte_mksoft_dirty(pte));
}

static pte_t unmark(pte_t pte)
{
	return pte_clear_soft_dirty(pte);
}

static void P19_a_private_copy_has_the_bits_of_its_pte(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES);

	ksm_test_change_pte(mm, addr, mark);
	ksm_test_change_pte(mm, addr + PAGE_SIZE, unmark);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, 2 * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr));
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr + PAGE_SIZE));
	if (IS_ENABLED(CONFIG_MEM_SOFT_DIRTY)) {
		KUNIT_EXPECT_TRUE(test, pte_soft_dirty(ksm_test_pte_at(mm, addr)));
		KUNIT_EXPECT_FALSE(test, pte_soft_dirty(ksm_test_pte_at(mm, addr + PAGE_SIZE)));
	}
	if (IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP)) {
		KUNIT_EXPECT_TRUE(test, pte_uffd_wp(ksm_test_pte_at(mm, addr)));
		KUNIT_EXPECT_FALSE(test, pte_uffd_wp(ksm_test_pte_at(mm, addr + PAGE_SIZE)));
	}
}

static void P19_read_only_memory_can_be_taken_back(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES);

	change_flags(mm, addr, 0, VM_WRITE);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, PAGES * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr));
	KUNIT_EXPECT_FALSE(test, pte_write(ksm_test_pte_at(mm, addr)));
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1));
}

static pte_t hint(pte_t pte)
{
	return pte_modify(pte, PAGE_NONE);
}

/*
 * The first fault at such a page backs out: it only makes the PTE present again,
 * and has no process's statistics to count in.
 */
static void P20_P43_a_NUMA_hint_is_no_hindrance_to_a_kernel_thread(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES), i;
	bool was_on = sysctl_numa_balancing_mode;

	if (!IS_ENABLED(CONFIG_NUMA_BALANCING))
		kunit_skip(test, "needs CONFIG_NUMA_BALANCING");
	KUNIT_ASSERT_NULL(test, current->mm);
	for (i = 0; i < PAGES; i++)
		ksm_test_change_pte(mm, addr + i * PAGE_SIZE, hint);
	KUNIT_ASSERT_TRUE(test, pte_protnone(ksm_test_pte_at(mm, addr)));

	set_numabalancing_state(true);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, PAGES * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	set_numabalancing_state(was_on);

	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr + i * PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr + i * PAGE_SIZE, 1));
	}
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
}

static void P83_who_swaps_in_under_the_lock_of_the_vma_is_kept_out(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES);
	struct vm_area_struct *vma;
	vm_flags_t flags;
	bool before, after;
	int err;

	if (!IS_ENABLED(CONFIG_PER_VMA_LOCK))
		kunit_skip(test, "needs CONFIG_PER_VMA_LOCK");
	mmap_write_lock(mm);
	vma = vma_lookup(mm, addr);
	flags = vma->vm_flags;
	before = vma_start_read(vma);
	if (before)
		vma_end_read(vma);
	err = ksm_madvise(vma, addr, vma->vm_end, MADV_UNMERGEABLE, &flags);
	after = vma_start_read(vma);
	if (after)
		vma_end_read(vma);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, before);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_FALSE(test, after);
}

/* ------------------------------------------------------------------------ */
/* prctl.                                                                   */

static void who_merges_all_offers_what_can_merge(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 3);

	/* Three VMAs: offered already, not offered, one that cannot merge. */
	do_madvise(mm, addr + PAGE_SIZE, 2 * PAGE_SIZE, MADV_UNMERGEABLE);
	do_madvise(mm, addr + 2 * PAGE_SIZE, PAGE_SIZE, MADV_DONTDUMP);
	change_flags(mm, addr + 2 * PAGE_SIZE, VM_MIXEDMAP, 0);
	KUNIT_EXPECT_EQ(test, merge_any(mm, true), 0);
	KUNIT_EXPECT_EQ(test, merge_any(mm, true), 0);
	KUNIT_EXPECT_TRUE(test, test_bit(MMF_VM_MERGE_ANY, &mm->flags));
	KUNIT_EXPECT_TRUE(test, flags_at(mm, addr) & VM_MERGEABLE);
	KUNIT_EXPECT_TRUE(test, flags_at(mm, addr + PAGE_SIZE) & VM_MERGEABLE);
	KUNIT_EXPECT_FALSE(test, flags_at(mm, addr + 2 * PAGE_SIZE) & VM_MERGEABLE);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 1);
	change_flags(mm, addr + 2 * PAGE_SIZE, 0, VM_MIXEDMAP);
}

static void a_new_vma_is_offered_where_all_is(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	change_flags(mm, addr, 0, VM_MERGEABLE);
	add_vma(mm, addr);
	KUNIT_EXPECT_FALSE(test, flags_at(mm, addr) & VM_MERGEABLE);
	set_bit(MMF_VM_MERGE_ANY, &mm->flags);
	add_vma(mm, addr);
	KUNIT_EXPECT_TRUE(test, flags_at(mm, addr) & VM_MERGEABLE);
	/* Its driver had the last word. */
	change_flags(mm, addr, VM_MIXEDMAP, 0);
	add_vma(mm, addr);
	KUNIT_EXPECT_FALSE(test, flags_at(mm, addr) & VM_MERGEABLE);
	change_flags(mm, addr, 0, VM_MIXEDMAP);
}

/* Who merges all, but could not be registered when he was forked. */
static void who_was_not_registered_is_when_he_maps_something(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	KUNIT_ASSERT_EQ(test, merge_any(mm, true), 0);
	KUNIT_ASSERT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_DONE);
	add_vma(mm, addr);
	KUNIT_EXPECT_NOT_NULL(test, ksm_mms_find(mm));
	KUNIT_EXPECT_TRUE(test, test_bit(MMF_VM_MERGEABLE, &mm->flags));
}

static void P78_the_flag_is_known_before_the_vma_is(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);

	KUNIT_EXPECT_EQ(test, ksm_vma_flags(mm, NULL, VM_READ), VM_READ);
	set_bit(MMF_VM_MERGE_ANY, &mm->flags);
	KUNIT_EXPECT_EQ(test, ksm_vma_flags(mm, NULL, VM_READ), VM_READ | VM_MERGEABLE);
	KUNIT_EXPECT_EQ(test, ksm_vma_flags(mm, NULL, VM_READ | VM_SHARED),
			VM_READ | VM_SHARED);
}

static void P26_who_merges_nothing_any_more_has_all_to_himself(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES), i;

	/* He never asked for all: nothing happens. */
	KUNIT_EXPECT_EQ(test, merge_any(mm, false), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(mm, addr));
	KUNIT_EXPECT_EQ(test, merge_any(mm, true), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(mm, addr));

	KUNIT_EXPECT_EQ(test, merge_any(mm, false), 0);
	KUNIT_EXPECT_FALSE(test, test_bit(MMF_VM_MERGE_ANY, &mm->flags));
	KUNIT_EXPECT_FALSE(test, flags_at(mm, addr) & VM_MERGEABLE);
	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr + i * PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr + i * PAGE_SIZE, 1));
	}
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 0);
}

static unsigned long merged_zeros(struct kunit *test, struct mm_struct *mm)
{
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, 0);
	ksm_test_use_zero_pages(test);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, addr), KSM_MATCH_ZERO);
	return addr;
}

/* As s390 asks for it, whatever a program has asked for. */
static void P75_who_must_not_merge_has_all_to_himself(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_merged(test, mm, PAGES);
	unsigned long zeros = merged_zeros(test, mm), i;

	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(mm), 1);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, ksm_disable(mm), 0);
	mmap_write_unlock(mm);
	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr + i * PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr + i * PAGE_SIZE, 1));
	}
	KUNIT_EXPECT_EQ(test, mm_ksm_zero_pages(mm), 0);
	KUNIT_EXPECT_FALSE(test, is_zero_pfn(pte_pfn(ksm_test_pte_at(mm, zeros))));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, zeros, 0));
	KUNIT_EXPECT_FALSE(test, flags_at(mm, addr) & VM_MERGEABLE);
	KUNIT_EXPECT_FALSE(test, flags_at(mm, zeros) & VM_MERGEABLE);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 0);
}

static struct kunit_case advice_cases[] = {
	KUNIT_CASE(who_offers_is_registered_once),
	KUNIT_CASE(what_cannot_merge_is_ignored),
	KUNIT_CASE(P25_no_other_flag_is_touched),
	KUNIT_CASE(what_is_not_offered_any_more_is_private),
	KUNIT_CASE(P19_a_private_copy_has_the_bits_of_its_pte),
	KUNIT_CASE(P19_read_only_memory_can_be_taken_back),
	KUNIT_CASE(P20_P43_a_NUMA_hint_is_no_hindrance_to_a_kernel_thread),
	KUNIT_CASE(P83_who_swaps_in_under_the_lock_of_the_vma_is_kept_out),
	KUNIT_CASE(who_merges_all_offers_what_can_merge),
	KUNIT_CASE(a_new_vma_is_offered_where_all_is),
	KUNIT_CASE(who_was_not_registered_is_when_he_maps_something),
	KUNIT_CASE(P78_the_flag_is_known_before_the_vma_is),
	KUNIT_CASE(P26_who_merges_nothing_any_more_has_all_to_himself),
	KUNIT_CASE(P75_who_must_not_merge_has_all_to_himself),
	{ }
};

static struct kunit_suite advice_suite = {
	.name = "ksm_advice",
	.init = ksm_test_init,
	.test_cases = advice_cases,
};

kunit_test_suite(advice_suite);
