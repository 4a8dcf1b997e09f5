// SPDX-License-Identifier: GPL-2.0
/*
 * Memory failures in KSM pages: everybody who maps the page is told, nobody gets
 * it again.  Failures are injected by madvise(), so no memory is really bad.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/swap.h>
#include <sys/wait.h>

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

/* ------------------------------------------------------------------------ */

struct role {
	const char	*what;
	bool		offers;
	bool		inherits;	/* the page, by a fork that ksmd never heard of */
	bool		writes;		/* and so has copies of its own */
	bool		has_a_child;
	bool		late;
	/* what has to be, filled in from here on */
	bool		maps;
	char		*mem;
};

static void check_what_was_heard(const struct role *role, const char *mem)
{
	size_t i;

	ksm_check(ksm_bus_errors() == (role->maps && !role->late), "%s got SIGBUS %d times",
		  role->what, ksm_bus_errors());
	if (!role->maps) {
		ksm_verify_equal(mem, PAGES, role->writes ? 7 : 6);
		return;
	}
	ksm_check(role->late || ksm_bus_error_code() == BUS_MCEERR_AO, "%s: si_code is %d",
		  role->what, ksm_bus_error_code());
	for (i = 0; i < PAGES; i++) {
		ksm_check(ksm_access_fails(mem + i * psize()), "%s reads the bad page",
			  role->what);
		ksm_check_eq(ksm_bus_error_code(), BUS_MCEERR_AR);
	}
}

static void play(struct ksm_kid *parent, void *arg)
{
	struct role role = *(struct role *)arg;
	char *mem = role.inherits ? role.mem : ksm_map(PAGES);
	struct ksm_kid kid;

	if (!role.inherits || role.writes)
		ksm_fill_equal(mem, PAGES, role.writes ? 7 : 6);
	if (role.offers)
		ksm_mergeable(mem, PAGES);
	ksm_catch_bus_errors(!role.late);
	if (role.has_a_child) {
		role.has_a_child = false;
		ksm_kid_start(&kid, play, &role);
		ksm_kid_recv(&kid);
		role.has_a_child = true;
	}
	ksm_kid_send(parent, (uintptr_t)mem);
	ksm_kid_recv(parent);
	if (role.has_a_child) {
		ksm_kid_send(&kid, 0);
		ksm_kid_end(&kid);
	}
	check_what_was_heard(&role, mem);
}

/* What is not caught kills. */
static void die(struct ksm_kid *parent, void *arg)
{
	ksm_catch_bus_errors(true);
	signal(SIGBUS, SIG_DFL);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	ksm_fail("a process that does not catch SIGBUS lives on");
}

static long corrupted_kib(void)
{
	char text[8192], *line;

	ksm_check(ksm_read_text("/proc/meminfo", text, sizeof(text)) > 0, "no meminfo");
	line = strstr(text, "HardwareCorrupted:");
	ksm_check(line, "no line HardwareCorrupted");
	return atol(line + strlen("HardwareCorrupted:"));
}

/*
 * P66: mapped by several, several times in one of them, by children that ksmd never saw:
 * each hears of it once, and nobody else. It is injected by its frame's number.
 */
static void P66_all_who_map_it_are_told_once_and_nobody_else(void)
{
	struct role roles[] = {
		{ "who offers it", .offers = true, .maps = true },
		{ "who offers it and is told late", .offers = true, .late = true, .maps = true },
		{ "who has the same content", },
		{ "a child", .inherits = true, .maps = true, .has_a_child = true },
		{ "a child that is told late", .inherits = true, .maps = true, .late = true },
		{ "a child that wrote", .inherits = true, .writes = true, .has_a_child = true },
	};
	struct ksm_kid kids[ARRAY_SIZE(roles)], doomed;
	unsigned int i, first_child = 3;
	long before = corrupted_kib();
	char *mem, *twin;
	unsigned long pfn;
	int status;

	ksm_catch_bus_errors(true);
	for (i = 0; i < first_child; i++) {
		ksm_kid_start(&kids[i], play, &roles[i]);
		roles[i].mem = (char *)(uintptr_t)ksm_kid_recv(&kids[i]);
	}
	mem = ksm_map_equal(PAGES, 6);
	twin = ksm_map_equal(PAGES, 6);
	ksm_check_sys(madvise(twin, PAGES * psize(), MADV_DONTFORK));
	ksm_merge(twin, PAGES);
	ksm_merge(mem, PAGES);
	for (i = 0; i < first_child; i++)
		if (roles[i].offers)
			ksm_expect_of(kids[i].pid, roles[i].mem, PAGES, PAGES);
	ksm_stop();
	for (i = first_child; i < ARRAY_SIZE(roles); i++) {
		roles[i].mem = mem;
		ksm_kid_start(&kids[i], play, &roles[i]);
		ksm_kid_recv(&kids[i]);
	}
	ksm_kid_start(&doomed, die, NULL);
	ksm_kid_recv(&doomed);

	pfn = ksm_pfn(mem);
	for (i = 0; i < ARRAY_SIZE(roles); i++)
		ksm_check((ksm_pfn_of(kids[i].pid, roles[i].mem) == pfn) == roles[i].maps,
			  "%s: maps it or not?", roles[i].what);
	ksm_check_eq(ksm_inject_pfn(pfn), 0);

	ksm_check_eq(ksm_bus_errors(), 1);
	check_frame_is_unused(mem, PAGES, pfn);
	check_frame_is_unused(twin, PAGES, pfn);
	ksm_check_eq(corrupted_kib(), before + psize() / 1024);
	ksm_check(ksm_kid_gone(&doomed, 30, &status) && WIFSIGNALED(status) &&
		  WTERMSIG(status) == SIGBUS, "SIGBUS kills nobody: status 0x%x", status);
	for (i = 0; i < ARRAY_SIZE(roles); i++) {
		ksm_kid_send(&kids[i], 0);
		ksm_kid_end(&kids[i]);
	}
	ksm_check(ksm_access_fails(mem) && ksm_access_fails(twin), "the bad page can be read");

	/* Nothing is left of it. */
	ksm_run();
	ksm_await(!ksm_knob_get("pages_shared") && !ksm_knob_get("pages_sharing"), 30,
		  "pages_shared stays %ld, pages_sharing %ld", ksm_knob_get("pages_shared"),
		  ksm_knob_get("pages_sharing"));
	ksm_check_eq(ksm_merging_pages(0), 0);
	ksm_repair(pfn);
}

