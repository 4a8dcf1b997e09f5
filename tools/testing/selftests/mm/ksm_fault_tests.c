// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail (CONFIG_FAULT_INJECTION): KSM does without, says so where
 * somebody asked, and leaves content, counters and processes as they were.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "ksm_nomem.h"
#include "ksm_util.h"

#define PAGES		32

/* Attributes that the random failures of ksmd_without_memory() need as well. */
static struct ksm_setting random_settings[] = {
	{ FAILSLAB "task-filter", "Y" },
	{ FAILSLAB "times", "-1" },
	{ FAILSLAB "probability", "10" },
	{ FAIL_PAGE "task-filter", "Y" },
	{ FAIL_PAGE "times", "-1" },
	{ FAIL_PAGE "probability", "10" },
};

static void offer_with_failures(struct ksm_kid *parent, void *arg)
{
	int fd = ksm_nomem_open(), n, failures = 0;

	for (n = 1; n < 30; n++) {
		char *mem = ksm_map(PAGES);
		int err;

		ksm_fill_equal(mem, PAGES, n);
		ksm_nomem_nth(fd, n);
		err = madvise(mem + 4 * psize(), (PAGES - 8) * psize(), MADV_MERGEABLE) ? errno : 0;
		if (!ksm_nomem_failed(fd))
			ksm_check_eq(err, 0);
		failures += !!err;
		ksm_check(!err || ksm_is_ENOMEM(err), "error %d", err);
		ksm_check(ksm_vma_has(mem + 4 * psize(), "mg") == !err,
			  "error %d does not fit to VM_MERGEABLE", err);
		ksm_mergeable(mem, PAGES);
		ksm_merge(mem, PAGES);
		ksm_verify_equal(mem, PAGES, n);
		ksm_unmap(mem, PAGES);
	}
	ksm_check(failures, "no allocation failed");
}

static void madvise_MERGEABLE_without_memory(void)
{
	ksm_nomem_test(offer_with_failures);
}

/* P21: with one copy impossible the range stays mergeable, and nothing loops. */
static void unmerge_with_failures(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 1);
	int fd = ksm_nomem_open(), n, failures = 0;

	for (n = 1; n < 45; n++) {
		int err;

		ksm_merge(mem, PAGES);
		ksm_nomem_nth(fd, n);
		err = madvise(mem, PAGES * psize(), MADV_UNMERGEABLE) ? errno : 0;
		ksm_nomem_failed(fd);
		ksm_check(!err || ksm_is_ENOMEM(err), "error %d", err);
		if (err)
			ksm_check(ksm_vma_has(mem, "mg"), "error %d, but no longer mergeable", err);
		else
			ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
		failures += !!err;
		ksm_verify_equal(mem, PAGES, 1);
		ksm_mergeable(mem, PAGES);
	}
	ksm_check(failures, "no allocation failed");
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
}

static void P21_madvise_UNMERGEABLE_without_memory(void)
{
	ksm_nomem_test(unmerge_with_failures);
}

/* The zero page gives way by faults, page by page: who meets a failure must not go on. */
static void unmerge_zeros_with_failures(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_merge_zeros(PAGES);
	int fd = ksm_nomem_open(), n, failures = 0;

	for (n = 1; n < 45; n++) {
		int err;

		ksm_mergeable(mem, PAGES);
		ksm_await_zero_pages(PAGES);
		ksm_nomem_nth(fd, n);
		err = madvise(mem, PAGES * psize(), MADV_UNMERGEABLE) ? errno : 0;
		ksm_nomem_failed(fd);
		ksm_check(!err || ksm_is_ENOMEM(err), "error %d", err);
		ksm_check(ksm_vma_has(mem, "mg") == !!err,
			  "error %d does not fit to VM_MERGEABLE", err);
		if (!err)
			ksm_check_eq(ksm_stat(0, "ksm_zero_pages"), 0);
		failures += !!err;
		ksm_verify_zeros(mem, PAGES);
	}
	ksm_check(failures, "no allocation failed");
}

static void P21_unmerging_zero_pages_without_memory(void)
{
	ksm_nomem_test(unmerge_zeros_with_failures);
}

#define SHARED	4

/* Of two processes each has pages to copy: whichever of them there is no memory for. */
static void unmerge_all_with_failures(struct ksm_kid *parent, void *arg)
{
	int fd = ksm_nomem_open(), run = ksm_files_open("run", O_WRONLY), n, failures = 0;
	struct ksm_sharer sharers[2];

	ksm_sharers_start(sharers, 2, SHARED, 5);
	for (n = 1; n < 8 * SHARED; n++) {
		int err;

		ksm_sharers_merge(sharers, 2);
		ksm_nomem_nth(fd, n);
		err = write(run, "2", 1) < 0 ? errno : 0;
		ksm_nomem_failed(fd);
		ksm_check(!err || err == ENOMEM, "error %d", err);
		failures += !!err;
		if (err) {
			ksm_check_eq(ksm_knob_get("run"), 0);
			ksm_unmerge_all();
		}
		ksm_check_eq(ksm_sharers_merged(sharers, 2), 0);
		ksm_sharers_do(sharers, 2, KSM_VERIFY, 5);
	}
	/* What is written, and the first copy for each of them. */
	ksm_check(failures >= 3, "%d allocations failed", failures);
	ksm_sharers_end(sharers, 2);
}

