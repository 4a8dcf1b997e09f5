/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_GLANCE_H
#define _MM_KSM_GLANCE_H

#include "clean.h"
#include "types.h"

/*
 * Neighbouring pages that are looked at under one hold of the PTL, as long as nobody
 * waits for it. The TLB is flushed once for all of them.
 */
#define KSM_RUN_PAGES	256

/**
 * struct ksm_glance_page - a page that there is something to do with
 * @page: the page
 * @addr: where it is mapped
 * @referenced: whether the reference on its folio belongs to this page
 * @read: it must be read
 * @passes: it need not, and the sieve lets it pass
 * @restless: it changes again and again, and @hash is of its parts
 * @hash: its hash, if it passes
 * @clean: its PTE is clean: who writes to it later can be told by that
 */
struct ksm_glance_page {
	struct page	*page;
	unsigned long	addr;
	bool		referenced;
	bool		read;
	bool		passes;
	bool		clean;
	bool		restless;
	u64		hash;
};

/* What a glance makes of one address. */
enum ksm_glance {
	KSM_GLANCE_NOTHING,	/* nothing there, and nothing known */
	KSM_GLANCE_STALE,	/* nothing there that could merge; forget what is known */
	KSM_GLANCE_PASS,	/* as it was */
	KSM_GLANCE_SIFT,	/* as it was; it may have got a twin */
	KSM_GLANCE_TAKE,	/* as it was, and has got none: a candidate is one no more */
	KSM_GLANCE_READ,	/* to be read */
};

/**
 * struct ksm_glance_run - a run of neighbouring PTEs, and what is to be done there
 * @km: the mm
 * @turn: number of the round
 * @reread: a page is read once in so many rounds, whatever its PTE says; 0: no PTE
 *	    is believed
 * @may_clean: PTEs may be cleaned
 * @smart: old pages are not read in each round
 * @noted: up to this address the sieve was told of pages in this round
 * @quiet: there is no news of any hash, see ksm_sieve_is_quiet()
 * @most: what it may cost to come to the next pages, more or less, see ksm_walk_cost()
 * @reads: how many may be found that are to be read
 * @vma: where the run is
 * @begin: its first address; what is before was seen to
 * @end: where to go on
 * @offered: there was a VMA on the way that may merge, even if it is empty
 * @steps: runs, VMAs and page tables on the way there
 * @empty: entries of page tables without a page
 * @passed: pages that were passed over
 * @unchanged: pages known to be unchanged, by their PTEs
 * @skipped: pages that were left unread because they are old
 * @due: its pages are to be read, whatever their PTEs say
 * @astir: those of which there is more to say than that they rest, counted from @begin
 * @stale: of how many of these what is recorded is to be forgotten
 * @cleaned: those whose PTEs were cleaned, until TLBs are flushed
 * @nr: length of @pages
 * @pages: the pages
 * @at: what each of @astir looks like
 */
struct ksm_glance_run {
	struct ksm_mm		*km;
	unsigned int		turn;
	unsigned int		reread;
	bool			may_clean;
	bool			smart;
	unsigned long		noted;
	bool			quiet;
	u64			most;
	unsigned int		reads;

	struct vm_area_struct	*vma;
	unsigned long		begin;
	unsigned long		end;
	bool			offered;
	unsigned long		steps;
	unsigned long		empty;
	unsigned long		passed;
	unsigned long		unchanged;
	unsigned long		skipped;
	bool			due;
	DECLARE_BITMAP(astir, KSM_RUN_PAGES);
	unsigned int		stale;
	struct ksm_cleaned	cleaned;
	unsigned int		nr;
	struct ksm_glance_page	pages[KSM_RUN_PAGES];
	struct {
		u64		hash;
		struct page	*page;
		enum ksm_glance	what;
		bool		clean;
		bool		restless;
	} at[KSM_RUN_PAGES];
};

void ksm_glance_ptes(struct ksm_glance_run *run, pte_t *ptep, spinlock_t *ptl);
void ksm_glance_nothing(struct ksm_glance_run *run);
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
void ksm_glance_huge(struct ksm_glance_run *run, pmd_t *pmd);
#else
static inline void ksm_glance_huge(struct ksm_glance_run *run, pmd_t *pmd) { }
#endif
bool ksm_glance_sift(u64 hash, bool noted);

#endif /* _MM_KSM_GLANCE_H */
