// SPDX-License-Identifier: GPL-2.0-only
/*
 * abi: what users see of KSM on the running kernel, a line each: NAME, tab, VALUE.
 *
 * It knows where to look, and not what should be there: folders are walked, and
 * files searched for lines that speak of KSM.  To be run first of all in a fresh
 * guest, since it tells defaults.  The constants are those of the headers that it is
 * compiled with; the numbers given to the kernel are written out, so that both speak.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/kernel-page-flags.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define KSM	"/sys/kernel/mm/ksm"
#define TRACE	"/sys/kernel/tracing/events/ksm"
#define SMAPS	"/proc/self/smaps"
#define PAGES	4

#define die(...)	(printf("abi: " __VA_ARGS__), printf("\n"), exit(1))

static int read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t got, len = 0;

	if (fd < 0)
		return -1;
	while ((got = read(fd, text + len, size - 1 - len)) > 0)
		len += got;
	close(fd);
	text[len] = '\0';
	return got < 0 ? -1 : 0;
}

static void write_knob(const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), KSM "/%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("%s: %m", path);
	close(fd);
}

/* Numbers as N, tabs as blanks: what is left is the form. */
static void make_form(char *text)
{
	char *from, *to = text;

	for (from = text; *from; from++) {
		int alone = from == text || !isalnum((unsigned char)from[-1]);

		if (isdigit((unsigned char)*from) && alone) {
			if (to > text && to[-1] == '-')
				to--;
			*to++ = 'N';
			while (isdigit((unsigned char)from[1]))
				from++;
		} else {
			*to++ = *from == '\t' ? ' ' : *from;
		}
	}
	*to = '\0';
}

/* ------------------------------------------------------------------------ */
/* Files in sysfs and tracefs.                                              */

/* A knob with what it says, a counter with the form of what it says. */
static void tell_value(const char *path, mode_t mode)
{
	char text[4096];
	size_t len;

	if (read_file(path, text, sizeof(text)))
		die("%s: %m", path);
	len = strlen(text);
	if (!len || text[len - 1] != '\n')
		printf(", no newline at the end");
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	if (!(mode & 0222))
		make_form(text);
	printf(", says %s", text);
}

static int tell_path(const char *path, const struct stat *st, int type, struct FTW *at)
{
	if (!strstr(path, "ksm"))
		return 0;
	/* An allocator's caches are the kernel's own business. */
	if (!strncmp(path, "/sys/kernel/slab/", 17))
		return 0;
	printf("%s\tmode %04o, owner %u:%u", path, st->st_mode & 07777, st->st_uid, st->st_gid);
	if (S_ISREG(st->st_mode) && !strncmp(path, KSM "/", strlen(KSM "/")))
		tell_value(path, st->st_mode);
	printf("\n");
	return 0;
}

static void tell_paths(void)
{
	static const char * const roots[] = { "/sys", "/sys/kernel/debug", "/proc/sys", "/dev" };
	unsigned int i;

	for (i = 0; i < sizeof(roots) / sizeof(*roots); i++)
		nftw(roots[i], tell_path, 16, FTW_PHYS | FTW_MOUNT);
}

/* A line of a format; its number, which is given out at boot, and what all events have aside. */
static void tell_event_line(const char *name, const char *line)
{
	const char *end = strchr(line, ';'), *field = end;

	if (!strncmp(line, "print fmt: ", 11)) {
		printf("tracepoint %s, text\t%s\n", name, line + 11);
		return;
	}
	if (strncmp(line, "\tfield:", 7) || !end || strstr(line, " common_"))
		return;
	while (field[-1] != ' ')
		field--;
	printf("tracepoint %s, field %.*s\t", name, (int)(end - field), field);
	for (line++; *line; line++)
		putchar(*line == '\t' ? ' ' : *line);
	printf("\n");
}

