// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel tells about pages, processes and events.
 *
 * Floor 1: knows verdicts and files only.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "ksm_proc.h"
#include "vm_util.h"

static const char *proc_path(char *path, size_t size, pid_t pid, const char *file)
{
	if (pid)
		snprintf(path, size, "/proc/%d/%s", pid, file);
	else
		snprintf(path, size, "/proc/self/%s", file);
	return path;
}

static bool line_kb(const char *line, const char *name, size_t *pages)
{
	size_t len = strlen(name);

	if (strncmp(line, name, len))
		return false;
	*pages += strtoul(line + len, NULL, 10) * 1024 / psize();
	return true;
}

static void add_line(struct ksm_area *area, const char *line)
{
	if (line_kb(line, "KSM:", &area->ksm) || line_kb(line, "AnonHugePages:", &area->huge) ||
	    line_kb(line, "Swap:", &area->swapped) ||
	    line_kb(line, "Referenced:", &area->referenced))
		return;
	if (area->vmas > 1)
		return;
	if (!strncmp(line, "ProtectionKey:", 14))
		area->pkey = atol(line + 14);
	else if (!strncmp(line, "VmFlags:", 8))
		snprintf(area->flags, sizeof(area->flags), "%.255s", line + 8);
}

/* Sums over the VMAs that have any page in the range; whole VMAs, as smaps has them. */
void ksm_area(pid_t pid, const void *mem, size_t pages, struct ksm_area *area)
{
	unsigned long from = (unsigned long)mem, to = from + pages * psize();
	bool inside = false;
	char line[512];
	FILE *smaps = fopen(proc_path(line, sizeof(line), pid, "smaps"), "re");

	ksm_check(smaps, "%s: %m", line);
	memset(area, 0, sizeof(*area));
	area->pkey = -1;
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			inside = start < to && end > from;
			area->vmas += inside;
		} else if (inside) {
			add_line(area, line);
		}
	}
	fclose(smaps);
}

size_t ksm_ksm_pages(const void *mem, size_t pages)
{
	struct ksm_area area;

	ksm_area(0, mem, pages, &area);
	return area.ksm;
}

bool ksm_vma_has(const void *mem, const char *flag)
{
	struct ksm_area area;
	char *rest, *name;

	ksm_area(0, mem, 1, &area);
	ksm_check(area.vmas == 1, "%p is not mapped", mem);
	area.flags[strcspn(area.flags, "\n")] = '\0';
	for (name = strtok_r(area.flags, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
		if (!strcmp(name, flag))
			return true;
	return false;
}

u64 ksm_pagemap(pid_t pid, const void *addr)
{
	char path[64];
	u64 entry = 0;
	int fd = open(proc_path(path, sizeof(path), pid, "pagemap"), O_RDONLY | O_CLOEXEC);

	ksm_check(fd >= 0, "%s: %m", path);
	ksm_check(pread(fd, &entry, sizeof(entry), (uintptr_t)addr / psize() * sizeof(entry)) ==
		  sizeof(entry), "%s: %m", path);
	close(fd);
	return entry;
}

unsigned long ksm_pfn_of(pid_t pid, const void *addr)
{
	u64 entry = ksm_pagemap(pid, addr);

	return entry & PM_PRESENT ? PAGEMAP_PFN(entry) : 0;
}

unsigned long ksm_pfn(const void *addr)
{
	return ksm_pfn_of(0, addr);
}

bool ksm_swapped(const void *addr)
{
	return ksm_pagemap(0, addr) & PM_SWAP;
}

u64 ksm_kpageflags(unsigned long pfn)
{
	u64 flags = 0;
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) != sizeof(flags))
		flags = 0;
	close(fd);
	return flags;
}

/* A line "name value" of a file. Return: -1 where there is none. */
static long named_value(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char line[256], word[128];
	long value = -1;

	ksm_check(file, "%s: %m", path);
	while (fgets(line, sizeof(line), file)) {
		long got;

		if (sscanf(line, "%127s %ld", word, &got) == 2 && !strcmp(word, name))
			value = got;
	}
	fclose(file);
	return value;
}

long ksm_vmstat(const char *name)
{
	long value = named_value("/proc/vmstat", name);

	ksm_check(value >= 0, "/proc/vmstat has no line %s", name);
	return value;
}

long ksm_stat(pid_t pid, const char *name)
{
	char path[64];

	return named_value(proc_path(path, sizeof(path), pid, "ksm_stat"), name);
}

long ksm_merging_pages(pid_t pid)
{
	char path[64], text[64];
	ssize_t len;

	proc_path(path, sizeof(path), pid, "ksm_merging_pages");
	len = ksm_read_text(path, text, sizeof(text));
	ksm_check(len > 0, "%s: %s", path, strerror(-len));
	return atol(text);
}

/* Return: the thread's process number, or 0. */
pid_t ksm_find_ksmd(void)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		char path[64], name[32];
		pid_t pid = atoi(entry->d_name);

		if (!pid)
			continue;
		proc_path(path, sizeof(path), pid, "comm");
		if (ksm_read_text(path, name, sizeof(name)) > 0 && !strcmp(name, "ksmd\n"))
			found = pid;
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Time that ksmd has had a CPU for. */
u64 ksm_ksmd_ns(void)
{
	char path[64], text[128];

	proc_path(path, sizeof(path), ksm_find_ksmd(), "schedstat");
	if (ksm_read_text(path, text, sizeof(text)) <= 0)
		ksm_skip("no %s", path);
	return strtoull(text, NULL, 10);
}
