// SPDX-License-Identifier: GPL-2.0
/* Stable tree: several pages of one content, because each may be mapped so often only. */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../content.h"
#include "../forget.h"
#include "../node.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

#define LIMIT	4

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	ksm_test_limit(test, LIMIT);
	return 0;
}

static void expect_counts(struct kunit *test, unsigned long chains, unsigned long dups)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.chains, chains);
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, dups);
}

static void empty(void *node)
{
	((struct ksm_node *)node)->nr_items = 0;
}

/* One more KSM page of @content, with so many items, which nobody has. */
static struct ksm_node *keep(struct kunit *test, u64 content, unsigned int items)
{
	struct ksm_node *node = ksm_test_keep(test, ksm_test_folio(test, content));

	node->nr_items = items;
	ksm_test_at_end(test, empty, node);
	return node;
}

static enum ksm_found search(struct kunit *test, u64 content, struct ksm_node **nodep)
{
	struct folio *probe = ksm_test_folio(test, content), *folio;
	enum ksm_found found;

	mutex_lock(&ksm_pass_lock);
	found = ksm_stable_search(ksm_content_hash(&probe->page), &probe->page, false, NULL, nodep,
				  &folio);
	if (found == KSM_FOUND_TWIN)
		folio_put(folio);
	mutex_unlock(&ksm_pass_lock);
	return found;
}

static void expect_found(struct kunit *test, u64 content, struct ksm_node *node)
{
	struct ksm_node *found = NULL;

	KUNIT_EXPECT_EQ(test, search(test, content, &found) == KSM_FOUND_TWIN, !!node);
	if (node)
		KUNIT_EXPECT_PTR_EQ(test, found, node);
}

static void full_dup_is_not_offered(struct kunit *test)
{
	struct ksm_node *node = keep(test, 1, LIMIT - 1);

	expect_found(test, 1, node);
	node->nr_items = LIMIT;
	expect_found(test, 1, NULL);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pfn_folio(node->pfn)), 1);
	expect_counts(test, 0, 0);
}

static void beside_a_full_page_another_is_kept(struct kunit *test)
{
	struct ksm_node *first = keep(test, 1, LIMIT), *second = keep(test, 1, 2);

	KUNIT_EXPECT_EQ(test, first->hash, second->hash);
	expect_counts(test, 1, 2);
	expect_found(test, 1, second);
	second->nr_items = LIMIT;
	expect_found(test, 1, NULL);
	keep(test, 2, LIMIT);
	expect_counts(test, 1, 2);
	keep(test, 1, LIMIT);
	expect_counts(test, 1, 3);
	keep(test, 2, LIMIT);
	expect_counts(test, 2, 5);
}

static int insert(struct ksm_node *node, struct folio *folio)
{
	int err;

	mutex_lock(&ksm_pass_lock);
	folio_lock(folio);
	node->hash = ksm_content_hash(&folio->page);
	err = ksm_stable_insert(node, folio);
	folio_unlock(folio);
	mutex_unlock(&ksm_pass_lock);
	return err;
}

/* Another page cannot be kept, and nothing shows of the attempt. */
static void expect_refused(struct kunit *test, u64 content, int want)
{
	struct folio *folio = ksm_test_folio(test, content);
	struct ksm_node *node = ksm_node_alloc();

	KUNIT_ASSERT_NOT_NULL(test, node);
	KUNIT_EXPECT_EQ(test, insert(node, folio), want);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, node->place, KSM_NODE_LOOSE);
	KUNIT_EXPECT_NULL(test, node->chain);
	ksm_node_free(node);
}

static void where_a_member_has_room_no_other_is_kept(struct kunit *test)
{
	struct ksm_node *first = keep(test, 1, LIMIT), *second = keep(test, 1, 1);

	expect_refused(test, 1, -EEXIST);
	second->nr_items = LIMIT;
	first->nr_items = 1;
	ksm_test_tend_every(0);
	expect_refused(test, 1, -EEXIST);
	expect_counts(test, 1, 2);
}

