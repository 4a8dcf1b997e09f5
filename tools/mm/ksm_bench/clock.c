// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clock: the CPU time of ksmd, from when it was switched to until it was switched from.
 *
 * The scheduler's own clock steps by 10 ms in User Mode Linux, and what sleeps between two
 * batches begins each right after such a step.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define TRACING "/sys/kernel/tracing/instances/ksm_bench/"

static void tell(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd))
		fail("%s does not take \"%s\": %m", path, text);
}

static long begin_trace(void)
{
	long pid = proc_find_ksmd();
	char filter[80];

	if (!pid)
		fail("there is no thread ksmd");
	if (mkdir(TRACING, 0700) && errno != EEXIST)
		fail("cannot make %s: %m", TRACING);
	snprintf(filter, sizeof(filter), "prev_pid == %ld || next_pid == %ld", pid, pid);
	tell(TRACING "trace_clock", "mono");
	tell(TRACING "events/sched/sched_switch/filter", filter);
	tell(TRACING "events/sched/sched_switch/enable", "1");
	return pid;
}

/* Nothing may be missing of "# entries-in-buffer/entries-written: 4/4". */
static void expect_all(const char *line)
{
	unsigned long there, written;

	if (sscanf(line, "# entries-in-buffer/entries-written: %lu/%lu", &there, &written) == 2 &&
	    there != written)
		fail("of %lu switches of ksmd's, %lu are known", written, there);
}

/* Of "ksmd-24 [000] d..2. 12.345678: sched_switch: ... prev_pid=24 ... next_pid=1 ...". */
static bool parse(const char *line, double *when, long *from, long *to)
{
	const char *event = strstr(line, ": sched_switch: "), *prev, *next;

	if (!event)
		return false;
	prev = strstr(event, " prev_pid=");
	next = strstr(event, " next_pid=");
	if (!prev || !next)
		return false;
	while (event > line && event[-1] != ' ')
		event--;
	*when = strtod(event, NULL);
	*from = strtol(prev + strlen(" prev_pid="), NULL, 10);
	*to = strtol(next + strlen(" next_pid="), NULL, 10);
	return true;
}

/* Seconds; complete while ksmd does not run. */
double ksmd_cpu(void)
{
	static double used, since;
	static long pid;
	char line[512];
	long from, to;
	double when;
	FILE *file;

	if (!pid)
		pid = begin_trace();
	file = fopen(TRACING "trace", "r");
	if (!file)
		fail("cannot read %strace: %m", TRACING);
	while (fgets(line, sizeof(line), file)) {
		expect_all(line);
		if (!parse(line, &when, &from, &to))
			continue;
		if (from == pid && since)
			used += when - since;
		since = to == pid ? when : 0;
	}
	fclose(file);
	tell(TRACING "trace", "");
	return used;
}
