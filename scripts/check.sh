#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# check.sh: all tests.  One line a suite, then `N passed, N failed, N skipped'.
#
#   T=NAME		only suites, or tests, with NAME in their name
#   STATIC=SUITES	only these, of those that run nothing of ours; also: cross
#   KASAN=1		all that runs in guests, on the kernel with KASAN; after each suite
#			kmemleak looks for what it left behind
#   MACHINE=NAME	KUnit and the selftests, on that kernel: i386, arm64; or nosysfs
#
# The suites: what can be said of the sources without running them; abi, that users
# find all that the base's KSM shows, and nothing else unmeant; KUnit; our selftests,
# each in a guest of its own; `collisions', some of these once more where all pages
# have one of two hashes; the base's own KSM tests on our kernel; at last, if all of
# that was run, the page of pitfalls: does it say what is true?
set -eu
. "$(dirname "$0")/lib.sh"
. "$top/scripts/check-static.sh"
. "$top/scripts/check-configs.sh"

T=${T:-}
KASAN=${KASAN:-}
MACHINE=${MACHINE:-}
out=$build/check${KASAN:+-kasan}${MACHINE:+-$MACHINE}
linux=$build/linux
ours=x86-debug
[ -z "$KASAN" ] || ours=x86-kasan
image=$ours/arch/x86/boot/bzImage machine=x86 tests=tests
case $MACHINE in
'') ;;
nosysfs) ours=nosysfs image=nosysfs/arch/x86/boot/bzImage ;;
i386) ours=i386 image=i386/arch/x86/boot/bzImage machine=i386 tests=tests-i386 ;;
arm64) ours=arm64 image=arm64/arch/arm64/boot/Image machine=arm64 tests=tests-arm64 ;;
*) die "check: MACHINE=$MACHINE: say i386, arm64 or nosysfs" ;;
esac
kernel=${KERNEL:-$build/$image}
guests_list=$top/scripts/suites.guests
machines_list=$top/scripts/suites.machines
# the suite for a kernel whose ksmd nobody can start or stop
boot_suite=ksm_boot_tests
abi_list=$top/scripts/abi.ours headers=ours
case $kernel in
*/x86-base*) abi_list=/dev/null headers=base ;;
esac
# What merges most, for the order by content; all of it in one guest.
collisions="ksm_order_tests ksm_functional_tests ksm_lifetime_tests ksm_mremap_tests"
total_passed=0 total_failed=0 total_skipped=0
# Suites are functions called suite_NAME with dashes as underscores, or guest suites.
static_suites=${STATIC:-checkpatch kernel-doc warnings sparse floors configs}
[ -z "${KERNEL:-}$KASAN$MACHINE" ] || static_suites=''

# wanted SUITE [FILE...]: is it asked for, or a test that one of the files lists?
wanted()
{
	case $1 in *"$T"*) return 0 ;; esac
	shift
	[ $# -gt 0 ] && grep -hE 'KSM_TEST[A-Z_]*\(|KUNIT_CASE[A-Z_]*\(' "$@" 2> /dev/null | grep -qF -- "$T"
}

# A suite's verdicts are lines in its results: pass|fail|skip, tab, test, tab, reason.
pass() { printf 'pass\t%s\t\n' "$1"; }
fail() { printf 'fail\t%s\t%s\n' "$1" "${2:-}"; }

# begin SUITE: remember when it began; finish says how it ended
begin()
{
	suite=$1
	results=$out/$suite.results
	log=$out/$suite.log
	rm -f "$out/$suite".*
	: > "$log"
	began=$(date +%s)
	[ ! -t 1 ] || printf '%s' "$suite"
}

finish()
{
	# T may mean single tests of this suite
	case $suite in
	*"$T"*) ;;
	*) awk -F '\t' -v name="$T" \
		'index($2, name) || $1 == "fail" && $2 ~ /^(the guest|no leaks|nothing left)$/' \
		"$results" > "$results.some" && mv "$results.some" "$results" ;;
	esac
	[ -s "$results" ] || fail "$suite" "no test was run" > "$results"
	passed=$(grep -c '^pass' "$results" || :)
	failed=$(grep -c '^fail' "$results" || :)
	skipped=$(grep -c '^skip' "$results" || :)
	total_passed=$((total_passed + passed))
	total_failed=$((total_failed + failed))
	total_skipped=$((total_skipped + skipped))
	[ ! -t 1 ] || printf '\r\033[K'
	printf '%-26s %3d passed, %d failed, %d skipped  %s\n' "$suite" \
		"$passed" "$failed" "$skipped" "$(took $(($(date +%s) - began)))"
	[ "$failed" -gt 0 ] || return 0
	awk -F '\t' '$1 == "fail" { print "  FAILED " $2 ($3 == "" ? "" : ": " $3) }' "$results"
	if grep -q '^ *not ok ' "$log"; then
		awk '{ line[NR] = $0 } /^ *not ok / && ++n <= 3 {
			for (i = NR - 7 > last ? NR - 7 : last + 1; i <= NR; i++) print line[i]
			last = NR
		}' "$log" > "$log.fails"
		show "$log.fails" 24
	else
		show "$log" 15
	fi
	for last in 'nothing left' 'no leaks'; do
		grep -q "^fail	$last	" "$results" || continue
		sed -n "/^### begin $last/,/^### exit/p" "$log" | head -n 40 > "$log.leaks"
		show "$log.leaks" 40
	done
	! grep -q '^fail	the guest	' "$results" || show_trouble "$out/$suite.console"
}

