/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_CLEAN_H
#define _MM_KSM_CLEAN_H

#include <linux/mm_types.h>

struct ksm_mm;

/**
 * struct ksm_cleaned - PTEs that were cleaned under one hold of the PTL
 * @from: address of the first
 * @to: address behind the last; 0 for none of which TLBs are still to be flushed
 */
struct ksm_cleaned {
	unsigned long	from;
	unsigned long	to;
};

bool ksm_clean_may(struct ksm_mm *km);
void ksm_clean_pte(struct ksm_cleaned *cleaned, struct vm_area_struct *vma,
		   unsigned long addr, pte_t *ptep, struct page *page);
void ksm_clean_flush(struct ksm_cleaned *cleaned, struct ksm_mm *km,
		     struct vm_area_struct *vma, spinlock_t *ptl);
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
void ksm_clean_pmd(struct ksm_mm *km, struct vm_area_struct *vma, unsigned long haddr,
		   pmd_t *pmd);
#endif

#endif /* _MM_KSM_CLEAN_H */
