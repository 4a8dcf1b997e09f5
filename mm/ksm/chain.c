// SPDX-License-Identifier: GPL-2.0
/*
 * Chains: the nodes of one content, where a single page is not enough.
 *
 * A page that max_page_sharing others map is joined by no more, so that a walk
 * over those who map it ends soon. Of equal pages beyond that another is made a
 * KSM page. One node of the chain is shown, that is, stands in the tree; it is
 * the one to join. When it is full, the next that had room takes its place.
 *
 * Programs write to merged pages and exit, and so members run empty without a
 * word to the chain. Who has room again is found by going through it every
 * stable_node_chains_prune_millisecs, and never in between: to join one of very
 * many equal pages costs the same as to join one of two. The fullest is shown
 * next. If fewer pages would do, those that few map can be spared, and gather.c
 * moves their mappings.
 *
 * Owns who is in a chain, who is shown, and the counts of both. Does not know
 * the tree, whose root it is handed, nor what the pages hold.
 *
 * Floor 2: knows nodes by their fields only. All of it under the stable tree's
 * lock.
 */
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/slab.h>

#include "chain.h"
#include "state.h"

/* Members to look at before the search goes on, and the rest waits for the next. */
#define TEND_AT_ONCE	1024

static void count(struct ksm_chain *chain, long by)
{
	chain->nr += by;
	WRITE_ONCE(ksm_counts.dups, ksm_counts.dups + by);
}

static struct ksm_chain *make(struct ksm_node *shown)
{
	/* Under a folio's lock, and inside a notifier's bracket: nothing to wait in. */
	struct ksm_chain *chain = kzalloc(sizeof(*chain), GFP_NOWAIT | __GFP_NOWARN);

	if (!chain)
		return NULL;
	INIT_LIST_HEAD(&chain->roomy);
	INIT_LIST_HEAD(&chain->full);
	chain->settled = jiffies;
	chain->shown = shown;
	shown->chain = chain;
	count(chain, 1);
	WRITE_ONCE(ksm_counts.chains, ksm_counts.chains + 1);
	return chain;
}

/* End a chain of which a single node is left. */
static void end(struct ksm_chain *chain)
{
	chain->shown->chain = NULL;
	count(chain, -1);
	WRITE_ONCE(ksm_counts.chains, ksm_counts.chains - 1);
	kfree(chain);
}

/**
 * ksm_chain_add() - add a node to those of its content
 * @shown: the node that stands in the tree
 * @node: another; has room
 *
 * Context: The caller holds the stable tree's lock. Does not sleep.
 * Return: 0, or -ENOMEM with nothing changed.
 */
int ksm_chain_add(struct ksm_node *shown, struct ksm_node *node)
{
	struct ksm_chain *chain = shown->chain ?: make(shown);

	if (!chain)
		return -ENOMEM;
	list_add(&node->member, &chain->roomy);
	node->chain = chain;
	node->place = KSM_NODE_IN_CHAIN;
	count(chain, 1);
	return 0;
}

/**
 * ksm_chain_show() - let a member stand in the tree
 * @node: a member that does not
 * @root: root of the tree
 * @has_room: whether the one that stood there so far can be joined still
 *
 * Context: The caller holds the stable tree's lock.
 */
void ksm_chain_show(struct ksm_node *node, struct rb_root *root, bool has_room)
{
	struct ksm_chain *chain = node->chain;
	struct ksm_node *before = chain->shown;

	/* Place in the tree and place in the list are the same memory. */
	list_del(&node->member);
	rb_replace_node(&before->rb, &node->rb, root);
	list_add_tail(&before->member, has_room ? &chain->roomy : &chain->full);

	chain->shown = node;
	node->place = KSM_NODE_IN_TREE;
	before->place = KSM_NODE_IN_CHAIN;
}

/**
 * ksm_chain_leave() - take a node out of its chain
 * @node: a member, shown or not
 * @root: root of the tree, in which another member is shown after
 *
 * Context: The caller holds the stable tree's lock.
 */
void ksm_chain_leave(struct ksm_node *node, struct rb_root *root)
{
	struct ksm_chain *chain = node->chain;

	if (node == chain->shown)
		ksm_chain_show(ksm_chain_next(node), root, false);
	list_del(&node->member);
	node->chain = NULL;
	count(chain, -1);
	if (chain->nr == 1)
		end(chain);
}

/**
 * ksm_chain_next() - the member behind another
 * @node: the member before; the first of all is the one that is shown
 *
 * Should the one that is shown leave, then the next is shown.
 *
 * Context: The caller holds the stable tree's lock, or ksm_pass_lock.
 * Return: The next; NULL at the end.
 */
struct ksm_node *ksm_chain_next(const struct ksm_node *node)
{
	struct ksm_chain *chain = node->chain;
	struct list_head *next;

	next = node == chain->shown ? chain->roomy.next : node->member.next;
	if (next == &chain->roomy)
		next = chain->full.next;
	return next == &chain->full ? NULL : list_entry(next, struct ksm_node, member);
}

