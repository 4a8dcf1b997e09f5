// SPDX-License-Identifier: GPL-2.0
/*
 * Have ksmd merge, and see that it did.
 *
 * Floor 3: knows the tunables, memory and what the kernel tells of it.
 */
#include <unistd.h>

#include "ksm_knob.h"
#include "ksm_memory.h"
#include "ksm_merge.h"
#include "ksm_proc.h"

/*
 * Where max_page_sharing has filled all copies of a content, the last page waits until
 * ksmd looks for copies that have lost some of their mappings.
 */
static u64 chain_patience_ms(void)
{
	static const char * const knob = "stable_node_chains_prune_millisecs";

	return ksm_has_knob(knob) ? 2 * ksm_knob_get(knob) : 0;
}

void ksm_expect_of(pid_t pid, const char *mem, size_t pages, size_t want)
{
	u64 end = ksm_now_ms() + chain_patience_ms();
	struct ksm_area area;
	int scan;

	ksm_run();
	for (scan = 0; scan < KSM_MERGE_SCANS || ksm_now_ms() < end; scan++) {
		ksm_wait_scans(1);
		ksm_area(pid, mem, pages, &area);
		if (area.ksm == want && scan > 0)
			return;
	}
	ksm_fail("%zu of %zu pages are KSM pages after %d scans, expected %zu", area.ksm, pages,
		 scan, want);
}

void ksm_expect(const char *mem, size_t pages, size_t want)
{
	ksm_expect_of(0, mem, pages, want);
}

void ksm_merge(const char *mem, size_t pages)
{
	ksm_expect(mem, pages, pages);
	ksm_stop();
}

void ksm_expect_none(const char *mem, size_t pages)
{
	const u64 seed = 0xdec0 + getpid();
	char *pair = ksm_map_equal(2, seed);

	ksm_expect(pair, 2, 2);
	ksm_wait_scans(3);
	ksm_check_eq(ksm_ksm_pages(mem, pages), 0);
	ksm_verify_equal(pair, 2, seed);
	ksm_unmap(pair, 2);
}

void ksm_await_zero_pages(long all)
{
	ksm_run();
	ksm_await(ksm_knob_get("ksm_zero_pages") == all, 30, "ksm_zero_pages is %ld",
		  ksm_knob_get("ksm_zero_pages"));
	ksm_stop();
}

char *ksm_merge_zeros(size_t pages)
{
	char *mem;

	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	mem = ksm_map_zeros(pages);
	ksm_await_zero_pages(pages);
	return mem;
}
