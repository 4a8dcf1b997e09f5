// SPDX-License-Identifier: GPL-2.0
/*
 * Knobs that say how much ksmd does: smart_scan, the advisor, limits on merging.
 */
#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "ksm_util.h"

#define PAGES	256

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* ------------------------------------------------------------------------ */
/* smart_scan                                                               */

/* Pages that ksmd reads, and passes over, in a number of rounds, 16 at the least. */
struct reading {
	long	rounds, scanned, skipped;
};

static struct reading read_counters(void)
{
	struct reading now;

	/* Stopped, it changes none of them between two glances. */
	ksm_stop();
	now.rounds = ksm_knob_get("full_scans");
	now.scanned = ksm_knob_get("pages_scanned");
	now.skipped = ksm_knob_get("pages_skipped");
	return now;
}

static struct reading count_rounds(void)
{
	struct reading before = read_counters(), after;

	ksm_run();
	ksm_wait_scans(16);
	after = read_counters();
	return (struct reading) {
		.rounds = after.rounds - before.rounds,
		.scanned = after.scanned - before.scanned,
		.skipped = after.skipped - before.skipped,
	};
}

static void smart_scan_reads_old_pages_less_often(void)
{
	char *mem = ksm_map_unique(PAGES, 1);
	struct reading all, some;

	ksm_need_knob("smart_scan");
	if (ksm_has_knob("reread_rounds"))
		ksm_knob_set("reread_rounds", 0);	/* pages are read to be counted */
	ksm_run();
	ksm_wait_scans(3);
	/* Where it was stopped a round may have been under way, and the last one may be. */
	all = count_rounds();
	ksm_check(all.scanned >= (all.rounds - 1) * PAGES, "without it, only %ld pages are read",
		  all.scanned);
	ksm_check_eq(all.skipped, 0);

	ksm_knob_set("smart_scan", 1);
	ksm_run();
	ksm_wait_scans(40);		/* until all are old */
	some = count_rounds();
	ksm_check(some.scanned < some.rounds * PAGES / 2, "%ld pages are read in %ld rounds",
		  some.scanned, some.rounds);
	ksm_check(some.skipped >= some.rounds * PAGES / 2,
		  "%ld pages are passed over in %ld rounds", some.skipped, some.rounds);
	ksm_verify_unique(mem, PAGES, 1);
}

/* An old page is read in every 32nd round; that keeps no other from finding it. */
static void smart_scan_delays_no_merge_of_a_page_at_rest(void)
{
	char *mem, *twins;
	long scans;

	ksm_need_knob("smart_scan");
	mem = ksm_map_unique(PAGES, 2);
	ksm_knob_set("smart_scan", 1);
	ksm_run();
	ksm_wait_scans(40);
	ksm_stop();

	twins = ksm_map_unique(PAGES, 2);
	scans = ksm_knob_get("full_scans");
	ksm_run();
	/* To the end of the running round; then they are new, then at rest. */
	ksm_await(ksm_knob_get("full_scans") >= scans + 4, 60, "ksmd does not go round");
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	ksm_check_eq(ksm_ksm_pages(twins, PAGES), PAGES);
	ksm_verify_unique(mem, PAGES, 2);
	ksm_verify_unique(twins, PAGES, 2);
}

/* What changed unseen cannot merge by what is remembered of it. */
static void smart_scan_merges_by_content_alone(void)
{
	char *mem, *twins;

	ksm_need_knob("smart_scan");
	mem = ksm_map_unique(PAGES, 3);
	ksm_knob_set("smart_scan", 1);
	ksm_run();
	ksm_wait_scans(40);
	ksm_stop();

	ksm_fill_unique(mem, PAGES, 4);		/* they are remembered with another hash */
	twins = ksm_map_unique(PAGES, 3);	/* of which these are */
	ksm_run();
	ksm_wait_scans(6);
	ksm_stop();
	ksm_check_eq(ksm_ksm_pages(twins, PAGES), 0);
	ksm_verify_unique(mem, PAGES, 4);
	ksm_verify_unique(twins, PAGES, 3);
}

/* ------------------------------------------------------------------------ */
/* The advisor                                                              */

static void set_mode(const char *mode)
{
	ksm_check(!ksm_knob_write("advisor_mode", mode), "%s is refused", mode);
}

static void set_bounds(unsigned long min, unsigned long max)
{
	ksm_knob_set("advisor_min_pages_to_scan", min);
	ksm_knob_set("advisor_max_pages_to_scan", max);
	ksm_check_eq(ksm_knob_get("advisor_min_pages_to_scan"), min);
	ksm_check_eq(ksm_knob_get("advisor_max_pages_to_scan"), max);
}

