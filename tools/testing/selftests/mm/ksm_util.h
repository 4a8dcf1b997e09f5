/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that tests of KSM need, from the lowest floor up: a file knows those above
 * its line, none on it or below.
 */
#ifndef KSM_UTIL_H
#define KSM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/mman.h>
#include <linux/prctl.h>

#include "vm_util.h"

#include "ksm_check.h"

#include "ksm_kid.h"
#include "ksm_knob.h"
#include "ksm_proc.h"

#include "ksm_files.h"
#include "ksm_harness.h"
#include "ksm_memory.h"

#include "ksm_failure.h"
#include "ksm_merge.h"
#include "ksm_sys.h"

#include "ksm_block.h"
#include "ksm_sharer.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

static inline int ksm_prctl_merge(unsigned long on)
{
	return syscall(SYS_prctl, PR_SET_MEMORY_MERGE, on, 0, 0, 0);
}

#endif
