// SPDX-License-Identifier: GPL-2.0
/* Walking page tables: which pages a run has, and what it holds of them. */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sizes.h>

#include "../../internal.h"
#include "../mms.h"
#include "../state.h"
#include "../walk.h"
#include "fixture.h"

#define PAGES	8

/* Pages that are mapped, and the run that is looked at. */
static struct {
	struct mm_struct	*mm;
	unsigned long		addr;
	struct ksm_glance_run	run;
} at;

static int init(struct kunit *test)
{
	int i, err = ksm_test_init(test);

	if (err)
		return err;
	at.mm = ksm_test_mm(test);
	at.addr = ksm_test_map(test, at.mm, PAGES);
	for (i = 0; i < PAGES; i++)
		ksm_test_write(test, at.mm, at.addr + i * PAGE_SIZE, i);
	return 0;
}

static bool found_at(unsigned long addr)
{
	unsigned int i;

	for (i = 0; i < at.run.nr; i++)
		if (at.run.pages[i].addr == addr)
			return true;
	return false;
}

/* Walk from @addr: nothing is known of any page, so all are to be read. */
static void walk_next(unsigned long addr)
{
	at.run.km = ksm_mms_find(at.mm);
	at.run.most = U64_MAX;
	at.run.reads = UINT_MAX;
	ksm_walk_next(&at.run, addr);
}

static void lock(void)
{
	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(at.mm);
}

static void unlock(void)
{
	mmap_read_unlock(at.mm);
	mutex_unlock(&ksm_pass_lock);
}

/* Walk from @addr, and let go of what is found; how many pages that is. */
static unsigned int walk(unsigned long addr)
{
	unsigned int i;

	lock();
	walk_next(addr);
	for (i = 0; i < at.run.nr; i++)
		ksm_walk_pass_on(&at.run, i);
	unlock();
	return at.run.nr;
}

/* Walk all there is; how many pages were found. */
static unsigned int walk_all(unsigned long addr)
{
	unsigned int pages = 0;

	while (addr != ULONG_MAX) {
		pages += walk(addr);
		addr = at.run.end;
	}
	return pages;
}

/* Walk while something else stands in the PTE of the third page. */
static unsigned int walk_over(pte_t pte)
{
	unsigned long addr = at.addr + 2 * PAGE_SIZE;
	unsigned int i, pages = 0;
	pte_t before;

	lock();
	before = ksm_test_set_pte(at.mm, addr, pte);
	for (walk_next(0); at.run.end != ULONG_MAX;
	     walk_next(at.run.end)) {
		for (i = 0; i < at.run.nr; i++) {
			pages += at.run.pages[i].addr == addr ? PAGES : 1;
			ksm_walk_pass_on(&at.run, i);
		}
	}
	ksm_test_set_pte(at.mm, addr, before);
	unlock();
	return pages;
}

static void every_page_is_found_once(struct kunit *test)
{
	int i;

	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES);
	do_madvise(at.mm, at.addr + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES - 1);
	KUNIT_EXPECT_EQ(test, walk_all(at.addr + 4 * PAGE_SIZE), PAGES - 4);
	for (i = 0; i < PAGES; i++)
		if (i != 1)
			KUNIT_EXPECT_EQ(test, 1,
					folio_ref_count(ksm_test_folio_at(at.mm, at.addr +
									  i * PAGE_SIZE)));
}

static void a_run_is_not_longer_than_its_ptes(struct kunit *test)
{
	unsigned int many = 3 * KSM_RUN_PAGES, i;
	unsigned long addr = ksm_test_map(test, at.mm, many);
	unsigned long next = addr;

	for (i = 0; i < many; i++)
		ksm_test_write(test, at.mm, addr + i * PAGE_SIZE, i);
	while (next < addr + many * PAGE_SIZE) {
		KUNIT_EXPECT_LE(test, walk(next), KSM_RUN_PAGES);
		KUNIT_ASSERT_GT(test, at.run.end, next);
		KUNIT_EXPECT_LE(test, at.run.end, next + KSM_RUN_PAGES * PAGE_SIZE);
		next = at.run.end;
	}
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES + many);
}