static void P21_run_2_without_memory(void)
{
	ksm_nomem_test(unmerge_all_with_failures);
}

/* P26: switching off is all or nothing. */
static void switch_with_failures(struct ksm_kid *parent, void *arg)
{
	char *a = ksm_map(PAGES), *b = ksm_map(PAGES);
	int fd = ksm_nomem_open(), n, failures = 0;

	ksm_fill_equal(a, PAGES, 2);
	ksm_fill_equal(b, PAGES, 3);
	for (n = 1; n < 45; n++) {
		int err;

		ksm_nomem_nth(fd, n % 12 + 1);
		err = ksm_prctl_merge(1) ? errno : 0;
		ksm_nomem_failed(fd);
		ksm_check(!err || err == ENOMEM, "switching on: error %d", err);
		ksm_check_eq(syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0), !err);
		ksm_check_sys(ksm_prctl_merge(1));
		ksm_merge(a, PAGES);
		ksm_merge(b, PAGES);
		ksm_nomem_nth(fd, n);
		err = ksm_prctl_merge(0) ? errno : 0;
		ksm_nomem_failed(fd);
		ksm_check(!err || err == ENOMEM, "switching off: error %d", err);
		ksm_check_eq(syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0), !!err);
		ksm_check(ksm_vma_has(a, "mg") == !!err && ksm_vma_has(b, "mg") == !!err,
			  "error %d, and only one of two mappings is mergeable", err);
		failures += !!err;
		ksm_verify_equal(a, PAGES, 2);
		ksm_verify_equal(b, PAGES, 3);
	}
	ksm_check(failures, "no allocation failed");
}

static void P26_prctl_without_memory(void)
{
	ksm_nomem_test(switch_with_failures);
}

static char *move(char *from, char *to)
{
	return mremap(from, PAGES * psize(), PAGES * psize(), MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

/* P24: what cannot be unmerged stays where it is, and what moves has been unmerged. */
static void move_with_failures(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 6), *to = ksm_place(PAGES), *there;
	int fd = ksm_nomem_open(), n, failures = 0;
	struct ksm_area area;

	for (n = 1; n < 60; n++) {
		int err;

		ksm_merge(mem, PAGES);
		ksm_nomem_nth(fd, n);
		there = move(mem, to);
		err = there == MAP_FAILED ? errno : 0;
		ksm_nomem_failed(fd);
		ksm_check(!err || err == ENOMEM, "error %d", err);
		ksm_area(0, to, PAGES, &area);
		if (err)
			ksm_check_eq(area.vmas, 0);
		else
			ksm_check_eq(area.ksm, 0);
		there = err ? mem : to;
		ksm_check(ksm_vma_has(there, "mg"), "error %d, and no longer mergeable", err);
		ksm_verify_equal(there, PAGES, 6);
		failures += !!err;
		if (!err)
			ksm_check(move(to, mem) == mem, "mremap: %m");
	}
	ksm_check(failures, "no allocation failed");
}

static void P24_mremap_without_memory(void)
{
	ksm_nomem_test(move_with_failures);
}

static void fork_with_failures(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 4);
	int fd = ksm_nomem_open(), n, failures = 0;

	ksm_run();
	for (n = 1; n < 120; n++) {
		int status;
		pid_t pid;

		ksm_nomem_nth(fd, n);
		pid = fork();
		if (!pid) {
			ksm_verify_equal(mem, PAGES, 4);
			_exit(0);
		}
		ksm_nomem_failed(fd);
		failures += pid < 0;
		if (pid < 0) {
			ksm_check(ksm_is_ENOMEM(errno), "fork: %m");
		} else {
			ksm_check_eq(waitpid(pid, &status, 0), pid);
			ksm_kid_verdict(status);
		}
		ksm_verify_equal(mem, PAGES, 4);
	}
	ksm_check(failures, "no allocation failed");
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 4);
}

static void P39_fork_without_memory(void)
{
	ksm_nomem_test(fork_with_failures);
}

static void set_make_it_fail(pid_t pid, const char *value)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/make-it-fail", pid);
	if (ksm_write_text(path, value))
		ksm_skip("%s cannot be written", path);
}

