// SPDX-License-Identifier: GPL-2.0
/*
 * The sieve: may a page have a twin, to judge by its hash alone?
 *
 * Nearly all pages of most machines have none, and need not be looked for in any
 * tree. A hash that two pages have passes the sieve in the next round, wherever
 * they are; the hash of a KSM page passes always. All others stop here.
 *
 * Three Bloom filters keep that, each question to one of them a single cache
 * line: what was seen; what was seen twice; what KSM pages have. A hash that
 * passes by mistake costs a look into the trees.
 *
 * No hash can be taken out again, so there are times: at most sixteen rounds, or
 * as long as there is room. In the first round of a time the sieve is told of all
 * pages, in the others of those that are new or have changed.
 *
 * What is as it was then need not even be judged, unless there is news of its
 * hash, of this round or the one before: a page has come that others may have been
 * waiting for; one that has a twin could not merge; there is a KSM page. Two small
 * filters keep that; the fuller they are, the more is judged for nothing, so of those
 * that cannot merge they are told of no more than they were made for.
 *
 * Without memory it lets everything pass.
 *
 * Owns the filters. Does not know pages, nor who asks.
 *
 * Floor 1: knows filters and state.
 */
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/random.h>

#include "filter.h"
#include "sieve.h"
#include "state.h"

#define ROOM_MIN	1024UL
#define NEWS_MAX	8192UL	/* 12 KiB: to be asked for each page, it must be near */
#define ROUNDS_MAX	16	/* of a time */

/* P: all of it. */
static struct {
	struct ksm_filter seen;
	struct ksm_filter twice[2];
	unsigned int	now;	/* which of @twice is this time's */
	u64		seed;	/* so that mistakes are not the same ones each time */
	struct ksm_filter kept;
	unsigned int	rounds;	/* of this time, with the running one; 0: it is over */
	unsigned long	most;	/* when so many were seen in it, it is over, too */
	struct ksm_filter news[2];
	unsigned int	fresh;	/* which of @news is this round's */
	unsigned long	retries; /* in that */
} sieve;

/* Is what was seen in this time worth going on with? */
static bool time_lasts(void)
{
	return sieve.rounds && sieve.rounds < ROUNDS_MAX && !sieve.seen.blind &&
	       (sieve.rounds == 1 || sieve.seen.nr <= sieve.most);
}

/**
 * ksm_sieve_turn() - a new round begins
 * @pages: how many pages there are to sift, as far as is known
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_sieve_turn(unsigned long pages)
{
	lockdep_assert_held(&ksm_pass_lock);

	sieve.fresh = !sieve.fresh;
	sieve.retries = 0;
	ksm_filter_renew(&sieve.news[sieve.fresh], min(pages / 64 + ROOM_MIN, NEWS_MAX));
	if (time_lasts()) {
		if (++sieve.rounds == 2) {
			/* All pairs of the last time were met again in the first round. */
			ksm_filter_empty(&sieve.twice[!sieve.now]);
			sieve.most = sieve.seen.nr + sieve.seen.nr / 4 + ROOM_MIN;
		}
		return;
	}
	sieve.rounds = 1;
	sieve.now = !sieve.now;
	sieve.seed = get_random_u64();
	ksm_filter_renew(&sieve.seen, pages + pages / 16 + ROOM_MIN);
	ksm_filter_renew(&sieve.twice[sieve.now], pages / 8 + ROOM_MIN);
}

/**
 * ksm_sieve_is_new() - shall it be told of all pages in this round?
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 * Return: false if it is enough to tell of those that are new or have changed.
 */
bool ksm_sieve_is_new(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	return sieve.rounds <= 1;
}

/**
 * ksm_sieve_is_quiet() - is there no news at all?
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 * Return: true if ksm_sieve_has_news() would be false for every hash.
 */
bool ksm_sieve_is_quiet(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	return !sieve.news[0].nr && !sieve.news[1].nr && !ksm_sieve_is_new();
}

/**
 * ksm_sieve_has_news() - must a page be judged again, though it is as it was?
 * @hash: its hash
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 * Return: true if so; false if it cannot have got a twin since it was judged.
 */
bool ksm_sieve_has_news(u64 hash)
{
	u64 mixed = ksm_filter_mix(hash, 0);

	lockdep_assert_held(&ksm_pass_lock);

	return ksm_sieve_is_new() || ksm_filter_has(&sieve.news[0], mixed) ||
	       ksm_filter_has(&sieve.news[1], mixed);
}

/* Returns true if that was no news yet in this round. */
static bool stir(u64 mixed)
{
	struct ksm_filter *news = &sieve.news[sieve.fresh];

	if (ksm_filter_has(news, mixed))
		return false;
	ksm_filter_add(news, mixed);
	return true;
}

/**
 * ksm_sieve_stir() - judge pages of a hash again, in this round and the next
 * @hash: the hash
 *
 * Context: Any context; does not sleep. The caller holds ksm_pass_lock.
 */
void ksm_sieve_stir(u64 hash)
{
	lockdep_assert_held(&ksm_pass_lock);

	stir(ksm_filter_mix(hash, 0));
}

/**
 * ksm_sieve_retry() - judge a page again that has a twin but could not merge
 * @hash: its hash
 *
 * As ksm_sieve_stir(), but for no more hashes than there is room for. Where very many
 * cannot merge, as all the memory of a guest that a device has pinned, no page would be
 * at rest otherwise. The others wait for the sieve's next time, sixteen rounds at most.
 *
 * Context: Any context; does not sleep. The caller holds ksm_pass_lock.
 */
