// SPDX-License-Identifier: GPL-2.0
/*
 * A round over all mms, a batch at a time.
 *
 * A walk of the page tables gives a run of pages, see walk.c: those of which more
 * must be known than a glance at their PTEs tells. After it each is met, see meet.c.
 *
 * The mmap lock is held for a run, and given up early when somebody waits for
 * it. The place to go on from is kept with the mm.
 *
 * Owns the state of the round. Does not know what is remembered of a page.
 *
 * Floor 6: knows walking, meeting, forgetting, cleaning, the sieve, mms, how many nodes are
 * due, and of the stable tree which hashes the sieve is to keep.
 */
#include <linux/freezer.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>

#include <trace/events/ksm.h>

#include "block.h"
#include "clean.h"
#include "content.h"
#include "forget.h"
#include "glance.h"
#include "match.h"
#include "meet.h"
#include "merge.h"
#include "mms.h"
#include "node.h"
#include "policy.h"
#include "scan.h"
#include "sieve.h"
#include "stable_tree.h"
#include "state.h"
#include "unstable_tree.h"
#include "walk.h"

/* Between two drains of which the first was in vain. */
#define DRAIN_REST	(HZ / 50)

/* P: all of it. */
static struct {
	bool		active;		/* a round is under way */
	bool		offered;	/* it has met a VMA that may merge */
	bool		idle;		/* see ksm_scan_is_idle() */
	enum {
		DRAIN_NOT_YET,
		DRAIN_WANTED,
		DRAIN_DONE,
		DRAIN_SPARED,
	} drain;			/* of the per-CPU lists on the way to the LRU */
	bool		pinned;		/* the last drain was in vain */
	unsigned long	drain_at;	/* jiffies: not before, then */
	bool		cut;		/* see ksm_scan_is_cut() */
	unsigned int	pages;		/* to read in the last batch */
	struct ksm_budget rest;		/* of it, when it ended */
	unsigned int	seq;
	struct ksm_glance_run	run;
} round;

/* ------------------------------------------------------------------------ */
/* A run.                                                                   */

/* See if a reference was in the way of a merge. It may be that of a per-CPU list. */
static void drain_for(const struct ksm_offer *offer)
{
	if (offer->wants_drain)
		WRITE_ONCE(round.drain, DRAIN_WANTED);
	if (offer->pinned) {
		round.pinned = true;
		round.drain_at = jiffies + DRAIN_REST;
	}
}

/*
 * Is it worth a try to split the folio of a page? It ends the run, so that what follows
 * is glanced at again; a huge page that a device has pinned would have that done for
 * each of its pages, in each round.
 */
static bool may_split(const struct ksm_glance_run *run, unsigned int i)
{
	struct folio *folio = page_folio(run->pages[i].page);
	int ours = 0;

	for (; i < run->nr; i++)
		if (run->pages[i].referenced && page_folio(run->pages[i].page) == folio)
			ours++;
	return can_split_folio(folio, ours, NULL);
}

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
		.drained = round.drain == DRAIN_DONE,
		.spared	= round.drain == DRAIN_SPARED,
	};

	if (folio_test_ksm(page_folio(offer.page))) {
		ksm_policy_spend(budget, 1);
		ksm_meet_merged(run, i, &offer, budget);
		return;
	}
	if (ksm_meet_page(&offer, found, budget) == KSM_MATCH_LARGE && may_split(run, i)) {
		/*
		 * To split the folio there must be no reference but one, so the
		 * run ends here. Once more is enough: the folio is small then, or
		 * cannot be split now.
		 */
		ksm_walk_cut(run, i + 1, found->addr + PAGE_SIZE);
		if (!ksm_merge_split(offer.page)) {
			found->read = false;
			found->passes = true;
			ksm_meet_page(&offer, found, budget);
		}
	}
	drain_for(&offer);
}

