// SPDX-License-Identifier: GPL-2.0
/*
 * max_page_sharing: how often one page is mapped by merging, and the chains of
 * pages of equal content that come of it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "ksm_util.h"

/* How often a page is mapped, by /proc/kpagecount. */
static u64 times_mapped(unsigned long pfn)
{
	int fd = ksm_check_sys(open("/proc/kpagecount", O_RDONLY));
	u64 count;

	ksm_check_eq(pread(fd, &count, sizeof(count), pfn * sizeof(count)), sizeof(count));
	close(fd);
	return count;
}

static void check_times_mapped(const char *mem, size_t pages, u64 most)
{
	unsigned long pfn, last = 0;
	u64 count;
	size_t i;

	for (i = 0; i < pages; i++) {
		pfn = ksm_pfn(mem + i * psize());
		if (pfn == last)
			continue;
		count = times_mapped(pfn);
		ksm_check(count && count <= most, "page %zu is mapped %llu times, %llu may",
			  i, count, most);
		last = pfn;
	}
}

static void check_chains(long chains, long dups)
{
	ksm_check_eq(ksm_knob_get("stable_node_chains"), chains);
	ksm_check_eq(ksm_knob_get("stable_node_dups"), dups);
}

/* ------------------------------------------------------------------------ */
/* Knobs.                                                                   */

static void refused(const char *name, const char *text, int want)
{
	long before = ksm_knob_get(name);
	int err = ksm_knob_write(name, text);

	ksm_check(err == want, "%s takes '%s': %s", name, text, strerror(-err));
	ksm_check_eq(ksm_knob_get(name), before);
}

static void taken(const char *name, const char *text, long want)
{
	int err = ksm_knob_write(name, text);

	ksm_check(!err, "%s refuses '%s': %s", name, text, strerror(-err));
	ksm_check_eq(ksm_knob_get(name), want);
}

static void max_page_sharing_is_2_at_least(void)
{
	static const char * const bad[] = { "0", "1", "-1", "x", "1x", "3x", " ", "0x10" };
	unsigned int i;

	ksm_need_knob("max_page_sharing");
	ksm_check_eq(ksm_knob_get("max_page_sharing"), 256);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		refused("max_page_sharing", bad[i], -EINVAL);
	taken("max_page_sharing", "2", 2);
	taken("max_page_sharing", "300\n", 300);
	taken("max_page_sharing", "", 300);
}

static void max_page_sharing_beyond_its_type_is_ERANGE(void)
{
	ksm_need_knob("max_page_sharing");
	refused("max_page_sharing", "99999999999999999999", -ERANGE);
	refused("max_page_sharing", "2147483648", -ERANGE);
	taken("max_page_sharing", "2147483647", 2147483647L);
}

static void max_page_sharing_stays_while_pages_are_shared(void)
{
	char *mem = ksm_map_equal(4, 1);

	ksm_need_knob("max_page_sharing");
	ksm_merge(mem, 4);
	refused("max_page_sharing", "300", -EBUSY);
	/* What is wrong anyway is called so; what changes nothing is no matter. */
	refused("max_page_sharing", "1", -EINVAL);
	taken("max_page_sharing", "256", 256);
	ksm_unmerge_all();
	taken("max_page_sharing", "300", 300);
	ksm_verify_equal(mem, 4, 1);
}

static void chains_prune_millisecs_takes_any_number(void)
{
	static const char * const bad[] = { "-1", "x", "1x", " ", "4294967296" };
	const char *name = "stable_node_chains_prune_millisecs";
	char *mem = ksm_map_equal(4, 1);
	unsigned int i;

	ksm_need_knob(name);
	ksm_check_eq(ksm_knob_get(name), 2000);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		refused(name, bad[i], -EINVAL);
	ksm_merge(mem, 4);
	taken(name, "0", 0);
	taken(name, "2147483647", 2147483647L);
}

