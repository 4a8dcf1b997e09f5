// SPDX-License-Identifier: GPL-2.0
/*
 * What the KUnit suites share: the promise that a test leaves nothing behind,
 * pages, and what ksmd would do with them.
 *
 * Tests call the engine in ksmd's place, which is stopped meanwhile. A failed
 * assertion ends the thread on the spot, so none may stand where a lock is held:
 * there, expect.
 */
#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../bury.h"
#include "../content.h"
#include "../forget.h"
#include "../gather.h"
#include "../match.h"
#include "../mms.h"
#include "../node.h"
#include "../page.h"
#include "../record.h"
#include "../stable_tree.h"
#include "../state.h"
#include "fixture.h"

/* ------------------------------------------------------------------------ */
/* Before and after.                                                        */

/* What a test changes and the user can see: put back when it is over. */
static struct {
	unsigned int	run;
	unsigned long	scanned;
	unsigned long	rounds;
	long		zero_pages;
} before;

/**
 * ksm_test_comes_to() - wait for what others do: a burial, a sweep
 * @count: what it changes
 * @want: to what
 *
 * Return: true once it is so; false after a minute.
 */
bool ksm_test_comes_to(atomic_long_t *count, long want)
{
	int tries = 3000;

	while (atomic_long_read(count) != want && tries--)
		msleep(20);
	return atomic_long_read(count) == want;
}

/**
 * ksm_test_comes_true() - wait for what others do, and no count tells of
 * @is_so: asked again and again
 *
 * Return: true once it is so; false after a minute.
 */
bool ksm_test_comes_true(bool (*is_so)(void))
{
	int tries = 3000;

	while (!is_so() && tries--)
		msleep(20);
	return is_so();
}

static void expect_nothing_left(void *data)
{
	struct kunit *test = data;

	ksm_test_comes_to(&ksm_counts.mms, 0);
	ksm_test_comes_to(&ksm_counts.zero_pages, before.zero_pages);

	mutex_lock(&ksm_pass_lock);
	ksm_forget_nodes();
	ksm_forget_due(ULONG_MAX);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.mms), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.items), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.anchors), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.record_bytes), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.calm), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.fickle), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.zero_pages), before.zero_pages);
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.chains, 0);
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, 0);
	KUNIT_EXPECT_EQ(test, ksm_node_count_due(), 0);
	KUNIT_EXPECT_FALSE(test, ksm_mms_populated());
	KUNIT_EXPECT_NULL(test, ksm_stable_next(NULL));
	ksm_counts.scanned = before.scanned;
	ksm_counts.rounds = before.rounds;
	WRITE_ONCE(ksm_state.run, before.run);
	mutex_unlock(&ksm_pass_lock);
}

/**
 * ksm_test_init() - begin a test: of a KSM that nobody uses, and with ksmd stopped
 * @test: the test; fails if it leaves anything behind
 *
 * Return: 0 or -ENOMEM.
 */
int ksm_test_init(struct kunit *test)
{
	mutex_lock(&ksm_pass_lock);
	before.run = ksm_state.run;
	before.scanned = ksm_counts.scanned;
	before.rounds = ksm_counts.rounds;
	before.zero_pages = atomic_long_read(&ksm_counts.zero_pages);
	WRITE_ONCE(ksm_state.run, KSM_RUN_STOP);
	mutex_unlock(&ksm_pass_lock);
	ksm_bury_finish();

	if (atomic_long_read(&ksm_counts.mms) || atomic_long_read(&ksm_counts.nodes)) {
		WRITE_ONCE(ksm_state.run, before.run);
		kunit_skip(test, "KSM is in use");
	}
	return kunit_add_action_or_reset(test, expect_nothing_left, test);
}

/**
 * ksm_test_at_end() - see that something is undone, whatever becomes of the test
 * @test: the test
 * @action: what undoes it; what was begun last is undone first
 * @data: its argument
 */
void ksm_test_at_end(struct kunit *test, kunit_action_t *action, void *data)
{
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, action, data), 0);
}

/* ------------------------------------------------------------------------ */
/* Pages of nobody.                                                         */

/**
 * ksm_test_free_folio() - the action that ends a folio of ksm_test_folio()
 * @folio: the folio, to which nobody may have kept a reference; kunit_release_action()
 *	   frees it before the test is over
 */
void ksm_test_free_folio(void *folio)
{
	KUNIT_EXPECT_EQ(kunit_get_current_test(), folio_ref_count(folio), 1);
	folio_put(folio);
}

/**
 * ksm_test_folio() - allocate a page
 * @test: the test, which frees it
 * @content: what it is filled with
 *
 * Return: Its folio, with one reference.
 */
