// SPDX-License-Identifier: GPL-2.0
/* Draining: pages on their way to the LRU, and pinned ones, which look alike. */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/swap.h>

#include "../../internal.h"
#include "../scan.h"
#include "../state.h"
#include "fixture.h"

#define PAGES	10

static void restart(void *unused)
{
	ksm_test_restart();
}

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	ksm_test_restart();
	ksm_test_at_end(test, restart, NULL);
	return 0;
}

/* Who is on the way to the LRU is met again as soon as it has arrived. */
static void expect_met_again(struct kunit *test, unsigned int which)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 2), rounds;
	struct folio *folio = ksm_test_folio_at(mm, addr + which * PAGE_SIZE);

	ksm_test_scan_batch(PAGES);
	folio_get(folio);
	rounds = ksm_counts.rounds;
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_TRUE(test, ksm_scan_wants_drain());
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds);
	folio_put(folio);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_FALSE(test, ksm_scan_wants_drain());
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds + 1);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr, 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(mm, addr + PAGE_SIZE, 1));
}

static void a_page_on_its_way_is_met_again(struct kunit *test)
{
	expect_met_again(test, 1);
}

static void a_page_with_a_twin_on_its_way_is_met_again(struct kunit *test)
{
	expect_met_again(test, 0);
}

/* A round with a drain that is of no use. */
static void scan_in_vain(struct kunit *test)
{
	unsigned long rounds = ksm_counts.rounds;

	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_TRUE(test, ksm_scan_wants_drain());
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_FALSE(test, ksm_scan_wants_drain());
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds + 1);
}

static void a_pinned_page_is_met_again_once(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map_equal(test, mm, 2), rounds;
	struct folio *folio = ksm_test_folio_at(mm, addr);
	unsigned long until = jiffies + 2 * HZ;

	ksm_test_scan_batch(PAGES);
	folio_get(folio);
	scan_in_vain(test);
	/* The next rounds do without. */
	rounds = ksm_counts.rounds;
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_FALSE(test, ksm_scan_wants_drain());
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds + 1);
	/* After a while, another try, however many rounds there were. */
	while (!ksm_scan_wants_drain() && time_before(jiffies, until)) {
		msleep(20);
		ksm_test_scan_batch(PAGES);
	}
	KUNIT_EXPECT_TRUE(test, ksm_scan_wants_drain());
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 0);
	folio_put(folio);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
}

/* Two pages of this content. Return: The first. */
static struct folio *map_pair(struct kunit *test, struct mm_struct *mm, u64 content)
{
	unsigned long addr = ksm_test_map(test, mm, 2);

	ksm_test_write(test, mm, addr, content);
	ksm_test_write(test, mm, addr + PAGE_SIZE, content);
	return ksm_test_folio_at(mm, addr);
}

/* Off the LRU, and held, as on a per-CPU list of those that are on the way there. */
static void list(struct kunit *test, struct folio *folio)
{
	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(folio));
}

static void drain(struct folio *folio)
{
	folio_putback_lru(folio);
	lru_add_drain_all();
}

/* What came to a list after the drain does not merge in this round, but in the next one. */
static void who_comes_after_a_drain_is_drained_for_in_the_next_round(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct folio *folio = map_pair(test, mm, 1);

	list(test, folio);
	ksm_test_scan_batch(PAGES);
	scan_in_vain(test);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_TRUE(test, ksm_scan_wants_drain());
	drain(folio);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
}

static void a_pinned_page_keeps_nobody_from_a_drain(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	struct folio *pinned = map_pair(test, mm, 1), *folio;
	unsigned long rounds;

	folio_get(pinned);
	ksm_test_scan_batch(PAGES);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_TRUE(test, ksm_scan_wants_drain());
	folio = map_pair(test, mm, 2);
	rounds = ksm_counts.rounds;
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_EQ(test, ksm_counts.rounds, rounds + 1);
	/* That was in vain, and this one is for somebody else. */
	list(test, folio);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_TRUE(test, ksm_scan_wants_drain());
	drain(folio);
	ksm_test_scan_batch(PAGES);
	KUNIT_EXPECT_EQ(test, mm->ksm_merging_pages, 2);
	folio_put(pinned);
}

static struct kunit_case drain_cases[] = {
	KUNIT_CASE(a_page_on_its_way_is_met_again),
	KUNIT_CASE(a_page_with_a_twin_on_its_way_is_met_again),
	KUNIT_CASE(a_pinned_page_is_met_again_once),
	KUNIT_CASE(who_comes_after_a_drain_is_drained_for_in_the_next_round),
	KUNIT_CASE(a_pinned_page_keeps_nobody_from_a_drain),
	{ }
};

static struct kunit_suite drain_suite = {
	.name = "ksm_drain",
	.init = init,
	.test_cases = drain_cases,
};

kunit_test_suite(drain_suite);
