// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/mm/ksm: text to setters, and numbers to text.
 *
 * Keeps no state and judges nothing but the text.
 *
 * Floor 8: knows ksmd, state and policy.
 */
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/sysfs.h>

#include "advisor.h"
#include "ksmd.h"
#include "profit.h"
#include "state.h"
#include "sysfs.h"

/* A file that shows a number. */
#define SHOW(_name, _format, _value)						\
static ssize_t _name##_show(struct kobject *kobj, struct kobj_attribute *attr,	\
			    char *buf)						\
{										\
	return sysfs_emit(buf, _format "\n", _value);				\
}

#define COUNTER(_name, _format, _value)						\
	SHOW(_name, _format, _value)						\
	static struct kobj_attribute _name##_attr = {				\
		.attr	= { .name = #_name, .mode = 0444 },			\
		.show	= _name##_show,						\
	}

/* A file that takes a number as well; what is wrong with it, @_set says. */
#define KNOB_OF(_name, _type, _parse, _format, _value, _set)			\
	SHOW(_name, _format, _value)						\
static ssize_t _name##_store(struct kobject *kobj, struct kobj_attribute *attr,	\
			     const char *buf, size_t count)			\
{										\
	_type number;								\
	int err = _parse(buf, &number) ?: _set(number);				\
										\
	return err ?: count;							\
}										\
	static struct kobj_attribute _name##_attr = {				\
		.attr	= { .name = #_name, .mode = 0644 },			\
		.show	= _name##_show,						\
		.store	= _name##_store,					\
	}

#define KNOB(_name, _value, _set)						\
	KNOB_OF(_name, unsigned int, parse, "%u", READ_ONCE(ksm_state._value), _set)
#define LONG_KNOB(_name, _value, _set)						\
	KNOB_OF(_name, unsigned long, parse_long, "%lu", READ_ONCE(ksm_state._value), _set)
#define SWITCH(_name, _value, _set)						\
	KNOB_OF(_name, bool, kstrtobool, "%u", READ_ONCE(ksm_state._value), _set)

/* Whatever is no number of that type is EINVAL, a number too large as well. */
static int parse(const char *buf, unsigned int *number)
{
	return kstrtouint(buf, 10, number) ? -EINVAL : 0;
}

static int parse_long(const char *buf, unsigned long *number)
{
	return kstrtoul(buf, 10, number) ? -EINVAL : 0;
}

/* Here a number too large for the type has an error of its own; only with NUMA. */
static __maybe_unused int parse_strictly(const char *buf, unsigned long *number)
{
	return kstrtoul(buf, 10, number);
}

static int parse_int_strictly(const char *buf, int *number)
{
	return kstrtoint(buf, 10, number);
}

static const char * const advisor_modes[] = {
	[KSM_ADVISOR_NONE]	= "none",
	[KSM_ADVISOR_SCAN_TIME]	= "scan-time",
};

static ssize_t advisor_mode_show(struct kobject *kobj, struct kobj_attribute *attr,
				 char *buf)
{
	enum ksm_advisor_mode mode, current_mode = READ_ONCE(ksm_state.advisor_mode);
	ssize_t at = 0;

	for (mode = 0; mode < ARRAY_SIZE(advisor_modes); mode++)
		at += sysfs_emit_at(buf, at, mode == current_mode ? "%s[%s]" : "%s%s",
				    mode ? " " : "", advisor_modes[mode]);
	return at + sysfs_emit_at(buf, at, "\n");
}

static ssize_t advisor_mode_store(struct kobject *kobj, struct kobj_attribute *attr,
				  const char *buf, size_t count)
{
	int mode = sysfs_match_string(advisor_modes, buf);
	int err = mode < 0 ? mode : ksm_ksmd_set_advisor_mode(mode);

	return err ?: count;
}

static struct kobj_attribute advisor_mode_attr = __ATTR_RW(advisor_mode);

KNOB_OF(max_page_sharing, int, parse_int_strictly, "%u",
	READ_ONCE(ksm_state.max_page_sharing), ksm_ksmd_set_max_page_sharing);
