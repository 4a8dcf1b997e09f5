// SPDX-License-Identifier: GPL-2.0
/* Blocks: each entry is found, they take as little memory as they can, and that is counted. */
#include <linux/log2.h>

#include "../block.h"
#include "../state.h"
#include "fixture.h"

#define SPAN	KSM_BLOCK_PAGES
#define WORD	sizeof(void *)

/* Where stacks and mappings are, on 64-bit. */
#define HIGH	((ULONG_MAX >> (BITS_PER_LONG == 64 ? 17 : 1)) / PAGE_SIZE)

static void empty(void *data)
{
	unsigned long index, end;
	struct ksm_mm *km = data;
	u64 which;
	void **slot;

	for (index = 0; ksm_block_find(km, &index, ULONG_MAX, false);) {
		end = index | (SPAN - 1);
		for (; index <= end; index++) {
			slot = ksm_block_slots(km, index, &which);
			if (which & 1 && *slot)
				ksm_block_remove(km, index);
		}
	}
}

static struct ksm_mm *make_km(struct kunit *test)
{
	struct ksm_mm *km = kunit_kzalloc(test, sizeof(*km), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, km);
	ksm_block_init(km);
	ksm_test_at_end(test, empty, km);
	return km;
}

static void *entry_of(unsigned long index)
{
	return xa_mk_value(index + 1);
}

static void *at(struct ksm_mm *km, unsigned long index)
{
	u64 which;
	void **slot = ksm_block_slots(km, index, &which);

	return which & 1 ? *slot : NULL;
}

static void add(struct kunit *test, struct ksm_mm *km, unsigned long index)
{
	KUNIT_ASSERT_EQ(test, ksm_block_add(km, index, entry_of(index)), 0);
}

static void add_some(struct kunit *test, struct ksm_mm *km, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		add(test, km, i);
}

/* In the first block there is what @set says, and nothing else. */
static void expect(struct kunit *test, struct ksm_mm *km, u64 set)
{
	unsigned int i;

	for (i = 0; i < SPAN; i++)
		KUNIT_EXPECT_PTR_EQ_MSG(test, at(km, i), set & BIT_ULL(i) ? entry_of(i) : NULL,
					"page %u of %llx", i, set);
}

static void expect_bytes(struct kunit *test, struct ksm_mm *km, unsigned long bytes)
{
	KUNIT_EXPECT_EQ(test, km->bytes, bytes);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_counts.record_bytes), bytes);
}

/* ------------------------------------------------------------------------ */
/* Contents.                                                                */

/* Goes through all pages of a block, with @step odd. */
static unsigned int nth(unsigned int i, unsigned int step)
{
	return (i * step + 11) % SPAN;
}

static void fill_and_empty(struct kunit *test, unsigned int up, unsigned int down)
{
	struct ksm_mm *km = make_km(test);
	unsigned int i;
	u64 set = 0;

	for (i = 0; i < SPAN; i++) {
		add(test, km, nth(i, up));
		set |= BIT_ULL(nth(i, up));
		expect(test, km, set);
	}
	KUNIT_EXPECT_EQ(test, set, U64_MAX);
	for (i = 0; i < SPAN; i++) {
		KUNIT_EXPECT_FALSE(test, ksm_block_none(km));
		ksm_block_remove(km, nth(i, down));
		set &= ~BIT_ULL(nth(i, down));
		expect(test, km, set);
	}
	KUNIT_EXPECT_TRUE(test, ksm_block_none(km));
	expect_bytes(test, km, 0);
}

static void entries_come_and_go_in_any_order(struct kunit *test)
{
	fill_and_empty(test, 1, 1);
	fill_and_empty(test, 63, 1);
	fill_and_empty(test, 37, 63);
	fill_and_empty(test, 1, 27);
}

static void a_few_entries_come_and_go(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);
	u64 set = BIT_ULL(5) | BIT_ULL(20) | BIT_ULL(63) | BIT_ULL(0);

	add(test, km, 20);
	add(test, km, 63);
	add(test, km, 0);
	add(test, km, 5);
	expect(test, km, set);
	ksm_block_remove(km, 20);
	expect(test, km, set & ~BIT_ULL(20));
	add(test, km, 21);
	expect(test, km, (set & ~BIT_ULL(20)) | BIT_ULL(21));
	ksm_block_remove(km, 0);
	ksm_block_remove(km, 63);
	expect(test, km, BIT_ULL(5) | BIT_ULL(21));
}

