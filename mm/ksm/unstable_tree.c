// SPDX-License-Identifier: GPL-2.0
/*
 * Unstable tree: this round's candidates, ordered by the hash taken when they
 * came in and, where hashes agree, by NUMA node and what the pages hold now.
 *
 * The keys do not change under the tree, whatever programs write, so it cannot
 * become corrupt; where contents under one hash change, a search may miss a
 * twin and finds it next round. A page is looked up, by mm and address, only
 * when its hash agrees. The tree holds no reference: an item that leads to no
 * page any more is dropped on the way.
 *
 * Where pages merge across NUMA nodes, all count as of one.
 *
 * Owns roots, lock and the number of the round: an item of an older round is in
 * no tree, so a round's end costs nothing.
 *
 * Floor 3: knows items, mms and pages, not scanning or merging.
 */
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>

#include "content.h"
#include "mms.h"
#include "page.h"
#include "sieve.h"
#include "state.h"
#include "unstable_tree.h"

/* Candidates to erase for one page that looks for its twin. */
#define STALE_AT_ONCE	64

static struct rb_root roots[KSM_ROOTS];	/* U */
static u32 this_round = 1;		/* U; a new item is of round 0 */

/*
 * Inside mmap locks. Under it the mmap lock of another mm is only ever tried
 * for, so nobody waits here for a long writer.
 */
static DEFINE_MUTEX(ksm_unstable_lock);

static bool in_tree(const struct ksm_item *item)
{
	return item->kind == KSM_ITEM_CANDIDATE && item->round == this_round;
}

/* Is the page still one that looks for twins where its item stands? */
static bool belongs(const struct page *page, const struct ksm_item *item)
{
	return !folio_test_ksm(page_folio(page)) && ksm_page_nid(page) == item->nid;
}

/*
 * Look up the page of the item in @twin. On KSM_FOUND_TWIN the page is
 * referenced and its mm in use and locked for read, if it is not @offer's.
 */
static enum ksm_found look_up(const struct ksm_offer *offer, struct ksm_offer *twin)
{
	struct ksm_mm *km = twin->item->owner;
	struct mm_struct *mm = ksm_mm_of(km);
	bool foreign = km != offer->owner;

	if (foreign) {
		if (!ksm_mms_get(km))
			return KSM_FOUND_STALE;
		if (!mmap_read_trylock(mm)) {
			ksm_mms_drop(km);
			return KSM_FOUND_BUSY;
		}
	}
	twin->owner = km;
	twin->addr = ksm_item_addr(twin->item);
	/* The exit may have begun between the use and the lock; then it waits. */
	twin->page = READ_ONCE(km->exiting) ? NULL :
		     ksm_page_find(mm, twin->addr, &twin->vma);
	if (twin->page && belongs(twin->page, twin->item))
		return KSM_FOUND_TWIN;
	ksm_unstable_release(offer, twin);
	return KSM_FOUND_STALE;
}

static void erase(struct ksm_item *item)
{
	lockdep_assert_held(&ksm_unstable_lock);

	rb_erase(&item->rb, &roots[ksm_root_of(item->hash)]);
	item->round = 0;
}

static enum ksm_found seek(const struct ksm_offer *offer, u64 hash,
			   struct ksm_offer *twin)
{
	struct rb_root *root = &roots[ksm_root_of(hash)];
	struct rb_node **link = &root->rb_node;
	struct rb_node *parent = NULL;
	int nid = ksm_page_nid(offer->page);
	enum ksm_found found;
	int order;

	lockdep_assert_held(&ksm_unstable_lock);

	while (*link) {
		parent = *link;
		twin->item = rb_entry(parent, struct ksm_item, rb);
		if (hash != twin->item->hash) {
			order = hash < twin->item->hash ? -1 : 1;
		} else if (nid != twin->item->nid) {
			order = nid - twin->item->nid;
		} else {
			found = look_up(offer, twin);
			if (found != KSM_FOUND_TWIN)
				return found;
			/* Shared by fork: nothing to gain, and no second candidate. */
			if (twin->page == offer->page)
				break;
			order = ksm_content_compare_ahead(offer->page, twin->page,
							  offer->ahead);
			if (!order)
				break;
			ksm_unstable_release(offer, twin);
		}
		link = order < 0 ? &parent->rb_left : &parent->rb_right;
	}
	if (*link) {
		if (twin->page != offer->page)
			return KSM_FOUND_TWIN;
		ksm_unstable_release(offer, twin);
		return KSM_FOUND_SAME;
	}

