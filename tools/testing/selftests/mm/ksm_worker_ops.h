/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that a process can do to its memory by itself.
 */
#ifndef KSM_WORKER_OPS_H
#define KSM_WORKER_OPS_H

#include "ksm_worker_memory.h"
#include "ksm_worker_stats.h"

extern const char * const worker_op_names[NR_WORKER_OPS];

/* Everything but OP_FORK and OP_EXEC, on pages chosen by chance. */
void worker_do(struct task *task, enum worker_op op);

#endif
