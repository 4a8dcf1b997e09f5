// SPDX-License-Identifier: GPL-2.0
/* Anchors: the way to those who share a page by fork, when their parent has gone. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>

#include "../forget.h"
#include "../item.h"
#include "../match.h"
#include "../node.h"
#include "../profit.h"
#include "../state.h"
#include "fixture.h"

/* Two pages of equal content in a registered mm. */
static struct ksm_test_pages at;

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 2);
}

static unsigned int count_anchors(struct folio *folio)
{
	struct ksm_item *anchor;
	unsigned int count = 0;

	folio_lock(folio);
	hlist_for_each_entry(anchor, &ksm_node_of(folio)->anchors, link)
		count++;
	folio_unlock(folio);
	return count;
}

static void a_fork_is_found_when_its_parent_has_gone(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct mm_struct *child = ksm_test_fork(test, at.mm);

	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_EQ(test, count_anchors(folio), 2);
	ksm_test_expect_found(test, folio, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, at.a, 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, at.b, 1));
}

static void one_anchor_is_enough(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	ksm_test_fork(test, at.mm);
	ksm_test_give_up(test, at.mm, at.a);
	KUNIT_EXPECT_EQ(test, count_anchors(folio), 1);
	/* It comes back to the same address, and goes again. */
	ksm_test_write(test, at.mm, at.a, 1);
	KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, at.a), KSM_MATCH_MERGED);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.a), folio);
	ksm_test_expect_found(test, folio, 4);
	ksm_test_give_up(test, at.mm, at.a);
	KUNIT_EXPECT_EQ(test, count_anchors(folio), 1);
	ksm_test_expect_found(test, folio, 3);
}

static void without_forks_there_is_no_anchor(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	ksm_test_give_up(test, at.mm, at.a);
	KUNIT_EXPECT_EQ(test, count_anchors(folio), 0);
	ksm_test_expect_found(test, folio, 1);
}

/* So many that anchors are looked through several times. */
#define CROWD	60

static void P52_of_many_anchors_those_stay_that_lead_somewhere(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	unsigned long addr = ksm_test_map_equal(test, at.mm, CROWD);
	struct mm_struct *child;
	int i, held;

	for (i = 0; i < CROWD; i++)
		KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, addr + i * PAGE_SIZE),
				KSM_MATCH_MERGED);
	child = ksm_test_fork(test, at.mm);
	held = ksm_test_anon_vma_refs(at.mm, addr);
	for (i = 0; i < CROWD / 3; i++)
		ksm_test_give_up(test, at.mm, addr + i * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, count_anchors(folio), CROWD / 3);
	ksm_test_expect_found(test, folio, 2 * (CROWD + 2) - CROWD / 3);

	/* Half of them lead nowhere now, and some of the rest goes, too. */
	do_madvise(child, addr, CROWD / 6 * PAGE_SIZE, MADV_DONTNEED);
	for (; i < CROWD; i++)
		ksm_test_give_up(test, at.mm, addr + i * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, count_anchors(folio), CROWD - CROWD / 6);
	KUNIT_EXPECT_EQ(test, ksm_node_of(folio)->nr_anchors, CROWD - CROWD / 6);
	/* Those that led nowhere hold nothing any more. */
	KUNIT_EXPECT_EQ(test, ksm_test_anon_vma_refs(at.mm, addr), held - CROWD / 6);
	ksm_test_expect_found(test, folio, 4 + CROWD - CROWD / 6);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, addr + (CROWD - 1) * PAGE_SIZE, 1));
}

/* As mremap() can leave two VMAs of an mm with one page offset. */
static void another_place_of_the_same_mm_is_elsewhere(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct ksm_item *item = ksm_test_item_at(at.mm, at.a);
	bool alone, another;

	KUNIT_ASSERT_NOT_NULL(test, item);
	folio_lock(folio);
	alone = !ksm_item_leads_elsewhere(item);
	item->index++;
	another = ksm_item_leads_elsewhere(item);
	item->index--;
	folio_unlock(folio);
	KUNIT_EXPECT_TRUE(test, alone);
	KUNIT_EXPECT_TRUE(test, another);
}

static void anchors_end_with_their_page(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct mm_struct *child = ksm_test_fork(test, at.mm);
	int held = ksm_test_anon_vma_refs(at.mm, at.a);

	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	KUNIT_EXPECT_EQ(test, count_anchors(folio), 2);
	KUNIT_EXPECT_EQ(test, ksm_test_anon_vma_refs(at.mm, at.a), held);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	do_madvise(child, at.a, 2 * PAGE_SIZE, MADV_DONTNEED);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_due(1);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	KUNIT_EXPECT_EQ(test, ksm_test_anon_vma_refs(at.mm, at.a), held - 2);
}

/* What KSM takes memory for, but for the records. */
static long overhead(void)
{
	return ksm_counts.sharing * PAGE_SIZE - ksm_profit_of_all() -
	       atomic_long_read(&ksm_counts.record_bytes);
}

static void P77_anchors_are_paid_for(struct kunit *test)
{
	struct mm_struct *child;
	long before;

	ksm_test_merge(test, &at);
	child = ksm_test_fork(test, at.mm);
	before = overhead();
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	KUNIT_EXPECT_EQ(test, overhead(), before);
	do_madvise(child, at.a, 2 * PAGE_SIZE, MADV_DONTNEED);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_due(1);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, before - overhead(),
			sizeof(struct ksm_node) + 2 * sizeof(struct ksm_item));
}

static struct kunit_case anchor_cases[] = {
	KUNIT_CASE(a_fork_is_found_when_its_parent_has_gone),
	KUNIT_CASE(one_anchor_is_enough),
	KUNIT_CASE(without_forks_there_is_no_anchor),
	KUNIT_CASE(P52_of_many_anchors_those_stay_that_lead_somewhere),
	KUNIT_CASE(another_place_of_the_same_mm_is_elsewhere),
	KUNIT_CASE(anchors_end_with_their_page),
	KUNIT_CASE(P77_anchors_are_paid_for),
	{ }
};

static struct kunit_suite anchor_suite = {
	.name = "ksm_anchor",
	.init = init,
	.test_cases = anchor_cases,
};

kunit_test_suite(anchor_suite);
