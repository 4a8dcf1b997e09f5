// SPDX-License-Identifier: GPL-2.0
/*
 * Stable nodes: the life of one, and who maps its page.
 *
 * Items come and go under the folio's lock, so that a reverse-map walk under
 * that lock sees a list that stands still. ksm_link_lock beside it is for the
 * moment when a page is gone and there is no folio left to lock.
 *
 * Owns nodes and their lists. Does not know trees: who drops a node takes it
 * out of its tree first.
 *
 * Floor 2: knows items and pages.
 */
#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/slab.h>

#include "item.h"
#include "node.h"
#include "page.h"
#include "state.h"

/* So many anchors are nothing to worry about. */
#define ANCHORS_MIN	16

static struct kmem_cache *node_cache;

static LIST_HEAD(due_nodes);		/* L */
static unsigned long nr_due;		/* L */

/* ------------------------------------------------------------------------ */
/* Life.                                                                    */

/**
 * ksm_node_init() - make the slab
 *
 * Context: Boot.
 * Return: 0 or -ENOMEM.
 */
int __init ksm_node_init(void)
{
	/* The low bits of a node's address are flags in folio->mapping. */
	BUILD_BUG_ON(__alignof__(struct ksm_node) <= PAGE_MAPPING_FLAGS);

	node_cache = KMEM_CACHE(ksm_node, 0);
	return node_cache ? 0 : -ENOMEM;
}

/**
 * ksm_node_exit() - drop the slab when the start fails
 *
 * Context: Boot.
 */
void __init ksm_node_exit(void)
{
	kmem_cache_destroy(node_cache);
}

static void free_anchor(struct ksm_item *anchor)
{
	atomic_long_dec(&ksm_counts.anchors);
	ksm_item_free(anchor);
}

/**
 * ksm_node_alloc() - make a node that describes no page yet
 *
 * Context: Process context; may sleep, does not try hard.
 * Return: The node, or NULL without memory.
 */
struct ksm_node *ksm_node_alloc(void)
{
	struct ksm_node *node;

	node = kmem_cache_zalloc(node_cache, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!node)
		return NULL;
	INIT_LIST_HEAD(&node->due);
	node->most_anchors = ANCHORS_MIN;
	atomic_long_inc(&ksm_counts.nodes);
	return node;
}

/**
 * ksm_node_free() - end a node
 * @node: in no tree, without items, and no page's mapping points to it
 *
 * Context: Process context; may sleep.
 */
void ksm_node_free(struct ksm_node *node)
{
	struct hlist_node *next;
	struct ksm_item *anchor;

	spin_lock(&ksm_link_lock);
	WARN_ON_ONCE(node->nr_items || node->place != KSM_NODE_LOOSE || node->chain);
	if (!list_empty(&node->due)) {
		list_del(&node->due);
		WRITE_ONCE(nr_due, nr_due - 1);
	}
	spin_unlock(&ksm_link_lock);

	hlist_for_each_entry_safe(anchor, next, &node->anchors, link)
		free_anchor(anchor);
	kmem_cache_free(node_cache, node);
	atomic_long_dec(&ksm_counts.nodes);
}

/* ------------------------------------------------------------------------ */
/* Who maps it.                                                             */

/**
 * ksm_node_has_room() - may one more join a page?
 * @node: its node; may be new
 * @folio: the page
 *
 * Counts who maps it by fork without an item, and whose item is there though
 * the page is swapped out.
 *
 * Context: The caller holds ksm_pass_lock, so nobody joins meanwhile; a fork may
 *	    map it still.
 * Return: true while fewer than max_page_sharing map it.
 */
bool ksm_node_has_room(const struct ksm_node *node, const struct folio *folio)
{
	unsigned int most = READ_ONCE(ksm_state.max_page_sharing);

	lockdep_assert_held(&ksm_pass_lock);

	return READ_ONCE(node->nr_items) < most && folio_mapcount(folio) < most;
}

