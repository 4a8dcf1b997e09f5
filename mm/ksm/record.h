/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_RECORD_H
#define _MM_KSM_RECORD_H

#include "types.h"

/* A value entry of an xarray has one bit less than a long. */
#ifdef CONFIG_64BIT
#define KSM_RECORD_PFN_BITS	12
#define KSM_RECORD_AGE_BITS	7
#else
#define KSM_RECORD_PFN_BITS	7
#define KSM_RECORD_AGE_BITS	5
#endif

#define KSM_RECORD_AGE_MAX	((1U << KSM_RECORD_AGE_BITS) - 1)

/* How a record is packed; the hash is lowest. */
#define KSM_RECORD_HASH_MASK	((1UL << KSM_HASH_BITS) - 1)
#define KSM_RECORD_PFN_MASK	((1UL << KSM_RECORD_PFN_BITS) - 1)
#define KSM_RECORD_AGE_SHIFT	(KSM_HASH_BITS + KSM_RECORD_PFN_BITS)
#define KSM_RECORD_CALM_SHIFT	(KSM_RECORD_AGE_SHIFT + KSM_RECORD_AGE_BITS)
#define KSM_RECORD_TRUSTED_SHIFT (KSM_RECORD_CALM_SHIFT + 1)
#define KSM_RECORD_RESTLESS_SHIFT (KSM_RECORD_TRUSTED_SHIFT + 1)

/**
 * struct ksm_record - what is remembered of a page without a twin
 * @hash: its hash when it was read last; for one that is restless those of its parts,
 *	  see ksm_content_hash_parts()
 * @pfn: low bits of its page frame number at that time
 * @age: how often it was read again since it came, without finding a twin
 * @calm: whether the hash was the same the last two times
 * @trusted: whether the PTE was clean before the page was read, so that one which
 *	     is clean still tells that nobody has written to it by that way
 * @restless: whether it changes again and again
 */
struct ksm_record {
	u64		hash;
	unsigned long	pfn;
	unsigned int	age;
	bool		calm;
	bool		trusted;
	bool		restless;
};

/**
 * struct ksm_record_cursor - a place in the records, to go on from page by page
 * @km: the mm
 * @next: page number behind those of the block that it is in
 * @left: how many pages of that block are to come
 * @which: those of them that have a slot; bit 0 is for the next one
 * @slot: the first of these slots
 *
 * Good for as long as nothing is stored or erased; what is there may be amended.
 */
struct ksm_record_cursor {
	struct ksm_mm	*km;
	unsigned long	next;
	unsigned int	left;
	u64		which;
	void		**slot;
};

void *ksm_record_pack(struct ksm_record record);
struct ksm_record ksm_record_unpack(void *entry);
bool ksm_record_has(void *entry, u64 hash);
struct ksm_record ksm_record_renew(void *entry, u64 hash, unsigned long pfn);
bool ksm_record_recall(void *entry, unsigned long pfn, struct ksm_record *record);

void *ksm_record_load(struct ksm_mm *km, unsigned long index);
int ksm_record_store(struct ksm_mm *km, unsigned long index, void *entry);
void ksm_record_erase(struct ksm_mm *km, unsigned long index);
void ksm_record_enter(struct ksm_record_cursor *at);
void ksm_record_amend(struct ksm_record_cursor *at, struct ksm_record record);
void ksm_record_distrust(struct ksm_mm *km, unsigned long first, unsigned long last);
void *ksm_record_find(struct ksm_mm *km, unsigned long *index, unsigned long last);
struct ksm_item *ksm_record_find_item(struct ksm_mm *km, unsigned long *index,
				      unsigned long last);

static inline struct ksm_item *ksm_record_item(void *entry)
{
	return entry && !xa_is_value(entry) ? entry : NULL;
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
static inline bool ksm_record_rests(void *entry, unsigned long pfn)
{
	const unsigned long flags = 1UL << KSM_RECORD_CALM_SHIFT |
				    1UL << KSM_RECORD_TRUSTED_SHIFT;
	const unsigned long mask = KSM_RECORD_PFN_MASK << KSM_HASH_BITS | flags;

	return xa_is_value(entry) &&
	       (xa_to_value(entry) & mask) ==
	       ((pfn & KSM_RECORD_PFN_MASK) << KSM_HASH_BITS | flags);
}

/**
 * ksm_record_begin() - set a cursor
 * @km: the mm
 * @index: the page number that the first ksm_record_next() is for
 *
 * Context: Any context. The caller owns @km's records.
 * Return: The cursor.
 */
static inline struct ksm_record_cursor ksm_record_begin(struct ksm_mm *km,
							unsigned long index)
{
	return (struct ksm_record_cursor) { .km = km, .next = index };
}

/**
 * ksm_record_next() - what is known of the next page
 * @at: the cursor
 *
 * Context: Any context. The caller owns the records.
 * Return: A value entry, an item, or NULL for nothing.
 */
static inline void *ksm_record_next(struct ksm_record_cursor *at)
{
	void *entry = NULL;

	if (!at->left)
		ksm_record_enter(at);
	at->left--;
	if (at->which & 1)
		entry = *at->slot++;
	at->which >>= 1;
	return entry;
}

#endif /* _MM_KSM_RECORD_H */
