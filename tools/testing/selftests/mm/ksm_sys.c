// SPDX-License-Identifier: GPL-2.0
/*
 * The machine around KSM: memory nodes, swap and control groups, userfaultfd.
 *
 * Floor 3: knows memory and what the kernel tells of it, nothing of merging.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "ksm_memory.h"
#include "ksm_proc.h"
#include "ksm_sys.h"
#include "vm_util.h"

/* Half of what a test may take. */
#define KSM_SWAPOFF_SECONDS	45

/* The first two nodes that have memory. Return: how many there are. */
int ksm_find_nodes(int node[2])
{
	char text[128], *at = text;
	int found = 0;

	node[0] = 0;
	node[1] = 0;
	if (ksm_read_text("/sys/devices/system/node/has_memory", text, sizeof(text)) < 0)
		return 0;
	while (found < 2 && *at) {
		long from = strtol(at, &at, 10), to = from;

		if (*at == '-')
			to = strtol(at + 1, &at, 10);
		for (; from <= to && found < 2; from++)
			node[found++] = from;
		if (*at != ',')
			break;
		at++;
	}
	return found;
}

void ksm_two_nodes(int node[2])
{
	int found = ksm_find_nodes(node);

	if (found < 2)
		ksm_skip("this kernel knows %d memory nodes, two are needed", found);
}

long ksm_bind(char *mem, size_t pages, int node)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_mbind, mem, pages * psize(), MPOL_BIND, &mask, sizeof(mask) * 8,
		       MPOL_MF_STRICT | MPOL_MF_MOVE_ALL);
}

/* Moves the page, whoever else maps it. What failed has no status of its own. */
int ksm_move_page(pid_t pid, const void *addr, int node)
{
	int status = -EBUSY;

	if (syscall(SYS_move_pages, pid, 1UL, &addr, &node, &status, MPOL_MF_MOVE_ALL) < 0)
		return -errno;
	return status;
}

int ksm_node_of(const void *addr)
{
	int status = -EINVAL;

	if (syscall(SYS_move_pages, 0, 1UL, &addr, NULL, &status, 0) < 0)
		return -errno;
	return status;
}

int ksm_other_node(pid_t pid, const void *addr)
{
	int node[2], status = -EINVAL;

	ksm_two_nodes(node);
	ksm_check_sys(syscall(SYS_move_pages, pid, 1UL, &addr, NULL, &status, 0));
	return status == node[0] ? node[1] : node[0];
}

unsigned long ksm_free_swap_kib(void)
{
	char text[1024], *line;
	unsigned long size, used;

	if (ksm_read_text("/proc/swaps", text, sizeof(text)) < 0)
		return 0;
	line = strchr(text, '\n');
	if (!line || sscanf(line + 1, "%*s %*s %lu %lu", &size, &used) != 2)
		return 0;
	return size - used;
}

void ksm_need_swap(void)
{
	if (ksm_free_swap_kib() < 16 * 1024)
		ksm_skip("needs 16 MiB of free swap, there are %lu KiB", ksm_free_swap_kib());
}

static void find_swap_device(char *path, size_t size)
{
	char text[1024], *line;

	ksm_check(ksm_read_text("/proc/swaps", text, sizeof(text)) > 0, "/proc/swaps: %m");
	line = strchr(text, '\n');
	ksm_check(line && line[1], "no swap");
	line++;
	line[strcspn(line, " \t\n")] = '\0';
	ksm_check(snprintf(path, size, "%s", line) < (int)size, "%s: too long", line);
}

void ksm_swapoff_test(void (*test)(struct ksm_kid *parent, void *path))
{
	struct ksm_kid kid;
	char path[128];
	int status;

	find_swap_device(path, sizeof(path));
	ksm_kid_start(&kid, test, path);
	while (!ksm_kid_gone(&kid, KSM_SWAPOFF_SECONDS, &status))
		kill(kid.pid, SIGKILL);
	if (swapon(path, 0))
		ksm_check(errno == EBUSY, "swap cannot be restored: swapon %s: %m", path);
	ksm_kid_verdict(status);
}

static char cgroup_dir[128];

static const char *cgroup_root(void)
{
	const char *root = "/sys/fs/cgroup";
	struct statfs st;

	if (!statfs(root, &st) && st.f_type == CGROUP2_SUPER_MAGIC)
		return root;
	/* A mount that goes away with the test. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", root, "cgroup2", 0, NULL))
		ksm_skip("no cgroup2 on %s: %m", root);
	return root;
}

/* One process stays outside, to remove the group when the test inside has ended. */
static void leave_one_outside(void)
{
	pid_t pid = ksm_check_sys(fork());
	int status;

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	rmdir(cgroup_dir);
	if (WIFSIGNALED(status))
		ksm_fail("killed by signal %d", WTERMSIG(status));
	_exit(WEXITSTATUS(status));
}

/* The rest of the test runs in a memory control group of its own. */
void ksm_cgroup_enter(const char *name)
{
	const char *root = cgroup_root();
	char path[256], pid[32];
	int err;

	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root);
	err = ksm_write_text(path, "+memory");
	if (err)
		ksm_skip("no memory controller in %s: %s", root, strerror(-err));
	snprintf(cgroup_dir, sizeof(cgroup_dir), "%s/ksm_selftest.%s", root, name);
	if (mkdir(cgroup_dir, 0700) && errno != EEXIST)
		ksm_skip("mkdir %s: %m", cgroup_dir);

	leave_one_outside();
	snprintf(pid, sizeof(pid), "%d", getpid());
	ksm_cgroup_write("cgroup.procs", pid);
}

