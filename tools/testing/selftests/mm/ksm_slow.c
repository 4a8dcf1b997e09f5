// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks that are slow at a place in the kernel which the test has chosen.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "ksm_slow.h"

#define LOCK_EVENTS	"/sys/kernel/tracing/events/lock/"
#define PRINTK		"/proc/sys/kernel/tracepoint_printk"
#define DELAY		"/proc/sys/kernel/printk_delay"

/* 0 or -errno: without lockdep there are none. */
static int set_event(const char *event, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), LOCK_EVENTS "%s/%s", event, file);
	return ksm_write_text(path, text);
}

void ksm_slow_begin(const char *event, pid_t pid, const char *lock, unsigned int ms)
{
	char text[128];

	if (ksm_read_text(PRINTK, text, sizeof(text)) < 0 || *text != '1')
		ksm_skip("the kernel was booted without tp_printk");
	snprintf(text, sizeof(text), "common_pid == %d && name ~ \"%s\"", pid, lock);
	if (set_event(event, "filter", text))
		ksm_skip("there is no event %s", event);
	snprintf(text, sizeof(text), "%u", ms);
	ksm_check(!ksm_write_text(DELAY, text), DELAY);
	ksm_check_eq(set_event(event, "enable", "1"), 0);
}

void ksm_slow_end(void)
{
	static const char * const events[] = { "lock_acquire", "lock_release" };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		set_event(events[i], "enable", "0");
		set_event(events[i], "filter", "0");
	}
	ksm_write_text(DELAY, "0");
}

static void let_ksmd_go_anywhere(void)
{
	cpu_set_t all;
	int cpu;

	CPU_ZERO(&all);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		CPU_SET(cpu, &all);
	sched_setaffinity(ksm_find_ksmd(), sizeof(all), &all);
}

void ksm_slow_test(void (*test)(struct ksm_kid *parent, void *arg))
{
	struct ksm_kid kid;
	int status;

	ksm_kid_start(&kid, test, NULL);
	while (!ksm_kid_gone(&kid, KSM_TEST_SECONDS * 3 / 4, &status))
		kill(kid.pid, SIGKILL);
	ksm_slow_end();
	let_ksmd_go_anywhere();
	ksm_kid_verdict(status);
}

void ksm_stay_on_cpu(pid_t pid, unsigned int nr)
{
	cpu_set_t one;
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (!sched_setaffinity(pid, sizeof(one), &one) && !nr--)
			return;
	}
	ksm_skip("no second CPU to be had");
}
