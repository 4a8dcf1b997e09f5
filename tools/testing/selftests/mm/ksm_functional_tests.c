// SPDX-License-Identifier: GPL-2.0
/*
 * What KSM is for: equal pages become one, and nobody can tell by the content.
 *
 * Merging, writing, unmerging and discarding of private anonymous pages.  After
 * each merge every byte is compared with what was written.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include "ksm_util.h"

#define PAGES	16

static unsigned long check_one_pfn(const char *mem, size_t pages)
{
	unsigned long pfn = ksm_pfn(mem);
	size_t i;

	ksm_check(pfn, "page at %p is not present", mem);
	for (i = 1; i < pages; i++)
		ksm_check_eq(ksm_pfn(mem + i * psize()), pfn);
	return pfn;
}

static void equal_pages_of_a_process_become_one(void)
{
	char *equal = ksm_map_equal(PAGES, 1), *unique = ksm_map_unique(PAGES, 2);

	ksm_merge(equal, PAGES);
	check_one_pfn(equal, PAGES);
	ksm_verify_equal(equal, PAGES, 1);
	ksm_check_eq(ksm_ksm_pages(unique, PAGES), 0);
	ksm_verify_unique(unique, PAGES, 2);
}

/* A hash that looks at a part of the page, or a compare that stops early, shows here. */
static void pages_that_differ_in_one_byte_stay_apart(void)
{
	size_t i, pages = 64, step = psize() / 64;
	char *mem = ksm_map_equal(pages, 3);

	for (i = 0; i < pages; i++)
		mem[i * psize() + i * step + i % step] ^= 1 << i % 8;
	ksm_expect_none(mem, pages);
	for (i = 0; i < pages; i++)
		mem[i * psize() + i * step + i % step] ^= 1 << i % 8;
	ksm_verify_equal(mem, pages, 3);
}

static void pages_with_equal_halves_stay_apart(void)
{
	size_t i, pages = 32, half = psize() / 2;
	char *mem = ksm_map_unique(pages, 4), *other = ksm_map(1);

	ksm_fill_page(other, 5);
	for (i = 0; i < pages; i++)
		memcpy(mem + i * psize() + i % 2 * half, other, half);
	ksm_expect_none(mem, pages);
	for (i = 0; i < pages; i++)
		ksm_check(!memcmp(mem + i * psize() + i % 2 * half, other, half),
			  "page %zu has changed", i);
}

static void equal_pages_of_processes_become_one(void)
{
	struct ksm_sharer sharers[3];
	unsigned long pfn;
	int i;

	ksm_sharers_start(sharers, 3, PAGES, 6);
	ksm_sharers_merge(sharers, 3);
	ksm_sharers_do(sharers, 3, KSM_VERIFY, 6);
	pfn = ksm_pfn_of(sharers[0].kid.pid, sharers[0].mem);
	ksm_check(pfn, "page is not present");
	for (i = 1; i < 3; i++)
		ksm_check_eq(ksm_pfn_of(sharers[i].kid.pid, sharers[i].mem), pfn);
	ksm_sharers_end(sharers, 3);
}

static void a_write_stays_private(void)
{
	struct ksm_sharer sharers[3];
	long copies;

	ksm_sharers_start(sharers, 3, PAGES, 7);
	ksm_sharers_merge(sharers, 3);

	copies = ksm_vmstat("cow_ksm");
	ksm_sharer_do(&sharers[1], KSM_FILL, 8);
	ksm_check_eq(ksm_vmstat("cow_ksm") - copies, PAGES);

	ksm_sharer_do(&sharers[0], KSM_VERIFY, 7);
	ksm_sharer_do(&sharers[1], KSM_VERIFY, 8);
	ksm_sharer_do(&sharers[2], KSM_VERIFY, 7);

	/* What was written merges again, by itself. */
	ksm_sharers_merge(sharers, 3);
	ksm_sharer_do(&sharers[0], KSM_VERIFY, 7);
	ksm_sharer_do(&sharers[1], KSM_VERIFY, 8);
	ksm_sharer_do(&sharers[2], KSM_VERIFY, 7);
	ksm_sharers_end(sharers, 3);
}

