/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs KSM tests: each in a process of its own, with a time limit, and with the
 * tunables of KSM as they were before it.
 *
 * A test fails by ksm_check(), is skipped by ksm_skip(), and passes when it
 * returns.  All three work in helper processes too: the parent learns of it.
 */
#ifndef KSM_HARNESS_H
#define KSM_HARNESS_H

#include "ksm_check.h"

struct ksm_test {
	const char	*name;
	void		(*run)(void);
	unsigned int	seconds;	/* limit, before KSM_PATIENCE; 0: KSM_TEST_SECONDS */
};

#define KSM_TEST(fn)		{ .name = #fn, .run = fn }
#define KSM_TEST_LONG(fn, secs)	{ .name = #fn, .run = fn, .seconds = secs }

#define KSM_TEST_SECONDS	90

int ksm_suite_main(int argc, char **argv, const struct ksm_test *tests, unsigned int count);

/**
 * ksm_run_isolated() - run one function in a process of its own
 * @run:	what to do
 * @seconds:	after so long, times KSM_PATIENCE, it is killed, and has failed
 * @reason:	why it was skipped or failed; "" where it said nothing
 * @size:	size of @reason
 *
 * Return: a KSFT_ code, or -1 where the process would not even die.
 */
int ksm_run_isolated(void (*run)(void), unsigned int seconds, char *reason, size_t size);

#endif
