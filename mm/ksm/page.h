/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_PAGE_H
#define _MM_KSM_PAGE_H

#include <linux/mm.h>

bool ksm_page_may_merge(const struct page *page);
struct page *ksm_page_find(struct mm_struct *mm, unsigned long addr,
			   struct vm_area_struct **vmap);
pte_t *ksm_page_map(struct mm_struct *mm, unsigned long addr, spinlock_t **ptlp);
bool ksm_page_maybe_at(struct mm_struct *mm, unsigned long addr, unsigned long pfn);
u64 ksm_page_hash(struct page *page);
int ksm_page_compare(struct page *a, struct page *b);

#endif /* _MM_KSM_PAGE_H */
