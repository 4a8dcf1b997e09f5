// SPDX-License-Identifier: GPL-2.0
/*
 * What goes past a PTE that ksmd believes: it is found all the same, in time, and
 * contents are compared in any case.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#ifdef __x86_64__
#include <linux/kvm.h>
#endif

#include "ksm_clean.h"
#include "ksm_ring.h"
#include "ksm_util.h"

#define PAGES	KSM_CLEAN_PAGES
#define REREAD	4
#define NEVER	1000000007	/* rounds: in no test is a page read that need not be */

static void write_by_proc_mem(char *page, char *content)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	ksm_check(fd >= 0, "/proc/self/mem: %m");
	ksm_check_eq(pwrite64(fd, content, psize(), (unsigned long)page), psize());
	close(fd);
}

static void write_by_writev(char *page, char *content)
{
	struct iovec from = { content, psize() }, to = { page, psize() };
	ssize_t done = syscall(SYS_process_vm_writev, getpid(), &from, 1L, &to, 1L, 0L);

	ksm_check_eq(done, psize());
}

/* A disk in memory; or skip. */
static int open_disk(void)
{
	char text[32], path[64];
	int id, fd;

	if (ksm_read_text("/sys/class/zram-control/hot_add", text, sizeof(text)) < 0)
		ksm_skip("no disk can be made of zram");
	id = atoi(text);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", id);
	ksm_check_eq(ksm_write_text(path, "1048576"), 0);
	snprintf(path, sizeof(path), "/dev/zram%d", id);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		ksm_skip("%s: %m", path);
	return fd;
}

static void write_by_direct_io(char *page, char *content)
{
	int fd = open_disk();

	ksm_check_eq(pwrite(fd, content, psize(), 0), psize());
	ksm_check_eq(pread(fd, page, psize(), 0), psize());
	close(fd);
}

/* The page is pinned for it, and let go of. */
static void write_by_io_uring(char *page, char *content)
{
	int fd = ksm_check_sys(memfd_create("ksm", MFD_CLOEXEC));
	struct ksm_ring ring;

	ksm_check_eq(pwrite(fd, content, psize(), 0), psize());
	ksm_ring_open(&ring);
	ksm_ring_register(&ring, page, psize());
	ksm_ring_read(&ring, fd, page, psize(), 0);
	ksm_ring_unregister(&ring);
	ksm_ring_close(&ring);
	close(fd);
}

static void write_by_vmsplice(char *page, char *content)
{
	struct iovec to = { page, psize() };
	int ends[2];

	ksm_check_sys(pipe2(ends, O_CLOEXEC));
	ksm_check_eq(write(ends[1], content, psize()), psize());
	ksm_check_eq(vmsplice(ends[0], &to, 1, 0), psize());
	close(ends[0]);
	close(ends[1]);
}

#ifdef __x86_64__
/* A guest of one page of code, which copies a page to another and halts. */
struct guest {
	int		kvm;
	int		vm;
	int		cpu;
	struct kvm_run	*run;
	size_t		run_size;
};

static const unsigned char code[] = {
	0xb8, 0x00, 0x01,	/* mov $0x100, %ax */
	0x8e, 0xd8,		/* mov %ax, %ds */
	0xb8, 0x00, 0x02,	/* mov $0x200, %ax */
	0x8e, 0xc0,		/* mov %ax, %es */
	0x31, 0xf6,		/* xor %si, %si */
	0x31, 0xff,		/* xor %di, %di */
	0xb9, 0x00, 0x08,	/* mov $0x800, %cx */
	0xfc,			/* cld */
	0xf3, 0xa5,		/* rep movsw */
	0xf4,			/* hlt */
};

static void guest_memory(const struct guest *guest, unsigned int slot, char *page)
{
	struct kvm_userspace_memory_region region = {
		.slot			= slot,
		.guest_phys_addr	= slot * psize(),
		.memory_size		= psize(),
		.userspace_addr		= (uintptr_t)page,
	};

	ksm_check_sys(ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region));
}

/* From here on the process has page tables beside its own. */
static void guest_open(struct guest *guest, char *page, char *content)
{
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	char *text = ksm_map(1);

	guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (guest->kvm < 0)
		ksm_skip("/dev/kvm: %m");
	guest->vm = ksm_check_sys(ioctl(guest->kvm, KVM_CREATE_VM, 0UL));
	ksm_check_sys(ioctl(guest->vm, KVM_SET_TSS_ADDR, 0xfffbd000UL));
	memcpy(text, code, sizeof(code));
	guest_memory(guest, 0, text);
	guest_memory(guest, 1, content);
	guest_memory(guest, 2, page);

	guest->cpu = ksm_check_sys(ioctl(guest->vm, KVM_CREATE_VCPU, 0UL));
	guest->run_size = ksm_check_sys(ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL));
	guest->run = mmap(NULL, guest->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->cpu, 0);
	ksm_check(guest->run != MAP_FAILED, "mmap of a guest's CPU: %m");
	ksm_check_sys(ioctl(guest->cpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	ksm_check_sys(ioctl(guest->cpu, KVM_SET_SREGS, &sregs));
	ksm_check_sys(ioctl(guest->cpu, KVM_SET_REGS, &regs));
}

static void guest_write(struct guest *guest)
{
	ksm_check_sys(ioctl(guest->cpu, KVM_RUN, 0UL));
	ksm_check_eq(guest->run->exit_reason, KVM_EXIT_HLT);
}

static void guest_close(struct guest *guest)
{
	munmap(guest->run, guest->run_size);
	close(guest->cpu);
	close(guest->vm);
	close(guest->kvm);
}

static void write_by_guest(char *page, char *content)
{
	struct guest guest;

	guest_open(&guest, page, content);
	guest_write(&guest);
	guest_close(&guest);
}
#endif

static char *content_of(u64 seed)
{
	char *content = ksm_map(1);

	ksm_fill_page(content, seed);
	return content;
}

/* A page becomes equal to another behind its PTE: in time that is found, and they merge. */
static void found_in_time(void (*write_page)(char *page, char *content))
{
	char *mem = ksm_map_clean(), *content = content_of(KSM_CLEAN_SEED);

	ksm_knob_set("reread_rounds", REREAD);
	ksm_stop();
	write_page(mem + 5 * psize(), content);
	ksm_run();
	/* To be read; to have held; to be met by the other. */
	ksm_wait_scans(REREAD + 2);
	ksm_stop();
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 2);
	ksm_check_eq(ksm_pfn(mem), ksm_pfn(mem + 5 * psize()));
	ksm_verify_equal(mem + 5 * psize(), 1, KSM_CLEAN_SEED);
	ksm_verify_clean(mem, 0, 5);
	ksm_verify_clean(mem, 6, PAGES);
}

