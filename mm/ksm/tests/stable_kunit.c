// SPDX-License-Identifier: GPL-2.0
/* Stable tree: what is found, what is refused, and what happens when a page goes. */
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/pagemap.h>
#include <linux/rbtree.h>

#include "../content.h"
#include "../node.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

#define MANY	256

static enum ksm_found search(u64 hash, struct folio *probe, struct ksm_node **nodep)
{
	struct folio *folio;
	enum ksm_found found;

	mutex_lock(&ksm_pass_lock);
	found = ksm_stable_search(hash, &probe->page, false, NULL, nodep, &folio);
	if (found == KSM_FOUND_TWIN)
		folio_put(folio);
	mutex_unlock(&ksm_pass_lock);
	return found;
}

static u64 hash_of(struct folio *folio)
{
	return ksm_content_hash(&folio->page);
}

static struct page *guess(struct folio *probe)
{
	const struct page *page;

	mutex_lock(&ksm_pass_lock);
	page = ksm_stable_guess(hash_of(probe));
	mutex_unlock(&ksm_pass_lock);
	return (struct page *)page;
}

/* Search for a page of @probe's content, which is @node's if that is not NULL. */
static void expect_found(struct kunit *test, struct folio *probe, struct ksm_node *node)
{
	struct ksm_node *found = NULL;

	KUNIT_EXPECT_EQ(test, search(hash_of(probe), probe, &found),
			node ? KSM_FOUND_TWIN : KSM_FOUND_NONE);
	if (node)
		KUNIT_EXPECT_PTR_EQ(test, found, node);
}

/* Try to make another KSM page; the tree keeps it only without an error. */
static int insert(struct ksm_node *node, struct folio *folio)
{
	int err;

	mutex_lock(&ksm_pass_lock);
	folio_lock(folio);
	node->hash = hash_of(folio);
	err = ksm_stable_insert(node, folio);
	folio_unlock(folio);
	mutex_unlock(&ksm_pass_lock);
	return err;
}

static void prune(struct ksm_node *node)
{
	mutex_lock(&ksm_pass_lock);
	ksm_stable_prune(node);
	mutex_unlock(&ksm_pass_lock);
}

/* A page that differs from others of this kind, but not in its hash. */
static struct folio *colliding_folio(struct kunit *test, unsigned int nr)
{
	struct folio *folio = ksm_test_folio(test, 1);
	unsigned int pair;

	for (pair = 0; nr >> pair; pair++)
		if (nr >> pair & 1)
			KUNIT_ASSERT_TRUE(test, ksm_test_collide(&folio->page, pair));
	return folio;
}

static struct ksm_node **keep_colliding(struct kunit *test, unsigned int count)
{
	struct ksm_node **nodes = kunit_kcalloc(test, count, sizeof(*nodes), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, nodes);
	for (i = 0; i < count; i++) {
		nodes[i] = ksm_test_keep(test, colliding_folio(test, i));
		KUNIT_ASSERT_EQ(test, nodes[i]->hash, nodes[0]->hash);
	}
	return nodes;
}

/* ------------------------------------------------------------------------ */
/* Order.                                                                   */

static void equal_content_is_found(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct folio *probe = ksm_test_folio(test, 1);
	struct ksm_node *node;

	expect_found(test, probe, NULL);
	node = ksm_test_keep(test, folio);
	expect_found(test, probe, node);
	expect_found(test, ksm_test_folio(test, 2), NULL);
}

static void what_is_found_is_referenced(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1), *found = NULL;
	struct folio *probe = ksm_test_folio(test, 1);
	struct ksm_node *node;

	ksm_test_keep(test, folio);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, ksm_stable_search(hash_of(probe), &probe->page, false, NULL, &node,
						&found), KSM_FOUND_TWIN);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_ASSERT_PTR_EQ(test, found, folio);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	folio_put(found);
	expect_found(test, ksm_test_folio(test, 2), NULL);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
}

/* Two pages of different hash in one tree; of so many there are 32 such pairs or so. */
static void make_neighbours(struct kunit *test, struct folio *pair[2])
{
	u64 *first = kunit_kcalloc(test, KSM_ROOTS, sizeof(*first), GFP_KERNEL), i, *at;
	struct folio *probe = ksm_test_folio(test, 0);

	KUNIT_ASSERT_NOT_NULL(test, first);
	for (i = 1; i < 512; i++) {
		memset64(folio_address(probe), i, PAGE_SIZE / sizeof(i));
		at = &first[ksm_root_of(hash_of(probe))];
		pair[0] = ksm_test_folio(test, *at);
		pair[1] = ksm_test_folio(test, i);
		if (*at && hash_of(pair[0]) != hash_of(pair[1]))
			return;
		*at = *at ?: i;
	}
	kunit_skip(test, "found no two hashes in one tree");
}

