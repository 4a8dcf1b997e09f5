/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_WALK_H
#define _MM_KSM_WALK_H

#include "glance.h"

void ksm_walk_next(struct ksm_glance_run *run, unsigned long addr);
unsigned long ksm_walk_cost(const struct ksm_glance_run *run);
void ksm_walk_pass_on(struct ksm_glance_run *run, unsigned int i);
void ksm_walk_cut(struct ksm_glance_run *run, unsigned int i, unsigned long end);

#endif /* _MM_KSM_WALK_H */
