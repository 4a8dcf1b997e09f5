/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that have equal pages, each at an address of its own.  The test gives
 * them orders, one at a time; an order is done when its call returns.
 */
#ifndef KSM_SHARER_H
#define KSM_SHARER_H

#include "ksm_kid.h"

struct ksm_sharer {
	struct ksm_kid	kid;
	char		*mem;
	size_t		pages;
};

enum ksm_order {
	KSM_VERIFY,		/* every byte, against a seed */
	KSM_FILL,		/* with the pages of a seed */
	KSM_ADVISE,		/* madvise() the whole mapping */
	KSM_SWAP_OUT,
	KSM_FLUSH_TLB,
	KSM_FORK,		/* have a child, which then gets the orders for KSM_CHILD */
	KSM_QUIT,
	KSM_CHILD = 0x100,	/* added to an order: not you, your child */
};

void ksm_sharers_start(struct ksm_sharer *all, unsigned int count, size_t pages, u64 seed);
void ksm_sharers_merge(struct ksm_sharer *all, unsigned int count);
size_t ksm_sharers_merged(const struct ksm_sharer *all, unsigned int count);	/* KSM pages */
void ksm_sharer_do(struct ksm_sharer *sharer, int order, u64 arg);
void ksm_sharers_do(struct ksm_sharer *all, unsigned int count, int order, u64 arg);
void ksm_sharers_end(struct ksm_sharer *all, unsigned int count);

#endif
