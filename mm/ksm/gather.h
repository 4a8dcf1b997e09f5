/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_GATHER_H
#define _MM_KSM_GATHER_H

#include "types.h"

bool ksm_gather_wants(const struct ksm_node *node);
int ksm_gather_page(struct ksm_offer *offer);

#endif /* _MM_KSM_GATHER_H */
