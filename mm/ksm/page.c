// SPDX-License-Identifier: GPL-2.0
/*
 * From an address to a page.
 *
 * What is found in a page table may be gone when the lock is: who wants to keep it
 * takes a reference, and who goes back to it looks whether it is still there.
 *
 * Floor 1: knows VMAs and the knobs.
 */
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "page.h"
#include "state.h"
#include "vma.h"

/**
 * ksm_page_nid() - the NUMA node in which a page's twins are looked for
 * @page: the page
 *
 * Context: Any context. With ksm_pass_lock and a reference, or the folio's lock,
 *	    the answer stays as it is.
 * Return: The node that @page is on; 0 for all if pages merge across nodes.
 */
int ksm_page_nid(const struct page *page)
{
	return READ_ONCE(ksm_state.merge_across_nodes) ? 0 : page_to_nid(page);
}

/**
 * ksm_page_may_merge() - can this page be merged, now or later?
 * @page: a page found in a page table; NULL for none
 *
 * Context: The caller holds the PTL or a reference.
 * Return: true for anonymous memory that the kernel manages and may read.
 */
bool ksm_page_may_merge(const struct page *page)
{
	const struct folio *folio;

	if (!page || is_zone_device_page(page) || PageHWPoison(page))
		return false;
	folio = page_folio(page);
	return folio_test_anon(folio);
}

/**
 * ksm_page_find() - the page that a mergeable VMA maps at an address
 * @mm: the mm
 * @addr: the address
 * @vmap: set to the VMA
 *
 * Context: Process context. The caller holds @mm's mmap lock for read and
 *	    knows that the mm is not exiting.
 * Return: The page, with a reference on its folio; NULL when there is none
 *	   that could be merged.
 */
struct page *ksm_page_find(struct mm_struct *mm, unsigned long addr,
			   struct vm_area_struct **vmap)
{
	struct page *page = NULL;
	struct folio_walk fw;
	struct folio *folio;

	mmap_assert_locked(mm);

	*vmap = vma_lookup(mm, addr);
	if (!*vmap || !ksm_vma_offers(*vmap))
		return NULL;

	folio = folio_walk_start(&fw, *vmap, addr, 0);
	if (!folio)
		return NULL;
	if (ksm_page_may_merge(fw.page)) {
		page = fw.page;
		folio_get(folio);
	}
	folio_walk_end(&fw, *vmap);
	return page;
}

/**
 * ksm_page_map() - map and lock the PTE of an address
 * @mm: the mm
 * @addr: the address
 * @ptlp: set to the lock
 *
 * Context: The caller holds @mm's mmap lock, knows that it is not exiting, and
 *	    has found a VMA there under the same hold of the lock.
 * Return: The PTE, to be given back by pte_unmap_unlock(); NULL where there is
 *	   no table of PTEs, a huge page among the reasons.
 */
pte_t *ksm_page_map(struct mm_struct *mm, unsigned long addr, spinlock_t **ptlp)
{
	pmd_t *pmd;

	mmap_assert_locked(mm);

	pmd = mm_find_pmd(mm, addr);
	return pmd ? pte_offset_map_lock(mm, pmd, addr, ptlp) : NULL;
}

/**
 * ksm_page_look() - is a page where it is thought to be?
 * @mm: the mm
 * @addr: the address
 * @folio: the page, a small folio
 *
 * Page tables may be entered only below a VMA: munmap frees those of one that has
 * left the tree with the mmap lock held for read. And a table of hugetlb or of a
 * device is none of PTEs. What was merged there counts also where nothing may merge
 * any more.
 *
 * Of swap entries only its own leads back to it: who wrote to the page may have had
 * his copy swapped out meanwhile.
 *
 * Context: Process context. The caller holds @mm's mmap lock and @folio's lock.
 * Return: See &enum ksm_page_place.
 */
enum ksm_page_place ksm_page_look(struct mm_struct *mm, unsigned long addr,
				  struct folio *folio)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);
	spinlock_t *ptl;	/* of the page table */
	swp_entry_t entry;
	pte_t *ptep, pte;

	if (!vma || !vma->anon_vma || (vma->vm_flags & (VM_HUGETLB | VM_PFNMAP)))
		return KSM_PAGE_ELSEWHERE;
	ptep = ksm_page_map(mm, addr, &ptl);
	if (!ptep)
		return KSM_PAGE_ELSEWHERE;
	pte = ptep_get(ptep);
	pte_unmap_unlock(ptep, ptl);

	if (pte_present(pte))
		return pte_pfn(pte) == folio_pfn(folio) ? KSM_PAGE_HERE : KSM_PAGE_ELSEWHERE;
	if (pte_none(pte))
		return KSM_PAGE_ELSEWHERE;
	entry = pte_to_swp_entry(pte);
	if (non_swap_entry(entry))
		return is_migration_entry(entry) ? KSM_PAGE_AWAY : KSM_PAGE_ELSEWHERE;
	return folio_test_swapcache(folio) && folio->swap.val == entry.val ?
		KSM_PAGE_AWAY : KSM_PAGE_ELSEWHERE;
}
