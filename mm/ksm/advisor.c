// SPDX-License-Identifier: GPL-2.0
/*
 * Advisor: chooses pages_to_scan so that a round takes as long as asked for.
 *
 * After each round it knows how long that took, and how much of it was CPU time;
 * the arithmetic is policy.c's.
 *
 * Owns who may set pages_to_scan, users or the advisor, and the measurement of a
 * round. Does not know how pages are scanned.
 *
 * Floor 5: knows policy and state.
 */
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched/cputime.h>

#include <trace/events/ksm.h>

#include "advisor.h"
#include "policy.h"

/* Leaf: who sets pages_to_scan. */
static DEFINE_MUTEX(ksm_advisor_lock);

/* The running round began with another number of pages (ksm_advisor_lock). */
static bool changed;

/* ksmd's alone: when the running round began, and ksmd's CPU time then. */
static struct {
	bool	valid;
	u64	wall;
	u64	cpu;
} began;

/* What users ask for. */
static struct ksm_policy_goal current_goal(void)
{
	struct ksm_policy_goal goal = {
		.max_cpu	= READ_ONCE(ksm_state.advisor_max_cpu),
		.min_pages	= READ_ONCE(ksm_state.advisor_min_pages),
		.max_pages	= READ_ONCE(ksm_state.advisor_max_pages),
	};

	if (check_mul_overflow(READ_ONCE(ksm_state.advisor_target), NSEC_PER_SEC, &goal.wall))
		goal.wall = U64_MAX;
	return goal;
}

static void advise(u64 wall, u64 cpu)
{
	struct ksm_policy_round took = {
		.pages	= ksm_state.pages_to_scan,
		.wall	= wall,
		.cpu	= cpu,
	};
	struct ksm_policy_goal goal = current_goal();

	lockdep_assert_held(&ksm_advisor_lock);

	WRITE_ONCE(ksm_state.pages_to_scan, ksm_policy_advise(&took, &goal));
	trace_ksm_advisor(div_u64(wall, NSEC_PER_SEC), ksm_state.pages_to_scan,
			  div64_u64(100 * cpu, max(wall, 1ULL)));
}

/**
 * ksm_advisor_round() - a round begins
 *
 * It is from one round's begin to the next that is measured, the rests included.
 *
 * Context: ksmd.
 */
void ksm_advisor_round(void)
{
	u64 wall = ktime_get_ns(), cpu = task_sched_runtime(current);

	mutex_lock(&ksm_advisor_lock);
	if (began.valid && !changed && ksm_state.advisor_mode == KSM_ADVISOR_SCAN_TIME)
		advise(wall - began.wall, cpu - began.cpu);
	changed = false;
	mutex_unlock(&ksm_advisor_lock);
	began.wall = wall;
	began.cpu = cpu;
	began.valid = true;
}

/**
 * ksm_advisor_pause() - ksmd has nothing to do for a while
 *
 * How long the round takes says nothing then.
 *
 * Context: ksmd.
 */
void ksm_advisor_pause(void)
{
	began.valid = false;
}

/**
 * ksm_advisor_set_pages_to_scan() - set how many pages a batch reads
 * @pages: their number; with 0 ksmd waits
 *
 * Context: Process context.
 * Return: 0; -EINVAL while the advisor sets it.
 */
int ksm_advisor_set_pages_to_scan(unsigned int pages)
{
	int err = 0;

	mutex_lock(&ksm_advisor_lock);
	if (ksm_state.advisor_mode == KSM_ADVISOR_NONE)
		WRITE_ONCE(ksm_state.pages_to_scan, pages);
	else
		err = -EINVAL;
	mutex_unlock(&ksm_advisor_lock);
	return err;
}

/**
 * ksm_advisor_set_mode() - let the advisor set pages_to_scan, or not any more
 * @mode: a value of &enum ksm_advisor_mode
 *
 * The advisor begins at its minimum, or at its maximum where that is less;
 * without it, the default holds until a user says otherwise. Who sets what is set
 * already changes nothing.
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_advisor_set_mode(enum ksm_advisor_mode mode)
{
	struct ksm_policy_goal goal = current_goal();
	unsigned int pages;

	mutex_lock(&ksm_advisor_lock);
	pages = mode == KSM_ADVISOR_NONE ? KSM_DEFAULT_PAGES_TO_SCAN : ksm_policy_within(0, &goal);
	if (mode != ksm_state.advisor_mode) {
		WRITE_ONCE(ksm_state.pages_to_scan, pages);
		changed = true;
	}
	WRITE_ONCE(ksm_state.advisor_mode, mode);
	mutex_unlock(&ksm_advisor_lock);
	return 0;
}

/**
 * ksm_advisor_set_max_cpu() - set how much CPU time ksmd may use
 * @percent: of one CPU, while it is scanning
 *
 * Context: Process context.
 * Return: 0; -EINVAL for 0 and above 100.
 */
int ksm_advisor_set_max_cpu(unsigned int percent)
{
	if (!percent || percent > 100)
		return -EINVAL;
	WRITE_ONCE(ksm_state.advisor_max_cpu, percent);
	return 0;
}

/**
 * ksm_advisor_set_min_pages() - set the least that the advisor may choose
 * @pages: pages in a batch
 *
 * It may be above the maximum, since scripts set the two in any order; the
 * maximum holds then.
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_advisor_set_min_pages(unsigned long pages)
{
	WRITE_ONCE(ksm_state.advisor_min_pages, pages);
	return 0;
}

/**
 * ksm_advisor_set_max_pages() - set the most that the advisor may choose
 * @pages: pages in a batch
 *
 * Context: Process context.
 * Return: 0.
 */
int ksm_advisor_set_max_pages(unsigned long pages)
{
	WRITE_ONCE(ksm_state.advisor_max_pages, pages);
	return 0;
}

/**
 * ksm_advisor_set_target() - set how long a round shall take
 * @seconds: its length
 *
 * Context: Process context.
 * Return: 0; -EINVAL for 0.
 */
int ksm_advisor_set_target(unsigned long seconds)
{
	if (!seconds)
		return -EINVAL;
	WRITE_ONCE(ksm_state.advisor_target, seconds);
	return 0;
}
