// SPDX-License-Identifier: GPL-2.0
/*
 * Registered mms, and the cursor that goes round them.
 *
 * The cursor is a list entry of its own between the mms that a round has seen
 * and those that it has not, so nobody who leaves the list has to mend it. An
 * mm that enters is put before the cursor: its turn comes with the next round,
 * and a storm of forks cannot make a round endless. It is put at the very end
 * while nothing is scanned: while everything is being unmerged its pages would
 * be missed else, and a round that was stopped half-way has time for newcomers.
 *
 * A program that offers memory behind the cursor has the round come to its mm
 * once more before it ends. So a full scan has read all that was offered before
 * it ended, and who waits for two of them knows that equal pages have met, if
 * they are new. Where smart_scan is on, an old one is read less often; of one that
 * changes again and again only a part is read at first. How often a round does that
 * is limited.
 *
 * A registration holds the mm_struct (mmgrab), never the address space: who
 * exits must not wait for a scan. A batch therefore announces itself by a use
 * count, and the exit passes through the mmap lock once if there is one.
 *
 * Owns the list, the hash and the dead. Does not know what is remembered of an
 * mm; it frees one only when somebody else has emptied its records.
 *
 * Floor 2: knows state and blocks.
 */
#include <linux/mm.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <trace/events/ksm.h>

#include "block.h"
#include "mms.h"
#include "state.h"

#define MMS_HASH_BITS	10

/* A round comes back at least that often, and as often as there are mms. */
#define RETURNS_MIN	16

/* To one of them at the most so often: who goes on offering waits for the next round. */
#define RETURNS_TO_ONE	4

static DEFINE_HASHTABLE(mms_hash, MMS_HASH_BITS);	/* M */
static LIST_HEAD(mms_list);			/* M */
static LIST_HEAD(mms_dead);			/* M */
static LIST_HEAD(cursor);			/* M */
static unsigned long nr_living;			/* M */
static unsigned int turn;			/* M: number of the round */
static unsigned long returns_left;		/* M: of the round, to mms it has seen */

/* Leaf: who is registered, in use, dead. */
static DEFINE_SPINLOCK(ksm_mms_lock);

static struct kmem_cache *mm_cache;

/**
 * ksm_mms_init() - make the slab and set the cursor
 *
 * Context: Boot.
 * Return: 0 or -ENOMEM.
 */
int __init ksm_mms_init(void)
{
	list_add(&cursor, &mms_list);
	mm_cache = KMEM_CACHE(ksm_mm, 0);
	return mm_cache ? 0 : -ENOMEM;
}

/**
 * ksm_mms_exit() - drop the slab when the start fails
 *
 * Context: Boot; nothing is registered yet.
 */
void __init ksm_mms_exit(void)
{
	kmem_cache_destroy(mm_cache);
	mm_cache = NULL;
}

static struct ksm_mm *lookup(struct mm_struct *mm)
{
	struct mm_slot *slot = mm_slot_lookup(mms_hash, mm);

	return slot ? mm_slot_entry(slot, struct ksm_mm, slot) : NULL;
}

/**
 * ksm_mms_enter() - register an mm
 * @mm: the mm, not registered
 *
 * Context: Process context; may sleep. The caller holds @mm's mmap lock for
 *	    write, so an mm cannot enter twice.
 * Return: 0 or -ENOMEM.
 */
int ksm_mms_enter(struct mm_struct *mm)
{
	struct mm_slot *slot;
	struct ksm_mm *km;
	bool was_empty;

	mmap_assert_write_locked(mm);

	km = mm_slot_alloc(mm_cache);
	if (!km)
		return -ENOMEM;
	ksm_block_init(km);
	mmgrab(mm);

	slot = &km->slot;
	spin_lock(&ksm_mms_lock);
	km->turn = turn;	/* as if seen: it stands before the cursor */
	mm_slot_insert(mms_hash, mm, slot);
	if (READ_ONCE(ksm_state.run) == KSM_RUN_MERGE)
		list_add_tail(&slot->mm_node, &cursor);
	else
		list_add_tail(&slot->mm_node, &mms_list);
	was_empty = !nr_living;
	WRITE_ONCE(nr_living, nr_living + 1);
	spin_unlock(&ksm_mms_lock);

	atomic_long_inc(&ksm_counts.mms);
	set_bit(MMF_VM_MERGEABLE, &mm->flags);
	trace_ksm_enter(mm);
	/* Tested under the lock: two that enter at once cannot both see others. */
	if (was_empty)
		ksm_state_wake();
	return 0;
}

