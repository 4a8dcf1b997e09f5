// SPDX-License-Identifier: GPL-2.0
/* An mm exits while others are at work: who waits for whom, and who does not. */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/swap.h>
#include <linux/workqueue.h>

#include "../block.h"
#include "../bury.h"
#include "../forget.h"
#include "../hold.h"
#include "../mms.h"
#include "../record.h"
#include "../scan.h"
#include "../state.h"
#include "../unmerge.h"
#include "fixture.h"

#define PAGES	4

/* An mm with pages, and what somebody else does with it. */
static struct {
	struct mm_struct	*mm;
	unsigned long		addr;
	struct ksm_mm		*km;
	struct folio		*folio;		/* of its first page */
	struct work_struct	work;
	/* What a worker has locked. */
	struct ksm_item		*item;
	struct folio		*locked;
} at;

static void restart(void *unused)
{
	mutex_lock(&ksm_pass_lock);
	ksm_scan_restart();
	WRITE_ONCE(ksm_counts.rounds, 0);
	mutex_unlock(&ksm_pass_lock);
}

static int init(struct kunit *test)
{
	int i, err = ksm_test_init(test);

	if (err)
		return err;
	restart(NULL);
	ksm_test_at_end(test, restart, NULL);
	at.mm = ksm_test_mm(test);
	at.addr = ksm_test_map(test, at.mm, PAGES);
	for (i = 0; i < PAGES; i++)
		ksm_test_write(test, at.mm, at.addr + i * PAGE_SIZE, 1);
	at.km = ksm_mms_find(at.mm);
	at.folio = ksm_test_folio_at(at.mm, at.addr);
	return 0;
}

static bool is_exiting(void)
{
	return READ_ONCE(at.km->exiting);
}

static bool is_gone(void)
{
	return !folio_mapped(at.folio);
}

static bool mm_is_waited_for(void)
{
	return mmap_lock_is_contended(at.mm);
}

static bool batch_waits_for_mm(void)
{
	return READ_ONCE(at.km->users) && mm_is_waited_for();
}

static bool folio_is_waited_for(void)
{
	return folio_test_waiters(at.folio);
}

static void scan(struct work_struct *work)
{
	mutex_lock(&ksm_pass_lock);
	ksm_scan_batch(100);
	mutex_unlock(&ksm_pass_lock);
}

static void unmerge(struct work_struct *work)
{
	mutex_lock(&ksm_pass_lock);
	WRITE_ONCE(ksm_state.run, KSM_RUN_UNMERGE);
	ksm_unmerge_all();
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	mutex_unlock(&ksm_pass_lock);
}

static void forget(struct work_struct *work)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);

	ksm_forget_page(km, at.addr >> PAGE_SHIFT, KSM_FORGET_EMPTIED);
	ksm_test_unlock(at.mm);
}

static void forget_nodes(struct work_struct *work)
{
	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	mutex_unlock(&ksm_pass_lock);
}

static void lock_page_of_item(struct work_struct *work)
{
	struct folio *folio;

	if (ksm_hold_lock(at.item, true, &folio) == KSM_PEEK_OK)
		WRITE_ONCE(at.locked, folio);
}

/* Let another thread do it. */
static void begin(work_func_t work)
{
	INIT_WORK(&at.work, work);
	queue_work(system_unbound_wq, &at.work);
}

/* ------------------------------------------------------------------------ */
/* Exits.                                                                   */

static void P33_an_exit_waits_for_a_batch_that_is_in(struct kunit *test)
{
	bool exiting, waits, mapped;
	struct ksm_mm *km;

	folio_get(at.folio);
	mutex_lock(&ksm_pass_lock);
	ksm_mms_rewind();
	km = ksm_mms_next();
	mmap_read_lock(at.mm);
	ksm_test_exit_async(test, at.mm);
	exiting = ksm_test_comes_true(is_exiting);
	waits = ksm_test_comes_true(mm_is_waited_for);
	/* The page tables are ours until we let go. */
	mapped = !is_gone();
	mmap_read_unlock(at.mm);
	KUNIT_EXPECT_PTR_EQ(test, km, at.km);
	KUNIT_EXPECT_TRUE(test, exiting);
	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_TRUE(test, mapped);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_true(is_gone));
	/* And the mm_struct is, until we say that we are through with it. */
	KUNIT_EXPECT_PTR_EQ(test, ksm_mm_of(km), at.mm);
	KUNIT_EXPECT_GE(test, atomic_read(&at.mm->mm_count), 1);
	ksm_mms_put(km, true);
	mutex_unlock(&ksm_pass_lock);
	folio_put(at.folio);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 0));
}

