// SPDX-License-Identifier: GPL-2.0
/*
 * Reverse map: from a KSM page to those who map it, for reclaim, migration and
 * memory failure; and the other way, what a swap-in may map where.
 *
 * Runs inside reclaim and under locks of core mm: it knows no tree, allocates
 * only where a fault asks for a copy, and never takes a lock that a scan holds
 * for long.
 *
 * Floor 3: knows nodes and items.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "../internal.h"
#include "item.h"
#include "rmap.h"
#include "state.h"
#include "vma.h"

/* Items that a swap-in asks for the way before it makes a copy. */
#define SWAPIN_ITEMS	256

/* ------------------------------------------------------------------------ */
/* Who maps a page.                                                         */

static bool lock_for_walk(struct anon_vma *anon_vma, struct rmap_walk_control *rwc)
{
	if (anon_vma_trylock_read(anon_vma))
		return true;
	if (rwc->try_lock) {
		rwc->contended = true;
		return false;
	}
	anon_vma_lock_read(anon_vma);
	return true;
}

/* Visit all mappings that @item leads to; false to end the whole walk. */
static bool walk_item(struct folio *folio, struct ksm_item *item,
		      struct rmap_walk_control *rwc)
{
	pgoff_t pgoff = item->pgoff;
	struct anon_vma_chain *avc;
	bool go_on = true;

	cond_resched();
	if (!lock_for_walk(item->anon_vma, rwc))
		return false;
	anon_vma_interval_tree_foreach(avc, &item->anon_vma->rb_root, pgoff, pgoff) {
		struct vm_area_struct *vma = avc->vma;

		cond_resched();
		if (rwc->invalid_vma && rwc->invalid_vma(vma, rwc->arg))
			continue;
		go_on = rwc->rmap_one(folio, vma, vma_address(vma, pgoff, 1), rwc->arg) &&
			!(rwc->done && rwc->done(folio));
		if (!go_on)
			break;
	}
	anon_vma_unlock_read(item->anon_vma);
	return go_on;
}

/**
 * ksm_rmap_walk() - visit every mapping of a KSM page
 * @folio: the page
 * @walk: what to do; its anon_lock is not asked
 *
 * A mapping may be visited twice where items of several mms lead to it.
 *
 * Context: Process context; sleeps on an anon_vma's lock unless @walk->try_lock,
 *	    reschedules in any case. The caller holds @folio's lock, by which
 *	    the lists of its node stand still, or says that it does not.
 */
void ksm_rmap_walk(struct folio *folio, struct rmap_walk_control *walk)
{
	struct ksm_node *node = ksm_node_of(folio);
	struct ksm_item *item;

	/*
	 * Who takes the lock only for KSM pages may have asked before this was
	 * one. Without it the lists do not stand still; what such a walk looks
	 * for, young PTEs, it finds next time.
	 */
	if (walk->unlocked)
		return;
	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);
	if (!node)
		return;
	hlist_for_each_entry(item, &node->items, link)
		if (!walk_item(folio, item, walk))
			return;
	hlist_for_each_entry(item, &node->anchors, link)
		if (!walk_item(folio, item, walk))
			return;
}

#ifdef CONFIG_MEMORY_FAILURE
/* Add the tasks of those mms that map @page where @item leads to. */
static void collect_item(struct ksm_item *item, struct page *page,
			 struct list_head *to_kill, int force_early)
{
	pgoff_t pgoff = item->pgoff;
	struct anon_vma_chain *avc;
	struct task_struct *task;
	unsigned long addr;

	anon_vma_lock_read(item->anon_vma);
	rcu_read_lock();
	for_each_process(task) {
		struct task_struct *victim = task_early_kill(task, force_early);

		if (!victim)
			continue;
		anon_vma_interval_tree_foreach(avc, &item->anon_vma->rb_root, pgoff, pgoff) {
			if (avc->vma->vm_mm != victim->mm)
				continue;
			addr = vma_address(avc->vma, pgoff, 1);
			if (ksm_vma_maps(avc->vma, addr, page))
				add_to_kill_ksm(victim, page, avc->vma, to_kill, addr);
		}
	}
	rcu_read_unlock();
	anon_vma_unlock_read(item->anon_vma);
}

/**
 * ksm_rmap_collect() - collect who is to be told that a KSM page has failed
 * @failed: the folio
 * @page: its page
 * @victims: list to add to; a task gets onto it once
 * @early: whether tasks that did not ask for it are told early
 *
 * Context: Process context; sleeps on an anon_vma's lock. The caller holds
 *	    @failed's lock.
 */
