// SPDX-License-Identifier: GPL-2.0
/* A hash that is believed: a KSM page that has it is not read to find it, but to join it. */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../content.h"
#include "../glance.h"
#include "../match.h"
#include "../meet.h"
#include "../mms.h"
#include "../node.h"
#include "../policy.h"
#include "../record.h"
#include "../state.h"
#include "../unstable_tree.h"
#include "fixture.h"

#define SETTLED	40	/* rounds after which a page is old */

/* Pages of which each is different from all others, read once. */
static struct ksm_test_known at;

static struct page *looks;	/* the page that looks for its twin */
static unsigned int compared;	/* how often it was */

static int init(struct kunit *test)
{
	if (!KSM_CONTENT_HASH_TELLS)
		kunit_skip(test, "hashes are not believed here");
	looks = NULL;
	compared = 0;
	return ksm_test_init_known(test, &at);
}

static int count(struct page *a, struct page *b, int order)
{
	compared += a == looks;
	return order;
}

/* Be asked from now on what the page there is compared with. */
static void count_at(struct kunit *test, unsigned long addr)
{
	looks = &ksm_test_folio_at(at.mm, addr)->page;
	ksm_test_on_compare(test, count);
}

static void collide(struct kunit *test, unsigned long addr)
{
	KUNIT_ASSERT_TRUE(test, ksm_test_collide(&ksm_test_folio_at(at.mm, addr)->page, 0));
}

/* Make a KSM page of two of the pages: of another content, but the same hash, if @collides. */
static struct folio *keep(struct kunit *test, unsigned int nr, bool collides)
{
	unsigned int i;

	for (i = nr; i < nr + 2; i++) {
		ksm_test_write(test, at.mm, at.page[i], 1);
		if (collides)
			collide(test, at.page[i]);
	}
	ksm_test_merge_pair(test, at.mm, at.page[nr], at.page[nr + 1]);
	return ksm_test_folio_at(at.mm, at.page[nr]);
}

static void expect_content(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[i], i < 2 ? 1 : 100 + i));
}

/* ------------------------------------------------------------------------ */
/* How it is matched.                                                       */

static void who_is_believed_is_compared_once(struct kunit *test)
{
	struct folio *folio = keep(test, 0, false);

	ksm_test_write(test, at.mm, at.page[5], 1);
	ksm_test_write(test, at.mm, at.page[6], 1);
	count_at(test, at.page[5]);
	KUNIT_EXPECT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[5]), KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, compared, 1);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.page[5]), folio);

	compared = 0;
	count_at(test, at.page[6]);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.page[6]), KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[5], 1));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], 1));
	expect_content(test);
}

static void P13_who_has_the_hash_of_a_ksm_page_is_compared(struct kunit *test)
{
	struct folio *folio = keep(test, 0, false), *other;
	pte_t before;

	ksm_test_write(test, at.mm, at.page[5], 1);
	collide(test, at.page[5]);
	before = ksm_test_pte_at(at.mm, at.page[5]);
	other = ksm_test_folio_at(at.mm, at.page[5]);
	count_at(test, at.page[5]);
	/* When it was to join, and by who looks what else there is of its hash. */
	KUNIT_EXPECT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[5]), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, compared, 2);
	KUNIT_EXPECT_EQ(test, pte_val(ksm_test_pte_at(at.mm, at.page[5])), pte_val(before));
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.page[5]), other);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 2);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	expect_content(test);
}

static void another_content_of_the_hash_does_not_hide_the_twin(struct kunit *test)
{
	struct folio *first = keep(test, 0, false), *second = keep(test, 5, true);

	ksm_test_write(test, at.mm, at.page[4], 1);
	ksm_test_write(test, at.mm, at.page[7], 1);
	KUNIT_ASSERT_EQ(test, ksm_node_of(first)->hash, ksm_node_of(second)->hash);
	collide(test, at.page[4]);
	KUNIT_EXPECT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[4]), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.page[4]), second);
	KUNIT_EXPECT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[7]), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.page[7]), first);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[7], 1));
	expect_content(test);
}

