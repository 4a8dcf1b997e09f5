// SPDX-License-Identifier: GPL-2.0-only
/* Area: memory whose content can be told again, so that KSM is never believed. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define WRITTEN_WORD (WORDS / 2 + 44)

/* splitmix64's last step. */
static __u64 mix(__u64 word)
{
	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
	word = (word ^ word >> 27) * 0x94d049bb133111eb;
	return word ^ word >> 31;
}

static void page_content(const struct area *area, unsigned long page, __u64 *words)
{
	__u64 id = area->first_id + page % area->ids + 1;
	size_t i;

	for (i = 0; i < WORDS; i++) {
		__u64 of = area->prefix && i < WORDS / 2 ? 0 : id;

		words[i] = mix((of << 10 | i) * 0x9e3779b97f4a7c15);
	}
}

static __u64 written_word(unsigned long page, __u32 times)
{
	return mix((__u64)page << 32 | times);
}

static char *at(const struct area *area, unsigned long page)
{
	return area->base + page * (area->apart ?: PAGE);
}

static unsigned long size_of(const struct area *area)
{
	return area->pages * (area->apart ?: PAGE);
}

void area_make(struct area *area)
{
	unsigned long page;

	area->base = mmap(NULL, size_of(area), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	area->writes = calloc(area->pages, sizeof(*area->writes));
	if (area->base == MAP_FAILED || !area->writes)
		fail("no memory for %lu pages", area->pages);
	for (page = 0; page < area->pages; page++)
		page_content(area, page, (__u64 *)at(area, page));
}

void area_offer(struct area *area)
{
	if (madvise(area->base, size_of(area), MADV_MERGEABLE))
		fail("madvise(MADV_MERGEABLE): %m");
}

void area_withdraw(struct area *area)
{
	if (madvise(area->base, size_of(area), MADV_UNMERGEABLE))
		fail("madvise(MADV_UNMERGEABLE): %m");
}

void area_write(struct area *area, unsigned long page)
{
	__u64 *words = (__u64 *)at(area, page);

	words[WRITTEN_WORD] = written_word(page, ++area->writes[page]);
}

/* Writes to so many of a thousand pages, to other ones each turn; how many that were. */
unsigned long area_write_share(struct area *area, unsigned int per_mille, unsigned long turn)
{
	unsigned long page, written = 0;

	for (page = 0; page < area->pages; page++) {
		if (mix((__u64)turn << 32 | page) % 1000 >= per_mille)
			continue;
		area_write(area, page);
		written++;
	}
	return written;
}

void area_verify(const struct area *area)
{
	__u64 want[WORDS];
	unsigned long page;

	for (page = 0; page < area->pages; page++) {
		page_content(area, page, want);
		if (area->writes[page])
			want[WRITTEN_WORD] = written_word(page, area->writes[page]);
		if (memcmp(at(area, page), want, PAGE))
			fail("the content of page %lu of %lu is wrong", page, area->pages);
	}
}
