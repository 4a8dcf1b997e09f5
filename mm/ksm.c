// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel Samepage Merging
 *
 * Programs offer memory; ksmd finds pages of equal content in it and maps all
 * of them to one page that nobody may write to; who writes gets a copy back.
 *
 *
 *		How a page travels
 *
 *	page tables  --->  hash  --->  record          a value: 8 bytes a page
 *	  (walk.c)     (content.c)   (record.c)
 *	  (glance.c)                     |
 *	      |                          v
 *	      +-- not written to --->  sieve           nearly all stop here
 *	                             (sieve.c)
 *	                                 | may have a twin
 *	                                 v
 *	                 stable tree, then unstable tree         (match.c)
 *	                                 |
 *	                                 | a twin
 *	                                 v
 *	lock, empty the PTE, compare, link the item, set the PTE  (merge.c)
 *	                                 |
 *	                                 v
 *	            a node, found by its content; items, by which reclaim,
 *	            migration and memory failure find who maps it  (rmap.c)
 *
 * Hashes, and everything remembered, are hints: they can cost a merge, and can
 * never make one. That two pages are equal is decided by comparing them while
 * both are locked and nobody can write to either.
 *
 *
 *		What is kept of a page
 *
 * nothing	nobody offers it, or it was not read yet
 * value	hash, pfn and age: it has no twin that anybody knows of; those of
 *		64 neighbours stand together, see block.c
 * item		it is a candidate of this round (unstable tree), or merged
 * node		one for each KSM page; no reference to it, see hold.c
 * chain		the nodes of one content, where max_page_sharing made several
 *
 * Who ends what: an item goes when its owner's scan finds that the page is not
 * there any more, when the range is unmerged, or when its mm is buried
 * (forget.c). Should the page still be mapped by others, who share it by fork
 * and have no item yet, the item stays with the node as an anchor. A node goes
 * when its page is gone; items that are left then become orphans. Where pages do
 * not merge across NUMA nodes, those of each are looked for apart in both trees,
 * and a node changes its place when its page has moved.
 *
 *
 *		Locks, outermost first
 *
 * memory hotplug lock	  held by those who call hotplug.c
 * ksm_pass_lock	  mutex: a batch, an unmerge of everything, a burial, a
 *			  change of run state; by it nodes stay valid after a
 *			  search, and the dead stay unburied
 * mmap lock		  for read in a batch, that of a second mm only by
 *			  trylock; for write in madvise, prctl, fork. Records
 *			  belong to who holds it for write, or for read with
 *			  ksm_pass_lock. Nobody takes ksm_pass_lock under it
 * mmu notifier bracket	  merge.c, copy.c
 * folio lock		  the page that is replaced first; a second one, and all
 *			  in a batch, by trylock. A page's items and anchors
 *			  change only under its lock
 * ksm_unstable_lock	  mutex: the unstable tree; inside it the mmap lock of
 *			  another mm by trylock, and the PTL
 * ksm_stable_lock	  mutex: the stable tree and its chains; nothing is waited
 *			  for inside
 * anon_vma, PTL	  as everywhere in mm
 * ksm_advisor_lock	  mutex, leaf: who sets pages_to_scan
 * ksm_link_lock	  spinlock, leaf: which item belongs to which node
 * ksm_mms_lock		  spinlock, leaf: who is registered, in use, dead
 * xa_lock		  spinlock, leaf: inside the records
 *
 * An exit takes none of them but ksm_mms_lock, and passes through its own mmap
 * lock if a batch is at work on the mm.
 *
 *
 *		Floors
 *
 * A file calls only what is on lower floors; files on one floor do not know
 * each other. scripts/floors.plan has the list for the check.
 *
 * 9	ksm.c			this story, start order, what core mm calls
 * 8	sysfs, hotplug		text to setters; memory that goes away
 * 7	ksmd			the thread, run states, setters
 * 6	scan			a round
 * 5	meet, unmerge, advice,	what is done with a page that was found; undo
 *	bury, advisor		everything; what programs ask for; mms that are
 *				gone; how fast to scan
 * 4	match, forget, gather,	what to do with one page; what to drop, and when; to
 *	walk			map fewer copies of one content; the next pages
 * 3	stable_tree, unstable_tree, merge, rmap, profit, glance, unshare
 * 2	hold, node, chain, mms, record, copy
 * 1	block, clean, content, item, page, policy, sieve
 * 0	filter, state, vma, trace, types.h
 */
#include <linux/export.h>
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/rmap.h>

#include "ksm/advice.h"
#include "ksm/bury.h"
#include "ksm/hold.h"
#include "ksm/hotplug.h"
#include "ksm/item.h"
#include "ksm/ksmd.h"
#include "ksm/mms.h"
#include "ksm/node.h"
#include "ksm/profit.h"
#include "ksm/rmap.h"
#include "ksm/state.h"
#include "ksm/sysfs.h"
#include "ksm/vma.h"

