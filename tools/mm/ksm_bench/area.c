// SPDX-License-Identifier: GPL-2.0-only
/* Area: memory whose content can be told again, so that KSM is never believed. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

/* splitmix64's last step. */
static __u64 mix(__u64 word)
{
	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
	word = (word ^ word >> 27) * 0x94d049bb133111eb;
	return word ^ word >> 31;
}

/* What a word of a page is that nobody wrote to. */
static __u64 word_of(const struct area *area, unsigned long page, size_t i)
{
	__u64 id = area->first_id + page % area->ids + 1;
	__u64 of = area->prefix && i < WORDS / 2 ? 0 : id;

	return mix((of << 10 | i) * 0x9e3779b97f4a7c15);
}

static void page_content(const struct area *area, unsigned long page, __u64 *words)
{
	size_t i;

	for (i = 0; i < WORDS; i++)
		words[i] = word_of(area, page, i);
}

/* The last time that a page was written to: what, and which word. */
static __u64 written_word(unsigned long page, __u32 times)
{
	return mix((__u64)page << 32 | times);
}

static size_t written_at(const struct area *area, unsigned long page, __u32 times)
{
	size_t first = area->prefix ? WORDS / 2 : 0;

	return first + mix(~((__u64)page << 32 | times)) % (WORDS - first);
}

static char *at(const struct area *area, unsigned long page)
{
	return area->base + page * (area->apart ?: PAGE);
}

static unsigned long size_of(const struct area *area)
{
	return area->pages * (area->apart ?: PAGE);
}

/*
 * All write faults at a stroke, so that each page is as if just written: in User Mode Linux
 * each that a program takes goes by the host. What is writable already stays as it is.
 */
void area_populate(struct area *area)
{
	if (!area->apart && madvise(area->base, size_of(area), MADV_POPULATE_WRITE))
		fail("madvise(MADV_POPULATE_WRITE): %m");
}

static void fill(struct area *area)
{
	unsigned long page;

	area_populate(area);
	for (page = 0; page < area->pages; page++)
		page_content(area, page, (__u64 *)at(area, page));
}

void area_make(struct area *area)
{
	area->base = mmap(NULL, size_of(area), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	area->writes = calloc(area->pages, sizeof(*area->writes));
	area->chosen = calloc(area->pages, sizeof(*area->chosen));
	if (area->base == MAP_FAILED || !area->writes || !area->chosen)
		fail("no memory for %lu pages", area->pages);
	fill(area);
}

/* New pages in the place of the old ones, as if they were just loaded. Not while offered. */
void area_renew(struct area *area)
{
	if (madvise(area->base, size_of(area), MADV_DONTNEED))
		fail("madvise(MADV_DONTNEED): %m");
	memset(area->writes, 0, area->pages * sizeof(*area->writes));
	fill(area);
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

/* One of so many parts of the area, which are as good as equal. */
struct area area_part(const struct area *area, unsigned int number, unsigned int parts)
{
	unsigned long first = area->pages * number / parts;
	struct area part = *area;

	part.base = at(area, first);
	part.pages = area->pages * (number + 1) / parts - first;
	return part;
}

/* A page has one word at a time that differs, here and there in it. */
static void write_page(struct area *area, unsigned long page)
{
	__u64 *words = (__u64 *)at(area, page);
	__u32 times = area->writes[page]++;
	size_t i = written_at(area, page, times);

	if (times)
		words[i] = word_of(area, page, i);
	words[written_at(area, page, times + 1)] = written_word(page, times + 1);
}

/* Chooses so many of a thousand pages, other ones each turn; how many that are. */
unsigned long area_choose(struct area *area, unsigned int per_mille, unsigned long turn)
{
	unsigned long page;

	area->nr_chosen = 0;
	for (page = 0; page < area->pages; page++)
		if (mix((__u64)turn << 32 | page) % 1000 < per_mille)
			area->chosen[area->nr_chosen++] = page;
	return area->nr_chosen;
}

void area_write_chosen(struct area *area)
{
	unsigned long i;

	for (i = 0; i < area->nr_chosen; i++)
		write_page(area, area->chosen[i]);
}

/* Both at once; how many were written to. */
unsigned long area_write_share(struct area *area, unsigned int per_mille, unsigned long turn)
{
	unsigned long chosen = area_choose(area, per_mille, turn);

	area_write_chosen(area);
	return chosen;
}

/* Writes what is there already. */
void area_rewrite(struct area *area)
{
	unsigned long page;

	for (page = 0; page < area->pages; page++)
		__atomic_fetch_add(at(area, page), 0, __ATOMIC_RELAXED);
}

void area_verify(const struct area *area)
{
	__u64 want[WORDS];
	unsigned long page;

	for (page = 0; page < area->pages; page++) {
		page_content(area, page, want);
		if (area->writes[page])
			want[written_at(area, page, area->writes[page])] =
				written_word(page, area->writes[page]);
		if (memcmp(at(area, page), want, PAGE))
			fail("the content of page %lu of %lu is wrong", page, area->pages);
	}
}
