// SPDX-License-Identifier: GPL-2.0
/*
 * KSM pages under memory pressure: out to swap, in again, and what may not come
 * back as a KSM page.  Needs swap; zram will do.
 */
#include <stdio.h>
#include <sys/swap.h>

#include "ksm_util.h"

#define PAGES	16

static void enter(const char *name)
{
	ksm_need_swap();
	ksm_cgroup_enter(name);
}

/* Three processes and a child of one of them; the pages are in swap. */
static void start_swapped_out(struct ksm_sharer *sharers, u64 seed)
{
	ksm_sharers_start(sharers, 3, PAGES, seed);
	ksm_sharers_merge(sharers, 3);
	ksm_sharer_do(&sharers[1], KSM_FORK, 0);
	ksm_sharers_do(sharers, 3, KSM_SWAP_OUT, 0);
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_SWAP_OUT, 0);
}

static void end_all(struct ksm_sharer *sharers)
{
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_QUIT, 0);
	ksm_sharers_end(sharers, 3);
}

static void P61_all_sharers_read_it_back_from_swap(void)
{
	struct ksm_sharer sharers[3];
	long copies;

	enter("readback");
	start_swapped_out(sharers, 1);
	copies = ksm_vmstat("ksm_swpin_copy");
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 1);
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_VERIFY, 1);
	ksm_check(ksm_vmstat("ksm_swpin_copy") > copies, "no copy for another anon_vma");

	/* And they merge again, the child's too. */
	ksm_sharers_merge(sharers, 3);
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 1);
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_VERIFY, 1);
	end_all(sharers);
}

static void a_write_to_a_swapped_out_page_stays_private(void)
{
	struct ksm_sharer sharers[3];

	enter("write");
	start_swapped_out(sharers, 2);
	ksm_sharer_do(&sharers[0], KSM_FILL, 3);
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_FILL, 4);
	ksm_sharer_do(&sharers[0], KSM_VERIFY, 3);
	ksm_sharer_do(&sharers[1], KSM_VERIFY, 2);
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_VERIFY, 4);
	ksm_sharer_do(&sharers[2], KSM_VERIFY, 2);
	end_all(sharers);
}

/* Who has written to a KSM page shares it no more, also when his copy is swapped out. */
static void a_copy_in_swap_is_not_counted_as_shared(void)
{
	char *mem, *last;

	enter("copy");
	mem = ksm_map_equal(3, 32);
	last = mem + 2 * psize();
	ksm_merge(mem, 3);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 2);
	ksm_fill_equal(last, 1, 33);
	ksm_swap_out(last, 1);
	ksm_run();
	ksm_wait_scans(3);
	ksm_stop();
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 1);
	ksm_check_eq(ksm_merging_pages(0), 2);
	ksm_verify_equal(mem, 2, 32);
	ksm_verify_equal(last, 1, 33);
}

static void fork_while_swapped_out(void)
{
	struct ksm_sharer sharers[3];

	enter("fork");
	start_swapped_out(sharers, 5);
	ksm_sharer_do(&sharers[0], KSM_FORK, 0);
	ksm_sharer_do(&sharers[0], KSM_CHILD | KSM_VERIFY, 5);
	ksm_sharer_do(&sharers[0], KSM_CHILD | KSM_FILL, 6);
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 5);
	ksm_sharer_do(&sharers[0], KSM_CHILD | KSM_VERIFY, 6);
	ksm_sharer_do(&sharers[0], KSM_CHILD | KSM_QUIT, 0);
	end_all(sharers);
}

static void out_and_in_many_times_under_scan(void)
{
	struct ksm_sharer sharers[3];
	u64 seed = 7;
	int round;

	enter("rounds");
	start_swapped_out(sharers, seed);
	ksm_run();
	for (round = 0; round < 6; round++) {
		ksm_sharers_do(sharers, 3, KSM_VERIFY, seed);
		ksm_sharers_do(sharers, 3, KSM_FILL, ++seed);
		ksm_cgroup_reclaim(64);
		ksm_sharers_do(sharers, 3, KSM_VERIFY, seed);
		ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_VERIFY, 7);
		ksm_cgroup_reclaim(64);
	}
	end_all(sharers);
}

/* P62: a copy made for swap-in counts as somebody's memory. */
static void P62_copies_are_charged(void)
{
	/*
	 * A page with 1024 references and more counts as pinned, and stays in memory.  The
	 * fewer, the less sure it is: memory.stat may lag behind by 64 pages a CPU.
	 */
	const size_t pages = 480;
	long bytes = pages * psize();
	struct ksm_sharer sharers[2];

	enter("charge");
	ksm_sharers_start(sharers, 2, pages, 8);
	ksm_sharers_merge(sharers, 2);
	ksm_sharers_do(sharers, 2, KSM_SWAP_OUT, 0);
	ksm_check(ksm_cgroup_stat("anon") < bytes, "already %ld bytes", ksm_cgroup_stat("anon"));
	ksm_sharers_do(sharers, 2, KSM_VERIFY, 8);
	ksm_check(ksm_cgroup_stat("anon") >= bytes, "%ld bytes are charged for %ld in use",
		  ksm_cgroup_stat("anon"), bytes);
	ksm_sharers_end(sharers, 2);
}

