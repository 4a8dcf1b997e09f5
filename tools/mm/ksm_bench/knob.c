// SPDX-License-Identifier: GPL-2.0-only
/* Knob: KSM's files in sysfs, and the CPU time of its thread. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define KSM "/sys/kernel/mm/ksm/"

unsigned long knob_get(const char *name)
{
	unsigned long value;
	char path[80];
	FILE *file;

	snprintf(path, sizeof(path), KSM "%s", name);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%lu", &value) != 1)
		fail("cannot read %s: %m", path);
	fclose(file);
	return value;
}

void knob_set(const char *name, unsigned long value)
{
	char path[80];
	FILE *file;

	snprintf(path, sizeof(path), KSM "%s", name);
	file = fopen(path, "w");
	if (!file || fprintf(file, "%lu\n", value) < 0 || fclose(file))
		fail("%s does not take %lu: %m", path, value);
}

unsigned long proc_named(const char *path, const char *name)
{
	long number;

	if (!proc_find_number(path, name, &number))
		fail("cannot find %s in %s", name, path);
	return number;
}

static double schedstat_cpu(void)
{
	long pid = proc_find_ksmd();
	unsigned long long ns;
	char path[64];
	FILE *file;

	if (!pid)
		fail("there is no thread ksmd");
	snprintf(path, sizeof(path), "/proc/%ld/schedstat", pid);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%llu", &ns) != 1)
		fail("cannot read %s: %m", path);
	fclose(file);
	return ns / 1e9;
}

static bool is_user_mode_linux(void)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	bool found = false;
	char line[128];

	while (file && !found && fgets(line, sizeof(line), file))
		found = !strncmp(line, "vendor_id", 9) && strstr(line, "User Mode Linux");
	if (file)
		fclose(file);
	return found;
}

/* How long the machine's only CPU was not idle. */
static double busy_cpu(void)
{
	FILE *file = fopen("/proc/uptime", "r");
	double idle;

	if (!file || fscanf(file, "%*f %lf", &idle) != 1)
		fail("cannot read /proc/uptime: %m");
	fclose(file);
	return seconds_now() - idle;
}

/*
 * Seconds of CPU that ksmd has used.
 *
 * The scheduler's clock steps by 10 ms in User Mode Linux, and a ksmd that rests for a
 * tick between rounds begins each round right after such a step: what a round takes
 * is always rounded down then.  The time that a CPU is idle is taken in nanoseconds,
 * and while ksmd is measured, nobody else has work there.
 */
double ksmd_cpu(void)
{
	static int uml = -1;

	if (uml < 0)
		uml = is_user_mode_linux();
	return uml ? busy_cpu() : schedstat_cpu();
}

void nap(double seconds)
{
	struct timespec length = { .tv_sec = seconds };

	length.tv_nsec = (seconds - length.tv_sec) * 1e9;
	nanosleep(&length, NULL);
}
