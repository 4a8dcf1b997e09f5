// SPDX-License-Identifier: GPL-2.0
/*
 * Accounts of others that merging must leave right: swap slots, locked memory, and
 * who pays when an unmerge runs out of memory.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "ksm_slow.h"

#define PAGES	256
#define KPF_MLOCKED	33

static void fold_counters(void)
{
	char text[16];

	ksm_read_text("/proc/sys/vm/stat_refresh", text, sizeof(text));
}

static void read_back_into_the_swap_cache(char *mem, size_t pages)
{
	ksm_swap_out(mem, pages);
	ksm_check_sys(madvise(mem, pages * psize(), MADV_WILLNEED));
}

/* Pages that are in swap as well, and what is free there. */
struct slots {
	long	cached, free_kib;
};

static struct slots count_slots(void)
{
	struct slots now;

	fold_counters();
	now.cached = ksm_vmstat("nr_swapcached");
	now.free_kib = ksm_free_swap_kib();
	if (now.cached < PAGES / 2)
		ksm_skip("%ld pages only are in the swap cache", now.cached);
	return now;
}

static void check_slots_are_freed(const struct slots *before)
{
	fold_counters();
	ksm_check(ksm_vmstat("nr_swapcached") <= before->cached - PAGES / 2,
		  "%ld pages in the swap cache, there were %ld",
		  ksm_vmstat("nr_swapcached"), before->cached);
	/* Slots go back in bundles of 64. */
	ksm_check((long)ksm_free_swap_kib() >= before->free_kib + PAGES / 2 * psize() / 1024,
		  "%lu KiB of swap are free, there were %ld", ksm_free_swap_kib(),
		  before->free_kib);
}

/* P11: the page that is replaced is nobody's any more, nor is its place in swap. */
static void P11_the_swap_slots_of_replaced_pages_are_freed(void)
{
	struct slots before;
	char *mem;

	ksm_need_swap();
	ksm_cgroup_enter("slots");
	mem = ksm_map_equal(PAGES, 1);
	read_back_into_the_swap_cache(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 1);
	before = count_slots();
	ksm_merge(mem, PAGES);
	check_slots_are_freed(&before);
	ksm_verify_equal(mem, PAGES, 1);
}

/*
 * P11: nor is a KSM page, when the last of those that shared it has a copy.  Which of two
 * equal pages becomes the KSM page does not matter: both are in the swap cache.
 */
static void P11_the_swap_slots_of_unmerged_pages_are_freed(void)
{
	struct slots before;
	char *mem, *twins;

	ksm_need_swap();
	ksm_cgroup_enter("unmerged");
	mem = ksm_map(2 * PAGES);
	twins = mem + PAGES * psize();
	ksm_fill_unique(mem, PAGES, 8);
	ksm_fill_unique(twins, PAGES, 8);
	ksm_mergeable(mem, 2 * PAGES);
	read_back_into_the_swap_cache(mem, 2 * PAGES);
	ksm_verify_unique(mem, PAGES, 8);
	ksm_verify_unique(twins, PAGES, 8);
	ksm_merge(mem, 2 * PAGES);
	before = count_slots();
	ksm_unmergeable(mem, 2 * PAGES);
	check_slots_are_freed(&before);
	ksm_verify_unique(mem, PAGES, 8);
	ksm_verify_unique(twins, PAGES, 8);
}

/* No page may be freed while it counts as locked. */
struct locked {
	long	pages, freed_locked;
};

static struct locked count_locked(void)
{
	struct locked now;

	fold_counters();
	now.pages = ksm_vmstat("nr_mlock");
	now.freed_locked = ksm_vmstat("unevictable_pgs_cleared");
	return now;
}

static bool is_locked(const char *page)
{
	return ksm_kpageflags(ksm_pfn(page)) >> KPF_MLOCKED & 1;
}

/* Those in which pages wait to be locked and unlocked: the kernel does it on the way. */
static void drain_lists(void)
{
	ksm_check_eq(ksm_write_text("/proc/sys/vm/drop_caches", "1"), 0);
}

static void check_locked_is_as(const struct locked *before)
{
	drain_lists();
	ksm_check_eq(count_locked().pages, before->pages);
	ksm_check_eq(count_locked().freed_locked, before->freed_locked);
}

static void P42_locked_memory_merges_and_is_unlocked(void)
{
	struct locked before = count_locked();
	char *mem = ksm_map_equal(PAGES, 2);

	ksm_check_sys(mlock(mem, PAGES * psize()));
	ksm_check(count_locked().pages > before.pages, "mlock() is not counted");
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 2);
	ksm_check_sys(munlock(mem, PAGES * psize()));
	check_locked_is_as(&before);

	/* Locked when merged already; half of it is written, all goes. */
	ksm_check_sys(mlock(mem, PAGES * psize()));
	ksm_fill_equal(mem, PAGES / 2, 3);
	ksm_verify_equal(mem, PAGES / 2, 3);
	ksm_verify_equal(mem + PAGES / 2 * psize(), PAGES / 2, 2);
	ksm_unmap(mem, PAGES);
	check_locked_is_as(&before);
}

