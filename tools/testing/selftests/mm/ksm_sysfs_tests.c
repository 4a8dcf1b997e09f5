// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/mm/ksm: when ksmd obeys. What the files take, ksm_input_tests.c asks.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "ksm_util.h"

static void run_0_stops_ksmd(void)
{
	char *mem = ksm_map_equal(4, 1);
	long scans, scanned;

	ksm_run();
	ksm_wait_scans(3);
	ksm_check_eq(ksm_ksm_pages(mem, 4), 4);
	ksm_stop();
	scans = ksm_knob_get("full_scans");
	scanned = ksm_knob_get("pages_scanned");
	/* Nothing to wait for: that nothing happens is the point. */
	usleep(300000);
	ksm_check_eq(ksm_knob_get("full_scans"), scans);
	ksm_check_eq(ksm_knob_get("pages_scanned"), scanned);
	/* What is merged stays merged. */
	ksm_check_eq(ksm_ksm_pages(mem, 4), 4);
	ksm_verify_equal(mem, 4, 1);
}

static void run_2_resets_full_scans(void)
{
	char *mem = ksm_map_equal(4, 2);

	ksm_merge(mem, 4);
	ksm_check(ksm_knob_get("full_scans") > 0, "full_scans is 0 after a merge");
	ksm_unmerge_all();
	ksm_check_eq(ksm_knob_get("full_scans"), 0);
	ksm_check_eq(ksm_knob_get("run"), 2);
	/* 2 again has nothing to do and is no error. */
	ksm_unmerge_all();
	ksm_check_eq(ksm_ksm_pages(mem, 4), 0);
	ksm_verify_equal(mem, 4, 2);
}

static void run_2_keeps_ksmd_from_merging(void)
{
	char *mem = ksm_map_equal(4, 3);
	long scanned;

	ksm_unmerge_all();
	scanned = ksm_knob_get("pages_scanned");
	usleep(200000);
	ksm_check_eq(ksm_ksm_pages(mem, 4), 0);
	ksm_check_eq(ksm_knob_get("pages_scanned"), scanned);
}

/* sleep_millisecs takes effect at once, not after the sleep that is under way. */
static void a_shorter_sleep_wakes_ksmd(void)
{
	char *mem = ksm_map_equal(4, 4);
	long scanned;
	int round;

	for (round = 0; round < 5; round++) {
		ksm_knob_set("sleep_millisecs", 3600000);
		ksm_run();
		/* Once more round, then it sleeps for an hour. */
		do {
			scanned = ksm_knob_get("pages_scanned");
			usleep(100000);
		} while (ksm_knob_get("pages_scanned") != scanned);
		ksm_knob_set("sleep_millisecs", 0);
		ksm_wait_scans(2);
	}
	ksm_verify_equal(mem, 4, 4);
}

static void pages_to_scan_limits_a_batch(void)
{
	const size_t pages = 64;
	char *mem = ksm_map_unique(pages, 5);
	long scanned;

	/* One batch of ten, then an hour of sleep. */
	ksm_knob_set("sleep_millisecs", 3600000);
	ksm_knob_set("pages_to_scan", 10);
	scanned = ksm_knob_get("pages_scanned");
	ksm_run();
	ksm_await(ksm_knob_get("pages_scanned") > scanned, 10, "ksmd does not scan");
	usleep(300000);
	ksm_check(ksm_knob_get("pages_scanned") - scanned <= 20, "scanned %ld pages",
		  ksm_knob_get("pages_scanned") - scanned);
	ksm_knob_set("sleep_millisecs", 0);
	ksm_wait_scans(1);
	ksm_verify_unique(mem, pages, 5);
}

/* Take ksmd's lock again and again, then ask how far it has come. */
static bool has_scanned(long pages)
{
	int i;

	for (i = 0; i < 100; i++)
		ksm_knob_set("use_zero_pages", 0);
	return ksm_knob_get("pages_scanned") >= pages;
}

/* Who needs the lock for a moment does not have ksmd put off the rest for an hour. */
static void a_batch_that_is_cut_goes_on(void)
{
	const long pages = 1024;
	char *mem = ksm_map_unique(pages, 6);
	long scanned = ksm_knob_get("pages_scanned");

	ksm_knob_set("sleep_millisecs", 3600000);
	/* To come to them costs something, too. */
	ksm_knob_set("pages_to_scan", 2 * pages);
	ksm_run();
	ksm_await(has_scanned(scanned + pages), 10, "ksmd does not go on");
	ksm_verify_unique(mem, pages, 6);
}

