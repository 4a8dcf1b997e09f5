// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that shall not merge across NUMA nodes: each node has its trees, and a page
 * that moves to another is found there.
 */
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>

#include "../content.h"
#include "../forget.h"
#include "../hold.h"
#include "../ksmd.h"
#include "../match.h"
#include "../mms.h"
#include "../node.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

static int nids[2];

static void merge_across_again(void *unused)
{
	WRITE_ONCE(ksm_state.merge_across_nodes, true);
}

static void set_across(struct kunit *test, bool across)
{
	KUNIT_ASSERT_EQ(test, ksm_ksmd_set_merge_across_nodes(across), 0);
}

static int begin_numa_test(struct kunit *test)
{
	nids[0] = first_node(node_states[N_CPU]);
	nids[1] = next_node(nids[0], node_states[N_CPU]);
	if (nids[1] >= MAX_NUMNODES)
		kunit_skip(test, "needs two nodes with CPUs");
	if (!ksm_state.merge_across_nodes)
		kunit_skip(test, "merge_across_nodes was changed");
	ksm_test_at_end(test, merge_across_again, NULL);
	return ksm_test_init(test);
}

static void run_anywhere(void *unused)
{
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

/* What is allocated from now on is on node nids[@which]. */
static void go_to(struct kunit *test, int which)
{
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of_node(nids[which])), 0);
	KUNIT_ASSERT_EQ(test, numa_mem_id(), nids[which]);
}

/* A page on node nids[@which]. */
static struct folio *folio_on(struct kunit *test, int which, u64 content)
{
	struct folio *folio;

	ksm_test_at_end(test, run_anywhere, NULL);
	go_to(test, which);
	folio = ksm_test_folio(test, content);
	KUNIT_ASSERT_EQ(test, folio_nid(folio), nids[which]);
	return folio;
}

/* As migration does it. */
static struct folio *move(struct kunit *test, struct folio *src, int which, u64 content)
{
	struct folio *dst = folio_on(test, which, content);

	folio_lock(src);
	folio_lock(dst);
	dst->mapping = src->mapping;
	ksm_hold_migrate(dst, src);
	ksm_node_moved(dst);
	folio_unlock(dst);
	folio_unlock(src);
	return dst;
}

/* A KSM page that has moved from the first NUMA node to the second; it is *@foliop. */
static struct ksm_node *keep_moved(struct kunit *test, struct folio **foliop, u64 content)
{
	struct folio *folio = folio_on(test, 0, content);
	struct ksm_node *node;

	set_across(test, false);
	node = ksm_test_keep(test, folio);
	*foliop = move(test, folio, 1, content);
	return node;
}

/* The KSM page that a page of that content on node nids[@which] would merge with. */
static struct folio *twin_on(struct kunit *test, int which, u64 content)
{
	struct folio *probe = folio_on(test, which, content), *folio = NULL;
	u64 hash = ksm_content_hash(&probe->page);
	enum ksm_found found;
	struct ksm_node *node;

	mutex_lock(&ksm_pass_lock);
	while ((found = ksm_stable_search(hash, &probe->page, false, NULL, &node, &folio)) ==
	       KSM_FOUND_STALE)
		ksm_stable_prune(node);
	if (found == KSM_FOUND_TWIN)
		folio_put(folio);
	mutex_unlock(&ksm_pass_lock);
	return found == KSM_FOUND_TWIN ? folio : NULL;
}

static void expect_twins(struct kunit *test, struct folio *first, struct folio *second,
			 u64 content)
{
	KUNIT_EXPECT_PTR_EQ(test, twin_on(test, 0, content), first);
	KUNIT_EXPECT_PTR_EQ(test, twin_on(test, 1, content), second);
}

static void sweep(void)
{
	mutex_lock(&ksm_pass_lock);
	ksm_forget_due(ULONG_MAX);
	mutex_unlock(&ksm_pass_lock);
}

static unsigned int count_nodes(void)
{
	struct ksm_node *node;
	unsigned int count = 0;

	mutex_lock(&ksm_pass_lock);
	for (node = ksm_stable_next(NULL); node; node = ksm_stable_next(node))
		count++;
	mutex_unlock(&ksm_pass_lock);
	return count;
}