static void the_advisor_keeps_pages_to_scan_for_itself(void)
{
	const struct ksm_row *row = ksm_row_of("pages_to_scan");

	ksm_need_knob("advisor_mode");
	ksm_knob_set("advisor_min_pages_to_scan", 600);
	set_mode("scan-time");
	ksm_check_eq(ksm_knob_get("pages_to_scan"), 600);
	ksm_files_begin();
	ksm_row_refuses(row, "77", 2, EINVAL);
	ksm_row_refuses(row, "600", 3, EINVAL);
	set_mode("scan-time");
	ksm_check_eq(ksm_knob_get("pages_to_scan"), 600);
	set_mode("none");
	ksm_check_eq(ksm_knob_get("pages_to_scan"), 100);
	ksm_row_set(row, "77");
	set_mode("none");
	ksm_row_says(row, "77");
}

static void go_round(unsigned int rounds)
{
	long end = ksm_knob_get("full_scans") + rounds;

	ksm_await(ksm_knob_get("full_scans") >= end, 60, "full_scans stays at %ld",
		  ksm_knob_get("full_scans"));
}

static void settle_advisor(unsigned int rounds)
{
	set_mode("scan-time");
	ksm_run();
	go_round(rounds);
}

/* From its first moment on, and however long it goes on. */
static void expect_always(long pages)
{
	ksm_check_eq(ksm_knob_get("pages_to_scan"), pages);
	ksm_run();
	go_round(3);
	ksm_check_eq(ksm_knob_get("pages_to_scan"), pages);
	ksm_stop();
	set_mode("none");
}

/* Scripts set the two in any order, and may leave them so. */
static void an_advisors_minimum_above_its_maximum_gives_way(void)
{
	ksm_need_knob("advisor_mode");
	ksm_map_unique(PAGES, 9);
	set_bounds(5000, 1000);		/* the maximum falls below */
	set_mode("scan-time");
	expect_always(1000);

	ksm_knob_set("advisor_max_pages_to_scan", 300);
	ksm_knob_set("advisor_min_pages_to_scan", 200);
	ksm_knob_set("advisor_min_pages_to_scan", 400);	/* the minimum climbs above */
	set_mode("scan-time");
	expect_always(300);
}

static void new_bounds_hold_for_an_advisor_at_work(void)
{
	ksm_need_knob("advisor_mode");
	ksm_map_unique(PAGES, 10);
	set_bounds(300, 300);
	settle_advisor(2);
	ksm_check_eq(ksm_knob_get("pages_to_scan"), 300);
	set_bounds(300, 200);
	go_round(3);
	ksm_check_eq(ksm_knob_get("pages_to_scan"), 200);
	set_bounds(700, 200);
	set_bounds(700, 900);
	go_round(3);
	ksm_check(ksm_knob_get("pages_to_scan") >= 700, "%ld pages", ksm_knob_get("pages_to_scan"));
	set_bounds(700, 700);
	go_round(3);
	ksm_check_eq(ksm_knob_get("pages_to_scan"), 700);
}

static void the_advisor_survives_extreme_numbers(void)
{
	ksm_need_knob("advisor_mode");
	ksm_map_unique(16, 11);
	set_bounds(LONG_MAX, LONG_MAX);
	set_mode("scan-time");
	expect_always(sizeof(long) > sizeof(int) ? UINT_MAX : LONG_MAX);

	/* With none at all ksmd would wait for ever. */
	set_bounds(0, 0);
	set_mode("scan-time");
	expect_always(1);

	set_bounds(1, LONG_MAX);
	ksm_knob_set("advisor_target_scan_time", ULONG_MAX);
	ksm_knob_set("advisor_max_cpu", 1);
	set_mode("scan-time");
	expect_always(1);
}

/*
 * The advisor at work.  How long a round takes depends on the machine and on who else
 * uses it; that each batch is followed by a rest does not.
 */
static void start_advisor(size_t pages, unsigned int batch)
{
	ksm_need_knob("advisor_mode");
	ksm_map_unique(pages, 5);
	ksm_knob_set("sleep_millisecs", 40);
	ksm_knob_set("advisor_max_cpu", 100);
	ksm_knob_set("advisor_target_scan_time", 1);
	ksm_knob_set("advisor_min_pages_to_scan", batch);
	set_mode("scan-time");
	ksm_check_eq(ksm_knob_get("pages_to_scan"), batch);
	ksm_run();
}

static void the_advisor_follows_its_target(void)
{
	/* 64 batches, and the rests between them alone take more than two seconds. */
	start_advisor(256, 4);
	ksm_await(ksm_knob_get("pages_to_scan") > 4, 60,
		  "rounds of 2.5 s shall take 1 s, and batches do not grow");
	/* The least will do, as long as a round takes less than minutes. */
	ksm_knob_set("advisor_target_scan_time", 1000);
	ksm_await(ksm_knob_get("pages_to_scan") == 4, 60,
		  "rounds of 1 s shall take 1000 s, and batches have %ld pages",
		  ksm_knob_get("pages_to_scan"));
}

/* The share of a CPU that ksmd had since @ns and @at, per cent. */
static double cpu_share(double *cpu, double *at)
{
	double cpu_before = *cpu, at_before = *at;

	*cpu = ksm_ksmd_ns() / 1e9;
	*at = now();
	return 100 * (*cpu - cpu_before) / (*at - at_before);
}

