// SPDX-License-Identifier: GPL-2.0
/*
 * What the KUnit suites share: address spaces with real page tables, in which
 * pages are mapped, written, read and forked as programs do it.
 *
 * The thread of a test is in such an mm only while a function of this file runs.
 */
#include <linux/ksm.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>

#include "../block.h"
#include "../forget.h"
#include "../mms.h"
#include "../page.h"
#include "fixture.h"

#define WORDS	(PAGE_SIZE / sizeof(u64))

/* ------------------------------------------------------------------------ */
/* Life of an mm.                                                           */

/**
 * ksm_test_forget() - forget all that is known of an mm
 * @km: the mm, with no KSM page mapped any more
 *
 * Return: true if nothing is known of it then.
 */
bool ksm_test_forget(struct ksm_mm *km)
{
	unsigned int most = UINT_MAX;
	unsigned long first = 0;

	return ksm_forget_range(km, &first, ULONG_MAX, KSM_FORGET_EMPTIED, &most) &&
	       ksm_block_none(km);
}

/* Unmap all and forget it: nothing is left to be buried. */
static void end_mm(void *data)
{
	struct mm_struct *mm = data;
	struct vm_area_struct *vma;
	struct ksm_mm *km;

	kthread_use_mm(mm);
	mmap_write_lock(mm);
	while ((vma = find_vma(mm, 0)))
		if (do_munmap(mm, vma->vm_start, vma->vm_end - vma->vm_start, NULL))
			break;
	mmap_write_unlock(mm);
	kthread_unuse_mm(mm);

	km = ksm_test_lock(mm);
	if (km)
		ksm_test_forget(km);
	ksm_forget_due(ULONG_MAX);
	ksm_test_unlock(mm);
	mmput(mm);
}

/**
 * ksm_test_mm() - make an address space
 * @test: the test, which ends it
 *
 * Return: The mm, empty and not registered.
 */
struct mm_struct *ksm_test_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
#ifdef CONFIG_MEMCG
	/* The thread that runs the test is gone when the mm ends. */
	RCU_INIT_POINTER(mm->owner, NULL);
#endif
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	set_bit(MMF_DISABLE_THP, &mm->flags);
	/* Were the mm known to two CPUs, one of them could not clean it when it likes. */
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	ksm_test_at_end(test, end_mm, mm);
	return mm;
}

/**
 * ksm_test_exit() - let an mm exit before its test is over
 * @test: the test
 * @mm: the mm, which nobody uses any more
 */
void ksm_test_exit(struct kunit *test, struct mm_struct *mm)
{
	kunit_remove_action(test, end_mm, mm);
	mmput(mm);
}

/**
 * ksm_test_exit_async() - let another thread take an mm to its end
 * @test: the test
 * @mm: the mm, which nobody uses any more
 */
void ksm_test_exit_async(struct kunit *test, struct mm_struct *mm)
{
	kunit_remove_action(test, end_mm, mm);
	mmput_async(mm);
}

/**
 * ksm_test_enter() - register an mm
 * @test: the test
 * @mm: the mm
 */
void ksm_test_enter(struct kunit *test, struct mm_struct *mm)
{
	int err;

	mmap_write_lock(mm);
	err = ksm_mms_enter(mm);
	mmap_write_unlock(mm);
	KUNIT_ASSERT_EQ(test, err, 0);
}

/* ------------------------------------------------------------------------ */
/* Its memory.                                                              */

static unsigned long map(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	/* What a test maps is mostly hole: it must not depend on how much RAM there is. */
	unsigned long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			      (addr ? MAP_FIXED : 0);

	kthread_use_mm(mm);
	addr = vm_mmap(NULL, addr, len, PROT_READ | PROT_WRITE, flags, 0);
	kthread_unuse_mm(mm);
	return addr;
}

/**
 * ksm_test_map() - map private memory and offer it
 * @test: the test
 * @mm: the mm; is registered then
 * @pages: how many pages
 *
 * Return: Their first address; nothing is written there yet.
 */
unsigned long ksm_test_map(struct kunit *test, struct mm_struct *mm, unsigned int pages)
{
	unsigned long addr = map(mm, 0, pages * PAGE_SIZE);

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_VALUE(addr),
			       "mapping %u pages: error %ld; vm.overcommit_memory 2?",
			       pages, (long)addr);
	KUNIT_ASSERT_EQ(test, do_madvise(mm, addr, pages * PAGE_SIZE, MADV_MERGEABLE), 0);
	return addr;
}

