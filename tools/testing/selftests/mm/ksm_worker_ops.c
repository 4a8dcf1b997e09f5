// SPDX-License-Identifier: GPL-2.0
/*
 * What a worker does to its memory, and what its memory then has to hold.
 *
 * Most halves of pages are filled from a small pool, so that there are twins
 * everywhere.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>

#include "ksm_worker.h"

#define POOL		16
#define RANGE		24	/* pages that one operation is about, at most */
#define HUGE_PAGES	512
#define HUGE_AT		64	/* the page of a region where a huge one may begin */
#define ROOM_PAGES	(REGION_PAGES + HUGE_PAGES)

u64 worker_draw(struct task *task, u64 below)
{
	task->random ^= task->random << 13;
	task->random ^= task->random >> 7;
	task->random ^= task->random << 17;
	return (task->random >> 11) % below;
}

static void find_place(struct region *region)
{
	uintptr_t huge = HUGE_PAGES * psize(), at;

	region->room = ksm_map(ROOM_PAGES);
	at = (uintptr_t)region->room + HUGE_AT * psize();
	region->mem = (char *)((at + huge - 1) / huge * huge) - HUGE_AT * psize();
}

void worker_map_region(struct region *region)
{
	find_place(region);
	ksm_mergeable(region->mem, REGION_PAGES);
}

static bool is_common(const struct task *task, const struct region *region)
{
	return region == &task->worker->common;
}

/* A child has but one thread, and the lock of its parent's other thread is of no use. */
static struct range choose(struct task *task, bool for_mapping)
{
	struct worker *worker = task->worker;
	struct range range = { .region = worker_draw(task, 2) ? &worker->common : &task->own };

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

static void release(struct task *task, const struct range *range)
{
	if (!range->locked)
		return;
	task->exclusive = false;
	pthread_rwlock_unlock(&task->worker->lock);
}

static char *page_at(const struct region *region, size_t page)
{
	return region->mem + page * psize();
}

static char *range_mem(const struct range *range)
{
	return page_at(range->region, range->first);
}

static size_t range_len(const struct range *range)
{
	return range->pages * psize();
}

static bool owns_half(const struct task *task, const struct region *region, unsigned int which)
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
			if (owns_half(task, region, half))
				verify_half(page_at(region, i) + half * psize() / 2,
					    &region->half[i][half]);
	__atomic_fetch_add(&task->worker->stats->verified, pages, __ATOMIC_RELAXED);
}

static void verify_range(struct task *task, const struct range *range)
{
	verify_pages(task, range->region, range->first, range->pages);
}

static u64 new_seed(struct task *task)
{
	return worker_draw(task, 5) ? 1 + worker_draw(task, POOL) : task->random;
}

/* How the bytes get there is what differs between kinds of writing. */
typedef void (*put_fn)(struct task *task, char *to, size_t len, u64 seed);

static void put_by_storing(struct task *task, char *to, size_t len, u64 seed)
{
	ksm_fill(to, len, seed);
}

static void put_from_outside(struct task *task, char *to, size_t len, u64 seed)
{
	char text[65536];
	struct iovec local = { .iov_base = text, .iov_len = len };
	struct iovec remote = { .iov_base = to, .iov_len = len };

	ksm_fill(text, len, seed);
	ksm_check_eq(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), len);
}

static void put_by_syscall(struct task *task, char *to, size_t len, u64 seed)
{
	char text[65536];

	ksm_fill(text, len, seed);
	ksm_check_eq(write(task->pipe[1], text, len), len);
	ksm_check_eq(read(task->pipe[0], to, len), len);
}

static void write_pages(struct task *task, put_fn put)
{
	struct range range = choose(task, false);
	u64 seed[2] = { new_seed(task), new_seed(task) };
	size_t i, which;

	for (i = range.first; i < range.first + range.pages; i++) {
		for (which = 0; which < 2; which++) {
			struct half *half = &range.region->half[i][which];

			if (!owns_half(task, range.region, which))
				continue;
			put(task, page_at(range.region, i) + which * psize() / 2, psize() / 2,
			    seed[which]);
			half->seed = seed[which];
			half->state = SEEDED;
		}
	}
	if (!worker_draw(task, 4))
		verify_range(task, &range);
	release(task, &range);
}

