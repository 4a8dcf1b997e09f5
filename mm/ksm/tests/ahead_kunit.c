// SPDX-License-Identifier: GPL-2.0
/* Fetching a page while another is read: what is read of that one stays the same. */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../content.h"
#include "../types.h"
#include "fixture.h"

/* Two pages of equal content, no two words of it alike, and one to fetch. */
static struct {
	struct folio	*a, *b, *next;
} at;

static u64 *words(struct folio *folio)
{
	return folio_address(folio);
}

static int init(struct kunit *test)
{
	unsigned int i;

	at.a = ksm_test_folio(test, 0);
	at.b = ksm_test_folio(test, 0);
	at.next = ksm_test_folio(test, 1);
	for (i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		words(at.a)[i] = (i + 1) * 0x9e3779b97f4a7c15ULL;
	memcpy(words(at.b), words(at.a), PAGE_SIZE);
	return 0;
}

static struct ksm_ahead plan(void)
{
	struct ksm_ahead ahead;

	ksm_content_plan(&ahead, &at.next->page, NULL);
	return ahead;
}

static int sign(int order)
{
	return (order > 0) - (order < 0);
}

static void a_hash_is_the_same_one(struct kunit *test)
{
	struct ksm_ahead ahead = plan(), nothing = { };
	u64 hash = ksm_content_hash(&at.a->page);

	KUNIT_EXPECT_EQ(test, ksm_content_hash_ahead(&at.a->page, &ahead), hash);
	KUNIT_EXPECT_EQ(test, ksm_content_hash_ahead(&at.a->page, &nothing), hash);
	KUNIT_EXPECT_EQ(test, ksm_content_hash_ahead(&at.a->page, NULL), hash);
}

/* Wherever two pages differ, and whichever is the greater. */
static void an_order_is_the_same_one(struct kunit *test)
{
	struct page *a = &at.a->page, *b = &at.b->page;
	u8 *byte = folio_address(at.b);
	unsigned int i;

	KUNIT_EXPECT_EQ(test, ksm_content_compare_ahead(a, b, NULL), 0);
	for (i = 0; i < PAGE_SIZE; i++) {
		struct ksm_ahead ahead = plan();

		byte[i] ^= 0x80;
		KUNIT_ASSERT_NE(test, ksm_content_compare(a, b), 0);
		KUNIT_ASSERT_EQ(test, sign(ksm_content_compare_ahead(a, b, &ahead)),
				sign(ksm_content_compare(a, b)));
		KUNIT_ASSERT_EQ(test, sign(ksm_content_compare_ahead(b, a, &ahead)),
				sign(ksm_content_compare(b, a)));
		byte[i] ^= 0x80;
	}
}

/* The first of several differences is what counts, in a page as in a part of it. */
static void the_first_difference_counts(struct kunit *test)
{
	struct page *a = &at.a->page, *b = &at.b->page;
	unsigned int last = PAGE_SIZE / sizeof(u64) - 1;
	struct ksm_ahead ahead = plan();

	words(at.a)[0] = 1;
	words(at.b)[0] = 2;
	words(at.a)[last] = 2;
	words(at.b)[last] = 1;
	KUNIT_EXPECT_EQ(test, sign(ksm_content_compare_ahead(a, b, &ahead)),
			sign(ksm_content_compare(a, b)));
}

static int keep_apart(struct page *a, struct page *b, int order)
{
	return order ? order : 1;
}

/* An architecture may tell pages apart of the same bytes. */
static void P15_equal_bytes_are_not_all_on_the_way_either(struct kunit *test)
{
	struct page *a = &at.a->page, *b = &at.b->page;
	struct ksm_ahead ahead = plan();

	ksm_test_on_compare(test, keep_apart);
	KUNIT_EXPECT_EQ(test, ksm_content_compare_ahead(a, b, &ahead), 1);
}

static void all_of_the_other_page_is_asked_for(struct kunit *test)
{
	struct page *a = &at.a->page, *b = &at.b->page;
	struct ksm_ahead ahead = plan();

	KUNIT_EXPECT_PTR_EQ(test, ahead.page, folio_address(at.next));
	KUNIT_EXPECT_NULL(test, ahead.twin);
	/* Of the beginning at once. */
	KUNIT_EXPECT_GT(test, ahead.at, 0);
	KUNIT_EXPECT_LT(test, ahead.at, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, ahead.left, PAGE_SIZE - ahead.at);
	ksm_content_hash_ahead(a, &ahead);
	KUNIT_EXPECT_EQ(test, ahead.left, 0);

	ahead = plan();
	KUNIT_EXPECT_EQ(test, ksm_content_compare_ahead(a, b, &ahead), 0);
	KUNIT_EXPECT_EQ(test, ahead.left, 0);

	ahead = plan();
	ksm_content_fetch(&ahead);
	KUNIT_EXPECT_EQ(test, ahead.left, 0);
	/* Nothing is no page. */
	ksm_content_fetch(&ahead);
	KUNIT_EXPECT_EQ(test, ahead.left, 0);
	ksm_content_plan(&ahead, NULL, NULL);
	KUNIT_EXPECT_EQ(test, ahead.left, 0);
}

/* Of two pages that differ at once little is read, and little fetched. */
static void a_look_that_is_over_soon_leaves_the_rest(struct kunit *test)
{
	struct ksm_ahead ahead = plan();

	words(at.b)[0]++;
	ksm_content_compare_ahead(&at.a->page, &at.b->page, &ahead);
	KUNIT_EXPECT_GT(test, ahead.left, 0);
	ksm_content_hash_ahead(&at.a->page, &ahead);
	KUNIT_EXPECT_EQ(test, ahead.left, 0);
}

static void a_plan_has_its_twin_as_well(struct kunit *test)
{
	struct page *a = &at.a->page, *b = &at.b->page;
	struct ksm_ahead ahead;

	ksm_content_plan(&ahead, a, b);
	KUNIT_EXPECT_PTR_EQ(test, ahead.page, folio_address(at.a));
	KUNIT_EXPECT_PTR_EQ(test, ahead.twin, folio_address(at.b));
	KUNIT_EXPECT_EQ(test, ksm_content_hash_ahead(&at.next->page, &ahead),
			ksm_content_hash(&at.next->page));
	KUNIT_EXPECT_EQ(test, ahead.left, 0);
}

static struct kunit_case ahead_cases[] = {
	KUNIT_CASE(a_hash_is_the_same_one),
	KUNIT_CASE(an_order_is_the_same_one),
	KUNIT_CASE(the_first_difference_counts),
	KUNIT_CASE(P15_equal_bytes_are_not_all_on_the_way_either),
	KUNIT_CASE(all_of_the_other_page_is_asked_for),
	KUNIT_CASE(a_look_that_is_over_soon_leaves_the_rest),
	KUNIT_CASE(a_plan_has_its_twin_as_well),
	{ }
};

static struct kunit_suite ahead_suite = {
	.name = "ksm_ahead",
	.init = init,
	.test_cases = ahead_cases,
};

kunit_test_suite(ahead_suite);
