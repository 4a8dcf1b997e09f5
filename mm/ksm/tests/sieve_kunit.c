// SPDX-License-Identifier: GPL-2.0
/* The sieve: what has a twin passes, nearly nothing else does. */
#include "../sieve.h"
#include "../state.h"
#include "../types.h"
#include "fixture.h"

#define MANY	20000

static void drop(void *unused)
{
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_drop();
	ksm_sieve_renew(0);
	mutex_unlock(&ksm_pass_lock);
}

static int init(struct kunit *test)
{
	int err = ksm_test_init(test);

	if (err)
		return err;
	drop(NULL);
	ksm_test_at_end(test, drop, NULL);
	return 0;
}

/* Hashes as they come: no two alike. */
static u64 hash_of(unsigned int nr)
{
	return (nr * 0x9e3779b97f4a7c15ULL + 12345) & ((1ULL << KSM_HASH_BITS) - 1);
}

static void turn(unsigned long pages)
{
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_turn(pages);
	mutex_unlock(&ksm_pass_lock);
}

static bool sift(u64 hash)
{
	bool passes;

	mutex_lock(&ksm_pass_lock);
	passes = ksm_sieve_sift(hash);
	ksm_sieve_grow();
	mutex_unlock(&ksm_pass_lock);
	return passes;
}

/* How many of @nr different hashes pass in a round. */
static unsigned int sift_many(unsigned int nr)
{
	unsigned int i, pass = 0;

	for (i = 0; i < nr; i++)
		pass += sift(hash_of(i));
	return pass;
}

/* To the first round of the next time. */
static void turn_to_new(unsigned long pages)
{
	bool is_new;

	mutex_lock(&ksm_pass_lock);
	do {
		ksm_sieve_turn(pages);
		is_new = ksm_sieve_is_new();
	} while (!is_new);
	mutex_unlock(&ksm_pass_lock);
}

static bool is_new(void)
{
	bool new;

	mutex_lock(&ksm_pass_lock);
	new = ksm_sieve_is_new();
	mutex_unlock(&ksm_pass_lock);
	return new;
}

static void stir(u64 hash)
{
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_stir(hash);
	mutex_unlock(&ksm_pass_lock);
}

static bool passes(u64 hash)
{
	bool passes;

	mutex_lock(&ksm_pass_lock);
	passes = ksm_sieve_passes(hash);
	mutex_unlock(&ksm_pass_lock);
	return passes;
}

static void who_has_a_twin_passes_in_the_next_round(struct kunit *test)
{
	turn(10);
	KUNIT_EXPECT_FALSE(test, sift(1));
	KUNIT_EXPECT_FALSE(test, sift(2));
	KUNIT_EXPECT_FALSE(test, sift(1));
	turn(10);
	KUNIT_EXPECT_TRUE(test, passes(1));
	KUNIT_EXPECT_FALSE(test, passes(2));
	/* While they are two, and a time longer. */
	turn_to_new(10);
	KUNIT_EXPECT_TRUE(test, sift(1));
	turn_to_new(10);
	KUNIT_EXPECT_FALSE(test, sift(1));
}

static void who_comes_later_has_a_twin_too(struct kunit *test)
{
	unsigned int i;

	turn(10);
	KUNIT_EXPECT_FALSE(test, sift(1));
	for (i = 0; i < 3; i++)
		turn(10);
	KUNIT_EXPECT_FALSE(test, sift(1));
	KUNIT_EXPECT_FALSE(test, ksm_test_is_quiet());
	turn(10);
	KUNIT_EXPECT_FALSE(test, ksm_test_is_quiet());
	KUNIT_EXPECT_TRUE(test, passes(1));
}

/* What is news now still is in the next round, and in no other. */
static void expect_news_for_two_rounds(struct kunit *test, u64 hash)
{
	unsigned int round;

	for (round = 0; round < 2; round++) {
		KUNIT_EXPECT_FALSE(test, ksm_test_is_quiet());
		KUNIT_EXPECT_TRUE(test, ksm_test_has_news(hash));
		turn(10);
	}
	KUNIT_EXPECT_TRUE(test, ksm_test_is_quiet());
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(hash));
}

