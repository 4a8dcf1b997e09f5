/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the rooms of KSM have in common: the things it remembers.
 *
 * Letters beside a field say what protects it; the lock table is in mm/ksm.c.
 *
 *   P  ksm_pass_lock
 *   M  ksm_mms_lock
 *   L  ksm_link_lock
 *   F  the lock of the folio that the node describes
 *   S  lock of the stable tree, inside P: to read, either will do
 *   U  lock of the unstable tree
 *   R  the mm's mmap lock for write, or for read together with P; P alone
 *      once the mm is dead
 *
 * Floor 0: knows nobody.
 */
#ifndef _MM_KSM_TYPES_H
#define _MM_KSM_TYPES_H

#include <linux/bits.h>
#include <linux/mm_types.h>
#include <linux/page-flags.h>
#include <linux/rbtree.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "../mm_slot.h"

struct anon_vma;
struct ksm_block;
struct ksm_chain;

/*
 * Width of a page's hash: as much as a record can keep beside the rest, so that
 * what is remembered of a page is enough to look for its twin.
 */
#ifdef CONFIG_64BIT
#define KSM_HASH_BITS	40
#else
#define KSM_HASH_BITS	16
#endif

/*
 * A tree is really many small ones, by the upper bits of the hash: of the nodes on
 * the way down, each a cache miss, only the last few are left.
 */
#define KSM_ROOT_BITS	(IS_ENABLED(CONFIG_BASE_SMALL) ? 6 : 12)
#define KSM_ROOTS	BIT(KSM_ROOT_BITS)

/**
 * struct ksm_mm - an address space that offers pages
 * @slot: hash by mm (M), place in the list of the living or of the dead (M)
 * @records: what is known of each page, in blocks, see block.c (R)
 * @block: the block that was looked for last; NULL to look for it (R)
 * @block_nr: its number in @records (R)
 * @next: address at which the running round goes on (P)
 * @noted: up to this address the sieve was told of the pages in this round (P)
 * @users: how many batches work on the mm now; its exit waits for them (M)
 * @turn: the last round that came to it (M)
 * @rests_until: when a program of it may be interrupted again, by local_clock() (P)
 * @items: items in the records (R)
 * @bytes: memory of the records (R)
 * @kept: KSM pages of which this mm has the first item: they are not saved (L)
 * @again: the last round that comes to it a second time (M to change; P)
 * @returns: how often the running round shall have come again (M)
 * @half_way: that round has not been through with it (M)
 * @once_more: that round shall come to it again (M)
 * @exiting: the mm has left; nobody may enter its page tables any more (M to
 *	     set; read under its mmap lock)
 */
struct ksm_mm {
	struct mm_slot		slot;
	struct xarray		records;
	struct ksm_block	*block;
	unsigned long		block_nr;
	unsigned long		next;
	unsigned long		noted;
	unsigned int		users;
	unsigned int		turn;
	unsigned int		again;
	unsigned int		returns;
	u64			rests_until;
	unsigned long		items;
	unsigned long		bytes;
	unsigned long		kept;
	bool			half_way;
	bool			once_more;
	bool			exiting;
};

/**
 * enum ksm_item_kind - where an item stands
 * @KSM_ITEM_CANDIDATE: calm and without a twin so far; in the unstable tree
 *			if its round is the running one
 * @KSM_ITEM_MERGED: its page is mapped to the page of its node
 * @KSM_ITEM_ORPHAN: its node has died; whoever scans the mm drops it
 * @KSM_ITEM_ANCHOR: its owner has left the page to others who map it by fork;
 *		     keeps them reachable, belongs to the node alone
 */
enum ksm_item_kind {
	KSM_ITEM_CANDIDATE,
	KSM_ITEM_MERGED,
	KSM_ITEM_ORPHAN,
	KSM_ITEM_ANCHOR,
};

