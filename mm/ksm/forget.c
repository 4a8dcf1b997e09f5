// SPDX-License-Identifier: GPL-2.0
/*
 * Forgetting: of a page, of a range of an mm, of nodes that nobody needs.
 *
 * The one place that decides that an item leaves its tree or its node. An item
 * of a KSM page goes under that page's lock, after a fresh look at its PTE: a
 * migration entry there means that a walk will come back to restore it.
 *
 * Owns nothing. Does not know why something is to be forgotten.
 *
 * Floor 4: knows both trees, nodes, items and records.
 */
#include <linux/freezer.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include <trace/events/ksm.h>

#include "block.h"
#include "forget.h"
#include "hold.h"
#include "item.h"
#include "mms.h"
#include "node.h"
#include "page.h"
#include "record.h"
#include "stable_tree.h"
#include "state.h"
#include "unstable_tree.h"

/* Records of a dead mm to go through before others may have ksm_pass_lock. */
#define DEAD_AT_ONCE	4096

/* ------------------------------------------------------------------------ */
/* Items.                                                                   */

/* May a walk that is to find @item's mapping still come? */
static bool is_needed(struct ksm_item *item, struct folio *folio, enum ksm_forget how)
{
	enum ksm_page_place place;

	if (how == KSM_FORGET_EMPTIED)
		return false;
	place = ksm_page_look(ksm_mm_of(item->owner), ksm_item_addr(item), folio);
	return place == KSM_PAGE_HERE || place == KSM_PAGE_AWAY;
}

/* End a merged item, or an orphan. False if it must stay for now. */
static bool forget_merged(struct ksm_item *item, enum ksm_forget how)
{
	struct mm_struct *mm = ksm_mm_of(item->owner);
	struct folio *folio = NULL;
	unsigned long pfn = 0;
	bool ends = true, ours;

	if (ksm_hold_lock(item, how != KSM_FORGET_CHANGED, &folio) == KSM_PEEK_BUSY)
		return false;
	if (folio) {
		pfn = folio_pfn(folio);
		ends = !is_needed(item, folio, how);
	}
	if (ends) {
		trace_ksm_remove_rmap_item(pfn, item, mm);
		ksm_record_erase(item->owner, item->index);
		ours = ksm_node_unlink(item, folio);
	}
	if (folio) {
		folio_unlock(folio);
		folio_put(folio);
	}
	if (ends && ours)
		ksm_item_free(item);
	return ends;
}

static bool forget_item(struct ksm_item *item, enum ksm_forget how)
{
	if (item->kind == KSM_ITEM_MERGED || item->kind == KSM_ITEM_ORPHAN)
		return forget_merged(item, how);

	ksm_unstable_remove(item);
	trace_ksm_remove_rmap_item(0, item, ksm_mm_of(item->owner));
	ksm_record_erase(item->owner, item->index);
	ksm_item_free(item);
	return true;
}

/**
 * ksm_forget_page() - forget what is known of one page
 * @km: the mm
 * @index: page number in it
 * @how: what the caller knows of its page tables
 *
 * Context: Process context; takes folio locks, and waits for them unless @how
 *	    is KSM_FORGET_CHANGED. Without the mmap lock only KSM_FORGET_EMPTIED
 *	    is allowed. The caller owns @km's records.
 * Return: true if nothing is known of the page now; false if it is a KSM page
 *	   that is there after all, or may be, or could not be locked.
 */
bool ksm_forget_page(struct ksm_mm *km, unsigned long index, enum ksm_forget how)
{
	void *entry = ksm_record_load(km, index);
	struct ksm_item *item = ksm_record_item(entry);

	if (item)
		return forget_item(item, how);
	if (entry)
		ksm_record_erase(km, index);
	return true;
}

/**
 * ksm_forget_range() - forget what is known of a range, or begin to
 * @km: the mm
 * @first: first page number; set to where to go on
 * @last: last page number
 * @how: what the caller knows of its page tables
 * @most: how many entries to go through; less those that were
 *
 * Takes time by what is known, not by the size of the range.
 *
 * Context: As for ksm_forget_page().
 * Return: true when it is through; false when @most was used up first.
 */
bool ksm_forget_range(struct ksm_mm *km, unsigned long *first, unsigned long last,
		      enum ksm_forget how, unsigned int *most)
{
	unsigned long begin = *first;

	for (; ksm_record_find(km, first, last); ++*first) {
		if (!*most)
			return false;
		--*most;
		ksm_forget_page(km, *first, how);
		cond_resched();
	}
	/* Only the blocks at its ends can have something left. */
	ksm_block_trim(km, begin);
	ksm_block_trim(km, last);
	*first = last + 1;
	return true;
}

/**
 * ksm_forget_dead() - go on with the burial of mms that have left
 *
 * A little at a time, so that ksm_pass_lock can be dropped between.
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 * Return: true if there is more to do.
 */
bool ksm_forget_dead(void)
{
	struct ksm_mm *km = ksm_mms_first_dead();
	unsigned int most = DEAD_AT_ONCE;
	unsigned long first = 0;

	lockdep_assert_held(&ksm_pass_lock);

	if (!km)
		return false;
	if (ksm_forget_range(km, &first, ULONG_MAX, KSM_FORGET_EMPTIED, &most))
		ksm_mms_bury(km);
	return true;
}

