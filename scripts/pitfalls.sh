#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# pitfalls.sh check|base RESULTS: does Documentation/mm/ksm-pitfalls.rst say what is true?
#
# RESULTS is check.sh's folder: SUITE.results has a suite's verdicts, and those of
# this run are newer than the list `suites'.
#
#   check   P1 to P87 are all there, once; each function is one of ours; each test has
#           run and passed.  A verdict for each pitfall on stdout, as check.sh has them;
#           the count, and all that is wrong, on stderr.
#   base    what became of the tests of those that 6.12.117 is in, on the base's kernel:
#           a table.
set -eu
. "$(dirname "$0")/lib.sh"
mode=$1 results=$2
page=$top/Documentation/mm/ksm-pitfalls.rst

# Functions that our files define, and our patches: a line each.
ours()
{
	(cd "$top" && cat mm/ksm.c mm/ksm/*.c mm/ksm/*.h include/linux/ksm.h) |
		awk '/^[a-z].*\(/ && !/;$/ { sub(/\(.*/, ""); sub(/.*[ *]/, ""); print $0 "()" }'
	(cd "$top" && ls patches/*.patch)
}

# Verdicts of this run, as SUITE: verdict, tab, test, tab, reason.
verdicts()
{
	find "$results" -name '*.results' -newer "$results/suites" | sort | while read -r file; do
		suite=${file##*/}
		sed "s/^/${suite%.results}: /" "$file"
	done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
ours > "$work/ours"
verdicts > "$work/verdicts"
awk -v mode="$mode" -v page="${page#"$top"/}" -v ours="$work/ours" -v verdicts="$work/verdicts" \
	-f "$top/scripts/pitfalls.awk" "$page"
