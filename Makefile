# SPDX-License-Identifier: GPL-2.0-only
#
# A Linux 6.12 with our own KSM.  `make help` says what there is.

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
export T B KDIR DATA COPIES MINUTES SHARE MEMORY KERNEL

.PHONY: help run check check-kasan check-base check-configs check-cross check-i386 check-arm64 \
	check-nosysfs bench bench-quick stress shell deps tree base-tree kernel debug-kernel kasan-kernel \
	base-kernel base-debug-kernel uml base-uml abi-base patch install tests clean distclean

help:
	@sed -n 's/^#: //p' $(firstword $(MAKEFILE_LIST))

#: The main things
#:   make run                 boot our kernel and show KSM saving memory on real files
#:                              DATA=FILE-or-FOLDER  load this; COPIES=N  worker processes (4)
#:   make check               all tests; T=NAME: only suites or tests with NAME in their name
#:   make shell               a shell in a booted guest with our KSM, its tools and tests
#:                              SHARE=FOLDER  seen there as /share0; MEMORY=MiB (1024)
#:   make bench               what our KSM costs against the base's: build/bench/report.md;
#:                              B=NAME: only workloads with NAME in their name;
#:                              CONTINUE=1: go on with one that was interrupted
#:   make bench-quick         the same with less memory and one round: build/bench-quick/
#:   make check-kasan         all that runs in guests, on a kernel with KASAN and kmemleak
#:   make stress              mixed load on a KASAN kernel; MINUTES=N (10)
#: Your own kernel
#:   make patch               build/ksm-6.12.patch, for a pristine 6.12.y tree;
#:                              KDIR=TREE: made for that tree
#:   make install KDIR=TREE   the same change laid into TREE
run: deps
	@scripts/run.sh --check
	@$(MAKE) kernel
	@scripts/run.sh

check: deps
	@scripts/check.sh

check-kasan: deps
	@KASAN=1 scripts/check.sh

check-base: base-debug-kernel tree
	@KERNEL=$(CURDIR)/build/x86-base-debug/arch/x86/boot/bzImage scripts/check.sh

check-configs: deps
	@STATIC=configs T=configs scripts/check.sh

check-cross:
	@scripts/deps.sh cross
	@STATIC=cross T=cross scripts/check.sh

check-i386 check-arm64:
	@scripts/deps.sh $(@:check-%=%)
	@MACHINE=$(@:check-%=%) scripts/check.sh

check-nosysfs: deps
	@MACHINE=nosysfs scripts/check.sh

bench: kernel base-kernel uml base-uml
	@scripts/bench.sh

bench-quick: kernel base-kernel uml base-uml
	@QUICK=1 scripts/bench.sh

stress: kasan-kernel tests
	@scripts/stress.sh

shell: kernel tests
	@scripts/shell.sh

patch: base-tree
	@scripts/patch.sh

install: deps
	@scripts/install.sh

#: Parts of it
#:   make deps                install what is missing (Debian packages)
#:   make tree                build/linux: the base source with our KSM instead of its own
#:   make base-tree           build/base: the base source, untouched
#:   make kernel              build/x86/arch/x86/boot/bzImage
#:   make uml                 build/um/linux: the same as a User Mode Linux
#:   make debug-kernel        build/x86-debug: lockdep, DEBUG_VM, KUnit, fault injection
#:   make kasan-kernel        build/x86-kasan: the same with KASAN and kmemleak
#:   make base-kernel         build/x86-base: the base's own KSM; also base-debug-kernel
#:   make tests               build/tests: our selftests
#:   make check-base          the selftests on the base's kernel: what they say of its KSM
#:   make abi-base            scripts/abi.base anew: what users see of the base's KSM
deps:
	@scripts/deps.sh

tree: deps
	@scripts/tree.sh linux

base-tree: deps
	@scripts/tree.sh base

kernel: tree
	@scripts/build.sh x86

debug-kernel: tree
	@scripts/build.sh x86-debug

kasan-kernel: tree
	@scripts/build.sh x86-kasan

base-kernel: base-tree
	@scripts/build.sh x86-base

base-debug-kernel: base-tree
	@scripts/build.sh x86-base-debug

uml: tree
	@scripts/build.sh um

base-uml: base-tree
	@scripts/build.sh um-base

tests: tree
	@scripts/selftests.sh ours

abi-base: base-debug-kernel
	@scripts/abi.sh record

#: Other machines and configurations
#:   make check-configs       compile KSM and its callers without what they can do without
#:   make check-cross         the same for arm64, s390 and powerpc
#:   make check-i386          boot a 32-bit kernel, and run KUnit and the selftests on it
#:   make check-arm64         the same for arm64
#:   make check-nosysfs       boot a kernel without sysfs, where ksmd runs from the start
#: Tidying
#:   make clean               remove what was built; the sources and the compiler's cache stay
#:   make distclean           remove build/
clean:
	@scripts/clean.sh

distclean:
	@rm -rf build
