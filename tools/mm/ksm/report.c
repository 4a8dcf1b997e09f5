// SPDX-License-Identifier: GPL-2.0-only
/* Report: the end, drawn for people: what was kept and saved, and what it cost. */
#include <stdio.h>

#include "share.h"

#define WIDTH 40

static void bar(unsigned int from, unsigned int to, bool ascii)
{
	unsigned int i;

	for (i = 0; i < WIDTH; i++)
		fputs(i >= from && i < to ? (ascii ? "#" : "█") : (ascii ? "." : "░"), stdout);
}

static void bars(__u64 offered, __u64 saved, bool ascii)
{
	__u64 kept = offered - saved;
	unsigned int edge = (kept * WIDTH + offered / 2) / offered;

	printf("  memory offered  %12s  ", amount(offered * page_size));
	bar(0, WIDTH, ascii);
	printf("\n  kept            %12s  ", amount(kept * page_size));
	bar(0, edge, ascii);
	printf("  %.1f %%\n  saved           %12s  ", kept * 100.0 / offered,
	       amount(saved * page_size));
	bar(edge, WIDTH, ascii);
	printf("  %.1f %%\n", saved * 100.0 / offered);
}

static long most_sharing(const struct watch *watch, size_t from, size_t to)
{
	long most = 0;

	for (; from < to; from++)
		if (watch->samples[from].sharing > most)
			most = watch->samples[from].sharing;
	return most;
}

static void sparkline(const struct watch *watch, bool ascii)
{
	static const char * const blocks[] = {
		"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"
	};
	size_t i, columns = watch->nr < WIDTH ? watch->nr : WIDTH;
	long top = most_sharing(watch, 0, watch->nr) ?: 1;

	printf("  savings over time             ");
	for (i = 0; i < columns; i++) {
		long height = most_sharing(watch, i * watch->nr / columns,
					   (i + 1) * watch->nr / columns) * 7 / top;

		if (ascii)
			putchar("_.:-=+*#"[height]);
		else
			fputs(blocks[height], stdout);
	}
	printf("  %.0f s\n", watch->samples[watch->nr - 1].at);
}

static void print_checks(const struct outcome *outcome)
{
	const struct job *job = outcome->job;

	printf("  contents verified  every byte of %llu pages by %u workers, twice: %s\n",
	       job->copies * (job->files.pages + job->own_pages), job->copies,
	       amount(outcome->verified));
	printf("  isolation          worker 1 wrote to %llu pages, %ld of them KSM's:\n",
	       outcome->rewritten, outcome->copied);
	printf("                     it sees its new bytes, the others (%u) the old ones\n",
	       job->copies - 1);
}

void report_print(const struct outcome *outcome)
{
	const struct watch *watch = outcome->watch;
	const struct sample *last = &watch->samples[watch->nr - 1];
	const struct job *job = outcome->job;
	__u64 saved = last->sharing;
	__u64 offered = job->copies * (job->files.pages + job->own_pages);

	printf("\n");
	bars(offered, saved, outcome->ascii);
	sparkline(watch, outcome->ascii);
	printf("\n  equal pages found  %.1f %% of the %s that can be saved at all\n",
	       saved * 100.0 / outcome->possible, amount(outcome->possible * page_size));
	printf("  AnonPages          from %s to %s, as the rest of the kernel counts\n",
	       amount(watch->start.anon_kib * KIB), amount(last->anon_kib * KIB));
	printf("  settled            after %.0f s; unchanged over %u full scans, until %.0f s\n",
	       watch->reached, watch->scans_wanted, last->at);
	printf("  ksmd's CPU         %.2f s for %ld pages scanned: %.1f us each\n",
	       last->cpu, last->scanned, last->scanned ? last->cpu * 1e6 / last->scanned : 0);
	print_checks(outcome);
}
