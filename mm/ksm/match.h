/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_KSM_MATCH_H
#define _MM_KSM_MATCH_H

#include "types.h"

/**
 * enum ksm_match - what became of a page that was offered
 * @KSM_MATCH_NONE: it has no twin, or may not have one
 * @KSM_MATCH_BUSY: it may have one, but somebody uses the page, or there are as many
 *		    KSM pages as may be; that can last
 * @KSM_MATCH_FAILED: it may have one, but could not be merged; try next round
 * @KSM_MATCH_WAITING: its item is in the unstable tree
 * @KSM_MATCH_MERGED: it is mapped to a KSM page now
 * @KSM_MATCH_ZERO: the zero page is mapped in its place now; the records may
 *		    still say something of it
 * @KSM_MATCH_LARGE: it has a twin, but its folio must be split first
 */
enum ksm_match {
	KSM_MATCH_NONE,
	KSM_MATCH_BUSY,
	KSM_MATCH_FAILED,
	KSM_MATCH_WAITING,
	KSM_MATCH_MERGED,
	KSM_MATCH_ZERO,
	KSM_MATCH_LARGE,
};

enum ksm_match ksm_match_page(struct ksm_offer *offer, u64 hash, bool calm);
void ksm_match_adopt(struct ksm_offer *offer);

#endif /* _MM_KSM_MATCH_H */
