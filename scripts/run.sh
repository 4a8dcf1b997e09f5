#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# run.sh: the main job.  Boots our kernel in QEMU, where COPIES worker processes
# load the same files and offer their memory to KSM (tools/mm/ksm/).
#
#   DATA=FILE-or-FOLDER	what they load; by default files of this machine
#   COPIES=N		how many workers, 4 by default
#   KERNEL=BZIMAGE	another kernel, to compare with
#
# run.sh --check only says what is wrong with DATA and COPIES, before anything is built.
set -eu
charmap=$(locale charmap 2> /dev/null || :)
. "$(dirname "$0")/lib.sh"

DATA=${DATA-}
COPIES=${COPIES:-4}
copies_least=2 copies_most=64
default_mib=48			# at least
guest_base_mib=192		# kernel, programs, room to breathe
guest_most_mib=16384
kernel=${KERNEL:-$build/x86/arch/x86/boot/bzImage}
out=$build/run

check_copies()
{
	case $COPIES in
	'' | *[!0-9]* | ?????*) die "run: COPIES=$COPIES: say a whole number from $copies_least to $copies_most" ;;
	esac
	if [ "$COPIES" -lt $copies_least ] || [ "$COPIES" -gt $copies_most ]; then
		die "run: COPIES=$COPIES is out of range: from $copies_least to $copies_most"
	fi
	COPIES=$(printf '%s' "$COPIES" | sed 's/^0*//')
}

# The user's files, NUL-separated, in the order of their names.
list_data()
{
	[ -e "$DATA" ] || die "run: DATA=$DATA does not exist, or cannot be reached"
	[ -f "$DATA" ] || [ -d "$DATA" ] || die "run: DATA=$DATA is neither a file nor a folder"
	path=$(realpath -- "$DATA")
	bad=$(find "$path" \( -type f -o -type d \) ! -readable -print -quit 2> /dev/null || :)
	[ -z "$bad" ] || die "run: cannot read $bad"
	find "$path" -type f ! -empty -print0 2> "$out/find.log" > "$out/files.unsorted" ||
		die "run: cannot read all of DATA=$DATA: $(head -n 1 "$out/find.log")"
	sort -z "$out/files.unsorted"
	rm "$out/files.unsorted" "$out/find.log"
}

# pick BYTES PATH... [-find-option...]: as many files as it takes, in the order of their names
pick()
{
	left=$1
	shift
	find "$@" -type f -readable -size -8192k ! -empty -printf '%s\t%p\n' 2> /dev/null |
		sort -k 2 | awk -F '\t' -v left="$left" '
			left > 0 && NF == 2 && $1 > 0 { print $2; left -= $1 }'
}

