#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# tree.sh base|linux: bring build/base (the base source, untouched) or build/linux
# (the same with our KSM) up to date.
#
# Our files are linked into build/linux one by one, so an edit needs no visit here;
# patched files are copies.  Only what really changes is written: times of files
# are what the kernel's make goes by.
set -eu
. "$(dirname "$0")/lib.sh"
want=$1

lock tree

[ -f "$tarball" ] || die "tree: $tarball is missing; run make deps"
stamp=$(stat -c '%s %Y' "$tarball")
if [ "$(cat "$build/base.stamp" 2> /dev/null)" != "$stamp" ]; then
	[ ! -d "$build/base" ] || echo "tree: $package has changed; unpacking it anew"
	rm -rf "$build/base" "$build/base.new" "$build/linux" "$build/linux.list" "$build/base.stamp"
	mkdir -p "$build/base.new"
	# -m: files are as new as their unpacking, or objects of an older source seem fresh
	step unpack "unpack ${tarball##*/}" 0 \
		tar -xJm --strip-components=1 -C "$build/base.new" -f "$tarball"
	mv "$build/base.new" "$build/base"
	echo "$stamp" > "$build/base.stamp"
fi
[ "$want" = linux ] || exit 0

"$top/scripts/stage.sh" "$build/base" "$build/stage"

linux=$build/linux
if [ ! -f "$build/linux.list" ] || [ ! -f "$linux/Makefile" ]; then
	rm -rf "$linux"
	cp -a "$build/base" "$linux"
	: > "$build/linux.list"
fi

# Every path that is not as in the base: now, or when we last were here.
(cd "$build/stage" && find a b ! -type d | sed 's,^[ab]/,,' | sort -u) > "$build/linux.list.new"
sort -u "$build/linux.list.new" "$build/linux.list" > "$build/stage/paths"
# Before the first change: if this is cut short, the next run still knows.
cp "$build/stage/paths" "$build/linux.list"

while read -r path; do
	at=$linux/$path
	mkdir -p "$(dirname "$at")"
	if grep -qxF "$path" "$build/stage/ours"; then
		[ "$(readlink "$at")" = "$top/$path" ] || ln -sf "$top/$path" "$at"
		continue
	elif [ -f "$build/stage/b/$path" ]; then
		from=$build/stage/b/$path
	elif [ -f "$build/base/$path" ] && [ ! -f "$build/stage/a/$path" ]; then
		from=$build/base/$path	# no longer ours, no longer patched
	else
		rm -f "$at"
		rmdir -p --ignore-fail-on-non-empty "$(dirname "$at")"
		continue
	fi
	if [ -L "$at" ] || ! cmp -s "$from" "$at"; then
		rm -f "$at"
		cp "$from" "$at"
	fi
done < "$build/stage/paths"
mv "$build/linux.list.new" "$build/linux.list"