/**
 * struct ksm_item - one page of one mm that is in a tree, or mapped to a node
 * @owner: the mm whose records point here; NULL for an anchor (L)
 * @index: page number in the owner's address space; never changes
 * @rb: place in the unstable tree (U)
 * @hash: the candidate's key (U to change)
 * @pfn: the candidate's page, as it was then (U to change)
 * @link: place among the items, or anchors, of @node (F and L)
 * @node: node of the page that is mapped (L; F as well, but for a node's death)
 * @anon_vma: where to look for those who map the page, with a reference (F)
 * @pgoff: offset to look for in @anon_vma (F)
 * @round: round of the unstable tree that the candidate joined (U)
 * @nid: NUMA node for which it is in the unstable tree (U)
 * @kind: see &enum ksm_item_kind (R for the owner; L when a node dies)
 * @age: the candidate's age, as in a record (R)
 * @trusted: as in a record (R)
 */
struct ksm_item {
	struct ksm_mm		*owner;
	unsigned long		index;
	union {
		struct {
			struct rb_node		rb;
			u64			hash;
			unsigned long		pfn;
		};
		struct {
			struct hlist_node	link;
			struct ksm_node		*node;
			struct anon_vma		*anon_vma;
			pgoff_t			pgoff;
		};
	};
	u32			round;
	s16			nid;
	u8			kind;
	u8			age:7;
	u8			trusted:1;
};

/**
 * enum ksm_node_place - where a node can be found
 * @KSM_NODE_LOOSE: nowhere; it is new, or about to be freed
 * @KSM_NODE_IN_TREE: in the stable tree
 * @KSM_NODE_IN_CHAIN: through the node of its chain that is in the tree
 * @KSM_NODE_ASIDE: only through its page, whose memory has failed, or which has
 *		    moved and waits for its place in another tree
 */
enum ksm_node_place {
	KSM_NODE_LOOSE,
	KSM_NODE_IN_TREE,
	KSM_NODE_IN_CHAIN,
	KSM_NODE_ASIDE,
};

/**
 * struct ksm_node - one KSM page, and everybody who maps it
 * @rb: place in the stable tree (S)
 * @member: place in the chain (S)
 * @aside: place among the nodes that no search shall find (S)
 * @hash: hash of the content, taken under write protection; never changes. Beside
 *	  @rb, as a search reads the two of every node on its way
 * @chain: the nodes of the same content, if there are others (S)
 * @pfn: the page; follows migration (F to change)
 * @items: merged items (to change F and L, to walk either)
 * @anchors: items without owner (F and L alike)
 * @due: place in the list of nodes that are to be looked at (L)
 * @nr_items: length of @items (L)
 * @nr_anchors: length of @anchors (F and L)
 * @most_anchors: at that length it is time to look which still lead to a
 *		  mapping (F)
 * @moves: how often the page has moved (F to change)
 * @nid: NUMA node for which it is in the stable tree, or was (S)
 * @place: which of @rb, @member and @aside is in use, if any (S)
 * @astray: its page has moved to where another tree is meant for it (L)
 *
 * A node holds no reference to its page. folio->mapping points back here, and
 * is the proof that the page is still ours.
 */
struct ksm_node {
	union {
		struct rb_node		rb;
		struct list_head	member;
		struct list_head	aside;
	};
	u64			hash;
	struct ksm_chain	*chain;
	unsigned long		pfn;
	struct hlist_head	items;
	struct hlist_head	anchors;
	struct list_head	due;
	unsigned int		nr_items;
	unsigned int		nr_anchors;
	unsigned int		most_anchors;
	unsigned int		moves;
	s16			nid;
	u8			place;
	bool			astray;
};

/**
 * struct ksm_chain - the KSM pages of one content, if there are more than one
 * @shown: the node that is in the stable tree, for a search to find (S)
 * @roomy: the others that had room when they were looked at (S)
 * @full: the others that had not, or were not looked at yet (S)
 * @nr: members, @shown among them (S)
 * @unseen: members to look at yet, if somebody has begun to (S)
 * @items: items of those that were looked at (S)
 * @used: how many of those have items (S)
 * @loose: fewer pages would do (S)
 * @settled: when all had been looked at, in jiffies (S)
 */
