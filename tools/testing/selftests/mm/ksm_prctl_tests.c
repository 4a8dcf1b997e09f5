// SPDX-License-Identifier: GPL-2.0
/*
 * prctl(PR_SET_MEMORY_MERGE): a whole process offers its memory.
 */
#include <stdio.h>
#include <sys/wait.h>

#include "ksm_util.h"

#define PAGES	8

static int get_merge(void)
{
	return syscall(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0);
}

static char *map_filled(size_t pages, u64 seed)
{
	char *mem = ksm_map(pages);

	ksm_fill_equal(mem, pages, seed);
	return mem;
}

static void get_tells_what_set_did(void)
{
	ksm_check_eq(get_merge(), 0);
	ksm_check_sys(ksm_prctl_merge(1));
	ksm_check_eq(get_merge(), 1);
	ksm_check_sys(ksm_prctl_merge(1));
	ksm_check_eq(get_merge(), 1);
	ksm_check_sys(ksm_prctl_merge(0));
	ksm_check_eq(get_merge(), 0);
	ksm_check_sys(ksm_prctl_merge(0));
}

static void no_capability_is_needed(void)
{
	ksm_check_sys(setresuid(65534, 65534, 65534));
	ksm_check_sys(ksm_prctl_merge(1));
	ksm_check_eq(get_merge(), 1);
}

static void mappings_before_and_after_merge(void)
{
	char *before = map_filled(PAGES, 1), *after;

	ksm_check_sys(ksm_prctl_merge(1));
	after = map_filled(PAGES, 2);
	ksm_check(ksm_vma_has(before, "mg"), "the old mapping is not mergeable");
	ksm_check(ksm_vma_has(after, "mg"), "the new mapping is not mergeable");
	ksm_merge(before, PAGES);
	ksm_merge(after, PAGES);
	ksm_verify_equal(before, PAGES, 1);
	ksm_verify_equal(after, PAGES, 2);
}

/* The next whole page of the heap, in a process that merges all it has. */
static char *heap_end(void)
{
	char *end;

	ksm_check_sys(ksm_prctl_merge(1));
	end = sbrk(0);
	return end + -(uintptr_t)end % psize();
}

static void the_heap_merges(void)
{
	char *start = heap_end();

	ksm_check(!brk(start + PAGES * psize()), "brk: %m");
	ksm_fill_equal(start, PAGES, 3);
	ksm_check(ksm_vma_has(start, "mg"), "the heap is not mergeable");
	ksm_run();
	ksm_await(ksm_pfn(start) == ksm_pfn(start + psize()), 40,
		  "equal pages of the heap do not merge");
	ksm_check(ksm_pfn(start), "a page of the heap is gone");
	ksm_verify_equal(start, PAGES, 3);
}

/* P26: all of it, whoever offered it. */
static void P26_switching_off_unmerges_everything(void)
{
	char *mem = map_filled(PAGES, 4), *advised = ksm_map_equal(PAGES, 5), *later;

	ksm_check_sys(ksm_prctl_merge(1));
	later = map_filled(PAGES, 6);
	ksm_merge(mem, PAGES);
	ksm_merge(advised, PAGES);
	ksm_merge(later, PAGES);
	ksm_check_sys(ksm_prctl_merge(0));
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_check_eq(ksm_ksm_pages(advised, PAGES), 0);
	ksm_check_eq(ksm_ksm_pages(later, PAGES), 0);
	ksm_check(!ksm_vma_has(mem, "mg") && !ksm_vma_has(advised, "mg") &&
		  !ksm_vma_has(later, "mg"), "a mapping is still mergeable");
	ksm_verify_equal(mem, PAGES, 4);
	ksm_verify_equal(advised, PAGES, 5);
	ksm_verify_equal(later, PAGES, 6);
	ksm_expect_none(mem, PAGES);
	ksm_await(!ksm_merging_pages(0), 10, "ksm_merging_pages stays %ld", ksm_merging_pages(0));

	/* And it can be switched on again. */
	ksm_check_sys(ksm_prctl_merge(1));
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 4);
}

static void switching_off_what_was_never_on_changes_nothing(void)
{
	char *mem = ksm_map_equal(PAGES, 12);

	ksm_merge(mem, PAGES);
	ksm_check_sys(ksm_prctl_merge(0));
	ksm_check(ksm_vma_has(mem, "mg"), "what madvise() offered is not offered any more");
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	ksm_verify_equal(mem, PAGES, 12);
}

static void a_range_can_be_taken_out(void)
{
	char *mem = map_filled(PAGES, 7);

	ksm_check_sys(ksm_prctl_merge(1));
	ksm_merge(mem, PAGES);
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_expect_none(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 7);
}

