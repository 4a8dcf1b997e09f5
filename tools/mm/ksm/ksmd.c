// SPDX-License-Identifier: GPL-2.0-only
/* ksmd: KSM's knobs and counters in sysfs, and the CPU time of its thread. */
#include <stdio.h>

#include "proc.h"
#include "share.h"

#define KSM "/sys/kernel/mm/ksm/"

/* Where the counters stood before: others may have used KSM. */
static struct sample origin;

static struct knob {
	const char	*name;
	long		saved;
} knobs[] = { { "run", -1 }, { "sleep_millisecs", -1 }, { "pages_to_scan", -1 }, { NULL } };

static int read_number(const char *name, long *number)
{
	char path[64];
	FILE *file;
	int got;

	snprintf(path, sizeof(path), KSM "%s", name);
	file = fopen(path, "r");
	if (!file)
		return trouble("cannot read %s: %m (a kernel without CONFIG_KSM?)", path);
	got = fscanf(file, "%ld", number);
	fclose(file);
	return got == 1 ? 0 : trouble("%s holds no number", path);
}

static int write_number(const char *name, long number)
{
	char path[64];
	FILE *file;
	int bad;

	snprintf(path, sizeof(path), KSM "%s", name);
	file = fopen(path, "w");
	if (!file)
		return trouble("cannot write %s: %m", path);
	bad = fprintf(file, "%ld\n", number) < 0;
	bad |= fclose(file);
	return bad ? trouble("%s does not take %ld: %m", path, number) : 0;
}

static int read_named(const char *path, const char *name, long *number)
{
	return proc_find_number(path, name, number) ? 0 :
	       trouble("cannot find %s in %s", name, path);
}

static int read_cpu(double *seconds)
{
	unsigned long long ns;
	long pid = proc_find_ksmd();
	char path[64];
	FILE *file;
	int got;

	if (!pid)
		return trouble("there is no thread ksmd");
	snprintf(path, sizeof(path), "/proc/%ld/schedstat", pid);
	file = fopen(path, "r");
	if (!file)
		return trouble("cannot read %s: %m (a kernel without CONFIG_SCHED_INFO?)", path);
	got = fscanf(file, "%llu", &ns);
	fclose(file);
	*seconds = ns / 1e9;
	return got == 1 ? 0 : trouble("%s holds no number", path);
}

static int read_sample(struct sample *sample)
{
	sample->at = seconds_now();
	if (read_number("pages_scanned", &sample->scanned) ||
	    read_number("pages_shared", &sample->shared) ||
	    read_number("pages_sharing", &sample->sharing) ||
	    read_number("full_scans", &sample->full_scans) ||
	    read_named("/proc/meminfo", "AnonPages", &sample->anon_kib))
		return -1;
	return read_cpu(&sample->cpu);
}

int ksmd_start(long pages_to_scan, long sleep_millisecs)
{
	struct knob *knob;

	for (knob = knobs; knob->name; knob++)
		if (read_number(knob->name, &knob->saved))
			return -1;
	if (read_sample(&origin))
		return -1;
	if (write_number("pages_to_scan", pages_to_scan) ||
	    write_number("sleep_millisecs", sleep_millisecs))
		return -1;
	return write_number("run", 1);
}

int ksmd_sample(struct sample *sample)
{
	if (read_sample(sample))
		return -1;
	sample->at -= origin.at;
	sample->cpu -= origin.cpu;
	sample->scanned -= origin.scanned;
	sample->shared -= origin.shared;
	sample->sharing -= origin.sharing;
	sample->full_scans -= origin.full_scans;
	return 0;
}

/* How many KSM pages got a copy of their own because somebody wrote to them. */
int ksmd_cow_events(long *events)
{
	return read_named("/proc/vmstat", "cow_ksm", events);
}

void ksmd_restore(void)
{
	struct knob *knob;

	for (knob = knobs; knob->name; knob++)
		if (knob->saved >= 0)
			write_number(knob->name, knob->saved);
}