/**
 * ksm_test_unmap() - take a mapping away, VMA and all
 * @mm: the mm
 * @addr: its first address
 * @pages: how many pages
 */
void ksm_test_unmap(struct mm_struct *mm, unsigned long addr, unsigned int pages)
{
	kthread_use_mm(mm);
	vm_munmap(addr, pages * PAGE_SIZE);
	kthread_unuse_mm(mm);
}

#ifdef CONFIG_NUMA
/**
 * ksm_test_set_policy() - say on which NUMA nodes new pages of a mapping shall be
 * @mm: the mm
 * @addr: an address in the mapping
 * @policy: the policy; NULL before the test is over
 */
void ksm_test_set_policy(struct mm_struct *mm, unsigned long addr, struct mempolicy *policy)
{
	struct vm_area_struct *vma;

	mmap_write_lock(mm);
	vma = vma_lookup(mm, addr);
	vma_start_write(vma);
	vma->vm_policy = policy;
	mmap_write_unlock(mm);
}
#endif

/**
 * ksm_test_write() - fill a page as a program does
 * @test: the test
 * @mm: the mm
 * @addr: address of the page
 * @content: what to fill it with
 */
void ksm_test_write(struct kunit *test, struct mm_struct *mm, unsigned long addr,
		    u64 content)
{
	u64 __user *words = (u64 __user *)addr;
	int i, err = 0;

	kthread_use_mm(mm);
	for (i = 0; i < WORDS; i++)
		err |= put_user(content, words + i);
	kthread_unuse_mm(mm);
	KUNIT_ASSERT_EQ(test, err, 0);
	/* A page on its way to the LRU carries a reference, and cannot merge. */
	lru_add_drain_all();
}

/**
 * ksm_test_map_equal() - map pages of equal content
 * @test: the test
 * @mm: the mm, registered
 * @pages: their number
 *
 * Return: The address of the first.
 */
unsigned long ksm_test_map_equal(struct kunit *test, struct mm_struct *mm,
				 unsigned int pages)
{
	unsigned long addr = ksm_test_map(test, mm, pages);
	unsigned int i;

	for (i = 0; i < pages; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 1);
	return addr;
}

/**
 * ksm_test_holds() - read a page as a program does
 * @mm: the mm
 * @addr: address of the page
 * @content: what is to be there
 *
 * Return: true if it is there, everywhere in the page.
 */
bool ksm_test_holds(struct mm_struct *mm, unsigned long addr, u64 content)
{
	u64 __user *words = (u64 __user *)addr;
	bool equal = true;
	u64 word;
	int i;

	kthread_use_mm(mm);
	for (i = 0; i < WORDS; i++)
		equal &= !get_user(word, words + i) && word == content;
	kthread_unuse_mm(mm);
	return equal;
}

/**
 * ksm_test_pte_at() - read a PTE
 * @mm: the mm
 * @addr: an address in it
 *
 * Return: The PTE; an empty one where there is no page table.
 */
pte_t ksm_test_pte_at(struct mm_struct *mm, unsigned long addr)
{
	pte_t pte = __pte(0);
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	mmap_read_lock(mm);
	ptep = ksm_page_map(mm, addr, &ptl);
	if (ptep) {
		pte = ptep_get(ptep);
		pte_unmap_unlock(ptep, ptl);
	}
	mmap_read_unlock(mm);
	return pte;
}

/**
 * ksm_test_set_pte() - put something else in a PTE's place
 * @mm: the mm, its mmap lock held
 * @addr: an address in it that has a page table
 * @pte: what to put there; core mm does not account for it, so put back what was
 *
 * Return: What was there; an empty PTE if there is no page table.
 */
pte_t ksm_test_set_pte(struct mm_struct *mm, unsigned long addr, pte_t pte)
{
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep, old;

	ptep = ksm_page_map(mm, addr, &ptl);
	if (!ptep)
		return __pte(0);
	old = ptep_clear_flush(vma_lookup(mm, addr), addr, ptep);
	set_pte_at(mm, addr, ptep, pte);
	pte_unmap_unlock(ptep, ptl);
	return old;
}

/* An entry of that type that who does not look closely takes for @pte. */
static bool looks_like(pte_t pte, unsigned int type, pte_t *like)
{
	unsigned long pfn = pte_pfn(pte), offset;
	unsigned int i;

	/* Somewhere in the offset is the pfn; below it are zeros, or ones. */
	for (i = 0; i < 2 * PAGE_SHIFT; i++) {
		offset = pfn << i / 2 | (i % 2 ? BIT(i / 2) - 1 : 0);
		*like = swp_entry_to_pte(swp_entry(type, offset));
		if (pte_pfn(*like) == pfn && !pte_present(*like) && !pte_special(*like))
			return true;
	}
	return false;
}

