// SPDX-License-Identifier: GPL-2.0
/* Unstable tree: this round's candidates, found by hash and then by content. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <trace/events/mmap_lock.h>

#include "../item.h"
#include "../mms.h"
#include "../page.h"
#include "../sieve.h"
#include "../state.h"
#include "../unstable_tree.h"
#include "fixture.h"

#define MANY	32
#define HASH	42	/* any: the tree believes what it is told */

/* A page that may become a candidate. */
struct spot {
	struct mm_struct	*mm;
	unsigned long		addr;
	struct ksm_item		*item;
};

static void end_item(void *data)
{
	struct ksm_item *item = data;

	ksm_unstable_remove(item);
	ksm_item_free(item);
}

static struct spot spot_at(struct kunit *test, struct mm_struct *mm, unsigned long addr)
{
	struct spot spot = { .mm = mm, .addr = addr };

	spot.item = ksm_item_alloc(ksm_mms_find(mm), addr >> PAGE_SHIFT);
	KUNIT_ASSERT_NOT_NULL(test, spot.item);
	ksm_test_at_end(test, end_item, spot.item);
	return spot;
}

static struct spot new_spot(struct kunit *test, struct mm_struct *mm, u64 content)
{
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, content);
	return spot_at(test, mm, addr);
}

/* What a seek found beside its answer. */
struct seen {
	struct ksm_item	*item;
	bool		in_use;		/* the twin's mm cannot go away */
	bool		locked;		/* nor can its page tables */
	bool		right_page;	/* the twin's page is the one that its PTE maps */
};

static struct page *page_at(const struct ksm_offer *offer)
{
	spinlock_t *ptl;	/* of the page table */
	struct page *page;
	pte_t *ptep;

	ptep = ksm_page_map(ksm_mm_of(offer->owner), offer->addr, &ptl);
	if (!ptep)
		return NULL;
	page = pte_page(ptep_get(ptep));
	pte_unmap_unlock(ptep, ptl);
	return page;
}

static int seek(struct spot spot, u64 hash, struct seen *seen)
{
	struct ksm_mm *km = ksm_test_lock(spot.mm);
	struct ksm_offer offer, twin = { };
	int found = -ENOENT;

	*seen = (struct seen) { };
	if (ksm_test_offer(&offer, km, spot.addr)) {
		offer.item = spot.item;
		ksm_unstable_remove(spot.item);
		found = ksm_unstable_seek(&offer, hash, &twin);
		if (found == KSM_FOUND_TWIN) {
			seen->item = twin.item;
			seen->in_use = twin.owner == km || twin.owner->users;
			seen->locked = rwsem_is_locked(&ksm_mm_of(twin.owner)->mmap_lock);
			seen->right_page = twin.page == page_at(&twin);
			ksm_unstable_release(&offer, &twin);
		}
		put_page(offer.page);
	}
	ksm_test_unlock(spot.mm);
	return found;
}

static void expect_candidate(struct kunit *test, struct spot spot, u64 hash)
{
	struct seen seen;

	KUNIT_EXPECT_EQ(test, seek(spot, hash, &seen), KSM_FOUND_NONE);
}

static void expect_twin(struct kunit *test, struct spot spot, u64 hash, struct spot twin)
{
	struct seen seen;

	KUNIT_EXPECT_EQ(test, seek(spot, hash, &seen), KSM_FOUND_TWIN);
	KUNIT_EXPECT_PTR_EQ(test, seen.item, twin.item);
	KUNIT_EXPECT_TRUE(test, seen.in_use);
	KUNIT_EXPECT_TRUE(test, seen.locked);
	KUNIT_EXPECT_TRUE(test, seen.right_page);
}

static void reset(void)
{
	mutex_lock(&ksm_pass_lock);
	ksm_unstable_reset();
	mutex_unlock(&ksm_pass_lock);
}

/* ------------------------------------------------------------------------ */
/* Twins.                                                                   */

