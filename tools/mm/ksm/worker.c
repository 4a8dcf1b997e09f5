// SPDX-License-Identifier: GPL-2.0-only
/*
 * Worker: one process with its memory.  It does what it is told, a byte an
 * order, a byte an answer; with no order for a while it works on its own data.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "share.h"

#define TICK_MS 50

static int obey(char order, struct memory *memory, const struct job *job,
		struct worker_state *state)
{
	__atomic_store_n(&state->done, 0, __ATOMIC_RELAXED);
	switch (order) {
	case ORDER_LOAD:
		return memory_load(memory, job->archive);
	case ORDER_COUNT:
		return memory_count_distinct(memory, &state->distinct);
	case ORDER_OFFER:
		return memory_offer(memory);
	case ORDER_VERIFY:
		return memory_verify(memory, job->archive);
	case ORDER_REWRITE:
		state->rewritten = memory_rewrite(memory);
		return 0;
	}
	return trouble("unknown order %d", order);
}

/* Ends when the leader closes its end of the pipe. */
int worker_main(const struct job *job, unsigned int index, struct worker_state *state,
		int orders, int answers)
{
	struct memory memory = {
		.file_pages = job->files.pages,
		.own_pages = job->own_pages,
		.seed = index + 1,
		.done = &state->done,
	};
	struct pollfd from_leader = { .fd = orders, .events = POLLIN };
	bool ready = !memory_get(&memory);
	char order, answer;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN);	/* the leader decides */
	for (;;) {
		if (ready && poll(&from_leader, 1, TICK_MS) == 0) {
			memory_touch_own(&memory);
			continue;
		}
		if (read(orders, &order, 1) != 1)
			return 0;
		answer = ANSWER_GOOD;
		if (!ready || obey(order, &memory, job, state)) {
			snprintf(state->why, sizeof(state->why), "%s", trouble_line());
			answer = ANSWER_BAD;
		}
		if (write(answers, &answer, 1) != 1)
			return 1;
	}
}