/* ------------------------------------------------------------------------ */
/* KSM pages.                                                               */

static void each_NUMA_node_has_its_own_KSM_page(struct kunit *test)
{
	struct folio *a = folio_on(test, 0, 1), *b = folio_on(test, 1, 1);

	set_across(test, false);
	ksm_test_keep(test, a);
	expect_twins(test, a, NULL, 1);
	ksm_test_keep(test, b);
	expect_twins(test, a, b, 1);
	KUNIT_EXPECT_EQ(test, count_nodes(), 2);
}

static void across_NUMA_nodes_one_KSM_page_is_enough(struct kunit *test)
{
	struct folio *b = folio_on(test, 1, 1);
	struct ksm_node *node = ksm_test_keep(test, b);

	expect_twins(test, b, b, 1);
	b = move(test, b, 0, 1);
	KUNIT_EXPECT_FALSE(test, node->astray);
	expect_twins(test, b, b, 1);
}

static void P55_a_KSM_page_that_moved_is_found_where_it_is(struct kunit *test)
{
	struct folio *folio;
	struct ksm_node *node = keep_moved(test, &folio, 1);

	KUNIT_EXPECT_TRUE(test, node->astray);
	sweep();
	KUNIT_EXPECT_FALSE(test, node->astray);
	expect_twins(test, NULL, folio, 1);
	folio = move(test, folio, 0, 1);
	sweep();
	expect_twins(test, folio, NULL, 1);
	KUNIT_EXPECT_EQ(test, count_nodes(), 1);
}

/* A search comes before the sweep: it does not take the page that is elsewhere now. */
static void P55_a_KSM_page_that_moved_is_no_twin_where_it_was(struct kunit *test)
{
	struct folio *folio;
	struct ksm_node *node = keep_moved(test, &folio, 1);

	expect_twins(test, NULL, folio, 1);
	sweep();
	KUNIT_EXPECT_FALSE(test, node->astray);
	expect_twins(test, NULL, folio, 1);
}

static void P55_there_and_back_changes_nothing(struct kunit *test)
{
	struct folio *folio;
	struct ksm_node *node = keep_moved(test, &folio, 1);

	folio = move(test, folio, 0, 1);
	expect_twins(test, folio, NULL, 1);
	sweep();
	KUNIT_EXPECT_FALSE(test, node->astray);
	expect_twins(test, folio, NULL, 1);
}

/* Its lock says that it does not move again; without it the node has to wait. */
static void P55_a_locked_page_waits_for_its_place(struct kunit *test)
{
	struct folio *folio;
	struct ksm_node *node = keep_moved(test, &folio, 1);

	folio_lock(folio);
	sweep();
	expect_twins(test, NULL, NULL, 1);
	KUNIT_EXPECT_TRUE(test, node->astray);
	/* It is not lost to those who look at every node. */
	KUNIT_EXPECT_EQ(test, count_nodes(), 1);
	ksm_test_hush();
	folio_unlock(folio);
	sweep();
	KUNIT_EXPECT_FALSE(test, node->astray);
	/* Who waited for it there is told. */
	KUNIT_EXPECT_TRUE(test, ksm_test_has_news(node->hash));
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(node->hash + 1));
	expect_twins(test, NULL, folio, 1);
}

/* Two pages of a content are one too many: they are a chain, for gathering to end. */
static void P45_who_moves_to_its_equal_is_in_a_chain_with_it(struct kunit *test)
{
	struct folio *a = folio_on(test, 0, 1), *b = folio_on(test, 1, 1);
	struct ksm_node *node;

	set_across(test, false);
	node = ksm_test_keep(test, a);
	ksm_test_keep(test, b);
	a = move(test, a, 1, 1);
	sweep();
	KUNIT_EXPECT_EQ(test, node->place, KSM_NODE_IN_CHAIN);
	KUNIT_EXPECT_FALSE(test, node->astray);
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, 2);
	KUNIT_EXPECT_EQ(test, count_nodes(), 2);
	expect_twins(test, NULL, b, 1);
	a = move(test, a, 0, 1);
	sweep();
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, 0);
	expect_twins(test, a, b, 1);
}

