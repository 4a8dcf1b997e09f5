/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_MMS_H
#define _MM_KSM_MMS_H

#include "types.h"

/* What is left to do for an mm that leaves. */
enum ksm_leave {
	KSM_LEAVE_DONE,		/* nothing was known of it: all is freed */
	KSM_LEAVE_BURY,		/* it waits among the dead */
	KSM_LEAVE_BUSY,		/* so it does, and a batch may still work on it */
};

int ksm_mms_init(void);
void ksm_mms_exit(void);
int ksm_mms_enter(struct mm_struct *mm);
enum ksm_leave ksm_mms_leave(struct mm_struct *mm);
struct ksm_mm *ksm_mms_find(struct mm_struct *mm);
void ksm_mms_offer(struct mm_struct *mm);
bool ksm_mms_populated(void);

void ksm_mms_rewind(void);
struct ksm_mm *ksm_mms_next(void);
bool ksm_mms_comes_again(const struct ksm_mm *km);
void ksm_mms_put(struct ksm_mm *km, bool again);
struct ksm_mm *ksm_mms_get(struct ksm_mm *km);
void ksm_mms_drop(struct ksm_mm *km);

bool ksm_mms_count(struct mm_struct *mm, unsigned long *items, unsigned long *kept,
		   unsigned long *bytes);
struct ksm_mm *ksm_mms_first_dead(void);
void ksm_mms_bury(struct ksm_mm *km);

#endif /* _MM_KSM_MMS_H */
