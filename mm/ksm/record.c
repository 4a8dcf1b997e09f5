// SPDX-License-Identifier: GPL-2.0
/*
 * What is remembered of a page: for a page without a twin, a word and not a byte
 * more, packed like the value entry of an xarray; for a page in a tree, a pointer to
 * its item. Where it is kept is block.c's; those blocks that hold items are marked.
 *
 * Owns the packing, and the counts of how many pages are kept in which way.
 * It does not know what an item is for, nor when something is worth keeping.
 *
 * Floor 2: knows blocks and state.
 */
#include <linux/mm.h>

#include "block.h"
#include "record.h"
#include "state.h"

/* ------------------------------------------------------------------------ */
/* Packing: these know how, and ksm_record_rests().                         */

/**
 * ksm_record_pack() - make an entry of a record
 * @record: what to remember; bits that do not fit are dropped from hash and
 *	    pfn, an age above KSM_RECORD_AGE_MAX is taken as that
 *
 * Context: Any context.
 * Return: The value entry.
 */
void *ksm_record_pack(struct ksm_record record)
{
	unsigned long age = min(record.age, KSM_RECORD_AGE_MAX);

	BUILD_BUG_ON(KSM_RECORD_RESTLESS_SHIFT + 1 > BITS_PER_LONG - 1);

	return xa_mk_value((record.hash & KSM_RECORD_HASH_MASK) |
			   (record.pfn & KSM_RECORD_PFN_MASK) << KSM_HASH_BITS |
			   age << KSM_RECORD_AGE_SHIFT |
			   (unsigned long)record.calm << KSM_RECORD_CALM_SHIFT |
			   (unsigned long)record.trusted << KSM_RECORD_TRUSTED_SHIFT |
			   (unsigned long)record.restless << KSM_RECORD_RESTLESS_SHIFT);
}

/**
 * ksm_record_unpack() - read an entry made by ksm_record_pack()
 * @entry: a value entry
 *
 * Context: Any context.
 * Return: The record, hash and pfn reduced to the bits that were kept.
 */
struct ksm_record ksm_record_unpack(void *entry)
{
	unsigned long value = xa_to_value(entry);

	return (struct ksm_record) {
		.hash	= value & KSM_RECORD_HASH_MASK,
		.pfn	= value >> KSM_HASH_BITS & KSM_RECORD_PFN_MASK,
		.age	= value >> KSM_RECORD_AGE_SHIFT & KSM_RECORD_AGE_MAX,
		.calm	= value >> KSM_RECORD_CALM_SHIFT & 1,
		.trusted = value >> KSM_RECORD_TRUSTED_SHIFT & 1,
		.restless = value >> KSM_RECORD_RESTLESS_SHIFT & 1,
	};
}

/**
 * ksm_record_recall() - what is remembered of a page, if it still is the same one
 * @entry: what is recorded, or NULL
 * @pfn: page frame found now
 * @record: filled in
 *
 * Context: The caller owns the records that hold @entry.
 * Return: true if a value or a candidate is recorded, and of this page frame.
 */
bool ksm_record_recall(void *entry, unsigned long pfn, struct ksm_record *record)
{
	struct ksm_item *item = ksm_record_item(entry);

	if (!entry || (item && item->kind != KSM_ITEM_CANDIDATE))
		return false;
	if (item)
		*record = (struct ksm_record) {
			.hash	= item->hash,
			.pfn	= item->pfn & KSM_RECORD_PFN_MASK,
			.age	= item->age,
			.calm	= true,
			.trusted = item->trusted,
		};
	else
		*record = ksm_record_unpack(entry);
	return record->pfn == (pfn & KSM_RECORD_PFN_MASK);
}

/**
 * ksm_record_has() - is it this hash that is remembered of a page?
 * @entry: what is recorded of whatever page was there: a value, a candidate, or NULL
 * @hash: the hash
 *
 * Context: The caller owns the records that hold @entry.
 * Return: true if so.
 */
