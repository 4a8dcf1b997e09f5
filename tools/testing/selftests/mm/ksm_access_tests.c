// SPDX-License-Identifier: GPL-2.0
/*
 * Ways to the files of KSM in sysfs: positions, permissions, several writers at once,
 * reading in pieces, polling.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ksm_util.h"

#define NOBODY	65534

static void nothing_is_taken(const struct ksm_row *row)
{
	int fd = ksm_files_open(row->name, O_WRONLY);

	ksm_row_set(row, row->good[0]);
	ksm_files_remember();
	ksm_check_eq(write(fd, "", 0), 0);
	ksm_check_eq(pwrite(fd, "", 0, 77), 0);
	close(fd);
	ksm_files_compare(row->name);
}

static void writing_nothing_changes_nothing(void)
{
	ksm_files_each_row(nothing_is_taken);
}

/* Each write is a whole value, wherever the position stands, which no one looks at. */
static void writes_are_values(const struct ksm_row *row)
{
	const char *first = row->good[0], *second = row->good[1];
	int fd = ksm_files_open(row->name, O_RDWR | O_TRUNC);

	ksm_check_eq(write(fd, first, strlen(first)), strlen(first));
	ksm_row_says(row, first);
	ksm_check_eq(write(fd, second, strlen(second)), strlen(second));
	ksm_row_says(row, second);
	ksm_check_eq(pwrite(fd, first, strlen(first), 1), strlen(first));
	ksm_row_says(row, first);
	ksm_check_eq(pwrite(fd, second, strlen(second), 5000), strlen(second));
	ksm_row_says(row, second);
	ksm_check_sys(ftruncate(fd, 0));
	ksm_check_sys(ftruncate(fd, 100000));
	ksm_row_says(row, second);
	ksm_check_sys(fcntl(fd, F_SETFL, O_APPEND));
	ksm_check_eq(write(fd, first, strlen(first)), strlen(first));
	ksm_row_says(row, first);
	close(fd);
}

static void a_write_is_a_value_wherever_it_goes(void)
{
	ksm_files_each_row(writes_are_values);
}

static void expect_error(const struct ksm_row *row, ssize_t done, int want)
{
	int err = done < 0 ? errno : 0;

	ksm_check(err == want, "%s: %s instead of %s", row->name, strerror(err), strerror(want));
	ksm_files_compare(row->name);
}

static void bad_calls_are_refused(const struct ksm_row *row)
{
	const char *good = row->good[1];
	int fd;

	ksm_row_set(row, row->good[0]);
	ksm_files_remember();
	fd = ksm_files_open(row->name, O_WRONLY);
	expect_error(row, pwrite(fd, "abc", 3, 1), EINVAL);
	expect_error(row, pwrite(fd, good, strlen(good), -1), EINVAL);
	expect_error(row, write(fd, (char *)16, 3), EFAULT);
	expect_error(row, write(fd, good, -1), EFAULT);
	expect_error(row, read(fd, (char *)16, 3), EBADF);
	close(fd);
	fd = ksm_files_open(row->name, O_RDONLY);
	expect_error(row, write(fd, good, strlen(good)), EBADF);
	expect_error(row, read(fd, (char *)16, 3), EFAULT);
	close(fd);
	expect_error(row, unlink(ksm_files_path(row->name)), EPERM);
	expect_error(row, rename(ksm_files_path(row->name), KSM_DIR "x"), EPERM);
	ksm_check(mmap(NULL, psize(), PROT_READ, MAP_SHARED,
		       ksm_files_open(row->name, O_RDONLY), 0) == MAP_FAILED && errno == ENODEV,
		  "%s can be mapped: %m", row->name);
}

static void bad_calls_change_nothing(void)
{
	ksm_files_each_row(bad_calls_are_refused);
}

/* ------------------------------------------------------------------------ */
/* Permissions.                                                             */

