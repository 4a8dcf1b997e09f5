// SPDX-License-Identifier: GPL-2.0
/*
 * Where records are kept: those of 64 neighbouring pages in a block, which takes as
 * little memory as they need, and the blocks in an xarray.
 *
 * As long as there are few in a block they stand side by side, in the order of their
 * pages, behind a head that tells which pages those are. When that would take as much,
 * a plain array with a slot for each page does: it has no head, and begins with a
 * cache line. The pointer to a block tells by its low bits which of the two it is.
 * Sizes are powers of two, of which the slab wastes nothing.
 *
 * Owns the memory, and the count of it; not what the entries lead to. Does not know
 * what they mean.
 *
 * Floor 1: knows state.
 */
#include <linux/bitops.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "block.h"
#include "state.h"

#define GFP_TRY		(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

#define FULL		1	/* tag of a block with a slot for each page */
#define FULL_SIZE	(KSM_BLOCK_PAGES * sizeof(void *))
#define MIN_SIZE	32

/* By a mark, the next block is found without a look at each empty slot on the way. */
#define BLOCK_OF_ITEMS	XA_MARK_0
#define BLOCK		XA_MARK_1

/**
 * struct ksm_block - a block of few entries
 * @taken: the pages that have one
 * @size: of the memory, in bytes
 * @entries: in the order of their pages
 */
struct ksm_block {
	u64	taken;
	u32	size;
	void	*entries[];
};

/* ------------------------------------------------------------------------ */
/* A block.                                                                 */

static void **slots_of_full(struct ksm_block *block)
{
	return xa_pointer_tag(block) == FULL ? xa_untag_pointer(block) : NULL;
}

/* The memory that so many entries get. */
static size_t size_for(unsigned int nr)
{
	size_t size = roundup_pow_of_two(struct_size_t(struct ksm_block, entries, nr));

	return clamp(size, MIN_SIZE, FULL_SIZE);
}

static size_t size_of(struct ksm_block *block)
{
	return slots_of_full(block) ? FULL_SIZE : block->size;
}

static unsigned int count(struct ksm_block *block)
{
	void **slots = slots_of_full(block);
	unsigned int i, nr = 0;

	if (!slots)
		return hweight64(block->taken);
	for (i = 0; i < KSM_BLOCK_PAGES; i++)
		nr += !!slots[i];
	return nr;
}

/* Slots of page @i and those behind it; @which tells of which pages. */
static void **look(struct ksm_block *block, unsigned int i, u64 *which)
{
	void **slots = slots_of_full(block);

	if (slots) {
		*which = U64_MAX >> i;
		return slots + i;
	}
	*which = block->taken >> i;
	return block->entries + hweight64(block->taken & (BIT_ULL(i) - 1));
}

/* Put an entry where there is none, and memory for it. */
static void insert(struct ksm_block *block, unsigned int i, void *entry)
{
	void **slot;
	u64 above;

	slot = look(block, i, &above);
	if (!slots_of_full(block)) {
		memmove(slot + 1, slot, hweight64(above) * sizeof(*slot));
		block->taken |= BIT_ULL(i);
	}
	*slot = entry;
}

/* Take an entry out. False if it was the last. */
static bool take_out(struct ksm_block *block, unsigned int i)
{
	void **slots = slots_of_full(block), **slot;
	u64 above;

	slot = look(block, i, &above);
	if (!slots) {
		memmove(slot, slot + 1, hweight64(above >> 1) * sizeof(*slot));
		block->taken &= ~BIT_ULL(i);
		return block->taken;
	}
	*slot = NULL;
	/* Most are emptied from the front. */
	for (slot = slots + KSM_BLOCK_PAGES; slot > slots; slot--)
		if (slot[-1])
			return true;
	return false;
}

static struct ksm_block *make(size_t size, gfp_t gfp)
{
	struct ksm_block *block = kzalloc(size, gfp);

	if (block && size == FULL_SIZE)
		return xa_tag_pointer(block, FULL);
	if (block)
		block->size = size;
	return block;
}

