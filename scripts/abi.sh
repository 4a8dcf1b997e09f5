#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# abi.sh ours|base KERNEL OUT: what users see of KSM (abi.c) on a running KERNEL, as a
# sorted list in OUT.  The headers are those of our kernel tree, or of the base's.
# abi.sh record: the list of the base, as scripts/abi.base.
set -eu
. "$(dirname "$0")/lib.sh"

# list OURS-OR-BASE KERNEL OUT
list()
{
	work=$build/abi/$1
	mkdir -p "$work"
	ccache gcc -static -O2 -Wall -Werror -D_GNU_SOURCE -isystem "$build/headers-$1/usr/include" \
		-o "$work/abi" "$top/scripts/abi.c"
	"$top/scripts/initramfs.sh" -c 'stty -F /dev/ttyS1 -onlcr; abi > /dev/ttyS1 2>&1' \
		"$work/initramfs.cpio.gz" "$work/abi"
	run_guest "$top/scripts/boot.sh" -k "$2" -i "$work/initramfs.cpio.gz" -t 300 \
		-s "$work/console" -r "$work/output" || {
		tail -n 5 "$work/output" >&2
		die "abi: failed; the console: ${work#"$top"/}/console"
	}
	tr -d '\r' < "$work/output" | sort > "$3"
}

end_with_guest
if [ "$1" != record ]; then
	list "$1" "$2" "$3"
	exit
fi

"$top/scripts/selftests.sh" base
list base "$build/x86-base-debug/arch/x86/boot/bzImage" "$build/abi/base.list"
{
	cat <<END
# What users see of the base's KSM: told by scripts/abi.c on its running kernel, that
# of \`make base-debug-kernel', Linux $(kernel_version "$build/base").  Made by \`make abi-base', not by hand.
# Lines NAME, tab, VALUE; N stands for a number.
END
	cat "$build/abi/base.list"
} > "$build/abi/abi.base"
mv "$build/abi/abi.base" "$top/scripts/abi.base"
echo "abi: $(wc -l < "$build/abi/base.list") lines in scripts/abi.base"
