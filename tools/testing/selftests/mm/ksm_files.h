/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The files of KSM in sysfs: what each of them takes, and that nothing else of it
 * leaves a trace.
 */
#ifndef KSM_FILES_H
#define KSM_FILES_H

#include <stddef.h>

#include "ksm_check.h"

enum ksm_kind { KSM_NUMBER, KSM_SWITCH, KSM_CHOICE };

/* A file that can be written, and two things that it takes. */
struct ksm_row {
	const char		*name;
	const char		*good[2];
	enum ksm_kind		kind;
	unsigned long long	min, max;	/* a number: others are EINVAL ... */
	unsigned long long	type_max;	/* ... but above this ... */
	int			beyond;		/* ... there is this error */
	bool			pitfall;	/* its range has a test of its own */
};

const struct ksm_row *ksm_row_of(const char *name);	/* or NULL */

/* Looks which files there are, and where the kernel's log ends. */
void ksm_files_begin(void);
void ksm_files_end(void);			/* the log says nothing of KSM since then */
void ksm_files_each_row(void (*check)(const struct ksm_row *row));	/* both, around all */
void ksm_files_each(void (*check)(const char *name, mode_t mode));

/* All of them say what they said before. */
void ksm_files_remember(void);
void ksm_files_compare(const char *why);

char *ksm_files_path(const char *name);
int ksm_files_open(const char *name, int flags);
int ksm_files_write(const char *name, const char *text, size_t len);	/* 0 or an errno */

void ksm_row_set(const struct ksm_row *row, const char *good);
void ksm_row_says(const struct ksm_row *row, const char *good);
void ksm_row_refuses(const struct ksm_row *row, const char *text, size_t len, int want);

#endif
