// SPDX-License-Identifier: GPL-2.0
/* Programs that run on another CPU while a test works on their memory. */
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "fixture.h"

/**
 * ksm_test_end_program() - the action that ends a program of ksm_test_let_run()
 * @program: the program; kunit_release_action() ends it before the test is over
 */
void ksm_test_end_program(void *program)
{
	kthread_stop(program);
}

/**
 * ksm_test_let_run() - let a program run on another CPU
 * @test: the test, which ends it; skipped where that CPU hears of no flush, or there is none
 * @does: what it does, until kthread_should_stop(): with @mm as its own
 * @mm: its mm
 *
 * Return: The program, which has that CPU flush its TLB for @mm by now.
 */
struct task_struct *ksm_test_let_run(struct kunit *test, int (*does)(void *mm),
				     struct mm_struct *mm)
{
	unsigned int here = raw_smp_processor_id(), cpu = cpumask_any_but(cpu_online_mask, here);
	unsigned long until = jiffies + 10 * HZ;
	struct task_struct *program;

	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	program = kthread_create_on_cpu(does, mm, cpu, "ksm_runs");
	KUNIT_ASSERT_FALSE(test, IS_ERR(program));
	ksm_test_at_end(test, ksm_test_end_program, program);
	wake_up_process(program);
	while (READ_ONCE(program->mm) != mm && time_before(jiffies, until))
		cond_resched();
	/* From there to the mask it is not far, on a machine that has use for it. */
	until = jiffies + HZ / 10;
	while (!cpumask_test_cpu(cpu, mm_cpumask(mm)) && time_before(jiffies, until))
		cond_resched();
	if (!cpumask_test_cpu(cpu, mm_cpumask(mm)))
		kunit_skip(test, "needs a machine that interrupts CPUs for a flush");
	return program;
}