static void empty(void *node)
{
	((struct ksm_node *)node)->nr_items = 0;
}

/* A KSM page on the first NUMA node that two map, as often as may be. */
static struct ksm_node *keep_full(struct kunit *test, struct folio *folio)
{
	struct ksm_node *node = ksm_test_keep(test, folio);

	node->nr_items = 2;
	ksm_test_at_end(test, empty, node);
	return node;
}

static void P45_a_chain_stays_on_its_NUMA_node(struct kunit *test)
{
	struct folio *folios[3] = {
		folio_on(test, 0, 1), folio_on(test, 0, 1), folio_on(test, 0, 1),
	};
	struct ksm_node *nodes[3];
	int i;

	ksm_test_limit(test, 2);
	set_across(test, false);
	for (i = 0; i < 3; i++)
		nodes[i] = keep_full(test, folios[i]);
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, 3);
	/* One that is shown, and one that is not. */
	for (i = 2; i; i--) {
		nodes[i]->nr_items = 1;
		folios[i] = move(test, folios[i], 1, 1);
		KUNIT_EXPECT_TRUE(test, nodes[i]->astray);
		/* The search comes before the sweep, and takes no page from elsewhere. */
		ksm_test_tend_every(0);
		KUNIT_EXPECT_NULL(test, twin_on(test, 0, 1));
		ksm_test_tend_every(KSM_TEST_NEVER);
		sweep();
		KUNIT_EXPECT_FALSE(test, nodes[i]->astray);
		KUNIT_EXPECT_PTR_EQ(test, twin_on(test, 1, 1), folios[2]);
	}
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, 2);
	KUNIT_EXPECT_PTR_EQ(test, nodes[1]->chain, nodes[2]->chain);
	KUNIT_EXPECT_NULL(test, nodes[0]->chain);
	KUNIT_EXPECT_EQ(test, count_nodes(), 3);
}

/* ------------------------------------------------------------------------ */
/* Candidates.                                                              */

static unsigned long map_on(struct kunit *test, struct mm_struct *mm, int which)
{
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_at_end(test, run_anywhere, NULL);
	go_to(test, which);
	ksm_test_write(test, mm, addr, 7);
	KUNIT_ASSERT_EQ(test, folio_nid(ksm_test_folio_at(mm, addr)), nids[which]);
	return addr;
}

static void candidates_meet_on_their_own_NUMA_node(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a[2], b;
	int i;

	set_across(test, false);
	for (i = 0; i < 2; i++) {
		a[i] = map_on(test, mm, i);
		KUNIT_EXPECT_EQ(test, ksm_test_match(mm, a[i]), KSM_MATCH_WAITING);
	}
	for (i = 0; i < 2; i++) {
		b = map_on(test, mm, i);
		KUNIT_EXPECT_EQ(test, ksm_test_match(mm, b), KSM_MATCH_MERGED);
		KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, b),
				    ksm_test_folio_at(mm, a[i]));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, b, 7));
	}
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 2);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_merge_across_nodes(1), -EBUSY);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_merge_across_nodes(0), 0);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_merge_across_nodes(2), -EINVAL);
	KUNIT_EXPECT_FALSE(test, ksm_state.merge_across_nodes);
}

/* It became a candidate when nodes did not matter; now it is on the wrong one. */
static void a_candidate_elsewhere_is_no_twin(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long far = map_on(test, mm, 1), near[2];

	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, far), KSM_MATCH_WAITING);
	set_across(test, false);
	near[0] = map_on(test, mm, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, near[0]), KSM_MATCH_WAITING);
	near[1] = map_on(test, mm, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_match(mm, near[1]), KSM_MATCH_MERGED);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_test_folio_at(mm, far)));
}

