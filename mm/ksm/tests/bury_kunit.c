// SPDX-License-Identifier: GPL-2.0
/* Burying: where nobody scans, nothing is left of those who have gone. */
#include <linux/jiffies.h>
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>

#include "../bury.h"
#include "../ksmd.h"
#include "../node.h"
#include "../record.h"
#include "../sieve.h"
#include "../state.h"
#include "fixture.h"

/* Three pages of equal content. */
static struct ksm_test_pages at;

static struct ksm_node *node;	/* of the KSM page that they became */

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 3);
}

/* Leave a node behind whose page is gone. */
static void leave_node(struct kunit *test)
{
	ksm_test_write(test, at.mm, at.a, 1);
	ksm_test_write(test, at.mm, at.b, 1);
	ksm_test_merge(test, &at);
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	KUNIT_ASSERT_EQ(test, ksm_counts.shared, 0);
	KUNIT_ASSERT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
}

static void P85_who_never_offered_anything_is_gone_at_once(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	ksm_test_enter(test, mm);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 2);
	mmput(mm);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 1);
}

static void P85_the_dead_are_buried_though_ksmd_stands_still(struct kunit *test)
{
	struct ksm_record record = { .age = 1, .calm = true };
	struct ksm_mm *km;
	int err;

	ksm_test_merge(test, &at);
	km = ksm_test_lock(at.mm);
	err = ksm_record_store(km, at.c >> PAGE_SHIFT, ksm_record_pack(record));
	ksm_test_unlock(at.mm);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), 1);

	/* Merged pages go soon, and their node a moment later. */
	ksm_test_exit(test, at.mm);
	KUNIT_EXPECT_EQ(test, ksm_state.run, KSM_RUN_STOP);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 0));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

