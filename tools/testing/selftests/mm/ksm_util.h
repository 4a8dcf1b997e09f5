/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests of KSM need: its tunables and counters, memory with known content,
 * what the kernel tells about a page, and the machine around it.
 *
 * What a function finds wrong fails the test by ksm_check(), if not said otherwise.
 */
#ifndef KSM_UTIL_H
#define KSM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/mman.h>
#include <linux/prctl.h>

#include "ksm_harness.h"
#include "vm_util.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* Tunables and counters (ksm_util.c) */
#define KSM_DIR		"/sys/kernel/mm/ksm/"
#define KSM_TUNABLES	24

struct ksm_tunables {
	unsigned int count;
	struct {
		char name[64];
		char value[32];
	} knob[KSM_TUNABLES];
};

void ksm_tunables_save(struct ksm_tunables *all);
void ksm_tunables_restore(const struct ksm_tunables *all);
void ksm_tunables_for_tests(void);

bool ksm_has_knob(const char *name);
int ksm_knob_write(const char *name, const char *text);		/* 0 or -errno */
void ksm_knob_set(const char *name, unsigned long value);
long ksm_knob_get(const char *name);
void ksm_need_knob(const char *name);				/* or skip */

void ksm_run(void);
void ksm_stop(void);
void ksm_unmerge_all(void);

/* After this, everything that was there before has been seen @scans times. */
void ksm_wait_scans(unsigned int scans);

/* How often ksmd may go round before a merge counts as missed. */
#define KSM_MERGE_SCANS	12

/* A file's whole text. Return: length or -errno; always terminated. */
ssize_t ksm_read_text(const char *path, char *text, size_t size);
int ksm_write_text(const char *path, const char *text);		/* 0 or -errno */

/* Memory (ksm_util.c): every mapping is a VMA of its own, between guard pages. */
char *ksm_map(size_t pages);
void ksm_unmap(char *mem, size_t pages);
char *ksm_map_huge(size_t bytes);				/* or skip; populated with zeros */

void ksm_fill(void *mem, size_t len, u64 seed);
void ksm_fill_page(void *page, u64 seed);
void ksm_fill_equal(char *mem, size_t pages, u64 seed);
void ksm_fill_unique(char *mem, size_t pages, u64 seed);
void ksm_verify_equal(const char *mem, size_t pages, u64 seed);
void ksm_verify_unique(const char *mem, size_t pages, u64 seed);
/* Return: offset of the first wrong byte, or @len */
size_t ksm_compare(const void *mem, size_t len, u64 seed, unsigned char *expected);
void __noreturn ksm_wrong_byte(const char *at, unsigned char expected);

void ksm_mergeable(char *mem, size_t pages);
void ksm_unmergeable(char *mem, size_t pages);
char *ksm_map_equal(size_t pages, u64 seed);		/* filled and offered */
char *ksm_map_unique(size_t pages, u64 seed);

/* ksmd goes round until so many pages of the mapping are KSM pages. */
void ksm_expect(const char *mem, size_t pages, size_t want);
void ksm_expect_of(pid_t pid, const char *mem, size_t pages, size_t want);
/* The same for all of its pages; then ksmd is stopped. */
void ksm_merge(const char *mem, size_t pages);
/* ksmd goes round, and proves it by merging a pair; none of these pages may merge. */
void ksm_expect_none(const char *mem, size_t pages);

/* What the kernel tells (ksm_proc.c); pid 0 is oneself */
struct ksm_area {
	unsigned int	vmas;
	size_t		ksm;		/* pages, by the smaps line KSM */
	size_t		huge;		/* pages mapped as huge pages */
	size_t		swapped;
	long		pkey;		/* of the first VMA, or -1 */
	char		flags[256];	/* VmFlags of the first VMA */
};

void ksm_area(pid_t pid, const void *mem, size_t pages, struct ksm_area *area);
size_t ksm_ksm_pages(const void *mem, size_t pages);
bool ksm_vma_has(const void *mem, const char *flag);

u64 ksm_pagemap(pid_t pid, const void *addr);
unsigned long ksm_pfn(const void *addr);			/* 0: not present */
unsigned long ksm_pfn_of(pid_t pid, const void *addr);
bool ksm_swapped(const void *addr);
u64 ksm_kpageflags(unsigned long pfn);

long ksm_vmstat(const char *name);
long ksm_stat(pid_t pid, const char *name);			/* -1: no such line */
long ksm_merging_pages(pid_t pid);
pid_t ksm_find_ksmd(void);

/* The machine (ksm_sys.c) */
int ksm_find_nodes(int node[2]);				/* how many, up to 2 */
void ksm_two_nodes(int node[2]);				/* or skip */
int ksm_node_of(const void *addr);				/* of a present page */
long ksm_bind(char *mem, size_t pages, int node);
int ksm_move_page(pid_t pid, const void *addr, int node);	/* its node, or -errno */

unsigned long ksm_free_swap_kib(void);
void ksm_need_swap(void);					/* or skip */
void ksm_cgroup_enter(const char *name);			/* or skip */
void ksm_cgroup_write(const char *file, const char *text);
long ksm_cgroup_stat(const char *name);
void ksm_cgroup_reclaim(unsigned int mib);
/* One round of reclaim. Return: how many pages are still in memory. */
size_t ksm_push_out(char *mem, size_t pages);
/* All pages go to swap. Fails when some stay. */
void ksm_swap_out(char *mem, size_t pages);

void ksm_flush_tlb(void);					/* this process's, on all CPUs */

int ksm_uffd_open(void);					/* or skip */
void ksm_uffd_wp_register(int uffd, char *mem, size_t pages);
void ksm_uffd_wp(int uffd, char *mem, size_t pages, bool protect);
bool ksm_uffd_wp_is_set(const void *addr);

/*
 * Processes that have equal pages (ksm_sharer.c), each at an address of its own.
 * The test gives them orders, one at a time; an order is done when its call returns.
 */
struct ksm_sharer {
	struct ksm_kid	kid;
	char		*mem;
	size_t		pages;
};

enum ksm_order {
	KSM_VERIFY,		/* every byte, against a seed */
	KSM_FILL,		/* with the pages of a seed */
	KSM_ADVISE,		/* madvise() the whole mapping */
	KSM_SWAP_OUT,
	KSM_FLUSH_TLB,
	KSM_FORK,		/* have a child, which then gets the orders for KSM_CHILD */
	KSM_QUIT,
	KSM_CHILD = 0x100,	/* added to an order: not you, your child */
};

void ksm_sharers_start(struct ksm_sharer *all, unsigned int count, size_t pages, u64 seed);
void ksm_sharers_merge(struct ksm_sharer *all, unsigned int count);
void ksm_sharer_do(struct ksm_sharer *sharer, int order, u64 arg);
void ksm_sharers_do(struct ksm_sharer *all, unsigned int count, int order, u64 arg);
void ksm_sharers_end(struct ksm_sharer *all, unsigned int count);

static inline int ksm_prctl_merge(unsigned long on)
{
	return syscall(SYS_prctl, PR_SET_MEMORY_MERGE, on, 0, 0, 0);
}

#endif