# Where the kernel began to complain, if it did, or its last lines.
show_trouble()
{
	if grep -aE -m 1 -A 35 'cut here|BUG:|WARNING:|INFO: |Oops|Kernel panic' "$1" > "$1.trouble"; then
		show "$1.trouble" 36
	else
		show "$1" 15
	fi
}

# show FILE LINES: its end
show()
{
	[ -s "$1" ] || return 0
	echo "  ${1#"$top"/}, its last lines:"
	tail -n "$2" "$1" | tr -d '\r' | sed 's/^/  | /'
}

# What a suite wants of its guest beyond the common: MiB, and kernel parameters.
memory_of() { awk -v suite="$1" '$1 == suite { mib = $2 } END { print mib ? mib : 1024 }' "$guests_list"; }
parameters_of() { sed -n "s/^$1 *[0-9+]* *//p" "$guests_list"; }

# guest SUITE SECONDS [PARAMETERS]: boot, run the suite's lines of the list, read its output
# With slab_debug KSM's slabs are its own, and count what was allocated, to the object.
guest()
{
	status=0
	guest_watch 9>&- &
	watcher=$!
	run_guest "$top/scripts/boot.sh" -M "$machine" -k "$kernel" -i "$out/initramfs.cpio.gz" \
		-t "$2" -m "$(memory_of "$1")" \
		-a "suite=$1 slab_debug=FZP,ksm_item,ksm_node,ksm_mm ${3:-}" \
		-s "$out/$1.console" -r "$log" > "$out/$1.boot" 2>&1 || status=$?
	kill $watcher 2> /dev/null || :
	wait $watcher 2> /dev/null || :
	[ $status -eq 0 ] || fail "the guest" "$(sed 's/^boot: //' "$out/$1.boot" | paste -sd ' ')" >> "$results"
}

# On a terminal, say where the guest is.
guest_watch()
{
	[ -t 1 ] || return 0
	while sleep 1 && kill -0 $$ 2> /dev/null; do
		printf '\r\033[K%s: %s, %s done' "$suite" "$(took $(($(date +%s) - began)))" \
			"$(grep -acE '^ *(not )?ok |^### exit' "$log" || :)"
	done
}

# The output of a guest's suite as verdicts.
guest_verdicts()
{
	tr -d '\r' < "$log" | awk -v suite="$1" -f "$top/scripts/verdicts.awk" >> "$results"
}

# What a list says and nothing was heard of has failed.
unheard()
{
	grep "^$suite " "$out/suites" | sed 's/^[^ ]* [^ ]* //; s/; .*//' | while read -r test; do
		tr -d '\r' < "$log" | grep -qxF "### begin $test" || fail "$test" "was not reached"
	done >> "$results"
}

guest_suite()
{
	begin "$1"
	# the sum of the limits, and some time to boot and to look for leaks
	guest "$1" $((180 + $(awk -v suite="$1" '$1 == suite { sum += $2 } END { print sum }' "$out/suites"))) "${2:-}"
	guest_verdicts "$1"
	unheard
	finish
}

# What users see of a running kernel, against what they see of the base's.
suite_abi()
{
	if run_guest "$top/scripts/abi.sh" $headers "$kernel" "$out/abi.list" > "$log" 2>&1; then
		awk -f "$top/scripts/abi.awk" list=base "$top/scripts/abi.base" \
			list=meant "$abi_list" list=seen "$out/abi.list" |
			sort -t '	' -k 2 > "$results"
	else
		fail abi "$(tail -n 1 "$log")" > "$results"
	fi
}

# list SUITE SECONDS TEST COMMAND: a line for /etc/suites
list()
{
	echo "$1 $2 $3; $4" >> "$out/suites"
}

list_calls()
{
	grep -v '^#' "$top/scripts/ksm_tests.calls" | while read -r call; do
		case "$1 ksm_tests $call" in
		# -l: a busy machine may need longer than the 120 s after which it gives up
		*"$T"*) list "$1" 400 "ksm_tests $call" "$1 $call -l 360" ;;
		esac
	done
}

# Selftests of the kernel tree $1 that are suites, as names with the prefix $2.
suites_of()
{
	for source in "$1"/tools/testing/selftests/mm/ksm_*tests.c; do
		[ -f "$source" ] || continue
		name=${source##*/}
		name=${name%.c}
		[ "$name" = "$boot_suite" ] || echo "$2$name"
	done
}

# programs_here: the suites of this machine that are programs
programs_here()
{
	case $MACHINE in
	'') echo "$(suites_of "$linux" '') $(suites_of "$build/base" base_) collisions" ;;
	nosysfs) echo "$boot_suite" ;;
	*)
		suites_of "$linux" '' | grep -vxF "$(awk -v machine="$MACHINE" \
			'$1 == machine { print $2 }' "$machines_list")" || :
		echo collisions ;;
	esac
}

