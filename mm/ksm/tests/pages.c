// SPDX-License-Identifier: GPL-2.0
/* A few neighbouring pages of equal content: what most suites begin with. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>

#include "fixture.h"

/**
 * ksm_test_init_pages() - begin a test with pages of equal content
 * @test: the test; see ksm_test_init()
 * @at: filled in
 * @pages: how many, up to four
 *
 * Return: 0 or -ENOMEM.
 */
int ksm_test_init_pages(struct kunit *test, struct ksm_test_pages *at, unsigned int pages)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	at->mm = ksm_test_mm(test);
	at->a = ksm_test_map_equal(test, at->mm, pages);
	at->b = at->a + PAGE_SIZE;
	at->c = at->b + PAGE_SIZE;
	at->d = at->c + PAGE_SIZE;
	return 0;
}

/**
 * ksm_test_merge() - merge the first two
 * @test: the test
 * @at: the pages
 *
 * Return: What both are now.
 */
struct folio *ksm_test_merge(struct kunit *test, const struct ksm_test_pages *at)
{
	ksm_test_merge_pair(test, at->mm, at->a, at->b);
	return ksm_test_folio_at(at->mm, at->a);
}

/**
 * ksm_test_is_merged() - is a KSM page mapped there?
 * @mm: the mm
 * @addr: the address
 *
 * Return: true if so.
 */
bool ksm_test_is_merged(struct mm_struct *mm, unsigned long addr)
{
	struct folio *folio = ksm_test_folio_at(mm, addr);

	return folio && folio_test_ksm(folio);
}

/**
 * ksm_test_give_up() - unmap a page, and let a scan notice
 * @test: the test
 * @mm: the mm
 * @addr: address of the page
 */
void ksm_test_give_up(struct kunit *test, struct mm_struct *mm, unsigned long addr)
{
	KUNIT_ASSERT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_DONTNEED), 0);
	ksm_test_forget_at(mm, addr);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/**
 * ksm_test_map_huge() - map a huge page, each of whose pages is unlike all others
 * @test: the test; skipped if there is none to be had
 * @mm: the mm
 *
 * Return: Its address; there is 1000 in its first page, 1001 in the next.
 */
unsigned long ksm_test_map_huge(struct kunit *test, struct mm_struct *mm)
{
	unsigned long addr = ksm_test_map(test, mm, 2 * HPAGE_PMD_NR);
	unsigned int i;

	addr = ALIGN(addr, HPAGE_PMD_SIZE);
	clear_bit(MMF_DISABLE_THP, &mm->flags);
	do_madvise(mm, addr, HPAGE_PMD_SIZE, MADV_HUGEPAGE);
	for (i = 0; i < HPAGE_PMD_NR; i++)
		ksm_test_write(test, mm, addr + i * PAGE_SIZE, 1000 + i);
	/* No PTE there. */
	if (ksm_test_folio_at(mm, addr))
		kunit_skip(test, "got no huge page");
	return addr;
}

/**
 * ksm_test_pmd_at() - read a PMD
 * @mm: the mm
 * @addr: an address in it, of ksm_test_map_huge()
 *
 * Return: The PMD.
 */
pmd_t ksm_test_pmd_at(struct mm_struct *mm, unsigned long addr)
{
	pmd_t pmd;

	mmap_read_lock(mm);
	pmd = pmdp_get_lockless(pmd_off(mm, addr));
	mmap_read_unlock(mm);
	return pmd;
}
#endif

/**
 * ksm_test_expect_found() - all who map a page are found by its items
 * @test: the test
 * @folio: the page
 * @mappings: how many they are
 *
 * Migration unmaps it everywhere, and maps it again; without, they are only counted.
 */
void ksm_test_expect_found(struct kunit *test, struct folio *folio, int mappings)
{
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), mappings);
	if (!IS_ENABLED(CONFIG_MIGRATION))
		return;
	folio_get(folio);
	folio_lock(folio);
	try_to_migrate(folio, 0);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 0);
	remove_migration_ptes(folio, folio, 0);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), mappings);
	folio_unlock(folio);
	folio_put(folio);
}
