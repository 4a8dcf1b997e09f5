#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# floors.sh SOURCES OBJECTS PLAN FILES: hold KSM's files to their floors.
#
# PLAN has lines `FLOOR FILE', as `2 ksm/rmap' for ksm/rmap.c and rmap.h in SOURCES,
# built as ksm/rmap.o in OBJECTS.  FILES, patterns, says which must be in the plan.
# A file may call and include only what is on lower floors; files on one floor do
# not know each other.  A line for each breach.
set -eu
tree=$1 build=$2 files=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
sed 's/#.*//' "$3" | awk 'NF == 2 { print $1, $2 }' > "$work/plan"

# Each file has a place in the plan, and each place a file.
# shellcheck disable=SC2086
(cd "$tree" && ls $files) | sed 's/\.[ch]$//' | sort -u > "$work/files"
cut -d ' ' -f 2 "$work/plan" | sort > "$work/planned"
comm -23 "$work/files" "$work/planned" | sed 's/$/: has no floor in the plan/' > "$work/breaches"
comm -13 "$work/files" "$work/planned" | sed 's/$/: in the plan, but there is no such file/' >> "$work/breaches"

# Symbols: who defines what, then who needs it.
while read -r floor file; do
	[ ! -f "$tree/$file.c" ] || [ -f "$build/$file.o" ] ||
		echo "$file: was not built" >> "$work/breaches"
	[ ! -f "$build/$file.o" ] || nm -g --defined-only "$build/$file.o" |
		awk -v floor="$floor" -v file="$file" '{ print $3, floor, file }'
done < "$work/plan" > "$work/defined"
while read -r floor file; do
	[ -f "$build/$file.o" ] || continue
	nm -u "$build/$file.o" | awk -v floor="$floor" -v file="$file" '
		NR == FNR { at[$1] = $2; in_file[$1] = $3; next }
		($2 in at) && in_file[$2] != file && at[$2] >= floor {
			print file " (floor " floor ") calls " $2 " of " in_file[$2] " (floor " at[$2] ")"
		}' "$work/defined" -
done < "$work/plan" >> "$work/breaches"

# Headers: inline functions and types do not show as symbols.
while read -r floor file; do
	for source in "$tree/$file.c" "$tree/$file.h"; do
		[ -f "$source" ] || continue
		sed -n 's/^#[ 	]*include[ 	]*"\([^"]*\)".*/\1/p' "$source" | awk -v floor="$floor" -v file="$file" '
			{ name = $NF; sub(/^.*\//, "", name); sub(/\.h$/, "", name) }
			NR == FNR { at[name] = $1; path[name] = $2; next }
			(name in at) && path[name] != file && at[name] >= floor {
				print file " (floor " floor ") includes " path[name] ".h (floor " at[name] ")"
			}' "$work/plan" -
	done
done < "$work/plan" | sort -u >> "$work/breaches"

cat "$work/breaches"
[ ! -s "$work/breaches" ]
