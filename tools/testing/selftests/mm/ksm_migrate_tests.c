// SPDX-License-Identifier: GPL-2.0
/*
 * KSM pages that move: from node to node, by compaction.  Every mapping must follow,
 * and KSM must still know the page.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include <linux/mempolicy.h>

#include "ksm_util.h"

#define PAGES	16

/* All mappings of a sharer's pages are of this one frame. */
static void check_frames(const struct ksm_sharer *sharer, unsigned long pfn)
{
	size_t i;

	for (i = 0; i < sharer->pages; i++)
		ksm_check_eq(ksm_pfn_of(sharer->kid.pid, sharer->mem + i * psize()), pfn);
}

static void check_moved_and_whole(struct ksm_sharer *sharers, unsigned int count, int node,
				  u64 seed)
{
	unsigned long pfn = ksm_pfn_of(sharers[0].kid.pid, sharers[0].mem);
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct ksm_area area;

		check_frames(&sharers[i], pfn);
		ksm_area(sharers[i].kid.pid, sharers[i].mem, sharers[i].pages, &area);
		ksm_check_eq(area.ksm, sharers[i].pages);
	}
	ksm_sharers_do(sharers, count, KSM_VERIFY, seed);
	ksm_check_eq(ksm_move_page(sharers[0].kid.pid, sharers[0].mem, node), node);
	ksm_check_eq(ksm_pfn_of(sharers[0].kid.pid, sharers[0].mem), pfn);
}

/*
 * P54: a node that still names the old frame would not be found by the next equal
 * page: then there would be two shared pages.
 */
static void check_a_new_page_joins(unsigned long pfn, u64 seed)
{
	char *twin = ksm_map_equal(2, seed);

	ksm_merge(twin, 2);
	ksm_check_eq(ksm_pfn(twin), pfn);
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	ksm_verify_equal(twin, 2, seed);
}

static void P54_move_pages_takes_all_mappings_along(void)
{
	struct ksm_sharer sharers[3];
	unsigned long old, pfn;
	int node[2], round;

	ksm_two_nodes(node);
	ksm_sharers_start(sharers, 3, PAGES, 1);
	ksm_sharers_merge(sharers, 3);
	ksm_sharer_do(&sharers[2], KSM_FORK, 0);
	for (round = 0; round < 4; round++) {
		int to = node[round % 2];

		old = ksm_pfn_of(sharers[1].kid.pid, sharers[1].mem);
		ksm_check_eq(ksm_move_page(sharers[1].kid.pid, sharers[1].mem, to), to);
		pfn = ksm_pfn_of(sharers[0].kid.pid, sharers[0].mem);
		ksm_check(round == 0 || pfn != old, "the page did not move");
		check_moved_and_whole(sharers, 3, to, 1);
		ksm_sharer_do(&sharers[2], KSM_CHILD | KSM_VERIFY, 1);
	}
	check_a_new_page_joins(pfn, 1);
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 1);
	ksm_sharer_do(&sharers[2], KSM_CHILD | KSM_FILL, 2);
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 1);
	ksm_sharer_do(&sharers[2], KSM_CHILD | KSM_QUIT, 0);
	ksm_sharers_end(sharers, 3);
}

static void P54_migrate_pages_of_a_process(void)
{
	struct ksm_sharer sharers[2];
	unsigned long from, to_mask;
	int node[2], round;

	ksm_two_nodes(node);
	ksm_sharers_start(sharers, 2, PAGES, 3);
	ksm_sharers_merge(sharers, 2);
	for (round = 0; round < 4; round++) {
		int to = node[round % 2];

		from = 1UL << node[(round + 1) % 2];
		to_mask = 1UL << to;
		/* It moves the program's other pages as well, of which some may be busy. */
		ksm_check_sys(syscall(SYS_migrate_pages, sharers[0].kid.pid, 64, &from, &to_mask));
		check_moved_and_whole(sharers, 2, to, 3);
	}
	check_a_new_page_joins(ksm_pfn_of(sharers[0].kid.pid, sharers[0].mem), 3);
	ksm_sharers_end(sharers, 2);
}

/* All have the same page, which is met at each address. */
static void mbind_moves_a_page_with_many_mappings(void)
{
	char *mem = ksm_map_equal(PAGES, 4), *twin = ksm_map_equal(PAGES, 4);
	int node[2], round;

	ksm_two_nodes(node);
	ksm_merge(mem, PAGES);
	ksm_merge(twin, PAGES);
	for (round = 0; round < 4; round++) {
		ksm_check_sys(ksm_bind(mem, PAGES, node[round % 2]));
		ksm_check_eq(ksm_node_of(mem), node[round % 2]);
		ksm_verify_equal(mem, PAGES, 4);
		ksm_verify_equal(twin, PAGES, 4);
	}
	ksm_fill_equal(mem, PAGES, 5);
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 5);
	ksm_verify_equal(twin, PAGES, 4);
}

