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

/* Marks the entries that are items, so that an unmerge finds them alone. */
#define KSM_RECORD_ITEM		XA_MARK_0

/**
 * struct ksm_record - what is remembered of a page without a twin
 * @hash: its hash when it was read last
 * @pfn: low bits of its page frame number at that time
 * @age: how often it was read since it came, without finding a twin
 * @calm: whether the hash was the same the last two times
 * @trusted: whether the PTE was clean before the page was read, so that one which
 *	     is clean still tells that nobody has written to it by that way
 */
struct ksm_record {
	u64		hash;
	unsigned long	pfn;
	unsigned int	age;
	bool		calm;
	bool		trusted;
};

void *ksm_record_pack(struct ksm_record record);
struct ksm_record ksm_record_unpack(void *entry);
bool ksm_record_rests(void *entry, unsigned long pfn);
bool ksm_record_has(void *entry, u64 hash);
struct ksm_record ksm_record_renew(void *entry, u64 hash, unsigned long pfn);
bool ksm_record_recall(void *entry, unsigned long pfn, struct ksm_record *record);

void *ksm_record_load(struct ksm_mm *km, unsigned long index);
int ksm_record_store(struct ksm_mm *km, unsigned long index, void *entry);
void ksm_record_erase(struct ksm_mm *km, unsigned long index);
void ksm_record_amend(struct ksm_mm *km, struct xa_state *at, struct ksm_record record);
void ksm_record_distrust(struct ksm_mm *km, unsigned long first, unsigned long last);
bool ksm_record_any(struct ksm_mm *km, unsigned long first, unsigned long last);

static inline struct ksm_item *ksm_record_item(void *entry)
{
	return entry && !xa_is_value(entry) ? entry : NULL;
}

#endif /* _MM_KSM_RECORD_H */
