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

#define KSM_RO(_name) \
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)
#define KSM_RW(_name) \
	static struct kobj_attribute _name##_attr = __ATTR_RW(_name)

/* Whatever is no number of 32 bits is EINVAL, a number too large as well. */
static int parse(const char *buf, unsigned int *value)
{
	return kstrtouint(buf, 10, value) ? -EINVAL : 0;
}

/* ------------------------------------------------------------------------ */
/* Knobs.                                                                   */

static ssize_t run_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(ksm_state.run));
}

static ssize_t run_store(struct kobject *kobj, struct kobj_attribute *attr,
			 const char *buf, size_t count)
{
	unsigned int run;
	int err = parse(buf, &run);

	if (!err)
		err = ksm_ksmd_set_run(run);
	return err ?: count;
}

KSM_RW(run);

static ssize_t pages_to_scan_show(struct kobject *kobj, struct kobj_attribute *attr,
				  char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(ksm_state.pages_to_scan));
}

static ssize_t pages_to_scan_store(struct kobject *kobj, struct kobj_attribute *attr,
				   const char *buf, size_t count)
{
	unsigned int pages;
	int err = parse(buf, &pages);

	if (err)
		return err;
	ksm_ksmd_set_pages_to_scan(pages);
	return count;
}

KSM_RW(pages_to_scan);

static ssize_t sleep_millisecs_show(struct kobject *kobj, struct kobj_attribute *attr,
				    char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(ksm_state.sleep_millisecs));
}

static ssize_t sleep_millisecs_store(struct kobject *kobj, struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	unsigned int millisecs;
	int err = parse(buf, &millisecs);

	if (err)
		return err;
	ksm_ksmd_set_sleep_millisecs(millisecs);
	return count;
}

KSM_RW(sleep_millisecs);

/* ------------------------------------------------------------------------ */
/* Counters.                                                                */

static ssize_t pages_shared_show(struct kobject *kobj, struct kobj_attribute *attr,
				 char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(ksm_counts.shared));
}

KSM_RO(pages_shared);

static ssize_t pages_sharing_show(struct kobject *kobj, struct kobj_attribute *attr,
				  char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(ksm_counts.sharing));
}

KSM_RO(pages_sharing);

static ssize_t pages_unshared_show(struct kobject *kobj, struct kobj_attribute *attr,
				   char *buf)
{
	return sysfs_emit(buf, "%ld\n", ksm_state_unshared());
}

KSM_RO(pages_unshared);

static ssize_t pages_volatile_show(struct kobject *kobj, struct kobj_attribute *attr,
				   char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&ksm_counts.fickle));
}

KSM_RO(pages_volatile);

static ssize_t pages_scanned_show(struct kobject *kobj, struct kobj_attribute *attr,
				  char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(ksm_counts.scanned));
}

KSM_RO(pages_scanned);

static ssize_t full_scans_show(struct kobject *kobj, struct kobj_attribute *attr,
			       char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(ksm_counts.rounds));
}

KSM_RO(full_scans);

static ssize_t general_profit_show(struct kobject *kobj, struct kobj_attribute *attr,
				   char *buf)
{
	return sysfs_emit(buf, "%ld\n", ksm_profit_of_all());
}

KSM_RO(general_profit);

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
