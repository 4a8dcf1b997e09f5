// SPDX-License-Identifier: GPL-2.0
/*
 * A round over all mms, a batch at a time.
 *
 * A walk of the page tables gives a run of pages, see walk.c: those of which more
 * must be known than a glance at their PTEs tells. They are read, and looked for a
 * twin, after it.
 *
 * The mmap lock is held for a run, and given up early when somebody waits for
 * it. The place to go on from is kept with the mm.
 *
 * Owns the state of the round. It decides what is remembered of a page; what is
 * done with it is match.c's.
 *
 * Floor 5: knows walking, matching, forgetting, records, the sieve and mms.
 */
#include <linux/freezer.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>

#include <trace/events/ksm.h>

#include "block.h"
#include "forget.h"
#include "gather.h"
#include "glance.h"
#include "item.h"
#include "match.h"
#include "merge.h"
#include "mms.h"
#include "page.h"
#include "policy.h"
#include "record.h"
#include "scan.h"
#include "sieve.h"
#include "stable_tree.h"
#include "state.h"
#include "unstable_tree.h"
#include "walk.h"

/* P: all of it. */
static struct {
	bool		active;		/* a round is under way */
	unsigned int	seq;
	struct ksm_glance_run	run;
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

static struct ksm_record read_page(const struct ksm_offer *offer, void *entry)
{
	flush_anon_page(offer->vma, offer->page, offer->addr);
	flush_dcache_page(offer->page);
	WRITE_ONCE(ksm_counts.scanned, ksm_counts.scanned + 1);
	return ksm_record_renew(entry, ksm_page_hash_ahead(offer->page, offer->ahead),
				page_to_pfn(offer->page));
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
	noted = ksm_sieve_is_new() ?
		record->calm && ksm_mms_comes_again(offer->owner) :
		ksm_record_has(entry, record->hash);
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

	switch (match) {
	case KSM_MATCH_MERGED:
		break;
	case KSM_MATCH_ZERO:
		ksm_forget_page(offer->owner, offer->addr >> PAGE_SHIFT, KSM_FORGET_CHANGED);
		break;
	case KSM_MATCH_WAITING:
		offer->item->pfn = record.pfn;
		offer->item->age = record.age;
		offer->item->trusted = record.trusted && !offer->failed;
		break;
	case KSM_MATCH_FAILED:
		/* It may not be what it was: read it next time. */
		record.age = 0;
		record.trusted = false;
		fallthrough;
	default:
		remember(offer->owner, offer->addr >> PAGE_SHIFT, record);
	}
	return match;
}

/*
 * A KSM page: see that its item is the one that it should have, and its page one
 * that is worth keeping.
 */
static void meet_ksm_page(struct ksm_glance_run *run, unsigned int i,
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
	if (ksm_forget_page(offer->owner, index, KSM_FORGET_CHANGED))
		ksm_match_adopt(offer);
}

/* An ordinary page: an item that says otherwise goes first. */
static enum ksm_match meet_page(struct ksm_offer *offer, const struct ksm_glance_page *found,
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
		record = read_page(offer, entry);
		record.trusted = found->clean;
		passes = sift_page(offer, entry, &record);
	} else if (passes) {
		ksm_policy_spend(budget, KSM_BUDGET_MERGE);
	}
	if (passes)
		match = offer_page(offer, record);
	else
		remember(offer->owner, index, record);
	if (match == KSM_MATCH_MERGED || match == KSM_MATCH_ZERO)
		ksm_policy_merge(budget);
	return match;
}

/* ------------------------------------------------------------------------ */
/* A run.                                                                   */

/* See to one page of the run. */
static void scan_page(struct ksm_glance_run *run, unsigned int i, struct ksm_ahead *ahead,
		      struct ksm_budget *budget)
{
	struct ksm_glance_page *found = &run->pages[i];
	struct ksm_offer offer = {
		.owner	= run->km,
		.vma	= run->vma,
		.addr	= found->addr,
		.page	= found->page,
		.ahead	= ahead,
	};