static void equal_content_is_a_twin(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, mm, 1);
	struct folio *folio = ksm_test_folio_at(mm, a.addr);

	expect_candidate(test, a, HASH);
	expect_twin(test, b, HASH, a);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
}

static void P35_the_twin_may_be_in_another_mm(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, other, 1);

	expect_candidate(test, a, HASH);
	expect_twin(test, b, HASH, a);
	/* And all of it is given back. */
	KUNIT_EXPECT_EQ(test, ksm_mms_find(mm)->users, 0);
	KUNIT_EXPECT_EQ(test, ksm_mms_find(other)->users, 0);
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&mm->mmap_lock));
	KUNIT_EXPECT_EQ(test, folio_ref_count(ksm_test_folio_at(mm, a.addr)), 1);
}

static void another_content_is_no_twin(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);

	expect_candidate(test, new_spot(test, mm, 1), HASH);
	expect_candidate(test, new_spot(test, mm, 2), HASH);
}

static void another_hash_is_no_twin(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);

	expect_candidate(test, new_spot(test, mm, 1), HASH);
	expect_candidate(test, new_spot(test, mm, 1), HASH + 1);
	expect_candidate(test, new_spot(test, mm, 1), HASH - 1);
}

static void candidates_of_one_hash_are_found_by_content(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot spots[MANY];
	int i;

	for (i = 0; i < MANY; i++) {
		spots[i] = new_spot(test, mm, i * 7 % MANY);
		expect_candidate(test, spots[i], HASH);
	}
	for (i = 0; i < MANY; i++)
		expect_twin(test, new_spot(test, mm, i * 7 % MANY), HASH, spots[i]);
}

static void candidates_of_many_hashes_are_found(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot spots[MANY];
	int i;

	for (i = 0; i < MANY; i++) {
		spots[i] = new_spot(test, mm, i);
		expect_candidate(test, spots[i], i * 7 % MANY);
	}
	for (i = 0; i < MANY; i++)
		expect_twin(test, new_spot(test, mm, i), i * 7 % MANY, spots[i]);
}

static void P60_a_page_is_no_twin_of_itself(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *child;
	struct spot a = new_spot(test, mm, 1), b;
	struct seen seen;

	child = ksm_test_fork(test, mm);
	b = spot_at(test, child, a.addr);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_folio_at(mm, a.addr),
			    ksm_test_folio_at(child, b.addr));
	expect_candidate(test, a, HASH);
	KUNIT_EXPECT_EQ(test, seek(b, HASH, &seen), KSM_FOUND_SAME);
	KUNIT_EXPECT_EQ(test, ksm_mms_find(mm)->users, 0);
	/* It is no second candidate either. */
	ksm_unstable_remove(a.item);
	expect_candidate(test, new_spot(test, mm, 1), HASH);
}

static void changed_content_is_no_twin(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, mm, 1);

	expect_candidate(test, a, HASH);
	ksm_test_write(test, mm, a.addr, 2);
	expect_candidate(test, b, HASH);
	/* What counts is what a page holds now. */
	expect_twin(test, new_spot(test, mm, 2), HASH, a);
	expect_twin(test, new_spot(test, mm, 1), HASH, b);
}

/* ------------------------------------------------------------------------ */
/* Candidates that go.                                                      */

static void an_unmapped_candidate_is_dropped(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, mm, 1);

	expect_candidate(test, a, HASH);
	KUNIT_ASSERT_EQ(test, do_madvise(mm, a.addr, PAGE_SIZE, MADV_DONTNEED), 0);
	expect_candidate(test, b, HASH);
	KUNIT_EXPECT_EQ(test, a.item->round, 0);
	expect_twin(test, new_spot(test, mm, 1), HASH, b);
}

