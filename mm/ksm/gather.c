// SPDX-License-Identifier: GPL-2.0
/*
 * Gathering: where a content has more KSM pages than it needs, as programs wrote
 * to some or exited, those that few map are left for a fuller one.
 *
 * A KSM page never changes, and a chain is of equal ones. The mapping moves all
 * the same as in any merge: compared while both are locked and the PTE is empty,
 * linked before the new PTE stands.
 *
 * Owns nothing. Does not know which page is better: the chain does.
 *
 * Floor 4: knows the stable tree, the page-table primitives, nodes, items, records.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include <trace/events/ksm.h>

#include "chain.h"
#include "gather.h"
#include "item.h"
#include "merge.h"
#include "node.h"
#include "record.h"
#include "stable_tree.h"
#include "state.h"

/* Both are locked. Let @fresh lead to @keep before the PTE does; the old item goes after. */
static int move_locked(struct ksm_offer *offer, struct ksm_item *fresh,
		       struct ksm_node *node, struct folio *keep)
{
	struct folio *folio = page_folio(offer->page);
	int err;

	if (ksm_node_of(folio) != offer->item->node || ksm_node_of(keep) != node ||
	    folio_test_hwpoison(keep) || !ksm_node_has_room(node, keep))
		return -EAGAIN;
	err = ksm_merge_join(offer, fresh, node, keep);
	if (err)
		return err;
	/* Takes the place of the old one, so it cannot fail. */
	ksm_record_store(offer->owner, fresh->index, fresh);
	if (ksm_node_unlink(offer->item, folio))
		ksm_item_free(offer->item);
	offer->item = fresh;
	return 0;
}

static int move(struct ksm_offer *offer, struct ksm_node *node, struct folio *keep)
{
	struct ksm_item *fresh = ksm_item_alloc(offer->owner, offer->item->index);
	struct folio *folio = page_folio(offer->page);
	struct mmu_notifier_range range;
	int err = -EAGAIN;

	if (!fresh)
		return -ENOMEM;
	ksm_merge_begin(offer, &range);
	if (folio_trylock(folio)) {
		if (folio_trylock(keep)) {
			err = move_locked(offer, fresh, node, keep);
			folio_unlock(keep);
		}
		folio_unlock(folio);
	}
	ksm_merge_end(&range);
	trace_ksm_merge_with_ksm_page(&keep->page, folio_pfn(keep), fresh,
				      ksm_mm_of(offer->owner), err);
	if (err)
		ksm_item_free(fresh);
	return err;
}

/**
 * ksm_gather_wants() - would a fuller KSM page be better, as far as is known?
 * @node: the node of the page that is mapped
 *
 * Context: The caller holds ksm_pass_lock.
 * Return: true if so; then nobody should have more references on the page than
 *	   need be when ksm_gather_page() is called.
 */
bool ksm_gather_wants(const struct ksm_node *node)
{
	lockdep_assert_held(&ksm_pass_lock);

	return node->chain && ksm_chain_can_spare(node);
}

/**
 * ksm_gather_page() - map a fuller KSM page of the same content, if that helps
 * @offer: a KSM page, with its item
 *
 * Costs nothing for a page that is alone, and next to nothing for one whose
 * chain is in order.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock, the mmap
 *	    lock of the offer's mm for read, one reference on the page, and no
 *	    other lock.
 * Return: 0 if another page is mapped now; -ENOENT if there was no reason to look
 *	   for one; another error if there is none, or it could not be had.
 */
int ksm_gather_page(struct ksm_offer *offer)
{
	struct ksm_node *node = offer->item->node, *twin;
	struct folio *keep;
	int err = -EAGAIN;

	lockdep_assert_held(&ksm_pass_lock);
	mmap_assert_locked(ksm_mm_of(offer->owner));

	if (!ksm_chain_may_spare(node))
		return -ENOENT;
	switch (ksm_stable_search(node->hash, offer->page, false, NULL, &twin, &keep)) {
	case KSM_FOUND_TWIN:
		/* Another chain's: the page has just moved to another NUMA node. */
		if (twin->chain == node->chain && ksm_chain_can_spare(node) &&
		    !ksm_merge_is_held(offer))
			err = move(offer, twin, keep);
		folio_put(keep);
		return err;
	case KSM_FOUND_STALE:
		ksm_stable_prune(twin);
		return -EAGAIN;
	default:
		return -EAGAIN;
	}
}