/* ------------------------------------------------------------------------ */
/* Many equal pages.                                                        */

/* All merge, no page is mapped more often than the limit says, and no more are kept. */
static void merge_within(size_t pages, unsigned int limit)
{
	long copies = (pages + limit - 1) / limit;
	char *mem;

	ksm_need_knob("max_page_sharing");
	ksm_knob_set("max_page_sharing", limit);
	ksm_knob_set("pages_to_scan", 30000);
	mem = ksm_map_equal(pages, 2);
	ksm_run();
	ksm_await(ksm_ksm_pages(mem, pages) == pages, 200, "%zu of %zu pages are merged",
		  ksm_ksm_pages(mem, pages), pages);
	ksm_stop();
	check_times_mapped(mem, pages, limit);
	ksm_check_eq(ksm_knob_get("pages_shared"), copies);
	ksm_check_eq(ksm_knob_get("pages_sharing"), pages - copies);
	check_chains(1, copies);
	ksm_verify_equal(mem, pages, 2);
	ksm_unmerge_all();
	check_chains(0, 0);
	ksm_check_eq(ksm_ksm_pages(mem, pages), 0);
	ksm_verify_equal(mem, pages, 2);
}

static void equal_pages_64_by_2(void)
{
	merge_within(64, 2);
}

static void equal_pages_1000_by_16(void)
{
	merge_within(1000, 16);
}

static void equal_pages_20000_by_256(void)
{
	merge_within(20000, 256);
}

static void equal_pages_20000_by_2(void)
{
	merge_within(20000, 2);
}

static void contents_have_chains_of_their_own(void)
{
	const size_t pages = 32;
	char *a, *b, *c;

	ksm_need_knob("max_page_sharing");
	ksm_knob_set("max_page_sharing", 8);
	a = ksm_map_equal(pages, 1);
	b = ksm_map_equal(pages / 2, 2);
	c = ksm_map_equal(8, 3);
	ksm_expect(a, pages, pages);
	ksm_expect(b, pages / 2, pages / 2);
	ksm_merge(c, 8);
	ksm_check_eq(ksm_knob_get("pages_shared"), 4 + 2 + 1);
	check_chains(2, 4 + 2);
	ksm_verify_equal(a, pages, 1);
	ksm_verify_equal(b, pages / 2, 2);
	ksm_verify_equal(c, 8, 3);
}

/* ------------------------------------------------------------------------ */
/* Forks.                                                                   */

static void hold(struct ksm_kid *parent, void *mem)
{
	ksm_kid_send(parent, 1);
	ksm_kid_recv_value(parent, 2);
	ksm_verify_equal(mem, 4, 4);
}

static void forks_may_exceed_the_limit_and_nobody_joins_then(void)
{
	char *mem, *more;
	struct ksm_kid kids[3];
	unsigned long pfn;
	unsigned int i;

	ksm_need_knob("max_page_sharing");
	ksm_knob_set("max_page_sharing", 8);
	mem = ksm_map_equal(4, 4);
	ksm_merge(mem, 4);
	pfn = ksm_pfn(mem);
	for (i = 0; i < ARRAY_SIZE(kids); i++) {
		ksm_kid_start(&kids[i], hold, mem);
		ksm_kid_recv_value(&kids[i], 1);
	}
	ksm_check_eq(times_mapped(pfn), 16);
	more = ksm_map_equal(4, 4);
	ksm_merge(more, 4);
	ksm_check(ksm_pfn(more) != pfn, "a page that is mapped 16 times was joined");
	ksm_check_eq(times_mapped(pfn), 16);
	ksm_check_eq(times_mapped(ksm_pfn(more)), 4);
	for (i = 0; i < ARRAY_SIZE(kids); i++) {
		ksm_kid_send(&kids[i], 2);
		ksm_kid_end(&kids[i]);
	}
	ksm_verify_equal(mem, 4, 4);
	ksm_verify_equal(more, 4, 4);
}

