// SPDX-License-Identifier: GPL-2.0
/*
 * Races that are rare, with one side held up in the middle (ksm_slow.h), and what another
 * CPU still has of a page.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "ksm_slow.h"

#define HELD_MS		200

/* By its old name no lock is found any more, and nobody is held up. */
static void check_held(u64 since)
{
	u64 ms = ksm_now_ms() - since;

	ksm_check(ms >= HELD_MS, "held up for %llu ms, not for %d", ms, HELD_MS);
}

/* Pages of its own, for as long as the parent wants. */
static void offer_and_wait(struct ksm_kid *parent, void *arg)
{
	ksm_stay_on_cpu(0, 1);
	ksm_map_unique(2, 1);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
}

static void offer_slowly(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map(2);
	u64 begin;

	ksm_stay_on_cpu(0, 0);
	ksm_fill_equal(mem, 2, 2);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	begin = ksm_now_ms();
	ksm_mergeable(mem, 2);
	check_held(begin);
	ksm_kid_send(parent, 0);
	ksm_await(ksm_ksm_pages(mem, 2) == 2, 10,
		  "not merged after 10 s: ksmd was not woken up");
	ksm_verify_equal(mem, 2, 2);
}

static void register_while_the_last_leaves(struct ksm_kid *parent, void *arg)
{
	struct ksm_kid leaving, coming;
	pid_t ksmd = ksm_find_ksmd();

	ksm_stay_on_cpu(0, 1);
	ksm_stay_on_cpu(ksmd, 1);
	ksm_run();
	ksm_kid_start(&leaving, offer_and_wait, NULL);
	ksm_kid_recv(&leaving);
	ksm_wait_scans(2);
	ksm_kid_start(&coming, offer_slowly, NULL);
	ksm_kid_recv(&coming);
	/* What waits in the first CPU's lists is drained: later ksmd would wait for it. */
	ksm_wait_scans(4);

	ksm_slow_begin("lock_acquire", coming.pid, "ksm_mm*", HELD_MS);
	ksm_kid_send(&coming, 0);
	usleep(HELD_MS * 1000 / 4);
	ksm_kid_kill(&leaving, SIGKILL);
	ksm_kid_recv(&coming);
	ksm_slow_end();
	ksm_kid_end(&coming);
}

/*
 * P41: a process registers itself, and is held up before the lock of the list; there
 * the last one that is registered exits, and ksmd goes to sleep.
 */
static void P41_registering_while_the_last_one_leaves_wakes_ksmd(void)
{
	ksm_slow_test(register_while_the_last_leaves);
}

/*
 * A thread that write-protects two pages, of two page tables, and flushes the TLB at
 * the end.  It is slow where it goes from the first to the second.
 */
struct protector {
	int	uffd;
	char	*pages;
	pid_t	tid;	/* set when it is about to begin */
	bool	go;
	bool	seen;	/* the other thread has seen the first page protected */
};

static void await_flag(const bool *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_SEQ_CST))
		ksm_nap();
}

static void *protect_and_release(void *arg)
{
	struct protector *this = arg;
	u64 begin;

	ksm_stay_on_cpu(0, 0);
	__atomic_store_n(&this->tid, gettid(), __ATOMIC_SEQ_CST);
	await_flag(&this->go);
	begin = ksm_now_ms();
	ksm_uffd_wp(this->uffd, this->pages, 2, true);
	check_held(begin);
	ksm_slow_end();
	/* However late the other thread is; by now it may wait for what comes. */
	await_flag(&this->seen);
	ksm_uffd_wp(this->uffd, this->pages, 2, false);
	return NULL;
}

static pthread_t start_protector(struct protector *this, char *pages)
{
	pthread_t thread;

	*this = (struct protector) { .uffd = ksm_uffd_open(), .pages = pages };
	ksm_uffd_wp_register(this->uffd, pages, 2);
	ksm_check(!pthread_create(&thread, NULL, protect_and_release, this), "no thread");
	ksm_await(__atomic_load_n(&this->tid, __ATOMIC_SEQ_CST), 5, "the thread does not start");
	return thread;
}

/* The last page of one page table and the first of the next. */
static char *map_two_pages(void)
{
	size_t table = psize() / sizeof(void *) * psize();
	char *mem = ksm_map(2 * table / psize());
	char *pages = (char *)(((uintptr_t)mem + table) / table * table) - psize();

	ksm_fill_unique(pages, 2, 4);
	ksm_mergeable(pages, 2);
	return pages;
}

/*
 * Nothing but this process and kernel threads may run on the second CPU from the first
 * write to the second, or its TLB entry is gone.
 */
static void write_by_an_old_TLB_entry(struct ksm_kid *parent, void *arg)
{
	struct protector protector;
	struct ksm_sharer other;
	pthread_t thread;
	char *page;

	ksm_stay_on_cpu(0, 1);
	ksm_stay_on_cpu(ksm_find_ksmd(), 1);
	/* Seen first in each round, so that our page becomes the KSM page. */
	ksm_sharers_start(&other, 1, 1, 3);
	page = map_two_pages();
	thread = start_protector(&protector, page);
	ksm_run();
	ksm_wait_scans(4);
	ksm_stop();

	ksm_slow_begin("lock_acquire", protector.tid, "ptlock*", HELD_MS);
	__atomic_store_n(&protector.go, true, __ATOMIC_SEQ_CST);
	ksm_fill_page(page, 3);
	while (!ksm_uffd_wp_is_set(page))
		;
	__atomic_store_n(&protector.seen, true, __ATOMIC_SEQ_CST);
	ksm_run();
	usleep(HELD_MS * 1000 / 2);
	ksm_fill_page(page, 5);
	pthread_join(thread, NULL);

	ksm_verify_equal(page, 1, 5);
	ksm_sharer_do(&other, KSM_VERIFY, 3);
	ksm_sharers_end(&other, 1);
}