static void P29_an_exit_does_not_wait_for_work_on_others(struct kunit *test)
{
	struct mm_struct *other = ksm_test_mm(test);
	bool gone;

	ksm_test_map(test, other, 1);
	/* Something is known of it, which is buried when the lock is free. */
	scan(NULL);
	KUNIT_ASSERT_FALSE(test, ksm_block_none(at.km));
	folio_get(at.folio);
	/* A batch or an unmerge is under way, and far from its end. */
	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(other);
	ksm_test_exit_async(test, at.mm);
	gone = ksm_test_comes_true(is_gone);
	mmap_read_unlock(other);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_TRUE(test, gone);
	folio_put(at.folio);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 1));
}

/* The mm leaves while @work, whose turn has come to it, waits for its mmap lock. */
static void leave_during(struct kunit *test, work_func_t work)
{
	enum ksm_leave left;
	bool waits;

	mmap_write_lock(at.mm);
	begin(work);
	waits = ksm_test_comes_true(batch_waits_for_mm);
	left = ksm_mms_leave(at.mm);
	mmap_write_unlock(at.mm);
	flush_work(&at.work);
	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_EQ(test, left, KSM_LEAVE_BUSY);
}

static void P34_a_batch_does_not_enter_an_mm_that_has_left(struct kunit *test)
{
	unsigned long scanned = ksm_counts.scanned;

	leave_during(test, scan);
	KUNIT_EXPECT_EQ(test, ksm_counts.scanned, scanned);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, 0);
	ksm_bury_soon();
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 0));
}

static void P34_an_unmerge_does_not_enter_it_either(struct kunit *test)
{
	ksm_test_merge_pair(test, at.mm, at.addr, at.addr + PAGE_SIZE);
	leave_during(test, unmerge);
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(ksm_test_folio_at(at.mm, at.addr)));
	/* It buries the dead, so that nothing is known of them when it returns. */
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
}

/* It has offered more just before, for which the round would come again. */
static void P33_who_leaves_does_not_come_back(struct kunit *test)
{
	struct ksm_mm *km, *next, *dead;
	enum ksm_leave left;
	bool in_turn;

	scan(NULL);
	mutex_lock(&ksm_pass_lock);
	ksm_mms_rewind();
	km = ksm_mms_next();
	in_turn = km == at.km;
	if (in_turn) {
		/* Used twice, as where a page and its twin are of one mm. */
		ksm_mms_get(km);
		mmap_write_lock(at.mm);
		ksm_mms_offer(at.mm);
		mmap_write_unlock(at.mm);
		left = ksm_mms_leave(at.mm);
		ksm_mms_put(km, false);
		ksm_mms_drop(km);
		next = ksm_mms_next();
		dead = ksm_mms_first_dead();
		KUNIT_EXPECT_EQ(test, left, KSM_LEAVE_BUSY);
		KUNIT_EXPECT_NULL(test, next);
		KUNIT_EXPECT_PTR_EQ(test, dead, at.km);
		if (next)
			ksm_mms_put(next, false);
	}
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_TRUE(test, in_turn);
	ksm_bury_soon();
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 0));
}

/* ------------------------------------------------------------------------ */
/* Flag and registration.                                                   */

static void expect_registered(struct kunit *test, bool is)
{
	KUNIT_EXPECT_EQ(test, test_bit(MMF_VM_MERGEABLE, &at.mm->flags), is);
	KUNIT_EXPECT_EQ(test, !!ksm_mms_find(at.mm), is);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), is);
}

static void P37_the_flag_says_who_is_registered(struct kunit *test)
{
	int i;

	expect_registered(test, true);
	/* Nothing is offered any more, and a scan finds so; then again something is. */
	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.addr, PAGES * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	for (i = 0; i < 2; i++)
		scan(NULL);
	expect_registered(test, true);
	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.addr, PAGES * PAGE_SIZE, MADV_MERGEABLE), 0);
	expect_registered(test, true);
	for (i = 0; i < 2; i++)
		scan(NULL);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, PAGES);
	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_TRUE(test, ksm_test_forget(at.km));
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(at.mm), KSM_LEAVE_DONE);
	expect_registered(test, false);
}

/* ------------------------------------------------------------------------ */
/* Who has a page locked.                                                   */

/* As migration does it. Both pages are locked. */
static void move(struct folio *dst, struct folio *src)
{
	dst->mapping = src->mapping;
	ksm_hold_migrate(dst, src);
}

