/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KSM's tunables and counters.
 */
#ifndef KSM_KNOB_H
#define KSM_KNOB_H

#include "ksm_check.h"

#define KSM_DIR		"/sys/kernel/mm/ksm/"
#define KSM_TUNABLES	24

struct ksm_tunables {
	unsigned int count;
	struct {
		char name[64];
		char value[32];
	} knob[KSM_TUNABLES];
};

void ksm_tunables_save(struct ksm_tunables *all);
void ksm_tunables_restore(const struct ksm_tunables *all);
void ksm_tunables_for_tests(void);

bool ksm_has_knob(const char *name);
int ksm_knob_write(const char *name, const char *text);		/* 0 or -errno */
void ksm_knob_set(const char *name, unsigned long value);
long ksm_knob_get(const char *name);
void ksm_need_knob(const char *name);				/* or skip */

void ksm_run(void);
void ksm_stop(void);
void ksm_unmerge_all(void);

/* After this, everything that was there before has been seen @scans times. */
void ksm_wait_scans(unsigned int scans);

#endif
