// SPDX-License-Identifier: GPL-2.0
/*
 * What KSM counts, and what it reports: sysfs, /proc, vmstat, tracepoints.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ksm_util.h"

#define PAGES	32

static void pages_shared_and_sharing_add_up(void)
{
	char *a = ksm_map_equal(PAGES, 1), *b = ksm_map_equal(PAGES, 2), *c = ksm_map_equal(2, 3);
	char *twin = ksm_map_equal(PAGES, 1);

	ksm_merge(a, PAGES);
	ksm_merge(b, PAGES);
	ksm_merge(c, 2);
	ksm_merge(twin, PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), 3);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 3 * PAGES + 2 - 3);
	ksm_unmap(c, 2);
	ksm_run();
	ksm_await(ksm_knob_get("pages_shared") == 2, 10, "pages_shared is %ld",
		  ksm_knob_get("pages_shared"));
	ksm_await(ksm_knob_get("pages_sharing") == 3 * PAGES - 2, 10, "pages_sharing is %ld",
		  ksm_knob_get("pages_sharing"));
	ksm_verify_equal(twin, PAGES, 1);
}

/* A page that the mapping still has, but that was written to, shares no more. */
static void a_write_lowers_pages_sharing(void)
{
	char *mem = ksm_map_equal(PAGES, 4);

	ksm_merge(mem, PAGES);
	ksm_fill_unique(mem, PAGES / 2, 5);
	ksm_run();
	ksm_await(ksm_knob_get("pages_sharing") == PAGES / 2 - 1, 10, "pages_sharing is %ld",
		  ksm_knob_get("pages_sharing"));
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	ksm_verify_equal(mem + PAGES / 2 * psize(), PAGES / 2, 4);
}

static void pages_unshared_are_calm_pages_without_a_twin(void)
{
	char *mem = ksm_map_unique(PAGES, 6);

	ksm_run();
	ksm_wait_scans(3);
	ksm_await(ksm_knob_get("pages_unshared") == PAGES, 10, "pages_unshared is %ld",
		  ksm_knob_get("pages_unshared"));
	ksm_await(ksm_knob_get("pages_volatile") == 0, 10, "pages_volatile is %ld",
		  ksm_knob_get("pages_volatile"));
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
	ksm_verify_unique(mem, PAGES, 6);
	ksm_unmap(mem, PAGES);
	ksm_await(ksm_knob_get("pages_unshared") == 0, 10, "pages_unshared stays %ld",
		  ksm_knob_get("pages_unshared"));
}

static void check_counts(long shared, long sharing, long unshared)
{
	ksm_wait_scans(2);
	ksm_check_eq(ksm_knob_get("pages_shared"), shared);
	ksm_check_eq(ksm_knob_get("pages_sharing"), sharing);
	ksm_check_eq(ksm_knob_get("pages_unshared"), unshared);
	ksm_check_eq(ksm_knob_get("pages_volatile"), 0);
}

/*
 * LTP's ksm01 and others wait until full_scans has grown by three, and count then. Nothing
 * that KSM knows of pages from before may delay that.
 */
static void counts_are_final_after_two_whole_scans(void)
{
	struct ksm_sharer all[3];
	const long pages = ARRAY_SIZE(all) * PAGES;
	char *joins, *lone;

	ksm_sharers_start(all, ARRAY_SIZE(all), PAGES, 30);
	ksm_sharer_do(&all[0], KSM_FILL, 31);
	ksm_run();
	check_counts(2, pages - 2, 0);
	ksm_wait_scans(40);
	ksm_sharer_do(&all[1], KSM_FILL, 32);
	check_counts(3, pages - 3, 0);
	joins = ksm_map_unique(1, 33);
	lone = ksm_map_unique(1, 34);
	check_counts(3, pages - 3, 2);
	ksm_wait_scans(40);
	ksm_fill_equal(joins, 1, 35);
	ksm_sharers_do(all, ARRAY_SIZE(all), KSM_FILL, 35);
	check_counts(1, pages, 1);
	ksm_sharers_do(all, ARRAY_SIZE(all), KSM_VERIFY, 35);
	ksm_unmerge_all();
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
	ksm_check_eq(ksm_knob_get("pages_unshared"), 0);
	ksm_check_eq(ksm_knob_get("pages_volatile"), 0);
	ksm_sharers_do(all, ARRAY_SIZE(all), KSM_VERIFY, 35);
	ksm_sharers_end(all, ARRAY_SIZE(all));
	ksm_verify_equal(joins, 1, 35);
	ksm_verify_unique(lone, 1, 34);
}

