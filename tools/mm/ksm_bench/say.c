// SPDX-License-Identifier: GPL-2.0-only
/*
 * Say: lines for programs.
 *
 *	figure,WORKLOAD,PAGES,VALUE,UNIT,CPU,WALL,ROUNDS
 *	sample,WORKLOAD,PAGES,SECONDS,VALUE
 *	failed,WORKLOAD,PAGES,WHY
 *
 * CPU, WALL (seconds) and ROUNDS say what the value was taken over, 0 where the
 * program took its own time.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

/* exit, not _exit: what was printed before must come out. */
void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("failed,%s,%lu,", wish.workload, wish.pages);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

/* @what: of several figures of a workload, which: a suffix to its name, or "". */
void say_figure(const char *what, double value, const char *unit, const struct span *span)
{
	static const struct span none;

	if (!span)
		span = &none;
	printf("figure,%s%s,%lu,%.4g,%s,%.3f,%.3f,%lu\n", wish.workload, what, wish.pages,
	       value, unit, span->cpu, span->wall, span->rounds);
	fflush(stdout);
}

void say_sample(double at, double value)
{
	printf("sample,%s,%lu,%.2f,%.0f\n", wish.workload, wish.pages, at, value);
}
