// SPDX-License-Identifier: GPL-2.0
/*
 * What KSM's tracepoints say, recorded apart from whoever else traces.
 *
 * Floor 2: knows files and helper processes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksm_trace.h"

/* Of the time that a test may take. */
#define TRACE_SECONDS	60

const char *ksm_trace_root(void)
{
	static const char * const dirs[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	char path[128];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/events", dirs[i]);
		if (!access(path, F_OK))
			return dirs[i];
	}
	ksm_skip("there is no /sys/kernel/tracing");
}

static int switch_events(const char *dir, const char *value)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/events/ksm/enable", dir);
	return ksm_write_text(path, value);
}

void ksm_trace_test(void (*test)(struct ksm_kid *parent, void *dir))
{
	struct ksm_kid kid;
	char dir[256];
	int status;

	snprintf(dir, sizeof(dir), "%s/instances/ksm_selftest", ksm_trace_root());
	if (mkdir(dir, 0700) && errno != EEXIST)
		ksm_skip("%s: %m", dir);
	ksm_kid_start(&kid, test, dir);
	if (!ksm_kid_gone(&kid, TRACE_SECONDS, &status))
		status = ksm_kid_kill(&kid, SIGKILL);
	switch_events(dir, "0");
	rmdir(dir);
	ksm_kid_verdict(status);
}

void ksm_trace_begin(const char *dir)
{
	int err = switch_events(dir, "1");

	ksm_check(!err, "%s/events/ksm/enable: %s", dir, strerror(-err));
}

char *ksm_trace_read(const char *dir)
{
	static char text[1 << 20];
	char path[512];

	snprintf(path, sizeof(path), "%s/trace", dir);
	ksm_check(ksm_read_text(path, text, sizeof(text)) >= 0, "%s cannot be read", path);
	return text;
}

const char *ksm_trace_said(const char *text, const char *event)
{
	char word[64];
	const char *at;

	snprintf(word, sizeof(word), " %s: ", event);
	at = strstr(text, word);
	return at ? at + strlen(word) : NULL;
}
