// SPDX-License-Identifier: GPL-2.0
/*
 * Memory failures in KSM pages: everybody who maps the page is told, nobody gets
 * it again.  Failures are injected by madvise(), so no memory is really bad.
 */

#include "ksm_util.h"

#define PAGES	4

static void check_frame_is_unused(const char *mem, size_t pages, unsigned long pfn)
{
	size_t i;

	for (i = 0; i < pages; i++)
		ksm_check(ksm_pfn(mem + i * psize()) != pfn, "page %zu is mapped to the bad frame",
			  i);
}

/*
 * P84: same addresses, same content, before ksmd has come by and forgotten: the node
 * of the bad frame must not be found, nor what is known of the addresses be believed.
 */
static void P84_no_page_is_merged_into_a_bad_frame(void)
{
	char *mem = ksm_map_equal(PAGES, 1), *twin;
	unsigned long pfn;

	ksm_catch_bus_errors(true);
	ksm_merge(mem, PAGES);
	pfn = ksm_pfn(mem);
	ksm_inject(mem);
	ksm_check_eq(ksm_bus_errors(), 1);
	check_frame_is_unused(mem, PAGES, pfn);

	ksm_check_sys(madvise(mem, PAGES * psize(), MADV_DONTNEED));
	ksm_fill_equal(mem, PAGES, 1);
	ksm_run();
	ksm_wait_scans(4);
	check_frame_is_unused(mem, PAGES, pfn);
	ksm_merge(mem, PAGES);
	check_frame_is_unused(mem, PAGES, pfn);
	ksm_verify_equal(mem, PAGES, 1);

	twin = ksm_map_equal(PAGES, 1);
	ksm_merge(twin, PAGES);
	check_frame_is_unused(twin, PAGES, pfn);
	ksm_check_eq(ksm_pfn(twin), ksm_pfn(mem));
	ksm_verify_equal(twin, PAGES, 1);
	ksm_repair(pfn);
}

static void share_and_be_told(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(PAGES, 2), *at;
	unsigned long pfn;
	u64 inject_here;

	ksm_catch_bus_errors(true);
	ksm_kid_send(parent, (uintptr_t)mem);
	inject_here = ksm_kid_recv(parent);
	pfn = ksm_pfn(mem);
	if (inject_here)
		ksm_inject(mem + psize());
	ksm_kid_send(parent, pfn);

	ksm_kid_recv(parent);
	ksm_await(ksm_bus_errors(), 10, "no SIGBUS");
	ksm_check_eq(ksm_bus_errors(), 1);
	at = ksm_bus_error_addr();
	ksm_check(at >= mem && at < mem + PAGES * psize(), "SIGBUS for %p, not for a page of %p",
		  at, mem);
	check_frame_is_unused(mem, PAGES, pfn);
	ksm_check(ksm_access_fails(mem + 2 * psize()), "the bad page can be read");

	/* A new page at the address is a page like any other. */
	ksm_check_sys(madvise(mem, PAGES * psize(), MADV_DONTNEED));
	ksm_fill_equal(mem, PAGES, 3);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	check_frame_is_unused(mem, PAGES, pfn);
	ksm_verify_equal(mem, PAGES, 3);
}

static void P66_every_process_is_told_once(void)
{
	struct ksm_kid kids[3];
	unsigned long pfn = 0;
	char *mem[3];
	int i;

	for (i = 0; i < 3; i++) {
		ksm_kid_start(&kids[i], share_and_be_told, NULL);
		mem[i] = (char *)(uintptr_t)ksm_kid_recv(&kids[i]);
	}
	for (i = 0; i < 3; i++)
		ksm_expect_of(kids[i].pid, mem[i], PAGES, PAGES);
	ksm_stop();
	/* The last one injects; the others have looked at their frame before. */
	for (i = 0; i < 3; i++) {
		ksm_kid_send(&kids[i], i == 2);
		pfn = ksm_kid_recv(&kids[i]);
	}
	for (i = 0; i < 3; i++)
		ksm_kid_send(&kids[i], 0);
	for (i = 0; i < 3; i++)
		ksm_kid_recv(&kids[i]);
	for (i = 0; i < 3; i++)
		ksm_expect_of(kids[i].pid, mem[i], PAGES, PAGES);
	ksm_stop();
	for (i = 0; i < 3; i++)
		ksm_kid_send(&kids[i], 0);
	for (i = 0; i < 3; i++)
		ksm_kid_end(&kids[i]);
	ksm_repair(pfn);
}

