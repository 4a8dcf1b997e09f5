#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# stress.sh: ksm_stress for MINUTES on the kernel with KASAN, lockdep, kmemleak.
set -eu
. "$(dirname "$0")/lib.sh"
MINUTES=${MINUTES:-10}

case $MINUTES in
'' | *[!0-9]* | ?????*) die "stress: MINUTES=$MINUTES: say a whole number" ;;
esac
[ "$MINUTES" -ge 1 ] || die "stress: MINUTES=$MINUTES: at least 1"
[ -x "$build/tests/ksm_stress" ] || die "stress: build/tests/ksm_stress is missing (make tests)"

lock stress
out=$build/stress
mkdir -p "$out"
# shellcheck disable=SC2016
"$top/scripts/initramfs.sh" -c '
	stty -F /dev/ttyS1 -onlcr
	ksm_stress $((minutes * 60)) > /dev/ttyS1 2>&1 || exit 1
	# leaks are looked for twice: what is new may still be on its way
	for i in 1 2; do echo scan > /sys/kernel/debug/kmemleak || exit 1; sleep 6; done
	cat /sys/kernel/debug/kmemleak > /dev/ttyS1
	! grep -q . /sys/kernel/debug/kmemleak' \
	"$out/initramfs.cpio.gz" "$build/tests/ksm_stress"

status=0
: > "$out/output"
tail -n +1 -f --pid=$$ "$out/output" 9>&- &
reader=$!
# A guest under KASAN is slow: three times the time, and some to boot and end.
end_with_guest
run_guest "$top/scripts/boot.sh" -k "$build/x86-kasan/arch/x86/boot/bzImage" -i "$out/initramfs.cpio.gz" \
	-m 2048 -t $((MINUTES * 180 + 300)) -a "minutes=$MINUTES" \
	-s "$out/console" -r "$out/output" || status=$?
sleep 1
kill $reader 2> /dev/null || :
[ $status -eq 0 ] || {
	tail -n 30 "$out/console" | tr -d '\r' | sed 's/^/  | /' >&2
	die "stress: failed; whole console: ${out#"$top"/}/console"
}
echo "stress: $MINUTES minutes, contents as they should be, and the kernel warned of nothing"
