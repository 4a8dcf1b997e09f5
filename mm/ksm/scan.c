// SPDX-License-Identifier: GPL-2.0
/*
 * A round over all mms, a batch at a time.
 *
 * A walk of the page tables gives a run of pages, see walk.c; they are read after
 * it. What is recorded for addresses between the pages found is forgotten:
 * whatever was there is not there any more.
 *
 * The mmap lock is held for a run, and given up early when somebody waits for
 * it. The place to go on from is kept with the mm.
 *
 * Owns the state of the round. It decides when a page is read and what is
 * remembered of it; what is done with it is match.c's.
 *
 * Floor 5: knows walking, matching, forgetting, records and mms.
 */
#include <linux/freezer.h>
#include <linux/highmem.h>
#include <linux/mm.h>

#include <trace/events/ksm.h>

#include "forget.h"
#include "gather.h"
#include "item.h"
#include "match.h"
#include "merge.h"
#include "mms.h"
#include "page.h"
#include "policy.h"
#include "record.h"
#include "scan.h"
#include "state.h"
#include "unstable_tree.h"
#include "walk.h"

/* P: all of it. */
static struct {
	bool		active;		/* a round is under way */
	unsigned int	seq;
	struct ksm_walk_run	run;
} round;

/* ------------------------------------------------------------------------ */
/* Reading.                                                                 */

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
 * May the page go unread this round? It is not the content that is believed to
 * be the same: should a page of the remembered hash turn up, both are compared.
 */
static bool may_skip(const struct ksm_offer *offer, void *entry, struct ksm_record *record)
{
	unsigned int turn = round.seq + (offer->addr >> PAGE_SHIFT);

	return READ_ONCE(ksm_state.smart_scan) &&
	       ksm_record_recall(entry, page_to_pfn(offer->page), record) &&
	       !ksm_policy_due(record->age, turn);
}

static struct ksm_record read_page(const struct ksm_offer *offer, void *entry)
{
	flush_anon_page(offer->vma, offer->page, offer->addr);
	flush_dcache_page(offer->page);
	WRITE_ONCE(ksm_counts.scanned, ksm_counts.scanned + 1);
	return ksm_record_renew(entry, ksm_page_hash(offer->page),
				page_to_pfn(offer->page));
}

/* Look for a twin of the page, and remember the page if there is none. */
static enum ksm_match offer_page(struct ksm_offer *offer, struct ksm_record record,
				 bool skipped)
{
	enum ksm_match match = ksm_match_page(offer, record.hash, record.calm);

	switch (match) {
	case KSM_MATCH_MERGED:
		break;
	case KSM_MATCH_ZERO:
		ksm_forget_page(offer->owner, offer->addr >> PAGE_SHIFT, KSM_FORGET_CHANGED);
		break;
	case KSM_MATCH_WAITING:
		offer->item->pfn = record.pfn;
		offer->item->age = record.age;
		break;
	default:
		/* It may not be what it was: read it next time. */
		if (skipped)
			record.age = 0;
		remember(offer->owner, offer->addr >> PAGE_SHIFT, record);
	}
	return match;
}

/*
 * A KSM page: see that its item is the one that it should have, and its page one
 * that is worth keeping.
 */
static void meet_ksm_page(struct ksm_offer *offer, struct ksm_budget *budget)
{
	unsigned long index = offer->addr >> PAGE_SHIFT;
	struct ksm_item *item;
	int err;

	item = ksm_record_item(ksm_record_load(offer->owner, index));
	if (item && item->kind == KSM_ITEM_MERGED &&
	    item->node == ksm_node_of(page_folio(offer->page))) {
		offer->item = item;
		err = ksm_gather_page(offer);
		if (err != -ENOENT)
			ksm_policy_spend(budget, KSM_BUDGET_READ);
		if (!err)
			ksm_policy_merge(budget);
		return;
	}
	if (ksm_forget_page(offer->owner, index, KSM_FORGET_CHANGED))
		ksm_match_adopt(offer);
}

/* An ordinary page: an item that says otherwise goes first. */
static enum ksm_match meet_page(struct ksm_offer *offer, struct ksm_budget *budget)
{
	enum ksm_match match = KSM_MATCH_NONE;
	unsigned long index = offer->addr >> PAGE_SHIFT;
	void *entry = ksm_record_load(offer->owner, index);
	struct ksm_item *item = ksm_record_item(entry);
	struct ksm_record record;

	if (item && item->kind != KSM_ITEM_CANDIDATE) {
		if (!ksm_forget_page(offer->owner, index, KSM_FORGET_CHANGED)) {
			ksm_policy_spend(budget, 1);
			return KSM_MATCH_NONE;
		}
		entry = NULL;
	}
	if (may_skip(offer, entry, &record)) {
		WRITE_ONCE(ksm_counts.skipped, ksm_counts.skipped + 1);
		ksm_policy_spend(budget, 1);
		if (record.calm)
			match = offer_page(offer, record, true);
	} else {
		ksm_policy_spend(budget, KSM_BUDGET_READ);
		match = offer_page(offer, read_page(offer, entry), false);
	}
	if (match == KSM_MATCH_MERGED || match == KSM_MATCH_ZERO)
		ksm_policy_merge(budget);
	return match;
}

/* ------------------------------------------------------------------------ */
/* A run.                                                                   */

/*
 * Forget what is recorded before page number @end, where the walk found nothing.
 * False if there is so much of it that the lock must be given up first.
 */
