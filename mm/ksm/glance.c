// SPDX-License-Identifier: GPL-2.0
/*
 * A glance at page tables: which pages must be read, or may have got a twin.
 *
 * A page whose PTE is clean, though it was cleaned before the page was read last,
 * was not written to by that way since: what is recorded of it holds, and neither
 * the page nor its struct page is touched. That is a hint. What it does not tell
 * is listed in Documentation/mm/ksm.rst, and bounded by reading each page now and
 * then.
 *
 * Everything here happens under the PTL: nothing sleeps or allocates. Records are
 * changed where they stand.
 *
 * Floor 3: knows records, chains, pages, the sieve, cleaning, and when a page is to be
 * read.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "chain.h"
#include "clean.h"
#include "content.h"
#include "glance.h"
#include "page.h"
#include "policy.h"
#include "record.h"
#include "sieve.h"
#include "state.h"

/* Rounds in which a merged page is looked at once, whatever its PTE says. */
#define MERGED_ROUNDS	64

/* After so many it is asked whether somebody waits for the PTL. */
#define PATIENCE	32

/* Rounds in which a huge page that is written to all the time is cleaned once. */
#define HUGE_ROUNDS	8

/* A mapping as found, whether a PTE or a part of a huge page. */
struct mapping {
	unsigned long	index;
	unsigned long	pfn;
	bool		dirty;
};

/* ------------------------------------------------------------------------ */
/* One page.                                                                */

/**
 * ksm_glance_sift() - may there be a twin, by the hash of a page?
 * @hash: the hash
 * @noted: the sieve knows of this page
 *
 * Context: Any context. The caller holds ksm_pass_lock.
 * Return: true if so, or if it is a page of zeros and those merge with none.
 */
bool ksm_glance_sift(u64 hash, bool noted)
{
	bool passes = noted ? ksm_sieve_passes(hash) : ksm_sieve_sift(hash);

	return passes || (hash == ksm_content_zero_hash() && READ_ONCE(ksm_state.use_zero_pages));
}

/* Neighbours are read in the same round, so that one is prefetched for the other. */
static bool is_due(const struct ksm_glance_run *run, unsigned int rounds)
{
	return ksm_policy_reread(run->turn + (run->begin >> PAGE_SHIFT) / KSM_RUN_PAGES, rounds);
}

/*
 * A page that is merged: is it the page that it should be, and worth keeping? The page
 * may have been freed, and be another's or ours again for something else.
 */
static enum ksm_glance glance_merged(const struct ksm_glance_run *run,
				     const struct ksm_node *node, const struct mapping *found)
{
	return READ_ONCE(node->pfn) == found->pfn && !found->dirty &&
	       !ksm_chain_may_spare(node) && !is_due(run, MERGED_ROUNDS) ?
		KSM_GLANCE_PASS : KSM_GLANCE_READ;
}

/* What is recorded of the page still holds, as far as is known. */
static enum ksm_glance glance_known(struct ksm_glance_run *run, unsigned int i, void *entry,
				    const struct ksm_record *record)
{
	/* What is not calm is told of all the same: it may have come to rest since. */
	if (record->calm ? !ksm_sieve_has_news(record->hash) : !ksm_sieve_is_new())
		return xa_is_value(entry) ? KSM_GLANCE_PASS : KSM_GLANCE_TAKE;
	ksm_sieve_prefetch(record->hash);
	return KSM_GLANCE_SIFT;
}

/* Was the page at this place seen in this round? */
static bool is_noted(const struct ksm_glance_run *run, unsigned int i)
{
	return run->begin + i * PAGE_SIZE < run->noted;
}

/*
 * The content that a page had when it was read last is another's as well, who may be
 * offered in this round. Is it worth reading it out of turn, to see if it still has it?
 */
static bool may_have_settled(const struct ksm_record *record)
{
	return !record->calm && !ksm_sieve_is_new() && ksm_sieve_has_news(record->hash);
}

