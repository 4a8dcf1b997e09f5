#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# bench.sh: what our KSM costs, against the base's own.
#
#   B=NAME		only workloads with NAME in their name
#   QUICK=1		less memory, one round, and less of ksmd's CPU time for a figure
#   CONTINUE=1		go on with one that was interrupted: its figures stay
#
# For each workload of bench.plan the base's kernel and ours are booted in turn, in a guest
# of their own each time, so that whatever else this machine does falls on both.  Leaves in
# build/bench (build/bench-quick): report.md, figures.csv, samples.csv, and plots.
#
# Exit: 1 if a guest died, a content was wrong, or a limit was over; 0 even if goals are
# not met: those are the report's to tell.
set -eu
. "$(dirname "$0")/lib.sh"

B=${B:-}
QUICK=${QUICK:-}
CONTINUE=${CONTINUE:-}
out=$build/bench${QUICK:+-quick}
plan=$top/scripts/bench.plan
rounds=3 limit=1200 least_um=2 least_x86=2
[ -z "$QUICK" ] || rounds=1 limit=300 least_um=0.2 least_x86=0.5

# steps: a line `MACHINE WORKLOAD PAGES' for each guest that is wanted
steps()
{
	grep -v '^#' "$plan" | awk -F '\t+' -v quick="$QUICK" -v want="$B" '
		{
			sub(/\..*/, "", $2)
			n = split(quick ? $4 : $3, pages, ",")
			for (i = 1; i <= n; i++) {
				step = $1 " " $2 " " pages[i]
				if (pages[i] != "-" && (want == "" || index($2, want)) && !done[step]++)
					print step
			}
		}'
}

# Guests shall not wait for this machine's other work.
if [ "$(id -u)" -eq 0 ] && chrt -r 1 true 2> /dev/null; then
	first='chrt -r 1'
else
	first=''
	echo "bench: not root: other work of this machine will disturb what is measured"
fi

# A page of a UML guest can be a mapping of its own.
raise_map_count()
{
	wanted=2000000 maps=$(cat /proc/sys/vm/max_map_count)
	grep -q '^um ' "$out/steps" && [ "$maps" -lt $wanted ] || return 0
	echo $wanted 2> /dev/null > /proc/sys/vm/max_map_count ||
		die "bench: run as root: sysctl vm.max_map_count=$wanted"
	trap 'end_guest; echo $maps > /proc/sys/vm/max_map_count' EXIT
	echo "bench: vm.max_map_count of this machine is $wanted meanwhile; it was $maps"
}

# image KERNEL MACHINE: what is booted
image()
{
	case $1 in base) suffix=-base ;; *) suffix='' ;; esac
	case $2 in
	um) echo "$build/um$suffix/linux" ;;
	x86) echo "$build/x86$suffix/arch/x86/boot/bzImage" ;;
	esac
}

# Tables without figures, or those that have some already, of the same kernels and workloads.
begin()
{
	for machine in um x86; do
		cksum "$(image base $machine)" "$(image ours $machine)"
	done > "$out/kernels.now"
	cksum "$out/ksm_bench" >> "$out/kernels.now"
	if [ -n "$CONTINUE" ] && [ -s "$out/figures.csv" ]; then
		cmp -s "$out/kernels" "$out/kernels.now" ||
			die "bench: CONTINUE=1: kernels or workloads are not those that were measured; begin anew without it"
		return 0
	fi
	echo 'kernel,machine,round,workload,pages,value,unit,cpu_s,wall_s,rounds' > "$out/figures.csv"
	echo 'kernel,machine,round,workload,pages,seconds,value' > "$out/samples.csv"
	mv "$out/kernels.now" "$out/kernels"
}

# is_measured KERNEL MACHINE WORKLOAD PAGES ROUND
is_measured() { grep -Eq "^$1,$2,$5,$3(\.[a-z]+)?,$4," "$out/figures.csv"; }

# boot KERNEL MACHINE WORKLOAD PAGES: the program's lines into $out/results
boot()
{
	case $2 in
	um) command=$top/scripts/boot-um.sh touched='' least_cpu=$least_um ;;
	x86) command=$top/scripts/boot.sh touched=-p least_cpu=$least_x86 ;;
	esac
	# three eighths more describe it all: page structures, page tables, KSM's records
	mib=$((256 + $4 * 11 / 8 / 256))
	: > "$out/results"
	# shellcheck disable=SC2086
	run_guest $first "$command" ${touched:+"$touched"} -k "$(image "$1" "$2")" -i "$out/initramfs.cpio.gz" -m $mib -t $limit \
		-a "zram=0 bench=$least_cpu,$3:$4" -s "$out/console" -r "$out/results" > "$out/boot" 2>&1
}

