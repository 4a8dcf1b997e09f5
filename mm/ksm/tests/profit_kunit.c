// SPDX-License-Identifier: GPL-2.0
/* What merging brings: everything that KSM takes memory for is taken off. */
#include <linux/mm.h>

#include "../profit.h"
#include "../record.h"
#include "../sieve.h"
#include "../state.h"
#include "fixture.h"

#define LIMIT	2
#define MANY	100000

static void a_process_pays_for_its_records(struct kunit *test)
{
	void *entry = ksm_record_pack((struct ksm_record) { .age = 1 });
	struct mm_struct *mm = ksm_test_mm(test);
	struct ksm_mm *km;
	long mine, all;
	int err;

	ksm_test_enter(test, mm);
	mine = ksm_profit_of_mm(mm);
	all = ksm_profit_of_all();
	km = ksm_test_lock(mm);
	err = ksm_record_store(km, 5000, entry);
	mine -= ksm_profit_of_mm(mm);
	all -= ksm_profit_of_all();
	ksm_record_erase(km, 5000);
	ksm_test_unlock(mm);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_GE(test, mine, sizeof(struct xa_node) + sizeof(void *));
	KUNIT_EXPECT_EQ(test, mine, all);
}

static void a_process_gains_its_merged_pages(struct kunit *test)
{
	struct mm_struct *mm = kunit_kzalloc(test, sizeof(*mm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->ksm_merging_pages = 2;
	atomic_long_set(&mm->ksm_zero_pages, 1);
	KUNIT_EXPECT_EQ(test, ksm_profit_of_mm(mm), 3 * (long)PAGE_SIZE);
}

static void a_process_pays_for_its_registration(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	long mine = ksm_profit_of_mm(mm), all = ksm_profit_of_all();

	ksm_test_enter(test, mm);
	mine -= ksm_profit_of_mm(mm);
	all -= ksm_profit_of_all();
	KUNIT_EXPECT_EQ(test, mine, sizeof(struct ksm_mm));
	KUNIT_EXPECT_EQ(test, all, sizeof(struct ksm_mm));
}

static void empty(void *node)
{
	((struct ksm_node *)node)->nr_items = 0;
}

/* Keep one more full KSM page of a content; how many bytes that takes. */
static long cost_of_keeping(struct kunit *test, u64 content)
{
	struct folio *folio = ksm_test_folio(test, content);
	long before = ksm_profit_of_all();
	struct ksm_node *node = ksm_test_keep(test, folio);

	node->nr_items = LIMIT;
	ksm_test_at_end(test, empty, node);
	return before - ksm_profit_of_all();
}

static void nodes_and_chains_are_paid_for(struct kunit *test)
{
	ksm_test_limit(test, LIMIT);
	KUNIT_EXPECT_EQ(test, cost_of_keeping(test, 1), sizeof(struct ksm_node));
	/* Beside it another: now there is a chain of two. */
	KUNIT_EXPECT_EQ(test, cost_of_keeping(test, 1),
			sizeof(struct ksm_node) + sizeof(struct ksm_chain));
	KUNIT_EXPECT_EQ(test, ksm_counts.chains, 1);
	KUNIT_EXPECT_EQ(test, cost_of_keeping(test, 1), sizeof(struct ksm_node));
}

static void drop_sieve(void *unused)
{
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_drop();
	mutex_unlock(&ksm_pass_lock);
}

static void the_sieve_is_paid_for(struct kunit *test)
{
	unsigned long bytes;
	long all;

	drop_sieve(NULL);
	ksm_test_at_end(test, drop_sieve, NULL);
	bytes = ksm_sieve_bytes();
	all = ksm_profit_of_all();
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_turn(MANY);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_GE(test, ksm_sieve_bytes(), bytes + MANY);
	KUNIT_EXPECT_EQ(test, all - ksm_profit_of_all(), ksm_sieve_bytes() - bytes);
}

static struct kunit_case profit_cases[] = {
	KUNIT_CASE(a_process_pays_for_its_records),
	KUNIT_CASE(a_process_pays_for_its_registration),
	KUNIT_CASE(a_process_gains_its_merged_pages),
	KUNIT_CASE(nodes_and_chains_are_paid_for),
	KUNIT_CASE(the_sieve_is_paid_for),
	{ }
};

static struct kunit_suite profit_suite = {
	.name = "ksm_profit",
	.init = ksm_test_init,
	.test_cases = profit_cases,
};

kunit_test_suite(profit_suite);