# KUnit's results come by debugfs, which is mounted in sysfs.
has_kunit() { [ "$MACHINE" != nosysfs ]; }

# What guests shall run, by what is there and what T asks for.
plan_guests()
{
	: > "$out/suites"
	guests=''
	[ -n "$MACHINE" ] || ! wanted abi || guests=abi
	# shellcheck disable=SC2046
	if [ -z "${KERNEL:-}" ] && has_kunit && wanted kunit $(ls "$linux"/mm/ksm/tests/*.c 2> /dev/null); then
		list kunit 300 kunit 'cat /sys/kernel/debug/kunit/*/results'
		guests="$guests kunit"
	fi
	for name in $programs; do
		case $name in
		collisions) list_collisions ;;
		*ksm_tests) list_calls "$name" ;;
		base_*) list_program "$build/base" "${name#base_}" ;;
		*) list_program "$linux" "$name" ;;
		esac
		! grep -q "^$name " "$out/suites" || guests="$guests $name"
	done
}

# list_program TREE SOURCE: a suite that speaks TAP; of ours, the harness runs what T names
list_program()
{
	source=$1/tools/testing/selftests/mm/$2.c
	wanted "$name" "$source" || return 0
	pattern=''
	case $name in
	*"$T"*) ;;
	*) ! grep -q ksm_suite_main "$source" || pattern=" '*$T*'" ;;
	esac
	list "$name" 900 "$name" "$name$pattern"
}

# The first test of the list makes sure that the kernel heeds ksm.hash_mask.
list_collisions()
{
	[ -z "${KERNEL:-}" ] && wanted collisions || return 0
	list collisions 10 'hash_mask is 1' '[ $(cat /sys/module/ksm/parameters/hash_mask) = 1 ]'
	for program in $collisions; do
		list collisions 300 "$program" "$program"
	done
}

start=$(date +%s)
lock "check${MACHINE:+-$MACHINE}"
mkdir -p "$out"
"$top/scripts/tree.sh" linux
programs=$(programs_here)
static=''
for suite in $static_suites; do
	! wanted "$suite" || static="$static $suite"
done
plan_guests
# shellcheck disable=SC2086
[ -n "$static$guests" ] || die "check: no suite and no test has \"$T\" in its name; the suites are:" \
	$static_suites abi kunit collisions $programs

if [ -n "$guests" ]; then
	"$top/scripts/selftests.sh" ours "$MACHINE"
	[ -n "$MACHINE" ] || "$top/scripts/selftests.sh" base
	[ -n "${KERNEL:-}" ] || "$top/scripts/build.sh" "$ours"
fi

for name in $static; do
	case $name$static in
	floors*warnings*) ;;
	floors*)	# that suite makes the objects that this one looks at
		begin warnings
		suite_warnings ;;
	esac
	begin "$name"
	"suite_$(echo "$name" | tr - _)"
	finish
done

if [ -n "$guests" ]; then
	set -- "$build/$tests"/ksm_*tests
	[ -n "$MACHINE" ] || set -- "$@" "$build"/tests-base/base_ksm_*tests
	busybox=$("$top/scripts/busybox.sh" "$MACHINE") || die "check: there is no busybox for $MACHINE"
	BUSYBOX=$busybox "$top/scripts/initramfs.sh" -c suite "$out/initramfs.cpio.gz" \
		"$top/scripts/guest/suite" "/etc/suites=$out/suites" "$@"
fi
end_with_guest
for name in $guests; do
	if [ "$name" = abi ]; then
		begin abi
		suite_abi
		finish
		continue
	fi
	parameters=$(parameters_of "$name")
	if [ "$name" = kunit ]; then
		parameters='kunit.enable=1'
		case $name in *"$T"*) ;; *) parameters="$parameters kunit.filter_glob=*.*$T*" ;; esac
	fi
	guest_suite "$name" "$parameters"
done

# What the page of pitfalls says of tests, they have to have said just now: all of them.
if [ -z "$T${KERNEL:-}$MACHINE" ]; then
	begin pitfalls
	"$top/scripts/pitfalls.sh" check "$out" > "$results" 2> "$log" || fail pitfalls "$(tail -n 1 "$log")" >> "$results"
	finish
	tail -n 1 "$log"
fi
case $kernel in */x86-base*) "$top/scripts/pitfalls.sh" base "$out" ;; esac

echo "check: $(took $(($(date +%s) - start)))${T:+, only $T, not the pitfalls}; logs in ${out#"$top"/}"
[ $((total_passed + total_failed)) -gt 0 ] || total_failed=1
echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
[ $total_failed -eq 0 ]
