/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a test fails or is skipped, in whichever of its processes, and how it waits.
 * Files that are read or written as a whole.
 */
#ifndef KSM_CHECK_H
#define KSM_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#include <linux/types.h>

#include "../kselftest.h"

typedef __u64 u64;

/*
 * From here on the first process that fails or is skipped, of those that are
 * forked, leaves its reason; the one who called asks for it.
 */
void ksm_reason_begin(void);
const char *ksm_reason(void);		/* "" where nothing was said */

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

/*
 * Limits of time are what a slow machine needs.  Any other that is slower still, or busy
 * with others' work, has so many times as long; only who fails waits for the end.
 */
#define KSM_PATIENCE	4

/* Wait for a condition that a counter of the kernel shows, so long and no longer. */
#define ksm_await_for(cond, seconds, ...)				\
	do {								\
		u64 end_ = ksm_now_ms() + (seconds) * 1000ULL;	\
									\
		while (!(cond)) {					\
			if (ksm_now_ms() > end_)			\
				ksm_fail_at(__FILE__, __LINE__, #cond, __VA_ARGS__); \
			ksm_nap();					\
		}							\
	} while (0)

#define ksm_await(cond, seconds, ...)					\
	ksm_await_for(cond, (seconds) * KSM_PATIENCE, __VA_ARGS__)

u64 ksm_now_ms(void);
void ksm_nap(void);

/* A file's whole text. Return: length or -errno; always terminated. */
ssize_t ksm_read_text(const char *path, char *text, size_t size);
int ksm_write_text(const char *path, const char *text);		/* 0 or -errno */

#endif
