// SPDX-License-Identifier: GPL-2.0-only
/* Knob: KSM's files in sysfs, and the CPU time of its thread. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
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

/* The number behind a name at the start of a line, as in vmstat and meminfo. */
unsigned long proc_named(const char *path, const char *name)
{
	size_t length = strlen(name);
	unsigned long value;
	char line[256];
	FILE *file = fopen(path, "r");

	if (!file)
		fail("cannot read %s: %m", path);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, length) && strchr(": ", line[length]) &&
		    sscanf(line + length + 1, "%lu", &value) == 1) {
			fclose(file);
			return value;
		}
	fail("%s has no line %s", path, name);
}

static bool is_ksmd(const char *pid)
{
	char path[64], comm[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(comm, sizeof(comm), file))
		comm[0] = '\0';
	fclose(file);
	return !strcmp(comm, "ksmd\n");
}

static unsigned long find_ksmd(void)
{
	unsigned long pid = 0;
	struct dirent *entry;
	DIR *proc = opendir("/proc");

	while (proc && !pid && (entry = readdir(proc)))
		if (isdigit(entry->d_name[0]) && is_ksmd(entry->d_name))
			pid = strtoul(entry->d_name, NULL, 10);
	if (!pid)
		fail("there is no thread ksmd");
	closedir(proc);
	return pid;
}

static double schedstat_cpu(void)
{
	static unsigned long pid;
	unsigned long long ns;
	char path[64];
	FILE *file;

	if (!pid)
		pid = find_ksmd();
	snprintf(path, sizeof(path), "/proc/%lu/schedstat", pid);
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

double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

void nap(double seconds)
{
	struct timespec length = { .tv_sec = seconds };

	length.tv_nsec = (seconds - length.tv_sec) * 1e9;
	nanosleep(&length, NULL);
}
