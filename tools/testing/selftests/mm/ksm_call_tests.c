// SPDX-License-Identifier: GPL-2.0
/*
 * madvise(), process_madvise() and prctl() with arguments that mean nothing: the error
 * is the known one, the memory stays as it was, and so does every file of KSM.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "ksm_util.h"

#define PAGES	8

static const int advices[] = { MADV_MERGEABLE, MADV_UNMERGEABLE };

/* Memory that is half offered: a call that is refused changes neither half. */
static char *mem;

static void map_halves(void)
{
	mem = ksm_map(2 * PAGES);
	ksm_fill_equal(mem, 2 * PAGES, 1);
	ksm_mergeable(mem, PAGES);
	ksm_merge(mem, PAGES);
	ksm_files_begin();
	ksm_files_remember();
}

static void expect_halves(const char *what)
{
	ksm_check(ksm_vma_has(mem, "mg"), "%s: what was offered is not any more", what);
	ksm_check(!ksm_vma_has(mem + PAGES * psize(), "mg"), "%s: the other half is offered", what);
	ksm_check_eq(ksm_ksm_pages(mem, 2 * PAGES), PAGES);
	ksm_verify_equal(mem, 2 * PAGES, 1);
	ksm_files_compare(what);
}

static void check_error(const char *what, long ret, int want)
{
	int err = ret < 0 ? errno : 0;

	ksm_check(err == want, "%s: %s instead of %s", what, strerror(err), strerror(want));
	expect_halves(what);
}

/* ------------------------------------------------------------------------ */
/* madvise()                                                                */

static void madvise_refuses_bad_ranges(void)
{
	size_t size = psize();
	unsigned int i;
	char *hole;

	map_halves();
	hole = ksm_map(PAGES);
	ksm_unmap(hole, PAGES);
	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		const struct {
			const char *what;
			char *start;
			size_t len;
			int err;
		} bad[] = {
			{ "within a page", mem + 1, size, EINVAL },
			{ "within the last page", mem + size - 1, 1, EINVAL },
			{ "round the end", mem, -size, EINVAL },
			{ "longer than memory", mem, -1, EINVAL },
			{ "to the end and beyond", mem, -(size_t)mem + size, EINVAL },
			{ "nothing", mem, 0, 0 },
			{ "nothing, in a hole", hole, 0, 0 },
			{ "nothing, within a page", mem + 1, 0, EINVAL },
			{ "a hole", hole, PAGES * size, ENOMEM },
			{ "address 0", NULL, size, ENOMEM },
			{ "the kernel's", (char *)-(16UL << 20), size, ENOMEM },
			{ "the last page", (char *)-size, size, EINVAL },
			{ "from the last page on", (char *)-size, -1, EINVAL },
		};
		unsigned int j;

		for (j = 0; j < ARRAY_SIZE(bad); j++)
			check_error(bad[j].what, madvise(bad[j].start, bad[j].len, advices[i]),
				    bad[j].err);
	}
	ksm_files_end();
}

/* Numbers beside ours, and ours where an int ends. */
static void madvise_knows_its_numbers(void)
{
	static const int bad[] = { -1, 5, 7, 26, 1000, INT_MAX, -12, 12 << 16, 65, 66 };
	unsigned int i;

	map_halves();
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		check_error("unknown advice", madvise(mem, 2 * PAGES * psize(), bad[i]), EINVAL);
	ksm_files_end();
}

/* ------------------------------------------------------------------------ */
/* process_madvise()                                                        */

static long advise(int pidfd, const struct iovec *ranges, unsigned long count, int advice,
		   unsigned long flags)
{
	return syscall(SYS_process_madvise, pidfd, ranges, count, advice, flags);
}

static int open_pidfd(pid_t pid)
{
	return ksm_check_sys(syscall(SYS_pidfd_open, pid, 0));
}

static int dead_pidfd(void)
{
	pid_t pid = ksm_check_sys(fork());
	int fd;

	if (!pid)
		_exit(0);
	fd = open_pidfd(pid);
	ksm_check_sys(waitpid(pid, NULL, 0));
	return fd;
}

/* What is wrong with a call is wrong with any advice; ours come last, where they are known. */
static const int process_advices[] = { MADV_COLD, MADV_MERGEABLE, MADV_UNMERGEABLE };

static unsigned int count_advices(int self)
{
	struct iovec nothing = { mem, 0 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(process_advices); i++)
		if (advise(self, &nothing, 1, process_advices[i], 0) < 0)
			break;
	ksm_check(i, "process_madvise: %m");
	return i;
}

