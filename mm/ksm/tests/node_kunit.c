// SPDX-License-Identifier: GPL-2.0
/* Stable nodes: the way to the page, who maps it, and what is left behind. */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../hold.h"
#include "../item.h"
#include "../mms.h"
#include "../node.h"
#include "../state.h"
#include "fixture.h"

/* An mm whose items are linked; nothing of it is really merged. */
static struct owner {
	struct ksm_mm		*km;
	struct mm_struct	*mm;
	struct anon_vma		*anon_vma;
	unsigned long		index;
} owner;

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);
	unsigned long addr;

	if (err)
		return err;
	owner.mm = ksm_test_mm(test);
	addr = ksm_test_map(test, owner.mm, 1);
	ksm_test_write(test, owner.mm, addr, 1);
	owner.km = ksm_mms_find(owner.mm);
	owner.index = addr >> PAGE_SHIFT;
	mmap_read_lock(owner.mm);
	owner.anon_vma = vma_lookup(owner.mm, addr)->anon_vma;
	mmap_read_unlock(owner.mm);
	return 0;
}

static void end_item(void *data)
{
	struct ksm_item *item = data;

	if (item->kind == KSM_ITEM_MERGED)
		ksm_node_unlink(item, NULL);
	ksm_item_free(item);
}

static struct ksm_item *make_item(struct kunit *test)
{
	struct ksm_item *item = ksm_item_alloc(owner.km, owner.index);

	KUNIT_ASSERT_NOT_NULL(test, item);
	ksm_test_at_end(test, end_item, item);
	return item;
}

static void link_item(struct ksm_item *item, struct ksm_node *node)
{
	struct folio *folio = pfn_folio(node->pfn);

	folio_lock(folio);
	ksm_node_link(node, item, owner.anon_vma, owner.index);
	folio_unlock(folio);
}

static struct ksm_item *linked_item(struct kunit *test, struct ksm_node *node)
{
	struct ksm_item *item = make_item(test);

	link_item(item, node);
	return item;
}

static bool unlink_item(struct ksm_item *item)
{
	struct folio *folio = pfn_folio(item->node->pfn);
	bool ours;

	folio_lock(folio);
	ours = ksm_node_unlink(item, folio);
	folio_unlock(folio);
	return ours;
}

/* Look for the page, and give it back at once; NULL unless it is there. */
static struct folio *peek(struct ksm_node *node, enum ksm_peek *said)
{
	struct folio *folio = NULL;

	mutex_lock(&ksm_pass_lock);
	*said = ksm_hold_peek(node, &folio);
	if (folio)
		folio_put(folio);
	mutex_unlock(&ksm_pass_lock);
	return folio;
}

static void expect_counts(struct kunit *test, unsigned long shared, unsigned long sharing)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing);
	KUNIT_EXPECT_EQ(test, owner.mm->ksm_merging_pages, shared + sharing);
	/* Where all items are of one mm, the pages are what is not saved of it. */
	KUNIT_EXPECT_EQ(test, owner.km->kept, shared);
}

/* ------------------------------------------------------------------------ */
/* The way to the page.                                                     */

static void P3_an_adopted_page_is_dirty_and_leads_to_its_node(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node;

	KUNIT_EXPECT_FALSE(test, folio_test_dirty(folio));
	node = ksm_test_keep(test, folio);
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_of(folio), node);
	KUNIT_EXPECT_EQ(test, node->pfn, folio_pfn(folio));
}

static void a_released_page_stays_a_ksm_page_without_node(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio);
	enum ksm_peek said;

	folio_lock(folio);
	ksm_hold_release(node, folio);
	folio_unlock(folio);
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(folio));
	KUNIT_EXPECT_NULL(test, ksm_node_of(folio));
	peek(node, &said);
	KUNIT_EXPECT_EQ(test, said, KSM_PEEK_GONE);
}

static void an_ordinary_page_has_no_node(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(owner.mm, owner.index << PAGE_SHIFT);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_TRUE(test, folio_test_anon(folio));
	KUNIT_EXPECT_NULL(test, ksm_node_of(folio));
}

