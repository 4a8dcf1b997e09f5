// SPDX-License-Identifier: GPL-2.0-only
/* Room: memory that KSM itself takes, for pages that have no twin. */
#include <stdio.h>
#include <sys/mman.h>

#include "bench.h"

#define CHUNK (8UL << 20)
#define CHUNK_PAGES 4

/* Free pages that CPUs keep for themselves, by hundreds, and that MemFree does not know of. */
static unsigned long kept_by_cpus(void)
{
	unsigned long sum = 0, count;
	FILE *file = fopen("/proc/zoneinfo", "r");
	char line[256];

	if (!file)
		fail("cannot read /proc/zoneinfo: %m");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %lu", &count) == 1)
			sum += count;
	fclose(file);
	return sum;
}

/* Everything that is neither free nor a program's or a cache's, in bytes. */
static double taken(void)
{
	static const char * const others[] = { "MemFree", "AnonPages", "Buffers", "Cached", NULL };
	double kib = proc_named("/proc/meminfo", "MemTotal") - kept_by_cpus() * (PAGE / 1024.0);
	int i;

	for (i = 0; others[i]; i++)
		kib -= proc_named("/proc/meminfo", others[i]);
	return kib * 1024;
}

static void say_room(double taken_before, double slab_before, const struct span *span)
{
	say_figure("", (taken() - taken_before) / wish.pages, "B/page", span);
	say_figure(".slab", (proc_named("/proc/meminfo", "Slab") * 1024.0 - slab_before) /
		   wish.pages, "B/page", span);
}

static void dense(void)
{
	struct area area = { .pages = wish.pages, .ids = wish.pages };
	struct span span = {};
	double before, slab;

	area_make(&area);
	ksmd_cpu();	/* its trace takes memory, too */
	before = taken();
	slab = proc_named("/proc/meminfo", "Slab") * 1024.0;
	area_offer(&area);
	pace_full(area.pages, false);
	pace_rounds(&span, 5);
	say_room(before, slab, &span);
	area_verify(&area);
}

static __u64 *sparse_page(char *base, unsigned long i)
{
	return (__u64 *)(base + i / CHUNK_PAGES * CHUNK + i % CHUNK_PAGES * PAGE);
}

static void sparse(void)
{
	unsigned long size = wish.pages / CHUNK_PAGES * CHUNK, i;
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct span span = {};
	double before, slab;

	if (base == MAP_FAILED)
		fail("no room for %lu bytes", size);
	for (i = 0; i < wish.pages; i++)
		*sparse_page(base, i) = i + 1;
	ksmd_cpu();	/* its trace takes memory, too */
	before = taken();
	slab = proc_named("/proc/meminfo", "Slab") * 1024.0;
	if (madvise(base, size, MADV_MERGEABLE))
		fail("madvise(MADV_MERGEABLE): %m");
	pace_full(wish.pages, false);
	pace_rounds(&span, 5);
	say_room(before, slab, &span);
	for (i = 0; i < wish.pages; i++)
		if (*sparse_page(base, i) != i + 1)
			fail("the content of page %lu is wrong", i);
}

const struct workload room_workloads[] = {
	{ "room", dense },
	{ "room_sparse", sparse },
	{}
};
