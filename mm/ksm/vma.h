/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_VMA_H
#define _MM_KSM_VMA_H

#include <linux/mm.h>

bool ksm_vma_may_merge(const struct file *file, vm_flags_t flags);
bool ksm_vma_offers(const struct vm_area_struct *vma);
bool ksm_vma_any_mergeable(struct mm_struct *mm);
bool ksm_vma_maps(struct vm_area_struct *vma, unsigned long addr, struct page *page);

#endif /* _MM_KSM_VMA_H */
