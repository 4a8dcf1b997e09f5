/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine around KSM: memory nodes, swap and control groups, userfaultfd.
 */
#ifndef KSM_SYS_H
#define KSM_SYS_H

#include "ksm_kid.h"

int ksm_find_nodes(int node[2]);				/* how many, up to 2 */
void ksm_two_nodes(int node[2]);				/* or skip */
int ksm_node_of(const void *addr);				/* of a present page */
int ksm_other_node(pid_t pid, const void *addr);		/* than that of the page; or skip */
long ksm_bind(char *mem, size_t pages, int node);
int ksm_move_page(pid_t pid, const void *addr, int node);	/* its node, or -errno */

unsigned long ksm_free_swap_kib(void);
void ksm_need_swap(void);					/* or skip */
/* Runs in a process of its own, which switches off swap on @path; then it is on again. */
void ksm_swapoff_test(void (*test)(struct ksm_kid *parent, void *path));
void ksm_cgroup_enter(const char *name);			/* or skip */
void ksm_cgroup_write(const char *file, const char *text);
/* A line "name value" of a file; with "" the file is one number. */
long ksm_cgroup_value(const char *file, const char *name);
long ksm_cgroup_stat(const char *name);				/* memory.stat */
void ksm_cgroup_reclaim(unsigned int mib);
/* One round of reclaim. Return: how many pages are still in memory. */
size_t ksm_push_out(char *mem, size_t pages);
/* All pages go to swap. Fails when some stay. */
void ksm_swap_out(char *mem, size_t pages);

int ksm_idle_open(void);					/* page_idle; or skip */
/* False if the machine's memory ends within the 64 pages of a word, which it does not tell. */
bool ksm_idle_set(int fd, unsigned long pfn);
bool ksm_is_idle(int fd, unsigned long pfn);
void ksm_flush_tlb(void);					/* this process's, on all CPUs */
void ksm_pipe_fill(int ends[2], char *mem, size_t pages);	/* it holds the very pages */

int ksm_uffd_open(void);					/* or skip */
int ksm_uffd_open_async(void);	/* who writes to a protected page is noted, and not stopped */
void ksm_uffd_wp_register(int uffd, char *mem, size_t pages);
void ksm_uffd_wp(int uffd, char *mem, size_t pages, bool protect);
bool ksm_uffd_wp_is_set(const void *addr);

#endif
