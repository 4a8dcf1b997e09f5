// SPDX-License-Identifier: GPL-2.0
/*
 * What is noted beside a page must outlive its merging and unmerging: soft-dirty
 * bits, userfaultfd's write protection.  And huge pages, which must be split.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include <linux/kernel-page-flags.h>
#include <linux/userfaultfd.h>

#include "ksm_util.h"

#define PAGES	64

static bool soft_dirty(const void *addr)
{
	return ksm_pagemap(0, addr) & PM_SOFT_DIRTY;
}

static void P17_soft_dirty_bits_survive_merging(void)
{
	char *mem = ksm_map_equal(PAGES, 1);
	size_t i;

	if (!softdirty_supported())
		ksm_skip("this kernel has no soft-dirty bits");
	clear_softdirty();
	for (i = 0; i < PAGES; i += 2)
		ksm_fill_page(mem + i * psize(), 1);
	for (i = 0; i < PAGES; i++)
		ksm_check_eq(soft_dirty(mem + i * psize()), i % 2 == 0);
	ksm_merge(mem, PAGES);
	for (i = 0; i < PAGES; i += 2)
		ksm_check(soft_dirty(mem + i * psize()), "page %zu has lost its bit", i);
	for (i = 1; i < PAGES; i += 2)
		ksm_check(!soft_dirty(mem + i * psize()), "page %zu has got a bit", i);
	ksm_verify_equal(mem, PAGES, 1);
}

static void P19_soft_dirty_bits_survive_unmerging(void)
{
	char *mem = ksm_map_equal(PAGES, 2);
	size_t i;

	if (!softdirty_supported())
		ksm_skip("this kernel has no soft-dirty bits");
	ksm_merge(mem, PAGES);
	clear_softdirty();
	ksm_unmergeable(mem, PAGES);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	for (i = 0; i < PAGES; i++)
		ksm_check(!soft_dirty(mem + i * psize()), "page %zu counts as written", i);
	ksm_fill_page(mem, 3);
	ksm_check(soft_dirty(mem), "a write sets no bit");
	ksm_verify_equal(mem + psize(), PAGES - 1, 2);
}

static void check_no_event(int uffd)
{
	struct pollfd fd = { .fd = uffd, .events = POLLIN };

	ksm_check_eq(poll(&fd, 1, 0), 0);
}

struct write_to {
	char		*addr;
	pthread_t	thread;
};

static void *write_a_byte(void *arg)
{
	struct write_to *write = arg;

	*write->addr ^= 1;
	return NULL;
}

/* The write must be reported, and go on when the protection is taken away. */
static void check_write_is_reported(int uffd, char *page)
{
	struct pollfd fd = { .fd = uffd, .events = POLLIN };
	struct write_to write = { .addr = page + 77 };
	struct uffd_msg msg;
	char before = page[77];

	ksm_check(!pthread_create(&write.thread, NULL, write_a_byte, &write), "no thread");
	ksm_check_eq(poll(&fd, 1, 15000 * KSM_PATIENCE), 1);
	ksm_check_eq(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	ksm_check_eq(msg.event, UFFD_EVENT_PAGEFAULT);
	ksm_check(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP, "no write protection fault");
	ksm_check_eq(msg.arg.pagefault.address / psize(), (uintptr_t)page / psize());
	ksm_check_eq(page[77], before);
	ksm_uffd_wp(uffd, page, 1, false);
	pthread_join(write.thread, NULL);
	ksm_check_eq(page[77], before ^ 1);
	page[77] ^= 1;
}

static void P17_uffd_write_protection_survives_merging(void)
{
	int uffd = ksm_uffd_open();
	char *mem = ksm_map_equal(PAGES, 4);
	size_t i;

	ksm_uffd_wp_register(uffd, mem, PAGES);
	ksm_uffd_wp(uffd, mem, PAGES / 2, true);
	ksm_merge(mem, PAGES);
	for (i = 0; i < PAGES; i++)
		ksm_check(ksm_uffd_wp_is_set(mem + i * psize()) == (i < PAGES / 2),
			  "page %zu of %d protected pages: %s", i, PAGES / 2,
			  i < PAGES / 2 ? "protection is lost" : "is protected, too");
	check_no_event(uffd);
	for (i = 0; i < PAGES / 2; i += 8)
		check_write_is_reported(uffd, mem + i * psize());
	ksm_verify_equal(mem, PAGES, 4);
}

static void P19_unmerging_fires_no_uffd_event(void)
{
	int uffd = ksm_uffd_open();
	char *mem = ksm_map_equal(PAGES, 5);
	size_t i;

	ksm_merge(mem, PAGES);
	ksm_uffd_wp_register(uffd, mem, PAGES);
	ksm_uffd_wp(uffd, mem, PAGES, true);
	ksm_unmergeable(mem, PAGES);
	check_no_event(uffd);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	for (i = 0; i < PAGES; i++)
		ksm_check(ksm_uffd_wp_is_set(mem + i * psize()), "page %zu is not protected", i);
	ksm_verify_equal(mem, PAGES, 5);
	for (i = 0; i < PAGES; i += 8)
		check_write_is_reported(uffd, mem + i * psize());
}

static void P19_run_2_fires_no_uffd_event(void)
{
	int uffd = ksm_uffd_open();
	char *mem = ksm_map_equal(PAGES, 6);

	ksm_merge(mem, PAGES);
	ksm_uffd_wp_register(uffd, mem, PAGES);
	ksm_uffd_wp(uffd, mem, PAGES, true);
	ksm_unmerge_all();
	check_no_event(uffd);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	check_write_is_reported(uffd, mem);
	ksm_verify_equal(mem, PAGES, 6);
}

/* UFFDIO_MOVE of a KSM page: EBUSY, and nothing has changed. */
static void uffd_move_refuses_KSM_pages(void)
{
#ifdef UFFDIO_MOVE
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	char *mem = ksm_map_equal(2, 7), *to = ksm_map(2);
	struct uffdio_move move = {
		.dst = (uintptr_t)to, .src = (uintptr_t)mem, .len = psize(),
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		ksm_skip("this kernel has no UFFDIO_MOVE: %m");
	ksm_merge(mem, 2);
	ksm_check_eq(uffd_register(uffd, to, 2 * psize(), true, false, false), 0);
	ksm_check(ioctl(uffd, UFFDIO_MOVE, &move) && errno == EBUSY, "UFFDIO_MOVE: %m");
	ksm_verify_equal(mem, 2, 7);
	ksm_check_eq(ksm_ksm_pages(mem, 2), 2);
#else
	ksm_skip("built without UFFDIO_MOVE");
#endif
}

/* P76: the flag means KSM pages, and no other anonymous ones. */
static void P76_KPF_KSM_is_set_on_KSM_pages_only(void)
{
	char *mem = ksm_map_equal(8, 8), *plain = ksm_map(8);
	int fd = ksm_check_sys(memfd_create("ksm", MFD_CLOEXEC));
	char *file;
	size_t i;

	ksm_check_sys(ftruncate(fd, psize()));
	file = mmap(NULL, psize(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ksm_check(file != MAP_FAILED, "mmap: %m");
	ksm_fill_page(file, 8);
	ksm_fill_equal(plain, 8, 8);
	ksm_merge(mem, 8);
	if (!ksm_kpageflags(ksm_pfn(mem)))
		ksm_skip("this kernel has no /proc/kpageflags");
	for (i = 0; i < 8; i++) {
		unsigned long pfn = ksm_pfn(mem + i * psize());

		ksm_check(ksm_kpageflags(pfn) & 1ULL << KPF_KSM, "KSM page %zu has no flag", i);
		ksm_check(ksm_kpageflags(pfn) & 1ULL << KPF_ANON, "page %zu is not ANON", i);
	}
	ksm_check(!(ksm_kpageflags(ksm_pfn(file)) & 1ULL << KPF_KSM), "a page of a file has it");
	for (i = 0; i < 8; i++)
		ksm_check(!(ksm_kpageflags(ksm_pfn(plain + i * psize())) & 1ULL << KPF_KSM),
			  "ordinary anonymous page %zu has the flag", i);
}

static void P68_a_huge_page_of_equal_pages_merges(void)
{
	size_t size = 2 * read_pmd_pagesize(), pages = size / psize();
	char *mem = ksm_map_huge(size);

	ksm_fill_equal(mem, pages, 9);
	ksm_mergeable(mem, pages);
	ksm_merge(mem, pages);
	ksm_verify_equal(mem, pages, 9);
	ksm_unmergeable(mem, pages);
	ksm_verify_equal(mem, pages, 9);
}

static void P68_two_equal_pages_of_one_huge_page_merge(void)
{
	size_t size = read_pmd_pagesize(), pages = size / psize();
	char *mem = ksm_map_huge(size);
	char *a = mem + 5 * psize(), *b = mem + (pages - 3) * psize();

	ksm_fill_unique(mem, pages, 10);
	ksm_fill_page(a, 11);
	ksm_fill_page(b, 11);
	ksm_mergeable(mem, pages);
	ksm_expect(mem, pages, 2);
	ksm_check_eq(ksm_pfn(a), ksm_pfn(b));
	ksm_verify_equal(a, 1, 11);
	ksm_verify_equal(b, 1, 11);
	ksm_fill_unique(a, 1, 0);
	ksm_verify_equal(b, 1, 11);
	ksm_verify_unique(mem, 5, 10);
}

/*
 * khugepaged's way back: KSM pages are copied into a huge page. They must be different ones,
 * as each is locked, and one page must not be KSM's, as one has to be writable.
 */
static void collapsing_KSM_pages_keeps_content(void)
{
	size_t size = read_pmd_pagesize(), pages = size / psize();
	char *mem = ksm_map_huge(size), *twin = ksm_map_unique(pages, 12);
	char *last = mem + (pages - 1) * psize();
	struct ksm_area area;

	ksm_fill_unique(mem, pages, 12);
	ksm_mergeable(mem, pages);
	ksm_merge(mem, pages);
	ksm_fill_page(last, 13);
	ksm_check_eq(ksm_ksm_pages(mem, pages), pages - 1);
	ksm_check_sys(madvise(mem, size, MADV_COLLAPSE));
	ksm_area(0, mem, pages, &area);
	ksm_check_eq(area.huge, pages);
	ksm_check_eq(area.ksm, 0);
	ksm_verify_unique(mem, pages - 1, 12);
	ksm_verify_equal(last, 1, 13);
	ksm_fill_unique(mem, pages, 14);
	ksm_verify_unique(twin, pages, 12);
	ksm_verify_unique(mem, pages, 14);
}

static void untouched_huge_mappings_stay_empty(void)
{
	size_t size = read_pmd_pagesize(), pages = size / psize();
	char *mem = ksm_map_huge(size);

	ksm_check_sys(madvise(mem, size, MADV_DONTNEED));
	ksm_mergeable(mem, pages);
	/* Reading maps the huge zero page; that is nothing to merge, and nothing to fill. */
	ksm_check_eq(mem[size / 2], 0);
	ksm_expect_none(mem, pages);
	ksm_check_eq(mem[size - 1], 0);
}

static const struct ksm_test tests[] = {
	KSM_TEST(P17_soft_dirty_bits_survive_merging),
	KSM_TEST(P19_soft_dirty_bits_survive_unmerging),
	KSM_TEST(P17_uffd_write_protection_survives_merging),
	KSM_TEST(P19_unmerging_fires_no_uffd_event),
	KSM_TEST(P19_run_2_fires_no_uffd_event),
	KSM_TEST(uffd_move_refuses_KSM_pages),
	KSM_TEST(P76_KPF_KSM_is_set_on_KSM_pages_only),
	KSM_TEST(P68_a_huge_page_of_equal_pages_merges),
	KSM_TEST(P68_two_equal_pages_of_one_huge_page_merge),
	KSM_TEST(collapsing_KSM_pages_keeps_content),
	KSM_TEST(untouched_huge_mappings_stay_empty),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
