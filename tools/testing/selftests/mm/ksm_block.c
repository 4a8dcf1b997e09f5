// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks of memory: online, offline, gone.
 *
 * Floor 4: knows memory and the machine, nothing of merging.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "ksm_block.h"
#include "ksm_memory.h"
#include "ksm_proc.h"
#include "ksm_sys.h"
#include "vm_util.h"

#define MEMORY		"/sys/devices/system/memory/"
#define MAX_BLOCKS	65536

static int read_block(unsigned long number, const char *file, char *text, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), MEMORY "memory%lu/%s", number, file);
	return ksm_read_text(path, text, size);
}

static bool has_file(unsigned long number, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), MEMORY "memory%lu/%s", number, file);
	return !access(path, F_OK);
}

static int set_state(const struct ksm_block *block, const char *state)
{
	char path[128];

	snprintf(path, sizeof(path), MEMORY "memory%lu/state", block->number);
	return ksm_write_text(path, state);
}

static int node_of_block(unsigned long number)
{
	char link[32];
	int node;

	for (node = 0; node < 64; node++) {
		snprintf(link, sizeof(link), "node%d", node);
		if (has_file(number, link))
			return node;
	}
	ksm_fail("memory%lu is of no node", number);
}

void ksm_block_online(const struct ksm_block *block)
{
	int err = set_state(block, "online_movable");

	ksm_check(!err, "memory%lu: online_movable: %s", block->number, strerror(-err));
}

/* A block of a DIMM that nobody uses is taken online, for movable pages only. */
struct ksm_block ksm_block_first(void)
{
	struct ksm_block block = { 0 };
	char text[64];

	if (ksm_read_text(MEMORY "block_size_bytes", text, sizeof(text)) < 0)
		ksm_skip("memory cannot be taken offline on this machine");
	block.pages = strtoul(text, NULL, 16) / psize();
	for (; block.number < MAX_BLOCKS; block.number++) {
		if (read_block(block.number, "state", text, sizeof(text)) > 0 &&
		    !strcmp(text, "offline\n") && has_file(block.number, "firmware_node"))
			break;
	}
	if (block.number == MAX_BLOCKS)
		ksm_skip("there is no DIMM with memory that is offline");
	block.node = node_of_block(block.number);
	ksm_block_online(&block);
	return block;
}

bool ksm_block_has(const struct ksm_block *block, unsigned long pfn)
{
	return pfn / block->pages == block->number;
}

size_t ksm_block_count(const struct ksm_block *block, pid_t pid, const char *mem, size_t pages)
{
	size_t i, count = 0;

	for (i = 0; i < pages; i++)
		count += ksm_block_has(block, ksm_pfn_of(pid, mem + i * psize()));
	return count;
}

/* Memory of the block, offered. */
char *ksm_block_map(const struct ksm_block *block, size_t pages, u64 seed)
{
	char *mem = ksm_map(pages);

	ksm_check(!ksm_bind(mem, pages, block->node), "mbind: %m");
	ksm_fill_unique(mem, pages, seed);
	ksm_check_eq(ksm_block_count(block, 0, mem, pages), pages);
	ksm_mergeable(mem, pages);
	return mem;
}

static void wake_up(int sig)
{
}

int ksm_block_offline(const struct ksm_block *block, unsigned int seconds)
{
	struct sigaction action = { .sa_handler = wake_up };
	int err;

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
	err = set_state(block, "offline");
	alarm(0);
	return err;
}

void ksm_block_must_go(const struct ksm_block *block)
{
	int err = ksm_block_offline(block, KSM_OFFLINE_SECONDS * KSM_PATIENCE);

	ksm_check(!err, "memory%lu: offline: %s", block->number, strerror(-err));
}

static bool is_there(const struct ksm_block *block)
{
	return has_file(block->number, "state");
}

void ksm_block_take_out(const struct ksm_block *block)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), MEMORY "memory%lu/firmware_node/eject", block->number);
	err = ksm_write_text(path, "1");
	if (err == -ENOENT || err == -ENODEV)
		ksm_skip("the DIMM cannot be taken out: %s", strerror(-err));
	ksm_check(!err, "%s: %s", path, strerror(-err));
	ksm_await(!is_there(block), KSM_OFFLINE_SECONDS, "memory%lu is still there", block->number);
}
