// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/mm/ksm: text to setters, and numbers to text.
 *
 * Keeps no state and judges nothing but the text.
 *
 * Floor 7: knows ksmd, state and policy.
 */
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/sysfs.h>

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
#define KNOB(_name, _value, _set)						\
	SHOW(_name, "%u", _value)						\
static ssize_t _name##_store(struct kobject *kobj, struct kobj_attribute *attr,	\
			     const char *buf, size_t count)			\
{										\
	unsigned int number;							\
	int err = parse(buf, &number) ?: _set(number);				\
										\
	return err ?: count;							\
}										\
	static struct kobj_attribute _name##_attr = {				\
		.attr	= { .name = #_name, .mode = 0644 },			\
		.show	= _name##_show,						\
		.store	= _name##_store,					\
	}

/* Whatever is no number of 32 bits is EINVAL, a number too large as well. */
static int parse(const char *buf, unsigned int *number)
{
	return kstrtouint(buf, 10, number) ? -EINVAL : 0;
}

KNOB(run, READ_ONCE(ksm_state.run), ksm_ksmd_set_run);
KNOB(pages_to_scan, READ_ONCE(ksm_state.pages_to_scan), ksm_ksmd_set_pages_to_scan);
KNOB(sleep_millisecs, READ_ONCE(ksm_state.sleep_millisecs), ksm_ksmd_set_sleep_millisecs);

COUNTER(pages_shared, "%lu", READ_ONCE(ksm_counts.shared));
COUNTER(pages_sharing, "%lu", READ_ONCE(ksm_counts.sharing));
COUNTER(pages_unshared, "%ld", ksm_state_unshared());
COUNTER(pages_volatile, "%ld", atomic_long_read(&ksm_counts.fickle));
COUNTER(pages_scanned, "%lu", READ_ONCE(ksm_counts.scanned));
COUNTER(full_scans, "%lu", READ_ONCE(ksm_counts.rounds));
COUNTER(general_profit, "%ld", ksm_profit_of_all());

static struct attribute *ksm_attrs[] = {
	&run_attr.attr,
	&pages_to_scan_attr.attr,
	&sleep_millisecs_attr.attr,
	&pages_shared_attr.attr,
	&pages_sharing_attr.attr,
	&pages_unshared_attr.attr,
	&pages_volatile_attr.attr,
	&pages_scanned_attr.attr,
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
