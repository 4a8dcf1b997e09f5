// SPDX-License-Identifier: GPL-2.0
/* Records of nobody, for tests that need no address space. */
#include "../block.h"
#include "../item.h"
#include "../record.h"
#include "fixture.h"

static void forget_all(void *data)
{
	struct ksm_mm *km = data;
	struct ksm_item *item;
	unsigned long index;
	void *entry;

	for (index = 0; (entry = ksm_record_find(km, &index, ULONG_MAX)); index++) {
		item = ksm_record_item(entry);
		ksm_record_erase(km, index);
		if (item)
			ksm_item_free(item);
	}
}

/**
 * ksm_test_records() - make an empty set of records
 * @test: the test, at whose end they go, with the items in them
 *
 * Return: What takes the place of an mm's registration; that is not registered.
 */
struct ksm_mm *ksm_test_records(struct kunit *test)
{
	struct ksm_mm *km = kunit_kzalloc(test, sizeof(*km), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, km);
	km->slot.mm = kunit_kzalloc(test, sizeof(*km->slot.mm), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, km->slot.mm);
	ksm_block_init(km);
	ksm_test_at_end(test, forget_all, km);
	return km;
}
