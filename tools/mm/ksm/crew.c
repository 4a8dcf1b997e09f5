// SPDX-License-Identifier: GPL-2.0-only
/*
 * Crew: the workers, from their leader's side.  An order goes to all at once or
 * to one; whoever dies or answers badly ends the job, with its reason.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"
#include "share.h"

static int start_member(struct crew *crew, unsigned int index)
{
	struct crew_member *member = &crew->members[index];
	int orders[2], answers[2];
	unsigned int other;

	if (pipe(orders) || pipe(answers))
		return trouble("pipe: %m");
	member->pid = fork();
	if (member->pid < 0)
		return trouble("cannot start worker %u: %m", index + 1);
	if (!member->pid) {
		for (other = 0; other < index; other++) {
			close(crew->members[other].orders);
			close(crew->members[other].answers);
		}
		close(orders[1]);
		close(answers[0]);
		_exit(worker_main(crew->job, index, &crew->states[index], orders[0], answers[1]));
	}
	close(orders[0]);
	close(answers[1]);
	member->orders = orders[1];
	member->answers = answers[0];
	return 0;
}

int crew_start(struct crew *crew, const struct job *job)
{
	unsigned int i;

	crew->job = job;
	crew->members = calloc(job->copies, sizeof(*crew->members));
	crew->states = mmap(NULL, job->copies * sizeof(*crew->states), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!crew->members || crew->states == MAP_FAILED)
		return trouble("no memory for %u workers", job->copies);
	for (i = 0; i < job->copies; i++)
		if (start_member(crew, i))
			return -1;
	return 0;
}

static int member_died(struct crew *crew, unsigned int index)
{
	int status;

	waitpid(crew->members[index].pid, &status, 0);
	if (WIFSIGNALED(status))
		return trouble("worker %u was killed: %s%s", index + 1, strsignal(WTERMSIG(status)),
			       WTERMSIG(status) == SIGKILL ? " (out of memory?)" : "");
	return trouble("worker %u ended with %d", index + 1, WEXITSTATUS(status));
}

static int tell(struct crew *crew, unsigned int index, char order)
{
	crew->states[index].done = 0;
	if (write(crew->members[index].orders, &order, 1) != 1)
		return member_died(crew, index);
	crew->members[index].busy = true;
	return 0;
}

static int hear(struct crew *crew, unsigned int index)
{
	char answer;

	if (read(crew->members[index].answers, &answer, 1) != 1)
		return member_died(crew, index);
	crew->members[index].busy = false;
	if (answer != ANSWER_GOOD)
		return trouble("worker %u: %s", index + 1, crew->states[index].why);
	return 0;
}

/* Hears whoever has something to say; the number of those still at work, or -1. */
static int hear_some(struct crew *crew, int timeout_ms)
{
	unsigned int i, copies = crew->job->copies;
	struct pollfd fds[copies];
	int busy = 0;

	for (i = 0; i < copies; i++)
		fds[i] = (struct pollfd){ .fd = crew->members[i].answers, .events = POLLIN };
	if (poll(fds, copies, timeout_ms) < 0)
		return trouble("interrupted");
	for (i = 0; i < copies; i++) {
		if (fds[i].revents && hear(crew, i))
			return -1;
		busy += crew->members[i].busy;
	}
	return busy;
}

static __u64 done_bytes(struct crew *crew)
{
	__u64 bytes = 0;
	unsigned int i;

	for (i = 0; i < crew->job->copies; i++)
		bytes += __atomic_load_n(&crew->states[i].done, __ATOMIC_RELAXED);
	return bytes;
}

static int hear_all(struct crew *crew, const char *doing)
{
	const struct job *job = crew->job;
	double all = job->copies * (job->files.bytes + job->own_pages * page_size);
	double last = seconds_now();
	int busy;

	while ((busy = hear_some(crew, 200)) > 0) {
		if (!doing || seconds_now() - last < 1)
			continue;
		printf("  %s: %s of %s\n", doing, amount(done_bytes(crew)), amount(all));
		last = seconds_now();
	}
	return busy;
}

/* With a word for what is done, progress is shown. */
int crew_order(struct crew *crew, enum order order, const char *doing)
{
	unsigned int i;

	for (i = 0; i < crew->job->copies; i++)
		if (tell(crew, i, order))
			return -1;
	return hear_all(crew, doing);
}

int crew_order_one(struct crew *crew, unsigned int index, enum order order)
{
	if (tell(crew, index, order))
		return -1;
	return hear_all(crew, NULL);
}

/* Sleeps, but hears at once of a worker that died. */
int crew_sleep(struct crew *crew, double seconds)
{
	return hear_some(crew, seconds > 0 ? seconds * 1000 : 0);
}

/* A worker whose pipe closes goes home. */
int crew_dismiss(struct crew *crew)
{
	int status, bad = 0;
	unsigned int i;

	for (i = 0; i < crew->job->copies; i++)
		close(crew->members[i].orders);
	for (i = 0; i < crew->job->copies; i++) {
		waitpid(crew->members[i].pid, &status, 0);
		if (status)
			bad = trouble("worker %u did not end well", i + 1);
	}
	return bad;
}
