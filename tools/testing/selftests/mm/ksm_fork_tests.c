// SPDX-License-Identifier: GPL-2.0
/*
 * KSM pages that were forked and that ksmd has not visited since: migration, reclaim and
 * memory failure must find them all the same, through what is known of those who had them
 * first.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include <linux/membarrier.h>

#include "ksm_util.h"

#define PAGES	16

static void obey_orders(struct ksm_kid *parent, void *arg)
{
	char *mem = arg;
	u64 seed;

	while ((seed = ksm_kid_recv(parent))) {
		ksm_verify_equal(mem, PAGES, seed);
		ksm_kid_send(parent, seed);
	}
}

/* A child that has a child of its own, which gets the next order. */
static void obey_with_a_child(struct ksm_kid *parent, void *arg)
{
	struct ksm_kid kid;
	u64 seed;

	ksm_kid_start(&kid, obey_orders, arg);
	ksm_kid_send(parent, kid.pid);
	do {
		seed = ksm_kid_recv(parent);
		ksm_kid_send(&kid, seed);
		if (!seed)
			break;
		ksm_kid_recv_value(&kid, seed);
		ksm_verify_equal(arg, PAGES, seed);
		ksm_kid_send(parent, seed);
	} while (true);
	ksm_kid_end(&kid);
}

static void verify_all(struct ksm_kid *kid, const char *mem, u64 seed)
{
	ksm_kid_send(kid, seed);
	ksm_kid_recv_value(kid, seed);
	ksm_verify_equal(mem, PAGES, seed);
}

static void P52_a_page_moves_with_children_that_ksmd_never_saw(void)
{
	char *mem = ksm_map_equal(PAGES, 1);
	unsigned long pfn, moved;
	struct ksm_kid kid;
	pid_t grandchild;
	int to;

	ksm_merge(mem, PAGES);
	to = ksm_other_node(0, mem);
	pfn = ksm_pfn(mem);
	ksm_kid_start(&kid, obey_with_a_child, mem);
	grandchild = ksm_kid_recv(&kid);
	ksm_check_eq(ksm_pfn_of(grandchild, mem), pfn);

	ksm_check_eq(ksm_move_page(0, mem, to), to);
	moved = ksm_pfn(mem);
	ksm_check(moved != pfn, "the page did not move");
	ksm_check_eq(ksm_pfn_of(kid.pid, mem), moved);
	ksm_check_eq(ksm_pfn_of(grandchild, mem + psize()), moved);
	verify_all(&kid, mem, 1);
	ksm_kid_send(&kid, 0);
	ksm_kid_end(&kid);
}

static void P52_reclaim_finds_children_that_ksmd_never_saw(void)
{
	char *mem;
	struct ksm_kid kid;
	pid_t grandchild;
	size_t i;

	ksm_need_swap();
	ksm_cgroup_enter("grandchild");
	mem = ksm_map_equal(PAGES, 2);
	ksm_merge(mem, PAGES);
	ksm_kid_start(&kid, obey_with_a_child, mem);
	grandchild = ksm_kid_recv(&kid);
	ksm_swap_out(mem, PAGES);
	for (i = 0; i < PAGES; i++) {
		ksm_check(!ksm_pfn_of(kid.pid, mem + i * psize()), "the child maps page %zu", i);
		ksm_check(!ksm_pfn_of(grandchild, mem + i * psize()),
			  "the grandchild maps page %zu", i);
	}
	verify_all(&kid, mem, 2);
	ksm_kid_send(&kid, 0);
	ksm_kid_end(&kid);
}

/* Merge, and live on as a child only, of which ksmd knows nothing. */
static char *merge_and_become_a_child(struct ksm_kid *parent, u64 seed)
{
	char *mem = ksm_map_equal(PAGES, seed);

	ksm_merge(mem, PAGES);
	ksm_kid_send(parent, (uintptr_t)mem);
	if (ksm_check_sys(fork()))
		_exit(0);
	ksm_kid_send(parent, getpid());
	return mem;
}

/* Until what was known of the dead process has gone; else that is what is followed. */
static void wait_for_burial(long sharing)
{
	if (!ksm_has_knob("reread_rounds"))
		ksm_skip("this kernel buries nobody while ksmd rests");
	ksm_await(ksm_knob_get("pages_sharing") < sharing, 10,
		  "the dead process still has %ld of %ld pages", ksm_knob_get("pages_sharing"),
		  sharing);
}

