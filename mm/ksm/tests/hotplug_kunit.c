// SPDX-License-Identifier: GPL-2.0
/* Memory goes: which pages the notice means. */
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/numa.h>
#include <linux/workqueue.h>

#include "../state.h"
#include "fixture.h"

/* Of memory that does not really go, nobody is told but KSM. */
static struct memory_notify notice = {
	.status_change_nid_normal	= NUMA_NO_NODE,
	.status_change_nid		= NUMA_NO_NODE,
};

static int keep_from_others(struct notifier_block *self, unsigned long action, void *arg)
{
	return arg == &notice ? NOTIFY_STOP : NOTIFY_DONE;
}

static struct notifier_block behind_ksm = {
	.notifier_call	= keep_from_others,
	.priority	= KSM_CALLBACK_PRI - 1,
};

static void unregister(void *unused)
{
	unregister_memory_notifier(&behind_ksm);
}

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (!err)
		err = register_memory_notifier(&behind_ksm);
	return err ?: kunit_add_action_or_reset(test, unregister, NULL);
}

static void tell_gone(unsigned long first, unsigned long pages)
{
	notice.start_pfn = first;
	notice.nr_pages = pages;
	memory_notify(MEM_OFFLINE, &notice);
}

static void P56_the_first_page_and_the_last_go_and_none_beside_them(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	unsigned long pfn = folio_pfn(folio);
	struct ksm_node *node;
	int i;

	/* As the first page, and as the last. */
	for (i = 0; i < 2; i++) {
		folio->mapping = NULL;
		node = ksm_test_keep_mapped(test, folio);
		tell_gone(pfn - 2, 2);
		tell_gone(pfn + 1, 2);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 1);
		KUNIT_EXPECT_PTR_EQ(test, ksm_node_of(folio), node);
		tell_gone(pfn - i, 2);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
		KUNIT_EXPECT_NULL(test, ksm_node_of(folio));
	}
}

static void tell(struct work_struct *work)
{
	tell_gone(0, 1);
}

static DECLARE_WORK(telling, tell);

static void who_tells_comes_before_a_batch(struct kunit *test)
{
	bool asked;

	mutex_lock(&ksm_pass_lock);
	schedule_work(&telling);
	asked = ksm_test_give_way();
	mutex_unlock(&ksm_pass_lock);
	flush_work(&telling);
	KUNIT_EXPECT_TRUE(test, asked);
}

static struct kunit_case hotplug_cases[] = {
	KUNIT_CASE(who_tells_comes_before_a_batch),
	KUNIT_CASE(P56_the_first_page_and_the_last_go_and_none_beside_them),
	{ }
};

static struct kunit_suite hotplug_suite = {
	.name = "ksm_hotplug",
	.init = init,
	.test_cases = hotplug_cases,
};

kunit_test_suite(hotplug_suite);
