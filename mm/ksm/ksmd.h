/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_KSMD_H
#define _MM_KSM_KSMD_H

#include "state.h"

int ksm_ksmd_start(void);
void ksm_ksmd_stop(void);
int ksm_ksmd_set_run(unsigned int run);
int ksm_ksmd_set_pages_to_scan(unsigned int pages);
int ksm_ksmd_set_advisor_mode(enum ksm_advisor_mode mode);
int ksm_ksmd_set_smart_scan(bool smart);
int ksm_ksmd_set_reread_rounds(unsigned int rounds);
int ksm_ksmd_set_use_zero_pages(bool use);
int ksm_ksmd_set_merge_across_nodes(unsigned long across);
int ksm_ksmd_set_max_page_sharing(int most);
int ksm_ksmd_set_chains_prune(unsigned int millisecs);
int ksm_ksmd_set_max_kernel_pages(unsigned long pages);
int ksm_ksmd_set_max_pages_to_merge(unsigned int pages);
int ksm_ksmd_set_sleep_millisecs(unsigned int millisecs);
void ksm_ksmd_set_offlining(bool offlining);

#endif /* _MM_KSM_KSMD_H */
