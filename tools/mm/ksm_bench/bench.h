/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ksm_bench: what KSM costs, one number a line.
 *
 * The same program runs on any kernel with KSM, alone in a guest: it sets KSM's
 * knobs and takes ksmd's CPU time for that of its own memory.
 *
 * What the parts know of each other, low to high: say prints and fails; proc, which
 * is ksm_share's as well, finds ksmd and what /proc counts; knob is KSM in sysfs; clock
 * is ksmd's CPU time; area is memory whose content can be told again; pace lets ksmd run
 * for whole rounds, and takes its time; crew is processes of equal content; the workloads
 * are in the other files, and main has their list.
 */
#ifndef KSM_BENCH_H
#define KSM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/compiler.h>
#include <linux/types.h>

#include "../ksm/proc.h"

#define PAGE 4096UL
#define WORDS (PAGE / sizeof(__u64))

/* main.c: what was asked for */
extern struct wish {
	const char	*workload;	/* the one under way */
	unsigned long	pages;		/* of it */
	double		least_cpu;	/* seconds of ksmd below which no figure counts */
} wish;

/* say.c: a workload that fails says why, and its process ends */
struct span;
void __printf(1, 2) __noreturn fail(const char *format, ...);
void say_figure(const char *what, double value, const char *unit, const struct span *span);
void say_sample(double at, double value);

/* knob.c */
bool knob_exists(const char *name);
unsigned long knob_get(const char *name);
void knob_set(const char *name, unsigned long value);
unsigned long proc_named(const char *path, const char *name);
bool ksmd_sleeps(void);
void nap(double seconds);

/* clock.c */
double ksmd_cpu(void);

/*
 * area.c: pages of which each has an id: pages of one id are equal.  A page that
 * was written has a word of its own somewhere, so it has no twin any more.
 */
struct area {
	char		*base;
	unsigned long	pages;
	unsigned long	apart;	/* from one page to the next, in bytes; 0: PAGE */
	unsigned long	ids;	/* page n has the id first_id + n % ids */
	unsigned long	first_id;
	bool		prefix;	/* the first half is the same in all pages of all ids */
	__u32		*writes;	/* how often each page was written; NULL: none was */
	unsigned long	*chosen;	/* pages that are to be written next */
	unsigned long	nr_chosen;
};

void area_make(struct area *area);
void area_offer(struct area *area);
void area_withdraw(struct area *area);
struct area area_part(const struct area *area, unsigned int number, unsigned int parts);
unsigned long area_choose(struct area *area, unsigned int per_mille, unsigned long turn);
void area_write_chosen(struct area *area);
void area_populate(struct area *area);
void area_renew(struct area *area);
void area_rewrite(struct area *area);
unsigned long area_write_share(struct area *area, unsigned int per_mille, unsigned long turn);
void area_verify(const struct area *area);

/* pace.c: ksmd at full pace, for whole rounds of its scan */
struct span {
	double		cpu;	/* of ksmd */
	double		wall;
	unsigned long	rounds;
	unsigned long	scanned;	/* pages_scanned */
};

/*
 * smart_scan skips by a page's age: in cycles of up to 9 rounds in one KSM, of 32
 * in another.  By SETTLED rounds every page is as old as it gets.  Memory that came in
 * PARTS, a round each, is due in as many parts.
 */
#define PARTS 9
#define CYCLE 288
#define SETTLED 120

void pace_full(unsigned long pages, bool smart);
void pace_steps(unsigned long pages, bool smart);
void pace_default(void);
void pace_offer_in_parts(struct area *area);
void pace_rounds(struct span *span, unsigned long rounds);
void pace_measure(struct span *span, unsigned long multiple);
void pace_until(struct span *span, const char *counter, unsigned long value);
double pace_per_page(const struct span *span, unsigned long pages);

/* crew.c: processes */
#define CREW_MAX 4

enum order {
	ORDER_OFFER = 'o',
	ORDER_WITHDRAW = 'w',
	ORDER_VERIFY = 'v',
};

struct crew {
	unsigned int nr;
	struct crew_member {
		int	pid;
		int	orders;
		int	answers;
	} members[CREW_MAX];
};

void crew_start(struct crew *crew, unsigned int members, const struct area *area);
void crew_order(const struct crew *crew, enum order order);

/* The workloads, by name. */
struct workload {
	const char	*name;
	void		(*run)(void);
};

extern const struct workload scan_workloads[], merge_workloads[], feel_workloads[],
			     room_workloads[];

#endif
