// SPDX-License-Identifier: GPL-2.0
/*
 * What programs ask for: by madvise for a range, by prctl for all they have.
 *
 * Owns VM_MERGEABLE in the VMAs' flags. A VMA gives the flag up only when all
 * its pages are private again, and an mm does so for all VMAs or for none.
 *
 * Floor 5: knows mms, unsharing and forgetting.
 */
#include <linux/mm.h>
#include <linux/sched/coredump.h>
#include <linux/sched/signal.h>

#include "advice.h"
#include "forget.h"
#include "mms.h"
#include "unshare.h"
#include "vma.h"

static int enter_once(struct mm_struct *mm)
{
	bool registered = test_bit(MMF_VM_MERGEABLE, &mm->flags);

	return registered ? 0 : ksm_mms_enter(mm);
}

static bool may_have_merged(const struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_MERGEABLE) && vma->anon_vma;
}

/* Give a range private copies, and drop the items of what was merged there. */
static int unmerge(struct vm_area_struct *vma, unsigned long from, unsigned long to)
{
	unsigned long at = from;
	struct ksm_mm *km;
	int err;

	mmap_assert_write_locked(vma->vm_mm);

	if (!may_have_merged(vma))
		return 0;
	err = ksm_unshare_range(vma, &at, to, true);
	km = ksm_mms_find(vma->vm_mm);
	if (err || !km)
		return err;
	return ksm_forget_merged(km, PHYS_PFN(from), PHYS_PFN(to - 1));
}

/**
 * ksm_advice_set() - let a VMA's pages be merged
 * @vma: the VMA
 * @flags: its flags to be; gets VM_MERGEABLE, unless such a VMA cannot merge,
 *	   which is no error
 *
 * Context: Process context; may sleep. The caller holds the mmap lock for write.
 * Return: 0, or -ENOMEM with @flags unchanged.
 */
int ksm_advice_set(struct vm_area_struct *vma, vm_flags_t *flags)
{
	int err;

	mmap_assert_write_locked(vma->vm_mm);

	if (!ksm_vma_may_merge(vma->vm_file, *flags))
		return 0;
	/* A child may have the flag, and no registration for lack of memory. */
	err = enter_once(vma->vm_mm);
	if (err || (*flags & VM_MERGEABLE))
		return err;
	*flags |= VM_MERGEABLE;
	ksm_mms_offer(vma->vm_mm);
	return 0;
}

/**
 * ksm_advice_clear() - do not merge a range any more, and undo what was merged
 * @vma: the VMA
 * @from: first address
 * @to: address behind the last
 * @flags: the flags to be; loses VM_MERGEABLE when the range is unmerged
 *
 * Context: Process context; sleeps and faults. The caller holds the mmap lock
 *	    for write.
 * Return: 0; -ENOMEM or -ERESTARTSYS with @flags unchanged.
 */
int ksm_advice_clear(struct vm_area_struct *vma, unsigned long from,
		     unsigned long to, vm_flags_t *flags)
{
	int err;

	/* Nothing is copied yet that would be looked for again. */
	if (may_have_merged(vma) && signal_pending(current))
		return -ERESTARTSYS;
	err = unmerge(vma, from, to);
	if (!err)
		*flags &= ~VM_MERGEABLE;
	return err;
}

/**
 * ksm_advice_set_all() - let all be merged that an mm has, and will have
 * @mm: the mm
 *
 * Context: Process context; may sleep. The caller holds the mmap lock for write.
 * Return: 0 or -ENOMEM.
 */
int ksm_advice_set_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	int err;

	mmap_assert_write_locked(mm);

	err = enter_once(mm);
	if (err || test_and_set_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return err;
	for_each_vma(vmi, vma)
		ksm_advice_settle(vma);
	ksm_mms_offer(mm);
	return 0;
}

/**
 * ksm_advice_clear_all() - merge nothing any more that an mm has, and undo it
 * @mm: the mm
 *
 * What madvise asked for ends as well. All VMAs are unmerged before the first
 * one loses its flag, so an error leaves every flag as it was.
 *
 * Context: Process context; sleeps and faults. The caller holds the mmap lock
 *	    for write.
 * Return: 0; -ENOMEM or -ERESTARTSYS.
 */
int ksm_advice_clear_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	bool begun = false;
	int err;

	mmap_assert_write_locked(mm);

	for_each_vma(vmi, vma) {
		if (!may_have_merged(vma))
			continue;
		/* Nothing is copied yet that would be looked for again. */
		if (!begun && signal_pending(current))
			return -ERESTARTSYS;
		begun = true;
		err = unmerge(vma, vma->vm_start, vma->vm_end);
		if (err)
			return err;
	}
	clear_bit(MMF_VM_MERGE_ANY, &mm->flags);
	vma_iter_init(&vmi, mm, 0);
	for_each_vma(vmi, vma) {
		if (!(vma->vm_flags & VM_MERGEABLE))
			continue;
		vm_flags_clear(vma, VM_MERGEABLE);
	}
	return 0;
}

/**
 * ksm_advice_settle() - set the flag of a VMA in an mm that merges all
 * @vma: a VMA in its final form; its driver may have made it one that cannot
 *	 merge, after the flag was set in advance
 *
 * An mm that could not be registered, when its fork lacked memory, gets another
 * chance; failing again is no error.
 *
 * Context: Process context; may sleep. The caller holds the mmap lock for write.
 */
void ksm_advice_settle(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	vm_flags_t wanted;

	mmap_assert_write_locked(mm);

	if (!test_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return;
	wanted = ksm_vma_may_merge(vma->vm_file, vma->vm_flags) ? VM_MERGEABLE : 0;
	if ((vma->vm_flags & VM_MERGEABLE) != wanted)
		vm_flags_mod(vma, wanted, VM_MERGEABLE & ~wanted);
	if (wanted)
		enter_once(mm);
}
