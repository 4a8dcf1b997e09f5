// SPDX-License-Identifier: GPL-2.0
/* Records: what goes in comes out, a page ages while it is the same, and all is counted. */
#include <linux/fault-inject.h>

#include "../item.h"
#include "../record.h"
#include "../state.h"
#include "fixture.h"

#define HASH_MAX	((1ULL << KSM_HASH_BITS) - 1)
#define PFN_MAX		((1UL << KSM_RECORD_PFN_BITS) - 1)

/* ------------------------------------------------------------------------ */
/* Packing.                                                                 */

static struct ksm_record through_entry(u64 hash, unsigned long pfn, unsigned int age, bool calm)
{
	return ksm_record_unpack(ksm_record_pack((struct ksm_record) {
		.hash = hash, .pfn = pfn, .age = age, .calm = calm }));
}

static void what_fits_comes_back(struct kunit *test)
{
	static const u64 hashes[] = { 0, 1, HASH_MAX / 2, HASH_MAX / 2 + 1, HASH_MAX };
	static const unsigned long pfns[] = { 0, 1, PFN_MAX / 2, PFN_MAX / 2 + 1, PFN_MAX };
	static const unsigned int ages[] = { 0, 1, KSM_RECORD_AGE_MAX - 1, KSM_RECORD_AGE_MAX };
	struct ksm_record out;
	int h, p, a, calm;

	for (h = 0; h < ARRAY_SIZE(hashes); h++)
		for (p = 0; p < ARRAY_SIZE(pfns); p++)
			for (a = 0; a < ARRAY_SIZE(ages); a++)
				for (calm = 0; calm < 2; calm++) {
					out = through_entry(hashes[h], pfns[p], ages[a], calm);
					KUNIT_EXPECT_EQ(test, out.hash, hashes[h]);
					KUNIT_EXPECT_EQ(test, out.pfn, pfns[p]);
					KUNIT_EXPECT_EQ(test, out.age, ages[a]);
					KUNIT_EXPECT_EQ(test, out.calm, calm);
				}
}

static void what_does_not_fit_spoils_no_neighbour(struct kunit *test)
{
	struct ksm_record out;

	out = through_entry(U64_MAX, 0, 0, false);
	KUNIT_EXPECT_EQ(test, out.hash, HASH_MAX);
	KUNIT_EXPECT_EQ(test, out.pfn, 0);
	KUNIT_EXPECT_EQ(test, out.age, 0);

	out = through_entry(0, ULONG_MAX, 0, false);
	KUNIT_EXPECT_EQ(test, out.hash, 0);
	KUNIT_EXPECT_EQ(test, out.pfn, PFN_MAX);
	KUNIT_EXPECT_EQ(test, out.age, 0);
}

static void age_stops_at_its_maximum(struct kunit *test)
{
	struct ksm_record out = through_entry(0, 0, KSM_RECORD_AGE_MAX + 1, false);

	KUNIT_EXPECT_EQ(test, out.age, KSM_RECORD_AGE_MAX);
	KUNIT_EXPECT_EQ(test, out.hash, 0);
	KUNIT_EXPECT_EQ(test, out.pfn, 0);
	out = through_entry(0, 0, UINT_MAX, false);
	KUNIT_EXPECT_EQ(test, out.age, KSM_RECORD_AGE_MAX);
}

static void a_value_is_no_item(struct kunit *test)
{
	void *entry = ksm_record_pack((struct ksm_record) { .hash = U64_MAX, .pfn = ULONG_MAX });

	KUNIT_EXPECT_TRUE(test, xa_is_value(entry));
	KUNIT_EXPECT_NULL(test, ksm_record_item(entry));
	KUNIT_EXPECT_NULL(test, ksm_record_item(NULL));
}

/* ------------------------------------------------------------------------ */
/* Renewing.                                                                */

/* Of a page that was read more than once, and did not change. */
static void *entry_of(u64 hash, unsigned long pfn, unsigned int age)
{
	return ksm_record_pack((struct ksm_record) {
		.hash = hash, .pfn = pfn, .age = age, .calm = age });
}

static void same_content_grows_older(struct kunit *test)
{
	void *entry = entry_of(7, 9, 0);
	struct ksm_record record;
	unsigned int age;

	for (age = 1; age <= KSM_RECORD_AGE_MAX + 2; age++) {
		record = ksm_record_renew(entry, 7, 9);
		KUNIT_EXPECT_EQ(test, record.age, min(age, KSM_RECORD_AGE_MAX));
		entry = ksm_record_pack(record);
	}
}

static void bits_that_are_not_kept_do_not_matter(struct kunit *test)
{
	void *entry = entry_of(HASH_MAX, PFN_MAX, 3);

	KUNIT_EXPECT_EQ(test, ksm_record_renew(entry, U64_MAX, ULONG_MAX).age, 4);
}

