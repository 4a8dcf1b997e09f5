#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# install.sh: lay our KSM into the kernel tree $KDIR, which must be a 6.12 whose own
# KSM is untouched.  A tree that is refused stays as it was.
set -eu
. "$(dirname "$0")/lib.sh"

[ -n "${KDIR:-}" ] || die "install: say into which tree: make install KDIR=/path/to/linux-6.12"
kdir=$(kernel_tree install "$KDIR")
case $kdir/ in
"$build"/base/* | "$build"/linux/*) die "install: ${kdir#"$top"/} is kept by make tree; give a tree of your own" ;;
esac
[ ! -e "$kdir/mm/ksm" ] || die "install: $kdir already has our KSM (mm/ksm is there); begin with a fresh 6.12 to update it"
set -f
# shellcheck disable=SC2086
for file in $base_ksm; do
	case $file in *'*'*) continue ;; esac
	[ -f "$kdir/$file" ] || die "install: $kdir is changed: $file is missing"
done
set +f

lock install
out=$build/install
"$top/scripts/stage.sh" "$kdir" "$out" || die "install: nothing was changed in $kdir"
(cd "$out" && find a b -type f | sed 's,^[ab]/,,' | sort -u) > "$out/paths"

# In a git tree, whosever it is, what we overwrite must be in its history.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
if git -C "$kdir" rev-parse --is-inside-work-tree > /dev/null 2>&1 &&
	git -C "$kdir" ls-files --error-unmatch Makefile > /dev/null 2>&1; then
	changed=$(xargs git --no-optional-locks -C "$kdir" status --porcelain -- < "$out/paths")
	[ -z "$changed" ] || die "install: $kdir has changes of its own that would be lost; nothing was changed:
$changed"
fi
while read -r path; do
	at=$kdir/$path
	while [ ! -e "$at" ]; do at=$(dirname "$at"); done
	[ -w "$at" ] || die "install: cannot write to $at; nothing was changed"
done < "$out/paths"

undo()
{
	trap '' INT TERM HUP
	while read -r path; do
		rm -f "$kdir/$path"
		[ ! -f "$out/a/$path" ] || cp -p "$out/a/$path" "$kdir/$path"
		(cd "$kdir" && rmdir -p --ignore-fail-on-non-empty "${path%/*}" 2> /dev/null) || :
	done < "$out/paths"
	die "install: failed; $kdir is as it was"
}
trap undo INT TERM HUP
while read -r path; do
	if [ ! -f "$out/b/$path" ]; then
		rm -f "$kdir/$path"
	else
		mkdir -p "$kdir/${path%/*}" && rm -f "$kdir/$path" && cp "$out/b/$path" "$kdir/$path"
	fi || undo
done < "$out/paths"

echo "install: $kdir (Linux $(kernel_version "$kdir")) now has our KSM: $(wc -l < "$out/paths") files changed; next: CONFIG_KSM=y, make"
