// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that differ and have one hash, made without knowing the seed.
 *
 * xxh64 sends every fourth word of a page down the same lane:
 *
 *	lane = rol(lane + word * P2, 31) * P1
 *
 * Flip the highest bit of a word, and the highest bit of the sum is what flips.
 * Rotated, that is bit 30, so the lane is off by P1 << 30, upwards or downwards.
 * The lane's next word can take it back: P2 times (P1 << 30) / P2. Whether to
 * add or to subtract depends on the seed, but there are only the two to try.
 */
#include <linux/highmem.h>
#include <linux/mm.h>

#include "../content.h"
#include "fixture.h"

#define LANES	4
#define P1	11400714785074694791ULL
#define P2	14029467366897019727ULL

/* 1 / @odd modulo 2^64: each step doubles the number of right bits, three at first. */
static u64 inverse(u64 odd)
{
	u64 inv = odd;
	unsigned int bits;

	for (bits = 3; bits < 64; bits *= 2)
		inv *= 2 - odd * inv;
	return inv;
}

/* Change two words of @page; its hash as it is then. */
static u64 change(struct page *page, unsigned int first, u64 flip, u64 add)
{
	__le64 *words = kmap_local_page(page);

	words[first] ^= cpu_to_le64(flip);
	le64_add_cpu(&words[first + LANES], add);
	kunmap_local(words);
	return ksm_content_hash(page);
}

/**
 * ksm_test_collide() - change a page, but not its hash
 * @page: the page
 * @pair: which pair of words to change, below 256; pairs do not touch each other
 *
 * Return: true if that worked.
 */
bool ksm_test_collide(struct page *page, unsigned int pair)
{
	unsigned int first = pair / LANES * 2 * LANES + pair % LANES;
	u64 repair = (P1 << 30) * inverse(P2);
	u64 hash = ksm_content_hash(page);

	return change(page, first, BIT_ULL(63), repair) == hash ||
	       change(page, first, 0, -2 * repair) == hash;
}
