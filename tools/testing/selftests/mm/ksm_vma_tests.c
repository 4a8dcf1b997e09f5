// SPDX-License-Identifier: GPL-2.0
/*
 * madvise(MADV_MERGEABLE) and MADV_UNMERGEABLE: which mappings may merge, and which
 * VMA flags must not suffer.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <linux/userfaultfd.h>

#include "ksm_util.h"

#ifndef SYS_mseal
#define SYS_mseal	462
#endif

#ifndef PROT_MTE
#define PROT_MTE	0x20	/* EINVAL elsewhere */
#endif

#define PAGES	8

static int advise(const void *mem, size_t len, int advice)
{
	return madvise((void *)mem, len, advice) ? errno : 0;
}

static void a_gap_gives_ENOMEM_after_the_rest(void)
{
	char *mem = ksm_map(3 * PAGES), *last = mem + 2 * PAGES * psize();

	ksm_fill_equal(mem, 3 * PAGES, 1);
	ksm_check_sys(munmap(mem + PAGES * psize(), PAGES * psize()));
	ksm_check_eq(advise(mem, 3 * PAGES * psize(), MADV_MERGEABLE), ENOMEM);
	ksm_merge(mem, PAGES);
	ksm_merge(last, PAGES);
	ksm_check_eq(advise(mem, 3 * PAGES * psize(), MADV_UNMERGEABLE), ENOMEM);
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_check_eq(ksm_ksm_pages(last, PAGES), 0);
	ksm_check(!ksm_vma_has(last, "mg"), "still mergeable behind the gap");
	ksm_verify_equal(mem, PAGES, 1);
	ksm_verify_equal(last, PAGES, 1);
}

static void a_length_is_rounded_up_to_pages(void)
{
	char *mem = ksm_map(PAGES);

	ksm_check_eq(advise(mem, psize() + 1, MADV_MERGEABLE), 0);
	ksm_check(ksm_vma_has(mem + psize(), "mg"), "the second page is not taken");
	ksm_check(!ksm_vma_has(mem + 2 * psize(), "mg"), "the third page is taken");
}

static void offering_twice_or_never_is_no_error(void)
{
	char *mem = ksm_map_equal(PAGES, 2);
	struct ksm_area area;

	ksm_unmergeable(mem, PAGES);
	ksm_unmergeable(mem, PAGES);
	ksm_mergeable(mem + psize(), 2);
	ksm_mergeable(mem, PAGES);
	ksm_mergeable(mem, PAGES);
	ksm_area(0, mem, PAGES, &area);
	ksm_check_eq(area.vmas, 1);
	ksm_merge(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 2);
}

/* P16: accepted, and nothing happens. */
static void check_ignored(char *mem, size_t pages)
{
	ksm_check_eq(advise(mem, pages * psize(), MADV_MERGEABLE), 0);
	ksm_check(!ksm_vma_has(mem, "mg"), "the VMA became mergeable");
	ksm_expect_none(mem, pages);
	ksm_check_eq(advise(mem, pages * psize(), MADV_UNMERGEABLE), 0);
}

static char *map_of(int prot, int flags, int fd, size_t len)
{
	char *mem = mmap(NULL, len, prot, flags, fd, 0);

	ksm_check(mem != MAP_FAILED, "mmap: %m");
	return mem;
}

static void P16_shared_memory_is_ignored(void)
{
	char *mem = map_of(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			   PAGES * psize());

	ksm_fill_equal(mem, PAGES, 3);
	check_ignored(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 3);
}

static void P16_shared_files_are_ignored(void)
{
	int fd = ksm_check_sys(memfd_create("ksm", MFD_CLOEXEC));
	char *mem;

	ksm_check_sys(ftruncate(fd, PAGES * psize()));
	mem = map_of(PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGES * psize());
	ksm_fill_equal(mem, PAGES, 4);
	check_ignored(mem, PAGES);
	ksm_verify_equal(mem, PAGES, 4);

	/* A read-only shared mapping might be made writable later (VM_MAYSHARE). */
	mem = map_of(PROT_READ, MAP_SHARED, fd, PAGES * psize());
	check_ignored(mem, PAGES);
}

