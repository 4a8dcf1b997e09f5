/* SPDX-License-Identifier: GPL-2.0-only */
/* Proc: what ksm_share and ksm_bench both ask the kernel, and the time. */
#ifndef KSM_PROC_H
#define KSM_PROC_H

#include <stdbool.h>

bool proc_find_number(const char *path, const char *name, long *number);
long proc_find_ksmd(void);
double seconds_now(void);

#endif
