// SPDX-License-Identifier: GPL-2.0
/*
 * One test or measurement of KSM, chosen on the command line.
 *
 * Each starts from default behaviour, sets what its options say, and leaves the
 * tunables as it found them.  The exit code is kselftest's.
 *
 * Options, and what they choose from, are one program that shares nothing with the
 * other tests: that is why this file is long.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <linux/kernel-page-flags.h>

#include "ksm_util.h"

#define SEED	20090

static struct {
	int		prot;
	unsigned long	pages;
	unsigned long	seconds;
	unsigned long	zero_pages;
	unsigned long	across_nodes;
	unsigned long	mib;
	unsigned long	by_prctl;
	bool		details;
} opt = {
	.prot = PROT_READ | PROT_WRITE,
	.pages = 10,
	.seconds = 120,
	.across_nodes = 1,
};

static void show_details(void)
{
	static const char * const names[] = {
		"pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
		"pages_scanned", "full_scans", "ksm_zero_pages", "general_profit",
	};
	char text[1024];
	unsigned int i;

	if (!opt.details)
		return;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (ksm_has_knob(names[i]))
			printf("%-16s %ld\n", names[i], ksm_knob_get(names[i]));
	if (ksm_read_text("/proc/self/ksm_stat", text, sizeof(text)) > 0)
		printf("/proc/self/ksm_stat:\n%s", text);
}

/* A tunable that this kernel lacks may only have the value that it then stands for. */
static void set_or_skip(const char *name, unsigned long value, unsigned long without)
{
	if (ksm_has_knob(name))
		ksm_knob_set(name, value);
	else if (value != without)
		ksm_skip("this kernel has no %s", name);
}

static void offer(char *mem, size_t pages)
{
	if (!opt.by_prctl)
		ksm_mergeable(mem, pages);
	else if (ksm_prctl_merge(1))
		ksm_skip("PR_SET_MEMORY_MERGE: %m");
}

static void take_back(char *mem, size_t pages)
{
	if (opt.by_prctl)
		ksm_check_sys(ksm_prctl_merge(0));
	else
		ksm_unmergeable(mem, pages);
}

/* With so many per batch a scan is one batch. */
static void scan_at_full_pace(size_t pages)
{
	ksm_knob_set("pages_to_scan", pages + 10000);
	ksm_knob_set("sleep_millisecs", 0);
	ksm_run();
}

static void await_merged(const char *mem, size_t pages)
{
	/* The counter is cheap to read, but counts all pages of the process. */
	ksm_await_for(ksm_merging_pages(0) >= (long)pages, opt.seconds,
		      "%ld of %zu pages have merged after %lu s", ksm_merging_pages(0), pages,
		      opt.seconds);
	ksm_await_for(ksm_ksm_pages(mem, pages) == pages, opt.seconds,
		      "%zu of %zu pages have merged after %lu s", ksm_ksm_pages(mem, pages), pages,
		      opt.seconds);
}

/* Memory of the wanted protection, filled by @fill before. */
static char *map_pages(size_t pages, void (*fill)(char *mem, size_t pages))
{
	char *mem = ksm_map(pages);

	fill(mem, pages);
	ksm_check_sys(mprotect(mem, pages * psize(), opt.prot));
	offer(mem, pages);
	return mem;
}

static void fill_equal(char *mem, size_t pages)
{
	ksm_fill_equal(mem, pages, SEED);
}

static void fill_zeros(char *mem, size_t pages)
{
	memset(mem, 0, pages * psize());
}

static void verify(char *mem, size_t pages)
{
	ksm_check_sys(mprotect(mem, pages * psize(), PROT_READ | PROT_WRITE));
	ksm_verify_equal(mem, pages, SEED);
}

