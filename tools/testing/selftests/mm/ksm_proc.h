/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel tells about a page, a process, itself; pid 0 is oneself.
 *
 * What a function finds wrong fails the test by ksm_check(), if not said otherwise.
 */
#ifndef KSM_PROC_H
#define KSM_PROC_H

#include "ksm_check.h"

struct ksm_area {
	unsigned int	vmas;
	size_t		ksm;		/* pages, by the smaps line KSM */
	size_t		huge;		/* pages mapped as huge pages */
	size_t		swapped;
	size_t		referenced;
	long		pkey;		/* of the first VMA, or -1 */
	char		flags[256];	/* VmFlags of the first VMA */
};

void ksm_area(pid_t pid, const void *mem, size_t pages, struct ksm_area *area);
size_t ksm_ksm_pages(const void *mem, size_t pages);
bool ksm_vma_has(const void *mem, const char *flag);

u64 ksm_pagemap(pid_t pid, const void *addr);
unsigned long ksm_pfn(const void *addr);			/* 0: not present */
unsigned long ksm_pfn_of(pid_t pid, const void *addr);
bool ksm_swapped(const void *addr);
u64 ksm_kpageflags(unsigned long pfn);

long ksm_vmstat(const char *name);
long ksm_stat(pid_t pid, const char *name);			/* -1: no such line */
long ksm_merging_pages(pid_t pid);
pid_t ksm_find_ksmd(void);
u64 ksm_ksmd_ns(void);						/* or skip */

#endif
