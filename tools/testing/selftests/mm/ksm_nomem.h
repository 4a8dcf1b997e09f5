/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Allocations that fail when a test wants it (CONFIG_FAULT_INJECTION).
 */
#ifndef KSM_NOMEM_H
#define KSM_NOMEM_H

#include <errno.h>

#include "ksm_kid.h"

#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define FAIL_PAGE	"/sys/kernel/debug/fail_page_alloc/"

/* Files, what is to be written to them for a while, and what was there before. */
struct ksm_setting {
	const char *path;
	const char *value;
	char old[32];
};

void ksm_settings_set(struct ksm_setting *list, unsigned int count);
void ksm_settings_put_back(const struct ksm_setting *list, unsigned int count);

/* Runs in a process of its own, in which they can fail; what that takes is put back then. */
void ksm_nomem_test(void (*test)(struct ksm_kid *parent, void *arg));

int ksm_nomem_open(void);			/* for this thread; or skip */
void ksm_nomem_nth(int fd, int n);		/* the n-th from now on fails */
/* Return: did it fail? If not, it is called off. */
bool ksm_nomem_failed(int fd);

static inline bool ksm_is_ENOMEM(int err)
{
	/* madvise() says EAGAIN for want of kernel memory. */
	return err == ENOMEM || err == EAGAIN;
}

#endif
