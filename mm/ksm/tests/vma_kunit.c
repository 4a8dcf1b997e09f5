// SPDX-License-Identifier: GPL-2.0
/* Which VMAs take part. */
#include <linux/fs.h>
#include <linux/ksm.h>
#include <linux/mm.h>

#include "../vma.h"
#include "fixture.h"

#define PRIVATE_MEMORY	(VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)

struct flag {
	const char	*name;
	vm_flags_t	bit;
};

static const struct flag never[] = {
	{ "shared",		VM_SHARED },
	{ "may be shared",	VM_MAYSHARE },
	{ "pfn map",		VM_PFNMAP },
	{ "device memory",	VM_IO },
	{ "do not expand",	VM_DONTEXPAND },
	{ "hugetlb",		VM_HUGETLB },
	{ "mixed map",		VM_MIXEDMAP },
	{ "droppable",		VM_DROPPABLE },
	{ "shadow stack",	VM_SHADOW_STACK },
#ifdef VM_SAO
	{ "strong access order", VM_SAO },
#endif
#ifdef VM_SPARC_ADI
	{ "sparc adi",		VM_SPARC_ADI },
#endif
};

KUNIT_ARRAY_PARAM_DESC(never, never, name);

static const struct flag harmless[] = {
	{ "private memory",	0 },
	{ "executable",		VM_EXEC },
	{ "stack",		VM_GROWSDOWN },
	{ "locked",		VM_LOCKED },
	{ "locked on fault",	VM_LOCKED | VM_LOCKONFAULT },
	{ "huge page advice",	VM_HUGEPAGE },
	{ "no huge pages",	VM_NOHUGEPAGE },
	{ "accounted",		VM_ACCOUNT },
	{ "no reserve",		VM_NORESERVE },
	{ "not forked",		VM_DONTCOPY },
	{ "wiped on fork",	VM_WIPEONFORK },
	{ "not dumped",		VM_DONTDUMP },
	{ "random access",	VM_RAND_READ },
	{ "userfaultfd",	VM_UFFD_MISSING },
};

KUNIT_ARRAY_PARAM_DESC(harmless, harmless, name);

static void P16_vma_of_this_kind_never_merges(struct kunit *test)
{
	const struct flag *flag = test->param_value;

	if (!flag->bit)
		kunit_skip(test, "no such flag on this architecture");
	KUNIT_EXPECT_FALSE(test, ksm_vma_may_merge(NULL, PRIVATE_MEMORY | flag->bit));
	KUNIT_EXPECT_FALSE(test, ksm_vma_may_merge(NULL, VM_MERGEABLE | flag->bit));
}

static void vma_of_this_kind_merges(struct kunit *test)
{
	const struct flag *flag = test->param_value;

	KUNIT_EXPECT_TRUE(test, ksm_vma_may_merge(NULL, PRIVATE_MEMORY | flag->bit));
}

static void read_only_memory_merges(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, ksm_vma_may_merge(NULL, VM_READ | VM_MAYREAD | VM_MAYWRITE));
	KUNIT_EXPECT_TRUE(test, ksm_vma_may_merge(NULL, VM_MAYREAD | VM_MAYWRITE));
}

static struct file *make_file(struct kunit *test, unsigned int inode_flags)
{
	struct inode *inode = kunit_kzalloc(test, sizeof(*inode), GFP_KERNEL);
	struct file *file = kunit_kzalloc(test, sizeof(*file), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, inode);
	KUNIT_ASSERT_NOT_NULL(test, file);
	inode->i_flags = inode_flags;
	inode->i_data.host = inode;
	file->f_inode = inode;
	file->f_mapping = &inode->i_data;
	return file;
}

static void private_pages_of_a_file_merge(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, ksm_vma_may_merge(make_file(test, 0), PRIVATE_MEMORY));
}

static void P16_file_in_direct_access_memory_never_merges(struct kunit *test)
{
	if (!S_DAX)
		kunit_skip(test, "needs CONFIG_FS_DAX");
	KUNIT_EXPECT_FALSE(test, ksm_vma_may_merge(make_file(test, S_DAX), PRIVATE_MEMORY));
}

static bool offers(struct mm_struct *mm, unsigned long addr)
{
	bool yes;

	mmap_read_lock(mm);
	yes = ksm_vma_offers(vma_lookup(mm, addr));
	mmap_read_unlock(mm);
	return yes;
}

static void change(struct mm_struct *mm, unsigned long addr, vm_flags_t set, vm_flags_t clear)
{
	mmap_write_lock(mm);
	vm_flags_mod(vma_lookup(mm, addr), set, clear);
	mmap_write_unlock(mm);
}

static void vma_offers_once_it_has_pages(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	KUNIT_EXPECT_FALSE(test, offers(mm, addr));
	ksm_test_write(test, mm, addr, 1);
	KUNIT_EXPECT_TRUE(test, offers(mm, addr));
}

static void vma_offers_while_asked_to(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, 1);
	change(mm, addr, 0, VM_MERGEABLE);
	KUNIT_EXPECT_FALSE(test, offers(mm, addr));
	change(mm, addr, VM_MERGEABLE, 0);
	KUNIT_EXPECT_TRUE(test, offers(mm, addr));
}

static void P16_vma_that_changed_its_nature_offers_nothing(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);

	ksm_test_write(test, mm, addr, 1);
	change(mm, addr, VM_MIXEDMAP, 0);
	KUNIT_EXPECT_FALSE(test, offers(mm, addr));
	change(mm, addr, 0, VM_MIXEDMAP);
	KUNIT_EXPECT_TRUE(test, offers(mm, addr));
}

/* It would hang, if it took the lock. */
static void P79_a_monitor_waits_for_no_mmap_lock(struct kunit *test)
{
	struct mm_struct *mm = ksm_test_mm(test);
	unsigned long addr = ksm_test_map(test, mm, 1);
	bool before, while_locked, offers_any;
	long profit;

	before = ksm_vma_any_mergeable(mm);
	mmap_write_lock(mm);
	while_locked = ksm_vma_any_mergeable(mm);
	offers_any = ksm_process_mergeable(mm);
	profit = ksm_process_profit(mm);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, before);
	KUNIT_EXPECT_TRUE(test, while_locked);
	KUNIT_EXPECT_TRUE(test, offers_any);
	KUNIT_EXPECT_LE(test, profit, 0);
	change(mm, addr, 0, VM_MERGEABLE);
	KUNIT_EXPECT_FALSE(test, ksm_vma_any_mergeable(mm));
}

static struct kunit_case vma_cases[] = {
	KUNIT_CASE_PARAM(P16_vma_of_this_kind_never_merges, never_gen_params),
	KUNIT_CASE_PARAM(vma_of_this_kind_merges, harmless_gen_params),
	KUNIT_CASE(read_only_memory_merges),
	KUNIT_CASE(private_pages_of_a_file_merge),
	KUNIT_CASE(P16_file_in_direct_access_memory_never_merges),
	KUNIT_CASE(vma_offers_once_it_has_pages),
	KUNIT_CASE(vma_offers_while_asked_to),
	KUNIT_CASE(P16_vma_that_changed_its_nature_offers_nothing),
	KUNIT_CASE(P79_a_monitor_waits_for_no_mmap_lock),
	{ }
};

static struct kunit_suite vma_suite = {
	.name = "ksm_vma",
	.init = ksm_test_init,
	.test_cases = vma_cases,
};

kunit_test_suite(vma_suite);
