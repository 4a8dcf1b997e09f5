// SPDX-License-Identifier: GPL-2.0
/*
 * A KSM page is found again among many, also where hashes say little
 * (ksm.hash_mask): then the order by content has to lead to it.
 */
#include <stdio.h>

#include "ksm_util.h"

#define PAGES	64

static void later_copies_join_the_KSM_pages_that_are_there(void)
{
	char *a = ksm_map_unique(PAGES, 7), *b = ksm_map_unique(PAGES, 7), *late;
	long shared;

	ksm_merge(a, PAGES);
	ksm_merge(b, PAGES);
	shared = ksm_knob_get("pages_shared");
	ksm_check_eq(shared, PAGES);

	late = ksm_map_unique(PAGES, 7);
	ksm_merge(late, PAGES);
	ksm_check_eq(ksm_knob_get("pages_shared"), shared);
	ksm_check_eq(ksm_knob_get("pages_sharing"), 2 * PAGES);
	ksm_verify_unique(a, PAGES, 7);
	ksm_verify_unique(b, PAGES, 7);
	ksm_verify_unique(late, PAGES, 7);
}

static const struct ksm_test tests[] = {
	KSM_TEST(later_copies_join_the_KSM_pages_that_are_there),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
