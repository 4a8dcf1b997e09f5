// SPDX-License-Identifier: GPL-2.0
/* From an address to a page: what is there, and what only looks as if it were; and hashes. */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/xxhash.h>

#include "../content.h"
#include "../page.h"
#include "fixture.h"

/* Two pages. */
static struct ksm_test_pages at;

static int init(struct kunit *test)
{
	return ksm_test_init_pages(test, &at, 2);
}

/* Is @folio at @addr, while @pte stands there? A PTE of 0: as it is. */
static enum ksm_page_place look(unsigned long addr, struct folio *folio, pte_t pte)
{
	enum ksm_page_place place;
	pte_t before;

	folio_lock(folio);
	mmap_read_lock(at.mm);
	before = pte_none(pte) ? pte : ksm_test_set_pte(at.mm, addr, pte);
	place = ksm_page_look(at.mm, addr, folio);
	if (!pte_none(before))
		ksm_test_set_pte(at.mm, addr, before);
	mmap_read_unlock(at.mm);
	folio_unlock(folio);
	return place;
}

/* The page found at @addr while @pte stands there, or as it is. */
static struct page *find(unsigned long addr, pte_t pte)
{
	struct vm_area_struct *vma;
	struct page *page;
	pte_t before;

	mmap_read_lock(at.mm);
	before = pte_none(pte) ? pte : ksm_test_set_pte(at.mm, addr, pte);
	page = ksm_page_find(at.mm, addr, &vma);
	if (page)
		put_page(page);
	if (!pte_none(before))
		ksm_test_set_pte(at.mm, addr, before);
	mmap_read_unlock(at.mm);
	return page;
}

static bool has_pte(unsigned long addr)
{
	spinlock_t *ptl;	/* of the page table */
	pte_t *ptep;

	mmap_read_lock(at.mm);
	ptep = ksm_page_map(at.mm, addr, &ptl);
	if (ptep)
		pte_unmap_unlock(ptep, ptl);
	mmap_read_unlock(at.mm);
	return ptep;
}

/* ------------------------------------------------------------------------ */
/* What stands in a PTE.                                                    */

static void what_is_mapped_is_here(struct kunit *test)
{
	struct folio *a = ksm_test_folio_at(at.mm, at.a), *b = ksm_test_folio_at(at.mm, at.b);

	KUNIT_EXPECT_EQ(test, look(at.a, a, __pte(0)), KSM_PAGE_HERE);
	KUNIT_EXPECT_EQ(test, look(at.a, b, __pte(0)), KSM_PAGE_ELSEWHERE);
	KUNIT_EXPECT_PTR_EQ(test, find(at.a, __pte(0)), &a->page);
	do_madvise(at.mm, at.a, PAGE_SIZE, MADV_DONTNEED);
	KUNIT_EXPECT_EQ(test, look(at.a, b, __pte(0)), KSM_PAGE_ELSEWHERE);
	KUNIT_EXPECT_NULL(test, find(at.a, __pte(0)));
}

static void P7_a_page_that_a_device_has_is_not_here(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	pte_t entry = ksm_test_device_entry(test, ksm_test_pte_at(at.mm, at.a));

	KUNIT_EXPECT_EQ(test, look(at.a, folio, entry), KSM_PAGE_ELSEWHERE);
	KUNIT_EXPECT_NULL(test, find(at.a, entry));
	KUNIT_EXPECT_EQ(test, look(at.a, folio, __pte(0)), KSM_PAGE_HERE);
}

static void P7_a_swap_entry_is_no_page(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	pte_t entry = ksm_test_swap_entry(test, ksm_test_pte_at(at.mm, at.a));

	KUNIT_EXPECT_EQ(test, look(at.a, folio, entry), KSM_PAGE_ELSEWHERE);
}

