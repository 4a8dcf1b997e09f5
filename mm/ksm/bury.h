/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_BURY_H
#define _MM_KSM_BURY_H

#include <linux/types.h>

void ksm_bury_soon(void);
void ksm_bury_idle(void);
bool ksm_bury_sweep(void);
void ksm_bury_finish(void);

#endif /* _MM_KSM_BURY_H */