static void tell_event(const char *name)
{
	char path[512], text[8192], *line, *rest = text;

	snprintf(path, sizeof(path), TRACE "/%s/format", name);
	if (read_file(path, text, sizeof(text)))
		return;
	printf("tracepoint %s\tthere\n", name);
	while ((line = strsep(&rest, "\n")))
		tell_event_line(name, line);
}

static void tell_events(void)
{
	struct dirent *entry;
	DIR *dir = opendir(TRACE);

	if (!dir)
		die(TRACE ": %m");
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			tell_event(entry->d_name);
	closedir(dir);
}

/* ------------------------------------------------------------------------ */
/* Lines in files that tell of more than KSM.                               */

/* @what: a line must contain it, in small letters; "": every line. */
static void tell_lines(const char *path, const char *what)
{
	static char text[1 << 20];
	char *line, *rest = text, small[256];
	int number = 0;
	size_t i;

	if (read_file(path, text, sizeof(text)))
		return;
	while ((line = strsep(&rest, "\n")) && rest) {
		for (i = 0; line[i] && i < sizeof(small) - 1; i++)
			small[i] = tolower((unsigned char)line[i]);
		small[i] = '\0';
		if (!strstr(small, what))
			continue;
		make_form(line);
		/* Where every line is ours their order counts, elsewhere their names. */
		if (*what)
			printf("%s, %.*s\t%s\n", path, (int)strcspn(line, " :"), line, line);
		else
			printf("%s, line %d\t%s\n", path, ++number, line);
	}
}

static void tell_proc_file(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return;
	printf("%s\tmode %04o\n", path, st.st_mode & 07777);
	tell_lines(path, "");
}

static void tell_process_files(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc/self");
	char path[512];

	while (dir && (entry = readdir(dir))) {
		if (!strstr(entry->d_name, "ksm"))
			continue;
		snprintf(path, sizeof(path), "/proc/self/%s", entry->d_name);
		tell_proc_file(path);
		snprintf(path, sizeof(path), "/proc/thread-self/%s", entry->d_name);
		tell_proc_file(path);
	}
	if (dir)
		closedir(dir);
	tell_lines("/proc/self/status", "ksm");
	tell_lines("/proc/vmstat", "ksm");
	tell_lines("/proc/meminfo", "ksm");
	tell_lines("/proc/zoneinfo", "ksm");
	tell_lines("/sys/devices/system/node/node0/vmstat", "ksm");
	tell_lines("/sys/devices/system/node/node0/meminfo", "ksm");
	tell_lines("/sys/fs/cgroup/memory.stat", "ksm");
}

static void tell_thread(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	char path[512], name[64];

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (read_file(path, name, sizeof(name)) || !strstr(name, "ksm"))
			continue;
		name[strcspn(name, "\n")] = '\0';
		if (atoi(entry->d_name) != getpid() && isdigit((unsigned char)*entry->d_name))
			printf("thread %s\tnice %d\n", name,
			       getpriority(PRIO_PROCESS, atoi(entry->d_name)));
	}
	if (dir)
		closedir(dir);
}

/* ------------------------------------------------------------------------ */
/* System calls, and a mapping that merges.                                 */

/* A line of smaps as it stands there; @mem: of the VMA that begins there. */
static void smaps_line(const char *path, const char *mem, const char *word, char *line,
		       size_t size)
{
	FILE *smaps = fopen(path, "r");
	unsigned long from, to;
	int ours = !mem;

	while (smaps && fgets(line, size, smaps)) {
		if (mem && sscanf(line, "%lx-%lx ", &from, &to) == 2)
			ours = from == (unsigned long)mem;
		if (ours && !strncmp(line, word, strlen(word))) {
			line[strcspn(line, "\n")] = '\0';
			fclose(smaps);
			return;
		}
	}
	die("%s has no line %s", path, word);
}

static void tell_smaps(const char *mem, const char *when)
{
	char line[256];

	smaps_line(SMAPS, mem, "KSM:", line, sizeof(line));
	printf("smaps, %s, KSM\t%s\n", when, line);
	smaps_line(SMAPS "_rollup", NULL, "KSM:", line, sizeof(line));
	printf("smaps_rollup, %s, KSM\t%s\n", when, line);
	smaps_line(SMAPS, mem, "VmFlags:", line, sizeof(line));
	printf("smaps, %s, VmFlags\t%s mg\n", when, strstr(line, " mg ") ? "with" : "without");
}