# why_failed: one line
why_failed()
{
	why=$(sed -n 's/^failed,[^,]*,[^,]*,//p' "$out/results" | head -n 1)
	[ -n "$why" ] || why=$(sed 's/^boot[-um]*: //' "$out/boot" | paste -sd ' ')
	echo "${why:-no figure came}"
}

# one KERNEL MACHINE WORKLOAD PAGES ROUND: measure, and add to the tables
one()
{
	status=0
	boot "$1" "$2" "$3" "$4" || status=$?
	tr -d '\r' < "$out/results" > "$out/results.unix"
	mv "$out/results.unix" "$out/results"
	# a fast wrong answer is worth nothing: figures of what failed are not kept
	if [ $status -eq 0 ] && grep -q '^figure,' "$out/results"; then
		sed -n "s/^sample,/$1,$2,$5,/p" "$out/results" >> "$out/samples.csv"
		sed -n "s/^figure,/$1,$2,$5,/p" "$out/results" >> "$out/figures.csv"
		return 0
	fi
	printf '%s\t%s\t%s\t%s\t%s\n' "$3" "$4" "$1" "$2" "$(why_failed)" >> "$out/failed"
	cp "$out/console" "$out/console.$1.$2.$3.$4"
}

# Medians of what was measured just now, for who waits.
tell()
{
	awk -f "$top/scripts/bench.awk" -v mode=line -v quick="$QUICK" -v only="$1,$2,$3" "$plan" "$out/figures.csv"
	[ ! -s "$out/failed" ] || awk -F '\t' -v workload="$2" -v pages="$3" '
		$1 == workload && $2 == pages { print "  FAILED on " $3 ": " $5 }' "$out/failed"
}

make_guest()
{
	"${CC:-gcc}" -O2 -Wall -Wextra -static -pthread -I"$build/linux/tools/include" -o "$out/ksm_bench" \
		"$top"/tools/mm/ksm_bench/*.c "$top/tools/mm/ksm/proc.c" > "$out/make.log" 2>&1 ||
		die "bench: tools/mm/ksm_bench does not build: $(tail -n 1 "$out/make.log")"
	# shellcheck disable=SC2016
	"$top/scripts/initramfs.sh" -c 'stty -F /dev/ttyS1 -onlcr
		ksm_bench $(echo "$bench" | tr , " ") > /dev/ttyS1 2>&1' \
		"$out/initramfs.cpio.gz" "$out/ksm_bench"
}

end_with_guest
start=$(date +%s)
lock bench
mkdir -p "$out"
steps > "$out/steps"
# shellcheck disable=SC2046
[ -s "$out/steps" ] || die "bench: no workload has \"$B\" in its name; there are:" \
	$(grep -v '^#' "$plan" | awk '{ print $2 }')
raise_map_count
make_guest
begin
rm -f "$out"/failed "$out"/console* "$out"/report.md "$out"/*.svg

total=$(wc -l < "$out/steps") number=0
while read -r machine workload pages; do
	number=$((number + 1))
	round=1
	while [ $round -le $rounds ]; do
		for kernel in base ours; do
			! is_measured $kernel "$machine" "$workload" "$pages" $round || continue
			[ ! -t 1 ] || printf '\r\033[K%d of %d: %s, round %d, %s, %s' $number "$total" \
				"$workload" $round $kernel "$(took $(($(date +%s) - start)))"
			one $kernel "$machine" "$workload" "$pages" $round < /dev/null
		done
		round=$((round + 1))
	done
	[ ! -t 1 ] || printf '\r\033[K'
	tell "$machine" "$workload" "$pages"
done < "$out/steps"

{
	echo "# What KSM costs: the base's, and ours"
	echo
	echo "$(kernel_version "$build/base"), $(uname -m), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1);" \
		"$rounds rounds, alternating, medians; at least $least_um s (um) or $least_x86 s (x86) of ksmd's CPU for each figure of a scan."
	echo
	awk -f "$top/scripts/bench.awk" -v mode=report -v quick="$QUICK" -v want="$B" "$plan" "$out/figures.csv"
} > "$out/report.md"

"$top/scripts/bench-plots.sh" "$out" > "$out/plots.log" 2>&1 || echo "plots	-	-	-	$(tail -n 1 "$out/plots.log")" >> "$out/failed"
echo "bench: $(took $(($(date +%s) - start))); ${out#"$top"/}/report.md"
[ ! -s "$out/failed" ] || {
	awk -F '\t' '{ print "FAILED " $1 ":" $2 " on " $3 " (" $4 "): " $5 }' "$out/failed" | tee -a "$out/report.md"
	exit 1
}