static bool forget_gap(struct ksm_mm *km, unsigned long *seen, unsigned long end,
		       unsigned int *most)
{
	return *seen >= end ||
	       ksm_forget_range(km, seen, end - 1, KSM_FORGET_CHANGED, most);
}

/* See to one page of the run. */
static void scan_page(struct ksm_mm *km, struct ksm_walk_run *run, unsigned int i,
		      struct ksm_budget *budget)
{
	struct ksm_offer offer = {
		.owner	= km,
		.vma	= run->vma,
		.addr	= run->pages[i].addr,
		.page	= run->pages[i].page,
	};

	if (folio_test_ksm(page_folio(offer.page))) {
		ksm_policy_spend(budget, 1);
		meet_ksm_page(&offer, budget);
		return;
	}
	if (meet_page(&offer, budget) != KSM_MATCH_LARGE)
		return;
	/*
	 * To split the folio there must be no reference but one, so the run
	 * ends here. Once more is enough: the folio is small then, or cannot
	 * be split now.
	 */
	ksm_walk_cut(run, i + 1, run->pages[i].addr + PAGE_SIZE);
	if (!ksm_merge_split(offer.page))
		meet_page(&offer, budget);
}

/* Somebody else needs the thread or the lock. */
static bool must_end(void)
{
	return freezing(current) || ksm_state_pass_wanted();
}

static bool must_yield(struct ksm_mm *km)
{
	return READ_ONCE(km->exiting) || need_resched() || must_end() ||
	       mmap_lock_is_contended(ksm_mm_of(km));
}

/* Returns false when the budget is used up. */
static bool scan_run(struct ksm_mm *km, struct ksm_walk_run *run, struct ksm_budget *budget)
{
	unsigned long seen = km->next >> PAGE_SHIFT;
	unsigned int i, most = KSM_FORGET_AT_ONCE;
	unsigned long index;

	ksm_policy_spend(budget, run->steps);
	for (i = 0; i < run->nr; i++) {
		index = run->pages[i].addr >> PAGE_SHIFT;
		if (!forget_gap(km, &seen, index, &most)) {
			ksm_walk_cut(run, i, seen << PAGE_SHIFT);
			break;
		}
		seen = index + 1;

		scan_page(km, run, i, budget);
		if (!budget->left || must_yield(km))
			ksm_walk_cut(run, i + 1, run->pages[i].addr + PAGE_SIZE);
		ksm_walk_pass_on(run, i);
	}
	if (!forget_gap(km, &seen, run->end >> PAGE_SHIFT, &most))
		run->end = seen << PAGE_SHIFT;
	km->next = run->end;
	return ksm_policy_spend(budget, KSM_FORGET_AT_ONCE - most);
}

/* ------------------------------------------------------------------------ */
/* A batch.                                                                 */

/* Returns true when the round is through with @km. */
static bool scan_mm(struct ksm_mm *km, struct ksm_budget *budget)
{
	struct mm_struct *mm = ksm_mm_of(km);
	bool more = true;

	while (more) {
		mmap_read_lock(mm);
		/* Tested first: the page tables of an mm that exits are not ours. */
		if (READ_ONCE(km->exiting)) {
			mmap_read_unlock(mm);
			return true;
		}
		ksm_walk_next(&round.run, mm, km->next);
		more = scan_run(km, &round.run, budget);
		mmap_read_unlock(mm);

		if (km->next == ULONG_MAX) {
			km->next = 0;
			return true;
		}
		if (must_end())
			return false;
		cond_resched();
	}
	return false;
}

static void begin_round(void)
{
	trace_ksm_start_scan(round.seq, atomic_long_read(&ksm_counts.items));
	ksm_unstable_reset();
	ksm_mms_rewind();
	WRITE_ONCE(round.active, true);
}

static void end_round(void)
{
	WRITE_ONCE(round.active, false);
	trace_ksm_stop_scan(round.seq, atomic_long_read(&ksm_counts.items));
	round.seq++;
	WRITE_ONCE(ksm_counts.rounds, ksm_counts.rounds + 1);
}

/**
 * ksm_scan_at_start() - will the next batch begin a round?
 *
 * Pages that wait in per-CPU lists for their place on the LRU carry a reference
 * that keeps them from merging; before a round is the time to drain those.
 *
 * Context: Any context. A hint.
 * Return: true if so.
 */
bool ksm_scan_at_start(void)
{
	return !READ_ONCE(round.active);
}

/**
 * ksm_scan_batch() - go on with the round, or begin one
 * @pages: how many pages to read
 *
 * Ends early at the end of the round, when the thread is to be frozen, or when
 * somebody waits for the lock.
 *
 * Context: ksmd. The caller holds ksm_pass_lock.
 */
void ksm_scan_batch(unsigned int pages)
{
	struct ksm_budget budget =
		ksm_policy_budget(pages, READ_ONCE(ksm_state.max_pages_to_merge));
	struct ksm_mm *km;
	bool done = true;

	lockdep_assert_held(&ksm_pass_lock);

	if (!round.active)
		begin_round();
	while (done && budget.left && !must_end()) {
		km = ksm_mms_next();
		if (!km) {
			end_round();
			break;
		}
		done = scan_mm(km, &budget);
		ksm_mms_put(km, !done);
		/* To find nothing is not free either. */
		ksm_policy_spend(&budget, 1);
		cond_resched();
	}
	ksm_forget_due(pages);
}

/**
 * ksm_scan_restart() - forget that a round was under way
 *
 * An unmerge that fails has emptied mms that it has been through.
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_scan_restart(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	WRITE_ONCE(round.active, false);
}
