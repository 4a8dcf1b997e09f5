/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What KSM's tracepoints say, recorded apart from whoever else traces.
 */
#ifndef KSM_TRACE_H
#define KSM_TRACE_H

#include "ksm_kid.h"

const char *ksm_trace_root(void);				/* or skip */

/* Runs in a process of its own; records in @dir, which is removed then, or skips. */
void ksm_trace_test(void (*test)(struct ksm_kid *parent, void *dir));
void ksm_trace_begin(const char *dir);				/* all events of the group */
char *ksm_trace_read(const char *dir);				/* until it is called again */
/* Return: what is said by the first event of that name in the text, or NULL. */
const char *ksm_trace_said(const char *text, const char *event);

#endif
