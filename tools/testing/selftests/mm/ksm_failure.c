// SPDX-License-Identifier: GPL-2.0
/*
 * Failures of memory, and what a process hears of them.
 *
 * Floor 3: knows memory and what the kernel tells of it, nothing of merging.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "ksm_failure.h"
#include "vm_util.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

/* Written by the signal handler. */
static int signal_count;
static int signal_code;
static char *signal_addr;

static sigjmp_buf *signal_jump;
static char sink;

static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	sigjmp_buf *jump = __atomic_load_n(&signal_jump, __ATOMIC_SEQ_CST);

	__atomic_store_n(&signal_addr, info->si_addr, __ATOMIC_SEQ_CST);
	__atomic_store_n(&signal_code, info->si_code, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&signal_count, 1, __ATOMIC_SEQ_CST);
	if (jump)
		siglongjmp(*jump, 1);
}

void ksm_catch_bus_errors(bool early)
{
	struct sigaction action = {
		.sa_sigaction = on_bus_error,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	signal_count = 0;
	ksm_check_sys(sigaction(SIGBUS, &action, NULL));
	if (prctl(PR_MCE_KILL, PR_MCE_KILL_SET, early ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE,
		  0, 0))
		ksm_skip("this kernel handles no memory failures: %m");
}

int ksm_bus_errors(void)
{
	return __atomic_load_n(&signal_count, __ATOMIC_SEQ_CST);
}

char *ksm_bus_error_addr(void)
{
	return __atomic_load_n(&signal_addr, __ATOMIC_SEQ_CST);
}

int ksm_bus_error_code(void)
{
	return __atomic_load_n(&signal_code, __ATOMIC_SEQ_CST);
}

bool ksm_access_fails(const char *addr)
{
	sigjmp_buf here;
	bool failed = sigsetjmp(here, 1);

	if (!failed) {
		__atomic_store_n(&signal_jump, &here, __ATOMIC_SEQ_CST);
		sink = __atomic_load_n(addr, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&signal_jump, NULL, __ATOMIC_SEQ_CST);
	return failed;
}

void ksm_inject(char *page)
{
	if (!madvise(page, psize(), MADV_HWPOISON))
		return;
	if (errno == EINVAL || errno == EPERM)
		ksm_skip("MADV_HWPOISON: %m");
	ksm_fail("the kernel could not unmap the page everywhere: MADV_HWPOISON: %m");
}

/* By the frame, as hardware does it: the caller needs no mapping of it. */
static int write_pfn(const char *file, unsigned long pfn)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/sys/kernel/debug/hwpoison/%s", file);
	snprintf(text, sizeof(text), "0x%lx", pfn);
	return ksm_write_text(path, text);
}

int ksm_inject_pfn(unsigned long pfn)
{
	int err = write_pfn("corrupt-pfn", pfn);

	if (err == -ENOENT)
		ksm_skip("needs debugfs and CONFIG_HWPOISON_INJECT");
	return err;
}

void ksm_repair(unsigned long pfn)
{
	write_pfn("unpoison-pfn", pfn);
}
