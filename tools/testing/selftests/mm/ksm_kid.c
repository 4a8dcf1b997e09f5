// SPDX-License-Identifier: GPL-2.0
/*
 * Helper processes: start them, speak with them, see them end.
 *
 * Floor 1: knows verdicts only.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ksm_kid.h"

bool ksm_wait_exit(pid_t pid, unsigned int seconds, int *status)
{
	u64 end = ksm_now_ms() + seconds * 1000ULL * KSM_PATIENCE;
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

/* What a helper's end, as of waitpid(), means for the test. */
void ksm_kid_verdict(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	ksm_check(!status, "a helper was killed by signal %d", WTERMSIG(status));
}

/* Wait for a helper that has nothing more to do; its verdict is ours. */
void ksm_kid_end(struct ksm_kid *kid)
{
	int status;

	ksm_check_sys(waitpid(kid->pid, &status, 0));
	close(kid->line);
	ksm_kid_verdict(status);
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

/* Has the helper ended within some seconds, with patience? Then @status is as of waitpid(). */
bool ksm_kid_gone(struct ksm_kid *kid, unsigned int seconds, int *status)
{
	if (!ksm_wait_exit(kid->pid, seconds, status))
		return false;
	close(kid->line);
	return true;
}
