#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# stage.sh BASE OUT: work out what our KSM changes in the kernel tree BASE,
# without writing there.
#
#   OUT/a		the files concerned, as BASE has them
#   OUT/b		the same files as they shall be; missing there: to be deleted
#   OUT/ours		paths of the files that are ours (the rest of b is patched)
set -eu
. "$(dirname "$0")/lib.sh"
base=$1 out=$2

rm -rf "$out"
mkdir -p "$out/a" "$out/b"

# put FROM TO PATH: copy one file, folders too
put()
{
	mkdir -p "$2/$(dirname "$3")"
	cp -L "$1/$3" "$2/$3"
}

cd "$top"
# shellcheck disable=SC2086
find $overlay_dirs -type f ! -name '.*' ! -name '*~' ! -name '#*' ! -name '*.orig' \
	! -name '*.rej' ! -name '*.o' ! -name '*.mod' 2> /dev/null |
	sort > "$out/ours" || :

cd "$base"
# shellcheck disable=SC2086
for path in $base_ksm; do
	[ ! -f "$path" ] || put "$base" "$out/a" "$path"
done
while read -r path; do
	[ ! -f "$path" ] || put "$base" "$out/a" "$path"
done < "$out/ours"

for patch in "$top"/patches/*.patch; do
	[ -f "$patch" ] || continue
	sed -n 's,^[-+][-+][-+] [ab]/\([^	]*\).*,\1,p' "$patch" | sort -u |
	while read -r path; do
		[ ! -f "$path" ] || [ -f "$out/a/$path" ] || put "$base" "$out/a" "$path"
		[ ! -f "$out/a/$path" ] || [ -f "$out/b/$path" ] || put "$out/a" "$out/b" "$path"
	done
	(cd "$out/b" && patch -p1 --fuzz=0 --forward --batch --no-backup-if-mismatch \
		-i "$patch") > "$out/patch.log" 2>&1 < /dev/null || {
		echo "patches/${patch##*/} does not apply to Linux $(kernel_version "$base"):" >&2
		awk '/^patching file/ { file = $3 }
		     / out of [0-9]+ hunk/ { next }
		     /FAILED|can.t find file|previously applied|malformed|ignored/ {
			print "  " file ": " $0 }' "$out/patch.log" >&2
		die "mend the patch; what was refused is in ${out#"$top"/}/b as .rej files"
	}
done
while read -r path; do
	put "$top" "$out/b" "$path"
done < "$out/ours"
