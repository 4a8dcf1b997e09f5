// SPDX-License-Identifier: GPL-2.0
/*
 * The frame around KSM tests: processes, time limits, verdicts, clean slates.
 *
 * Knows nothing about KSM but how to put its tunables back.
 */
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "ksm_harness.h"
#include "ksm_util.h"

/* Shared by the runner and all processes of a test: what the first one said. */
struct verdict {
	int	said;
	char	reason[256];
};

static struct verdict *verdict;

u64 ksm_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

void ksm_nap(void)
{
	const struct timespec nap = { .tv_nsec = 2000000 };

	nanosleep(&nap, NULL);
}

static void say_reason(const char *fmt, va_list args)
{
	if (!verdict || __atomic_exchange_n(&verdict->said, 1, __ATOMIC_SEQ_CST))
		return;
	vsnprintf(verdict->reason, sizeof(verdict->reason), fmt, args);
}

void ksm_fail_at(const char *file, int line, const char *what, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ksft_print_msg("%s:%d: pid %d: %s: %s\n", file, line, getpid(), what, text);
	va_start(args, fmt);
	say_reason(fmt, args);
	va_end(args);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

void ksm_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_reason(fmt, args);
	va_end(args);
	_exit(KSFT_SKIP);
}

/* Wait for a child to end. Return: false when time is over. */
static bool wait_exit(pid_t pid, unsigned int seconds, int *status)
{
	u64 end = ksm_now_ms() + seconds * 1000ULL;
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);

	while (waitpid(pid, status, WNOHANG) != pid) {
		u64 now = ksm_now_ms();
		struct timespec rest;

		if (now >= end)
			return false;
		rest.tv_sec = (end - now) / 1000;
		rest.tv_nsec = (end - now) % 1000 * 1000000;
		sigtimedwait(&chld, NULL, &rest);
	}
	return true;
}

/* Helpers that a test left behind come to us, the subreaper; none may stay. */
static bool bury_group(pid_t group)
{
	u64 end = ksm_now_ms() + 20000;

	kill(-group, SIGKILL);
	for (;;) {
		pid_t pid = waitpid(-group, NULL, WNOHANG);

		if (pid < 0)
			return true;
		if (!pid && ksm_now_ms() > end)
			return false;
		if (!pid)
			ksm_nap();
	}
}

static void enter_test(void (*run)(void))
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run();
	fflush(stdout);
	_exit(KSFT_PASS);
}

int ksm_run_isolated(void (*run)(void), unsigned int seconds, char *reason, size_t size)
{
	bool in_time, buried;
	int status = 0;
	pid_t pid;

	if (!verdict) {
		verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (verdict == MAP_FAILED)
			ksft_exit_fail_perror("mmap");
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	}
	memset(verdict, 0, sizeof(*verdict));

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid)
		enter_test(run);
	setpgid(pid, pid);

	in_time = wait_exit(pid, seconds, &status);
	if (!in_time)
		snprintf(verdict->reason, sizeof(verdict->reason),
			 "not finished after %u s", seconds);
	buried = bury_group(pid);
	if (!buried)
		snprintf(verdict->reason, sizeof(verdict->reason),
			 "a process of the test cannot be killed");
	snprintf(reason, size, "%s", verdict->reason);
	if (!buried)
		return -1;
	if (!in_time)
		return KSFT_FAIL;
	if (WIFSIGNALED(status))
		snprintf(reason, size, "killed by signal %d", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : KSFT_FAIL;
}

static struct ksm_tunables saved;

static void put_back_and_die(int sig)
{
	ksm_tunables_restore(&saved);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void report(const struct ksm_test *test, int code, const char *reason)
{
	if (code < 0)
		code = KSFT_FAIL;
	if (code == KSFT_PASS || !*reason)
		ksft_test_result_code(code, test->name, NULL);
	else
		ksft_test_result_code(code, test->name, "%s", reason);
}

static bool selected(const struct ksm_test *test, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!fnmatch(argv[i], test->name, 0))
			return true;
	return argc < 2;
}

