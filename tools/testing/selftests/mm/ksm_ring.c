// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ksm_harness.h"
#include "ksm_ring.h"
#include "vm_util.h"

static void *ring_part(struct ksm_ring *ring, size_t len, off_t offset)
{
	void *part = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, offset);

	ksm_check(part != MAP_FAILED, "mmap of the ring: %m");
	return part;
}

void ksm_ring_open(struct ksm_ring *ring)
{
	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, 4, &ring->params);
	if (ring->fd < 0)
		ksm_skip("io_uring: %m");
	ring->sq = ring_part(ring, psize(), IORING_OFF_SQ_RING);
	ring->cq = ring_part(ring, psize(), IORING_OFF_CQ_RING);
	ring->sqes = ring_part(ring, psize(), IORING_OFF_SQES);
}

void ksm_ring_close(struct ksm_ring *ring)
{
	munmap(ring->sq, psize());
	munmap(ring->cq, psize());
	munmap(ring->sqes, psize());
	close(ring->fd);
}

void ksm_ring_register(struct ksm_ring *ring, char *mem, size_t len)
{
	struct iovec range = { .iov_base = mem, .iov_len = len };

	ksm_check_sys(syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &range, 1));
}

void ksm_ring_unregister(struct ksm_ring *ring)
{
	ksm_check_sys(syscall(SYS_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
}

void ksm_ring_read(struct ksm_ring *ring, int fd, char *mem, size_t len, u64 offset)
{
	unsigned int *tail = (unsigned int *)(ring->sq + ring->params.sq_off.tail);
	unsigned int *array = (unsigned int *)(ring->sq + ring->params.sq_off.array);
	unsigned int *head = (unsigned int *)(ring->cq + ring->params.cq_off.head);
	unsigned int slot = *tail % ring->params.sq_entries;
	struct io_uring_cqe *cqe;

	memset(&ring->sqes[slot], 0, sizeof(*ring->sqes));
	ring->sqes[slot].opcode = IORING_OP_READ_FIXED;
	ring->sqes[slot].fd = fd;
	ring->sqes[slot].addr = (uintptr_t)mem;
	ring->sqes[slot].len = len;
	ring->sqes[slot].off = offset;
	array[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ksm_check_eq(syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0),
		     1);
	cqe = (struct io_uring_cqe *)(ring->cq + ring->params.cq_off.cqes);
	ksm_check_eq(cqe[*head % ring->params.cq_entries].res, (int)len);
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
}
