// SPDX-License-Identifier: GPL-2.0
/* Very many candidates of one hash whose pages have gone: nobody has to see to them all. */
#include <linux/mm.h>
#include <linux/mman.h>

#include "../item.h"
#include "../mms.h"
#include "../sieve.h"
#include "../unstable_tree.h"
#include "fixture.h"

#define GONE	100
#define HASH	42	/* any: the tree believes what it is told */

/* Pages of which each is unlike all others, and one that looks for its twin. */
static struct {
	struct mm_struct	*mm;
	unsigned long		addr;
	struct ksm_item		*item[GONE + 1];
} at;

static void end_items(void *unused)
{
	unsigned int i;

	for (i = 0; i <= GONE && at.item[i]; i++) {
		ksm_unstable_remove(at.item[i]);
		ksm_item_free(at.item[i]);
		at.item[i] = NULL;
	}
}

static int init(struct kunit *test)
{
	unsigned int i;
	int err = ksm_test_init(test);

	if (err)
		return err;
	at.mm = ksm_test_mm(test);
	at.addr = ksm_test_map(test, at.mm, GONE + 1);
	ksm_test_at_end(test, end_items, NULL);
	for (i = 0; i <= GONE; i++) {
		ksm_test_write(test, at.mm, at.addr + i * PAGE_SIZE, i + 1);
		at.item[i] = ksm_item_alloc(ksm_mms_find(at.mm), PHYS_PFN(at.addr) + i);
		KUNIT_ASSERT_NOT_NULL(test, at.item[i]);
	}
	return 0;
}

/* Let page @i look for a twin. */
static int seek(unsigned int i)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_offer offer, twin = { };
	int found = -ENOENT;

	if (ksm_test_offer(&offer, km, at.addr + i * PAGE_SIZE)) {
		offer.item = at.item[i];
		found = ksm_unstable_seek(&offer, HASH, &twin);
		if (found == KSM_FOUND_TWIN)
			ksm_unstable_release(&offer, &twin);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	return found;
}

static void who_seeks_does_not_see_to_all_that_have_gone(struct kunit *test)
{
	unsigned int i, busy;
	int found = 0;

	for (i = 0; i < GONE; i++)
		KUNIT_ASSERT_EQ(test, seek(i), KSM_FOUND_NONE);
	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, at.addr, GONE * PAGE_SIZE, MADV_DONTNEED), 0);
	ksm_test_hush();
	/* Those next to it in the tree are as many as it takes. */
	for (busy = 0; busy < GONE; busy++) {
		found = seek(GONE);
		if (found != KSM_FOUND_BUSY)
			break;
		/* It looks again in the next round, so nothing is missed. */
		KUNIT_EXPECT_TRUE(test, ksm_test_has_news(HASH));
	}
	KUNIT_EXPECT_EQ(test, found, KSM_FOUND_NONE);
	/* How many lie on its way depends on how the tree is balanced. */
	kunit_info(test, "%u times busy", busy);
	KUNIT_EXPECT_GE(test, busy, 1);
}

static struct kunit_case stale_cases[] = {
	KUNIT_CASE(who_seeks_does_not_see_to_all_that_have_gone),
	{ }
};

static struct kunit_suite stale_suite = {
	.name = "ksm_stale",
	.init = init,
	.test_cases = stale_cases,
};

kunit_test_suite(stale_suite);
