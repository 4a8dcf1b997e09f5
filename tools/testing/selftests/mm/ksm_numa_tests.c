// SPDX-License-Identifier: GPL-2.0
/*
 * merge_across_nodes: at 0, only pages of one NUMA node merge, and a KSM page that
 * moves to another node is a page of that node from then on.
 */
#include <stdio.h>

#include "ksm_util.h"

#define PAGES	16

static int node[2];

/* To be called first. At 1, KSM is as ever. */
static void merge_across(int across)
{
	ksm_need_knob("merge_across_nodes");
	ksm_two_nodes(node);
	ksm_knob_set("merge_across_nodes", across);
}

/* Equal pages, offered, on one of the two nodes. */
static char *map_on(int which, size_t pages, u64 seed)
{
	char *mem = ksm_map(pages);
	size_t i;

	ksm_check_sys(ksm_bind(mem, pages, node[which]));
	ksm_fill_equal(mem, pages, seed);
	for (i = 0; i < pages; i++)
		ksm_check_eq(ksm_node_of(mem + i * psize()), node[which]);
	ksm_mergeable(mem, pages);
	return mem;
}

static void check_one_page(const char *mem, size_t pages, unsigned long pfn, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		ksm_check_eq(ksm_pfn(mem + i * psize()), pfn);
	ksm_verify_equal(mem, pages, seed);
}

static void pages_of_two_NUMA_nodes_stay_apart(void)
{
	char *mem[2];
	int i;

	merge_across(0);
	for (i = 0; i < 2; i++)
		mem[i] = map_on(i, PAGES, 1);
	for (i = 0; i < 2; i++)
		ksm_merge(mem[i], PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), 2);
	for (i = 0; i < 2; i++) {
		ksm_check_eq(ksm_node_of(mem[i]), node[i]);
		check_one_page(mem[i], PAGES, ksm_pfn(mem[i]), 1);
	}
}

static void pages_of_two_NUMA_nodes_merge_across(void)
{
	char *mem[2];
	int i;

	merge_across(1);
	for (i = 0; i < 2; i++)
		mem[i] = map_on(i, PAGES, 1);
	for (i = 0; i < 2; i++)
		ksm_merge(mem[i], PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	for (i = 0; i < 2; i++)
		check_one_page(mem[i], PAGES, ksm_pfn(mem[0]), 1);
}

/* A pair alone on each of two nodes: the one that another node's would need. */
static void a_lone_page_finds_no_twin_on_another_NUMA_node(void)
{
	char *mem[2];
	int i;

	merge_across(0);
	for (i = 0; i < 2; i++)
		mem[i] = map_on(i, 1, 1);
	for (i = 0; i < 2; i++)
		ksm_expect_none(mem[i], 1);
	for (i = 0; i < 2; i++)
		ksm_verify_equal(mem[i], 1, 1);
}

static void merge_across_nodes_stays_while_pages_are_shared(void)
{
	char *mem;

	merge_across(0);
	mem = map_on(0, PAGES, 1);
	ksm_merge(mem, PAGES);
	ksm_check_eq(ksm_knob_write("merge_across_nodes", "1"), -EBUSY);
	ksm_check_eq(ksm_knob_get("merge_across_nodes"), 0);
	ksm_check_eq(ksm_knob_write("merge_across_nodes", "0"), 0);
	ksm_unmerge_all();
	ksm_check_eq(ksm_knob_write("merge_across_nodes", "1"), 0);
	ksm_check_eq(ksm_knob_get("merge_across_nodes"), 1);
	ksm_verify_equal(mem, PAGES, 1);
}

/* New pages on a node merge with what has come there, not with what has left. */
static void P55_a_KSM_page_belongs_where_it_has_moved(void)
{
	char *mem, *near, *far;
	unsigned long pfn;

	merge_across(0);
	mem = map_on(0, PAGES, 1);
	ksm_merge(mem, PAGES);
	ksm_check_eq(ksm_move_page(0, mem, node[1]), node[1]);
	pfn = ksm_pfn(mem);

	far = map_on(1, PAGES, 1);
	ksm_merge(far, PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	check_one_page(mem, PAGES, pfn, 1);
	check_one_page(far, PAGES, pfn, 1);

	near = map_on(0, PAGES, 1);
	ksm_merge(near, PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), 2);
	ksm_check_eq(ksm_node_of(near), node[0]);
	check_one_page(near, PAGES, ksm_pfn(near), 1);
	check_one_page(far, PAGES, pfn, 1);
}

#define MOVES	200

/*
 * P45, P50: a KSM page goes to and fro while ksmd looks for it, and an equal one is
 * on each node. Whatever tree finds it, what programs read stays.
 */
static void P45_KSM_pages_to_and_fro_under_a_scan(void)
{
	char *home[2], *mem;
	int i, to, moved = 0;

	merge_across(0);
	for (i = 0; i < 2; i++)
		home[i] = map_on(i, PAGES, 1);
	for (i = 0; i < 2; i++)
		ksm_merge(home[i], PAGES);
	ksm_run();
	for (i = 0; i < MOVES; i++) {
		mem = map_on(i % 2, PAGES, i % 3);
		to = node[i / 2 % 2];
		/* May be in use by ksmd just now. */
		moved += ksm_move_page(0, home[i / 4 % 2], to) == to;
		ksm_move_page(0, mem, to);
		if (i % 8 == 7)
			ksm_wait_scans(1);
		ksm_fill_page(home[i % 2] + i % PAGES * psize(), 1);
		ksm_verify_equal(mem, PAGES, i % 3);
		ksm_verify_equal(home[i % 2], PAGES, 1);
		ksm_unmap(mem, PAGES);
	}
	ksm_check(moved, "no page was ever moved");
	for (i = 0; i < 2; i++)
		ksm_verify_equal(home[i], PAGES, 1);
	ksm_unmerge_all();
	for (i = 0; i < 2; i++)
		ksm_verify_equal(home[i], PAGES, 1);
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
}

static const struct ksm_test tests[] = {
	KSM_TEST(pages_of_two_NUMA_nodes_stay_apart),
	KSM_TEST(pages_of_two_NUMA_nodes_merge_across),
	KSM_TEST(a_lone_page_finds_no_twin_on_another_NUMA_node),
	KSM_TEST(merge_across_nodes_stays_while_pages_are_shared),
	KSM_TEST(P55_a_KSM_page_belongs_where_it_has_moved),
	KSM_TEST(P45_KSM_pages_to_and_fro_under_a_scan),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
