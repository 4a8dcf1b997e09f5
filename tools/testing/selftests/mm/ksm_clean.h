/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pages of which each is unlike all others, that ksmd has read and whose PTEs it has
 * cleaned since, so that it believes them.
 */
#ifndef KSM_CLEAN_H
#define KSM_CLEAN_H

#include "ksm_check.h"

#define KSM_CLEAN_PAGES	64
#define KSM_CLEAN_SEED	1000		/* of the first; one more for each that follows */

void ksm_clean(void);			/* what is offered now; ksmd runs on */
char *ksm_map_clean(void);		/* or skip; without smart_scan */
void ksm_verify_clean(const char *mem, size_t from, size_t to);

#endif