/* ------------------------------------------------------------------------ */

/*
 * Of two mappings of a KSM page the second is not offered any more. The page is in the
 * swap cache, where a pipe keeps it, and then fails; another page is in swap, too.
 */
struct cached {
	char		*mem, *other;
	int		pipe[2];
	unsigned long	pfn;
};

static void fail_in_the_swap_cache(struct cached *cached, u64 seed)
{
	ksm_catch_bus_errors(true);
	cached->mem = ksm_map_equal(2, seed);
	cached->other = ksm_map_unique(PAGES, seed);
	ksm_merge(cached->mem, 2);
	cached->pfn = ksm_pfn(cached->mem);
	ksm_pipe_fill(cached->pipe, cached->mem, 1);
	ksm_swap_out(cached->mem, 2);
	ksm_swap_out(cached->other, PAGES);
	ksm_unmergeable(cached->mem + psize(), 1);
	/* EBUSY: as there is somebody who holds it. */
	ksm_check_eq(ksm_inject_pfn(cached->pfn), -EBUSY);
	ksm_check_eq(ksm_bus_errors(), 0);
}

static void check_that_it_is_lost(struct cached *cached, u64 seed)
{
	char *again;

	ksm_check(ksm_access_fails(cached->mem), "the bad page can be read");
	ksm_check(ksm_access_fails(cached->mem + psize()), "there is a copy of the bad page");
	check_frame_is_unused(cached->mem, 2, cached->pfn);
	ksm_verify_unique(cached->other, PAGES, seed);

	again = ksm_map_equal(PAGES, seed);
	ksm_merge(again, PAGES);
	check_frame_is_unused(again, PAGES, cached->pfn);
	ksm_verify_equal(again, PAGES, seed);
	ksm_check_sys(munmap(cached->mem, 2 * psize()));
	close(cached->pipe[0]);
	close(cached->pipe[1]);
	ksm_repair(cached->pfn);
}

/* Late: the process is told when it asks for the page. */
static void P65_a_page_that_fails_in_the_swap_cache_is_not_mapped(void)
{
	struct cached cached;

	ksm_need_swap();
	ksm_cgroup_enter("poison");
	fail_in_the_swap_cache(&cached, 8);
	check_that_it_is_lost(&cached, 8);
}

static void switch_swap_off(struct ksm_kid *parent, void *path)
{
	struct cached cached;

	fail_in_the_swap_cache(&cached, 9);
	ksm_check_sys(swapoff(path));
	check_that_it_is_lost(&cached, 9);
}

static void P65_swapoff_maps_no_page_that_failed(void)
{
	ksm_need_swap();
	ksm_cgroup_enter("poison2");
	ksm_swapoff_test(switch_swap_off);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P84_no_page_is_merged_into_a_bad_frame),
	KSM_TEST(P66_every_process_is_told_once),
	KSM_TEST(P66_all_who_map_it_are_told_once_and_nobody_else),
	KSM_TEST(P86_a_parent_that_offers_nothing_is_told),
	KSM_TEST(soft_offline_moves_the_page_and_keeps_content),
	KSM_TEST(P65_a_page_that_fails_in_the_swap_cache_is_not_mapped),
	KSM_TEST(P65_swapoff_maps_no_page_that_failed),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
