// SPDX-License-Identifier: GPL-2.0
/*
 * mremap() of merged pages: content follows, old places may be used anew, and
 * KSM goes on merging at both.
 */
#include <stdio.h>

#include "ksm_util.h"

#define PAGES	16

static void move_to(char *from, char *to, size_t pages, int flags)
{
	char *got = mremap(from, pages * psize(), pages * psize(),
			   MREMAP_MAYMOVE | MREMAP_FIXED | flags, to);

	ksm_check(got == to, "mremap: %m");
}

static void P24_moved_pages_keep_content_and_merge_again(void)
{
	char *mem = ksm_map_equal(PAGES, 1), *to = ksm_place(PAGES);

	ksm_merge(mem, PAGES);
	move_to(mem, to, PAGES, 0);
	ksm_verify_equal(to, PAGES, 1);
	ksm_check(ksm_vma_has(to, "mg"), "no longer mergeable");
	ksm_check_eq(ksm_ksm_pages(to, PAGES), 0);
	ksm_merge(to, PAGES);
	ksm_verify_equal(to, PAGES, 1);
	ksm_unmergeable(to, PAGES);
	ksm_check_eq(ksm_ksm_pages(to, PAGES), 0);
	ksm_verify_equal(to, PAGES, 1);
}

/* P24: what is known of an address must not be believed of the page that comes there. */
static void P24_a_move_onto_addresses_of_merged_pages(void)
{
	char *a = ksm_map_equal(PAGES, 2), *b = ksm_map_equal(PAGES, 3), *twin_a, *twin_b;

	ksm_merge(a, PAGES);
	ksm_merge(b, PAGES);
	move_to(b, a, PAGES, 0);
	ksm_verify_equal(a, PAGES, 3);
	ksm_check_eq(ksm_ksm_pages(a, PAGES), 0);
	twin_a = ksm_map_equal(PAGES, 2);
	twin_b = ksm_map_equal(PAGES, 3);
	ksm_merge(a, PAGES);
	ksm_merge(twin_a, PAGES);
	ksm_merge(twin_b, PAGES);
	ksm_verify_equal(a, PAGES, 3);
	ksm_verify_equal(twin_a, PAGES, 2);
	ksm_verify_equal(twin_b, PAGES, 3);
	ksm_check_eq(ksm_pfn(a), ksm_pfn(twin_b));
}

static void two_ranges_change_places(void)
{
	char *a = ksm_map_equal(PAGES, 4), *b = ksm_map_equal(PAGES, 5), *aside = ksm_place(PAGES);
	int round;

	ksm_run();
	for (round = 0; round < 10; round++) {
		ksm_wait_scans(round % 4);
		move_to(a, aside, PAGES, 0);
		move_to(b, a, PAGES, 0);
		move_to(aside, b, PAGES, 0);
		ksm_verify_equal(a, PAGES, round % 2 ? 4 : 5);
		ksm_verify_equal(b, PAGES, round % 2 ? 5 : 4);
	}
	ksm_merge(a, PAGES);
	ksm_merge(b, PAGES);
	ksm_verify_equal(a, PAGES, 4);
	ksm_verify_equal(b, PAGES, 5);
}

