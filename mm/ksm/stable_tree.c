// SPDX-License-Identifier: GPL-2.0
/*
 * Stable tree: the KSM pages, ordered by hash and, where hashes agree, by NUMA
 * node and content.
 *
 * A page is touched only when the hashes agree, so a search costs a few integer
 * comparisons and at most a look at one page. The hash in a node was taken
 * under write protection and the content never changes after, so the order
 * holds for good. Where a page on the way is gone or cannot be read, the order
 * cannot be followed past it: the search says so and drops nothing itself.
 *
 * Where pages merge across NUMA nodes, all count as of one. Where they do not, a
 * page that migrates to another is found by no search until the sweep has put its
 * node to where it belongs now.
 *
 * Of several KSM pages of one content, one leads to the others: see chain.c.
 *
 * Owns the roots and their lock. A caller says a hash and a page and gets a node:
 * that there are many small trees is nobody else's business.
 *
 * Floor 3: knows nodes and chains, not who maps them.
 */
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/prefetch.h>
#include <linux/rbtree.h>

#include <trace/events/ksm.h>

#include "chain.h"
#include "content.h"
#include "hold.h"
#include "node.h"
#include "page.h"
#include "sieve.h"
#include "stable_tree.h"
#include "state.h"

static struct rb_root roots[KSM_ROOTS];		/* S */
static LIST_HEAD(aside);			/* S */

/* Inside folio locks (insertion); nothing is waited for under it. */
static DEFINE_MUTEX(ksm_stable_lock);

/* Where a walk down a tree has come to. */
struct place {
	int		nid;
	struct rb_node	**link;
	struct rb_node	*parent;
	struct ksm_node	*node;	/* the twin, or what blocks the way */
	struct folio	*folio;	/* of the twin, referenced */
	struct ksm_ahead *ahead;	/* to fetch meanwhile, or NULL */
	bool		by_hash;	/* a page of equal hash is the twin, unread */
};

/* The tree under which a node is; all of its chain are under the same. */
static struct rb_root *tree_of(const struct ksm_node *node)
{
	return &roots[ksm_root_of(node->hash)];
}

/* Is @node where its page belongs? */
static bool is_home(const struct ksm_node *node, const struct folio *folio)
{
	return (node->place == KSM_NODE_IN_TREE || node->place == KSM_NODE_IN_CHAIN) &&
	       node->nid == ksm_page_nid(&folio->page);
}

static enum ksm_found descend(u64 hash, struct page *page, struct place *at)
{
	struct ksm_node *node;
	int order;

	lockdep_assert_held(&ksm_stable_lock);

	at->nid = ksm_page_nid(page);
	at->link = &roots[ksm_root_of(hash)].rb_node;
	at->parent = NULL;
	while (*at->link) {
		at->parent = *at->link;
		node = rb_entry(at->parent, struct ksm_node, rb);
		if (hash != node->hash) {
			order = hash < node->hash ? -1 : 1;
		} else if (at->nid != node->nid) {
			order = at->nid - node->nid;
		} else {
			at->node = node;
			if (ksm_hold_peek(node, &at->folio) != KSM_PEEK_OK)
				return KSM_FOUND_STALE;
			order = at->by_hash ? 0 :
				ksm_content_compare_ahead(page, &at->folio->page, at->ahead);
			if (!order && is_home(node, at->folio))
				return KSM_FOUND_TWIN;
			folio_put(at->folio);
			if (!order)
				return KSM_FOUND_STALE;
		}
		at->link = order < 0 ? &at->parent->rb_left : &at->parent->rb_right;
	}
	return KSM_FOUND_NONE;
}

/* Let @node be found from now on instead of the one in @at, of equal content. */
static enum ksm_found turn_to(struct ksm_node *node, struct place *at)
{
	ksm_chain_show(node, tree_of(at->node), ksm_node_has_room(at->node, at->folio));
	folio_put(at->folio);
	at->node = node;
	if (ksm_hold_peek(node, &at->folio) != KSM_PEEK_OK)
		return KSM_FOUND_STALE;
	if (is_home(node, at->folio))
		return KSM_FOUND_TWIN;
	folio_put(at->folio);
	return KSM_FOUND_STALE;
}

/* Find a page that has room among those of the twin's content, for the twin in @at. */
static enum ksm_found find_room(struct place *at)
{
	enum ksm_found found = KSM_FOUND_TWIN;
	struct ksm_node *node;

	lockdep_assert_held(&ksm_stable_lock);

	node = at->node->chain ? ksm_chain_tend(at->node->chain) : at->node;
	if (node != at->node)
		found = turn_to(node, at);
	while (found == KSM_FOUND_TWIN && !ksm_node_has_room(at->node, at->folio)) {
		node = at->node->chain ? ksm_chain_roomy(at->node->chain) : NULL;
		if (!node) {
			folio_put(at->folio);
			return KSM_FOUND_FULL;
		}
		/* Ends: who has no room is not offered before the chain is looked at again. */
		found = turn_to(node, at);
		cond_resched();
	}
	return found;
}