static void test_merge(void)
{
	char *mem = map_pages(opt.pages, fill_equal);

	scan_at_full_pace(opt.pages);
	await_merged(mem, opt.pages);
	ksm_stop();
	show_details();
	ksm_check_eq(ksm_ksm_pages(mem, opt.pages), opt.pages);
	ksm_check(ksm_knob_get("pages_shared") >= 1, "pages_shared is 0");
	ksm_check(ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing") >= (long)opt.pages,
		  "pages_shared and pages_sharing are less than the pages that merged");
	verify(mem, opt.pages);
}

static void test_unmerge(void)
{
	char *mem = map_pages(opt.pages, fill_equal);

	scan_at_full_pace(opt.pages);
	await_merged(mem, opt.pages);
	ksm_unmerge_all();
	show_details();
	ksm_check_eq(ksm_ksm_pages(mem, opt.pages), 0);
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
	verify(mem, opt.pages);
}

static size_t count_zero_pages(const char *mem, size_t pages)
{
	size_t i, count = 0;

	for (i = 0; i < pages; i++)
		count += ksm_kpageflags(ksm_pfn(mem + i * psize())) >> KPF_ZERO_PAGE & 1;
	return count;
}

static void test_zero_pages(void)
{
	size_t i;
	char *mem;

	set_or_skip("use_zero_pages", opt.zero_pages, 0);
	mem = map_pages(opt.pages, fill_zeros);
	scan_at_full_pace(opt.pages);
	if (opt.zero_pages)
		ksm_await_for(count_zero_pages(mem, opt.pages) == opt.pages, opt.seconds,
			      "%zu of %lu pages are the zero page after %lu s",
			      count_zero_pages(mem, opt.pages), opt.pages, opt.seconds);
	else
		await_merged(mem, opt.pages);
	ksm_stop();
	show_details();
	ksm_check_eq(ksm_ksm_pages(mem, opt.pages), opt.zero_pages ? 0 : opt.pages);
	ksm_check_eq(count_zero_pages(mem, opt.pages), opt.zero_pages ? opt.pages : 0);
	ksm_check_sys(mprotect(mem, opt.pages * psize(), PROT_READ | PROT_WRITE));
	for (i = 0; i < opt.pages * psize(); i++)
		ksm_check(!mem[i], "byte %zu is %d", i, mem[i]);
}

static char *map_on_node(int node)
{
	char *mem = ksm_map(opt.pages);

	if (ksm_bind(mem, opt.pages, node))
		ksm_skip("mbind to node %d: %m", node);
	ksm_fill_equal(mem, opt.pages, SEED);
	ksm_check_eq(ksm_node_of(mem), node);
	ksm_check_sys(mprotect(mem, opt.pages * psize(), opt.prot));
	offer(mem, opt.pages);
	return mem;
}

