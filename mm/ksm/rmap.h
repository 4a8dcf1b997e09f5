/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_RMAP_H
#define _MM_KSM_RMAP_H

#include <linux/mm.h>
#include <linux/rmap.h>

void ksm_rmap_walk(struct folio *folio, struct rmap_walk_control *rwc);
void ksm_rmap_collect(struct folio *folio, struct page *page,
		      struct list_head *to_kill, int force_early);
struct folio *ksm_rmap_swapin(struct folio *folio, struct vm_area_struct *vma,
			      unsigned long addr);

#endif /* _MM_KSM_RMAP_H */
