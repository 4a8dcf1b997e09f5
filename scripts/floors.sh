#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# floors.sh TREE BUILD PLAN: hold KSM's files to their floors.
#
# PLAN has lines `FLOOR FILE', as `2 ksm/rmap' for mm/ksm/rmap.c and rmap.h in the
# kernel tree TREE, built in BUILD.  A file may call and include only what is on
# lower floors; files on one floor do not know each other.  A line for each breach.
set -eu
tree=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed 's/#.*//' "$3" | awk 'NF == 2 { print $1, $2 }' > "$work/plan"

# Each file has a place in the plan, and each place a file.
(cd "$tree/mm" && ls ksm.c ksm/*.c ksm/*.h) | sed 's/\.[ch]$//' | sort -u > "$work/files"
cut -d ' ' -f 2 "$work/plan" | sort > "$work/planned"
comm -23 "$work/files" "$work/planned" | sed 's/$/: has no floor in the plan/' > "$work/breaches"
comm -13 "$work/files" "$work/planned" | sed 's/$/: in the plan, but there is no such file/' >> "$work/breaches"

# Symbols: who defines what, then who needs it.
while read -r floor file; do
	[ ! -f "$tree/mm/$file.c" ] || [ -f "$build/mm/$file.o" ] ||
		echo "$file: was not built" >> "$work/breaches"
	[ ! -f "$build/mm/$file.o" ] || nm -g --defined-only "$build/mm/$file.o" |
		awk -v floor="$floor" -v file="$file" '{ print $3, floor, file }'
done < "$work/plan" > "$work/defined"
while read -r floor file; do
	[ -f "$build/mm/$file.o" ] || continue
	nm -u "$build/mm/$file.o" | awk -v floor="$floor" -v file="$file" '
		NR == FNR { at[$1] = $2; in_file[$1] = $3; next }
		($2 in at) && in_file[$2] != file && at[$2] >= floor {
			print file " (floor " floor ") calls " $2 " of " in_file[$2] " (floor " at[$2] ")"
		}' "$work/defined" -
done < "$work/plan" >> "$work/breaches"

# Headers: inline functions and types do not show as symbols.
while read -r floor file; do
	for source in "$tree/mm/$file.c" "$tree/mm/$file.h"; do
		[ -f "$source" ] || continue
		sed -n 's/^#[ 	]*include[ 	]*"\([^"]*\)".*/\1/p' "$source" | awk -v floor="$floor" -v file="$file" '
			NR == FNR { at[$2 ".h"] = $1; next }
			{ name = $1; sub(/^.*\//, "", name); name = "ksm/" name }
			(name in at) && name != file ".h" && at[name] >= floor {
				print file " (floor " floor ") includes " name " (floor " at[name] ")"
			}' "$work/plan" -
	done
done < "$work/plan" | sort -u >> "$work/breaches"

cat "$work/breaches"
[ ! -s "$work/breaches" ]