bool ksm_record_has(void *entry, u64 hash)
{
	struct ksm_item *item = ksm_record_item(entry);
	struct ksm_record record;

	if (!entry)
		return false;
	if (item)
		return (hash & KSM_RECORD_HASH_MASK) == item->hash;
	record = ksm_record_unpack(entry);
	return (hash & KSM_RECORD_HASH_MASK) == record.hash && !record.restless;
}

/**
 * ksm_record_renew() - what to remember of a page that was read again
 * @entry: what was recorded so far, or NULL
 * @hash: hash found now
 * @pfn: page frame found now
 *
 * Context: The caller owns the records that hold @entry.
 * Return: The new record: older, and calm if the hash held; of age 0 for a page
 *	   that was not there before. It is not trusted yet.
 */
struct ksm_record ksm_record_renew(void *entry, u64 hash, unsigned long pfn)
{
	struct ksm_record new = {
		.hash	= hash & KSM_RECORD_HASH_MASK,
		.pfn	= pfn & KSM_RECORD_PFN_MASK,
	}, old;

	if (ksm_record_recall(entry, pfn, &old)) {
		new.age = min(old.age + 1, KSM_RECORD_AGE_MAX);
		new.calm = old.hash == new.hash && !old.restless;
	}
	return new;
}

/* ------------------------------------------------------------------------ */
/* Keeping.                                                                 */

static void count(struct ksm_mm *km, void *entry, long by)
{
	if (!entry)
		return;
	/* Read without a lock by /proc; written by the records' owner only. */
	if (!xa_is_value(entry)) {
		atomic_long_add(by, &ksm_counts.items);
		WRITE_ONCE(km->items, km->items + by);
	} else if (ksm_record_unpack(entry).calm) {
		atomic_long_add(by, &ksm_counts.calm);
	} else {
		atomic_long_add(by, &ksm_counts.fickle);
	}
	WRITE_ONCE(ksm_mm_of(km)->ksm_rmap_items,
		   ksm_mm_of(km)->ksm_rmap_items + by);
}

/* After an item has gone from a page: is one left in its block? Most go from the front. */
static bool has_item(struct ksm_mm *km, unsigned long index)
{
	void **slot;
	u64 which;

	for (slot = ksm_block_slots(km, index, &which); which; which >>= 1)
		if (which & 1 && ksm_record_item(*slot++))
			return true;
	return false;
}

static void unmark(struct ksm_mm *km, unsigned long index, void *gone)
{
	if (ksm_record_item(gone) && !has_item(km, index) &&
	    !has_item(km, ALIGN_DOWN(index, KSM_BLOCK_PAGES)))
		ksm_block_mark(km, index, false);
}

/**
 * ksm_record_load() - what is known of a page
 * @km: the mm
 * @index: page number in it
 *
 * Context: The caller owns @km's records (R in types.h).
 * Return: A value entry, an item, or NULL for nothing.
 */
void *ksm_record_load(struct ksm_mm *km, unsigned long index)
{
	void **slot;
	u64 which;

	slot = ksm_block_slots(km, index, &which);
	return which & 1 ? *slot : NULL;
}

/**
 * ksm_record_store() - remember something of a page
 * @km: the mm
 * @index: page number in it
 * @entry: a value entry, or an item; takes the place of what was there, which
 *	   the caller frees if it was an item
 *
 * Replacing never allocates, so it cannot fail.
 *
 * Context: Process context; may sleep. The caller owns @km's records.
 * Return: 0, or -ENOMEM with nothing changed.
 */
int ksm_record_store(struct ksm_mm *km, unsigned long index, void *entry)
{
	void **slot, *old = NULL;
	u64 which;
	int err;

	slot = ksm_block_slots(km, index, &which);
	if (which & 1)
		old = *slot;
	if (old) {
		*slot = entry;
	} else {
		err = ksm_block_add(km, index, entry);
		if (err)
			return err;
	}
	if (ksm_record_item(entry))
		ksm_block_mark(km, index, true);
	else
		unmark(km, index, old);
	count(km, old, -1);
	count(km, entry, 1);
	return 0;
}

