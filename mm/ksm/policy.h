/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_POLICY_H
#define _MM_KSM_POLICY_H

#include <linux/types.h>

/**
 * struct ksm_budget - what a batch may still cost
 * @left: in units of 1/KSM_BUDGET_READ of a page that is read
 * @merges: pages that may be merged
 */
struct ksm_budget {
	u64		left;
	unsigned int	merges;
};

#define KSM_BUDGET_READ		96
#define KSM_BUDGET_MERGE	6
#define KSM_BUDGET_VISIT	24

/**
 * struct ksm_policy_round - what a round took
 * @pages: pages in a batch
 * @wall: from its begin to the next one's, in ns
 * @cpu: CPU time in that, in ns
 */
struct ksm_policy_round {
	unsigned int	pages;
	u64		wall;
	u64		cpu;
};

/**
 * struct ksm_policy_goal - what rounds shall take
 * @wall: from one's begin to the next one's, in ns
 * @max_cpu: per cent of a CPU, from 1 to 100
 * @min_pages: pages in a batch, at the least
 * @max_pages: pages in a batch, at the most; wins over @min_pages
 */
struct ksm_policy_goal {
	u64		wall;
	unsigned int	max_cpu;
	unsigned long	min_pages;
	unsigned long	max_pages;
};

struct ksm_budget ksm_policy_budget(unsigned int pages, unsigned int merges);
bool ksm_policy_merge(struct ksm_budget *budget);
bool ksm_policy_due(unsigned int age, unsigned int turn);
bool ksm_policy_reread(unsigned int turn, unsigned int rounds);
bool ksm_policy_clean(unsigned int age, bool calm);
bool ksm_policy_restless(unsigned int age, u64 hash);
bool ksm_policy_spend(struct ksm_budget *budget, unsigned int units);
unsigned int ksm_policy_within(u64 pages, const struct ksm_policy_goal *goal);
unsigned int ksm_policy_advise(const struct ksm_policy_round *took,
			       const struct ksm_policy_goal *goal);
long ksm_policy_profit(unsigned long saved, unsigned long page_size,
		       unsigned long overhead);

#endif /* _MM_KSM_POLICY_H */
