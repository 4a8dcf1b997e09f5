/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_UNSHARE_H
#define _MM_KSM_UNSHARE_H

#include <linux/mm_types.h>

int ksm_unshare_range(struct vm_area_struct *vma, unsigned long *start,
		      unsigned long end, bool write_locked);

#endif /* _MM_KSM_UNSHARE_H */
