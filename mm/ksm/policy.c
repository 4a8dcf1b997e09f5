// SPDX-License-Identifier: GPL-2.0
/*
 * Arithmetic: what scanning may cost, what merging brings.
 *
 * Pure: numbers in, numbers out, so that KUnit can ask it everything.
 *
 * Floor 1: knows nobody.
 */
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>

#include "policy.h"

/**
 * ksm_policy_budget() - the budget of a batch
 * @pages: how many pages it may read
 * @merges: how many it may merge; 0 for any number
 *
 * Context: Any context.
 * Return: The budget.
 */
struct ksm_budget ksm_policy_budget(unsigned int pages, unsigned int merges)
{
	return (struct ksm_budget) {
		.left	= (u64)pages * KSM_BUDGET_READ,
		.merges	= merges ?: UINT_MAX,
	};
}

/**
 * ksm_policy_spend() - take something off a budget
 * @budget: the budget
 * @units: KSM_BUDGET_READ for a page that was read, KSM_BUDGET_MERGE for one that
 *	   was merged without; 1 for one that was passed over, for a VMA, and for a
 *	   page table: looking at it is cheap, but not free; KSM_BUDGET_VISIT for
 *	   an mm
 *
 * Context: Any context.
 * Return: true while something is left.
 */
bool ksm_policy_spend(struct ksm_budget *budget, unsigned int units)
{
	budget->left -= min_t(u64, budget->left, units);
	return budget->left;
}

/**
 * ksm_policy_merge() - take a merge off a budget
 * @budget: the budget; nothing is left of it when that was the last
 *
 * Context: Any context.
 * Return: true while something is left.
 */
bool ksm_policy_merge(struct ksm_budget *budget)
{
	if (!--budget->merges)
		budget->left = 0;
	return budget->left;
}

/* A page that was read again so often is not young any more. */
#define GROWN	3

/* Rounds between two readings of a page, by how often it was read again in vain. */
static unsigned int period(unsigned int age)
{
	if (age < GROWN)
		return 1;
	if (age < 5)
		return 2;
	if (age < 8)
		return 4;
	if (age < 12)
		return 8;
	return age < 16 ? 16 : 32;
}

/**
 * ksm_policy_due() - is it a page's turn to be read, when not all are?
 * @age: how often it was read again without finding a twin
 * @turn: the round's number plus the page's, so that pages of one age take
 *	  turns
 *
 * Context: Any context.
 * Return: true in every round for a young page, in every 32nd for an old one.
 */
bool ksm_policy_due(unsigned int age, unsigned int turn)
{
	return turn % period(age) == 0;
}

/**
 * ksm_policy_reread() - is it a page's turn to be read whatever its PTE says?
 * @turn: the round's number plus the page's
 * @rounds: in how many rounds that happens to a page once; 0 for always
 *
 * Context: Any context.
 * Return: true if so.
 */
bool ksm_policy_reread(unsigned int turn, unsigned int rounds)
{
	return !rounds || turn % rounds == 0;
}

/**
 * ksm_policy_clean() - shall the PTE of a dirty page be cleaned before it is read?
 * @age: how often the page was read again without finding a twin
 * @calm: whether its hash held the last time
 *
 * For a page that is written all the time it is in vain: a flush of the TLB, and a
 * fault for its program where the CPU has no dirty bit. When it comes to rest, it is
 * read once more than others before it need not be read any more.
 *
 * Context: Any context.
 * Return: true for a calm or young page.
 */
bool ksm_policy_clean(unsigned int age, bool calm)
{
	return calm || age < GROWN;
}

/**
 * ksm_policy_restless() - does a page seem to change again and again?
 * @age: how often the page was read again without finding a twin
 * @hash: its hash, after it has changed twice running
 *
 * Who changes now and then may do so twice. One in four is believed to go on with it, as
 * the hash of what it holds has it; who goes on is among them before long.
 *
 * Context: Any context.
 * Return: true if so.
 */
bool ksm_policy_restless(unsigned int age, u64 hash)
{
	return age >= GROWN && hash % 4 == 0;
}

/* @pages times @num over @den; a very large number where that does not fit. */
static u64 scale(unsigned int pages, u64 num, u64 den)
{
	if (!den || div64_u64(num, den) >= U32_MAX)
		return U64_MAX;
	return mul_u64_u64_div_u64(pages, num, den);
}

/**
 * ksm_policy_within() - the number of pages in a batch that bounds allow
 * @pages: the number that were best
 * @goal: the bounds
 *
 * Context: Any context.
 * Return: Pages in a batch; never 0, with which ksmd would wait.
 */
unsigned int ksm_policy_within(u64 pages, const struct ksm_policy_goal *goal)
{
	u64 most = clamp_t(u64, goal->max_pages, 1, UINT_MAX);

	return clamp_t(u64, max_t(u64, pages, goal->min_pages), 1, most);
}

/**
 * ksm_policy_advise() - how many pages a batch should have from now on
 * @took: what the last round took
 * @goal: what rounds shall take
 *
 * A round is CPU time, which the same pages cost however they are cut into
 * batches, and rests, of which there are fewer the larger the batches are. So
 * the number that would have met the goal follows from one round. It is
 * approached by seven tenths, for no round is like another.
 *
 * Context: Any context.
 * Return: Pages in a batch; never 0, with which ksmd would wait.
 */
unsigned int ksm_policy_advise(const struct ksm_policy_round *took,
			       const struct ksm_policy_goal *goal)
{
	u64 rest = took->wall - min(took->wall, took->cpu);
	u64 in_time = scale(took->pages, rest, goal->wall - min(goal->wall, took->cpu));
	u64 in_share = scale(took->pages, rest * goal->max_cpu,
			     took->cpu * (100 - goal->max_cpu));
	u64 most = min_t(u64, goal->max_pages, UINT_MAX);
	u64 pages = min3(in_time, in_share, most);

	pages = div_u64(7 * pages + 3ULL * took->pages + 5, 10);
	return ksm_policy_within(pages, goal);
}

/**
 * ksm_policy_profit() - what merging brings
 * @saved: pages saved
 * @page_size: bytes in a page
 * @overhead: bytes that KSM uses to save them
 *
 * Context: Any context.
 * Return: Bytes; negative when KSM costs more than it brings.
 */
long ksm_policy_profit(unsigned long saved, unsigned long page_size,
		       unsigned long overhead)
{
	return (long)(saved * page_size) - (long)overhead;
}
