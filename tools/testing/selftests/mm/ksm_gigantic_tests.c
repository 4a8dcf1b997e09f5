// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages of 1 GiB at addresses that held KSM pages: what is remembered of the
 * addresses must not lead anybody into a page table that is none.  Needs such a
 * page (kernel parameters hugepagesz=1G hugepages=1).
 */

#include "ksm_util.h"

#define GIGANTIC	(1024UL << 20)
#define MIDDLE		(2UL << 20)	/* what an entry of a middle table maps */
#define PAGES		4

#ifndef MAP_HUGE_1GB
#define MAP_HUGE_1GB	(30U << 26)
#endif

/* An aligned place that nobody else takes. */
static char *gigantic_place(void)
{
	char *room = mmap(NULL, 2 * GIGANTIC, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ksm_check(room != MAP_FAILED, "mmap: %m");
	return (char *)(((uintptr_t)room + GIGANTIC - 1) / GIGANTIC * GIGANTIC);
}

/* What x86 would take for an entry of a page table, in memory that is not there. */
static u64 false_entry(size_t i)
{
	return 0x00003ffff0000067ULL + (i << 12);
}

/*
 * One page of the huge one would be the middle table: the entries of all addresses
 * that held KSM pages, and the rest of that page, lead to nowhere.
 */
static void write_false_table(u64 *table)
{
	size_t i;

	for (i = 0; i < psize() / sizeof(*table); i++)
		table[i] = false_entry(i);
}

static void verify_false_table(const u64 *table)
{
	size_t i;

	for (i = 0; i < psize() / sizeof(*table); i++)
		ksm_check(table[i] == false_entry(i), "entry %zu became 0x%llx", i, table[i]);
}

/*
 * Merged pages here and there in the place, and one that stays when they go: only of
 * a KSM page that still lives does anybody ask where it is mapped.
 */
static char *merge_in(char *place)
{
	char *keep = ksm_map_equal(1, 1);
	int ends[2];
	size_t i;

	for (i = 0; i < PAGES; i++) {
		char *page = place + i * 37 * MIDDLE;

		ksm_check_sys(mprotect(page, psize(), PROT_READ | PROT_WRITE));
		ksm_fill_page(page, 1);
		ksm_mergeable(page, 1);
		ksm_expect(page, 1, 1);
	}
	ksm_merge(keep, 1);
	for (i = 0; i < PAGES; i++)
		ksm_check_eq(ksm_pfn(place + i * 37 * MIDDLE), ksm_pfn(keep));
	/* A pipe holds the page, mapped or not. */
	ksm_pipe_fill(ends, keep, 1);
	return keep;
}

static u64 *map_gigantic(char *place)
{
	char *mem = mmap(place, GIGANTIC, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | MAP_HUGE_1GB,
			 -1, 0);

	if (mem == MAP_FAILED)
		ksm_skip("no huge page of 1 GiB to be had: %m");
	ksm_check(mem == place, "mapped at %p, not at %p", mem, place);
	write_false_table((u64 *)mem);
	return (u64 *)mem;
}

static void need_gigantic(char *place)
{
	map_gigantic(place);
	ksm_check(mmap(place, GIGANTIC, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == place,
		  "mmap: %m");
}

static void check_after(const u64 *table, char *keep)
{
	verify_false_table(table);
	ksm_verify_equal(keep, 1, 1);
	ksm_check_eq(ksm_ksm_pages(table, GIGANTIC / psize()), 0);
}

static void P16_a_gigantic_page_over_KSM_addresses_under_scan(void)
{
	char *place = gigantic_place(), *keep;
	u64 *table;

	need_gigantic(place);
	keep = merge_in(place);
	table = map_gigantic(place);
	ksm_run();
	ksm_wait_scans(3);
	ksm_check_eq(ksm_merging_pages(0), 1);
	check_after(table, keep);
}

static void P16_a_gigantic_page_over_KSM_addresses_and_run_2(void)
{
	char *place = gigantic_place(), *keep;
	u64 *table;

	need_gigantic(place);
	keep = merge_in(place);
	table = map_gigantic(place);
	ksm_unmerge_all();
	ksm_check_eq(ksm_merging_pages(0), 0);
	check_after(table, keep);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P16_a_gigantic_page_over_KSM_addresses_under_scan),
	KSM_TEST(P16_a_gigantic_page_over_KSM_addresses_and_run_2),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
