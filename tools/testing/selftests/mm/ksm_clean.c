// SPDX-License-Identifier: GPL-2.0
#include "ksm_clean.h"
#include "ksm_knob.h"
#include "ksm_memory.h"
#include "ksm_merge.h"
#include "vm_util.h"

void ksm_clean(void)
{
	ksm_run();
	ksm_wait_scans(3);
}

char *ksm_map_clean(void)
{
	char *mem = ksm_map(KSM_CLEAN_PAGES);
	size_t i;

	ksm_need_knob("reread_rounds");
	ksm_knob_set("smart_scan", 0);
	for (i = 0; i < KSM_CLEAN_PAGES; i++)
		ksm_fill_page(mem + i * psize(), KSM_CLEAN_SEED + i);
	ksm_mergeable(mem, KSM_CLEAN_PAGES);
	ksm_clean();
	return mem;
}

void ksm_verify_clean(const char *mem, size_t from, size_t to)
{
	for (; from < to; from++)
		ksm_verify_equal(mem + from * psize(), 1, KSM_CLEAN_SEED + from);
}
