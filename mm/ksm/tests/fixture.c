// SPDX-License-Identifier: GPL-2.0
/*
 * What the KUnit suites share: pages, address spaces with real page tables, and
 * the promise that a test leaves nothing behind.
 *
 * Tests call the engine in ksmd's place, which is stopped meanwhile. A failed
 * assertion ends the thread on the spot, so none may stand where a lock is held
 * or a foreign mm is in use: there, expect.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include <linux/ksm.h>

#include "../forget.h"
#include "../match.h"
#include "../mms.h"
#include "../node.h"
#include "../page.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

#define WORDS	(PAGE_SIZE / sizeof(u64))

/* ------------------------------------------------------------------------ */
/* Before and after.                                                        */

/* What a test changes and the user can see: put back when it is over. */
static struct {
	unsigned int	run;
	unsigned long	scanned;
	unsigned long	rounds;
} before;

static void expect_nothing_left(void *data)
{
	struct kunit *test = data;
	unsigned int tries = 500;

	/* A burial runs on its own. */
	while (atomic_long_read(&ksm_counts.mms) && tries--)
		msleep(20);

	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	ksm_forget_idle(ULONG_MAX);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	KUNIT_EXPECT_EQ(test, ksm_node_count_idle(), 0);
	KUNIT_EXPECT_FALSE(test, ksm_mms_populated());
	KUNIT_EXPECT_NULL(test, ksm_stable_first());
	KUNIT_EXPECT_NULL(test, ksm_stable_find_aside(0, ULONG_MAX));
	ksm_counts.scanned = before.scanned;
	ksm_counts.rounds = before.rounds;
	WRITE_ONCE(ksm_state.run, before.run);
	mutex_unlock(&ksm_pass_lock);
}

/**
 * ksm_test_init() - begin a test: of a KSM that nobody uses, and with ksmd stopped
 * @test: the test; fails if it leaves anything behind
 *
 * Return: 0 or -ENOMEM.
 */
int ksm_test_init(struct kunit *test)
{
	mutex_lock(&ksm_pass_lock);
	before.run = ksm_state.run;
	before.scanned = ksm_counts.scanned;
	before.rounds = ksm_counts.rounds;
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	mutex_unlock(&ksm_pass_lock);

	if (atomic_long_read(&ksm_counts.mms) || atomic_long_read(&ksm_counts.nodes)) {
		WRITE_ONCE(ksm_state.run, before.run);
		kunit_skip(test, "KSM is in use");
	}
	return kunit_add_action_or_reset(test, expect_nothing_left, test);
}

/**
 * ksm_test_at_end() - see that something is undone, whatever becomes of the test
 * @test: the test
 * @action: what undoes it; what was begun last is undone first
 * @data: its argument
 */
void ksm_test_at_end(struct kunit *test, kunit_action_t *action, void *data)
{
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, action, data), 0);
}

/* ------------------------------------------------------------------------ */
/* Pages of nobody.                                                         */

/**
 * ksm_test_free_folio() - the action that ends a folio of ksm_test_folio()
 * @folio: the folio; kunit_release_action() frees it before the test is over
 */
void ksm_test_free_folio(void *folio)
{
	folio_put(folio);
}

/**
 * ksm_test_folio() - allocate a page
 * @test: the test, which frees it
 * @content: what it is filled with
 *
 * Return: Its folio, with one reference.
 */
struct folio *ksm_test_folio(struct kunit *test, u64 content)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	memset64(folio_address(folio), content, WORDS);
	ksm_test_at_end(test, ksm_test_free_folio, folio);
	return folio;
}

static void cure(void *data)
{
	struct folio *folio = data;

	ClearPageHWPoison(&folio->page);
}

/**
 * ksm_test_poison() - let the memory of a page fail
 * @test: the test, after which it is well again; skipped if that cannot be
 * @folio: the page
 */
void ksm_test_poison(struct kunit *test, struct folio *folio)
{
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");
	SetPageHWPoison(&folio->page);
	ksm_test_at_end(test, cure, folio);
}

/**
 * ksm_test_drop() - the action that ends a node of ksm_test_keep()
 * @node: the node; who ends it otherwise removes the action
 */
void ksm_test_drop(void *node)
{
	mutex_lock(&ksm_pass_lock);
	ksm_stable_drop(node);
	mutex_unlock(&ksm_pass_lock);
}

/**
 * ksm_test_keep_mapped() - make a KSM page of what a test's mm maps
 * @test: the test
 * @folio: the page
 *
 * Return: The node, in the stable tree, without items; it is forgotten when its
 *	   page is gone.
 */