/* ------------------------------------------------------------------------ */
/* Room.                                                                    */

/**
 * ksm_chain_roomy() - a member that had room when it was looked at
 * @chain: the chain
 *
 * Context: The caller holds the stable tree's lock.
 * Return: The member, which is not shown; NULL for none.
 */
struct ksm_node *ksm_chain_roomy(struct ksm_chain *chain)
{
	return list_first_entry_or_null(&chain->roomy, struct ksm_node, member);
}

/* Note how full @node is. */
static unsigned int account(struct ksm_chain *chain, const struct ksm_node *node)
{
	unsigned int most = READ_ONCE(ksm_state.max_page_sharing);
	unsigned int items = min(READ_ONCE(node->nr_items), most);

	chain->items += items;
	chain->used += items > 0;
	return items;
}

/* Put @node where it belongs; of those with room, the fullest in front. */
static void sort_in(struct ksm_chain *chain, struct ksm_node *node)
{
	struct ksm_node *fullest = ksm_chain_roomy(chain);
	unsigned int items = account(chain, node);

	if (items >= READ_ONCE(ksm_state.max_page_sharing))
		list_move_tail(&node->member, &chain->full);
	else if (!fullest || items > READ_ONCE(fullest->nr_items))
		list_move(&node->member, &chain->roomy);
	else
		list_move_tail(&node->member, &chain->roomy);
}

static void begin_look(struct ksm_chain *chain)
{
	list_splice_init(&chain->roomy, &chain->full);
	chain->unseen = chain->nr - 1;
	chain->items = 0;
	chain->used = 0;
}

static struct ksm_node *end_look(struct ksm_chain *chain)
{
	unsigned int most = READ_ONCE(ksm_state.max_page_sharing);
	struct ksm_node *fullest = ksm_chain_roomy(chain);
	unsigned int items = account(chain, chain->shown);

	chain->loose = chain->used > DIV_ROUND_UP(chain->items, most);
	chain->settled = jiffies;
	if (!fullest || (items < most && items >= READ_ONCE(fullest->nr_items)))
		return chain->shown;
	return fullest;
}

/**
 * ksm_chain_is_due() - is it time to go through a chain?
 * @chain: the chain
 *
 * Context: The caller holds the stable tree's lock, or ksm_pass_lock.
 * Return: true if so, or if somebody has begun to.
 */
bool ksm_chain_is_due(const struct ksm_chain *chain)
{
	unsigned int pause = READ_ONCE(ksm_state.chains_prune_millisecs);

	return chain->unseen ||
	       time_after_eq(jiffies, chain->settled + msecs_to_jiffies(pause));
}

/**
 * ksm_chain_tend() - go through a chain if it is time to, or go on with that
 * @chain: the chain
 *
 * A member that leaves meanwhile may make it see another twice; what is found
 * is a hint anyway, for items come and go all the time.
 *
 * Context: The caller holds the stable tree's lock.
 * Return: The member to show from now on; may be the one that is shown.
 */
struct ksm_node *ksm_chain_tend(struct ksm_chain *chain)
{
	unsigned int most = TEND_AT_ONCE;

	if (!ksm_chain_is_due(chain))
		return chain->shown;
	if (!chain->unseen)
		begin_look(chain);
	for (; chain->unseen && most; chain->unseen--, most--) {
		if (list_empty(&chain->full))
			chain->unseen = 1;
		else
			sort_in(chain, list_first_entry(&chain->full, struct ksm_node, member));
	}
	return chain->unseen ? chain->shown : end_look(chain);
}

/**
 * ksm_chain_can_spare() - is it better if who maps this page maps the shown one?
 * @node: a member
 *
 * Context: The caller holds the stable tree's lock, or ksm_pass_lock.
 * Return: true if the chain has more pages than it needs, and no more map
 *	   this one than that.
 */
bool ksm_chain_can_spare(const struct ksm_node *node)
{
	const struct ksm_node *shown = node->chain->shown;

	return node->chain->loose && node != shown &&
	       READ_ONCE(node->nr_items) <= READ_ONCE(shown->nr_items) &&
	       READ_ONCE(node->nr_items) < READ_ONCE(ksm_state.max_page_sharing);
}

/**
 * ksm_chain_may_spare() - is it worth to ask ksm_chain_can_spare() after a search?
 * @node: a node, in a chain or not
 *
 * Context: The caller holds ksm_pass_lock.
 * Return: false for the pages that are alone, full or shown, which are nearly all.
 */
bool ksm_chain_may_spare(const struct ksm_node *node)
{
	const struct ksm_chain *chain = node->chain;

	return chain && chain->shown != node &&
	       READ_ONCE(node->nr_items) < READ_ONCE(ksm_state.max_page_sharing) &&
	       (ksm_chain_can_spare(node) || ksm_chain_is_due(chain));
}
