// SPDX-License-Identifier: GPL-2.0
/*
 * KSM pages in swap, and whose memory they are: charges of two control groups, swap-in
 * by several processes at a time within a limit, and what swapoff may bring back where.
 */
#include <stdio.h>
#include <sys/swap.h>

#include "ksm_util.h"

#define PAGES	1024
#define SEED	62
/*
 * What the figures may be wrong by: a process has pages of its own, each CPU keeps some
 * charges back, and memory.stat is not always of this moment.
 */
#define SLACK	(PAGES / 2)

enum order { OFFER, SWAP_OUT, VERIFY, VERIFY_TWIN, SHOW_ANON, SHOW_CURRENT, SHOW_SWAP, QUIT };

/* A process with pages that others have as well; in a group of its own, if it has a name. */
struct member {
	const char	*group;
	bool		twice;	/* has them at two places */
	char		*mem, *twin;
	pid_t		pid;
	struct ksm_kid	kid;
};

static u64 carry_out(struct member *member, enum order order)
{
	switch (order) {
	case OFFER:
		ksm_mergeable(member->mem, PAGES);
		break;
	case SWAP_OUT:
		ksm_swap_out(member->mem, PAGES);
		if (member->twice)
			ksm_swap_out(member->twin, PAGES);
		break;
	case VERIFY:
		ksm_verify_unique(member->mem, PAGES, SEED);
		break;
	case VERIFY_TWIN:
		ksm_verify_unique(member->twin, PAGES, SEED);
		break;
	case SHOW_ANON:
		return ksm_cgroup_stat("anon") / psize();
	case SHOW_CURRENT:
		return ksm_cgroup_value("memory.current", "") / psize();
	case SHOW_SWAP:
		return ksm_cgroup_value("memory.swap.current", "") / psize();
	case QUIT:
		break;
	}
	return 0;
}

static void obey(struct ksm_kid *parent, void *arg)
{
	struct member *member = arg;
	enum order order;

	if (member->group)
		ksm_cgroup_enter(member->group);
	member->mem = ksm_map(PAGES);
	ksm_fill_unique(member->mem, PAGES, SEED);
	if (member->twice)
		member->twin = ksm_map_unique(PAGES, SEED);
	ksm_kid_send(parent, getpid());
	ksm_kid_send(parent, (uintptr_t)member->mem);
	do {
		order = ksm_kid_recv(parent);
		ksm_kid_send(parent, carry_out(member, order));
	} while (order != QUIT);
}

static void start(struct member *member)
{
	ksm_kid_start(&member->kid, obey, member);
	member->pid = ksm_kid_recv(&member->kid);
	member->mem = (char *)(uintptr_t)ksm_kid_recv(&member->kid);
}

static long tell(struct member *member, enum order order)
{
	ksm_kid_send(&member->kid, order);
	return ksm_kid_recv(&member->kid);
}

static void end(struct member *member)
{
	tell(member, QUIT);
	ksm_kid_end(&member->kid);
}

static void merge_all_of(struct member *member)
{
	tell(member, OFFER);
	ksm_expect_of(member->pid, member->mem, PAGES, PAGES);
	ksm_stop();
}

static void expect_about(const char *what, long got, long want)
{
	ksm_check(got > want - SLACK && got < want + SLACK,
		  "%s: %ld pages, not about %ld", what, got, want);
}

/* ------------------------------------------------------------------------ */

/*
 * P61, P62: a KSM page is the memory of the group whose page became it, in swap, too. Who
 * gets a copy of it at swap-in pays for the copy.
 */
static void P62_each_group_pays_for_its_copies(void)
{
	struct member first = { .group = "first", .twice = true }, second = { .group = "second" };
	long copies;

	ksm_need_swap();
	start(&first);
	start(&second);
	merge_all_of(&first);
	expect_about("first: merged", tell(&first, SHOW_ANON), PAGES);
	expect_about("second: not merged yet", tell(&second, SHOW_ANON), PAGES);
	merge_all_of(&second);
	ksm_check_eq(ksm_knob_get("pages_shared"), PAGES);
	expect_about("first: shared", tell(&first, SHOW_ANON), PAGES);
	expect_about("second: shared", tell(&second, SHOW_ANON), 0);
	expect_about("second: memory.current", tell(&second, SHOW_CURRENT), 0);

	tell(&first, SWAP_OUT);
	tell(&second, SWAP_OUT);
	expect_about("first: swapped out", tell(&first, SHOW_ANON), 0);
	expect_about("first: swap", tell(&first, SHOW_SWAP), PAGES);
	expect_about("second: swap", tell(&second, SHOW_SWAP), 0);

	tell(&first, VERIFY);
	expect_about("first: back again", tell(&first, SHOW_ANON), PAGES);
	copies = ksm_vmstat("ksm_swpin_copy");
	tell(&first, VERIFY_TWIN);
	expect_about("first: with copies", tell(&first, SHOW_ANON), 2 * PAGES);
	expect_about("second: nothing yet", tell(&second, SHOW_ANON), 0);
	tell(&second, VERIFY);
	expect_about("copies", ksm_vmstat("ksm_swpin_copy") - copies, 2 * PAGES);
	expect_about("first: with copies", tell(&first, SHOW_ANON), 2 * PAGES);
	expect_about("second: with copies", tell(&second, SHOW_ANON), PAGES);
	ksm_check(tell(&second, SHOW_CURRENT) > PAGES - SLACK, "second: memory.current is %ld",
		  tell(&second, SHOW_CURRENT));

	/* And once more. Whose pages become the KSM pages is not said, but it is so many. */
	ksm_run();
	ksm_expect_of(second.pid, second.mem, PAGES, PAGES);
	ksm_expect_of(first.pid, first.mem, PAGES, PAGES);
	ksm_wait_scans(2);
	ksm_stop();
	expect_about("both: merged again", tell(&first, SHOW_ANON) + tell(&second, SHOW_ANON),
		     PAGES);
	tell(&first, VERIFY);
	tell(&first, VERIFY_TWIN);
	end(&first);
	tell(&second, VERIFY);
	end(&second);
}

