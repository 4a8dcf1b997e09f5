#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# boot-um.sh: boot a User Mode Linux, and judge it as boot.sh does.
#
#   -k LINUX -i INITRAMFS
#   -m MiB      memory (1024)
#   -t SECONDS  limit (600)
#   -a "WORDS"  more kernel parameters
#   -s FILE     console to FILE
#   -r FILE     what the guest writes to /dev/ttyS1
#
# Exit: 0 if the guest said KSM-GUEST-OK on a line alone and the kernel warned of
# nothing; 1 if not; 124 if time ran out.
set -eu
. "$(dirname "$0")/lib.sh"

memory=1024 limit=600 extra=''
while [ $# -gt 0 ]; do
	case $1 in
	-k) kernel=$2 ;;
	-i) initramfs=$2 ;;
	-m) memory=$2 ;;
	-t) limit=$2 ;;
	-a) extra=$2 ;;
	-s) console=$2 ;;
	-r) results=$2 ;;
	*) echo "boot-um: unknown option $1" >&2; exit 2 ;;
	esac
	shift 2
done

# It is many processes, in a group of their own (timeout's), which all end with it.
guest=''
trap '[ -z "$guest" ] || kill "$guest" 2> /dev/null || :' EXIT
trap 'exit 130' INT TERM HUP
status=0
# shellcheck disable=SC2086
timeout -k 5 "$limit" "$kernel" mem="${memory}M" initrd="$initramfs" \
	con=null con0=null,fd:1 ssl=null ssl1=null,fd:3 \
	panic=-1 panic_on_warn=1 $extra \
	> "$console" 2>&1 3> "$results" < /dev/null &
guest=$!
wait $guest || status=$?
guest=''
if [ $status -eq 124 ] || [ $status -eq 137 ]; then
	echo "boot-um: the guest was stopped: its limit of $limit s is over" >&2
	exit 124
fi
judge boot-um "$console" '|segfault at'
