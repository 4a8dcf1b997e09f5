// SPDX-License-Identifier: GPL-2.0
/* A page that changes again and again: told by its parts, until it comes to rest. */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../content.h"
#include "../mms.h"
#include "../record.h"
#include "../scan.h"
#include "../sieve.h"
#include "../state.h"
#include "fixture.h"

#define PART_SIZE	(PAGE_SIZE / KSM_CONTENT_PARTS)
#define TRIES		100	/* rounds after which one in four must have been chosen */

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;
static u64 content;

static int init(struct kunit *test)
{
	content = 1000;
	ksm_test_needs_hashes(test);
	return ksm_test_init_known(test, &at);
}

/* ------------------------------------------------------------------------ */
/* A page and its parts.                                                    */

/* The part that is looked at first. */
static unsigned int first_part(struct page *page, u64 parts)
{
	struct ksm_ahead ahead;

	ksm_content_plan_part(&ahead, page, parts);
	return (ahead.at + ahead.left - 1) / PART_SIZE;
}

static void what_did_not_change_differs_in_no_part(struct kunit *test)
{
	struct page *page = &ksm_test_folio(test, 7)->page;
	u64 parts = ksm_content_hash_parts(page), before = parts;

	KUNIT_EXPECT_FALSE(test, ksm_content_parts_differ(page, &parts, NULL));
	KUNIT_EXPECT_EQ(test, parts, before);
	KUNIT_EXPECT_EQ(test, parts >> KSM_HASH_BITS, 0);
}

/* Change the byte at @offset so that the hash of its part, which has few bits, changes too. */
static void change(struct kunit *test, struct folio *folio, unsigned int offset)
{
	u8 *byte = (u8 *)folio_address(folio) + offset;
	u64 before = ksm_content_hash_parts(&folio->page);
	unsigned int tries = 10;

	do
		byte[0]++;
	while (tries-- && ksm_content_hash_parts(&folio->page) == before);
	KUNIT_ASSERT_NE(test, ksm_content_hash_parts(&folio->page), before);
}

static void a_change_is_found_in_every_part(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 7);
	u64 parts = ksm_content_hash_parts(&folio->page);
	unsigned int i;

	for (i = 0; i < PAGE_SIZE; i += 64) {
		change(test, folio, i + i / 64 % 64);
		KUNIT_EXPECT_TRUE(test, ksm_content_parts_differ(&folio->page, &parts, NULL));
		KUNIT_EXPECT_EQ(test, first_part(&folio->page, parts), i / PART_SIZE);
		KUNIT_EXPECT_FALSE(test, ksm_content_parts_differ(&folio->page, &parts, NULL));
	}
}

/* What changed last is asked first; only if it has not changed, all others are. */
static void the_part_that_changed_last_is_the_first(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 7);
	u64 parts = ksm_content_hash_parts(&folio->page);
	unsigned int i;

	KUNIT_EXPECT_EQ(test, first_part(&folio->page, parts), 0);
	change(test, folio, PAGE_SIZE - 1);
	KUNIT_EXPECT_TRUE(test, ksm_content_parts_differ(&folio->page, &parts, NULL));
	change(test, folio, 0);
	for (i = 0; i < 3; i++) {
		change(test, folio, PAGE_SIZE - 1);
		KUNIT_EXPECT_TRUE(test, ksm_content_parts_differ(&folio->page, &parts, NULL));
		KUNIT_EXPECT_EQ(test, first_part(&folio->page, parts), KSM_CONTENT_PARTS - 1);
	}
	KUNIT_EXPECT_TRUE(test, ksm_content_parts_differ(&folio->page, &parts, NULL));
	KUNIT_EXPECT_EQ(test, first_part(&folio->page, parts), 0);
	KUNIT_EXPECT_FALSE(test, ksm_content_parts_differ(&folio->page, &parts, NULL));
}

static void of_a_page_only_a_part_is_asked_for(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 7);
	struct ksm_ahead ahead;

	ksm_content_plan_part(&ahead, &folio->page, ksm_content_hash_parts(&folio->page));
	KUNIT_EXPECT_PTR_EQ(test, ahead.page, folio_address(folio));
	KUNIT_EXPECT_NULL(test, ahead.twin);
	/* Of the beginning at once. */
	KUNIT_EXPECT_GT(test, ahead.at, 0);
	KUNIT_EXPECT_EQ(test, ahead.at + ahead.left, PART_SIZE);
	ksm_content_fetch(&ahead);
	KUNIT_EXPECT_EQ(test, ahead.left, 0);
	KUNIT_EXPECT_EQ(test, ahead.at, PART_SIZE);
}

