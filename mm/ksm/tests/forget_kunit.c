// SPDX-License-Identifier: GPL-2.0
/* Forgetting: what goes, what has to stay, and that the counts agree. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../block.h"
#include "../forget.h"
#include "../item.h"
#include "../match.h"
#include "../mms.h"
#include "../node.h"
#include "../record.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

/* Three pages of equal content. */
static struct ksm_test_pages at;

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 3);
}

static void *entry_at(unsigned long addr)
{
	return ksm_record_load(ksm_mms_find(at.mm), addr >> PAGE_SHIFT);
}

static bool forget(unsigned long addr, enum ksm_forget how)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	bool gone = ksm_forget_page(km, addr >> PAGE_SHIFT, how);

	ksm_test_unlock(at.mm);
	return gone;
}

static void unmap(struct kunit *test, unsigned long addr, unsigned int pages)
{
	KUNIT_ASSERT_EQ(test, do_madvise(at.mm, addr, pages * PAGE_SIZE, MADV_DONTNEED), 0);
}

static void remember(struct kunit *test, unsigned long addr, unsigned int age)
{
	struct ksm_record record = { .age = age, .calm = age };
	struct ksm_mm *km = ksm_test_lock(at.mm);
	int err = ksm_record_store(km, addr >> PAGE_SHIFT, ksm_record_pack(record));

	ksm_test_unlock(at.mm);
	KUNIT_ASSERT_EQ(test, err, 0);
}

static void expect_counts(struct kunit *test, unsigned long shared, unsigned long sharing,
			  long nodes)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), nodes);
}

/* ------------------------------------------------------------------------ */
/* A page.                                                                  */

static void a_value_goes_at_once(struct kunit *test)
{
	remember(test, at.a, 0);
	remember(test, at.b, 1);
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_NULL(test, entry_at(at.a));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), 1);
	/* There is nothing to do, and that is done. */
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
}

static void a_candidate_leaves_its_tree(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, at.a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_NULL(test, entry_at(at.a));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.b), KSM_MATCH_WAITING);
}

static void a_mapped_ksm_page_is_not_forgotten(struct kunit *test)
{
	ksm_test_merge(test, &at);
	KUNIT_EXPECT_FALSE(test, forget(at.a, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_NOT_NULL(test, ksm_record_item(entry_at(at.a)));
	expect_counts(test, 1, 1, 1);
}

static void an_unmapped_ksm_page_is_forgotten(struct kunit *test)
{
	ksm_test_merge(test, &at);
	unmap(test, at.a, 1);
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_NULL(test, entry_at(at.a));
	expect_counts(test, 1, 0, 1);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_merging_pages, 1);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, 1);
}

static void a_rewritten_ksm_page_is_forgotten(struct kunit *test)
{
	ksm_test_merge(test, &at);
	ksm_test_write(test, at.mm, at.a, 2);
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
	expect_counts(test, 1, 0, 1);
}

