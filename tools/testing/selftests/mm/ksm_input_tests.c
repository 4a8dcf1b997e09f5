// SPDX-License-Identifier: GPL-2.0
/*
 * What is written to the files of KSM in sysfs: each of them takes what it shall, and
 * refuses all else with the error that users know, and with no trace of it left.
 *
 * The files are found by looking.  A new one fails here until it has its row.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ksm_util.h"

static void file_has_its_row(const char *name, mode_t mode)
{
	ksm_check(mode == (ksm_row_of(name) ? 0644 : 0444), "%s has mode %04o", name, mode);
	if (mode == 0444)
		ksm_knob_get(name);
}

static void a_file_is_a_knob_with_a_row_or_a_counter(void)
{
	ksm_files_begin();
	ksm_files_each(file_has_its_row);
	ksm_files_end();
}

static void good_is_taken(const struct ksm_row *row)
{
	static const char * const yes[] = { "1", "y", "Y", "t", "T", "on", "ON", "yes" };
	static const char * const no[] = { "0", "n", "N", "f", "F", "off", "OFF", "no" };
	unsigned int i;

	ksm_row_set(row, row->good[0]);
	ksm_row_set(row, row->good[1]);
	ksm_row_set(row, row->good[0]);
	for (i = 0; row->kind == KSM_SWITCH && i < ARRAY_SIZE(yes); i++) {
		ksm_check_eq(ksm_files_write(row->name, yes[i], strlen(yes[i])), 0);
		ksm_row_says(row, "1");
		ksm_check_eq(ksm_files_write(row->name, no[i], strlen(no[i])), 0);
		ksm_row_says(row, "0");
	}
}

static void what_is_good_is_taken(void)
{
	ksm_files_each_row(good_is_taken);
}

/* ------------------------------------------------------------------------ */
/* Words and signs.                                                         */

/* What stands before and behind something good, and who refuses it. */
static const struct shape {
	const char	*before, *behind;
	size_t		extra;			/* bytes behind, with a NUL among them */
	bool		number, choice;		/* refused by these */
	char		first;			/* a switch heeds but this; 0: as good */
} shapes[] = {
	{ "", "\n" },
	{ "", "\n\n",	.number = true, .choice = true },
	{ "", "\r\n",	.number = true, .choice = true },
	{ "", " ",	.number = true, .choice = true },
	{ "", "x",	.number = true, .choice = true },
	{ "", " 1",	.number = true, .choice = true },
	{ "", ".0",	.number = true, .choice = true },
	{ "", "e1",	.number = true, .choice = true },
	{ "", ",1",	.number = true, .choice = true },
	{ "", "\0",	.extra = 1 },
	{ "", "\0x",	.extra = 2 },
	{ "", "\n\0x",	.extra = 3 },
	{ "", "\0\n",	.extra = 2 },
	{ " ", "",	.number = true, .choice = true, .first = ' ' },
	{ "\t", "",	.number = true, .choice = true, .first = ' ' },
	{ "\n", "",	.number = true, .choice = true, .first = ' ' },
	{ "-", "",	.number = true, .choice = true, .first = ' ' },
	{ "--", "",	.number = true, .choice = true, .first = ' ' },
	{ "+", "",	.choice = true, .first = ' ' },
	{ "++", "",	.number = true, .choice = true, .first = ' ' },
	{ "+-", "",	.number = true, .choice = true, .first = ' ' },
	{ "00", "",	.choice = true, .first = '0' },
	{ "0x", "",	.number = true, .choice = true, .first = '0' },
	{ "[", "]",	.number = true, .choice = true, .first = ' ' },
};

static void check_shape(const struct ksm_row *row, const struct shape *shape)
{
	char text[128];
	size_t len = snprintf(text, sizeof(text), "%s%s%s", shape->before, row->good[1],
			      shape->behind);
	bool refuse = row->kind == KSM_NUMBER ? shape->number :
		      row->kind == KSM_CHOICE ? shape->choice : shape->first == ' ';
	int err;

	if (shape->extra) {
		len = strlen(row->good[1]) + shape->extra;
		memcpy(text + strlen(row->good[1]), shape->behind, shape->extra);
	}
	if (refuse) {
		ksm_row_refuses(row, text, len, EINVAL);
		return;
	}
	ksm_row_set(row, row->good[0]);
	err = ksm_files_write(row->name, text, len);
	ksm_check(!err, "%s refuses '%s' (%zu bytes): %s", row->name, text, len, strerror(err));
	ksm_row_says(row, row->kind == KSM_SWITCH && shape->first ? "0" : row->good[1]);
}

static void shapes_are_taken_or_refused(const struct ksm_row *row)
{
	unsigned int i;

	ksm_row_set(row, row->good[0]);
	for (i = 0; i < ARRAY_SIZE(shapes); i++)
		check_shape(row, &shapes[i]);
}

static void what_stands_around_a_value_is_heeded(void)
{
	ksm_files_each_row(shapes_are_taken_or_refused);
}