static void what_is_not_offered_is_not_found(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.addr, 2 * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES - 2);
	KUNIT_EXPECT_EQ(test, walk_all(at.addr + PAGES * PAGE_SIZE), 0);
}

static void a_run_that_is_cut_lets_go_of_the_rest(struct kunit *test)
{
	unsigned long third;
	unsigned int i, held;

	lock();
	walk_next(0);
	held = at.run.nr;
	third = held > 2 ? at.run.pages[2].addr : 0;
	if (third) {
		ksm_walk_cut(&at.run, 2, third);
		KUNIT_EXPECT_EQ(test, at.run.nr, 2);
		KUNIT_EXPECT_EQ(test, at.run.end, third);
		KUNIT_EXPECT_EQ(test, page_count(at.run.pages[1].page), 2);
		KUNIT_EXPECT_EQ(test, page_count(at.run.pages[2].page), 1);
	}
	for (i = 0; i < at.run.nr; i++)
		ksm_walk_pass_on(&at.run, i);
	unlock();
	KUNIT_ASSERT_NE(test, third, 0);
	KUNIT_EXPECT_TRUE(test, walk(third));
	KUNIT_EXPECT_TRUE(test, found_at(third));
	KUNIT_EXPECT_EQ(test, page_count(at.run.pages[0].page), 1);
}

static void P7_a_page_that_a_device_has_is_not_found(struct kunit *test)
{
	pte_t pte = ksm_test_pte_at(at.mm, at.addr + 2 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, walk_over(ksm_test_device_entry(test, pte)), PAGES - 1);
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES);
}

static void P7_a_swap_entry_is_not_taken_for_a_page(struct kunit *test)
{
	pte_t pte = ksm_test_pte_at(at.mm, at.addr + 2 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, walk_over(ksm_test_swap_entry(test, pte)), PAGES - 1);
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES);
}

static void P8_a_special_pte_is_passed_over(struct kunit *test)
{
	pte_t pte = ksm_test_pte_at(at.mm, at.addr + 2 * PAGE_SIZE);

#ifdef CONFIG_ARCH_HAS_PTE_DEVMAP
	pte = pte_mkdevmap(pte);
#else
	kunit_skip(test, "needs CONFIG_ARCH_HAS_PTE_DEVMAP");
#endif
	KUNIT_EXPECT_EQ(test, walk_over(pte), PAGES - 1);
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES);
}

static void P8_the_zero_page_is_passed_over(struct kunit *test)
{
	unsigned long addr = ksm_test_map(test, at.mm, 1);

	KUNIT_ASSERT_TRUE(test, ksm_test_holds(at.mm, addr, 0));
	KUNIT_ASSERT_TRUE(test, pte_present(ksm_test_pte_at(at.mm, addr)));
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES);
}

static void neighbours_of_a_huge_page_share_a_reference(struct kunit *test)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	unsigned long addr = ksm_test_map(test, at.mm, 2 * HPAGE_PMD_NR);
	struct folio *folio = NULL;
	int held = 0, found = 0;
	unsigned int i;

	addr = ALIGN(addr, HPAGE_PMD_SIZE);
	clear_bit(MMF_DISABLE_THP, &at.mm->flags);
	do_madvise(at.mm, addr, HPAGE_PMD_SIZE, MADV_HUGEPAGE);
	ksm_test_write(test, at.mm, addr, 1);
	lock();
	walk_next(addr);
	if (at.run.nr)
		folio = page_folio(at.run.pages[0].page);
	if (folio && folio_test_large(folio)) {
		held = folio_ref_count(folio);
		found = at.run.nr;
	}
	/* One goes from hand to hand, until the last lets go. */
	for (i = 0; i < at.run.nr; i++) {
		if (found)
			KUNIT_EXPECT_EQ(test, folio_ref_count(folio), held);
		ksm_walk_pass_on(&at.run, i);
	}
	unlock();
	if (!found)
		kunit_skip(test, "got no huge page");
	KUNIT_EXPECT_EQ(test, found, KSM_RUN_PAGES);
	KUNIT_EXPECT_EQ(test, held, 2);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