static void change_ends_calm_but_not_age(struct kunit *test)
{
	void *entry = entry_of(HASH_MAX, PFN_MAX, 3);

	KUNIT_EXPECT_TRUE(test, ksm_record_renew(entry, HASH_MAX, PFN_MAX).calm);
	KUNIT_EXPECT_FALSE(test, ksm_record_renew(entry, HASH_MAX - 1, PFN_MAX).calm);
	KUNIT_EXPECT_FALSE(test, ksm_record_renew(entry, HASH_MAX / 2, PFN_MAX).calm);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(entry, HASH_MAX - 1, PFN_MAX).age, 4);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(entry, HASH_MAX / 2, PFN_MAX).age, 4);
}

static void another_page_is_young(struct kunit *test)
{
	void *entry = entry_of(HASH_MAX, PFN_MAX, 3);

	KUNIT_EXPECT_FALSE(test, ksm_record_renew(entry, HASH_MAX, PFN_MAX - 1).calm);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(entry, HASH_MAX, PFN_MAX - 1).age, 0);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(entry, HASH_MAX, PFN_MAX / 2).age, 0);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(entry, HASH_MAX, PFN_MAX - 1).pfn, PFN_MAX - 1);
}

/* Hashes of parts are no hash, whatever they look like. */
static void who_is_restless_has_no_hash(struct kunit *test)
{
	void *entry = ksm_record_pack((struct ksm_record) {
		.hash = 7, .pfn = 9, .age = 3, .restless = true });
	struct ksm_record record = ksm_record_unpack(entry);

	KUNIT_EXPECT_TRUE(test, record.restless);
	KUNIT_EXPECT_EQ(test, record.hash, 7);
	KUNIT_EXPECT_EQ(test, record.pfn, 9);
	KUNIT_EXPECT_EQ(test, record.age, 3);
	KUNIT_EXPECT_FALSE(test, record.calm || record.trusted);
	KUNIT_EXPECT_FALSE(test, ksm_record_has(entry, 7));
	KUNIT_EXPECT_FALSE(test, ksm_record_renew(entry, 7, 9).calm);
	KUNIT_EXPECT_FALSE(test, ksm_record_renew(entry, 7, 9).restless);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(entry, 7, 9).age, 4);
	KUNIT_EXPECT_TRUE(test, ksm_record_has(entry_of(7, 9, 3), 7));
	KUNIT_EXPECT_FALSE(test, ksm_record_unpack(entry_of(7, 9, 3)).restless);
}

static void a_candidate_ages_as_well(struct kunit *test)
{
	struct ksm_item item = { .hash = 7, .pfn = 9, .age = 3 };
	struct ksm_record record;

	KUNIT_EXPECT_TRUE(test, ksm_record_recall(&item, 9, &record));
	KUNIT_EXPECT_TRUE(test, record.calm);
	KUNIT_EXPECT_EQ(test, record.hash, 7);
	KUNIT_EXPECT_EQ(test, record.age, 3);
	KUNIT_EXPECT_FALSE(test, ksm_record_recall(&item, 8, &record));
	/* It knows all of the page frame number; a record does not. */
	item.pfn += KSM_RECORD_PFN_MASK + 1;
	KUNIT_EXPECT_TRUE(test, ksm_record_recall(&item, item.pfn, &record));
	KUNIT_EXPECT_EQ(test, record.pfn, 9);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(&item, 7, 9).age, 4);
	KUNIT_EXPECT_TRUE(test, ksm_record_renew(&item, 7, 9).calm);
	KUNIT_EXPECT_FALSE(test, ksm_record_renew(&item, 6, 9).calm);
}

static void what_is_no_record_is_not_recalled(struct kunit *test)
{
	struct ksm_item item = { .hash = 7, .kind = KSM_ITEM_MERGED };
	struct ksm_record record;

	KUNIT_EXPECT_FALSE(test, ksm_record_recall(NULL, 0, &record));
	KUNIT_EXPECT_FALSE(test, ksm_record_recall(&item, 0, &record));
	KUNIT_EXPECT_FALSE(test, ksm_record_recall(entry_of(7, 9, 3), 8, &record));
}

