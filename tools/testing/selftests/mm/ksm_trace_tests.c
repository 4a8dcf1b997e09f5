// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints of the group ksm: names, fields, that they fire, and what they say then.
 */
#include <stdio.h>

#include "ksm_trace.h"
#include "ksm_util.h"

static const struct event {
	const char *name;
	const char *fields[6];
} events[] = {
	{ "ksm_start_scan", { "seq", "rmap_entries" } },
	{ "ksm_stop_scan", { "seq", "rmap_entries" } },
	{ "ksm_enter", { "mm" } },
	{ "ksm_exit", { "mm" } },
	{ "ksm_merge_with_ksm_page", { "ksm_page", "pfn", "rmap_item", "mm", "err" } },
	{ "ksm_remove_ksm_page", { "pfn" } },
	{ "ksm_remove_rmap_item", { "pfn", "rmap_item", "mm" } },
};

/* Fires where a page becomes the zero page. */
static const struct event merge_one_page = {
	"ksm_merge_one_page", { "pfn", "rmap_item", "mm", "err" }
};

/* Fires once an advisor has had its say. */
static const struct event advisor = {
	"ksm_advisor", { "scan_time", "pages_to_scan", "cpu_percent" }
};

/* "field:unsigned long pfn;	offset:…": the name stands before the semicolon. */
static bool has_field(const char *format, const char *name)
{
	const char *at = format;
	size_t len = strlen(name);

	while ((at = strstr(at, name))) {
		if ((at[-1] == ' ' || at[-1] == '*') && at[len] == ';')
			return true;
		at += len;
	}
	return false;
}

/* Return: false if the kernel has no such tracepoint. */
static bool check_fields(const struct event *event)
{
	char path[256], format[4096];
	unsigned int i;

	snprintf(path, sizeof(path), "%s/events/ksm/%s/format", ksm_trace_root(), event->name);
	if (ksm_read_text(path, format, sizeof(format)) < 0)
		return false;
	for (i = 0; event->fields[i]; i++)
		ksm_check(has_field(format, event->fields[i]), "%s has no field %s", event->name,
			  event->fields[i]);
	return true;
}

static void tracepoints_have_their_fields(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(events); i++)
		ksm_check(check_fields(&events[i]), "no tracepoint %s", events[i].name);
	ksm_check(check_fields(&merge_one_page), "no tracepoint %s", merge_one_page.name);
}

static void the_advisors_tracepoint_has_its_fields(void)
{
	if (!check_fields(&advisor))
		ksm_skip("this kernel has no tracepoint %s", advisor.name);
}

#define EQUAL	8
#define UNIQUE	2

/* ------------------------------------------------------------------------- */
/* What they say.                                                             */

struct told {
	unsigned long	before[EQUAL];	/* where the pages were */
	unsigned long	kept;		/* the KSM page, or the zero page */
	bool		zeros;		/* the zero page: the one that goes may be told of */
	char		mm[32];		/* the one mm there is */
	int		seq;		/* of the last round, -1 for none */
	unsigned int	items, most_items;
	unsigned int	merged;
	unsigned int	left;		/* items of the KSM page, while it is there */
	unsigned int	ended;		/* nodes */
	unsigned int	advices;
	long long	seconds;	/* of the last advice */
	unsigned long	pages;
	unsigned int	percent;
};

static void hear_round(struct told *told, const char *text, bool begins)
{
	int seq;

	ksm_check(sscanf(text, "seq %d rmap size %u", &seq, &told->items) == 2, "%s", text);
	ksm_check(told->seq < 0 || seq == told->seq + begins, "after %d: %s", told->seq, text);
	told->seq = seq;
	if (told->items > told->most_items)
		told->most_items = told->items;
}

static void hear_start(struct told *told, const char *text)
{
	hear_round(told, text, true);
}

static void hear_stop(struct told *told, const char *text)
{
	hear_round(told, text, false);
}

static void hear_mm(struct told *told, const char *text)
{
	const char *at = strstr(text, "mm ");
	char mm[32];

	ksm_check(at && sscanf(at, "mm %31s", mm) == 1, "%s", text);
	if (!*told->mm)
		snprintf(told->mm, sizeof(told->mm), "%s", mm);
	ksm_check(!strcmp(mm, told->mm), "there is no mm but %s: %s", told->mm, text);
}

