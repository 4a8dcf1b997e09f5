// SPDX-License-Identifier: GPL-2.0
/* Counters that CPUs change at the same time. */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched.h>

#include "../state.h"
#include "fixture.h"

#define TIMES	300000

/* Who counts beside the test, for as long as that does. */
struct other {
	struct mm_struct	*mm;
	bool			stop;
	struct completion	begun, ended;
};

static void count_up_and_down(struct mm_struct *mm)
{
	ksm_state_count_zero(mm, 1);
	ksm_state_count_zero(mm, -1);
}

static int count_until_told(void *arg)
{
	struct other *other = arg;

	complete(&other->begun);
	while (!READ_ONCE(other->stop)) {
		count_up_and_down(other->mm);
		cond_resched();
	}
	complete(&other->ended);
	return 0;
}

static void P71_two_processors_count_zero_pages_at_once(struct kunit *test)
{
	struct other other = { .mm = ksm_test_mm(test) };
	long before = atomic_long_read(&ksm_counts.zero_pages);
	struct task_struct *task = NULL;
	unsigned int cpu, i;

	init_completion(&other.begun);
	init_completion(&other.ended);
	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	if (cpu < nr_cpu_ids)
		task = kthread_run_on_cpu(count_until_told, &other, cpu, "ksm_test/%u");
	if (!IS_ERR_OR_NULL(task)) {
		wait_for_completion(&other.begun);
		for (i = 0; i < TIMES; i++)
			count_up_and_down(other.mm);
		WRITE_ONCE(other.stop, true);
		wait_for_completion(&other.ended);
	}
	migrate_enable();
	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&other.mm->ksm_zero_pages), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.zero_pages), before);
}

static struct kunit_case state_cases[] = {
	KUNIT_CASE(P71_two_processors_count_zero_pages_at_once),
	{ }
};

static struct kunit_suite state_suite = {
	.name = "ksm_state",
	.init = ksm_test_init,
	.test_cases = state_cases,
};

kunit_test_suite(state_suite);
