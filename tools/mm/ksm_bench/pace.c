// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pace: ksmd without rests, for whole rounds of its scan, and what that took.
 *
 * While nothing is measured, ksmd is stopped: who writes to memory between two
 * rounds has the CPU to himself.
 */
#include <stdio.h>

#include "bench.h"

#define POLL 0.01
#define REST 200	/* ms, within which who waits for a CPU comes to stop ksmd all the same */
#define PATIENCE 300.0	/* seconds without a full scan after which it hangs */

/* How long ksmd rests behind each round, in milliseconds, while it runs; 0: as it was set. */
static unsigned long rest;

/*
 * One round after the other.  A batch cannot be interrupted, and of pages that are skipped
 * some KSMs take sixteen for one: a batch shall be a small part of a round even so.
 */
void pace_full(unsigned long pages, bool smart)
{
	rest = 0;
	knob_set("run", 0);
	knob_set("sleep_millisecs", 0);
	knob_set("smart_scan", smart);
	knob_set("pages_to_scan", pages / 256 > 100 ? pages / 256 : 100);
}

/*
 * A round at a time: a batch ends with it, whatever may be left of pages_to_scan, and in
 * the rest behind it ksmd can be stopped.  So there is no more than was asked for.
 */
void pace_steps(unsigned long pages, bool smart)
{
	rest = REST;
	knob_set("run", 0);
	knob_set("smart_scan", smart);
	knob_set("pages_to_scan", pages * 2);
}

/* As at boot. */
void pace_default(void)
{
	rest = 0;
	knob_set("run", 0);
	knob_set("sleep_millisecs", 20);
	knob_set("smart_scan", 1);
	knob_set("pages_to_scan", 100);
}

static void await_sleep(void)
{
	double start = seconds_now();

	while (!ksmd_sleeps()) {
		if (seconds_now() - start > PATIENCE)
			fail("ksmd does not sleep");
		nap(POLL / 10);
	}
}

static void begin(struct span *span)
{
	span->scanned -= knob_get("pages_scanned");
	span->cpu -= ksmd_cpu();
	span->wall -= seconds_now();
	if (rest)
		knob_set("sleep_millisecs", rest);
	knob_set("run", 1);
}

/*
 * Some KSMs end a batch when run is written to, and some go on to its end.  So ksmd shall
 * rest before, where it does, and sleep after: its time is complete then.
 */
static void end(struct span *span)
{
	if (knob_get("sleep_millisecs"))
		await_sleep();
	knob_set("run", 0);
	/* Ends the rest: the next round is not to wait for that. */
	if (rest)
		knob_set("sleep_millisecs", 0);
	await_sleep();
	span->wall += seconds_now();
	span->cpu += ksmd_cpu();
	span->scanned += knob_get("pages_scanned");
}

/*
 * Waits until full_scans is at least @goal, not before @expected seconds if that is not 0:
 * each look takes CPU time, too, so all but a few are near the end.  Says where it is.
 */
static unsigned long await_scans(unsigned long goal, double expected)
{
	double start = seconds_now(), end = start + expected;
	double step = expected ? expected / 64 : POLL;
	unsigned long now;

	step = step < POLL / 50 ? POLL / 50 : step > POLL ? POLL : step;
	while ((now = knob_get("full_scans")) < goal) {
		double left = end - seconds_now();

		if (!expected && seconds_now() - start > 64 * step)
			step = (seconds_now() - start) / 64;
		if (seconds_now() - start > expected * 10 + PATIENCE)
			fail("full_scans is %lu after %.0f seconds, and should be %lu", now,
			     seconds_now() - start, goal);
		nap(left > step ? left : step);
	}
	return now;
}

/*
 * Adds @rounds, or one more if they are short.  Where in a round it begins is where the
 * last one was stopped, a little behind its start, as this one will be.
 */
static void add_rounds(struct span *span, unsigned long rounds, double expected)
{
	unsigned long before = knob_get("full_scans");

	begin(span);
	span->rounds += await_scans(before + rounds, expected) - before;
	end(span);
}

/* By its own time: rests, and waiting for too long before, must not add up. */
static double time_of(const struct span *span, unsigned long rounds)
{
	return span->rounds ? span->cpu / span->rounds * rounds * 0.85 : 0;
}

void pace_rounds(struct span *span, unsigned long rounds)
{
	add_rounds(span, rounds, time_of(span, rounds));
}

/* As many rounds at a stretch as it takes for a figure that counts, a multiple of @multiple. */
void pace_measure(struct span *span, unsigned long multiple)
{
	unsigned long rounds = multiple, more;
	double expected = 0;

	for (;;) {
		*span = (struct span) {};
		add_rounds(span, rounds, expected);
		if (span->cpu >= wish.least_cpu)
			return;
		more = span->cpu > wish.least_cpu / 20 ? wish.least_cpu * 1.1 / span->cpu + 1 : 20;
		rounds *= more;
		expected = time_of(span, rounds);
	}
}

/*
 * For smart_scan. Some KSMs look at a page that they have long known in one round of nine.
 * Memory that came all at once is due all at once: the pages due are as many as there are
 * or none, and what is measured beside it takes as long as rounds of the one kind or the
 * other. So it comes in parts, each in a round of its own.
 */
void pace_offer_in_parts(struct area *area)
{
	struct span span = {};
	struct area part;
	int i;

	pace_steps(area->pages, true);
	for (i = 0; i < PARTS; i++) {
		part = area_part(area, i, PARTS);
		area_offer(&part);
		pace_rounds(&span, 1);
	}
	if (span.rounds != PARTS)
		fail("%lu rounds for %d parts of memory", span.rounds, PARTS);
}

/* Adds what it takes until a counter has a value. */
void pace_until(struct span *span, const char *counter, unsigned long value)
{
	unsigned long before = knob_get("full_scans"), now;
	double start = seconds_now();

	begin(span);
	while ((now = knob_get(counter)) < value) {
		if (seconds_now() - start > PATIENCE)
			fail("%s is %lu after %lu scans, and should be %lu", counter, now,
			     knob_get("full_scans") - before, value);
		nap(POLL);
	}
	span->rounds += knob_get("full_scans") - before;
	end(span);
}

/* In nanoseconds of ksmd, for a page and round. */
double pace_per_page(const struct span *span, unsigned long pages)
{
	return span->cpu * 1e9 / span->rounds / pages;
}
