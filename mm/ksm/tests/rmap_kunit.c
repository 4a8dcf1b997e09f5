// SPDX-License-Identifier: GPL-2.0
/* Reverse map: who maps a KSM page is found. */
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "../../internal.h"
#include "../match.h"
#include "../mms.h"
#include "../node.h"
#include "../rmap.h"
#include "../state.h"
#include "fixture.h"

/* Two merged pages of a registered mm. */
static struct ksm_test_pages at;

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 2);
}

/* ------------------------------------------------------------------------ */
/* Walking.                                                                 */

/* What a walk is told to do, and what it came to. */
struct visit {
	int		count;
	int		most;		/* visits after which to stop */
	struct mm_struct *passed_over;
	bool		right_page;
};

static bool visit_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
		      void *arg)
{
	struct visit *visit = arg;

	visit->right_page &= addr >= vma->vm_start && addr < vma->vm_end;
	return ++visit->count < visit->most;
}

static bool passes_over(struct vm_area_struct *vma, void *arg)
{
	struct visit *visit = arg;

	return vma->vm_mm == visit->passed_over;
}

static int walk(struct folio *folio, struct visit *visit)
{
	struct rmap_walk_control rwc = {
		.rmap_one	= visit_one,
		.invalid_vma	= passes_over,
		.arg		= visit,
	};

	visit->count = 0;
	visit->right_page = true;
	folio_lock(folio);
	ksm_rmap_walk(folio, &rwc);
	folio_unlock(folio);
	return visit->count;
}

static void a_walk_visits_items_and_forks(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct visit visit = { .most = INT_MAX };

	KUNIT_EXPECT_EQ(test, walk(folio, &visit), 2);
	ksm_test_fork(test, at.mm);
	KUNIT_EXPECT_EQ(test, walk(folio, &visit), 4);
	KUNIT_EXPECT_TRUE(test, visit.right_page);
}

static void a_walk_stops_when_told_to(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct visit visit = { .most = 1 };

	ksm_test_fork(test, at.mm);
	KUNIT_EXPECT_EQ(test, walk(folio, &visit), 1);
	visit.most = 3;
	KUNIT_EXPECT_EQ(test, walk(folio, &visit), 3);
}

static int is_done(struct folio *folio)
{
	return 1;
}

static void P58_a_walk_stops_when_all_is_done(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct visit visit = { .most = INT_MAX };
	struct rmap_walk_control rwc = {
		.rmap_one	= visit_one,
		.done		= is_done,
		.arg		= &visit,
	};

	folio_lock(folio);
	ksm_rmap_walk(folio, &rwc);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, visit.count, 1);
}

static void a_walk_passes_over_whom_it_is_told_to(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct visit visit = { .most = INT_MAX, .passed_over = at.mm };

	KUNIT_EXPECT_EQ(test, walk(folio, &visit), 0);
	ksm_test_fork(test, at.mm);
	KUNIT_EXPECT_EQ(test, walk(folio, &visit), 2);
}

static void P58_a_walk_that_must_not_wait_does_not(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct visit visit = { .most = INT_MAX };
	struct rmap_walk_control rwc = {
		.rmap_one	= visit_one,
		.arg		= &visit,
		.try_lock	= true,
	};
	struct anon_vma *anon_vma;

	mmap_read_lock(at.mm);
	anon_vma = vma_lookup(at.mm, at.a)->anon_vma;
	mmap_read_unlock(at.mm);

	folio_lock(folio);
	anon_vma_lock_write(anon_vma);
	ksm_rmap_walk(folio, &rwc);
	anon_vma_unlock_write(anon_vma);
	KUNIT_EXPECT_TRUE(test, rwc.contended);
	KUNIT_EXPECT_EQ(test, visit.count, 0);
	rwc.contended = false;
	ksm_rmap_walk(folio, &rwc);
	folio_unlock(folio);
	KUNIT_EXPECT_FALSE(test, rwc.contended);
	KUNIT_EXPECT_EQ(test, visit.count, 2);
}

/* The lock is somebody else's, who may let go of it while the walk goes on. */
static void a_walk_that_does_not_hold_the_lock_visits_nobody(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct visit visit = { .most = INT_MAX };
	struct rmap_walk_control rwc = {
		.rmap_one	= visit_one,
		.arg		= &visit,
		.unlocked	= true,
	};

	folio_lock(folio);
	ksm_rmap_walk(folio, &rwc);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, visit.count, 0);
}

static int referenced(struct folio *folio, bool locked)
{
	unsigned long flags;
	int count;

	if (locked)
		folio_lock(folio);
	count = folio_referenced(folio, locked, NULL, &flags);
	if (locked)
		folio_unlock(folio);
	return count;
}

/* Both pages were used; does reclaim hear of that, once? */
static void expect_referenced(struct kunit *test, struct folio *folio, bool locked)
{
	ksm_test_change_pte(at.mm, at.a, pte_mkyoung);
	ksm_test_change_pte(at.mm, at.b, pte_mkyoung);
	KUNIT_EXPECT_GT(test, referenced(folio, locked), 0);
	KUNIT_EXPECT_FALSE(test, pte_young(ksm_test_pte_at(at.mm, at.a)));
	KUNIT_EXPECT_FALSE(test, pte_young(ksm_test_pte_at(at.mm, at.b)));
	KUNIT_EXPECT_EQ(test, referenced(folio, locked), 0);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
}

