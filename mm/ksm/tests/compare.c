// SPDX-License-Identifier: GPL-2.0
/*
 * What an architecture may have to say when pages are compared.
 *
 * memcmp_pages() is for architectures to replace: arm64 keeps pages apart whose
 * memory tags differ. This one asks the running test. As a merge compares the
 * frozen pages before it maps one for the other, a test can also let something
 * happen right there.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "fixture.h"

#ifdef CONFIG_ARM64
/* It has one already, and there can be but one. */
void ksm_test_on_compare(struct kunit *test, ksm_test_compare_fn *say)
{
	kunit_skip(test, "arm64 has its own memcmp_pages()");
}
#else
static ksm_test_compare_fn *has_a_say;
static struct task_struct *asks;	/* it is not asked for others' comparisons */

int memcmp_pages(struct page *a, struct page *b)
{
	void *content_a = kmap_local_page(a), *content_b = kmap_local_page(b);
	int order = memcmp(content_a, content_b, PAGE_SIZE);

	kunmap_local(content_b);
	kunmap_local(content_a);
	return READ_ONCE(asks) == current ? has_a_say(a, b, order) : order;
}

static void ask_no_more(void *unused)
{
	WRITE_ONCE(asks, NULL);
}

/**
 * ksm_test_on_compare() - be asked when pages are compared
 * @test: the test, whose thread compares; until it is over
 * @say: gets the pages and their order; what it returns is what the engine hears
 */
void ksm_test_on_compare(struct kunit *test, ksm_test_compare_fn *say)
{
	has_a_say = say;
	WRITE_ONCE(asks, current);
	ksm_test_at_end(test, ask_no_more, NULL);
}
#endif
