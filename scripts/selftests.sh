#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# selftests.sh ours|base: build the KSM selftests of ours in build/tests, those of
# the base in build/tests-base.
set -eu
. "$(dirname "$0")/lib.sh"

case $1 in
ours) tree=$build/linux out=$build/tests prefix='' ;;
base) tree=$build/base out=$build/tests-base prefix=base_ ;;
*) die "selftests: say ours or base" ;;
esac
lock tests

headers=$build/headers-$1
step headers "kernel headers" 0 \
	make -C "$tree" O="$headers" ARCH=x86_64 HOSTCC='ccache gcc' -j"$jobs" headers

# A program whose source is gone must not be run any longer.
mkdir -p "$out"
for program in "$out/$prefix"ksm_*; do
	source=${program##*/}
	source=$tree/tools/testing/selftests/mm/${source#"$prefix"}.c
	[ -f "$source" ] || rm -f "$program"
done
step "tests-$1" "build selftests ($1)" 0 \
	make -f "$top/scripts/selftests.mk" -j"$jobs" -s TREE="$tree" HEADERS="$headers" OUT="$out" PREFIX=$prefix
