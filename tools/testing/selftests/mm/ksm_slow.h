/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Holding a task up inside the kernel, so that a race that takes nanoseconds has
 * all the time it wants: an event of lockdep's is printed on the console, and each
 * line that is printed takes as long as the test says.  The task holds its CPU, with
 * interrupts off.  Needs the kernel parameter tp_printk, and CONFIG_PROVE_LOCKING.
 */
#ifndef KSM_SLOW_H
#define KSM_SLOW_H

#include "ksm_util.h"

/**
 * ksm_slow_begin() - from now on a process is slow where it meets a lock
 * @event: lock_acquire, before it takes the lock, or lock_release, after it gave it
 * @pid: the process, or thread
 * @lock: name of the lock, a pattern
 * @ms: how long each time
 *
 * Skips the test where the kernel cannot do that.
 */
void ksm_slow_begin(const char *event, pid_t pid, const char *lock, unsigned int ms);
void ksm_slow_end(void);

/* Runs a test in a process of its own, and ends what it left slow, or ksmd bound. */
void ksm_slow_test(void (*test)(struct ksm_kid *parent, void *arg));

/* The calling thread, or @pid, runs on one CPU only, the first (0) or the second (1). */
void ksm_stay_on_cpu(pid_t pid, unsigned int nr);

#endif
