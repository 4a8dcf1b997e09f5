// SPDX-License-Identifier: GPL-2.0
/*
 * Arithmetic: what scanning may cost, what merging brings.
 *
 * Pure: numbers in, numbers out, so that KUnit can ask it everything.
 *
 * Floor 1: knows nobody.
 */
#include <linux/minmax.h>
#include <linux/xarray.h>

#include "policy.h"

/**
 * ksm_policy_budget() - the budget of a batch
 * @pages: how many pages it may read
 *
 * Context: Any context.
 * Return: The budget.
 */
struct ksm_budget ksm_policy_budget(unsigned int pages)
{
	return (struct ksm_budget) { .left = (u64)pages * KSM_BUDGET_READ };
}

/**
 * ksm_policy_spend() - take something off a budget
 * @budget: the budget
 * @units: KSM_BUDGET_READ for a page that was read, 1 for one that was passed
 *	   over: looking at it is cheap, but not free
 *
 * Context: Any context.
 * Return: true while something is left.
 */
bool ksm_policy_spend(struct ksm_budget *budget, unsigned int units)
{
	budget->left -= min_t(u64, budget->left, units);
	return budget->left;
}

/**
 * ksm_policy_profit() - what merging brings
 * @saved: pages saved
 * @page_size: bytes in a page
 * @overhead: bytes that KSM uses to save them
 *
 * Context: Any context.
 * Return: Bytes; negative when KSM costs more than it brings.
 */
long ksm_policy_profit(unsigned long saved, unsigned long page_size,
		       unsigned long overhead)
{
	return (long)(saved * page_size) - (long)overhead;
}

/**
 * ksm_policy_record_bytes() - memory that records take
 * @records: their number
 *
 * An xarray keeps them in nodes of XA_CHUNK_SIZE. They are counted as if full,
 * as they are where a program offers more than a few scattered pages.
 *
 * Context: Any context.
 * Return: Bytes.
 */
unsigned long ksm_policy_record_bytes(unsigned long records)
{
	return DIV_ROUND_UP(records, XA_CHUNK_SIZE) * sizeof(struct xa_node);
}
