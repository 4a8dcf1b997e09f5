// SPDX-License-Identifier: GPL-2.0
/*
 * What is remembered of a page: for a page without a twin, the value entry of
 * an xarray and not a byte more; for a page in a tree, a pointer to its item.
 *
 * Owns the packing, and the counts of how many pages are kept in which way.
 * It does not know what an item is for, nor when something is worth keeping.
 *
 * Floor 1: knows state.
 */
#include <linux/mm.h>

#include "record.h"
#include "state.h"

#define HASH_MASK	((1UL << KSM_HASH_BITS) - 1)
#define PFN_MASK	((1UL << KSM_RECORD_PFN_BITS) - 1)
#define AGE_MASK	KSM_RECORD_AGE_MAX
#define AGE_SHIFT	(KSM_HASH_BITS + KSM_RECORD_PFN_BITS)
#define CALM_SHIFT	(AGE_SHIFT + KSM_RECORD_AGE_BITS)
#define TRUSTED_SHIFT	(CALM_SHIFT + 1)

/* ------------------------------------------------------------------------ */
/* Packing: only these know how.                                            */

/**
 * ksm_record_pack() - make an xarray entry of a record
 * @record: what to remember; bits that do not fit are dropped from hash and
 *	    pfn, an age above KSM_RECORD_AGE_MAX is taken as that
 *
 * Context: Any context.
 * Return: The value entry.
 */
void *ksm_record_pack(struct ksm_record record)
{
	unsigned long age = min(record.age, KSM_RECORD_AGE_MAX);

	BUILD_BUG_ON(TRUSTED_SHIFT + 1 > BITS_PER_LONG - 1);

	return xa_mk_value((record.hash & HASH_MASK) |
			   (record.pfn & PFN_MASK) << KSM_HASH_BITS |
			   age << AGE_SHIFT |
			   (unsigned long)record.calm << CALM_SHIFT |
			   (unsigned long)record.trusted << TRUSTED_SHIFT);
}

/**
 * ksm_record_unpack() - read an xarray entry made by ksm_record_pack()
 * @entry: a value entry
 *
 * Context: Any context.
 * Return: The record, hash and pfn reduced to the bits that were kept.
 */
struct ksm_record ksm_record_unpack(void *entry)
{
	unsigned long value = xa_to_value(entry);

	return (struct ksm_record) {
		.hash	= value & HASH_MASK,
		.pfn	= value >> KSM_HASH_BITS & PFN_MASK,
		.age	= value >> AGE_SHIFT & AGE_MASK,
		.calm	= value >> CALM_SHIFT & 1,
		.trusted = value >> TRUSTED_SHIFT & 1,
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
			.pfn	= item->pfn,
			.age	= item->age,
			.calm	= true,
			.trusted = item->trusted,
		};
	else
		*record = ksm_record_unpack(entry);
	return record->pfn == (pfn & PFN_MASK);
}

/**
 * ksm_record_rests() - is a page calm and trusted, as far as is remembered?
 * @entry: what is recorded, or NULL
 * @pfn: page frame found now
 *
 * The same as to recall it and to look, for what nearly all pages are asked.
 *
 * Context: The caller owns the records that hold @entry.
 * Return: true if so; false for a candidate, whatever it is.
 */
bool ksm_record_rests(void *entry, unsigned long pfn)
{
	const unsigned long flags = 1UL << CALM_SHIFT | 1UL << TRUSTED_SHIFT;

	return xa_is_value(entry) &&
	       (xa_to_value(entry) & (PFN_MASK << KSM_HASH_BITS | flags)) ==
	       ((pfn & PFN_MASK) << KSM_HASH_BITS | flags);
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

	if (!entry)
		return false;
	return (hash & HASH_MASK) == (item ? item->hash : ksm_record_unpack(entry).hash);
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
		.hash	= hash & HASH_MASK,
		.pfn	= pfn & PFN_MASK,
	}, old;

	if (ksm_record_recall(entry, pfn, &old)) {
		new.age = min(old.age + 1, KSM_RECORD_AGE_MAX);
		new.calm = old.hash == new.hash;
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
	return xa_load(&km->records, index);
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
	void *old;

	old = xa_store(&km->records, index, entry,
		       GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (xa_is_err(old))
		return xa_err(old);
	if (ksm_record_item(entry))
		xa_set_mark(&km->records, index, KSM_RECORD_ITEM);
	else if (ksm_record_item(old))
		xa_clear_mark(&km->records, index, KSM_RECORD_ITEM);
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
	count(km, xa_erase(&km->records, index), -1);
}

/**
 * ksm_record_amend() - change what is remembered of a page, where it stands
 * @km: the mm
 * @at: the place in @km's records, just loaded; there is a value or a candidate
 * @record: what to remember; of a candidate only @trusted can be changed
 *
 * Allocates nothing, so it can be done under the PTL.
 *
 * Context: Any context; in an RCU read section. The caller owns @km's records.
 */
void ksm_record_amend(struct ksm_mm *km, struct xa_state *at, struct ksm_record record)
{
	void *old = xas_load(at), *entry = ksm_record_pack(record);
	struct ksm_item *item = ksm_record_item(old);

	if (item) {
		item->trusted = record.trusted;
		return;
	}
	xas_lock(at);
	xas_store(at, entry);
	xas_unlock(at);
	count(km, old, -1);
	count(km, entry, 1);
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
	XA_STATE(at, &km->records, first);
	struct ksm_record record;
	void *entry;

	rcu_read_lock();
	xas_for_each(&at, entry, last) {
		struct ksm_item *item = ksm_record_item(entry);

		if (item && item->kind != KSM_ITEM_CANDIDATE)
			continue;
		ksm_record_recall(entry, 0, &record);
		if (!record.trusted)
			continue;
		record.trusted = false;
		ksm_record_amend(km, &at, record);
	}
	rcu_read_unlock();
}

/**
 * ksm_record_any() - is anything known of a range?
 * @km: the mm
 * @first: first page number
 * @last: last page number
 *
 * Context: Any context. The caller owns @km's records.
 * Return: true if so.
 */
bool ksm_record_any(struct ksm_mm *km, unsigned long first, unsigned long last)
{
	return xa_find(&km->records, &first, last, XA_PRESENT);
}