/* ------------------------------------------------------------------------ */
/* What programs ask for.                                                   */

/**
 * ksm_madvise() - MADV_MERGEABLE and MADV_UNMERGEABLE
 * @vma: a VMA of the range
 * @from: first address, in @vma
 * @to: address behind the last, in @vma
 * @advice: one of the two
 * @flags: flags that the range shall have; edited, @vma itself is not
 *
 * Context: Process context; may sleep and fault. The caller holds the mmap lock
 *	    for write.
 * Return: 0, also for a range that cannot merge; -ENOMEM; -ERESTARTSYS. Then
 *	   @flags is as it was, and a part may be unmerged already.
 */
int ksm_madvise(struct vm_area_struct *vma, unsigned long from,
		unsigned long to, int advice, vm_flags_t *flags)
{
	int err;

	if (advice == MADV_MERGEABLE)
		return ksm_advice_set(vma, flags);
	/* mremap asks for it wherever it goes. */
	if (advice != MADV_UNMERGEABLE || !(vma->vm_flags & VM_MERGEABLE))
		return 0;
	err = ksm_advice_clear(vma, from, to, flags);
	ksm_bury_idle();
	return err;
}
EXPORT_SYMBOL_GPL(ksm_madvise);

/**
 * ksm_vma_flags() - flags of a VMA to be, in an mm that merges all it has
 * @mm: the mm
 * @file: the file that will be mapped, or NULL
 * @vm_flags: the flags so far
 *
 * Asked before the VMA is made, so that it can be joined to a neighbour that
 * has the flag.
 *
 * Context: Process context. The caller holds the mmap lock for write.
 * Return: @vm_flags, with VM_MERGEABLE where that applies.
 */
vm_flags_t ksm_vma_flags(struct mm_struct *mm, const struct file *file,
			 vm_flags_t vm_flags)
{
	bool merges = test_bit(MMF_VM_MERGE_ANY, &mm->flags);

	return merges && ksm_vma_may_merge(file, vm_flags) ? vm_flags | VM_MERGEABLE :
							     vm_flags;
}

/**
 * ksm_add_vma() - a new VMA stands
 * @vma: the VMA
 *
 * Context: Process context; may sleep. The caller holds the mmap lock for write.
 */
void ksm_add_vma(struct vm_area_struct *vma)
{
	ksm_advice_settle(vma);
}

/**
 * ksm_enable_merge_any() - prctl(PR_SET_MEMORY_MERGE, 1)
 * @mm: the mm
 *
 * Context: Process context; may sleep. The caller holds the mmap lock for write.
 * Return: 0 or -ENOMEM.
 */
int ksm_enable_merge_any(struct mm_struct *mm)
{
	return ksm_advice_set_all(mm);
}

/**
 * ksm_disable_merge_any() - prctl(PR_SET_MEMORY_MERGE, 0)
 * @mm: the mm
 *
 * Does nothing for an mm for which it was not enabled.
 *
 * Context: Process context; may sleep and fault. The caller holds the mmap lock
 *	    for write.
 * Return: 0; -ENOMEM or -ERESTARTSYS with nothing disabled.
 */
int ksm_disable_merge_any(struct mm_struct *mm)
{
	return test_bit(MMF_VM_MERGE_ANY, &mm->flags) ? ksm_disable(mm) : 0;
}

/**
 * ksm_disable() - no KSM page in this mm any more, however it was asked for
 * @mm: the mm
 *
 * Context: Process context; may sleep and fault. The caller holds the mmap lock
 *	    for write.
 * Return: 0; -ENOMEM or -ERESTARTSYS with nothing disabled.
 */
int ksm_disable(struct mm_struct *mm)
{
	int err;

	mmap_assert_write_locked(mm);

	err = ksm_advice_clear_all(mm);
	ksm_bury_idle();
	return err;
}

/* ------------------------------------------------------------------------ */
/* Life of an mm.                                                           */

/**
 * __ksm_fork() - register the child of a registered mm
 * @mm: the child, its page tables copied
 *
 * Best effort: a child without registration keeps the KSM pages it has, whom
 * the parent's items lead to, and merges no others.
 *
 * Context: Process context; may sleep. The caller holds both mmap locks for
 *	    write.
 */
void __ksm_fork(struct mm_struct *mm)
{
	ksm_mms_enter(mm);
}

/**
 * __ksm_execve() - register the new mm of a program that merges all it has
 * @mm: the new mm, still without VMAs
 *
 * Context: Process context; may sleep. The caller holds the mmap lock for write.
 * Return: 0 or -ENOMEM, which fails the exec.
 */
int __ksm_execve(struct mm_struct *mm)
{
	return ksm_mms_enter(mm);
}

