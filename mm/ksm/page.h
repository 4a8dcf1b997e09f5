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

/* Of a page that changes again and again only the part is read that changed last. */
#ifdef CONFIG_64BIT
#define KSM_PAGE_PARTS	4
#else
#define KSM_PAGE_PARTS	2
#endif

/* Is it next to certain that pages of equal hash are equal, in all that is asked for? */
#define KSM_PAGE_HASH_TELLS	(KSM_HASH_BITS >= 40 && !IS_ENABLED(CONFIG_ARM64_MTE))

bool ksm_page_may_merge(const struct page *page);
int ksm_page_nid(const struct page *page);
struct page *ksm_page_find(struct mm_struct *mm, unsigned long addr,
			   struct vm_area_struct **vmap);
pte_t *ksm_page_map(struct mm_struct *mm, unsigned long addr, spinlock_t **ptlp);
enum ksm_page_place ksm_page_look(struct mm_struct *mm, unsigned long addr,
				  struct folio *folio);
void ksm_page_plan(struct ksm_ahead *ahead, const struct page *page,
		   const struct page *twin);
void ksm_page_plan_part(struct ksm_ahead *ahead, const struct page *page, u64 parts);
void ksm_page_fetch(struct ksm_ahead *ahead);
u64 ksm_page_hash(struct page *page);
u64 ksm_page_hash_ahead(struct page *page, struct ksm_ahead *ahead);
u64 ksm_page_hash_parts(struct page *page);
bool ksm_page_parts_differ(struct page *page, u64 *parts, struct ksm_ahead *ahead);
u64 ksm_page_zero_hash(void);
int ksm_page_compare(struct page *a, struct page *b);
int ksm_page_compare_ahead(struct page *a, struct page *b, struct ksm_ahead *ahead);

#endif /* _MM_KSM_PAGE_H */