/* Bits of /proc/kpageflags have names only in a header, so they are told by number. */
static void tell_page_flag(const char *mem, const char *when)
{
	unsigned long long entry = 0, flags = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (unsigned long)mem / getpagesize() * 8) != 8)
		die("pagemap: %m");
	close(fd);
	fd = open("/proc/kpageflags", O_RDONLY);
	if (fd < 0 || pread(fd, &flags, 8, (entry & ((1ULL << 55) - 1)) * 8) != 8)
		die("kpageflags: %m");
	close(fd);
	printf("kpageflags, %s, bit 21\t%d\n", when, (int)(flags >> 21 & 1));
}

static const char *outcome(long ret)
{
	static char text[64];

	snprintf(text, sizeof(text), "%s", ret < 0 ? strerrorname_np(errno) : "taken");
	return text;
}

static void await_merge(const char *mem)
{
	char line[256], want[64];
	time_t end = time(NULL) + 60;

	snprintf(want, sizeof(want), " %d kB", PAGES * getpagesize() / 1024);
	write_knob("run", "1");
	do {
		smaps_line(SMAPS, mem, "KSM:", line, sizeof(line));
		if (time(NULL) > end)
			die("equal pages do not merge: %s", line);
		nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
	} while (!strstr(line, want));
	write_knob("run", "0");
}

static void tell_mapping(void)
{
	size_t size = PAGES * getpagesize();
	char *room = mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *mem = room + size;
	struct iovec range = { mem, size };
	int self = syscall(SYS_pidfd_open, getpid(), 0);

	if (room == MAP_FAILED || mprotect(mem, size, PROT_READ | PROT_WRITE))
		die("mmap: %m");
	memset(mem, 0x5a, size);
	tell_smaps(mem, "before");
	tell_page_flag(mem, "before");
	printf("madvise 12\t%s\n", outcome(madvise(mem, size, 12)));
	tell_smaps(mem, "offered");
	await_merge(mem);
	tell_smaps(mem, "merged");
	tell_page_flag(mem, "merged");
	printf("madvise 13\t%s\n", outcome(madvise(mem, size, 13)));
	tell_smaps(mem, "unmerged");
	printf("process_madvise 12\t%s\n",
	       outcome(syscall(SYS_process_madvise, self, &range, 1, 12, 0)));
	printf("process_madvise 13\t%s\n",
	       outcome(syscall(SYS_process_madvise, self, &range, 1, 13, 0)));
	printf("prctl 68, before\t%ld\n", syscall(SYS_prctl, 68, 0, 0, 0, 0));
	printf("prctl 67, 1\t%s\n", outcome(syscall(SYS_prctl, 67, 1, 0, 0, 0)));
	printf("prctl 68, then\t%ld\n", syscall(SYS_prctl, 68, 0, 0, 0, 0));
	tell_smaps(mem, "by prctl");
	printf("prctl 67, 0\t%s\n", outcome(syscall(SYS_prctl, 67, 0, 0, 0, 0)));
	tell_smaps(mem, "after prctl");
}

static void tell_constants(void)
{
	printf("MADV_MERGEABLE\t%d\n", MADV_MERGEABLE);
	printf("MADV_UNMERGEABLE\t%d\n", MADV_UNMERGEABLE);
	printf("PR_SET_MEMORY_MERGE\t%d\n", PR_SET_MEMORY_MERGE);
	printf("PR_GET_MEMORY_MERGE\t%d\n", PR_GET_MEMORY_MERGE);
	printf("KPF_KSM\t%d\n", KPF_KSM);
}

int main(void)
{
	tell_paths();
	tell_events();
	tell_process_files();
	tell_thread();
	tell_constants();
	tell_mapping();
	return 0;
}
