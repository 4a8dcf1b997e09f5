/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_RMAP_H
#define _MM_KSM_RMAP_H

#include <linux/mm.h>
#include <linux/rmap.h>

void ksm_rmap_walk(struct folio *folio, struct rmap_walk_control *walk);
void ksm_rmap_collect(struct folio *failed, struct page *page,
		      struct list_head *victims, int early);
struct folio *ksm_rmap_swapin(struct folio *cached, struct vm_area_struct *vma,
			      unsigned long at);

#endif /* _MM_KSM_RMAP_H */
