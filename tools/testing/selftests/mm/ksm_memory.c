// SPDX-License-Identifier: GPL-2.0
/*
 * Memory whose every byte is known, and offered to KSM.
 *
 * Floor 2: knows what the kernel tells of a page, not whether KSM is running.
 */
#include <sys/mman.h>

#include <linux/mman.h>

#include "ksm_memory.h"
#include "ksm_proc.h"
#include "vm_util.h"

char *ksm_map(size_t pages)
{
	size_t size = psize();
	char *mem = mmap(NULL, (pages + 2) * size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ksm_check(mem != MAP_FAILED, "mmap: %m");
	ksm_check_sys(mprotect(mem + size, pages * size, PROT_READ | PROT_WRITE));
	return mem + size;
}

void ksm_unmap(char *mem, size_t pages)
{
	ksm_check_sys(munmap(mem - psize(), (pages + 2) * psize()));
}

char *ksm_place(size_t pages)
{
	char *mem = ksm_map(pages);

	ksm_check_sys(munmap(mem, pages * psize()));
	return mem;
}

char *ksm_map_huge(size_t bytes)
{
	size_t huge = read_pmd_pagesize();
	struct ksm_area area;
	char *mem, *start;

	if (!huge)
		ksm_skip("this kernel has no transparent huge pages");
	bytes = (bytes + huge - 1) / huge * huge;
	mem = mmap(NULL, bytes + 2 * huge, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ksm_check(mem != MAP_FAILED, "mmap: %m");
	start = (char *)(((uintptr_t)mem + 2 * huge - 1) / huge * huge);
	ksm_check_sys(mprotect(start, bytes, PROT_READ | PROT_WRITE));
	if (madvise(start, bytes, MADV_HUGEPAGE))
		ksm_skip("MADV_HUGEPAGE: %m");
	memset(start, 0, bytes);
	ksm_area(0, start, bytes / psize(), &area);
	if (area.huge * psize() != bytes)
		ksm_skip("no transparent huge pages to be had: %zu of %zu", area.huge,
			 bytes / psize());
	return start;
}

static u64 word(u64 seed, size_t i)
{
	u64 x = seed + (i + 1) * 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	return x ^ (x >> 27);
}

void ksm_fill(void *mem, size_t len, u64 seed)
{
	u64 *words = mem;
	size_t i;

	for (i = 0; i < len / sizeof(*words); i++)
		words[i] = word(seed, i);
}

void ksm_fill_page(void *page, u64 seed)
{
	ksm_fill(page, psize(), seed);
}

static u64 unique_seed(u64 seed, size_t page)
{
	return (seed << 32) + page + 1;
}

void ksm_fill_equal(char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		ksm_fill_page(mem + i * psize(), seed);
}

void ksm_fill_unique(char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		ksm_fill_page(mem + i * psize(), unique_seed(seed, i));
}

size_t ksm_compare(const void *mem, size_t len, u64 seed, unsigned char *expected)
{
	const u64 *words = mem;
	size_t i, byte;

	for (i = 0; i < len / sizeof(*words); i++) {
		u64 want = word(seed, i), got = words[i];

		if (got == want)
			continue;
		for (byte = 0; byte < sizeof(want); byte++) {
			*expected = ((unsigned char *)&want)[byte];
			if (((unsigned char *)&got)[byte] != *expected)
				break;
		}
		return i * sizeof(want) + byte;
	}
	return len;
}

void ksm_wrong_byte(const char *at, unsigned char expected)
{
	unsigned char got = *at;

	ksm_fail("wrong byte at %p: got 0x%02x, expected 0x%02x, pagemap 0x%llx, kpageflags 0x%llx",
		 at, got, expected, ksm_pagemap(0, at), ksm_kpageflags(ksm_pfn(at)));
}

static void verify_page(const char *page, u64 seed)
{
	unsigned char expected;
	size_t at = ksm_compare(page, psize(), seed, &expected);

	if (at < psize())
		ksm_wrong_byte(page + at, expected);
}

void ksm_verify_equal(const char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		verify_page(mem + i * psize(), seed);
}

void ksm_verify_unique(const char *mem, size_t pages, u64 seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		verify_page(mem + i * psize(), unique_seed(seed, i));
}

void ksm_verify_zeros(const char *mem, size_t pages)
{
	size_t i;

	for (i = 0; i < pages * psize(); i++)
		if (mem[i])
			ksm_wrong_byte(mem + i, 0);
}

void ksm_mergeable(char *mem, size_t pages)
{
	ksm_check_sys(madvise(mem, pages * psize(), MADV_MERGEABLE));
}

void ksm_unmergeable(char *mem, size_t pages)
{
	ksm_check_sys(madvise(mem, pages * psize(), MADV_UNMERGEABLE));
}

char *ksm_map_equal(size_t pages, u64 seed)
{
	char *mem = ksm_map(pages);

	ksm_fill_equal(mem, pages, seed);
	ksm_mergeable(mem, pages);
	return mem;
}

char *ksm_map_unique(size_t pages, u64 seed)
{
	char *mem = ksm_map(pages);

	ksm_fill_unique(mem, pages, seed);
	ksm_mergeable(mem, pages);
	return mem;
}

/* Pages of their own: the kernel's zero page is mapped only where nobody ever wrote. */
char *ksm_map_zeros(size_t pages)
{
	char *mem = ksm_map(pages);

	memset(mem, 1, pages * psize());
	memset(mem, 0, pages * psize());
	ksm_mergeable(mem, pages);
	return mem;
}