/* The one process of which KSM knew is gone when this returns, and the child has the page. */
static pid_t start_an_orphan(struct ksm_kid *kid, void (*run)(struct ksm_kid *parent, void *arg),
			     char **mem)
{
	long sharing;
	int status;
	pid_t child;

	ksm_kid_start(kid, run, NULL);
	*mem = (char *)(uintptr_t)ksm_kid_recv(kid);
	sharing = ksm_knob_get("pages_sharing");
	child = ksm_kid_recv(kid);
	ksm_check_sys(waitpid(kid->pid, &status, 0));
	wait_for_burial(sharing);
	return child;
}

static void obey_as_an_orphan(struct ksm_kid *parent, void *arg)
{
	obey_orders(parent, merge_and_become_a_child(parent, 3));
}

static void P52_a_child_outlives_the_one_that_merged(void)
{
	unsigned long pfn;
	struct ksm_kid kid;
	pid_t child;
	char *mem;
	int to;

	child = start_an_orphan(&kid, obey_as_an_orphan, &mem);
	pfn = ksm_pfn_of(child, mem);
	to = ksm_other_node(child, mem);
	ksm_check_eq(ksm_move_page(child, mem, to), to);
	ksm_check(ksm_pfn_of(child, mem) != pfn, "the page did not move");
	ksm_check_eq(ksm_pfn_of(child, mem + psize()), ksm_pfn_of(child, mem));
	ksm_kid_send(&kid, 3);
	ksm_kid_recv_value(&kid, 3);
	ksm_kid_send(&kid, 0);
}

static void say_what_is_heard(struct ksm_kid *parent, void *arg)
{
	char *mem = merge_and_become_a_child(parent, 9);

	ksm_kid_recv(parent);
	ksm_kid_send(parent, ksm_bus_errors());
	ksm_kid_send(parent, ksm_bus_error_code());
	ksm_kid_send(parent, ksm_access_fails(mem));
}

/* P66: its memory fails, and of all processes only the child is there to be told. */
static void P66_a_child_that_outlives_who_merged_is_told(void)
{
	unsigned long pfn;
	struct ksm_kid kid;
	pid_t child;
	char *mem;

	ksm_catch_bus_errors(true);
	child = start_an_orphan(&kid, say_what_is_heard, &mem);
	pfn = ksm_pfn_of(child, mem);
	ksm_check_eq(ksm_inject_pfn(pfn), 0);
	/* Signals are there before the next message is. */
	ksm_kid_send(&kid, 0);
	ksm_kid_recv_value(&kid, 1);
	ksm_kid_recv_value(&kid, BUS_MCEERR_AO);
	ksm_kid_recv_value(&kid, true);
	ksm_check_eq(ksm_bus_errors(), 0);
	ksm_repair(pfn);
}

/* The second grace period begins when the first is over, and so what waited for that. */
static void wait_for_RCU(void)
{
	int i;

	for (i = 0; i < 2; i++)
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
			ksm_skip("this kernel has no membarrier: %m");
}

/*
 * P64: the first to swap a page in has his anon_vma noted in it, and dies while the page
 * stays in the swap cache for the other: that anon_vma must not be followed any more.
 */
static void P64_the_first_to_swap_in_dies(void)
{
	struct ksm_sharer sharers[2];
	long sharing, copies;

	ksm_need_swap();
	ksm_cgroup_enter("dangling");
	ksm_sharers_start(sharers, 2, PAGES, 4);
	ksm_sharers_merge(sharers, 2);
	ksm_sharers_do(sharers, 2, KSM_SWAP_OUT, 0);
	ksm_sharer_do(&sharers[0], KSM_VERIFY, 4);
	sharing = ksm_knob_get("pages_sharing");
	ksm_sharers_end(&sharers[0], 1);
	/* Then nothing holds the anon_vma any more but what waits for RCU. */
	wait_for_burial(sharing);
	wait_for_RCU();
	copies = ksm_vmstat("ksm_swpin_copy");
	ksm_sharer_do(&sharers[1], KSM_VERIFY, 4);
	ksm_check(ksm_vmstat("ksm_swpin_copy") > copies, "nothing was copied at swap-in");
	ksm_sharers_end(&sharers[1], 1);
}

#define CHURNERS	3
#define CHURN_MS	4000
#define CHURN_MS_MOST	(60000 * KSM_PATIENCE)
#define CHURN_ROUNDS	6