static void print_help(const char *name, const struct ksm_test *tests, unsigned int count)
{
	unsigned int i;

	printf("%s [PATTERN...]\n"
	       "Runs the tests whose names match a shell pattern; without one, all:\n", name);
	for (i = 0; i < count; i++)
		printf("  %s\n", tests[i].name);
}

/**
 * ksm_suite_main() - main() of a program that is a list of tests
 * @argc:	from main()
 * @argv:	from main(); arguments are patterns of test names
 * @tests:	the list
 * @count:	how many
 *
 * Return: exit code for kselftest.
 */
int ksm_suite_main(int argc, char **argv, const struct ksm_test *tests, unsigned int count)
{
	unsigned int i, plan = 0;

	if (argc > 1 && argv[1][0] == '-') {
		print_help(argv[0], tests, count);
		return strcmp(argv[1], "-h") ? KSFT_FAIL : KSFT_PASS;
	}
	for (i = 0; i < count; i++)
		plan += selected(&tests[i], argc, argv);
	if (!plan) {
		print_help(argv[0], tests, count);
		return KSFT_FAIL;
	}

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("must be run as root\n");
	if (!ksm_has_knob("run"))
		ksft_exit_skip("this kernel has no KSM\n");
	ksft_set_plan(plan);

	ksm_tunables_save(&saved);
	signal(SIGINT, put_back_and_die);
	signal(SIGTERM, put_back_and_die);

	for (i = 0; i < count; i++) {
		u64 start = ksm_now_ms();
		char reason[256];
		int code;

		if (!selected(&tests[i], argc, argv))
			continue;
		ksm_tunables_for_tests();
		code = ksm_run_isolated(tests[i].run, tests[i].seconds ?: KSM_TEST_SECONDS,
					reason, sizeof(reason));
		report(&tests[i], code, reason);
		ksft_print_msg("%s took %.1f s\n", tests[i].name,
			       (ksm_now_ms() - start) / 1000.0);
		if (code < 0)
			ksft_exit_fail_msg("the kernel is stuck; tunables are not restored\n");
		ksm_tunables_restore(&saved);
	}
	ksft_finished();
}

void ksm_kid_start(struct ksm_kid *kid, void (*run)(struct ksm_kid *parent, void *arg), void *arg)
{
	struct ksm_kid parent = { .pid = getpid() };
	int ends[2];

	ksm_check_sys(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	fflush(stdout);
	kid->pid = ksm_check_sys(fork());
	if (!kid->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		parent.line = ends[1];
		run(&parent, arg);
		fflush(stdout);
		_exit(KSFT_PASS);
	}
	close(ends[1]);
	kid->line = ends[0];
}

void ksm_kid_send(struct ksm_kid *kid, u64 value)
{
	if (send(kid->line, &value, sizeof(value), MSG_NOSIGNAL) != sizeof(value))
		ksm_fail("process %d is gone", kid->pid);
}

u64 ksm_kid_recv(struct ksm_kid *kid)
{
	u64 value;

	if (recv(kid->line, &value, sizeof(value), 0) != sizeof(value))
		ksm_fail("process %d is gone", kid->pid);
	return value;
}

void ksm_kid_recv_value(struct ksm_kid *kid, u64 want)
{
	ksm_check_eq(ksm_kid_recv(kid), want);
}

/* Wait for a helper that has nothing more to do; its verdict is ours. */
void ksm_kid_end(struct ksm_kid *kid)
{
	int status;

	ksm_check_sys(waitpid(kid->pid, &status, 0));
	close(kid->line);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return;
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	ksm_fail("helper %d was killed by signal %d", kid->pid, WTERMSIG(status));
}

/* Return: the status as of waitpid(). */
int ksm_kid_kill(struct ksm_kid *kid, int sig)
{
	int status;

	kill(kid->pid, sig);
	ksm_check_sys(waitpid(kid->pid, &status, 0));
	close(kid->line);
	return status;
}

/* Has the helper ended within some seconds? Then @status is as of waitpid(). */
bool ksm_kid_gone(struct ksm_kid *kid, unsigned int seconds, int *status)
{
	if (!wait_exit(kid->pid, seconds, status))
		return false;
	close(kid->line);
	return true;
}