static int writing;

static void *keep_writing(void *arg)
{
	char *mem = arg;
	u64 seed = 1000;

	while (__atomic_load_n(&writing, __ATOMIC_RELAXED)) {
		long scans = ksm_knob_get("full_scans");

		ksm_fill_unique(mem, PAGES, seed++);
		while (__atomic_load_n(&writing, __ATOMIC_RELAXED) &&
		       ksm_knob_get("full_scans") == scans)
			;
	}
	return NULL;
}

static void pages_volatile_are_those_that_change(void)
{
	char *mem = ksm_map_unique(PAGES, 7);
	pthread_t thread;

	/* A scan takes longer than it takes to write all pages. */
	ksm_knob_set("pages_to_scan", PAGES / 2);
	ksm_knob_set("sleep_millisecs", 20);
	writing = 1;
	ksm_run();
	ksm_check(!pthread_create(&thread, NULL, keep_writing, mem), "no thread");
	ksm_wait_scans(3);
	ksm_await(ksm_knob_get("pages_volatile") >= PAGES / 2, 20, "pages_volatile is %ld",
		  ksm_knob_get("pages_volatile"));
	__atomic_store_n(&writing, 0, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ksm_await(ksm_knob_get("pages_volatile") == 0, 20, "pages_volatile stays %ld",
		  ksm_knob_get("pages_volatile"));
}

static void pages_scanned_and_full_scans_grow(void)
{
	char *mem = ksm_map_unique(PAGES, 8);
	long scanned = ksm_knob_get("pages_scanned"), scans;

	ksm_run();
	ksm_wait_scans(2);
	scans = ksm_knob_get("full_scans");
	ksm_check(ksm_knob_get("pages_scanned") - scanned >= PAGES,
		  "only %ld pages in %ld scans", ksm_knob_get("pages_scanned") - scanned, scans);
	ksm_verify_unique(mem, PAGES, 8);
}

/* Skipped are those that smart_scan leaves out, and here it is off. */
static void pages_unchanged_are_those_that_nobody_wrote_to(void)
{
	char *mem = ksm_map_unique(PAGES, 18);
	long unchanged, skipped;

	ksm_need_knob("pages_unchanged");
	unchanged = ksm_knob_get("pages_unchanged");
	skipped = ksm_knob_get("pages_skipped");
	ksm_run();
	ksm_await(ksm_knob_get("pages_unchanged") - unchanged >= 3 * PAGES, 10,
		  "pages_unchanged has grown by %ld", ksm_knob_get("pages_unchanged") - unchanged);
	ksm_check_eq(ksm_knob_get("pages_skipped"), skipped);
	ksm_verify_unique(mem, PAGES, 18);
}

/* Every page saved is a gain, and what KSM keeps about pages costs something. */
static void general_profit_is_what_was_saved_less_metadata(void)
{
	const size_t pages = 256;
	char *mem, *unique;
	long profit, saved;

	ksm_check_eq(ksm_knob_get("general_profit"), 0);
	mem = ksm_map_equal(pages, 9);
	ksm_merge(mem, pages);
	saved = ksm_knob_get("pages_sharing") * psize();
	profit = ksm_knob_get("general_profit");
	ksm_check(profit > saved * 9 / 10 && profit < saved, "profit %ld of %ld bytes saved",
		  profit, saved);

	unique = ksm_map_unique(pages, 10);
	ksm_run();
	ksm_wait_scans(3);
	ksm_await(ksm_knob_get("general_profit") < profit, 10, "unique pages cost nothing");
	ksm_check(ksm_knob_get("general_profit") > profit - (long)pages * 256,
		  "metadata of %ld bytes for %zu unique pages",
		  profit - ksm_knob_get("general_profit"), pages);
	ksm_verify_unique(unique, pages, 10);
}

/* What belongs to no process is a node for each KSM page. */
/* So many that the sieve, which is never smaller than for 1024 pages, counts little. */
#define NR_ADDED	512

static void P77_profits_of_processes_add_up(void)
{
	char *mem = ksm_map_unique(NR_ADDED, 20), *twins = ksm_map_unique(NR_ADDED, 20);
	struct ksm_sharer all[3];
	long sum, rest;
	unsigned int i;

	ksm_sharers_start(all, ARRAY_SIZE(all), PAGES, 21);
	ksm_sharers_merge(all, ARRAY_SIZE(all));
	ksm_merge(mem, NR_ADDED);
	ksm_check_eq(ksm_knob_get("pages_shared"), NR_ADDED + 1);
	sum = ksm_stat(0, "ksm_process_profit");
	for (i = 0; i < ARRAY_SIZE(all); i++)
		sum += ksm_stat(all[i].kid.pid, "ksm_process_profit");
	rest = sum - ksm_knob_get("general_profit");
	ksm_check(rest >= (NR_ADDED + 1) * 8 * (long)sizeof(long) &&
		  rest <= (NR_ADDED + 1) * 24 * (long)sizeof(long),
		  "processes gain %ld bytes more than all", rest);
	ksm_sharers_do(all, ARRAY_SIZE(all), KSM_VERIFY, 21);
	ksm_sharers_end(all, ARRAY_SIZE(all));
	ksm_verify_unique(mem, NR_ADDED, 20);
	ksm_verify_unique(twins, NR_ADDED, 20);
}

static void a_process_knows_its_KSM_pages(void)
{
	char *mem = ksm_map_equal(PAGES, 11);
	long profit;

	ksm_check_eq(ksm_merging_pages(0), 0);
	ksm_merge(mem, PAGES);
	ksm_check_eq(ksm_merging_pages(0), PAGES);
	ksm_check_eq(ksm_stat(0, "ksm_merging_pages"), PAGES);
	ksm_check(ksm_stat(0, "ksm_rmap_items") >= PAGES, "ksm_rmap_items is %ld",
		  ksm_stat(0, "ksm_rmap_items"));
	ksm_check_eq(ksm_stat(0, "ksm_zero_pages"), 0);
	profit = ksm_stat(0, "ksm_process_profit");
	ksm_check(profit > 0 && profit <= PAGES * (long)psize(), "profit %ld", profit);

	ksm_unmap(mem, PAGES);
	ksm_run();
	ksm_await(!ksm_merging_pages(0) && !ksm_stat(0, "ksm_rmap_items"), 10,
		  "%ld merging pages and %ld items of nothing", ksm_merging_pages(0),
		  ksm_stat(0, "ksm_rmap_items"));
}

static void check_counts_of_child(struct ksm_kid *parent, void *arg)
{
	char *mem = arg;

	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	ksm_check_eq(ksm_merging_pages(0), 0);
	ksm_check_eq(ksm_stat(0, "ksm_rmap_items"), 0);
	ksm_run();
	ksm_await(ksm_merging_pages(0) == PAGES, 10, "ksm_merging_pages is %ld",
		  ksm_merging_pages(0));
	ksm_verify_equal(mem, PAGES, 12);
}

static void P38_a_child_starts_to_count_at_0(void)
{
	char *mem = ksm_map_equal(PAGES, 12);
	struct ksm_kid kid;

	ksm_merge(mem, PAGES);
	ksm_kid_start(&kid, check_counts_of_child, mem);
	ksm_kid_end(&kid);
	ksm_check_eq(ksm_merging_pages(0), PAGES);
}

static void proc_files_are_private(void)
{
	static const char * const names[] = { "ksm_stat", "ksm_merging_pages" };
	char path[128], text[512];
	unsigned int i;
	struct stat st;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", names[i]);
		ksm_check_sys(stat(path, &st));
		ksm_check_eq(st.st_mode & 0777, 0400);
		snprintf(path, sizeof(path), "/proc/self/task/%d/%s", getpid(), names[i]);
		ksm_check(ksm_read_text(path, text, sizeof(text)) > 0, "%s: %m", path);
	}
}

