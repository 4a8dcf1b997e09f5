/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_PAGE_H
#define _MM_KSM_PAGE_H

#include <linux/mm.h>

#include "types.h"

/* What is found at the address of a page. */
enum ksm_page_place {
	KSM_PAGE_HERE,		/* it is mapped there */
	KSM_PAGE_AWAY,		/* its swap entry, or a migration entry, behind which it may be */
	KSM_PAGE_ELSEWHERE,	/* something else, or nothing */
};

bool ksm_page_may_merge(const struct page *page);
int ksm_page_nid(const struct page *page);
struct page *ksm_page_find(struct mm_struct *mm, unsigned long addr,
			   struct vm_area_struct **vmap);
pte_t *ksm_page_map(struct mm_struct *mm, unsigned long addr, spinlock_t **ptlp);
enum ksm_page_place ksm_page_look(struct mm_struct *mm, unsigned long addr,
				  struct folio *folio);

#endif /* _MM_KSM_PAGE_H */
