#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# selftests.sh ours|base: build the KSM selftests of ours in build/tests, those of
# the base in build/tests-base.
# selftests.sh ours MACHINE: for i386 or arm64, in build/tests-MACHINE.
set -eu
. "$(dirname "$0")/lib.sh"

case $1 in
ours) tree=$build/linux out=$build/tests prefix='' ;;
base) tree=$build/base out=$build/tests-base prefix=base_ ;;
*) die "selftests: say ours or base" ;;
esac
arch=x86_64 cross=''
case ${2:-} in
i386) arch=i386 cross=i686-linux-gnu- ;;
arm64) arch=arm64 cross=aarch64-linux-gnu- ;;
esac
[ -z "$cross" ] || out=$build/tests-$2
lock tests

headers=$build/headers-$1${cross:+-$2}
step headers "kernel headers" 0 \
	make -C "$tree" O="$headers" ARCH=$arch HOSTCC='ccache gcc' -j"$jobs" headers

# A program whose source is gone must not be run any longer.
mkdir -p "$out"
for program in "$out/$prefix"ksm_*; do
	source=${program##*/}
	source=$tree/tools/testing/selftests/mm/${source#"$prefix"}.c
	[ -f "$source" ] || rm -f "$program"
done
step "tests-$1" "build selftests (${2:-$1})" 0 \
	make -f "$top/scripts/selftests.mk" -j"$jobs" -s TREE="$tree" HEADERS="$headers" OUT="$out" PREFIX=$prefix CROSS=$cross