static void P16_hugetlb_is_ignored(void)
{
	const char *nr = "/proc/sys/vm/nr_hugepages";
	size_t size = default_huge_page_size();
	char old[32], *mem;

	if (!size || ksm_read_text(nr, old, sizeof(old)) < 0)
		ksm_skip("this kernel has no hugetlb");
	ksm_check(!ksm_write_text(nr, "2"), "%s cannot be written", nr);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ksm_write_text(nr, old);
	if (mem == MAP_FAILED)
		ksm_skip("no huge page to be had: %m");
	ksm_fill_equal(mem, size / psize(), 5);
	check_ignored(mem, size / psize());
	ksm_verify_equal(mem, size / psize(), 5);
}

static void P16_device_memory_is_ignored(void)
{
	int fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	char *mem;

	if (fd < 0)
		ksm_skip("/dev/mem: %m");
	mem = mmap(NULL, 4 * psize(), PROT_READ, MAP_PRIVATE, fd, 0xf0000);
	if (mem == MAP_FAILED)
		ksm_skip("mmap of /dev/mem: %m");
	ksm_check(ksm_vma_has(mem, "pf"), "not a VM_PFNMAP mapping");
	check_ignored(mem, 4);
}

static void P16_the_vdso_data_is_ignored(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start = 0, end = 0;
	char line[256];

	ksm_check(maps, "/proc/self/maps: %m");
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "[vvar]"))
			sscanf(line, "%lx-%lx", &start, &end);
	fclose(maps);
	if (!start)
		ksm_skip("this machine has no [vvar]");
	check_ignored((char *)start, (end - start) / psize());
}

