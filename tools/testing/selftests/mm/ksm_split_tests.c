// SPDX-License-Identifier: GPL-2.0
/*
 * P74: huge pages that are split while most of what they hold is zeros. Small pages
 * of zeros stay their owner's, unless KSM was asked to give them up, or unless the
 * kernel runs short of memory and the huge page is hardly used.
 */
#include <signal.h>
#include <stdio.h>

#include "ksm_util.h"

#define USED		2	/* pages of a huge page that are no zeros */
#define SEED		74

#define KPF_THP		22
#define KPF_ZERO_PAGE	24

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

static size_t huge_pages(void)
{
	return read_pmd_pagesize() / psize();
}

static void verify(const char *mem, size_t pages)
{
	ksm_verify_equal(mem, USED, SEED);
	ksm_verify_zeros(mem + USED * psize(), pages - USED);
}

static bool flag_is_set(const char *page, unsigned int flag)
{
	unsigned long pfn = ksm_pfn(page);

	ksm_check(pfn, "the page at %p is not present", page);
	return ksm_kpageflags(pfn) >> flag & 1;
}

/* How many of the pages are mappings of the shared zero page? */
static size_t given_up(const char *mem, size_t pages)
{
	size_t i, count = 0;

	for (i = 0; i < pages; i++)
		count += flag_is_set(mem + i * psize(), KPF_ZERO_PAGE);
	return count;
}

/* One huge page with USED equal pages at its begin, and zeros; once split, it stays so. */
static char *map_one(void)
{
	char *mem = ksm_map_huge(huge_pages() * psize());

	ksm_fill_equal(mem, USED, SEED);
	ksm_check_sys(madvise(mem, huge_pages() * psize(), MADV_NOHUGEPAGE));
	ksm_check(flag_is_set(mem, KPF_THP), "no huge page");
	return mem;
}

static void expect_zero_pages(long count)
{
	ksm_check_eq(ksm_stat(0, "ksm_zero_pages"), count);
	ksm_check_eq(ksm_knob_get("ksm_zero_pages"), count);
}

/* All is unmapped: nothing may be left of the count. */
static void end_with(char *mem, size_t pages)
{
	ksm_check_sys(munmap(mem, pages * psize()));
	expect_zero_pages(0);
}

/* ------------------------------------------------------------------------ */

static void P74_without_use_zero_pages_ksmd_merges_them_like_others(void)
{
	size_t pages = huge_pages();
	char *mem = map_one();

	ksm_mergeable(mem, pages);
	ksm_merge(mem, pages);
	ksm_check_eq(given_up(mem, pages), 0);
	ksm_check_eq(ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing"), pages);
	expect_zero_pages(0);
	verify(mem, pages);
	end_with(mem, pages);
}

/* ksmd splits it for two pages that are offered; the others are none of its business. */
static void P74_pages_that_nobody_offered_stay(void)
{
	size_t pages = huge_pages();
	char *mem = map_one();

	ksm_mergeable(mem, USED);
	ksm_merge(mem, USED);
	ksm_check_eq(given_up(mem, pages), 0);
	expect_zero_pages(0);
	verify(mem, pages);
	end_with(mem, pages);
}

static void P74_with_use_zero_pages_those_offered_are_counted(void)
{
	size_t pages = huge_pages(), half = pages / 2;
	char *mem = map_one();

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	ksm_mergeable(mem, half);
	ksm_merge(mem, USED);
	ksm_run();
	ksm_await(ksm_knob_get("ksm_zero_pages") >= (long)(half - USED), 30,
		  "ksm_zero_pages stays %ld", ksm_knob_get("ksm_zero_pages"));
	ksm_wait_scans(2);
	ksm_stop();
	expect_zero_pages(half - USED);
	ksm_check_eq(given_up(mem, pages), half - USED);
	ksm_check_eq(given_up(mem + half * psize(), pages - half), 0);
	verify(mem, pages);

	/* What is marked comes back. */
	ksm_unmergeable(mem, half);
	expect_zero_pages(0);
	ksm_check_eq(given_up(mem, pages), 0);
	verify(mem, pages);
	end_with(mem, pages);
}

/* ------------------------------------------------------------------------ */
/* Splits that are not KSM's.                                               */

static void split_by_debugfs(char *mem, size_t pages)
{
	char text[128];
	int err;

	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(), (unsigned long)mem,
		 (unsigned long)mem + pages * psize());
	err = ksm_write_text("/sys/kernel/debug/split_huge_pages", text);
	if (err == -ENOENT)
		ksm_skip("needs debugfs");
	ksm_check(!err, "split_huge_pages: %s", strerror(-err));
}

/* The shrinkers run, as when memory is short. */
static void shrink(void)
{
	int err = ksm_write_text("/proc/sys/vm/drop_caches", "2");

	ksm_check(!err, "drop_caches: %s", strerror(-err));
}

static void expect_split(const char *mem, const char *how)
{
	ksm_check(!flag_is_set(mem, KPF_THP), "%s has not split the huge page", how);
}

