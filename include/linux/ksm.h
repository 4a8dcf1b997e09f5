/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel Samepage Merging: what the rest of the kernel calls.
 *
 * The contract of each function is in mm/ksm.c.
 */
#ifndef _LINUX_KSM_H
#define _LINUX_KSM_H

#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/sched/coredump.h>

#ifdef CONFIG_KSM

int ksm_madvise(struct vm_area_struct *vma, unsigned long from,
		unsigned long to, int advice, vm_flags_t *flags);
vm_flags_t ksm_vma_flags(struct mm_struct *mm, const struct file *file,
			 vm_flags_t vm_flags);
void ksm_add_vma(struct vm_area_struct *vma);
int ksm_enable_merge_any(struct mm_struct *mm);
int ksm_disable_merge_any(struct mm_struct *mm);
int ksm_disable(struct mm_struct *mm);

void __ksm_fork(struct mm_struct *mm);
int __ksm_execve(struct mm_struct *mm);
void __ksm_exit(struct mm_struct *mm);

struct folio *ksm_might_need_to_copy(struct folio *cached,
				     struct vm_area_struct *vma, unsigned long at);
void rmap_walk_ksm(struct folio *folio, struct rmap_walk_control *walk);
void folio_migrate_ksm(struct folio *dst, struct folio *src);
void collect_procs_ksm(struct folio *folio, struct page *page,
		       struct list_head *victims, int early);

long ksm_process_profit(struct mm_struct *mm);
bool ksm_process_mergeable(struct mm_struct *mm);

void __ksm_count_zero_page(struct mm_struct *mm, long by);

/*
 * Where KSM maps the zero page, the PTE is dirty. Others map it clean, and
 * nobody can write to it.
 */
static inline bool is_ksm_zero_pte(pte_t pte)
{
	return is_zero_pfn(pte_pfn(pte)) && pte_dirty(pte);
}

/* A PTE was copied into @mm, or goes from it; the caller holds the PTL or did. */
static inline void ksm_might_map_zero_page(struct mm_struct *mm, pte_t pte)
{
	if (is_ksm_zero_pte(pte))
		__ksm_count_zero_page(mm, 1);
}

static inline void ksm_might_unmap_zero_page(struct mm_struct *mm, pte_t pte)
{
	if (is_ksm_zero_pte(pte))
		__ksm_count_zero_page(mm, -1);
}

static inline long mm_ksm_zero_pages(struct mm_struct *mm)
{
	return atomic_long_read(&mm->ksm_zero_pages);
}

/* A new mm, or a copy of the parent's before anything is copied into it. */
static inline void ksm_init_mm(struct mm_struct *mm)
{
	mm->ksm_merging_pages = 0;
	mm->ksm_rmap_items = 0;
	atomic_long_set(&mm->ksm_zero_pages, 0);
}

static inline void ksm_fork(struct mm_struct *mm, struct mm_struct *oldmm)
{
	if (test_bit(MMF_VM_MERGEABLE, &oldmm->flags))
		__ksm_fork(mm);
}

static inline int ksm_execve(struct mm_struct *mm)
{
	return test_bit(MMF_VM_MERGE_ANY, &mm->flags) ? __ksm_execve(mm) : 0;
}

static inline void ksm_exit(struct mm_struct *mm)
{
	if (test_bit(MMF_VM_MERGEABLE, &mm->flags))
		__ksm_exit(mm);
}

#else /* !CONFIG_KSM */

static inline int ksm_madvise(struct vm_area_struct *vma, unsigned long start,
			      unsigned long end, int advice, unsigned long *vm_flags)
{
	return 0;
}

static inline vm_flags_t ksm_vma_flags(struct mm_struct *mm, const struct file *file,
				       vm_flags_t vm_flags)
{
	return vm_flags;
}

static inline void ksm_add_vma(struct vm_area_struct *vma)
{
}

static inline int ksm_disable(struct mm_struct *mm)
{
	return 0;
}

static inline void ksm_init_mm(struct mm_struct *mm)
{
}

static inline void ksm_fork(struct mm_struct *mm, struct mm_struct *oldmm)
{
}

static inline int ksm_execve(struct mm_struct *mm)
{
	return 0;
}

static inline void ksm_exit(struct mm_struct *mm)
{
}

static inline void ksm_might_map_zero_page(struct mm_struct *mm, pte_t pte)
{
}

static inline void ksm_might_unmap_zero_page(struct mm_struct *mm, pte_t pte)
{
}

static inline struct folio *ksm_might_need_to_copy(struct folio *folio,
						   struct vm_area_struct *vma,
						   unsigned long addr)
{
	return folio;
}

static inline void rmap_walk_ksm(struct folio *folio, struct rmap_walk_control *rwc)
{
}

static inline void folio_migrate_ksm(struct folio *newfolio, struct folio *folio)
{
}

static inline void collect_procs_ksm(struct folio *folio, struct page *page,
				     struct list_head *to_kill, int force_early)
{
}

#endif /* CONFIG_KSM */

#endif /* _LINUX_KSM_H */
