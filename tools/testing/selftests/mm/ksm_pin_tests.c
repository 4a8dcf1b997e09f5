// SPDX-License-Identifier: GPL-2.0
/*
 * Others who hold a page, or write to it behind the page table: pipes, io_uring,
 * long-term pins, direct I/O, other processes.  What they hold must not be
 * replaced, and what they write must arrive.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <linux/loop.h>
#include <mm/gup_test.h>

#include "ksm_ring.h"
#include "ksm_util.h"

#define PAGES	16

/* All pages of a mapping merge, but the last one keeps its frame, and for itself. */
static void check_last_is_spared(char *mem, size_t pages)
{
	char *last = mem + (pages - 1) * psize();
	unsigned long pfn = ksm_pfn(last);

	ksm_expect(mem, pages, pages - 1);
	ksm_wait_scans(3);
	ksm_check_eq(ksm_ksm_pages(mem, pages), pages - 1);
	ksm_check_eq(ksm_pfn(last), pfn);
	ksm_check(ksm_pfn(mem) != pfn, "the held page was merged");
}

static void P1_a_page_in_a_pipe_does_not_merge(void)
{
	char *mem = ksm_map_equal(PAGES, 1), *copy = ksm_map(1);
	int ends[2];

	ksm_pipe_fill(ends, mem + (PAGES - 1) * psize(), 1);
	check_last_is_spared(mem, PAGES);
	ksm_check_eq(read(ends[0], copy, psize()), psize());
	ksm_verify_equal(copy, 1, 1);

	/* Nobody holds it any more. */
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 1);
}

static void a_KSM_page_in_a_pipe_keeps_its_content(void)
{
	char *mem = ksm_map_equal(2, 2), *copy = ksm_map(2);
	int ends[2];

	ksm_merge(mem, 2);
	ksm_pipe_fill(ends, mem, 2);
	ksm_fill_equal(mem, 1, 3);
	ksm_unmergeable(mem, 2);
	ksm_verify_equal(mem, 1, 3);
	ksm_verify_equal(mem + psize(), 1, 2);
	ksm_check_eq(read(ends[0], copy, 2 * psize()), 2 * psize());
	ksm_verify_equal(copy, 2, 2);
}

static int file_of_pages(u64 first_seed, unsigned int seeds, size_t pages_each)
{
	int fd = ksm_check_sys(memfd_create("ksm", MFD_CLOEXEC));
	char *page = ksm_map(1);
	unsigned int i;

	for (i = 0; i < seeds * pages_each; i++) {
		ksm_fill_page(page, first_seed + i / pages_each);
		ksm_check_eq(write(fd, page, psize()), psize());
	}
	ksm_unmap(page, 1);
	return fd;
}

static void P1_io_uring_buffers_do_not_merge(void)
{
	char *mem = ksm_map_equal(PAGES, 4), *last = mem + (PAGES - 1) * psize();
	int fd = file_of_pages(5, 1, 1);
	struct ksm_ring ring;

	ksm_ring_open(&ring);
	ksm_ring_register(&ring, last, psize());
	check_last_is_spared(mem, PAGES);
	ksm_ring_read(&ring, fd, last, psize(), 0);
	ksm_verify_equal(last, 1, 5);
	ksm_verify_equal(mem, PAGES - 1, 4);

	ksm_ring_unregister(&ring);
	ksm_fill_equal(last, 1, 4);
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 4);
}

/* A pin for writing takes the page out of KSM, and keeps the others as they are. */
static void registering_KSM_pages_with_io_uring(void)
{
	char *mem = ksm_map_equal(4, 6), *twin = ksm_map_equal(4, 6);
	int fd = file_of_pages(7, 1, 4);
	struct ksm_ring ring;

	ksm_ring_open(&ring);
	ksm_merge(mem, 4);
	ksm_merge(twin, 4);
	ksm_ring_register(&ring, mem, 4 * psize());
	ksm_check_eq(ksm_ksm_pages(mem, 4), 0);
	ksm_run();
	ksm_wait_scans(3);
	ksm_ring_read(&ring, fd, mem, 4 * psize(), 0);
	ksm_verify_equal(mem, 4, 7);
	ksm_verify_equal(twin, 4, 6);
}

