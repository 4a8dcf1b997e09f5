/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A worker's memory: its regions, what every byte of them has to be, and who may
 * change it at the moment.
 */
#ifndef KSM_WORKER_MEMORY_H
#define KSM_WORKER_MEMORY_H

#include <pthread.h>

#include "ksm_util.h"
#include "ksm_worker_stats.h"

#define THREADS		2
#define REGION_PAGES	640	/* with room for a huge page */
#define HUGE_PAGES	512
#define ROOM_PAGES	(REGION_PAGES + HUGE_PAGES)
#define RANGE		24	/* pages that one operation is about, at most */
#define CHILDREN	3	/* of a thread at a time */

enum state {
	ZERO,		/* since it was mapped or discarded */
	SEEDED,
	MAYBE_ZERO,	/* after MADV_FREE: as before, or zeros */
};

struct half {
	u64		seed;
	enum state	state;
};

struct region {
	char		*room;	/* what was mapped for it */
	char		*mem;
	struct half	half[REGION_PAGES][2];
};

struct task {
	struct worker	*worker;
	unsigned int	number;
	unsigned int	depth;	/* of forks: where it is not 0, there is one thread only */
	bool		exclusive;	/* holds the lock for writing */
	u64		random;
	struct region	own;
	int		pipe[2];
	pid_t		child[CHILDREN];
	pthread_t	thread;
};

struct worker {
	struct worker_stats	*stats;
	u64			end;
	int			node[2];
	pthread_rwlock_t	lock;	/* of the common region's mappings */
	pthread_mutex_t		holes;	/* nobody maps while somebody moves by MAP_FIXED */
	struct region		common;
	struct task		task[THREADS];
};

/* Some pages of a region, and whether the lock is held for them. */
struct range {
	struct region	*region;
	size_t		first;
	size_t		pages;
	bool		locked;
};

u64 worker_draw(struct task *task, u64 below);

void worker_find_place(struct region *region);
void worker_map_region(struct region *region);
struct region *worker_any_region(struct task *task);

/* Some pages of the region; where others work on it, too, with its lock until released. */
struct range worker_choose(struct task *task, struct region *region, bool for_mapping);
void worker_release(struct task *task, const struct range *range);

char *worker_page_at(const struct region *region, size_t page);
char *worker_range_mem(const struct range *range);
size_t worker_range_len(const struct range *range);

/* May this thread write to the first (0) or second (1) half of the region's pages? */
bool worker_owns_half(const struct task *task, const struct region *region, unsigned int which);
void worker_verify_range(struct task *task, const struct range *range);
void worker_verify(struct task *task, const struct region *region);

#endif
