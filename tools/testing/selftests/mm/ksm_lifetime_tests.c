// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that come and go while KSM has their memory: fork, exec, exit, kill.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ksm_util.h"

#define PAGES	8

static void check_nothing_is_left(void)
{
	ksm_await(!ksm_knob_get("pages_shared") && !ksm_knob_get("pages_sharing"), 20,
		  "pages_shared %ld, pages_sharing %ld", ksm_knob_get("pages_shared"),
		  ksm_knob_get("pages_sharing"));
}

static void exit_at_once(struct ksm_kid *parent, void *arg)
{
	u64 seed = *(u64 *)arg;
	char *mem = ksm_map_equal(PAGES, seed % 4), *unique = ksm_map_unique(PAGES, seed);

	if (seed % 3 == 0)
		ksm_wait_scans(seed % 4);
	ksm_verify_equal(mem, PAGES, seed % 4);
	ksm_verify_unique(unique, PAGES, seed);
}

static void P32_processes_exit_under_scan(void)
{
	struct ksm_kid kids[8];
	u64 seed;
	int i;

	ksm_run();
	for (seed = 0; seed < 15; seed++) {
		for (i = 0; i < 8; i++) {
			u64 own = seed * 8 + i;

			ksm_kid_start(&kids[i], exit_at_once, &own);
		}
		for (i = 0; i < 8; i++)
			ksm_kid_end(&kids[i]);
	}
	check_nothing_is_left();
}

/* P85: what a dead process had is dropped, whatever run says. */
static void P85_nothing_is_left_of_processes_that_exit_while_run_is_0(void)
{
	enum { count = 100 };
	static struct ksm_sharer sharers[count];

	ksm_sharers_start(sharers, count, 4, 1);
	ksm_sharers_merge(sharers, count);
	ksm_check_eq(ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing"), 4 * count);
	ksm_check_eq(ksm_knob_get("run"), 0);
	ksm_sharers_end(sharers, count);
	check_nothing_is_left();
	ksm_check_eq(ksm_knob_get("run"), 0);
}

static void write_for_ever(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(64, 2);
	u64 seed;

	ksm_kid_send(parent, 0);
	for (seed = 3;; seed++)
		ksm_fill_equal(mem, 64, seed);
}

static void killed_under_scan(void)
{
	struct ksm_kid kid;
	int round;

	ksm_run();
	for (round = 0; round < 30; round++) {
		ksm_kid_start(&kid, write_for_ever, NULL);
		ksm_kid_recv(&kid);
		usleep(round * 1000);
		ksm_check_eq(ksm_kid_kill(&kid, SIGKILL), SIGKILL);
	}
	check_nothing_is_left();
}

#define MANY	1500

static void unmerge_for_ever(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(MANY, 4);

	ksm_expect(mem, MANY, MANY);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	for (;;) {
		ksm_unmergeable(mem, MANY);
		ksm_mergeable(mem, MANY);
	}
}

/* P23: who unmerges can be killed, soon and without harm. */
static void P23_killed_under_unmerge(void)
{
	struct ksm_kid kid;
	int round;

	for (round = 0; round < 6; round++) {
		ksm_kid_start(&kid, unmerge_for_ever, NULL);
		ksm_kid_recv(&kid);
		ksm_kid_send(&kid, 0);
		usleep(500 << round);
		ksm_check_eq(ksm_kid_kill(&kid, SIGKILL), SIGKILL);
	}
	check_nothing_is_left();
}

static void unmerge_all_for_ever(struct ksm_kid *parent, void *arg)
{
	ksm_kid_send(parent, 0);
	for (;;) {
		ksm_knob_write("run", "2");
		ksm_knob_write("run", "1");
	}
}

static void P23_killed_while_writing_run_2(void)
{
	char *mem = ksm_map_equal(MANY, 5);
	struct ksm_kid kid;
	int round;

	for (round = 0; round < 6; round++) {
		ksm_merge(mem, MANY);
		ksm_kid_start(&kid, unmerge_all_for_ever, NULL);
		ksm_kid_recv(&kid);
		usleep(500 << round);
		ksm_check_eq(ksm_kid_kill(&kid, SIGKILL), SIGKILL);
		ksm_verify_equal(mem, MANY, 5);
	}
	ksm_unmerge_all();
	ksm_check_eq(ksm_ksm_pages(mem, MANY), 0);
	check_nothing_is_left();
	ksm_verify_equal(mem, MANY, 5);
}

static void verify_for_a_while(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 17);
	int round;

	for (round = 0; round < 50; round++)
		ksm_verify_equal(mem, PAGES, 17);
}

