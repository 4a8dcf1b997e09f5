#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# build.sh NAME: configure and build one of our kernels in build/NAME.
#
#   x86, x86-debug, x86-kasan	with our KSM
#   x86-base, x86-base-debug	the base's, untouched
#   um, um-base			User Mode Linux, with ours and with the base's
#   i386, arm64			other machines, ours, debug
#   nosysfs			ours, small, without CONFIG_SYSFS
set -eu
. "$(dirname "$0")/lib.sh"
name=$1

# files: about how many a first build makes, for the progress line
tree=$build/linux arch=x86_64 fragments='' image=bzImage files=1800 flags='' cross=''
case $name in
*base*) tree=$build/base CONFIG_IGNORE='CONFIG_KSM_' ;;
esac
case $name in
x86 | x86-base) fragments='base' ;;
x86-debug | x86-base-debug) fragments='base debug' files=1830 ;;
x86-kasan) fragments='base debug kasan' files=1830 ;;
um | um-base)
	fragments='um' arch=um image=linux files=1065
	# um does not say that x86 reads words at any address; without it memcmp goes by bytes
	flags='-DCONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS=1' ;;
i386) fragments='base debug i386' arch=i386 ;;
arm64) fragments='base debug arm64' arch=arm64 image=Image cross=aarch64-linux-gnu- ;;
nosysfs) fragments='nosysfs' files=800 ;;
*) die "build: no kernel is called $name" ;;
esac
[ -f "$tree/Makefile" ] || die "build: ${tree#"$top"/} is missing; run make tree"
[ "$tree" = "$build/base" ] || [ -f "$tree/mm/ksm.c" ] ||
	die "build: mm/ksm.c is not there: there is no KSM of ours to build yet"

lock "$name"
export CONFIG_IGNORE="${CONFIG_IGNORE:-}" ARCH=$arch CROSS_COMPILE=$cross

out=$build/$name
set --
for fragment in $fragments; do
	set -- "$@" "$top/configs/$fragment.config"
done
"$top/scripts/configure.sh" "$tree" "$out" "$@"

[ ! -f "$out/vmlinux" ] || files=0
step "$name" "build $name" "$files" \
	make -C "$tree" O="$out" ARCH=$arch -j"$jobs" CC="ccache ${cross}gcc" HOSTCC='ccache gcc' \
	KCFLAGS="$flags" $image
