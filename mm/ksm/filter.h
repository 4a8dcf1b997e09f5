/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_FILTER_H
#define _MM_KSM_FILTER_H

#include <linux/bits.h>
#include <linux/hash.h>
#include <linux/prefetch.h>
#include <linux/types.h>

#define KSM_LINE_WORDS		8	/* 64 bytes, whatever the machine's cache has */
#define KSM_LINE_BITS		(KSM_LINE_WORDS * 64)
#define KSM_FILTER_LAYERS	24

struct ksm_filter_layer {
	u64		(*lines)[KSM_LINE_WORDS];
	u32		nr_lines;
};

/**
 * struct ksm_filter - a Bloom filter; all zeros is one without memory
 * @layers: its bits; what is put in goes to the last
 * @nr_layers: length of @layers
 * @room: hashes that it was made for
 * @nr: hashes that were put in
 * @blind: it takes everything for put in
 * @poor: there was no memory for all of @room
 */
struct ksm_filter {
	struct ksm_filter_layer	layers[KSM_FILTER_LAYERS];
	unsigned int	nr_layers;
	unsigned long	room;
	unsigned long	nr;
	bool		blind;
	bool		poor;
};

/*
 * What the others are given: high bits tell the line, low bits the bits in it. Six are
 * set for a hash: three in a word of the first half of the line, three in one of the
 * other half.
 */
static inline u64 ksm_filter_mix(u64 hash, u64 seed)
{
	return (hash ^ seed) * GOLDEN_RATIO_64;
}

static inline u64 *ksm_filter_line(const struct ksm_filter_layer *layer, u64 mixed)
{
	return layer->lines[(mixed >> 32) * layer->nr_lines >> 32];
}

static inline u64 ksm_filter_three(u64 mixed)
{
	return BIT_ULL(mixed % 64) | BIT_ULL(mixed / 64 % 64) | BIT_ULL(mixed / 4096 % 64);
}

/* Two bits tell each of these, those above what the masks are made of. */
static_assert(KSM_LINE_WORDS == 8);

static inline unsigned int ksm_filter_word(u64 mixed)
{
	return (mixed >> 36) % (KSM_LINE_WORDS / 2);
}

static inline unsigned int ksm_filter_other_word(u64 mixed)
{
	return KSM_LINE_WORDS / 2 + (mixed >> 38) % (KSM_LINE_WORDS / 2);
}

static inline bool ksm_filter_line_has(const u64 *line, u64 mixed)
{
	u64 three = ksm_filter_three(mixed), others = ksm_filter_three(mixed >> 18);

	return !(three & ~line[ksm_filter_word(mixed)]) &&
	       !(others & ~line[ksm_filter_other_word(mixed)]);
}

/* Was it put in? It may be said of one in a hundred others as well. */
static inline bool ksm_filter_has(const struct ksm_filter *filter, u64 mixed)
{
	unsigned int i;

	for (i = 0; i < filter->nr_layers; i++)
		if (ksm_filter_line_has(ksm_filter_line(&filter->layers[i], mixed), mixed))
			return true;
	return filter->blind;
}

static inline void ksm_filter_prefetch(const struct ksm_filter *filter, u64 mixed)
{
	unsigned int i;

	for (i = 0; i < filter->nr_layers; i++)
		prefetchw(ksm_filter_line(&filter->layers[i], mixed));
}

void ksm_filter_add(struct ksm_filter *filter, u64 mixed);
void ksm_filter_empty(struct ksm_filter *filter);
void ksm_filter_renew(struct ksm_filter *filter, unsigned long room);
void ksm_filter_grow(struct ksm_filter *filter, unsigned long room);
bool ksm_filter_is_worn(const struct ksm_filter *filter);
unsigned long ksm_filter_bytes(const struct ksm_filter *filter);

#endif /* _MM_KSM_FILTER_H */
