/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_HOTPLUG_H
#define _MM_KSM_HOTPLUG_H

#ifdef CONFIG_MEMORY_HOTREMOVE
void ksm_hotplug_init(void);
#else
static inline void ksm_hotplug_init(void)
{
}
#endif

#endif /* _MM_KSM_HOTPLUG_H */
