/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_SIEVE_H
#define _MM_KSM_SIEVE_H

#include <linux/types.h>

void ksm_sieve_turn(unsigned long pages);
bool ksm_sieve_is_new(void);
bool ksm_sieve_is_quiet(void);
bool ksm_sieve_has_news(u64 hash);
void ksm_sieve_retry(u64 hash);
void ksm_sieve_stir(u64 hash);
void ksm_sieve_stir_all(void);
void ksm_sieve_prefetch(u64 hash);
bool ksm_sieve_sift(u64 hash);
bool ksm_sieve_passes(u64 hash);
void ksm_sieve_keep(u64 hash);
bool ksm_sieve_worn(unsigned long nodes);
void ksm_sieve_renew(unsigned long nodes);
void ksm_sieve_grow(void);
void ksm_sieve_drop(void);
unsigned long ksm_sieve_bytes(void);

#endif /* _MM_KSM_SIEVE_H */
