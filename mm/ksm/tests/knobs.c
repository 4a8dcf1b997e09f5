// SPDX-License-Identifier: GPL-2.0
/* Knobs that a test turns, and that are as before when it is over. */
#include "../state.h"
#include "fixture.h"

static struct {
	unsigned int	max_page_sharing;
	unsigned int	chains_prune;
	bool		use_zero_pages;
} before;

static void restore_limit(void *unused)
{
	WRITE_ONCE(ksm_state.max_page_sharing, before.max_page_sharing);
	WRITE_ONCE(ksm_state.chains_prune_millisecs, before.chains_prune);
}

/**
 * ksm_test_limit() - limit how often a page is mapped by merging
 * @test: the test, after which it is as before
 * @most: how often; chains are gone through only when the test says so
 */
void ksm_test_limit(struct kunit *test, unsigned int most)
{
	before.max_page_sharing = ksm_state.max_page_sharing;
	before.chains_prune = ksm_state.chains_prune_millisecs;
	ksm_test_at_end(test, restore_limit, NULL);
	WRITE_ONCE(ksm_state.max_page_sharing, most);
	ksm_test_tend_every(KSM_TEST_NEVER);
}

/**
 * ksm_test_tend_every() - say how often chains are gone through
 * @millisecs: as in stable_node_chains_prune_millisecs; 0: whenever somebody comes by
 */
void ksm_test_tend_every(unsigned int millisecs)
{
	WRITE_ONCE(ksm_state.chains_prune_millisecs, millisecs);
}

static void restore_zero_pages(void *unused)
{
	WRITE_ONCE(ksm_state.use_zero_pages, before.use_zero_pages);
}

/**
 * ksm_test_use_zero_pages() - let pages of zeros give way to the zero page
 * @test: the test, after which it is as before
 */
void ksm_test_use_zero_pages(struct kunit *test)
{
	before.use_zero_pages = ksm_state.use_zero_pages;
	ksm_test_at_end(test, restore_zero_pages, NULL);
	WRITE_ONCE(ksm_state.use_zero_pages, true);
}
