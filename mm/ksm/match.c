// SPDX-License-Identifier: GPL-2.0
/*
 * What to do with one page: find it a twin, and merge the two.
 *
 * Locks both folios, the one that is replaced first, the other only if it can
 * be had at once; sees that they are still what was found; has the one mapped in
 * place of the other, for which they are compared, and only this comparison
 * decides. The kept page stays locked until the PTE stands, so migration cannot
 * slip in between.
 *
 * Owns nothing. Does not know how pages are found or how often they are read.
 *
 * Floor 4: knows both trees, the page-table primitives, nodes, items, records.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include <trace/events/ksm.h>

#include "content.h"
#include "item.h"
#include "match.h"
#include "merge.h"
#include "node.h"
#include "record.h"
#include "sieve.h"
#include "stable_tree.h"
#include "state.h"
#include "unstable_tree.h"

/* Nodes in the way to drop for one page: a chain may have lost very many. */
#define PRUNE_AT_ONCE	64

/* ------------------------------------------------------------------------ */
/* Merging.                                                                 */

static int join_locked(struct ksm_offer *offer, struct ksm_node *node,
		       struct folio *keep)
{
	/* Since the search it may have moved, failed, or been forked. */
	if (ksm_node_of(keep) != node || folio_test_hwpoison(keep) ||
	    !ksm_node_has_room(node, keep))
		return -EAGAIN;
	return ksm_merge_join(offer, offer->item, node, keep);
}

/* Merge the page of @offer into the KSM page @keep. */
static int join(struct ksm_offer *offer, struct ksm_node *node, struct folio *keep)
{
	struct folio *folio = page_folio(offer->page);
	struct mmu_notifier_range range;
	int err = -EAGAIN;

	ksm_merge_begin(offer, &range);
	if (folio_trylock(folio)) {
		if (folio_trylock(keep)) {
			err = join_locked(offer, node, keep);
			folio_unlock(keep);
		}
		folio_unlock(folio);
	}
	ksm_merge_end(&range);
	trace_ksm_merge_with_ksm_page(&keep->page, folio_pfn(keep), offer->item,
				      ksm_mm_of(offer->owner), err);
	return err;
}

/*
 * Make the frozen page of @offer a KSM page. Others may map it by fork, and
 * its own anon_vma and index, not the VMA's, lead to all of them: read them
 * before the mapping is overwritten.
 */
static int promote(struct ksm_offer *offer, struct ksm_node *node)
{
	struct folio *folio = page_folio(offer->page);
	struct anon_vma *anon_vma = folio_get_anon_vma(folio);
	int err;

	if (!anon_vma)
		return -EAGAIN;
	node->hash = ksm_content_hash(offer->page);
	err = ksm_stable_insert(node, folio);
	if (!err)
		ksm_node_link(node, offer->item, anon_vma, folio->index);
	put_anon_vma(anon_vma);
	return err;
}

/*
 * Both folios are locked. That of @a becomes the KSM page, and the node is used up
 * then, even if that of @b is not merged, as it has changed since it was found.
 */
static int pair_locked(struct ksm_offer *a, struct ksm_offer *b,
		       struct ksm_node **nodep)
{
	struct ksm_node *node = *nodep;
	int err;

	if (folio_test_ksm(page_folio(a->page)) || folio_test_ksm(page_folio(b->page)))
		return -EAGAIN;
	/* It may have been forked since it was chosen. */
	if (!ksm_node_has_room(node, page_folio(a->page)))
		return -EAGAIN;
	err = ksm_merge_freeze(a);
	if (err)
		return err;

	ksm_unstable_remove(a->item);
	err = promote(a, node);
	if (err)
		return err;
	*nodep = NULL;
	ksm_unstable_remove(b->item);
	return ksm_merge_join(b, b->item, node, page_folio(a->page));
}

