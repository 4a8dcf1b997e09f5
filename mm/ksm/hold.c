// SPDX-License-Identifier: GPL-2.0
/*
 * The hold that a node has on its page, without a reference.
 *
 * A reference would make reclaim and migration trip over it. The node knows the
 * pfn, and the page's mapping points back: a page that was freed has lost that
 * mapping, and a page that moved is found by its new pfn.
 *
 * Owns pfn and mapping, and how both change. Does not know who maps the page,
 * nor where a node is kept.
 *
 * Floor 2: knows pages.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "content.h"
#include "hold.h"
#include "state.h"

static void *mapping_of(struct ksm_node *node)
{
	return (void *)((unsigned long)node | PAGE_MAPPING_KSM);
}

/*
 * Take a reference on a page that is still @node's. A count of zero means that
 * the page is being freed, or that it is frozen for a moment: by migration, or
 * by reclaim that has not decided yet. Only the frozen one is in the swap cache.
 */
static bool try_get(struct ksm_node *node, struct folio *folio)
{
	void *mapping = mapping_of(node);

	if (READ_ONCE(folio->mapping) != mapping)
		return false;
	while (!folio_try_get(folio)) {
		/* Ends: a freeze is short, and takes no lock of ours. */
		if (READ_ONCE(folio->mapping) != mapping ||
		    !folio_test_swapcache(folio))
			return false;
		cpu_relax();
	}
	if (READ_ONCE(folio->mapping) == mapping)
		return true;
	folio_put(folio);
	return false;
}

/* The folio of @node, referenced; NULL when the page was freed. */
static struct folio *get_folio(struct ksm_node *node)
{
	unsigned int moves;
	struct folio *folio;

	for (;;) {
		/* Not the pfn tells: a page that has come back has the old one. */
		moves = READ_ONCE(node->moves);
		smp_rmb();	/* pairs with ksm_hold_migrate(): moves before pfn */
		folio = pfn_folio(READ_ONCE(node->pfn));
		if (try_get(node, folio))
			return folio;
		smp_rmb();	/* pairs with ksm_hold_migrate(): mapping before moves */
		if (READ_ONCE(node->moves) == moves)
			return NULL;
		/* Ends: it moved meanwhile, and nothing moves a page all the time. */
	}
}

static void check_content(struct ksm_node *node, struct folio *folio)
{
	if (!IS_ENABLED(CONFIG_KSM_DEBUG))
		return;
	WARN_ONCE(ksm_content_hash(&folio->page) != node->hash,
		  "KSM page %lx has changed\n", folio_pfn(folio));
}

/**
 * ksm_hold_peek() - look for the page of a node
 * @node: the node
 * @foliop: set to the folio, with a reference, when that is still ours; set
 *	    for KSM_PEEK_OK alone
 *
 * Never drops the node: that is for the caller to decide.
 *
 * Context: Any context that keeps @node from being freed: ksm_pass_lock,
 *	    ksm_link_lock for a node that an item names, or the folio's lock.
 * Return: KSM_PEEK_OK, KSM_PEEK_GONE or KSM_PEEK_POISONED.
 */
enum ksm_peek ksm_hold_peek(struct ksm_node *node, struct folio **foliop)
{
	struct folio *folio = get_folio(node);

	if (!folio)
		return KSM_PEEK_GONE;
	if (folio_test_hwpoison(folio)) {
		folio_put(folio);
		return KSM_PEEK_POISONED;
	}
	check_content(node, folio);
	*foliop = folio;
	return KSM_PEEK_OK;
}

/**
 * ksm_hold_lock() - lock the page that an item is merged into
 * @item: an item of the caller's
 * @wait: whether to wait for the lock
 * @foliop: set to the folio, locked and referenced, for KSM_PEEK_OK
 *
 * A poisoned page is locked as well: its mappings come and go like others'.
 *
 * Context: Process context; sleeps if @wait. The caller owns @item.
 * Return: KSM_PEEK_OK; KSM_PEEK_GONE when there is no page to lock;
 *	   KSM_PEEK_BUSY when somebody else holds the lock and @wait is false.
 */
enum ksm_peek ksm_hold_lock(struct ksm_item *item, bool wait, struct folio **foliop)
{
	struct ksm_node *node;
	struct folio *folio;

	for (;;) {
		spin_lock(&ksm_link_lock);
		node = item->kind == KSM_ITEM_MERGED ? item->node : NULL;
		folio = node ? get_folio(node) : NULL;
		spin_unlock(&ksm_link_lock);
		if (!folio)
			return KSM_PEEK_GONE;

		if (wait) {
			folio_lock(folio);
		} else if (!folio_trylock(folio)) {
			folio_put(folio);
			return KSM_PEEK_BUSY;
		}
		if (ksm_node_of(folio) == node)
			break;
		/* It moved while we waited. Ends: as in get_folio(). */
		folio_unlock(folio);
		folio_put(folio);
	}
	*foliop = folio;
	return KSM_PEEK_OK;
}

/**
 * ksm_hold_adopt() - make a page the KSM page of a node
 * @node: a new node
 * @folio: an anonymous small folio that nobody can write to any more
 *
 * From here on the page is never written to, and never becomes an ordinary one
 * again. It is marked dirty because a clean one that is not in the swap cache
 * would be thrown away by reclaim (after MADV_FREE, for example).
 *
 * Context: The caller holds @folio's lock, and links an item before it lets go.
 */
void ksm_hold_adopt(struct ksm_node *node, struct folio *folio)
{
	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_FOLIO(folio_test_large(folio) || folio_test_ksm(folio), folio);

	folio_mark_dirty(folio);
	node->pfn = folio_pfn(folio);
	WRITE_ONCE(folio->mapping, mapping_of(node));
}

/**
 * ksm_hold_release() - cut a page that stays alive from its node
 * @node: a node without items
 * @folio: its page; stays a KSM page that no walk leads from
 *
 * Context: The caller holds @folio's lock, and nobody maps it.
 */
void ksm_hold_release(struct ksm_node *node, struct folio *folio)
{
	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);
	VM_WARN_ON_FOLIO(folio_mapped(folio), folio);

	WRITE_ONCE(folio->mapping, mapping_of(NULL));
}

/**
 * ksm_hold_abandon() - cut a node from a page whose memory goes away
 * @node: the node
 *
 * Context: Process context. Nobody maps, locks or allocates the page any more.
 */
void ksm_hold_abandon(struct ksm_node *node)
{
	struct folio *folio = pfn_folio(node->pfn);

	if (ksm_node_of(folio) == node)
		WRITE_ONCE(folio->mapping, mapping_of(NULL));
}

/**
 * ksm_hold_migrate() - a KSM page moves
 * @dst: where it goes; its mapping is set
 * @src: where it was; still has its mapping, and the swap cache flag if any
 *
 * Context: The caller holds both folios' locks. Does not sleep.
 */
void ksm_hold_migrate(struct folio *dst, struct folio *src)
{
	struct ksm_node *node = ksm_node_of(dst);

	VM_WARN_ON_FOLIO(!folio_test_locked(dst), dst);
	VM_WARN_ON_FOLIO(!folio_test_locked(src), src);

	if (!node)
		return;
	/* Pairs with get_folio(): content and mapping of the new page before its pfn. */
	smp_store_release(&node->pfn, folio_pfn(dst));
	smp_wmb();	/* pairs with get_folio(): new pfn before it is said to be new */
	WRITE_ONCE(node->moves, node->moves + 1);
	smp_wmb();	/* pairs with get_folio(): and that before the old mapping goes */
	WRITE_ONCE(src->mapping, mapping_of(NULL));
}