/* P4: a PTE that looks read-only may be written through until the TLB is flushed. */
static void P4_a_flush_that_another_thread_owes(void)
{
	ksm_slow_test(write_by_an_old_TLB_entry);
}

/*
 * A thread that reads a word, and does nothing else: what its CPU knows of the page it
 * forgets at the next tick, perhaps.
 */
struct reader {
	u64		*word;
	u64		old;
	bool		written;	/* it is another word now */
	unsigned long	reads;
	bool		stale;
	bool		stop;
};

static void *read_on(void *arg)
{
	struct reader *this = arg;
	bool written;
	u64 *word;

	ksm_stay_on_cpu(0, 1);
	while (!__atomic_load_n(&this->stop, __ATOMIC_SEQ_CST)) {
		word = __atomic_load_n(&this->word, __ATOMIC_SEQ_CST);
		written = __atomic_load_n(&this->written, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == this->old && written)
			__atomic_store_n(&this->stale, true, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&this->reads, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void let_read(struct reader *this)
{
	unsigned long reads = __atomic_load_n(&this->reads, __ATOMIC_SEQ_CST) + 1000;

	ksm_await(__atomic_load_n(&this->reads, __ATOMIC_SEQ_CST) >= reads, 10,
		  "the thread does not read");
}

#define TURNS	16

/* Memory becomes private while another CPU reads it: it reads what is written from then on. */
static void no_CPU_goes_on_to_read_the_KSM_page(void)
{
	char *mem = ksm_map_equal(2 * TURNS, 7), *page;
	struct reader reader = { .word = (u64 *)mem, .old = *(u64 *)mem };
	pthread_t thread;
	int turn;

	ksm_stay_on_cpu(0, 0);
	ksm_merge(mem, 2 * TURNS);
	ksm_check(!pthread_create(&thread, NULL, read_on, &reader), "no thread");
	for (turn = 0; turn < TURNS; turn++) {
		page = mem + 2 * turn * psize();
		__atomic_store_n(&reader.word, (u64 *)page, __ATOMIC_SEQ_CST);
		let_read(&reader);
		ksm_unmergeable(page, 2);
		__atomic_store_n((u64 *)page, ~reader.old, __ATOMIC_SEQ_CST);
		__atomic_store_n(&reader.written, true, __ATOMIC_SEQ_CST);
		let_read(&reader);
		ksm_check(!__atomic_load_n(&reader.stale, __ATOMIC_SEQ_CST),
			  "turn %d: another CPU reads what the KSM page holds", turn);
		/* It may have looked where it reads before. */
		__atomic_store_n(&reader.written, false, __ATOMIC_SEQ_CST);
		let_read(&reader);
		*(u64 *)page = reader.old;
	}
	__atomic_store_n(&reader.stop, true, __ATOMIC_SEQ_CST);
	ksm_check(!pthread_join(thread, NULL), "the thread does not end");
	ksm_verify_equal(mem, 2 * TURNS, 7);
}

#define MANY	256

static int handled;

static void handle(int sig)
{
	__atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
}

/* 16 pages are copied at a time, and it is slow twice each time: that takes six seconds. */
static void unmerge_slowly(struct ksm_kid *parent, void *arg)
{
	struct sigaction action = { .sa_handler = handle };
	char *mem = ksm_map_equal(MANY, 8);
	size_t left;
	int err;

	ksm_stay_on_cpu(0, 0);
	ksm_check_sys(sigaction(SIGUSR1, &action, NULL));
	ksm_merge(mem, MANY);
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	err = madvise(mem, MANY * psize(), MADV_UNMERGEABLE) ? errno : 0;
	ksm_slow_end();
	ksm_check_eq(err, EINTR);
	ksm_check_eq(handled, 1);
	left = ksm_ksm_pages(mem, MANY);
	ksm_check(left && left < MANY, "%zu of %d pages are KSM pages", left, MANY);
	ksm_check(ksm_vma_has(mem, "mg"), "it is not offered any more");
	ksm_verify_equal(mem, MANY, 8);

	ksm_unmergeable(mem, MANY);
	ksm_check_eq(ksm_ksm_pages(mem, MANY), 0);
	ksm_verify_equal(mem, MANY, 8);
}

static void signal_when_some_are_unmerged(struct ksm_kid *parent, void *arg)
{
	struct ksm_kid kid;
	long copied;

	ksm_stay_on_cpu(0, 1);
	ksm_kid_start(&kid, unmerge_slowly, NULL);
	ksm_kid_recv(&kid);
	copied = ksm_vmstat("cow_ksm");
	ksm_slow_begin("lock_acquire", kid.pid, "ptlock*", HELD_MS);
	ksm_kid_send(&kid, 0);
	ksm_await(ksm_vmstat("cow_ksm") > copied, 10, "nothing is unmerged");
	kill(kid.pid, SIGUSR1);
	ksm_kid_end(&kid);
}

/* P23: a signal does not wait until all is copied that a call asks for. */
static void P23_a_signal_ends_an_unmerge_half_way(void)
{
	ksm_slow_test(signal_when_some_are_unmerged);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P41_registering_while_the_last_one_leaves_wakes_ksmd),
	KSM_TEST(P4_a_flush_that_another_thread_owes),
	KSM_TEST(no_CPU_goes_on_to_read_the_KSM_page),
	KSM_TEST(P23_a_signal_ends_an_unmerge_half_way),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