static void neighbours_across_a_border_are_apart(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);
	unsigned long index = 0;
	u64 which;

	add(test, km, SPAN - 1);
	add(test, km, SPAN);
	KUNIT_EXPECT_PTR_EQ(test, at(km, SPAN - 1), entry_of(SPAN - 1));
	KUNIT_EXPECT_PTR_EQ(test, at(km, SPAN), entry_of(SPAN));
	ksm_block_slots(km, SPAN - 1, &which);
	KUNIT_EXPECT_EQ(test, which, 1);
	KUNIT_EXPECT_TRUE(test, ksm_block_find(km, &index, SPAN - 1, false));
	ksm_block_remove(km, SPAN - 1);
	index = 0;
	KUNIT_EXPECT_FALSE(test, ksm_block_find(km, &index, SPAN - 1, false));
	KUNIT_EXPECT_NULL(test, at(km, SPAN - 1));
	KUNIT_EXPECT_PTR_EQ(test, at(km, SPAN), entry_of(SPAN));
	KUNIT_EXPECT_TRUE(test, ksm_block_find(km, &index, SPAN, false));
	KUNIT_EXPECT_EQ(test, index, SPAN);
}

static void only_marked_blocks_are_found_by_their_mark(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);
	unsigned long index = 0;

	add(test, km, 1);
	add(test, km, 70);
	KUNIT_EXPECT_FALSE(test, ksm_block_find(km, &index, ULONG_MAX, true));
	ksm_block_mark(km, 70, true);
	KUNIT_EXPECT_TRUE(test, ksm_block_find(km, &index, ULONG_MAX, true));
	KUNIT_EXPECT_EQ(test, index, SPAN);
	/* It stays when the block gets another size. */
	for (index = 71; index < 80; index++)
		add(test, km, index);
	index = 90;
	KUNIT_EXPECT_TRUE(test, ksm_block_find(km, &index, ULONG_MAX, true));
	KUNIT_EXPECT_EQ(test, index, 90);
	ksm_block_mark(km, 80, false);
	KUNIT_EXPECT_FALSE(test, ksm_block_find(km, &index, ULONG_MAX, true));
}

/* ------------------------------------------------------------------------ */
/* Memory.                                                                  */

static void a_block_takes_little_more_than_its_entries(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);
	unsigned int nr;

	for (nr = 1; nr <= SPAN; nr++) {
		add(test, km, nr - 1);
		KUNIT_EXPECT_TRUE(test, is_power_of_2(km->bytes));
		KUNIT_EXPECT_GE(test, km->bytes, nr * WORD);
		KUNIT_EXPECT_LE(test, km->bytes, max(32UL, 2 * (16 + nr * WORD)));
		KUNIT_EXPECT_LE(test, km->bytes, SPAN * WORD);
	}
	expect_bytes(test, km, SPAN * WORD);
}

static void few_pages_of_many_take_little(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);
	unsigned long i, far = (8 << 20) / PAGE_SIZE, pages = 1024;

	for (i = 0; i < pages; i++)
		add(test, km, i / 4 * far + i % 4);
	KUNIT_EXPECT_LE(test, km->bytes, 128 * pages);
}

static unsigned long nodes_below(void *entry)
{
	struct xa_node *node;
	unsigned long sum = 1;
	unsigned int i;

	if (!xa_is_node(entry))
		return 0;
	node = xa_to_node(entry);
	for (i = 0; i < XA_CHUNK_SIZE; i++)
		sum += nodes_below(rcu_dereference_raw(node->slots[i]));
	return sum;
}

/* Each of @nr blocks has one entry. */
static void expect_nodes(struct kunit *test, struct ksm_mm *km, unsigned int nr)
{
	unsigned long nodes = nodes_below(rcu_dereference_raw(km->records.xa_head));

	expect_bytes(test, km, nodes * sizeof(struct xa_node) + nr * 32);
}

static void nodes_of_the_xarray_are_counted(struct kunit *test)
{
	static const unsigned long below[] = {
		1, 2 * SPAN, 63 * SPAN, 70 * SPAN, 5000 * SPAN, 5001 * SPAN,
	};
	struct ksm_mm *km = make_km(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(below); i++) {
		add(test, km, HIGH - below[i]);
		expect_nodes(test, km, i + 1);
	}
	/* Not in the order in which they came. */
	for (i = 0; i < ARRAY_SIZE(below); i++) {
		ksm_block_remove(km, HIGH - below[(i + 2) % ARRAY_SIZE(below)]);
		expect_nodes(test, km, ARRAY_SIZE(below) - i - 1);
	}
	expect_bytes(test, km, 0);
}