struct folio *ksm_test_folio(struct kunit *test, u64 content)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	memset64(folio_address(folio), content, PAGE_SIZE / sizeof(content));
	ksm_test_at_end(test, ksm_test_free_folio, folio);
	return folio;
}

/**
 * ksm_test_needs_hashes() - skip a test where different pages have equal hashes
 * @test: the test, which needs pages of different hash; ksm.hash_mask may leave
 *	  too few of them
 */
void ksm_test_needs_hashes(struct kunit *test)
{
	u64 seen = 0;
	int i;

	for (i = 0; i < 8; i++)
		seen |= BIT_ULL(ksm_content_hash(&ksm_test_folio(test, i)->page) >> 8 & 63);
	if (hweight64(seen) < 3)
		kunit_skip(test, "needs a ksm.hash_mask with more bits");
}

static void cure(void *data)
{
	struct folio *folio = data;

	ClearPageHWPoison(&folio->page);
}

/**
 * ksm_test_poison() - let the memory of a page fail
 * @test: the test, after which it is well again; skipped if that cannot be
 * @folio: the page
 */
void ksm_test_poison(struct kunit *test, struct folio *folio)
{
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");
	SetPageHWPoison(&folio->page);
	ksm_test_at_end(test, cure, folio);
}

static void let_go(void *folio)
{
	folio_put(folio);
}

/**
 * ksm_test_hold() - take a reference on a page
 * @test: the test, at whose end it is dropped
 * @folio: the page
 */
void ksm_test_hold(struct kunit *test, struct folio *folio)
{
	folio_get(folio);
	ksm_test_at_end(test, let_go, folio);
}

/**
 * ksm_test_drop() - the action that ends a node of ksm_test_keep()
 * @node: the node; who ends it otherwise removes the action
 */
void ksm_test_drop(void *node)
{
	mutex_lock(&ksm_pass_lock);
	ksm_stable_drop(node);
	mutex_unlock(&ksm_pass_lock);
}

/**
 * ksm_test_keep_mapped() - make a KSM page of what a test's mm maps
 * @test: the test
 * @folio: the page
 *
 * Return: The node, in the stable tree, without items; it is forgotten when its
 *	   page is gone.
 */
struct ksm_node *ksm_test_keep_mapped(struct kunit *test, struct folio *folio)
{
	struct ksm_node *node = ksm_node_alloc();
	int err;

	KUNIT_ASSERT_NOT_NULL(test, node);
	node->hash = ksm_content_hash(&folio->page);
	mutex_lock(&ksm_pass_lock);
	folio_lock(folio);
	err = ksm_stable_insert(node, folio);
	folio_unlock(folio);
	mutex_unlock(&ksm_pass_lock);
	if (err)
		ksm_node_free(node);
	KUNIT_ASSERT_EQ(test, err, 0);
	return node;
}

/**
 * ksm_test_keep() - make a KSM page
 * @test: the test, which drops the node
 * @folio: the page, of ksm_test_folio()
 *
 * Return: The node, in the stable tree, without items.
 */
struct ksm_node *ksm_test_keep(struct kunit *test, struct folio *folio)
{
	struct ksm_node *node = ksm_test_keep_mapped(test, folio);

	ksm_test_at_end(test, ksm_test_drop, node);
	return node;
}

/* ------------------------------------------------------------------------ */
/* In ksmd's place.                                                         */

/**
 * ksm_test_lock() - take the locks under which a batch works on an mm
 * @mm: the mm
 *
 * Return: Its registration, or NULL.
 */
struct ksm_mm *ksm_test_lock(struct mm_struct *mm)
{
	mutex_lock(&ksm_pass_lock);
	mmap_read_lock(mm);
	return ksm_mms_find(mm);
}

/**
 * ksm_test_unlock() - end what ksm_test_lock() began
 * @mm: the mm
 */
void ksm_test_unlock(struct mm_struct *mm)
{
	mmap_read_unlock(mm);
	mutex_unlock(&ksm_pass_lock);
}

/**
 * ksm_test_offer() - look up a page for merging
 * @offer: filled in; its page has a reference
 * @km: the mm, under the locks of ksm_test_lock()
 * @addr: address of the page
 *
 * Return: true if there is a page.
 */
bool ksm_test_offer(struct ksm_offer *offer, struct ksm_mm *km, unsigned long addr)
{
	*offer = (struct ksm_offer) { .owner = km, .addr = addr, .drained = true };
	offer->page = ksm_page_find(ksm_mm_of(km), addr, &offer->vma);
	return offer->page;
}

/**
 * ksm_test_item_at() - which item is recorded of an address
 * @mm: the mm, registered
 * @addr: the address
 *
 * Return: The item, or NULL.
 */
