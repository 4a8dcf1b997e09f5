// SPDX-License-Identifier: GPL-2.0
/* More pages of equal content than may become one. */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../match.h"
#include "../node.h"
#include "../state.h"
#include "crowd.h"
#include "fixture.h"

struct ksm_crowd ksm_crowd;

/**
 * ksm_crowd_init() - begin a test
 * @test: the test; see ksm_test_init()
 *
 * Return: 0 or -ENOMEM.
 */
int ksm_crowd_init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	ksm_test_limit(test, LIMIT);
	ksm_crowd.mm = ksm_test_mm(test);
	ksm_crowd.from = ksm_test_map_equal(test, ksm_crowd.mm, PAGES);
	return 0;
}

/**
 * ksm_crowd_page() - where a page is
 * @nr: its number
 *
 * Return: Its address.
 */
unsigned long ksm_crowd_page(unsigned int nr)
{
	return ksm_crowd.from + nr * PAGE_SIZE;
}

/**
 * ksm_crowd_folio() - what is mapped there
 * @nr: number of the page
 *
 * Return: The folio, without a reference; NULL for none.
 */
struct folio *ksm_crowd_folio(unsigned int nr)
{
	return ksm_test_folio_at(ksm_crowd.mm, ksm_crowd_page(nr));
}

/**
 * ksm_crowd_item() - which item leads there
 * @nr: number of the page
 *
 * Return: The item, or NULL.
 */
struct ksm_item *ksm_crowd_item(unsigned int nr)
{
	return ksm_test_item_at(ksm_crowd.mm, ksm_crowd_page(nr));
}

/**
 * ksm_crowd_match() - do with a calm page what a scan does
 * @nr: its number
 *
 * Return: As ksm_test_match().
 */
int ksm_crowd_match(unsigned int nr)
{
	return ksm_test_match(ksm_crowd.mm, ksm_crowd_page(nr));
}

/**
 * ksm_crowd_gather() - do with a KSM page what a scan does
 * @nr: number of the page
 *
 * Return: true if another is mapped there now.
 */
bool ksm_crowd_gather(unsigned int nr)
{
	return ksm_test_gather(ksm_crowd.mm, ksm_crowd_page(nr));
}

/**
 * ksm_crowd_expect_counts() - what users see, of one content
 * @test: the test
 * @shared: KSM pages
 * @sharing: mappings that are saved
 * @dups: nodes in the chain; 0 for no chain
 */
void ksm_crowd_expect_counts(struct kunit *test, unsigned long shared,
			     unsigned long sharing, unsigned long dups)
{
	KUNIT_EXPECT_EQ(test, ksm_counts.shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_counts.sharing, sharing);
	KUNIT_EXPECT_EQ(test, ksm_counts.dups, dups);
	KUNIT_EXPECT_EQ(test, ksm_counts.chains, dups ? 1 : 0);
}

/**
 * ksm_crowd_expect_merged() - pages are merged, within the limit, and hold what they held
 * @test: the test
 * @from: number of the first
 * @to: number of the first behind them
 *
 * An item leads from each to the node of what it maps.
 */
void ksm_crowd_expect_merged(struct kunit *test, unsigned int from, unsigned int to)
{
	struct ksm_item *item;
	struct folio *folio;
	unsigned long addr;

	for (; from < to; from++) {
		addr = ksm_crowd_page(from);
		folio = ksm_crowd_folio(from);
		item = ksm_crowd_item(from);
		KUNIT_ASSERT_NOT_NULL(test, folio);
		KUNIT_ASSERT_NOT_NULL(test, item);
		KUNIT_EXPECT_EQ(test, item->kind, KSM_ITEM_MERGED);
		KUNIT_EXPECT_PTR_EQ(test, item->node, ksm_node_of(folio));
		KUNIT_EXPECT_LE(test, folio_mapcount(folio), LIMIT);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), folio_mapcount(folio));
		KUNIT_EXPECT_FALSE(test, pte_write(ksm_test_pte_at(ksm_crowd.mm, addr)));
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(ksm_crowd.mm, addr, 1));
	}
}

/**
 * ksm_crowd_merge_all() - merge all of them: four to each KSM page
 * @test: the test
 */
void ksm_crowd_merge_all(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		KUNIT_ASSERT_EQ(test, ksm_crowd_match(i), i % LIMIT ? KSM_MATCH_MERGED :
								      KSM_MATCH_WAITING);
	ksm_crowd_expect_merged(test, 0, PAGES);
	ksm_crowd_expect_counts(test, 3, PAGES - 3, 3);
}

/**
 * ksm_crowd_leave() - write to some, and let a scan notice
 * @test: the test
 * @from: number of the first
 * @to: number of the first behind them
 */
void ksm_crowd_leave(struct kunit *test, unsigned int from, unsigned int to)
{
	for (; from < to; from++) {
		ksm_test_write(test, ksm_crowd.mm, ksm_crowd_page(from), 100 + from);
		ksm_test_forget_at(ksm_crowd.mm, ksm_crowd_page(from));
	}
}
