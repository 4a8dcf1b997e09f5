// SPDX-License-Identifier: GPL-2.0
/*
 * ksmd believes a clean PTE and cleans dirty ones.  What goes past a PTE must be found
 * all the same, and what others read from the bits must stay right: what was written
 * is in memory or in swap, whatever ksmd has cleaned meanwhile.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "ksm_util.h"

#define PAGES	64
#define REREAD	4

/* ksmd has read the pages, and cleaned their PTEs before. */
static void clean(void)
{
	ksm_run();
	ksm_wait_scans(3);
}

/* Pages of which each is unlike all others, their PTEs clean. */
static char *map_clean(void)
{
	char *mem = ksm_map(PAGES);
	size_t i;

	ksm_need_knob("reread_rounds");
	ksm_knob_set("smart_scan", 0);
	for (i = 0; i < PAGES; i++)
		ksm_fill_page(mem + i * psize(), 1000 + i);
	ksm_mergeable(mem, PAGES);
	clean();
	return mem;
}

static void verify(const char *mem, size_t from, size_t to)
{
	for (; from < to; from++)
		ksm_verify_equal(mem + from * psize(), 1, 1000 + from);
}

/* ------------------------------------------------------------------------- */
/* What goes past a PTE.                                                      */

static void write_by_proc_mem(char *page, char *content)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	ksm_check(fd >= 0, "/proc/self/mem: %m");
	ksm_check_eq(pwrite(fd, content, psize(), (off_t)(unsigned long)page), psize());
	close(fd);
}

static void write_by_writev(char *page, char *content)
{
	struct iovec from = { content, psize() }, to = { page, psize() };
	ssize_t done = syscall(SYS_process_vm_writev, getpid(), &from, 1L, &to, 1L, 0L);

	ksm_check_eq(done, psize());
}

/* A disk in memory; or skip. */
static int open_disk(void)
{
	char text[32], path[64];
	int id, fd;

	if (ksm_read_text("/sys/class/zram-control/hot_add", text, sizeof(text)) < 0)
		ksm_skip("no disk can be made of zram");
	id = atoi(text);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", id);
	ksm_check_eq(ksm_write_text(path, "1048576"), 0);
	snprintf(path, sizeof(path), "/dev/zram%d", id);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		ksm_skip("%s: %m", path);
	return fd;
}

static void write_by_direct_io(char *page, char *content)
{
	int fd = open_disk();

	ksm_check_eq(pwrite(fd, content, psize(), 0), psize());
	ksm_check_eq(pread(fd, page, psize(), 0), psize());
	close(fd);
}

static char *content_of(u64 seed)
{
	char *content = ksm_map(1);

	ksm_fill_page(content, seed);
	return content;
}

/* A page becomes equal to another behind its PTE: in time that is found, and they merge. */
static void found_in_time(void (*write_page)(char *page, char *content))
{
	char *mem = map_clean(), *content = content_of(1000);

	ksm_knob_set("reread_rounds", REREAD);
	ksm_stop();
	write_page(mem + 5 * psize(), content);
	ksm_run();
	/* To be read; to have held; to be met by the other. */
	ksm_wait_scans(REREAD + 2);
	ksm_stop();
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 2);
	ksm_check_eq(ksm_pfn(mem), ksm_pfn(mem + 5 * psize()));
	ksm_verify_equal(mem + 5 * psize(), 1, 1000);
	verify(mem, 0, 5);
	verify(mem, 6, PAGES);
}

/* A page is not any more what is remembered of it, and another is now: they stay apart. */
static void not_merged_by_memory(void (*write_page)(char *page, char *content))
{
	char *mem = map_clean(), *content = content_of(7);

	ksm_knob_set("reread_rounds", 1000000007);
	ksm_stop();
	write_page(mem + 5 * psize(), content);
	ksm_fill_page(mem + 9 * psize(), 1005);
	ksm_run();
	ksm_wait_scans(4);
	ksm_stop();
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_verify_equal(mem + 5 * psize(), 1, 7);
	ksm_verify_equal(mem + 9 * psize(), 1, 1005);
}

static void what_proc_mem_writes_is_found(void)
{
	found_in_time(write_by_proc_mem);
}

static void what_proc_mem_writes_is_compared(void)
{
	not_merged_by_memory(write_by_proc_mem);
}

static void what_process_vm_writev_writes_is_found(void)
{
	found_in_time(write_by_writev);
}

static void what_process_vm_writev_writes_is_compared(void)
{
	not_merged_by_memory(write_by_writev);
}

static void what_direct_io_reads_is_found(void)
{
	found_in_time(write_by_direct_io);
}

static void what_direct_io_reads_is_compared(void)
{
	not_merged_by_memory(write_by_direct_io);
}