struct ksm_item *ksm_test_item_at(struct mm_struct *mm, unsigned long addr)
{
	return ksm_record_item(ksm_record_load(ksm_mms_find(mm), addr >> PAGE_SHIFT));
}

/**
 * ksm_test_anon_vma_refs() - how many hold what the pages at an address are found by
 * @mm: the mm
 * @addr: the address, at which something was written before
 *
 * Each item is one of them, merged or an anchor or an orphan, until it is freed.
 *
 * Return: The references on the anon_vma.
 */
int ksm_test_anon_vma_refs(struct mm_struct *mm, unsigned long addr)
{
	int refs;

	mmap_read_lock(mm);
	refs = atomic_read(&vma_lookup(mm, addr)->anon_vma->refcount);
	mmap_read_unlock(mm);
	return refs;
}

static int match(struct mm_struct *mm, unsigned long addr, bool unwritten)
{
	struct ksm_mm *km = ksm_test_lock(mm);
	struct ksm_offer offer;
	int match = -ENOENT;

	if (km && ksm_test_offer(&offer, km, addr)) {
		offer.unwritten = unwritten;
		match = ksm_match_page(&offer, ksm_content_hash(offer.page), true);
		put_page(offer.page);
	}
	ksm_test_unlock(mm);
	return match;
}

/**
 * ksm_test_match() - do with a calm page what a scan does
 * @mm: the mm
 * @addr: address of the page
 *
 * It is compared with a KSM page before the two are to merge.
 *
 * Return: A value of &enum ksm_match; -ENOENT when there is no page.
 */
int ksm_test_match(struct mm_struct *mm, unsigned long addr)
{
	return match(mm, addr, false);
}

/**
 * ksm_test_match_unwritten() - do with a calm page whose hash is believed what a scan does
 * @mm: the mm
 * @addr: address of the page
 *
 * Return: As ksm_test_match().
 */
int ksm_test_match_unwritten(struct mm_struct *mm, unsigned long addr)
{
	return match(mm, addr, true);
}

/**
 * ksm_test_gather() - do with a KSM page what a scan does
 * @mm: the mm
 * @addr: address of the page
 *
 * Return: true if another page is mapped there now.
 */
bool ksm_test_gather(struct mm_struct *mm, unsigned long addr)
{
	struct ksm_mm *km = ksm_test_lock(mm);
	struct ksm_offer offer;
	bool moved = false;

	if (km && ksm_test_offer(&offer, km, addr)) {
		offer.item = ksm_test_item_at(mm, addr);
		moved = !ksm_gather_page(&offer);
		put_page(offer.page);
	}
	ksm_test_unlock(mm);
	return moved;
}

/**
 * ksm_test_forget_at() - let a scan find that there is another page, or none
 * @mm: the mm, registered
 * @addr: the address
 */
void ksm_test_forget_at(struct mm_struct *mm, unsigned long addr)
{
	struct ksm_mm *km = ksm_test_lock(mm);

	ksm_forget_page(km, addr >> PAGE_SHIFT, KSM_FORGET_CHANGED);
	ksm_test_unlock(mm);
}

/**
 * ksm_test_merge_pair() - merge two pages of equal content
 * @test: the test
 * @mm: the mm
 * @a: address of one, whose content nobody else has
 * @b: address of the other
 */
void ksm_test_merge_pair(struct kunit *test, struct mm_struct *mm, unsigned long a,
			 unsigned long b)
{
	KUNIT_ASSERT_EQ(test, ksm_test_match(mm, a), KSM_MATCH_WAITING);
	KUNIT_ASSERT_EQ(test, ksm_test_match(mm, b), KSM_MATCH_MERGED);
	KUNIT_ASSERT_PTR_EQ(test, ksm_test_folio_at(mm, a), ksm_test_folio_at(mm, b));
	KUNIT_ASSERT_TRUE(test, folio_test_ksm(ksm_test_folio_at(mm, a)));
}

/**
 * ksm_test_map_merged() - map pages of equal content, and merge them all
 * @test: the test, in which nothing else is merged yet
 * @mm: the mm, registered
 * @pages: their number, at least 2 and not above max_page_sharing
 *
 * Return: The address of the first.
 */
unsigned long ksm_test_map_merged(struct kunit *test, struct mm_struct *mm,
				  unsigned int pages)
{
	unsigned long addr = ksm_test_map_equal(test, mm, pages);
	unsigned int i;

	ksm_test_merge_pair(test, mm, addr, addr + PAGE_SIZE);
	for (i = 2; i < pages; i++)
		ksm_test_match(mm, addr + i * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, ksm_counts.sharing, pages - 1);
	return addr;
}
