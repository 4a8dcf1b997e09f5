// SPDX-License-Identifier: GPL-2.0
/*
 * A file system in user space that answers a read with pages out of a pipe: FUSE takes
 * those that are the pipe's alone for its page cache. A KSM page is never that.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <linux/fuse.h>

#include "ksm_util.h"

/* Files of a page, and what is in the page that answers the read of each. */
enum { PRIVATE = 2, MERGED };

static const char *const names[] = { [PRIVATE] = "private", [MERGED] = "merged" };

/* ------------------------------------------------------------------------ */
/* The file system.                                                         */

static int open_fuse(char *dir)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[80];

	if (fd < 0)
		ksm_skip("/dev/fuse: %m");
	ksm_check(mkdtemp(dir), "mkdtemp: %m");
	ksm_check_sys(unshare(CLONE_NEWNS));
	ksm_check_sys(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	ksm_check_sys(mount("fuse", dir, "fuse", MS_NOSUID | MS_NODEV, options));
	return fd;
}

static void answer(int fuse, u64 unique, int error, const void *data, size_t len)
{
	struct fuse_out_header head = {
		.len	= sizeof(head) + len,
		.error	= error,
		.unique	= unique,
	};
	struct iovec parts[] = { { &head, sizeof(head) }, { (void *)data, len } };

	ksm_check_eq(writev(fuse, parts, len ? 2 : 1), head.len);
}

static void answer_init(int fuse, u64 unique)
{
	struct fuse_init_out out = {
		.major		= FUSE_KERNEL_VERSION,
		.minor		= FUSE_KERNEL_MINOR_VERSION,
		.max_write	= 4096,
	};

	answer(fuse, unique, 0, &out, sizeof(out));
}

static struct fuse_attr attr_of(u64 node)
{
	return (struct fuse_attr) {
		.ino	= node,
		.size	= psize(),
		.mode	= node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444,
		.nlink	= 1,
	};
}

static void answer_lookup(int fuse, u64 unique, const char *name)
{
	struct fuse_entry_out out = { };
	u64 node;

	for (node = PRIVATE; node <= MERGED; node++) {
		if (strcmp(name, names[node]))
			continue;
		out.nodeid = node;
		out.attr = attr_of(node);
		answer(fuse, unique, 0, &out, sizeof(out));
		return;
	}
	answer(fuse, unique, -ENOENT, NULL, 0);
}

/* With a page that nobody else has: the pipe's reference is its last. */
static void answer_read(int fuse, u64 unique, u64 node)
{
	struct fuse_out_header head = { .len = sizeof(head) + psize(), .unique = unique };
	char *mem = ksm_map_equal(2, node);
	struct iovec part = { &head, sizeof(head) }, page = { mem, psize() };
	int ends[2];

	if (node == MERGED)
		ksm_merge(mem, 2);
	/* A page on its way to the LRU has a reference for that. */
	ksm_check(!ksm_write_text("/proc/sys/vm/drop_caches", "1"), "drop_caches");
	ksm_check_sys(pipe(ends));
	ksm_check_eq(vmsplice(ends[1], &part, 1, 0), sizeof(head));
	ksm_check_eq(vmsplice(ends[1], &page, 1, SPLICE_F_GIFT), psize());
	ksm_unmap(mem, 2);
	ksm_check_eq(splice(ends[0], NULL, fuse, NULL, head.len, SPLICE_F_MOVE), head.len);
	close(ends[0]);
	close(ends[1]);
}

/* See to one request; what is not needed here is unknown. */
static void serve(int fuse)
{
	static char request[2 * FUSE_MIN_READ_BUFFER];
	const struct fuse_in_header *in = (void *)request;
	struct fuse_attr_out attr = { .attr = attr_of(1) };
	struct fuse_open_out opened = { };

	ksm_check(read(fuse, request, sizeof(request)) >= (ssize_t)sizeof(*in), "fuse: %m");
	switch (in->opcode) {
	case FUSE_INIT:
		answer_init(fuse, in->unique);
		break;
	case FUSE_LOOKUP:
		answer_lookup(fuse, in->unique, request + sizeof(*in));
		break;
	case FUSE_GETATTR:
		attr.attr = attr_of(in->nodeid);
		answer(fuse, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		answer(fuse, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		answer_read(fuse, in->unique, in->nodeid);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;	/* nobody waits for an answer */
	default:
		answer(fuse, in->unique, -EOPNOTSUPP, NULL, 0);
	}
}

/* ------------------------------------------------------------------------ */
/* Its user.                                                                */

struct file {
	const char	*dir;
	int		fuse;
	u64		node;
};

static void read_file(struct ksm_kid *parent, void *arg)
{
	const struct file *file = arg;
	char path[80], *page = ksm_map(1);
	int fd;

	/* Who waits for an answer must not be what keeps the server's end open. */
	close(file->fuse);
	snprintf(path, sizeof(path), "%s/%s", file->dir, names[file->node]);
	fd = ksm_check_sys(open(path, O_RDONLY | O_CLOEXEC));
	ksm_check_eq(read(fd, page, psize()), psize());
	ksm_verify_equal(page, 1, file->node);
}

/* How often has the kernel said @text since @log was read last? */
static unsigned int count_in_log(int log, const char *text)
{
	static char line[8192];	/* no record is longer */
	unsigned int found = 0;
	ssize_t len;

	do {
		len = read(log, line, sizeof(line) - 1);
		line[len > 0 ? len : 0] = 0;
		found += !!strstr(line, text);
	} while (len > 0 || errno == EPIPE);
	ksm_check_eq(errno, EAGAIN);
	return found;
}

/*
 * FUSE says of the page that it takes that it is not up to date, and then finds that it is
 * none of a file, which it says. An equal page must not join a KSM page in that state:
 * who swaps it in gets SIGBUS.
 */
static void a_KSM_page_is_not_taken_out_of_a_pipe(void)
{
	char dir[] = "/tmp/ksm_fuse_XXXXXX";
	int log = ksm_check_sys(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	struct pollfd request = { .events = POLLIN };
	struct file file = { .dir = dir };
	struct ksm_kid kid;
	int fuse, status;

	fuse = open_fuse(dir);
	request.fd = fuse;
	file.fuse = fuse;
	serve(fuse);	/* the mount's own request */
	for (file.node = PRIVATE; file.node <= MERGED; file.node++) {
		ksm_check_sys(lseek(log, 0, SEEK_END));
		ksm_kid_start(&kid, read_file, &file);
		while (!ksm_kid_gone(&kid, 0, &status))
			if (poll(&request, 1, 100) > 0)
				serve(fuse);
		ksm_check_eq(status, 0);
		ksm_check_eq(count_in_log(log, "trying to steal weird page"),
			     file.node == PRIVATE);
	}
	ksm_check_sys(umount2(dir, MNT_DETACH));
	ksm_check_sys(rmdir(dir));
}

static const struct ksm_test tests[] = {
	KSM_TEST(a_KSM_page_is_not_taken_out_of_a_pipe),
};

int main(int argc, char **argv)
{
	return ksm_suite_main(argc, argv, tests, ARRAY_SIZE(tests));
}
