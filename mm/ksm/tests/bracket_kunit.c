// SPDX-License-Identifier: GPL-2.0
/* What secondary MMUs are told of a change, and what has happened by then. */
#include <linux/highmem.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>

#include "../match.h"
#include "../page.h"
#include "../state.h"
#include "fixture.h"

/* Four pages of equal content, and who is told of them. */
static struct ksm_test_pages at;
static struct mmu_notifier brackets, flushes;
static bool squeeze;		/* lower the limit when a bracket opens */
static struct folio *changes;	/* written to when a bracket opens */

/* What was heard. */
static struct {
	unsigned int	starts, ends;
	unsigned int	open;		/* brackets, now */
	unsigned long	covered;	/* pages in them: a bit for each */
	unsigned int	wide;		/* brackets of more than a page, or none */
	unsigned int	other;		/* brackets for another reason */
	unsigned int	outside;	/* PTEs changed that no bracket covered */
	unsigned int	flushes;	/* of any page */
	unsigned int	unlinked;	/* those of c while its item was in no node */
	unsigned int	linked;		/* and while it was */
	bool		linked_by_end;	/* it was when its bracket closed */
	unsigned long	first, last;	/* addresses of brackets */
	unsigned long	end;		/* where the one that reaches farthest ends */
	pte_t		before, after;	/* the PTE at c */
} heard;

/* The pages of a range, as bits. */
static unsigned long pages_in(unsigned long start, unsigned long end)
{
	unsigned long all = at.d + PAGE_SIZE;

	start = clamp(start, at.a, all);
	end = clamp(end, at.a, all);
	return BIT((end - at.a) / PAGE_SIZE) - BIT((start - at.a) / PAGE_SIZE);
}

static pte_t pte_at_c(void)
{
	spinlock_t *ptl;	/* of the page table */
	pte_t pte = __pte(0);
	pte_t *ptep;

	ptep = ksm_page_map(at.mm, at.c, &ptl);
	if (ptep) {
		pte = ptep_get(ptep);
		pte_unmap_unlock(ptep, ptl);
	}
	return pte;
}

static bool is_c_linked(void)
{
	struct ksm_item *item = ksm_test_item_at(at.mm, at.c);

	return item && item->kind == KSM_ITEM_MERGED && !hlist_unhashed(&item->link);
}

static int hear_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	heard.wide += range->end - range->start != PAGE_SIZE;
	heard.other += range->event != MMU_NOTIFY_CLEAR;
	heard.first = heard.starts ? min(heard.first, range->start) : range->start;
	heard.last = heard.starts ? max(heard.last, range->start) : range->start;
	heard.end = max(heard.end, range->end);
	heard.starts++;
	heard.open++;
	heard.covered |= pages_in(range->start, range->end);
	if (range->start <= at.c && range->end > at.c)
		heard.before = pte_at_c();
	if (squeeze)
		WRITE_ONCE(ksm_state.max_page_sharing, 2);
	if (changes)
		memset_page(&changes->page, 0, 2, PAGE_SIZE);
	return 0;
}

static void hear_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	heard.ends++;
	heard.open--;
	heard.covered &= ~pages_in(range->start, range->end);
	if (range->start > at.c || range->end <= at.c)
		return;
	heard.after = pte_at_c();
	heard.linked_by_end = is_c_linked();
}

/* Called under the PTL, when the PTE is cleared. */
static void hear_flush(struct mmu_notifier *notifier, struct mm_struct *mm,
		       unsigned long start, unsigned long end)
{
	heard.flushes++;
	heard.outside += (pages_in(start, end) & ~heard.covered) != 0;
	if (start > at.c || end <= at.c)
		return;
	if (is_c_linked())
		heard.linked++;
	else
		heard.unlinked++;
}

/* Nobody may hear of both. */
static const struct mmu_notifier_ops bracket_ops = {
	.invalidate_range_start			= hear_start,
	.invalidate_range_end			= hear_end,
};

static const struct mmu_notifier_ops flush_ops = {
	.arch_invalidate_secondary_tlbs		= hear_flush,
};

static void hear_no_more(void *notifier)
{
	mmu_notifier_unregister(notifier, at.mm);
}

static void hear(struct kunit *test, struct mmu_notifier *notifier,
		 const struct mmu_notifier_ops *ops)
{
	*notifier = (struct mmu_notifier) { .ops = ops };
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(notifier, at.mm), 0);
	ksm_test_at_end(test, hear_no_more, notifier);
}

static int init(struct kunit *test)
{
	squeeze = false;
	changes = NULL;
	return ksm_test_init_pages(test, &at, 4);
}

/* Hear of what comes from here on. */
static void listen(struct kunit *test)
{
	hear(test, &brackets, &bracket_ops);
	hear(test, &flushes, &flush_ops);
	memset(&heard, 0, sizeof(heard));
}