struct ksm_chain {
	struct ksm_node		*shown;
	struct list_head	roomy;
	struct list_head	full;
	unsigned long		nr;
	unsigned long		unseen;
	unsigned long		items;
	unsigned long		used;
	bool			loose;
	unsigned long		settled;
};

/**
 * struct ksm_ahead - pages that are looked at soon, on their way into the cache
 * @page: what one of them holds; NULL for none
 * @twin: what it will be compared with; NULL for none
 * @at: up to there they were asked for, or need not be
 * @left: bytes that were not asked for yet
 */
struct ksm_ahead {
	const void		*page;
	const void		*twin;
	unsigned int		at;
	unsigned int		left;
};

/**
 * struct ksm_offer - one page offered for merging
 * @owner: the mm it belongs to, its mmap lock held for read
 * @vma: the VMA it is mapped in
 * @addr: the address it is mapped at
 * @page: the page; the caller holds one reference on its folio
 * @item: its item, in @owner's records
 * @ahead: what to fetch while it is read; may be NULL
 * @unwritten: nobody has written to it by its PTE since its hash was taken
 * @doubtful: it holds something else than the KSM page of its hash: it may not have that hash
 * @failed: a merge of it has failed, so it may not be what it was
 * @drained: the per-CPU lists on the way to the LRU were drained in this round
 * @spared: they are not to be for who is on the LRU already
 * @wants_drain: it may merge when they are: a reference on it, or on its twin, is in the way
 * @pinned: such a reference is in the way of a page on the LRU though they were
 */
struct ksm_offer {
	struct ksm_mm		*owner;
	struct vm_area_struct	*vma;
	unsigned long		addr;
	struct page		*page;
	struct ksm_item		*item;
	struct ksm_ahead	*ahead;
	bool			unwritten;
	bool			doubtful;
	bool			failed;
	bool			drained;
	bool			spared;
	bool			wants_drain;
	bool			pinned;
};

/**
 * enum ksm_found - what a search in a tree came to
 * @KSM_FOUND_NONE: nothing equal there
 * @KSM_FOUND_TWIN: something equal, as far as an unlocked look can tell
 * @KSM_FOUND_FULL: something equal, but so many map it that none may join
 * @KSM_FOUND_SAME: the page itself, which forks share
 * @KSM_FOUND_STALE: the way is blocked by something that must be dropped first
 * @KSM_FOUND_BUSY: the way is blocked for the moment; try next round
 */
enum ksm_found {
	KSM_FOUND_NONE,
	KSM_FOUND_TWIN,
	KSM_FOUND_FULL,
	KSM_FOUND_SAME,
	KSM_FOUND_STALE,
	KSM_FOUND_BUSY,
};

/* The small tree in which a hash belongs; they are in the order of hashes. */
static inline unsigned int ksm_root_of(u64 hash)
{
	return hash >> (KSM_HASH_BITS - KSM_ROOT_BITS) & (KSM_ROOTS - 1);
}

static inline struct mm_struct *ksm_mm_of(const struct ksm_mm *km)
{
	return km->slot.mm;
}

static inline unsigned long ksm_item_addr(const struct ksm_item *item)
{
	return item->index << PAGE_SHIFT;
}

/**
 * ksm_node_of() - the node of a KSM page
 * @folio: for which folio_test_ksm() holds
 *
 * Context: Under the folio's lock the answer is exact and stays so; without
 *	    it, compare it but do not follow it.
 * Return: The node; NULL for a KSM page that has lost it.
 */
static inline struct ksm_node *ksm_node_of(struct folio *folio)
{
	unsigned long mapping = (unsigned long)READ_ONCE(folio->mapping);

	if ((mapping & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_KSM)
		return NULL;
	return (struct ksm_node *)(mapping & ~PAGE_MAPPING_FLAGS);
}

#endif /* _MM_KSM_TYPES_H */
