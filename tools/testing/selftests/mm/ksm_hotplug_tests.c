// SPDX-License-Identifier: GPL-2.0
/*
 * P56: memory is taken away in which there are KSM pages, or were.  Every page finds a
 * new place or the memory stays; no scan is under way, and no node names a frame that
 * is gone.  Needs DIMMs whose memory is offline when the tests begin.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "ksm_util.h"

#define PAGES	128

static void obey(struct ksm_kid *parent, void *arg)
{
	u64 seed;

	while ((seed = ksm_kid_recv(parent))) {
		ksm_verify_unique(arg, PAGES, seed);
		ksm_kid_send(parent, 0);
	}
}

static void verify(struct ksm_kid *kid, const char *mem, const char *twin, u64 seed)
{
	ksm_verify_unique(mem, PAGES, seed);
	ksm_verify_unique(twin, PAGES, seed);
	ksm_kid_send(kid, seed);
	ksm_kid_recv(kid);
}

/* A page in two mappings and a child's, in memory that goes, comes and goes. */
static void P56_KSM_pages_leave_memory_that_goes_offline(void)
{
	struct ksm_block block = ksm_block_first();
	u64 seed;

	for (seed = 1; seed < 5; seed++) {
		char *mem = ksm_block_map(&block, PAGES, seed);
		char *twin = ksm_block_map(&block, PAGES, seed);
		struct ksm_kid kid;

		ksm_merge(mem, PAGES);
		ksm_merge(twin, PAGES);
		ksm_check_eq(ksm_block_count(&block, 0, mem, PAGES), PAGES);
		ksm_kid_start(&kid, obey, mem);
		ksm_run();
		ksm_block_must_go(&block);

		ksm_check_eq(ksm_block_count(&block, 0, mem, PAGES), 0);
		ksm_check_eq(ksm_block_count(&block, 0, twin, PAGES), 0);
		ksm_check_eq(ksm_block_count(&block, kid.pid, mem, PAGES), 0);
		verify(&kid, mem, twin, seed);
		ksm_wait_scans(2);
		ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
		ksm_check_eq(ksm_knob_get("pages_shared"), PAGES);
		ksm_check_eq(ksm_pfn(mem), ksm_pfn(twin));
		ksm_check_eq(ksm_pfn(mem), ksm_pfn_of(kid.pid, mem));

		ksm_block_online(&block);
		verify(&kid, mem, twin, seed);
		ksm_kid_send(&kid, 0);
		ksm_kid_end(&kid);
		ksm_unmap(mem, PAGES);
		ksm_unmap(twin, PAGES);
		ksm_await(!ksm_knob_get("pages_shared"), 30, "pages_shared stays %ld",
			  ksm_knob_get("pages_shared"));
	}
	ksm_block_must_go(&block);
}

/* ------------------------------------------------------------------------ */
/* A page that stays, because somebody holds it.                            */

struct held {
	struct ksm_block	block;
	char		*mem, *twin;
	int		pipe[2];
	struct ksm_kid	offliner;
};

#define HELD_SEED	10
#define HELD_SECONDS	(5 * KSM_OFFLINE_SECONDS * KSM_PATIENCE) /* more than the test takes */

static void try_to_take_offline(struct ksm_kid *parent, void *arg)
{
	ksm_kid_send(parent, -ksm_block_offline(arg, HELD_SECONDS));
}

/* All but the first page have a new place. While a page moves, it has none. */
static bool others_have_left(const struct held *held)
{
	size_t i;

	for (i = 1; i < PAGES; i++) {
		unsigned long pfn = ksm_pfn(held->mem + i * psize());

		if (!pfn || ksm_block_has(&held->block, pfn))
			return false;
	}
	return true;
}

/* On return one page is still in the block, and nothing else; the kernel keeps trying. */
static void hold_one_page(struct held *held)
{
	struct ksm_block *block = &held->block;

	*block = ksm_block_first();
	held->mem = ksm_block_map(block, PAGES, HELD_SEED);
	held->twin = ksm_block_map(block, PAGES, HELD_SEED);
	ksm_merge(held->mem, PAGES);
	ksm_merge(held->twin, PAGES);
	ksm_pipe_fill(held->pipe, held->mem, 1);
	ksm_run();
	ksm_kid_start(&held->offliner, try_to_take_offline, block);
	ksm_await(others_have_left(held), KSM_OFFLINE_SECONDS / 2, "%zu pages stay",
		  ksm_block_count(block, 0, held->mem, PAGES));
	ksm_await(ksm_block_has(block, ksm_pfn(held->mem)), 30, "the page that is held has moved");
}