KNOB(stable_node_chains_prune_millisecs, chains_prune_millisecs, ksm_ksmd_set_chains_prune);
KNOB(run, run, ksm_ksmd_set_run);
KNOB(pages_to_scan, pages_to_scan, ksm_ksmd_set_pages_to_scan);
KNOB(sleep_millisecs, sleep_millisecs, ksm_ksmd_set_sleep_millisecs);
SWITCH(smart_scan, smart_scan, ksm_ksmd_set_smart_scan);
KNOB(reread_rounds, reread_rounds, ksm_ksmd_set_reread_rounds);
SWITCH(use_zero_pages, use_zero_pages, ksm_ksmd_set_use_zero_pages);
#ifdef CONFIG_NUMA
KNOB_OF(merge_across_nodes, unsigned long, parse_strictly, "%u",
	READ_ONCE(ksm_state.merge_across_nodes), ksm_ksmd_set_merge_across_nodes);
#endif
LONG_KNOB(max_kernel_pages, max_kernel_pages, ksm_ksmd_set_max_kernel_pages);
KNOB(max_pages_to_merge, max_pages_to_merge, ksm_ksmd_set_max_pages_to_merge);
KNOB(advisor_max_cpu, advisor_max_cpu, ksm_advisor_set_max_cpu);
LONG_KNOB(advisor_min_pages_to_scan, advisor_min_pages, ksm_advisor_set_min_pages);
LONG_KNOB(advisor_max_pages_to_scan, advisor_max_pages, ksm_advisor_set_max_pages);
LONG_KNOB(advisor_target_scan_time, advisor_target, ksm_advisor_set_target);

COUNTER(pages_shared, "%lu", READ_ONCE(ksm_counts.shared));
COUNTER(pages_sharing, "%lu", READ_ONCE(ksm_counts.sharing));
COUNTER(pages_unshared, "%ld", ksm_state_unshared());
COUNTER(pages_volatile, "%ld", atomic_long_read(&ksm_counts.fickle));
COUNTER(pages_skipped, "%lu", READ_ONCE(ksm_counts.skipped));
COUNTER(pages_unchanged, "%lu", READ_ONCE(ksm_counts.unchanged));
COUNTER(pages_scanned, "%lu", READ_ONCE(ksm_counts.scanned));
COUNTER(ksm_zero_pages, "%ld", atomic_long_read(&ksm_counts.zero_pages));
COUNTER(stable_node_chains, "%lu", READ_ONCE(ksm_counts.chains));
COUNTER(stable_node_dups, "%lu", READ_ONCE(ksm_counts.dups));
COUNTER(kernel_pages_allocated, "%ld", atomic_long_read(&ksm_counts.nodes));
COUNTER(full_scans, "%lu", READ_ONCE(ksm_counts.rounds));
COUNTER(general_profit, "%ld", ksm_profit_of_all());

static struct attribute *ksm_attrs[] = {
	&run_attr.attr,
	&pages_to_scan_attr.attr,
	&sleep_millisecs_attr.attr,
	&smart_scan_attr.attr,
	&reread_rounds_attr.attr,
	&use_zero_pages_attr.attr,
#ifdef CONFIG_NUMA
	&merge_across_nodes_attr.attr,
#endif
	&max_page_sharing_attr.attr,
	&stable_node_chains_prune_millisecs_attr.attr,
	&max_kernel_pages_attr.attr,
	&max_pages_to_merge_attr.attr,
	&advisor_mode_attr.attr,
	&advisor_max_cpu_attr.attr,
	&advisor_min_pages_to_scan_attr.attr,
	&advisor_max_pages_to_scan_attr.attr,
	&advisor_target_scan_time_attr.attr,
	&pages_shared_attr.attr,
	&pages_sharing_attr.attr,
	&pages_unshared_attr.attr,
	&pages_volatile_attr.attr,
	&pages_skipped_attr.attr,
	&pages_unchanged_attr.attr,
	&pages_scanned_attr.attr,
	&ksm_zero_pages_attr.attr,
	&stable_node_chains_attr.attr,
	&stable_node_dups_attr.attr,
	&kernel_pages_allocated_attr.attr,
	&full_scans_attr.attr,
	&general_profit_attr.attr,
	NULL,
};

static const struct attribute_group ksm_group = {
	.name	= "ksm",
	.attrs	= ksm_attrs,
};

/**
 * ksm_sysfs_init() - make the files
 *
 * Context: Boot.
 * Return: 0 or -errno.
 */
int __init ksm_sysfs_init(void)
{
	return sysfs_create_group(mm_kobj, &ksm_group);
}
