/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_CONTENT_H
#define _MM_KSM_CONTENT_H

#include <linux/mm.h>

#include "types.h"

/* Of a page that changes again and again only the part is read that changed last. */
#ifdef CONFIG_64BIT
#define KSM_CONTENT_PARTS	4
#else
#define KSM_CONTENT_PARTS	2
#endif

/* Is it next to certain that pages of equal hash are equal, in all that is asked for? */
#define KSM_CONTENT_HASH_TELLS	(KSM_HASH_BITS >= 40 && !IS_ENABLED(CONFIG_ARM64_MTE))

void ksm_content_plan(struct ksm_ahead *ahead, const struct page *page,
		      const struct page *twin);
void ksm_content_plan_part(struct ksm_ahead *ahead, const struct page *page, u64 parts);
void ksm_content_fetch(struct ksm_ahead *ahead);
u64 ksm_content_hash(struct page *page);
u64 ksm_content_hash_ahead(struct page *page, struct ksm_ahead *ahead);
u64 ksm_content_hash_parts(struct page *page);
bool ksm_content_parts_differ(struct page *page, u64 *parts, struct ksm_ahead *ahead);
u64 ksm_content_zero_hash(void);
int ksm_content_compare(struct page *a, struct page *b);
int ksm_content_compare_ahead(struct page *a, struct page *b, struct ksm_ahead *ahead);

#endif /* _MM_KSM_CONTENT_H */