/* The same entries in a block of another size. */
static struct ksm_block *copy(struct ksm_block *from, size_t size, gfp_t gfp)
{
	struct ksm_block *block = make(size, gfp);
	unsigned int i;
	void **slot;
	u64 which;

	if (!block)
		return NULL;
	slot = look(from, 0, &which);
	for (i = 0; which; i++, which >>= 1) {
		if (!(which & 1))
			continue;
		if (*slot)
			insert(block, i, *slot);
		slot++;
	}
	return block;
}

static void free_block(struct ksm_block *block)
{
	kfree(xa_untag_pointer(block));
}

/* ------------------------------------------------------------------------ */
/* The blocks of an mm.                                                     */

/* The block of a page, or NULL. Most are asked for again at once. */
static struct ksm_block *load(struct ksm_mm *km, unsigned long index)
{
	unsigned long nr = index / KSM_BLOCK_PAGES;

	if (!km->block || km->block_nr != nr) {
		km->block = xa_load(&km->records, nr);
		km->block_nr = nr;
	}
	return km->block;
}

static void count_bytes(struct ksm_mm *km, long by)
{
	atomic_long_add(by, &ksm_counts.record_bytes);
	/* Read without a lock by /proc; written by the records' owner only. */
	WRITE_ONCE(km->bytes, km->bytes + by);
}

/*
 * The memory of those nodes of the xarray that only block number @nr needs, which is
 * not there now. Not counted is what makes the way to a low number as long as that to
 * a high one.
 */
static long lone_nodes(struct ksm_mm *km, unsigned long nr)
{
	unsigned long first, last;
	unsigned int shift;
	long bytes = 0;

	for (shift = 0; nr >> shift; shift += XA_CHUNK_SHIFT) {
		last = nr | ((XA_CHUNK_SIZE << shift) - 1);
		first = max(last + 1 - (XA_CHUNK_SIZE << shift), 1UL << shift);
		if (xa_find(&km->records, &first, last, XA_PRESENT))
			break;
		bytes += sizeof(struct xa_node);
	}
	return bytes;
}

/* Put @new in the place of @old. That cannot fail, unless there is no @old. */
static int put(struct ksm_mm *km, unsigned long nr, struct ksm_block *old,
	       struct ksm_block *new)
{
	long bytes = size_of(new);
	int err;

	if (!old)
		bytes += lone_nodes(km, nr);
	err = xa_err(xa_store(&km->records, nr, new, GFP_TRY));
	if (err) {
		free_block(new);
		return err;
	}
	km->block = NULL;
	if (old) {
		bytes -= size_of(old);
		free_block(old);
	} else {
		xa_set_mark(&km->records, nr, BLOCK);
	}
	count_bytes(km, bytes);
	return 0;
}

/**
 * ksm_block_init() - begin with no block
 * @km: the mm
 *
 * Context: Any context. Nobody else knows @km yet.
 */
void ksm_block_init(struct ksm_mm *km)
{
	xa_init(&km->records);
	km->block = NULL;
}

/**
 * ksm_block_none() - is there no block?
 * @km: the mm
 *
 * Context: Any context. The caller sees to it that nobody changes the records.
 * Return: true if so.
 */
bool ksm_block_none(struct ksm_mm *km)
{
	unsigned long nr = 0;

	/* An addition that failed may have left nodes of the xarray without a block. */
	return !xa_find(&km->records, &nr, ULONG_MAX, XA_PRESENT);
}

/**
 * ksm_block_end() - end what ksm_block_init() began
 * @km: the mm; it has no block any more
 *
 * Context: Any context. Nobody else knows @km any more.
 */
void ksm_block_end(struct ksm_mm *km)
{
	WARN_ON_ONCE(!ksm_block_none(km));
	xa_destroy(&km->records);
}

/**
 * ksm_block_slots() - where the entries are, from a page to the last of its block
 * @km: the mm
 * @index: number of that page
 * @which: set to the pages that have a slot; bit 0 is for @index
 *
 * Slots stand side by side. One may hold NULL, for nothing; what it holds may be
 * replaced by another entry.
 *
 * Context: Any context. The caller owns @km's records (R in types.h).
 * Return: The slot of the first bit in @which; of no use where @which is 0.
 */
