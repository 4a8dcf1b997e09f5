/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that can be taken offline: the blocks of DIMMs whose memory is offline when the
 * tests begin.  It is taken online for movable pages only, so that nothing but a
 * reference keeps a page there.
 */
#ifndef KSM_BLOCK_H
#define KSM_BLOCK_H

#include "ksm_check.h"

/* Time for the kernel to empty a block, before KSM_PATIENCE. */
#define KSM_OFFLINE_SECONDS	60

struct ksm_block {
	unsigned long	number;
	unsigned long	pages;
	int		node;
};

struct ksm_block ksm_block_first(void);				/* online; or skip */
void ksm_block_online(const struct ksm_block *block);
/* Return: 0, or why not; -EINTR when SIGALRM came, at the latest after some seconds. */
int ksm_block_offline(const struct ksm_block *block, unsigned int seconds);
void ksm_block_must_go(const struct ksm_block *block);
/* All of the DIMM goes, and with it what described its frames; or skip. */
void ksm_block_take_out(const struct ksm_block *block);

bool ksm_block_has(const struct ksm_block *block, unsigned long pfn);
size_t ksm_block_count(const struct ksm_block *block, pid_t pid, const char *mem, size_t pages);
char *ksm_block_map(const struct ksm_block *block, size_t pages, u64 seed);	/* offered */

#endif