static void what_rests_is_calm_and_trusted_and_the_same_page(struct kunit *test)
{
	struct ksm_record record = {
		.hash = HASH_MAX, .pfn = 9, .age = 3, .calm = true, .trusted = true };
	void *entry = ksm_record_pack(record);
	struct ksm_item item = { .hash = 7, .pfn = 9, .age = 3, .trusted = true };
	unsigned int bit;

	KUNIT_EXPECT_TRUE(test, ksm_record_rests(entry, 9));
	/* As much of the number as is kept. */
	KUNIT_EXPECT_TRUE(test, ksm_record_rests(entry, 9 + PFN_MAX + 1));
	for (bit = 0; bit < KSM_RECORD_PFN_BITS; bit++)
		KUNIT_EXPECT_FALSE(test, ksm_record_rests(entry, 9 ^ BIT(bit)));
	record.calm = false;
	KUNIT_EXPECT_FALSE(test, ksm_record_rests(ksm_record_pack(record), 9));
	record.calm = true;
	record.trusted = false;
	KUNIT_EXPECT_FALSE(test, ksm_record_rests(ksm_record_pack(record), 9));
	KUNIT_EXPECT_FALSE(test, ksm_record_rests(&item, 9));
	KUNIT_EXPECT_FALSE(test, ksm_record_rests(NULL, 0));
}

static void without_a_record_a_page_is_young(struct kunit *test)
{
	struct ksm_item item = { .hash = 7, .kind = KSM_ITEM_ORPHAN };

	KUNIT_EXPECT_EQ(test, ksm_record_renew(NULL, 7, 9).age, 0);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(NULL, 7, 9).hash, 7);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(&item, 7, 9).age, 0);
	KUNIT_EXPECT_EQ(test, ksm_record_renew(&item, 7, 9).pfn, 9);
}

/* ------------------------------------------------------------------------ */
/* Keeping.                                                                 */

static void store(struct kunit *test, struct ksm_mm *km, unsigned long index, void *entry)
{
	KUNIT_ASSERT_EQ(test, ksm_record_store(km, index, entry), 0);
}

static struct ksm_item *store_item(struct kunit *test, struct ksm_mm *km, unsigned long index)
{
	struct ksm_item *item = ksm_item_alloc(km, index);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, item);
	err = ksm_record_store(km, index, item);
	if (err)
		ksm_item_free(item);
	KUNIT_ASSERT_EQ(test, err, 0);
	return item;
}

static void expect_counts(struct kunit *test, struct ksm_mm *km, long items, long calm,
			  long fickle)
{
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), items);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), calm);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), fickle);
	KUNIT_EXPECT_EQ(test, ksm_mm_of(km)->ksm_rmap_items, items + calm + fickle);
}

static void what_is_stored_is_found(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	void *entry = entry_of(7, 9, 3);
	struct ksm_item *item;

	store(test, km, 0, entry);
	item = store_item(test, km, ULONG_MAX >> PAGE_SHIFT);
	KUNIT_EXPECT_PTR_EQ(test, ksm_record_load(km, 0), entry);
	KUNIT_EXPECT_PTR_EQ(test, ksm_record_load(km, ULONG_MAX >> PAGE_SHIFT), (void *)item);
	KUNIT_EXPECT_NULL(test, ksm_record_load(km, 1));
	ksm_record_erase(km, 0);
	KUNIT_EXPECT_NULL(test, ksm_record_load(km, 0));
}

static void what_is_kept_is_counted(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	struct ksm_item *item;

	store(test, km, 1, entry_of(7, 9, 0));
	expect_counts(test, km, 0, 0, 1);
	store(test, km, 2, entry_of(7, 9, 1));
	expect_counts(test, km, 0, 1, 1);
	store(test, km, 3, entry_of(7, 9, KSM_RECORD_AGE_MAX));
	expect_counts(test, km, 0, 2, 1);
	item = store_item(test, km, 4);
	expect_counts(test, km, 1, 2, 1);

	ksm_record_erase(km, 1);
	expect_counts(test, km, 1, 2, 0);
	ksm_record_erase(km, 1);	/* nothing there any more */
	expect_counts(test, km, 1, 2, 0);
	ksm_record_erase(km, 2);
	expect_counts(test, km, 1, 1, 0);
	ksm_record_erase(km, 4);
	ksm_item_free(item);
	expect_counts(test, km, 0, 1, 0);
}

static void replacing_moves_the_count(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	struct ksm_item *item;

	store(test, km, 1, entry_of(7, 9, 0));
	store(test, km, 1, entry_of(7, 9, 1));
	expect_counts(test, km, 0, 1, 0);
	item = store_item(test, km, 1);
	expect_counts(test, km, 1, 0, 0);
	store(test, km, 1, entry_of(7, 9, 0));
	ksm_item_free(item);
	expect_counts(test, km, 0, 0, 1);
}

static void calm_pages_without_twin_are_unshared(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);

	store(test, km, 1, entry_of(7, 9, 0));
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), 0);
	store(test, km, 2, entry_of(7, 9, 1));
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), 1);
	store_item(test, km, 3);
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), 2);
}