static void process_madvise_refuses_bad_calls(void)
{
	struct iovec all, many[UIO_MAXIOV + 1];
	int self = open_pidfd(getpid()), dead = dead_pidfd();
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	unsigned int i, count;

	map_halves();
	all = (struct iovec) { mem, 2 * PAGES * psize() };
	count = count_advices(self);
	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct iovec) { mem, 0 };
	for (i = 0; i < count; i++) {
		const int advice = process_advices[i];

		check_error("pidfd -1", advise(-1, &all, 1, advice, 0), EBADF);
		check_error("pidfd 9999", advise(9999, &all, 1, advice, 0), EBADF);
		check_error("a file", advise(file, &all, 1, advice, 0), EBADF);
		check_error("who is gone", advise(dead, &all, 1, advice, 0), ESRCH);
		check_error("flags 1", advise(self, &all, 1, advice, 1), EINVAL);
		check_error("flags -1", advise(self, &all, 1, advice, -1), EINVAL);
		check_error("no ranges", advise(self, &all, 0, advice, 0), 0);
		check_error("no list", advise(self, NULL, 1, advice, 0), EFAULT);
		check_error("a list nowhere", advise(self, (void *)16, 1, advice, 0), EFAULT);
		check_error("too long a list", advise(self, many, UIO_MAXIOV + 1, advice, 0),
			    EINVAL);
		check_error("the longest list", advise(self, many, UIO_MAXIOV, advice, 0), 0);
		check_error("endless list", advise(self, &all, -1UL, advice, 0), EINVAL);
		check_error("advice above 1000", advise(self, &all, 1, 1000 + advice, 0),
			    EINVAL);
	}
	ksm_files_end();
}

static void process_madvise_refuses_bad_ranges(void)
{
	size_t size = psize();
	int self = open_pidfd(getpid());
	unsigned int i, j, count;
	char *hole;

	map_halves();
	count = count_advices(self);
	hole = ksm_map(PAGES);
	ksm_unmap(hole, PAGES);
	for (i = 0; i < count; i++) {
		const struct {
			const char *what;
			struct iovec range;
			int err;
		} bad[] = {
			{ "within a page", { mem + 1, size }, EINVAL },
			{ "negative length", { mem, LONG_MIN }, EINVAL },
			{ "length -1", { mem, -1 }, EINVAL },
			{ "a hole", { hole, PAGES * size }, ENOMEM },
			{ "address 0", { NULL, size }, ENOMEM },
			{ "the kernel's", { (char *)-(16UL << 20), size }, EFAULT },
			{ "the last page", { (char *)-size, size }, EFAULT },
			{ "nothing", { mem, 0 }, 0 },
		};

		for (j = 0; j < ARRAY_SIZE(bad); j++)
			check_error(bad[j].what,
				    advise(self, &bad[j].range, 1, process_advices[i], 0),
				    bad[j].err);
	}
	ksm_files_end();
}

/* ------------------------------------------------------------------------ */
/* prctl()                                                                  */

static void prctl_refuses_bad_arguments(void)
{
	static const struct {
		int option;
		unsigned long arg[4];
	} bad[] = {
		{ PR_SET_MEMORY_MERGE, { 1, 1, 0, 0 } },
		{ PR_SET_MEMORY_MERGE, { 1, 0, 1, 0 } },
		{ PR_SET_MEMORY_MERGE, { 1, 0, 0, 1 } },
		{ PR_SET_MEMORY_MERGE, { 1, -1UL, 0, 0 } },
		{ PR_SET_MEMORY_MERGE, { 0, 1, 0, 0 } },
		{ PR_SET_MEMORY_MERGE, { 0, 0, 1, 0 } },
		{ PR_SET_MEMORY_MERGE, { 0, 0, 0, -1UL } },
		{ PR_GET_MEMORY_MERGE, { 1, 0, 0, 0 } },
		{ PR_GET_MEMORY_MERGE, { 0, 1, 0, 0 } },
		{ PR_GET_MEMORY_MERGE, { 0, 0, 1, 0 } },
		{ PR_GET_MEMORY_MERGE, { 0, 0, 0, 1 } },
		{ PR_GET_MEMORY_MERGE, { -1UL, 0, 0, 0 } },
	};
	unsigned int i;
	char what[128];

	map_halves();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		const unsigned long *arg = bad[i].arg;

		snprintf(what, sizeof(what), "prctl %d: %lu %lu %lu %lu", bad[i].option,
			 arg[0], arg[1], arg[2], arg[3]);
		check_error(what, syscall(SYS_prctl, bad[i].option, arg[0], arg[1], arg[2],
					  arg[3]), EINVAL);
		ksm_check_eq(syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 0);
	}
	ksm_files_end();
}

/* What is not 0 is 1. */
static void prctl_takes_any_number_for_yes(void)
{
	static const unsigned long yes[] = { 1, 2, -1UL, 1UL << 31, 1UL << (__WORDSIZE - 1) };
	unsigned int i;

	ksm_files_begin();
	for (i = 0; i < ARRAY_SIZE(yes); i++) {
		ksm_check_sys(ksm_prctl_merge(yes[i]));
		ksm_check_eq(syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 1);
		ksm_check_sys(ksm_prctl_merge(0));
		ksm_check_eq(syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 0);
	}
	ksm_files_end();
}

static const struct ksm_test tests[] = {
	KSM_TEST(madvise_refuses_bad_ranges),
	KSM_TEST(madvise_knows_its_numbers),
	KSM_TEST(process_madvise_refuses_bad_calls),
	KSM_TEST(process_madvise_refuses_bad_ranges),
	KSM_TEST(prctl_refuses_bad_arguments),
	KSM_TEST(prctl_takes_any_number_for_yes),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
