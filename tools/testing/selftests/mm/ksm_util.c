// SPDX-License-Identifier: GPL-2.0
/*
 * KSM's tunables and counters, and memory whose every byte is known.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ksm_harness.h"
#include "ksm_util.h"

/* Seconds that ksmd may take for one round of a test's few pages. */
#define SCAN_SECONDS	40

ssize_t ksm_read_text(const char *path, char *text, size_t size)
{
	ssize_t len = 0, got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	text[0] = '\0';
	if (fd < 0)
		return -errno;
	while ((got = read(fd, text + len, size - 1 - len)) > 0)
		len += got;
	if (got < 0)
		len = -errno;
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	return len;
}

int ksm_write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

bool ksm_has_knob(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	return !access(path, F_OK);
}

void ksm_need_knob(const char *name)
{
	if (!ksm_has_knob(name))
		ksm_skip("this kernel has no %s%s", KSM_DIR, name);
}

int ksm_knob_write(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	return ksm_write_text(path, text);
}

void ksm_knob_set(const char *name, unsigned long value)
{
	char text[32];
	int err;

	snprintf(text, sizeof(text), "%lu", value);
	err = ksm_knob_write(name, text);
	ksm_check(!err, "%s = %s: %s", name, text, strerror(-err));
}

long ksm_knob_get(const char *name)
{
	char path[256], text[64], *end;
	ssize_t len;
	long value;

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	len = ksm_read_text(path, text, sizeof(text));
	ksm_check(len > 0, "%s: %s", path, strerror(-len));
	value = strtol(text, &end, 10);
	ksm_check(end != text && *end == '\n', "%s: '%s' is no number", path, text);
	return value;
}

/* advisor_mode shows all choices, and brackets round the one that holds. */
static void read_choice(char *text)
{
	char *open = strchr(text, '['), *close = strchr(text, ']');

	if (open && close) {
		*close = '\0';
		memmove(text, open + 1, close - open);
	}
	text[strcspn(text, "\n")] = '\0';
}

void ksm_tunables_save(struct ksm_tunables *all)
{
	struct dirent *entry;
	DIR *dir = opendir(KSM_DIR);

	all->count = 0;
	while (dir && (entry = readdir(dir)) && all->count < KSM_TUNABLES) {
		char path[512], text[128];
		struct stat st;

		snprintf(path, sizeof(path), KSM_DIR "%s", entry->d_name);
		if (stat(path, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & 0200) ||
		    ksm_read_text(path, text, sizeof(text)) < 0)
			continue;
		read_choice(text);
		snprintf(all->knob[all->count].name, sizeof(all->knob[0].name), "%.63s",
			 entry->d_name);
		snprintf(all->knob[all->count].value, sizeof(all->knob[0].value), "%.31s", text);
		all->count++;
	}
	if (dir)
		closedir(dir);
}

/* pages_to_scan is refused while an advisor is on; run comes when all the rest is right. */
static int restore_order(const char *name)
{
	if (!strcmp(name, "run"))
		return 2;
	return !strcmp(name, "advisor_mode");
}

void ksm_tunables_restore(const struct ksm_tunables *all)
{
	unsigned int i;
	int turn;

	/* Some tunables are refused while pages are shared. */
	ksm_knob_write("run", "2");
	ksm_knob_write("run", "0");
	ksm_knob_write("advisor_mode", "none");
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < all->count; i++) {
			const char *name = all->knob[i].name;
			int err;

			if (restore_order(name) != turn)
				continue;
			err = ksm_knob_write(name, all->knob[i].value);
			if (err)
				ksft_print_msg("%s is not restored to %s: %s\n", name,
					       all->knob[i].value, strerror(-err));
		}
	}
}

/* Nothing merged, ksmd stopped; when it runs, then at full pace and reading every page. */
void ksm_tunables_for_tests(void)
{
	ksm_knob_write("run", "2");
	ksm_knob_write("run", "0");
	ksm_knob_write("advisor_mode", "none");
	ksm_knob_write("smart_scan", "0");
	ksm_knob_write("use_zero_pages", "0");
	ksm_knob_write("merge_across_nodes", "1");
	ksm_knob_write("sleep_millisecs", "0");
	ksm_knob_write("pages_to_scan", "2000");
}

void ksm_run(void)
{
	ksm_knob_set("run", 1);
}

void ksm_stop(void)
{
	ksm_knob_set("run", 0);
}

void ksm_unmerge_all(void)
{
	ksm_knob_set("run", 2);
}

void ksm_wait_scans(unsigned int scans)
{
	/* One more: the scan that is under way may have passed our pages already. */
	long end = ksm_knob_get("full_scans") + scans + 1;

	ksm_await(ksm_knob_get("full_scans") >= end, SCAN_SECONDS,
		  "full_scans stays below %ld, is %ld", end, ksm_knob_get("full_scans"));
}