#else
	kunit_skip(test, "needs CONFIG_TRANSPARENT_HUGEPAGE");
#endif
}

/* A lock that somebody waits for as soon as he is told. */
static struct {
	spinlock_t	lock;	/* guards nothing */
	bool		go;
} wanted;

static int want_lock(void *unused)
{
	while (!READ_ONCE(wanted.go))
		cond_resched();
	spin_lock(&wanted.lock);
	spin_unlock(&wanted.lock);
	while (!kthread_should_stop())
		cond_resched();
	return 0;
}

/* Glance at a run while somebody waits for the lock; where the run ends, or 0. */
static unsigned long glance_with_waiter(unsigned long addr, unsigned int pages)
{
	unsigned long end = 0, until = jiffies + 60 * HZ;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;
	pmd_t *pmd;

	pmd = mm_find_pmd(at.mm, addr);
	ptep = pmd ? pte_offset_map_lock(at.mm, pmd, addr, &ptl) : NULL;
	if (!ptep)
		return 0;
	spin_lock_nested(&wanted.lock, SINGLE_DEPTH_NESTING);
	WRITE_ONCE(wanted.go, true);
	while (!spin_is_contended(&wanted.lock) && time_before(jiffies, until))
		cpu_relax();
	if (spin_is_contended(&wanted.lock)) {
		at.run.begin = addr;
		at.run.end = addr + pages * PAGE_SIZE;
		ksm_glance_ptes(&at.run, ptep, &wanted.lock);
		end = at.run.end;
	}
	spin_unlock(&wanted.lock);
	pte_unmap_unlock(ptep, ptl);
	return end;
}

static void who_waits_for_the_PTL_is_let_in(struct kunit *test)
{
	unsigned long addr, end;
	struct task_struct *task;
	unsigned int i, cpu;

	addr = ALIGN(ksm_test_map(test, at.mm, 1024), 512 * PAGE_SIZE);
	for (i = 0; i < 64; i++)
		ksm_test_write(test, at.mm, addr + i * PAGE_SIZE, i);
	spin_lock_init(&wanted.lock);
	wanted.go = false;
	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	task = cpu < nr_cpu_ids ? kthread_run_on_cpu(want_lock, NULL, cpu, "ksm_test/%u") : NULL;
	if (IS_ERR_OR_NULL(task)) {
		migrate_enable();
		kunit_skip(test, "needs a second CPU");
	}
	lock();
	walk_next(addr);
	ksm_walk_cut(&at.run, 0, addr);
	end = glance_with_waiter(addr, 64);
	for (i = 0; i < at.run.nr; i++)
		ksm_walk_pass_on(&at.run, i);
	unlock();
	migrate_enable();
	WRITE_ONCE(wanted.go, true);
	kthread_stop(task);
	KUNIT_EXPECT_GT(test, end, addr);
	KUNIT_EXPECT_LT(test, end, addr + 64 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, walk_all(0), PAGES + 64);
}

/* As faults in that page table do. */
static int want_ptl(void *ptl)
{
	while (!kthread_should_stop()) {
		spin_lock(ptl);
		spin_unlock(ptl);
		cond_resched();
	}
	return 0;
}

static void what_is_behind_a_run_that_ended_early_is_seen_to(struct kunit *test)
{
	unsigned int early = 0, i, cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	unsigned long addr = ALIGN(ksm_test_map(test, at.mm, 1024), 512 * PAGE_SIZE);
	struct task_struct *task;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs a second CPU");
	for (i = 0; i < 64; i++)
		ksm_test_write(test, at.mm, addr + i * PAGE_SIZE, 100 + i);
	for (i = 0; i < 3; i++)
		ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, at.mm->ksm_rmap_items, PAGES + 64);
	ptep = pte_offset_map_lock(at.mm, mm_find_pmd(at.mm, addr), addr, &ptl);
	KUNIT_ASSERT_NOT_NULL(test, ptep);
	pte_unmap_unlock(ptep, ptl);
	task = kthread_run_on_cpu(want_ptl, ptl, cpu, "ksm_test/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	/* How many of the scan's runs do is not known; it is like with these. */
	for (i = 0; i < 2000 && early < 50 && at.mm->ksm_rmap_items == PAGES + 64; i++) {
		ksm_test_scan_round();
		early += walk(addr) < 64;
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, PAGES + 64);
	KUNIT_EXPECT_GT(test, early, 0);
}

