// SPDX-License-Identifier: GPL-2.0-only
/* Proc: numbers that have a name, the thread ksmd, and the time. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proc.h"

double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* The number behind a name at the start of a line, as in vmstat and meminfo. */
bool proc_find_number(const char *path, const char *name, long *number)
{
	size_t length = strlen(name);
	FILE *file = fopen(path, "r");
	bool found = false;
	char line[256];

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = !strncmp(line, name, length) && strchr(": ", line[length]) &&
			sscanf(line + length + 1, "%ld", number) == 1;
	fclose(file);
	return found;
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

/* Its pid; 0 if there is none. */
long proc_find_ksmd(void)
{
	static long pid;
	struct dirent *entry;
	DIR *proc;

	if (pid)
		return pid;
	proc = opendir("/proc");
	while (proc && !pid && (entry = readdir(proc)))
		if (isdigit(entry->d_name[0]) && is_ksmd(entry->d_name))
			pid = strtol(entry->d_name, NULL, 10);
	if (proc)
		closedir(proc);
	return pid;
}