static void a_full_page_of_the_hash_does_not_hide_the_twin(struct kunit *test)
{
	struct folio *second;

	keep(test, 0, false);
	second = keep(test, 5, true);
	ksm_test_write(test, at.mm, at.page[7], 1);
	KUNIT_ASSERT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[7]), KSM_MATCH_MERGED);
	ksm_test_limit(test, 3);
	ksm_test_write(test, at.mm, at.page[4], 1);
	collide(test, at.page[4]);
	KUNIT_EXPECT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[4]), KSM_MATCH_MERGED);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.page[4]), second);
	expect_content(test);
}

/* Who is held does not merge: nobody is told, and no PTE emptied, for a hash alone. */
static void who_is_held_is_compared_first(struct kunit *test)
{
	struct folio *folio;

	keep(test, 0, false);
	ksm_test_write(test, at.mm, at.page[5], 1);
	folio = ksm_test_folio_at(at.mm, at.page[5]);
	count_at(test, at.page[5]);
	folio_get(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[5]), KSM_MATCH_BUSY);
	KUNIT_EXPECT_EQ(test, compared, 1);
	compared = 0;
	/* It is not its twin that it would wait for. */
	collide(test, at.page[5]);
	KUNIT_EXPECT_EQ(test, ksm_test_match_unwritten(at.mm, at.page[5]), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, compared, 1);
	folio_put(folio);
	expect_content(test);
}

static const struct page *guess(u64 hash)
{
	const struct page *page;

	mutex_lock(&ksm_pass_lock);
	page = ksm_unstable_guess(hash);
	mutex_unlock(&ksm_pass_lock);
	return page;
}

/* What is fetched for a page that may have a twin: the hash says which that is. */
static void a_guess_at_a_candidate_goes_by_the_hash_alone(struct kunit *test)
{
	struct page *page = &ksm_test_folio_at(at.mm, at.page[2])->page;
	u64 hash = ksm_content_hash(page);

	KUNIT_EXPECT_NULL(test, guess(hash));
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.page[2]), KSM_MATCH_WAITING);
	KUNIT_EXPECT_PTR_EQ(test, guess(hash), page);
	KUNIT_EXPECT_NULL(test, guess(hash + 1));
	ksm_test_write(test, at.mm, at.page[2], 7);
	KUNIT_EXPECT_PTR_EQ(test, guess(hash), page);
	ksm_test_restart();
	ksm_test_scan_batch(1);
	KUNIT_EXPECT_NULL(test, guess(hash));
}

/* ------------------------------------------------------------------------ */
/* Whose hash is believed.                                                  */

/* Is the hash of a page believed that is met like this? */
static bool is_believed(unsigned int nr, bool read, bool clean)
{
	struct ksm_budget budget = ksm_policy_budget(100, 0);
	struct ksm_mm *km = ksm_test_lock(at.mm);
	struct ksm_offer offer = { };

	if (km && ksm_test_offer(&offer, km, at.page[nr])) {
		struct ksm_glance_page found = {
			.page	= offer.page,
			.addr	= offer.addr,
			.read	= read,
			.passes	= !read,
			.clean	= clean,
			.hash	= ksm_content_hash(offer.page),
		};

		ksm_meet_page(&offer, &found, &budget);
		put_page(offer.page);
	}
	ksm_test_unlock(at.mm);
	return offer.unwritten;
}

static void who_is_clean_since_it_was_read_is_believed(struct kunit *test)
{
	unsigned long nr = at.page[3] >> PAGE_SHIFT;

	KUNIT_EXPECT_TRUE(test, is_believed(3, false, true));
	/* Who is read may be written to all the time. */
	KUNIT_EXPECT_FALSE(test, is_believed(2, true, false));
	KUNIT_EXPECT_FALSE(test, is_believed(2, true, true));
	KUNIT_EXPECT_FALSE(test, is_believed(4, false, false));
	/* That the PTE is clean says nothing if it was not when the page was read. */
	ksm_test_lock(at.mm);
	ksm_record_distrust(ksm_mms_find(at.mm), nr, nr);
	ksm_test_unlock(at.mm);
	KUNIT_EXPECT_FALSE(test, is_believed(3, false, true));
}

