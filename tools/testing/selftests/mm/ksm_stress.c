// SPDX-License-Identifier: GPL-2.0
/*
 * Content is sacred: everything at once, for as long as one likes.
 *
 * Workers (ksm_worker.c) change their memory in every way while ksmd scans at full
 * pace; this process disturbs them all: it switches KSM, squeezes their memory out
 * to swap, moves it between nodes, kills some.  Each byte is verified all the time.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "ksm_worker.h"

#define WORKERS		4
#define PROGRESS_MS	10000

static unsigned long seconds = 60;
static u64 random_state;
static struct worker_stats *stats;
static pid_t workers[WORKERS];
static bool under_pressure;
static int node[2], nodes;

static u64 draw(u64 below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 11) % below;
}

static void start_worker(unsigned int slot, u64 end)
{
	u64 seed = random_state, until = ksm_now_ms() + 3000 + draw(20000);

	fflush(stdout);
	workers[slot] = ksm_check_sys(fork());
	if (workers[slot])
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (draw(3) == 0)
		ksm_prctl_merge(1);
	worker_run(stats, seed, until < end ? until : end);
	_exit(KSFT_PASS);
}

/* A worker that has ended, by itself or by our hand, is followed by a new one. */
static void look_after_workers(u64 end, bool killed)
{
	unsigned int i;
	int status;

	for (i = 0; i < WORKERS; i++) {
		if (waitpid(workers[i], &status, WNOHANG) != workers[i])
			continue;
		if (!killed || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			ksm_check(!status, "worker %d has failed: status 0x%x", workers[i], status);
		stats->exits++;
		start_worker(i, end);
	}
}

static void kill_a_worker(u64 end)
{
	pid_t victim = workers[draw(WORKERS)];
	siginfo_t info;

	kill(victim, SIGKILL);
	ksm_check_sys(waitid(P_PID, victim, &info, WEXITED | WNOWAIT));
	look_after_workers(end, true);
}

static void set_if_there(const char *name, u64 value)
{
	if (ksm_has_knob(name))
		ksm_knob_set(name, value);
}

static void switch_ksm(void)
{
	switch (draw(6)) {
	case 0:
		ksm_unmerge_all();
		break;
	case 1:
		ksm_stop();
		break;
	case 2:
		ksm_knob_set("pages_to_scan", draw(2) ? 50 : 20000);
		break;
	case 3:
		ksm_knob_set("sleep_millisecs", draw(3));
		break;
	case 4:
		set_if_there("smart_scan", draw(2));
		break;
	case 5:
		set_if_there("use_zero_pages", draw(2));
		break;
	}
}

static void migrate_a_worker(void)
{
	bool back = draw(2);
	unsigned long from = 1UL << node[back], to = 1UL << node[!back];

	if (nodes == 2)
		syscall(SYS_migrate_pages, workers[draw(WORKERS)], 64, &from, &to);
}

static void disturb(u64 end)
{
	u64 what = draw(100);

	if (what < 12)
		switch_ksm();
	else if (what < 20 && under_pressure)
		ksm_cgroup_reclaim(1 + draw(4));
	else if (what < 30)
		migrate_a_worker();
	else if (what < 32)
		ksm_write_text("/proc/sys/vm/compact_memory", "1");
	else if (what < 34)
		kill_a_worker(end);
	else
		ksm_run();
}

static void show_progress(u64 start)
{
	unsigned int i;

	printf("[%4llu s] verified %llu pages;", (ksm_now_ms() - start) / 1000,
	       __atomic_load_n(&stats->verified, __ATOMIC_RELAXED));
	for (i = 0; i < NR_WORKER_OPS; i++)
		printf(" %s %llu", worker_op_names[i],
		       __atomic_load_n(&stats->ops[i], __ATOMIC_RELAXED));
	printf(" exit %llu; sharing %ld, copied %ld, swapped out %ld, copied in %ld, moved %ld\n",
	       stats->exits, ksm_knob_get("pages_sharing"), ksm_vmstat("cow_ksm"),
	       ksm_vmstat("pswpout"), ksm_vmstat("ksm_swpin_copy"),
	       ksm_vmstat("pgmigrate_success"));
}

static bool can_press(void)
{
	char text[256];

	return ksm_free_swap_kib() > 64 * 1024 &&
	       ksm_read_text("/sys/fs/cgroup/cgroup.controllers", text, sizeof(text)) > 0 &&
	       strstr(text, "memory");
}

/* What was not done was not tested. */
static void check_everything_was_done(long copied)
{
	unsigned int i;

	ksm_check(stats->verified, "nothing was verified");
	ksm_check(ksm_vmstat("cow_ksm") > copied, "nothing was merged");
	for (i = 0; i < NR_WORKER_OPS && seconds >= 30; i++)
		ksm_check(stats->ops[i], "there was no %s", worker_op_names[i]);
}

static void end_workers(u64 start)
{
	u64 next_progress = ksm_now_ms() + PROGRESS_MS;
	unsigned int i;
	int status;

	/* They verify everything once more, and are scanned meanwhile. */
	ksm_run();
	__atomic_store_n(&stats->stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < WORKERS; i++) {
		while (!ksm_check_sys(waitpid(workers[i], &status, WNOHANG))) {
			ksm_nap();
			if (ksm_now_ms() >= next_progress) {
				show_progress(start);
				next_progress += PROGRESS_MS;
			}
		}
		ksm_check(!status, "worker %d has failed: status 0x%x", workers[i], status);
	}
	ksm_unmerge_all();
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
}

static void stress(void)
{
	const struct timespec moment = { .tv_nsec = 30000000 };
	u64 start, end, next_progress;
	unsigned int i;
	long copied = ksm_vmstat("cow_ksm");

	under_pressure = can_press();
	if (under_pressure)
		ksm_cgroup_enter("stress");
	nodes = ksm_find_nodes(node);
	printf("%lu s, seed %llu, %d processes; %s, %s\n", seconds, random_state, WORKERS,
	       under_pressure ? "with swap" : "NO SWAP or no memory control group",
	       nodes == 2 ? "two memory nodes" : "ONE MEMORY NODE");
	ksm_knob_set("pages_to_scan", 20000);
	ksm_run();

	start = ksm_now_ms();
	end = start + seconds * 1000;
	next_progress = start + PROGRESS_MS;
	for (i = 0; i < WORKERS; i++)
		start_worker(i, end);
	while (ksm_now_ms() < end) {
		disturb(end);
		look_after_workers(end, false);
		if (ksm_now_ms() >= next_progress) {
			show_progress(start);
			next_progress += PROGRESS_MS;
		}
		nanosleep(&moment, NULL);
	}
	end_workers(start);
	show_progress(start);
	check_everything_was_done(copied);
}

static struct ksm_tunables saved;

static void put_back_and_die(int sig)
{
	ksm_tunables_restore(&saved);
	signal(sig, SIG_DFL);
	raise(sig);
}

static bool parse(const char *text, u64 *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

static int show_help(FILE *to, int code)
{
	fputs("ksm_stress [seconds [seed]]\n"
	      "Verifies memory while KSM and everything else works on it, 60 s if not said otherwise.\n",
	      to);
	return code;
}

int main(int argc, char **argv)
{
	char reason[256];
	u64 value;
	int code;

	random_state = time(NULL);
	if (argc == 3 && !strcmp(argv[1], "--after-exec") && parse(argv[2], &value)) {
		worker_run_after_exec(value);
		return KSFT_PASS;
	}
	if (argc == 2 && !strcmp(argv[1], "-h"))
		return show_help(stdout, KSFT_PASS);
	if (argc > 3 || (argc > 1 && (!parse(argv[1], &value) || !value || value > 1000000)) ||
	    (argc > 2 && !parse(argv[2], &random_state)))
		return show_help(stderr, KSFT_FAIL);
	if (argc > 1)
		seconds = value;
	random_state = random_state * 2 + 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() || !ksm_has_knob("run")) {
		printf("SKIP: %s\n", geteuid() ? "must be run as root" : "this kernel has no KSM");
		return KSFT_SKIP;
	}
	stats = mmap(NULL, sizeof(*stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	if (stats == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	ksm_tunables_save(&saved);
	signal(SIGINT, put_back_and_die);
	signal(SIGTERM, put_back_and_die);
	ksm_tunables_for_tests();
	/* Slow kernels take long for the last look at everything. */
	code = ksm_run_isolated(stress, 2 * seconds + 300, reason, sizeof(reason));
	if (code >= 0)
		ksm_tunables_restore(&saved);
	if (code == KSFT_PASS)
		printf("PASS: %llu pages verified, no wrong byte\n", stats->verified);
	else
		printf("FAIL: %s\n", reason);
	return code == KSFT_PASS ? KSFT_PASS : KSFT_FAIL;
}
