// SPDX-License-Identifier: GPL-2.0
/* The filter that the sieve is made of: what becomes of it without memory. */
#include <linux/mm.h>

#include "../filter.h"
#include "fixture.h"

/* More than fits a page, and so few that a filter is of one piece. */
#define MANY	100000UL

static void empty(void *filter)
{
	ksm_filter_empty(filter);
}

static void fill(struct ksm_filter *filter, unsigned long from, unsigned long to)
{
	for (; from < to; from++)
		ksm_filter_add(filter, ksm_filter_mix(from, 0));
}

static void a_filter_that_could_not_grow_is_made_anew(struct kunit *test)
{
	struct ksm_filter *filter = kunit_kzalloc(test, sizeof(*filter), GFP_KERNEL);
	unsigned long bytes;
	bool failed;

	KUNIT_ASSERT_NOT_NULL(test, filter);
	ksm_test_at_end(test, empty, filter);
	ksm_filter_renew(filter, MANY);
	KUNIT_ASSERT_FALSE(test, ksm_filter_is_worn(filter));
	bytes = ksm_filter_bytes(filter);
	fill(filter, 0, 2 * MANY);

	ksm_test_fail_alloc(test, 1);
	ksm_filter_grow(filter, MANY);
	failed = ksm_test_alloc_failed();
	KUNIT_EXPECT_TRUE(test, failed);
	KUNIT_EXPECT_EQ(test, ksm_filter_bytes(filter), bytes);
	/* It does with what it has, and does not ask again each time. */
	fill(filter, 2 * MANY, 2 * MANY + 10);
	ksm_filter_grow(filter, MANY);
	KUNIT_EXPECT_EQ(test, ksm_filter_bytes(filter), bytes);
	KUNIT_EXPECT_TRUE(test, ksm_filter_is_worn(filter));

	/* There is memory again: it gets all that it needs. */
	ksm_filter_renew(filter, 2 * MANY);
	KUNIT_EXPECT_FALSE(test, ksm_filter_is_worn(filter));
	KUNIT_EXPECT_GE(test, ksm_filter_bytes(filter), 2 * bytes - bytes / 8);
}

static struct kunit_case filter_cases[] = {
	KUNIT_CASE(a_filter_that_could_not_grow_is_made_anew),
	{ }
};

static struct kunit_suite filter_suite = {
	.name = "ksm_filter",
	.test_cases = filter_cases,
};

kunit_test_suite(filter_suite);