/* A page is not any more what is remembered of it, and another is now: they stay apart. */
static void not_merged_by_memory(void (*write_page)(char *page, char *content))
{
	char *mem = ksm_map_clean(), *content = content_of(7);

	ksm_knob_set("reread_rounds", NEVER);
	ksm_stop();
	write_page(mem + 5 * psize(), content);
	ksm_fill_page(mem + 9 * psize(), KSM_CLEAN_SEED + 5);
	ksm_run();
	ksm_wait_scans(4);
	ksm_stop();
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 0);
	ksm_verify_equal(mem + 5 * psize(), 1, 7);
	ksm_verify_equal(mem + 9 * psize(), 1, KSM_CLEAN_SEED + 5);
}

static void what_proc_mem_writes_is_found(void)
{
	found_in_time(write_by_proc_mem);
}

static void what_proc_mem_writes_is_compared(void)
{
	not_merged_by_memory(write_by_proc_mem);
}

static void what_process_vm_writev_writes_is_found(void)
{
	found_in_time(write_by_writev);
}

static void what_process_vm_writev_writes_is_compared(void)
{
	not_merged_by_memory(write_by_writev);
}

static void what_direct_io_reads_is_found(void)
{
	found_in_time(write_by_direct_io);
}

static void what_direct_io_reads_is_compared(void)
{
	not_merged_by_memory(write_by_direct_io);
}

static void what_io_uring_reads_is_found(void)
{
	found_in_time(write_by_io_uring);
}

static void what_io_uring_reads_is_compared(void)
{
	not_merged_by_memory(write_by_io_uring);
}

static void what_vmsplice_brings_is_found(void)
{
	found_in_time(write_by_vmsplice);
}

static void what_vmsplice_brings_is_compared(void)
{
	not_merged_by_memory(write_by_vmsplice);
}

#ifdef __x86_64__
static void what_a_guest_has_written_is_found(void)
{
	found_in_time(write_by_guest);
}

static void what_a_guest_has_written_is_compared(void)
{
	not_merged_by_memory(write_by_guest);
}

/* Where there is a guest no PTE is believed. */
static void what_a_guest_writes_is_found_at_once(void)
{
	char *mem = ksm_map_clean(), *content = content_of(KSM_CLEAN_SEED);
	struct guest guest;

	ksm_knob_set("reread_rounds", NEVER);
	guest_open(&guest, mem + 5 * psize(), content);
	ksm_wait_scans(2);
	guest_write(&guest);
	ksm_wait_scans(3);
	ksm_stop();
	ksm_check_eq(ksm_ksm_pages(mem, PAGES), 2);
	ksm_verify_equal(mem + 5 * psize(), 1, KSM_CLEAN_SEED);
	ksm_verify_clean(mem, 0, 5);
	ksm_verify_clean(mem, 6, PAGES);
	/* It gets a page of its own again when it writes. */
	ksm_fill_page(content, 7);
	ksm_check_sys(ioctl(guest.cpu, KVM_SET_REGS, &(struct kvm_regs) { .rflags = 2 }));
	guest_write(&guest);
	ksm_verify_equal(mem + 5 * psize(), 1, 7);
	ksm_verify_clean(mem, 0, 5);
	guest_close(&guest);
}
#endif

static const struct ksm_test tests[] = {
	KSM_TEST(what_proc_mem_writes_is_found),
	KSM_TEST(what_proc_mem_writes_is_compared),
	KSM_TEST(what_process_vm_writev_writes_is_found),
	KSM_TEST(what_process_vm_writev_writes_is_compared),
	KSM_TEST(what_direct_io_reads_is_found),
	KSM_TEST(what_direct_io_reads_is_compared),
	KSM_TEST(what_io_uring_reads_is_found),
	KSM_TEST(what_io_uring_reads_is_compared),
	KSM_TEST(what_vmsplice_brings_is_found),
	KSM_TEST(what_vmsplice_brings_is_compared),
#ifdef __x86_64__
	KSM_TEST(what_a_guest_has_written_is_found),
	KSM_TEST(what_a_guest_has_written_is_compared),
	KSM_TEST(what_a_guest_writes_is_found_at_once),
#endif
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