static void P16_droppable_memory_is_ignored(void)
{
	char *mem = mmap(NULL, PAGES * psize(), PROT_READ | PROT_WRITE,
			 MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		ksm_skip("this kernel has no MAP_DROPPABLE: %m");
	ksm_fill_equal(mem, PAGES, 6);
	check_ignored(mem, PAGES);
}

/* One call over mappings of both kinds works on those that may merge. */
static void P16_a_range_of_mixed_mappings(void)
{
	char *mem = ksm_map(3 * PAGES), *shared = mem + PAGES * psize();

	ksm_fill_equal(mem, 3 * PAGES, 7);
	ksm_check(mmap(shared, PAGES * psize(), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == shared, "mmap: %m");
	ksm_fill_equal(shared, PAGES, 7);
	ksm_check_eq(advise(mem, 3 * PAGES * psize(), MADV_MERGEABLE), 0);
	ksm_expect(mem, 3 * PAGES, 2 * PAGES);
	ksm_check_eq(ksm_ksm_pages(shared, PAGES), 0);
	ksm_verify_equal(mem, 3 * PAGES, 7);
}

static void offer_and_take_back(char *mem, size_t pages)
{
	ksm_mergeable(mem, pages);
	ksm_unmergeable(mem, pages);
	ksm_check(!ksm_vma_has(mem, "mg"), "still mergeable");
}

/* P25: VM_MERGEABLE is a constant of 32 bits, vm_flags has 64. */
/* Each page has tags beside its bytes there (arm64's MTE), and they may differ. */
static void P15_memory_with_tags_stays_apart(void)
{
	char *tagged = ksm_map(PAGES), *zeros = ksm_map(PAGES), *plain;

	if (mprotect(tagged, PAGES * psize(), PROT_READ | PROT_WRITE | PROT_MTE) ||
	    mprotect(zeros, PAGES * psize(), PROT_READ | PROT_WRITE | PROT_MTE))
		ksm_skip("this machine has no tags: %m");
	ksm_fill_equal(tagged, PAGES, 1);
	memset(zeros, 0, PAGES * psize());
	plain = ksm_map_equal(PAGES, 1);
	ksm_mergeable(tagged, PAGES);
	ksm_mergeable(zeros, PAGES);
	ksm_knob_set("use_zero_pages", 1);

	ksm_merge(plain, PAGES);
	ksm_expect_none(tagged, PAGES);
	ksm_expect_none(zeros, PAGES);
	ksm_check_eq(ksm_knob_get("ksm_zero_pages"), 0);
	ksm_verify_equal(tagged, PAGES, 1);
	ksm_verify_equal(plain, PAGES, 1);
}

static void P25_protection_keys_survive_unmergeable(void)
{
	char *mem = ksm_map_equal(PAGES, 8);
	struct ksm_area area;
	int pkey = syscall(SYS_pkey_alloc, 0, 0);

	if (pkey <= 0)
		ksm_skip("no protection keys: %m");
	ksm_check_sys(syscall(SYS_pkey_mprotect, mem, PAGES * psize(), PROT_READ | PROT_WRITE,
			      pkey));
	ksm_merge(mem, PAGES);
	offer_and_take_back(mem, PAGES);
	ksm_area(0, mem, PAGES, &area);
	ksm_check_eq(area.pkey, pkey);
	ksm_verify_equal(mem, PAGES, 8);
}

static void P25_a_seal_survives_unmergeable(void)
{
	char *mem = ksm_map_equal(PAGES, 9);

	if (syscall(SYS_mseal, mem, PAGES * psize(), 0))
		ksm_skip("mseal: %m");
	ksm_merge(mem, PAGES);
	offer_and_take_back(mem, PAGES);
	ksm_check(munmap(mem, PAGES * psize()) && errno == EPERM, "the seal is gone");
	ksm_verify_equal(mem, PAGES, 9);
}

static void P25_userfaultfd_minor_survives_unmergeable(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM };
	int fd = ksm_check_sys(memfd_create("ksm", MFD_CLOEXEC));
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	char *mem;

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		ksm_skip("no userfaultfd with minor faults: %m");
	ksm_check_sys(ftruncate(fd, PAGES * psize()));
	mem = map_of(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGES * psize());
	ksm_check_eq(uffd_register(uffd, mem, PAGES * psize(), false, false, true), 0);
	ksm_check(ksm_vma_has(mem, "ui"), "not registered for minor faults");
	offer_and_take_back(mem, PAGES);
	ksm_check(ksm_vma_has(mem, "ui"), "the registration is gone");
	ksm_check_eq(uffd_unregister(uffd, mem, PAGES * psize()), 0);
	ksm_check(!ksm_vma_has(mem, "ui"), "still registered");
}

static void process_madvise_of_oneself(void)
{
	char *mem = ksm_map(PAGES);
	struct iovec range = { .iov_base = mem, .iov_len = PAGES * psize() };
	int pidfd = syscall(SYS_pidfd_open, getpid(), 0);

	ksm_fill_equal(mem, PAGES, 10);
	if (pidfd < 0)
		ksm_skip("pidfd_open: %m");
	if (syscall(SYS_process_madvise, pidfd, &range, 1, MADV_MERGEABLE, 0) < 0) {
		ksm_check(errno == EINVAL, "process_madvise: %m");
		ksm_skip("process_madvise does not take MADV_MERGEABLE here");
	}
	ksm_merge(mem, PAGES);
	ksm_check_eq(syscall(SYS_process_madvise, pidfd, &range, 1, MADV_UNMERGEABLE, 0),
		     PAGES * psize());
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_verify_equal(mem, PAGES, 10);
}

static const struct ksm_test tests[] = {
	KSM_TEST(a_gap_gives_ENOMEM_after_the_rest),
	KSM_TEST(a_length_is_rounded_up_to_pages),
	KSM_TEST(offering_twice_or_never_is_no_error),
	KSM_TEST(P16_shared_memory_is_ignored),
	KSM_TEST(P16_shared_files_are_ignored),
	KSM_TEST(P16_hugetlb_is_ignored),
	KSM_TEST(P16_device_memory_is_ignored),
	KSM_TEST(P16_the_vdso_data_is_ignored),
	KSM_TEST(P16_droppable_memory_is_ignored),
	KSM_TEST(P16_a_range_of_mixed_mappings),
	KSM_TEST(P15_memory_with_tags_stays_apart),
	KSM_TEST(P25_protection_keys_survive_unmergeable),
	KSM_TEST(P25_a_seal_survives_unmergeable),
	KSM_TEST(P25_userfaultfd_minor_survives_unmergeable),
	KSM_TEST(process_madvise_of_oneself),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
