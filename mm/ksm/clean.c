// SPDX-License-Identifier: GPL-2.0
/*
 * Cleaning: a page table entry is made to tell of the next write.
 *
 * What the entry knew of writes goes to the folio, so that reclaim loses nothing. And
 * TLBs are flushed before the lock is dropped: reclaim takes a clean entry to mean that
 * no CPU can write to the page without setting it dirty.
 *
 * A program that runs on another CPU is interrupted for that flush, and a fault of it may
 * have to wait for the lock. So such programs are given long rests in between, by how
 * long a flush takes on the machine; what is not cleaned is read, as if it were written.
 *
 * Does not know when that is worth while, nor what is remembered of a page.
 *
 * Floor 1: knows nobody.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/smp.h>

#include <asm/tlbflush.h>

#include "clean.h"
#include "types.h"

/* A running program is interrupted for a thousandth of its time at most. */
#define REST	1000

/* What seems to take longer than this was interrupted itself. */
#define LONG	NSEC_PER_MSEC

/* On arm64, where TLBs of other CPUs are flushed without their help, the mask is empty. */
static bool runs_elsewhere(struct mm_struct *mm)
{
	unsigned int cpu;

	for_each_cpu(cpu, mm_cpumask(mm))
		if (cpu != raw_smp_processor_id() && !idle_cpu(cpu))
			return true;
	return false;
}

/**
 * ksm_clean_may() - may PTEs be cleaned now?
 * @km: the mm
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 * Return: false if a program would be interrupted that was interrupted a short while ago.
 */
bool ksm_clean_may(struct ksm_mm *km)
{
	return local_clock() >= km->rests_until || !runs_elsewhere(ksm_mm_of(km));
}

static void let_rest(struct ksm_mm *km, u64 start)
{
	u64 now = local_clock();

	km->rests_until = now + min(now - start, LONG) * REST;
}

/**
 * ksm_clean_pte() - clean a PTE
 * @cleaned: adjusted to include it; those before it are at lower addresses
 * @vma: where it is
 * @addr: what it maps
 * @ptep: the PTE, present
 * @page: the page that it maps
 *
 * Context: The caller holds the PTL up to ksm_clean_flush() for @cleaned, and is in
 *	    lazy MMU mode.
 */
void ksm_clean_pte(struct ksm_cleaned *cleaned, struct vm_area_struct *vma,
		   unsigned long addr, pte_t *ptep, struct page *page)
{
	pte_t old = ptep_get_and_clear(vma->vm_mm, addr, ptep);

	if (pte_dirty(old))
		folio_mark_dirty(page_folio(page));
	set_pte_at(vma->vm_mm, addr, ptep, pte_mkclean(old));

	if (!cleaned->to)
		cleaned->from = addr;
	cleaned->to = addr + PAGE_SIZE;
}

/**
 * ksm_clean_flush() - see that no CPU can write by what it knew of cleaned PTEs
 * @cleaned: the PTEs; none are left in it
 * @km: the mm
 * @vma: where they are
 * @ptl: their lock
 *
 * As soon as the lock is dropped others may rely on that.
 *
 * Context: The caller holds @ptl and ksm_pass_lock, and is not in lazy MMU mode any more.
 */
void ksm_clean_flush(struct ksm_cleaned *cleaned, struct ksm_mm *km,
		     struct vm_area_struct *vma, spinlock_t *ptl)
{
	u64 start;

	lockdep_assert_held(ptl);

	if (!cleaned->to)
		return;
	start = local_clock();
	flush_tlb_range(vma, cleaned->from, cleaned->to);
	cleaned->to = 0;
	let_rest(km, start);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/**
 * ksm_clean_pmd() - clean a PMD that maps a huge page
 * @km: the mm
 * @vma: where it is
 * @haddr: what it maps
 * @pmd: the PMD, present and huge
 *
 * It is never empty meanwhile, and TLBs are flushed.
 *
 * Context: The caller holds the lock of @pmd and ksm_pass_lock.
 */
void ksm_clean_pmd(struct ksm_mm *km, struct vm_area_struct *vma, unsigned long haddr,
		   pmd_t *pmd)
{
	u64 start = local_clock();
	pmd_t old = pmdp_invalidate(vma, haddr, pmd);

	let_rest(km, start);

	if (pmd_dirty(old))
		folio_mark_dirty(pmd_folio(old));
	set_pmd_at(vma->vm_mm, haddr, pmd, pmd_mkclean(old));
}
#endif