static unsigned long next_marked(struct ksm_mm *km, unsigned long index)
{
	return ksm_record_find_item(km, &index, ULONG_MAX) ? index : ULONG_MAX;
}

static void only_items_are_marked(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	struct ksm_item *first, *second;

	store(test, km, 1, entry_of(7, 9, 1));
	KUNIT_EXPECT_EQ(test, next_marked(km, 0), ULONG_MAX);
	first = store_item(test, km, 1);
	second = store_item(test, km, 5000);
	store(test, km, 100, entry_of(7, 9, 1));
	KUNIT_EXPECT_EQ(test, next_marked(km, 0), 1);
	KUNIT_EXPECT_EQ(test, next_marked(km, 2), 5000);

	store(test, km, 1, entry_of(7, 9, 0));
	ksm_item_free(first);
	KUNIT_EXPECT_EQ(test, next_marked(km, 0), 5000);
	ksm_record_erase(km, 5000);
	ksm_item_free(second);
	KUNIT_EXPECT_EQ(test, next_marked(km, 0), ULONG_MAX);
	/* What comes to a place where an item was is not marked for it. */
	store(test, km, 5000, entry_of(7, 9, 1));
	KUNIT_EXPECT_EQ(test, next_marked(km, 0), ULONG_MAX);
}

static void another_item_keeps_the_mark(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	struct ksm_item *before = store_item(test, km, 3), *item = store_item(test, km, 4);
	struct ksm_item *behind = store_item(test, km, 5);

	ksm_record_erase(km, 4);
	ksm_item_free(item);
	KUNIT_EXPECT_EQ(test, next_marked(km, 4), 5);
	ksm_record_erase(km, 5);
	ksm_item_free(behind);
	KUNIT_EXPECT_EQ(test, next_marked(km, 0), 3);
	store(test, km, 3, entry_of(7, 9, 1));
	ksm_item_free(before);
	KUNIT_EXPECT_EQ(test, next_marked(km, 0), ULONG_MAX);
}

#ifdef CONFIG_FAILSLAB
#define FAR_AWAY	1000000

/* Store, and count the allocations that it took, as fault injection sees them. */
static unsigned int allocations(struct kunit *test, struct ksm_mm *km,
				unsigned long index, void *entry)
{
	unsigned int left;
	int err;

	current->fail_nth = FAR_AWAY;
	err = ksm_record_store(km, index, entry);
	left = current->fail_nth;
	current->fail_nth = 0;
	KUNIT_EXPECT_EQ(test, err, 0);
	return FAR_AWAY - left;
}

static void replacing_allocates_nothing(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	struct ksm_item *item = ksm_item_alloc(km, 5000);

	KUNIT_ASSERT_NOT_NULL(test, item);
	KUNIT_EXPECT_GT(test, allocations(test, km, 5000, entry_of(1, 2, 3)), 0);
	KUNIT_EXPECT_EQ(test, allocations(test, km, 5000, entry_of(4, 5, 6)), 0);
	KUNIT_EXPECT_EQ(test, allocations(test, km, 5000, item), 0);
	KUNIT_EXPECT_EQ(test, allocations(test, km, 5000, entry_of(1, 2, 3)), 0);
	ksm_item_free(item);
}
#else
static void replacing_allocates_nothing(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_FAILSLAB");
}
#endif

static struct kunit_case record_cases[] = {
	KUNIT_CASE(what_fits_comes_back),
	KUNIT_CASE(what_does_not_fit_spoils_no_neighbour),
	KUNIT_CASE(age_stops_at_its_maximum),
	KUNIT_CASE(a_value_is_no_item),
	KUNIT_CASE(same_content_grows_older),
	KUNIT_CASE(bits_that_are_not_kept_do_not_matter),
	KUNIT_CASE(change_ends_calm_but_not_age),
	KUNIT_CASE(another_page_is_young),
	KUNIT_CASE(who_is_restless_has_no_hash),
	KUNIT_CASE(a_candidate_ages_as_well),
	KUNIT_CASE(what_is_no_record_is_not_recalled),
	KUNIT_CASE(what_rests_is_calm_and_trusted_and_the_same_page),
	KUNIT_CASE(without_a_record_a_page_is_young),
	KUNIT_CASE(what_is_stored_is_found),
	KUNIT_CASE(what_is_kept_is_counted),
	KUNIT_CASE(replacing_moves_the_count),
	KUNIT_CASE(calm_pages_without_twin_are_unshared),
	KUNIT_CASE(only_items_are_marked),
	KUNIT_CASE(another_item_keeps_the_mark),
	KUNIT_CASE(replacing_allocates_nothing),
	{ }
};

static struct kunit_suite record_suite = {
	.name = "ksm_record",
	.init = ksm_test_init,
	.test_cases = record_cases,
};

kunit_test_suite(record_suite);