static void a_part_of_merged_pages_moves(void)
{
	char *mem = ksm_map_equal(PAGES, 6), *to = ksm_place(4);
	char *hole = mem + 4 * psize();

	ksm_merge(mem, PAGES);
	move_to(hole, to, 4, 0);
	ksm_verify_equal(mem, 4, 6);
	ksm_verify_equal(to, 4, 6);
	ksm_verify_equal(mem + 8 * psize(), PAGES - 8, 6);

	/* The hole gets other pages. */
	ksm_check(mmap(hole, 4 * psize(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == hole, "mmap: %m");
	ksm_fill_equal(hole, 4, 7);
	ksm_mergeable(hole, 4);
	ksm_merge(hole, 4);
	ksm_merge(to, 4);
	ksm_verify_equal(mem, 4, 6);
	ksm_verify_equal(hole, 4, 7);
	ksm_verify_equal(to, 4, 6);
	ksm_verify_equal(mem + 8 * psize(), PAGES - 8, 6);
}

static void merged_pages_grow_and_shrink(void)
{
	char *room = ksm_place(2 * PAGES), *mem;
	size_t size = psize();

	mem = mmap(room, PAGES * size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ksm_check(mem == room, "mmap: %m");
	ksm_fill_equal(mem, PAGES, 8);
	ksm_mergeable(mem, PAGES);
	ksm_merge(mem, PAGES);
	ksm_check(mremap(mem, PAGES * size, 2 * PAGES * size, 0) == mem, "growing: %m");
	ksm_fill_equal(mem + PAGES * size, PAGES, 8);
	ksm_merge(mem, 2 * PAGES);
	ksm_verify_equal(mem, 2 * PAGES, 8);
	ksm_check(mremap(mem, 2 * PAGES * size, size, 0) == mem, "shrinking: %m");
	ksm_verify_equal(mem, 1, 8);
	ksm_check_eq(ksm_ksm_pages(mem, 1), 1);
}

/*
 * The old range keeps its VMA, but not its anon_vma: what is merged there later
 * needs the new one, or nobody finds its mappings.
 */
static void MREMAP_DONTUNMAP_and_merging_at_the_old_place(void)
{
	char *mem, *to = ksm_place(PAGES);

	ksm_cgroup_enter("dontunmap");
	mem = ksm_map_equal(PAGES, 9);
	ksm_merge(mem, PAGES);
	move_to(mem, to, PAGES, MREMAP_DONTUNMAP);
	ksm_verify_equal(to, PAGES, 9);
	ksm_check_eq(mem[0] | mem[PAGES * psize() - 1], 0);

	ksm_fill_equal(mem, PAGES, 9);
	ksm_merge(mem, PAGES);
	ksm_merge(to, PAGES);
	ksm_check_eq(ksm_pfn(mem), ksm_pfn(to));
	ksm_verify_equal(mem, PAGES, 9);
	ksm_verify_equal(to, PAGES, 9);

	/* Reclaim gets at the page only if it finds each of its mappings. */
	ksm_need_swap();
	ksm_swap_out(mem, PAGES);
	ksm_swap_out(to, PAGES);
	ksm_verify_equal(mem, PAGES, 9);
	ksm_verify_equal(to, PAGES, 9);
}

static void moved_pages_are_still_found_by_reclaim(void)
{
	char *mem, *to = ksm_place(PAGES);

	ksm_need_swap();
	ksm_cgroup_enter("moved");
	mem = ksm_map_equal(2 * PAGES, 10);
	ksm_merge(mem, 2 * PAGES);
	move_to(mem + PAGES * psize(), to, PAGES, 0);
	ksm_merge(to, PAGES);
	ksm_check_eq(ksm_pfn(mem), ksm_pfn(to));
	ksm_swap_out(mem, PAGES);
	ksm_swap_out(to, PAGES);
	ksm_verify_equal(mem, PAGES, 10);
	ksm_verify_equal(to, PAGES, 10);
}

static void a_childs_mapping_stays_when_the_parent_moves(void)
{
	struct ksm_sharer sharer;

	ksm_sharers_start(&sharer, 1, PAGES, 11);
	ksm_sharers_merge(&sharer, 1);
	ksm_sharer_do(&sharer, KSM_FORK, 0);
	ksm_sharer_do(&sharer, KSM_ADVISE, MADV_UNMERGEABLE);
	ksm_sharer_do(&sharer, KSM_FILL, 12);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_VERIFY, 11);
	ksm_run();
	ksm_wait_scans(3);
	ksm_sharer_do(&sharer, KSM_VERIFY, 12);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_VERIFY, 11);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_QUIT, 0);
	ksm_sharers_end(&sharer, 1);
}

static void moving_while_ksmd_merges(void)
{
	char *a = ksm_map_equal(PAGES, 13), *other = ksm_map_equal(PAGES, 13);
	char *to = ksm_place(PAGES);
	int round;

	ksm_run();
	for (round = 0; round < 150; round++) {
		char *from = round % 2 ? to : a, *there = round % 2 ? a : to;

		move_to(from, there, PAGES, 0);
		ksm_verify_equal(there, PAGES, 13);
		if (round % 8 == 0)
			ksm_fill_equal(there, PAGES / 2, 13);
		if (round % 25 == 0)
			ksm_wait_scans(2);
	}
	ksm_merge(a, PAGES);
	ksm_verify_equal(a, PAGES, 13);
	ksm_verify_equal(other, PAGES, 13);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P24_moved_pages_keep_content_and_merge_again),
	KSM_TEST(P24_a_move_onto_addresses_of_merged_pages),
	KSM_TEST(two_ranges_change_places),
	KSM_TEST(a_part_of_merged_pages_moves),
	KSM_TEST(merged_pages_grow_and_shrink),
	KSM_TEST(MREMAP_DONTUNMAP_and_merging_at_the_old_place),
	KSM_TEST(moved_pages_are_still_found_by_reclaim),
	KSM_TEST(a_childs_mapping_stays_when_the_parent_moves),
	KSM_TEST(moving_while_ksmd_merges),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