static int open_error(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* Not even root: nobody would take what is written. */
static void counter_is_only_read(const char *name, mode_t mode)
{
	if (ksm_row_of(name))
		return;
	ksm_check_eq(mode, 0444);
	ksm_check_eq(open_error(ksm_files_path(name), O_WRONLY), EACCES);
	ksm_check_eq(open_error(ksm_files_path(name), O_RDWR | O_TRUNC), EACCES);
	ksm_check_eq(open_error(ksm_files_path(name), O_RDONLY), 0);
}

static void check_proc_file(const char *path)
{
	char before[1024], after[1024];
	int fd = ksm_check_sys(open(path, O_RDWR | O_CLOEXEC));

	ksm_check(read(fd, before, sizeof(before)) > 0, "%s: %m", path);
	ksm_check(write(fd, "0", 1) < 0 && errno == EINVAL, "%s takes 0: %m", path);
	ksm_check(pread(fd, after, sizeof(after), 0) > 0, "%s: %m", path);
	ksm_check_eq(*after, *before);
	close(fd);
}

static void counters_are_only_read(void)
{
	ksm_files_begin();
	ksm_files_remember();
	ksm_files_each(counter_is_only_read);
	ksm_files_compare("opened to write");
	check_proc_file("/proc/self/ksm_stat");
	check_proc_file("/proc/self/ksm_merging_pages");
	ksm_files_end();
}

static void nobody_reads_only(const char *name, mode_t mode)
{
	ksm_check_eq(open_error(ksm_files_path(name), O_WRONLY), EACCES);
	ksm_check_eq(open_error(ksm_files_path(name), O_RDWR | O_TRUNC), EACCES);
	ksm_check_eq(open_error(ksm_files_path(name), O_RDONLY), 0);
	ksm_check(chmod(ksm_files_path(name), 0666) && errno == EPERM, "%s: chmod: %m", name);
}

static void without_permission_one_only_reads(void)
{
	char path[64];

	ksm_files_begin();
	ksm_files_remember();
	snprintf(path, sizeof(path), "/proc/%d/ksm_stat", getppid());
	ksm_check_eq(open_error(path, O_RDONLY), 0);
	ksm_check_sys(setresgid(NOBODY, NOBODY, NOBODY));
	ksm_check_sys(setresuid(NOBODY, NOBODY, NOBODY));
	ksm_files_each(nobody_reads_only);
	ksm_files_compare("opened by nobody");
	/* What KSM does for others is nobody's business. */
	ksm_check_eq(open_error(path, O_RDONLY), EACCES);
	snprintf(path, sizeof(path), "/proc/%d/ksm_merging_pages", getppid());
	ksm_check_eq(open_error(path, O_RDONLY), EACCES);
	ksm_check_eq(open_error("/proc/1/ksm_stat", O_RDONLY), EACCES);
	ksm_files_end();
}

/* ------------------------------------------------------------------------ */
/* Reading.                                                                 */

static void reads_in_pieces(const char *name, mode_t mode)
{
	char whole[64], piece[64];
	ssize_t len = ksm_read_text(ksm_files_path(name), whole, sizeof(whole)), at;
	int fd = ksm_files_open(name, O_RDONLY);

	for (at = 0; at <= len; at++) {
		ksm_check_eq(pread(fd, piece, sizeof(piece), at), len - at);
		ksm_check(!memcmp(piece, whole + at, len - at), "%s, from %zd", name, at);
	}
	ksm_check_eq(pread(fd, piece, sizeof(piece), len + 1), 0);
	ksm_check_eq(pread(fd, piece, sizeof(piece), 1000000), 0);
	for (at = 0; at < len; at++)
		ksm_check(read(fd, piece, 1) == 1 && *piece == whole[at], "%s at %zd", name, at);
	ksm_check_eq(read(fd, piece, 1), 0);
	close(fd);
}

static void a_file_can_be_read_in_pieces(void)
{
	ksm_files_begin();
	ksm_files_each(reads_in_pieces);
	ksm_files_end();
}

/* A file can always be read and written; none tells when it changes. */
static void polls(const struct ksm_row *row)
{
	int fd = ksm_files_open(row->name, O_RDWR);
	struct pollfd on = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI };
	char text[64];
	int turn;

	for (turn = 0; turn < 3; turn++) {
		ksm_check(pread(fd, text, sizeof(text), 0) > 0, "%s: %m", row->name);
		ksm_check_eq(poll(&on, 1, 0), 1);
		ksm_check_eq(on.revents, POLLIN | POLLOUT);
		ksm_row_set(row, row->good[turn % 2]);
		ksm_check_eq(poll(&on, 1, 0), 1);
		ksm_check_eq(on.revents, POLLIN | POLLOUT);
		ksm_row_refuses(row, "x", 1, EINVAL);
	}
	close(fd);
}