/* So many brackets, @wide of them not of a single page. */
static void expect_brackets_of(struct kunit *test, unsigned int count, unsigned int wide)
{
	KUNIT_EXPECT_EQ(test, heard.starts, count);
	KUNIT_EXPECT_EQ(test, heard.ends, count);
	KUNIT_EXPECT_EQ(test, heard.open, 0);
	KUNIT_EXPECT_EQ(test, heard.wide, wide);
	KUNIT_EXPECT_EQ(test, heard.other, 0);
	KUNIT_EXPECT_EQ(test, heard.outside, 0);
}

static void expect_brackets(struct kunit *test, unsigned int count)
{
	expect_brackets_of(test, count, 0);
}

static void P12_both_pages_of_a_pair_are_in_a_bracket(struct kunit *test)
{
	listen(test);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.a), KSM_MATCH_WAITING);
	/* Nothing changes, so there is nothing to tell. */
	expect_brackets(test, 0);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.b), KSM_MATCH_MERGED);
	expect_brackets(test, 2);
	KUNIT_EXPECT_EQ(test, heard.first, at.a);
	KUNIT_EXPECT_EQ(test, heard.last, at.b);
}

static void P12_who_joins_is_in_a_bracket_alone(struct kunit *test)
{
	struct folio *keep;

	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	keep = ksm_test_folio_at(at.mm, at.a);
	listen(test);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_MERGED);
	expect_brackets(test, 1);
	KUNIT_EXPECT_EQ(test, heard.first, at.c);
	/* It is opened before anything happens, and closed when all has. */
	KUNIT_EXPECT_TRUE(test, pte_write(heard.before));
	KUNIT_EXPECT_NE(test, pte_pfn(heard.before), folio_pfn(keep));
	KUNIT_EXPECT_EQ(test, pte_pfn(heard.after), folio_pfn(keep));
	KUNIT_EXPECT_FALSE(test, pte_write(heard.after));
}

static void P12_a_merge_that_fails_closes_its_bracket(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.c);
	struct folio *other = ksm_test_folio_at(at.mm, at.d);

	/* In use: that is asked before. Locked: it does not join, nor become one of a pair. */
	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	listen(test);
	folio_get(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_BUSY);
	folio_put(folio);
	expect_brackets(test, 0);
	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_FAILED);
	folio_unlock(folio);
	expect_brackets(test, 1);

	ksm_test_write(test, at.mm, at.c, 2);
	ksm_test_write(test, at.mm, at.d, 2);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_WAITING);
	memset(&heard, 0, sizeof(heard));
	folio_lock(other);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.d), KSM_MATCH_WAITING);
	folio_unlock(other);
	expect_brackets(test, 2);
}

static void P50_an_item_is_linked_before_its_bracket_closes(struct kunit *test)
{
	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	listen(test);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_MERGED);
	KUNIT_EXPECT_TRUE(test, heard.linked_by_end);
	if (!heard.flushes)
		kunit_skip(test, "no flush is heard of on this architecture");
	/* Emptied once: what the page holds is not known before, nor linked. */
	KUNIT_EXPECT_EQ(test, heard.unlinked, 1);
	KUNIT_EXPECT_EQ(test, heard.linked, 0);
}

static pte_t read_only_and_clean(pte_t pte)
{
	return pte_mkclean(pte_wrprotect(pte));
}

static void P4_what_looks_read_only_is_flushed_too(struct kunit *test)
{
	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	ksm_test_change_pte(at.mm, at.c, read_only_and_clean);
	listen(test);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.d), KSM_MATCH_MERGED);
	if (!heard.flushes)
		kunit_skip(test, "no flush is heard of on this architecture");
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_MERGED);
	KUNIT_EXPECT_EQ(test, heard.unlinked, 1);
}

/* Between the search and the locks a fork may take the room. */
static void room_is_asked_for_again_under_the_locks(struct kunit *test)
{
	ksm_test_limit(test, 3);
	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	listen(test);
	squeeze = true;
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_FAILED);
	expect_brackets(test, 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(ksm_test_folio_at(at.mm, at.a)), 2);
	KUNIT_EXPECT_FALSE(test, folio_test_ksm(ksm_test_folio_at(at.mm, at.c)));
}

/* So it is for one that becomes a KSM page. */
static void room_for_a_pair_is_asked_for_again_under_the_locks(struct kunit *test)
{
	ksm_test_limit(test, 3);
	ksm_test_fork(test, at.mm);
	KUNIT_ASSERT_EQ(test, folio_mapcount(ksm_test_folio_at(at.mm, at.a)), 2);
	listen(test);
	squeeze = true;
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.a), KSM_MATCH_WAITING);
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.b), KSM_MATCH_WAITING);
	expect_brackets(test, 2);
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(at.mm, at.a));
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(at.mm, at.b));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.nodes), 0);
}

/* Two KSM pages of one content, each with a mapping left: at a and at c. */
static void keep_two(struct kunit *test)
{
	ksm_test_limit(test, 2);
	ksm_test_merge_pair(test, at.mm, at.a, at.b);
	ksm_test_merge_pair(test, at.mm, at.c, at.d);
	ksm_test_write(test, at.mm, at.b, 2);
	ksm_test_write(test, at.mm, at.d, 2);
	ksm_test_forget_at(at.mm, at.b);
	ksm_test_forget_at(at.mm, at.d);
	ksm_test_tend_every(0);
}