/**
 * ksm_test_device_entry() - what stands in a PTE while a device has the page
 * @test: the test; skipped if that cannot be
 * @pte: the PTE of a page
 *
 * Return: The entry, for the page alone; one of which pte_pfn() says what it says of
 *	   @pte, where there is one.
 */
pte_t ksm_test_device_entry(struct kunit *test, pte_t pte)
{
	swp_entry_t entry = make_writable_device_exclusive_entry(pte_pfn(pte));
	pte_t like;

	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		kunit_skip(test, "needs CONFIG_DEVICE_PRIVATE");
	return looks_like(pte, swp_type(entry), &like) ? like : swp_entry_to_pte(entry);
}

/**
 * ksm_test_swap_entry() - an entry that who does not look closely takes for a page
 * @test: the test; skipped where there is none
 * @pte: the PTE of a page
 *
 * Return: A swap entry, of which pte_pfn() says what it says of @pte.
 */
pte_t ksm_test_swap_entry(struct kunit *test, pte_t pte)
{
	pte_t like;

	if (looks_like(pte, 0, &like))
		return like;
	kunit_skip(test, "no swap entry looks like a page here");
}

/**
 * ksm_test_change_pte() - change a PTE in place
 * @mm: the mm
 * @addr: an address in it, at which a page is mapped
 * @change: how
 */
void ksm_test_change_pte(struct mm_struct *mm, unsigned long addr,
			 pte_t (*change)(pte_t pte))
{
	struct vm_area_struct *vma;
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep, pte;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	ptep = ksm_page_map(mm, addr, &ptl);
	if (ptep) {
		pte = change(ptep_clear_flush(vma, addr, ptep));
		set_pte_at(mm, addr, ptep, pte);
		pte_unmap_unlock(ptep, ptl);
	}
	mmap_read_unlock(mm);
}

/**
 * ksm_test_folio_at() - what is mapped at an address
 * @mm: the mm
 * @addr: the address
 *
 * Return: The folio, without a reference; NULL for none.
 */
struct folio *ksm_test_folio_at(struct mm_struct *mm, unsigned long addr)
{
	pte_t pte = ksm_test_pte_at(mm, addr);

	return pte_present(pte) ? pfn_folio(pte_pfn(pte)) : NULL;
}

/* ------------------------------------------------------------------------ */
/* Forking.                                                                 */

/* As dup_mmap() does it, for a VMA. Both mmap locks are held for write. */
static int copy_vma(struct vm_area_struct *child, struct vm_area_struct *vma)
{
	int err;

	vm_flags_set(child, vma->vm_flags & VM_MERGEABLE);
	vma_start_write(vma);
	err = anon_vma_fork(child, vma);
	return err ?: copy_page_range(child, vma);
}

/* Map what @parent maps; nothing is there yet. */
static int map_alike(struct mm_struct *mm, struct mm_struct *parent)
{
	unsigned long start = 0, end = 0;
	struct vm_area_struct *vma;

	for (;;) {
		mmap_read_lock(parent);
		vma = find_vma(parent, end);
		if (vma) {
			start = vma->vm_start;
			end = vma->vm_end;
		}
		mmap_read_unlock(parent);
		if (!vma)
			return 0;
		if (map(mm, start, end - start) != start)
			return -ENOMEM;
	}
}

/**
 * ksm_test_fork() - make a copy of an address space
 * @test: the test, which ends it
 * @parent: the mm to copy
 *
 * Return: The child, registered if @parent is.
 */
struct mm_struct *ksm_test_fork(struct kunit *test, struct mm_struct *parent)
{
	VMA_ITERATOR(vmi, parent, 0);
	struct mm_struct *mm = ksm_test_mm(test);
	struct vm_area_struct *vma;
	int err = 0;

	KUNIT_ASSERT_EQ(test, map_alike(mm, parent), 0);

	mmap_write_lock(parent);
	mmap_write_lock_nested(mm, SINGLE_DEPTH_NESTING);
	for_each_vma(vmi, vma)
		err = err ?: copy_vma(find_vma(mm, vma->vm_start), vma);
	ksm_fork(mm, parent);
	flush_tlb_mm(parent);
	mmap_write_unlock(mm);
	mmap_write_unlock(parent);
	KUNIT_ASSERT_EQ(test, err, 0);
	return mm;
}