	offer->item->hash = hash;
	offer->item->pfn = page_to_pfn(offer->page);
	offer->item->round = this_round;
	offer->item->nid = nid;
	rb_link_node(&offer->item->rb, parent, link);
	rb_insert_color(&offer->item->rb, root);
	return KSM_FOUND_NONE;
}

/**
 * ksm_unstable_guess() - a page that a search for a hash may come to
 * @hash: the hash
 *
 * It may be anybody's by now. It is good for nothing but to fetch into the cache what it
 * holds.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock, and no memory goes
 *	    offline meanwhile.
 * Return: The page, without a reference; NULL for none.
 */
const struct page *ksm_unstable_guess(u64 hash)
{
	const struct page *page = NULL;
	const struct ksm_item *item;
	struct rb_node *place;

	lockdep_assert_held(&ksm_pass_lock);

	mutex_lock(&ksm_unstable_lock);
	for (place = roots[ksm_root_of(hash)].rb_node; place && !page;
	     place = hash < item->hash ? place->rb_left : place->rb_right) {
		item = rb_entry(place, struct ksm_item, rb);
		if (hash == item->hash)
			page = pfn_to_online_page(item->pfn);
	}
	mutex_unlock(&ksm_unstable_lock);
	return page;
}

/**
 * ksm_unstable_seek() - look for a candidate of equal content, else become one
 * @offer: a calm page, its item in no tree
 * @hash: the page's hash
 * @twin: filled in when there is one; to be given back by ksm_unstable_release()
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock and the
 *	    mmap lock of @offer's mm for read.
 * Return: KSM_FOUND_TWIN, which content must confirm under write protection;
 *	   KSM_FOUND_NONE: @offer's item is in the tree now;
 *	   KSM_FOUND_SAME: forks share the page, and one of them is a candidate;
 *	   KSM_FOUND_BUSY: not this round.
 */
enum ksm_found ksm_unstable_seek(const struct ksm_offer *offer, u64 hash,
				 struct ksm_offer *twin)
{
	unsigned int tries = STALE_AT_ONCE;
	enum ksm_found found;

	lockdep_assert_held(&ksm_pass_lock);
	mmap_assert_locked(ksm_mm_of(offer->owner));
	VM_WARN_ON_ONCE(offer->item->kind != KSM_ITEM_CANDIDATE);

	mutex_lock(&ksm_unstable_lock);
	while ((found = seek(offer, hash, twin)) == KSM_FOUND_STALE && tries--) {
		/* Its page may be away for a moment, and come back as it was. */
		ksm_sieve_stir(hash);
		/* The tree is balanced anew, so begin again. */
		erase(twin->item);
	}
	mutex_unlock(&ksm_unstable_lock);
	return found == KSM_FOUND_STALE ? KSM_FOUND_BUSY : found;
}

/**
 * ksm_unstable_release() - give back what a search found
 * @offer: for which was searched
 * @twin: what was found
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_unstable_release(const struct ksm_offer *offer, struct ksm_offer *twin)
{
	lockdep_assert_held(&ksm_pass_lock);

	if (twin->page)
		put_page(twin->page);
	twin->page = NULL;
	if (twin->owner != offer->owner) {
		mmap_read_unlock(ksm_mm_of(twin->owner));
		ksm_mms_drop(twin->owner);
	}
}

/**
 * ksm_unstable_remove() - see that an item is not in the tree
 * @item: a candidate of the caller's
 *
 * Context: Process context; may sleep. The caller owns @item.
 */
void ksm_unstable_remove(struct ksm_item *item)
{
	mutex_lock(&ksm_unstable_lock);
	if (in_tree(item))
		erase(item);
	mutex_unlock(&ksm_unstable_lock);
}

/**
 * ksm_unstable_reset() - begin a new round with an empty tree
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_unstable_reset(void)
{
	unsigned int i;

	lockdep_assert_held(&ksm_pass_lock);

	mutex_lock(&ksm_unstable_lock);
	for (i = 0; i < KSM_ROOTS; i++)
		roots[i] = RB_ROOT;
	/* Round 0 is that of items which are in no tree. */
	if (!++this_round)
		this_round = 1;
	mutex_unlock(&ksm_unstable_lock);
}