/**
 * ksm_stable_search() - look for a KSM page of equal content
 * @hash: the page's hash
 * @page: the page; it may be written to meanwhile, so the answer is a hint
 * @by_hash: take one of equal hash for equal: for who compares the two himself
 * @ahead: what to fetch meanwhile, or NULL
 * @nodep: set to the twin's node, or to the node that must be dropped first
 * @foliop: set to the twin's folio, with a reference
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock, by which
 *	    the node stays valid.
 * Return: KSM_FOUND_NONE, KSM_FOUND_TWIN, KSM_FOUND_FULL or KSM_FOUND_STALE.
 */
enum ksm_found ksm_stable_search(u64 hash, struct page *page, bool by_hash,
				 struct ksm_ahead *ahead, struct ksm_node **nodep,
				 struct folio **foliop)
{
	struct place at = { .ahead = ahead, .by_hash = by_hash };
	enum ksm_found found;

	lockdep_assert_held(&ksm_pass_lock);

	mutex_lock(&ksm_stable_lock);
	found = descend(hash, page, &at);
	if (found == KSM_FOUND_TWIN)
		found = find_room(&at);
	mutex_unlock(&ksm_stable_lock);
	*nodep = at.node;
	*foliop = at.folio;
	return found;
}

/**
 * ksm_stable_guess() - a KSM page that a search for a hash may come to
 * @hash: the hash
 *
 * Its struct page is there as long as the caller holds the lock, for memory that goes
 * offline waits for that; the page itself may be gone, poisoned, or on a NUMA node where
 * nobody looks for it. It is good for nothing but to fetch into the cache what it holds.
 *
 * Context: Process context; does not sleep. The caller holds ksm_pass_lock.
 * Return: The page, without a reference; NULL for none.
 */
const struct page *ksm_stable_guess(u64 hash)
{
	const struct ksm_node *node;
	struct rb_node *place;

	lockdep_assert_held(&ksm_pass_lock);

	for (place = roots[ksm_root_of(hash)].rb_node; place;
	     place = hash < node->hash ? place->rb_left : place->rb_right) {
		node = rb_entry(place, struct ksm_node, rb);
		if (hash != node->hash)
			continue;
		prefetchw(&node->nr_items);
		return pfn_to_page(READ_ONCE(node->pfn));
	}
	return NULL;
}

static void plant(struct ksm_node *node, struct place *at)
{
	rb_link_node(&node->rb, at->parent, at->link);
	rb_insert_color(&node->rb, tree_of(node));
	WRITE_ONCE(node->nid, at->nid);
	node->place = KSM_NODE_IN_TREE;
}

/* Put @node beside the one in @at, of equal content. */
static int plant_beside(struct ksm_node *node, struct place *at)
{
	int err = ksm_chain_add(at->node, node);

	if (!err)
		WRITE_ONCE(node->nid, at->node->nid);
	return err;
}

/* Find a place for the node of @folio, which is no KSM page yet. */
static int plant_new(struct ksm_node *node, struct folio *folio)
{
	struct place at = { };
	enum ksm_found found = descend(node->hash, &folio->page, &at);
	int err;

	if (found == KSM_FOUND_NONE) {
		plant(node, &at);
		return 0;
	}
	if (found == KSM_FOUND_TWIN)
		found = find_room(&at);
	if (found == KSM_FOUND_TWIN) {
		folio_put(at.folio);
		return -EEXIST;
	}
	if (found != KSM_FOUND_FULL)
		return -EAGAIN;
	err = plant_beside(node, &at);
	if (!err)
		ksm_chain_show(node, tree_of(node), false);
	return err;
}

/**
 * ksm_stable_insert() - put a page into the tree, and make it a KSM page
 * @node: its node, with the hash filled in
 * @folio: its folio, which nobody can write to any more
 *
 * Both happen under the tree's lock: no search meets a node without a page,
 * and no error leaves a KSM page outside the tree.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock and
 *	    @folio's lock, and links an item before it lets go.
 * Return: 0; -EEXIST when there is a KSM page of that content already which one
 *	   more may join; -EAGAIN when the way is blocked; -ENOMEM. Nothing has
 *	   changed then.
 */
int ksm_stable_insert(struct ksm_node *node, struct folio *folio)
{
	int err;

	lockdep_assert_held(&ksm_pass_lock);
	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);

	mutex_lock(&ksm_stable_lock);
	err = plant_new(node, folio);
	if (!err) {
		ksm_hold_adopt(node, folio);
		ksm_sieve_keep(node->hash);
		ksm_sieve_stir(node->hash);
	}
	mutex_unlock(&ksm_stable_lock);
	return err;
}

static void take_out(struct ksm_node *node)
{
	lockdep_assert_held(&ksm_stable_lock);

	if (node->chain)
		ksm_chain_leave(node, tree_of(node));
	else if (node->place == KSM_NODE_IN_TREE)
		rb_erase(&node->rb, tree_of(node));
	else if (node->place == KSM_NODE_ASIDE)
		list_del(&node->aside);
	node->place = KSM_NODE_LOOSE;
}

