// SPDX-License-Identifier: GPL-2.0
/*
 * Verdicts of tests, waiting, and small files.
 *
 * Floor 0: knows nothing of KSM.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "ksm_check.h"

/* Shared by the runner and all processes of a test: what the first one said. */
struct verdict {
	int	said;
	char	reason[256];
};

static struct verdict *verdict;

u64 ksm_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

void ksm_nap(void)
{
	const struct timespec nap = { .tv_nsec = 2000000 };

	nanosleep(&nap, NULL);
}

void ksm_reason_begin(void)
{
	if (!verdict) {
		verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (verdict == MAP_FAILED)
			ksft_exit_fail_perror("mmap");
	}
	memset(verdict, 0, sizeof(*verdict));
}

const char *ksm_reason(void)
{
	return verdict->reason;
}

static void say_reason(const char *fmt, va_list args)
{
	if (!verdict || __atomic_exchange_n(&verdict->said, 1, __ATOMIC_SEQ_CST))
		return;
	vsnprintf(verdict->reason, sizeof(verdict->reason), fmt, args);
}

void ksm_fail_at(const char *file, int line, const char *what, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ksft_print_msg("%s:%d: pid %d: %s: %s\n", file, line, getpid(), what, text);
	va_start(args, fmt);
	say_reason(fmt, args);
	va_end(args);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

void ksm_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_reason(fmt, args);
	va_end(args);
	_exit(KSFT_SKIP);
}

ssize_t ksm_read_text(const char *path, char *text, size_t size)
{
	ssize_t len = 0, got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	text[0] = '\0';
	if (fd < 0)
		return -errno;
	while ((got = read(fd, text + len, size - 1 - len)) > 0)
		len += got;
	if (got < 0)
		len = -errno;
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	return len;
}

int ksm_write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}
