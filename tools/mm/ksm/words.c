// SPDX-License-Identifier: GPL-2.0-only
/* Words for people: why the last step failed, in one line, and amounts of memory. */
#include <stdarg.h>
#include <stdio.h>

#include "share.h"

static char why[256];

/* Always -1, so that a step can fail with `return trouble(...)`. */
int trouble(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	return -1;
}

const char *trouble_line(void)
{
	return why;
}

/* As text that stands until the fourth call from now. */
const char *amount(double bytes)
{
	static const char * const units[] = { "KiB", "MiB", "GiB", "TiB" };
	static char texts[4][24];
	static unsigned int turn;
	char *text = texts[turn++ % 4];
	size_t unit = 0;

	for (bytes /= 1024; bytes >= 1024 && unit < 3; bytes /= 1024)
		unit++;
	snprintf(text, sizeof(texts[0]), "%.1f %s", bytes, units[unit]);
	return text;
}