static enum ksm_glance glance(struct ksm_glance_run *run, unsigned int i,
			      struct ksm_record_cursor *at, void *entry,
			      const struct mapping *found, struct ksm_record *record)
{
	struct ksm_item *item = ksm_record_item(entry);
	unsigned int turn = run->turn + found->index;

	*record = (struct ksm_record) { };
	run->at[i].restless = false;
	if (item && item->kind == KSM_ITEM_MERGED)
		return glance_merged(run, item->node, found);
	if (!ksm_record_recall(entry, found->pfn, record)) {
		/* Of another page, which was here before. */
		*record = (struct ksm_record) { };
		return KSM_GLANCE_READ;
	}
	run->at[i].restless = record->restless && !run->smart;
	run->at[i].hash = record->hash;
	if (record->restless)
		return KSM_GLANCE_READ;
	if (record->trusted && !found->dirty && run->reread) {
		if (run->due)
			return KSM_GLANCE_READ;
		run->unchanged += !is_noted(run, i);
		/* That it holds is as good as to have read it again. */
		if (!record->calm) {
			record->calm = true;
			ksm_record_amend(at, *record);
		}
		return glance_known(run, i, entry, record);
	}
	if (run->smart && !ksm_policy_due(record->age, turn) && !may_have_settled(record)) {
		run->skipped += !is_noted(run, i);
		return glance_known(run, i, entry, record);
	}
	return KSM_GLANCE_READ;
}

/* ------------------------------------------------------------------------ */
/* A run.                                                                   */

static void take(struct ksm_glance_run *run, unsigned int i, bool passes)
{
	struct ksm_glance_page *last = run->nr ? &run->pages[run->nr - 1] : NULL;
	struct folio *folio = page_folio(run->at[i].page);
	bool shares = last && page_folio(last->page) == folio;

	if (!shares)
		folio_get(folio);
	run->pages[run->nr++] = (struct ksm_glance_page) {
		.page		= run->at[i].page,
		.addr		= run->begin + i * PAGE_SIZE,
		.referenced	= !shares,
		.read		= run->at[i].what == KSM_GLANCE_READ,
		.passes		= passes,
		.hash		= run->at[i].hash,
		.clean		= run->at[i].clean,
		.restless	= run->at[i].restless,
	};
}

/*
 * Sift what is as it was, and take what there is something to do with. The lines
 * of the sieve are on their way by now.
 */
static void take_all(struct ksm_glance_run *run)
{
	unsigned int i;
	bool passes;

	for_each_set_bit(i, run->astir, KSM_RUN_PAGES) {
		passes = false;
		switch (run->at[i].what) {
		case KSM_GLANCE_NOTHING:
			run->empty++;
			continue;
		case KSM_GLANCE_STALE:
			run->stale++;
			continue;
		case KSM_GLANCE_PASS:
			run->passed++;
			continue;
		case KSM_GLANCE_SIFT:
			/* It is as it was: the sieve was told in this round, or before. */
			passes = ksm_glance_sift(run->at[i].hash,
						 is_noted(run, i) || !ksm_sieve_is_new());
			fallthrough;
		case KSM_GLANCE_TAKE:
			run->passed++;
			if (run->at[i].what == KSM_GLANCE_SIFT && !passes)
				continue;
			if (!ksm_page_may_merge(run->at[i].page))
				continue;
			break;
		case KSM_GLANCE_READ:
			break;
		}
		take(run, i, passes);
	}
}

static void begin_glance(struct ksm_glance_run *run)
{
	run->due = is_due(run, run->reread);
	bitmap_zero(run->astir, KSM_RUN_PAGES);
}

/* Note what there is at a place of the run. False to end the run before it. */
static bool note(struct ksm_glance_run *run, unsigned int i, void *entry, struct page *page,
		 enum ksm_glance what)
{
	if (!page || (what == KSM_GLANCE_READ && !ksm_page_may_merge(page)))
		what = entry ? KSM_GLANCE_STALE : KSM_GLANCE_NOTHING;
	if (what == KSM_GLANCE_READ && !run->reads) {
		run->end = run->begin + i * PAGE_SIZE;
		return false;
	}
	run->reads -= what == KSM_GLANCE_READ;
	__set_bit(i, run->astir);
	run->at[i].what = what;
	run->at[i].page = page;
	return true;
}

