// SPDX-License-Identifier: GPL-2.0-only
/* Feel: what programs notice of KSM, by their own clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static double own_cpu(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return a < b ? -1 : a > b;
}

static double sort_to_median(double *values, unsigned int nr)
{
	qsort(values, nr, sizeof(*values), compare);
	return values[nr / 2];
}

/* ksmd is stopped when all are merged, of each content one page for four. */
static void merge_by_four(struct area *area)
{
	struct span span = {};

	area_offer(area);
	pace_full(area->pages, false);
	pace_until(&span, "pages_sharing", area->pages - area->ids);
}

static struct area merged_by_four(void)
{
	struct area area = { .pages = wish.pages / 4 * 4, .ids = wish.pages / 4 };

	area_make(&area);
	merge_by_four(&area);
	return area;
}

static unsigned long ksm_kib(void)
{
	return proc_named("/proc/self/smaps_rollup", "KSM");
}

#define TURNS 9

/*
 * The time that it takes to part with KSM pages, for a page. It takes a fraction of a
 * second, in which this machine may have been busy elsewhere.
 */
static double time_parting(struct area *area, void (*part)(struct area *area))
{
	double took[TURNS], start;
	int turn;

	for (turn = 0; turn < TURNS; turn++) {
		if (turn) {
			/* Some KSMs count as merged what is not, until they come there again. */
			knob_set("run", 2);
			if (knob_get("pages_sharing"))
				fail("pages_sharing is not 0 after run was 2");
			merge_by_four(area);
		}
		if (ksm_kib() != area->pages * PAGE / 1024)
			fail("%lu KiB are KSM pages, of %lu pages", ksm_kib(), area->pages);
		start = seconds_now();
		part(area);
		took[turn] = seconds_now() - start;
		if (ksm_kib())
			fail("%lu KiB are still KSM pages", ksm_kib());
		area_verify(area);
	}
	return sort_to_median(took, TURNS) / area->pages;
}

static void unmerge(void)
{
	struct area area = merged_by_four();

	say_figure("", time_parting(&area, area_withdraw) * 1e9, "ns/page", NULL);
}

static void copy_on_write(void)
{
	struct area area = merged_by_four();
	unsigned long before = proc_named("/proc/vmstat", "cow_ksm"), copies;

	say_figure("", time_parting(&area, area_rewrite) * 1e9, "ns/fault", NULL);
	copies = proc_named("/proc/vmstat", "cow_ksm") - before;
	if (copies != area.pages * TURNS)
		fail("%lu copies were made by %lu writes", copies, area.pages * TURNS);
}

/* One page in each GiB, all equal. */
static void unmerge_sparse(void)
{
	unsigned long size = wish.pages << 30, i;
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct span span = {}, scan = {};
	double start;

	if (base == MAP_FAILED)
		fail("no room for %lu GiB", wish.pages);
	for (i = 0; i < wish.pages; i++)
		base[i << 30] = 1;
	if (madvise(base, size, MADV_MERGEABLE))
		fail("madvise(MADV_MERGEABLE): %m");
	pace_full(wish.pages, false);
	pace_until(&span, "pages_sharing", wish.pages - 1);
	pace_measure(&scan, 1);
	say_figure(".scan", scan.cpu * 1e3 / scan.rounds, "ms", &scan);
	start = seconds_now();
	if (madvise(base, size, MADV_UNMERGEABLE))
		fail("madvise(MADV_UNMERGEABLE): %m");
	say_figure("", (seconds_now() - start) * 1e3, "ms", NULL);
	if (ksm_kib())
		fail("%lu KiB are still KSM pages", ksm_kib());
	for (i = 0; i < wish.pages; i++)
		if (base[i << 30] != 1 || base[(i << 30) + PAGE - 1])
			fail("the content of the page at %lu GiB is wrong", i);
}

#define SHARERS 256
#define STRIPE 2	/* pages in each VMA */
#define STEP 15
#define MOVES 40
#define MOVE_ALL 4	/* MPOL_MF_MOVE_ALL of linux/mempolicy.h */

static unsigned long striped_word(unsigned long page)
{
	return page % STEP || page / STEP >= SHARERS ? page + 1 : ~0UL;
}

/* A page that many places map, in one process with as many VMAs as it has stripes. */
static char *striped(unsigned long pages)
{
	char *base = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct span span = {};
	unsigned long i;

	if (base == MAP_FAILED || pages < SHARERS * STEP)
		fail("no memory, or too little, for %lu pages", pages);
	for (i = 0; i < pages; i++)
		*(unsigned long *)(base + i * PAGE) = striped_word(i);
	if (madvise(base, pages * PAGE, MADV_MERGEABLE))
		fail("madvise(MADV_MERGEABLE): %m");
	for (i = 0; i < pages; i += 2 * STRIPE)
		if (mprotect(base + i * PAGE, STRIPE * PAGE, PROT_READ))
			fail("mprotect: %m");
	pace_full(pages, false);
	pace_until(&span, "pages_sharing", SHARERS - 1);
	if (knob_get("pages_shared") != 1)
		fail("%lu pages are shared, and should be one", knob_get("pages_shared"));
	return base;
}

