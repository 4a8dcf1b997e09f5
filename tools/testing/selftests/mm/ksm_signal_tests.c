// SPDX-License-Identifier: GPL-2.0
/*
 * Signals that come while memory is unmerged: the call ends, or begins anew, as the program
 * wants it for that signal, and what is not unmerged yet is merged and offered as before.
 *
 * Who makes the call is traced by the test, which lets it go on from the entry of the
 * call with a signal: that is pending then before the first page is copied.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include <linux/ptrace.h>

#include "ksm_util.h"

#define PAGES	64
#define SEED	1

/* A call that unmerges memory, and what that does to the offer. */
struct call {
	long	nr;
	long	(*make)(char *mem, int run);
	bool	ends_offer;
	bool	merge_all;	/* it takes back what prctl() has offered */
};

static long unmerge_range(char *mem, int run)
{
	return madvise(mem, PAGES * psize(), MADV_UNMERGEABLE);
}

static long merge_no_more(char *mem, int run)
{
	return ksm_prctl_merge(0);
}

static long write_2(char *mem, int run)
{
	return write(run, "2", 1);
}

static const struct call calls[] = {
	{ SYS_madvise, unmerge_range, true, false },
	{ SYS_prctl, merge_no_more, true, true },
	{ SYS_write, write_2, false, false },
};

/* What a program does, and how it has the signal handled. */
struct program {
	const struct call	*call;
	int			flags;
};

static int handled;

static void handle(int sig)
{
	__atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
}

static long trace(int request, pid_t pid, unsigned long addr, unsigned long data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

static long merges_all(void)
{
	return syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0);
}

static void check_nothing_has_changed(const struct call *call, char *mem)
{
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	ksm_check(ksm_vma_has(mem, "mg"), "it is not offered any more");
	ksm_check_eq(merges_all(), call->merge_all);
	ksm_check_eq(ksm_knob_get("run"), 0);
	ksm_verify_equal(mem, PAGES, SEED);
}

static void run_program(struct ksm_kid *parent, void *arg)
{
	const struct program *program = arg;
	const struct call *call = program->call;
	struct sigaction action = { .sa_handler = handle, .sa_flags = program->flags };
	int run = ksm_files_open("run", O_WRONLY), err;
	char *mem = ksm_map_equal(PAGES, SEED);

	if (call->merge_all)
		ksm_check_sys(ksm_prctl_merge(1));
	ksm_merge(mem, PAGES);
	ksm_check_sys(sigaction(SIGUSR1, &action, NULL));
	ksm_check_sys(trace(PTRACE_TRACEME, 0, 0, 0));
	raise(SIGSTOP);
	err = call->make(mem, run) < 0 ? errno : 0;

	ksm_check_eq(handled, 1);
	ksm_check_eq(err, program->flags & SA_RESTART ? 0 : EINTR);
	if (err) {
		check_nothing_has_changed(call, mem);
		ksm_check_sys(call->make(mem, run));
	}
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_check_eq(ksm_vma_has(mem, "mg"), !call->ends_offer);
	ksm_verify_equal(mem, PAGES, SEED);
}

/* Return: by which signal it has stopped; if it has ended, so do we. */
static int await_stop(struct ksm_kid *kid)
{
	int status;

	ksm_check_sys(waitpid(kid->pid, &status, 0));
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status) ?: KSFT_FAIL);
	ksm_check(WIFSTOPPED(status), "killed by signal %d", WTERMSIG(status));
	return WSTOPSIG(status);
}

static void let_go_on(struct ksm_kid *kid, int request, int sig)
{
	ksm_check_sys(trace(request, kid->pid, 0, sig));
}

/* It stops where it enters that call and where it leaves it. */
static bool has_entered(struct ksm_kid *kid, long nr)
{
	struct ptrace_syscall_info info = { };

	ksm_check_sys(trace(PTRACE_GET_SYSCALL_INFO, kid->pid, sizeof(info),
			    (unsigned long)&info));
	return info.op == PTRACE_SYSCALL_INFO_ENTRY && (long)info.entry.nr == nr;
}

static void meet_signal(const struct call *call, int flags)
{
	struct program program = { call, flags };
	struct ksm_kid kid;

	ksm_kid_start(&kid, run_program, &program);
	ksm_check_eq(await_stop(&kid), SIGSTOP);
	ksm_check_sys(trace(PTRACE_SETOPTIONS, kid.pid, 0, PTRACE_O_TRACESYSGOOD));
	do {
		let_go_on(&kid, PTRACE_SYSCALL, 0);
		ksm_check_eq(await_stop(&kid), SIGTRAP | 0x80);
	} while (!has_entered(&kid, call->nr));
	let_go_on(&kid, PTRACE_CONT, SIGUSR1);
	/* On its way back. */
	ksm_check_eq(await_stop(&kid), SIGUSR1);
	let_go_on(&kid, PTRACE_CONT, SIGUSR1);
	ksm_kid_end(&kid);
}

static void meet_signal_in_each_call(int flags)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		meet_signal(&calls[i], flags);
}

static void P23_a_signal_ends_an_unmerge_and_changes_nothing(void)
{
	meet_signal_in_each_call(0);
}

static void P23_with_SA_RESTART_an_unmerge_begins_anew(void)
{
	meet_signal_in_each_call(SA_RESTART);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P23_a_signal_ends_an_unmerge_and_changes_nothing),
	KSM_TEST(P23_with_SA_RESTART_an_unmerge_begins_anew),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