/* See that @node is in the list of those to look at if it has to be. */
static void update_due(struct ksm_node *node)
{
	bool due = !node->nr_items || node->astray;

	lockdep_assert_held(&ksm_link_lock);

	if (due && list_empty(&node->due)) {
		list_add_tail(&node->due, &due_nodes);
		WRITE_ONCE(nr_due, nr_due + 1);
	} else if (!due && !list_empty(&node->due)) {
		list_del_init(&node->due);
		WRITE_ONCE(nr_due, nr_due - 1);
	}
}

/* Count the page as one that the first of its items keeps, and does not save. */
static void count_kept(struct ksm_node *node, long by)
{
	struct ksm_item *first = hlist_entry(node->items.first, struct ksm_item, link);

	lockdep_assert_held(&ksm_link_lock);

	WRITE_ONCE(first->owner->kept, first->owner->kept + by);
}

/**
 * ksm_node_link() - note that an item's page is merged into a node
 * @node: the node
 * @item: in its owner's records and in no tree
 * @anon_vma: where those who map it are found; a reference is taken
 * @pgoff: at which offset
 *
 * Do this before the PTE is set, so that no mapping exists that no walk finds.
 *
 * Context: The caller holds the lock of @node's folio.
 */
void ksm_node_link(struct ksm_node *node, struct ksm_item *item,
		   struct anon_vma *anon_vma, pgoff_t pgoff)
{
	struct mm_struct *mm = ksm_mm_of(item->owner);

	get_anon_vma(anon_vma);
	item->node = node;
	item->anon_vma = anon_vma;
	item->pgoff = pgoff;
	item->kind = KSM_ITEM_MERGED;

	spin_lock(&ksm_link_lock);
	if (node->nr_items++) {
		hlist_add_behind(&item->link, node->items.first);
		WRITE_ONCE(ksm_counts.sharing, ksm_counts.sharing + 1);
	} else {
		hlist_add_head(&item->link, &node->items);
		WRITE_ONCE(ksm_counts.shared, ksm_counts.shared + 1);
		count_kept(node, 1);
	}
	WRITE_ONCE(mm->ksm_merging_pages, mm->ksm_merging_pages + 1);
	update_due(node);
	spin_unlock(&ksm_link_lock);
}

/* Take @item off its node's list; it keeps its key. */
static void detach(struct ksm_item *item)
{
	struct mm_struct *mm = ksm_mm_of(item->owner);
	struct ksm_node *node = item->node;

	lockdep_assert_held(&ksm_link_lock);

	count_kept(node, -1);
	hlist_del(&item->link);
	if (--node->nr_items) {
		count_kept(node, 1);
		WRITE_ONCE(ksm_counts.sharing, ksm_counts.sharing - 1);
	} else {
		WRITE_ONCE(ksm_counts.shared, ksm_counts.shared - 1);
	}
	update_due(node);
	WRITE_ONCE(mm->ksm_merging_pages, mm->ksm_merging_pages - 1);
	item->node = NULL;
	item->kind = KSM_ITEM_ORPHAN;
}

/* Is an anchor for @like worth having? Not if the latest have one like it. */
static bool wants_anchor(struct ksm_node *node, struct ksm_item *like)
{
	unsigned int latest = 16;
	struct ksm_item *anchor;

	hlist_for_each_entry(anchor, &node->anchors, link) {
		if (anchor->anon_vma == like->anon_vma && anchor->pgoff == like->pgoff)
			return false;
		if (!--latest)
			break;
	}
	return ksm_item_leads_elsewhere(like);
}

/*
 * End the anchors that lead to no mapping any more. As those that are left may
 * double until the next look, that costs a few visits for each new one.
 */
static void prune_anchors(struct ksm_node *node, struct folio *folio)
{
	struct hlist_node *next;
	struct ksm_item *anchor;

	hlist_for_each_entry_safe(anchor, next, &node->anchors, link) {
		cond_resched();
		if (ksm_item_is_mapped(anchor, &folio->page))
			continue;
		spin_lock(&ksm_link_lock);
		hlist_del(&anchor->link);
		node->nr_anchors--;
		spin_unlock(&ksm_link_lock);
		free_anchor(anchor);
	}
	node->most_anchors = 2 * node->nr_anchors + ANCHORS_MIN;
}

