/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ksm_share: many processes load the same files, and KSM keeps one copy.
 *
 * What the parts know of each other, low to high: words, proc and archive stand
 * alone; memory is what one worker holds, worker obeys orders, crew gives them;
 * ksmd reads and sets KSM's files, watch waits for it, report draws the end.
 */
#ifndef KSM_SHARE_H
#define KSM_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/compiler.h>
#include <linux/types.h>

#define KIB 1024.0

extern size_t page_size;

/* words.c: for people: why the last step failed, in one line; amounts of memory */
int __printf(1, 2) trouble(const char *format, ...);
const char *trouble_line(void);
const char *amount(double bytes);

/* archive.c: the files, as a tar archive on a disk or in a file */
struct archive_file {
	char		name[256];
	__u64	size;
	__u64	page;	/* where it begins in memory: each file has whole pages */
};

struct archive_totals {
	__u64	files;
	__u64	bytes;
	__u64	pages;
};

typedef int (*archive_visit)(void *ctx, const struct archive_file *file,
			     __u64 offset, const char *bytes, size_t length);

int archive_walk(const char *path, archive_visit visit, void *ctx);
int archive_measure(const char *path, struct archive_totals *totals);

/* memory.c: what one worker holds: the files, and data of its own */
struct memory {
	char		*base;		/* the files' pages, then the own pages */
	__u64	file_pages;
	__u64	own_pages;
	__u32	*generation;	/* how often each own page was written */
	__u64	live_next;
	__u64	seed;
	__u64	stride;		/* every stride-th file page was rewritten; 0: none */
	__u64	*done;		/* bytes loaded or verified, for who watches */
};

int memory_get(struct memory *memory);
int memory_load(struct memory *memory, const char *archive);
int memory_offer(struct memory *memory);
int memory_count_distinct(struct memory *memory, __u64 *distinct);
int memory_verify(struct memory *memory, const char *archive);
__u64 memory_rewrite(struct memory *memory);
void memory_touch_own(struct memory *memory);

/* What is to be done, the same for all workers. */
struct job {
	const char		*archive;
	unsigned int		copies;
	struct archive_totals	files;
	__u64		own_pages;	/* per worker */
};

/* worker.c: one process */
enum order {
	ORDER_LOAD = 'l',
	ORDER_COUNT = 'c',
	ORDER_OFFER = 'o',
	ORDER_VERIFY = 'v',
	ORDER_REWRITE = 'r',
};

#define ANSWER_GOOD '+'
#define ANSWER_BAD '-'

/* Shared with the crew's leader; a worker writes, the leader reads. */
struct worker_state {
	__u64	done;		/* bytes, in the order under way */
	__u64	distinct;	/* answer to ORDER_COUNT */
	__u64	rewritten;	/* answer to ORDER_REWRITE */
	char		why[256];	/* with ANSWER_BAD */
};

int worker_main(const struct job *job, unsigned int index, struct worker_state *state,
		int orders, int answers);

/* crew.c: all workers, from their leader's side */
struct crew {
	const struct job	*job;
	struct worker_state	*states;
	struct crew_member {
		pid_t	pid;
		int	orders;
		int	answers;
		bool	busy;
	} *members;
};

int crew_start(struct crew *crew, const struct job *job);
int crew_order(struct crew *crew, enum order order, const char *doing);
int crew_order_one(struct crew *crew, unsigned int index, enum order order);
int crew_sleep(struct crew *crew, double seconds);
int crew_dismiss(struct crew *crew);

/* ksmd.c: KSM's knobs and counters, and the CPU that its thread used */
struct sample {
	double		at;		/* seconds since ksmd was started */
	double		cpu;		/* seconds of ksmd since then */
	long		scanned;
	long		shared;
	long		sharing;
	long		full_scans;
	long		anon_kib;	/* AnonPages of the whole machine */
};

int ksmd_start(long pages_to_scan, long sleep_millisecs);
int ksmd_sample(struct sample *sample);
int ksmd_cow_events(long *events);
void ksmd_restore(void);

/* watch.c: a line a second, until the savings have settled */
struct watch {
	struct sample	start;		/* before ksmd did anything */
	struct sample	*samples;
	size_t		nr;
	double		reached;	/* when the savings last changed */
	unsigned int	scans_wanted;	/* full scans without a change */
	double		limit;		/* seconds, then it is a failure */
};

int watch_until_settled(struct watch *watch, struct crew *crew);

/* report.c: the end, drawn */
struct outcome {
	const struct job	*job;
	const struct watch	*watch;
	__u64		possible;	/* pages that could be saved */
	__u64		verified;	/* bytes, all workers, all times */
	__u64		rewritten;	/* pages */
	long			copied;		/* KSM pages copied by those writes */
	bool			ascii;
};

void report_print(const struct outcome *outcome);

#endif