/* Behind another one is a copy that somebody made by writing. */
static void what_is_in_swap_is_behind_its_own_entry(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	swp_entry_t entry = swp_entry(0, 1), other = swp_entry(0, 2);

	if (!IS_ENABLED(CONFIG_SWAP))
		kunit_skip(test, "needs CONFIG_SWAP");
	KUNIT_EXPECT_EQ(test, look(at.a, folio, swp_entry_to_pte(entry)), KSM_PAGE_ELSEWHERE);
	folio->swap = entry;
	KUNIT_EXPECT_EQ(test, look(at.a, folio, swp_entry_to_pte(entry)), KSM_PAGE_ELSEWHERE);
	folio_set_swapcache(folio);
	KUNIT_EXPECT_EQ(test, look(at.a, folio, swp_entry_to_pte(entry)), KSM_PAGE_AWAY);
	KUNIT_EXPECT_EQ(test, look(at.a, folio, swp_entry_to_pte(other)), KSM_PAGE_ELSEWHERE);
	folio_clear_swapcache(folio);
	folio->private = NULL;
}

static void P8_pages_of_a_device_cannot_merge(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);
	struct page *page = kunit_kzalloc(test, sizeof(*page), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	page->mapping = folio->mapping;
	KUNIT_EXPECT_TRUE(test, ksm_page_may_merge(&folio->page));
	KUNIT_EXPECT_TRUE(test, ksm_page_may_merge(page));
#ifdef CONFIG_ZONE_DEVICE
	set_page_zone(page, ZONE_DEVICE);
	KUNIT_EXPECT_FALSE(test, ksm_page_may_merge(page));
#endif
}

static void P8_nor_can_what_is_not_anonymous(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, ksm_page_may_merge(NULL));
	KUNIT_EXPECT_FALSE(test, ksm_page_may_merge(&ksm_test_folio(test, 1)->page));
	KUNIT_EXPECT_FALSE(test, ksm_page_may_merge(ZERO_PAGE(0)));
}

static void P84_nor_can_a_poisoned_page(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);

	ksm_test_poison(test, folio);
	KUNIT_EXPECT_FALSE(test, ksm_page_may_merge(&folio->page));
	KUNIT_EXPECT_NULL(test, find(at.a, __pte(0)));
}

static void P8_a_special_pte_leads_to_no_page(struct kunit *test)
{
	pte_t pte = ksm_test_pte_at(at.mm, at.a);

#ifdef CONFIG_ARCH_HAS_PTE_DEVMAP
	pte = pte_mkdevmap(pte);
#else
	kunit_skip(test, "needs CONFIG_ARCH_HAS_PTE_DEVMAP");
#endif
	KUNIT_EXPECT_NULL(test, find(at.a, pte));
	KUNIT_EXPECT_NOT_NULL(test, find(at.a, __pte(0)));
}

/* ------------------------------------------------------------------------ */
/* Where there is no PTE.                                                   */

static void P9_without_a_page_table_there_is_no_pte(struct kunit *test)
{
	unsigned long addr = ksm_test_map(test, at.mm, SZ_128M / PAGE_SIZE);
	struct folio *folio = ksm_test_folio_at(at.mm, at.a);

	/* Nothing but the VMA; and the first address, where nothing ever is. */
	ksm_test_write(test, at.mm, addr, 1);
	KUNIT_EXPECT_TRUE(test, has_pte(addr));
	KUNIT_EXPECT_FALSE(test, has_pte(addr + SZ_64M));
	KUNIT_EXPECT_FALSE(test, has_pte(0));
	KUNIT_EXPECT_EQ(test, look(addr + SZ_64M, folio, __pte(0)), KSM_PAGE_ELSEWHERE);
	KUNIT_EXPECT_NULL(test, find(addr + SZ_64M, __pte(0)));
}

