/* SPDX-License-Identifier: GPL-2.0 */
/* State that every room may read: run state, knobs, counters, outer locks. */
#ifndef _MM_KSM_STATE_H
#define _MM_KSM_STATE_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

/* As read from and written to /sys/kernel/mm/ksm/run. */
enum ksm_run {
	KSM_RUN_STOP,
	KSM_RUN_MERGE,
	KSM_RUN_UNMERGE,
};

/**
 * struct ksm_state - what steers the engine
 * @run: see &enum ksm_run (to change: ksm_pass_lock)
 * @offlining: memory is going away, do not scan (to change: ksm_pass_lock)
 * @pages_to_scan: pages read in a batch
 * @sleep_millisecs: rest between two batches
 * @pace: grows when ksmd must not rest on
 */
struct ksm_state {
	unsigned int	run;
	bool		offlining;
	unsigned int	pages_to_scan;
	unsigned int	sleep_millisecs;
	atomic_t	pace;
};

/**
 * struct ksm_counts - what the engine has and did
 * @shared: KSM pages that somebody's item maps (ksm_link_lock)
 * @sharing: items beyond the first of each KSM page (ksm_link_lock)
 * @calm: values for pages whose hash held
 * @fickle: values for pages that are new, or whose hash changed
 * @items: items in the records of all mms
 * @nodes: nodes that exist
 * @mms: registered mms, the dead not yet buried among them
 * @scanned: pages read since boot
 * @rounds: rounds completed since boot or the last unmerge
 */
struct ksm_counts {
	unsigned long	shared;
	unsigned long	sharing;
	atomic_long_t	calm;
	atomic_long_t	fickle;
	atomic_long_t	items;
	atomic_long_t	nodes;
	atomic_long_t	mms;
	unsigned long	scanned;
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

#endif /* _MM_KSM_STATE_H */