static void pin(int gup, char *mem, size_t pages, unsigned int flags)
{
	struct pin_longterm_test args = {
		.addr = (uintptr_t)mem, .size = pages * psize(), .flags = flags,
	};

	ksm_check_sys(ioctl(gup, PIN_LONGTERM_TEST_START, &args));
}

static void verify_pinned(int gup, size_t pages, u64 seed)
{
	char *copy = ksm_map(pages);
	u64 to = (uintptr_t)copy;

	memset(copy, 0, pages * psize());
	ksm_check_sys(ioctl(gup, PIN_LONGTERM_TEST_READ, &to));
	ksm_verify_equal(copy, pages, seed);
	ksm_unmap(copy, pages);
}

static int gup_open(void)
{
	int gup = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);

	if (gup < 0)
		ksm_skip("/sys/kernel/debug/gup_test: %m");
	return gup;
}

/* P6: a pin for reading sees what is written later: the page must be ours alone. */
static void check_read_only_pin(unsigned int flags)
{
	int gup = gup_open();
	char *mem = ksm_map_equal(PAGES, 8), *twin = ksm_map_equal(PAGES, 8);

	/* Pinned first: ksmd has to leave the pages alone. */
	pin(gup, mem, PAGES, flags);
	ksm_merge(twin, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_fill_equal(mem, PAGES, 9);
	verify_pinned(gup, PAGES, 9);
	ksm_fill_equal(mem, PAGES, 8);
	ksm_check_sys(ioctl(gup, PIN_LONGTERM_TEST_STOP));

	/* Merged first: the pin has to unshare them. */
	ksm_merge(mem, PAGES);
	pin(gup, mem, PAGES, flags);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_run();
	ksm_wait_scans(3);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_fill_equal(mem, PAGES, 9);
	verify_pinned(gup, PAGES, 9);
	ksm_check_sys(ioctl(gup, PIN_LONGTERM_TEST_STOP));
	ksm_verify_equal(mem, PAGES, 9);
	ksm_verify_equal(twin, PAGES, 8);
}

static void P6_read_only_pins_see_later_writes(void)
{
	check_read_only_pin(0);
}

static void P6_fast_read_only_pins_see_later_writes(void)
{
	check_read_only_pin(PIN_LONGTERM_TEST_FLAG_USE_FAST);
}

#define SEEDS	4

/* A disk whose pages are those of file_of_pages(). Return: open for direct I/O. */
static int disk_of(int file)
{
	char path[64];
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_info64 info = { .lo_flags = LO_FLAGS_AUTOCLEAR };
	int number, disk;

	if (control < 0)
		ksm_skip("/dev/loop-control: %m");
	number = ksm_check_sys(ioctl(control, LOOP_CTL_GET_FREE));
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0)
		ksm_skip("%s: %m", path);
	ksm_check_sys(ioctl(disk, LOOP_SET_FD, file));
	ksm_check_sys(ioctl(disk, LOOP_SET_STATUS64, &info));
	return disk;
}

/* P1: GUP-fast takes its reference between ksmd's look at the count and its write protection. */
static void P1_direct_io_into_pages_that_merge(void)
{
	int disk = disk_of(file_of_pages(100, SEEDS, PAGES));
	char *mem = ksm_map_equal(PAGES, 100), *twins = ksm_map(SEEDS);
	u64 end = ksm_now_ms() + 3000, round;
	size_t merged = 0;
	int i;

	for (i = 0; i < SEEDS; i++)
		ksm_fill_page(twins + i * psize(), 100 + i);
	ksm_mergeable(twins, SEEDS);
	ksm_run();
	/* For a while, and on until something has merged meanwhile. */
	for (round = 0; ksm_now_ms() < end || !merged; round++) {
		u64 which = round % SEEDS;

		ksm_check_eq(pread(disk, mem, PAGES * psize(), which * PAGES * psize()),
			     PAGES * psize());
		ksm_verify_equal(mem, PAGES, 100 + which);
		if (round % 8 == 7) {
			ksm_wait_scans(3);
			merged += ksm_ksm_pages(mem, PAGES);
			ksm_verify_equal(mem, PAGES, 100 + which);
		}
	}
	for (i = 0; i < SEEDS; i++)
		ksm_verify_equal(twins + i * psize(), 1, 100 + i);
}

