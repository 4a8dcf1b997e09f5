// SPDX-License-Identifier: GPL-2.0
/*
 * What a process can ask for itself by process_madvise(), and what /proc says of it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "ksm_util.h"

#define PAGES	16

static int open_pidfd(pid_t pid)
{
	return ksm_check_sys(syscall(SYS_pidfd_open, pid, 0));
}

static long advise(int pidfd, const struct iovec *ranges, unsigned int count, int advice)
{
	return syscall(SYS_process_madvise, pidfd, ranges, count, advice, 0);
}

static void process_madvise_offers_own_memory(void)
{
	char *a = ksm_map(PAGES), *b = ksm_map(PAGES);
	struct iovec ranges[] = {
		{ a, PAGES * psize() }, { b, PAGES * psize() },
	};
	long all = 2 * PAGES * psize(), done;
	int self = open_pidfd(getpid());

	ksm_fill_equal(a, PAGES, 1);
	ksm_fill_equal(b, PAGES, 1);
	done = advise(self, ranges, 2, MADV_MERGEABLE);
	if (done < 0 && errno == EINVAL)
		ksm_fail("process_madvise() does not know MADV_MERGEABLE");
	ksm_check_eq(done, all);
	ksm_check(ksm_vma_has(a, "mg") && ksm_vma_has(b, "mg"), "it is not offered");
	ksm_merge(a, PAGES);
	ksm_merge(b, PAGES);

	ksm_check_eq(advise(self, ranges, 2, MADV_UNMERGEABLE), all);
	ksm_check(!ksm_vma_has(a, "mg") && !ksm_vma_has(b, "mg"), "it is still offered");
	ksm_check_eq(ksm_ksm_pages(a, PAGES), 0);
	ksm_check_eq(ksm_ksm_pages(b, PAGES), 0);
	ksm_verify_equal(a, PAGES, 1);
	ksm_verify_equal(b, PAGES, 1);
}

/* The number of bytes that were advised; the error only where there were none. */
static void process_madvise_tells_how_far_it_came(void)
{
	char *mem = ksm_map(PAGES), *gone = ksm_place(PAGES);
	struct iovec ranges[] = {
		{ mem, PAGES * psize() }, { gone, PAGES * psize() },
	};
	int self = open_pidfd(getpid());

	ksm_check_eq(advise(self, ranges, 2, MADV_MERGEABLE), PAGES * psize());
	ksm_check(ksm_vma_has(mem, "mg"), "it is not offered");
	ksm_check(advise(self, ranges + 1, 1, MADV_MERGEABLE) == -1 && errno == ENOMEM,
		  "advice to a hole: %m");
}

static void wait_for_word(struct ksm_kid *parent, void *arg)
{
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
}

static void process_madvise_offers_nobody_elses_memory(void)
{
	static const int advice[] = { MADV_MERGEABLE, MADV_UNMERGEABLE };
	char *mem = ksm_map_equal(PAGES, 2);
	struct iovec range = { mem, PAGES * psize() };
	struct ksm_kid kid;
	unsigned int i;
	int other;

	ksm_merge(mem, PAGES);
	ksm_kid_start(&kid, wait_for_word, NULL);
	ksm_kid_recv(&kid);
	other = open_pidfd(kid.pid);
	for (i = 0; i < ARRAY_SIZE(advice); i++)
		ksm_check(advise(other, &range, 1, advice[i]) == -1 && errno == EINVAL,
			  "advice %d: %m", advice[i]);
	ksm_check_eq(advise(other, &range, 1, MADV_COLD), PAGES * psize());
	ksm_kid_send(&kid, 0);
	ksm_kid_end(&kid);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	ksm_verify_equal(mem, PAGES, 2);
}

static void expect_refusal(const char *what, int pidfd, const struct iovec *range)
{
	ksm_check(advise(pidfd, range, 1, MADV_MERGEABLE) == -1 && errno == EINVAL,
		  "MADV_MERGEABLE of %s: %m", what);
	ksm_check(advise(pidfd, range, 1, MADV_UNMERGEABLE) == -1 && errno == EINVAL,
		  "MADV_UNMERGEABLE of %s: %m", what);
}

/* The answer is the same where another advice fails for want of rights, or of memory. */
static void process_madvise_refuses_whom_it_may_not_look_at(void)
{
	char *mem = ksm_map_equal(PAGES, 3);
	struct iovec range = { mem, PAGES * psize() };
	int self = open_pidfd(getpid()), kernel_thread = open_pidfd(2), zombie;
	siginfo_t info;
	pid_t pid;

	pid = ksm_check_sys(fork());
	if (!pid)
		_exit(0);
	zombie = open_pidfd(pid);
	ksm_check_sys(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
	expect_refusal("a zombie", zombie, &range);
	ksm_check_sys(waitpid(pid, NULL, 0));

	expect_refusal("a kernel thread", kernel_thread, &range);
	ksm_check_sys(setuid(1));
	ksm_check(advise(open_pidfd(1), &range, 1, MADV_COLD) == -1 && errno == EACCES,
		  "MADV_COLD of init: %m");
	expect_refusal("init", open_pidfd(1), &range);
	ksm_check_eq(advise(self, &range, 1, MADV_MERGEABLE), PAGES * psize());
	ksm_verify_equal(mem, PAGES, 3);
}

static void expect_lines(const char *merge_any, const char *mergeable)
{
	char text[1024], line[64];

	ksm_check(ksm_read_text("/proc/self/ksm_stat", text, sizeof(text)) > 0, "no ksm_stat");
	snprintf(line, sizeof(line), "\nksm_merge_any: %s\n", merge_any);
	ksm_check(strstr(text, line), "no line '%s' in '%s'", line + 1, text);
	snprintf(line, sizeof(line), "\nksm_mergeable: %s\n", mergeable);
	ksm_check(strstr(text, line), "no line '%s' in '%s'", line + 1, text);
}

static void ksm_stat_says_what_is_offered(void)
{
	char *mem = ksm_map(PAGES);

	expect_lines("no", "no");
	ksm_mergeable(mem, PAGES);
	expect_lines("no", "yes");
	ksm_unmergeable(mem, PAGES);
	expect_lines("no", "no");
	ksm_check_eq(ksm_prctl_merge(1), 0);
	expect_lines("yes", "yes");
	ksm_check_eq(ksm_prctl_merge(0), 0);
	expect_lines("no", "no");
}

static const struct ksm_test tests[] = {
	KSM_TEST(process_madvise_offers_own_memory),
	KSM_TEST(process_madvise_tells_how_far_it_came),
	KSM_TEST(process_madvise_offers_nobody_elses_memory),
	KSM_TEST(process_madvise_refuses_whom_it_may_not_look_at),
	KSM_TEST(ksm_stat_says_what_is_offered),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
