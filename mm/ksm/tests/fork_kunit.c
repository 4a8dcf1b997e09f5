// SPDX-License-Identifier: GPL-2.0
/* Pages shared by fork: who maps them is found, whoever has left. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "../match.h"
#include "../node.h"
#include "../rmap.h"
#include "../state.h"
#include "fixture.h"

/* Two merged pages, what they are now, and a child of theirs. */
static struct ksm_test_pages at;
static struct folio *merged;
static struct mm_struct *child;

static int init(struct kunit *test)
{
	int err = ksm_test_init_pages(test, &at, 2);

	if (err)
		return err;
	merged = ksm_test_merge(test, &at);
	child = ksm_test_fork(test, at.mm);
	return 0;
}

static void P51_an_item_says_its_address_and_no_more(struct kunit *test)
{
	unsigned long c = ksm_test_map(test, at.mm, 1);

	ksm_test_write(test, at.mm, c, 2);
	KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, c), KSM_MATCH_WAITING);
	/* Merged, a candidate, an orphan: it is the address in all of them. */
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, at.a)), at.a);
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, at.b)), at.b);
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, c)->kind, KSM_ITEM_CANDIDATE);
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, c)), c);
	folio_lock(merged);
	KUNIT_EXPECT_TRUE(test, ksm_node_unlink(ksm_test_item_at(at.mm, at.b), NULL));
	folio_unlock(merged);
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, at.b)->kind, KSM_ITEM_ORPHAN);
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, at.b)), at.b);
}

static void P53_an_item_outlives_its_vma(struct kunit *test)
{
	struct anon_vma *anon_vma = ksm_test_item_at(at.mm, at.a)->anon_vma;

	/* The child's is another; the parent's is held by the item alone now. */
	ksm_test_unmap(at.mm, at.a, 2);
	KUNIT_EXPECT_GE(test, atomic_read(&anon_vma->refcount), 2);
	ksm_test_expect_found(test, merged, 2);
	ksm_test_unmap(child, at.a, 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&anon_vma->refcount), 2);
	ksm_test_forget_at(at.mm, at.a);
	KUNIT_EXPECT_EQ(test, atomic_read(&anon_vma->refcount), 1);
}

static void P57_the_index_of_a_KSM_page_means_nothing(struct kunit *test)
{
	struct vm_area_struct *vma;

	mmap_read_lock(at.mm);
	vma = vma_lookup(at.mm, at.a);
	KUNIT_EXPECT_EQ(test, page_address_in_vma(&merged->page, vma),
			(unsigned long)-EFAULT);
	mmap_read_unlock(at.mm);
	/* Neither a walk nor the copying of a fork looks at it. */
	merged->index += 1000;
	ksm_test_expect_found(test, merged, 4);
	ksm_test_fork(test, child);
	ksm_test_expect_found(test, merged, 6);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, at.a, 1));
}

static void P86_who_leaves_leaves_the_way_to_his_child(struct kunit *test)
{
	ksm_test_expect_found(test, merged, 4);
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_expect_found(test, merged, 3);
	/* The VMA, and all that was known of it. */
	ksm_test_unmap(at.mm, at.a, 2);
	ksm_test_forget_at(at.mm, at.b);
	KUNIT_EXPECT_NULL(test, ksm_test_item_at(at.mm, at.b));
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 0);
	ksm_test_expect_found(test, merged, 2);
	ksm_test_exit(test, at.mm);
	ksm_test_expect_found(test, merged, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, at.a, 1));
}

/* Migration and split unmap a page for a while: how many have it is known under the lock. */
static void a_page_that_is_locked_is_not_freed_lazily(struct kunit *test)
{
	unsigned long c = ksm_test_map(test, at.mm, 1);
	struct folio *folio;

	ksm_test_write(test, at.mm, c, 2);
	folio = ksm_test_folio_at(at.mm, c);
	ksm_test_change_pte(at.mm, c, pte_mkclean);
	folio_clear_dirty(folio);
	folio_lock(folio);
	do_madvise(at.mm, c, PAGE_SIZE, MADV_FREE);
	folio_unlock(folio);
	lru_add_drain_all();
	KUNIT_EXPECT_TRUE(test, folio_test_swapbacked(folio));
	do_madvise(at.mm, c, PAGE_SIZE, MADV_FREE);
	lru_add_drain_all();
	KUNIT_EXPECT_FALSE(test, folio_test_swapbacked(folio));
}

