// SPDX-License-Identifier: GPL-2.0-only
/* Scan: what a round costs that finds nothing to merge. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

#include "bench.h"

static void offer(struct area *area, bool smart)
{
	area_make(area);
	if (smart)
		pace_offer_in_parts(area);
	else
		area_offer(area);
}

/* Pages of which each is different from all others. */
static struct area unique(void)
{
	return (struct area) { .pages = wish.pages, .ids = wish.pages };
}

static void unchanged(struct area area, bool smart)
{
	struct span before = {}, span;

	offer(&area, smart);
	pace_full(area.pages, smart);
	pace_rounds(&before, smart ? SETTLED : 4);
	pace_measure(&span, smart ? CYCLE : 1);
	say_figure("", pace_per_page(&span, area.pages), "ns/page", &span);
	/* a lower bound where the pages of others are read as well, on the way through a tree */
	say_figure(".reads", (double)span.scanned * PAGE / span.rounds / area.pages, "B/page",
		   &span);
	area_verify(&area);
}

static void steady(void)
{
	unchanged(unique(), false);
}

static void steady_smart(void)
{
	unchanged(unique(), true);
}

/* ksmd believes no bit of a page table; other KSMs never do, and have no such knob. */
static void untrusted_with(bool smart)
{
	static const char knob[] = "reread_rounds";
	bool known = knob_exists(knob);
	unsigned long before = known ? knob_get(knob) : 0;

	if (known)
		knob_set(knob, 0);
	unchanged(unique(), smart);
	if (known)
		knob_set(knob, before);
}

static void untrusted(void)
{
	untrusted_with(false);
}

static void untrusted_smart(void)
{
	untrusted_with(true);
}

static void prefix(void)
{
	struct area area = unique();

	area.prefix = true;
	unchanged(area, false);
}

#define APART (2UL << 20)

/* A page table for each page. */
static struct area sparse(void)
{
	struct area area = unique();

	area.apart = APART;
	return area;
}

static void steady_sparse(void)
{
	unchanged(sparse(), false);
}

static void steady_sparse_smart(void)
{
	unchanged(sparse(), true);
}

/* A guest of KVM's has the memory, for all that KSM can know. */
static void notifier_with(bool smart)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 || ioctl(kvm, KVM_CREATE_VM, 0UL) < 0)
		fail("no guest of KVM: %m");
	unchanged(unique(), smart);
}

static void notifier(void)
{
	notifier_with(false);
}

static void notifier_smart(void)
{
	notifier_with(true);
}

/*
 * At the pace of the defaults: how long a round takes, and what share of a CPU ksmd. No
 * round is like the one before: nine are a cycle of some KSMs, 16 of others.
 */
static void default_knobs(void)
{
	unsigned long rounds = 9 * (wish.least_cpu < 2 ? 4 : 16);
	struct span before = {}, span = {};
	struct area area = unique();

	offer(&area, true);
	pace_full(area.pages, true);
	pace_rounds(&before, SETTLED);
	pace_default();
	pace_rounds(&span, rounds);
	say_figure(".round", span.wall / span.rounds, "s", &span);
	say_figure(".share", span.cpu / span.wall * 100, "%", &span);
	area_verify(&area);
}

/* A share of the pages is written, then there is one round, and so on. */
static void written(unsigned int per_mille, bool smart)
{
	struct span before = {}, span = {};
	unsigned long cycle = smart ? CYCLE : 1, turn = 0, writes = 0, turns;
	struct area area = unique();

	offer(&area, smart);
	pace_steps(area.pages, smart);
	pace_rounds(&before, smart ? SETTLED : 4);
	for (turns = 0; turns < (smart ? SETTLED : 4); turns++) {
		area_write_share(&area, per_mille, turn++);
		pace_rounds(&before, 1);
	}
	for (turns = 0; span.cpu < wish.least_cpu || turns % cycle || turns < 3; turns++) {
		writes += area_write_share(&area, per_mille, turn++);
		pace_rounds(&span, 1);
	}
	/* One round for each time of writing; there may be a few too many, and they are charged. */
	if (span.rounds > turns + turns / 50 + 1)
		fail("%lu rounds for %lu times of writing", span.rounds, turns);
	span.rounds = turns;
	say_figure("", pace_per_page(&span, area.pages), "ns/page", &span);
	area_verify(&area);
}

static void write1(void)
{
	written(10, false);
}

static void write3(void)
{
	written(30, false);
}

static void write10(void)
{
	written(100, false);
}

static void write30(void)
{
	written(300, false);
}

static void writeall(void)
{
	written(1000, false);
}

static void writeall_smart(void)
{
	written(1000, true);
}

#define ANCHOR 16

/*
 * Taking the offer back, and two rounds that find it gone, make KSM forget all that it
 * knew of the pages; then each is written to, as those are that a program has just loaded.
 * A few pages stay offered, or there would be no rounds.
 */
static void first_sight(void)
{
	struct area anchor = { .pages = ANCHOR, .ids = ANCHOR, .first_id = wish.pages };
	struct span span = {}, between = {};
	struct area area = unique();
	unsigned long known, turns;

	area_make(&anchor);
	area_offer(&anchor);
	offer(&area, false);
	pace_steps(area.pages, false);
	for (turns = 1;; turns++) {
		pace_rounds(&span, 1);
		/* Should there be a round too many, it is charged to the others. */
		span.rounds = turns;
		if (span.cpu >= wish.least_cpu)
			break;
		area_withdraw(&area);
		pace_rounds(&between, 2);
		known = proc_named("/proc/self/ksm_stat", "ksm_rmap_items");
		if (known > ANCHOR)
			fail("%lu pages are still known", known);
		area_renew(&area);
		area_offer(&area);
	}
	say_figure("", pace_per_page(&span, area.pages), "ns/page", &span);
	area_verify(&area);
}

/* Three of four pages are merged, each with three others; of the rest none has a twin. */
static void remerge(void)
{
	struct area merged = { .pages = wish.pages / 16 * 12, .ids = wish.pages / 16 * 3 };
	struct area rest = { .pages = wish.pages / 16 * 4, .ids = wish.pages / 16 * 4 };
	struct span before = {}, span;

	rest.first_id = merged.ids;
	area_make(&merged);
	area_make(&rest);
	area_offer(&merged);
	area_offer(&rest);
	pace_full(wish.pages, false);
	pace_until(&before, "pages_sharing", merged.pages - merged.ids);
	pace_rounds(&before, 4);
	pace_measure(&span, 1);
	if (knob_get("pages_sharing") != merged.pages - merged.ids)
		fail("pages_sharing is %lu, and should be %lu", knob_get("pages_sharing"),
		     merged.pages - merged.ids);
	say_figure("", pace_per_page(&span, wish.pages), "ns/page", &span);
	area_verify(&merged);
	area_verify(&rest);
}

const struct workload scan_workloads[] = {
	{ "steady", steady },
	{ "steady_smart", steady_smart },
	{ "steady_sparse", steady_sparse },
	{ "steady_sparse_smart", steady_sparse_smart },
	{ "untrusted", untrusted },
	{ "untrusted_smart", untrusted_smart },
	{ "prefix", prefix },
	{ "notifier", notifier },
	{ "notifier_smart", notifier_smart },
	{ "default", default_knobs },
	{ "write1", write1 },
	{ "write3", write3 },
	{ "write10", write10 },
	{ "write30", write30 },
	{ "writeall", writeall },
	{ "writeall_smart", writeall_smart },
	{ "first", first_sight },
	{ "remerge", remerge },
	{}
};