/* P18: ksmd finds the page by no reference of its own, so nobody may write to it in place. */
static void P18_the_last_mapping_is_not_written_in_place(void)
{
	char *a = ksm_map_equal(1, 9), *b = ksm_map_equal(1, 9), *c;
	unsigned long pfn;

	ksm_merge(a, 1);
	ksm_merge(b, 1);
	pfn = check_one_pfn(a, 1);
	ksm_unmap(b, 1);
	a[100] ^= 1;
	ksm_check(ksm_pfn(a) != pfn, "the KSM page was written to");
	a[100] ^= 1;

	c = ksm_map_equal(1, 9);
	ksm_merge(c, 1);
	ksm_verify_equal(a, 1, 9);
	ksm_verify_equal(c, 1, 9);
}

static void pages_of_zeros_merge_too(void)
{
	char *mem = ksm_map(PAGES);
	size_t i;

	memset(mem, 0, PAGES * psize());
	ksm_mergeable(mem, PAGES);
	ksm_merge(mem, PAGES);
	mem[psize() * 3] = 1;
	for (i = 0; i < PAGES * psize(); i++)
		ksm_check(mem[i] == (i == psize() * 3), "byte %zu is %d", i, mem[i]);
}

static void only_the_offered_range_merges(void)
{
	char *mem = ksm_map(PAGES);
	char *part = mem + 4 * psize();
	struct ksm_area area;
	size_t i;

	ksm_fill_equal(mem, PAGES, 10);
	ksm_mergeable(part, 8);
	ksm_area(0, mem, PAGES, &area);
	ksm_check_eq(area.vmas, 3);
	ksm_merge(part, 8);
	for (i = 0; i < PAGES; i++)
		ksm_check_eq(ksm_pfn(mem + i * psize()) == ksm_pfn(part), i >= 4 && i < 12);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 8);
	ksm_verify_equal(mem, PAGES, 10);
}

static void unmerging_a_part_leaves_the_rest(void)
{
	char *mem = ksm_map_equal(PAGES, 11);
	size_t i;

	ksm_merge(mem, PAGES);
	ksm_unmergeable(mem + 4 * psize(), 8);
	ksm_check_eq(ksm_ksm_pages(mem, 4), 4);
	ksm_check_eq(ksm_ksm_pages(mem + 4 * psize(), 8), 0);
	ksm_check_eq(ksm_ksm_pages(mem + 12 * psize(), 4), 4);
	for (i = 5; i < 12; i++)
		ksm_check(ksm_pfn(mem + i * psize()) != ksm_pfn(mem + 4 * psize()),
			  "page %zu still shares", i);
	ksm_verify_equal(mem, PAGES, 11);
	ksm_expect_none(mem + 4 * psize(), 8);
	ksm_check(!ksm_vma_has(mem + 4 * psize(), "mg"), "the VMA is still mergeable");
	ksm_check(ksm_vma_has(mem, "mg"), "the VMA before it is no longer mergeable");
}

static void unmerging_everything_by_run_2(void)
{
	struct ksm_sharer sharers[2];
	struct ksm_area area;
	int i;

	ksm_sharers_start(sharers, 2, PAGES, 12);
	ksm_sharers_merge(sharers, 2);
	ksm_unmerge_all();
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
	for (i = 0; i < 2; i++) {
		ksm_area(sharers[i].kid.pid, sharers[i].mem, PAGES, &area);
		ksm_check_eq(area.ksm, 0);
	}
	ksm_sharers_do(sharers, 2, KSM_VERIFY, 12);

	/* The ranges are still offered: run 1 merges them anew. */
	ksm_sharers_merge(sharers, 2);
	ksm_sharers_do(sharers, 2, KSM_VERIFY, 12);
	ksm_sharers_end(sharers, 2);
}

static void discarded_pages_leave_the_others_alone(void)
{
	char *a = ksm_map_equal(PAGES, 13), *b = ksm_map_equal(PAGES, 13);
	size_t i;

	ksm_merge(a, PAGES);
	ksm_merge(b, PAGES);
	ksm_check_sys(madvise(a, PAGES * psize(), MADV_DONTNEED));
	ksm_check_eq(ksm_ksm_pages(a, PAGES), 0);
	ksm_verify_equal(b, PAGES, 13);
	for (i = 0; i < PAGES * psize(); i++)
		ksm_check(!a[i], "byte %zu of a discarded range is %d", i, a[i]);
	ksm_fill_equal(a, PAGES, 13);
	ksm_merge(a, PAGES);
	ksm_check_eq(check_one_pfn(a, PAGES), check_one_pfn(b, PAGES));
	ksm_unmap(b, PAGES);
	ksm_verify_equal(a, PAGES, 13);
}