static void P16_shared_mappings_are_left_alone(void)
{
	char *before, *after;

	before = mmap(NULL, psize(), PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ksm_check_sys(ksm_prctl_merge(1));
	after = mmap(NULL, psize(), PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ksm_check(before != MAP_FAILED && after != MAP_FAILED, "mmap: %m");
	ksm_check(!ksm_vma_has(before, "mg"), "an old shared mapping became mergeable");
	ksm_check(!ksm_vma_has(after, "mg"), "a new shared mapping is mergeable");
}

static void merge_in_child(struct ksm_kid *parent, void *arg)
{
	char *mem = arg, *own;

	ksm_check_eq(get_merge(), 1);
	own = map_filled(PAGES, 9);
	ksm_merge(own, PAGES);
	ksm_merge(mem, PAGES);
	ksm_verify_equal(own, PAGES, 9);
	ksm_verify_equal(mem, PAGES, 8);
	/* What the child does about it is its own business. */
	ksm_check_sys(ksm_prctl_merge(0));
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_verify_equal(mem, PAGES, 8);
}

static void fork_inherits(void)
{
	char *mem = map_filled(PAGES, 8);
	struct ksm_kid kid;

	ksm_check_sys(ksm_prctl_merge(1));
	ksm_kid_start(&kid, merge_in_child, mem);
	ksm_kid_end(&kid);
	ksm_check_eq(get_merge(), 1);
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 8);
}

/* What main() does when exec_self() has started it. */
static int after_exec(const char *want)
{
	char *mem = map_filled(PAGES, 10);

	ksm_check_eq(get_merge(), atoi(want));
	if (get_merge()) {
		ksm_expect(mem, PAGES, PAGES);
		ksm_verify_equal(mem, PAGES, 10);
	} else {
		ksm_expect_none(mem, PAGES);
	}
	return 0;
}

static void exec_self(struct ksm_kid *parent, void *arg)
{
	ksm_prctl_merge(*(char *)arg == '1');
	execl("/proc/self/exe", "ksm_prctl_tests", "after-exec", arg, NULL);
	ksm_fail("exec: %m");
}

static void P40_exec_inherits(void)
{
	struct ksm_kid kid;
	int round;

	/* While ksmd is busy: it must not take the new, still empty mm for one without use. */
	ksm_run();
	for (round = 0; round < 8; round++) {
		ksm_kid_start(&kid, exec_self, "1");
		ksm_kid_end(&kid);
	}
	ksm_kid_start(&kid, exec_self, "0");
	ksm_kid_end(&kid);
}

/* P78: the flag is decided before the kernel looks for a neighbour to join. */
static void P78_adjacent_mappings_stay_one_VMA(void)
{
	const int count = 100;
	char *base, *mem;
	struct ksm_area area;
	int i;

	ksm_check_sys(ksm_prctl_merge(1));
	base = ksm_place(count);
	for (i = 0; i < count; i++) {
		mem = mmap(base + i * psize(), psize(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		ksm_check(mem == base + i * psize(), "mmap: %m");
	}
	ksm_area(0, base, count, &area);
	ksm_check_eq(area.vmas, 1);
	ksm_check(ksm_vma_has(base, "mg"), "not mergeable");
	ksm_fill_equal(base, count, 11);
	ksm_merge(base, count);
	ksm_verify_equal(base, count, 11);
}

static void P78_a_heap_that_grows_stays_one_VMA(void)
{
	const int count = 100;
	char *start = heap_end();
	struct ksm_area area;
	int i;

	for (i = 0; i < count; i++)
		ksm_check(!brk(start + (i + 1) * psize()), "brk: %m");
	ksm_area(0, start, count, &area);
	ksm_check_eq(area.vmas, 1);
	ksm_check(ksm_vma_has(start, "mg"), "not mergeable");
}

static const struct ksm_test tests[] = {
	KSM_TEST(get_tells_what_set_did),
	KSM_TEST(no_capability_is_needed),
	KSM_TEST(mappings_before_and_after_merge),
	KSM_TEST(the_heap_merges),
	KSM_TEST(P26_switching_off_unmerges_everything),
	KSM_TEST(switching_off_what_was_never_on_changes_nothing),
	KSM_TEST(a_range_can_be_taken_out),
	KSM_TEST(P16_shared_mappings_are_left_alone),
	KSM_TEST(fork_inherits),
	KSM_TEST(P40_exec_inherits),
	KSM_TEST(P78_adjacent_mappings_stay_one_VMA),
	KSM_TEST(P78_a_heap_that_grows_stays_one_VMA),
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "after-exec"))
		return after_exec(argv[2]);
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