void ksm_rmap_collect(struct folio *failed, struct page *page,
		      struct list_head *victims, int early)
{
	struct ksm_node *node = ksm_node_of(failed);
	struct ksm_item *item;

	VM_WARN_ON_FOLIO(!folio_test_locked(failed), failed);

	if (!node)
		return;
	hlist_for_each_entry(item, &node->items, link) {
		collect_item(item, page, victims, early);
		cond_resched();
	}
	hlist_for_each_entry(item, &node->anchors, link) {
		collect_item(item, page, victims, early);
		cond_resched();
	}
}
#endif /* CONFIG_MEMORY_FAILURE */

/* ------------------------------------------------------------------------ */
/* What a swap-in may map.                                                  */

/*
 * Does one of the first items on a list lead there? A copy is always right, so
 * a page that very many map need not be asked about all of them each time one
 * of them comes back.
 */
static bool some_lead_to(struct hlist_head *items, struct vm_area_struct *vma,
			 unsigned long addr)
{
	unsigned int most = SWAPIN_ITEMS;
	struct ksm_item *item;

	hlist_for_each_entry(item, items, link) {
		if (ksm_item_leads_to(item, vma, addr))
			return true;
		if (!--most)
			break;
	}
	return false;
}

/*
 * A KSM page that is still in the swap cache may be mapped again where a walk
 * will find it; not where merging has been ended since, or is being ended.
 */
static bool ksm_fits(struct folio *folio, struct vm_area_struct *vma,
		     unsigned long addr)
{
	struct ksm_node *node = ksm_node_of(folio);

	if (!node || !(vma->vm_flags & VM_MERGEABLE) ||
	    READ_ONCE(ksm_state.run) == KSM_RUN_UNMERGE)
		return false;
	return some_lead_to(&node->items, vma, addr) ||
	       some_lead_to(&node->anchors, vma, addr);
}

/*
 * An ordinary page was a KSM page when it was swapped out, if it turns up where
 * its anon_vma or its index do not belong. The anon_vma may have been freed
 * since: compare the pointer, do not follow it. Should a new one have taken its
 * place, and in this VMA of all, then it is the right one to be found by.
 */
static bool anon_fits(struct folio *folio, struct vm_area_struct *vma,
		      unsigned long addr)
{
	struct anon_vma *anon_vma = folio_anon_vma(folio);
	struct anon_vma_chain *avc;

	if (!anon_vma)
		return true;
	if (folio->index != linear_page_index(vma, addr))
		return false;
	if (anon_vma == vma->anon_vma)
		return true;
	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		if (avc->anon_vma == anon_vma)
			return true;
	return false;
}

static void count_copy(void)
{
#ifdef CONFIG_SWAP
	count_vm_event(KSM_SWPIN_COPY);
#endif
}

static struct folio *make_copy(struct folio *folio, struct vm_area_struct *vma,
			       unsigned long addr)
{
	struct folio *copy;

	copy = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, addr, false);
	if (!copy)
		return NULL;
	if (mem_cgroup_charge(copy, vma->vm_mm, GFP_KERNEL)) {
		folio_put(copy);
		return NULL;
	}
	if (copy_mc_user_highpage(&copy->page, &folio->page, addr, vma)) {
		folio_put(copy);
		return ERR_PTR(-EHWPOISON);
	}
	folio_set_dirty(copy);
	__folio_mark_uptodate(copy);
	__folio_set_locked(copy);
	count_copy();
	return copy;
}

/**
 * ksm_rmap_swapin() - what to map for a page that comes from the swap cache
 * @cached: what was found there
 * @vma: where it is to be mapped
 * @at: at which address
 *
 * Context: Process context; may sleep and allocate. The caller holds @cached's
 *	    lock, and the mmap lock or @vma's.
 * Return: @cached itself; or a copy, locked, charged, dirty and without any
 *	   mapping; NULL without memory; ERR_PTR(-EHWPOISON) when @cached cannot
 *	   be read.
 */
struct folio *ksm_rmap_swapin(struct folio *cached, struct vm_area_struct *vma,
			      unsigned long at)
{
	VM_WARN_ON_FOLIO(!folio_test_locked(cached), cached);

	if (folio_test_large(cached))
		return cached;
	if (folio_test_ksm(cached) ? ksm_fits(cached, vma, at) :
				    anon_fits(cached, vma, at))
		return cached;
	if (folio_test_hwpoison(cached))
		return ERR_PTR(-EHWPOISON);
	/* Not read in, for an I/O error: the fault reports it. */
	if (!folio_test_uptodate(cached))
		return cached;
	return make_copy(cached, vma, at);
}