static void reverse_map(void)
{
	char *base = striped(wish.pages);
	void *page = base;
	double start, took = 0;
	unsigned long at;
	int i, node, status;

	for (i = 0; i < MOVES; i++) {
		node = !(i % 2);
		start = seconds_now();
		if (syscall(SYS_move_pages, 0, 1UL, &page, &node, &status, MOVE_ALL))
			fail("move_pages: %m");
		took += i ? seconds_now() - start : 0;	/* the first may stay where it is */
		if (status != node)
			fail("the page did not move to node %d: %d", node, status);
	}
	say_figure("", took * 1e6 / (MOVES - 1), "us", NULL);
	for (at = 0; at < wish.pages; at++)
		if (*(unsigned long *)(base + at * PAGE) != striped_word(at))
			fail("the content of page %lu is wrong", at);
}

/* A tenth of the pages is written in each round, while ksmd goes on. */
static void writer(void)
{
	struct area area = { .pages = wish.pages, .ids = wish.pages };
	unsigned long turn, scans, writes = 0;
	struct span before = {};
	double took = 0, start;

	area_make(&area);
	area_offer(&area);
	pace_full(area.pages, false);
	pace_rounds(&before, 4);
	knob_set("run", 1);
	for (turn = 0; turn < 5 || (took < wish.least_cpu / 4 && turn < 400); turn++) {
		scans = knob_get("full_scans");
		writes += area_choose(&area, 100, turn);
		start = own_cpu();
		area_write_chosen(&area);
		took += own_cpu() - start;
		while (knob_get("full_scans") == scans)
			nap(0.002);
	}
	knob_set("run", 0);
	say_figure("", took * 1e9 / writes, "ns/write", NULL);
	area_verify(&area);
}

#define FAULTS 8192
#define FAULT_TURNS 5
#define FAULT_GROUPS 40

/* First touches of fresh pages. */
static void touch(char *fresh, double *times)
{
	double start;
	int i;

	for (i = 0; i < FAULTS; i++) {
		start = seconds_now();
		*(unsigned long *)(fresh + i * PAGE) = i + 1;
		times[i] = seconds_now() - start;
	}
	for (i = 0; i < FAULTS; i++)
		if (*(unsigned long *)(fresh + i * PAGE) != i + 1UL)
			fail("the content of fresh page %d is wrong", i);
	madvise(fresh, FAULTS * PAGE, MADV_DONTNEED);
}

/*
 * In an mm that is scanned meanwhile. A percentile is one of 40960 faults, and of many such
 * the median, so that a time in which this machine is busy elsewhere does not make it.
 */
static void fault_latency(void)
{
	struct area area = { .pages = wish.pages, .ids = wish.pages };
	double times[FAULTS * FAULT_TURNS], middle[FAULT_GROUPS], high[FAULT_GROUPS];
	char *fresh = mmap(NULL, FAULTS * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int group, groups = wish.least_cpu < 2 ? FAULT_GROUPS / 4 : FAULT_GROUPS, turn;
	const int nr = FAULTS * FAULT_TURNS;
	struct span before = {};
	unsigned long scans;

	if (fresh == MAP_FAILED)
		fail("no memory");
	memset(times, 1, sizeof(times));
	area_make(&area);
	area_offer(&area);
	madvise(fresh, FAULTS * PAGE, MADV_MERGEABLE);
	pace_full(area.pages, false);
	pace_rounds(&before, 4);
	knob_set("run", 1);
	scans = knob_get("full_scans");
	for (group = 0; group < groups; group++) {
		for (turn = 0; turn < FAULT_TURNS; turn++)
			touch(fresh, times + turn * FAULTS);
		middle[group] = sort_to_median(times, nr);
		high[group] = times[nr * 999L / 1000];
	}
	if (knob_get("full_scans") - scans < 3)
		fail("nobody was scanned meanwhile");
	knob_set("run", 0);
	say_figure("", sort_to_median(high, groups) * 1e6, "us", NULL);
	say_figure(".median", sort_to_median(middle, groups) * 1e6, "us", NULL);
	area_verify(&area);
}

const struct workload feel_workloads[] = {
	{ "unmerge", unmerge },
	{ "unmerge_sparse", unmerge_sparse },
	{ "cow", copy_on_write },
	{ "rmap", reverse_map },
	{ "writer", writer },
	{ "fault", fault_latency },
	{}
};