void **ksm_block_slots(struct ksm_mm *km, unsigned long index, u64 *which)
{
	struct ksm_block *block = load(km, index);

	*which = 0;
	return block ? look(block, index % KSM_BLOCK_PAGES, which) : NULL;
}

/**
 * ksm_block_add() - put an entry where there is none
 * @km: the mm
 * @index: page number
 * @entry: the entry
 *
 * Context: Process context; may sleep, does not try hard. The caller owns @km's
 *	    records.
 * Return: 0, or -ENOMEM with nothing changed.
 */
int ksm_block_add(struct ksm_mm *km, unsigned long index, void *entry)
{
	struct ksm_block *old = load(km, index), *block = old;
	size_t size;

	if (!old) {
		block = make(MIN_SIZE, GFP_TRY);
	} else if (!slots_of_full(old)) {
		size = size_for(count(old) + 1);
		if (size > old->size)
			block = copy(old, size, GFP_TRY);
	}
	if (!block)
		return -ENOMEM;
	insert(block, index % KSM_BLOCK_PAGES, entry);
	return block == old ? 0 : put(km, index / KSM_BLOCK_PAGES, old, block);
}

/**
 * ksm_block_remove() - take an entry out
 * @km: the mm
 * @index: page number; there is one
 *
 * Allocates nothing. The block goes with its last entry.
 *
 * Context: Process context. The caller owns @km's records.
 */
void ksm_block_remove(struct ksm_mm *km, unsigned long index)
{
	unsigned long nr = index / KSM_BLOCK_PAGES;
	struct ksm_block *block = load(km, index);

	if (take_out(block, index % KSM_BLOCK_PAGES))
		return;
	xa_erase(&km->records, nr);
	km->block = NULL;
	count_bytes(km, -(long)size_of(block) - lone_nodes(km, nr));
	free_block(block);
}

/**
 * ksm_block_trim() - give back memory that a block does not need any more
 * @km: the mm
 * @index: page number; anything may be there
 *
 * Nothing is done where it would not spare much, or without memory.
 *
 * Context: Process context. The caller owns @km's records.
 */
void ksm_block_trim(struct ksm_mm *km, unsigned long index)
{
	struct ksm_block *block = load(km, index), *less = NULL;
	size_t size;

	if (!block)
		return;
	size = size_for(count(block));
	if (size <= size_of(block) / 4)
		less = copy(block, size, GFP_NOWAIT | __GFP_NOWARN);
	if (less)
		put(km, index / KSM_BLOCK_PAGES, block, less);
}

/**
 * ksm_block_mark() - mark a block, for ksm_block_find()
 * @km: the mm
 * @index: number of a page in it
 * @mark: false to take the mark away
 *
 * Context: Any context. The caller owns @km's records.
 */
void ksm_block_mark(struct ksm_mm *km, unsigned long index, bool mark)
{
	if (mark)
		xa_set_mark(&km->records, index / KSM_BLOCK_PAGES, BLOCK_OF_ITEMS);
	else
		xa_clear_mark(&km->records, index / KSM_BLOCK_PAGES, BLOCK_OF_ITEMS);
}

/**
 * ksm_block_find() - find a block
 * @km: the mm
 * @index: page number to begin with; if that is in no such block, set to the first
 *	   of the next one
 * @last: page number to end with
 * @marked: pass by blocks without mark
 *
 * Context: Any context. The caller owns @km's records.
 * Return: true if there is one.
 */
bool ksm_block_find(struct ksm_mm *km, unsigned long *index, unsigned long last, bool marked)
{
	unsigned long nr = *index / KSM_BLOCK_PAGES;

	if (*index > last)
		return false;
	/* Most ask at the page behind one that they have been at. */
	if (!marked && km->block && km->block_nr == nr)
		return true;
	if (!xa_find(&km->records, &nr, last / KSM_BLOCK_PAGES,
		     marked ? BLOCK_OF_ITEMS : BLOCK))
		return false;
	*index = max(*index, nr * KSM_BLOCK_PAGES);
	return true;
}