static void P12_who_moves_is_in_a_bracket_alone(struct kunit *test)
{
	keep_two(test);
	listen(test);
	KUNIT_EXPECT_TRUE(test, ksm_test_gather(at.mm, at.a));
	expect_brackets(test, 1);
	KUNIT_EXPECT_EQ(test, heard.first, at.a);
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.a),
			    ksm_test_folio_at(at.mm, at.c));
}

static void P12_a_move_that_fails_closes_its_bracket(struct kunit *test)
{
	struct folio *folio;

	keep_two(test);
	folio = ksm_test_folio_at(at.mm, at.a);
	listen(test);
	folio_get(folio);
	KUNIT_EXPECT_FALSE(test, ksm_test_gather(at.mm, at.a));
	folio_put(folio);
	expect_brackets(test, 0);
	folio_lock(folio);
	KUNIT_EXPECT_FALSE(test, ksm_test_gather(at.mm, at.a));
	folio_unlock(folio);
	expect_brackets(test, 1);
}

static void P12_pages_that_become_private_are_in_a_bracket_together(struct kunit *test)
{
	struct folio *keep = ksm_test_merge(test, &at);

	KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, at.c), KSM_MATCH_MERGED);
	KUNIT_ASSERT_EQ(test, ksm_test_match(at.mm, at.d), KSM_MATCH_MERGED);
	listen(test);
	KUNIT_EXPECT_EQ(test, do_madvise(at.mm, at.a, 4 * PAGE_SIZE, MADV_UNMERGEABLE), 0);
	expect_brackets_of(test, 1, 1);
	KUNIT_EXPECT_EQ(test, heard.first, at.a);
	KUNIT_EXPECT_EQ(test, heard.end, at.d + PAGE_SIZE);
	/* It is opened before the KSM page goes, and closed when the copies are there. */
	KUNIT_EXPECT_EQ(test, pte_pfn(heard.before), folio_pfn(keep));
	KUNIT_EXPECT_TRUE(test, pte_present(heard.after));
	KUNIT_EXPECT_EQ(test, pte_pfn(heard.after), pte_pfn(ksm_test_pte_at(at.mm, at.c)));
	KUNIT_EXPECT_FALSE(test, ksm_test_is_merged(at.mm, at.c));
}

/* A page of zeros at c, and what comes of it. */
static void match_zeros(struct kunit *test, struct folio *changing, enum ksm_match match)
{
	ksm_test_use_zero_pages(test);
	ksm_test_write(test, at.mm, at.c, 0);
	listen(test);
	changes = changing;
	KUNIT_EXPECT_EQ(test, ksm_test_match(at.mm, at.c), match);
	changes = NULL;
	expect_brackets(test, 1);
	KUNIT_EXPECT_EQ(test, heard.first, at.c);
}

static void P12_who_gives_way_to_the_zero_page_is_in_a_bracket_alone(struct kunit *test)
{
	match_zeros(test, NULL, KSM_MATCH_ZERO);
	KUNIT_EXPECT_TRUE(test, pte_write(heard.before));
	KUNIT_EXPECT_TRUE(test, is_zero_pfn(pte_pfn(heard.after)));
	KUNIT_EXPECT_FALSE(test, pte_write(heard.after));
}

/* Until it opens, a guest may write to the page. */
static void P12_who_is_not_all_zeros_in_his_bracket_stays(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.c);

	match_zeros(test, folio, KSM_MATCH_FAILED);
	KUNIT_EXPECT_EQ(test, pte_val(heard.after), pte_val(heard.before));
	KUNIT_EXPECT_PTR_EQ(test, ksm_test_folio_at(at.mm, at.c), folio);
	KUNIT_EXPECT_TRUE(test, ksm_test_holds(at.mm, at.c, 0x0202020202020202));
}

static struct kunit_case bracket_cases[] = {
	KUNIT_CASE(P12_both_pages_of_a_pair_are_in_a_bracket),
	KUNIT_CASE(P12_who_joins_is_in_a_bracket_alone),
	KUNIT_CASE(P12_a_merge_that_fails_closes_its_bracket),
	KUNIT_CASE(P50_an_item_is_linked_before_its_bracket_closes),
	KUNIT_CASE(P4_what_looks_read_only_is_flushed_too),
	KUNIT_CASE(room_is_asked_for_again_under_the_locks),
	KUNIT_CASE(room_for_a_pair_is_asked_for_again_under_the_locks),
	KUNIT_CASE(P12_who_moves_is_in_a_bracket_alone),
	KUNIT_CASE(P12_a_move_that_fails_closes_its_bracket),
	KUNIT_CASE(P12_pages_that_become_private_are_in_a_bracket_together),
	KUNIT_CASE(P12_who_gives_way_to_the_zero_page_is_in_a_bracket_alone),
	KUNIT_CASE(P12_who_is_not_all_zeros_in_his_bracket_stays),
	{ }
};

static struct kunit_suite bracket_suite = {
	.name = "ksm_bracket",
	.init = init,
	.test_cases = bracket_cases,
};

kunit_test_suite(bracket_suite);
