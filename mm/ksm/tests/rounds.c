// SPDX-License-Identifier: GPL-2.0
/* Rounds of the scan, as ksmd goes through them, and pages that it knows. */
#include <linux/mm.h>
#include <linux/mman.h>

#include "../content.h"
#include "../ksmd.h"
#include "../mms.h"
#include "../record.h"
#include "../scan.h"
#include "../sieve.h"
#include "../state.h"
#include "fixture.h"

/* Knobs as they were before the test. */
static struct {
	unsigned int	reread_rounds;
	unsigned int	max_pages_to_merge;
	bool		smart_scan;
} before;

/* ksm_test_restart() - let the next batch begin a round, and the sieve know nothing */
void ksm_test_restart(void)
{
	mutex_lock(&ksm_pass_lock);
	ksm_scan_restart();
	mutex_unlock(&ksm_pass_lock);
}

static void restore(void *unused)
{
	WRITE_ONCE(ksm_state.reread_rounds, before.reread_rounds);
	WRITE_ONCE(ksm_state.smart_scan, before.smart_scan);
	ksm_test_restart();
}

/**
 * ksm_test_scan_batch() - scan as ksmd does, once
 * @pages: how many pages to read
 *
 * Return: How many were read.
 */
unsigned long ksm_test_scan_batch(unsigned int pages)
{
	unsigned long scanned;

	mutex_lock(&ksm_pass_lock);
	scanned = ksm_counts.scanned;
	ksm_scan_batch(pages);
	scanned = ksm_counts.scanned - scanned;
	mutex_unlock(&ksm_pass_lock);
	return scanned;
}

/**
 * ksm_test_scan_round() - scan to the end of a round
 *
 * A batch may end before that, for others' sake.
 *
 * Return: How many pages were read.
 */
unsigned long ksm_test_scan_round(void)
{
	unsigned long rounds = ksm_counts.rounds, read = 0;
	int tries = 1000;

	while (ksm_counts.rounds == rounds && tries--)
		read += ksm_test_scan_batch(1000000);
	return read;
}

/* ksm_test_stop_ksmd() - the action that ends what ksm_ksmd_set_run() began */
void ksm_test_stop_ksmd(void *unused)
{
	ksm_ksmd_set_run(KSM_RUN_STOP);
}

static unsigned long rounds_so_far;

static bool has_gone_round(void)
{
	return READ_ONCE(ksm_counts.rounds) != rounds_so_far;
}

/**
 * ksm_test_goes_round() - does ksmd come to the end of a round?
 *
 * Return: true once it has; false after a minute.
 */
bool ksm_test_goes_round(void)
{
	rounds_so_far = READ_ONCE(ksm_counts.rounds);
	return ksm_test_comes_true(has_gone_round);
}

/* ksm_test_scan_rounds() - so many rounds */
void ksm_test_scan_rounds(unsigned int rounds)
{
	while (rounds--)
		ksm_test_scan_round();
}

static void merge_as_before(void *unused)
{
	WRITE_ONCE(ksm_state.max_pages_to_merge, before.max_pages_to_merge);
}

/**
 * ksm_test_limit_merges() - limit how many pages a batch merges
 * @test: the test, after which it is as before; its first batch begins a round
 * @most: how many
 */
void ksm_test_limit_merges(struct kunit *test, unsigned int most)
{
	before.max_pages_to_merge = ksm_state.max_pages_to_merge;
	ksm_test_at_end(test, merge_as_before, NULL);
	WRITE_ONCE(ksm_state.max_pages_to_merge, most);
	ksm_test_restart();
}

static bool nobody_asks(void)
{
	return !ksm_state_pass_wanted();
}

/**
 * ksm_test_give_way() - let somebody have ksm_pass_lock, if he asks for it as a batch hears it
 *
 * The caller holds the lock, and does so again when the other is through with it.
 *
 * Return: true if somebody asked; false if nobody did within a minute.
 */
bool ksm_test_give_way(void)
{
	bool asked;

	lockdep_assert_held(&ksm_pass_lock);

	asked = ksm_test_comes_true(ksm_state_pass_wanted);
	mutex_unlock(&ksm_pass_lock);
	/* Who does not ask any more has it. */
	ksm_test_comes_true(nobody_asks);
	mutex_lock(&ksm_pass_lock);
	return asked;
}

