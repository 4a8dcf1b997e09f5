// SPDX-License-Identifier: GPL-2.0
/*
 * use_zero_pages: pages of zeros give way to the zero page, are counted as long as
 * they are mapped, and come back when they are written to or unmerged.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <linux/userfaultfd.h>

#include "ksm_util.h"

#define PAGES	64

/* Zero pages of KSM: of this process, and of all. */
static void expect_zero_pages(long own, long all)
{
	ksm_check_eq(ksm_stat(0, "ksm_zero_pages"), own);
	ksm_check_eq(ksm_knob_get("ksm_zero_pages"), all);
}

/* In KiB. */
static long own_kib(const char *name)
{
	char text[8192], *line;

	ksm_check(ksm_read_text("/proc/self/status", text, sizeof(text)) > 0, "no status");
	line = strstr(text, name);
	ksm_check(line, "no %s", name);
	return atol(line + strlen(name));
}

static long rss_kib(void)
{
	return own_kib("RssAnon:");
}

/* ------------------------------------------------------------------------ */

static void zeros_become_the_zero_page(void)
{
	char *mem, *others;

	others = ksm_map_equal(4, 1);
	mem = ksm_merge_zeros(PAGES);
	expect_zero_pages(PAGES, PAGES);
	ksm_check_eq(ksm_pfn(mem), ksm_pfn(mem + psize()));
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_merge(others, 4);
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 3);
	ksm_verify_equal(others, 4, 1);
	ksm_verify_zeros(mem, PAGES);
}

static void zero_pages_count_as_saved(void)
{
	long before;

	ksm_need_knob("use_zero_pages");
	before = ksm_knob_get("general_profit");
	ksm_merge_zeros(PAGES);
	ksm_check(ksm_knob_get("general_profit") > before + (PAGES - 4) * (long)psize(),
		  "general_profit was %ld and is %ld", before, ksm_knob_get("general_profit"));
	ksm_check(ksm_stat(0, "ksm_process_profit") > (PAGES - 4) * (long)psize(),
		  "ksm_process_profit is %ld", ksm_stat(0, "ksm_process_profit"));
}

static void without_use_zero_pages_zeros_merge_like_others(void)
{
	char *mem = ksm_map_zeros(PAGES);

	ksm_need_knob("use_zero_pages");
	ksm_merge(mem, PAGES);
	expect_zero_pages(0, 0);
	/* What is merged stays so. */
	ksm_knob_set("use_zero_pages", 1);
	ksm_run();
	ksm_wait_scans(3);
	ksm_stop();
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	expect_zero_pages(0, 0);
	ksm_verify_zeros(mem, PAGES);
}

