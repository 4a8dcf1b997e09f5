/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What workers can do, and how much of it was done.
 */
#ifndef KSM_WORKER_STATS_H
#define KSM_WORKER_STATS_H

#include "ksm_check.h"

enum worker_op {
	OP_WRITE,
	OP_WRITE_REMOTE,
	OP_WRITE_SYSCALL,
	OP_HAMMER,
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

#endif
