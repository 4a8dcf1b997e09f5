// SPDX-License-Identifier: GPL-2.0
/*
 * ksmd believes a clean PTE and cleans dirty ones.  What others read from the bits must
 * stay right: what was written is in memory or in swap, whatever ksmd has cleaned
 * meanwhile.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/fs.h>

#include "ksm_clean.h"
#include "ksm_util.h"

#define PAGES	KSM_CLEAN_PAGES

static bool soft_dirty(const void *addr)
{
	return ksm_pagemap(0, addr) & PM_SOFT_DIRTY;
}

static void soft_dirty_tells_of_writes_and_of_nothing_else(void)
{
	char *mem = ksm_map_clean();
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

static size_t referenced(const char *mem)
{
	struct ksm_area area;

	ksm_area(0, mem, PAGES, &area);
	return area.referenced;
}

/* To be read by ksmd, and to be cleaned, is not to be used. */
static void clear_refs_tells_of_use_and_of_nothing_else(void)
{
	char *mem = ksm_map_clean();

	ksm_fill_unique(mem, PAGES, 300);
	ksm_stop();
	ksm_check_eq(ksm_write_text("/proc/self/clear_refs", "1"), 0);
	ksm_flush_tlb();
	ksm_check_eq(referenced(mem), 0);
	ksm_clean();
	ksm_check_eq(referenced(mem), 0);
	ksm_fill_page(mem + 5 * psize(), 305);
	ksm_verify_unique(mem, 3, 300);
	ksm_clean();
	ksm_check_eq(referenced(mem), 4);
	ksm_fill_page(mem + 5 * psize(), 7);
	ksm_verify_equal(mem + 5 * psize(), 1, 7);
}

static void page_idle_tells_of_use_and_of_nothing_else(void)
{
	int fd = ksm_idle_open();
	char *mem = ksm_map_clean();
	unsigned long pfn[PAGES];
	bool told[PAGES];
	size_t i, nr = 0;

	ksm_fill_unique(mem, PAGES, 300);
	ksm_stop();
	for (i = 0; i < PAGES; i++) {
		pfn[i] = ksm_pfn(mem + i * psize());
		/* Of a page that is still on its way to the LRU it tells nothing. */
		told[i] = ksm_idle_set(fd, pfn[i]) && ksm_is_idle(fd, pfn[i]);
		nr += told[i];
	}
	ksm_check(nr >= PAGES / 2, "page_idle tells of %zu pages only", nr);
	ksm_flush_tlb();
	ksm_clean();
	for (i = 0; i < PAGES; i++)
		ksm_check(!told[i] || ksm_is_idle(fd, pfn[i]),
			  "page %zu was not used, and is not idle", i);
	for (i = 0; i < PAGES; i += 2)
		mem[i * psize()]++;
	ksm_clean();
	for (i = 0; i < PAGES; i++)
		ksm_check(!told[i] || ksm_is_idle(fd, pfn[i]) == i % 2,
			  "page %zu: the bit is wrong", i);
	for (i = 0; i < PAGES; i += 2)
		mem[i * psize()]--;
	ksm_verify_unique(mem, PAGES, 300);
}

/* Which pages were written since the last time? They are protected again. */
static void expect_written(char *mem, unsigned int step, const char *when)
{
	struct page_region found[PAGES];
	struct pm_scan_arg arg = {
		.size		= sizeof(arg),
		.flags		= PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start		= (uintptr_t)mem,
		.end		= (uintptr_t)mem + PAGES * psize(),
		.vec		= (uintptr_t)found,
		.vec_len	= PAGES,
		.category_mask	= PAGE_IS_WRITTEN,
		.return_mask	= PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long i, nr;

	ksm_check(fd >= 0, "/proc/self/pagemap: %m");
	nr = ioctl(fd, PAGEMAP_SCAN, &arg);
	ksm_check(nr >= 0, "PAGEMAP_SCAN: %m");
	close(fd);
	ksm_check(nr == (step ? PAGES / step : 0), "%s: %ld regions are said to be written", when,
		  nr);
	for (i = 0; i < nr; i++) {
		ksm_check_eq(found[i].start, (uintptr_t)mem + i * step * psize());
		ksm_check_eq(found[i].end, found[i].start + psize());
	}
}

static void PAGEMAP_SCAN_tells_of_writes_and_of_nothing_else(void)
{
	int uffd = ksm_uffd_open_async();
	char *mem = ksm_map_clean();
	size_t i;

	ksm_uffd_wp_register(uffd, mem, PAGES);
	ksm_uffd_wp(uffd, mem, PAGES, true);
	ksm_clean();
	expect_written(mem, 0, "nothing was written");
	for (i = 0; i < PAGES; i += 2)
		ksm_fill_page(mem + i * psize(), 2000 + i);
	ksm_clean();
	expect_written(mem, 2, "every second page was written");
	ksm_clean();
	expect_written(mem, 0, "nothing was written since");
	/* Protected while they are dirty, and cleaned when they are protected. */
	ksm_stop();
	for (i = 0; i < PAGES; i += 4)
		ksm_fill_page(mem + i * psize(), 3000 + i);
	expect_written(mem, 4, "every fourth page was written");
	ksm_clean();
	expect_written(mem, 0, "nothing was written since");
	for (i = 0; i < PAGES; i++)
		ksm_verify_equal(mem + i * psize(), 1,
				 (i % 4 ? i % 2 ? KSM_CLEAN_SEED : 2000 : 3000) + i);
	close(uffd);
}

/* Swap has a copy of each page; what is written then must not be taken for that. */
static void what_is_written_after_swap_in_goes_to_swap_again(void)
{
	char *mem;

	ksm_need_swap();
	ksm_cgroup_enter("dirty");
	mem = ksm_map_clean();
	ksm_swap_out(mem, PAGES);
	ksm_verify_clean(mem, 0, PAGES);
	ksm_clean();
	ksm_fill_unique(mem, PAGES, 300);
	ksm_clean();
	ksm_stop();
	ksm_swap_out(mem, PAGES);
	ksm_verify_unique(mem, PAGES, 300);
}

static void what_is_written_after_MADV_FREE_stays(void)
{
	char *mem;

	ksm_need_swap();
	ksm_cgroup_enter("dirty");
	mem = ksm_map_clean();
	ksm_check_sys(madvise(mem, PAGES * psize(), MADV_FREE));
	ksm_fill_unique(mem, PAGES, 300);
	ksm_clean();
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
	KSM_TEST(soft_dirty_tells_of_writes_and_of_nothing_else),
	KSM_TEST(PAGEMAP_SCAN_tells_of_writes_and_of_nothing_else),
	KSM_TEST(clear_refs_tells_of_use_and_of_nothing_else),
	KSM_TEST(page_idle_tells_of_use_and_of_nothing_else),
	KSM_TEST(what_is_written_after_swap_in_goes_to_swap_again),
	KSM_TEST(what_is_written_after_MADV_FREE_stays),
	KSM_TEST_LONG(nothing_is_lost_of_what_is_written_meanwhile, 240),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
