/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_POLICY_H
#define _MM_KSM_POLICY_H

#include <linux/types.h>

/**
 * struct ksm_budget - what a batch may still cost
 * @left: in units of 1/KSM_BUDGET_READ of a page that is read
 */
struct ksm_budget {
	u64	left;
};

#define KSM_BUDGET_READ		16

struct ksm_budget ksm_policy_budget(unsigned int pages);
bool ksm_policy_spend(struct ksm_budget *budget, unsigned int units);
long ksm_policy_profit(unsigned long saved, unsigned long page_size,
		       unsigned long overhead);
unsigned long ksm_policy_record_bytes(unsigned long records);

#endif /* _MM_KSM_POLICY_H */