/* Whatever joins it, the page that is told of is the KSM page. */
static void hear_merge(struct told *told, const char *text)
{
	unsigned int i, found = 0;
	unsigned long pfn;
	int err;

	ksm_check(sscanf(text, "ksm pfn %lu rmap_item %*s mm %*s error %d", &pfn, &err) == 2,
		  "%s", text);
	hear_mm(told, text);
	for (i = 0; i < EQUAL; i++)
		found += told->before[i] == pfn;
	ksm_check(found || pfn == told->kept, "no page of ours: %s", text);
	if (err)
		return;
	ksm_check(pfn == told->kept || told->zeros, "%lu is kept: %s", told->kept, text);
	told->merged++;
}

static unsigned long pfn_of(const char *text)
{
	unsigned long pfn;

	ksm_check(sscanf(text, "pfn %lu", &pfn) == 1, "%s", text);
	return pfn;
}

static void check_kept(const struct told *told, const char *text)
{
	ksm_check(pfn_of(text) == told->kept, "%lu was the KSM page: %s", told->kept, text);
}

static void hear_end(struct told *told, const char *text)
{
	check_kept(told, text);
	told->ended++;
}

/* Of a candidate, or after the page, there is no pfn. */
static void hear_item(struct told *told, const char *text)
{
	if (pfn_of(text)) {
		check_kept(told, text);
		told->left++;
	}
	hear_mm(told, text);
}

static void hear_advice(struct told *told, const char *text)
{
	ksm_check(sscanf(text, "ksm scan time %lld pages_to_scan %lu cpu percent %u",
			 &told->seconds, &told->pages, &told->percent) == 3, "%s", text);
	told->advices++;
}

static const struct {
	const char	*name;
	void		(*hear)(struct told *told, const char *text);
} listeners[] = {
	{ "ksm_start_scan", hear_start },
	{ "ksm_stop_scan", hear_stop },
	{ "ksm_enter", hear_mm },
	{ "ksm_exit", hear_mm },
	{ "ksm_merge_one_page", hear_merge },
	{ "ksm_merge_with_ksm_page", hear_merge },
	{ "ksm_remove_ksm_page", hear_end },
	{ "ksm_remove_rmap_item", hear_item },
	{ "ksm_advisor", hear_advice },
};

static void hear(struct told *told, const char *line)
{
	const char *text;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(listeners); i++) {
		text = ksm_trace_said(line, listeners[i].name);
		if (text)
			listeners[i].hear(told, text);
	}
}

