// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that share KSM pages and do what a test tells them.
 *
 * Floor 4: knows helper processes, merging and the machine.
 */
#include <sys/mman.h>

#include "ksm_knob.h"
#include "ksm_memory.h"
#include "ksm_merge.h"
#include "ksm_proc.h"
#include "ksm_sharer.h"
#include "ksm_sys.h"
#include "vm_util.h"

struct start {
	size_t	pages;
	u64	seed;
};

/* State of the sharer's own process. */
struct own {
	char		*mem;
	size_t		pages;
	struct ksm_kid	child;
};

static void obey(struct ksm_kid *parent, void *arg);

static void carry_out(struct own *own, int order, u64 arg)
{
	switch (order) {
	case KSM_VERIFY:
		ksm_verify_equal(own->mem, own->pages, arg);
		break;
	case KSM_FILL:
		ksm_fill_equal(own->mem, own->pages, arg);
		break;
	case KSM_ADVISE:
		ksm_check_sys(madvise(own->mem, own->pages * psize(), arg));
		break;
	case KSM_SWAP_OUT:
		ksm_swap_out(own->mem, own->pages);
		break;
	case KSM_FLUSH_TLB:
		ksm_flush_tlb();
		break;
	case KSM_FORK:
		ksm_kid_start(&own->child, obey, own);
		break;
	default:
		ksm_fail("no such order: %d", order);
	}
}

/* The child answers; this process only carries the messages. */
static void relay(struct own *own, int order, u64 arg)
{
	ksm_kid_send(&own->child, order);
	ksm_kid_send(&own->child, arg);
	ksm_kid_recv_value(&own->child, order);
	if (order == KSM_QUIT)
		ksm_kid_end(&own->child);
}

static void obey(struct ksm_kid *parent, void *arg)
{
	struct own own = *(struct own *)arg;

	for (;;) {
		int order = ksm_kid_recv(parent);
		u64 value = ksm_kid_recv(parent);

		if (order & KSM_CHILD)
			relay(&own, order & ~KSM_CHILD, value);
		else if (order != KSM_QUIT)
			carry_out(&own, order, value);
		ksm_kid_send(parent, order);
		if (order == KSM_QUIT)
			return;
	}
}

static void share(struct ksm_kid *parent, void *arg)
{
	struct start *start = arg;
	struct own own = {
		.mem = ksm_map_equal(start->pages, start->seed),
		.pages = start->pages,
	};

	ksm_kid_send(parent, (uintptr_t)own.mem);
	obey(parent, &own);
}

void ksm_sharers_start(struct ksm_sharer *all, unsigned int count, size_t pages, u64 seed)
{
	struct start start = { .pages = pages, .seed = seed };
	unsigned int i;

	for (i = 0; i < count; i++)
		ksm_kid_start(&all[i].kid, share, &start);
	for (i = 0; i < count; i++) {
		all[i].mem = (char *)(uintptr_t)ksm_kid_recv(&all[i].kid);
		all[i].pages = pages;
	}
}

size_t ksm_sharers_merged(const struct ksm_sharer *all, unsigned int count)
{
	struct ksm_area area;
	size_t merged = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		ksm_area(all[i].kid.pid, all[i].mem, all[i].pages, &area);
		merged += area.ksm;
	}
	return merged;
}

/* All pages of all of them become KSM pages; then ksmd is stopped. */
void ksm_sharers_merge(struct ksm_sharer *all, unsigned int count)
{
	size_t merged = 0, want = all->pages * count;
	int scan;

	ksm_run();
	for (scan = 0; scan < KSM_MERGE_SCANS && merged < want; scan++) {
		ksm_wait_scans(1);
		merged = ksm_sharers_merged(all, count);
	}
	ksm_stop();
	ksm_check(merged == want, "%zu of %zu pages are KSM pages after %d scans", merged, want,
		  scan);
}

void ksm_sharer_do(struct ksm_sharer *sharer, int order, u64 arg)
{
	ksm_kid_send(&sharer->kid, order);
	ksm_kid_send(&sharer->kid, arg);
	ksm_kid_recv_value(&sharer->kid, order);
}

void ksm_sharers_do(struct ksm_sharer *all, unsigned int count, int order, u64 arg)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		ksm_sharer_do(&all[i], order, arg);
}

void ksm_sharers_end(struct ksm_sharer *all, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		ksm_sharer_do(&all[i], KSM_QUIT, 0);
		ksm_kid_end(&all[i].kid);
	}
}
