/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_ADVICE_H
#define _MM_KSM_ADVICE_H

#include <linux/mm_types.h>

int ksm_advice_set(struct vm_area_struct *vma, vm_flags_t *flags);
int ksm_advice_clear(struct vm_area_struct *vma, unsigned long from,
		     unsigned long to, vm_flags_t *flags);
int ksm_advice_set_all(struct mm_struct *mm);
int ksm_advice_clear_all(struct mm_struct *mm);
void ksm_advice_settle(struct vm_area_struct *vma);

#endif /* _MM_KSM_ADVICE_H */
