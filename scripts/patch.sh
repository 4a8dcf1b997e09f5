#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# patch.sh: write build/ksm-6.12.patch, which turns a pristine 6.12.y tree into one
# with our KSM; KDIR=TREE: made for that tree, not for the base source.
set -eu
. "$(dirname "$0")/lib.sh"

base=$build/base
if [ -n "${KDIR:-}" ]; then
	base=$(kernel_tree patch "$KDIR")
fi
lock patch
out=$build/patch
patch=$build/ksm-6.12.patch
"$top/scripts/stage.sh" "$base" "$out"

# No settings of the user's may change how a diff looks.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_DIR="$out/no-git"
{
	cat <<-END
	Subject: [PATCH] mm/ksm: a new implementation of Kernel Samepage Merging

	Replaces the kernel's KSM; made for Linux $(kernel_version "$base").
	---
	END
	# status 1: there are differences
	(cd "$out" && git diff --no-index --no-prefix --no-renames --no-color --no-ext-diff a b) || [ $? -eq 1 ]
} > "$patch.tmp"

# It is only good if both tools make b of a.
for tool in 'patch -p1 --fuzz=0 --batch --forward -s -i' 'git apply'; do
	rm -rf "$out/try"
	cp -r "$out/a" "$out/try"
	(cd "$out/try" && $tool "$patch.tmp") > "$out/try.log" 2>&1 &&
		diff -r "$out/try" "$out/b" >> "$out/try.log" 2>&1 || {
		tail -n 5 "$out/try.log" >&2
		die "patch: ${tool%% -*} does not take the patch (${out#"$top"/}/try.log)"
	}
done
mv "$patch.tmp" "$patch"
echo "${patch#"$top"/}: for Linux $(kernel_version "$base"), $(grep -c '^diff --git' "$patch") files, $(wc -l < "$patch") lines"