static void switch_swap_off(struct ksm_kid *parent, void *arg)
{
	struct ksm_sharer sharers[3];

	start_swapped_out(sharers, 9);
	ksm_check_sys(swapoff(arg));
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 9);
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_VERIFY, 9);
	end_all(sharers);
}

static void P61_swapoff_brings_back_the_content(void)
{
	enter("swapoff");
	ksm_swapoff_test(switch_swap_off);
}

/* P83, P27: unmerging is complete also for what is in swap. */
static void P83_unmerged_while_swapped_out(void)
{
	char *mem;

	enter("unmerge");
	mem = ksm_map_equal(PAGES, 10);
	ksm_merge(mem, PAGES);
	ksm_swap_out(mem, PAGES);
	ksm_unmergeable(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 10);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
}

static void P27_run_2_while_swapped_out(void)
{
	struct ksm_sharer sharers[3];
	struct ksm_area area;
	int i;

	enter("run2");
	start_swapped_out(sharers, 11);
	ksm_unmerge_all();
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 11);
	ksm_sharer_do(&sharers[1], KSM_CHILD | KSM_VERIFY, 11);
	for (i = 0; i < 3; i++) {
		ksm_area(sharers[i].kid.pid, sharers[i].mem, PAGES, &area);
		ksm_check_eq(area.ksm, 0);
	}
	end_all(sharers);
}

/* A pipe holds one KSM page, so that it stays in the swap cache when it is swapped out. */
static char *one_page_kept_in_swap_cache(u64 seed, int *pipe_end)
{
	char *mem = ksm_map_equal(2, seed);
	int ends[2];

	ksm_merge(mem, 2);
	ksm_check_sys(madvise(mem + psize(), psize(), MADV_DONTNEED));
	ksm_pipe_fill(ends, mem, 1);
	ksm_swap_out(mem, 1);
	*pipe_end = ends[0];
	return mem;
}

static void check_pipe(int end, u64 seed)
{
	char *copy = ksm_map(1);

	ksm_check_eq(read(end, copy, psize()), psize());
	ksm_verify_equal(copy, 1, seed);
}

static void P83_unmerged_while_in_the_swap_cache(void)
{
	int end;
	char *mem;

	enter("swapcache");
	mem = one_page_kept_in_swap_cache(12, &end);
	ksm_unmergeable(mem, 2);
	ksm_verify_equal(mem, 1, 12);
	ksm_check_eq(ksm_ksm_pages(mem, 2), 0);
	check_pipe(end, 12);
}

static void P83_run_2_while_in_the_swap_cache(void)
{
	int end;
	char *mem;

	enter("swapcache2");
	mem = one_page_kept_in_swap_cache(13, &end);
	ksm_unmerge_all();
	ksm_verify_equal(mem, 1, 13);
	ksm_check_eq(ksm_ksm_pages(mem, 2), 0);
	check_pipe(end, 13);
}

