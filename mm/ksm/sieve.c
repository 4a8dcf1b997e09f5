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
 * pages; in the others of those that are new or have changed, and the rest is
 * only judged. A round is quiet when nobody has come since the one before who
 * might be another's twin: then what is as it was is not even judged. What is
 * held back by mistake, as its mm could not be had in the first round, passes in
 * the next time.
 *
 * A filter grows by layers, each as large as all before, and is made of one
 * piece again when it is next emptied. Without memory it lets everything pass.
 *
 * Owns the filters. Does not know pages, nor who asks.
 *
 * Floor 1: knows state.
 */
#include <linux/cache.h>
#include <linux/hash.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "sieve.h"
#include "state.h"

#define LINE_WORDS	8	/* 64 bytes, whatever the machine's cache has */
#define LINE_BITS	(LINE_WORDS * 64)
#define BITS_SET	5	/* for a hash */
#define BITS_ROOM	12	/* so many for each hash, and 1 % pass by mistake */
#define ROOM_MIN	1024UL
#define ROOM_MAX	(512UL << 20)	/* in one piece: 768 MiB */
#define LAYERS_MAX	24
#define ROUNDS_MAX	16	/* of a time */

struct layer {
	u64		(*lines)[LINE_WORDS];
	u32		nr_lines;
};

/* P: all of it, but what is kept: the stable tree's lock, inside P. */
struct filter {
	struct layer	layers[LAYERS_MAX];
	unsigned int	nr_layers;
	unsigned long	room;	/* hashes that it was made for */
	unsigned long	nr;	/* hashes that were put in */
	bool		blind;	/* it takes everything for seen */
};

static struct {
	struct filter	seen;
	struct filter	twice[2];
	unsigned int	now;	/* which of @twice is this time's */
	u64		seed;	/* so that mistakes are not the same ones each time */
	struct filter	kept;
	unsigned int	rounds;	/* of this time, with the running one; 0: it is over */
	unsigned long	most;	/* when so many were seen in it, it is over, too */
	bool		news;	/* somebody new might have a twin */
	bool		had_news;	/* the same of the round before */
} sieve;

/* ------------------------------------------------------------------------ */
/* A filter.                                                                */

/* High bits tell the line, low bits the bits in it. */
static u64 mix(u64 hash, u64 seed)
{
	return (hash ^ seed) * GOLDEN_RATIO_64;
}

static u64 *line_of(const struct layer *layer, u64 mixed)
{
	return layer->lines[(mixed >> 32) * layer->nr_lines >> 32];
}

static bool line_has(const u64 *line, u64 mixed)
{
	unsigned int i, bit;

	for (i = 0; i < BITS_SET; i++, mixed >>= ilog2(LINE_BITS)) {
		bit = mixed % LINE_BITS;
		if (!(line[bit / 64] >> bit % 64 & 1))
			return false;
	}
	return true;
}

static bool filter_has(const struct filter *filter, u64 mixed)
{
	unsigned int i;

	for (i = 0; i < filter->nr_layers; i++)
		if (line_has(line_of(&filter->layers[i], mixed), mixed))
			return true;
	return filter->blind;
}

static void filter_add(struct filter *filter, u64 mixed)
{
	unsigned int i, bit;
	u64 *line;

	filter->nr++;
	if (!filter->nr_layers) {
		filter->blind = true;
		return;
	}
	line = line_of(&filter->layers[filter->nr_layers - 1], mixed);
	for (i = 0; i < BITS_SET; i++, mixed >>= ilog2(LINE_BITS)) {
		bit = mixed % LINE_BITS;
		line[bit / 64] |= 1ULL << bit % 64;
	}
}

static void filter_prefetch(const struct filter *filter, u64 mixed)
{
	unsigned int i;

	for (i = 0; i < filter->nr_layers; i++)
		prefetchw(line_of(&filter->layers[i], mixed));
}

static u32 lines_for(unsigned long room)
{
	return min_t(u64, (u64)room * BITS_ROOM / LINE_BITS + 1, U32_MAX);
}

static void layer_clear(struct layer *layer)
{
	u32 nr;

	for (nr = 0; nr < layer->nr_lines; nr++) {
		memset(layer->lines[nr], 0, sizeof(layer->lines[nr]));
		if (!(nr % 4096))
			cond_resched();
	}
}

static void filter_empty(struct filter *filter)
{
	while (filter->nr_layers)
		kvfree(filter->layers[--filter->nr_layers].lines);
	filter->room = 0;
	filter->nr = 0;
	filter->blind = false;
}

static bool add_layer(struct filter *filter, unsigned long room)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NORETRY | __GFP_NOWARN;
	struct layer layer = { .nr_lines = lines_for(room) };
	size_t size = (size_t)layer.nr_lines * sizeof(*layer.lines);

	if (filter->nr_layers == LAYERS_MAX)
		return false;
	/* From pages: a size that is rounded up to a power of two would waste much. */
	layer.lines = size < PAGE_SIZE ? kmalloc(size, gfp) : __vmalloc(size, gfp);
	if (!layer.lines)
		return false;
	filter->layers[filter->nr_layers++] = layer;
	return true;
}

/*
 * Make room for @room hashes more. Without memory they go where there is some, and
 * more pass by mistake.
 */
