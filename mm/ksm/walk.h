/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_WALK_H
#define _MM_KSM_WALK_H

#include <linux/mm_types.h>

#define KSM_RUN_PAGES	64

/**
 * struct ksm_walk_page - a page of a run
 * @page: the page
 * @addr: where it is mapped
 * @referenced: its folio's reference is kept here; neighbours of one folio share
 *		one
 */
struct ksm_walk_page {
	struct page	*page;
	unsigned long	addr;
	bool		referenced;
};

/**
 * struct ksm_walk_run - what a walk came to
 * @vma: the VMA
 * @end: all below has been looked at
 * @nr: how many pages were found
 * @steps: how far it went, in holds of the PTL
 * @pages: those that were found, by address
 */
struct ksm_walk_run {
	struct vm_area_struct	*vma;
	unsigned long		end;
	unsigned int		nr;
	unsigned int		steps;
	struct ksm_walk_page	pages[KSM_RUN_PAGES];
};

void ksm_walk_next(struct ksm_walk_run *run, struct mm_struct *mm, unsigned long addr);
void ksm_walk_pass_on(struct ksm_walk_run *run, unsigned int i);
void ksm_walk_cut(struct ksm_walk_run *run, unsigned int i, unsigned long end);

#endif /* _MM_KSM_WALK_H */