/* Mapped again at another place, a KSM page would be lost to reclaim and migration. */
static void P83_moved_while_in_the_swap_cache(void)
{
	int end;
	char *mem, *to;

	enter("swapcache3");
	mem = one_page_kept_in_swap_cache(14, &end);
	to = ksm_map(1);
	ksm_check(mremap(mem, psize(), psize(), MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
		  "mremap: %m");
	ksm_verify_equal(to, 1, 14);
	check_pipe(end, 14);
	ksm_swap_out(to, 1);
	ksm_verify_equal(to, 1, 14);
}

/*
 * P3: a page given to MADV_FREE is clean, and reclaim would drop it.  Merged, it is
 * the content of others.
 */
static void P3_a_freed_page_that_merged_is_not_dropped(void)
{
	char *freed, *kept;
	int round;

	enter("madvfree");
	for (round = 0; round < 3; round++) {
		freed = ksm_map_equal(PAGES, 15 + round);
		ksm_check_sys(madvise(freed, PAGES * psize(), MADV_FREE));
		ksm_merge(freed, PAGES);
		kept = ksm_map_equal(PAGES, 15 + round);
		ksm_merge(kept, PAGES);
		ksm_swap_out(kept, PAGES);
		ksm_verify_equal(kept, PAGES, 15 + round);
		ksm_verify_equal(freed, PAGES, 15 + round);
		ksm_unmap(freed, PAGES);
		ksm_unmap(kept, PAGES);
	}
}

/*
 * P3 once more: the one who still maps a KSM page gives it to MADV_FREE; then somebody
 * joins who has given nothing away.
 */
static void P3_who_joins_a_freed_KSM_page_keeps_his_content(void)
{
	char *freed, *joined;

	enter("madvfree2");
	freed = ksm_map_equal(PAGES, 30);
	ksm_merge(freed, PAGES);
	ksm_check_sys(munmap(freed + psize(), (PAGES - 1) * psize()));
	ksm_check_sys(madvise(freed, psize(), MADV_FREE));
	joined = ksm_map_equal(PAGES, 30);
	ksm_merge(joined, PAGES);
	ksm_check_eq(ksm_pfn(joined), ksm_pfn(freed));
	ksm_await(!ksm_push_out(joined, PAGES), 30, "the pages stay in memory");
	ksm_verify_equal(joined, PAGES, 30);
}

/*
 * P2: a page in the swap cache, written to since without a fault: only the PTE knows
 * that the copy in swap is old.  Read-only, it looks as if nothing had to be done.
 */
static void P2_a_read_only_dirty_page_is_not_lost(void)
{
	char *mem;

	enter("dirty");
	mem = ksm_map_equal(PAGES, 20);
	ksm_swap_out(mem, PAGES);
	ksm_check_sys(madvise(mem, PAGES * psize(), MADV_WILLNEED));
	ksm_verify_equal(mem, PAGES, 20);
	ksm_fill_equal(mem, PAGES, 21);
	ksm_check_sys(mprotect(mem, PAGES * psize(), PROT_READ));
	ksm_merge(mem, PAGES);
	ksm_swap_out(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 21);
	/* From the swap cache, by reading: clean there, and merged once more. */
	ksm_merge(mem, PAGES);
	ksm_swap_out(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 21);
}

static void under_a_memory_limit(void)
{
	const size_t pages = 2560;
	char *mem;
	size_t i;

	enter("limit");
	ksm_cgroup_write("memory.max", "7M");
	mem = ksm_map(pages);
	ksm_mergeable(mem, pages);
	ksm_run();
	/* Each page has twins, but the groups are small and far apart. */
	for (i = 0; i < pages; i++)
		ksm_fill_page(mem + i * psize(), 1000 + i % 900);
	for (i = 0; i < pages; i++)
		ksm_verify_equal(mem + i * psize(), 1, 1000 + i % 900);
	ksm_wait_scans(1);
	for (i = 0; i < pages; i++)
		ksm_verify_equal(mem + i * psize(), 1, 1000 + i % 900);
}

/* A page is idle only while none of its mappings is used. */
static void idle_tracking_sees_every_mapping(void)
{
	int fd = ksm_idle_open();
	struct ksm_sharer sharer;
	unsigned long pfn;
	u64 seed = 22;
	char *mem[2];
	int i;

	/* Ends: of fewer than 64 pages nothing can be said. */
	do {
		seed++;
		for (i = 0; i < 2; i++)
			mem[i] = ksm_map_equal(1, seed);
		for (i = 0; i < 2; i++)
			ksm_merge(mem[i], 1);
		pfn = ksm_pfn(mem[0]);
	} while (!ksm_idle_set(fd, pfn));
	ksm_sharers_start(&sharer, 1, 1, seed);
	ksm_sharers_merge(&sharer, 1);
	for (i = 0; i < 3; i++) {
		ksm_idle_set(fd, pfn);
		/* Whoever uses the page from here on has to walk the page table. */
		ksm_flush_tlb();
		ksm_sharer_do(&sharer, KSM_FLUSH_TLB, 0);
		ksm_check(ksm_is_idle(fd, pfn), "an unused page is not idle");
		if (i < 2)
			ksm_verify_equal(mem[i], 1, seed);
		else
			ksm_sharer_do(&sharer, KSM_VERIFY, seed);
		ksm_check(!ksm_is_idle(fd, pfn), "mapping %d was used, and the page is idle", i);
	}
	ksm_sharers_end(&sharer, 1);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P61_all_sharers_read_it_back_from_swap),
	KSM_TEST(a_write_to_a_swapped_out_page_stays_private),
	KSM_TEST(a_copy_in_swap_is_not_counted_as_shared),
	KSM_TEST(fork_while_swapped_out),
	KSM_TEST(out_and_in_many_times_under_scan),
	KSM_TEST(P62_copies_are_charged),
	KSM_TEST(P61_swapoff_brings_back_the_content),
	KSM_TEST(P83_unmerged_while_swapped_out),
	KSM_TEST(P27_run_2_while_swapped_out),
	KSM_TEST(P83_unmerged_while_in_the_swap_cache),
	KSM_TEST(P83_run_2_while_in_the_swap_cache),
	KSM_TEST(P83_moved_while_in_the_swap_cache),
	KSM_TEST(P3_a_freed_page_that_merged_is_not_dropped),
	KSM_TEST(P3_who_joins_a_freed_KSM_page_keeps_his_content),
	KSM_TEST(P2_a_read_only_dirty_page_is_not_lost),
	KSM_TEST(under_a_memory_limit),
	KSM_TEST(idle_tracking_sees_every_mapping),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