/* For a while, and on until a page that another has swapped in was copied. */
static bool go_on_churning(u64 since, u64 rounds, long copies)
{
	bool done = rounds >= CHURN_ROUNDS && ksm_vmstat("ksm_swpin_copy") > copies;
	u64 spent = ksm_now_ms() - since;

	return spent < CHURN_MS || (!done && spent < CHURN_MS_MOST);
}

/* Have pages merged and swapped out, leave them to a child, and forget them. */
static void churn(struct ksm_kid *parent, void *arg)
{
	long copies = (long)(intptr_t)arg;
	u64 since = ksm_now_ms(), rounds;

	for (rounds = 0; go_on_churning(since, rounds, copies); rounds++) {
		char *mem = ksm_map_equal(PAGES, 10);
		struct ksm_kid kid;

		ksm_wait_scans(rounds % 4);
		ksm_push_out(mem, PAGES);
		ksm_kid_start(&kid, obey_orders, mem);
		if (rounds % 3)
			ksm_verify_equal(mem, PAGES, 10);
		/* The anon_vma by which the pages were found may go with this. */
		ksm_unmap(mem, PAGES);
		ksm_kid_send(&kid, 10);
		ksm_kid_recv_value(&kid, 10);
		ksm_kid_send(&kid, 0);
		ksm_kid_end(&kid);
	}
	ksm_kid_send(parent, rounds);
}

/* P64: who swaps in a page asks for an anon_vma that may be freed at that moment. */
static void P64_swap_with_forks_and_exits(void)
{
	struct ksm_kid kid[CHURNERS];
	long copies;
	int i;

	ksm_need_swap();
	ksm_cgroup_enter("churn");
	copies = ksm_vmstat("ksm_swpin_copy");
	ksm_run();
	for (i = 0; i < CHURNERS; i++)
		ksm_kid_start(&kid[i], churn, (void *)(intptr_t)copies);
	for (i = 0; i < CHURNERS; i++)
		ksm_check(ksm_kid_recv(&kid[i]) >= CHURN_ROUNDS, "hardly a round in %d ms",
			  CHURN_MS_MOST);
	for (i = 0; i < CHURNERS; i++)
		ksm_kid_end(&kid[i]);
	/* That needs two at the same page in swap, which nobody can promise. */
	if (ksm_vmstat("ksm_swpin_copy") <= copies)
		ksm_skip("nothing was copied at swap-in");
}

/* What waits in this CPU's batches gets to its place on the LRU. */
static void drain_batches(void)
{
	char *page = ksm_map(1);

	*page = 1;
	ksm_check_sys(madvise(page, psize(), MADV_PAGEOUT));
	ksm_unmap(page, 1);
}

static void free_lazily(struct ksm_kid *parent, void *mem)
{
	ksm_check_sys(madvise(mem, PAGES * psize(), MADV_FREE));
	drain_batches();
}

/* A child gives its pages up; the parent did not. */
static void survive_a_child_that_frees(char *mem, u64 seed)
{
	struct ksm_kid kid;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	ksm_check_sys(sched_setaffinity(0, sizeof(one), &one));
	ksm_kid_start(&kid, free_lazily, mem);
	ksm_kid_end(&kid);
	ksm_push_out(mem, PAGES);
	ksm_verify_equal(mem, PAGES, seed);
}

static void unmerged_pages_survive_MADV_FREE_by_a_child(void)
{
	char *mem = ksm_map_equal(PAGES, 7);

	ksm_merge(mem, PAGES);
	ksm_unmergeable(mem, PAGES);
	survive_a_child_that_frees(mem, 7);
}

static void pages_back_from_swap_survive_MADV_FREE_by_a_child(void)
{
	char *mem = ksm_map_equal(PAGES, 8);

	ksm_need_swap();
	ksm_swap_out(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 8);
	survive_a_child_that_frees(mem, 8);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P52_a_page_moves_with_children_that_ksmd_never_saw),
	KSM_TEST(P52_reclaim_finds_children_that_ksmd_never_saw),
	KSM_TEST(P52_a_child_outlives_the_one_that_merged),
	KSM_TEST(P66_a_child_that_outlives_who_merged_is_told),
	KSM_TEST(P64_the_first_to_swap_in_dies),
	KSM_TEST(P64_swap_with_forks_and_exits),
	KSM_TEST(unmerged_pages_survive_MADV_FREE_by_a_child),
	KSM_TEST(pages_back_from_swap_survive_MADV_FREE_by_a_child),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