static void now_zero(const struct range *range)
{
	memset(range->region->half[range->first], 0, range->pages * sizeof(range->region->half[0]));
}

/* madvise() that may fail for want of memory only, and then has done no harm. */
static bool advise(const struct range *range, int advice)
{
	if (!madvise(range_mem(range), range_len(range), advice))
		return true;
	ksm_check(errno == EAGAIN || errno == ENOMEM, "madvise %d: %m", advice);
	return false;
}

static void discard(struct task *task, struct range *range)
{
	/* Locked pages may not be discarded. */
	ksm_check_sys(munlock(range_mem(range), range_len(range)));
	if (advise(range, MADV_DONTNEED))
		now_zero(range);
}

static void free_lazily(struct task *task, struct range *range)
{
	size_t i, which;

	ksm_check_sys(munlock(range_mem(range), range_len(range)));
	if (!advise(range, MADV_FREE))
		return;
	for (i = range->first; i < range->first + range->pages; i++)
		for (which = 0; which < 2; which++)
			if (range->region->half[i][which].state == SEEDED)
				range->region->half[i][which].state = MAYBE_ZERO;
}

static void map_anew(struct task *task, struct range *range)
{
	char *mem = range_mem(range);

	ksm_check(mmap(mem, range_len(range), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem, "mmap: %m");
	now_zero(range);
	advise(range, MADV_MERGEABLE);
}

static void unmerge(struct task *task, struct range *range)
{
	advise(range, MADV_UNMERGEABLE);
}

static void offer(struct task *task, struct range *range)
{
	advise(range, MADV_MERGEABLE);
}

static void lock_holes(struct task *task)
{
	if (!task->depth)
		pthread_mutex_lock(&task->worker->holes);
}

static void unlock_holes(struct task *task)
{
	if (!task->depth)
		pthread_mutex_unlock(&task->worker->holes);
}

/* In one piece if it is one VMA, which mremap() insists on; else in halves. */
static void move(char *from, char *to, size_t pages, int flags)
{
	size_t half = pages / 2;
	char *got = mremap(from, pages * psize(), pages * psize(),
			   MREMAP_MAYMOVE | MREMAP_FIXED | flags, to);

	if (got == to)
		return;
	ksm_check(errno == EFAULT && half, "mremap of %zu pages: %m", pages);
	move(from, to, half, flags);
	move(from + half * psize(), to + half * psize(), pages - half, flags);
}

static void move_region(struct task *task, struct range *range)
{
	struct region *region = range->region, old = *region;
	int flags = worker_draw(task, 2) ? MREMAP_DONTUNMAP : 0;

	lock_holes(task);
	find_place(region);
	move(old.mem, region->mem, REGION_PAGES, flags);
	/* What stays behind is pages of zeros, and may be used, and merged. */
	if (flags)
		ksm_fill_equal(old.mem + range->first * psize(), range->pages, 1);
	verify_range(task, range);
	if (flags)
		ksm_verify_equal(old.mem + range->first * psize(), range->pages, 1);
	ksm_unmap(old.room, ROOM_PAGES);
	unlock_holes(task);
}

/* The two halves of a range change places. */
static void exchange(struct task *task, struct range *range)
{
	struct half (*half)[2] = &range->region->half[range->first], kept[RANGE][2];
	size_t pages = range->pages / 2, size = pages * sizeof(*half);
	char *a = range_mem(range), *b = a + pages * psize(), *aside;

	if (!pages)
		return;
	lock_holes(task);
	aside = ksm_map(pages);
	move(a, aside, pages, 0);
	move(b, a, pages, 0);
	move(aside, b, pages, 0);
	memcpy(kept, half, size);
	memcpy(half, half + pages, size);
	memcpy(half + pages, kept, size);
	ksm_unmap(aside, pages);
	unlock_holes(task);
	verify_range(task, range);
}

static void protect(struct task *task, struct range *range)
{
	ksm_check_sys(mprotect(range_mem(range), range_len(range), PROT_READ));
	verify_range(task, range);
	ksm_check_sys(mprotect(range_mem(range), range_len(range), PROT_READ | PROT_WRITE));
}

static void page_out(struct task *task, struct range *range)
{
	madvise(range_mem(range), range_len(range),
		worker_draw(task, 4) ? MADV_PAGEOUT : MADV_COLD);
}

static void make_huge(struct task *task, struct range *range)
{
	char *mem = range->region->mem;
	size_t len = REGION_PAGES * psize();

	/* All three may be refused: nothing hangs on it. */
	madvise(mem, len, worker_draw(task, 3) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (worker_draw(task, 2))
		madvise(mem, len, MADV_COLLAPSE);
	verify_range(task, range);
}

static void lock_pages(struct task *task, struct range *range)
{
	mlock(range_mem(range), range_len(range));
	verify_range(task, range);
	if (worker_draw(task, 4))
		ksm_check_sys(munlock(range_mem(range), range_len(range)));
}

/* A pipe holds the pages for a moment. */
static void pin(struct task *task, struct range *range)
{
	struct iovec pages = { .iov_base = range_mem(range), .iov_len = range_len(range) };
	char text[65536];
	ssize_t held = vmsplice(task->pipe[1], &pages, 1, SPLICE_F_NONBLOCK);

	verify_range(task, range);
	while (held > 0) {
		ssize_t got = read(task->pipe[0], text, sizeof(text));

		ksm_check(got > 0, "reading back from the pipe: %m");
		held -= got;
	}
}

static void migrate(struct task *task, struct range *range)
{
	int node = task->worker->node[worker_draw(task, 2)];
	size_t i;

	for (i = 0; i < range->pages; i++)
		ksm_move_page(0, range_mem(range) + i * psize(), node);
	verify_range(task, range);
}

/* Which operations leave the mapping as it is. */
static bool is_harmless(enum worker_op op)
{
	return op == OP_VERIFY || op == OP_OFFER || op == OP_UNMERGE || op == OP_PAGE_OUT ||
	       op == OP_MIGRATE || op == OP_LOCK || op == OP_PIN || op == OP_PRCTL;
}

static void verify_op(struct task *task, struct range *range)
{
	verify_range(task, range);
}

static void switch_prctl(struct task *task, struct range *range)
{
	ksm_prctl_merge(worker_draw(task, 2));
}

void worker_verify(struct task *task, const struct region *region)
{
	verify_pages(task, region, 0, REGION_PAGES);
}

/* What works on a range whose mapping nobody else may touch meanwhile. */
static void (* const range_ops[NR_WORKER_OPS])(struct task *task, struct range *range) = {
	[OP_DISCARD] = discard, [OP_FREE] = free_lazily, [OP_MAP_ANEW] = map_anew,
	[OP_UNMERGE] = unmerge, [OP_OFFER] = offer, [OP_MOVE] = move_region,
	[OP_EXCHANGE] = exchange, [OP_PROTECT] = protect, [OP_PAGE_OUT] = page_out,
	[OP_HUGE] = make_huge, [OP_LOCK] = lock_pages, [OP_PIN] = pin,
	[OP_MIGRATE] = migrate, [OP_PRCTL] = switch_prctl, [OP_VERIFY] = verify_op,
};

void worker_do(struct task *task, enum worker_op op)
{
	struct range range;

	switch (op) {
	case OP_WRITE:
		write_pages(task, put_by_storing);
		break;
	case OP_WRITE_REMOTE:
		write_pages(task, put_from_outside);
		break;
	case OP_WRITE_SYSCALL:
		write_pages(task, put_by_syscall);
		break;
	default:
		/* Some of these need no exclusion, and are better without. */
		range = choose(task, !is_harmless(op) || worker_draw(task, 2));
		range_ops[op](task, &range);
		release(task, &range);
	}
}
