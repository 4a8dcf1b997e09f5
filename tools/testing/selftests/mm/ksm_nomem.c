// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail when a test wants it.
 *
 * Floor 3: knows files, helper processes and how long a test may take.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "ksm_harness.h"
#include "ksm_nomem.h"

static struct ksm_setting settings[] = {
	{ FAILSLAB "ignore-gfp-wait", "N" },
	{ FAILSLAB "verbose", "0" },
	{ FAIL_PAGE "ignore-gfp-wait", "N" },
	{ FAIL_PAGE "ignore-gfp-highmem", "N" },
	{ FAIL_PAGE "min-order", "0" },
	{ FAIL_PAGE "verbose", "0" },
};

void ksm_settings_set(struct ksm_setting *list, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (ksm_read_text(list[i].path, list[i].old, sizeof(list[i].old)) >= 0 &&
		    !ksm_write_text(list[i].path, list[i].value))
			continue;
		ksm_settings_put_back(list, i);
		ksm_skip("no %s", list[i].path);
	}
}

void ksm_settings_put_back(const struct ksm_setting *list, unsigned int count)
{
	while (count--)
		ksm_write_text(list[count].path, list[count].old);
}

void ksm_nomem_test(void (*test)(struct ksm_kid *parent, void *arg))
{
	struct ksm_kid kid;
	int status;

	ksm_settings_set(settings, ARRAY_SIZE(settings));
	ksm_kid_start(&kid, test, NULL);
	while (!ksm_kid_gone(&kid, KSM_TEST_SECONDS / 2, &status))
		kill(kid.pid, SIGKILL);
	ksm_settings_put_back(settings, ARRAY_SIZE(settings));
	ksm_kid_verdict(status);
}

int ksm_nomem_open(void)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		ksm_skip("/proc/thread-self/fail-nth: %m");
	return fd;
}

void ksm_nomem_nth(int fd, int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	ksm_check_eq(pwrite(fd, text, len, 0), len);
}

bool ksm_nomem_failed(int fd)
{
	char text[16] = "";
	bool failed;

	ksm_check(pread(fd, text, sizeof(text) - 1, 0) > 0, "fail-nth: %m");
	failed = !atoi(text);
	ksm_nomem_nth(fd, 0);
	return failed;
}