static void poll_waits_for_nothing(void)
{
	ksm_files_each_row(polls);
}

/* ------------------------------------------------------------------------ */
/* Several writers.                                                         */

#define WRITES	400

struct writer {
	const struct ksm_row	*row;
	unsigned int		cpu;
	const char		*good, *bad;
	char			(*says)[64];	/* what may stand there */
};

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	/* With one CPU they take turns, which is good as well. */
	sched_setaffinity(0, sizeof(set), &set);
}

/* A value that stands there is one that somebody wrote, and not made of two. */
static void expect_one_of_both(const struct writer *writer, int fd)
{
	char text[64] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		ksm_fail("%s cannot be read: %m", writer->row->name);
	if (strcmp(text, writer->says[0]) && strcmp(text, writer->says[1]))
		ksm_fail("%s says %s", writer->row->name, text);
}

static void write_and_look(struct ksm_kid *parent, void *arg)
{
	const struct writer *writer = arg;
	const char *name = writer->row->name;
	int fd = ksm_files_open(name, O_RDWR);
	unsigned int i;

	pin(writer->cpu);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	for (i = 0; i < WRITES; i++) {
		if (write(fd, writer->good, strlen(writer->good)) < 0)
			ksm_fail("%s refuses %s: %m", name, writer->good);
		expect_one_of_both(writer, fd);
		if (write(fd, writer->bad, strlen(writer->bad)) >= 0)
			ksm_fail("%s takes %s", name, writer->bad);
		expect_one_of_both(writer, fd);
	}
}

static void writers_meet(const struct ksm_row *row)
{
	char says[2][64];
	struct writer writers[] = {
		{ row, 0, row->good[0], "-1", says }, { row, 1, row->good[1], "scan", says },
	};
	struct ksm_kid kids[2];
	int i;

	for (i = 0; i < 2; i++) {
		ksm_row_set(row, row->good[i]);
		ksm_check(ksm_read_text(ksm_files_path(row->name), says[i], sizeof(says[i])) > 0,
			  "%s cannot be read", row->name);
	}
	for (i = 0; i < 2; i++)
		ksm_kid_start(&kids[i], write_and_look, &writers[i]);
	for (i = 0; i < 2; i++)
		ksm_kid_recv(&kids[i]);
	for (i = 0; i < 2; i++)
		ksm_kid_send(&kids[i], 0);
	for (i = 0; i < 2; i++)
		ksm_kid_end(&kids[i]);
}

static void of_several_writers_one_is_heeded(void)
{
	ksm_files_each_row(writers_meet);
}

static const struct ksm_test tests[] = {
	KSM_TEST(writing_nothing_changes_nothing),
	KSM_TEST(a_write_is_a_value_wherever_it_goes),
	KSM_TEST(bad_calls_change_nothing),
	KSM_TEST(counters_are_only_read),
	KSM_TEST(without_permission_one_only_reads),
	KSM_TEST(a_file_can_be_read_in_pieces),
	KSM_TEST(poll_waits_for_nothing),
	KSM_TEST(of_several_writers_one_is_heeded),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