/* ------------------------------------------------------------------------ */
/* Who is restless.                                                         */

static struct ksm_record record_of(unsigned int page)
{
	void *entry = ksm_record_load(ksm_mms_find(at.mm), at.page[page] >> PAGE_SHIFT);

	return xa_is_value(entry) ? ksm_record_unpack(entry) : (struct ksm_record) { };
}

/* Write to pages before each round, until they are taken for restless. */
static void agitate_both(struct kunit *test, unsigned int a, unsigned int b)
{
	unsigned int tries;

	for (tries = 0; tries < TRIES; tries++) {
		if (record_of(a).restless && record_of(b).restless)
			return;
		ksm_test_write(test, at.mm, at.page[a], ++content);
		if (b != a)
			ksm_test_write(test, at.mm, at.page[b], ++content);
		ksm_test_scan_rounds(1);
	}
	KUNIT_FAIL_AND_ABORT(test, "pages that always change are not restless");
}

static void agitate(struct kunit *test, unsigned int page)
{
	agitate_both(test, page, page);
}

static void who_changes_again_and_again_is_restless(struct kunit *test)
{
	struct ksm_record record;
	unsigned int i, age;

	agitate(test, 1);
	KUNIT_EXPECT_FALSE(test, record_of(3).restless);
	record = record_of(1);
	KUNIT_EXPECT_GE(test, record.age, 3);
	KUNIT_EXPECT_FALSE(test, record.calm);
	for (i = 0; i < 5; i++) {
		age = record_of(1).age;
		ksm_test_rewrite(test, at.mm, at.page[1], &content);
		KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), 1);
		KUNIT_EXPECT_TRUE(test, record_of(1).restless);
		KUNIT_EXPECT_EQ(test, record_of(1).age, min(age + 1, KSM_RECORD_AGE_MAX));
	}
}

static void who_changes_now_and_then_is_not(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < TRIES; i++) {
		ksm_test_write(test, at.mm, at.page[1], ++content);
		ksm_test_scan_rounds(1);
		KUNIT_ASSERT_FALSE(test, record_of(1).restless);
		ksm_test_scan_rounds(1);
		KUNIT_ASSERT_FALSE(test, record_of(1).restless);
	}
}

static void who_holds_is_known_as_a_whole(struct kunit *test)
{
	u64 hash;

	agitate(test, 1);
	/* Of what it held when it was found to be restless, the sieve was told. */
	ksm_test_write(test, at.mm, at.page[1], ++content);
	ksm_test_scan_rounds(3);
	hash = ksm_content_hash(&ksm_test_folio_at(at.mm, at.page[1])->page);
	KUNIT_EXPECT_FALSE(test, record_of(1).restless);
	KUNIT_EXPECT_TRUE(test, record_of(1).calm);
	KUNIT_EXPECT_EQ(test, record_of(1).hash, hash);
}

/* There, old pages are seldom read at all. */
static void with_smart_scan_nobody_is(struct kunit *test)
{
	unsigned int i;

	agitate(test, 1);
	WRITE_ONCE(ksm_state.smart_scan, true);
	for (i = 0; i < TRIES; i++) {
		ksm_test_write(test, at.mm, at.page[1], ++content);
		ksm_test_write(test, at.mm, at.page[2], ++content);
		ksm_test_scan_rounds(1);
		KUNIT_ASSERT_FALSE(test, record_of(1).restless);
		KUNIT_ASSERT_FALSE(test, record_of(2).restless);
	}
	WRITE_ONCE(ksm_state.smart_scan, false);
	agitate(test, 1);
}

/* With reread_rounds of 0 all are read. */
static void where_no_bit_is_believed_some_are(struct kunit *test)
{
	WRITE_ONCE(ksm_state.reread_rounds, 0);
	agitate(test, 1);
	KUNIT_EXPECT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
}

