/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_SYSFS_H
#define _MM_KSM_SYSFS_H

#ifdef CONFIG_SYSFS
int ksm_sysfs_init(void);
#else
static inline int ksm_sysfs_init(void)
{
	return 0;
}
#endif

#endif /* _MM_KSM_SYSFS_H */
