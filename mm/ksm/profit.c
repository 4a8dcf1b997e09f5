// SPDX-License-Identifier: GPL-2.0
/*
 * What KSM brings: pages saved, less the memory that it takes for them.
 *
 * Floor 2: knows state, policy and the sizes of things.
 */
#include <linux/mm.h>

#include "policy.h"
#include "profit.h"
#include "state.h"
#include "types.h"

/**
 * ksm_profit_of_all() - what KSM brings on this machine
 *
 * Context: Any context. Exact while no batch runs.
 * Return: Bytes; negative when KSM costs more than it brings.
 */
long ksm_profit_of_all(void)
{
	unsigned long items = atomic_long_read(&ksm_counts.items);
	unsigned long records = items + atomic_long_read(&ksm_counts.calm) +
				atomic_long_read(&ksm_counts.fickle);

	return ksm_policy_profit(READ_ONCE(ksm_counts.sharing) +
				 atomic_long_read(&ksm_counts.zero_pages), PAGE_SIZE,
				 ksm_policy_record_bytes(records) +
				 items * sizeof(struct ksm_item) +
				 atomic_long_read(&ksm_counts.nodes) * sizeof(struct ksm_node) +
				 atomic_long_read(&ksm_counts.mms) * sizeof(struct ksm_mm));
}

/**
 * ksm_profit_of_mm() - what KSM brings a process
 * @mm: the mm
 *
 * Of the pages that it shares, none is counted as the one that is kept: whose
 * that is nobody can say.
 *
 * Context: Any context. Takes no lock, so it never waits.
 * Return: Bytes; negative when KSM costs more than it brings.
 */
long ksm_profit_of_mm(struct mm_struct *mm)
{
	unsigned long merging = READ_ONCE(mm->ksm_merging_pages);

	return ksm_policy_profit(merging + atomic_long_read(&mm->ksm_zero_pages), PAGE_SIZE,
				 ksm_policy_record_bytes(READ_ONCE(mm->ksm_rmap_items)) +
				 merging * sizeof(struct ksm_item));
}
