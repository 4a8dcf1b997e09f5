// SPDX-License-Identifier: GPL-2.0-only
/* Crew: processes that hold equal memory, and obey orders by a letter. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

static void obey(struct area *area, char order)
{
	switch (order) {
	case ORDER_OFFER:
		area_populate(area);
		area_offer(area);
		break;
	case ORDER_WITHDRAW:
		area_withdraw(area);
		break;
	case ORDER_VERIFY:
		area_verify(area);
		break;
	}
}

/* Whatever went wrong has been said by fail(): the leader hears no answer then. */
static void __noreturn member_main(struct area area, int orders, int answers)
{
	char order;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	area_make(&area);
	for (order = '+'; write(answers, &order, 1) == 1 && read(orders, &order, 1) == 1;)
		obey(&area, order);
	exit(0);
}

static void hear(const struct crew *crew, unsigned int i)
{
	char answer;

	if (read(crew->members[i].answers, &answer, 1) != 1)
		exit(1);
}

/* Each has an area as @area says. */
void crew_start(struct crew *crew, unsigned int members, const struct area *area)
{
	int orders[2], answers[2];

	for (crew->nr = 0; crew->nr < members; crew->nr++) {
		struct crew_member *member = &crew->members[crew->nr];

		if (pipe(orders) || pipe(answers))
			fail("pipe: %m");
		member->pid = fork();
		if (member->pid < 0)
			fail("cannot start process %u: %m", crew->nr);
		if (!member->pid) {
			close(orders[1]);
			close(answers[0]);
			member_main(*area, orders[0], answers[1]);
		}
		close(orders[0]);
		close(answers[1]);
		member->orders = orders[1];
		member->answers = answers[0];
		hear(crew, crew->nr);
	}
}

void crew_order(const struct crew *crew, enum order order)
{
	char letter = order;
	unsigned int i;

	for (i = 0; i < crew->nr; i++)
		if (write(crew->members[i].orders, &letter, 1) != 1)
			exit(1);
	for (i = 0; i < crew->nr; i++)
		hear(crew, i);
}