static void P44_without_memory_for_a_chain_nothing_has_changed(struct kunit *test)
{
	struct ksm_node *node = keep(test, 1, LIMIT), *other = ksm_node_alloc();
	struct folio *folio = ksm_test_folio(test, 1);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, other);
	ksm_test_fail_alloc(test, 1);
	err = insert(other, folio);
	KUNIT_EXPECT_TRUE(test, ksm_test_alloc_failed());
	KUNIT_EXPECT_EQ(test, err, -ENOMEM);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_NULL(test, other->chain);
	KUNIT_EXPECT_NULL(test, node->chain);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pfn_folio(node->pfn)), 1);
	expect_counts(test, 0, 0);
	/* And with memory it comes to stand there. */
	KUNIT_ASSERT_EQ(test, insert(other, folio), 0);
	ksm_test_at_end(test, ksm_test_drop, other);
	expect_counts(test, 1, 2);
}

static void who_has_room_again_is_found_when_it_is_time(struct kunit *test)
{
	struct ksm_node *first = keep(test, 1, LIMIT), *second = keep(test, 1, LIMIT);
	struct ksm_node *third = keep(test, 1, LIMIT);

	first->nr_items = 1;
	second->nr_items = 2;
	expect_found(test, 1, NULL);
	ksm_test_tend_every(0);
	expect_found(test, 1, second);
	ksm_test_tend_every(KSM_TEST_NEVER);
	/* The next is known already. */
	second->nr_items = LIMIT;
	expect_found(test, 1, first);
	first->nr_items = LIMIT;
	expect_found(test, 1, NULL);
	third->nr_items = 1;
	expect_found(test, 1, NULL);
}

/* ------------------------------------------------------------------------ */
/* Pages that go.                                                           */

static void lose_page(struct kunit *test, struct ksm_node *node)
{
	kunit_release_action(test, ksm_test_free_folio, pfn_folio(node->pfn));
}

static void prune(struct kunit *test, struct ksm_node *node)
{
	kunit_remove_action(test, ksm_test_drop, node);
	kunit_remove_action(test, empty, node);
	empty(node);
	mutex_lock(&ksm_pass_lock);
	ksm_stable_prune(node);
	mutex_unlock(&ksm_pass_lock);
}

static void P47_a_gone_member_is_not_in_the_way(struct kunit *test)
{
	struct ksm_node *first = keep(test, 1, LIMIT), *second = keep(test, 1, 1);

	lose_page(test, first);
	expect_found(test, 1, second);
	prune(test, first);
	expect_counts(test, 0, 0);
	expect_found(test, 1, second);
}

static void P47_a_gone_page_that_is_shown_is_pruned(struct kunit *test)
{
	struct ksm_node *first = keep(test, 1, LIMIT), *second = keep(test, 1, LIMIT);
	struct ksm_node *third = keep(test, 1, 1), *found = NULL;

	lose_page(test, third);
	KUNIT_EXPECT_EQ(test, search(test, 1, &found), KSM_FOUND_STALE);
	KUNIT_EXPECT_PTR_EQ(test, found, third);
	expect_refused(test, 1, -EAGAIN);
	prune(test, third);
	expect_counts(test, 1, 2);
	expect_found(test, 1, NULL);
	/* And one that is gone though it is thought to have room. */
	first->nr_items = 1;
	lose_page(test, first);
	ksm_test_tend_every(0);
	KUNIT_EXPECT_EQ(test, search(test, 1, &found), KSM_FOUND_STALE);
	KUNIT_EXPECT_PTR_EQ(test, found, first);
	prune(test, first);
	expect_counts(test, 0, 0);
	second->nr_items = 1;
	expect_found(test, 1, second);
}

static void P84_a_poisoned_member_leaves_the_chain(struct kunit *test)
{
	struct ksm_node *first = keep(test, 1, LIMIT), *second = keep(test, 1, LIMIT);
	struct ksm_node *third = keep(test, 1, 1), *found = NULL;

	ksm_test_poison(test, pfn_folio(third->pfn));
	KUNIT_EXPECT_EQ(test, search(test, 1, &found), KSM_FOUND_STALE);
	KUNIT_EXPECT_PTR_EQ(test, found, third);
	mutex_lock(&ksm_pass_lock);
	ksm_stable_prune(third);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, third->place, KSM_NODE_ASIDE);
	KUNIT_EXPECT_NULL(test, third->chain);
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_of(pfn_folio(third->pfn)), third);
	expect_counts(test, 1, 2);
	first->nr_items = 1;
	ksm_test_tend_every(0);
	expect_found(test, 1, first);
	KUNIT_EXPECT_PTR_EQ(test, second->chain->shown, first);
}