static void test_nodes(void)
{
	int node[2], i;
	char *mem[2];

	ksm_two_nodes(node);
	set_or_skip("merge_across_nodes", opt.across_nodes, 1);
	for (i = 0; i < 2; i++)
		mem[i] = map_on_node(node[i]);
	scan_at_full_pace(2 * opt.pages);
	for (i = 0; i < 2; i++)
		await_merged(mem[i], opt.pages);
	ksm_wait_scans(3);
	ksm_stop();
	show_details();
	if (opt.across_nodes)
		ksm_check(ksm_pfn(mem[0]) == ksm_pfn(mem[1]), "the nodes have a page each");
	for (i = 0; i < 2 && !opt.across_nodes; i++)
		ksm_check_eq(ksm_node_of(mem[i]), node[i]);
	for (i = 0; i < 2; i++)
		verify(mem[i], opt.pages);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void show_speed(const char *what, size_t bytes, double seconds)
{
	double mib = bytes / 1048576.0;

	printf("%s:\n", what);
	printf("  Total size:     %.1f MiB\n", mib);
	printf("  Total time:     %.6f s\n", seconds);
	printf("  Average speed:  %.3f MiB/s\n", mib / seconds);
}

static double merge_and_time(const char *mem, size_t pages)
{
	double start = seconds_now();

	scan_at_full_pace(pages);
	await_merged(mem, pages);
	return seconds_now() - start;
}

static void measure_merge(void)
{
	size_t bytes = opt.mib << 20, pages = bytes / psize();
	char *mem = map_pages(pages, fill_equal);

	show_speed("merge", bytes, merge_and_time(mem, pages));
	show_details();
	ksm_stop();
	verify(mem, pages);
}

static void measure_merge_huge(void)
{
	size_t huge = read_pmd_pagesize(), bytes, pages;
	struct ksm_area area;
	char *mem;

	if (!huge)
		ksm_skip("this kernel has no transparent huge pages");
	bytes = ((opt.mib << 20) + huge - 1) / huge * huge;
	pages = bytes / psize();
	mem = ksm_map_huge(bytes);
	ksm_fill_equal(mem, pages, SEED);
	ksm_area(0, mem, pages, &area);
	printf("%zu huge pages, %zu others\n", area.huge * psize() / huge, pages - area.huge);
	offer(mem, pages);
	show_speed("merge of huge pages", bytes, merge_and_time(mem, pages));
	show_details();
	ksm_stop();
	verify(mem, pages);
}

static void measure_unmerge(void)
{
	size_t bytes = opt.mib << 20, pages = bytes / psize();
	char *mem = map_pages(pages, fill_equal);
	double start;

	merge_and_time(mem, pages);
	ksm_stop();
	start = seconds_now();
	take_back(mem, pages);
	show_speed("unmerge", bytes, seconds_now() - start);
	show_details();
	ksm_check_eq(ksm_ksm_pages(mem, pages), 0);
	verify(mem, pages);
}

static double write_and_time(char *mem, size_t pages)
{
	double start = seconds_now();
	size_t i;

	for (i = 0; i < pages; i++)
		mem[i * psize()] ^= 1;
	return seconds_now() - start;
}

static void measure_cow(void)
{
	size_t bytes = (opt.mib ?: 16) << 20, pages = bytes / psize();
	char *mem = map_pages(pages, fill_equal);

	ksm_check_sys(mprotect(mem, pages * psize(), PROT_READ | PROT_WRITE));
	show_speed("write to pages of one's own", bytes, write_and_time(mem, pages));
	write_and_time(mem, pages);
	merge_and_time(mem, pages);
	ksm_stop();
	show_details();
	show_speed("write to KSM pages", bytes, write_and_time(mem, pages));
	ksm_check_eq(ksm_ksm_pages(mem, pages), 0);
	write_and_time(mem, pages);
	verify(mem, pages);
}

static const struct test {
	char		option;
	const char	*what;
	void		(*run)(void);
	bool		needs_size;
} tests[] = {
	{ 'M', "merge equal pages", test_merge, false },
	{ 'U', "unmerge all by run = 2", test_unmerge, false },
	{ 'Z', "merge pages of zeros, with use_zero_pages as -z says", test_zero_pages, false },
	{ 'N', "merge pages of two nodes, with merge_across_nodes as -m says", test_nodes, false },
	{ 'P', "measure merging of -s MiB", measure_merge, true },
	{ 'H', "measure merging of -s MiB of huge pages", measure_merge_huge, true },
	{ 'D', "measure unmerging of -s MiB", measure_unmerge, true },
	{ 'C', "measure writing to KSM pages, and to others", measure_cow, false },
};

static const char synopsis[] =
	"ksm_tests [-h] TEST [-a prot] [-p pages] [-l s] [-z 0|1] [-m 0|1] [-s MiB] [-t 0|1] [-d]";

static void print_help(void)
{
	unsigned int i;

	printf("%s\nTEST is one of\n", synopsis);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		printf("  -%c  %s\n", tests[i].option, tests[i].what);
	puts("Options\n"
	     "  -a  protection of the memory: letters of r, w, x (rw)\n"
	     "  -p  number of pages (10)\n"
	     "  -l  seconds after which merging has failed (120)\n"
	     "  -z  use_zero_pages while the test runs (0)\n"
	     "  -m  merge_across_nodes while the test runs (1)\n"
	     "  -s  size in MiB, for measurements\n"
	     "  -t  how memory is offered: 0 madvise, 1 prctl (0)\n"
	     "  -d  show details: KSM's counters\n"
	     "  -h  show this\n"
	     "Exit code: 0 passed, 1 failed, 4 skipped");
}

static void __noreturn __printf(1, 2) refuse(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("ksm_tests: ", stderr);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n%s\n-h explains it\n", synopsis);
	va_end(args);
	exit(KSFT_FAIL);
}

static unsigned long parse_number(char option, const char *text, unsigned long low,
				  unsigned long high)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < low || value > high)
		refuse("-%c takes a number from %lu to %lu, not '%s'", option, low, high, text);
	return value;
}