static void with_pages_to_scan_0_ksmd_sleeps(void)
{
	char *mem = ksm_map_equal(4, 8);
	long scans, scanned;
	u64 cpu;

	ksm_knob_set("pages_to_scan", 0);
	ksm_run();
	scans = ksm_knob_get("full_scans");
	scanned = ksm_knob_get("pages_scanned");
	cpu = ksm_ksmd_ns();
	usleep(300000);
	ksm_check_eq(ksm_knob_get("full_scans"), scans);
	ksm_check_eq(ksm_knob_get("pages_scanned"), scanned);
	cpu = ksm_ksmd_ns() - cpu;
	ksm_check(cpu < 30000000, "ksmd took %llu ns of 300 ms to do nothing", cpu);
	/* Nothing else may wake it now. */
	ksm_knob_set("pages_to_scan", 100);
	ksm_await(ksm_ksm_pages(mem, 4) == 4, 10,
		  "not merged after 10 s: ksmd did not wake up");
	ksm_verify_equal(mem, 4, 8);
}

/* Has it had no CPU for a tenth of a second? */
static bool ksmd_sleeps(void)
{
	u64 cpu = ksm_ksmd_ns();

	usleep(100000);
	return ksm_ksmd_ns() == cpu;
}

/* An advisor sets how many pages are scanned, and then there are some to scan. */
static void an_advisor_wakes_ksmd(void)
{
	char *mem = ksm_map_equal(4, 9);

	ksm_need_knob("advisor_mode");
	ksm_knob_set("pages_to_scan", 0);
	ksm_run();
	ksm_await(ksmd_sleeps(), 10, "with nothing to scan ksmd does not sleep");
	/* Nothing else may wake it now. */
	ksm_check(!ksm_knob_write("advisor_mode", "scan-time"), "scan-time is refused");
	ksm_await(ksm_ksm_pages(mem, 4) == 4, 10,
		  "not merged after 10 s: ksmd did not wake up");
	ksm_verify_equal(mem, 4, 9);
}

static void offer_and_merge(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(2, 6);

	ksm_await(ksm_ksm_pages(mem, 2) == 2, 10,
		  "not merged after 10 s: ksmd did not wake up");
	ksm_verify_equal(mem, 2, 6);
}

/* P41: run is 1, nothing is registered, ksmd sleeps; the first who registers wakes it. */
static void P41_the_first_to_register_wakes_ksmd(void)
{
	struct ksm_kid kid;
	int round;

	ksm_run();
	for (round = 0; round < 40; round++) {
		ksm_kid_start(&kid, offer_and_merge, NULL);
		ksm_kid_end(&kid);
	}
}

static void flip_run(struct ksm_kid *parent, void *arg)
{
	unsigned int round;

	for (round = 0; round < 60; round++)
		ksm_knob_set("run", round % 3);
}

static void run_can_be_flipped_while_memory_changes(void)
{
	char *mem = ksm_map_equal(32, 7);
	struct ksm_kid kid;
	u64 round = 0;
	int status;

	ksm_kid_start(&kid, flip_run, NULL);
	do {
		round++;
		ksm_verify_equal(mem, 32, 6 + round);
		ksm_fill_equal(mem, 32, 7 + round);
	} while (!ksm_kid_gone(&kid, 0, &status));
	ksm_check_eq(status, 0);
	ksm_verify_equal(mem, 32, 7 + round);
	ksm_merge(mem, 32);
	ksm_verify_equal(mem, 32, 7 + round);
}

static void ksmd_is_a_nice_thread(void)
{
	pid_t pid = ksm_find_ksmd();

	ksm_check(pid, "there is no thread ksmd");
	ksm_check_eq(getpriority(PRIO_PROCESS, pid), 5);
}

static const struct ksm_test tests[] = {
	KSM_TEST(run_0_stops_ksmd),
	KSM_TEST(run_2_resets_full_scans),
	KSM_TEST(run_2_keeps_ksmd_from_merging),
	KSM_TEST(a_shorter_sleep_wakes_ksmd),
	KSM_TEST(pages_to_scan_limits_a_batch),
	KSM_TEST(a_batch_that_is_cut_goes_on),
	KSM_TEST(with_pages_to_scan_0_ksmd_sleeps),
	KSM_TEST(an_advisor_wakes_ksmd),
	KSM_TEST(P41_the_first_to_register_wakes_ksmd),
	KSM_TEST(run_can_be_flipped_while_memory_changes),
	KSM_TEST(ksmd_is_a_nice_thread),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
