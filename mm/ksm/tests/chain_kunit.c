// SPDX-License-Identifier: GPL-2.0
/* Chains: who is shown, who has room, and what can be spared. */
#include <linux/jiffies.h>
#include <linux/rbtree.h>

#include "../chain.h"
#include "../node.h"
#include "../state.h"
#include "fixture.h"

#define LIMIT	4
#define MANY	2500	/* more than are looked at in one go */

/* Nodes that have no page, in a tree of their own. */
static struct {
	struct rb_root	root;
	struct ksm_node	**nodes;
	unsigned int	count;
} at;

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	at.root = RB_ROOT;
	at.count = 0;
	ksm_test_limit(test, LIMIT);
	return 0;
}

static void expect_counts(struct kunit *test, unsigned long chains, unsigned long dups)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.chains, chains);
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, dups);
}

static void end_nodes(void *unused)
{
	unsigned int i;

	for (i = 0; i < at.count; i++) {
		if (at.nodes[i]->chain)
			ksm_chain_leave(at.nodes[i], &at.root);
		at.nodes[i]->place = KSM_NODE_LOOSE;
		at.nodes[i]->nr_items = 0;
		ksm_node_free(at.nodes[i]);
	}
}

/* The first is shown; all have so many items. */
static void make(struct kunit *test, unsigned int count, const unsigned int *items)
{
	struct ksm_node *node;
	unsigned int i;

	at.nodes = kunit_kcalloc(test, count, sizeof(*at.nodes), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, at.nodes);
	ksm_test_at_end(test, end_nodes, NULL);
	for (i = 0; i < count; i++) {
		node = ksm_node_alloc();
		KUNIT_ASSERT_NOT_NULL(test, node);
		at.nodes[at.count++] = node;
		node->nr_items = items ? items[i] : LIMIT;
		if (i) {
			KUNIT_ASSERT_EQ(test, ksm_chain_add(at.nodes[0], node), 0);
			continue;
		}
		rb_link_node(&node->rb, NULL, &at.root.rb_node);
		rb_insert_color(&node->rb, &at.root);
		node->place = KSM_NODE_IN_TREE;
	}
}

#define MAKE(_test, ...)							\
	make(_test, sizeof((unsigned int[]){ __VA_ARGS__ }) / sizeof(int),	\
	     (unsigned int[]){ __VA_ARGS__ })

/* Go through the whole chain, however many goes it takes. */
static struct ksm_node *tend(void)
{
	struct ksm_chain *chain = at.nodes[0]->chain;
	struct ksm_node *show;

	ksm_test_tend_every(0);
	do {
		show = ksm_chain_tend(chain);
	} while (chain->unseen);
	ksm_test_tend_every(KSM_TEST_NEVER);
	return show;
}

/* All members are gone through, each once, and one of them is in the tree. */
static void expect_members(struct kunit *test, unsigned int count)
{
	struct ksm_node *node = rb_entry_safe(rb_first(&at.root), struct ksm_node, rb);
	unsigned int seen = 0;

	KUNIT_ASSERT_NOT_NULL(test, node);
	KUNIT_EXPECT_NULL(test, rb_next(&node->rb));
	KUNIT_EXPECT_EQ(test, node->place, KSM_NODE_IN_TREE);
	if (node->chain)
		KUNIT_EXPECT_PTR_EQ(test, node->chain->shown, node);
	for (; node && seen <= count; node = node->chain ? ksm_chain_next(node) : NULL)
		KUNIT_EXPECT_EQ(test, node->place,
				seen++ ? KSM_NODE_IN_CHAIN : KSM_NODE_IN_TREE);
	KUNIT_EXPECT_EQ(test, seen, count);
}

static void counts_follow_who_comes_and_goes(struct kunit *test)
{
	MAKE(test, LIMIT, LIMIT, 1);
	expect_counts(test, 1, 3);
	expect_members(test, 3);
	ksm_chain_leave(at.nodes[1], &at.root);
	expect_counts(test, 1, 2);
	KUNIT_EXPECT_NULL(test, at.nodes[1]->chain);
	expect_members(test, 2);
	/* One that is alone has no chain. */
	ksm_chain_leave(at.nodes[2], &at.root);
	expect_counts(test, 0, 0);
	KUNIT_EXPECT_NULL(test, at.nodes[0]->chain);
	expect_members(test, 1);
}

static void when_the_one_that_is_shown_leaves_another_is(struct kunit *test)
{
	struct ksm_node *next;

	MAKE(test, LIMIT, LIMIT, 1, 2);
	next = ksm_chain_next(at.nodes[0]);
	ksm_chain_leave(at.nodes[0], &at.root);
	KUNIT_EXPECT_PTR_EQ(test, at.nodes[1]->chain->shown, next);
	expect_members(test, 3);
	ksm_chain_leave(next, &at.root);
	expect_members(test, 2);
	expect_counts(test, 1, 2);
}

static void any_member_can_be_shown(struct kunit *test)
{
	unsigned int i;

	MAKE(test, 1, 2, 3, 4);
	for (i = 1; i < 4; i++) {
		ksm_chain_show(at.nodes[i], &at.root, i % 2);
		KUNIT_EXPECT_PTR_EQ(test, at.nodes[0]->chain->shown, at.nodes[i]);
		expect_members(test, 4);
	}
	expect_counts(test, 1, 4);
}

