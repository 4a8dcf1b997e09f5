/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_COPY_H
#define _MM_KSM_COPY_H

#include <linux/mm_types.h>

/* So many PTEs are empty at once, and so many pages held, at the most. */
#define KSM_COPY_AT_ONCE	16

/* Adjacent KSM pages below one page table that are to become private. */
struct ksm_copies {
	struct vm_area_struct	*vma;
	pmd_t			*pmd;	/* of the page table */
	unsigned long		addr;	/* of the first page */
	unsigned int		nr;	/* how many pages */
	pte_t			found[KSM_COPY_AT_ONCE];	/* the PTEs of the KSM pages */
	struct folio		*made[KSM_COPY_AT_ONCE];	/* the private pages */
};

bool ksm_copy_add(struct ksm_copies *run, pte_t pte);
int ksm_copy_replace(struct ksm_copies *run);

#endif /* _MM_KSM_COPY_H */
