/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The smallest io_uring: one request at a time, with buffers that it has pinned.
 */
#ifndef KSM_RING_H
#define KSM_RING_H

#include <linux/io_uring.h>

#include "ksm_check.h"

struct ksm_ring {
	int				fd;
	struct io_uring_params		params;
	char				*sq;
	char				*cq;
	struct io_uring_sqe		*sqes;
};

void ksm_ring_open(struct ksm_ring *ring);			/* or skip */
void ksm_ring_close(struct ksm_ring *ring);
void ksm_ring_register(struct ksm_ring *ring, char *mem, size_t len);
void ksm_ring_unregister(struct ksm_ring *ring);
/* Into memory that is registered: the kernel writes to the pages it has pinned. */
void ksm_ring_read(struct ksm_ring *ring, int fd, char *mem, size_t len, u64 offset);

#endif