static void exits_race_with_run_2(void)
{
	struct ksm_kid kids[6];
	int round, i;

	for (round = 0; round < 25; round++) {
		for (i = 0; i < 6; i++)
			ksm_kid_start(&kids[i], verify_for_a_while, NULL);
		ksm_run();
		usleep(round * 500);
		ksm_unmerge_all();
		ksm_run();
		for (i = 0; i < 6; i++)
			ksm_kid_end(&kids[i]);
	}
	check_nothing_is_left();
}

static void parent_and_child_differ_after_fork(void)
{
	struct ksm_sharer sharer;

	ksm_sharers_start(&sharer, 1, PAGES, 6);
	ksm_sharers_merge(&sharer, 1);
	ksm_sharer_do(&sharer, KSM_FORK, 0);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_VERIFY, 6);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_FILL, 7);
	ksm_sharer_do(&sharer, KSM_VERIFY, 6);
	ksm_sharer_do(&sharer, KSM_FILL, 8);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_VERIFY, 7);
	ksm_run();
	ksm_await(ksm_knob_get("pages_shared") == 2, 10, "pages_shared is %ld",
		  ksm_knob_get("pages_shared"));
	ksm_sharer_do(&sharer, KSM_VERIFY, 8);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_VERIFY, 7);
	ksm_sharer_do(&sharer, KSM_CHILD | KSM_QUIT, 0);
	ksm_sharers_end(&sharer, 1);
	check_nothing_is_left();
}

static void verify_and_write(struct ksm_kid *parent, void *arg)
{
	char *mem = arg;
	u64 seed = getpid();

	ksm_verify_equal(mem, PAGES, 9);
	ksm_fill_equal(mem, PAGES / 2, seed);
	if (seed % 2)
		ksm_unmergeable(mem, PAGES);
	ksm_verify_equal(mem, PAGES / 2, seed);
	ksm_verify_equal(mem + PAGES / 2 * psize(), PAGES / 2, 9);
}

static void forks_under_scan(void)
{
	char *mem = ksm_map_equal(PAGES, 9);
	struct ksm_kid kids[4];
	int round, i;

	ksm_run();
	for (round = 0; round < 25; round++) {
		for (i = 0; i < 4; i++)
			ksm_kid_start(&kids[i], verify_and_write, mem);
		if (round % 5 == 0)
			ksm_fill_equal(mem, PAGES, 9);
		for (i = 0; i < 4; i++)
			ksm_kid_end(&kids[i]);
		ksm_verify_equal(mem, PAGES, 9);
	}
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 9);
}

static void sit(struct ksm_kid *parent, void *arg)
{
	pause();
}

/* P60: pages that fork made common are one and the same; that is no twin to merge with. */
static void P60_pages_common_by_fork_are_no_twins(void)
{
	char *unique = ksm_map_unique(PAGES, 10);
	struct ksm_kid kids[3];
	int i;

	ksm_run();
	for (i = 0; i < 3; i++)
		ksm_kid_start(&kids[i], sit, NULL);
	ksm_wait_scans(5);
	ksm_verify_unique(unique, PAGES, 10);
	for (i = 0; i < 3; i++)
		ksm_kid_kill(&kids[i], SIGKILL);
	ksm_wait_scans(3);
	ksm_verify_unique(unique, PAGES, 10);
	ksm_fill_equal(unique, PAGES, 11);
	ksm_merge(unique, PAGES);
	ksm_verify_equal(unique, PAGES, 11);
}

