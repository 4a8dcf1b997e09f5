// SPDX-License-Identifier: GPL-2.0
/* Rounds of the scan, as ksmd goes through them, and pages that it knows. */
#include <linux/mm.h>

#include "../scan.h"
#include "../state.h"
#include "fixture.h"

/* Knobs as they were before the test. */
static struct {
	unsigned int	reread_rounds;
	bool		smart_scan;
} before;

static void restart(void)
{
	mutex_lock(&ksm_pass_lock);
	ksm_scan_restart();
	mutex_unlock(&ksm_pass_lock);
}

static void restore(void *unused)
{
	WRITE_ONCE(ksm_state.reread_rounds, before.reread_rounds);
	WRITE_ONCE(ksm_state.smart_scan, before.smart_scan);
	restart();
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
	unsigned long rounds = ksm_counts.rounds, scanned, read = 0;
	int tries = 1000;

	while (ksm_counts.rounds == rounds && tries--) {
		mutex_lock(&ksm_pass_lock);
		scanned = ksm_counts.scanned;
		ksm_scan_batch(1000000);
		read += ksm_counts.scanned - scanned;
		mutex_unlock(&ksm_pass_lock);
	}
	return read;
}

/**
 * ksm_test_known_pages() - make pages of which each is unlike all others, read once
 * @test: the test; to its end no page is read without need
 * @mm: where
 * @pages: how many; the first is filled with 100, the next with 101
 *
 * Return: The first address.
 */
unsigned long ksm_test_known_pages(struct kunit *test, struct mm_struct *mm,
				   unsigned int pages)
{
	unsigned long addr;
	unsigned int i;

	before.reread_rounds = ksm_state.reread_rounds;
	before.smart_scan = ksm_state.smart_scan;
	ksm_test_at_end(test, restore, NULL);
	restart();
	WRITE_ONCE(ksm_state.reread_rounds, KSM_TEST_SELDOM);
	WRITE_ONCE(ksm_state.smart_scan, false);

	addr = ksm_test_map(test, mm, pages);
	for (i = 0; i < pages; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 100 + i);
	KUNIT_ASSERT_EQ(test, ksm_test_scan_round(), pages);
	return addr;
}