/**
 * ksm_node_unlink() - note that an item's page is not merged any more
 * @item: a merged item, or an orphan
 * @folio: the folio that ksm_hold_lock() gave for it; NULL if it was gone
 *
 * An item that also leads to other mms, which share the page by fork, stays
 * with the node as an anchor while the page is mapped: nobody else may know
 * the way to them.
 *
 * Context: Process context. The caller owns @item, and holds @folio's lock.
 * Return: true if the item is the caller's to free; false if the node keeps it.
 *	   Its owner's records must forget it either way.
 */
bool ksm_node_unlink(struct ksm_item *item, struct folio *folio)
{
	struct ksm_node *node = folio ? ksm_node_of(folio) : NULL;
	bool anchor;

	VM_WARN_ON_ONCE(folio && !folio_test_locked(folio));

	anchor = node && folio_mapped(folio) && wants_anchor(node, item);
	if (anchor && node->nr_anchors >= node->most_anchors)
		prune_anchors(node, folio);

	spin_lock(&ksm_link_lock);
	if (item->kind == KSM_ITEM_MERGED)
		detach(item);
	else
		anchor = false;
	if (anchor) {
		atomic_long_inc(&ksm_counts.anchors);
		item->kind = KSM_ITEM_ANCHOR;
		item->owner = NULL;
		hlist_add_head(&item->link, &node->anchors);
		node->nr_anchors++;
	}
	spin_unlock(&ksm_link_lock);
	return !anchor;
}

/**
 * ksm_node_disband() - make orphans of all items of a node
 * @node: a node whose page is gone
 *
 * Their owners drop them; here nobody's records are touched.
 *
 * Context: Process context. The caller holds ksm_pass_lock and has been told
 *	    KSM_PEEK_GONE, so no walk is on the lists.
 */
void ksm_node_disband(struct ksm_node *node)
{
	unsigned int batch;

	lockdep_assert_held(&ksm_pass_lock);

	do {
		batch = 64;	/* a page may have very many items: let others have the lock */
		spin_lock(&ksm_link_lock);
		while (node->nr_items && batch--)
			detach(hlist_entry(node->items.first, struct ksm_item, link));
		spin_unlock(&ksm_link_lock);
		cond_resched();
	} while (READ_ONCE(node->nr_items));
}

/**
 * ksm_node_set_astray() - note whether a node's page belongs into another tree
 * @node: the node
 * @astray: whether it does
 *
 * Context: Any context in which @node is not freed, as under its folio's lock.
 */
void ksm_node_set_astray(struct ksm_node *node, bool astray)
{
	spin_lock(&ksm_link_lock);
	node->astray = astray;
	update_due(node);
	spin_unlock(&ksm_link_lock);
}

/**
 * ksm_node_moved() - a KSM page has moved
 * @folio: where it is now
 *
 * If that is on another NUMA node, the sweep puts its node into another tree.
 *
 * Context: The caller holds @folio's lock, and has had its node follow it. Does
 *	    not sleep.
 */
void ksm_node_moved(struct folio *folio)
{
	struct ksm_node *node = ksm_node_of(folio);

	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);

	if (node && READ_ONCE(node->nid) != ksm_page_nid(&folio->page))
		ksm_node_set_astray(node, true);
}

/**
 * ksm_node_next_due() - a node that is to be looked at
 *
 * It has no items, or its page has moved to where another tree is meant for it.
 * Only a node without items can have lost its page for good: while the page is
 * gone but items are left, their owners' scans drop them one by one.
 *
 * Context: Process context. The caller holds ksm_pass_lock, which keeps the
 *	    node from being freed.
 * Return: The node that was looked at longest ago; NULL for none.
 */
struct ksm_node *ksm_node_next_due(void)
{
	struct ksm_node *node;

	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_link_lock);
	node = list_first_entry_or_null(&due_nodes, struct ksm_node, due);
	if (node)
		list_move_tail(&node->due, &due_nodes);
	spin_unlock(&ksm_link_lock);
	return node;
}

/**
 * ksm_node_count_due() - how many nodes are to be looked at
 *
 * Context: Any context. A hint.
 * Return: Their number.
 */
unsigned long ksm_node_count_due(void)
{
	return READ_ONCE(nr_due);
}