/* ksm_test_hush() - no news of any hash, as after rounds in which nobody came */
void ksm_test_hush(void)
{
	bool quiet;

	mutex_lock(&ksm_pass_lock);
	do {
		ksm_sieve_turn(0);
		quiet = ksm_sieve_is_quiet();
	} while (!quiet);
	mutex_unlock(&ksm_pass_lock);
}

/* ksm_test_has_news() - would the scan judge a page of this hash that is as it was? */
bool ksm_test_has_news(u64 hash)
{
	bool has;

	mutex_lock(&ksm_pass_lock);
	has = ksm_sieve_has_news(hash);
	mutex_unlock(&ksm_pass_lock);
	return has;
}

/**
 * ksm_test_is_quiet() - is nothing asked of the sieve in this round?
 *
 * Return: true if so.
 */
bool ksm_test_is_quiet(void)
{
	bool quiet;

	mutex_lock(&ksm_pass_lock);
	quiet = ksm_sieve_is_quiet();
	mutex_unlock(&ksm_pass_lock);
	return quiet;
}

/**
 * ksm_test_init_known() - begin a test with pages of which each is unlike all others
 * @test: the test; to its end no page is read without need
 * @at: filled in; the pages were read once, and hold 100, 101 and so on
 *
 * Return: 0 or -ENOMEM.
 */
int ksm_test_init_known(struct kunit *test, struct ksm_test_known *at)
{
	unsigned int i;
	int err = ksm_test_init(test);

	if (err)
		return err;
	before.reread_rounds = ksm_state.reread_rounds;
	before.smart_scan = ksm_state.smart_scan;
	ksm_test_at_end(test, restore, NULL);
	ksm_test_restart();
	WRITE_ONCE(ksm_state.reread_rounds, KSM_TEST_SELDOM);
	WRITE_ONCE(ksm_state.smart_scan, false);

	at->mm = ksm_test_mm(test);
	at->page[0] = ksm_test_map(test, at->mm, KSM_TEST_KNOWN);
	for (i = 0; i < KSM_TEST_KNOWN; i++) {
		at->page[i] = at->page[0] + i * PAGE_SIZE;
		ksm_test_write(test, at->mm, at->page[i], 100 + i);
	}
	KUNIT_ASSERT_EQ(test, ksm_test_scan_round(), KSM_TEST_KNOWN);
	return 0;
}

/**
 * ksm_test_rewrite() - fill a page so that a scan cannot miss it
 * @test: the test
 * @mm: the mm
 * @addr: address of the page, which was written to before
 * @content: what it was filled with; set to what it is filled with now
 *
 * A page that changes again and again is told by the hashes of its parts, which are so
 * short that one in a few hundred contents has that of the one before.
 */
void ksm_test_rewrite(struct kunit *test, struct mm_struct *mm, unsigned long addr,
		      u64 *content)
{
	struct page *page = &ksm_test_folio_at(mm, addr)->page;
	u64 hash = ksm_content_hash(page), parts = ksm_content_hash_parts(page);
	unsigned int tries = 100;
	bool seen;

	do {
		ksm_test_write(test, mm, addr, ++*content);
		seen = ksm_content_hash(page) != hash && ksm_content_hash_parts(page) != parts;
	} while (!seen && --tries);
	KUNIT_ASSERT_TRUE(test, seen);
}

/**
 * ksm_test_replace() - map another page in a page's place
 * @test: the test
 * @mm: the mm, registered
 * @addr: address of the page; something is known of it
 * @content: what the other is filled with
 *
 * They are told from each other by what is kept of their numbers.
 */
void ksm_test_replace(struct kunit *test, struct mm_struct *mm, unsigned long addr,
		      u64 content)
{
	void *entry = ksm_record_load(ksm_mms_find(mm), addr >> PAGE_SHIFT);
	struct folio *folio = ksm_test_folio_at(mm, addr);
	unsigned int tries = 10;
	struct ksm_record old;

	do {
		/* Held, so that it is not the next one to be had. */
		ksm_test_hold(test, folio);
		do_madvise(mm, addr, PAGE_SIZE, MADV_DONTNEED);
		ksm_test_write(test, mm, addr, content);
		folio = ksm_test_folio_at(mm, addr);
	} while (ksm_record_recall(entry, folio_pfn(folio), &old) && --tries);
	KUNIT_ASSERT_NE(test, tries, 0);
}
