/* SPDX-License-Identifier: GPL-2.0 */
/* State that every room may read: run state, knobs, counters, outer locks. */
#ifndef _MM_KSM_STATE_H
#define _MM_KSM_STATE_H

#include <linux/atomic.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

/* As read from and written to /sys/kernel/mm/ksm/run. */
enum ksm_run {
	KSM_RUN_STOP,
	KSM_RUN_MERGE,
	KSM_RUN_UNMERGE,
};

enum ksm_advisor_mode {
	KSM_ADVISOR_NONE,
	KSM_ADVISOR_SCAN_TIME,
};

#define KSM_DEFAULT_PAGES_TO_SCAN	100

/**
 * struct ksm_state - what steers the engine
 * @run: see &enum ksm_run (to change: ksm_pass_lock)
 * @offlining: memory is going away, do not scan (to change: ksm_pass_lock)
 * @pages_to_scan: pages read in a batch (to change: advisor.c's lock)
 * @sleep_millisecs: rest between two batches
 * @smart_scan: do not read each page in each round
 * @reread_rounds: a page is read once in so many rounds, even if its PTE says that
 *		   nobody has written to it; 0: no PTE is believed
 * @use_zero_pages: merge pages of zeros with the zero page
 * @merge_across_nodes: merge pages of different NUMA nodes (to change:
 *			ksm_pass_lock)
 * @max_page_sharing: a page that is mapped so often is joined by no other (to
 *		      change: ksm_pass_lock)
 * @chains_prune_millisecs: a chain is not gone through more often than that
 * @max_kernel_pages: no more KSM pages than that; 0: any number
 * @max_pages_to_merge: merges in a batch; 0: any number
 * @advisor_mode: see &enum ksm_advisor_mode (to change: advisor.c's lock)
 * @advisor_max_cpu: per cent of a CPU that ksmd may use
 * @advisor_min_pages: the least that the advisor may set pages_to_scan to
 * @advisor_max_pages: the most
 * @advisor_target: seconds that a round shall take
 * @pace: grows when ksmd must not rest on
 */
struct ksm_state {
	unsigned int	run;
	bool		offlining;
	unsigned int	pages_to_scan;
	unsigned int	sleep_millisecs;
	bool		smart_scan;
	unsigned int	reread_rounds;
	bool		use_zero_pages;
	bool		merge_across_nodes;
	unsigned int	max_page_sharing;
	unsigned int	chains_prune_millisecs;
	unsigned long	max_kernel_pages;
	unsigned int	max_pages_to_merge;
	enum ksm_advisor_mode advisor_mode;
	unsigned int	advisor_max_cpu;
	unsigned long	advisor_min_pages;
	unsigned long	advisor_max_pages;
	unsigned long	advisor_target;
	atomic_t	pace;
};

/**
 * struct ksm_counts - what the engine has and did
 * @shared: KSM pages that somebody's item maps (ksm_link_lock)
 * @sharing: items beyond the first of each KSM page (ksm_link_lock)
 * @calm: values for pages whose hash held
 * @fickle: values for pages that are new, or whose hash changed
 * @items: items in the records of all mms
 * @record_bytes: memory of those records
 * @nodes: nodes that exist
 * @zero_pages: PTEs by which KSM maps the zero page
 * @chains: chains of two nodes or more (lock of the stable tree)
 * @dups: nodes in them (lock of the stable tree)
 * @anchors: items without an owner, which only tell where their anon_vma has a node's page
 * @mms: registered mms, the dead not yet buried among them
 * @scanned: pages read since boot
 * @skipped: pages not read thanks to smart_scan, though they were there, since boot
 * @unchanged: pages not read because their PTEs said that nobody had written to
 *	       them, since boot
 * @rounds: rounds completed since boot or the last unmerge
 */
struct ksm_counts {
	unsigned long	shared;
	unsigned long	sharing;
	atomic_long_t	calm;
	atomic_long_t	fickle;
	atomic_long_t	items;
	atomic_long_t	record_bytes;
	atomic_long_t	nodes;
	atomic_long_t	zero_pages;
	unsigned long	chains;
	unsigned long	dups;
	atomic_long_t	anchors;
	atomic_long_t	mms;
	unsigned long	scanned;
	unsigned long	skipped;
	unsigned long	unchanged;
	unsigned long	rounds;
};

extern struct ksm_state ksm_state;
extern struct ksm_counts ksm_counts;
extern struct mutex ksm_pass_lock;
extern spinlock_t ksm_link_lock;
extern wait_queue_head_t ksm_work_wait;

void ksm_state_wake(void);
void ksm_state_take_pass(void);
bool ksm_state_pass_wanted(void);
long ksm_state_unshared(void);
unsigned long ksm_state_known(void);
void ksm_state_count_zero(struct mm_struct *mm, long by);

#endif /* _MM_KSM_STATE_H */