/* ------------------------------------------------------------------------ */
/* Copies that run empty.                                                   */

static void check_recovered(char *mem, size_t pages, size_t step, u64 seed)
{
	const long left = pages / step;
	size_t i;

	ksm_await(ksm_knob_get("pages_shared") == 1, 60, "%ld copies for %ld pages",
		  ksm_knob_get("pages_shared"), left);
	ksm_await(ksm_knob_get("stable_node_chains") == 0, 60, "there still is a chain");
	ksm_stop();
	ksm_check_eq(ksm_knob_get("pages_sharing"), left - 1);
	ksm_check_eq(ksm_knob_get("stable_node_dups"), 0);
	ksm_check_eq(times_mapped(ksm_pfn(mem)), left);
	for (i = 0; i < pages; i++)
		ksm_verify_equal(mem + i * psize(), 1, i % step ? 1000 + i : seed);
	ksm_check_eq(ksm_ksm_pages(mem, pages), left);
}

/* All but every 8th of 64 pages is written to, and so 8 copies are mapped 8 times in all. */
static void recover(unsigned int millisecs)
{
	const size_t pages = 64, step = 8;
	char *mem;
	size_t i;

	ksm_need_knob("max_page_sharing");
	ksm_knob_set("max_page_sharing", 8);
	ksm_knob_set("stable_node_chains_prune_millisecs", millisecs);
	mem = ksm_map_equal(pages, 3);
	ksm_merge(mem, pages);
	ksm_check_eq(ksm_knob_get("pages_shared"), 8);
	check_chains(1, 8);
	for (i = 0; i < pages; i++)
		if (i % step)
			ksm_fill_page(mem + i * psize(), 1000 + i);
	ksm_run();
	check_recovered(mem, pages, step, 3);
}

static void copies_that_run_empty_are_given_up(void)
{
	recover(0);
}

static void copies_that_run_empty_are_given_up_by_the_default(void)
{
	recover(2000);
}

/* Not before the time comes, or the knob would have no meaning. */
static void copies_stay_until_it_is_time_to_prune(void)
{
	const size_t pages = 32;
	char *mem;
	size_t i;

	ksm_need_knob("max_page_sharing");
	ksm_knob_set("max_page_sharing", 8);
	ksm_knob_set("stable_node_chains_prune_millisecs", 3600000);
	mem = ksm_map_equal(pages, 3);
	ksm_merge(mem, pages);
	for (i = 0; i < pages; i++)
		if (i % 8)
			ksm_fill_page(mem + i * psize(), 1000 + i);
	ksm_run();
	ksm_await(ksm_knob_get("pages_sharing") == 0, 60, "pages_sharing is %ld",
		  ksm_knob_get("pages_sharing"));
	ksm_wait_scans(4);
	ksm_check_eq(ksm_knob_get("pages_shared"), 4);
	check_chains(1, 4);
	ksm_knob_set("stable_node_chains_prune_millisecs", 0);
	check_recovered(mem, pages, 8, 3);
}

