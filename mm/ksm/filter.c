// SPDX-License-Identifier: GPL-2.0
/*
 * A Bloom filter, of which each question costs a single cache line.
 *
 * It grows by layers, each as large as all before, and is made of one piece again
 * when it is next emptied. Without memory it has everything.
 *
 * Owns nothing: who has a filter sees to it that nobody else uses it meanwhile. Does
 * not know what is put in.
 *
 * Floor 0: knows nobody.
 */
#include <linux/cache.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "filter.h"

#define BITS_ROOM	12	/* so many for each hash, and 1 % are taken by mistake */
#define ROOM_MAX	(512UL << 20)	/* in one piece: 768 MiB */

/**
 * ksm_filter_add() - put a hash in
 * @filter: the filter
 * @mixed: the hash, from ksm_filter_mix()
 *
 * Context: Any context; does not sleep.
 */
void ksm_filter_add(struct ksm_filter *filter, u64 mixed)
{
	u64 *line;

	filter->nr++;
	if (!filter->nr_layers) {
		filter->blind = true;
		return;
	}
	line = ksm_filter_line(&filter->layers[filter->nr_layers - 1], mixed);
	line[ksm_filter_word(mixed)] |= ksm_filter_three(mixed);
	line[ksm_filter_other_word(mixed)] |= ksm_filter_three(mixed >> 18);
}

static u32 lines_for(unsigned long room)
{
	return min_t(u64, (u64)room * BITS_ROOM / KSM_LINE_BITS + 1, U32_MAX);
}

static void layer_clear(struct ksm_filter_layer *layer)
{
	u32 nr;

	for (nr = 0; nr < layer->nr_lines; nr++) {
		memset(layer->lines[nr], 0, sizeof(layer->lines[nr]));
		if (!(nr % 4096))
			cond_resched();
	}
}

/**
 * ksm_filter_empty() - take everything out, and give the memory back
 * @filter: the filter
 *
 * Context: Process context; may sleep.
 */
void ksm_filter_empty(struct ksm_filter *filter)
{
	while (filter->nr_layers)
		kvfree(filter->layers[--filter->nr_layers].lines);
	filter->room = 0;
	filter->nr = 0;
	filter->blind = false;
	filter->poor = false;
}

static bool add_layer(struct ksm_filter *filter, unsigned long room)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NORETRY | __GFP_NOWARN;
	struct ksm_filter_layer layer = { .nr_lines = lines_for(room) };
	size_t size = (size_t)layer.nr_lines * sizeof(*layer.lines);

	if (filter->nr_layers == KSM_FILTER_LAYERS)
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
 * more are taken by mistake.
 */
static void extend(struct ksm_filter *filter, unsigned long room)
{
	unsigned long some;

	filter->room += room;
	for (; room; room -= some) {
		some = min(room, ROOM_MAX);
		if (!add_layer(filter, some)) {
			filter->poor = true;
			return;
		}
	}
}

/* Is it too small, or in more pieces than it would be made of? */
static bool is_makeshift(const struct ksm_filter *filter)
{
	return filter->poor || filter->nr_layers != DIV_ROUND_UP(filter->room, ROOM_MAX);
}

/**
 * ksm_filter_renew() - take everything out, and see that there is room
 * @filter: the filter
 * @room: for so many hashes
 *
 * Context: Process context; may sleep.
 */
void ksm_filter_renew(struct ksm_filter *filter, unsigned long room)
{
	struct ksm_filter new = { };
	unsigned int i;

	/* Much too large is as wrong as too small, or in pieces. */
	if (filter->room < room || filter->room / 2 > room || is_makeshift(filter)) {
		extend(&new, room);
		if (new.nr_layers) {
			ksm_filter_empty(filter);
			*filter = new;
			return;
		}
	}
	for (i = 0; i < filter->nr_layers; i++)
		layer_clear(&filter->layers[i]);
	filter->nr = 0;
	filter->blind = false;
}

/**
 * ksm_filter_grow() - see that there is room for what comes
 * @filter: the filter
 * @room: what it shall begin with
 *
 * Context: Process context; may sleep.
 */
void ksm_filter_grow(struct ksm_filter *filter, unsigned long room)
{
	/* A quarter too many does no harm yet. */
	if (filter->nr >= filter->room + filter->room / 4)
		extend(filter, max(filter->room, room));
}

/**
 * ksm_filter_is_worn() - would it be better to make it anew?
 * @filter: the filter
 *
 * Context: Any context.
 * Return: true if it is in pieces, has no memory, or is blind.
 */
bool ksm_filter_is_worn(const struct ksm_filter *filter)
{
	return !filter->room || filter->blind || is_makeshift(filter);
}

/**
 * ksm_filter_bytes() - memory that a filter takes
 * @filter: the filter
 *
 * Context: Any context. Exact while nobody changes it.
 * Return: Bytes.
 */
unsigned long ksm_filter_bytes(const struct ksm_filter *filter)
{
	unsigned long lines = 0;
	unsigned int i;

	for (i = 0; i < filter->nr_layers; i++)
		lines += READ_ONCE(filter->layers[i].nr_lines);
	return lines * KSM_LINE_WORDS * sizeof(u64);
}