/* All that was said so far. */
static void hear_all(struct told *told, const char *dir)
{
	char *line, *rest;

	told->seq = -1;
	for (line = strtok_r(ksm_trace_read(dir), "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		if (*line != '#')
			hear(told, line);
}

/* ------------------------------------------------------------------------- */
/* What there is to say.                                                      */

static void tell_where(struct ksm_kid *parent, const char *mem)
{
	unsigned int i;

	for (i = 0; i < EQUAL; i++)
		ksm_kid_send(parent, ksm_pfn(mem + i * psize()));
}

/* Record what @run does, which tells where its pages are before they merge, and then. */
static void record(struct told *told, const char *dir,
		   void (*run)(struct ksm_kid *parent, void *arg))
{
	struct ksm_kid kid;
	unsigned int i;

	/* Slow, or the events of thousands of scans push the rare ones out. */
	ksm_knob_set("sleep_millisecs", 10);
	ksm_trace_begin(dir);
	ksm_kid_start(&kid, run, NULL);
	for (i = 0; i < EQUAL; i++)
		told->before[i] = ksm_kid_recv(&kid);
	told->kept = ksm_kid_recv(&kid);
	ksm_kid_end(&kid);
}

static void merge_and_go(struct ksm_kid *parent, void *arg)
{
	/* The second mapping stays, so that there is something to leave at the end. */
	char *mem = ksm_map_equal(EQUAL, 1), *rest = ksm_map_unique(UNIQUE, 2);

	tell_where(parent, mem);
	ksm_merge(mem, EQUAL);
	ksm_kid_send(parent, ksm_pfn(mem));
	ksm_verify_equal(mem, EQUAL, 1);
	ksm_unmap(mem, EQUAL);
	ksm_run();
	ksm_await(!ksm_knob_get("pages_shared"), 10, "pages_shared stays %ld",
		  ksm_knob_get("pages_shared"));
	/* Until a round says at its end how little there is. */
	ksm_wait_scans(1);
	ksm_verify_unique(rest, UNIQUE, 2);
}

static bool all_said(const char *dir)
{
	const char *text = ksm_trace_read(dir);
	unsigned int i, count = 0;

	for (i = 0; i < ARRAY_SIZE(events); i++)
		count += !!ksm_trace_said(text, events[i].name);
	return count == ARRAY_SIZE(events);
}

static void record_merges(struct ksm_kid *parent, void *dir)
{
	struct told told = { };
	unsigned int i;
	u64 end;

	record(&told, dir, merge_and_go);
	end = ksm_now_ms() + 10000 * KSM_PATIENCE;
	while (!all_said(dir) && ksm_now_ms() < end)
		ksm_nap();
	for (i = 0; i < ARRAY_SIZE(events); i++)
		ksm_check(ksm_trace_said(ksm_trace_read(dir), events[i].name), "%s did not fire",
			  events[i].name);
	hear_all(&told, dir);
	/* The first two merge at once. */
	ksm_check(told.merged == EQUAL - 1, "told of %u merges of %d", told.merged, EQUAL - 1);
	ksm_check(told.most_items >= EQUAL && told.most_items <= EQUAL + UNIQUE,
		  "%u items of %d pages", told.most_items, EQUAL + UNIQUE);
	ksm_check(told.items <= UNIQUE, "%u items of %d pages at the end", told.items, UNIQUE);
}

static void tracepoints_fire(void)
{
	ksm_trace_test(record_merges);
}

static void merge_zeros(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_zeros(EQUAL);

	tell_where(parent, mem);
	ksm_await_zero_pages(EQUAL);
	ksm_kid_send(parent, ksm_pfn(mem));
	ksm_verify_zeros(mem, EQUAL);
}

static void record_zeros(struct ksm_kid *parent, void *dir)
{
	struct told told = { .zeros = true };

	record(&told, dir, merge_zeros);
	hear_all(&told, dir);
	ksm_check_eq(told.merged, EQUAL);
}

static void pages_that_become_the_zero_page_are_told_of(void)
{
	ksm_need_knob("use_zero_pages");
	ksm_knob_set("use_zero_pages", 1);
	ksm_trace_test(record_zeros);
}

/* A page that somebody holds is there still when nobody maps it any more. */
static void merge_and_unmerge(struct ksm_kid *parent, void *arg)
{
	char *mem = ksm_map_equal(EQUAL, 3);
	int ends[2];

	tell_where(parent, mem);
	ksm_merge(mem, EQUAL);
	ksm_kid_send(parent, ksm_pfn(mem));
	ksm_pipe_fill(ends, mem, 1);
	ksm_unmerge_all();
	ksm_verify_equal(mem, EQUAL, 3);
}

static void record_unmerge(struct ksm_kid *parent, void *dir)
{
	struct told told = { };

	record(&told, dir, merge_and_unmerge);
	hear_all(&told, dir);
	ksm_check_eq(told.merged, EQUAL - 1);
	ksm_check_eq(told.left, EQUAL);
	ksm_check_eq(told.ended, 1);
}

static void the_end_of_a_page_that_lives_on_is_told_of(void)
{
	ksm_trace_test(record_unmerge);
}

static bool has_advised(struct told *told, const char *dir)
{
	memset(told, 0, sizeof(*told));
	hear_all(told, dir);
	return told->advices;
}

#define BATCH	8

/* A round is eight batches, with half a second of rest between them. */
static void record_advice(struct ksm_kid *parent, void *dir)
{
	u64 began = ksm_now_ms();
	struct told told;

	ksm_map_unique(8 * BATCH, 4);
	if (ksm_has_knob("reread_rounds"))
		ksm_knob_set("reread_rounds", 0);	/* what is not read is in no batch */
	ksm_knob_set("sleep_millisecs", 500);
	ksm_knob_set("advisor_min_pages_to_scan", BATCH);
	ksm_knob_set("advisor_max_pages_to_scan", BATCH);
	ksm_check(!ksm_knob_write("advisor_mode", "scan-time"), "scan-time is refused");
	ksm_trace_begin(dir);
	ksm_run();
	ksm_await(has_advised(&told, dir), 30, "ksm_advisor did not fire");
	ksm_check(told.seconds >= 2 && told.seconds <= (long long)(ksm_now_ms() - began) / 1000,
		  "a round of %lld s", told.seconds);
	ksm_check_eq(told.pages, ksm_knob_get("pages_to_scan"));
	ksm_check(told.percent <= 100, "%u %% of a CPU", told.percent);
}

static void an_advice_is_told_of(void)
{
	ksm_need_knob("advisor_mode");
	if (!check_fields(&advisor))
		ksm_skip("this kernel has no tracepoint %s", advisor.name);
	ksm_trace_test(record_advice);
}

static const struct ksm_test tests[] = {
	KSM_TEST(tracepoints_have_their_fields),
	KSM_TEST(the_advisors_tracepoint_has_its_fields),
	KSM_TEST(tracepoints_fire),
	KSM_TEST(pages_that_become_the_zero_page_are_told_of),
	KSM_TEST(the_end_of_a_page_that_lives_on_is_told_of),
	KSM_TEST(an_advice_is_told_of),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
