// SPDX-License-Identifier: GPL-2.0
/* Arithmetic: what a batch may cost, what merging brings. */
#include <linux/math64.h>
#include <linux/mm.h>

#include "../policy.h"
#include "../record.h"
#include "fixture.h"

/* ------------------------------------------------------------------------ */
/* Budget.                                                                  */

static void no_pages_are_no_budget(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(0, 0);

	KUNIT_EXPECT_EQ(test, budget.left, 0);
	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, 1));
	KUNIT_EXPECT_EQ(test, budget.left, 0);
}

static void budget_lasts_for_its_pages(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(3, 0);

	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ));
	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ));
	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ));
}

static void passing_over_costs_a_fraction(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(1, 0);
	int passed = 1;

	while (ksm_policy_spend(&budget, 1))
		passed++;
	KUNIT_EXPECT_EQ(test, passed, KSM_BUDGET_READ);
	KUNIT_EXPECT_GT(test, passed, 1);
}

static void the_largest_budget_does_not_wrap(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(UINT_MAX, 0);

	KUNIT_EXPECT_EQ(test, budget.left, (u64)UINT_MAX * KSM_BUDGET_READ);
	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, UINT_MAX));
	KUNIT_EXPECT_EQ(test, budget.left, (u64)UINT_MAX * (KSM_BUDGET_READ - 1));
}

static void merges_end_a_batch(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(100, 2);

	KUNIT_EXPECT_TRUE(test, ksm_policy_merge(&budget));
	KUNIT_EXPECT_FALSE(test, ksm_policy_merge(&budget));
	KUNIT_EXPECT_EQ(test, budget.left, 0);
	/* Without a limit only reading ends it. */
	budget = ksm_policy_budget(100, 0);
	KUNIT_EXPECT_TRUE(test, ksm_policy_merge(&budget));
	KUNIT_EXPECT_TRUE(test, ksm_policy_merge(&budget));
	KUNIT_EXPECT_TRUE(test, ksm_policy_merge(&budget));
}

/* In how many of some rounds is a page of this age read? */
static unsigned int times_due(unsigned int age, unsigned int index)
{
	unsigned int turn, times = 0;

	for (turn = index; turn < index + 64; turn++)
		times += ksm_policy_due(age, turn);
	return times;
}

static void old_pages_are_read_less_often(struct kunit *test)
{
	unsigned int age;

	KUNIT_EXPECT_EQ(test, times_due(0, 0), 64);
	KUNIT_EXPECT_EQ(test, times_due(2, 0), 64);
	KUNIT_EXPECT_EQ(test, times_due(3, 0), 32);
	KUNIT_EXPECT_EQ(test, times_due(5, 0), 16);
	KUNIT_EXPECT_EQ(test, times_due(8, 0), 8);
	KUNIT_EXPECT_EQ(test, times_due(12, 0), 4);
	KUNIT_EXPECT_EQ(test, times_due(16, 0), 2);
	KUNIT_EXPECT_EQ(test, times_due(KSM_RECORD_AGE_MAX, 0), 2);
	for (age = 1; age <= KSM_RECORD_AGE_MAX; age++)
		KUNIT_EXPECT_LE(test, times_due(age, 5), times_due(age - 1, 5));
}

static void pages_of_one_age_take_turns(struct kunit *test)
{
	unsigned int index, due = 0;

	for (index = 0; index < 64; index++)
		due += ksm_policy_due(KSM_RECORD_AGE_MAX, 1000 + index);
	KUNIT_EXPECT_EQ(test, due, 2);
}

/* No young page, and of those that are not one in four. */
static void some_that_change_are_restless(struct kunit *test)
{
	unsigned int age, hash, restless;

	for (age = 0; age <= KSM_RECORD_AGE_MAX; age++) {
		for (restless = 0, hash = 1000; hash < 1400; hash++)
			restless += ksm_policy_restless(age, hash);
		KUNIT_EXPECT_EQ(test, restless, age < 3 ? 0 : 100);
	}
}

static void overspending_leaves_nothing(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(1, 0);

	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, KSM_BUDGET_READ + 1));
	KUNIT_EXPECT_EQ(test, budget.left, 0);
	budget = ksm_policy_budget(1, 0);
	KUNIT_EXPECT_FALSE(test, ksm_policy_spend(&budget, UINT_MAX));
	KUNIT_EXPECT_EQ(test, budget.left, 0);
}

static void what_costs_nothing_takes_nothing(struct kunit *test)
{
	struct ksm_budget budget = ksm_policy_budget(1, 0);

	KUNIT_EXPECT_TRUE(test, ksm_policy_spend(&budget, 0));
	KUNIT_EXPECT_EQ(test, budget.left, KSM_BUDGET_READ);
}