/* Somebody else needs the thread or the lock, or the thread has to do something else. */
static bool must_end(void)
{
	return round.drain == DRAIN_WANTED || freezing(current) || ksm_state_pass_wanted();
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

	round.offered |= run->offered;
	WRITE_ONCE(ksm_counts.unchanged, ksm_counts.unchanged + run->unchanged);
	if (run->smart)
		WRITE_ONCE(ksm_counts.skipped,
			   ksm_counts.skipped + run->unchanged + run->skipped);
	ksm_policy_spend(budget, ksm_walk_cost(run));
	forget_stale(run, budget);
	for (i = 0; i < run->nr; i++, next++) {
		ksm_content_fetch(&ahead);
		if (i + 1 < run->nr)
			ksm_meet_plan(&ahead, next);
		scan_page(run, i, &ahead, budget);
		/* It is met again then. */
		if (round.drain == DRAIN_WANTED)
			ksm_walk_cut(run, i + 1, run->pages[i].addr);
		else if (i + 1 < run->nr && (!budget->left || must_yield(run->km)))
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
	run->may_clean = run->reread && ksm_clean_may(km);
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
	for (node = ksm_stable_next(NULL); node; node = ksm_stable_next(node)) {
		ksm_sieve_keep(node->hash);
		cond_resched();
	}
}

static void begin_round(void)
{
	round.pinned = round.pinned && time_before(jiffies, round.drain_at);
	WRITE_ONCE(round.drain, round.pinned ? DRAIN_SPARED : DRAIN_NOT_YET);
	trace_ksm_start_scan(round.seq, atomic_long_read(&ksm_counts.items));
	ksm_unstable_reset();
	ksm_sieve_turn(ksm_state_known());
	renew_sieve();
	round.offered = false;
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
 * Context: Any context. A hint.
 * Return: true if so.
 */
bool ksm_scan_at_start(void)
{
	return !READ_ONCE(round.active);
}

/**
 * ksm_scan_is_idle() - has nobody anything to merge?
 *
 * As when all that are registered have taken their offers back, for only an exit ends a
 * registration.
 *
 * Context: ksmd.
 * Return: true if the last batch ended a round that met no VMA that may merge, and there
 *	   was nothing left to forget.
 */
bool ksm_scan_is_idle(void)
{
	return round.idle;
}

/**
 * ksm_scan_wants_drain() - does the round wait for lru_add_drain_all()?
 *
 * Pages that wait in per-CPU lists for their place on the LRU carry a reference
 * that keeps them from merging. The first time in a round that a page does not merge for
 * any reference, the batch ends, and the next one begins with this page. Where that was
 * in vain, as for a pinned page, the next rounds do without for a while, unless they meet
 * a page that is not on the LRU: what came between two rounds is to merge in the next one.
 *
 * Context: ksmd. A hint, unless the caller holds ksm_pass_lock.
 * Return: true if so.
 */
bool ksm_scan_wants_drain(void)
{
	return READ_ONCE(round.drain) == DRAIN_WANTED;
}

/**
 * ksm_scan_is_cut() - has the last batch ended before it was through?
 *
 * The next one is the rest of it, so the pause is to be short between the two: whoever
 * has it end early would put it off for as long as somebody has set sleep_millisecs.
 *
 * Context: ksmd. A hint.
 * Return: true if so.
 */
bool ksm_scan_is_cut(void)
{
	return READ_ONCE(round.cut);
}

/**
 * ksm_scan_pause() - ksmd is going to stand still, and the next batch a whole one
 *
 * Context: ksmd.
 */
void ksm_scan_pause(void)
{
	WRITE_ONCE(round.cut, false);
}

static struct ksm_budget begin_batch(unsigned int pages)
{
	struct ksm_budget budget =
		ksm_policy_budget(pages, READ_ONCE(ksm_state.max_pages_to_merge));

	/* With another number, somebody wants another batch. */
	if (round.cut && round.pages == pages) {
		budget.left = min(budget.left, round.rest.left);
		budget.merges = min(budget.merges, round.rest.merges);
	}
	return budget;
}

static void end_batch(unsigned int pages, const struct ksm_budget *budget)
{
	round.pages = pages;
	round.rest = *budget;
	WRITE_ONCE(round.cut, round.active && budget->left);
}

/* Look at @most due nodes, or until somebody waits for the lock. */
static void forget_due(unsigned long most)
{
	unsigned long some;

	for (most = min(most, ksm_node_count_due()); most; most -= some) {
		some = min_t(unsigned long, most, KSM_FORGET_AT_ONCE);
		ksm_forget_due(some);
		if (ksm_state_pass_wanted())
			return;
	}
}

/**
 * ksm_scan_batch() - go on with the round, or begin one
 * @pages: how many pages to read; if as many as in a batch that was cut, what it has left
 *
 * Ends early at the end of the round, when the thread is to be frozen, when
 * somebody waits for the lock, and when ksm_scan_wants_drain().
 *
 * Context: ksmd. The caller holds ksm_pass_lock.
 */
void ksm_scan_batch(unsigned int pages)
{
	struct ksm_budget budget = begin_batch(pages);
	unsigned long due;
	struct ksm_mm *km;
	bool done = true;

	lockdep_assert_held(&ksm_pass_lock);

	if (!round.active)
		begin_round();
	else if (round.drain == DRAIN_WANTED)
		WRITE_ONCE(round.drain, DRAIN_DONE);
	ksm_sieve_grow();
	while (done && budget.left && !must_end()) {
		km = ksm_mms_next();
		if (!km) {
			end_round();
			break;
		}
		/* Who comes to rest in this batch is to find what has moved to where he is. */
		if (ksm_mms_comes_again(km))
			forget_due(pages);
		done = scan_mm(km, &budget);
		ksm_mms_put(km, !done);
		/* To find nothing is not free either. */
		ksm_policy_spend(&budget, KSM_BUDGET_VISIT);
		cond_resched();
	}
	end_batch(pages, &budget);
	due = ksm_node_count_due();
	if (!round.cut)
		forget_due(pages);
	round.idle = !round.active && !round.offered && ksm_node_count_due() == due;
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
	WRITE_ONCE(round.drain, DRAIN_NOT_YET);
	round.pinned = false;
	WRITE_ONCE(round.cut, false);
	ksm_sieve_drop();
}