/* It is only where a search will come to: not touched, and not kept. */
static void a_guess_goes_by_the_hash_alone(struct kunit *test)
{
	struct folio *pair[2];

	make_neighbours(test, pair);
	KUNIT_EXPECT_NULL(test, guess(pair[0]));
	ksm_test_keep(test, pair[0]);
	KUNIT_EXPECT_NULL(test, guess(pair[1]));
	ksm_test_keep(test, pair[1]);
	KUNIT_EXPECT_PTR_EQ(test, guess(pair[0]), &pair[0]->page);
	KUNIT_EXPECT_PTR_EQ(test, guess(pair[1]), &pair[1]->page);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pair[0]), 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pair[1]), 1);
}

static void equal_content_under_another_hash_is_no_twin(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node;

	ksm_test_keep(test, folio);
	KUNIT_EXPECT_EQ(test, search(hash_of(folio) + 1, folio, &node), KSM_FOUND_NONE);
	KUNIT_EXPECT_EQ(test, search(hash_of(folio) - 1, folio, &node), KSM_FOUND_NONE);
	KUNIT_EXPECT_EQ(test, search(hash_of(folio), folio, &node), KSM_FOUND_TWIN);
}

static void pages_of_one_hash_are_found_by_content(struct kunit *test)
{
	struct ksm_node **nodes = keep_colliding(test, MANY);
	struct folio *probe;
	unsigned int i;

	for (i = 0; i < MANY; i++) {
		probe = colliding_folio(test, i);
		KUNIT_ASSERT_EQ(test, hash_of(probe), nodes[0]->hash);
		expect_found(test, probe, nodes[i]);
		kunit_release_action(test, ksm_test_free_folio, probe);
	}
	/* One more of that hash, whose content nobody has. */
	expect_found(test, colliding_folio(test, MANY), NULL);
}

static void pages_of_one_hash_keep_the_tree_low(struct kunit *test)
{
	struct ksm_node **nodes = keep_colliding(test, MANY);
	unsigned int i, depth;
	struct rb_node *rb;

	for (i = 0; i < MANY; i++) {
		depth = 0;
		for (rb = &nodes[i]->rb; rb; rb = rb_parent(rb))
			depth++;
		KUNIT_EXPECT_LE(test, depth, 2 * ilog2(MANY + 1) + 2);
	}
}

static void order_is_by_hash_then_content(struct kunit *test)
{
	struct folio *folios[2] = { };
	struct ksm_node *node, *last = NULL;
	unsigned int i, count = 0, same = 0;

	keep_colliding(test, 16);
	for (i = 2; i < 18; i++)
		ksm_test_keep(test, ksm_test_folio(test, i));

	mutex_lock(&ksm_pass_lock);
	for (node = ksm_stable_next(NULL); node; node = ksm_stable_next(node)) {
		folios[1] = pfn_folio(node->pfn);
		if (last && last->hash == node->hash) {
			KUNIT_EXPECT_LT(test, ksm_content_compare(&folios[0]->page,
								  &folios[1]->page), 0);
			same++;
		} else if (last) {
			KUNIT_EXPECT_LT(test, last->hash, node->hash);
		}
		last = node;
		folios[0] = folios[1];
		count++;
	}
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, count, 32);
	KUNIT_EXPECT_GE(test, same, 15);
}

static void P59_equal_content_is_not_kept_twice(struct kunit *test)
{
	struct ksm_node *first = ksm_test_keep(test, ksm_test_folio(test, 1));
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *second = ksm_node_alloc();

	KUNIT_ASSERT_NOT_NULL(test, second);
	KUNIT_EXPECT_EQ(test, insert(second, folio), -EEXIST);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_EQ(test, second->place, KSM_NODE_LOOSE);
	KUNIT_EXPECT_EQ(test, folio_ref_count(pfn_folio(first->pfn)), 1);
	ksm_node_free(second);
	expect_found(test, folio, first);
}

static void removal_hides_nobody_else(struct kunit *test)
{
	struct ksm_node **nodes = keep_colliding(test, 32);
	struct folio *probe;
	unsigned int i, j;

	for (i = 0; i < 32; i += 2) {
		mutex_lock(&ksm_pass_lock);
		ksm_stable_remove(nodes[i]);
		mutex_unlock(&ksm_pass_lock);
		KUNIT_EXPECT_EQ(test, nodes[i]->place, KSM_NODE_LOOSE);
		for (j = 0; j < 32; j++) {
			probe = colliding_folio(test, j);
			expect_found(test, probe, j > i || j % 2 ? nodes[j] : NULL);
			kunit_release_action(test, ksm_test_free_folio, probe);
		}
	}
}

/* ------------------------------------------------------------------------ */
/* Pages that go.                                                           */

