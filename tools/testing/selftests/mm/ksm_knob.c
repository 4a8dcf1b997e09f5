// SPDX-License-Identifier: GPL-2.0
/*
 * KSM's tunables and counters: what is in its folder in sysfs.
 *
 * Floor 1: knows verdicts and files only.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksm_knob.h"

/* Seconds that ksmd may take for one round of a test's few pages. */
#define SCAN_SECONDS	40

bool ksm_has_knob(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	return !access(path, F_OK);
}

void ksm_need_knob(const char *name)
{
	if (!ksm_has_knob(name))
		ksm_skip("this kernel has no %s%s", KSM_DIR, name);
}

int ksm_knob_write(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	return ksm_write_text(path, text);
}

void ksm_knob_set(const char *name, unsigned long value)
{
	char text[32];
	int err;

	snprintf(text, sizeof(text), "%lu", value);
	err = ksm_knob_write(name, text);
	ksm_check(!err, "%s = %s: %s", name, text, strerror(-err));
}

long ksm_knob_get(const char *name)
{
	char path[256], text[64], *end;
	ssize_t len;
	long value;

	snprintf(path, sizeof(path), KSM_DIR "%s", name);
	len = ksm_read_text(path, text, sizeof(text));
	ksm_check(len > 0, "%s: %s", path, strerror(-len));
	value = strtol(text, &end, 10);
	ksm_check(end != text && *end == '\n', "%s: '%s' is no number", path, text);
	return value;
}

/* advisor_mode shows all choices, and brackets round the one that holds. */
static void read_choice(char *text)
{
	char *open = strchr(text, '['), *close = strchr(text, ']');

	if (open && close) {
		*close = '\0';
		memmove(text, open + 1, close - open);
	}
	text[strcspn(text, "\n")] = '\0';
}

void ksm_tunables_save(struct ksm_tunables *all)
{
	struct dirent *entry;
	DIR *dir = opendir(KSM_DIR);

	all->count = 0;
	while (dir && (entry = readdir(dir)) && all->count < KSM_TUNABLES) {
		char path[512], text[128];
		struct stat st;

		snprintf(path, sizeof(path), KSM_DIR "%s", entry->d_name);
		if (stat(path, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & 0200) ||
		    ksm_read_text(path, text, sizeof(text)) < 0)
			continue;
		read_choice(text);
		snprintf(all->knob[all->count].name, sizeof(all->knob[0].name), "%.63s",
			 entry->d_name);
		snprintf(all->knob[all->count].value, sizeof(all->knob[0].value), "%.31s", text);
		all->count++;
	}
	if (dir)
		closedir(dir);
}

/* pages_to_scan is refused while an advisor is on; run comes when all the rest is right. */
static int restore_order(const char *name)
{
	if (!strcmp(name, "run"))
		return 2;
	return !strcmp(name, "advisor_mode");
}

void ksm_tunables_restore(const struct ksm_tunables *all)
{
	unsigned int i;
	int turn;

	/* Some tunables are refused while pages are shared. */
	ksm_knob_write("run", "2");
	ksm_knob_write("run", "0");
	ksm_knob_write("advisor_mode", "none");
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < all->count; i++) {
			const char *name = all->knob[i].name;
			int err;

			if (restore_order(name) != turn)
				continue;
			err = ksm_knob_write(name, all->knob[i].value);
			if (err)
				ksft_print_msg("%s is not restored to %s: %s\n", name,
					       all->knob[i].value, strerror(-err));
		}
	}
}

/* Nothing merged, ksmd stopped; when it runs, then at full pace and reading every page. */
void ksm_tunables_for_tests(void)
{
	ksm_knob_write("run", "2");
	ksm_knob_write("run", "0");
	ksm_knob_write("advisor_mode", "none");
	ksm_knob_write("smart_scan", "0");
	ksm_knob_write("use_zero_pages", "0");
	ksm_knob_write("merge_across_nodes", "1");
	ksm_knob_write("sleep_millisecs", "0");
	ksm_knob_write("pages_to_scan", "2000");
}

void ksm_run(void)
{
	ksm_knob_set("run", 1);
}

void ksm_stop(void)
{
	ksm_knob_set("run", 0);
}

void ksm_unmerge_all(void)
{
	ksm_knob_set("run", 2);
}

void ksm_wait_scans(unsigned int scans)
{
	/* One more: the scan that is under way may have passed our pages already. */
	long end = ksm_knob_get("full_scans") + scans + 1;

	ksm_await(ksm_knob_get("full_scans") >= end, SCAN_SECONDS,
		  "full_scans stays below %ld, is %ld", end, ksm_knob_get("full_scans"));
}