/**
 * ksm_forget_merged() - forget the items of a range that was unmerged
 * @km: the mm
 * @first: first page number
 * @last: last page number
 *
 * Values stay until the next scan: a range of very many pages without a twin
 * costs the program that unmerges it nothing. A signal that its program handles does
 * not end it: to come here again takes longer than a timer may wait.
 *
 * Context: As for ksm_forget_page() with KSM_FORGET_EMPTIED; reschedules.
 * Return: 0; -ERESTARTSYS when a signal that kills, or the freezer, ended it early.
 */
int ksm_forget_merged(struct ksm_mm *km, unsigned long first, unsigned long last)
{
	struct ksm_item *item;

	for (; (item = ksm_record_find_item(km, &first, last)); first++) {
		if (signal_pending(current) &&
		    (fatal_signal_pending(current) || freezing(current)))
			return -ERESTARTSYS;
		forget_item(item, KSM_FORGET_EMPTIED);
		cond_resched();
	}
	return 0;
}

/* ------------------------------------------------------------------------ */
/* Nodes.                                                                   */

/**
 * ksm_forget_meet_swapins() - wait for swap-ins that are under way
 *
 * A swap-in that began before the run state changed may be about to map a KSM
 * page. It holds the page's lock until that is done, so whoever has had the
 * lock after the change knows that all later ones make a copy.
 *
 * Context: Process context; sleeps. The caller holds ksm_pass_lock, and has set
 *	    the run state to KSM_RUN_UNMERGE.
 * Return: 0; -ERESTARTSYS when a signal ended it early.
 */
int ksm_forget_meet_swapins(void)
{
	struct ksm_node *node;
	struct folio *folio;

	lockdep_assert_held(&ksm_pass_lock);

	for (node = ksm_stable_next(NULL); node; node = ksm_stable_next(node)) {
		cond_resched();
		if (signal_pending(current))
			return -ERESTARTSYS;
		if (ksm_hold_peek(node, &folio) != KSM_PEEK_OK)
			continue;
		/* With a signal the lock may not be had; the next turn sees to it. */
		if (!folio_lock_killable(folio))
			folio_unlock(folio);
		folio_put(folio);
	}
	return 0;
}

/*
 * Cut @node from a page that is alive, if nobody maps it. Reclaim can have it
 * mapped again through the swap cache, but no swap-in maps a KSM page that has
 * no node.
 */
static void drop_unmapped(struct ksm_node *node, struct folio *folio)
{
	folio_lock(folio);
	if (ksm_node_of(folio) == node && !node->nr_items && !folio_mapped(folio)) {
		trace_ksm_remove_ksm_page(node->pfn);
		ksm_stable_remove(node);
		ksm_hold_release(node, folio);
		ksm_node_free(node);
	}
	folio_unlock(folio);
}

/**
 * ksm_forget_due() - drop nodes that nobody needs, and see to those astray
 * @most: how many to look at
 *
 * Looks at nodes without items: an owner's scan drops the item of a page that is
 * gone, and the last item to go makes the node due. And at those whose page has
 * moved to where another tree is meant for it.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_forget_due(unsigned long most)
{
	struct ksm_node *node;

	lockdep_assert_held(&ksm_pass_lock);

	for (most = min(most, ksm_node_count_due()); most; most--) {
		node = ksm_node_next_due();
		if (!node)
			break;
		ksm_stable_prune(node);
		cond_resched();
	}
}

/**
 * ksm_forget_nodes() - drop every node that can be dropped
 *
 * For the end of an unmerge of everything: what is still mapped then belongs to
 * an mm that is exiting, and is dropped when it is through.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock, and all
 *	    records are empty.
 */
void ksm_forget_nodes(void)
{
	struct ksm_node *node, *next;
	struct folio *folio;

	lockdep_assert_held(&ksm_pass_lock);

	for (node = ksm_stable_next(NULL); node; node = next) {
		next = ksm_stable_next(node);
		if (ksm_hold_peek(node, &folio) == KSM_PEEK_OK) {
			drop_unmapped(node, folio);
			folio_put(folio);
		} else {
			ksm_stable_prune(node);
		}
		cond_resched();
	}
}

/**
 * ksm_forget_pfns() - drop the nodes of memory that has gone
 * @first: first pfn
 * @last: last pfn
 *
 * The pages are free, so the nodes of all but poisoned ones have lost them. The
 * poisoned are free to go as well: nobody can have them mapped.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_forget_pfns(unsigned long first, unsigned long last)
{
	struct ksm_node *node, *next;
	unsigned long pfn;

	lockdep_assert_held(&ksm_pass_lock);

	for (node = ksm_stable_next(NULL); node; node = next) {
		next = ksm_stable_next(node);
		/* A page that is not in the range may be moving. */
		pfn = READ_ONCE(node->pfn);
		if (pfn >= first && pfn <= last) {
			ksm_hold_abandon(node);
			ksm_stable_drop(node);
		}
		cond_resched();
	}
	/* Who looks by an item may be on its way to where a page has left. */
	spin_lock(&ksm_link_lock);
	spin_unlock(&ksm_link_lock);
}