/**
 * ksm_stable_remove() - take a node away from wherever it is kept
 * @node: the node; its hash is not in the way of a search any more
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_stable_remove(struct ksm_node *node)
{
	lockdep_assert_held(&ksm_pass_lock);

	mutex_lock(&ksm_stable_lock);
	take_out(node);
	mutex_unlock(&ksm_stable_lock);
}

static void set_aside(struct ksm_node *node)
{
	mutex_lock(&ksm_stable_lock);
	take_out(node);
	list_add(&node->aside, &aside);
	node->place = KSM_NODE_ASIDE;
	mutex_unlock(&ksm_stable_lock);
	/* It stays there, wherever its page would belong. */
	ksm_node_set_astray(node, false);
}

/**
 * ksm_stable_drop() - end a node whose page is gone
 * @node: the node; its items become orphans
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_stable_drop(struct ksm_node *node)
{
	trace_ksm_remove_ksm_page(node->pfn);
	ksm_stable_remove(node);
	ksm_node_disband(node);
	ksm_node_free(node);
}

/* Put @node into the tree that is meant for its page. False if that must wait. */
static bool put_home(struct ksm_node *node, struct folio *folio)
{
	struct place at = { };

	lockdep_assert_held(&ksm_stable_lock);

	switch (descend(node->hash, &folio->page, &at)) {
	case KSM_FOUND_NONE:
		plant(node, &at);
		return true;
	case KSM_FOUND_TWIN:
		/* Should they not need two, gather.c has one run empty. */
		folio_put(at.folio);
		return !plant_beside(node, &at);
	default:
		return false;
	}
}

/*
 * The page of @node is there. If it has moved to where another tree is meant for
 * it, its node follows; under the folio's lock, so that it does not move again.
 */
static void follow(struct ksm_node *node, struct folio *folio)
{
	bool locked, home = false;

	if (is_home(node, folio) && !READ_ONCE(node->astray))
		return;

	locked = folio_trylock(folio);
	mutex_lock(&ksm_stable_lock);
	take_out(node);
	if (locked && ksm_node_of(folio) == node)
		home = put_home(node, folio);
	if (!home) {
		list_add(&node->aside, &aside);
		node->place = KSM_NODE_ASIDE;
	}
	mutex_unlock(&ksm_stable_lock);
	ksm_node_set_astray(node, !home);
	/* Equal pages may have waited where it is now. */
	if (home)
		ksm_sieve_stir(node->hash);
	if (locked)
		folio_unlock(folio);
}

/**
 * ksm_stable_prune() - see that a node is no obstacle where it is
 * @node: the node
 *
 * A node whose page is gone ends. One whose page has moved to another NUMA node
 * goes to the tree that is meant for it, if that can be done at once, and waits
 * aside else. A poisoned page's is set aside for good: who maps it has to be
 * told, which takes the way through the node, but no search shall ever come to
 * it again.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_stable_prune(struct ksm_node *node)
{
	struct folio *folio;

	lockdep_assert_held(&ksm_pass_lock);

	switch (ksm_hold_peek(node, &folio)) {
	case KSM_PEEK_OK:
		follow(node, folio);
		folio_put(folio);
		break;
	case KSM_PEEK_GONE:
		ksm_stable_drop(node);
		break;
	default:
		set_aside(node);
	}
}

/* The first node of the first tree from @tree on; then those set aside. */
static struct ksm_node *first_from(struct rb_root *tree)
{
	struct rb_node *first;

	for (; tree < roots + KSM_ROOTS; tree++) {
		first = rb_first(tree);
		if (first)
			return rb_entry(first, struct ksm_node, rb);
	}
	return list_first_entry_or_null(&aside, struct ksm_node, aside);
}

/**
 * ksm_stable_next() - the node behind another
 * @node: the node before, still where it was; NULL for the first
 *
 * Tree after tree, each in order; those that were set aside come last. Of a chain, all
 * are gone through, beginning with the one that is shown. Should that leave after it was
 * asked for the next, then the next is shown.
 *
 * Context: The caller holds ksm_pass_lock for the whole iteration: nobody else
 *	    changes the trees.
 * Return: The node; NULL at the end.
 */
struct ksm_node *ksm_stable_next(struct ksm_node *node)
{
	struct rb_node *next;

	lockdep_assert_held(&ksm_pass_lock);

	if (!node)
		return first_from(roots);
	if (node->place == KSM_NODE_ASIDE)
		return list_is_last(&node->aside, &aside) ? NULL :
		       list_next_entry(node, aside);
	if (node->chain) {
		if (ksm_chain_next(node))
			return ksm_chain_next(node);
		node = node->chain->shown;
	}
	next = rb_next(&node->rb);
	return next ? rb_entry(next, struct ksm_node, rb) : first_from(tree_of(node) + 1);
}