static void a_round_is_quiet_when_nobody_has_come(struct kunit *test)
{
	turn(10);
	sift(1);
	sift(2);
	/* All must be told of first. */
	KUNIT_EXPECT_FALSE(test, ksm_test_is_quiet());
	turn(10);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_quiet());
	sift(3);
	turn(10);
	KUNIT_EXPECT_TRUE(test, ksm_test_is_quiet());
	stir(4);
	expect_news_for_two_rounds(test, 4);
}

static void all_is_judged_when_all_is_new(struct kunit *test)
{
	turn(10);
	KUNIT_EXPECT_TRUE(test, ksm_test_has_news(1));
	turn(10);
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(1));
}

static void there_is_news_of_a_hash_for_two_rounds(struct kunit *test)
{
	ksm_test_hush();
	stir(1);
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(2));
	expect_news_for_two_rounds(test, 1);
}

static void there_is_news_of_all_when_it_is_said(struct kunit *test)
{
	ksm_test_hush();
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_stir_all();
	mutex_unlock(&ksm_pass_lock);
	expect_news_for_two_rounds(test, 1);
}

/* A page of a hash that is known stirs its like each time, and a new one does not. */
static void who_comes_again_is_news(struct kunit *test)
{
	turn(10);
	sift(1);
	sift(1);
	ksm_test_hush();
	KUNIT_EXPECT_FALSE(test, sift(2));
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(2));
	KUNIT_EXPECT_TRUE(test, sift(1));
	KUNIT_EXPECT_TRUE(test, ksm_test_has_news(1));
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(2));
}

/* However much there is to tell, it takes no more memory than at rest. */
static void too_much_news_is_news_of_all(struct kunit *test)
{
	unsigned long bytes;
	unsigned int i;

	ksm_test_hush();
	bytes = ksm_sieve_bytes();
	stir(hash_of(1));
	for (i = 0; i < MANY; i++)
		stir(hash_of(1));
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(hash_of(MANY)));
	for (i = 0; i < MANY; i++)
		stir(hash_of(i));
	KUNIT_EXPECT_TRUE(test, ksm_test_has_news(hash_of(MANY)));
	KUNIT_EXPECT_EQ(test, ksm_sieve_bytes(), bytes);
	turn(10);
	turn(10);
	KUNIT_EXPECT_FALSE(test, ksm_test_has_news(hash_of(MANY)));
}

/* The others are judged when all is new; till then most pages are at rest. */
static void who_cannot_merge_is_news_as_long_as_there_is_room(struct kunit *test)
{
	unsigned int i, news = 0;

	ksm_test_hush();
	mutex_lock(&ksm_pass_lock);
	for (i = 0; i < MANY; i++)
		ksm_sieve_retry(hash_of(i));
	mutex_unlock(&ksm_pass_lock);
	for (i = MANY; i < 2 * MANY; i++)
		news += ksm_test_has_news(hash_of(i));
	KUNIT_EXPECT_LT(test, news, MANY / 20);
	expect_news_for_two_rounds(test, hash_of(0));
}

static void without_memory_all_is_news(struct kunit *test)
{
	drop(NULL);
	stir(1);
	KUNIT_EXPECT_TRUE(test, ksm_test_has_news(2));
}

static void a_time_is_over_when_it_is_full(struct kunit *test)
{
	unsigned int i;

	turn(10);
	sift_many(5);
	turn(10);
	KUNIT_EXPECT_FALSE(test, is_new());
	/* Nearly all change in each round. */
	for (i = 0; i < 3; i++)
		sift_many(MANY / 2);
	turn(10);
	KUNIT_EXPECT_TRUE(test, is_new());
}

static void what_a_KSM_page_has_passes_at_once(struct kunit *test)
{
	turn(10);
	KUNIT_EXPECT_FALSE(test, sift(1));
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_keep(1);
	mutex_unlock(&ksm_pass_lock);
	KUNIT_EXPECT_TRUE(test, sift(1));
	turn(10);
	KUNIT_EXPECT_TRUE(test, sift(1));
	KUNIT_EXPECT_FALSE(test, sift(2));
}

