/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_TESTS_FIXTURE_H
#define _MM_KSM_TESTS_FIXTURE_H

#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/mm.h>

#include "../types.h"

struct mempolicy;

int ksm_test_init(struct kunit *test);
bool ksm_test_comes_to(atomic_long_t *count, long want);
bool ksm_test_comes_true(bool (*is_so)(void));
void ksm_test_at_end(struct kunit *test, kunit_action_t *action, void *data);

/* How often a page is mapped by merging, and how often chains are gone through. */
#define KSM_TEST_NEVER	3600000

/* Rounds: in none of a test is a page read that need not be. */
#define KSM_TEST_SELDOM	1000000007

void ksm_test_limit(struct kunit *test, unsigned int most);
void ksm_test_tend_every(unsigned int millisecs);
void ksm_test_use_zero_pages(struct kunit *test);

/* Pages of nobody, and KSM pages made of them. */
struct folio *ksm_test_folio(struct kunit *test, u64 content);
void ksm_test_free_folio(void *folio);
void ksm_test_needs_hashes(struct kunit *test);
void ksm_test_poison(struct kunit *test, struct folio *folio);
void ksm_test_hold(struct kunit *test, struct folio *folio);
struct ksm_node *ksm_test_keep_mapped(struct kunit *test, struct folio *folio);
struct ksm_node *ksm_test_keep(struct kunit *test, struct folio *folio);
void ksm_test_drop(void *node);

/* Address spaces. */
struct mm_struct *ksm_test_mm(struct kunit *test);
struct mm_struct *ksm_test_fork(struct kunit *test, struct mm_struct *parent);
void ksm_test_exit(struct kunit *test, struct mm_struct *mm);
void ksm_test_exit_async(struct kunit *test, struct mm_struct *mm);
void ksm_test_enter(struct kunit *test, struct mm_struct *mm);
unsigned long ksm_test_map(struct kunit *test, struct mm_struct *mm, unsigned int pages);
unsigned long ksm_test_map_equal(struct kunit *test, struct mm_struct *mm,
				 unsigned int pages);
void ksm_test_write(struct kunit *test, struct mm_struct *mm, unsigned long addr,
		    u64 content);
bool ksm_test_holds(struct mm_struct *mm, unsigned long addr, u64 content);
struct folio *ksm_test_folio_at(struct mm_struct *mm, unsigned long addr);
pte_t ksm_test_pte_at(struct mm_struct *mm, unsigned long addr);
pte_t ksm_test_set_pte(struct mm_struct *mm, unsigned long addr, pte_t pte);
void ksm_test_unmap(struct mm_struct *mm, unsigned long addr, unsigned int pages);
void ksm_test_set_policy(struct mm_struct *mm, unsigned long addr, struct mempolicy *policy);
pte_t ksm_test_device_entry(struct kunit *test, pte_t pte);
pte_t ksm_test_swap_entry(struct kunit *test, pte_t pte);
void ksm_test_change_pte(struct mm_struct *mm, unsigned long addr,
			 pte_t (*change)(pte_t pte));

/* An address space under the locks of a batch; no assertion in between. */
struct ksm_mm *ksm_test_lock(struct mm_struct *mm);
void ksm_test_unlock(struct mm_struct *mm);
bool ksm_test_forget(struct ksm_mm *km);
bool ksm_test_offer(struct ksm_offer *offer, struct ksm_mm *km, unsigned long addr);

/* What a scan does with a page whose hash held, with a KSM page, and with what is gone. */
struct ksm_item *ksm_test_item_at(struct mm_struct *mm, unsigned long addr);
int ksm_test_anon_vma_refs(struct mm_struct *mm, unsigned long addr);
int ksm_test_match(struct mm_struct *mm, unsigned long addr);
int ksm_test_match_unwritten(struct mm_struct *mm, unsigned long addr);
bool ksm_test_gather(struct mm_struct *mm, unsigned long addr);
void ksm_test_forget_at(struct mm_struct *mm, unsigned long addr);
void ksm_test_merge_pair(struct kunit *test, struct mm_struct *mm, unsigned long a,
			 unsigned long b);
unsigned long ksm_test_map_merged(struct kunit *test, struct mm_struct *mm,
				  unsigned int pages);

/* What happens to an attempt to merge. */
typedef int ksm_test_compare_fn(struct page *a, struct page *b, int order);

void ksm_test_on_compare(struct kunit *test, ksm_test_compare_fn *say);
void ksm_test_fail_alloc(struct kunit *test, unsigned int nth);
bool ksm_test_alloc_failed(void);
void ksm_test_fail_pages(struct kunit *test);

/* freezing.c: as for a suspend */
void ksm_test_may_freeze(struct kunit *test);
void ksm_test_freeze(void);
void ksm_test_thaw(void);

bool ksm_test_collide(struct page *page, unsigned int pair);

/* pages.c: neighbouring pages of equal content, in a registered mm */
struct ksm_test_pages {
	struct mm_struct	*mm;
	unsigned long		a, b, c, d;	/* nothing is mapped at the last, if fewer */
};

int ksm_test_init_pages(struct kunit *test, struct ksm_test_pages *at, unsigned int pages);
struct folio *ksm_test_merge(struct kunit *test, const struct ksm_test_pages *at);
bool ksm_test_is_merged(struct mm_struct *mm, unsigned long addr);
unsigned long ksm_test_map_huge(struct kunit *test, struct mm_struct *mm);
pmd_t ksm_test_pmd_at(struct mm_struct *mm, unsigned long addr);
void ksm_test_give_up(struct kunit *test, struct mm_struct *mm, unsigned long addr);
void ksm_test_expect_found(struct kunit *test, struct folio *folio, int mappings);

/* programs.c: on another CPU */
struct task_struct *ksm_test_let_run(struct kunit *test, int (*does)(void *mm),
				     struct mm_struct *mm);
void ksm_test_end_program(void *program);

/* records.c */
struct ksm_mm *ksm_test_records(struct kunit *test);

/* rounds.c: pages of which each is unlike all others, read once */
#define KSM_TEST_KNOWN	8

struct ksm_test_known {
	struct mm_struct	*mm;
	unsigned long		page[KSM_TEST_KNOWN];
};

void ksm_test_restart(void);
unsigned long ksm_test_scan_batch(unsigned int pages);
unsigned long ksm_test_scan_round(void);
bool ksm_test_goes_round(void);
void ksm_test_stop_ksmd(void *unused);
void ksm_test_scan_rounds(unsigned int rounds);
void ksm_test_limit_merges(struct kunit *test, unsigned int most);
bool ksm_test_give_way(void);
void ksm_test_hush(void);
bool ksm_test_has_news(u64 hash);
bool ksm_test_is_quiet(void);
int ksm_test_init_known(struct kunit *test, struct ksm_test_known *at);
void ksm_test_rewrite(struct kunit *test, struct mm_struct *mm, unsigned long addr,
		      u64 *content);
void ksm_test_replace(struct kunit *test, struct mm_struct *mm, unsigned long addr,
		      u64 content);

#endif /* _MM_KSM_TESTS_FIXTURE_H */