static void P85_who_leaves_nothing_but_nodes_has_them_dropped(struct kunit *test)
{
	leave_node(test);
	ksm_test_exit(test, at.mm);
	/* Its records were empty, so that it is no more; and ksmd has nobody to scan. */
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

static void P85_who_offers_no_more_leaves_no_node(struct kunit *test)
{
	ksm_test_merge(test, &at);
	KUNIT_ASSERT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
	KUNIT_EXPECT_EQ(test, do_madvise(at.mm, at.a, PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_EQ(test, do_madvise(at.mm, at.b, PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

static void restore_pages_to_scan(void *before)
{
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	WRITE_ONCE(ksm_state.pages_to_scan, (unsigned long)before);
}

/* Its pace is that of pages to scan, and it sleeps on, as nobody wakes it. */
static void P85_who_offers_no_more_leaves_none_to_a_ksmd_that_sleeps(struct kunit *test)
{
	ksm_test_at_end(test, restore_pages_to_scan,
			(void *)(unsigned long)ksm_state.pages_to_scan);

	ksm_test_merge(test, &at);
	WRITE_ONCE(ksm_state.run, KSM_RUN_MERGE);
	KUNIT_EXPECT_EQ(test, do_madvise(at.mm, at.a, 2 * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

static void P85_who_ends_all_merging_leaves_no_node(struct kunit *test)
{
	int err;

	ksm_test_merge(test, &at);
	KUNIT_ASSERT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
	mmap_write_lock(at.mm);
	err = ksm_disable(at.mm);
	mmap_write_unlock(at.mm);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

static unsigned long sieve_bytes(void)
{
	unsigned long bytes;

	mutex_lock(&ksm_pass_lock);
	bytes = ksm_sieve_bytes();
	mutex_unlock(&ksm_pass_lock);
	return bytes;
}

/* What the sieve was told of pages is of use only as long as any page is known. */
static void with_the_last_page_the_sieve_is_forgotten(struct kunit *test)
{
	ksm_test_restart();
	ksm_test_scan_round();
	KUNIT_ASSERT_EQ(test, at.mm->ksm_rmap_items, 3);
	KUNIT_EXPECT_GT(test, sieve_bytes(), 0);
	ksm_test_exit(test, at.mm);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 0));
	/* Both are done under one hold of the lock. */
	KUNIT_EXPECT_EQ(test, sieve_bytes(), 0);
}

static bool sieve_is_gone(void)
{
	return !sieve_bytes();
}

static void with_the_last_process_the_sieve_is_forgotten(struct kunit *test)
{
	ksm_test_restart();
	ksm_test_scan_round();
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	ksm_test_give_up(test, at.mm, at.c);
	KUNIT_EXPECT_GT(test, sieve_bytes(), 0);
	ksm_test_exit(test, at.mm);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_true(sieve_is_gone));
}

static void who_buries_comes_before_a_batch(struct kunit *test)
{
	bool asked;

	mutex_lock(&ksm_pass_lock);
	ksm_bury_soon();
	asked = ksm_test_give_way();
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_TRUE(test, asked);
}

/* As long as there is a node that cannot go, each time. */
static void who_takes_back_all_the_time_disturbs_no_batch(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	unsigned long until;
	bool asked, again;
	int i;

	folio_get(folio);
	mutex_lock(&ksm_pass_lock);
	do_madvise(at.mm, at.a, 2 * PAGE_SIZE, MADV_UNMERGEABLE);
	asked = ksm_test_give_way();
	/* There is a sweep to come now, in a second. */
	until = jiffies + HZ / 2;
	for (i = 0; i < 100; i++) {
		do_madvise(at.mm, at.c, PAGE_SIZE, MADV_MERGEABLE);
		do_madvise(at.mm, at.c, PAGE_SIZE, MADV_UNMERGEABLE);
	}
	/* Nothing to wait for: that nobody comes is the point. */
	schedule_timeout_uninterruptible(HZ / 10);
	again = ksm_state_pass_wanted() && time_before(jiffies, until);
	mutex_unlock(&ksm_pass_lock);
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, asked);
	KUNIT_EXPECT_FALSE(test, again);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

static bool is_looked_at(void)
{
	return !READ_ONCE(node->astray);
}

/* A page that somebody still has when its last mm is gone: he does not say when he lets go. */
static void P85_what_cannot_go_yet_is_swept_up_later(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	bool buried, looked_at, asked;
	long nodes;

	folio_get(folio);
	node = ksm_node_of(folio);
	ksm_test_exit(test, at.mm);
	buried = ksm_test_comes_to(&ksm_counts.mms, 0);
	/* As if it had moved: the first sweep sees to that, and can do no more. */
	ksm_node_set_astray(node, true);
	looked_at = ksm_test_comes_true(is_looked_at);
	mutex_lock(&ksm_pass_lock);
	nodes = atomic_long_read(&ksm_counts.nodes);
	folio_put(folio);
	/* There is another one, for which a batch would end. */
	asked = ksm_test_give_way();
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_TRUE(test, buried);
	KUNIT_EXPECT_TRUE(test, looked_at);
	KUNIT_EXPECT_EQ(test, nodes, 1);
	KUNIT_EXPECT_TRUE(test, asked);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

/* However often it was looked at in vain. */
static void P85_what_goes_late_is_swept_up_in_the_end(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	unsigned int sweeps = 0;

	folio_get(folio);
	ksm_test_exit(test, at.mm);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.mms, 0));
	while (sweeps < 20 && ksm_bury_sweep())
		sweeps++;
	KUNIT_EXPECT_EQ(test, sweeps, 20);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, ksm_bury_sweep());
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	/* With nobody left there is none to come. */
	KUNIT_EXPECT_FALSE(test, ksm_bury_sweep());
}

/* ksmd sleeps on, as nobody wakes it. */
static void P85_what_ksmd_has_left_is_dropped_when_it_is_stopped(struct kunit *test)
{
	ksm_test_at_end(test, restore_pages_to_scan,
			(void *)(unsigned long)ksm_state.pages_to_scan);

	leave_node(test);
	WRITE_ONCE(ksm_state.run, KSM_RUN_MERGE);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_run(KSM_RUN_STOP), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));

	leave_node(test);
	WRITE_ONCE(ksm_state.run, KSM_RUN_MERGE);
	KUNIT_EXPECT_EQ(test, ksm_ksmd_set_pages_to_scan(0), 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_comes_to(&ksm_counts.nodes, 0));
}

static struct kunit_case bury_cases[] = {
	KUNIT_CASE(P85_who_never_offered_anything_is_gone_at_once),
	KUNIT_CASE_SLOW(P85_the_dead_are_buried_though_ksmd_stands_still),
	KUNIT_CASE_SLOW(P85_who_leaves_nothing_but_nodes_has_them_dropped),
	KUNIT_CASE_SLOW(P85_who_offers_no_more_leaves_no_node),
	KUNIT_CASE_SLOW(P85_who_offers_no_more_leaves_none_to_a_ksmd_that_sleeps),
	KUNIT_CASE_SLOW(P85_who_ends_all_merging_leaves_no_node),
	KUNIT_CASE(with_the_last_page_the_sieve_is_forgotten),
	KUNIT_CASE(with_the_last_process_the_sieve_is_forgotten),
	KUNIT_CASE(who_buries_comes_before_a_batch),
	KUNIT_CASE_SLOW(who_takes_back_all_the_time_disturbs_no_batch),
	KUNIT_CASE_SLOW(P85_what_cannot_go_yet_is_swept_up_later),
	KUNIT_CASE(P85_what_goes_late_is_swept_up_in_the_end),
	KUNIT_CASE_SLOW(P85_what_ksmd_has_left_is_dropped_when_it_is_stopped),
	{ }
};

static struct kunit_suite bury_suite = {
	.name = "ksm_bury",
	.init = init,
	.test_cases = bury_cases,
};

kunit_test_suite(bury_suite);