struct mover {
	pid_t	pid;
	char	*mem;
	int	node[2];
};

static void move_for_ever(struct ksm_kid *parent, void *arg)
{
	struct mover *mover = arg;
	u64 round;

	for (round = 0;; round++)
		ksm_move_page(mover->pid, mover->mem + round % PAGES * psize(),
			      mover->node[round / PAGES % 2]);
}

#define BATCH	128

/* In batches: of these all pages are unmapped first, and stay so until all are copied. */
static void move_batches_for_ever(struct ksm_kid *parent, void *arg)
{
	struct mover *mover = arg;
	void *addr[BATCH];
	int to[BATCH], status[BATCH], i;
	u64 round;

	for (round = 0;; round++) {
		for (i = 0; i < BATCH; i++) {
			addr[i] = mover->mem + i * psize();
			to[i] = mover->node[round % 2];
		}
		syscall(SYS_move_pages, mover->pid, BATCH, addr, to, status, MPOL_MF_MOVE_ALL);
	}
}

static void halt(struct ksm_kid *kid)
{
	int status;

	kill(kid->pid, SIGSTOP);
	ksm_check_sys(waitpid(kid->pid, &status, WUNTRACED));
	ksm_check(WIFSTOPPED(status), "the mover has ended: status 0x%x", status);
}

static void resume(struct ksm_kid *kid)
{
	long moved = ksm_vmstat("pgmigrate_success");

	kill(kid->pid, SIGCONT);
	ksm_await(ksm_vmstat("pgmigrate_success") > moved, 10, "no page moves");
}

/* P22: a KSM page behind a migration entry is a KSM page, too. */
static void P20_P22_unmerging_while_pages_move(void)
{
	struct mover mover = { .pid = getpid(), .mem = ksm_map_unique(BATCH, 6) };
	char *mem = ksm_map_unique(BATCH, 6);
	struct ksm_kid kid;
	int round;

	ksm_two_nodes(mover.node);
	ksm_kid_start(&kid, move_batches_for_ever, &mover);
	for (round = 0; round < 6; round++) {
		halt(&kid);
		ksm_mergeable(mem, BATCH);
		ksm_merge(mem, BATCH);
		resume(&kid);
		if (round % 2)
			ksm_unmergeable(mem, BATCH);
		else
			ksm_unmerge_all();
		halt(&kid);
		ksm_check_eq(ksm_ksm_pages(mem, BATCH), 0);
		ksm_verify_unique(mem, BATCH, 6);
		ksm_verify_unique(mover.mem, BATCH, 6);
		kill(kid.pid, SIGCONT);
	}
	ksm_kid_kill(&kid, SIGKILL);
	ksm_mergeable(mem, BATCH);
	ksm_merge(mem, BATCH);
	ksm_verify_unique(mem, BATCH, 6);
}

static void P54_moving_while_pages_merge(void)
{
	struct mover mover = { .pid = getpid(), .mem = ksm_map_equal(PAGES, 7) };
	char *other = ksm_map_equal(PAGES, 7);
	u64 end = ksm_now_ms() + 3000, seed = 7;
	struct ksm_kid kid;

	ksm_two_nodes(mover.node);
	ksm_kid_start(&kid, move_for_ever, &mover);
	ksm_run();
	while (ksm_now_ms() < end) {
		ksm_wait_scans(seed % 4);
		ksm_verify_equal(mover.mem, PAGES, seed);
		ksm_fill_equal(other, PAGES, ++seed);
		ksm_verify_equal(mover.mem, PAGES, seed - 1);
		ksm_fill_equal(mover.mem, PAGES, seed);
		ksm_verify_equal(other, PAGES, seed);
	}
	ksm_kid_kill(&kid, SIGKILL);
	ksm_merge(mover.mem, PAGES);
	ksm_merge(other, PAGES);
	ksm_verify_equal(mover.mem, PAGES, seed);
	ksm_verify_equal(other, PAGES, seed);
}

static void offer_what_fork_shared(struct ksm_kid *parent, void *arg)
{
	char *mem = arg;

	ksm_mergeable(mem, 2);
	ksm_merge(mem, 2);
	ksm_kid_send(parent, ksm_pfn(mem));
	ksm_kid_recv(parent);
	ksm_verify_equal(mem, 2, 8);
	ksm_check_eq(ksm_pfn(mem), ksm_pfn(mem + psize()));
	ksm_kid_send(parent, ksm_pfn(mem));
	ksm_kid_recv(parent);
	ksm_verify_equal(mem, 2, 8);
}

