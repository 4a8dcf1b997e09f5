/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_MERGE_H
#define _MM_KSM_MERGE_H

#include <linux/mmu_notifier.h>

#include "types.h"

void ksm_merge_begin(struct ksm_offer *offer, struct mmu_notifier_range *range);
void ksm_merge_end(struct mmu_notifier_range *range);
bool ksm_merge_is_held(const struct ksm_offer *offer);
int ksm_merge_freeze(struct ksm_offer *offer);
int ksm_merge_join(struct ksm_offer *offer, struct ksm_item *item,
		   struct ksm_node *node, struct folio *keep);
int ksm_merge_zero(struct ksm_offer *offer);
int ksm_merge_split(struct page *page);

#endif /* _MM_KSM_MERGE_H */
