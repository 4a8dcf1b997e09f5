// SPDX-License-Identifier: GPL-2.0
/*
 * What is done with a page that was found: read it, judge it, offer it, remember it.
 *
 * Owns nothing. Decides what is remembered of a page; what becomes of one that is offered
 * is match.c's.
 *
 * Floor 5: knows walks, matching, forgetting, gathering, records, the sieve, and what is to
 * be fetched from both trees.
 */
#include <linux/highmem.h>
#include <linux/mm.h>

#include "block.h"
#include "content.h"
#include "forget.h"
#include "gather.h"
#include "glance.h"
#include "item.h"
#include "match.h"
#include "meet.h"
#include "mms.h"
#include "policy.h"
#include "record.h"
#include "sieve.h"
#include "stable_tree.h"
#include "state.h"
#include "unstable_tree.h"
#include "walk.h"

/*
 * Remember what was read, in place of whatever is recorded: nothing, a value,
 * or an item that is linked to no node. Without memory the page is new next
 * round.
 */
static void remember(struct ksm_mm *km, unsigned long index, struct ksm_record record)
{
	struct ksm_item *item = ksm_record_item(ksm_record_load(km, index));

	ksm_record_store(km, index, ksm_record_pack(record));
	if (item) {
		ksm_unstable_remove(item);
		ksm_item_free(item);
	}
}

/*
 * Read a page. Of one that changes again and again no more than a change is looked for:
 * nobody wants a twin of what will be something else before it has merged.
 */
static struct ksm_record read_page(const struct ksm_offer *offer,
				   const struct ksm_glance_page *found, void *entry)
{
	unsigned long pfn = page_to_pfn(offer->page);
	struct ksm_record old, new;
	bool restless = found->restless && ksm_record_recall(entry, pfn, &old) && old.restless;

	flush_anon_page(offer->vma, offer->page, offer->addr);
	flush_dcache_page(offer->page);
	WRITE_ONCE(ksm_counts.scanned, ksm_counts.scanned + 1);
	if (restless && ksm_content_parts_differ(offer->page, &old.hash, offer->ahead)) {
		old.age++;
		old.trusted = found->clean;
		return old;
	}
	new = ksm_record_renew(entry, ksm_content_hash_ahead(offer->page, offer->ahead), pfn);
	new.trusted = found->clean;
	/* All parts held, as far as their short hashes tell, so the page did. */
	new.calm |= restless;
	return new;
}

/* Remember the parts of a page that has changed, and did so the last time as well. */
static void take_apart(const struct ksm_offer *offer, void *entry, struct ksm_record *record)
{
	struct ksm_record old;

	if (READ_ONCE(ksm_state.smart_scan) || record->calm ||
	    !ksm_record_recall(entry, record->pfn, &old) || old.calm ||
	    !ksm_policy_restless(record->age, record->hash))
		return;
	record->hash = ksm_content_hash_parts(offer->page);
	record->restless = true;
}

/* Was the page calm before it was read, and still is? */
static bool has_held(void *entry, const struct ksm_record *record)
{
	struct ksm_record old;

	return record->calm && ksm_record_recall(entry, record->pfn, &old) && old.calm;
}

/* Judge a page that was read. */
static bool sift_page(const struct ksm_offer *offer, void *entry,
		      const struct ksm_record *record)
{
	bool held = has_held(entry, record), noted, passes;

	if (held && !ksm_sieve_has_news(record->hash))
		return false;
	/* Read for the second time in a round, and still the same: it is noted. */
	noted = ksm_record_has(entry, record->hash) &&
		(!ksm_sieve_is_new() || (record->calm && ksm_mms_comes_again(offer->owner)));
	passes = ksm_glance_sift(record->hash, noted);
	/* A twin that was judged before does not know of it. */
	if (passes && !held)
		ksm_sieve_stir(record->hash);
	return passes;
}

/* Look for a twin of the page, and remember the page if there is none. */
static enum ksm_match offer_page(struct ksm_offer *offer, struct ksm_record record)
{
	enum ksm_match match = ksm_match_page(offer, record.hash, record.calm);
	unsigned long index = offer->addr >> PAGE_SHIFT;

	/* Read it next time. */
	if (offer->doubtful) {
		record.age = 0;
		record.trusted = false;
	}
	switch (match) {
	case KSM_MATCH_MERGED:
		break;
	case KSM_MATCH_ZERO:
		ksm_forget_page(offer->owner, index, KSM_FORGET_CHANGED);
		ksm_block_trim(offer->owner, index);
		break;
	case KSM_MATCH_WAITING:
		offer->item->age = record.age;
		offer->item->trusted = record.trusted && !offer->failed;
		break;
	case KSM_MATCH_FAILED:
		/* It may not be what it was: read it next time. */
		record.age = 0;
		record.trusted = false;
		fallthrough;
	default:
		remember(offer->owner, index, record);
	}
	return match;
}

