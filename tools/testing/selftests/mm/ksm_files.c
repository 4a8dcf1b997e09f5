// SPDX-License-Identifier: GPL-2.0
/*
 * The files of KSM in sysfs, found by looking, and what each of them takes.
 *
 * Floor 2: knows files and verdicts, and nothing of what the numbers do.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksm_files.h"
#include "ksm_knob.h"

static const struct ksm_row rows[] = {
	{ "run", { "0", "2" }, KSM_NUMBER, 0, 2, UINT_MAX, EINVAL },
	{ "pages_to_scan", { "123", "4294967295" }, KSM_NUMBER, 0, UINT_MAX, UINT_MAX, EINVAL },
	{ "sleep_millisecs", { "4294967295", "7" }, KSM_NUMBER, 0, UINT_MAX, UINT_MAX, EINVAL },
	{ "merge_across_nodes", { "0", "1" }, KSM_NUMBER, 0, 1, ULONG_MAX, ERANGE },
	{ "max_page_sharing", { "2", "1024" }, KSM_NUMBER, 2, INT_MAX, INT_MAX, ERANGE },
	{ "use_zero_pages", { "1", "0" }, KSM_SWITCH },
	{ "smart_scan", { "1", "0" }, KSM_SWITCH },
	{ "reread_rounds", { "4294967295", "3" }, KSM_NUMBER, 0, UINT_MAX, UINT_MAX, EINVAL },
	{ "stable_node_chains_prune_millisecs", { "4294967295", "2000" }, KSM_NUMBER,
	  0, UINT_MAX, UINT_MAX, EINVAL },
	{ "max_kernel_pages", { "5", "4000000000" }, KSM_NUMBER, 0, ULONG_MAX, ULONG_MAX, EINVAL },
	{ "max_pages_to_merge", { "5", "4294967295" }, KSM_NUMBER, 0, UINT_MAX, UINT_MAX, EINVAL },
	{ "advisor_mode", { "scan-time", "none" }, KSM_CHOICE },
	{ "advisor_max_cpu", { "1", "100" }, KSM_NUMBER, 1, 100, UINT_MAX, EINVAL, true },
	{ "advisor_min_pages_to_scan", { "11111", "4000000000" }, KSM_NUMBER,
	  0, ULONG_MAX, ULONG_MAX, EINVAL },
	{ "advisor_max_pages_to_scan", { "222", "4000000000" }, KSM_NUMBER,
	  0, ULONG_MAX, ULONG_MAX, EINVAL },
	{ "advisor_target_scan_time", { "3", "4000000000" }, KSM_NUMBER,
	  1, ULONG_MAX, ULONG_MAX, EINVAL },
};

const struct ksm_row *ksm_row_of(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

#define FILES	64

static struct file {
	char	name[64];
	mode_t	mode;
	char	text[64];
} files[FILES];
static unsigned int nr_files;

/* The kernel's log, from where it stood when we began. */
static int kmsg = -1;

char *ksm_files_path(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	return path;
}

int ksm_files_open(const char *name, int flags)
{
	int fd = open(ksm_files_path(name), flags | O_CLOEXEC);

	ksm_check(fd >= 0, "%s cannot be opened: %m", name);
	return fd;
}

void ksm_files_begin(void)
{
	struct dirent *entry;
	DIR *dir = opendir(KSM_DIR);

	ksm_check(dir, "%s: %m", KSM_DIR);
	while ((entry = readdir(dir))) {
		struct file *file = &files[nr_files];
		struct stat st;

		ksm_check_sys(stat(ksm_files_path(entry->d_name), &st));
		if (!S_ISREG(st.st_mode))
			continue;
		ksm_check(nr_files < FILES - 1, "too many files");
		snprintf(file->name, sizeof(file->name), "%.63s", entry->d_name);
		file->mode = st.st_mode & 07777;
		nr_files++;
	}
	closedir(dir);
	kmsg = ksm_check_sys(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	ksm_check_sys(lseek(kmsg, 0, SEEK_END));
}

void ksm_files_end(void)
{
	char line[1024];
	ssize_t len;

	for (;;) {
		len = read(kmsg, line, sizeof(line) - 1);
		/* EPIPE: what came first is gone from the log */
		if (len < 0 && errno == EPIPE)
			continue;
		if (len < 0)
			break;
		line[len] = '\0';
		ksm_check(!strcasestr(line, "ksm"), "the log says: %s", line);
	}
	ksm_check(errno == EAGAIN, "/dev/kmsg: %m");
	close(kmsg);
}

void ksm_files_each_row(void (*check)(const struct ksm_row *row))
{
	unsigned int i;

	ksm_files_begin();
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (ksm_has_knob(rows[i].name))
			check(&rows[i]);
	ksm_files_end();
}

void ksm_files_each(void (*check)(const char *name, mode_t mode))
{
	unsigned int i;

	ksm_check(nr_files, "there are no files");
	for (i = 0; i < nr_files; i++)
		check(files[i].name, files[i].mode);
}

void ksm_files_remember(void)
{
	unsigned int i;

	for (i = 0; i < nr_files; i++)
		ksm_check(ksm_read_text(ksm_files_path(files[i].name), files[i].text,
					sizeof(files[i].text)) > 0,
			  "%s cannot be read", files[i].name);
}

void ksm_files_compare(const char *why)
{
	char text[64];
	unsigned int i;

	for (i = 0; i < nr_files; i++) {
		ksm_read_text(ksm_files_path(files[i].name), text, sizeof(text));
		ksm_check(!strcmp(text, files[i].text), "%s: %s was %s and is %s", why,
			  files[i].name, files[i].text, text);
	}
}

int ksm_files_write(const char *name, const char *text, size_t len)
{
	int fd = ksm_files_open(name, O_WRONLY);
	ssize_t done = write(fd, text, len);
	int err = done < 0 ? errno : 0;

	close(fd);
	ksm_check(err || done == (ssize_t)len, "%s took %zd of %zu bytes", name, done, len);
	return err;
}

/* What a file says when it has taken something. */
void ksm_row_says(const struct ksm_row *row, const char *good)
{
	char text[64], want[64];

	snprintf(want, sizeof(want), "%s\n", good);
	if (row->kind == KSM_CHOICE)
		snprintf(want, sizeof(want), "%s\n", strcmp(good, "none") ?
			 "none [scan-time]" : "[none] scan-time");
	ksm_check(ksm_read_text(ksm_files_path(row->name), text, sizeof(text)) > 0,
		  "%s cannot be read", row->name);
	ksm_check(!strcmp(text, want), "%s says %s instead of %s", row->name, text, want);
}

void ksm_row_set(const struct ksm_row *row, const char *good)
{
	int err = ksm_files_write(row->name, good, strlen(good));

	ksm_check(!err, "%s refuses %s: %s", row->name, good, strerror(err));
	ksm_row_says(row, good);
}

void ksm_row_refuses(const struct ksm_row *row, const char *text, size_t len, int want)
{
	char why[256];
	int err;

	snprintf(why, sizeof(why), "%.64s, '%.48s' (%zu bytes)", row->name, text, len);
	ksm_files_remember();
	err = ksm_files_write(row->name, text, len);
	ksm_check(err == want, "%s: %s instead of %s", why, err ? strerror(err) : "taken",
		  strerror(want));
	ksm_files_compare(why);
}