char *ksm_map(size_t pages)
{
	size_t size = psize();
	char *mem = mmap(NULL, (pages + 2) * size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ksm_check(mem != MAP_FAILED, "mmap: %m");
	ksm_check_sys(mprotect(mem + size, pages * size, PROT_READ | PROT_WRITE));
	return mem + size;
}

void ksm_unmap(char *mem, size_t pages)
{
	ksm_check_sys(munmap(mem - psize(), (pages + 2) * psize()));
}

char *ksm_map_huge(size_t bytes)
{
	size_t huge = read_pmd_pagesize();
	struct ksm_area area;
	char *mem, *start;

	if (!huge)
		ksm_skip("this kernel has no transparent huge pages");
	bytes = (bytes + huge - 1) / huge * huge;
	mem = mmap(NULL, bytes + 2 * huge, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ksm_check(mem != MAP_FAILED, "mmap: %m");
	start = (char *)(((uintptr_t)mem + 2 * huge - 1) / huge * huge);
	ksm_check_sys(mprotect(start, bytes, PROT_READ | PROT_WRITE));
	if (madvise(start, bytes, MADV_HUGEPAGE))
		ksm_skip("MADV_HUGEPAGE: %m");
	memset(start, 0, bytes);
	ksm_area(0, start, bytes / psize(), &area);
	if (area.huge * psize() != bytes)
		ksm_skip("no transparent huge pages to be had: %zu of %zu", area.huge,
			 bytes / psize());
	return start;
}

static u64 word(u64 seed, size_t i)
{
	u64 x = seed + (i + 1) * 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	return x ^ (x >> 27);
}

void ksm_fill(void *mem, size_t len, u64 seed)
{
	u64 *words = mem;
	size_t i;

	for (i = 0; i < len / sizeof(*words); i++)
		words[i] = word(seed, i);
}

void ksm_fill_page(void *page, u64 seed)
{
	ksm_fill(page, psize(), seed);
}

static u64 unique_seed(u64 seed, size_t page)
{
	return (seed << 32) + page + 1;
}

void ksm_fill_equal(char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		ksm_fill_page(mem + i * psize(), seed);
}

void ksm_fill_unique(char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		ksm_fill_page(mem + i * psize(), unique_seed(seed, i));
}

size_t ksm_compare(const void *mem, size_t len, u64 seed, unsigned char *expected)
{
	const u64 *words = mem;
	size_t i, byte;

	for (i = 0; i < len / sizeof(*words); i++) {
		u64 want = word(seed, i), got = words[i];

		if (got == want)
			continue;
		for (byte = 0; byte < sizeof(want); byte++) {
			*expected = ((unsigned char *)&want)[byte];
			if (((unsigned char *)&got)[byte] != *expected)
				break;
		}
		return i * sizeof(want) + byte;
	}
	return len;
}

void ksm_wrong_byte(const char *at, unsigned char expected)
{
	unsigned char got = *at;

	ksm_fail("wrong byte at %p: got 0x%02x, expected 0x%02x, pagemap 0x%llx, kpageflags 0x%llx",
		 at, got, expected, ksm_pagemap(0, at), ksm_kpageflags(ksm_pfn(at)));
}

static void verify_page(const char *page, u64 seed)
{
	unsigned char expected;
	size_t at = ksm_compare(page, psize(), seed, &expected);

	if (at < psize())
		ksm_wrong_byte(page + at, expected);
}

void ksm_verify_equal(const char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		verify_page(mem + i * psize(), seed);
}

void ksm_verify_unique(const char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		verify_page(mem + i * psize(), unique_seed(seed, i));
}

void ksm_mergeable(char *mem, size_t pages)
{
	ksm_check_sys(madvise(mem, pages * psize(), MADV_MERGEABLE));
}

void ksm_unmergeable(char *mem, size_t pages)
{
	ksm_check_sys(madvise(mem, pages * psize(), MADV_UNMERGEABLE));
}

char *ksm_map_equal(size_t pages, u64 seed)
{
	char *mem = ksm_map(pages);

	ksm_fill_equal(mem, pages, seed);
	ksm_mergeable(mem, pages);
	return mem;
}

char *ksm_map_unique(size_t pages, u64 seed)
{
	char *mem = ksm_map(pages);

	ksm_fill_unique(mem, pages, seed);
	ksm_mergeable(mem, pages);
	return mem;
}

void ksm_expect_of(pid_t pid, const char *mem, size_t pages, size_t want)
{
	struct ksm_area area;
	int scan;

	ksm_run();
	for (scan = 0; scan < KSM_MERGE_SCANS; scan++) {
		ksm_wait_scans(1);
		ksm_area(pid, mem, pages, &area);
		if (area.ksm == want && scan > 0)
			return;
	}
	ksm_fail("%zu of %zu pages are KSM pages after %d scans, expected %zu", area.ksm, pages,
		 scan, want);
}

void ksm_expect(const char *mem, size_t pages, size_t want)
{
	ksm_expect_of(0, mem, pages, want);
}

void ksm_merge(const char *mem, size_t pages)
{
	ksm_expect(mem, pages, pages);
	ksm_stop();
}

void ksm_expect_none(const char *mem, size_t pages)
{
	const u64 seed = 0xdec0 + getpid();
	char *pair = ksm_map_equal(2, seed);

	ksm_expect(pair, 2, 2);
	ksm_wait_scans(3);
	ksm_check_eq(ksm_ksm_pages(mem, pages), 0);
	ksm_verify_equal(pair, 2, seed);
	ksm_unmap(pair, 2);
}