/**
 * ksm_meet_merged() - see to a KSM page
 * @run: the run that it was found in; ends there if the page is to be given up
 * @i: its number there
 * @offer: the page
 * @budget: what it costs is spent
 *
 * Its item shall be the one that it should have, and its page one that is worth keeping.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock, the mmap lock of
 *	    the offer's mm for read, and a reference on the page's folio.
 */
void ksm_meet_merged(struct ksm_glance_run *run, unsigned int i,
		     struct ksm_offer *offer, struct ksm_budget *budget)
{
	unsigned long index = offer->addr >> PAGE_SHIFT;
	struct ksm_item *item;
	int err;

	item = ksm_record_item(ksm_record_load(offer->owner, index));
	if (item && item->kind == KSM_ITEM_MERGED &&
	    item->node == ksm_node_of(page_folio(offer->page))) {
		offer->item = item;
		/* The run may hold the page for other addresses, too. */
		if (ksm_gather_wants(item->node))
			ksm_walk_cut(run, i + 1, offer->addr + PAGE_SIZE);
		err = ksm_gather_page(offer);
		if (err != -ENOENT)
			ksm_policy_spend(budget, KSM_BUDGET_READ);
		if (!err)
			ksm_policy_merge(budget);
		return;
	}
	if (ksm_forget_page(offer->owner, index, KSM_FORGET_CHANGED)) {
		ksm_match_adopt(offer);
		ksm_policy_spend(budget, KSM_BUDGET_MERGE);
	}
}

/**
 * ksm_meet_plan() - have fetched what is going to be read when a page is met
 * @ahead: filled in
 * @next: what the glance made of it
 *
 * That is the page where it must be read, and with its twin if it passes and one has its
 * hash.
 *
 * Context: As for ksm_meet_merged().
 */
void ksm_meet_plan(struct ksm_ahead *ahead, const struct ksm_glance_page *next)
{
	const struct page *twin = NULL;

	if (next->restless) {
		ksm_content_plan_part(ahead, next->page, next->hash);
		return;
	}
	if (next->passes)
		twin = ksm_stable_guess(next->hash) ?: ksm_unstable_guess(next->hash);
	if (next->read || twin || (next->passes && next->hash == ksm_content_zero_hash()))
		ksm_content_plan(ahead, next->page, twin);
}

/**
 * ksm_meet_page() - see to an ordinary page
 * @offer: the page; an item that says otherwise goes first
 * @found: what the glance made of it
 * @budget: what it costs is spent
 *
 * It is read if it must be, judged by the sieve, looked for a twin if it passes, and
 * remembered if it does not merge.
 *
 * Context: As for ksm_meet_merged().
 * Return: See &enum ksm_match; KSM_MATCH_NONE also for a page that was not looked for.
 */
enum ksm_match ksm_meet_page(struct ksm_offer *offer, const struct ksm_glance_page *found,
			     struct ksm_budget *budget)
{
	enum ksm_match match = KSM_MATCH_NONE;
	unsigned long index = offer->addr >> PAGE_SHIFT;
	void *entry = ksm_record_load(offer->owner, index);
	struct ksm_item *item = ksm_record_item(entry);
	bool passes = found->passes;
	struct ksm_record record;

	if (item && item->kind != KSM_ITEM_CANDIDATE) {
		if (!ksm_forget_page(offer->owner, index, KSM_FORGET_CHANGED)) {
			ksm_policy_spend(budget, 1);
			return KSM_MATCH_NONE;
		}
		entry = NULL;
	}
	if (found->read || !ksm_record_recall(entry, page_to_pfn(offer->page), &record)) {
		ksm_policy_spend(budget, KSM_BUDGET_READ);
		record = read_page(offer, found, entry);
		passes = !record.restless && sift_page(offer, entry, &record);
		if (!passes && !record.restless)
			take_apart(offer, entry, &record);
	} else if (passes) {
		ksm_policy_spend(budget, KSM_BUDGET_MERGE);
		offer->unwritten = record.trusted && found->clean;
	}
	if (passes)
		match = offer_page(offer, record);
	else
		remember(offer->owner, index, record);
	if (match == KSM_MATCH_MERGED || match == KSM_MATCH_ZERO)
		ksm_policy_merge(budget);
	return match;
}
