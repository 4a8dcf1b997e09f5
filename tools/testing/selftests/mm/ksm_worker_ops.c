// SPDX-License-Identifier: GPL-2.0
/*
 * What a worker does to its memory.
 *
 * Most halves of pages are filled from a small pool, so that there are twins
 * everywhere.
 *
 * Floor 6: knows the memory, not the threads and children that work on it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>

#include "ksm_worker_ops.h"

#define POOL		16
#define HAMMER_PAGES	3
#define HAMMER_BLOWS	200

const char * const worker_op_names[NR_WORKER_OPS] = {
	[OP_WRITE] = "write", [OP_WRITE_REMOTE] = "vm_writev", [OP_WRITE_SYSCALL] = "read",
	[OP_HAMMER] = "hammer", [OP_VERIFY] = "verify", [OP_DISCARD] = "dontneed",
	[OP_FREE] = "madvfree", [OP_MAP_ANEW] = "mmap", [OP_UNMERGE] = "unmerge",
	[OP_OFFER] = "offer", [OP_MOVE] = "mremap", [OP_EXCHANGE] = "exchange",
	[OP_PROTECT] = "mprotect", [OP_PAGE_OUT] = "pageout", [OP_HUGE] = "huge",
	[OP_LOCK] = "mlock", [OP_PIN] = "pin", [OP_MIGRATE] = "migrate",
	[OP_PRCTL] = "prctl", [OP_FORK] = "fork", [OP_EXEC] = "exec",
};

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

/* The halves that this thread owns, each filled from a seed of its own. */
static void fill_range(struct task *task, const struct range *range, put_fn put, const u64 *seed)
{
	size_t i, which;

	for (i = range->first; i < range->first + range->pages; i++) {
		for (which = 0; which < 2; which++) {
			struct half *half = &range->region->half[i][which];

			if (!worker_owns_half(task, range->region, which))
				continue;
			put(task, worker_page_at(range->region, i) + which * psize() / 2,
			    psize() / 2, seed[which]);
			half->seed = seed[which];
			half->state = SEEDED;
		}
	}
}

static void write_pages(struct task *task, put_fn put)
{
	struct range range = worker_choose(task, worker_any_region(task), false);
	u64 seed[2] = { new_seed(task), new_seed(task) };

	fill_range(task, &range, put, seed);
	if (!worker_draw(task, 4))
		worker_verify_range(task, &range);
	worker_release(task, &range);
}

/*
 * The same few pages again and again, with the same few contents, so that a merge
 * is sure to meet a write: of this thread to its own region, of both to the common
 * one, where whoever writes has but half of each page.
 */
static void hammer(struct task *task)
{
	struct range range = worker_choose(task, worker_any_region(task), false);
	unsigned int blow;

	range.first %= HAMMER_PAGES;
	if (range.pages > HAMMER_PAGES)
		range.pages = HAMMER_PAGES;
	for (blow = 0; blow < HAMMER_BLOWS; blow++) {
		u64 seed[2] = { 1 + blow % 2, 1 + blow % 3 };

		fill_range(task, &range, put_by_storing, seed);
		worker_verify_range(task, &range);
	}
	worker_release(task, &range);
}

static void now_zero(const struct range *range)
{
	memset(range->region->half[range->first], 0, range->pages * sizeof(range->region->half[0]));
}

/* madvise() that may fail for want of memory only, and then has done no harm. */
static bool advise(const struct range *range, int advice)
{
	if (!madvise(worker_range_mem(range), worker_range_len(range), advice))
		return true;
	ksm_check(errno == EAGAIN || errno == ENOMEM, "madvise %d: %m", advice);
	return false;
}

static void discard(struct task *task, struct range *range)
{
	/* Locked pages may not be discarded. */
	ksm_check_sys(munlock(worker_range_mem(range), worker_range_len(range)));
	if (advise(range, MADV_DONTNEED))
		now_zero(range);
}

static void free_lazily(struct task *task, struct range *range)
{
	size_t i, which;

	ksm_check_sys(munlock(worker_range_mem(range), worker_range_len(range)));
	if (!advise(range, MADV_FREE))
		return;
	for (i = range->first; i < range->first + range->pages; i++)
		for (which = 0; which < 2; which++)
			if (range->region->half[i][which].state == SEEDED)
				range->region->half[i][which].state = MAYBE_ZERO;
}

static void map_anew(struct task *task, struct range *range)
{
	char *mem = worker_range_mem(range);

	ksm_check(mmap(mem, worker_range_len(range), PROT_READ | PROT_WRITE,
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
	worker_find_place(region);
	move(old.mem, region->mem, REGION_PAGES, flags);
	/* What stays behind is pages of zeros, and may be used, and merged. */
	if (flags)
		ksm_fill_equal(old.mem + range->first * psize(), range->pages, 1);
	worker_verify_range(task, range);
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
	char *a = worker_range_mem(range), *b = a + pages * psize(), *aside;

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
	worker_verify_range(task, range);
}

static void protect(struct task *task, struct range *range)
{
	char *mem = worker_range_mem(range);
	size_t len = worker_range_len(range);

	ksm_check_sys(mprotect(mem, len, PROT_READ));
	worker_verify_range(task, range);
	ksm_check_sys(mprotect(mem, len, PROT_READ | PROT_WRITE));
}

static void page_out(struct task *task, struct range *range)
{
	madvise(worker_range_mem(range), worker_range_len(range),
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
	worker_verify_range(task, range);
}

static void lock_pages(struct task *task, struct range *range)
{
	mlock(worker_range_mem(range), worker_range_len(range));
	worker_verify_range(task, range);
	if (worker_draw(task, 4))
		ksm_check_sys(munlock(worker_range_mem(range), worker_range_len(range)));
}

/* A pipe holds the pages for a moment. */
static void pin(struct task *task, struct range *range)
{
	struct iovec pages = {
		.iov_base = worker_range_mem(range),
		.iov_len = worker_range_len(range),
	};
	char text[65536];
	ssize_t held = vmsplice(task->pipe[1], &pages, 1, SPLICE_F_NONBLOCK);

	worker_verify_range(task, range);
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
		ksm_move_page(0, worker_range_mem(range) + i * psize(), node);
	worker_verify_range(task, range);
}

/* Which operations leave the mapping as it is. */
static bool is_harmless(enum worker_op op)
{
	return op == OP_VERIFY || op == OP_OFFER || op == OP_UNMERGE || op == OP_PAGE_OUT ||
	       op == OP_MIGRATE || op == OP_LOCK || op == OP_PIN || op == OP_PRCTL;
}

static void verify_op(struct task *task, struct range *range)
{
	worker_verify_range(task, range);
}

static void switch_prctl(struct task *task, struct range *range)
{
	ksm_prctl_merge(worker_draw(task, 2));
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
	case OP_HAMMER:
		hammer(task);
		break;
	default:
		/* Some of these need no exclusion, and are better without. */
		range = worker_choose(task, worker_any_region(task),
				      !is_harmless(op) || worker_draw(task, 2));
		range_ops[op](task, &range);
		worker_release(task, &range);
	}
}
