// SPDX-License-Identifier: GPL-2.0
/* What a swap-in maps: the page itself where it belongs, and a copy elsewhere. */
#include <linux/err.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/poison.h>

#include "../forget.h"
#include "../match.h"
#include "../rmap.h"
#include "../state.h"
#include "fixture.h"

/* Two equal pages of a registered mm. */
static struct ksm_test_pages at;

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 2);
}

/* Ask what to map for @folio. */
static struct folio *swap_in(struct folio *folio, struct mm_struct *mm, unsigned long addr)
{
	struct folio *got;

	folio_lock(folio);
	mmap_read_lock(mm);
	got = ksm_rmap_swapin(folio, vma_lookup(mm, addr), addr);
	mmap_read_unlock(mm);
	folio_unlock(folio);
	return got;
}

static void expect_itself(struct kunit *test, struct folio *folio, struct mm_struct *mm,
			  unsigned long addr)
{
	KUNIT_EXPECT_PTR_EQ(test, swap_in(folio, mm, addr), folio);
}

static void expect_copied(struct kunit *test, struct folio *folio, struct folio *got)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, got);
	KUNIT_ASSERT_PTR_NE(test, got, folio);
	KUNIT_EXPECT_TRUE(test, folio_test_locked(got));
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(got));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(got));
	KUNIT_EXPECT_FALSE(test, folio_mapped(got));
	KUNIT_EXPECT_NULL(test, got->mapping);
	KUNIT_EXPECT_EQ(test, memcmp_pages(&got->page, &folio->page), 0);
	folio_unlock(got);
	folio_put(got);
}

static void expect_copy(struct kunit *test, struct folio *folio, struct mm_struct *mm,
			unsigned long addr)
{
	expect_copied(test, folio, swap_in(folio, mm, addr));
}

static void a_ksm_page_returns_to_where_it_was_merged(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct mm_struct *child = ksm_test_fork(test, at.mm);

	expect_itself(test, folio, at.mm, at.a);
	expect_itself(test, folio, at.mm, at.b);
	expect_itself(test, folio, child, at.a);
}

static void P83_elsewhere_a_ksm_page_is_copied(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	unsigned long elsewhere = ksm_test_map(test, at.mm, 1);

	expect_copy(test, folio, at.mm, elsewhere);
}

static void P83_where_merging_has_ended_a_ksm_page_is_copied(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	mmap_write_lock(at.mm);
	vm_flags_clear(vma_lookup(at.mm, at.a), VM_MERGEABLE);
	mmap_write_unlock(at.mm);
	expect_copy(test, folio, at.mm, at.a);
}

static void P27_while_all_is_unmerged_a_ksm_page_is_copied(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	WRITE_ONCE(ksm_state.run, KSM_RUN_UNMERGE);
	expect_copy(test, folio, at.mm, at.a);
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
}

/* It has no node any more, and nothing is unmerged by then. */
static void P27_what_an_unmerge_left_in_the_swap_cache_is_copied(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	ksm_test_hold(test, folio);
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	mutex_unlock(&ksm_pass_lock);
	KUNIT_ASSERT_TRUE(test, folio_test_ksm(folio));
	KUNIT_ASSERT_NULL(test, ksm_node_of(folio));
	KUNIT_ASSERT_EQ(test, ksm_state.run, KSM_RUN_STOP);
	expect_copy(test, folio, at.mm, at.a);
}

static void P61_an_ordinary_page_returns_to_its_place_alone(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	struct mm_struct *child = ksm_test_fork(test, at.mm), *other = ksm_test_mm(test);
	unsigned long elsewhere = ksm_test_map(test, other, 2);

	ksm_test_write(test, other, elsewhere, 2);
	expect_itself(test, folio, at.mm, at.a);
	expect_itself(test, folio, child, at.a);
	/* Else it was a KSM page when it went out: another offset, another anon_vma. */
	expect_copy(test, folio, at.mm, at.b);
	KUNIT_ASSERT_EQ(test, elsewhere, at.a);
	expect_copy(test, folio, other, elsewhere);
}

static void P62_a_copy_is_charged(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a), *got;

	if (mem_cgroup_disabled())
		kunit_skip(test, "needs memory control groups");
	got = swap_in(folio, at.mm, at.b);
	KUNIT_EXPECT_NOT_NULL(test, folio_memcg(got));
	expect_copied(test, folio, got);
}