static void peek_finds_the_page(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1), *found = NULL;
	struct ksm_node *node = ksm_test_keep(test, folio);

	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_EQ(test, ksm_hold_peek(node, &found), KSM_PEEK_OK);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_ASSERT_PTR_EQ(test, found, folio);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	folio_put(folio);
}

static void peek_misses_a_freed_page(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio);
	enum ksm_peek said;

	kunit_release_action(test, ksm_test_free_folio, folio);
	KUNIT_EXPECT_NULL(test, peek(node, &said));
	KUNIT_EXPECT_EQ(test, said, KSM_PEEK_GONE);
}

static void peek_is_not_fooled_by_the_next_user_of_a_page(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *old = ksm_test_keep(test, folio), *new;
	enum ksm_peek said;

	ksm_test_needs_hashes(test);
	/* As when it is freed and allocated again. */
	folio->mapping = NULL;
	memset64(folio_address(folio), 2, PAGE_SIZE / sizeof(u64));
	KUNIT_EXPECT_NULL(test, peek(old, &said));
	KUNIT_EXPECT_EQ(test, said, KSM_PEEK_GONE);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);

	new = ksm_test_keep(test, folio);
	KUNIT_EXPECT_PTR_EQ(test, peek(new, &said), folio);
	KUNIT_EXPECT_NULL(test, peek(old, &said));
	KUNIT_EXPECT_EQ(test, said, KSM_PEEK_GONE);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
}

static void P84_peek_does_not_give_out_a_poisoned_page(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio);
	enum ksm_peek said;

	ksm_test_poison(test, folio);
	KUNIT_EXPECT_NULL(test, peek(node, &said));
	KUNIT_EXPECT_EQ(test, said, KSM_PEEK_POISONED);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
}

static void a_poisoned_page_can_be_locked(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1), *locked = NULL;
	struct ksm_item *item = linked_item(test, ksm_test_keep(test, folio));

	ksm_test_poison(test, folio);
	KUNIT_EXPECT_EQ(test, ksm_hold_lock(item, false, &locked), KSM_PEEK_OK);
	KUNIT_ASSERT_PTR_EQ(test, locked, folio);
	folio_unlock(folio);
	folio_put(folio);
}

static void a_page_is_locked_by_its_item(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1), *locked = NULL, *again = NULL;
	struct ksm_item *item = linked_item(test, ksm_test_keep(test, folio));

	KUNIT_EXPECT_EQ(test, ksm_hold_lock(item, true, &locked), KSM_PEEK_OK);
	KUNIT_ASSERT_PTR_EQ(test, locked, folio);
	KUNIT_EXPECT_TRUE(test, folio_test_locked(folio));
	/* Who does not wait is told so, and holds nothing. */
	KUNIT_EXPECT_EQ(test, ksm_hold_lock(item, false, &again), KSM_PEEK_BUSY);
	KUNIT_EXPECT_NULL(test, again);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	folio_unlock(folio);
	folio_put(folio);
}

static void there_is_nothing_to_lock_without_a_page(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1), *locked = NULL;
	struct ksm_item *item = make_item(test);

	KUNIT_EXPECT_EQ(test, ksm_hold_lock(item, true, &locked), KSM_PEEK_GONE);
	link_item(item, ksm_test_keep(test, folio));
	kunit_release_action(test, ksm_test_free_folio, folio);
	KUNIT_EXPECT_EQ(test, ksm_hold_lock(item, true, &locked), KSM_PEEK_GONE);
	ksm_node_unlink(item, NULL);
	KUNIT_EXPECT_EQ(test, ksm_hold_lock(item, true, &locked), KSM_PEEK_GONE);
	KUNIT_EXPECT_NULL(test, locked);
}

static void P54_a_node_follows_its_page(struct kunit *test)
{
	struct folio *src = ksm_test_folio(test, 1), *dst = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, src);
	enum ksm_peek said;

	folio_lock(src);
	folio_lock(dst);
	dst->mapping = src->mapping;	/* as migration does before it calls */
	ksm_hold_migrate(dst, src);
	folio_unlock(dst);
	folio_unlock(src);
	KUNIT_EXPECT_EQ(test, node->pfn, folio_pfn(dst));
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_of(dst), node);
	KUNIT_EXPECT_NULL(test, ksm_node_of(src));
	KUNIT_EXPECT_PTR_EQ(test, peek(node, &said), dst);
	KUNIT_EXPECT_EQ(test, folio_ref_count(src), 1);
}