static void go_on_trying(void)
{
	long failed = ksm_vmstat("pgmigrate_fail");

	ksm_await(ksm_vmstat("pgmigrate_fail") >= failed + 5, 30, "no attempt to move the page");
}

/* It gives up when it is told to, and then goes through when the page is let go. */
static void let_go(struct held *held)
{
	char *copy = ksm_map(1), *fresh;
	u64 err;

	kill(held->offliner.pid, SIGALRM);
	err = ksm_kid_recv(&held->offliner);
	ksm_check(err == EINTR || err == EBUSY, "offline: %s", strerror(err));
	ksm_kid_end(&held->offliner);

	/* ksmd goes on, with the block as well. */
	ksm_wait_scans(2);
	fresh = ksm_block_map(&held->block, PAGES, HELD_SEED + 1);
	ksm_fill_equal(fresh, PAGES, HELD_SEED + 1);
	ksm_expect(fresh, PAGES, PAGES);
	ksm_verify_equal(fresh, PAGES, HELD_SEED + 1);
	ksm_verify_unique(held->mem, PAGES, HELD_SEED);
	ksm_verify_unique(held->twin, PAGES, HELD_SEED);

	ksm_check_eq(read(held->pipe[0], copy, psize()), psize());
	ksm_verify_unique(copy, 1, HELD_SEED);
	ksm_block_must_go(&held->block);
	ksm_verify_equal(fresh, PAGES, HELD_SEED + 1);
	ksm_verify_unique(held->mem, PAGES, HELD_SEED);
	ksm_verify_unique(held->twin, PAGES, HELD_SEED);
}

/*
 * Between going and gone ksmd must not touch a page; writes, unmerging and reverse
 * mapping go on.
 */
static void P56_nobody_scans_until_it_is_called_off(void)
{
	struct held held;
	long scans, scanned;
	char *fresh;

	hold_one_page(&held);
	scans = ksm_knob_get("full_scans");
	scanned = ksm_knob_get("pages_scanned");
	fresh = ksm_map_equal(PAGES, 20);
	ksm_unmergeable(held.twin, PAGES / 2);
	ksm_check_eq(ksm_ksm_pages(held.twin, PAGES), PAGES / 2);
	ksm_mergeable(held.twin, PAGES);
	ksm_fill_unique(held.mem, PAGES / 2, HELD_SEED);
	go_on_trying();
	ksm_check_eq(ksm_knob_get("full_scans"), scans);
	ksm_check_eq(ksm_knob_get("pages_scanned"), scanned);
	ksm_check_eq(ksm_ksm_pages(fresh, PAGES), 0);
	ksm_verify_unique(held.mem, PAGES, HELD_SEED);
	ksm_verify_unique(held.twin, PAGES, HELD_SEED);

	let_go(&held);
	ksm_expect(fresh, PAGES, PAGES);
	ksm_verify_equal(fresh, PAGES, 20);
}

/* ------------------------------------------------------------------------ */

/*
 * Pages that were freed while ksmd was stopped are still named by their nodes. When the
 * memory is gone these must be, too: who looks at such a frame crashes the kernel.
 */
static void P56_freed_pages_are_forgotten_with_their_memory(void)
{
	struct ksm_block block = ksm_block_first();
	char *mem = ksm_block_map(&block, PAGES, 30), *twin = ksm_block_map(&block, PAGES, 30);

	ksm_merge(mem, PAGES);
	ksm_merge(twin, PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), PAGES);
	ksm_unmap(mem, PAGES);
	ksm_unmap(twin, PAGES);
	ksm_block_must_go(&block);
	ksm_check_eq(ksm_knob_get("pages_shared"), 0);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 0);
	ksm_block_take_out(&block);

	mem = ksm_map_unique(PAGES, 30);
	twin = ksm_map_unique(PAGES, 30);
	ksm_merge(mem, PAGES);
	ksm_merge(twin, PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), PAGES);
	ksm_verify_unique(mem, PAGES, 30);
	ksm_verify_unique(twin, PAGES, 30);
}