static void P49_a_ksm_page_on_its_way_is_not_forgotten(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "needs CONFIG_MIGRATION");
	folio_get(folio);
	folio_lock(folio);
	try_to_migrate(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	folio_unlock(folio);
	/* Its item leads to the entry that must be turned back. */
	KUNIT_EXPECT_FALSE(test, forget(at.a, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_FALSE(test, forget(at.b, KSM_FORGET_CHANGED));
	folio_lock(folio);
	remove_migration_ptes(folio, folio, 0);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 2);
	folio_put(folio);
	expect_counts(test, 1, 1, 1);
}

static void P49_a_scan_does_not_wait_for_a_locked_page(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	unmap(test, at.a, 1);
	folio_lock(folio);
	KUNIT_EXPECT_FALSE(test, forget(at.a, KSM_FORGET_CHANGED));
	folio_unlock(folio);
	expect_counts(test, 1, 1, 1);
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
	expect_counts(test, 1, 0, 1);
}

/* A driver can make of a mapping one that would not be merged today. */
static void a_KSM_page_is_known_where_nothing_merges_any_more(struct kunit *test)
{
	struct vm_area_struct *vma;

	ksm_test_merge(test, &at);
	mmap_write_lock(at.mm);
	vma = vma_lookup(at.mm, at.a);
	vm_flags_set(vma, VM_MIXEDMAP);
	mmap_write_unlock(at.mm);
	KUNIT_EXPECT_FALSE(test, forget(at.a, KSM_FORGET_CHANGED));
	mmap_write_lock(at.mm);
	vm_flags_clear(vma, VM_MIXEDMAP);
	mmap_write_unlock(at.mm);
	expect_counts(test, 1, 1, 1);
	ksm_test_expect_found(test, ksm_test_folio_at(at.mm, at.a), 2);
}

static void an_orphan_is_forgotten(struct kunit *test)
{
	ksm_test_merge(test, &at);
	unmap(test, at.a, 2);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	mutex_unlock(&ksm_pass_lock);
	expect_counts(test, 0, 0, 0);
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_TRUE(test, forget(at.b, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
}

/* ------------------------------------------------------------------------ */
/* A range.                                                                 */

/* Forget from @from to @to, at most so many entries; where to go on, 0 when through. */
static unsigned long forget_range(unsigned long from, unsigned long to, unsigned int most)
{
	struct ksm_mm *km = ksm_test_lock(at.mm);
	unsigned long first = from >> PAGE_SHIFT;
	bool through;

	through = ksm_forget_range(km, &first, to >> PAGE_SHIFT, KSM_FORGET_CHANGED, &most);
	ksm_test_unlock(at.mm);
	return through ? 0 : first << PAGE_SHIFT;
}

static void a_range_ends_where_it_says(struct kunit *test)
{
	remember(test, at.a, 1);
	remember(test, at.b, 1);
	remember(test, at.c, 1);
	KUNIT_EXPECT_EQ(test, forget_range(at.b, at.b, 3), 0);
	KUNIT_EXPECT_NOT_NULL(test, entry_at(at.a));
	KUNIT_EXPECT_NULL(test, entry_at(at.b));
	KUNIT_EXPECT_NOT_NULL(test, entry_at(at.c));
}

static void a_range_can_be_forgotten_in_steps(struct kunit *test)
{
	remember(test, at.a, 1);
	remember(test, at.b, 1);
	remember(test, at.c, 1);
	KUNIT_EXPECT_EQ(test, forget_range(at.a, at.c, 0), at.a);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, 3);
	KUNIT_EXPECT_EQ(test, forget_range(at.a, at.c, 2), at.c);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, 1);
	KUNIT_EXPECT_EQ(test, forget_range(at.c, at.c, 1), 0);
	KUNIT_EXPECT_EQ(test, at.mm->ksm_rmap_items, 0);
	KUNIT_EXPECT_EQ(test, forget_range(at.a, at.c, 0), 0);
}

/* Of many neighbours the first and the last are left, in two blocks. */
static void what_is_left_beside_a_range_takes_little(struct kunit *test)
{
	unsigned long first = ALIGN(at.a, KSM_BLOCK_PAGES * PAGE_SIZE), addr;
	unsigned long last = first + (2 * KSM_BLOCK_PAGES - 1) * PAGE_SIZE;
	long bytes;

	remember(test, first, 1);
	remember(test, last, 1);
	bytes = atomic_long_read(&ksm_counts.record_bytes);
	for (addr = first + PAGE_SIZE; addr < last; addr += PAGE_SIZE)
		remember(test, addr, 1);
	KUNIT_ASSERT_GT(test, atomic_long_read(&ksm_counts.record_bytes), bytes);
	KUNIT_EXPECT_EQ(test, forget_range(first + PAGE_SIZE, last - PAGE_SIZE, UINT_MAX), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.record_bytes), bytes);
	KUNIT_EXPECT_NOT_NULL(test, entry_at(first));
	KUNIT_EXPECT_NOT_NULL(test, entry_at(last));
}

static void an_unmerge_forgets_items_and_keeps_values(struct kunit *test)
{
	struct ksm_mm *km;

	ksm_test_merge(test, &at);
	remember(test, at.c, 1);
	unmap(test, at.a, 2);
	km = ksm_test_lock(at.mm);
	ksm_forget_merged(km, at.a >> PAGE_SHIFT, at.a >> PAGE_SHIFT);
	KUNIT_EXPECT_NULL(test, entry_at(at.a));
	KUNIT_EXPECT_NOT_NULL(test, entry_at(at.b));
	ksm_forget_merged(km, at.a >> PAGE_SHIFT, at.c >> PAGE_SHIFT);
	ksm_test_unlock(at.mm);
	KUNIT_EXPECT_NULL(test, entry_at(at.b));
	KUNIT_EXPECT_NOT_NULL(test, entry_at(at.c));
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
}

/* ------------------------------------------------------------------------ */
/* Nodes.                                                                   */

static void forget_due(unsigned long most)
{
	mutex_lock(&ksm_pass_lock);
	ksm_forget_due(most);
	mutex_unlock(&ksm_pass_lock);
}

static void a_node_whose_page_has_gone_is_dropped(struct kunit *test)
{
	ksm_test_merge(test, &at);
	unmap(test, at.a, 2);
	forget_due(ULONG_MAX);
	/* Not while it has items: their owner's scan is to find out. */
	expect_counts(test, 1, 1, 1);
	KUNIT_EXPECT_TRUE(test, forget(at.a, KSM_FORGET_CHANGED));
	KUNIT_EXPECT_TRUE(test, forget(at.b, KSM_FORGET_CHANGED));
	expect_counts(test, 0, 0, 1);
	forget_due(0);
	expect_counts(test, 0, 0, 1);
	forget_due(1);
	expect_counts(test, 0, 0, 0);
}