static void P49_an_item_goes_under_the_lock_of_its_page(struct kunit *test)
{
	struct ksm_item *item;
	bool waits;

	ksm_test_merge_pair(test, at.mm, at.addr, at.addr + PAGE_SIZE);
	at.folio = ksm_test_folio_at(at.mm, at.addr);
	item = ksm_record_item(ksm_record_load(at.km, at.addr >> PAGE_SHIFT));
	KUNIT_ASSERT_NOT_NULL(test, item);
	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.addr, PAGE_SIZE, MADV_DONTNEED), 0);

	/* As a reverse-map walk has it, which is on the list of items. */
	folio_lock(at.folio);
	begin(forget);
	waits = ksm_test_comes_true(folio_is_waited_for);
	KUNIT_EXPECT_TRUE(test, waits);
	if (waits) {
		KUNIT_EXPECT_EQ(test, item->kind, KSM_ITEM_MERGED);
		KUNIT_EXPECT_FALSE(test, hlist_unhashed(&item->link));
		KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	}
	folio_unlock(at.folio);
	flush_work(&at.work);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	KUNIT_EXPECT_NULL(test, ksm_record_load(at.km, at.addr >> PAGE_SHIFT));
}

static bool is_waited_for_or_locked(void)
{
	return folio_is_waited_for() || READ_ONCE(at.locked);
}

static void P49_who_locks_the_page_of_an_item_follows_it(struct kunit *test)
{
	struct folio *src, *early, *dst = ksm_test_folio(test, 1);
	bool waits, waits_again;
	int refs;

	ksm_test_merge_pair(test, at.mm, at.addr, at.addr + PAGE_SIZE);
	src = ksm_test_folio_at(at.mm, at.addr);
	at.item = ksm_test_item_at(at.mm, at.addr);
	KUNIT_ASSERT_NOT_NULL(test, at.item);
	/* On the way to the LRU others have a reference. */
	lru_add_drain_all();
	refs = folio_ref_count(src);
	at.locked = NULL;
	at.folio = src;

	folio_lock(src);
	begin(lock_page_of_item);
	waits = ksm_test_comes_true(folio_is_waited_for);
	folio_lock(dst);
	move(dst, src);
	at.folio = dst;
	folio_unlock(src);
	/* What it waited for is not the page that it wants any more. */
	waits_again = ksm_test_comes_true(is_waited_for_or_locked);
	early = READ_ONCE(at.locked);
	folio_unlock(dst);
	flush_work(&at.work);

	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_TRUE(test, waits_again);
	KUNIT_EXPECT_NULL(test, early);
	KUNIT_EXPECT_PTR_EQ(test, at.locked, dst);
	if (at.locked) {
		folio_unlock(at.locked);
		folio_put(at.locked);
	}
	KUNIT_EXPECT_EQ(test, folio_ref_count(src), refs);
	KUNIT_EXPECT_EQ(test, folio_ref_count(dst), 1);
	/* Nobody's PTE has gone along. */
	folio_lock(dst);
	folio_lock(src);
	move(src, dst);
	folio_unlock(src);
	folio_unlock(dst);
}

static void P28_a_node_whose_page_moves_meanwhile_stays(struct kunit *test)
{
	struct folio *src = ksm_test_folio(test, 1), *dst = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, src);
	bool waits;

	at.folio = src;
	/* As a migration has it, which counted the references before. */
	folio_lock(src);
	begin(forget_nodes);
	waits = ksm_test_comes_true(folio_is_waited_for);
	folio_lock(dst);
	move(dst, src);
	folio_unlock(dst);
	folio_unlock(src);
	flush_work(&at.work);
	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_of(dst), node);
	KUNIT_EXPECT_EQ(test, node->place, KSM_NODE_IN_TREE);
}

static struct kunit_case exit_cases[] = {
	KUNIT_CASE(P33_an_exit_waits_for_a_batch_that_is_in),
	KUNIT_CASE(P29_an_exit_does_not_wait_for_work_on_others),
	KUNIT_CASE(P34_a_batch_does_not_enter_an_mm_that_has_left),
	KUNIT_CASE(P34_an_unmerge_does_not_enter_it_either),
	KUNIT_CASE(P33_who_leaves_does_not_come_back),
	KUNIT_CASE(P37_the_flag_says_who_is_registered),
	KUNIT_CASE(P49_an_item_goes_under_the_lock_of_its_page),
	KUNIT_CASE(P49_who_locks_the_page_of_an_item_follows_it),
	KUNIT_CASE(P28_a_node_whose_page_moves_meanwhile_stays),
	{ }
};

static struct kunit_suite exit_suite = {
	.name = "ksm_exit",
	.init = init,
	.test_cases = exit_cases,
};

kunit_test_suite(exit_suite);
