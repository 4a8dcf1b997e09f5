// SPDX-License-Identifier: GPL-2.0
/* Pages shared by fork: who maps them is found, whoever has left. */
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/clock.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/swap.h>

#include <trace/events/ksm.h>

#include "../match.h"
#include "../node.h"
#include "../rmap.h"
#include "../state.h"
#include "fixture.h"

/* Two merged pages, what they are now, and a child of theirs. */
static struct ksm_test_pages at;
static struct folio *merged;
static struct mm_struct *child;

static int init(struct kunit *test)
{
	int err = ksm_test_init_pages(test, &at, 2);

	if (err)
		return err;
	merged = ksm_test_merge(test, &at);
	child = ksm_test_fork(test, at.mm);
	return 0;
}

static void P51_an_item_says_its_address_and_no_more(struct kunit *test)
{
	unsigned long c = ksm_test_map(test, at.mm, 1);

	ksm_test_write(test, at.mm, c, 2);
	KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, c), KSM_MATCH_WAITING);
	/* Merged, a candidate, an orphan: it is the address in all of them. */
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, at.a)), at.a);
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, at.b)), at.b);
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, c)->kind, KSM_ITEM_CANDIDATE);
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, c)), c);
	folio_lock(merged);
	KUNIT_EXPECT_TRUE(test, ksm_node_unlink(ksm_test_item_at(at.mm, at.b), NULL));
	folio_unlock(merged);
	KUNIT_EXPECT_EQ(test, ksm_test_item_at(at.mm, at.b)->kind, KSM_ITEM_ORPHAN);
	KUNIT_EXPECT_EQ(test, ksm_item_addr(ksm_test_item_at(at.mm, at.b)), at.b);
}

static void P53_an_item_outlives_its_vma(struct kunit *test)
{
	struct anon_vma *anon_vma = ksm_test_item_at(at.mm, at.a)->anon_vma;

	/* The child's is another; the parent's is held by the item alone now. */
	ksm_test_unmap(at.mm, at.a, 2);
	KUNIT_EXPECT_GE(test, atomic_read(&anon_vma->refcount), 2);
	ksm_test_expect_found(test, merged, 2);
	ksm_test_unmap(child, at.a, 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&anon_vma->refcount), 2);
	ksm_test_forget_at(at.mm, at.a);
	KUNIT_EXPECT_EQ(test, atomic_read(&anon_vma->refcount), 1);
}

static void P57_the_index_of_a_KSM_page_means_nothing(struct kunit *test)
{
	struct vm_area_struct *vma;

	mmap_read_lock(at.mm);
	vma = vma_lookup(at.mm, at.a);
	KUNIT_EXPECT_EQ(test, page_address_in_vma(&merged->page, vma),
			(unsigned long)-EFAULT);
	mmap_read_unlock(at.mm);
	/* Neither a walk nor the copying of a fork looks at it. */
	merged->index += 1000;
	ksm_test_expect_found(test, merged, 4);
	ksm_test_fork(test, child);
	ksm_test_expect_found(test, merged, 6);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.b, 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, at.a, 1));
}

static void P86_who_leaves_leaves_the_way_to_his_child(struct kunit *test)
{
	ksm_test_expect_found(test, merged, 4);
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_expect_found(test, merged, 3);
	/* The VMA, and all that was known of it. */
	ksm_test_unmap(at.mm, at.a, 2);
	ksm_test_forget_at(at.mm, at.b);
	KUNIT_EXPECT_NULL(test, ksm_test_item_at(at.mm, at.b));
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 0);
	ksm_test_expect_found(test, merged, 2);
	ksm_test_exit(test, at.mm);
	ksm_test_expect_found(test, merged, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(child, at.a, 1));
}

/* Migration and split unmap a page for a while: how many have it is known under the lock. */
static void a_page_that_is_locked_is_not_freed_lazily(struct kunit *test)
{
	unsigned long c = ksm_test_map(test, at.mm, 1);
	struct folio *folio;

	ksm_test_write(test, at.mm, c, 2);
	folio = ksm_test_folio_at(at.mm, c);
	ksm_test_change_pte(at.mm, c, pte_mkclean);
	folio_clear_dirty(folio);
	folio_lock(folio);
	do_madvise(at.mm, c, PAGE_SIZE, MADV_FREE);
	folio_unlock(folio);
	lru_add_drain_all();
	KUNIT_EXPECT_TRUE(test, folio_test_swapbacked(folio));
	do_madvise(at.mm, c, PAGE_SIZE, MADV_FREE);
	lru_add_drain_all();
	KUNIT_EXPECT_FALSE(test, folio_test_swapbacked(folio));
}

