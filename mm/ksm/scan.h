/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_SCAN_H
#define _MM_KSM_SCAN_H

#include <linux/types.h>

bool ksm_scan_at_start(void);
bool ksm_scan_is_cut(void);
bool ksm_scan_is_idle(void);
void ksm_scan_pause(void);
bool ksm_scan_wants_drain(void);
void ksm_scan_batch(unsigned int pages);
void ksm_scan_restart(void);

#endif /* _MM_KSM_SCAN_H */