struct ksm_node *ksm_test_keep_mapped(struct kunit *test, struct folio *folio)
{
	struct ksm_node *node = ksm_node_alloc();
	int err;

	KUNIT_ASSERT_NOT_NULL(test, node);
	node->hash = ksm_page_hash(&folio->page);
	mutex_lock(&ksm_pass_lock);
	folio_lock(folio);
	err = ksm_stable_insert(node, folio);
	folio_unlock(folio);
	mutex_unlock(&ksm_pass_lock);
	if (err)
		ksm_node_free(node);
	KUNIT_ASSERT_EQ(test, err, 0);
	return node;
}

/**
 * ksm_test_keep() - make a KSM page
 * @test: the test, which drops the node
 * @folio: the page, of ksm_test_folio()
 *
 * Return: The node, in the stable tree, without items.
 */
struct ksm_node *ksm_test_keep(struct kunit *test, struct folio *folio)
{
	struct ksm_node *node = ksm_test_keep_mapped(test, folio);

	ksm_test_at_end(test, ksm_test_drop, node);
	return node;
}

/* ------------------------------------------------------------------------ */
/* Address spaces.                                                          */

/* Unmap all and forget it, so that no burial runs into the next test. */
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
		ksm_forget_all(km, KSM_FORGET_EMPTIED);
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

static unsigned long map(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	unsigned long flags = MAP_PRIVATE | MAP_ANONYMOUS | (addr ? MAP_FIXED : 0);

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

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	KUNIT_ASSERT_EQ(test, do_madvise(mm, addr, pages * PAGE_SIZE, MADV_MERGEABLE), 0);
	return addr;
}

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
	int err = 0;
	int i;

	kthread_use_mm(mm);
	for (i = 0; i < WORDS; i++)
		err |= put_user(content, words + i);
	kthread_unuse_mm(mm);
	KUNIT_ASSERT_EQ(test, err, 0);
	/* A page on its way to the LRU carries a reference, and cannot merge. */
	lru_add_drain_all();
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
	struct mm_struct *mm = ksm_test_mm(test);
	VMA_ITERATOR(vmi, parent, 0);
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

/* ------------------------------------------------------------------------ */
/* In ksmd's place.                                                         */

/**
 * ksm_test_lock() - take the locks under which a batch works on an mm
 * @mm: the mm
 *
 * Return: Its registration, or NULL.
 */
struct ksm_mm *ksm_test_lock(struct mm_struct *mm)
{
	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(mm);
	return ksm_mms_find(mm);
}

/**
 * ksm_test_unlock() - end what ksm_test_lock() began
 * @mm: the mm
 */
void ksm_test_unlock(struct mm_struct *mm)
{
	mmap_read_unlock(mm);
	mutex_unlock(&ksm_pass_lock);
}

/**
 * ksm_test_offer() - look up a page for merging
 * @offer: filled in; its page has a reference
 * @km: the mm, under the locks of ksm_test_lock()
 * @addr: address of the page
 *
 * Return: true if there is a page.
 */
bool ksm_test_offer(struct ksm_offer *offer, struct ksm_mm *km, unsigned long addr)
{
	*offer = (struct ksm_offer) { .owner = km, .addr = addr };
	offer->page = ksm_page_find(ksm_mm_of(km), addr, &offer->vma);
	return offer->page;
}

/**
 * ksm_test_match() - do with a calm page what a scan does
 * @mm: the mm
 * @addr: address of the page
 *
 * Return: A value of &enum ksm_match; -ENOENT when there is no page.
 */
int ksm_test_match(struct mm_struct *mm, unsigned long addr)
{
	struct ksm_mm *km = ksm_test_lock(mm);
	struct ksm_offer offer;
	int match = -ENOENT;

	if (km && ksm_test_offer(&offer, km, addr)) {
		match = ksm_match_page(&offer, ksm_page_hash(offer.page), true);
		put_page(offer.page);
	}
	ksm_test_unlock(mm);
	return match;
}

/**
 * ksm_test_merge_pair() - merge two pages of equal content
 * @test: the test
 * @mm: the mm
 * @a: address of one, whose content nobody else has
 * @b: address of the other
 */
void ksm_test_merge_pair(struct kunit *test, struct mm_struct *mm, unsigned long a,
			 unsigned long b)
{
	KUNIT_ASSERT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	KUNIT_ASSERT_EQ(test, ksm_test_match(mm, b), KSM_MATCH_MERGED);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_folio_at(mm, a), ksm_test_folio_at(mm, b));
	KUNIT_ASSERT_TRUE(test, folio_test_ksm(ksm_test_folio_at(mm, a)));
}
