// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory: what one worker holds.  First the files, each on pages of its own,
 * then pages that no other worker has; some of these are written all the time.
 *
 * Every byte can be told again from the archive, the seed and the generations,
 * so a verification never trusts the memory that KSM has worked on.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "share.h"

#define LIVE_PAGES 64	/* own pages that are written again and again */
#define LIVE_STEP 4
#define REWRITE_PAGES 256

int memory_get(struct memory *memory)
{
	__u64 pages = memory->file_pages + memory->own_pages;

	memory->generation = calloc(memory->own_pages, sizeof(*memory->generation));
	memory->base = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!memory->generation || memory->base == MAP_FAILED)
		return trouble("no memory for %llu pages", pages);
	return 0;
}

static void progress(struct memory *memory, __u64 bytes)
{
	__atomic_fetch_add(memory->done, bytes, __ATOMIC_RELAXED);
}

/* splitmix64: a page of its own for each worker, page and generation. */
static void own_fill(__u64 *words, __u64 seed, __u64 page, __u32 generation)
{
	__u64 state = seed << 48 ^ page << 20 ^ generation;
	size_t i;

	for (i = 0; i < page_size / sizeof(*words); i++) {
		__u64 word = state += 0x9e3779b97f4a7c15;

		word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
		word = (word ^ word >> 27) * 0x94d049bb133111eb;
		words[i] = word ^ word >> 31;
	}
}

static void *own_page(struct memory *memory, __u64 page)
{
	return memory->base + (memory->file_pages + page) * page_size;
}

static int load_piece(void *ctx, const struct archive_file *file, __u64 offset,
		      const char *bytes, size_t length)
{
	struct memory *memory = ctx;

	memcpy(memory->base + file->page * page_size + offset, bytes, length);
	progress(memory, length);
	return 0;
}

int memory_load(struct memory *memory, const char *archive)
{
	__u64 page;

	if (archive_walk(archive, load_piece, memory))
		return -1;
	for (page = 0; page < memory->own_pages; page++) {
		own_fill(own_page(memory, page), memory->seed, page, 0);
		progress(memory, page_size);
	}
	return 0;
}

int memory_offer(struct memory *memory)
{
	__u64 pages = memory->file_pages + memory->own_pages;

	if (madvise(memory->base, pages * page_size, MADV_MERGEABLE))
		return trouble("madvise(MADV_MERGEABLE): %m (a kernel without CONFIG_KSM?)");
	return 0;
}

static __u64 hash_page(const __u64 *words)
{
	__u64 hash = 0;
	size_t i;

	for (i = 0; i < page_size / sizeof(*words); i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15;
		hash ^= hash >> 32;
	}
	return hash;
}

static int compare_hashes(const void *left, const void *right)
{
	__u64 a = *(const __u64 *)left, b = *(const __u64 *)right;

	return a < b ? -1 : a > b;
}

/* How many different pages the files have: what a perfect KSM would keep of them. */
int memory_count_distinct(struct memory *memory, __u64 *distinct)
{
	__u64 *hashes = malloc(memory->file_pages * sizeof(*hashes));
	__u64 page;

	if (!hashes)
		return trouble("no memory to count the different pages");
	for (page = 0; page < memory->file_pages; page++)
		hashes[page] = hash_page((__u64 *)(memory->base + page * page_size));
	qsort(hashes, memory->file_pages, sizeof(*hashes), compare_hashes);
	*distinct = 1;
	for (page = 1; page < memory->file_pages; page++)
		*distinct += hashes[page] != hashes[page - 1];
	free(hashes);
	return 0;
}

static bool was_rewritten(struct memory *memory, __u64 page)
{
	return memory->stride && page % memory->stride == 0;
}

/* A rewritten page has every bit of the file's turned round. */
static size_t first_difference(const char *mine, const char *theirs, size_t length, bool inverted)
{
	char turn = inverted ? ~0 : 0;
	size_t i;

	if (!inverted && !memcmp(mine, theirs, length))
		return length;
	for (i = 0; i < length; i++)
		if (mine[i] != (char)(theirs[i] ^ turn))
			break;
	return i;
}

static int verify_tail(struct memory *memory, const struct archive_file *file, const char *end,
		       size_t length)
{
	__u64 last = file->page + file->size / page_size;
	char want = was_rewritten(memory, last) ? ~0 : 0;
	size_t i;

	for (i = 0; i < length; i++)
		if (end[i] != want)
			return trouble("%s: byte %zu behind its end is wrong", file->name, i);
	return 0;
}

static int verify_piece(void *ctx, const struct archive_file *file, __u64 offset,
			const char *bytes, size_t length)
{
	struct memory *memory = ctx;

	progress(memory, length);
	while (length) {
		__u64 page = file->page + offset / page_size;
		size_t run = page_size - offset % page_size;
		const char *mine = memory->base + file->page * page_size + offset;
		size_t good;

		if (run > length)
			run = length;
		good = first_difference(mine, bytes, run, was_rewritten(memory, page));
		if (good < run)
			return trouble("%s: byte %llu is wrong", file->name,
				       (offset + good));
		offset += run;
		bytes += run;
		length -= run;
		if (offset == file->size && offset % page_size)
			return verify_tail(memory, file, mine + run,
					   page_size - offset % page_size);
	}
	return 0;
}

int memory_verify(struct memory *memory, const char *archive)
{
	__u64 want[page_size / sizeof(__u64)];
	__u64 page;

	if (archive_walk(archive, verify_piece, memory))
		return -1;
	for (page = 0; page < memory->own_pages; page++) {
		own_fill(want, memory->seed, page, memory->generation[page]);
		if (memcmp(own_page(memory, page), want, page_size))
			return trouble("page %llu of its own data is wrong",
				       page);
		progress(memory, page_size);
	}
	return 0;
}

/* Turns every bit of some pages of the files, spread over all of them. */
__u64 memory_rewrite(struct memory *memory)
{
	__u64 page, word, rewritten = 0;

	memory->stride = memory->file_pages / REWRITE_PAGES ?: 1;
	for (page = 0; page < memory->file_pages; page += memory->stride) {
		__u64 *words = (__u64 *)(memory->base + page * page_size);

		for (word = 0; word < page_size / sizeof(*words); word++)
			words[word] = ~words[word];
		rewritten++;
	}
	return rewritten;
}

/* What a program does beside its shared data: some of its pages keep changing. */
void memory_touch_own(struct memory *memory)
{
	__u64 live = memory->own_pages < LIVE_PAGES ? memory->own_pages : LIVE_PAGES;
	int i;

	for (i = 0; i < LIVE_STEP; i++) {
		__u64 page = memory->live_next++ % live;

		own_fill(own_page(memory, page), memory->seed, page, ++memory->generation[page]);
	}
}
