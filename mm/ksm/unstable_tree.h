/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_UNSTABLE_TREE_H
#define _MM_KSM_UNSTABLE_TREE_H

#include "types.h"

const struct page *ksm_unstable_guess(u64 hash);
enum ksm_found ksm_unstable_seek(const struct ksm_offer *offer, u64 hash,
				 struct ksm_offer *twin);
void ksm_unstable_release(const struct ksm_offer *offer, struct ksm_offer *twin);
void ksm_unstable_remove(struct ksm_item *item);
void ksm_unstable_reset(void);

#endif /* _MM_KSM_UNSTABLE_TREE_H */
