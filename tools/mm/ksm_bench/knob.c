// SPDX-License-Identifier: GPL-2.0-only
/* Knob: KSM's files in sysfs, and files that are read again and again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define KSM "/sys/kernel/mm/ksm/"

#define FILES 32
#define TEXT 128

/*
 * Files stay open: in User Mode Linux a system call takes as long as it takes ksmd to see
 * to hundreds of pages.
 */
static int kept_open(const char *path)
{
	static struct {
		char path[80];
		int fd;
	} files[FILES];
	unsigned int i;

	for (i = 0; i < FILES && *files[i].path; i++)
		if (!strcmp(files[i].path, path))
			return files[i].fd;
	if (i == FILES)
		fail("%s is one file too many", path);
	files[i].fd = open(path, O_RDWR | O_CLOEXEC);
	if (files[i].fd < 0)
		files[i].fd = open(path, O_RDONLY | O_CLOEXEC);
	if (files[i].fd < 0)
		fail("cannot open %s: %m", path);
	snprintf(files[i].path, sizeof(files[i].path), "%s", path);
	return files[i].fd;
}

/* What is in it now, as a string. */
static void read_again(const char *path, char text[TEXT])
{
	ssize_t length = pread(kept_open(path), text, TEXT - 1, 0);

	if (length <= 0)
		fail("cannot read %s: %m", path);
	text[length] = '\0';
}

bool knob_exists(const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), KSM "%s", name);
	return !access(path, F_OK);
}

unsigned long knob_get(const char *name)
{
	char path[80], text[TEXT], *end;
	unsigned long value;

	snprintf(path, sizeof(path), KSM "%s", name);
	read_again(path, text);
	value = strtoul(text, &end, 10);
	if (end == text)
		fail("%s is no number, but %s", path, text);
	return value;
}

void knob_set(const char *name, unsigned long value)
{
	char path[80], text[TEXT];
	int length;

	snprintf(path, sizeof(path), KSM "%s", name);
	length = snprintf(text, sizeof(text), "%lu\n", value);
	if (pwrite(kept_open(path), text, length, 0) != length)
		fail("%s does not take %lu: %m", path, value);
}

unsigned long proc_named(const char *path, const char *name)
{
	long number;

	if (!proc_find_number(path, name, &number))
		fail("cannot find %s in %s", name, path);
	return number;
}

/* Of "24 (ksmd) S 2 0 ...". */
bool ksmd_sleeps(void)
{
	char path[80], text[TEXT], *name;
	long pid = proc_find_ksmd();

	if (!pid)
		fail("there is no thread ksmd");
	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	read_again(path, text);
	name = strchr(text, ')');
	if (!name || !name[1])
		fail("%s does not tell of a state", path);
	return strchr("SDI", name[2]);
}

void nap(double seconds)
{
	struct timespec length = { .tv_sec = seconds };

	length.tv_nsec = (seconds - length.tv_sec) * 1e9;
	nanosleep(&length, NULL);
}
