// SPDX-License-Identifier: GPL-2.0
/*
 * Cleaning: a page table entry is made to tell of the next write.
 *
 * What the entry knew of writes goes to the folio, so that reclaim loses nothing. And
 * TLBs are flushed before the lock is dropped: reclaim takes a clean entry to mean that
 * no CPU can write to the page without setting it dirty.
 *
 * Does not know when that is worth while, nor what is remembered of a page.
 *
 * Floor 1: knows nobody.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pgtable.h>

#include <asm/tlbflush.h>

#include "clean.h"

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
 * @vma: where they are
 * @ptl: their lock
 *
 * As soon as the lock is dropped others may rely on that.
 *
 * Context: The caller holds @ptl, and is not in lazy MMU mode any more.
 */
void ksm_clean_flush(struct ksm_cleaned *cleaned, struct vm_area_struct *vma, spinlock_t *ptl)
{
	lockdep_assert_held(ptl);

	if (cleaned->to)
		flush_tlb_range(vma, cleaned->from, cleaned->to);
	cleaned->to = 0;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/**
 * ksm_clean_pmd() - clean a PMD that maps a huge page
 * @vma: where it is
 * @haddr: what it maps
 * @pmd: the PMD, present and huge
 *
 * It is never empty meanwhile, and TLBs are flushed.
 *
 * Context: The caller holds the lock of @pmd.
 */
void ksm_clean_pmd(struct vm_area_struct *vma, unsigned long haddr, pmd_t *pmd)
{
	pmd_t old = pmdp_invalidate(vma, haddr, pmd);

	if (pmd_dirty(old))
		folio_mark_dirty(pmd_folio(old));
	set_pmd_at(vma->vm_mm, haddr, pmd, pmd_mkclean(old));
}
#endif