static void a_page_without_node_moves_too(struct kunit *test)
{
	struct folio *src = ksm_test_folio(test, 1), *dst = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, src);

	folio_lock(src);
	ksm_hold_release(node, src);
	folio_lock(dst);
	dst->mapping = src->mapping;
	ksm_hold_migrate(dst, src);
	folio_unlock(dst);
	folio_unlock(src);
	KUNIT_EXPECT_EQ(test, node->pfn, folio_pfn(src));
	KUNIT_EXPECT_TRUE(test, folio_test_ksm(dst));
	KUNIT_EXPECT_NULL(test, ksm_node_of(dst));
}

/* ------------------------------------------------------------------------ */
/* Who maps it.                                                             */

static void the_first_item_shares_and_others_join(struct kunit *test)
{
	struct ksm_node *node = ksm_test_keep(test, ksm_test_folio(test, 1));
	struct ksm_node *other = ksm_test_keep(test, ksm_test_folio(test, 2));
	struct ksm_item *first, *second;

	expect_counts(test, 0, 0);
	first = linked_item(test, node);
	expect_counts(test, 1, 0);
	second = linked_item(test, node);
	expect_counts(test, 1, 1);
	linked_item(test, other);
	expect_counts(test, 2, 1);
	KUNIT_EXPECT_EQ(test, node->nr_items, 2);

	/* Whoever goes first: the page is shared until the last has gone. */
	KUNIT_EXPECT_TRUE(test, unlink_item(first));
	expect_counts(test, 2, 0);
	KUNIT_EXPECT_TRUE(test, unlink_item(second));
	expect_counts(test, 1, 0);
	KUNIT_EXPECT_EQ(test, node->nr_items, 0);
	KUNIT_EXPECT_EQ(test, second->kind, KSM_ITEM_ORPHAN);
}

static void P77_a_page_is_kept_for_whose_item_is_first(struct kunit *test)
{
	struct ksm_node *node = ksm_test_keep(test, ksm_test_folio(test, 1));
	struct ksm_item *first = linked_item(test, node), *second = make_item(test);

	second->owner = ksm_test_records(test);
	link_item(second, node);
	KUNIT_EXPECT_EQ(test, owner.km->kept, 1);
	KUNIT_EXPECT_EQ(test, second->owner->kept, 0);
	unlink_item(first);
	KUNIT_EXPECT_EQ(test, owner.km->kept, 0);
	KUNIT_EXPECT_EQ(test, second->owner->kept, 1);
	unlink_item(second);
	KUNIT_EXPECT_EQ(test, second->owner->kept, 0);
}

static void an_orphan_is_given_back_and_not_counted(struct kunit *test)
{
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio);
	struct ksm_item *item = linked_item(test, node);

	KUNIT_EXPECT_TRUE(test, unlink_item(item));
	expect_counts(test, 0, 0);
	KUNIT_EXPECT_TRUE(test, ksm_node_unlink(item, NULL));
	expect_counts(test, 0, 0);
}

static void P53_an_item_holds_its_anon_vma(struct kunit *test)
{
	struct ksm_node *node = ksm_test_keep(test, ksm_test_folio(test, 1));
	int held = atomic_read(&owner.anon_vma->refcount);
	struct ksm_item *item = make_item(test);

	KUNIT_EXPECT_EQ(test, atomic_read(&owner.anon_vma->refcount), held);
	link_item(item, node);
	KUNIT_EXPECT_EQ(test, atomic_read(&owner.anon_vma->refcount), held + 1);
	unlink_item(item);
	KUNIT_EXPECT_EQ(test, atomic_read(&owner.anon_vma->refcount), held + 1);
	kunit_release_action(test, end_item, item);
	KUNIT_EXPECT_EQ(test, atomic_read(&owner.anon_vma->refcount), held);
}

