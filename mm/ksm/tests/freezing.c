// SPDX-License-Identifier: GPL-2.0
/*
 * The freezer, as a suspend uses it for threads of the kernel: whoever can be frozen and
 * looks whether he is to be, is. Others than whom a test means may look meanwhile, too; it
 * is not for long, and all of them are thawed.
 */
#include <linux/freezer.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "fixture.h"

#ifdef CONFIG_FREEZER
static bool freezes;

static void freeze_no_more(void *unused)
{
	ksm_test_thaw();
	static_branch_dec(&freezer_active);
}

/**
 * ksm_test_may_freeze() - prepare for ksm_test_freeze()
 * @test: the test, at whose end all are thawed; skipped where that is not possible
 */
void ksm_test_may_freeze(struct kunit *test)
{
	static_branch_inc(&freezer_active);
	ksm_test_at_end(test, freeze_no_more, NULL);
}

/* ksm_test_freeze() - all shall freeze, from now on; can be called under any lock */
void ksm_test_freeze(void)
{
	freezes = true;
	WRITE_ONCE(pm_nosig_freezing, true);
}

/* ksm_test_thaw() - nobody shall freeze any more, and who is frozen goes on */
void ksm_test_thaw(void)
{
	struct task_struct *process, *task;

	if (!freezes)
		return;
	freezes = false;
	WRITE_ONCE(pm_nosig_freezing, false);
	read_lock(&tasklist_lock);
	for_each_process_thread(process, task)
		__thaw_task(task);
	read_unlock(&tasklist_lock);
}
#else
void ksm_test_may_freeze(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_FREEZER");
}

void ksm_test_freeze(void)
{
}

void ksm_test_thaw(void)
{
}
#endif
