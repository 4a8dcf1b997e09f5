// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel without sysfs: nobody can start ksmd, so it runs from boot, with the
 * defaults; what it does is seen in /proc only.
 */
#include <stdio.h>
#include <unistd.h>

#include "ksm_util.h"

#define PAGES	64

/* ksmd takes 100 pages every 20 ms; this is for a machine that is very busy. */
#define SECONDS	60

static void await_merged(const char *mem, size_t pages, size_t want)
{
	ksm_await(ksm_ksm_pages(mem, pages) == want, SECONDS, "%zu of %zu pages merged, not %zu",
		  ksm_ksm_pages(mem, pages), pages, want);
}

static void equal_pages_merge(void)
{
	char *mem = ksm_map_equal(PAGES, 1);

	await_merged(mem, PAGES, PAGES);
	ksm_check_eq(ksm_merging_pages(0), PAGES);
	ksm_verify_equal(mem, PAGES, 1);
}

static void unique_pages_do_not(void)
{
	char *unique = ksm_map_unique(PAGES, 2), *pair = ksm_map_equal(2, 3), *later;

	await_merged(pair, 2, 2);
	/* what was offered first has been seen twice when this is merged */
	later = ksm_map_equal(2, 4);
	await_merged(later, 2, 2);
	ksm_check_eq(ksm_ksm_pages(unique, PAGES), 0);
	ksm_verify_unique(unique, PAGES, 2);
}

static void a_write_gets_a_page_of_its_own(void)
{
	char *mem = ksm_map_equal(PAGES, 5);

	await_merged(mem, PAGES, PAGES);
	ksm_fill_page(mem, 6);
	ksm_verify_equal(mem, 1, 6);
	ksm_verify_equal(mem + psize(), PAGES - 1, 5);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES - 1);
}

static void UNMERGEABLE_is_complete_when_it_returns(void)
{
	char *mem = ksm_map_equal(PAGES, 7);

	await_merged(mem, PAGES, PAGES);
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_check_eq(ksm_merging_pages(0), 0);
	ksm_verify_equal(mem, PAGES, 7);
}

static char *shared_by_both;

static void write_the_same(struct ksm_kid *parent, void *arg)
{
	ksm_fill_unique(shared_by_both, PAGES, 8);	/* copies of its own */
	await_merged(shared_by_both, PAGES, PAGES);
	ksm_kid_send(parent, 1);
	ksm_kid_recv_value(parent, 2);
	ksm_verify_unique(shared_by_both, PAGES, 8);
}

static void processes_share_by_prctl(void)
{
	struct ksm_kid kid;

	ksm_check_sys(ksm_prctl_merge(1));
	shared_by_both = ksm_map(PAGES);
	ksm_fill_unique(shared_by_both, PAGES, 8);
	ksm_kid_start(&kid, write_the_same, NULL);
	await_merged(shared_by_both, PAGES, PAGES);
	ksm_kid_recv_value(&kid, 1);
	ksm_check(ksm_merging_pages(kid.pid) >= PAGES, "the child shares too few pages");
	ksm_kid_send(&kid, 2);
	ksm_kid_end(&kid);
	ksm_verify_unique(shared_by_both, PAGES, 8);
}

static const struct ksm_test tests[] = {
	KSM_TEST(equal_pages_merge),
	KSM_TEST(unique_pages_do_not),
	KSM_TEST(a_write_gets_a_page_of_its_own),
	KSM_TEST(UNMERGEABLE_is_complete_when_it_returns),
	KSM_TEST(processes_share_by_prctl),
};

int main(void)
{
	char reason[256];
	unsigned int i;

	ksft_print_header();
	if (!access("/sys/kernel", F_OK))
		ksft_exit_skip("this kernel has sysfs: ksmd runs when it is told to\n");
	ksft_set_plan(ARRAY_SIZE(tests));
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		int code = ksm_run_isolated(tests[i].run, 3 * SECONDS, reason, sizeof(reason));

		ksft_test_result_code(code < 0 ? KSFT_FAIL : code, tests[i].name,
				      *reason ? "%s" : NULL, reason);
	}
	ksft_finished();
}