static void hardly_anything_passes_by_mistake(struct kunit *test)
{
	unsigned int round;

	if (!IS_ENABLED(CONFIG_64BIT))
		kunit_skip(test, "has fewer bits of a hash");
	turn(MANY);
	KUNIT_EXPECT_EQ(test, sift_many(MANY), 0);
	for (round = 0; round < 3; round++) {
		turn_to_new(MANY);
		KUNIT_EXPECT_LT(test, sift_many(MANY), MANY / 50);
	}
}

static void a_sieve_that_is_too_small_grows(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_64BIT))
		kunit_skip(test, "has fewer bits of a hash");
	turn(0);
	sift_many(MANY);
	turn_to_new(MANY);
	/* About one in 25, by chance; all but a few would if it had not grown. */
	KUNIT_EXPECT_LT(test, sift_many(MANY), MANY / 10);
	turn_to_new(MANY);
	/* Not more than three bytes for a page. */
	KUNIT_EXPECT_LT(test, ksm_sieve_bytes(), 3 * MANY + 8192);
}

static void what_KSM_pages_had_is_forgotten_in_time(struct kunit *test)
{
	unsigned int i;
	bool worn;

	mutex_lock(&ksm_pass_lock);
	ksm_sieve_renew(0);
	worn = ksm_sieve_worn(0);
	KUNIT_EXPECT_FALSE(test, worn);
	for (i = 0; i < MANY; i++) {
		ksm_sieve_keep(hash_of(i));
		ksm_sieve_grow();
	}
	worn = ksm_sieve_worn(0);
	KUNIT_EXPECT_TRUE(test, worn);
	ksm_sieve_renew(0);
	mutex_unlock(&ksm_pass_lock);
	turn(MANY);
	KUNIT_EXPECT_EQ(test, sift_many(100), 0);
}

static void without_memory_everything_passes(struct kunit *test)
{
	unsigned int i;

	/* Nothing is made room for. */
	mutex_lock(&ksm_pass_lock);
	ksm_sieve_drop();
	for (i = 0; i < 10; i++)
		ksm_sieve_keep(hash_of(i));
	for (i = 100; i < 110; i++)
		KUNIT_EXPECT_TRUE(test, ksm_sieve_passes(hash_of(i)));
	KUNIT_EXPECT_TRUE(test, ksm_sieve_worn(10));
	mutex_unlock(&ksm_pass_lock);
}

static struct kunit_case sieve_cases[] = {
	KUNIT_CASE(who_has_a_twin_passes_in_the_next_round),
	KUNIT_CASE(who_comes_later_has_a_twin_too),
	KUNIT_CASE(a_round_is_quiet_when_nobody_has_come),
	KUNIT_CASE(all_is_judged_when_all_is_new),
	KUNIT_CASE(there_is_news_of_a_hash_for_two_rounds),
	KUNIT_CASE(there_is_news_of_all_when_it_is_said),
	KUNIT_CASE(who_comes_again_is_news),
	KUNIT_CASE(too_much_news_is_news_of_all),
	KUNIT_CASE(who_cannot_merge_is_news_as_long_as_there_is_room),
	KUNIT_CASE(without_memory_all_is_news),
	KUNIT_CASE(a_time_is_over_when_it_is_full),
	KUNIT_CASE(what_a_KSM_page_has_passes_at_once),
	KUNIT_CASE(hardly_anything_passes_by_mistake),
	KUNIT_CASE(a_sieve_that_is_too_small_grows),
	KUNIT_CASE(what_KSM_pages_had_is_forgotten_in_time),
	KUNIT_CASE(without_memory_everything_passes),
	{ }
};

static struct kunit_suite sieve_suite = {
	.name = "ksm_sieve",
	.init = init,
	.test_cases = sieve_cases,
};

kunit_test_suite(sieve_suite);
