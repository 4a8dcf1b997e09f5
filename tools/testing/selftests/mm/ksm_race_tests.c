// SPDX-License-Identifier: GPL-2.0
/*
 * Races that are rare, with one side held up in the middle (ksm_slow.h).
 */
#include <signal.h>
#include <stdio.h>

#include "ksm_slow.h"

#define HELD_MS		200

/* Pages of its own, for as long as the parent wants. */
static void offer_and_wait(struct ksm_kid *parent, void *arg)
{
	ksm_stay_on_cpu(0, 1);
	ksm_map_unique(2, 1);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
}

static void offer_slowly(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map(2);

	ksm_stay_on_cpu(0, 0);
	ksm_fill_equal(mem, 2, 2);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	ksm_mergeable(mem, 2);
	ksm_kid_send(parent, 0);
	ksm_await(ksm_ksm_pages(mem, 2) == 2, 10,
		  "not merged after 10 s: ksmd was not woken up");
	ksm_verify_equal(mem, 2, 2);
}

static void register_while_the_last_leaves(struct ksm_kid *parent, void *arg)
{
	struct ksm_kid leaving, coming;
	pid_t ksmd = ksm_find_ksmd();

	ksm_stay_on_cpu(0, 1);
	ksm_stay_on_cpu(ksmd, 1);
	ksm_run();
	ksm_kid_start(&leaving, offer_and_wait, NULL);
	ksm_kid_recv(&leaving);
	ksm_wait_scans(2);
	ksm_kid_start(&coming, offer_slowly, NULL);
	ksm_kid_recv(&coming);
	/* What waits in the first CPU's lists is drained: later ksmd would wait for it. */
	ksm_wait_scans(4);

	ksm_slow_begin("lock_acquire", coming.pid, "ksm_mm*", HELD_MS);
	ksm_kid_send(&coming, 0);
	usleep(HELD_MS * 1000 / 4);
	ksm_kid_kill(&leaving, SIGKILL);
	ksm_kid_recv(&coming);
	ksm_slow_end();
	ksm_kid_end(&coming);
}

/*
 * P41: a process registers itself, and is held up before the lock of the list; there
 * the last one that is registered exits, and ksmd goes to sleep.
 */
static void P41_registering_while_the_last_one_leaves_wakes_ksmd(void)
{
	ksm_slow_test(register_while_the_last_leaves);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P41_registering_while_the_last_one_leaves_wakes_ksmd),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
