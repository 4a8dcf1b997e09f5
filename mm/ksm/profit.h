/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_PROFIT_H
#define _MM_KSM_PROFIT_H

#include <linux/mm_types.h>

long ksm_profit_of_all(void);
long ksm_profit_of_mm(struct mm_struct *mm);

#endif /* _MM_KSM_PROFIT_H */