static void change_and_verify(struct ksm_kid *parent, void *arg)
{
	u64 end = ksm_now_ms() + 4000, seed = 5;
	char *mem = ksm_map_equal(PAGES, seed), *unique = ksm_map_unique(PAGES, 6);
	size_t merged = 0;

	/* For a while, and on until something has merged in spite of all. */
	while (ksm_now_ms() < end || !merged) {
		ksm_wait_scans(seed % 5);
		merged += ksm_ksm_pages(mem, PAGES);
		ksm_verify_equal(mem, PAGES, seed);
		ksm_verify_unique(unique, PAGES, 6);
		ksm_fill_equal(mem, PAGES, ++seed);
	}
	set_make_it_fail(ksm_find_ksmd(), "0");
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, seed);
	ksm_unmerge_all();
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
	ksm_verify_equal(mem, PAGES, seed);
	ksm_verify_unique(unique, PAGES, 6);
}

/* One in ten allocations of ksmd fails: it skips a page, and comes back to it. */
static void ksmd_without_memory(struct ksm_kid *parent, void *arg)
{
	pid_t ksmd = ksm_find_ksmd();
	struct ksm_kid kid;
	int status;

	/* Skips before anything is set. */
	set_make_it_fail(ksmd, "0");
	ksm_settings_set(random_settings, ARRAY_SIZE(random_settings));
	set_make_it_fail(ksmd, "1");
	ksm_run();
	ksm_kid_start(&kid, change_and_verify, NULL);
	while (!ksm_kid_gone(&kid, 40, &status))
		kill(kid.pid, SIGKILL);
	ksm_settings_put_back(random_settings, ARRAY_SIZE(random_settings));
	set_make_it_fail(ksmd, "0");
	ksm_kid_verdict(status);
}

static void ksmd_skips_pages_without_memory(void)
{
	ksm_nomem_test(ksmd_without_memory);
}

static void exec_with_failure(struct ksm_kid *parent, void *arg)
{
	int n = *(int *)arg;
	char *mem = ksm_map_equal(2, 7);

	ksm_check_sys(ksm_prctl_merge(1));
	ksm_verify_equal(mem, 2, 7);
	ksm_nomem_nth(ksm_nomem_open(), n);
	execl("/proc/self/exe", "ksm_fault_tests", "after-exec", NULL);
	/* Exec may fail, also so late that the process is lost. It must not hang. */
	_exit(0);
}

static void exec_with_failures(struct ksm_kid *parent, void *arg)
{
	struct ksm_kid kid;
	int n, status;

	ksm_nomem_open();
	ksm_run();
	/* Those allocations that come after KSM has been told of the mm. */
	for (n = 6; n <= 15; n++) {
		ksm_kid_start(&kid, exec_with_failure, &n);
		ksm_check(ksm_kid_gone(&kid, 10, &status),
			  "exec hangs after allocation %d failed", n);
	}
}

/* Each failure is reported on the console, and each report takes its time. */
static struct ksm_setting slow_settings[] = {
	{ FAILSLAB "verbose", "1" },
	{ "/proc/sys/kernel/printk_delay", "100" },
};

static void exec_with_slow_failures(struct ksm_kid *parent, void *arg)
{
	struct ksm_kid kid;
	int status;

	ksm_settings_set(slow_settings, ARRAY_SIZE(slow_settings));
	ksm_kid_start(&kid, exec_with_failures, NULL);
	while (!ksm_kid_gone(&kid, 40, &status))
		kill(kid.pid, SIGKILL);
	ksm_settings_put_back(slow_settings, ARRAY_SIZE(slow_settings));
	ksm_kid_verdict(status);
}

/*
 * P82: the new mm is given up while ksmd looks at it, with its lock held.  Between the
 * two the kernel says that an allocation fails, and ksmd has time for many rounds.
 */
static void P82_exec_without_memory_does_not_hang(void)
{
	ksm_nomem_test(exec_with_slow_failures);
}

static const struct ksm_test tests[] = {
	KSM_TEST(madvise_MERGEABLE_without_memory),
	KSM_TEST(P21_madvise_UNMERGEABLE_without_memory),
	KSM_TEST(P21_unmerging_zero_pages_without_memory),
	KSM_TEST(P21_run_2_without_memory),
	KSM_TEST(P24_mremap_without_memory),
	KSM_TEST(P26_prctl_without_memory),
	KSM_TEST(P39_fork_without_memory),
	KSM_TEST(ksmd_skips_pages_without_memory),
	/* Last: where it fails, the kernel is stuck. */
	KSM_TEST(P82_exec_without_memory_does_not_hang),
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "after-exec"))
		return 0;
	/*
	 * Without rseq: where the kernel cannot write to the page of it, for want of
	 * memory, it kills the process, and that is not what is tested here.
	 */
	if (!getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
	}
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