static void a_candidate_that_is_not_offered_any_more_is_dropped(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, mm, 1);

	expect_candidate(test, a, HASH);
	KUNIT_ASSERT_EQ(test, do_madvise(mm, a.addr, PAGE_SIZE, MADV_UNMERGEABLE), 0);
	expect_candidate(test, b, HASH);
	KUNIT_EXPECT_EQ(test, a.item->round, 0);
}

static void P60_a_candidate_in_the_way_of_others_is_dropped(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot spots[MANY];
	int i;

	for (i = 0; i < MANY; i++) {
		spots[i] = new_spot(test, mm, i);
		expect_candidate(test, spots[i], HASH);
	}
	for (i = 0; i < MANY; i += 2)
		do_madvise(mm, spots[i].addr, PAGE_SIZE, MADV_DONTNEED);
	for (i = 1; i < MANY; i += 2)
		expect_twin(test, new_spot(test, mm, i), HASH, spots[i]);
}

static void P35_a_candidate_of_an_exiting_mm_is_dropped(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, other, 1);
	struct ksm_offer offer, twin = { };
	struct ksm_mm *km;

	expect_candidate(test, a, HASH);
	km = ksm_test_lock(other);
	/* In use, so it stays with the dead for now. */
	ksm_mms_get(a.item->owner);
	KUNIT_EXPECT_EQ(test, ksm_mms_leave(mm), KSM_LEAVE_BUSY);
	if (ksm_test_offer(&offer, km, b.addr)) {
		offer.item = b.item;
		KUNIT_EXPECT_EQ(test, ksm_unstable_seek(&offer, HASH, &twin), KSM_FOUND_NONE);
		put_page(offer.page);
	}
	KUNIT_EXPECT_EQ(test, a.item->round, 0);
	ksm_mms_drop(a.item->owner);
	KUNIT_EXPECT_PTR_EQ(test, ksm_mms_first_dead(), a.item->owner);
	ksm_mms_bury(a.item->owner);
	ksm_test_unlock(other);
}

/* An mm that leaves at the moment in which a search has come to hold its mmap lock. */
static struct {
	struct mm_struct	*mm;
	struct task_struct	*search;
	enum ksm_leave		left;
} leaver;

static void leave_when_locked(void *unused, struct mm_struct *mm, const char *path,
			      bool write, bool success)
{
	if (mm == leaver.mm && current == leaver.search && success) {
		leaver.mm = NULL;
		leaver.left = ksm_mms_leave(mm);
	}
}

static void let_nobody_leave(void *unused)
{
	unregister_trace_mmap_lock_acquire_returned(leave_when_locked, NULL);
	tracepoint_synchronize_unregister();
}

static void P34_a_search_does_not_enter_an_mm_that_leaves_just_then(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, other, 1);
	enum ksm_found found = KSM_FOUND_STALE;
	struct ksm_offer offer, twin = { };
	struct ksm_mm *km;

	if (register_trace_mmap_lock_acquire_returned(leave_when_locked, NULL))
		kunit_skip(test, "needs CONFIG_TRACING");
	ksm_test_at_end(test, let_nobody_leave, NULL);
	expect_candidate(test, a, HASH);
	ksm_test_hush();
	leaver.search = current;
	leaver.left = KSM_LEAVE_DONE;

	km = ksm_test_lock(other);
	if (ksm_test_offer(&offer, km, b.addr)) {
		offer.item = b.item;
		leaver.mm = mm;
		found = ksm_unstable_seek(&offer, HASH, &twin);
		leaver.mm = NULL;
		if (found == KSM_FOUND_TWIN)
			ksm_unstable_release(&offer, &twin);
		put_page(offer.page);
	}
	KUNIT_EXPECT_EQ(test, found, KSM_FOUND_NONE);
	KUNIT_EXPECT_EQ(test, a.item->round, 0);
	/* A page that is away for a moment might come back. */
	KUNIT_EXPECT_TRUE(test, ksm_sieve_has_news(HASH));
	/* The search had it in use, so its exit had to wait for the mmap lock. */
	KUNIT_EXPECT_EQ(test, leaver.left, KSM_LEAVE_BUSY);
	KUNIT_EXPECT_EQ(test, a.item->owner->users, 0);
	if (leaver.left == KSM_LEAVE_BUSY)
		ksm_mms_bury(ksm_mms_first_dead());
	ksm_test_unlock(other);
}

