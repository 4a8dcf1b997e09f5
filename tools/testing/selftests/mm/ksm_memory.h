/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory whose every byte is known.  Every mapping is a VMA of its own, between
 * guard pages.
 */
#ifndef KSM_MEMORY_H
#define KSM_MEMORY_H

#include "ksm_check.h"

char *ksm_map(size_t pages);
void ksm_unmap(char *mem, size_t pages);
char *ksm_place(size_t pages);					/* between guard pages: nothing */
char *ksm_map_huge(size_t bytes);				/* or skip; populated with zeros */

void ksm_fill(void *mem, size_t len, u64 seed);
void ksm_fill_page(void *page, u64 seed);
void ksm_fill_equal(char *mem, size_t pages, u64 seed);
void ksm_fill_unique(char *mem, size_t pages, u64 seed);
void ksm_verify_equal(const char *mem, size_t pages, u64 seed);
void ksm_verify_unique(const char *mem, size_t pages, u64 seed);
void ksm_verify_zeros(const char *mem, size_t pages);
/* Return: offset of the first wrong byte, or @len */
size_t ksm_compare(const void *mem, size_t len, u64 seed, unsigned char *expected);
void __noreturn ksm_wrong_byte(const char *at, unsigned char expected);

void ksm_mergeable(char *mem, size_t pages);
void ksm_unmergeable(char *mem, size_t pages);
char *ksm_map_equal(size_t pages, u64 seed);		/* filled and offered */
char *ksm_map_unique(size_t pages, u64 seed);
char *ksm_map_zeros(size_t pages);

#endif