/* It holds the lock when it is about to unmap the page, and takes it when it ages it. */
static void reclaim_hears_of_every_use(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	/* As reclaim has it. */
	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(folio));
	expect_referenced(test, folio, true);
	expect_referenced(test, folio, false);
	folio_putback_lru(folio);
	lru_add_drain_all();
}

static struct folio *get_new(struct folio *src, unsigned long unused)
{
	return folio_alloc(GFP_KERNEL, 0);
}

/* A reference is all that is left of it, but it can be found and mapped again. */
static void P54_a_page_that_nobody_maps_takes_its_node_along(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct ksm_node *node = ksm_test_item_at(at.mm, at.a)->node;
	unsigned long pfn = node->pfn;
	LIST_HEAD(list);
	int left;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "needs CONFIG_MIGRATION");
	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(folio));
	node_stat_mod_folio(folio, NR_ISOLATED_ANON, 1);
	list_add(&folio->lru, &list);
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	left = migrate_pages(&list, get_new, NULL, 0, MIGRATE_SYNC, MR_SYSCALL, NULL);
	if (left)
		putback_movable_pages(&list);
	KUNIT_EXPECT_EQ(test, left, 0);
	KUNIT_EXPECT_NE(test, node->pfn, pfn);
}

/* What a page says of where it is mapped, and says while it is a KSM page. */
static struct {
	struct folio	*folio;
	void		*anon;
} page;

/* As when it is made a KSM page again and again. */
static int promote_it(void *unused)
{
	while (!kthread_should_stop()) {
		WRITE_ONCE(page.folio->mapping, (void *)PAGE_MAPPING_KSM);
		WRITE_ONCE(page.folio->mapping, page.anon);
		cond_resched();
	}
	return 0;
}

/* Lock what a page is found by while another CPU makes a KSM page of it. */
static void who_locks_an_anon_vma_has_it(struct kunit *test)
{
	struct task_struct *task = NULL;
	unsigned int cpu, i, unlocked = 0;
	struct anon_vma *anon_vma;

	page.folio = ksm_test_folio(test, 1);
	page.anon = READ_ONCE(ksm_test_folio_at(at.mm, at.a)->mapping);
	page.folio->mapping = page.anon;
	atomic_set(&page.folio->_mapcount, 0);
	migrate_disable();
	cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	if (cpu < nr_cpu_ids)
		task = kthread_run_on_cpu(promote_it, NULL, cpu, "ksm_test/%u");
	for (i = 0; !IS_ERR_OR_NULL(task) && i < 1000000; i++) {
		anon_vma = folio_lock_anon_vma_read(page.folio, NULL);
		if (!anon_vma)
			continue;
		if (rwsem_is_locked(&anon_vma->root->rwsem))
			anon_vma_unlock_read(anon_vma);
		else
			unlocked++;
		cond_resched();
	}
	if (!IS_ERR_OR_NULL(task))
		kthread_stop(task);
	migrate_enable();
	atomic_set(&page.folio->_mapcount, -1);
	page.folio->mapping = NULL;
	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_EXPECT_EQ(test, unlocked, 0);
}

/* ------------------------------------------------------------------------ */
/* Every mapping is found.                                                  */

static void P52_forks_of_merged_pages_are_found(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);
	struct mm_struct *child, *grandchild;

	ksm_test_expect_found(test, folio, 2);
	child = ksm_test_fork(test, at.mm);
	grandchild = ksm_test_fork(test, child);
	ksm_test_expect_found(test, folio, 6);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, at.a, 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(grandchild, at.b, 1));
}

static void P86_a_page_that_a_child_promotes_is_found_at_its_parent(struct kunit *test)
{
	struct mm_struct *child = ksm_test_fork(test, at.mm);
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	unsigned long own = ksm_test_map(test, child, 1);

	ksm_test_write(test, child, own, 1);
	KUNIT_ASSERT_EQ(test, ksm_test_match(child, own), KSM_MATCH_WAITING);
	KUNIT_ASSERT_EQ(test, ksm_test_match(child, at.a), KSM_MATCH_MERGED);
	/* It is the shared page that was kept. */
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_folio_at(child, own), folio);
	ksm_test_expect_found(test, folio, 3);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.a, 1));
}

static struct kunit_case rmap_cases[] = {
	KUNIT_CASE(a_walk_visits_items_and_forks),
	KUNIT_CASE(a_walk_stops_when_told_to),
	KUNIT_CASE(P58_a_walk_stops_when_all_is_done),
	KUNIT_CASE(a_walk_passes_over_whom_it_is_told_to),
	KUNIT_CASE(P58_a_walk_that_must_not_wait_does_not),
	KUNIT_CASE(a_walk_that_does_not_hold_the_lock_visits_nobody),
	KUNIT_CASE(reclaim_hears_of_every_use),
	KUNIT_CASE(P54_a_page_that_nobody_maps_takes_its_node_along),
	KUNIT_CASE(who_locks_an_anon_vma_has_it),
	KUNIT_CASE(P52_forks_of_merged_pages_are_found),
	KUNIT_CASE(P86_a_page_that_a_child_promotes_is_found_at_its_parent),
	{ }
};

static struct kunit_suite rmap_suite = {
	.name = "ksm_rmap",
	.init = init,
	.test_cases = rmap_cases,
};

kunit_test_suite(rmap_suite);