static void a_busy_mm_is_not_waited_for(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test), *other = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, other, 1);
	struct ksm_offer offer, twin = { };
	struct ksm_mm *km;

	expect_candidate(test, a, HASH);
	km = ksm_test_lock(other);
	mmap_write_lock_nested(mm, SINGLE_DEPTH_NESTING);
	if (ksm_test_offer(&offer, km, b.addr)) {
		offer.item = b.item;
		KUNIT_EXPECT_EQ(test, ksm_unstable_seek(&offer, HASH, &twin), KSM_FOUND_BUSY);
		put_page(offer.page);
	}
	mmap_write_unlock(mm);
	KUNIT_EXPECT_EQ(test, a.item->owner->users, 0);
	ksm_test_unlock(other);
	expect_twin(test, b, HASH, a);
}

static void a_new_round_forgets_all(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot a = new_spot(test, mm, 1), b = new_spot(test, mm, 2);
	struct spot c = new_spot(test, mm, 1);

	expect_candidate(test, a, HASH);
	expect_candidate(test, b, HASH);
	reset();
	expect_candidate(test, c, HASH);
	/* Who is not in the tree any more can be taken out again. */
	ksm_unstable_remove(a.item);
	ksm_unstable_remove(b.item);
	expect_twin(test, new_spot(test, mm, 1), HASH, c);
	expect_candidate(test, b, HASH);
}

static void who_is_taken_out_is_not_found(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct spot spots[MANY];
	int i;

	for (i = 0; i < MANY; i++) {
		spots[i] = new_spot(test, mm, i);
		expect_candidate(test, spots[i], HASH);
	}
	for (i = 0; i < MANY; i += 2) {
		ksm_unstable_remove(spots[i].item);
		ksm_unstable_remove(spots[i].item);
	}
	for (i = 1; i < MANY; i += 2)
		expect_twin(test, new_spot(test, mm, i), HASH, spots[i]);
	for (i = 0; i < MANY; i += 2)
		expect_candidate(test, new_spot(test, mm, i), HASH);
}

static struct kunit_case unstable_cases[] = {
	KUNIT_CASE(equal_content_is_a_twin),
	KUNIT_CASE(P35_the_twin_may_be_in_another_mm),
	KUNIT_CASE(another_content_is_no_twin),
	KUNIT_CASE(another_hash_is_no_twin),
	KUNIT_CASE(candidates_of_one_hash_are_found_by_content),
	KUNIT_CASE(candidates_of_many_hashes_are_found),
	KUNIT_CASE(P60_a_page_is_no_twin_of_itself),
	KUNIT_CASE(changed_content_is_no_twin),
	KUNIT_CASE(an_unmapped_candidate_is_dropped),
	KUNIT_CASE(a_candidate_that_is_not_offered_any_more_is_dropped),
	KUNIT_CASE(P60_a_candidate_in_the_way_of_others_is_dropped),
	KUNIT_CASE(P35_a_candidate_of_an_exiting_mm_is_dropped),
	KUNIT_CASE(P34_a_search_does_not_enter_an_mm_that_leaves_just_then),
	KUNIT_CASE(a_busy_mm_is_not_waited_for),
	KUNIT_CASE(a_new_round_forgets_all),
	KUNIT_CASE(who_is_taken_out_is_not_found),
	{ }
};

static struct kunit_suite unstable_suite = {
	.name = "ksm_unstable",
	.init = ksm_test_init,
	.test_cases = unstable_cases,
};

kunit_test_suite(unstable_suite);
