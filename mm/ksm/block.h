/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_BLOCK_H
#define _MM_KSM_BLOCK_H

#include "types.h"

/* Neighbouring pages whose entries are kept together. */
#define KSM_BLOCK_PAGES		64

void ksm_block_init(struct ksm_mm *km);
void ksm_block_end(struct ksm_mm *km);
bool ksm_block_none(struct ksm_mm *km);
void **ksm_block_slots(struct ksm_mm *km, unsigned long index, u64 *which);
int ksm_block_add(struct ksm_mm *km, unsigned long index, void *entry);
void ksm_block_remove(struct ksm_mm *km, unsigned long index);
void ksm_block_trim(struct ksm_mm *km, unsigned long index);
void ksm_block_mark(struct ksm_mm *km, unsigned long index, bool mark);
bool ksm_block_find(struct ksm_mm *km, unsigned long *index, unsigned long last,
		    bool marked);

#endif /* _MM_KSM_BLOCK_H */
