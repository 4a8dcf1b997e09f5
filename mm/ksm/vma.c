// SPDX-License-Identifier: GPL-2.0
/*
 * Which VMAs may take part.
 *
 * Floor 0: knows nobody.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/rmap.h>

#include "vma.h"

/*
 * Mappings whose pages are shared on purpose, belong to a driver, have no
 * struct page to rely on, or may be dropped under memory pressure.
 */
#define NEVER_MERGED	(VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | \
			 VM_DONTEXPAND | VM_HUGETLB | VM_MIXEDMAP | VM_DROPPABLE)

/**
 * ksm_vma_may_merge() - can pages of such a mapping be merged at all?
 * @file: the file that is mapped, or NULL
 * @flags: the VMA's flags
 *
 * Context: Any context.
 * Return: true if they can; for the rest a request to merge is ignored.
 */
bool ksm_vma_may_merge(const struct file *file, vm_flags_t flags)
{
	if (flags & NEVER_MERGED)
		return false;
	/* Write=0,Dirty=1 is how x86 tells such a PTE; ours would be neither. */
	if (flags & VM_SHADOW_STACK)
		return false;
	/* VM_SAO and VM_SPARC_ADI share a bit with other things elsewhere. */
#ifdef VM_SAO
	if (flags & VM_SAO)
		return false;
#endif
#ifdef VM_SPARC_ADI
	if (flags & VM_SPARC_ADI)
		return false;
#endif
	return !file || !IS_DAX(file->f_mapping->host);
}

/**
 * ksm_vma_offers() - does a VMA offer pages right now?
 * @vma: the VMA
 *
 * Without an anon_vma it has no anonymous page yet. The flags are tested again
 * because a driver may have changed them after the program asked for merging.
 *
 * Context: The caller holds the mm's mmap lock.
 * Return: true if a walk of it may find pages to merge.
 */
bool ksm_vma_offers(const struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);

	return (vma->vm_flags & VM_MERGEABLE) && vma->anon_vma &&
	       ksm_vma_may_merge(vma->vm_file, vma->vm_flags);
}

/**
 * ksm_vma_maps() - does a VMA map a page at an address?
 * @vma: the VMA
 * @addr: the address
 * @page: a page of a small folio
 *
 * Context: The caller keeps @vma from being freed, by its anon_vma's lock for
 *	    example. Takes the PTL.
 * Return: true if so.
 */
bool ksm_vma_maps(struct vm_area_struct *vma, unsigned long addr, struct page *page)
{
	struct page_vma_mapped_walk pvmw = {
		.pfn		= page_to_pfn(page),
		.nr_pages	= 1,
		.vma		= vma,
		.address	= addr,
		.flags		= PVMW_SYNC,
	};

	if (!page_vma_mapped_walk(&pvmw))
		return false;
	page_vma_mapped_walk_done(&pvmw);
	return true;
}

#ifdef CONFIG_PER_VMA_LOCK
/**
 * ksm_vma_any_mergeable() - has any VMA of an mm VM_MERGEABLE?
 * @mm: the mm, in use
 *
 * VMAs are freed after a grace period, so they can be looked at without the
 * mmap lock; one that has just left the mm may still count.
 *
 * Context: Any context.
 * Return: true if one has.
 */
bool ksm_vma_any_mergeable(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	bool found = false;

	rcu_read_lock();
	for_each_vma(vmi, vma) {
		found = READ_ONCE(vma->vm_flags) & VM_MERGEABLE;
		if (found)
			break;
	}
	rcu_read_unlock();
	return found;
}
#else
/**
 * ksm_vma_any_mergeable() - has any VMA of an mm VM_MERGEABLE?
 * @mm: the mm, in use
 *
 * Context: Process context. Does not wait for the mmap lock; while somebody
 *	    else has it for write, the answer is a guess.
 * Return: true if one has, or may have.
 */
bool ksm_vma_any_mergeable(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	bool found = false;

	if (!mmap_read_trylock(mm))
		return true;
	for_each_vma(vmi, vma) {
		found = vma->vm_flags & VM_MERGEABLE;
		if (found)
			break;
	}
	mmap_read_unlock(mm);
	return found;
}
#endif
