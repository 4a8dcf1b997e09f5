// SPDX-License-Identifier: GPL-2.0
/*
 * The frame around KSM tests: processes, time limits, verdicts, clean slates.
 *
 * Floor 2: knows nothing about KSM but how to put its tunables back.
 */
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ksm_harness.h"
#include "ksm_kid.h"
#include "ksm_knob.h"

/* Helpers that a test left behind come to us, the subreaper; none may stay. */
static bool bury_group(pid_t group)
{
	u64 end = ksm_now_ms() + 20000 * KSM_PATIENCE;

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

	ksm_reason_begin();
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid)
		enter_test(run);
	setpgid(pid, pid);

	in_time = ksm_wait_exit(pid, seconds, &status);
	snprintf(reason, size, "%s", ksm_reason());
	if (!in_time)
		snprintf(reason, size, "not finished after %u s", seconds * KSM_PATIENCE);
	buried = bury_group(pid);
	if (!buried)
		snprintf(reason, size, "a process of the test cannot be killed");
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
