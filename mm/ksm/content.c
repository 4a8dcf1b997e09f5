// SPDX-License-Identifier: GPL-2.0
/*
 * What a page holds: its hash, its order, and how to have it in the cache in time.
 *
 * Hash and comparison read a page that its program may be writing to: what
 * they say is a hint, unless the caller holds the page write-protected.
 *
 * Owns the seed of the hash. Does not know what is remembered of a page.
 *
 * Floor 1: knows pages alone.
 */
#include <linux/cache.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/xxhash.h>

#include "content.h"
#include "types.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "ksm."

/* May memcmp_pages() tell pages apart of the same bytes? A test can have it do so. */
#define MORE_THAN_BYTES	(IS_ENABLED(CONFIG_ARM64_MTE) || IS_ENABLED(CONFIG_KSM_KUNIT_TEST))

static u64 hash_seed __ro_after_init;
static u64 zero_hash __ro_after_init;

#ifdef CONFIG_KSM_DEBUG
/* ksm.hash_mask=3 leaves four hashes, so that the order by content is used. */
static u64 hash_mask __ro_after_init = U64_MAX;
module_param(hash_mask, ullong, 0444);
MODULE_PARM_DESC(hash_mask, "bits of the page hash to keep, to test collisions");
#else
#define hash_mask	U64_MAX
#endif

static int __init seed(void)
{
	hash_seed = get_random_u64();
	zero_hash = ksm_content_hash(ZERO_PAGE(0));
	return 0;
}
core_initcall(seed);

/*
 * So much is read at once of a page. Of the one after it as much is asked for when that is
 * known, half as much with each step of the reading, and the rest behind: a CPU waits for
 * few lines at a time, and memory shall not stand idle in between.
 */
#define STEP	1024

/* Hashes of the parts, one above the other, and above them which has changed last. */
#define PART_SIZE	((unsigned int)(PAGE_SIZE / KSM_CONTENT_PARTS))
#define PART_BITS	((KSM_HASH_BITS - ilog2(KSM_CONTENT_PARTS)) / KSM_CONTENT_PARTS)
#define PART_MASK	GENMASK_ULL(PART_BITS - 1, 0)
#define LAST_SHIFT	(KSM_CONTENT_PARTS * PART_BITS)

static_assert(LAST_SHIFT + ilog2(KSM_CONTENT_PARTS) <= KSM_HASH_BITS);

static unsigned int last_part(u64 parts)
{
	return parts >> LAST_SHIFT & (KSM_CONTENT_PARTS - 1);
}

static void fetch(struct ksm_ahead *ahead, unsigned int most)
{
	unsigned int end = ahead->at + min(most, ahead->left);

	ahead->left -= end - ahead->at;
	for (; ahead->at < end; ahead->at += L1_CACHE_BYTES) {
		if (ahead->page)
			prefetch(ahead->page + ahead->at);
		if (ahead->twin)
			prefetch(ahead->twin + ahead->at);
	}
}

static const void *content_of(const struct page *page)
{
	return page && !PageHighMem(page) ? page_address(page) : NULL;
}

static void plan(struct ksm_ahead *ahead, const struct page *page, const struct page *twin,
		 unsigned int at, unsigned int bytes)
{
	ahead->page = content_of(page);
	ahead->twin = content_of(twin);
	ahead->at = at;
	ahead->left = ahead->page || ahead->twin ? bytes : 0;
	fetch(ahead, STEP);
}

/**
 * ksm_content_plan() - a page is going to be looked at soon: ask for its beginning
 * @ahead: filled in
 * @page: the page
 * @twin: what it may be compared with; NULL for nothing
 *
 * It is a wish: nothing happens if one of them is freed meanwhile.
 *
 * Context: Any context in which the struct pages of both are there.
 */
void ksm_content_plan(struct ksm_ahead *ahead, const struct page *page,
		      const struct page *twin)
{
	plan(ahead, page, twin, 0, PAGE_SIZE);
	if (twin)
		prefetchw(twin);
}

/**
 * ksm_content_plan_part() - of a page the part is going to be looked at that changed last
 * @ahead: filled in
 * @page: the page
 * @parts: what is known of its parts
 *
 * Context: As for ksm_content_plan().
 */
void ksm_content_plan_part(struct ksm_ahead *ahead, const struct page *page, u64 parts)
{
	plan(ahead, page, NULL, last_part(parts) * PART_SIZE, PART_SIZE);
}

/**
 * ksm_content_fetch() - ask for what is left of a page at once
 * @ahead: what was planned, or nothing
 *
 * Context: Any context.
 */
void ksm_content_fetch(struct ksm_ahead *ahead)
{
	fetch(ahead, PAGE_SIZE);
}

/* What is kept of a hash. */
static u64 shorten(u64 hash)
{
	return hash & hash_mask & GENMASK_ULL(KSM_HASH_BITS - 1, 0);
}

/**
 * ksm_content_hash() - hash what a page holds
 * @page: the page; the caller keeps it from being freed
 *
 * The seed makes it hard to prepare pages of one hash; it is no proof against
 * that, so everything that goes by the hash must cope with collisions.
 *
 * Context: Any context that may touch the page.
 * Return: The hash.
 */
u64 ksm_content_hash(struct page *page)
{
	void *content = kmap_local_page(page);
	u64 hash = xxh64(content, PAGE_SIZE, hash_seed);

	kunmap_local(content);
	return shorten(hash);
}