/*
 * Who promoted the page has left it; whoever joined has it locked still. Of a page that is
 * on two CPUs' lists when both are drained, one does not count (__mlock_folio()): all is
 * done on one.
 */
static void leave_a_locked_page_to_the_last(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 9), *last = mem + (PAGES - 1) * psize();
	struct locked before = count_locked();

	ksm_stay_on_cpu(0, 0);
	ksm_stay_on_cpu(ksm_find_ksmd(), 0);
	ksm_check_sys(mlock(mem, PAGES * psize()));
	ksm_merge(mem, PAGES);
	drain_lists();
	ksm_check(is_locked(last), "a KSM page is not locked in locked memory");
	ksm_fill_unique(mem, PAGES - 1, 10);
	drain_lists();
	ksm_check(is_locked(last), "it is not any more when others have left it");
	ksm_verify_unique(mem, PAGES - 1, 10);
	ksm_verify_equal(last, 1, 9);
	ksm_unmap(mem, PAGES);
	check_locked_is_as(&before);
}

static void P42_a_KSM_page_is_locked_for_those_who_joined(void)
{
	ksm_slow_test(leave_a_locked_page_to_the_last);
}

static void lock_and_merge(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 4);

	ksm_check_sys(mlock(mem, PAGES * psize()));
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 4);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
}

static void P42_exit_with_locked_memory_that_merged(void)
{
	struct locked before = count_locked();
	struct ksm_kid kid;

	ksm_kid_start(&kid, lock_and_merge, NULL);
	ksm_kid_recv(&kid);
	ksm_check_eq(count_locked().freed_locked, before.freed_locked);
	ksm_kid_kill(&kid, SIGKILL);
	check_locked_is_as(&before);
}

static void P42_unmerging_locked_memory(void)
{
	struct locked before = count_locked();
	char *mem = ksm_map_equal(PAGES, 5);

	ksm_check_sys(mlock(mem, PAGES * psize()));
	ksm_merge(mem, PAGES);
	ksm_unmergeable(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 5);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_unmap(mem, PAGES);
	check_locked_is_as(&before);
}

/* 24 MiB in very few pages, for as long as the test wants. */
#define MERGED	(24UL << 20)

static void have_much_merged(struct ksm_kid *parent, void *arg)
{
	size_t pages = MERGED / psize();
	char *mem = ksm_map_equal(pages, 6);

	ksm_merge(mem, pages);
	ksm_kid_send(parent, 0);
	if (arg) {
		/* Told to go on: unmerge it oneself. */
		ksm_kid_recv(parent);
		ksm_knob_write("run", "2");
	}
	ksm_kid_recv(parent);
	ksm_verify_equal(mem, pages, 6);
}

static void write_2(struct ksm_kid *parent, void *arg)
{
	ksm_knob_write("run", "2");
}

static void limit_memory(void)
{
	ksm_cgroup_write("memory.swap.max", "0");
	ksm_cgroup_write("memory.max", "16M");
}

static void check_killed(struct ksm_kid *kid)
{
	int status;

	ksm_check(ksm_kid_gone(kid, 40, &status), "who wrote 2 to run is not dead after 40 s");
	ksm_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		  "24 MiB fitted into 16: status 0x%x", status);
}

/* KSM works on, after an unmerge that ended half-way. */
static void check_usable(void)
{
	char *mem = ksm_map_equal(PAGES, 7);

	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 7);
	ksm_unmerge_all();
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
	ksm_verify_equal(mem, PAGES, 7);
}

/* P30: who unmerges everything is killed for his own memory's sake, and can exit. */
static void P30_OOM_kills_the_task_that_unmerges_itself(void)
{
	struct ksm_kid kid;

	ksm_cgroup_enter("unmerger");
	ksm_kid_start(&kid, have_much_merged, &kid);
	ksm_kid_recv(&kid);
	limit_memory();
	ksm_kid_send(&kid, 0);
	check_killed(&kid);
	check_usable();
}

/* P31: others pay nothing for the memory that an unmerge takes. */
static void P31_OOM_kills_who_unmerges_and_no_innocent(void)
{
	struct ksm_kid innocent, writer;

	ksm_cgroup_enter("origin");
	ksm_kid_start(&innocent, have_much_merged, NULL);
	ksm_kid_recv(&innocent);
	limit_memory();
	ksm_kid_start(&writer, write_2, NULL);
	check_killed(&writer);
	ksm_check_eq(ksm_knob_get("run"), 0);
	ksm_cgroup_write("memory.max", "max");
	ksm_kid_send(&innocent, 0);
	ksm_kid_end(&innocent);
	check_usable();
}

static const struct ksm_test tests[] = {
	KSM_TEST(P11_the_swap_slots_of_replaced_pages_are_freed),
	KSM_TEST(P11_the_swap_slots_of_unmerged_pages_are_freed),
	KSM_TEST(P42_locked_memory_merges_and_is_unlocked),
	KSM_TEST(P42_a_KSM_page_is_locked_for_those_who_joined),
	KSM_TEST(P42_exit_with_locked_memory_that_merged),
	KSM_TEST(P42_unmerging_locked_memory),
	KSM_TEST(P30_OOM_kills_the_task_that_unmerges_itself),
	KSM_TEST(P31_OOM_kills_who_unmerges_and_no_innocent),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
