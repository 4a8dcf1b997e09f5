/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_STABLE_TREE_H
#define _MM_KSM_STABLE_TREE_H

#include "types.h"

const struct page *ksm_stable_guess(u64 hash);
enum ksm_found ksm_stable_search(u64 hash, struct page *page, bool by_hash,
				 struct ksm_ahead *ahead, struct ksm_node **nodep,
				 struct folio **foliop);
int ksm_stable_insert(struct ksm_node *node, struct folio *folio);
void ksm_stable_remove(struct ksm_node *node);
void ksm_stable_prune(struct ksm_node *node);
void ksm_stable_drop(struct ksm_node *node);
struct ksm_node *ksm_stable_next(struct ksm_node *node);

#endif /* _MM_KSM_STABLE_TREE_H */