/**
 * ksm_content_hash_ahead() - hash what a page holds, and fetch what comes next meanwhile
 * @page: the page; the caller keeps it from being freed
 * @ahead: what comes next; NULL for nothing
 *
 * Context: Any context that may touch the page.
 * Return: The same as ksm_content_hash().
 */
u64 ksm_content_hash_ahead(struct page *page, struct ksm_ahead *ahead)
{
	struct xxh64_state state;
	unsigned int at;
	void *content;

	if (!ahead || !ahead->left)
		return ksm_content_hash(page);
	content = kmap_local_page(page);
	xxh64_reset(&state, hash_seed);
	for (at = 0; at < PAGE_SIZE; at += STEP) {
		fetch(ahead, STEP / 2);
		xxh64_update(&state, content + at, STEP);
	}
	kunmap_local(content);
	fetch(ahead, PAGE_SIZE);
	return shorten(xxh64_digest(&state));
}

static u64 hash_part(const void *content, unsigned int part)
{
	return xxh64(content + part * PART_SIZE, PART_SIZE, hash_seed) & hash_mask & PART_MASK;
}

/**
 * ksm_content_hash_parts() - hash what each part of a page holds
 * @page: the page; the caller keeps it from being freed
 *
 * Context: Any context that may touch the page.
 * Return: What ksm_content_parts_differ() goes by, in as many bits as a hash has.
 */
u64 ksm_content_hash_parts(struct page *page)
{
	void *content = kmap_local_page(page);
	unsigned int part;
	u64 parts = 0;

	for (part = 0; part < KSM_CONTENT_PARTS; part++)
		parts |= hash_part(content, part) << part * PART_BITS;
	kunmap_local(content);
	return parts;
}

/**
 * ksm_content_parts_differ() - has a page changed, as far as the hashes of its parts tell?
 * @page: the page; the caller keeps it from being freed
 * @parts: what they were; told of those that were found to have changed
 * @ahead: what comes next; NULL for nothing
 *
 * If the part that changed last has done so again, the others are not read.
 *
 * Context: Any context that may touch the page.
 * Return: true if so.
 */
bool ksm_content_parts_differ(struct page *page, u64 *parts, struct ksm_ahead *ahead)
{
	unsigned int first = last_part(*parts), last = KSM_CONTENT_PARTS, part, shift, i;
	void *content = kmap_local_page(page);
	u64 change;

	for (i = 0; i < KSM_CONTENT_PARTS && last != first; i++) {
		if (ahead)
			fetch(ahead, STEP);
		part = (first + i) % KSM_CONTENT_PARTS;
		shift = part * PART_BITS;
		change = hash_part(content, part) ^ (*parts >> shift & PART_MASK);
		*parts ^= change << shift;
		if (change)
			last = part;
	}
	kunmap_local(content);
	if (last == KSM_CONTENT_PARTS)
		return false;
	*parts &= GENMASK_ULL(LAST_SHIFT - 1, 0);
	*parts |= (u64)last << LAST_SHIFT;
	return true;
}

/**
 * ksm_content_zero_hash() - the hash of a page of zeros
 *
 * Context: Any context.
 * Return: The hash.
 */
u64 ksm_content_zero_hash(void)
{
	return zero_hash;
}

/**
 * ksm_content_compare() - compare what two pages hold
 * @a: a page
 * @b: another
 *
 * Goes through memcmp_pages(), by which an architecture can keep pages apart
 * that differ in more than their bytes, like arm64's memory tags.
 *
 * Context: Any context that may touch the pages.
 * Return: 0 when equal, else the order of the two.
 */
int ksm_content_compare(struct page *a, struct page *b)
{
	return memcmp_pages(a, b);
}

/* As memcmp() of STEP bytes, most likely equal: it keeps up with memory. */
static int compare_step(const unsigned long *a, const unsigned long *b)
{
	int order = 0;
	unsigned int i;

	for (i = 0; i < STEP / sizeof(*a) && !order; i += 4)
		if ((a[i] ^ b[i]) | (a[i + 1] ^ b[i + 1]) |
		    (a[i + 2] ^ b[i + 2]) | (a[i + 3] ^ b[i + 3]))
			order = memcmp(a + i, b + i, 4 * sizeof(*a));
	return order;
}

/**
 * ksm_content_compare_ahead() - compare two pages, and fetch what comes next meanwhile
 * @a: a page
 * @b: another
 * @ahead: what comes next; NULL for nothing
 *
 * Context: Any context that may touch the pages.
 * Return: As ksm_content_compare(), of the bytes that it read: a program may have
 *	   written others since.
 */
int ksm_content_compare_ahead(struct page *a, struct page *b, struct ksm_ahead *ahead)
{
	void *of_a, *of_b;
	unsigned int at;
	int order = 0;

	if (!ahead)
		return ksm_content_compare(a, b);
	of_a = kmap_local_page(a);
	of_b = kmap_local_page(b);
	for (at = 0; at < PAGE_SIZE && !order; at += STEP) {
		fetch(ahead, STEP / 2);
		order = compare_step(of_a + at, of_b + at);
	}
	kunmap_local(of_b);
	kunmap_local(of_a);
	if (!order)
		fetch(ahead, PAGE_SIZE);
	if (!order && MORE_THAN_BYTES)
		order = ksm_content_compare(a, b);
	return order;
}