static void exec_true(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 12);

	if (arg)
		ksm_check_sys(ksm_prctl_merge(1));
	ksm_wait_scans(getpid() % 4);
	ksm_verify_equal(mem, PAGES, 12);
	execl("/proc/self/exe", "ksm_lifetime_tests", "after-exec", NULL);
	ksm_fail("exec: %m");
}

static void exec_drops_the_old_memory(void)
{
	struct ksm_kid kid;
	int round;

	ksm_run();
	for (round = 0; round < 20; round++) {
		ksm_kid_start(&kid, exec_true, round % 2 ? &kid : NULL);
		ksm_kid_end(&kid);
	}
	check_nothing_is_left();
}

/* A program that is none fails after KSM has been told of the new mm. */
static void a_failing_exec_harms_nobody(void)
{
	char path[] = "/tmp/ksm_no_programXXXXXX", *mem = ksm_map_equal(PAGES, 13);
	int fd = mkstemp(path), round;

	if (fd < 0)
		ksm_skip("/tmp: %m");
	ksm_check_eq(write(fd, "\177ELF is not all", 15), 15);
	ksm_check_sys(fchmod(fd, 0700));
	close(fd);
	ksm_check_sys(ksm_prctl_merge(1));
	ksm_run();
	for (round = 0; round < 60; round++) {
		ksm_check(execl(path, path, NULL) && errno == ENOEXEC, "exec: %m");
		ksm_verify_equal(mem, PAGES, 13);
	}
	unlink(path);
	ksm_check_eq(syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 1);
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 13);
}

static void many_processes_at_once(void)
{
	enum { count = 150 };
	static struct ksm_sharer sharers[count];

	ksm_sharers_start(sharers, count, 2, 14);
	ksm_sharers_merge(sharers, count);
	ksm_sharers_do(sharers, count, KSM_VERIFY, 14);
	ksm_sharers_do(sharers, count / 2, KSM_FILL, 15);
	ksm_sharers_do(sharers, count / 2, KSM_VERIFY, 15);
	ksm_sharers_do(sharers + count / 2, count / 2, KSM_VERIFY, 14);
	ksm_run();
	ksm_sharers_end(sharers, count);
	check_nothing_is_left();
}

static void fill_until_killed(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map(16384);

	ksm_check(!ksm_write_text("/proc/self/oom_score_adj", "1000"), "no oom_score_adj");
	ksm_mergeable(mem, 16384);
	ksm_fill_unique(mem, 16384, 16);
}

/* P29: the victim's exit waits for no scan. */
static void P29_an_OOM_victim_dies_under_scan(void)
{
	struct ksm_kid kid;
	int round, status;

	ksm_cgroup_enter("oom");
	ksm_cgroup_write("memory.max", "12M");
	ksm_cgroup_write("memory.swap.max", "0");
	ksm_run();
	for (round = 0; round < 3; round++) {
		ksm_kid_start(&kid, fill_until_killed, NULL);
		ksm_check(ksm_kid_gone(&kid, 40, &status), "the victim does not die");
		ksm_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			  "64 MiB fitted into 12: status 0x%x", status);
	}
	check_nothing_is_left();
}

static const struct ksm_test tests[] = {
	KSM_TEST(P32_processes_exit_under_scan),
	KSM_TEST(P85_nothing_is_left_of_processes_that_exit_while_run_is_0),
	KSM_TEST(killed_under_scan),
	KSM_TEST(P23_killed_under_unmerge),
	KSM_TEST(P23_killed_while_writing_run_2),
	KSM_TEST(exits_race_with_run_2),
	KSM_TEST(parent_and_child_differ_after_fork),
	KSM_TEST(forks_under_scan),
	KSM_TEST(P60_pages_common_by_fork_are_no_twins),
	KSM_TEST(exec_drops_the_old_memory),
	KSM_TEST(a_failing_exec_harms_nobody),
	KSM_TEST(many_processes_at_once),
	KSM_TEST(P29_an_OOM_victim_dies_under_scan),
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "after-exec"))
		return 0;
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
