#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# boot.sh: boot a kernel in QEMU, without hardware virtualization, and judge it.
#
#   -M MACHINE  x86, or i386 or arm64, which differ in devices and nodes (x86)
#   -k BZIMAGE -i INITRAMFS
#   -m MiB[+MiB...]  memory, half of it on each of two nodes (1024); what is added comes
#               as DIMMs of the second node, which can be taken out
#   -t SECONDS  limit; 0: none (600)
#   -a "WORDS"  more kernel parameters
#   -s FILE     console to FILE, not to stdout
#   -r FILE     what the guest writes to /dev/ttyS1, or to what results= says
#   -S PATH     a folder (seen as /share0, /share1, …) or a disk image (/dev/vda, …), read-only
#   -p          take all memory from this machine at the start: who measures does not wait for it
#   -I          interactive: console on this terminal, nothing is judged
#
# Exit: 0 if the guest said KSM-GUEST-OK on a line alone and the kernel warned of
# nothing; 1 if not; 2 if it was called wrongly; 124 if time ran out.
set -eu
. "$(dirname "$0")/lib.sh"

# called wrongly
die()
{
	echo "boot: $*" >&2
	exit 2
}

machine=x86 kernel='' initramfs='' memory=1024 limit=600 extra='' console='' results='' interactive='' shares=0 prealloc=off
set -- "$@" --
while [ "$1" != -- ]; do
	case $1 in
	-M) machine=$2; shift 2 ;;
	-k) kernel=$2; shift 2 ;;
	-i) initramfs=$2; shift 2 ;;
	-m) memory=$2; shift 2 ;;
	-t) limit=$2; shift 2 ;;
	-a) extra=$2; shift 2 ;;
	-s) console=$2; shift 2 ;;
	-r) results=$2; shift 2 ;;
	-p) prealloc=on; shift ;;
	-I) interactive=1; shift ;;
	-S)
		case $2 in *,*) die "no comma may be in a path to share: $2" ;; esac
		if [ -d "$2" ]; then
			set -- "$@" -virtfs "local,path=$2,mount_tag=share$shares,security_model=none,readonly=on,multidevs=remap"
			shares=$((shares + 1))
		elif [ -f "$2" ]; then
			set -- "$@" -drive "file=$2,format=raw,if=virtio,readonly=on"
		else
			die "no such file or folder to share: $2"
		fi
		shift 2 ;;
	*) die "unknown option $1" ;;
	esac
done
shift
[ -f "$kernel" ] || die "no kernel: ${kernel:-give one with -k} (make kernel builds it)"
[ -f "$initramfs" ] || die "no initramfs: ${initramfs:-give one with -i}"

work=$(mktemp -d)
qemu=''
trap '[ -z "$qemu" ] || kill "$qemu" 2> /dev/null || :; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

dimms=''
while [ "${memory%+*}" != "$memory" ]; do
	dimms="${memory##*+} $dimms"
	memory=${memory%+*}
done
half=$((memory / 2))
set -- -nodefaults -no-user-config -display none -no-reboot -accel tcg,thread=multi \
	-smp 2,sockets=2,cores=1,threads=1 -device virtio-rng-pci \
	-kernel "$kernel" -initrd "$initramfs" "$@"
append="panic=-1 panic_on_warn=1 oops=panic swiotlb=noforce $extra"

# Two nodes with half of the memory each, but for i386.
case $machine in
i386)
	[ $prealloc = off ] || die "-p is not for i386"
	set -- -m "$((half * 2))M" "$@" ;;
*)
	set -- -m "${half}M,slots=4,maxmem=$((half * 2 + 8192))M" -m "$((half * 2))M" \
		-object "memory-backend-ram,id=ram0,size=${half}M,prealloc=$prealloc" \
		-object "memory-backend-ram,id=ram1,size=${half}M,prealloc=$prealloc" \
		-numa node,nodeid=0,cpus=0,memdev=ram0 -numa node,nodeid=1,cpus=1,memdev=ram1 "$@" ;;
esac
case $machine in
x86 | i386)
	# fast strings of bytes are emulated byte by byte: who clears or copies a page would
	# wait for that, and for little else
	qemu_system=qemu-system-x86_64 cpu=max,-erms,-fsrm
	# an AMD of that age would be none for two sockets, and the kernel warns
	[ "$machine" = x86 ] || qemu_system=qemu-system-i386 cpu=max,vendor=GenuineIntel
	set -- -M q35 -cpu $cpu "$@"
	append="console=ttyS0 no_timer_check tsc=reliable $append" ;;
arm64)
	# the architecture's own hash for pointer authentication takes most of QEMU's time
	qemu_system='qemu-system-aarch64'
	set -- -M virt,gic-version=3,mte=on -cpu max,pauth-impdef=on "$@"
	append="console=ttyAMA0 results=/dev/hvc0 $append" ;;
*) die "no machine is called $machine" ;;
esac
number=0
for dimm in $dimms; do
	number=$((number + 1))
	set -- "$@" -object "memory-backend-ram,id=dimm$number,size=${dimm}M,prealloc=$prealloc" \
		-device "pc-dimm,memdev=dimm$number,node=1"
done

if [ -n "$interactive" ]; then
	trap 'rm -rf "$work"' EXIT
	$qemu_system "$@" -append "$append" -chardev stdio,id=con,mux=on,signal=off -serial chardev:con
	exit 0
fi

log=${console:-$work/console}
: > "$log"
set -- "$@" -append "$append" -chardev "file,id=con,path=$log" -serial chardev:con
if [ -n "$results" ]; then
	: > "$results"
	set -- "$@" -chardev "file,id=res,path=$results"
	case $machine in
	arm64) set -- "$@" -device virtio-serial-pci -device virtconsole,chardev=res ;;
	*) set -- "$@" -serial chardev:res ;;
	esac
fi
$qemu_system "$@" < /dev/null &
qemu=$!

reader=''
if [ -z "$console" ]; then
	tail -n +1 -f --pid=$qemu "$log" &
	reader=$!
fi

start=$(date +%s) expired=''
while kill -0 $qemu 2> /dev/null; do
	if [ "$limit" -gt 0 ] && [ $(($(date +%s) - start)) -ge "$limit" ]; then
		expired=1
		kill $qemu 2> /dev/null || :
		break
	fi
	sleep 0.2
done
status=0
wait $qemu || status=$?
qemu=''
[ -z "$reader" ] || wait $reader || :

if [ -n "$expired" ]; then
	echo "boot: the guest was stopped: its limit of $limit s is over" >&2
	exit 124
fi
if [ $status -ne 0 ]; then
	echo "boot: QEMU ended with status $status" >&2
	exit 1
fi

judge boot "$log"