/* Who is mapped, though nobody's item says so, does not keep the knob as it is. */
static void a_change_of_mind_moves_everybody(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long a = map_on(test, mm, 1), b = map_on(test, mm, 1);
	struct folio *folio;

	ksm_test_merge_pair(test, mm, a, b);
	folio = ksm_test_folio_at(mm, a);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_merge_across_nodes(0), -EBUSY);
	ksm_test_lock(mm);
	KUNIT_EXPECT_TRUE(test, ksm_test_forget(ksm_mms_find(mm)));
	ksm_test_unlock(mm);

	/* Asked first where it belongs: a search elsewhere that met it would put it there. */
	set_across(test, false);
	KUNIT_EXPECT_PTR_EQ(test, twin_on(test, 1, 7), folio);
	KUNIT_EXPECT_NULL(test, twin_on(test, 0, 7));
	set_across(test, true);
	expect_twins(test, folio, folio, 7);
}

/* ------------------------------------------------------------------------ */
/* Private copies.                                                          */

static void policy_says_on_which_NUMA_node_a_copy_is(struct kunit *test)
{
	static struct mempolicy in_turns = { .refcnt = ATOMIC_INIT(1), .mode = MPOL_INTERLEAVE };
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 3), i;
	int nid[3];

	ksm_test_merge_pair(test, mm, addr, addr + PAGE_SIZE);
	ksm_test_match(mm, addr + 2 * PAGE_SIZE);
	in_turns.nodes = nodemask_of_node(nids[0]);
	node_set(nids[1], in_turns.nodes);
	ksm_test_set_policy(mm, addr, &in_turns);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, 3 * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	ksm_test_set_policy(mm, addr, NULL);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(mm, addr + i * PAGE_SIZE));
		nid[i] = folio_nid(ksm_test_folio_at(mm, addr + i * PAGE_SIZE));
	}
	KUNIT_EXPECT_NE(test, nid[0], nid[1]);
	KUNIT_EXPECT_EQ(test, nid[0], nid[2]);
}

/* Where a round comes again, pages come to rest in a batch that no sweep was before. */
static void P55_who_comes_to_rest_in_a_batch_finds_what_has_moved(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 4);
	struct folio *folio;
	unsigned int i;

	ksm_test_restart();
	ksm_test_write(test, mm, addr, 1);
	ksm_test_write(test, mm, addr + PAGE_SIZE, 2);
	ksm_test_scan_batch(1);
	KUNIT_ASSERT_EQ(test, ksm_mms_find(mm)->next, addr + PAGE_SIZE);
	keep_moved(test, &folio, 7);
	for (i = 2; i < 4; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 7);
	ksm_test_map(test, mm, 1);
	ksm_test_scan_round();
	for (i = 2; i < 4; i++)
		KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(mm, addr + i * PAGE_SIZE), folio);
	KUNIT_EXPECT_EQ(test, count_nodes(), 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr + 2 * PAGE_SIZE, 7));
	do_madvise(mm, addr, 4 * PAGE_SIZE, MADV_DONTNEED);
}

static struct kunit_case numa_cases[] = {
	KUNIT_CASE(each_NUMA_node_has_its_own_KSM_page),
	KUNIT_CASE(across_NUMA_nodes_one_KSM_page_is_enough),
	KUNIT_CASE(P55_a_KSM_page_that_moved_is_found_where_it_is),
	KUNIT_CASE(P55_a_KSM_page_that_moved_is_no_twin_where_it_was),
	KUNIT_CASE(P55_there_and_back_changes_nothing),
	KUNIT_CASE(P55_a_locked_page_waits_for_its_place),
	KUNIT_CASE(P45_who_moves_to_its_equal_is_in_a_chain_with_it),
	KUNIT_CASE(P45_a_chain_stays_on_its_NUMA_node),
	KUNIT_CASE(candidates_meet_on_their_own_NUMA_node),
	KUNIT_CASE(a_candidate_elsewhere_is_no_twin),
	KUNIT_CASE(a_change_of_mind_moves_everybody),
	KUNIT_CASE(P55_who_comes_to_rest_in_a_batch_finds_what_has_moved),
	KUNIT_CASE(policy_says_on_which_NUMA_node_a_copy_is),
	{ }
};

static struct kunit_suite numa_suite = {
	.name = "ksm_numa",
	.init = begin_numa_test,
	.test_cases = numa_cases,
};

kunit_test_suite(numa_suite);