static void nothing_is_shared_when_all_is_unmapped(void)
{
	char *mem = ksm_map_equal(PAGES, 14);

	ksm_merge(mem, PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	ksm_unmap(mem, PAGES);
	ksm_run();
	ksm_await(!ksm_knob_get("pages_shared") && !ksm_knob_get("pages_sharing"), 20,
		  "pages_shared %ld, pages_sharing %ld", ksm_knob_get("pages_shared"),
		  ksm_knob_get("pages_sharing"));
}

static void pages_of_a_read_only_mapping_merge(void)
{
	char *mem = ksm_map_equal(PAGES, 15);

	ksm_check_sys(mprotect(mem, PAGES * psize(), PROT_READ));
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 15);
	/* P19: to break COW there, a write fault is no way. */
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_verify_equal(mem, PAGES, 15);
	ksm_check_sys(mprotect(mem, PAGES * psize(), PROT_READ | PROT_WRITE));
	ksm_fill_equal(mem, 1, 16);
	ksm_verify_equal(mem + psize(), PAGES - 1, 15);
}

static void pages_without_access_keep_their_content(void)
{
	char *mem = ksm_map_equal(PAGES, 17), *twin = ksm_map_equal(PAGES, 17);

	ksm_check_sys(mprotect(mem, PAGES * psize(), PROT_NONE));
	ksm_merge(twin, PAGES);
	ksm_unmergeable(mem, PAGES);
	ksm_check_sys(mprotect(mem, PAGES * psize(), PROT_READ | PROT_WRITE));
	ksm_verify_equal(mem, PAGES, 17);
	ksm_fill_equal(mem, PAGES, 18);
	ksm_verify_equal(twin, PAGES, 17);
}

static void locked_pages_merge(void)
{
	char *mem = ksm_map_equal(PAGES, 19);

	ksm_check_sys(mlock(mem, PAGES * psize()));
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 19);
	ksm_fill_equal(mem, 2, 20);
	ksm_check_sys(munlock(mem, PAGES * psize()));
	ksm_verify_equal(mem, 2, 20);
	ksm_verify_equal(mem + 2 * psize(), PAGES - 2, 19);
}