/* ------------------------------------------------------------------------ */
/* Advisor.                                                                 */

/* A machine on which a page costs 2 us, and a batch a rest of 20 ms. */
#define MACHINE_PAGES	1000000ULL
#define PAGE_COST	2000ULL
#define BATCH_REST	(20 * NSEC_PER_MSEC)

static struct ksm_policy_round round_with(unsigned int pages)
{
	u64 cpu = MACHINE_PAGES * PAGE_COST;

	return (struct ksm_policy_round) {
		.pages	= pages,
		.cpu	= cpu,
		.wall	= cpu + DIV_ROUND_UP_ULL(MACHINE_PAGES, pages) * BATCH_REST,
	};
}

/* What the advisor settles on, beginning at @pages. */
static unsigned int settle(unsigned int pages, const struct ksm_policy_goal *goal)
{
	int rounds;

	for (rounds = 0; rounds < 50; rounds++) {
		struct ksm_policy_round took = round_with(pages);

		pages = ksm_policy_advise(&took, goal);
	}
	return pages;
}

static struct ksm_policy_goal seconds(unsigned int wall, unsigned int max_cpu)
{
	return (struct ksm_policy_goal) {
		.wall = (u64)wall * NSEC_PER_SEC, .max_cpu = max_cpu,
		.min_pages = 1, .max_pages = ULONG_MAX,
	};
}

static void rounds_take_the_target_time(struct kunit *test)
{
	struct ksm_policy_goal goal = seconds(202, 100);

	/* 2 s of CPU time, so 200 s of rests: 10000 batches of 100 pages. */
	KUNIT_EXPECT_EQ(test, settle(5000, &goal), 100);
	KUNIT_EXPECT_EQ(test, settle(1, &goal), 100);
	goal = seconds(22, 100);
	KUNIT_EXPECT_EQ(test, settle(100, &goal), 1000);
}

static void the_cpu_limit_makes_rounds_longer(struct kunit *test)
{
	/* At 10 %, 2 s of CPU time need 18 s of rests: 900 batches. */
	struct ksm_policy_goal goal = seconds(3, 10);

	KUNIT_EXPECT_EQ(test, settle(100, &goal) / 10, 111);
	/* Where the target leaves more time than that, the limit is no limit. */
	goal = seconds(202, 10);
	KUNIT_EXPECT_EQ(test, settle(5000, &goal), 100);
}

static void a_target_out_of_reach_is_approached(struct kunit *test)
{
	struct ksm_policy_goal goal = seconds(1, 70);	/* the CPU time alone is 2 s */

	/* 70 %: 0.857 s of rests, 42 batches. */
	KUNIT_EXPECT_EQ(test, settle(100, &goal) / 1000, 23);
	goal.max_cpu = 100;
	goal.max_pages = 30000;
	KUNIT_EXPECT_EQ(test, settle(100, &goal), 30000);
}

static void advice_stays_within_its_bounds(struct kunit *test)
{
	struct ksm_policy_goal goal = seconds(202, 100);

	goal.min_pages = 500;
	goal.max_pages = 30000;
	KUNIT_EXPECT_EQ(test, settle(500, &goal), 500);
	goal.min_pages = 1;
	goal.max_pages = 50;
	KUNIT_EXPECT_EQ(test, settle(500, &goal), 50);
	goal.min_pages = 500;	/* above the maximum, which wins */
	KUNIT_EXPECT_EQ(test, settle(500, &goal), 50);
	goal.min_pages = 0;
	goal.max_pages = 0;
	KUNIT_EXPECT_EQ(test, settle(500, &goal), 1);
}

/* Also before the first round has told anything. */
static void bounds_hold_from_the_begin(struct kunit *test)
{
	struct ksm_policy_goal goal = { .min_pages = 500, .max_pages = 30000 };

	KUNIT_EXPECT_EQ(test, ksm_policy_within(0, &goal), 500);
	KUNIT_EXPECT_EQ(test, ksm_policy_within(501, &goal), 501);
	KUNIT_EXPECT_EQ(test, ksm_policy_within(U64_MAX, &goal), 30000);
	goal.max_pages = 200;	/* below the minimum; it wins */
	KUNIT_EXPECT_EQ(test, ksm_policy_within(0, &goal), 200);
	KUNIT_EXPECT_EQ(test, ksm_policy_within(U64_MAX, &goal), 200);
	goal.min_pages = 0;
	goal.max_pages = 0;
	KUNIT_EXPECT_EQ(test, ksm_policy_within(0, &goal), 1);
	goal.min_pages = ULONG_MAX;
	goal.max_pages = ULONG_MAX;
	KUNIT_EXPECT_EQ(test, ksm_policy_within(0, &goal), UINT_MAX);
}

