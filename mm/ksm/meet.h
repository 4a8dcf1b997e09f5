/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_MEET_H
#define _MM_KSM_MEET_H

#include "glance.h"
#include "match.h"
#include "policy.h"
#include "types.h"

void ksm_meet_merged(struct ksm_glance_run *run, unsigned int i,
		     struct ksm_offer *offer, struct ksm_budget *budget);
void ksm_meet_plan(struct ksm_ahead *ahead, const struct ksm_glance_page *next);
enum ksm_match ksm_meet_page(struct ksm_offer *offer, const struct ksm_glance_page *found,
			     struct ksm_budget *budget);

#endif /* _MM_KSM_MEET_H */