static void a_node_without_items_is_idle_until_linked_again(struct kunit *test)
{
	struct ksm_node *node = ksm_test_keep(test, ksm_test_folio(test, 1));
	struct ksm_item *item = linked_item(test, node);

	KUNIT_EXPECT_EQ(test, ksm_node_count_due(), 0);
	unlink_item(item);
	KUNIT_EXPECT_EQ(test, ksm_node_count_due(), 1);
	linked_item(test, node);
	KUNIT_EXPECT_EQ(test, ksm_node_count_due(), 0);
	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_NULL(test, ksm_node_next_due());
	mutex_unlock(&ksm_pass_lock);
}

static void idle_nodes_take_turns(struct kunit *test)
{
	struct ksm_node *a = ksm_test_keep(test, ksm_test_folio(test, 1));
	struct ksm_node *b = ksm_test_keep(test, ksm_test_folio(test, 2));

	unlink_item(linked_item(test, a));
	unlink_item(linked_item(test, b));
	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_next_due(), a);
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_next_due(), b);
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_next_due(), a);
	mutex_unlock(&ksm_pass_lock);
	kunit_release_action(test, ksm_test_drop, a);
	KUNIT_EXPECT_EQ(test, ksm_node_count_due(), 1);
	mutex_lock(&ksm_pass_lock);
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_next_due(), b);
	KUNIT_EXPECT_PTR_EQ(test, ksm_node_next_due(), b);
	mutex_unlock(&ksm_pass_lock);
}

static void a_dead_node_leaves_orphans(struct kunit *test)
{
	enum { MANY = 200 };	/* more than are done under one hold of the lock */
	struct folio *folio = ksm_test_folio(test, 1);
	struct ksm_node *node = ksm_test_keep(test, folio);
	struct ksm_item **items;
	unsigned int i;

	items = kunit_kcalloc(test, MANY, sizeof(*items), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, items);
	for (i = 0; i < MANY; i++)
		items[i] = linked_item(test, node);
	expect_counts(test, 1, MANY - 1);
	kunit_release_action(test, ksm_test_free_folio, folio);
	kunit_release_action(test, ksm_test_drop, node);
	expect_counts(test, 0, 0);
	KUNIT_EXPECT_EQ(test, ksm_node_count_due(), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	for (i = 0; i < MANY; i++) {
		KUNIT_EXPECT_EQ(test, items[i]->kind, KSM_ITEM_ORPHAN);
		KUNIT_EXPECT_NULL(test, items[i]->node);
		KUNIT_EXPECT_PTR_EQ(test, items[i]->owner, owner.km);
	}
}

static struct kunit_case node_cases[] = {
	KUNIT_CASE(P3_an_adopted_page_is_dirty_and_leads_to_its_node),
	KUNIT_CASE(a_released_page_stays_a_ksm_page_without_node),
	KUNIT_CASE(an_ordinary_page_has_no_node),
	KUNIT_CASE(peek_finds_the_page),
	KUNIT_CASE(peek_misses_a_freed_page),
	KUNIT_CASE(peek_is_not_fooled_by_the_next_user_of_a_page),
	KUNIT_CASE(P84_peek_does_not_give_out_a_poisoned_page),
	KUNIT_CASE(a_poisoned_page_can_be_locked),
	KUNIT_CASE(a_page_is_locked_by_its_item),
	KUNIT_CASE(there_is_nothing_to_lock_without_a_page),
	KUNIT_CASE(P54_a_node_follows_its_page),
	KUNIT_CASE(a_page_without_node_moves_too),
	KUNIT_CASE(the_first_item_shares_and_others_join),
	KUNIT_CASE(P77_a_page_is_kept_for_whose_item_is_first),
	KUNIT_CASE(an_orphan_is_given_back_and_not_counted),
	KUNIT_CASE(P53_an_item_holds_its_anon_vma),
	KUNIT_CASE(a_node_without_items_is_idle_until_linked_again),
	KUNIT_CASE(idle_nodes_take_turns),
	KUNIT_CASE(a_dead_node_leaves_orphans),
	{ }
};

static struct kunit_suite node_suite = {
	.name = "ksm_node",
	.init = init,
	.test_cases = node_cases,
};

kunit_test_suite(node_suite);
