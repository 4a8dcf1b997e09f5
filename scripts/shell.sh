#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shell.sh: a shell in a guest with our KSM, our selftests and tools in its PATH.
#
#   MEMORY=MiB		of the guest (1024)
#   SHARE=FOLDER	seen there as /share0, read-only
#   KERNEL=BZIMAGE	another kernel, to compare with
set -eu
. "$(dirname "$0")/lib.sh"
MEMORY=${MEMORY:-1024}

case $MEMORY in
'' | *[!0-9]*) die "shell: MEMORY=$MEMORY: say how many MiB" ;;
esac
[ "$MEMORY" -ge 256 ] || die "shell: MEMORY=$MEMORY: a guest needs 256 MiB at least"
[ -z "${SHARE:-}" ] || [ -d "$SHARE" ] || die "shell: SHARE=$SHARE is no folder"
[ -t 0 ] || die "shell: needs a terminal"

out=$build/shell
mkdir -p "$out"
tools=$build/linux/tools/mm
flock "$build/.lock.tools" make -s -C "$tools" LDFLAGS=-static ksm_share > "$build/log/tools.log" 2>&1 ||
	die "shell: tools/mm does not build; see build/log/tools.log"
set -- "$tools/ksm_share"
for program in "$build"/tests/ksm_*; do
	set -- "$@" "$program"
done

cat > "$out/motd" <<END

Linux with our KSM: 2 CPUs, 2 nodes, $MEMORY MiB, 256 MiB of swap on zram.
  KSM:    /sys/kernel/mm/ksm    (echo 1 > /sys/kernel/mm/ksm/run starts it)
  tools:  $(for program; do printf '%s ' "${program##*/}"; done | fold -s -w 70 | sed '2,$s/^/          /')${SHARE:+
  files:  /share0 is $SHARE}
Leave with exit, or at any time with Ctrl-A X.

END
"$top/scripts/initramfs.sh" "$out/initramfs.cpio.gz" "/etc/motd=$out/motd" "$@"
# unknown words on the kernel's command line become init's environment
rows_columns=$(stty size)
exec "$top/scripts/boot.sh" -I -k "${KERNEL:-$build/x86/arch/x86/boot/bzImage}" -i "$out/initramfs.cpio.gz" \
	-m "$MEMORY" -a "loglevel=4 TERM=${TERM:-vt100} LINES=${rows_columns% *} COLUMNS=${rows_columns#* }" ${SHARE:+-S "$SHARE"}