static void P47_freed_page_is_in_the_way_until_pruned(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio), *found = NULL;
	struct ksm_node *other = ksm_node_alloc();
	struct folio *probe = ksm_test_folio(test, 1);

	KUNIT_ASSERT_NOT_NULL(test, other);
	kunit_release_action(test, ksm_test_free_folio, folio);
	KUNIT_EXPECT_EQ(test, search(hash_of(probe), probe, &found), KSM_FOUND_STALE);
	KUNIT_EXPECT_PTR_EQ(test, found, node);
	/* Looking has dropped nothing, and an insertion changes nothing. */
	KUNIT_EXPECT_EQ(test, node->place, KSM_NODE_IN_TREE);
	KUNIT_EXPECT_EQ(test, insert(other, probe), -EAGAIN);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(probe));
	ksm_node_free(other);

	kunit_remove_action(test, ksm_test_drop, node);
	prune(node);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	expect_found(test, probe, NULL);
}

static void freed_page_of_another_hash_is_not_in_the_way(struct kunit *test)
{
	struct ksm_node *node = ksm_test_keep(test, ksm_test_folio(test, 1));
	struct folio *folio = ksm_test_folio(test, 2);

	ksm_test_needs_hashes(test);
	ksm_test_keep(test, folio);
	kunit_release_action(test, ksm_test_free_folio, folio);
	expect_found(test, ksm_test_folio(test, 1), node);
	expect_found(test, ksm_test_folio(test, 3), NULL);
}

static void prune_spares_the_living(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio);

	prune(node);
	KUNIT_EXPECT_EQ(test, node->place, KSM_NODE_IN_TREE);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	expect_found(test, ksm_test_folio(test, 1), node);
}

static unsigned int count_of(struct ksm_node *node, struct ksm_node **nodes, unsigned int count)
{
	unsigned int i, times = 0;

	for (i = 0; i < count; i++)
		times += nodes[i] == node;
	return times;
}

/* An iteration comes to each of the @early, and then to each of the @late. */
static void expect_iteration(struct kunit *test, struct ksm_node **early, unsigned int nr_early,
			     struct ksm_node **late, unsigned int nr_late)
{
	struct ksm_node *node;
	unsigned int met = 0;

	for (node = ksm_stable_next(NULL); node; node = ksm_stable_next(node)) {
		if (met++ < nr_early)
			KUNIT_EXPECT_EQ(test, count_of(node, early, nr_early), 1);
		else
			KUNIT_EXPECT_EQ(test, count_of(node, late, nr_late), 1);
	}
	KUNIT_EXPECT_EQ(test, met, nr_early + nr_late);
}

static void P84_poisoned_page_is_set_aside(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1), *probe = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio), *found = NULL;

	ksm_test_poison(test, folio);
	KUNIT_EXPECT_EQ(test, search(hash_of(probe), probe, &found), KSM_FOUND_STALE);
	KUNIT_EXPECT_PTR_EQ(test, found, node);
	prune(node);
	KUNIT_EXPECT_EQ(test, node->place, KSM_NODE_ASIDE);
	expect_found(test, probe, NULL);
	/* Its page still leads to it: who maps it has to be told. */
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_of(folio), node);
	/* And its place is free. */
	expect_found(test, ksm_test_folio(test, 1), ksm_test_keep(test, probe));
}

static void who_was_set_aside_is_met_last(struct kunit *test)
{
	struct ksm_node *nodes[4];
	struct folio *folio = NULL;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nodes); i++) {
		folio = ksm_test_folio(test, i);
		nodes[i] = ksm_test_keep(test, folio);
		if (i < 2)
			ksm_test_poison(test, folio);
	}

	mutex_lock(&ksm_pass_lock);
	ksm_stable_prune(nodes[0]);
	ksm_stable_prune(nodes[1]);
	/* Asking again for its fate does not lose it. */
	ksm_stable_prune(nodes[0]);
	expect_iteration(test, nodes + 2, 2, nodes, 2);
	kunit_remove_action(test, ksm_test_drop, nodes[0]);
	ksm_stable_drop(nodes[0]);
	expect_iteration(test, nodes + 2, 2, nodes + 1, 1);
	mutex_unlock(&ksm_pass_lock);
}

static struct kunit_case stable_cases[] = {
	KUNIT_CASE(equal_content_is_found),
	KUNIT_CASE(what_is_found_is_referenced),
	KUNIT_CASE(a_guess_goes_by_the_hash_alone),
	KUNIT_CASE(equal_content_under_another_hash_is_no_twin),
	KUNIT_CASE(pages_of_one_hash_are_found_by_content),
	KUNIT_CASE(pages_of_one_hash_keep_the_tree_low),
	KUNIT_CASE(order_is_by_hash_then_content),
	KUNIT_CASE(P59_equal_content_is_not_kept_twice),
	KUNIT_CASE(removal_hides_nobody_else),
	KUNIT_CASE(P47_freed_page_is_in_the_way_until_pruned),
	KUNIT_CASE(freed_page_of_another_hash_is_not_in_the_way),
	KUNIT_CASE(prune_spares_the_living),
	KUNIT_CASE(P84_poisoned_page_is_set_aside),
	KUNIT_CASE(who_was_set_aside_is_met_last),
	{ }
};

static struct kunit_suite stable_suite = {
	.name = "ksm_stable",
	.init = ksm_test_init,
	.test_cases = stable_cases,
};

kunit_test_suite(stable_suite);
