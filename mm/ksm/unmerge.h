/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_UNMERGE_H
#define _MM_KSM_UNMERGE_H

int ksm_unmerge_all(void);

#endif /* _MM_KSM_UNMERGE_H */
