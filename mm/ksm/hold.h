/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_HOLD_H
#define _MM_KSM_HOLD_H

#include "types.h"

/**
 * enum ksm_peek - where the page of a node is
 * @KSM_PEEK_OK: there; its folio is referenced and still ours
 * @KSM_PEEK_GONE: it was freed; the node can be dropped
 * @KSM_PEEK_BUSY: somebody has it locked; try later
 * @KSM_PEEK_POISONED: its memory failed; nobody may read it, but those who map
 *		       it must stay reachable until they have been told
 */
enum ksm_peek {
	KSM_PEEK_OK,
	KSM_PEEK_GONE,
	KSM_PEEK_BUSY,
	KSM_PEEK_POISONED,
};

enum ksm_peek ksm_hold_peek(struct ksm_node *node, struct folio **foliop);
enum ksm_peek ksm_hold_lock(struct ksm_item *item, bool wait, struct folio **foliop);
void ksm_hold_adopt(struct ksm_node *node, struct folio *folio);
void ksm_hold_release(struct ksm_node *node, struct folio *folio);
void ksm_hold_abandon(struct ksm_node *node);
void ksm_hold_migrate(struct folio *dst, struct folio *src);

#endif /* _MM_KSM_HOLD_H */