/* What reclaim finds dirty it does not free. */
static void what_is_freed_lazily_is_clean(struct kunit *test)
{
	unsigned long c = ksm_test_map(test, at.mm, 1);
	struct folio *folio;

	ksm_test_write(test, at.mm, c, 2);
	folio = ksm_test_folio_at(at.mm, c);
	folio_mark_dirty(folio);
	do_madvise(at.mm, c, PAGE_SIZE, MADV_FREE);
	lru_add_drain_all();
	KUNIT_EXPECT_FALSE(test, folio_test_swapbacked(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_FALSE(test, pte_dirty(ksm_test_pte_at(at.mm, c)));
}

static bool count_visit(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			void *arg)
{
	++*(int *)arg;
	return true;
}

static void P58_a_walk_ends_where_it_would_have_to_wait(struct kunit *test)
{
	struct mm_struct *other = ksm_test_mm(test);
	struct anon_vma *anon_vma = ksm_test_item_at(at.mm, at.a)->anon_vma;
	unsigned long c = ksm_test_map(test, other, 1);
	int visits = 0;
	struct rmap_walk_control rwc = {
		.rmap_one	= count_visit,
		.arg		= &visits,
		.try_lock	= true,
	};

	/* Between two items of one anon_vma comes one of another. */
	ksm_test_write(test, other, c, 1);
	KUNIT_ASSERT_EQ(test, ksm_test_match(other, c), KSM_MATCH_MERGED);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_item_at(at.mm, at.b)->anon_vma, anon_vma);
	KUNIT_ASSERT_PTR_NE(test, ksm_test_item_at(other, c)->anon_vma, anon_vma);

	folio_lock(merged);
	anon_vma_lock_write(anon_vma);
	ksm_rmap_walk(merged, &rwc);
	anon_vma_unlock_write(anon_vma);
	KUNIT_EXPECT_TRUE(test, rwc.contended);
	KUNIT_EXPECT_EQ(test, visits, 0);
	ksm_rmap_walk(merged, &rwc);
	KUNIT_EXPECT_EQ(test, visits, 5);
	folio_unlock(merged);
}

static void P86_a_way_that_has_ended_is_no_reason_to_drop_another(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long c = ksm_test_map(test, mm, 1);

	/* Two anchors, by which the child is found; then the child goes. */
	ksm_test_give_up(test, at.mm, at.a);
	ksm_test_give_up(test, at.mm, at.b);
	ksm_test_write(test, mm, c, 1);
	KUNIT_ASSERT_EQ(test, ksm_test_match(mm, c), KSM_MATCH_MERGED);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_folio_at(mm, c), merged);
	ksm_test_expect_found(test, merged, 3);
	do_madvise(child, at.a, 2 * PAGE_SIZE, MADV_DONTNEED);
	/* Another child of another parent, who leaves: only his item leads there. */
	ksm_test_fork(test, mm);
	ksm_test_expect_found(test, merged, 2);
	ksm_test_give_up(test, mm, c);
	ksm_test_expect_found(test, merged, 1);
}

/*
 * A real child of a program that runs on another CPU, too. From where the child is
 * registered on, that CPU hears of no flush, and has a look at the child.
 */
static struct {
	struct task_struct	*forks;
	struct mm_struct	*child;
	bool			deaf;
	bool			in_time;	/* it was deaf before the fork went on */
	bool			forked;		/* nobody has waited for the flush */
	bool			locked;		/* the child, when it was looked at */
	bool			looked;
} forking;

/* In the middle of the fork. The other CPU comes at once, or not at all. */
static void wait_for_deaf(void *unused, void *mm)
{
	u64 until = local_clock() + 5ULL * NSEC_PER_SEC;

	if (current != forking.forks || forking.child)
		return;
	mmgrab(mm);
	WRITE_ONCE(forking.child, mm);
	while (!READ_ONCE(forking.deaf) && local_clock() < until)
		cpu_relax();
	forking.in_time = READ_ONCE(forking.deaf);
}