static void who_is_restless_is_volatile(struct kunit *test)
{
	long fickle, unshared;

	ksm_test_scan_rounds(2);
	fickle = atomic_long_read(&ksm_counts.fickle);
	unshared = ksm_state_unshared();
	agitate(test, 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), fickle + 1);
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), unshared - 1);
	ksm_test_scan_rounds(3);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), fickle);
	KUNIT_EXPECT_EQ(test, ksm_state_unshared(), unshared);
}

/* ------------------------------------------------------------------------ */
/* Who comes to rest.                                                       */

static void expect_merged(struct kunit *test, u64 want)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 1);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], want));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], want));
}

/*
 * One round to see the last change, one for those in other parts, one to see that all
 * held, and one for its twin to hear of it.
 */
static void who_comes_to_rest_merges(struct kunit *test)
{
	unsigned int i;
	u64 want;

	for (i = 0; i < 20; i++) {
		want = ++content;
		ksm_test_write(test, at.mm, at.page[6], want);
		ksm_test_scan_rounds(2 + i);
		agitate(test, 1);
		ksm_test_write(test, at.mm, at.page[1], want);
		ksm_test_scan_rounds(4);
		expect_merged(test, want);
	}
}

static void twins_that_come_to_rest_merge(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 20; i++) {
		ksm_test_scan_rounds(i);
		agitate_both(test, 1, 6);
		ksm_test_write(test, at.mm, at.page[1], ++content);
		ksm_test_write(test, at.mm, at.page[6], content);
		ksm_test_scan_rounds(4);
		expect_merged(test, content);
	}
}

static void who_comes_to_rest_joins_a_KSM_page(struct kunit *test)
{
	u64 want = ++content;

	ksm_test_write(test, at.mm, at.page[4], want);
	ksm_test_write(test, at.mm, at.page[6], want);
	ksm_test_scan_rounds(2);
	KUNIT_ASSERT_EQ(test, ksm_counts.sharing, 1);
	agitate(test, 1);
	ksm_test_write(test, at.mm, at.page[1], want);
	ksm_test_scan_rounds(3);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], want));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[4], want));
}

/* A round that is told of all pages may come to it twice, and find that it held. */
static void who_comes_to_rest_within_a_round_is_told_of(struct kunit *test)
{
	struct mm_struct *behind = ksm_test_mm(test);
	unsigned long rounds;

	ksm_test_map(test, behind, 1);
	agitate(test, 1);
	ksm_test_write(test, at.mm, at.page[1], ++content);
	ksm_test_scan_rounds(1);
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_drop();
	mutex_unlock(&ksm_pass_lock);
	rounds = ksm_counts.rounds;
	mutex_lock(&ksm_pass_lock);
	ksm_scan_batch(1);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_ASSERT_EQ(test, ksm_counts.rounds, rounds);
	mmap_write_lock(at.mm);
	ksm_mms_offer(at.mm);
	mmap_write_unlock(at.mm);
	ksm_test_scan_rounds(1);
	KUNIT_ASSERT_FALSE(test, record_of(1).restless);
	ksm_test_write(test, at.mm, at.page[6], content);
	ksm_test_scan_rounds(3);
	expect_merged(test, content);
}

static struct kunit_case parts_cases[] = {
	KUNIT_CASE(what_did_not_change_differs_in_no_part),
	KUNIT_CASE(a_change_is_found_in_every_part),
	KUNIT_CASE(the_part_that_changed_last_is_the_first),
	KUNIT_CASE(of_a_page_only_a_part_is_asked_for),
	KUNIT_CASE(who_changes_again_and_again_is_restless),
	KUNIT_CASE(who_changes_now_and_then_is_not),
	KUNIT_CASE(who_holds_is_known_as_a_whole),
	KUNIT_CASE(with_smart_scan_nobody_is),
	KUNIT_CASE(where_no_bit_is_believed_some_are),
	KUNIT_CASE(who_is_restless_is_volatile),
	KUNIT_CASE(who_comes_to_rest_merges),
	KUNIT_CASE(twins_that_come_to_rest_merge),
	KUNIT_CASE(who_comes_to_rest_joins_a_KSM_page),
	KUNIT_CASE(who_comes_to_rest_within_a_round_is_told_of),
	{ }
};

static struct kunit_suite parts_suite = {
	.name = "ksm_parts",
	.init = init,
	.test_cases = parts_cases,
};

kunit_test_suite(parts_suite);
