// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that goes away: nodes hold pfns, not references.
 *
 * Floor 8: knows ksmd and forgetting.
 */
#include <linux/memory.h>
#include <linux/mutex.h>
#include <linux/notifier.h>

#include "forget.h"
#include "hotplug.h"
#include "ksmd.h"
#include "state.h"

static int on_memory_change(struct notifier_block *self, unsigned long action,
			    void *arg)
{
	struct memory_notify *range = arg;

	switch (action) {
	case MEM_GOING_OFFLINE:
		/* Scans take references, which keep pages where they are. */
		ksm_ksmd_set_offlining(true);
		break;
	case MEM_OFFLINE:
		/* Before anybody can look at a struct page that is not there. */
		ksm_state_take_pass();
		ksm_forget_pfns(range->start_pfn,
				range->start_pfn + range->nr_pages - 1);
		mutex_unlock(&ksm_pass_lock);
		fallthrough;
	case MEM_CANCEL_OFFLINE:
		ksm_ksmd_set_offlining(false);
		break;
	}
	return NOTIFY_OK;
}

/**
 * ksm_hotplug_init() - ask to be told of memory that goes away
 *
 * Context: Boot.
 */
void __init ksm_hotplug_init(void)
{
	hotplug_memory_notifier(on_memory_change, KSM_CALLBACK_PRI);
}