static void an_idle_node_whose_page_lives_is_kept(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	folio_get(folio);
	unmap(test, at.a, 2);
	forget(at.a, KSM_FORGET_CHANGED);
	forget(at.b, KSM_FORGET_CHANGED);
	forget_due(ULONG_MAX);
	expect_counts(test, 0, 0, 1);
	folio_put(folio);
	forget_due(ULONG_MAX);
	expect_counts(test, 0, 0, 0);
}

static void P28_the_end_of_an_unmerge_drops_what_nobody_maps(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at), *kept;
	struct ksm_node *node;

	/* Two KSM pages: one is held but not mapped, the other is still mapped. */
	folio_get(folio);
	unmap(test, at.a, 2);
	forget(at.a, KSM_FORGET_CHANGED);
	forget(at.b, KSM_FORGET_CHANGED);
	kept = ksm_test_folio_at(at.mm, at.c);
	ksm_test_write(test, at.mm, at.c, 2);
	node = ksm_test_keep_mapped(test, kept);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	mutex_unlock(&ksm_pass_lock);
	expect_counts(test, 0, 0, 1);
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_NULL(test, ksm_node_of(folio));
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_of(kept), node);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	folio_put(folio);
	/* It is no error, and the next one ends it when it is not mapped any more. */
	unmap(test, at.c, 1);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	mutex_unlock(&ksm_pass_lock);
	expect_counts(test, 0, 0, 0);
}

static void P28_the_end_of_an_unmerge_keeps_a_node_with_items(struct kunit *test)
{
	struct folio *folio = ksm_test_merge(test, &at);

	folio_get(folio);
	unmap(test, at.a, 2);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	mutex_unlock(&ksm_pass_lock);
	expect_counts(test, 1, 1, 1);
	forget(at.a, KSM_FORGET_CHANGED);
	forget(at.b, KSM_FORGET_CHANGED);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	mutex_unlock(&ksm_pass_lock);
	expect_counts(test, 0, 0, 0);
	folio_put(folio);
}

static void P56_memory_that_goes_takes_its_nodes_along(struct kunit *test)
{
	struct folio *a = ksm_test_folio(test, 1), *b = ksm_test_folio(test, 2);
	struct ksm_node *first = ksm_test_keep(test, a), *second = ksm_test_keep(test, b);

	/* Aside as well as in the tree; nobody maps it. */
	ksm_test_poison(test, b);
	mutex_lock(&ksm_pass_lock);
	ksm_stable_prune(second);
	KUNIT_EXPECT_EQ(test, second->place, KSM_NODE_ASIDE);
	ksm_forget_pfns(max(folio_pfn(a), folio_pfn(b)) + 1, ULONG_MAX);
	ksm_forget_pfns(0, min(folio_pfn(a), folio_pfn(b)) - 1);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 2);

	kunit_remove_action(test, ksm_test_drop, first);
	kunit_remove_action(test, ksm_test_drop, second);
	mutex_lock(&ksm_pass_lock);
	ksm_forget_pfns(folio_pfn(b), folio_pfn(b));
	KUNIT_EXPECT_PTR_EQ(test, ksm_stable_next(NULL), first);
	ksm_forget_pfns(folio_pfn(a), folio_pfn(a));
	KUNIT_EXPECT_NULL(test, ksm_stable_next(NULL));
	mutex_unlock(&ksm_pass_lock);
	expect_counts(test, 0, 0, 0);
}

static struct kunit_case forget_cases[] = {
	KUNIT_CASE(a_value_goes_at_once),
	KUNIT_CASE(a_candidate_leaves_its_tree),
	KUNIT_CASE(a_mapped_ksm_page_is_not_forgotten),
	KUNIT_CASE(an_unmapped_ksm_page_is_forgotten),
	KUNIT_CASE(a_rewritten_ksm_page_is_forgotten),
	KUNIT_CASE(P49_a_ksm_page_on_its_way_is_not_forgotten),
	KUNIT_CASE(P49_a_scan_does_not_wait_for_a_locked_page),
	KUNIT_CASE(a_KSM_page_is_known_where_nothing_merges_any_more),
	KUNIT_CASE(an_orphan_is_forgotten),
	KUNIT_CASE(a_range_ends_where_it_says),
	KUNIT_CASE(a_range_can_be_forgotten_in_steps),
	KUNIT_CASE(what_is_left_beside_a_range_takes_little),
	KUNIT_CASE(an_unmerge_forgets_items_and_keeps_values),
	KUNIT_CASE(a_node_whose_page_has_gone_is_dropped),
	KUNIT_CASE(an_idle_node_whose_page_lives_is_kept),
	KUNIT_CASE(P28_the_end_of_an_unmerge_drops_what_nobody_maps),
	KUNIT_CASE(P28_the_end_of_an_unmerge_keeps_a_node_with_items),
	KUNIT_CASE(P56_memory_that_goes_takes_its_nodes_along),
	{ }
};

static struct kunit_suite forget_suite = {
	.name = "ksm_forget",
	.init = init,
	.test_cases = forget_cases,
};

kunit_test_suite(forget_suite);
