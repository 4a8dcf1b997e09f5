/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that does to its memory all that KSM may meet, and knows at each
 * moment what every byte has to be.  ksm_stress runs several of them.
 */
#ifndef KSM_WORKER_H
#define KSM_WORKER_H

#include "ksm_worker_ops.h"

/* Work until @end (ksm_now_ms()) or until told to stop; verify everything; return. */
void worker_run(struct worker_stats *stats, u64 seed, u64 end);

/* For the program that OP_EXEC starts: work for a moment, in a small way. */
void worker_run_after_exec(u64 seed);

#endif
