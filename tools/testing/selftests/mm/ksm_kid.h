/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helper processes of a test.
 */
#ifndef KSM_KID_H
#define KSM_KID_H

#include "ksm_check.h"

/* Wait for a child to end. Return: false when time, with patience, is over. */
bool ksm_wait_exit(pid_t pid, unsigned int seconds, int *status);

/*
 * A helper process, and a line to it.  Both sides send and receive numbers, so
 * that steps of several processes come in the order in which the test wants
 * them.  Receiving from a process that has failed makes the receiver fail.
 */
struct ksm_kid {
	pid_t	pid;
	int	line;
};

void ksm_kid_start(struct ksm_kid *kid, void (*run)(struct ksm_kid *parent, void *arg), void *arg);
void ksm_kid_send(struct ksm_kid *kid, u64 value);
u64 ksm_kid_recv(struct ksm_kid *kid);
void ksm_kid_recv_value(struct ksm_kid *kid, u64 want);
void ksm_kid_verdict(int status);
void ksm_kid_end(struct ksm_kid *kid);
int ksm_kid_kill(struct ksm_kid *kid, int sig);
bool ksm_kid_gone(struct ksm_kid *kid, unsigned int seconds, int *status);

#endif
