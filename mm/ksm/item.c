// SPDX-License-Identifier: GPL-2.0
/*
 * Items: the life of one, and where its reverse-map key leads.
 *
 * A merged item is a key, anon_vma and page offset, under which the VMA that
 * maps the page, its forks, and whatever mremap made of them are found. It is
 * never an address in an mm: the mmap lock ranks above the folio lock, and the
 * mm may be dying.
 *
 * Owns the slab. Does not know who links items to what.
 *
 * Floor 1: knows only the types.
 */
#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/slab.h>

#include "../internal.h"
#include "item.h"
#include "vma.h"

static struct kmem_cache *item_cache;

/**
 * ksm_item_init() - make the slab
 *
 * Context: Boot.
 * Return: 0 or -ENOMEM.
 */
int __init ksm_item_init(void)
{
	item_cache = KMEM_CACHE(ksm_item, 0);
	return item_cache ? 0 : -ENOMEM;
}

/**
 * ksm_item_exit() - drop the slab when the start fails
 *
 * Context: Boot.
 */
void __init ksm_item_exit(void)
{
	kmem_cache_destroy(item_cache);
}

/**
 * ksm_item_alloc() - make a candidate that is in no tree yet
 * @owner: the mm
 * @index: page number in it
 *
 * Context: Process context; may sleep, does not try hard.
 * Return: The item, or NULL without memory.
 */
struct ksm_item *ksm_item_alloc(struct ksm_mm *owner, unsigned long index)
{
	struct ksm_item *item;

	item = kmem_cache_zalloc(item_cache,
				 GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!item)
		return NULL;
	item->owner = owner;
	item->index = index;
	item->kind = KSM_ITEM_CANDIDATE;
	return item;
}

/**
 * ksm_item_free() - end an item that no tree, node or record holds any more
 * @item: the item
 *
 * Context: Process context; may sleep, and take the anon_vma's lock.
 */
void ksm_item_free(struct ksm_item *item)
{
	if (item->kind != KSM_ITEM_CANDIDATE)
		put_anon_vma(item->anon_vma);
	kmem_cache_free(item_cache, item);
}

/**
 * ksm_item_leads_to() - does a reverse-map walk by this item visit an address?
 * @item: a merged item, or an anchor
 * @vma: the VMA
 * @addr: address in it
 *
 * Context: Process context; takes the anon_vma's lock for read. The caller
 *	    holds the lock of the folio that @item is linked to.
 * Return: true if it does.
 */
bool ksm_item_leads_to(struct ksm_item *item, struct vm_area_struct *vma,
		       unsigned long addr)
{
	pgoff_t pgoff = item->pgoff;
	struct anon_vma_chain *avc;
	bool found = false;

	if (pgoff != linear_page_index(vma, addr))
		return false;

	anon_vma_lock_read(item->anon_vma);
	anon_vma_interval_tree_foreach(avc, &item->anon_vma->rb_root, pgoff, pgoff) {
		found = avc->vma == vma;
		if (found)
			break;
	}
	anon_vma_unlock_read(item->anon_vma);
	return found;
}

/**
 * ksm_item_is_mapped() - does a walk by this item come to a mapping of the page?
 * @item: a merged item, or an anchor
 * @page: the KSM page
 *
 * Context: Process context; takes the anon_vma's lock for read. The caller
 *	    holds the lock of @page's folio, which @item is linked to.
 * Return: true if it does.
 */
bool ksm_item_is_mapped(struct ksm_item *item, struct page *page)
{
	pgoff_t pgoff = item->pgoff;
	struct anon_vma_chain *avc;
	bool found = false;

	anon_vma_lock_read(item->anon_vma);
	anon_vma_interval_tree_foreach(avc, &item->anon_vma->rb_root, pgoff, pgoff) {
		found = ksm_vma_maps(avc->vma, vma_address(avc->vma, pgoff, 1), page);
		if (found)
			break;
	}
	anon_vma_unlock_read(item->anon_vma);
	return found;
}

/**
 * ksm_item_leads_elsewhere() - does a walk by this item visit other places, too?
 * @item: a merged item with an owner
 *
 * Context: Process context; takes the anon_vma's lock for read. The caller
 *	    holds the lock of the folio that @item is linked to.
 * Return: true if a VMA of another mm is at the item's offset, or one that has another
 *	   address there, as mremap() makes them.
 */
bool ksm_item_leads_elsewhere(struct ksm_item *item)
{
	pgoff_t pgoff = item->pgoff;
	struct anon_vma_chain *avc;
	bool found = false;

	anon_vma_lock_read(item->anon_vma);
	anon_vma_interval_tree_foreach(avc, &item->anon_vma->rb_root, pgoff, pgoff) {
		found = avc->vma->vm_mm != ksm_mm_of(item->owner) ||
			vma_address(avc->vma, pgoff, 1) != ksm_item_addr(item);
		if (found)
			break;
	}
	anon_vma_unlock_read(item->anon_vma);
	return found;
}
