// SPDX-License-Identifier: GPL-2.0-only
/* Merge: what a merge costs, and how soon memory is saved. */
#include <stdio.h>

#include "bench.h"

#define PROCESSES 4

/* KSM's counters of pages follow when it comes by: after a run of 2 they are right. */
static void start_anew(bool smart)
{
	knob_set("run", 2);
	pace_steps(wish.pages, smart);
}

static unsigned long anon_pages(void)
{
	return proc_named("/proc/meminfo", "AnonPages") * 1024 / PAGE;
}

/* Of so many as there were before; CPUs count some for themselves for a while. */
static void expect_saved(unsigned long before, unsigned long saved)
{
	unsigned long now = anon_pages();

	if (now > before || before - now < saved / 100 * 99)
		fail("%lu pages are saved as KSM says, but %lu are left of %lu", saved, now,
		     before);
}

static void say_merges(const struct span *span, unsigned long merges)
{
	say_figure("", span->cpu * 1e9 / merges, "ns/merge", span);
}

/* From the first sight of the pages until all are merged, in all processes. */
static void processes(bool prefix)
{
	struct area area = { .pages = wish.pages / PROCESSES, .prefix = prefix };
	unsigned long saved = area.pages * (PROCESSES - 1), merges = 0;
	struct span span = {};
	unsigned long before;
	struct crew crew;

	area.ids = area.pages;
	crew_start(&crew, PROCESSES, &area);
	while (span.cpu < wish.least_cpu) {
		start_anew(false);
		before = anon_pages();
		crew_order(&crew, ORDER_OFFER);
		pace_until(&span, "pages_sharing", saved);
		expect_saved(before, saved);
		merges += saved;
		crew_order(&crew, ORDER_VERIFY);
		crew_order(&crew, ORDER_WITHDRAW);
	}
	say_merges(&span, merges);
}

static void merge(void)
{
	processes(false);
}

static void merge_prefix(void)
{
	processes(true);
}

/*
 * So many pages of each content, more than max_page_sharing.  At least two of them share
 * each copy, but for one of each content that may be left over.
 */
static void equal(unsigned long pages_each)
{
	struct area area = { .pages = wish.pages, .ids = wish.pages / pages_each };
	unsigned long limit = knob_get("max_page_sharing"), merges = 0, saved, before;
	struct span span = {};

	area.pages = area.ids * pages_each;
	saved = area.pages - area.ids * ((pages_each + limit - 1) / limit + 1);
	area_make(&area);
	while (span.cpu < wish.least_cpu) {
		start_anew(false);
		before = anon_pages();
		area_populate(&area);
		area_offer(&area);
		pace_until(&span, "pages_sharing", saved);
		expect_saved(before, saved);
		merges += saved;
		area_verify(&area);
		area_withdraw(&area);
	}
	say_merges(&span, merges);
}

static void equal1000(void)
{
	equal(1000);
}

static void equal20000(void)
{
	equal(20000);
}

/* Samples until 95 % are saved; how long that took. */
static double await_saved(unsigned long all)
{
	double start = seconds_now(), now;
	unsigned long saved;

	knob_set("run", 1);
	do {
		nap(0.05);
		saved = knob_get("pages_sharing");
		now = seconds_now() - start;
		say_sample(now, saved);
		if (now > 600)
			fail("%lu of %lu pages are saved after %.0f seconds", saved, all, now);
	} while (saved < all / 20 * 19);
	return now;
}

/*
 * How long it takes until so many pages, which are new and have twins in PROCESSES, are
 * saved; all others have none, and are offered before, as ksmd is prepared for what comes.
 */
static void save_twins(unsigned long twins, void (*prepare)(struct area *rest))
{
	struct area area = { .pages = twins / PROCESSES, .ids = twins / PROCESSES };
	struct area rest = { .pages = wish.pages - twins, .ids = wish.pages - twins };
	unsigned long all = area.pages * (PROCESSES - 1), before;
	struct crew crew;

	rest.first_id = area.ids;
	area_make(&rest);
	crew_start(&crew, PROCESSES, &area);
	start_anew(true);
	prepare(&rest);
	before = anon_pages();
	crew_order(&crew, ORDER_OFFER);
	say_figure("", await_saved(all), "s", NULL);
	expect_saved(before, all / 20 * 19);
	crew_order(&crew, ORDER_VERIFY);
	area_verify(&rest);
}

static void pace_of_many(struct area *rest)
{
	area_offer(rest);
	knob_set("sleep_millisecs", 20);
	knob_set("pages_to_scan", 1000);
}

/* The same pace for all, and all memory is new. */
static void save(void)
{
	save_twins(wish.pages / 2, pace_of_many);
}

/* The last round by itself, which leaves ksmd where the next one begins. */
static void know_long(struct area *rest)
{
	struct span span = {};

	pace_offer_in_parts(rest);
	pace_full(wish.pages, true);
	pace_rounds(&span, SETTLED);
	pace_steps(wish.pages, true);
	pace_rounds(&span, 1);
	pace_default();
}

/* All knobs as at boot, beside memory long known. */
static void save_default(void)
{
	save_twins(wish.pages / 4, know_long);
}

const struct workload merge_workloads[] = {
	{ "merge", merge },
	{ "merge_prefix", merge_prefix },
	{ "equal1000", equal1000 },
	{ "equal20000", equal20000 },
	{ "save", save },
	{ "save_default", save_default },
	{}
};