/* The same with the pages in use. */
static void P56_KSM_pages_leave_a_DIMM_that_is_taken_out(void)
{
	struct ksm_block block = ksm_block_first();
	char *mem = ksm_block_map(&block, PAGES, 31), *twin = ksm_block_map(&block, PAGES, 31);

	ksm_merge(mem, PAGES);
	ksm_merge(twin, PAGES);
	ksm_run();
	ksm_block_take_out(&block);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	ksm_verify_unique(mem, PAGES, 31);
	ksm_verify_unique(twin, PAGES, 31);
	ksm_wait_scans(2);
	ksm_check_eq(ksm_knob_get("pages_shared"), PAGES);
	ksm_fill_unique(mem, PAGES, 32);
	ksm_verify_unique(twin, PAGES, 31);
	ksm_verify_unique(mem, PAGES, 32);
}

/* ------------------------------------------------------------------------ */

#define USERS	3
#define ROUNDS	4
/* Nobody scans meanwhile, and those who wait for it are not patient for ever. */
#define LOAD_SECONDS	20

struct user {
	struct ksm_block	*block;
	char		*mem;
	struct ksm_kid	kid;
	int		*stop;
};

static void verify_in_a_child(char *mem, u64 seed)
{
	pid_t pid = ksm_check_sys(fork());
	int status;

	if (!pid) {
		ksm_verify_equal(mem, PAGES, seed);
		ksm_fill_equal(mem, PAGES / 4, seed + 1000);
		_exit(0);
	}
	ksm_check_sys(waitpid(pid, &status, 0));
	ksm_check_eq(status, 0);
}

/* When all are ready: write, swap out (others, too), fork and read, until told to stop. */
static void use(struct ksm_kid *parent, void *arg)
{
	struct user *user = arg;
	char *mem = user->mem;
	u64 round = 40;

	ksm_kid_recv(parent);
	do {
		ksm_fill_equal(mem, PAGES, ++round % 2);
		ksm_mergeable(mem, PAGES);
		ksm_wait_scans(1);
		ksm_push_out(mem, PAGES / 2);
		verify_in_a_child(mem, round % 2);
		ksm_unmergeable(mem, PAGES / 4);
		ksm_verify_equal(mem, PAGES, round % 2);
	} while (!__atomic_load_n(user->stop, __ATOMIC_SEQ_CST));
	ksm_kid_send(parent, 0);
	ksm_kid_recv(parent);
	ksm_verify_equal(mem, PAGES, round % 2);
}

static size_t count_of_all(struct user *users)
{
	size_t i, count = 0;

	for (i = 0; i < USERS; i++)
		count += ksm_block_count(users[i].block, users[i].kid.pid, users[i].mem, PAGES);
	return count;
}

static void P56_memory_goes_offline_under_load(void)
{
	struct ksm_block block;
	struct user users[USERS];
	int *stop, i, err;

	ksm_need_swap();
	ksm_cgroup_enter("hotplug");
	block = ksm_block_first();
	stop = mmap(NULL, psize(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ksm_check(stop != MAP_FAILED, "mmap: %m");
	ksm_run();
	for (i = 0; i < USERS; i++) {
		users[i] = (struct user){ .block = &block, .stop = stop };
		users[i].mem = ksm_block_map(&block, PAGES, 40);
		ksm_kid_start(&users[i].kid, use, &users[i]);
		ksm_unmap(users[i].mem, PAGES);
	}
	for (i = 0; i < USERS; i++)
		ksm_kid_send(&users[i].kid, 0);
	for (i = 0; i < ROUNDS; i++) {
		ksm_await(count_of_all(users) && ksm_knob_get("pages_shared"), 60,
			  "%zu pages in the block, pages_shared %ld", count_of_all(users),
			  ksm_knob_get("pages_shared"));
		err = ksm_block_offline(&block, LOAD_SECONDS);
		ksm_check(!err || err == -EBUSY || err == -EINTR, "offline: %s", strerror(-err));
		if (!err)
			ksm_block_online(&block);
	}
	__atomic_store_n(stop, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < USERS; i++)
		ksm_kid_recv(&users[i].kid);
	ksm_block_must_go(&block);
	for (i = 0; i < USERS; i++) {
		ksm_kid_send(&users[i].kid, 0);
		ksm_kid_end(&users[i].kid);
	}
}

static const struct ksm_test tests[] = {
	KSM_TEST_LONG(P56_KSM_pages_leave_memory_that_goes_offline, 300),
	KSM_TEST_LONG(P56_nobody_scans_until_it_is_called_off, 300),
	KSM_TEST_LONG(P56_memory_goes_offline_under_load, 600),
	KSM_TEST_LONG(P56_freed_pages_are_forgotten_with_their_memory, 300),
	KSM_TEST_LONG(P56_KSM_pages_leave_a_DIMM_that_is_taken_out, 300),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