/* Is a dirty page to be cleaned before it is read? */
static bool shall_clean(const struct ksm_glance_run *run, const struct mapping *found,
			const struct ksm_record *record)
{
	return run->may_clean && found->dirty &&
	       ksm_policy_clean(record->age, record->calm);
}

/* ------------------------------------------------------------------------ */
/* PTEs.                                                                    */

/* A page that is old and was calm: is it not its turn? */
static bool is_skipped(const struct ksm_glance_run *run, unsigned int i, void *entry, pte_t pte)
{
	unsigned int turn = run->turn + (run->begin >> PAGE_SHIFT) + i;
	struct ksm_record record;

	return run->smart && xa_is_value(entry) &&
	       ksm_record_recall(entry, pte_pfn(pte), &record) && record.calm &&
	       !ksm_policy_due(record.age, turn);
}

/*
 * What there is to say of nearly all pages, said at once: as it was, or old enough, and
 * no news of it. It comes to what glance() would say.
 */
static bool rests(struct ksm_glance_run *run, unsigned int i, void *entry, pte_t pte)
{
	bool unchanged;

	if (!pte_present(pte))
		return false;
	unchanged = run->reread && !pte_dirty(pte) && ksm_record_rests(entry, pte_pfn(pte));
	if (unchanged ? run->due : !is_skipped(run, i, entry, pte))
		return false;
	if (!run->quiet && ksm_sieve_has_news(ksm_record_unpack(entry).hash))
		return false;
	if (unchanged)
		run->unchanged += !is_noted(run, i);
	else
		run->skipped += !is_noted(run, i);
	run->passed++;
	return true;
}

/* Returns false to end the run before this PTE. */
static bool glance_pte(struct ksm_glance_run *run, unsigned int i, pte_t *ptep,
		       struct ksm_record_cursor *at)
{
	unsigned long addr = run->begin + i * PAGE_SIZE;
	enum ksm_glance what = KSM_GLANCE_NOTHING;
	struct page *page = NULL;
	struct ksm_record record;
	struct mapping found;
	void *entry;
	pte_t pte;

	entry = ksm_record_next(at);
	pte = ptep_get(ptep);
	if (rests(run, i, entry, pte))
		return true;
	if (pte_present(pte)) {
		found = (struct mapping) {
			.index	= addr >> PAGE_SHIFT,
			.pfn	= pte_pfn(pte),
			.dirty	= pte_dirty(pte),
		};
		what = glance(run, i, at, entry, &found, &record);
		page = vm_normal_page(run->vma, addr, pte);
	}
	if (!note(run, i, entry, page, what))
		return false;
	run->at[i].clean = page && run->reread && !found.dirty;
	if (run->at[i].what != KSM_GLANCE_READ)
		return true;
	if (shall_clean(run, &found, &record)) {
		ksm_clean_pte(&run->cleaned, run->vma, addr, ptep, page);
		run->at[i].clean = true;
		/* Should it not come to be read now, it must be next time. */
		if (record.trusted)
			ksm_record_distrust(run->km, found.index, found.index);
	}
	return true;
}

/*
 * Who waits for the PTL is a fault, most likely. It waits for a few PTEs and the flush
 * of those that were cleaned; the run ends there, and the next one queues up behind.
 */
static bool must_give_way(unsigned int i, spinlock_t *ptl)
{
	return i && !(i % PATIENCE) && spin_is_contended(ptl);
}

/**
 * ksm_glance_ptes() - look at a run of PTEs
 * @run: from @begin to @end, not more than KSM_RUN_PAGES and in one page table; what
 *	 is found is filled in. May end earlier
 * @ptep: the first of them
 * @ptl: their lock
 *
 * Context: The caller holds @ptl, the mmap lock for read, and
 *	    ksm_pass_lock, and knows that the mm is not exiting.
 */
