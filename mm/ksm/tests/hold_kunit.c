// SPDX-License-Identifier: GPL-2.0
/* A page moves, or is frozen for a moment, while another CPU asks its node where it is. */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "../hold.h"
#include "../state.h"
#include "fixture.h"

/* What the other CPU works on. */
static struct folio *at[2];

/* Ask again and again; how often is the page said to be gone? */
static unsigned int count_gone(struct ksm_node *node, unsigned int peeks)
{
	unsigned int i, lag, gone = 0;
	struct folio *folio;

	mutex_lock(&ksm_pass_lock);
	for (i = 1; i <= peeks; i++) {
		/* Not always in step with the other CPU. */
		for (lag = i % 32; lag; lag--)
			cpu_relax();
		if (ksm_hold_peek(node, &folio) == KSM_PEEK_OK)
			folio_put(folio);
		else
			gone++;
		cond_resched();
	}
	mutex_unlock(&ksm_pass_lock);
	return gone;
}

/* While another CPU does that to the page, is it found each time? */
static void expect_found(struct kunit *test, struct ksm_node *node, unsigned int peeks,
			 int (*meanwhile)(void *unused))
{
	struct task_struct *task = NULL;
	unsigned int cpu, gone = 0;

	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	if (cpu < nr_cpu_ids)
		task = kthread_run_on_cpu(meanwhile, NULL, cpu, "ksm_test/%u");
	if (!IS_ERR_OR_NULL(task)) {
		gone = count_gone(node, peeks);
		kthread_stop(task);
	}
	migrate_enable();
	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_EXPECT_EQ(test, gone, 0);
}

/* As migration does it. */
static void move(struct folio *dst, struct folio *src)
{
	folio_lock(src);
	folio_lock(dst);
	dst->mapping = src->mapping;
	ksm_hold_migrate(dst, src);
	folio_unlock(dst);
	folio_unlock(src);
}

/* And back, again and again: from its pfn nobody can tell. */
static int move_to_and_fro(void *unused)
{
	unsigned int i;

	for (i = 0; !kthread_should_stop(); i = !i) {
		move(at[!i], at[i]);
		cond_resched();
	}
	return 0;
}

static void P54_a_page_that_moves_is_not_taken_for_freed(struct kunit *test)
{
	at[0] = ksm_test_folio(test, 1);
	at[1] = ksm_test_folio(test, 1);
	expect_found(test, ksm_test_keep(test, at[0]), 30000, move_to_and_fro);
	KUNIT_EXPECT_EQ(test, folio_ref_count(at[0]), 1);
	KUNIT_EXPECT_EQ(test, folio_ref_count(at[1]), 1);
}

/* As reclaim does it, which then decides to keep the page. */
static int freeze_and_unfreeze(void *unused)
{
	struct folio *folio = at[0];

	while (!kthread_should_stop()) {
		preempt_disable();
		if (folio_ref_freeze(folio, 1)) {
			udelay(5);
			folio_ref_unfreeze(folio, 1);
		}
		preempt_enable();
		cond_resched();
	}
	return 0;
}

static void leave_swap_cache(void *data)
{
	struct folio *folio = data;

	folio_clear_swapcache(folio);
	folio_clear_swapbacked(folio);
}

static void P54_a_page_that_is_frozen_is_not_taken_for_freed(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio);

	if (!IS_ENABLED(CONFIG_SWAP))
		kunit_skip(test, "without swap only a page that is freed is frozen");
	folio_set_swapbacked(folio);
	folio_set_swapcache(folio);
	ksm_test_at_end(test, leave_swap_cache, folio);
	at[0] = folio;
	expect_found(test, node, 5000, freeze_and_unfreeze);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
}

static struct kunit_case hold_cases[] = {
	KUNIT_CASE(P54_a_page_that_moves_is_not_taken_for_freed),
	KUNIT_CASE(P54_a_page_that_is_frozen_is_not_taken_for_freed),
	{ }
};

static struct kunit_suite hold_suite = {
	.name = "ksm_hold",
	.init = ksm_test_init,
	.test_cases = hold_cases,
};

kunit_test_suite(hold_suite);