/* End a registration that is on no list any more. */
static void free_mm(struct ksm_mm *km)
{
	ksm_block_end(km);
	mmdrop(ksm_mm_of(km));
	mm_slot_free(mm_cache, km);
	atomic_long_dec(&ksm_counts.mms);
}

/**
 * ksm_mms_leave() - an mm exits: let nobody begin to work on it any more
 * @mm: the mm, registered
 *
 * Context: Process context.
 * Return: What is left to do, see &enum ksm_leave. For KSM_LEAVE_BUSY the
 *	   caller passes through the mmap lock, held for write, to know that no
 *	   batch touches the page tables any more.
 */
enum ksm_leave ksm_mms_leave(struct mm_struct *mm)
{
	enum ksm_leave left = KSM_LEAVE_DONE;
	struct ksm_mm *km;

	spin_lock(&ksm_mms_lock);
	km = lookup(mm);
	if (km) {
		hash_del(&km->slot.hash);
		WRITE_ONCE(nr_living, nr_living - 1);
		WRITE_ONCE(km->exiting, true);
		if (km->users)
			left = KSM_LEAVE_BUSY;
		else if (!ksm_block_none(km))
			left = KSM_LEAVE_BURY;
		if (left == KSM_LEAVE_DONE)
			list_del(&km->slot.mm_node);
		else
			list_move_tail(&km->slot.mm_node, &mms_dead);
	}
	spin_unlock(&ksm_mms_lock);

	clear_bit(MMF_VM_MERGEABLE, &mm->flags);
	trace_ksm_exit(mm);
	if (km && left == KSM_LEAVE_DONE)
		free_mm(km);
	return left;
}

/**
 * ksm_mms_find() - the registration of an mm
 * @mm: the mm
 *
 * Context: Process context. The caller keeps @mm from exiting for as long as
 *	    it uses the answer.
 * Return: The registration, or NULL.
 */
struct ksm_mm *ksm_mms_find(struct mm_struct *mm)
{
	struct ksm_mm *km;

	spin_lock(&ksm_mms_lock);
	km = lookup(mm);
	spin_unlock(&ksm_mms_lock);
	return km;
}

/**
 * ksm_mms_populated() - is there any mm to scan?
 *
 * Context: Any context. A hint, unless the caller is woken by ksm_mms_enter().
 * Return: true if one is registered and not exiting.
 */
bool ksm_mms_populated(void)
{
	return READ_ONCE(nr_living);
}

/* ------------------------------------------------------------------------ */
/* Going round.                                                             */

/**
 * ksm_mms_rewind() - begin with the first mm again
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_mms_rewind(void)
{
	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_mms_lock);
	list_move(&cursor, &mms_list);
	turn++;
	returns_left = nr_living + RETURNS_MIN;
	spin_unlock(&ksm_mms_lock);
}

/**
 * ksm_mms_next() - take the next mm of the round
 *
 * Context: Process context. The caller holds ksm_pass_lock and keeps holding
 *	    it until ksm_mms_put().
 * Return: The registration, in use; NULL at the end of the list.
 */
struct ksm_mm *ksm_mms_next(void)
{
	struct ksm_mm *km = NULL;

	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_mms_lock);
	if (!list_is_last(&cursor, &mms_list)) {
		km = list_entry(cursor.next, struct ksm_mm, slot.mm_node);
		list_move(&cursor, &km->slot.mm_node);
		/* It may have been left half-way. */
		if (km->turn != turn) {
			km->next = 0;
			km->noted = 0;
			if (km->again != turn)
				km->returns = 0;
		}
		km->turn = turn;
		km->users++;
	}
	spin_unlock(&ksm_mms_lock);
	return km;
}

/**
 * ksm_mms_comes_again() - has the running round been through with an mm already?
 * @km: from ksm_mms_next()
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 * Return: true if so: more of it was offered since.
 */
bool ksm_mms_comes_again(const struct ksm_mm *km)
{
	lockdep_assert_held(&ksm_pass_lock);

	return READ_ONCE(km->again) == turn;
}

static void visit_again(struct ksm_mm *km)
{
	lockdep_assert_held(&ksm_mms_lock);

	km->turn = turn - 1;
	WRITE_ONCE(km->again, turn);
	km->once_more = false;
	list_move_tail(&km->slot.mm_node, &mms_list);
}