/* What reclaim finds dirty it does not free. */
static void what_is_freed_lazily_is_clean(struct kunit *test)
{
	unsigned long c = ksm_test_map(test, at.mm, 1);
	struct folio *folio;

	ksm_test_write(test, at.mm, c, 2);
	folio = ksm_test_folio_at(at.mm, c);
	folio_mark_dirty(folio);
	do_madvise(at.mm, c, PAGE_SIZE, MADV_FREE);
	lru_add_drain_all();
	KUNIT_EXPECT_FALSE(test, folio_test_swapbacked(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, c)));
}

static bool count_visit(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			void *arg)
{
	++*(int *)arg;
	return true;
}

static void P58_a_walk_ends_where_it_would_have_to_wait(struct kunit *test)
{
	struct mm_struct *other = ksm_test_mm(test);
	struct anon_vma *anon_vma = ksm_test_item_at(at.mm, at.a)->anon_vma;
	unsigned long c = ksm_test_map(test, other, 1);
	int visits = 0;
	struct rmap_walk_control rwc = {
		.rmap_one	= count_visit,
		.arg		= &visits,
		.try_lock	= true,
	};

	/* Between two items of one anon_vma comes one of another. */
	ksm_test_write(test, other, c, 1);
	KUNIT_ASSERT_EQ(test, ksm_test_match(other, c), KSM_MATCH_MERGED);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_item_at(at.mm, at.b)->anon_vma, anon_vma);
	KUNIT_ASSERT_PTR_NE(test, ksm_test_item_at(other, c)->anon_vma, anon_vma);

	folio_lock(merged);
	anon_vma_lock_write(anon_vma);
	ksm_rmap_walk(merged, &rwc);
	anon_vma_unlock_write(anon_vma);
	KUNIT_EXPECT_TRUE(test, rwc.contended);
	KUNIT_EXPECT_EQ(test, visits, 0);
	ksm_rmap_walk(merged, &rwc);
	KUNIT_EXPECT_EQ(test, visits, 5);
	folio_unlock(merged);
}

static void P86_a_way_that_has_ended_is_no_reason_to_drop_another(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long c = ksm_test_map(test, mm, 1);

	/* Two anchors, by which the child is found; then the child goes. */
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	ksm_test_write(test, mm, c, 1);
	KUNIT_ASSERT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_MERGED);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_folio_at(mm, c), merged);
	ksm_test_expect_found(test, merged, 3);
	do_madvise(child, at.a, 2 * PAGE_SIZE, MADV_DONTNEED);
	/* Another child of another parent, who leaves: only his item leads there. */
	ksm_test_fork(test, mm);
	ksm_test_expect_found(test, merged, 2);
	ksm_test_give_up(test, mm, c);
	ksm_test_expect_found(test, merged, 1);
}

static struct kunit_case fork_cases[] = {
	KUNIT_CASE(P51_an_item_says_its_address_and_no_more),
	KUNIT_CASE(P53_an_item_outlives_its_vma),
	KUNIT_CASE(P57_the_index_of_a_KSM_page_means_nothing),
	KUNIT_CASE(a_page_that_is_locked_is_not_freed_lazily),
	KUNIT_CASE(what_is_freed_lazily_is_clean),
	KUNIT_CASE(P58_a_walk_ends_where_it_would_have_to_wait),
	KUNIT_CASE(P86_a_way_that_has_ended_is_no_reason_to_drop_another),
	KUNIT_CASE(P86_who_leaves_leaves_the_way_to_his_child),
	{ }
};

static struct kunit_suite fork_suite = {
	.name = "ksm_fork",
	.init = init,
	.test_cases = fork_cases,
};

kunit_test_suite(fork_suite);