/* Write to a page as a device does: no PTE knows of it. */
static void write_behind(unsigned long addr, u8 content)
{
	void *bytes = kmap_local_folio(ksm_test_folio_at(at.mm, addr), 0);

	memset(bytes, content, PAGE_SIZE);
	kunmap_local(bytes);
}

static void who_did_not_hold_what_was_believed_is_read_again(struct kunit *test)
{
	unsigned long nr = at.page[3] >> PAGE_SHIFT;
	struct ksm_mm *km = ksm_mms_find(at.mm);
	struct ksm_record record = { };
	u64 hash;

	/* Of an age at which smart_scan does not read it again soon. */
	WRITE_ONCE(ksm_state.smart_scan, true);
	ksm_test_write(test, at.mm, at.page[3], 7);
	ksm_test_scan_rounds(SETTLED);
	write_behind(at.page[3], 8);
	hash = ksm_content_hash(&ksm_test_folio_at(at.mm, at.page[3])->page);
	ksm_test_write(test, at.mm, at.page[1], 7);
	ksm_test_write(test, at.mm, at.page[6], 7);
	ksm_test_scan_rounds(4);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[1]));
	KUNIT_EXPECT_TRUE(test, ksm_test_is_merged(at.mm, at.page[6]));
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(at.mm, at.page[3]));
	KUNIT_EXPECT_TRUE(test, ksm_record_recall(ksm_record_load(km, nr),
						  folio_pfn(ksm_test_folio_at(at.mm, at.page[3])),
						  &record));
	KUNIT_EXPECT_EQ(test, record.hash, hash);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[1], 7));
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.page[6], 7));
}

/* Old as it may be, it is its turn to be read. */
static void who_did_not_hold_what_was_believed_is_young_again(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.page[3]);
	u64 hash = ksm_node_of(keep(test, 0, false))->hash;
	struct ksm_item *item;

	ksm_test_lock(at.mm);
	ksm_record_store(ksm_mms_find(at.mm), at.page[3] >> PAGE_SHIFT,
			 ksm_record_pack((struct ksm_record) {
				.hash	= hash,
				.pfn	= folio_pfn(folio),
				.age	= 5,
				.calm	= true,
				.trusted = true,
			 }));
	ksm_test_unlock(at.mm);
	KUNIT_EXPECT_TRUE(test, is_believed(3, false, true));
	item = ksm_test_item_at(at.mm, at.page[3]);
	KUNIT_ASSERT_NOT_NULL(test, item);
	KUNIT_EXPECT_TRUE(test, !item->age);
	KUNIT_EXPECT_FALSE(test, item->trusted);
	expect_content(test);
}

static struct kunit_case unwritten_cases[] = {
	KUNIT_CASE(who_is_believed_is_compared_once),
	KUNIT_CASE(P13_who_has_the_hash_of_a_ksm_page_is_compared),
	KUNIT_CASE(another_content_of_the_hash_does_not_hide_the_twin),
	KUNIT_CASE(a_full_page_of_the_hash_does_not_hide_the_twin),
	KUNIT_CASE(who_is_held_is_compared_first),
	KUNIT_CASE(a_guess_at_a_candidate_goes_by_the_hash_alone),
	KUNIT_CASE(who_is_clean_since_it_was_read_is_believed),
	KUNIT_CASE(who_did_not_hold_what_was_believed_is_read_again),
	KUNIT_CASE(who_did_not_hold_what_was_believed_is_young_again),
	{ }
};

static struct kunit_suite unwritten_suite = {
	.name = "ksm_unwritten",
	.init = init,
	.test_cases = unwritten_cases,
};

kunit_test_suite(unwritten_suite);