/* ------------------------------------------------------------------------- */
/* What others read from the bits.                                            */

static bool soft_dirty(const void *addr)
{
	return ksm_pagemap(0, addr) & PM_SOFT_DIRTY;
}

static void soft_dirty_tells_of_writes_and_of_nothing_else(void)
{
	char *mem = map_clean();
	size_t i;

	if (!softdirty_supported())
		ksm_skip("this kernel has no soft-dirty bits");
	clear_softdirty();
	for (i = 0; i < PAGES; i += 2)
		ksm_fill_page(mem + i * psize(), 2000 + i);
	ksm_wait_scans(3);
	for (i = 0; i < PAGES; i++)
		ksm_check(soft_dirty(mem + i * psize()) == !(i % 2),
			  "page %zu: the bit is wrong", i);
	clear_softdirty();
	ksm_wait_scans(3);
	for (i = 0; i < PAGES; i++)
		ksm_check(!soft_dirty(mem + i * psize()), "page %zu has got a bit", i);
}

/* Swap has a copy of each page; what is written then must not be taken for that. */
static void what_is_written_after_swap_in_goes_to_swap_again(void)
{
	char *mem;

	ksm_need_swap();
	ksm_cgroup_enter("dirty");
	mem = map_clean();
	ksm_swap_out(mem, PAGES);
	verify(mem, 0, PAGES);
	clean();
	ksm_fill_unique(mem, PAGES, 300);
	clean();
	ksm_stop();
	ksm_swap_out(mem, PAGES);
	ksm_verify_unique(mem, PAGES, 300);
}

static void what_is_written_after_MADV_FREE_stays(void)
{
	char *mem;

	ksm_need_swap();
	ksm_cgroup_enter("dirty");
	mem = map_clean();
	ksm_check_sys(madvise(mem, PAGES * psize(), MADV_FREE));
	ksm_fill_unique(mem, PAGES, 300);
	clean();
	ksm_stop();
	ksm_push_out(mem, PAGES);
	ksm_verify_unique(mem, PAGES, 300);
}

/* ------------------------------------------------------------------------- */
/* A writer that never stops.                                                 */

struct writer {
	u64	*words;		/* the first of each page */
	bool	stop;
	u64	count[PAGES];
	size_t	wrong;
};

/* Counts on in each page, and looks that nothing it has written is lost. */
static void *write_on(void *arg)
{
	struct writer *writer = arg;
	size_t i, step = psize() / sizeof(u64);

	while (!__atomic_load_n(&writer->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < PAGES; i++) {
			u64 *word = writer->words + i * step;

			if (__atomic_load_n(word, __ATOMIC_RELAXED) != writer->count[i])
				writer->wrong++;
			__atomic_store_n(word, ++writer->count[i], __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

/*
 * Pages go out and come in, and are cleaned, while a thread on the other CPU writes. A
 * TLB entry that stays dirty when its PTE is cleaned lets a write pass reclaim by.
 */
static void nothing_is_lost_of_what_is_written_meanwhile(void)
{
	struct writer writer = { };
	pthread_t thread;
	char *mem;
	int i;

	ksm_need_swap();
	ksm_cgroup_enter("dirty");
	mem = ksm_map(PAGES);
	memset(mem, 0, PAGES * psize());
	ksm_mergeable(mem, PAGES);
	ksm_knob_set("smart_scan", 0);
	ksm_run();
	writer.words = (u64 *)mem;
	ksm_check_eq(pthread_create(&thread, NULL, write_on, &writer), 0);
	for (i = 0; i < 60; i++) {
		ksm_wait_scans(1);
		ksm_push_out(mem, PAGES);
	}
	__atomic_store_n(&writer.stop, true, __ATOMIC_RELAXED);
	ksm_check_eq(pthread_join(thread, NULL), 0);
	ksm_check(!writer.wrong, "%zu times a page was not what was written", writer.wrong);
}

static const struct ksm_test tests[] = {
	KSM_TEST(what_proc_mem_writes_is_found),
	KSM_TEST(what_proc_mem_writes_is_compared),
	KSM_TEST(what_process_vm_writev_writes_is_found),
	KSM_TEST(what_process_vm_writev_writes_is_compared),
	KSM_TEST(what_direct_io_reads_is_found),
	KSM_TEST(what_direct_io_reads_is_compared),
	KSM_TEST(soft_dirty_tells_of_writes_and_of_nothing_else),
	KSM_TEST(what_is_written_after_swap_in_goes_to_swap_again),
	KSM_TEST(what_is_written_after_MADV_FREE_stays),
	KSM_TEST_LONG(nothing_is_lost_of_what_is_written_meanwhile, 240),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