static void words_are_refused(const struct ksm_row *row)
{
	static const char * const words[] = {
		"\n", " ", "\t", "abc", "-", "+", "-1", "-0", ".", "0x", "x1", "NaN", "inf",
		"scan-tim", "scan-timer", "scan_time", "SCAN-TIME", "None", "\xff\xfe",
		"\xd9\xa1", "%d", "[none] scan-time", "none scan-time",
	};
	unsigned int i;

	ksm_row_set(row, row->good[0]);
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		/* A switch knows 0x as 0, and letters of no and none. */
		if (row->kind == KSM_SWITCH && strchr("0nN", *words[i]))
			continue;
		ksm_row_refuses(row, words[i], strlen(words[i]), EINVAL);
	}
	ksm_row_refuses(row, "", 1, EINVAL);		/* a NUL */
	ksm_row_refuses(row, "\0001", 2, EINVAL);
}

static void what_means_nothing_is_refused(void)
{
	ksm_files_each_row(words_are_refused);
}

/* ------------------------------------------------------------------------ */
/* Size.                                                                    */

/* @number + 1; of the largest that we can count with, as well. */
static const char *above(unsigned long long number)
{
	static char text[64];

	if (number == ULLONG_MAX)
		return "18446744073709551616";
	snprintf(text, sizeof(text), "%llu", number + 1);
	return text;
}

static void check_range(const struct ksm_row *row)
{
	const char *huge = "99999999999999999999999999999999";
	char text[64];

	if (row->kind == KSM_CHOICE)
		return;
	if (row->kind == KSM_SWITCH) {
		ksm_row_refuses(row, "2", 1, EINVAL);
		ksm_row_refuses(row, "9", 1, EINVAL);
		return;
	}
	snprintf(text, sizeof(text), "%llu", row->min - 1);
	if (row->min)
		ksm_row_refuses(row, text, strlen(text), EINVAL);
	if (row->max < row->type_max)
		ksm_row_refuses(row, above(row->max), strlen(above(row->max)), EINVAL);
	if (row->max < UINT_MAX && row->type_max > UINT_MAX)
		ksm_row_refuses(row, "4294967296", 10, EINVAL);
	ksm_row_refuses(row, above(row->type_max), strlen(above(row->type_max)), row->beyond);
	ksm_row_refuses(row, huge, strlen(huge), row->beyond);
	snprintf(text, sizeof(text), "%llu", row->min);
	ksm_row_set(row, text);
	snprintf(text, sizeof(text), "%llu", row->max);
	ksm_row_set(row, text);
}

static void range_is_refused(const struct ksm_row *row)
{
	if (row->pitfall)
		return;
	ksm_row_set(row, row->good[0]);
	check_range(row);
}

static void numbers_out_of_range_are_refused(void)
{
	ksm_files_each_row(range_is_refused);
}

static void P80_advisor_max_cpu_is_a_percentage(void)
{
	const struct ksm_row *row = ksm_row_of("advisor_max_cpu");

	ksm_need_knob(row->name);
	ksm_files_begin();
	ksm_row_set(row, row->good[0]);
	check_range(row);
	ksm_row_refuses(row, "1000", 4, EINVAL);
	ksm_row_refuses(row, "4294967296", 10, EINVAL);
	/* With its upper half cut off it would be 1. */
	ksm_row_refuses(row, "4294967297", 10, EINVAL);
	ksm_row_refuses(row, "70%", 3, EINVAL);
	ksm_files_end();
}

/* A page is what sysfs takes at once, and it says so. */
static void pages_are_cut(const struct ksm_row *row)
{
	size_t size = psize(), len = strlen(row->good[1]);
	char *text = malloc(3 * size);
	int fd;

	ksm_row_set(row, row->good[0]);
	memset(text, '9', 3 * size);
	ksm_row_refuses(row, text, size - 1, row->kind == KSM_NUMBER ? row->beyond : EINVAL);
	ksm_row_refuses(row, text, size, row->kind == KSM_NUMBER ? row->beyond : EINVAL);
	ksm_row_refuses(row, text, 3 * size, row->kind == KSM_NUMBER ? row->beyond : EINVAL);
	memset(text, ' ', 3 * size);
	ksm_row_refuses(row, text, 3 * size, EINVAL);
	memset(text, '-', 3 * size);
	ksm_row_refuses(row, text, 3 * size, EINVAL);
	if (row->kind == KSM_NUMBER) {
		memset(text, '0', 3 * size);
		memcpy(text + size - len, row->good[1], len);
		memcpy(text + size, "junk", 4);
		fd = ksm_files_open(row->name, O_WRONLY);
		ksm_check_eq(write(fd, text, 3 * size), size);
		ksm_row_says(row, row->good[1]);
		ksm_files_remember();
		ksm_check(write(fd, text + size, 2 * size) < 0 && errno == EINVAL,
			  "%s takes the rest as well", row->name);
		ksm_files_compare(row->name);
		close(fd);
	}
	free(text);
}

static void input_of_pages_is_cut_and_judged(void)
{
	ksm_files_each_row(pages_are_cut);
}

static const struct ksm_test tests[] = {
	KSM_TEST(a_file_is_a_knob_with_a_row_or_a_counter),
	KSM_TEST(what_is_good_is_taken),
	KSM_TEST(what_stands_around_a_value_is_heeded),
	KSM_TEST(what_means_nothing_is_refused),
	KSM_TEST(numbers_out_of_range_are_refused),
	KSM_TEST(P80_advisor_max_cpu_is_a_percentage),
	KSM_TEST(input_of_pages_is_cut_and_judged),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