	if (folio_test_ksm(page_folio(offer.page))) {
		ksm_policy_spend(budget, 1);
		meet_ksm_page(run, i, &offer, budget);
		return;
	}
	if (meet_page(&offer, found, budget) != KSM_MATCH_LARGE)
		return;
	/*
	 * To split the folio there must be no reference but one, so the run
	 * ends here. Once more is enough: the folio is small then, or cannot
	 * be split now.
	 */
	ksm_walk_cut(run, i + 1, found->addr + PAGE_SIZE);
	if (!ksm_merge_split(offer.page)) {
		found->read = false;
		found->passes = true;
		meet_page(&offer, found, budget);
	}
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

/* Forget what is recorded where nothing was found. */
static void forget_stale(struct ksm_glance_run *run, struct ksm_budget *budget)
{
	unsigned long first = run->begin >> PAGE_SHIFT, i;
	unsigned int most = KSM_FORGET_AT_ONCE;

	if (run->stale) {
		for_each_set_bit(i, run->astir, KSM_RUN_PAGES)
			if (run->at[i].what == KSM_GLANCE_STALE)
				ksm_forget_page(run->km, first + i, KSM_FORGET_CHANGED);
		for (i = ALIGN_DOWN(first, KSM_BLOCK_PAGES); i < run->end >> PAGE_SHIFT;
		     i += KSM_BLOCK_PAGES)
			ksm_block_trim(run->km, i);
		ksm_policy_spend(budget, run->stale);
	} else if (!run->nr && run->begin < run->end) {
		/* If it is much, the lock must be given up first. */
		if (!ksm_forget_range(run->km, &first, (run->end >> PAGE_SHIFT) - 1,
				      KSM_FORGET_CHANGED, &most))
			run->end = first << PAGE_SHIFT;
		ksm_policy_spend(budget, KSM_FORGET_AT_ONCE - most);
	}
}

/* Returns false when the budget is used up. */
static bool scan_run(struct ksm_glance_run *run, struct ksm_budget *budget)
{
	const struct ksm_glance_page *next = run->pages + 1;
	struct ksm_ahead ahead = { };
	unsigned int i;

	WRITE_ONCE(ksm_counts.unchanged, ksm_counts.unchanged + run->unchanged);
	if (run->smart)
		WRITE_ONCE(ksm_counts.skipped,
			   ksm_counts.skipped + run->unchanged + run->skipped);
	ksm_policy_spend(budget, run->steps + run->passed);
	forget_stale(run, budget);
	for (i = 0; i < run->nr; i++, next++) {
		ksm_page_fetch(&ahead);
		if (i + 1 < run->nr && (next->read || next->passes))
			ksm_page_plan(&ahead, next->page);
		scan_page(run, i, &ahead, budget);
		if (i + 1 < run->nr && (!budget->left || must_yield(run->km)))
			ksm_walk_cut(run, i + 1, next->addr);
		ksm_walk_pass_on(run, i);
	}
	run->km->next = run->end;
	run->km->noted = run->noted;
	return budget->left;
}

/* What a walk of @km is to go by. */
static void begin_run(struct ksm_glance_run *run, struct ksm_mm *km,
		      const struct ksm_budget *budget)
{
	run->km = km;
	run->turn = round.seq;
	run->smart = READ_ONCE(ksm_state.smart_scan);
	run->noted = ksm_mms_comes_again(km) ? ULONG_MAX : km->noted;
	run->quiet = ksm_sieve_is_quiet();
	run->reread = READ_ONCE(ksm_state.reread_rounds);
	/* Who has page tables of his own does not tell ours of a write. */
	if (mm_has_notifiers(ksm_mm_of(km)))
		run->reread = 0;
	run->most = budget->left;
	run->reads = DIV_ROUND_UP_ULL(budget->left, KSM_BUDGET_READ);
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
		begin_run(&round.run, km, budget);
		ksm_walk_next(&round.run, km->next);
		more = scan_run(&round.run, budget);
		mmap_read_unlock(mm);
		ksm_sieve_grow();

		if (km->next == ULONG_MAX) {
			km->next = 0;
			km->noted = 0;
			return true;
		}
		if (must_end())
			return false;
		cond_resched();
	}
	return false;
}

/* Tell the sieve of the KSM pages there are, if too many have gone since. */
static void renew_sieve(void)
{
	unsigned long nodes = atomic_long_read(&ksm_counts.nodes);
	struct ksm_node *node;

	if (!ksm_sieve_worn(nodes))
		return;
	ksm_sieve_renew(nodes);
	for (node = ksm_stable_first(); node; node = ksm_stable_next(node)) {
		ksm_sieve_keep(node->hash);
		cond_resched();
	}
}

static void begin_round(void)
{
	trace_ksm_start_scan(round.seq, atomic_long_read(&ksm_counts.items));
	ksm_unstable_reset();
	ksm_sieve_turn(ksm_state_known());
	renew_sieve();
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
	ksm_sieve_grow();
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
 * An unmerge that fails has emptied mms that it has been through. The sieve was not
 * told of all pages then, so it begins anew, too.
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_scan_restart(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	WRITE_ONCE(round.active, false);
	ksm_sieve_drop();
}