/* ------------------------------------------------------------------------ */
/* Empty PTEs.                                                              */

#define ROOM	200

static void empty_ptes_are_passed_over_like_a_hole(struct kunit *test)
{
	/* What is mapped above is too far for the same run. */
	unsigned long addr = ksm_test_map(test, at.mm, 4 * KSM_RUN_PAGES);
	unsigned long page = addr + KSM_RUN_PAGES * PAGE_SIZE;

	ksm_test_write(test, at.mm, page, 1);
	KUNIT_EXPECT_EQ(test, walk(addr), 1);
	KUNIT_EXPECT_EQ(test, at.run.begin, page);
	KUNIT_EXPECT_LE(test, at.run.end, page + 16 * PAGE_SIZE);
	/* Where they are few, those beside them are found as well. */
	ksm_test_write(test, at.mm, page - PAGE_SIZE, 2);
	ksm_test_write(test, at.mm, page + 2 * PAGE_SIZE, 3);
	KUNIT_EXPECT_EQ(test, walk_all(addr), 3 + PAGES);
}

static void what_is_recorded_of_empty_ptes_is_forgotten(struct kunit *test)
{
	unsigned long addr = ksm_test_map(test, at.mm, ROOM), i;

	for (i = 20; i < ROOM; i += 70)
		ksm_test_write(test, at.mm, addr + i * PAGE_SIZE, 100 + i);
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, at.mm->ksm_rmap_items, PAGES + 3);
	do_madvise(at.mm, addr + 20 * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, PAGES + 2);
	/* The last of all: behind it is nothing but a VMA's end. */
	do_madvise(at.mm, addr + 90 * PAGE_SIZE, (ROOM - 90) * PAGE_SIZE, MADV_DONTNEED);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, PAGES);
}

static void what_is_recorded_behind_a_page_at_rest_is_forgotten(struct kunit *test)
{
	/* A run in which there is nothing else, up to its end. */
	unsigned long addr = ALIGN(ksm_test_map(test, at.mm, 2 * KSM_RUN_PAGES),
				   KSM_RUN_PAGES * PAGE_SIZE);

	ksm_test_write(test, at.mm, addr, 100);
	ksm_test_write(test, at.mm, addr + 50 * PAGE_SIZE, 101);
	ksm_test_scan_round();
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, at.mm->ksm_rmap_items, PAGES + 2);
	do_madvise(at.mm, addr + 50 * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	ksm_test_scan_round();
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, PAGES + 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, addr, 100));
}

static struct kunit_case walk_cases[] = {
	KUNIT_CASE(every_page_is_found_once),
	KUNIT_CASE(a_run_is_not_longer_than_its_ptes),
	KUNIT_CASE(who_waits_for_the_PTL_is_let_in),
	KUNIT_CASE(what_is_behind_a_run_that_ended_early_is_seen_to),
	KUNIT_CASE(what_is_not_offered_is_not_found),
	KUNIT_CASE(a_run_that_is_cut_lets_go_of_the_rest),
	KUNIT_CASE(P7_a_page_that_a_device_has_is_not_found),
	KUNIT_CASE(P7_a_swap_entry_is_not_taken_for_a_page),
	KUNIT_CASE(P8_a_special_pte_is_passed_over),
	KUNIT_CASE(P8_the_zero_page_is_passed_over),
	KUNIT_CASE(neighbours_of_a_huge_page_share_a_reference),
	KUNIT_CASE(empty_ptes_are_passed_over_like_a_hole),
	KUNIT_CASE(what_is_recorded_of_empty_ptes_is_forgotten),
	KUNIT_CASE(what_is_recorded_behind_a_page_at_rest_is_forgotten),
	{ }
};

static struct kunit_suite walk_suite = {
	.name = "ksm_walk",
	.init = init,
	.test_cases = walk_cases,
};

kunit_test_suite(walk_suite);