static void more_equal_pages_than_may_share_one(void)
{
	const size_t pages = 600;
	char *mem = ksm_map_equal(pages, 21);

	ksm_merge(mem, pages);
	ksm_verify_equal(mem, pages, 21);
	ksm_check_eq(ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing"), pages);
	ksm_unmergeable(mem, pages);
	ksm_verify_equal(mem, pages, 21);
}

/* Copies that a private file mapping made are anonymous pages like others. */
static void copied_pages_of_a_private_file_mapping_merge(void)
{
	int fd = ksm_check_sys(memfd_create("ksm", MFD_CLOEXEC));
	char *mem, byte;
	size_t i;

	ksm_check_sys(ftruncate(fd, PAGES * psize()));
	mem = mmap(NULL, PAGES * psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ksm_check(mem != MAP_FAILED, "mmap: %m");
	ksm_fill_equal(mem, PAGES / 2, 22);
	for (i = PAGES / 2; i < PAGES; i++)
		ksm_check(!mem[i * psize()], "the file is not empty");
	ksm_mergeable(mem, PAGES);
	ksm_expect(mem, PAGES, PAGES / 2);
	ksm_verify_equal(mem, PAGES / 2, 22);
	for (i = 0; i < PAGES; i++) {
		ksm_check_eq(pread(fd, &byte, 1, i * psize()), 1);
		ksm_check(!byte, "the merge wrote to the file");
	}
}

#define RACE_PAGES	32

static long copies_before;

/* Each writer owns some pages: nobody else changes them, except ksmd, by mistake. */
static void *write_and_check(void *arg)
{
	char *mem = arg;
	u64 end = ksm_now_ms() + 3000, round = 0, seed = 0;

	/* For a while, and on until somebody wrote to a page that was merged. */
	while (ksm_now_ms() < end || ksm_vmstat("cow_ksm") == copies_before) {
		/* Half of the rounds all writers have the same pages. */
		seed = round % 2 ? 1000 + round : (u64)(uintptr_t)mem + round;
		ksm_fill_equal(mem, RACE_PAGES, seed);
		ksm_verify_equal(mem, RACE_PAGES, seed);
		if (round % 16 == 1)
			ksm_wait_scans(2);
		ksm_verify_equal(mem, RACE_PAGES, seed);
		round++;
	}
	return NULL;
}

static void P13_writes_race_with_merging(void)
{
	char *mem[3];
	pthread_t thread[3];
	int i;

	copies_before = ksm_vmstat("cow_ksm");
	for (i = 0; i < 3; i++)
		mem[i] = ksm_map_equal(RACE_PAGES, 23);
	ksm_run();
	for (i = 0; i < 3; i++)
		ksm_check(!pthread_create(&thread[i], NULL, write_and_check, mem[i]),
			  "no thread");
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
}

#define VALUES	16

static int toggling;

/* Pages that are equal to one of the KSM pages at each moment, but never for long. */
static void *toggle(void *arg)
{
	const size_t at = psize() - 96, pages = 4;
	unsigned char *mem = arg, value[4];
	unsigned int round, page;

	for (page = 0; page < pages; page++)
		value[page] = mem[page * psize() + at];

	for (round = 0; __atomic_load_n(&toggling, __ATOMIC_RELAXED); round++) {
		page = round % pages;
		value[page] = (value[page] + 1u) % VALUES;
		__atomic_store_n(&mem[page * psize() + at], value[page], __ATOMIC_RELAXED);
		for (page = 0; page < pages; page++) {
			unsigned char got = __atomic_load_n(&mem[page * psize() + at],
							    __ATOMIC_RELAXED);

			ksm_check(got == value[page], "wrote %u, got %u", value[page], got);
		}
	}
	return NULL;
}

/*
 * P13: between hash and merge the page becomes another, of which there is a KSM page,
 * too.  Only the comparison after write protection counts.
 */
static void P13_a_page_may_change_after_it_was_hashed(void)
{
	const size_t at = psize() - 96;
	char *kept = ksm_map_equal(2 * VALUES, 24), *mem = ksm_map_equal(4, 24);
	u64 end = ksm_now_ms() + 6000;
	pthread_t thread;
	size_t i;

	for (i = 0; i < 2 * VALUES; i++)
		kept[i * psize() + at] = i % VALUES;
	ksm_expect(kept, 2 * VALUES, 2 * VALUES);
	toggling = 1;
	ksm_check(!pthread_create(&thread, NULL, toggle, mem), "no thread");
	while (ksm_now_ms() < end)
		ksm_wait_scans(1);
	__atomic_store_n(&toggling, 0, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (i = 0; i < 2 * VALUES; i++)
		ksm_check_eq(kept[i * psize() + at], i % VALUES);
	/* At rest, they do merge. */
	ksm_merge(mem, 4);
}

static const struct ksm_test tests[] = {
	KSM_TEST(equal_pages_of_a_process_become_one),
	KSM_TEST(pages_that_differ_in_one_byte_stay_apart),
	KSM_TEST(pages_with_equal_halves_stay_apart),
	KSM_TEST(equal_pages_of_processes_become_one),
	KSM_TEST(a_write_stays_private),
	KSM_TEST(P18_the_last_mapping_is_not_written_in_place),
	KSM_TEST(pages_of_zeros_merge_too),
	KSM_TEST(only_the_offered_range_merges),
	KSM_TEST(unmerging_a_part_leaves_the_rest),
	KSM_TEST(unmerging_everything_by_run_2),
	KSM_TEST(discarded_pages_leave_the_others_alone),
	KSM_TEST(nothing_is_shared_when_all_is_unmapped),
	KSM_TEST(pages_of_a_read_only_mapping_merge),
	KSM_TEST(pages_without_access_keep_their_content),
	KSM_TEST(locked_pages_merge),
	KSM_TEST(more_equal_pages_than_may_share_one),
	KSM_TEST(copied_pages_of_a_private_file_mapping_merge),
	KSM_TEST(P13_writes_race_with_merging),
	KSM_TEST(P13_a_page_may_change_after_it_was_hashed),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