static int parse_prot(const char *text)
{
	int prot = 0;
	const char *at;

	for (at = text; *at; at++) {
		if (*at == 'r')
			prot |= PROT_READ;
		else if (*at == 'w')
			prot |= PROT_WRITE;
		else if (*at == 'x')
			prot |= PROT_EXEC;
		else
			refuse("-a takes letters of r, w, x, not '%s'", text);
	}
	if (!prot)
		refuse("-a takes letters of r, w, x, at least one");
	return prot;
}

static const struct test *parse(int argc, char **argv)
{
	const struct test *test = NULL;
	unsigned int i;
	int c;

	opterr = 0;
	while ((c = getopt(argc, argv, "a:p:l:z:m:s:t:dhMUZNPHDC")) != -1) {
		switch (c) {
		case 'a':
			opt.prot = parse_prot(optarg);
			break;
		case 'p':
			opt.pages = parse_number(c, optarg, 2, 1 << 24);
			break;
		case 'l':
			opt.seconds = parse_number(c, optarg, 1, 86400);
			break;
		case 'z':
			opt.zero_pages = parse_number(c, optarg, 0, 1);
			break;
		case 'm':
			opt.across_nodes = parse_number(c, optarg, 0, 1);
			break;
		case 's':
			opt.mib = parse_number(c, optarg, 1, 1 << 20);
			break;
		case 't':
			opt.by_prctl = parse_number(c, optarg, 0, 1);
			break;
		case 'd':
			opt.details = true;
			break;
		case 'h':
			print_help();
			exit(KSFT_PASS);
		case '?':
			refuse("-%c is unknown, or lacks its value", optopt);
		default:
			if (test)
				refuse("one test at a time: -%c or -%c", test->option, c);
			for (i = 0; i < ARRAY_SIZE(tests); i++)
				if (tests[i].option == c)
					test = &tests[i];
		}
	}
	if (optind < argc)
		refuse("'%s' is no option", argv[optind]);
	if (!test)
		refuse("no test is given");
	if (test->needs_size && !opt.mib)
		refuse("-%c needs a size: -s MiB", test->option);
	return test;
}

static struct ksm_tunables saved;

static void put_back_and_die(int sig)
{
	ksm_tunables_restore(&saved);
	signal(sig, SIG_DFL);
	raise(sig);
}

int main(int argc, char **argv)
{
	const struct test *test = parse(argc, argv);
	char reason[256];
	int code;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() || !ksm_has_knob("run")) {
		printf("SKIP: %s\n", geteuid() ? "must be run as root" : "this kernel has no KSM");
		return KSFT_SKIP;
	}
	ksm_tunables_save(&saved);
	signal(SIGINT, put_back_and_die);
	signal(SIGTERM, put_back_and_die);
	ksm_tunables_for_tests();
	code = ksm_run_isolated(test->run, 2 * opt.seconds + 60, reason, sizeof(reason));
	if (code >= 0)
		ksm_tunables_restore(&saved);

	if (code == KSFT_PASS)
		puts("PASS");
	else
		printf("%s: %s\n", code == KSFT_SKIP ? "SKIP" : "FAIL", reason);
	return code < 0 ? KSFT_FAIL : code;
}
