// SPDX-License-Identifier: GPL-2.0
/*
 * A worker's memory, and what it has to hold.
 *
 * Floor 5: knows who may write and what was written, not by which operation.
 */
#include <stdio.h>

#include "ksm_worker_memory.h"

#define HUGE_AT		64	/* the page of a region where a huge one may begin */

u64 worker_draw(struct task *task, u64 below)
{
	task->random ^= task->random << 13;
	task->random ^= task->random >> 7;
	task->random ^= task->random << 17;
	return (task->random >> 11) % below;
}

void worker_find_place(struct region *region)
{
	uintptr_t huge = HUGE_PAGES * psize(), at;

	region->room = ksm_map(ROOM_PAGES);
	at = (uintptr_t)region->room + HUGE_AT * psize();
	region->mem = (char *)((at + huge - 1) / huge * huge) - HUGE_AT * psize();
}

void worker_map_region(struct region *region)
{
	worker_find_place(region);
	ksm_mergeable(region->mem, REGION_PAGES);
}

struct region *worker_any_region(struct task *task)
{
	return worker_draw(task, 2) ? &task->worker->common : &task->own;
}

static bool is_common(const struct task *task, const struct region *region)
{
	return region == &task->worker->common;
}

/* A child has but one thread, and the lock of its parent's other thread is of no use. */
struct range worker_choose(struct task *task, struct region *region, bool for_mapping)
{
	struct worker *worker = task->worker;
	struct range range = { .region = region };

	range.pages = 1 + worker_draw(task, RANGE);
	range.first = worker_draw(task, REGION_PAGES - range.pages);
	if (!is_common(task, range.region) || task->depth)
		return range;
	if (for_mapping)
		pthread_rwlock_wrlock(&worker->lock);
	else
		pthread_rwlock_rdlock(&worker->lock);
	task->exclusive = for_mapping;
	range.locked = true;
	return range;
}

void worker_release(struct task *task, const struct range *range)
{
	if (!range->locked)
		return;
	task->exclusive = false;
	pthread_rwlock_unlock(&task->worker->lock);
}

char *worker_page_at(const struct region *region, size_t page)
{
	return region->mem + page * psize();
}

char *worker_range_mem(const struct range *range)
{
	return worker_page_at(range->region, range->first);
}

size_t worker_range_len(const struct range *range)
{
	return range->pages * psize();
}

bool worker_owns_half(const struct task *task, const struct region *region, unsigned int which)
{
	return task->depth || task->exclusive || !is_common(task, region) ||
	       which == task->number;
}

static void verify_half(const char *mem, const struct half *half)
{
	size_t len = psize() / 2, at = 0, zero;
	unsigned char expected = 0;

	if (half->state != ZERO)
		at = ksm_compare(mem, len, half->seed, &expected);
	if (at == len)
		return;
	if (half->state == SEEDED)
		ksm_wrong_byte(mem + at, expected);
	for (zero = 0; zero < len; zero++)
		if (mem[zero])
			ksm_wrong_byte(mem + zero, 0);
}

static void verify_pages(struct task *task, const struct region *region, size_t first,
			 size_t pages)
{
	size_t i, half;

	for (i = first; i < first + pages; i++)
		for (half = 0; half < 2; half++)
			if (worker_owns_half(task, region, half))
				verify_half(worker_page_at(region, i) + half * psize() / 2,
					    &region->half[i][half]);
	__atomic_fetch_add(&task->worker->stats->verified, pages, __ATOMIC_RELAXED);
}

void worker_verify_range(struct task *task, const struct range *range)
{
	verify_pages(task, range->region, range->first, range->pages);
}

void worker_verify(struct task *task, const struct region *region)
{
	verify_pages(task, region, 0, REGION_PAGES);
}