# A machine's libraries, programs, and source code: the same files each time.
list_default()
{
	wanted=$((default_mib * 1024 * 1024))
	{
		pick $((wanted * 3 / 8)) /usr/lib/*-linux-gnu -maxdepth 1 -name '*.so*'
		pick $((wanted * 3 / 8)) /usr/bin -maxdepth 1
	} > "$out/files.lines"
	have=$(tr '\n' '\0' < "$out/files.lines" | measure | cut -d ' ' -f 1)
	pick $((wanted - have)) "$build/base/kernel" "$build/base/net" "$build/base/fs" >> "$out/files.lines"
	tr '\n' '\0' < "$out/files.lines"
	rm "$out/files.lines"
}

# Bytes, and pages if each file begins on one of its own.
measure()
{
	xargs -0r stat -Lc %s -- | awk '
		{ bytes += $1; pages += int(($1 + 4095) / 4096) }
		END { printf "%.0f %.0f\n", bytes, pages }'
}

# guest_mib PAGES: each worker has an eighth of its own beside the data; a tenth
# more describes it all (page structures, page tables, KSM's records).
guest_mib()
{
	own=$(($1 / 8))
	[ $own -ge 64 ] || own=64
	echo $((guest_base_mib + COPIES * ($1 + own) * 11 / 10 / 256))
}

check_memory()
{
	most=$(awk '/^MemAvailable:/ { print int($2 / 1024 * 3 / 4) }' /proc/meminfo)
	[ "$most" -le $guest_most_mib ] || most=$guest_most_mib
	needed=$(guest_mib "$pages")
	[ "$needed" -gt "$most" ] || return 0
	fits=$(((most - guest_base_mib) * 80 / 99 / COPIES))
	[ $fits -ge 1 ] || die "run: $COPIES copies do not fit: this machine has $most MiB to spare for a guest"
	die "run: $COPIES copies of $size need a guest of $needed MiB, this machine can give $most MiB;" \
		"$fits MiB of data would fit"
}

check_disk()
{
	free=$(df -Pk "$out" | awk 'END { print int($4 / 1024) }')
	[ "$free" -gt $((mib + 64)) ] || die "run: no room in ${out#"$top"/} for $mib MiB of data: $free MiB are free"
}

prepare()
{
	check_copies
	lock run
	mkdir -p "$out"
	if [ -n "$DATA" ]; then
		list_data > "$out/files"
		sizes=$(measure < "$out/files")
	elif [ "${1-}" = --check ]; then
		sizes="$((default_mib << 20)) $((default_mib << 8))"	# no source code yet
	else
		list_default > "$out/files"
		sizes=$(measure < "$out/files")
	fi
	pages=${sizes#* }
	mib=$(((${sizes% *} + 1048575) / 1048576))
	size=$(echo "$sizes" | awk '{ small = $1 < 1048576; printf "%.1f %s", $1 / (small ? 1024 : 1048576), small ? "KiB" : "MiB" }')
	[ "$pages" -gt 0 ] || die "run: DATA=$DATA holds no data"
	check_memory
	check_disk
}

# The files go in as a disk: a tar archive that the workers read.
pack()
{
	status=0
	tar --create --format=gnu --no-recursion --absolute-names --dereference --hard-dereference \
		--file="$out/data.tar" --null --files-from="$out/files" 2> "$out/tar.log" || status=$?
	# 1: a file changed meanwhile; what is in the archive is what counts
	[ $status -le 1 ] || die "run: cannot pack the data: $(head -n 1 "$out/tar.log")"
}

# What the guest runs; its output comes through a serial port of its own.
make_guest()
{
	flock "$build/.lock.tools" make -s -C "$build/linux/tools/mm" LDFLAGS=-static ksm_share > "$out/make.log" 2>&1 ||
		die "run: tools/mm/ksm_share does not build: $(tail -n 1 "$out/make.log")"
	case $charmap in UTF-8) ascii='' ;; *) ascii=-a ;; esac
	"$top/scripts/initramfs.sh" -c "stty -F /dev/ttyS1 -onlcr
		ksm_share -c $COPIES $ascii /dev/vda > /dev/ttyS1 2>&1" \
		"$out/initramfs.cpio.gz" "$build/linux/tools/mm/ksm_share"
}

leave()
{
	[ -z "$boot" ] || kill "$boot" 2> /dev/null || :
	[ -z "$boot" ] || wait "$boot" || :
	rm -f "$out/data.tar"
}

# Time enough: a slow machine loads and compares 3 MiB a second for each copy's MiB.
boot()
{
	: > "$out/output"
	"$top/scripts/boot.sh" -k "$kernel" -i "$out/initramfs.cpio.gz" -m "$needed" \
		-t $((300 + mib * COPIES)) -a zram=0 \
		-s "$out/console" -r "$out/output" -S "$out/data.tar" &
	boot=$!
	tail -n +1 -f --pid=$boot "$out/output" &
	follower=$!
	status=0
	wait $boot || status=$?
	wait $follower || :
	boot=''
}

start=$(date +%s)
prepare "$@"
[ "${1-}" != --check ] || exit 0
[ -f "$kernel" ] || die "run: there is no kernel at ${kernel#"$top"/} (make kernel builds it)"

boot=''
trap leave EXIT
trap 'exit 130' INT TERM HUP
echo "data: $size of ${DATA:-libraries, programs and source code of this machine}"
pack
make_guest
echo "guest: 2 CPUs (emulated), $needed MiB; booting ${kernel#"$top"/}"
boot
[ $status -eq 0 ] || die "run: failed after $(took $(($(date +%s) - start))); the guest's console: ${out#"$top"/}/console"
echo "run: all is right, and the kernel warned of nothing; $(took $(($(date +%s) - start))) in all"
