// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail when a test wants them to.
 *
 * Fault injection lets the nth allocation of a task fail, but not one that may
 * reclaim, is of high memory, or of a single page, unless debugfs is told so; and
 * that is mounted nowhere yet. So none may reclaim meanwhile, as in early boot, nor
 * be of high memory; and what debugfs would write is written without it. Others who
 * allocate in that moment go without, too, which is no harm.
 */
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
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
	gfp_allowed_mask &= ~(__GFP_DIRECT_RECLAIM | __GFP_HIGHMEM);
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

#if defined(CONFIG_FAIL_PAGE_ALLOC) && defined(CONFIG_FAULT_INJECTION_DEBUG_FS)
/* Of a smaller order none fails. */
static u32 *min_order;
static u32 min_order_before;

static void spare_single_pages(void *unused)
{
	WRITE_ONCE(*min_order, min_order_before);
}

/**
 * ksm_test_fail_pages() - let single pages be among the allocations that can fail
 * @test: the test, after which they are not; skipped where that is not possible
 */
void ksm_test_fail_pages(struct kunit *test)
{
	struct dentry *dir = debugfs_lookup("fail_page_alloc", NULL);
	struct dentry *file = dir ? debugfs_lookup("min-order", dir) : NULL;

	min_order = file ? d_inode(file)->i_private : NULL;
	dput(file);
	dput(dir);
	if (!min_order)
		kunit_skip(test, "needs debugfs");
	min_order_before = *min_order;
	ksm_test_at_end(test, spare_single_pages, NULL);
	WRITE_ONCE(*min_order, 0);
}
#else
void ksm_test_fail_pages(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_FAIL_PAGE_ALLOC and CONFIG_FAULT_INJECTION_DEBUG_FS");
}
#endif
