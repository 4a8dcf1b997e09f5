/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_FORGET_H
#define _MM_KSM_FORGET_H

#include "types.h"

/* What the caller knows of the page tables behind the records. */
enum ksm_forget {
	KSM_FORGET_CHANGED,	/* a PTE is not what it was: look again, do not wait */
	KSM_FORGET_EMPTIED,	/* no KSM page is mapped there, and none can be */
};

/* Entries to go through under one hold of a lock that others want. */
#define KSM_FORGET_AT_ONCE	64

bool ksm_forget_page(struct ksm_mm *km, unsigned long index, enum ksm_forget how);
bool ksm_forget_range(struct ksm_mm *km, unsigned long *first, unsigned long last,
		      enum ksm_forget how, unsigned int *most);
bool ksm_forget_dead(void);
int ksm_forget_merged(struct ksm_mm *km, unsigned long first, unsigned long last);
int ksm_forget_meet_swapins(void);
void ksm_forget_due(unsigned long most);
void ksm_forget_nodes(void);
void ksm_forget_pfns(unsigned long first, unsigned long last);

#endif /* _MM_KSM_FORGET_H */