void ksm_sieve_retry(u64 hash)
{
	unsigned long room;

	lockdep_assert_held(&ksm_pass_lock);

	room = sieve.news[sieve.fresh].room;
	if (!room || sieve.retries < room)
		sieve.retries += stir(ksm_filter_mix(hash, 0));
}

/**
 * ksm_sieve_stir_all() - judge all pages again, in this round and the next
 *
 * Context: Any context; does not sleep. The caller holds ksm_pass_lock.
 */
void ksm_sieve_stir_all(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	sieve.news[sieve.fresh].nr++;
	sieve.news[sieve.fresh].blind = true;
}

/**
 * ksm_sieve_prefetch() - a hash is going to be sifted or judged soon
 * @hash: the hash
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 */
void ksm_sieve_prefetch(u64 hash)
{
	u64 mixed = ksm_filter_mix(hash, 0);

	if (ksm_sieve_is_new()) {
		ksm_filter_prefetch(&sieve.seen, ksm_filter_mix(hash, sieve.seed));
		ksm_filter_prefetch(&sieve.twice[!sieve.now], mixed);
	}
	ksm_filter_prefetch(&sieve.twice[sieve.now], mixed);
	ksm_filter_prefetch(&sieve.kept, mixed);
}

static bool passes(u64 mixed)
{
	return ksm_filter_has(&sieve.twice[sieve.now], mixed) ||
	       (sieve.rounds == 1 && ksm_filter_has(&sieve.twice[!sieve.now], mixed)) ||
	       ksm_filter_has(&sieve.kept, mixed);
}

/**
 * ksm_sieve_sift() - note that there is a page of a hash, and judge it
 * @hash: the hash; once for each page, unless ksm_sieve_is_new()
 *
 * Context: Any context; does not sleep. The caller holds ksm_pass_lock.
 * Return: true if the page may have a twin.
 */
bool ksm_sieve_sift(u64 hash)
{
	u64 seeded = ksm_filter_mix(hash, sieve.seed), mixed = ksm_filter_mix(hash, 0);
	bool had = passes(mixed);

	lockdep_assert_held(&ksm_pass_lock);

	if (!ksm_filter_has(&sieve.seen, seeded)) {
		ksm_filter_add(&sieve.seen, seeded);
		return had;
	}
	if (!ksm_filter_has(&sieve.twice[sieve.now], mixed))
		ksm_filter_add(&sieve.twice[sieve.now], mixed);
	/* Also of one that passes by mistake: the other was judged before it did. */
	stir(mixed);
	return had;
}

/**
 * ksm_sieve_passes() - judge a page that was noted before
 * @hash: its hash
 *
 * Context: Any context; does not sleep. The caller holds ksm_pass_lock.
 * Return: true if the page may have a twin.
 */
bool ksm_sieve_passes(u64 hash)
{
	lockdep_assert_held(&ksm_pass_lock);

	return passes(ksm_filter_mix(hash, 0));
}

/**
 * ksm_sieve_keep() - a KSM page has this hash
 * @hash: the hash; it passes from now on
 *
 * Context: Any context; does not sleep. The caller holds ksm_pass_lock.
 */
void ksm_sieve_keep(u64 hash)
{
	lockdep_assert_held(&ksm_pass_lock);

	ksm_filter_add(&sieve.kept, ksm_filter_mix(hash, 0));
}

/**
 * ksm_sieve_worn() - is it time to begin anew with what KSM pages have?
 * @nodes: how many there are
 *
 * Of those that are gone the bits stay.
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 * Return: true if so: call ksm_sieve_renew(), and then ksm_sieve_keep() for each.
 */
bool ksm_sieve_worn(unsigned long nodes)
{
	lockdep_assert_held(&ksm_pass_lock);

	return ksm_filter_is_worn(&sieve.kept) || sieve.kept.nr > 2 * nodes + ROOM_MIN;
}

/**
 * ksm_sieve_renew() - forget the hashes of KSM pages
 * @nodes: how many will be told anew
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_sieve_renew(unsigned long nodes)
{
	lockdep_assert_held(&ksm_pass_lock);

	ksm_filter_renew(&sieve.kept, nodes + nodes / 8 + ROOM_MIN);
}

/**
 * ksm_sieve_grow() - see that there is room for what comes
 *
 * To be called again and again as a round goes on.
 *
 * Context: Process context; may sleep. The caller holds ksm_pass_lock.
 */
void ksm_sieve_grow(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	ksm_filter_grow(&sieve.seen, ROOM_MIN);
	ksm_filter_grow(&sieve.twice[sieve.now], ROOM_MIN);
	ksm_filter_grow(&sieve.kept, ROOM_MIN);
}

/**
 * ksm_sieve_drop() - nothing is known of any page any more
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_sieve_drop(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	ksm_filter_empty(&sieve.seen);
	ksm_filter_empty(&sieve.twice[0]);
	ksm_filter_empty(&sieve.twice[1]);
	ksm_filter_empty(&sieve.news[0]);
	ksm_filter_empty(&sieve.news[1]);
	sieve.rounds = 0;
	if (!atomic_long_read(&ksm_counts.nodes))
		ksm_filter_empty(&sieve.kept);
}

/**
 * ksm_sieve_bytes() - memory that the sieve takes
 *
 * Context: Any context. Exact while no batch runs.
 * Return: Bytes.
 */
unsigned long ksm_sieve_bytes(void)
{
	return ksm_filter_bytes(&sieve.seen) + ksm_filter_bytes(&sieve.twice[0]) +
	       ksm_filter_bytes(&sieve.twice[1]) + ksm_filter_bytes(&sieve.kept) +
	       ksm_filter_bytes(&sieve.news[0]) + ksm_filter_bytes(&sieve.news[1]);
}
