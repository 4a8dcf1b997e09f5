/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Have ksmd merge, and see that it did.
 */
#ifndef KSM_MERGE_H
#define KSM_MERGE_H

#include "ksm_check.h"

/* How often ksmd may go round before a merge counts as missed. */
#define KSM_MERGE_SCANS	12

/* ksmd goes round until so many pages of the mapping are KSM pages. */
void ksm_expect(const char *mem, size_t pages, size_t want);
void ksm_expect_of(pid_t pid, const char *mem, size_t pages, size_t want);
/* The same for all of its pages; then ksmd is stopped. */
void ksm_merge(const char *mem, size_t pages);
/* ksmd goes round, and proves it by merging a pair; none of these pages may merge. */
void ksm_expect_none(const char *mem, size_t pages);
/* ksmd goes round until KSM has mapped the zero page so often, for all processes; then stops. */
void ksm_await_zero_pages(long all);
/* New pages of zeros, all of which are the zero page then; or skip. */
char *ksm_merge_zeros(size_t pages);

#endif
