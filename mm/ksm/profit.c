// SPDX-License-Identifier: GPL-2.0
/*
 * What KSM brings: pages saved, less the memory that it takes for them.
 *
 * Floor 3: knows state, policy, mms and the sizes of things.
 */
#include <linux/mm.h>

#include "mms.h"
#include "policy.h"
#include "profit.h"
#include "sieve.h"
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
	unsigned long items = atomic_long_read(&ksm_counts.items) +
			      atomic_long_read(&ksm_counts.anchors);

	return ksm_policy_profit(READ_ONCE(ksm_counts.sharing) +
				 atomic_long_read(&ksm_counts.zero_pages), PAGE_SIZE,
				 atomic_long_read(&ksm_counts.record_bytes) +
				 ksm_sieve_bytes() +
				 items * sizeof(struct ksm_item) +
				 atomic_long_read(&ksm_counts.nodes) * sizeof(struct ksm_node) +
				 READ_ONCE(ksm_counts.chains) * sizeof(struct ksm_chain) +
				 atomic_long_read(&ksm_counts.mms) * sizeof(struct ksm_mm));
}

/**
 * ksm_profit_of_mm() - what KSM brings a process
 * @mm: the mm
 *
 * A KSM page is saved by all who map it but the one whose item is its first. So
 * the sum over all processes is what ksm_profit_of_all() says, but for what
 * belongs to no process: nodes, their anchors, chains and the sieve.
 *
 * Context: Any context. Waits for nobody but a holder of ksm_mms_lock.
 * Return: Bytes; negative when KSM costs more than it brings.
 */
long ksm_profit_of_mm(struct mm_struct *mm)
{
	unsigned long merging = READ_ONCE(mm->ksm_merging_pages);
	unsigned long overhead, items, kept, bytes;

	overhead = ksm_mms_count(mm, &items, &kept, &bytes) ? sizeof(struct ksm_mm) : 0;
	overhead += bytes + items * sizeof(struct ksm_item);
	return ksm_policy_profit(merging - min(merging, kept) +
				 atomic_long_read(&mm->ksm_zero_pages), PAGE_SIZE, overhead);
}
