// SPDX-License-Identifier: GPL-2.0
/* Going along records: who steps, and who searches, meets the same and skips nothing. */
#include "../block.h"
#include "../record.h"
#include "../state.h"
#include "fixture.h"

static void store(struct kunit *test, struct ksm_mm *km, unsigned long index, void *entry)
{
	KUNIT_ASSERT_EQ(test, ksm_record_store(km, index, entry), 0);
}

static void *calm(unsigned long hash)
{
	return ksm_record_pack((struct ksm_record) { .hash = hash, .calm = true });
}

/* Where something is, on either side of the borders of blocks. */
static const unsigned long known[] = { 1, 63, 64, 66, 127, 192, 4096 };

static struct ksm_mm *make_known(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		store(test, km, known[i], calm(known[i]));
	return km;
}

static void expect_next(struct kunit *test, struct ksm_mm *km, unsigned long first)
{
	struct ksm_record_cursor at = ksm_record_begin(km, first);
	unsigned long index;
	void *entry;

	for (index = first; index < 5000; index++) {
		entry = ksm_record_next(&at);
		KUNIT_EXPECT_PTR_EQ_MSG(test, entry, ksm_record_load(km, index),
					"page %lu from %lu", index, first);
	}
}

static void a_cursor_meets_each_page(struct kunit *test)
{
	struct ksm_mm *km = make_known(test);
	unsigned long index;

	for (index = 0; index < 200; index++)
		expect_next(test, km, index);
	/* As well where all pages of a block are known. */
	for (index = 64; index < 128; index++)
		store(test, km, index, calm(index));
	ksm_record_erase(km, 100);
	for (index = 0; index < 200; index++)
		expect_next(test, km, index);
}

static void only_what_the_cursor_gave_is_amended(struct kunit *test)
{
	struct ksm_mm *km = make_known(test);
	struct ksm_record_cursor at = ksm_record_begin(km, 60);
	struct ksm_record record;
	unsigned long index;
	unsigned int i;

	for (index = 60; index <= 64; index++)
		if (ksm_record_next(&at))
			ksm_record_amend(&at, (struct ksm_record) { .hash = index + 1 });
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), ARRAY_SIZE(known) - 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 2);
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		index = known[i];
		record = ksm_record_unpack(ksm_record_load(km, index));
		KUNIT_EXPECT_EQ(test, record.hash, index == 63 || index == 64 ? index + 1 : index);
	}
}

static void a_range_is_distrusted_and_no_more(struct kunit *test)
{
	struct ksm_mm *km = ksm_test_records(test);
	struct ksm_record record;
	unsigned long index;

	for (index = 50; index < 150; index++)
		store(test, km, index, ksm_record_pack((struct ksm_record) { .trusted = true }));
	ksm_record_distrust(km, 63, 128);
	for (index = 50; index < 150; index++) {
		record = ksm_record_unpack(ksm_record_load(km, index));
		KUNIT_EXPECT_EQ(test, record.trusted, index < 63 || index > 128);
	}
}

static void a_search_ends_where_it_shall(struct kunit *test)
{
	struct ksm_mm *km = make_known(test);
	unsigned long first, last, index, want;
	unsigned int i;

	for (first = 0; first < 200; first++)
		for (last = first; last < 200; last++) {
			for (i = 0; known[i] < first;)
				i++;
			want = known[i];
			index = first;
			if (ksm_record_find(km, &index, last))
				KUNIT_EXPECT_EQ(test, index, want);
			else
				KUNIT_EXPECT_GT(test, want, last);
		}
	index = 193;
	KUNIT_EXPECT_NOT_NULL(test, ksm_record_find(km, &index, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, index, 4096);
}

static void what_is_found_may_be_erased(struct kunit *test)
{
	struct ksm_mm *km = make_known(test);
	unsigned long index;
	unsigned int i = 0;

	for (index = 0; ksm_record_find(km, &index, ULONG_MAX); index++) {
		KUNIT_ASSERT_LT(test, i, ARRAY_SIZE(known));
		KUNIT_EXPECT_EQ(test, index, known[i++]);
		ksm_record_erase(km, index);
	}
	KUNIT_EXPECT_EQ(test, i, ARRAY_SIZE(known));
	KUNIT_EXPECT_TRUE(test, ksm_block_none(km));
	KUNIT_EXPECT_EQ(test, km->bytes, 0);
}

static struct kunit_case cursor_cases[] = {
	KUNIT_CASE(a_cursor_meets_each_page),
	KUNIT_CASE(only_what_the_cursor_gave_is_amended),
	KUNIT_CASE(a_range_is_distrusted_and_no_more),
	KUNIT_CASE(a_search_ends_where_it_shall),
	KUNIT_CASE(what_is_found_may_be_erased),
	{ }
};

static struct kunit_suite cursor_suite = {
	.name = "ksm_cursor",
	.init = ksm_test_init,
	.test_cases = cursor_cases,
};

kunit_test_suite(cursor_suite);