/* ------------------------------------------------------------------------ */
/* All nodes.                                                               */

static unsigned int count_nodes(void)
{
	struct ksm_node *node;
	unsigned int count = 0;

	mutex_lock(&ksm_pass_lock);
	for (node = ksm_stable_next(NULL); node && count < 100; node = ksm_stable_next(node))
		count++;
	mutex_unlock(&ksm_pass_lock);
	return count;
}

static void members_are_gone_through_like_others(struct kunit *test)
{
	u64 content;
	int i;

	for (content = 1; content <= 3; content++)
		for (i = 0; i < 4; i++)
			keep(test, content, i % 2 ? LIMIT : LIMIT + 1);
	keep(test, 4, 1);
	KUNIT_EXPECT_EQ(test, count_nodes(), 13);
}

static void P56_members_go_with_their_memory(struct kunit *test)
{
	struct ksm_node *nodes[9];
	unsigned long pfn;
	unsigned int i;

	for (i = 0; i < 9; i++)
		nodes[i] = keep(test, i / 3, LIMIT);
	/* One that is shown, and two that are not; of a chain all. */
	for (i = 0; i < 9; i++) {
		if (i == 0 || i == 4)
			continue;
		pfn = nodes[i]->pfn;
		kunit_remove_action(test, ksm_test_drop, nodes[i]);
		kunit_remove_action(test, empty, nodes[i]);
		empty(nodes[i]);
		mutex_lock(&ksm_pass_lock);
		ksm_forget_pfns(pfn, pfn);
		mutex_unlock(&ksm_pass_lock);
		nodes[i] = NULL;
	}
	KUNIT_EXPECT_EQ(test, count_nodes(), 2);
	expect_counts(test, 0, 0);
	KUNIT_EXPECT_EQ(test, nodes[0]->place, KSM_NODE_IN_TREE);
	KUNIT_EXPECT_EQ(test, nodes[4]->place, KSM_NODE_IN_TREE);
	nodes[0]->nr_items = 1;
	expect_found(test, 0, nodes[0]);
	expect_found(test, 2, NULL);
}

static void all_members_can_go_at_once(struct kunit *test)
{
	struct ksm_node *nodes[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		nodes[i] = keep(test, i / 4, LIMIT);
	for (i = 0; i < 8; i++) {
		kunit_remove_action(test, ksm_test_drop, nodes[i]);
		kunit_remove_action(test, empty, nodes[i]);
		empty(nodes[i]);
	}
	mutex_lock(&ksm_pass_lock);
	ksm_forget_pfns(0, ULONG_MAX);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, count_nodes(), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	expect_counts(test, 0, 0);
}

static struct kunit_case dups_cases[] = {
	KUNIT_CASE(full_dup_is_not_offered),
	KUNIT_CASE(beside_a_full_page_another_is_kept),
	KUNIT_CASE(where_a_member_has_room_no_other_is_kept),
	KUNIT_CASE(P44_without_memory_for_a_chain_nothing_has_changed),
	KUNIT_CASE(who_has_room_again_is_found_when_it_is_time),
	KUNIT_CASE(P47_a_gone_member_is_not_in_the_way),
	KUNIT_CASE(P47_a_gone_page_that_is_shown_is_pruned),
	KUNIT_CASE(P84_a_poisoned_member_leaves_the_chain),
	KUNIT_CASE(members_are_gone_through_like_others),
	KUNIT_CASE(P56_members_go_with_their_memory),
	KUNIT_CASE(all_members_can_go_at_once),
	{ }
};

static struct kunit_suite dups_suite = {
	.name = "ksm_dups",
	.init = init,
	.test_cases = dups_cases,
};

kunit_test_suite(dups_suite);
