/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_CHAIN_H
#define _MM_KSM_CHAIN_H

#include "types.h"

int ksm_chain_add(struct ksm_node *shown, struct ksm_node *node);
void ksm_chain_show(struct ksm_node *node, struct rb_root *root, bool has_room);
void ksm_chain_leave(struct ksm_node *node, struct rb_root *root);
struct ksm_node *ksm_chain_next(const struct ksm_node *node);
struct ksm_node *ksm_chain_tend(struct ksm_chain *chain);
struct ksm_node *ksm_chain_roomy(struct ksm_chain *chain);
bool ksm_chain_is_due(const struct ksm_chain *chain);
bool ksm_chain_can_spare(const struct ksm_node *node);
bool ksm_chain_may_spare(const struct ksm_node *node);

#endif /* _MM_KSM_CHAIN_H */