/* Make a KSM page of the page of @a, and merge that of @b into it. */
static void pair(struct ksm_offer *a, struct ksm_offer *b)
{
	struct folio *fa = page_folio(a->page), *fb = page_folio(b->page);
	struct mmu_notifier_range range_a, range_b;
	struct ksm_node *node = ksm_node_alloc();
	int err = -EAGAIN;

	if (!node)
		return;
	ksm_merge_begin(a, &range_a);
	ksm_merge_begin(b, &range_b);
	if (folio_trylock(fb)) {
		if (folio_trylock(fa)) {
			err = pair_locked(a, b, &node);
			folio_unlock(fa);
		}
		folio_unlock(fb);
	}
	ksm_merge_end(&range_b);
	ksm_merge_end(&range_a);
	trace_ksm_merge_one_page(page_to_pfn(a->page), a->item,
				 ksm_mm_of(a->owner), err);
	if (node)
		ksm_node_free(node);
}

/* ------------------------------------------------------------------------ */
/* Matching.                                                                */

/* See that @offer has an item which is in no tree, and that the records hold it. */
static int take_item(struct ksm_offer *offer)
{
	unsigned long index = offer->addr >> PAGE_SHIFT;
	struct ksm_item *item;
	int err;

	offer->item = ksm_record_item(ksm_record_load(offer->owner, index));
	if (offer->item) {
		ksm_unstable_remove(offer->item);
		return 0;
	}
	item = ksm_item_alloc(offer->owner, index);
	if (!item)
		return -ENOMEM;
	err = ksm_record_store(offer->owner, index, item);
	if (err) {
		ksm_item_free(item);
		return err;
	}
	offer->item = item;
	return 0;
}

static bool is_large(const struct page *page)
{
	return folio_test_large(page_folio(page));
}

/* Does a reference on @which of the two, @offer and its twin, stand in the way? */
static bool is_held(struct ksm_offer *offer, const struct ksm_offer *which)
{
	bool on_lru = folio_test_lru(page_folio(which->page));

	if (!ksm_merge_is_held(which))
		return false;
	/* Who is not on the LRU is on the way there, since before the drain or after it. */
	offer->wants_drain |= !offer->drained && !(offer->spared && on_lru);
	offer->pinned |= offer->drained && on_lru;
	return true;
}

/* Map the zero page in place of the page of @offer, if that is all zeros. */
static int merge_zero(struct ksm_offer *offer)
{
	struct folio *folio = page_folio(offer->page);
	struct mmu_notifier_range range;
	int err = -EAGAIN;

	ksm_merge_begin(offer, &range);
	if (folio_trylock(folio)) {
		if (!folio_test_ksm(folio))
			err = ksm_merge_zero(offer);
		folio_unlock(folio);
	}
	ksm_merge_end(&range);
	trace_ksm_merge_one_page(page_to_pfn(offer->page), NULL,
				 ksm_mm_of(offer->owner), err);
	return err;
}

/*
 * In a mapping of a file the page table alone says that a page is a copy: who takes
 * the file's pages out of it spares anonymous pages, which the zero page is not, and
 * the program would read the file again.
 */
static bool looks_zero(const struct ksm_offer *offer, u64 hash)
{
	return hash == ksm_content_zero_hash() && READ_ONCE(ksm_state.use_zero_pages) &&
	       vma_is_anonymous(offer->vma) &&
	       !mm_forbids_zeropage(ksm_mm_of(offer->owner)) &&
	       !ksm_content_compare(offer->page, ZERO_PAGE(offer->addr));
}

static enum ksm_match match_zero(struct ksm_offer *offer)
{
	if (is_large(offer->page))
		return KSM_MATCH_LARGE;
	if (is_held(offer, offer))
		return KSM_MATCH_BUSY;
	return merge_zero(offer) ? KSM_MATCH_FAILED : KSM_MATCH_ZERO;
}

/* Look for the KSM page that a page is equal to, or by its hash, which it may be equal to. */
static enum ksm_found find_keep(struct ksm_offer *offer, u64 hash, bool by_hash,
				struct ksm_node **nodep, struct folio **keepp)
{
	unsigned int most = PRUNE_AT_ONCE;
	enum ksm_found found;