void ksm_cgroup_write(const char *file, const char *text)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), "%s/%s", cgroup_dir, file);
	err = ksm_write_text(path, text);
	ksm_check(!err, "%s: %s", path, strerror(-err));
}

long ksm_cgroup_value(const char *file, const char *name)
{
	char path[256], text[8192], word[64], *line;
	long value;

	snprintf(path, sizeof(path), "%s/%s", cgroup_dir, file);
	ksm_check(ksm_read_text(path, text, sizeof(text)) > 0, "%s cannot be read", path);
	if (!*name)
		return atol(text);
	for (line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%63s %ld", word, &value) == 2 && !strcmp(word, name))
			return value;
	}
	ksm_fail("%s has no line %s", path, name);
}

long ksm_cgroup_stat(const char *name)
{
	return ksm_cgroup_value("memory.stat", name);
}

void ksm_cgroup_reclaim(unsigned int mib)
{
	char path[256], text[64];
	int err;

	snprintf(path, sizeof(path), "%s/memory.reclaim", cgroup_dir);
	snprintf(text, sizeof(text), "%uM swappiness=200", mib);
	err = ksm_write_text(path, text);
	if (err == -EINVAL) {
		text[strcspn(text, " ")] = '\0';
		err = ksm_write_text(path, text);
	}
	if (err == -ENOENT)
		ksm_skip("this kernel has no memory.reclaim");
	/* EAGAIN: less could be reclaimed than asked for, which is so by intention. */
	ksm_check(!err || err == -EAGAIN, "%s: %s", path, strerror(-err));
}

static size_t count_present(const char *mem, size_t pages)
{
	size_t i, present = 0;

	for (i = 0; i < pages; i++)
		present += !!ksm_pfn(mem + i * psize());
	return present;
}

size_t ksm_push_out(char *mem, size_t pages)
{
	ksm_check_sys(madvise(mem, pages * psize(), MADV_PAGEOUT));
	if (*cgroup_dir)
		ksm_cgroup_reclaim(64);
	return count_present(mem, pages);
}

/*
 * MADV_PAGEOUT leaves alone what others map; reclaim of the control group does not,
 * but wants to see a page unused twice.
 */
void ksm_swap_out(char *mem, size_t pages)
{
	size_t i;

	ksm_await(!ksm_push_out(mem, pages), 30, "%zu of %zu pages stay in memory",
		  count_present(mem, pages), pages);
	for (i = 0; i < pages; i++)
		ksm_check(ksm_swapped(mem + i * psize()), "page %zu is not in swap", i);
}

int ksm_idle_open(void)
{
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		ksm_skip("/sys/kernel/mm/page_idle/bitmap: %m");
	return fd;
}

bool ksm_idle_set(int fd, unsigned long pfn)
{
	u64 word = 1ULL << pfn % 64;
	ssize_t done = pwrite(fd, &word, 8, pfn / 64 * 8);

	ksm_check(done == 8 || !done, "page_idle takes %zd bytes: %m", done);
	return done;
}

bool ksm_is_idle(int fd, unsigned long pfn)
{
	u64 word;

	ksm_check_eq(pread(fd, &word, 8, pfn / 64 * 8), 8);
	return word >> pfn % 64 & 1;
}

/* The kernel flushes all rather than many single pages. */
void ksm_flush_tlb(void)
{
	char *mem = ksm_map(256);

	ksm_fill_unique(mem, 256, 1);
	ksm_unmap(mem, 256);
}

void ksm_pipe_fill(int ends[2], char *mem, size_t pages)
{
	struct iovec range = { .iov_base = mem, .iov_len = pages * psize() };

	ksm_check_sys(pipe2(ends, O_CLOEXEC));
	ksm_check_eq(vmsplice(ends[1], &range, 1, 0), pages * psize());
}

static int uffd_with(u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0)
		ksm_skip("userfaultfd: %m");
	if (ioctl(uffd, UFFDIO_API, &api))
		ksm_skip("userfaultfd has no write protection: %m");
	return uffd;
}

int ksm_uffd_open(void)
{
	return uffd_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
}

int ksm_uffd_open_async(void)
{
	return uffd_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC);
}

void ksm_uffd_wp_register(int uffd, char *mem, size_t pages)
{
	int err = uffd_register(uffd, mem, pages * psize(), false, true, false);

	ksm_check(!err, "UFFDIO_REGISTER: %s", strerror(-err));
}

void ksm_uffd_wp(int uffd, char *mem, size_t pages, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)mem, .len = pages * psize() },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	ksm_check_sys(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
}

bool ksm_uffd_wp_is_set(const void *addr)
{
	return ksm_pagemap(0, addr) & PM_UFFD_WP;
}
