// SPDX-License-Identifier: GPL-2.0-only
/*
 * Watch: a line a second while ksmd works, until the savings have settled, that
 * is: pages_shared and pages_sharing stay the same over whole scans of everything.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proc.h"
#include "share.h"

#define HEADER_EVERY 20
#define SCANS_IN_VAIN 10	/* nothing shared after so many: there will be nothing */

static const char heading[] =
	"\n   time  pages scanned     shared    sharing        saved  full scans  ksmd's CPU";

static void print_line(const struct sample *sample, size_t nr)
{
	if (nr % HEADER_EVERY == 0)
		puts(heading);
	printf("  %3.0f s %14ld %10ld %10ld %12s %11ld %9.2f s\n", sample->at, sample->scanned,
	       sample->shared, sample->sharing, amount(sample->sharing * page_size),
	       sample->full_scans, sample->cpu);
}

static int keep(struct watch *watch, const struct sample *sample)
{
	struct sample *more = realloc(watch->samples, (watch->nr + 1) * sizeof(*more));

	if (!more)
		return trouble("no memory for %zu samples", watch->nr + 1);
	more[watch->nr++] = *sample;
	watch->samples = more;
	return 0;
}

/* The scan under way at the last change does not count: it began before. */
static bool settled(const struct watch *watch, const struct sample *sample, long changed_in_scan)
{
	unsigned int wanted = sample->sharing ? watch->scans_wanted : SCANS_IN_VAIN;

	return sample->full_scans > changed_in_scan + (long)wanted;
}

int watch_until_settled(struct watch *watch, struct crew *crew)
{
	struct sample now, before = { .sharing = -1 };
	double start = seconds_now();
	long changed_in_scan = 0;

	do {
		if (crew_sleep(crew, start + watch->nr + 1 - seconds_now()) || ksmd_sample(&now))
			return -1;
		print_line(&now, watch->nr);
		if (keep(watch, &now))
			return -1;
		if (now.sharing != before.sharing || now.shared != before.shared) {
			changed_in_scan = now.full_scans;
			watch->reached = now.at;
			before = now;
		}
		if (now.at > watch->limit)
			return trouble("not settled after %.0f s", now.at);
	} while (!settled(watch, &now, changed_in_scan));
	return 0;
}
