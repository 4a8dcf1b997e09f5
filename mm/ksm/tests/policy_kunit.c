// SPDX-License-Identifier: GPL-2.0
/* Arithmetic: what a batch may cost, what merging brings. */
#include <linux/mm.h>

#include "../policy.h"
#include "../profit.h"
#include "../record.h"
#include "fixture.h"

/* ------------------------------------------------------------------------ */
/* Budget.                                                                  */

static void no_pages_are_no_budget(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(0);

	KUNIT_EXPECT_EQ(test, budget.left, 0);
	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, 1));
	KUNIT_EXPECT_EQ(test, budget.left, 0);
}

static void budget_lasts_for_its_pages(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(3);

	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ));
	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ));
	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ));
}

static void passing_over_costs_a_fraction(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(1);
	int passed = 1;

	while (ksm_policy_spend(&budget, 1))
		passed++;
	KUNIT_EXPECT_EQ(test, passed, KSM_BUDGET_READ);
	KUNIT_EXPECT_GT(test, passed, 1);
}

static void the_largest_budget_does_not_wrap(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(UINT_MAX);

	KUNIT_EXPECT_EQ(test, budget.left, (u64)UINT_MAX * KSM_BUDGET_READ);
	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, UINT_MAX));
	KUNIT_EXPECT_EQ(test, budget.left, (u64)UINT_MAX * (KSM_BUDGET_READ - 1));
}

static void overspending_leaves_nothing(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(1);

	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ + 1));
	KUNIT_EXPECT_EQ(test, budget.left, 0);
	budget = ksm_policy_budget(1);
	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, UINT_MAX));
	KUNIT_EXPECT_EQ(test, budget.left, 0);
}

static void what_costs_nothing_takes_nothing(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(1);

	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, 0));
	KUNIT_EXPECT_EQ(test, budget.left, KSM_BUDGET_READ);
}

/* ------------------------------------------------------------------------ */
/* Profit.                                                                  */

static void profit_is_what_is_saved_less_what_it_takes(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ksm_policy_profit(0, 4096, 0), 0);
	KUNIT_EXPECT_EQ(test, ksm_policy_profit(3, 4096, 288), 3 * 4096 - 288);
	KUNIT_EXPECT_EQ(test, ksm_policy_profit(3, 65536, 288), 3 * 65536 - 288);
}

static void profit_can_be_negative(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ksm_policy_profit(0, 4096, 1), -1);
	KUNIT_EXPECT_EQ(test, ksm_policy_profit(1, 4096, 4097), -1);
	KUNIT_EXPECT_EQ(test, ksm_policy_profit(0, 4096, LONG_MAX), -LONG_MAX);
}

static void records_are_counted_in_whole_nodes(struct kunit *test)
{
	unsigned long node = sizeof(struct xa_node);

	KUNIT_EXPECT_EQ(test, ksm_policy_record_bytes(0), 0);
	KUNIT_EXPECT_EQ(test, ksm_policy_record_bytes(1), node);
	KUNIT_EXPECT_EQ(test, ksm_policy_record_bytes(XA_CHUNK_SIZE), node);
	KUNIT_EXPECT_EQ(test, ksm_policy_record_bytes(XA_CHUNK_SIZE + 1), 2 * node);
}

static void a_record_takes_at_most_twelve_bytes(struct kunit *test)
{
	unsigned long pages = 1UL << 18;

	KUNIT_EXPECT_LE(test, ksm_policy_record_bytes(pages), 12 * pages);
}

static void a_process_pays_for_its_records(struct kunit *test)
{
	struct mm_struct *mm = kunit_kzalloc(test, sizeof(*mm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mm);
	KUNIT_EXPECT_EQ(test, ksm_profit_of_mm(mm), 0);
	mm->ksm_rmap_items = 1;
	KUNIT_EXPECT_EQ(test, ksm_profit_of_mm(mm), -(long)sizeof(struct xa_node));
}

static void a_process_gains_its_merged_pages(struct kunit *test)
{
	struct mm_struct *mm = kunit_kzalloc(test, sizeof(*mm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->ksm_rmap_items = 2;
	mm->ksm_merging_pages = 2;
	KUNIT_EXPECT_EQ(test, ksm_profit_of_mm(mm),
			2 * (long)(PAGE_SIZE - sizeof(struct ksm_item)) -
			(long)sizeof(struct xa_node));
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(no_pages_are_no_budget),
	KUNIT_CASE(budget_lasts_for_its_pages),
	KUNIT_CASE(passing_over_costs_a_fraction),
	KUNIT_CASE(the_largest_budget_does_not_wrap),
	KUNIT_CASE(overspending_leaves_nothing),
	KUNIT_CASE(what_costs_nothing_takes_nothing),
	KUNIT_CASE(profit_is_what_is_saved_less_what_it_takes),
	KUNIT_CASE(profit_can_be_negative),
	KUNIT_CASE(records_are_counted_in_whole_nodes),
	KUNIT_CASE(a_record_takes_at_most_twelve_bytes),
	KUNIT_CASE(a_process_pays_for_its_records),
	KUNIT_CASE(a_process_gains_its_merged_pages),
	{ }
};

static struct kunit_suite policy_suite = {
	.name = "ksm_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
