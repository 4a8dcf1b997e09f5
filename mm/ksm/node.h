/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_NODE_H
#define _MM_KSM_NODE_H

#include "types.h"

int ksm_node_init(void);
void ksm_node_exit(void);
struct ksm_node *ksm_node_alloc(void);
void ksm_node_free(struct ksm_node *node);

bool ksm_node_has_room(const struct ksm_node *node, const struct folio *folio);
void ksm_node_link(struct ksm_node *node, struct ksm_item *item,
		   struct anon_vma *anon_vma, pgoff_t pgoff);
bool ksm_node_unlink(struct ksm_item *item, struct folio *folio);
void ksm_node_disband(struct ksm_node *node);
void ksm_node_set_astray(struct ksm_node *node, bool astray);
void ksm_node_moved(struct folio *folio);
struct ksm_node *ksm_node_next_due(void);
unsigned long ksm_node_count_due(void);

#endif /* _MM_KSM_NODE_H */