void ksm_glance_ptes(struct ksm_glance_run *run, pte_t *ptep, spinlock_t *ptl)
{
	struct ksm_record_cursor at = ksm_record_begin(run->km, run->begin >> PAGE_SHIFT);
	unsigned int i, nr = (run->end - run->begin) >> PAGE_SHIFT;

	lockdep_assert_held(&ksm_pass_lock);

	begin_glance(run);
	run->cleaned.to = 0;
	arch_enter_lazy_mmu_mode();
	for (i = 0; i < nr; i++) {
		if (must_give_way(i, ptl)) {
			run->end = run->begin + i * PAGE_SIZE;
			break;
		}
		if (!glance_pte(run, i, ptep + i, &at))
			break;
	}
	arch_leave_lazy_mmu_mode();
	ksm_clean_flush(&run->cleaned, run->km, run->vma, ptl);
	take_all(run);
}

/**
 * ksm_glance_nothing() - there is nothing in a run that could merge
 * @run: from @begin to @end; all that is recorded there is to be forgotten
 *
 * Context: The caller holds ksm_pass_lock.
 */
void ksm_glance_nothing(struct ksm_glance_run *run)
{
	unsigned int i, nr = (run->end - run->begin) >> PAGE_SHIFT;

	lockdep_assert_held(&ksm_pass_lock);

	for (i = 0; i < nr; i++)
		run->at[i].what = KSM_GLANCE_STALE;
	bitmap_zero(run->astir, KSM_RUN_PAGES);
	bitmap_set(run->astir, 0, nr);
	run->stale = nr;
}

/* ------------------------------------------------------------------------ */
/* Parts of a huge page.                                                    */

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/* One bit tells of all the pages: what is known of any of them is not trusted any more. */
static void clean_pmd(struct ksm_glance_run *run, pmd_t *pmd)
{
	unsigned long haddr = run->begin & HPAGE_PMD_MASK;
	unsigned long first = haddr >> PAGE_SHIFT;

	ksm_clean_pmd(run->km, run->vma, haddr, pmd);
	ksm_record_distrust(run->km, first, first + HPAGE_PMD_NR - 1);
}

/*
 * As for PTEs, but of 512 pages nearly all are calm, and say nothing of the one that is
 * written all the time. A record that is trusted says that the last cleaning held; once
 * it did not, only another one can tell that this has changed.
 */
static bool shall_clean_huge(const struct ksm_glance_run *run, bool dirty,
			     const struct ksm_record *record)
{
	return run->may_clean && dirty &&
	       (ksm_policy_clean(record->age, record->trusted) ||
		ksm_policy_reread(run->turn + (run->begin >> HPAGE_PMD_SHIFT), HUGE_ROUNDS));
}

/**
 * ksm_glance_huge() - look at a run of pages that one PMD maps
 * @run: as for ksm_glance_ptes(), in one huge page
 * @pmd: the PMD, present and huge
 *
 * Context: As for ksm_glance_ptes(); the PTL is that of @pmd.
 */
void ksm_glance_huge(struct ksm_glance_run *run, pmd_t *pmd)
{
	struct ksm_record_cursor at = ksm_record_begin(run->km, run->begin >> PAGE_SHIFT);
	unsigned int i, nr = (run->end - run->begin) >> PAGE_SHIFT;
	struct page *page = vm_normal_page_pmd(run->vma, run->begin, *pmd);
	bool dirty = pmd_dirty(*pmd), clean = false;
	enum ksm_glance what = KSM_GLANCE_NOTHING;
	struct ksm_record record;
	struct mapping found;
	void *entry;

	lockdep_assert_held(&ksm_pass_lock);

	if (page)
		page += (run->begin & ~HPAGE_PMD_MASK) >> PAGE_SHIFT;
	begin_glance(run);
	for (i = 0; i < nr; i++) {
		entry = ksm_record_next(&at);
		if (page) {
			found = (struct mapping) {
				.index	= (run->begin >> PAGE_SHIFT) + i,
				.pfn	= page_to_pfn(page + i),
				.dirty	= dirty,
			};
			what = glance(run, i, &at, entry, &found, &record);
		}
		if (!note(run, i, entry, page ? page + i : NULL, what))
			break;
		if (run->at[i].what == KSM_GLANCE_READ)
			clean |= shall_clean_huge(run, dirty, &record);
	}
	if (clean)
		clean_pmd(run, pmd);
	for (i = 0; i < nr; i++)
		run->at[i].clean = run->reread && (clean || !dirty);
	take_all(run);
}
#endif