static void without_memory_there_is_no_copy(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a), *got;
	bool failed;

	ksm_test_fail_pages(test);
	ksm_test_fail_alloc(test, 1);
	got = swap_in(folio, at.mm, at.b);
	failed = ksm_test_alloc_failed();
	KUNIT_EXPECT_TRUE(test, failed);
	KUNIT_EXPECT_NULL(test, got);
	if (got)
		expect_copied(test, folio, got);
	expect_copy(test, folio, at.mm, at.b);
}

#ifdef CONFIG_NUMA
/* A NUMA node that has memory, and is not that of @folio. */
static int node_without(struct kunit *test, struct folio *folio)
{
	int nid;

	for_each_node_state(nid, N_MEMORY)
		if (nid != folio_nid(folio))
			return nid;
	kunit_skip(test, "needs two nodes with memory");
}
#endif

static void policy_says_on_which_NUMA_node_a_copy_is(struct kunit *test)
{
#ifdef CONFIG_NUMA
	static struct mempolicy there = {
		.refcnt		= ATOMIC_INIT(1),
		.mode		= MPOL_BIND,
		.home_node	= NUMA_NO_NODE,
	};
	struct folio *folio = ksm_test_folio_at(at.mm, at.a), *got;
	int nid = node_without(test, folio);

	there.nodes = nodemask_of_node(nid);
	ksm_test_set_policy(at.mm, at.b, &there);
	got = swap_in(folio, at.mm, at.b);
	ksm_test_set_policy(at.mm, at.b, NULL);
	if (!IS_ERR_OR_NULL(got))
		KUNIT_EXPECT_EQ(test, folio_nid(got), nid);
	expect_copied(test, folio, got);
#else
	kunit_skip(test, "needs CONFIG_NUMA");
#endif
}

/* Whoever follows such a pointer faults. */
static void P64_an_anon_vma_that_has_gone_is_not_followed(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a), *got;
	void *mapping = folio->mapping;

	folio->mapping = (void *)LIST_POISON1 + PAGE_MAPPING_ANON;
	got = swap_in(folio, at.mm, at.a);
	folio->mapping = mapping;
	expect_copied(test, folio, got);
}

static void P63_a_page_that_was_not_read_in_is_not_copied(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);

	/* The fault sees the error in the page itself. */
	folio_clear_uptodate(folio);
	expect_itself(test, folio, at.mm, at.b);
	folio_mark_uptodate(folio);
}

static void P65_a_poisoned_page_is_not_copied(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);

	ksm_test_poison(test, folio);
	KUNIT_EXPECT_PTR_EQ(test, swap_in(folio, at.mm, at.b), ERR_PTR(-EHWPOISON));
}

static void P67_a_large_folio_is_left_alone(struct kunit *test)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 1);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	/* Were it small, it would be copied: it is not of this place. */
	folio->mapping = ksm_test_folio_at(at.mm, at.a)->mapping;
	folio->index = ULONG_MAX;
	folio_mark_uptodate(folio);
	expect_itself(test, folio, at.mm, at.a);
	folio->mapping = NULL;
	folio_put(folio);
}

static struct kunit_case swapin_cases[] = {
	KUNIT_CASE(a_ksm_page_returns_to_where_it_was_merged),
	KUNIT_CASE(P83_elsewhere_a_ksm_page_is_copied),
	KUNIT_CASE(P83_where_merging_has_ended_a_ksm_page_is_copied),
	KUNIT_CASE(P27_while_all_is_unmerged_a_ksm_page_is_copied),
	KUNIT_CASE(P27_what_an_unmerge_left_in_the_swap_cache_is_copied),
	KUNIT_CASE(P61_an_ordinary_page_returns_to_its_place_alone),
	KUNIT_CASE(P62_a_copy_is_charged),
	KUNIT_CASE(without_memory_there_is_no_copy),
	KUNIT_CASE(policy_says_on_which_NUMA_node_a_copy_is),
	KUNIT_CASE(P64_an_anon_vma_that_has_gone_is_not_followed),
	KUNIT_CASE(P63_a_page_that_was_not_read_in_is_not_copied),
	KUNIT_CASE(P65_a_poisoned_page_is_not_copied),
	KUNIT_CASE(P67_a_large_folio_is_left_alone),
	{ }
};

static struct kunit_suite swapin_suite = {
	.name = "ksm_swapin",
	.init = init,
	.test_cases = swapin_cases,
};

kunit_test_suite(swapin_suite);