static void what_is_counted_does_not_drift(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);

	add(test, km, 5 * SPAN);
	add(test, km, HIGH);
	add(test, km, 0);
	add(test, km, 70 * SPAN);
	ksm_block_remove(km, 5 * SPAN);
	ksm_block_remove(km, 0);
	ksm_block_remove(km, HIGH);
	ksm_block_remove(km, 70 * SPAN);
	expect_bytes(test, km, 0);
}

static void a_block_that_is_nearly_empty_is_trimmed(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);
	unsigned int i;

	add_some(test, km, SPAN);
	ksm_block_trim(km, 7);
	expect_bytes(test, km, SPAN * WORD);
	for (i = SPAN - 1; i >= 20; i--)
		ksm_block_remove(km, i);
	/* As soon as a few come back it would have to grow again. */
	ksm_block_trim(km, 7);
	expect_bytes(test, km, SPAN * WORD);
	for (; i >= 3; i--)
		ksm_block_remove(km, i);
	expect_bytes(test, km, SPAN * WORD);
	ksm_block_trim(km, 7);
	expect(test, km, 7);
	expect_bytes(test, km, WORD == 8 ? 64 : 32);
	/* Nothing to spare, or nothing there. */
	ksm_block_trim(km, 7);
	ksm_block_trim(km, SPAN);
	expect(test, km, 7);
}

/* ------------------------------------------------------------------------ */
/* Without memory.                                                          */

/* Put an entry behind @nr others, with one allocation after the other failing. */
static void add_without_memory(struct kunit *test, unsigned int nr)
{
	struct ksm_mm *km = make_km(test);
	u64 before = nr ? U64_MAX >> (SPAN - nr) : 0;
	unsigned long bytes;
	unsigned int tries = 0;
	int err;

	add_some(test, km, nr);
	bytes = km->bytes;
	do {
		ksm_test_fail_alloc(test, ++tries);
		err = ksm_block_add(km, nr, entry_of(nr));
		ksm_test_alloc_failed();
		expect(test, km, before | (err ? 0 : BIT_ULL(nr)));
		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			KUNIT_EXPECT_EQ(test, km->bytes, bytes);
			KUNIT_EXPECT_EQ(test, ksm_block_none(km), !nr);
		}
	} while (err && tries < 10);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_GT(test, tries, 1);
}

static void without_memory_nothing_changes(struct kunit *test)
{
	unsigned long bytes;
	struct ksm_mm *km;
	unsigned int nr;

	add_without_memory(test, 0);
	km = make_km(test);
	add_some(test, km, 1);
	for (nr = 1; nr < SPAN - 1; nr++) {
		bytes = km->bytes;
		add(test, km, nr);
		if (km->bytes != bytes)
			add_without_memory(test, nr);
	}
}

static void without_memory_nothing_is_trimmed(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);
	unsigned int i;

	add_some(test, km, SPAN);
	for (i = 2; i < SPAN; i++)
		ksm_block_remove(km, i);
	ksm_test_fail_alloc(test, 1);
	ksm_block_trim(km, 0);
	KUNIT_EXPECT_TRUE(test, ksm_test_alloc_failed());
	expect(test, km, 3);
	expect_bytes(test, km, SPAN * WORD);
}

/* As an addition leaves them that fails half way. */
static void nodes_without_a_block_are_nothing(struct kunit *test)
{
	struct ksm_mm *km = make_km(test);

	KUNIT_ASSERT_EQ(test, xa_reserve(&km->records, SPAN * SPAN, GFP_KERNEL), 0);
	KUNIT_EXPECT_TRUE(test, ksm_block_none(km));
	ksm_block_end(km);
	KUNIT_EXPECT_TRUE(test, xa_empty(&km->records));
}

static struct kunit_case block_cases[] = {
	KUNIT_CASE(entries_come_and_go_in_any_order),
	KUNIT_CASE(a_few_entries_come_and_go),
	KUNIT_CASE(neighbours_across_a_border_are_apart),
	KUNIT_CASE(only_marked_blocks_are_found_by_their_mark),
	KUNIT_CASE(a_block_takes_little_more_than_its_entries),
	KUNIT_CASE(few_pages_of_many_take_little),
	KUNIT_CASE(nodes_of_the_xarray_are_counted),
	KUNIT_CASE(what_is_counted_does_not_drift),
	KUNIT_CASE(a_block_that_is_nearly_empty_is_trimmed),
	KUNIT_CASE(without_memory_nothing_changes),
	KUNIT_CASE(without_memory_nothing_is_trimmed),
	KUNIT_CASE(nodes_without_a_block_are_nothing),
	{ }
};

static struct kunit_suite block_suite = {
	.name = "ksm_block",
	.init = ksm_test_init,
	.test_cases = block_cases,
};

kunit_test_suite(block_suite);
