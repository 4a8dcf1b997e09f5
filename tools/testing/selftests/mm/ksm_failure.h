/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failures of memory, injected: no memory is really bad.
 */
#ifndef KSM_FAILURE_H
#define KSM_FAILURE_H

#include "ksm_check.h"

/* Count SIGBUS from now on; be told @early, not only at the next access. Or skip. */
void ksm_catch_bus_errors(bool early);
int ksm_bus_errors(void);
char *ksm_bus_error_addr(void);					/* of the last one */
int ksm_bus_error_code(void);

bool ksm_access_fails(const char *addr);

void ksm_inject(char *page);					/* or skip */
int ksm_inject_pfn(unsigned long pfn);				/* or skip; 0 or -errno */
/* The frame is of use again after the test; where that is not offered, it is lost. */
void ksm_repair(unsigned long pfn);

#endif