/* No time is longer, and no batch is larger. */
#define LONGEST	(U64_MAX / 100)
#define MANY	UINT_MAX

/* Seven tenths of the way from @pages to what would have been best. */
static u64 approach(u64 pages, u64 best)
{
	return max(div_u64(7 * best + 3 * pages + 5, 10), 1);
}

static void extreme_figures_are_reckoned_with(struct kunit *test)
{
	static const struct {
		struct ksm_policy_round	took;
		u64			target;
		unsigned int		max_cpu;
		unsigned int		best;
	} cases[] = {
		/* No rests: there is nothing that batches of any size could make shorter. */
		{ { 100, 0, 0 }, 1, 70, 0 },
		{ { 100, LONGEST, LONGEST }, LONGEST, 70, 0 },
		/* Nor are there by a clock that went back. */
		{ { 100, 0, LONGEST }, LONGEST, 70, 0 },
		{ { 100, 1, 2 }, 3, 70, 0 },
		/* No time for rests, and any share of a CPU: as many as can be said. */
		{ { 100, LONGEST, 0 }, 0, 100, UINT_MAX },
		{ { 100, LONGEST, 1 }, 1, 100, UINT_MAX },
		{ { 100, LONGEST, 1 }, 2, 100, UINT_MAX },
		/* The time that it should take, and the share that it should. */
		{ { 100, LONGEST, 0 }, LONGEST, 70, 100 },
		{ { 100, LONGEST, 1 }, LONGEST, 99, 100 },
		{ { 100, LONGEST, LONGEST / 2 }, 1, 50, 100 },
		{ { 100, 2, 1 }, 1, 50, 100 },
		/* More pages than can be said, half of the most, and none. */
		{ { MANY, 7, 1 }, 2, 100, UINT_MAX },
		{ { MANY, 2, 1 }, 3, 100, MANY / 2 },
		{ { 0, LONGEST, 1 }, 2, 100, UINT_MAX },
		{ { 0, LONGEST, 1 }, LONGEST, 70, 0 },
	};
	struct ksm_policy_goal goal = { .min_pages = 1, .max_pages = ULONG_MAX };
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		goal.wall = cases[i].target;
		goal.max_cpu = cases[i].max_cpu;
		KUNIT_EXPECT_EQ_MSG(test, ksm_policy_advise(&cases[i].took, &goal),
				    approach(cases[i].took.pages, cases[i].best),
				    "case %d", i);
	}
}

static void advice_survives_extreme_figures(struct kunit *test)
{
	static const u64 times[] = { 0, 1, NSEC_PER_SEC, LONGEST };
	static const unsigned int numbers[] = { 0, 1, MANY };
	struct ksm_policy_goal goal = { .min_pages = 1, .max_pages = ULONG_MAX };
	int wall, cpu, target, pages, share;

	for (wall = 0; wall < ARRAY_SIZE(times); wall++)
		for (cpu = 0; cpu < ARRAY_SIZE(times); cpu++)
			for (target = 0; target < ARRAY_SIZE(times); target++)
				for (pages = 0; pages < ARRAY_SIZE(numbers); pages++)
					for (share = 1; share <= 100; share += 33) {
						struct ksm_policy_round took = {
							.pages = numbers[pages],
							.wall = times[wall], .cpu = times[cpu],
						};

						goal.wall = times[target];
						goal.max_cpu = share;
						KUNIT_EXPECT_GE(test,
								ksm_policy_advise(&took, &goal),
								approach(took.pages, 0));
					}
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

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(no_pages_are_no_budget),
	KUNIT_CASE(budget_lasts_for_its_pages),
	KUNIT_CASE(passing_over_costs_a_fraction),
	KUNIT_CASE(the_largest_budget_does_not_wrap),
	KUNIT_CASE(some_that_change_are_restless),
	KUNIT_CASE(overspending_leaves_nothing),
	KUNIT_CASE(merges_end_a_batch),
	KUNIT_CASE(old_pages_are_read_less_often),
	KUNIT_CASE(pages_of_one_age_take_turns),
	KUNIT_CASE(rounds_take_the_target_time),
	KUNIT_CASE(the_cpu_limit_makes_rounds_longer),
	KUNIT_CASE(a_target_out_of_reach_is_approached),
	KUNIT_CASE(advice_stays_within_its_bounds),
	KUNIT_CASE(bounds_hold_from_the_begin),
	KUNIT_CASE(extreme_figures_are_reckoned_with),
	KUNIT_CASE(advice_survives_extreme_figures),
	KUNIT_CASE(what_costs_nothing_takes_nothing),
	KUNIT_CASE(profit_is_what_is_saved_less_what_it_takes),
	KUNIT_CASE(profit_can_be_negative),
	{ }
};

static struct kunit_suite policy_suite = {
	.name = "ksm_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
