/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_ADVISOR_H
#define _MM_KSM_ADVISOR_H

#include "state.h"

void ksm_advisor_round(void);
void ksm_advisor_pause(void);
int ksm_advisor_set_pages_to_scan(unsigned int pages);
int ksm_advisor_set_mode(enum ksm_advisor_mode mode);
int ksm_advisor_set_max_cpu(unsigned int percent);
int ksm_advisor_set_min_pages(unsigned long pages);
int ksm_advisor_set_max_pages(unsigned long pages);
int ksm_advisor_set_target(unsigned long seconds);

#endif /* _MM_KSM_ADVISOR_H */