static void P9_a_huge_page_has_no_pte(struct kunit *test)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	unsigned long addr = ksm_test_map(test, at.mm, 2 * HPAGE_PMD_NR);
	struct page *page;

	addr = ALIGN(addr, HPAGE_PMD_SIZE);
	clear_bit(MMF_DISABLE_THP, &at.mm->flags);
	do_madvise(at.mm, addr, HPAGE_PMD_SIZE, MADV_HUGEPAGE);
	ksm_test_write(test, at.mm, addr, 1);
	page = find(addr, __pte(0));
	if (!page || !folio_test_large(page_folio(page)))
		kunit_skip(test, "got no huge page");
	KUNIT_EXPECT_FALSE(test, has_pte(addr));
	KUNIT_EXPECT_FALSE(test, has_pte(addr + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, look(addr, page_folio(page), __pte(0)), KSM_PAGE_ELSEWHERE);
	/* Its pages are found all the same, each at its place. */
	KUNIT_EXPECT_PTR_EQ(test, find(addr + PAGE_SIZE, __pte(0)), page + 1);
#else
	kunit_skip(test, "needs CONFIG_TRANSPARENT_HUGEPAGE");
#endif
}

static void P36_where_no_vma_is_no_page_is(struct kunit *test)
{
	struct folio *folio = ksm_test_folio_at(at.mm, at.b);

	/* The next VMA is not far, but it is not there. */
	ksm_test_unmap(at.mm, at.a, 1);
	KUNIT_EXPECT_NULL(test, find(at.a, __pte(0)));
	KUNIT_EXPECT_EQ(test, look(at.a, folio, __pte(0)), KSM_PAGE_ELSEWHERE);
	KUNIT_EXPECT_PTR_EQ(test, find(at.b, __pte(0)), &folio->page);
	/* Behind the last. */
	KUNIT_EXPECT_NULL(test, find(at.b + PAGE_SIZE, __pte(0)));
	ksm_test_unmap(at.mm, at.b, 1);
	KUNIT_EXPECT_NULL(test, find(at.b, __pte(0)));
}

/* ------------------------------------------------------------------------ */
/* Hashes.                                                                  */

/* Or whoever wants to slow others down would know which pages have one hash. */
static void a_hash_has_a_seed_of_its_own(struct kunit *test)
{
	struct folio *zeros = ksm_test_folio(test, 0);
	u64 hash = xxh64(folio_address(zeros), PAGE_SIZE, 0);

	if (KSM_HASH_BITS < 40)
		kunit_skip(test, "may happen to be the same in %d bits", KSM_HASH_BITS);
	ksm_test_needs_hashes(test);
	KUNIT_EXPECT_EQ(test, ksm_content_hash(&zeros->page), ksm_content_zero_hash());
	KUNIT_EXPECT_NE(test, ksm_content_zero_hash(), hash & GENMASK_ULL(KSM_HASH_BITS - 1, 0));
}

static struct kunit_case page_cases[] = {
	KUNIT_CASE(what_is_mapped_is_here),
	KUNIT_CASE(P7_a_page_that_a_device_has_is_not_here),
	KUNIT_CASE(P7_a_swap_entry_is_no_page),
	KUNIT_CASE(what_is_in_swap_is_behind_its_own_entry),
	KUNIT_CASE(P8_pages_of_a_device_cannot_merge),
	KUNIT_CASE(P8_nor_can_what_is_not_anonymous),
	KUNIT_CASE(P84_nor_can_a_poisoned_page),
	KUNIT_CASE(P8_a_special_pte_leads_to_no_page),
	KUNIT_CASE(P9_without_a_page_table_there_is_no_pte),
	KUNIT_CASE(P9_a_huge_page_has_no_pte),
	KUNIT_CASE(P36_where_no_vma_is_no_page_is),
	KUNIT_CASE(a_hash_has_a_seed_of_its_own),
	{ }
};

static struct kunit_suite page_suite = {
	.name = "ksm_page",
	.init = init,
	.test_cases = page_cases,
};

kunit_test_suite(page_suite);
