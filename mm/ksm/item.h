/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_ITEM_H
#define _MM_KSM_ITEM_H

#include "types.h"

struct vm_area_struct;

int ksm_item_init(void);
void ksm_item_exit(void);
struct ksm_item *ksm_item_alloc(struct ksm_mm *owner, unsigned long index);
void ksm_item_free(struct ksm_item *item);
bool ksm_item_leads_to(struct ksm_item *item, struct vm_area_struct *vma,
		       unsigned long addr);
bool ksm_item_is_mapped(struct ksm_item *item, struct page *page);
bool ksm_item_leads_elsewhere(struct ksm_item *item);

#endif /* _MM_KSM_ITEM_H */