static void let_nobody_wait(void *unused)
{
	unregister_trace_ksm_enter(wait_for_deaf, NULL);
	tracepoint_synchronize_unregister();
	if (forking.child)
		mmdrop(forking.child);
}

static int look_while_deaf(void *mm)
{
	kthread_use_mm(mm);
	while (!READ_ONCE(forking.child) && !kthread_should_stop())
		cond_resched();
	if (READ_ONCE(forking.child)) {
		local_irq_disable();
		WRITE_ONCE(forking.deaf, true);
		/* Time enough for whatever is not held up by the flush. */
		mdelay(20);
		forking.locked = rwsem_is_locked(&forking.child->mmap_lock);
		forking.looked = !READ_ONCE(forking.forked);
		local_irq_enable();
	}
	while (!kthread_should_stop())
		cond_resched();
	kthread_unuse_mm(mm);
	return 0;
}

static int exit_at_once(void *unused)
{
	do_exit(0);
}

/* As fork() does it. Return: the child's number, or an error. */
static pid_t fork_and_wait(struct mm_struct *mm)
{
	struct kernel_clone_args args = {
		.flags		= CLONE_FS | CLONE_FILES | CLONE_UNTRACED,
		.exit_signal	= SIGCHLD,
		.fn		= exit_at_once,
	};
	int status;
	pid_t pid;

	kthread_use_mm(mm);
	pid = kernel_clone(&args);
	WRITE_ONCE(forking.forked, true);
	kthread_unuse_mm(mm);
	/* It is reaped as it ends, for who makes it ignores SIGCHLD. */
	if (pid > 0)
		kernel_wait(pid, &status);
	return pid;
}

static void P4_a_child_is_locked_until_its_parent_is_flushed(struct kunit *test)
{
	unsigned long c = ksm_test_map(test, at.mm, 1);
	struct task_struct *program;
	pid_t pid;

	ksm_test_write(test, at.mm, c, 2);
	memset(&forking, 0, sizeof(forking));
	forking.forks = current;
	if (register_trace_ksm_enter(wait_for_deaf, NULL))
		kunit_skip(test, "needs CONFIG_TRACING");
	ksm_test_at_end(test, let_nobody_wait, NULL);
	program = ksm_test_let_run(test, look_while_deaf, at.mm);
	KUNIT_EXPECT_TRUE(test, pte_write(ksm_test_pte_at(at.mm, c)));
	pid = fork_and_wait(at.mm);
	kunit_release_action(test, ksm_test_end_program, program);

	KUNIT_ASSERT_GT(test, pid, 0);
	KUNIT_EXPECT_NOT_NULL(test, forking.child);
	KUNIT_EXPECT_FALSE(test, pte_write(ksm_test_pte_at(at.mm, c)));
	if (!forking.in_time || !forking.looked)
		kunit_skip(test, "the other CPU came too late, or is not waited for");
	/* By what its TLB knows that CPU could still write to what the child has. */
	KUNIT_EXPECT_TRUE(test, forking.locked);
}

static struct kunit_case fork_cases[] = {
	KUNIT_CASE(P4_a_child_is_locked_until_its_parent_is_flushed),
	KUNIT_CASE(P51_an_item_says_its_address_and_no_more),
	KUNIT_CASE(P53_an_item_outlives_its_vma),
	KUNIT_CASE(P57_the_index_of_a_KSM_page_means_nothing),
	KUNIT_CASE(a_page_that_is_locked_is_not_freed_lazily),
	KUNIT_CASE(what_is_freed_lazily_is_clean),
	KUNIT_CASE(P58_a_walk_ends_where_it_would_have_to_wait),
	KUNIT_CASE(P86_a_way_that_has_ended_is_no_reason_to_drop_another),
	KUNIT_CASE(P86_who_leaves_leaves_the_way_to_his_child),
	{ }
};

static struct kunit_suite fork_suite = {
	.name = "ksm_fork",
	.init = init,
	.test_cases = fork_cases,
};

kunit_test_suite(fork_suite);