struct target {
	pid_t	pid;
	char	*mem;
};

static void write_from_outside(struct ksm_kid *parent, void *arg)
{
	struct target *target = arg;
	char *mem = ksm_map(PAGES);
	struct iovec from = { .iov_base = mem, .iov_len = PAGES * psize() };
	struct iovec to = { .iov_base = target->mem, .iov_len = PAGES * psize() };
	u64 seed;

	while ((seed = ksm_kid_recv(parent))) {
		ksm_fill_equal(mem, PAGES, seed);
		ksm_check_eq(process_vm_writev(target->pid, &from, 1, &to, 1, 0), to.iov_len);
		ksm_kid_send(parent, seed);
	}
}

static void P1_process_vm_writev_into_pages_that_merge(void)
{
	struct target target = { .pid = getpid(), .mem = ksm_map_equal(PAGES, 200) };
	char *twin = ksm_map_equal(PAGES, 200);
	u64 end = ksm_now_ms() + 2000, seed = 200;
	struct ksm_kid kid;
	size_t merged = 0;

	ksm_kid_start(&kid, write_from_outside, &target);
	ksm_run();
	/* For a while, and on until something has merged meanwhile. */
	while (ksm_now_ms() < end || !merged) {
		seed++;
		ksm_kid_send(&kid, seed);
		ksm_kid_recv_value(&kid, seed);
		ksm_verify_equal(target.mem, PAGES, seed);
		if (seed % 8 == 0) {
			ksm_wait_scans(3);
			merged += ksm_ksm_pages(target.mem, PAGES);
			ksm_verify_equal(target.mem, PAGES, seed);
		}
	}
	ksm_kid_send(&kid, 0);
	ksm_kid_end(&kid);
	ksm_verify_equal(twin, PAGES, 200);
}

/* A debugger writes where the program itself may not: the copy is private all the same. */
static void forced_writes_break_COW(void)
{
	char *mem = ksm_map_equal(PAGES, 300), *page = ksm_map(1);
	int fd = ksm_check_sys(open("/proc/self/mem", O_RDWR | O_CLOEXEC));

	ksm_check_sys(mprotect(mem, PAGES * psize(), PROT_READ));
	ksm_merge(mem, PAGES);
	ksm_fill_page(page, 301);
	ksm_check_eq(pwrite64(fd, page, psize(), (uintptr_t)mem + 3 * psize()), psize());
	ksm_verify_equal(mem, 3, 300);
	ksm_verify_equal(mem + 3 * psize(), 1, 301);
	ksm_verify_equal(mem + 4 * psize(), PAGES - 4, 300);
	ksm_expect(mem, PAGES, PAGES - 1);
	ksm_verify_equal(mem + 3 * psize(), 1, 301);
}

static void read_into_KSM_pages(void)
{
	char *mem = ksm_map_equal(PAGES, 400);
	int fd = file_of_pages(401, 1, PAGES);

	ksm_merge(mem, PAGES);
	ksm_check_eq(pread(fd, mem, PAGES / 2 * psize(), 0), PAGES / 2 * psize());
	ksm_verify_equal(mem, PAGES / 2, 401);
	ksm_verify_equal(mem + PAGES / 2 * psize(), PAGES / 2, 400);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P1_a_page_in_a_pipe_does_not_merge),
	KSM_TEST(a_KSM_page_in_a_pipe_keeps_its_content),
	KSM_TEST(P1_io_uring_buffers_do_not_merge),
	KSM_TEST(registering_KSM_pages_with_io_uring),
	KSM_TEST(P6_read_only_pins_see_later_writes),
	KSM_TEST(P6_fast_read_only_pins_see_later_writes),
	KSM_TEST(P1_direct_io_into_pages_that_merge),
	KSM_TEST(P1_process_vm_writev_into_pages_that_merge),
	KSM_TEST(forced_writes_break_COW),
	KSM_TEST(read_into_KSM_pages),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