static void sharers_leave_and_the_rest_closes_up(void)
{
	const unsigned int count = 4;
	struct ksm_sharer all[4];
	unsigned int i;

	ksm_need_knob("max_page_sharing");
	ksm_knob_set("max_page_sharing", 16);
	ksm_knob_set("stable_node_chains_prune_millisecs", 0);
	ksm_sharers_start(all, count, 16, 5);
	ksm_sharers_merge(all, count);
	ksm_run();
	ksm_check_eq(ksm_knob_get("pages_sharing") + ksm_knob_get("pages_shared"), 64);
	ksm_sharers_do(all, count, KSM_VERIFY, 5);
	for (i = count; i > 1; i--) {
		ksm_sharers_end(&all[i - 1], 1);
		ksm_await(ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing") ==
			  16 * (i - 1), 60, "%ld pages are merged",
			  ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing"));
		ksm_await(ksm_knob_get("pages_shared") == i - 1, 60, "%ld copies for %u sharers",
			  ksm_knob_get("pages_shared"), i - 1);
		ksm_sharers_do(all, i - 1, KSM_VERIFY, 5);
	}
	ksm_await(ksm_knob_get("stable_node_chains") == 0, 60, "there still is a chain");
	ksm_sharers_end(all, 1);
}

/* ------------------------------------------------------------------------ */
/* Swap and migration.                                                      */

static void chains_go_to_swap_and_come_back(void)
{
	const size_t pages = 64;
	char *mem;

	ksm_need_knob("max_page_sharing");
	ksm_need_swap();
	ksm_cgroup_enter("chains");
	ksm_knob_set("max_page_sharing", 4);
	mem = ksm_map_equal(pages, 6);
	ksm_merge(mem, pages);
	check_chains(1, 16);
	ksm_swap_out(mem, pages);
	ksm_verify_equal(mem, pages, 6);
	ksm_merge(mem, pages);
	check_times_mapped(mem, pages, 4);
	ksm_verify_equal(mem, pages, 6);
	ksm_run();
	ksm_await(ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing") == (long)pages, 60,
		  "%ld pages are merged",
		  ksm_knob_get("pages_shared") + ksm_knob_get("pages_sharing"));
	ksm_stop();
	ksm_unmerge_all();
	check_chains(0, 0);
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_verify_equal(mem, pages, 6);
}

static void P54_members_of_a_chain_can_move(void)
{
	const size_t pages = 16;
	char *mem, *more;
	int node[2], to;
	size_t i;

	ksm_need_knob("max_page_sharing");
	ksm_two_nodes(node);
	ksm_knob_set("max_page_sharing", 4);
	mem = ksm_map_equal(pages, 7);
	ksm_merge(mem, pages);
	for (i = 0; i < pages; i += 4) {
		to = ksm_node_of(mem + i * psize()) == node[0] ? node[1] : node[0];
		ksm_check_eq(ksm_move_page(0, mem + i * psize(), to), to);
	}
	ksm_verify_equal(mem, pages, 7);
	check_chains(1, 4);
	more = ksm_map_equal(6, 7);
	ksm_merge(more, 6);
	check_times_mapped(mem, pages, 4);
	check_times_mapped(more, 6, 4);
	ksm_check_eq(ksm_knob_get("pages_shared"), 6);
	check_chains(1, 6);
	ksm_verify_equal(mem, pages, 7);
	ksm_verify_equal(more, 6, 7);
}

static const struct ksm_test tests[] = {
	KSM_TEST(max_page_sharing_is_2_at_least),
	KSM_TEST(max_page_sharing_beyond_its_type_is_ERANGE),
	KSM_TEST(max_page_sharing_stays_while_pages_are_shared),
	KSM_TEST(chains_prune_millisecs_takes_any_number),
	KSM_TEST(equal_pages_64_by_2),
	KSM_TEST_LONG(equal_pages_1000_by_16, 240),
	KSM_TEST_LONG(equal_pages_20000_by_256, 300),
	KSM_TEST_LONG(equal_pages_20000_by_2, 300),
	KSM_TEST(contents_have_chains_of_their_own),
	KSM_TEST(forks_may_exceed_the_limit_and_nobody_joins_then),
	KSM_TEST_LONG(copies_that_run_empty_are_given_up, 200),
	KSM_TEST_LONG(copies_that_run_empty_are_given_up_by_the_default, 200),
	KSM_TEST_LONG(copies_stay_until_it_is_time_to_prune, 200),
	KSM_TEST_LONG(sharers_leave_and_the_rest_closes_up, 300),
	KSM_TEST_LONG(chains_go_to_swap_and_come_back, 200),
	KSM_TEST(P54_members_of_a_chain_can_move),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