/**
 * ksm_record_erase() - forget a page
 * @km: the mm
 * @index: page number in it; an item there is the caller's to free
 *
 * Context: Process context. The caller owns @km's records.
 */
void ksm_record_erase(struct ksm_mm *km, unsigned long index)
{
	void *old = ksm_record_load(km, index);

	if (!old)
		return;
	ksm_block_remove(km, index);
	unmark(km, index, old);
	count(km, old, -1);
}

/* ------------------------------------------------------------------------ */
/* Going along.                                                             */

/**
 * ksm_record_enter() - come to the next block
 * @at: a cursor at the end of a block, or at its begin
 *
 * For ksm_record_next() alone.
 *
 * Context: Any context. The caller owns the records.
 */
void ksm_record_enter(struct ksm_record_cursor *at)
{
	at->slot = ksm_block_slots(at->km, at->next, &at->which);
	at->left = KSM_BLOCK_PAGES - at->next % KSM_BLOCK_PAGES;
	at->next += at->left;
}

/**
 * ksm_record_amend() - change what is remembered of a page, where it stands
 * @at: the cursor whose last ksm_record_next() gave a value or a candidate
 * @record: what to remember; of a candidate only @trusted can be changed
 *
 * Allocates nothing, so it can be done under the PTL.
 *
 * Context: Any context. The caller owns the records.
 */
void ksm_record_amend(struct ksm_record_cursor *at, struct ksm_record record)
{
	void **slot = at->slot - 1;
	struct ksm_item *item = ksm_record_item(*slot);

	if (item) {
		item->trusted = record.trusted;
		return;
	}
	count(at->km, *slot, -1);
	*slot = ksm_record_pack(record);
	count(at->km, *slot, 1);
}

/**
 * ksm_record_distrust() - clean PTEs tell nothing of a range any more
 * @km: the mm
 * @first: first page number
 * @last: last page number
 *
 * Context: Any context. The caller owns @km's records.
 */
void ksm_record_distrust(struct ksm_mm *km, unsigned long first, unsigned long last)
{
	struct ksm_record_cursor at = ksm_record_begin(km, first);
	struct ksm_record record;
	struct ksm_item *item;
	void *entry;

	for (; first <= last; first++) {
		entry = ksm_record_next(&at);
		item = ksm_record_item(entry);
		if (!entry || (item && item->kind != KSM_ITEM_CANDIDATE))
			continue;
		ksm_record_recall(entry, 0, &record);
		if (!record.trusted)
			continue;
		record.trusted = false;
		ksm_record_amend(&at, record);
	}
}

static void *find(struct ksm_mm *km, unsigned long *index, unsigned long last, bool items)
{
	unsigned long next;
	void **slot;
	u64 which;

	for (; ksm_block_find(km, index, last, items); *index = next) {
		next = ALIGN_DOWN(*index, KSM_BLOCK_PAGES) + KSM_BLOCK_PAGES;
		slot = ksm_block_slots(km, *index, &which);
		for (; which; which &= which - 1, slot++)
			if (items ? ksm_record_item(*slot) : *slot) {
				*index += __ffs64(which);
				return *index <= last ? *slot : NULL;
			}
	}
	return NULL;
}

/**
 * ksm_record_find() - the next page of which anything is known
 * @km: the mm
 * @index: page number to begin with; set to that of the page
 * @last: last page number
 *
 * Context: Any context. The caller owns @km's records.
 * Return: A value entry or an item; NULL for none.
 */
void *ksm_record_find(struct ksm_mm *km, unsigned long *index, unsigned long last)
{
	return find(km, index, last, false);
}

/**
 * ksm_record_find_item() - the next page that has an item
 * @km: the mm
 * @index: page number to begin with; set to that of the page
 * @last: last page number
 *
 * Passes by blocks without items, so it is quick where there are few.
 *
 * Context: Any context. The caller owns @km's records.
 * Return: The item; NULL for none.
 */
struct ksm_item *ksm_record_find_item(struct ksm_mm *km, unsigned long *index,
				      unsigned long last)
{
	return find(km, index, last, true);
}
