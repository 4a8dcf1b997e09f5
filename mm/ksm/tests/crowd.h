/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_TESTS_CROWD_H
#define _MM_KSM_TESTS_CROWD_H

#include <kunit/test.h>

/* Twelve pages of equal content, and four at the most may become one. */
#define LIMIT	4
#define PAGES	(3 * LIMIT)

struct ksm_crowd {
	struct mm_struct	*mm;
	unsigned long		from;
};

extern struct ksm_crowd ksm_crowd;

int ksm_crowd_init(struct kunit *test);

/* By number. */
unsigned long ksm_crowd_page(unsigned int nr);
struct folio *ksm_crowd_folio(unsigned int nr);
struct ksm_item *ksm_crowd_item(unsigned int nr);
int ksm_crowd_match(unsigned int nr);
bool ksm_crowd_gather(unsigned int nr);

void ksm_crowd_merge_all(struct kunit *test);
void ksm_crowd_leave(struct kunit *test, unsigned int from, unsigned int to);
void ksm_crowd_expect_merged(struct kunit *test, unsigned int from, unsigned int to);
void ksm_crowd_expect_counts(struct kunit *test, unsigned long shared,
			     unsigned long sharing, unsigned long dups);

#endif /* _MM_KSM_TESTS_CROWD_H */
