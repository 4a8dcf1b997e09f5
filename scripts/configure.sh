#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# configure.sh TREE OUT FRAGMENT...: make OUT/.config from tinyconfig and the
# fragments (a later one wins), and stop if kconfig dropped what they ask for.
#
# OUT/.config is only rewritten if it changes, so this may run before each build.
# Options named in $CONFIG_IGNORE (a pattern of grep -E) are not compared.
set -eu
tree=$1 out=$2
shift 2
mkdir -p "$out"
seed=$out/.config.seed

cat "$tree/kernel/configs/tiny-base.config" "$@" |
	sed -n 's/^\(CONFIG_[A-Z0-9a-z_]*\)=.*/\1 &/p
		s/^# \(CONFIG_[A-Z0-9a-z_]*\) is not set$/\1 &/p' |
	awk '{ name = $1; sub(/^[^ ]* /, ""); if (!(name in line)) order[++n] = name; line[name] = $0 }
	     END { for (i = 1; i <= n; i++) print line[order[i]] }' > "$seed"

make -s -C "$tree" O="$out" KCONFIG_ALLCONFIG="$seed" allnoconfig > "$out/.config.log" 2>&1 || {
	cat "$out/.config.log" >&2
	exit 1
}

grep -vE "${CONFIG_IGNORE:-^$}" "$seed" | awk -v config="$out/.config" '
	BEGIN { while ((getline line < config) > 0) have[line] = 1 }
	{ want = $0; name = $0; sub(/^# /, "", name); sub(/[= ].*/, "", name) }
	want in have { next }
	want ~ /is not set$/ && !((name "=y") in have) && !((name "=m") in have) { next }
	{ print "  " want; bad = 1 }
	END { exit bad }' > "$out/.config.dropped" || {
	echo "configure: kconfig did not give what the fragments ask for; a dependency is missing:" >&2
	cat "$out/.config.dropped" >&2
	exit 1
}