/*
 * P86, P52: parent and child share two equal pages, the child alone offers them.
 * One becomes the KSM page while the parent, of whom KSM knows nothing, still maps it.
 */
static void P86_a_page_that_the_parent_still_maps_can_move(void)
{
	char *mem = ksm_map(2), *page;
	unsigned long pfn, moved;
	struct ksm_kid kid;
	int node[2], to;

	ksm_two_nodes(node);
	ksm_fill_equal(mem, 2, 8);
	ksm_kid_start(&kid, offer_what_fork_shared, mem);
	pfn = ksm_kid_recv(&kid);
	page = ksm_pfn(mem) == pfn ? mem : mem + psize();
	if (ksm_pfn(page) != pfn)
		ksm_skip("the child's KSM page is none of those shared by fork");
	ksm_check_eq(ksm_ksm_pages(mem, 2), 1);

	to = ksm_other_node(0, page);
	ksm_check_eq(ksm_move_page(0, page, to), to);
	moved = ksm_pfn(page);
	ksm_check(moved != pfn, "the page did not move");
	ksm_kid_send(&kid, 0);
	ksm_check_eq(ksm_kid_recv(&kid), moved);
	ksm_verify_equal(mem, 2, 8);
	ksm_fill_equal(mem, 2, 9);
	ksm_kid_send(&kid, 0);
	ksm_kid_end(&kid);
	ksm_verify_equal(mem, 2, 9);
}

static void compaction_moves_KSM_pages(void)
{
	const size_t pages = 512;
	char *mem = ksm_map_unique(pages, 10), *twin = ksm_map_unique(pages, 10);
	int round;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		ksm_skip("this kernel cannot compact memory");
	ksm_merge(mem, pages);
	ksm_merge(twin, pages);
	ksm_run();
	for (round = 0; round < 3; round++) {
		ksm_check(!ksm_write_text("/proc/sys/vm/compact_memory", "1"), "compact_memory");
		ksm_verify_unique(mem, pages, 10);
		ksm_verify_unique(twin, pages, 10);
	}
	ksm_check_eq(ksm_knob_get("pages_shared"), pages);
}

static void use_both_nodes(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 11), *twin = ksm_map_equal(PAGES, 11);
	u64 end = ksm_now_ms() + 3000, seed = 11;

	ksm_run();
	while (ksm_now_ms() < end) {
		ksm_verify_equal(mem, PAGES, seed);
		ksm_verify_equal(twin, PAGES, 11);
		ksm_wait_scans(seed % 3);
		ksm_fill_equal(mem, PAGES, ++seed);
	}
	ksm_fill_equal(mem, PAGES, 11);
	ksm_expect(mem, PAGES, PAGES);
	ksm_expect(twin, PAGES, PAGES);
	ksm_verify_equal(mem, PAGES, 11);
	ksm_verify_equal(twin, PAGES, 11);
}

/*
 * NUMA hinting makes PTEs look as if nobody may write.  When it comes to which page is
 * up to the balancing: P5's proof is ksm_merge's KUnit case.
 */
static void NUMA_balancing_keeps_content(void)
{
	const char *knob = "/proc/sys/kernel/numa_balancing";
	const char *period = "/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms";
	char old[32], old_period[32];
	struct ksm_kid kid[2];
	int node[2], i, status, bad = 0;

	ksm_two_nodes(node);
	if (ksm_read_text(knob, old, sizeof(old)) < 0)
		ksm_skip("no %s", knob);
	ksm_check(!ksm_write_text(knob, "1"), "%s", knob);
	/* Every second is better than never; the knob needs debugfs. */
	if (ksm_read_text(period, old_period, sizeof(old_period)) > 0)
		ksm_write_text(period, "20");
	for (i = 0; i < 2; i++)
		ksm_kid_start(&kid[i], use_both_nodes, NULL);
	for (i = 0; i < 2; i++) {
		while (!ksm_kid_gone(&kid[i], 30, &status))
			kill(kid[i].pid, SIGKILL);
		bad |= status;
	}
	ksm_write_text(knob, old);
	if (*old_period)
		ksm_write_text(period, old_period);
	ksm_check_eq(bad, 0);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P54_move_pages_takes_all_mappings_along),
	KSM_TEST(P54_migrate_pages_of_a_process),
	KSM_TEST(mbind_moves_a_page_with_many_mappings),
	KSM_TEST(P20_P22_unmerging_while_pages_move),
	KSM_TEST(P54_moving_while_pages_merge),
	KSM_TEST(P86_a_page_that_the_parent_still_maps_can_move),
	KSM_TEST(compaction_moves_KSM_pages),
	KSM_TEST(NUMA_balancing_keeps_content),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