	while ((found = ksm_stable_search(hash, offer->page, by_hash, offer->ahead, nodep,
					  keepp)) == KSM_FOUND_STALE) {
		/* Others wait for the locks. Next time it goes on where it was. */
		if (!most--)
			break;
		ksm_stable_prune(*nodep);
	}
	return found;
}

/* Gives @keep back. */
static int try_to_join(struct ksm_offer *offer, struct ksm_node *node, struct folio *keep)
{
	int err = take_item(offer);

	if (!err)
		err = is_held(offer, offer) ? -EBUSY : join(offer, node, keep);
	folio_put(keep);
	return err;
}

/*
 * Look among the KSM pages. Where that of equal hash is next to certainly a twin that the
 * page can join, it is compared when they merge, and not before. A try in vain would cost
 * more than that: other CPUs and secondary MMUs are told, and faults wait.
 */
static enum ksm_match match_stable(struct ksm_offer *offer, u64 hash)
{
	bool by_hash = KSM_CONTENT_HASH_TELLS && offer->unwritten &&
		       !is_large(offer->page) && !ksm_merge_is_held(offer);
	struct ksm_node *node, *tried = NULL;
	enum ksm_found found;
	struct folio *keep;
	int err;

	found = find_keep(offer, hash, by_hash, &node, &keep);
	if (found == KSM_FOUND_TWIN && by_hash) {
		err = try_to_join(offer, node, keep);
		if (!err)
			return KSM_MATCH_MERGED;
		offer->doubtful = err == -EAGAIN;
		tried = node;
	}
	/* There may be another content of that hash. */
	if (by_hash && (found == KSM_FOUND_TWIN || found == KSM_FOUND_FULL))
		found = find_keep(offer, hash, false, &node, &keep);
	if (found == KSM_FOUND_FULL)
		ksm_sieve_retry(hash); /* Room comes without a word. */
	if (found != KSM_FOUND_TWIN)
		return found == KSM_FOUND_STALE ? KSM_MATCH_FAILED : KSM_MATCH_NONE;
	if (node == tried || is_large(offer->page)) {
		folio_put(keep);
		return node == tried ? KSM_MATCH_FAILED : KSM_MATCH_LARGE;
	}
	err = try_to_join(offer, node, keep);
	if (err == -EBUSY)
		return KSM_MATCH_BUSY;
	return err ? KSM_MATCH_FAILED : KSM_MATCH_MERGED;
}

/* Are there as many KSM pages as may be? Pages may join those still. */
static bool at_limit(void)
{
	unsigned long most = READ_ONCE(ksm_state.max_kernel_pages);

	return most && atomic_long_read(&ksm_counts.nodes) >= most;
}

/* Do forks map the page so often already that none may join it? */
static bool is_full(const struct page *page)
{
	return folio_mapcount(page_folio(page)) >= READ_ONCE(ksm_state.max_page_sharing);
}

/* Merge with a candidate that looks equal. */
static enum ksm_match match_twin(struct ksm_offer *offer, struct ksm_offer *twin)
{
	if (at_limit())
		return KSM_MATCH_BUSY;
	if (is_large(offer->page))
		return KSM_MATCH_LARGE;
	if (is_large(twin->page) && ksm_merge_split(twin->page))
		return KSM_MATCH_FAILED;
	/* Asked before it costs other page tables, and all CPUs, something. */
	if (is_held(offer, offer))
		return KSM_MATCH_BUSY;
	if (is_held(offer, twin))
		return offer->wants_drain ? KSM_MATCH_BUSY : KSM_MATCH_FAILED;
	if (!is_full(offer->page))
		pair(offer, twin);
	else if (!is_full(twin->page))
		pair(twin, offer);
	/* The page may be a KSM page now though its twin got away. */
	return offer->item->kind == KSM_ITEM_MERGED ? KSM_MATCH_MERGED :
						      KSM_MATCH_FAILED;
}

