/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that does to its memory all that KSM may meet, and knows at each
 * moment what every byte has to be.  ksm_stress runs several of them.
 */
#ifndef KSM_WORKER_H
#define KSM_WORKER_H

#include <pthread.h>

#include "ksm_util.h"

enum worker_op {
	OP_WRITE,
	OP_WRITE_REMOTE,
	OP_WRITE_SYSCALL,
	OP_VERIFY,
	OP_DISCARD,
	OP_FREE,
	OP_MAP_ANEW,
	OP_UNMERGE,
	OP_OFFER,
	OP_MOVE,
	OP_EXCHANGE,
	OP_PROTECT,
	OP_PAGE_OUT,
	OP_HUGE,
	OP_LOCK,
	OP_PIN,
	OP_MIGRATE,
	OP_PRCTL,
	OP_FORK,
	OP_EXEC,
	NR_WORKER_OPS,
};

/* Shared by all processes of a run. */
struct worker_stats {
	u64	ops[NR_WORKER_OPS];
	u64	verified;	/* pages */
	u64	exits;
	int	stop;
};

extern const char * const worker_op_names[NR_WORKER_OPS];

/* Work until @end (ksm_now_ms()) or until told to stop; verify everything; return. */
void worker_run(struct worker_stats *stats, u64 seed, u64 end);

/* For the program that OP_EXEC starts: work for a moment, in a small way. */
void worker_run_after_exec(u64 seed);

/* The rest is between ksm_worker.c and ksm_worker_ops.c. */
#define THREADS		2
#define REGION_PAGES	640	/* with room for a huge page */
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
void worker_map_region(struct region *region);
void worker_verify(struct task *task, const struct region *region);

/* Everything but OP_FORK and OP_EXEC, on pages chosen by chance. */
void worker_do(struct task *task, enum worker_op op);

#endif