static bool stat_says(const char *name, const char *want)
{
	char text[512], *at;

	ksm_check(ksm_read_text("/proc/self/ksm_stat", text, sizeof(text)) > 0, "no ksm_stat");
	at = strstr(text, name);
	if (!at)
		ksm_skip("ksm_stat has no line %s", name);
	at[strcspn(at, "\n")] = '\0';
	return strstr(at, want);
}

static void ksm_stat_tells_who_offers_memory(void)
{
	ksm_check(stat_says("ksm_merge_any", "no"), "ksm_merge_any without the prctl");
	ksm_check(stat_says("ksm_mergeable", "no"), "ksm_mergeable without any offer");
	ksm_map_equal(2, 13);
	ksm_check(stat_says("ksm_mergeable", "yes"), "not ksm_mergeable after madvise");
	ksm_check(stat_says("ksm_merge_any", "no"), "ksm_merge_any after madvise");
	ksm_check_sys(ksm_prctl_merge(1));
	ksm_check(stat_says("ksm_merge_any", "yes"), "no ksm_merge_any after the prctl");
}

static long rollup_kb(void)
{
	char text[4096], *at;

	ksm_check(ksm_read_text("/proc/self/smaps_rollup", text, sizeof(text)) > 0, "no rollup");
	at = strstr(text, "KSM:");
	ksm_check(at, "smaps_rollup has no line KSM");
	return atol(at + 4);
}

