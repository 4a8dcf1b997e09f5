// SPDX-License-Identifier: GPL-2.0
/*
 * A worker's life: threads, children, programs it starts.
 *
 * Two threads, a region for each and one for both.  In the common region each
 * thread owns one half of every page, so that both write to the same pages while
 * these are merged, copied and moved.  What changes mappings of the common region
 * excludes the other thread by a lock; in its own region a thread takes none, and
 * there forks, scans and reclaim meet writes at any time.
 *
 * Floor 7: knows all operations, and who does them.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "ksm_worker.h"

#define CHILD_OPS	40
#define CHILD_DEPTH	2

/* Against each other */
static const unsigned int weights[NR_WORKER_OPS] = {
	[OP_WRITE] = 30000, [OP_WRITE_REMOTE] = 3000, [OP_WRITE_SYSCALL] = 3000,
	[OP_HAMMER] = 400, [OP_VERIFY] = 40000, [OP_DISCARD] = 2000, [OP_FREE] = 2000,
	[OP_MAP_ANEW] = 1000, [OP_UNMERGE] = 1500, [OP_OFFER] = 5000, [OP_MOVE] = 500,
	[OP_EXCHANGE] = 2000, [OP_PROTECT] = 2000, [OP_PAGE_OUT] = 2000, [OP_HUGE] = 300,
	[OP_LOCK] = 500, [OP_PIN] = 2000, [OP_MIGRATE] = 1500, [OP_PRCTL] = 100,
	[OP_FORK] = 1200, [OP_EXEC] = 400,
};

static void open_pipe(struct task *task)
{
	ksm_check_sys(pipe2(task->pipe, O_CLOEXEC));
}

static void note_child(struct task *task, unsigned int slot, int status)
{
	task->child[slot] = 0;
	/* It has said what is wrong. */
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	ksm_check(!status, "a child was killed by signal %d", WTERMSIG(status));
}

static void reap(struct task *task, unsigned int slot, bool wait)
{
	int status;
	pid_t pid;

	if (!task->child[slot])
		return;
	pid = ksm_check_sys(waitpid(task->child[slot], &status, wait ? 0 : WNOHANG));
	if (pid)
		note_child(task, slot, status);
}

static void reap_all(struct task *task, bool wait)
{
	unsigned int slot;

	for (slot = 0; slot < CHILDREN; slot++)
		reap(task, slot, wait);
}

static void work(struct task *task, unsigned int ops, u64 end);

static void verify_everything(struct task *task)
{
	worker_verify(task, &task->own);
	worker_verify(task, &task->worker->common);
}

/* Only this thread is left in the child; the other's own region is in any state. */
static void become_child(struct task *task)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	task->depth++;
	task->random ^= getpid() * 0x9e3779b97f4a7c15ULL;
	memset(task->child, 0, sizeof(task->child));
	close(task->pipe[0]);
	close(task->pipe[1]);
	open_pipe(task);
}

/* With the lock held for writing, so that the common region is whole in the child. */
static pid_t fork_whole(struct task *task)
{
	pid_t pid;

	if (!task->depth)
		pthread_rwlock_wrlock(&task->worker->lock);
	pid = fork();
	if (pid && !task->depth)
		pthread_rwlock_unlock(&task->worker->lock);
	ksm_check(pid >= 0 || errno == ENOMEM || errno == EAGAIN, "fork: %m");
	if (!pid)
		become_child(task);
	return pid;
}

static void fork_and_work(struct task *task)
{
	unsigned int slot = worker_draw(task, CHILDREN);
	pid_t pid;

	reap(task, slot, true);
	pid = fork_whole(task);
	if (!pid) {
		work(task, worker_draw(task, CHILD_OPS), task->worker->end);
		reap_all(task, true);
		if (!worker_draw(task, 4))
			verify_everything(task);
		_exit(0);
	}
	task->child[slot] = pid > 0 ? pid : 0;
}

static void fork_and_exec(struct task *task)
{
	unsigned int slot = worker_draw(task, CHILDREN);
	char seed[32];
	pid_t pid;

	reap(task, slot, true);
	pid = fork_whole(task);
	if (!pid) {
		if (worker_draw(task, 2))
			ksm_prctl_merge(1);
		snprintf(seed, sizeof(seed), "%llu", task->random);
		execl("/proc/self/exe", "ksm_stress", "--after-exec", seed, NULL);
		ksm_check(errno == ENOMEM, "exec: %m");
		_exit(0);
	}
	task->child[slot] = pid > 0 ? pid : 0;
}

static enum worker_op choose_op(struct task *task)
{
	unsigned int total = 0, i;
	u64 at;

	for (i = 0; i < NR_WORKER_OPS; i++)
		total += weights[i];
	at = worker_draw(task, total);
	for (i = 0; at >= weights[i]; i++)
		at -= weights[i];
	return i;
}

static void do_op(struct task *task, enum worker_op op)
{
	if (op == OP_FORK)
		fork_and_work(task);
	else if (op == OP_EXEC)
		fork_and_exec(task);
	else
		worker_do(task, op);
	__atomic_fetch_add(&task->worker->stats->ops[op], 1, __ATOMIC_RELAXED);
}

static void work(struct task *task, unsigned int ops, u64 end)
{
	while (ops-- && ksm_now_ms() < end &&
	       !__atomic_load_n(&task->worker->stats->stop, __ATOMIC_RELAXED)) {
		enum worker_op op = choose_op(task);

		if ((op == OP_FORK || op == OP_EXEC) && task->depth >= CHILD_DEPTH)
			continue;
		do_op(task, op);
		reap_all(task, false);
	}
}

static void *work_in_thread(void *arg)
{
	struct task *task = arg;

	work(task, -1, task->worker->end);
	reap_all(task, true);
	worker_verify(task, &task->own);
	return NULL;
}

static struct worker *new_worker(struct worker_stats *stats, u64 seed, u64 end)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	unsigned int i;

	ksm_check(worker, "out of memory");
	worker->stats = stats;
	worker->end = end;
	ksm_find_nodes(worker->node);
	pthread_rwlock_init(&worker->lock, NULL);
	pthread_mutex_init(&worker->holes, NULL);
	worker_map_region(&worker->common);
	for (i = 0; i < THREADS; i++) {
		struct task *task = &worker->task[i];

		task->worker = worker;
		task->number = i;
		task->random = (seed + i + 1) * 0x9e3779b97f4a7c15ULL | 1;
		worker_map_region(&task->own);
		open_pipe(task);
	}
	return worker;
}

void worker_run(struct worker_stats *stats, u64 seed, u64 end)
{
	struct worker *worker = new_worker(stats, seed, end);
	struct task *task = worker->task;
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		ksm_check(!pthread_create(&task[i].thread, NULL, work_in_thread, &task[i]),
			  "no thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(task[i].thread, NULL);
	for (i = 0; i < THREADS; i++)
		worker_verify(&task[i], &worker->common);
}

void worker_run_after_exec(u64 seed)
{
	static struct worker_stats stats;
	struct worker *worker = new_worker(&stats, seed, ksm_now_ms() + 5000);
	struct task *task = &worker->task[0];

	/* No children: they might start programs, and these have children, and so on. */
	task->depth = CHILD_DEPTH;
	work(task, 3 * CHILD_OPS, worker->end);
	reap_all(task, true);
	verify_everything(task);
}