static void filter_extend(struct filter *filter, unsigned long room)
{
	unsigned long some;

	filter->room += room;
	for (; room; room -= some) {
		some = min(room, ROOM_MAX);
		if (!add_layer(filter, some))
			return;
	}
}

/* Empty it, and see that there is room for @room hashes. */
static void filter_renew(struct filter *filter, unsigned long room)
{
	struct filter new = { };
	unsigned int i;

	/* Much too large is as wrong as too small, or in pieces. */
	if (filter->room < room || filter->room / 2 > room ||
	    filter->nr_layers != DIV_ROUND_UP(filter->room, ROOM_MAX)) {
		filter_extend(&new, room);
		if (new.nr_layers) {
			filter_empty(filter);
			*filter = new;
			return;
		}
	}
	for (i = 0; i < filter->nr_layers; i++)
		layer_clear(&filter->layers[i]);
	filter->nr = 0;
	filter->blind = false;
}

static void filter_grow(struct filter *filter)
{
	/* A quarter too many does no harm yet. */
	if (filter->nr >= filter->room + filter->room / 4)
		filter_extend(filter, max(filter->room, ROOM_MIN));
}

static unsigned long filter_bytes(const struct filter *filter)
{
	unsigned long lines = 0;
	unsigned int i;

	for (i = 0; i < filter->nr_layers; i++)
		lines += READ_ONCE(filter->layers[i].nr_lines);
	return lines * LINE_WORDS * sizeof(u64);
}

/* ------------------------------------------------------------------------ */
/* The sieve.                                                               */

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

	sieve.had_news = sieve.news;
	sieve.news = false;
	if (time_lasts()) {
		if (++sieve.rounds == 2) {
			/* All pairs of the last time were met again in the first round. */
			filter_empty(&sieve.twice[!sieve.now]);
			sieve.most = sieve.seen.nr + sieve.seen.nr / 4 + ROOM_MIN;
		}
		return;
	}
	sieve.rounds = 1;
	sieve.now = !sieve.now;
	sieve.seed = get_random_u64();
	filter_renew(&sieve.seen, pages + pages / 16 + ROOM_MIN);
	filter_renew(&sieve.twice[sieve.now], pages / 8 + ROOM_MIN);
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
 * ksm_sieve_is_quiet() - can nobody have got a twin who was judged a round ago?
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 * Return: true if so.
 */
bool ksm_sieve_is_quiet(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	return !sieve.news && !sieve.had_news && !ksm_sieve_is_new();
}

/**
 * ksm_sieve_stir() - judge all pages again
 *
 * Somebody new may have a twin, or one that has a twin could not merge now.
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 */
void ksm_sieve_stir(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	sieve.news = true;
}

/**
 * ksm_sieve_prefetch() - a hash is going to be sifted or judged soon
 * @hash: the hash
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 */
void ksm_sieve_prefetch(u64 hash)
{
	u64 mixed = mix(hash, 0);

	if (ksm_sieve_is_new()) {
		filter_prefetch(&sieve.seen, mix(hash, sieve.seed));
		filter_prefetch(&sieve.twice[!sieve.now], mixed);
	}
	filter_prefetch(&sieve.twice[sieve.now], mixed);
	filter_prefetch(&sieve.kept, mixed);
}

static bool passes(u64 mixed)
{
	return filter_has(&sieve.twice[sieve.now], mixed) ||
	       (sieve.rounds == 1 && filter_has(&sieve.twice[!sieve.now], mixed)) ||
	       filter_has(&sieve.kept, mixed);
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
	u64 seeded = mix(hash, sieve.seed), mixed = mix(hash, 0);
	bool had = passes(mixed);

	lockdep_assert_held(&ksm_pass_lock);

	if (!filter_has(&sieve.seen, seeded)) {
		filter_add(&sieve.seen, seeded);
	} else if (!filter_has(&sieve.twice[sieve.now], mixed)) {
		filter_add(&sieve.twice[sieve.now], mixed);
		sieve.news = true;
	}
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

	return passes(mix(hash, 0));
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

	filter_add(&sieve.kept, mix(hash, 0));
	sieve.news = true;
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

	return !sieve.kept.room || sieve.kept.blind ||
	       sieve.kept.nr_layers != DIV_ROUND_UP(sieve.kept.room, ROOM_MAX) ||
	       sieve.kept.nr > 2 * nodes + ROOM_MIN;
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

	filter_renew(&sieve.kept, nodes + nodes / 8 + ROOM_MIN);
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

	filter_grow(&sieve.seen);
	filter_grow(&sieve.twice[sieve.now]);
	filter_grow(&sieve.kept);
}

/**
 * ksm_sieve_drop() - nothing is known of any page any more
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_sieve_drop(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	filter_empty(&sieve.seen);
	filter_empty(&sieve.twice[0]);
	filter_empty(&sieve.twice[1]);
	sieve.rounds = 0;
	if (!atomic_long_read(&ksm_counts.nodes))
		filter_empty(&sieve.kept);
}

/**
 * ksm_sieve_bytes() - memory that the sieve takes
 *
 * Context: Any context. Exact while no batch runs.
 * Return: Bytes.
 */
unsigned long ksm_sieve_bytes(void)
{
	return filter_bytes(&sieve.seen) + filter_bytes(&sieve.twice[0]) +
	       filter_bytes(&sieve.twice[1]) + filter_bytes(&sieve.kept);
}