static void smaps_count_KSM_pages(void)
{
	char *mem = ksm_map_equal(PAGES, 14), *other = ksm_map_unique(PAGES, 15);

	ksm_check_eq(rollup_kb(), 0);
	ksm_merge(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	ksm_check_eq(ksm_ksm_pages(other, PAGES), 0);
	ksm_check_eq(rollup_kb() * 1024, PAGES * (long)psize());
	ksm_check(ksm_vma_has(mem, "mg"), "VmFlags has no mg");
	mem[0]++;
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES - 1);
}

static void cow_ksm_counts_each_copy_once(void)
{
	char *mem = ksm_map_equal(PAGES, 16);
	long before;

	ksm_merge(mem, PAGES);
	before = ksm_vmstat("cow_ksm");
	ksm_verify_equal(mem, PAGES, 16);
	ksm_check_eq(ksm_vmstat("cow_ksm") - before, 0);
	ksm_fill_equal(mem, 5, 17);
	ksm_fill_equal(mem, 5, 18);
	ksm_check_eq(ksm_vmstat("cow_ksm") - before, 5);
	/* The pages that are left are copied by unmerging. */
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_vmstat("cow_ksm") - before, PAGES);
	ksm_verify_equal(mem, 5, 18);
	ksm_verify_equal(mem + 5 * psize(), PAGES - 5, 16);
}

static const struct ksm_test tests[] = {
	KSM_TEST(pages_shared_and_sharing_add_up),
	KSM_TEST(a_write_lowers_pages_sharing),
	KSM_TEST(pages_unshared_are_calm_pages_without_a_twin),
	KSM_TEST(counts_are_final_after_two_whole_scans),
	KSM_TEST(pages_volatile_are_those_that_change),
	KSM_TEST(pages_scanned_and_full_scans_grow),
	KSM_TEST(pages_unchanged_are_those_that_nobody_wrote_to),
	KSM_TEST(general_profit_is_what_was_saved_less_metadata),
	KSM_TEST(P77_profits_of_processes_add_up),
	KSM_TEST(a_process_knows_its_KSM_pages),
	KSM_TEST(P38_a_child_starts_to_count_at_0),
	KSM_TEST(proc_files_are_private),
	KSM_TEST(ksm_stat_tells_who_offers_memory),
	KSM_TEST(smaps_count_KSM_pages),
	KSM_TEST(cow_ksm_counts_each_copy_once),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