static void offer_and_inject(struct ksm_kid *parent, void *arg)
{
	char *mem = arg;

	ksm_mergeable(mem, 2);
	ksm_merge(mem, 2);
	ksm_kid_send(parent, ksm_pfn(mem));
	ksm_kid_recv(parent);
	ksm_inject(mem);
	ksm_check_eq(ksm_bus_errors(), 1);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
}

/* P86: the parent offers nothing, but shares the page by fork. It must be told, too. */
static void P86_a_parent_that_offers_nothing_is_told(void)
{
	char *mem = ksm_map(2), *page, *other;
	struct ksm_kid kid;
	unsigned long pfn;

	ksm_catch_bus_errors(true);
	ksm_fill_equal(mem, 2, 4);
	ksm_kid_start(&kid, offer_and_inject, mem);
	pfn = ksm_kid_recv(&kid);
	page = ksm_pfn(mem) == pfn ? mem : mem + psize();
	other = page == mem ? mem + psize() : mem;
	if (ksm_pfn(page) != pfn)
		ksm_skip("the child's KSM page is none of those shared by fork");
	ksm_kid_send(&kid, 0);
	ksm_kid_recv(&kid);
	ksm_await(ksm_bus_errors(), 10, "the parent gets no SIGBUS");
	ksm_check_eq(ksm_bus_errors(), 1);
	ksm_check(ksm_pfn(page) != pfn, "the parent still maps the bad frame");
	ksm_check(ksm_access_fails(page), "the bad page can be read");
	ksm_verify_equal(other, 1, 4);
	ksm_kid_send(&kid, 0);
	ksm_kid_end(&kid);
	ksm_repair(pfn);
}

static void soft_offline_moves_the_page_and_keeps_content(void)
{
	char *mem = ksm_map_equal(PAGES, 5), *twin = ksm_map_equal(PAGES, 5), *new;
	unsigned long pfn;

	ksm_catch_bus_errors(true);
	ksm_merge(mem, PAGES);
	ksm_merge(twin, PAGES);
	pfn = ksm_pfn(mem);
	if (madvise(mem, psize(), MADV_SOFT_OFFLINE))
		ksm_check(errno == EBUSY || errno == EOPNOTSUPP || errno == EINVAL,
			  "MADV_SOFT_OFFLINE: %m");
	if (ksm_pfn(mem) == pfn)
		ksm_skip("the page was not taken offline: %m");
	ksm_check_eq(ksm_bus_errors(), 0);
	check_frame_is_unused(mem, PAGES, pfn);
	check_frame_is_unused(twin, PAGES, pfn);
	ksm_verify_equal(mem, PAGES, 5);
	ksm_verify_equal(twin, PAGES, 5);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);

	/* P54: it is still the page that an equal one joins. */
	new = ksm_map_equal(PAGES, 5);
	ksm_merge(new, PAGES);
	ksm_check_eq(ksm_pfn(new), ksm_pfn(mem));
	ksm_check_eq(ksm_knob_get("pages_shared"), 1);
	ksm_repair(pfn);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P84_no_page_is_merged_into_a_bad_frame),
	KSM_TEST(P66_every_process_is_told_once),
	KSM_TEST(P86_a_parent_that_offers_nothing_is_told),
	KSM_TEST(soft_offline_moves_the_page_and_keeps_content),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
