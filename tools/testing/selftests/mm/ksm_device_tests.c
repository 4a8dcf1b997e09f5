// SPDX-License-Identifier: GPL-2.0
/*
 * A device that takes pages: for itself alone, or into memory of its own.  It is the
 * one that lib/test_hmm.c makes believe.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include <lib/test_hmm_uapi.h>

#include "ksm_util.h"

#define PAGES	64

static int open_device(void)
{
	int fd = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		ksm_skip("/dev/hmm_dmirror0: %m; needs CONFIG_TEST_HMM");
	return fd;
}

/* The device takes pages, and gives a copy of what it sees in them. */
static int take(int fd, unsigned long how, char *mem, char *seen, size_t pages)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)mem, .ptr = (uintptr_t)seen, .npages = pages,
	};

	if (ioctl(fd, how, &cmd))
		return -errno;
	ksm_check_eq(cmd.cpages, pages);
	return 0;
}

static void take_alone(int fd, char *mem, size_t pages, u64 seed)
{
	char *seen = ksm_map(pages);
	size_t i;

	ksm_check_eq(take(fd, HMM_DMIRROR_EXCLUSIVE, mem, seen, pages), 0);
	ksm_verify_equal(seen, pages, seed);
	ksm_unmap(seen, pages);
	/* Nothing is present while the device has them. */
	for (i = 0; i < pages; i++)
		ksm_check(!(ksm_pagemap(0, mem + i * psize()) & PM_PRESENT),
			  "page %zu is not the device's", i);
}

static void P7_what_a_device_has_alone_does_not_merge(void)
{
	int fd = open_device();
	char *mem = ksm_map_equal(PAGES, 1);

	take_alone(fd, mem, PAGES / 2, 1);
	ksm_expect(mem, PAGES, PAGES / 2);
	ksm_wait_scans(3);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES / 2);
	ksm_check_eq(ksm_stat(0, "ksm_merging_pages"), PAGES / 2);
	/* To read it is to take it back. */
	ksm_verify_equal(mem, PAGES, 1);
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 1);
}

static void P7_a_device_takes_KSM_pages(void)
{
	int fd = open_device();
	char *mem = ksm_map_equal(PAGES, 2);

	ksm_merge(mem, PAGES);
	take_alone(fd, mem, PAGES / 2, 2);
	ksm_run();
	ksm_await(ksm_stat(0, "ksm_merging_pages") == PAGES / 2, 20,
		  "%ld pages count as merged", ksm_stat(0, "ksm_merging_pages"));
	ksm_stop();
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_verify_equal(mem, PAGES, 2);
}

static void P7_a_device_takes_pages_under_scan(void)
{
	int fd = open_device();
	char *mem = ksm_map_equal(PAGES, 3), *seen = ksm_map(1), *page;
	unsigned int i;
	int err;

	ksm_run();
	for (i = 0; i < 300; i++) {
		page = mem + i * 7 % PAGES * psize();
		err = take(fd, HMM_DMIRROR_EXCLUSIVE, page, seen, 1);
		/* ksmd may have it locked, or have it back before the device looks. */
		ksm_check(!err || err == -EBUSY || err == -ENOENT, "error %d", err);
		if (!err)
			ksm_verify_equal(seen, 1, 3);
		if (i % 3)
			ksm_fill_page(page, 3);
		if (i % 50 == 0)
			ksm_verify_equal(mem, PAGES, 3);
	}
	/* All that the device still has comes back. */
	ksm_verify_equal(mem, PAGES, 3);
	ksm_expect(mem, PAGES, PAGES);
	ksm_verify_equal(mem, PAGES, 3);
}

/* A page moves if its references are known, each of them: where there are two nodes. */
static void check_nobody_holds(const char *page)
{
	int node[2], to;

	if (ksm_find_nodes(node) < 2)
		return;
	to = ksm_other_node(0, page);
	ksm_check_eq(ksm_move_page(0, page, to), to);
}

/* Its PTEs would lead to where no CPU can read, and its node as well. */
static void KSM_pages_do_not_move_to_a_device(void)
{
	int fd = open_device();
	char *mem = ksm_map_equal(PAGES, 4), *seen = ksm_map(PAGES), *twins;

	ksm_merge(mem, PAGES);
	ksm_check_eq(take(fd, HMM_DMIRROR_MIGRATE_TO_DEV, mem, seen, PAGES), -ENOENT);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), PAGES);
	check_nobody_holds(mem);
	/* Twins are compared with the page, and rounds come by. */
	twins = ksm_map_equal(PAGES, 4);
	ksm_expect(twins, PAGES, PAGES);
	ksm_check_eq(ksm_stat(0, "ksm_merging_pages"), 2 * PAGES);
	ksm_verify_equal(mem, PAGES, 4);
	ksm_verify_equal(twins, PAGES, 4);

	ksm_stop();
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_verify_equal(mem, PAGES, 4);
	/* Now they are the program's alone, and move there and back. */
	ksm_check_eq(take(fd, HMM_DMIRROR_MIGRATE_TO_DEV, mem, seen, PAGES), 0);
	ksm_verify_equal(seen, PAGES, 4);
	ksm_verify_equal(mem, PAGES, 4);
}

static void P72_zero_pages_that_a_device_takes_are_not_counted(void)
{
	int fd = open_device();
	char *mem = ksm_merge_zeros(PAGES), *seen = ksm_map(PAGES);

	ksm_check_eq(take(fd, HMM_DMIRROR_MIGRATE_TO_DEV, mem, seen, PAGES), 0);
	ksm_check_eq(ksm_stat(0, "ksm_zero_pages"), 0);
	ksm_check_eq(ksm_knob_get("ksm_zero_pages"), 0);
	ksm_verify_zeros(seen, PAGES);
	ksm_verify_zeros(mem, PAGES);
	ksm_unmap(mem, PAGES);
	ksm_check_eq(ksm_knob_get("ksm_zero_pages"), 0);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P7_what_a_device_has_alone_does_not_merge),
	KSM_TEST(P7_a_device_takes_KSM_pages),
	KSM_TEST(P7_a_device_takes_pages_under_scan),
	KSM_TEST(KSM_pages_do_not_move_to_a_device),
	KSM_TEST(P72_zero_pages_that_a_device_takes_are_not_counted),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
