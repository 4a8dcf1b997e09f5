// SPDX-License-Identifier: GPL-2.0-only
/*
 * Archive: the files to load, read straight from a tar archive.
 *
 * Reads past the page cache (O_DIRECT) where it can: the cache would hold one
 * more copy of everything, and a verification should see the disk.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "share.h"

#define BLOCK 512UL
#define ALIGN 4096UL
#define WINDOW (1024 * 1024UL)

struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
	char type, linkname[100], magic[6], version[2], uname[32], gname[32];
	char devmajor[8], devminor[8], prefix[155], pad[12];
};

/* A window into the archive that follows pos. */
struct stream {
	int		fd;
	char		*window;
	__u64	start;
	__u64	fill;
	__u64	pos;
};

static int stream_open(struct stream *stream, const char *path)
{
	memset(stream, 0, sizeof(*stream));
	stream->fd = open(path, O_RDONLY | O_DIRECT);
	if (stream->fd < 0)
		stream->fd = open(path, O_RDONLY);
	if (stream->fd < 0)
		return trouble("cannot open %s: %m", path);
	stream->window = aligned_alloc(ALIGN, WINDOW);
	if (!stream->window) {
		close(stream->fd);
		return trouble("no memory to read %s", path);
	}
	return 0;
}

static void stream_close(struct stream *stream)
{
	posix_fadvise(stream->fd, 0, 0, POSIX_FADV_DONTNEED);
	close(stream->fd);
	free(stream->window);
}

/* How many bytes can be read at pos without moving the window: at least one, or -1. */
static ssize_t stream_peek(struct stream *stream, const char **bytes)
{
	ssize_t got;

	if (stream->pos < stream->start || stream->pos >= stream->start + stream->fill) {
		stream->start = stream->pos & ~(ALIGN - 1);
		stream->fill = 0;
		got = pread(stream->fd, stream->window, WINDOW, stream->start);
		if (got < 0)
			return trouble("cannot read the archive at %llu: %m",
				       stream->start);
		stream->fill = got;
	}
	if (stream->pos >= stream->start + stream->fill)
		return trouble("the archive ends too early");
	*bytes = stream->window + (stream->pos - stream->start);
	return stream->start + stream->fill - stream->pos;
}

static int stream_block(struct stream *stream, void *block)
{
	const char *bytes;
	ssize_t have = stream_peek(stream, &bytes);

	if (have < 0)
		return -1;
	if (have < (ssize_t)BLOCK)
		return trouble("the archive ends in the middle of a block");
	memcpy(block, bytes, BLOCK);
	stream->pos += BLOCK;
	return 0;
}

static __u64 padded(__u64 size)
{
	return (size + BLOCK - 1) & ~(BLOCK - 1);
}

static __u64 from_octal(const char *digits, size_t length)
{
	char text[16] = "";

	memcpy(text, digits, length);
	return strtoull(text, NULL, 8);
}

static bool checksum_agrees(const struct tar_header *header)
{
	const unsigned char *bytes = (const unsigned char *)header;
	size_t at = offsetof(struct tar_header, checksum);
	unsigned long sum = 0;
	size_t i;

	for (i = 0; i < BLOCK; i++)
		sum += i >= at && i < at + sizeof(header->checksum) ? ' ' : bytes[i];
	return sum == from_octal(header->checksum, sizeof(header->checksum));
}

/* 1: header stands for a file, described in file; 0: the archive ends here. */
static int next_file(struct stream *stream, struct archive_file *file)
{
	char longname[BLOCK] = "";
	struct tar_header header;

	for (;;) {
		if (stream_block(stream, &header))
			return -1;
		if (!header.name[0])
			return 0;
		if (!checksum_agrees(&header) || (header.size[0] & 0x80))
			return trouble("no tar archive, or damaged, at byte %llu",
				       (stream->pos - BLOCK));
		file->size = from_octal(header.size, sizeof(header.size));
		if (header.type == '0' || header.type == '\0')
			break;
		if (header.type == 'L') {	/* the next file's name, as it does not fit */
			if (stream_block(stream, longname))
				return -1;
			stream->pos -= BLOCK;
		}
		stream->pos += padded(file->size);
	}
	if (longname[0])
		snprintf(file->name, sizeof(file->name), "%.250s", longname);
	else
		snprintf(file->name, sizeof(file->name), "%.100s", header.name);
	return 1;
}

static int visit_file(struct stream *stream, const struct archive_file *file,
		      archive_visit visit, void *ctx)
{
	__u64 end = stream->pos + padded(file->size);
	__u64 offset = 0;
	const char *bytes;
	ssize_t have;

	while (offset < file->size) {
		have = stream_peek(stream, &bytes);
		if (have < 0)
			return -1;
		if ((__u64)have > file->size - offset)
			have = file->size - offset;
		if (visit(ctx, file, offset, bytes, have))
			return -1;
		offset += have;
		stream->pos += have;
	}
	stream->pos = end;
	return 0;
}

static int walk(const char *path, archive_visit visit, void *ctx, struct archive_totals *totals)
{
	struct archive_file file;
	struct stream stream;
	int more;

	memset(totals, 0, sizeof(*totals));
	if (stream_open(&stream, path))
		return -1;
	while ((more = next_file(&stream, &file)) > 0) {
		file.page = totals->pages;
		totals->files++;
		totals->bytes += file.size;
		totals->pages += (file.size + page_size - 1) / page_size;
		if (!visit)
			stream.pos += padded(file.size);
		else if (visit_file(&stream, &file, visit, ctx))
			more = -1;
		if (more < 0)
			break;
	}
	stream_close(&stream);
	return more;
}

int archive_walk(const char *path, archive_visit visit, void *ctx)
{
	struct archive_totals totals;

	return walk(path, visit, ctx, &totals);
}

int archive_measure(const char *path, struct archive_totals *totals)
{
	if (walk(path, NULL, NULL, totals))
		return -1;
	return totals->pages ? 0 : trouble("%s holds no data", path);
}
