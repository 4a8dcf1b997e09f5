/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_NODE_H
#define _MM_KSM_NODE_H

#include <linux/mm.h>

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

int ksm_node_init(void);
void ksm_node_exit(void);
struct ksm_node *ksm_node_alloc(void);
void ksm_node_free(struct ksm_node *node);

enum ksm_peek ksm_node_peek(struct ksm_node *node, struct folio **foliop);
enum ksm_peek ksm_node_lock(struct ksm_item *item, bool wait, struct folio **foliop);
void ksm_node_adopt(struct ksm_node *node, struct folio *folio);
void ksm_node_release(struct ksm_node *node, struct folio *folio);
void ksm_node_migrate(struct folio *dst, struct folio *src);

void ksm_node_link(struct ksm_node *node, struct ksm_item *item,
		   struct anon_vma *anon_vma, pgoff_t pgoff);
bool ksm_node_unlink(struct ksm_item *item, struct folio *folio);
void ksm_node_disband(struct ksm_node *node);
struct ksm_node *ksm_node_next_idle(void);
unsigned long ksm_node_count_idle(void);

/**
 * ksm_node_of() - the node of a KSM page
 * @folio: for which folio_test_ksm() holds
 *
 * Context: Under the folio's lock the answer is exact and stays so; without
 *	    it, compare it but do not follow it.
 * Return: The node; NULL for a KSM page that has lost it.
 */
static inline struct ksm_node *ksm_node_of(struct folio *folio)
{
	unsigned long mapping = (unsigned long)READ_ONCE(folio->mapping);

	if ((mapping & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_KSM)
		return NULL;
	return (struct ksm_node *)(mapping & ~PAGE_MAPPING_FLAGS);
}

#endif /* _MM_KSM_NODE_H */