static void P74_debugfs_gives_nothing_up(void)
{
	size_t pages = huge_pages();
	char *mem = map_one();

	split_by_debugfs(mem, pages);
	expect_split(mem, "debugfs");
	ksm_check_eq(given_up(mem, pages), 0);
	verify(mem, pages);
	end_with(mem, pages);
}

static void split_by_madvise(int advice, const char *how)
{
	size_t pages = huge_pages();
	char *mem = map_one();

	ksm_check_sys(madvise(mem + USED * psize(), psize(), advice));
	expect_split(mem, how);
	ksm_check_eq(given_up(mem, pages), 0);
	verify(mem, pages);
	end_with(mem, pages);
}

static void P74_madvise_gives_nothing_up(void)
{
	split_by_madvise(MADV_COLD, "MADV_COLD");
	split_by_madvise(MADV_FREE, "MADV_FREE");
}

static void P74_moved_halves_give_nothing_up(void)
{
	size_t pages = huge_pages(), half = pages / 2;
	char *mem = map_one(), *to = ksm_map(half);

	ksm_check(mremap(mem + half * psize(), half * psize(), half * psize(),
			 MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap: %m");
	split_by_debugfs(mem, half);
	expect_split(mem, "debugfs");
	ksm_check_eq(given_up(mem, half), 0);
	ksm_check_eq(given_up(to, half), 0);
	verify(mem, half);
	ksm_verify_zeros(to, half);
	ksm_unmap(to, half);
	end_with(mem, half);
}

/* A half is gone: the shrinker splits it for what that saves, and for that only. */
static void P74_the_rest_of_a_huge_page_stays(void)
{
	size_t pages = huge_pages(), half = pages / 2;
	char *mem = map_one();

	ksm_check_sys(munmap(mem + half * psize(), half * psize()));
	shrink();
	expect_split(mem, "the shrinker");
	ksm_check_eq(given_up(mem, half), 0);
	verify(mem, half);
	end_with(mem, half);
}

/* ------------------------------------------------------------------------ */
/* Where it is meant.                                                       */

static void shrink_an_underused_page(struct ksm_kid *parent, void *arg)
{
	size_t pages = huge_pages();
	char *mem = map_one();
	long before = ksm_vmstat("thp_underused_split_page");

	shrink();
	expect_split(mem, "the shrinker");
	ksm_check(ksm_vmstat("thp_underused_split_page") > before, "not counted as underused");
	ksm_check_eq(given_up(mem, pages), pages - USED);
	expect_zero_pages(0);
	verify(mem, pages);

	/* Not KSM's doing: not counted, and left alone by an unmerge. */
	ksm_knob_set("use_zero_pages", 1);
	ksm_mergeable(mem, pages);
	ksm_merge(mem, USED);
	expect_zero_pages(0);
	ksm_unmergeable(mem, pages);
	ksm_check_eq(given_up(mem, pages), pages - USED);
	verify(mem, pages);
	memset(mem + USED * psize(), 1, (pages - USED) * psize());
	memset(mem + USED * psize(), 0, (pages - USED) * psize());
	verify(mem, pages);
	ksm_check_eq(given_up(mem, pages), 0);
	end_with(mem, pages);
}

static void P74_the_shrinker_gives_up_what_is_not_used(void)
{
	const char *shrinks = "/sys/kernel/mm/transparent_hugepage/shrink_underused";
	const char *limit = KHUGEPAGED "max_ptes_none";
	char old_shrinks[32], old_limit[32];
	struct ksm_kid kid;
	int status;

	ksm_need_knob("use_zero_pages");
	if (ksm_read_text(shrinks, old_shrinks, sizeof(old_shrinks)) < 0 ||
	    ksm_read_text(limit, old_limit, sizeof(old_limit)) < 0)
		ksm_skip("this kernel looks for no underused huge pages");
	ksm_check(!ksm_write_text(shrinks, "1"), "%s", shrinks);
	ksm_check(!ksm_write_text(limit, "256"), "%s", limit);
	ksm_kid_start(&kid, shrink_an_underused_page, NULL);
	while (!ksm_kid_gone(&kid, KSM_TEST_SECONDS / 2, &status))
		kill(kid.pid, SIGKILL);
	ksm_write_text(limit, old_limit);
	ksm_write_text(shrinks, old_shrinks);
	ksm_kid_verdict(status);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P74_without_use_zero_pages_ksmd_merges_them_like_others),
	KSM_TEST(P74_pages_that_nobody_offered_stay),
	KSM_TEST(P74_with_use_zero_pages_those_offered_are_counted),
	KSM_TEST(P74_debugfs_gives_nothing_up),
	KSM_TEST(P74_madvise_gives_nothing_up),
	KSM_TEST(P74_moved_halves_give_nothing_up),
	KSM_TEST(P74_the_rest_of_a_huge_page_stays),
	KSM_TEST(P74_the_shrinker_gives_up_what_is_not_used),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