static void the_advisor_heeds_its_cpu_limit(void)
{
	double cpu = 0, at = 0, share;
	long scans;

	/* Rests of a second in all are 25 batches, each of more than 128 pages. */
	start_advisor(4096, 128);
	ksm_await(ksm_knob_get("pages_to_scan") > 128, 60, "rounds do not take the target time");
	cpu_share(&cpu, &at);
	scans = ksm_knob_get("full_scans");
	ksm_await(ksm_knob_get("full_scans") >= scans + 2, 60, "ksmd does not go round");
	share = cpu_share(&cpu, &at);
	if (share < 2)
		ksm_skip("to this machine 4096 pages a second are %.2f %% of a CPU", share);
	ksm_knob_set("advisor_min_pages_to_scan", 1);
	ksm_knob_set("advisor_max_cpu", 1);
	ksm_await(ksm_knob_get("pages_to_scan") < 128, 60, "%ld pages at 1 %%",
		  ksm_knob_get("pages_to_scan"));
}

/* Per cent of a CPU that ksmd uses in the next two seconds. */
static double share_of_two_seconds(void)
{
	double cpu = 0, at = 0;

	cpu_share(&cpu, &at);
	ksm_await(now() > at + 2, 60, "time stands still");
	return cpu_share(&cpu, &at);
}

/* Who has taken all offers back is registered on: ksmd must not go round for him in vain. */
static void without_an_offer_ksmd_rests(void)
{
	char *mem = ksm_map_equal(16, 8);
	double share;

	ksm_run();
	ksm_expect(mem, 16, 16);
	ksm_unmergeable(mem, 16);
	share = share_of_two_seconds();
	ksm_check(share < 20, "with nothing to do ksmd uses %.1f %% of a CPU", share);

	/* And is there when it is wanted, or when it shall not sleep so long. */
	ksm_knob_set("sleep_millisecs", 1000000);
	share_of_two_seconds();
	ksm_knob_set("sleep_millisecs", 0);
	ksm_mergeable(mem, 16);
	ksm_expect(mem, 16, 16);
	ksm_verify_equal(mem, 16, 8);
}

/* ------------------------------------------------------------------------ */
/* Limits                                                                   */

static void max_kernel_pages_limits_ksm_pages(void)
{
	char *a, *b, *c;

	ksm_need_knob("max_kernel_pages");
	ksm_knob_set("max_kernel_pages", 3);
	a = ksm_map_unique(8, 7);
	b = ksm_map_unique(8, 7);
	ksm_run();
	ksm_wait_scans(6);
	ksm_check_eq(ksm_knob_get("kernel_pages_allocated"), 3);
	ksm_check_eq(ksm_knob_get("pages_shared"), 3);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 3);

	/* Who finds a KSM page there joins it. */
	c = ksm_map_unique(8, 7);
	ksm_wait_scans(6);
	ksm_check_eq(ksm_knob_get("kernel_pages_allocated"), 3);
	ksm_check_eq(ksm_ksm_pages(c, 8), 3);

	ksm_knob_set("max_kernel_pages", 0);
	ksm_expect(a, 8, 8);
	ksm_check_eq(ksm_knob_get("kernel_pages_allocated"), 8);
	ksm_verify_unique(a, 8, 7);
	ksm_verify_unique(b, 8, 7);
	ksm_verify_unique(c, 8, 7);
}

/* How long it takes until so many equal pages are merged. */
static double time_merge(char *mem, size_t pages)
{
	double began = now();

	ksm_run();
	ksm_await(ksm_ksm_pages(mem, pages) == pages, 60, "%zu pages are merged",
		  ksm_ksm_pages(mem, pages));
	began = now() - began;
	ksm_unmerge_all();
	ksm_stop();
	ksm_verify_equal(mem, pages, 8);
	return began;
}

static void max_pages_to_merge_limits_a_batch(void)
{
	char *mem = ksm_map_equal(64, 8);
	double took;

	ksm_need_knob("max_pages_to_merge");
	ksm_knob_set("sleep_millisecs", 20);
	ksm_knob_set("max_pages_to_merge", 2);
	/* 63 merges are 32 batches, with 31 rests between them. */
	took = time_merge(mem, 64);
	ksm_check(took >= 31 * 0.02, "63 merges took but %.2f s", took);
}

static const struct ksm_test tests[] = {
	KSM_TEST(smart_scan_reads_old_pages_less_often),
	KSM_TEST(smart_scan_delays_no_merge_of_a_page_at_rest),
	KSM_TEST(smart_scan_merges_by_content_alone),
	KSM_TEST(the_advisor_keeps_pages_to_scan_for_itself),
	KSM_TEST(an_advisors_minimum_above_its_maximum_gives_way),
	KSM_TEST(new_bounds_hold_for_an_advisor_at_work),
	KSM_TEST(the_advisor_survives_extreme_numbers),
	KSM_TEST(the_advisor_follows_its_target),
	KSM_TEST(the_advisor_heeds_its_cpu_limit),
	KSM_TEST(without_an_offer_ksmd_rests),
	KSM_TEST(max_kernel_pages_limits_ksm_pages),
	KSM_TEST(max_pages_to_merge_limits_a_batch),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
