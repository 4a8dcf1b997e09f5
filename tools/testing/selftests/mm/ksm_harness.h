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

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#include <linux/types.h>

#include "../kselftest.h"

typedef __u64 u64;

struct ksm_test {
	const char	*name;
	void		(*run)(void);
	unsigned int	seconds;	/* limit; 0: KSM_TEST_SECONDS */
};

#define KSM_TEST(fn)		{ .name = #fn, .run = fn }
#define KSM_TEST_LONG(fn, secs)	{ .name = #fn, .run = fn, .seconds = secs }

#define KSM_TEST_SECONDS	90

int ksm_suite_main(int argc, char **argv, const struct ksm_test *tests, unsigned int count);

/**
 * ksm_run_isolated() - run one function in a process of its own
 * @run:	what to do
 * @seconds:	after so long it is killed, and has failed
 * @reason:	why it was skipped or failed; "" where it said nothing
 * @size:	size of @reason
 *
 * Return: a KSFT_ code, or -1 where the process would not even die.
 */
int ksm_run_isolated(void (*run)(void), unsigned int seconds, char *reason, size_t size);

void __noreturn __printf(4, 5) ksm_fail_at(const char *file, int line, const char *what,
					   const char *fmt, ...);
void __noreturn __printf(1, 2) ksm_skip(const char *fmt, ...);

#define ksm_fail(...)	ksm_fail_at(__FILE__, __LINE__, "failed", __VA_ARGS__)

#define ksm_check(cond, ...)						\
	do {								\
		if (!(cond))						\
			ksm_fail_at(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)

#define ksm_check_eq(got, want)						\
	do {								\
		long long got_ = (got), want_ = (want);			\
									\
		if (got_ != want_)					\
			ksm_fail_at(__FILE__, __LINE__, #got " == " #want, \
				    "got %lld, expected %lld", got_, want_); \
	} while (0)

/* For system calls that return -1 and set errno. */
#define ksm_check_sys(call)						\
	({								\
		typeof(call) ret_ = (call);				\
									\
		if ((long)ret_ == -1)					\
			ksm_fail_at(__FILE__, __LINE__, #call, "%m");	\
		ret_;							\
	})

/* Wait for a condition that a counter of the kernel shows. */
#define ksm_await(cond, seconds, ...)					\
	do {								\
		u64 end_ = ksm_now_ms() + (seconds) * 1000ULL;	\
									\
		while (!(cond)) {					\
			if (ksm_now_ms() > end_)			\
				ksm_fail_at(__FILE__, __LINE__, #cond, __VA_ARGS__); \
			ksm_nap();					\
		}							\
	} while (0)

u64 ksm_now_ms(void);
void ksm_nap(void);

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
void ksm_kid_end(struct ksm_kid *kid);
int ksm_kid_kill(struct ksm_kid *kid, int sig);
bool ksm_kid_gone(struct ksm_kid *kid, unsigned int seconds, int *status);

#endif