#define SWAPPERS	3

/* All of them at once, with less memory than the copies need. */
static void P61_many_swap_in_at_once_within_a_limit(void)
{
	struct member all[SWAPPERS];
	long copies;
	int i;

	ksm_need_swap();
	ksm_cgroup_enter("limit");
	for (i = 0; i < SWAPPERS; i++) {
		all[i] = (struct member){ .twice = !i };
		start(&all[i]);
		merge_all_of(&all[i]);
	}
	for (i = 0; i < SWAPPERS; i++)
		tell(&all[i], SWAP_OUT);
	ksm_cgroup_write("memory.max", "8M");
	copies = ksm_vmstat("ksm_swpin_copy");
	ksm_run();
	for (i = 0; i < SWAPPERS; i++)
		ksm_kid_send(&all[i].kid, VERIFY);
	for (i = 0; i < SWAPPERS; i++)
		ksm_kid_recv(&all[i].kid);
	ksm_stop();
	ksm_check(ksm_vmstat("ksm_swpin_copy") > copies, "nothing was copied at swap-in");
	ksm_check(ksm_cgroup_value("memory.events", "max"), "the limit was not met");
	ksm_check_eq(ksm_cgroup_value("memory.events", "oom"), 0);
	ksm_check_eq(ksm_cgroup_value("memory.events", "oom_kill"), 0);
	for (i = 0; i < SWAPPERS; i++)
		end(&all[i]);
}

/* ------------------------------------------------------------------------ */

/* Wherever it is mapped it can be found: what cannot be found cannot move. */
static void check_that_it_moves(char *page, const char *what)
{
	int to = ksm_other_node(0, page), got = ksm_move_page(0, page, to);

	ksm_check(got == to, "%s is stuck: %d", what, got);
	ksm_verify_equal(page, 1, SEED);
}

/*
 * A KSM page is kept in the swap cache by a pipe. Of its four mappings one is left as it
 * was, one is not offered any more, one has moved, and one has not been swapped in.
 */
static void switch_swap_off(struct ksm_kid *parent, void *path)
{
	char *mem = ksm_map_equal(4, SEED), *to = ksm_map(1), *copy = ksm_map(1);
	int pipe_ends[2];

	ksm_merge(mem, 4);
	ksm_pipe_fill(pipe_ends, mem, 1);
	ksm_swap_out(mem, 4);
	ksm_unmergeable(mem + psize(), 1);
	ksm_check(mremap(mem + 2 * psize(), psize(), psize(), MREMAP_MAYMOVE | MREMAP_FIXED,
			 to) == to, "mremap: %m");
	ksm_verify_equal(mem, 1, SEED);
	ksm_check_sys(swapoff(path));

	ksm_check_eq(ksm_ksm_pages(mem + psize(), 1), 0);
	ksm_check_eq(read(pipe_ends[0], copy, psize()), psize());
	ksm_verify_equal(copy, 1, SEED);
	check_that_it_moves(mem, "what stayed in its place");
	check_that_it_moves(mem + psize(), "what was unmerged");
	check_that_it_moves(to, "what has moved");
	check_that_it_moves(mem + 3 * psize(), "what was in swap");

	/* All is as if it had never been out. */
	ksm_mergeable(mem + psize(), 1);
	ksm_merge(to, 1);
	ksm_run();
	ksm_await(ksm_pfn(mem) == ksm_pfn(to) && ksm_pfn(mem + psize()) == ksm_pfn(to) &&
		  ksm_pfn(mem + 3 * psize()) == ksm_pfn(to), 30, "they do not merge again");
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	ksm_verify_equal(mem, 2, SEED);
	ksm_verify_equal(mem + 3 * psize(), 1, SEED);
	ksm_verify_equal(to, 1, SEED);
}

static void P61_P83_swapoff_maps_a_KSM_page_only_where_it_belongs(void)
{
	int node[2];

	ksm_need_swap();
	ksm_two_nodes(node);
	ksm_cgroup_enter("swapoff2");
	ksm_swapoff_test(switch_swap_off);
}

static const struct ksm_test tests[] = {
	KSM_TEST_LONG(P62_each_group_pays_for_its_copies, 300),
	KSM_TEST_LONG(P61_many_swap_in_at_once_within_a_limit, 300),
	KSM_TEST(P61_P83_swapoff_maps_a_KSM_page_only_where_it_belongs),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