/**
 * ksm_mms_put() - end a round's use of an mm
 * @km: from ksm_mms_next()
 * @again: the round is not through with it, ksm_mms_next() shall return it
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_mms_put(struct ksm_mm *km, bool again)
{
	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_mms_lock);
	km->users--;
	km->half_way = again;
	if (!km->exiting && again)
		list_move_tail(&cursor, &km->slot.mm_node);
	else if (!km->exiting && km->once_more)
		visit_again(km);
	spin_unlock(&ksm_mms_lock);
}

/**
 * ksm_mms_offer() - a program offers more of its memory
 * @mm: its mm; nothing happens if it is not registered
 *
 * If the round has been there, or is there now, it comes again before it ends, but not
 * any number of times. That holds for what madvise() and prctl() offer; what an mm that
 * merges all maps, forks or executes later is read when its turn comes.
 *
 * Context: Process context. The caller holds @mm's mmap lock for write, so that
 *	    a round that comes waits for the offer to stand.
 */
void ksm_mms_offer(struct mm_struct *mm)
{
	struct ksm_mm *km;

	mmap_assert_write_locked(mm);

	spin_lock(&ksm_mms_lock);
	km = lookup(mm);
	if (km && km->turn == turn && !km->once_more && returns_left &&
	    km->returns < RETURNS_TO_ONE) {
		km->returns++;
		returns_left--;
		if (km->users || km->half_way)
			km->once_more = true;
		else
			visit_again(km);
	}
	spin_unlock(&ksm_mms_lock);
}

/**
 * ksm_mms_get() - use an mm out of turn
 * @km: a registration that an item names
 *
 * Context: Process context. The caller holds ksm_pass_lock, which keeps the
 *	    dead from being buried, and keeps holding it until ksm_mms_drop().
 * Return: @km in use, or NULL when the mm is exiting.
 */
struct ksm_mm *ksm_mms_get(struct ksm_mm *km)
{
	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_mms_lock);
	if (km->exiting)
		km = NULL;
	else
		km->users++;
	spin_unlock(&ksm_mms_lock);
	return km;
}

/**
 * ksm_mms_drop() - end a use out of turn
 * @km: from ksm_mms_get()
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_mms_drop(struct ksm_mm *km)
{
	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_mms_lock);
	km->users--;
	if (!km->users && !km->exiting && !km->half_way && km->once_more)
		visit_again(km);
	spin_unlock(&ksm_mms_lock);
}

/**
 * ksm_mms_count() - what KSM has of an mm
 * @mm: the mm
 * @items: set to the number of its items
 * @kept: set to the number of KSM pages of which it has the first item
 * @bytes: set to the memory of its records
 *
 * Context: Any context. A hint.
 * Return: true if the mm is registered; the numbers are 0 if not.
 */
bool ksm_mms_count(struct mm_struct *mm, unsigned long *items, unsigned long *kept,
		   unsigned long *bytes)
{
	struct ksm_mm *km;

	spin_lock(&ksm_mms_lock);
	km = lookup(mm);
	*items = km ? READ_ONCE(km->items) : 0;
	*kept = km ? READ_ONCE(km->kept) : 0;
	*bytes = km ? READ_ONCE(km->bytes) : 0;
	spin_unlock(&ksm_mms_lock);
	return km;
}

/* ------------------------------------------------------------------------ */
/* The dead.                                                                */

/**
 * ksm_mms_first_dead() - look for an mm that has left
 *
 * Context: Process context. The caller holds ksm_pass_lock, so nobody uses it.
 * Return: The registration, for the caller to empty, and to free when it is;
 *	   NULL for none.
 */
struct ksm_mm *ksm_mms_first_dead(void)
{
	struct ksm_mm *km;

	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_mms_lock);
	km = list_first_entry_or_null(&mms_dead, struct ksm_mm, slot.mm_node);
	spin_unlock(&ksm_mms_lock);

	WARN_ON_ONCE(km && km->users);
	return km;
}

/**
 * ksm_mms_bury() - end a registration
 * @km: from ksm_mms_first_dead(), its records empty
 *
 * Context: Process context. The caller holds ksm_pass_lock.
 */
void ksm_mms_bury(struct ksm_mm *km)
{
	lockdep_assert_held(&ksm_pass_lock);

	spin_lock(&ksm_mms_lock);
	list_del(&km->slot.mm_node);
	spin_unlock(&ksm_mms_lock);
	free_mm(km);
}
