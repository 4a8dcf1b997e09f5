// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/mm/ksm: what it takes, what it refuses, and when ksmd obeys.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "ksm_util.h"

static void refused(const char *name, const char *text)
{
	long before = ksm_knob_get(name);
	int err = ksm_knob_write(name, text);

	ksm_check(err == -EINVAL, "%s takes '%s': %s", name, text, strerror(-err));
	ksm_check_eq(ksm_knob_get(name), before);
}

static void taken(const char *name, const char *text, long want)
{
	int err = ksm_knob_write(name, text);

	ksm_check(!err, "%s refuses '%s': %s", name, text, strerror(-err));
	ksm_check_eq(ksm_knob_get(name), want);
}

static void bad_input_is_refused_and_changes_nothing(void)
{
	static const char * const names[] = { "run", "pages_to_scan", "sleep_millisecs" };
	static const char * const bad[] = {
		"abc", "-1", "1x", "1 2", " ", "4294967296", "99999999999999999999", "0x",
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		for (j = 0; j < ARRAY_SIZE(bad); j++)
			refused(names[i], bad[j]);
	refused("run", "3");
	refused("run", "4294967295");
}

static void good_input_is_taken_as_text(void)
{
	taken("pages_to_scan", "123", 123);
	taken("pages_to_scan", "124\n", 124);
	taken("pages_to_scan", "", 124);
	taken("pages_to_scan", "4294967295", 4294967295L);
	taken("sleep_millisecs", "4294967295", 4294967295L);
	taken("sleep_millisecs", "0", 0);
	taken("run", "", 0);
	taken("run", "1\n", 1);
	taken("run", "2", 2);
	taken("run", "0", 0);
}

static void check_mode(const char *name, unsigned int want)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	ksm_check_sys(stat(path, &st));
	ksm_check((st.st_mode & 0777) == want, "%s has mode 0%o", name, st.st_mode & 0777);
}

static void files_and_their_modes(void)
{
	static const char * const counters[] = {
		"pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
		"pages_scanned", "full_scans", "general_profit",
	};
	unsigned int i;

	check_mode("run", 0644);
	check_mode("pages_to_scan", 0644);
	check_mode("sleep_millisecs", 0644);
	for (i = 0; i < ARRAY_SIZE(counters); i++) {
		check_mode(counters[i], 0444);
		ksm_knob_get(counters[i]);
	}
}

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
	KSM_TEST(files_and_their_modes),
	KSM_TEST(bad_input_is_refused_and_changes_nothing),
	KSM_TEST(good_input_is_taken_as_text),
	KSM_TEST(run_0_stops_ksmd),
	KSM_TEST(run_2_resets_full_scans),
	KSM_TEST(run_2_keeps_ksmd_from_merging),
	KSM_TEST(a_shorter_sleep_wakes_ksmd),
	KSM_TEST(pages_to_scan_limits_a_batch),
	KSM_TEST(P41_the_first_to_register_wakes_ksmd),
	KSM_TEST(run_can_be_flipped_while_memory_changes),
	KSM_TEST(ksmd_is_a_nice_thread),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