/* A candidate with which a merge has failed: it may not be what it was. */
static void give_way(struct ksm_item *item)
{
	ksm_unstable_remove(item);
	if (item->kind == KSM_ITEM_CANDIDATE) {
		item->trusted = false;
		item->age = 0;
	}
}

/* Look among this round's candidates; become one if there is no twin. */
static enum ksm_match match_unstable(struct ksm_offer *offer, u64 hash)
{
	struct ksm_offer twin = { .ahead = offer->ahead };
	enum ksm_match match;
	int tries = 2;

	if (take_item(offer))
		return KSM_MATCH_FAILED;

	do {
		switch (ksm_unstable_seek(offer, hash, &twin)) {
		case KSM_FOUND_NONE:
			return KSM_MATCH_WAITING;
		case KSM_FOUND_TWIN:
			break;
		case KSM_FOUND_BUSY:
			return KSM_MATCH_BUSY;
		case KSM_FOUND_SAME:
			return KSM_MATCH_NONE;
		default:
			return KSM_MATCH_FAILED;
		}
		match = match_twin(offer, &twin);
		/*
		 * The other is in use, perhaps. Take its place in the tree, or
		 * a page that is pinned for good would keep its equals apart.
		 */
		if (match == KSM_MATCH_FAILED) {
			give_way(twin.item);
			offer->failed = true;
		}
		ksm_unstable_release(offer, &twin);
	} while (match == KSM_MATCH_FAILED && --tries);
	return match;
}

/* May it be that it merges in the next round, with nobody having come meanwhile? */
static bool wants_again(enum ksm_match match)
{
	return match == KSM_MATCH_BUSY || match == KSM_MATCH_FAILED ||
	       match == KSM_MATCH_LARGE;
}

/**
 * ksm_match_page() - look for a twin of a page, and merge
 * @offer: the page; its @item is set where it got or had one
 * @hash: its hash
 * @calm: whether the hash was the same a round ago
 *
 * A page that changes is offered to the KSM pages, which costs a few integer
 * comparisons, but not to other candidates, since it would change again before
 * it found one.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock, the mmap
 *	    lock of the offer's mm for read, one reference on the page's folio,
 *	    and no other lock.
 * Return: See &enum ksm_match. But for KSM_MATCH_WAITING and KSM_MATCH_MERGED,
 *	   the records may hold an item that is in no tree: the caller's to replace.
 */
enum ksm_match ksm_match_page(struct ksm_offer *offer, u64 hash, bool calm)
{
	enum ksm_match match;

	lockdep_assert_held(&ksm_pass_lock);
	mmap_assert_locked(ksm_mm_of(offer->owner));

	if (looks_zero(offer, hash))
		match = match_zero(offer);
	else
		match = match_stable(offer, hash);
	if (match == KSM_MATCH_NONE && calm)
		match = match_unstable(offer, hash);
	/* Who was the other shall be offered again, too. */
	if (wants_again(match) || offer->failed)
		ksm_sieve_retry(hash);
	return match;
}

/**
 * ksm_match_adopt() - make the item of a page that is a KSM page already
 * @offer: the page, shared by fork; without an item
 *
 * Without memory, or if somebody else has the page locked, it is left for the
 * next round: the items of others lead to this mapping as well.
 *
 * Context: As for ksm_match_page().
 */
void ksm_match_adopt(struct ksm_offer *offer)
{
	struct folio *folio = page_folio(offer->page);
	struct ksm_node *node;

	lockdep_assert_held(&ksm_pass_lock);
	mmap_assert_locked(ksm_mm_of(offer->owner));

	if (take_item(offer))
		return;
	if (folio_trylock(folio)) {
		node = ksm_node_of(folio);
		if (node)
			ksm_node_link(node, offer->item, offer->vma->anon_vma,
				      linear_page_index(offer->vma, offer->addr));
		folio_unlock(folio);
	}
}