static void switched_off_use_zero_pages_leaves_zero_pages_alone(void)
{
	char *mem = ksm_merge_zeros(PAGES), *later;
	unsigned long pfn = ksm_pfn(mem);
	unsigned int i;

	ksm_knob_set("use_zero_pages", 0);
	later = ksm_map_zeros(PAGES);
	ksm_merge(later, PAGES);
	expect_zero_pages(PAGES, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	for (i = 0; i < PAGES; i++)
		ksm_check_eq(ksm_pfn(mem + i * psize()), pfn);
	ksm_verify_zeros(mem, PAGES);
	ksm_verify_zeros(later, PAGES);
}

static void who_writes_gets_a_page(void)
{
	char *mem = ksm_merge_zeros(PAGES);
	unsigned int i;

	for (i = 0; i < PAGES; i += 2) {
		mem[i * psize() + i] = 1;
		expect_zero_pages(PAGES - i / 2 - 1, PAGES - i / 2 - 1);
	}
	for (i = 0; i < PAGES; i += 2) {
		ksm_check_eq(mem[i * psize() + i], 1);
		mem[i * psize() + i] = 0;
	}
	ksm_verify_zeros(mem, PAGES);
	ksm_await_zero_pages(PAGES);
	ksm_verify_zeros(mem, PAGES);
}

static void nearly_zero_is_not_zero(void)
{
	char *mem, *last;

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	mem = ksm_map_zeros(2);
	last = mem + 2 * psize() - 1;
	*last = 1;
	ksm_await_zero_pages(1);
	ksm_run();
	ksm_wait_scans(3);
	expect_zero_pages(1, 1);
	ksm_check_eq(*last, 1);
	ksm_verify_zeros(mem, 1);
}

static void P17_bits_of_the_PTE_survive(void)
{
	char *mem;
	int uffd;

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	uffd = ksm_uffd_open();
	mem = ksm_map_zeros(4);
	ksm_uffd_wp_register(uffd, mem, 4);
	ksm_uffd_wp(uffd, mem, 2, true);
	ksm_await_zero_pages(4);
	ksm_check(ksm_uffd_wp_is_set(mem) && ksm_uffd_wp_is_set(mem + psize()),
		  "the uffd-wp bit is lost");
	ksm_check(!ksm_uffd_wp_is_set(mem + 2 * psize()), "there is a new uffd-wp bit");
	ksm_verify_zeros(mem, 4);
}

static void P69_pages_leave_the_rss(void)
{
	long before, after;
	char *mem;

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	mem = ksm_map_zeros(512);
	before = rss_kib();
	ksm_await_zero_pages(512);
	after = rss_kib();
	/* Each CPU may keep some back. */
	ksm_check(before - after > 256 * (long)psize() / 1024, "RssAnon was %ld kB and is %ld kB",
		  before, after);
	ksm_unmergeable(mem, 512);
	before = rss_kib();
	ksm_check(before - after > 256 * (long)psize() / 1024, "RssAnon stays %ld kB", before);
	ksm_verify_zeros(mem, 512);
}

static void the_peak_of_the_rss_stays(void)
{
	const size_t pages = 4096;
	long peak, rss;
	char *mem;

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	mem = ksm_map_zeros(pages);
	rss = own_kib("VmRSS:");
	ksm_await_zero_pages(pages);
	peak = own_kib("VmHWM:");
	/* Each CPU may keep some back. */
	ksm_check(peak > rss - 256 * (long)psize() / 1024, "VmRSS was %ld kB, and VmHWM is %ld kB",
		  rss, peak);
	ksm_check(own_kib("VmRSS:") < rss - (long)(pages / 2 * psize() / 1024),
		  "VmRSS stays %ld kB", own_kib("VmRSS:"));
	ksm_verify_zeros(mem, pages);
}

static void P70_zero_pages_are_unmerged(void)
{
	char *mem = ksm_merge_zeros(PAGES);
	unsigned long pfn = ksm_pfn(mem);
	unsigned int i;

	ksm_unmergeable(mem, PAGES / 2);
	expect_zero_pages(PAGES / 2, PAGES / 2);
	ksm_unmerge_all();
	expect_zero_pages(0, 0);
	for (i = 0; i < PAGES; i++)
		ksm_check(ksm_pfn(mem + i * psize()) != pfn, "page %u is the zero page", i);
	ksm_verify_zeros(mem, PAGES);
}

/* It is not the program that looks at them. */
static void P70_zero_pages_that_nobody_may_read_are_unmerged(void)
{
	int pkey = syscall(SYS_pkey_alloc, 0, PKEY_DISABLE_ACCESS);
	const int prot = PROT_READ | PROT_WRITE;
	char *mem;

	if (pkey <= 0)
		ksm_skip("no protection keys: %m");
	mem = ksm_merge_zeros(PAGES);
	ksm_check_sys(syscall(SYS_pkey_mprotect, mem, PAGES * psize(), prot, pkey));
	expect_zero_pages(PAGES, PAGES);
	ksm_unmergeable(mem, PAGES);
	expect_zero_pages(0, 0);
	ksm_check_sys(syscall(SYS_pkey_mprotect, mem, PAGES * psize(), prot, 0));
	ksm_verify_zeros(mem, PAGES);
}

static void P71_the_count_follows_every_unmapping(void)
{
	char *mem = ksm_merge_zeros(PAGES);

	ksm_check_sys(madvise(mem, 8 * psize(), MADV_DONTNEED));
	expect_zero_pages(PAGES - 8, PAGES - 8);
	ksm_check_sys(munmap(mem + 8 * psize(), 8 * psize()));
	expect_zero_pages(PAGES - 16, PAGES - 16);
	ksm_check(mmap(mem + 16 * psize(), 8 * psize(), PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap: %m");
	expect_zero_pages(PAGES - 24, PAGES - 24);
	ksm_check_sys(madvise(mem + 24 * psize(), 8 * psize(), MADV_FREE));
	expect_zero_pages(PAGES - 24, PAGES - 24);
	ksm_verify_zeros(mem + 24 * psize(), PAGES - 24);
}

static void P71_a_huge_page_takes_zero_pages_in(void)
{
	size_t pages = read_pmd_pagesize() / psize();
	char *mem = ksm_map_huge(read_pmd_pagesize());

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	ksm_check_sys(madvise(mem, pages * psize(), MADV_NOHUGEPAGE));
	ksm_check_sys(madvise(mem, pages * psize(), MADV_DONTNEED));
	memset(mem, 1, pages * psize());
	memset(mem, 0, pages * psize());
	ksm_mergeable(mem, pages);
	ksm_await_zero_pages(pages);
	*mem = 1;	/* it takes one page that is there */
	ksm_check_sys(madvise(mem, pages * psize(), MADV_HUGEPAGE));
	if (madvise(mem, pages * psize(), MADV_COLLAPSE))
		ksm_skip("MADV_COLLAPSE: %m");
	expect_zero_pages(0, 0);
	*mem = 0;
	ksm_verify_zeros(mem, pages);
}

static void P72_a_moved_zero_page_is_an_ordinary_one(void)
{
#ifdef UFFDIO_MOVE
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	char *mem = ksm_merge_zeros(PAGES), *to = ksm_map(PAGES);
	struct uffdio_move move = {
		.dst = (uintptr_t)to, .src = (uintptr_t)mem, .len = PAGES * psize(),
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		ksm_skip("this kernel has no UFFDIO_MOVE: %m");
	ksm_check_eq(uffd_register(uffd, to, PAGES * psize(), true, false, false), 0);
	ksm_check_sys(ioctl(uffd, UFFDIO_MOVE, &move));
	ksm_check_eq(move.move, PAGES * psize());
	expect_zero_pages(0, 0);
	ksm_verify_zeros(to, PAGES);
	ksm_unmap(to, PAGES);
	expect_zero_pages(0, 0);
#else
	ksm_skip("built without UFFDIO_MOVE");
#endif
}

static void hold_on(struct ksm_kid *parent, void *arg)
{
	const char *mem = arg;

	if (mem)
		ksm_verify_zeros(mem, PAGES);
	ksm_kid_send(parent, ksm_stat(0, "ksm_zero_pages"));
	ksm_kid_recv(parent);
}

/* Children that hold what @mem maps by then have @each zero pages. */
static void fork_holding(void *mem, long own, long each)
{
	struct ksm_kid kids[8];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kids); i++) {
		ksm_kid_start(&kids[i], hold_on, mem);
		ksm_kid_recv_value(&kids[i], each);
		expect_zero_pages(own, own + (i + 1) * each);
	}
	for (i = 0; i < ARRAY_SIZE(kids); i++) {
		ksm_kid_send(&kids[i], 0);
		ksm_kid_end(&kids[i]);
	}
	ksm_await(ksm_knob_get("ksm_zero_pages") == own, 10, "ksm_zero_pages stays %ld",
		  ksm_knob_get("ksm_zero_pages"));
}

static void P73_a_child_counts_what_it_has(void)
{
	char *mem = ksm_merge_zeros(PAGES);

	fork_holding(mem, PAGES, PAGES);
	ksm_check_sys(madvise(mem, PAGES / 2 * psize(), MADV_DONTFORK));
	fork_holding(NULL, PAGES, PAGES / 2);
	ksm_check_sys(madvise(mem, PAGES / 2 * psize(), MADV_DOFORK));
	ksm_check_sys(madvise(mem, PAGES / 2 * psize(), MADV_WIPEONFORK));
	fork_holding(mem, PAGES, PAGES / 2);
	ksm_verify_zeros(mem, PAGES);
}

static void P81_the_count_is_0_when_nothing_is_mapped(void)
{
	unsigned int i, j;
	int status;
	char *mem;
	pid_t pid;

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	mem = ksm_map_zeros(PAGES);
	ksm_run();
	for (i = 0; i < 500; i++) {
		pid = ksm_check_sys(fork());
		if (!pid) {
			for (j = i % 4; j < PAGES; j += 4)
				mem[j * psize()] = 0;
			_exit(0);
		}
		for (j = i % 8; j < PAGES; j += 8)
			mem[j * psize()] = 0;
		ksm_check_sys(waitpid(pid, &status, 0));
		ksm_check_eq(status, 0);
	}
	ksm_verify_zeros(mem, PAGES);
	ksm_unmap(mem, PAGES);
	ksm_await(ksm_knob_get("ksm_zero_pages") == 0, 10, "ksm_zero_pages ends as %ld",
		  ksm_knob_get("ksm_zero_pages"));
	ksm_check_eq(ksm_stat(0, "ksm_zero_pages"), 0);
}

/*
 * P87: who takes the pages of a file out of mappings leaves copies there.  Then the
 * file has other content, which the program must not see.
 */
static void P87_zeros_in_a_mapping_of_a_file_stay_when_the_file_changes(void)
{
	int fd = ksm_check_sys(memfd_create("ksm", MFD_CLOEXEC));
	size_t len = PAGES * psize();
	char *mem, *file;

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	ksm_check_sys(ftruncate(fd, len));
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	file = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ksm_check(mem != MAP_FAILED && file != MAP_FAILED, "mmap: %m");
	memset(mem, 0, len);
	ksm_mergeable(mem, PAGES);
	ksm_run();
	ksm_wait_scans(3);
	ksm_stop();
	ksm_check_sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, len));
	ksm_fill_equal(file, PAGES, 5);
	ksm_verify_zeros(mem, PAGES);
	ksm_verify_equal(file, PAGES, 5);
	/* They merge with each other, and are saved nevertheless. */
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	expect_zero_pages(0, 0);
}

static const struct ksm_test tests[] = {
	KSM_TEST(zeros_become_the_zero_page),
	KSM_TEST(zero_pages_count_as_saved),
	KSM_TEST(without_use_zero_pages_zeros_merge_like_others),
	KSM_TEST(switched_off_use_zero_pages_leaves_zero_pages_alone),
	KSM_TEST(who_writes_gets_a_page),
	KSM_TEST(nearly_zero_is_not_zero),
	KSM_TEST(P17_bits_of_the_PTE_survive),
	KSM_TEST(P69_pages_leave_the_rss),
	KSM_TEST(the_peak_of_the_rss_stays),
	KSM_TEST(P70_zero_pages_are_unmerged),
	KSM_TEST(P70_zero_pages_that_nobody_may_read_are_unmerged),
	KSM_TEST(P71_the_count_follows_every_unmapping),
	KSM_TEST(P71_a_huge_page_takes_zero_pages_in),
	KSM_TEST(P72_a_moved_zero_page_is_an_ordinary_one),
	KSM_TEST(P73_a_child_counts_what_it_has),
	KSM_TEST(P81_the_count_is_0_when_nothing_is_mapped),
	KSM_TEST(P87_zeros_in_a_mapping_of_a_file_stay_when_the_file_changes),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
