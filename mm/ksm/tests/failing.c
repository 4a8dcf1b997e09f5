// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail when a test wants them to.
 *
 * Fault injection lets the nth allocation of a task fail, but not one that may
 * reclaim, unless debugfs is told so, which no test can do. So none may reclaim
 * meanwhile, as in early boot. Others who allocate in that moment go without,
 * too, which is no harm.
 */
#include <linux/gfp.h>
#include <linux/sched.h>

#include "fixture.h"

#ifdef CONFIG_FAILSLAB
static gfp_t allowed;

/**
 * ksm_test_fail_alloc() - let an allocation of this thread fail
 * @test: the test; skipped where that is not possible
 * @nth: which; ksm_test_alloc_failed() must follow, with no assertion in between
 */
void ksm_test_fail_alloc(struct kunit *test, unsigned int nth)
{
	allowed = gfp_allowed_mask;
	gfp_allowed_mask &= ~__GFP_DIRECT_RECLAIM;
	WRITE_ONCE(current->fail_nth, nth);
}

/**
 * ksm_test_alloc_failed() - let no allocation fail any more
 *
 * Return: true if one has failed; false if there were not so many.
 */
bool ksm_test_alloc_failed(void)
{
	bool failed = !READ_ONCE(current->fail_nth);

	WRITE_ONCE(current->fail_nth, 0);
	gfp_allowed_mask = allowed;
	return failed;
}
#else
void ksm_test_fail_alloc(struct kunit *test, unsigned int nth)
{
	kunit_skip(test, "needs CONFIG_FAILSLAB");
}

bool ksm_test_alloc_failed(void)
{
	return false;
}
#endif