static void the_fullest_that_has_room_is_shown(struct kunit *test)
{
	MAKE(test, 1, 3, LIMIT, 2, LIMIT + 1);
	KUNIT_EXPECT_PTR_EQ(test, tend(), at.nodes[1]);
	ksm_chain_show(at.nodes[1], &at.root, true);
	KUNIT_EXPECT_PTR_EQ(test, tend(), at.nodes[1]);
	expect_members(test, 5);
	/* When that is full, another; those that are full are never offered. */
	at.nodes[1]->nr_items = LIMIT;
	KUNIT_EXPECT_PTR_EQ(test, tend(), at.nodes[3]);
	ksm_chain_show(at.nodes[3], &at.root, false);
	KUNIT_EXPECT_PTR_EQ(test, ksm_chain_roomy(at.nodes[0]->chain), at.nodes[0]);
}

static void where_all_are_full_the_shown_one_stays(struct kunit *test)
{
	MAKE(test, LIMIT, LIMIT, LIMIT);
	KUNIT_EXPECT_PTR_EQ(test, tend(), at.nodes[0]);
	KUNIT_EXPECT_NULL(test, ksm_chain_roomy(at.nodes[0]->chain));
	expect_members(test, 3);
}

static void between_looks_nothing_is_looked_at(struct kunit *test)
{
	struct ksm_chain *chain;

	MAKE(test, LIMIT, LIMIT, LIMIT);
	tend();
	chain = at.nodes[0]->chain;
	at.nodes[1]->nr_items = 1;
	KUNIT_EXPECT_FALSE(test, ksm_chain_is_due(chain));
	KUNIT_EXPECT_PTR_EQ(test, ksm_chain_tend(chain), at.nodes[0]);
	KUNIT_EXPECT_NULL(test, ksm_chain_roomy(chain));
	/* The time that holds now counts, not the one when it was looked at. */
	chain->settled = jiffies - msecs_to_jiffies(2000);
	ksm_test_tend_every(KSM_TEST_NEVER);
	KUNIT_EXPECT_FALSE(test, ksm_chain_is_due(chain));
	ksm_test_tend_every(2000);
	KUNIT_EXPECT_TRUE(test, ksm_chain_is_due(chain));
	KUNIT_EXPECT_PTR_EQ(test, ksm_chain_tend(chain), at.nodes[1]);
}

static void a_long_chain_is_gone_through_in_steps(struct kunit *test)
{
	struct ksm_chain *chain;
	unsigned int goes = 0;

	make(test, MANY, NULL);
	tend();
	chain = at.nodes[0]->chain;
	at.nodes[MANY / 2]->nr_items = 1;
	ksm_test_tend_every(0);
	while (ksm_chain_tend(chain) == chain->shown && goes < MANY)
		goes++;
	KUNIT_EXPECT_GE(test, goes, 1);
	KUNIT_EXPECT_LE(test, goes, 4);
	KUNIT_EXPECT_PTR_EQ(test, ksm_chain_roomy(chain), at.nodes[MANY / 2]);
	expect_members(test, MANY);
	expect_counts(test, 1, MANY);
}

static void who_leaves_while_it_is_gone_through_is_no_harm(struct kunit *test)
{
	struct ksm_chain *chain;
	unsigned int i;

	make(test, MANY, NULL);
	tend();
	chain = at.nodes[0]->chain;
	ksm_test_tend_every(0);
	ksm_chain_tend(chain);
	KUNIT_EXPECT_NE(test, chain->unseen, 0);
	for (i = 2; i < MANY; i++)
		ksm_chain_leave(at.nodes[i], &at.root);
	expect_members(test, 2);
	while (chain->unseen)
		ksm_chain_tend(chain);
	expect_members(test, 2);
	expect_counts(test, 1, 2);
}

static void expect_spared(struct kunit *test, const char *which)
{
	unsigned int i;

	ksm_chain_show(at.nodes[1], &at.root, true);
	tend();
	for (i = 0; i < at.count; i++)
		KUNIT_EXPECT_EQ_MSG(test, ksm_chain_can_spare(at.nodes[i]), which[i] == 'x',
				    "node %u of %s", i, which);
}

static void what_fewer_pages_could_do_is_spared(struct kunit *test)
{
	MAKE(test, 1, 3, 1, LIMIT);
	expect_spared(test, "x.x.");
}

static void what_is_fuller_than_the_shown_one_is_not_spared(struct kunit *test)
{
	MAKE(test, 3, 1, 1, LIMIT);
	expect_spared(test, "..x.");
}

static void what_is_needed_is_not_spared(struct kunit *test)
{
	/* Seven items, two pages: moving some would gain nothing. */
	MAKE(test, 3, 3, 1);
	at.nodes[2]->nr_items = 0;
	expect_spared(test, "...");
}

static void what_forks_have_overfilled_counts_as_full(struct kunit *test)
{
	MAKE(test, 1, 1, 10 * LIMIT);
	expect_spared(test, "x..");
}

static struct kunit_case chain_cases[] = {
	KUNIT_CASE(counts_follow_who_comes_and_goes),
	KUNIT_CASE(when_the_one_that_is_shown_leaves_another_is),
	KUNIT_CASE(any_member_can_be_shown),
	KUNIT_CASE(the_fullest_that_has_room_is_shown),
	KUNIT_CASE(where_all_are_full_the_shown_one_stays),
	KUNIT_CASE(between_looks_nothing_is_looked_at),
	KUNIT_CASE(a_long_chain_is_gone_through_in_steps),
	KUNIT_CASE(who_leaves_while_it_is_gone_through_is_no_harm),
	KUNIT_CASE(what_fewer_pages_could_do_is_spared),
	KUNIT_CASE(what_is_fuller_than_the_shown_one_is_not_spared),
	KUNIT_CASE(what_is_needed_is_not_spared),
	KUNIT_CASE(what_forks_have_overfilled_counts_as_full),
	{ }
};

static struct kunit_suite chain_suite = {
	.name = "ksm_chain",
	.init = init,
	.test_cases = chain_cases,
};

kunit_test_suite(chain_suite);