/**
 * __ksm_exit() - an mm goes
 * @mm: a registered mm
 *
 * On return KSM does not touch its page tables any more. That takes as long as
 * a run of a few pages at the most; what was known of it is dropped later.
 *
 * Context: Process context; may sleep. The caller does not hold the mmap lock.
 */
void __ksm_exit(struct mm_struct *mm)
{
	enum ksm_leave left = ksm_mms_leave(mm);

	if (left == KSM_LEAVE_BUSY) {
		mmap_write_lock(mm);
		mmap_write_unlock(mm);
	}
	/* What the sieve was told goes with the last one. */
	if (left != KSM_LEAVE_DONE || !ksm_mms_populated())
		ksm_bury_soon();
	else
		ksm_bury_idle();
}

/* ------------------------------------------------------------------------ */
/* Pages under reclaim, migration, swap-in and memory failure.              */

/**
 * ksm_might_need_to_copy() - what to map for a page from the swap cache
 * @cached: what was found there
 * @vma: where it is to be mapped
 * @at: at which address
 *
 * Context: Process context; may sleep and allocate. The caller holds @cached's
 *	    lock, and the mmap lock or @vma's.
 * Return: @cached; a copy, locked, charged, dirty and not mapped; NULL
 *	   without memory; ERR_PTR(-EHWPOISON).
 */
struct folio *ksm_might_need_to_copy(struct folio *cached,
				     struct vm_area_struct *vma, unsigned long at)
{
	return ksm_rmap_swapin(cached, vma, at);
}

/**
 * rmap_walk_ksm() - visit every mapping of a KSM page
 * @folio: the page
 * @walk: what to do there
 *
 * Context: Process context; see ksm_rmap_walk(). The caller holds @folio's lock.
 */
void rmap_walk_ksm(struct folio *folio, struct rmap_walk_control *walk)
{
	ksm_rmap_walk(folio, walk);
}

/**
 * __ksm_count_zero_page() - a PTE by which KSM maps the zero page comes or goes
 * @mm: where
 * @by: 1 or -1
 *
 * Context: Any context.
 */
void __ksm_count_zero_page(struct mm_struct *mm, long by)
{
	ksm_state_count_zero(mm, by);
}

#ifdef CONFIG_MEMORY_FAILURE
/**
 * collect_procs_ksm() - collect who maps a KSM page that has failed
 * @folio: the folio
 * @page: its page
 * @victims: list to add to
 * @early: whether to add tasks that did not ask to be told early
 *
 * Context: Process context; may sleep. The caller holds @folio's lock.
 */
void collect_procs_ksm(struct folio *folio, struct page *page,
		       struct list_head *victims, int early)
{
	ksm_rmap_collect(folio, page, victims, early);
}
#endif

#ifdef CONFIG_MIGRATION
/**
 * folio_migrate_ksm() - a page moves; if it is a KSM page, its node follows
 * @dst: where it goes, its mapping set
 * @src: where it was, with mapping and swap cache flag still in place
 *
 * Context: The caller holds both folios' locks. Does not sleep.
 */
void folio_migrate_ksm(struct folio *dst, struct folio *src)
{
	ksm_hold_migrate(dst, src);
	ksm_node_moved(dst);
}
#endif

/**
 * ksm_process_profit() - what KSM brings a process
 * @mm: its mm
 *
 * Context: Any context.
 * Return: Bytes; negative when it costs more than it brings.
 */
long ksm_process_profit(struct mm_struct *mm)
{
	return ksm_profit_of_mm(mm);
}

/**
 * ksm_process_mergeable() - does a process offer any memory?
 * @mm: its mm, in use
 *
 * Context: Any context. Never waits for the mmap lock.
 * Return: true if one of its VMAs has VM_MERGEABLE.
 */
bool ksm_process_mergeable(struct mm_struct *mm)
{
	return test_bit(MMF_VM_MERGEABLE, &mm->flags) && ksm_vma_any_mergeable(mm);
}

/* ------------------------------------------------------------------------ */

static int __init ksm_init(void)
{
	int err;

	err = ksm_item_init();
	if (err)
		return err;
	err = ksm_node_init();
	if (err)
		goto exit_item;
	err = ksm_mms_init();
	if (err)
		goto exit_node;
	err = ksm_ksmd_start();
	if (err)
		goto exit_mms;
	err = ksm_sysfs_init();
	if (err)
		goto stop_ksmd;
	/* Last, and without undo: it is called from now on. */
	ksm_hotplug_init();
	return 0;

stop_ksmd:
	ksm_ksmd_stop();
exit_mms:
	ksm_mms_exit();
exit_node:
	ksm_node_exit();
exit_item:
	ksm_item_exit();
	return err;
}
subsys_initcall(ksm_init);
