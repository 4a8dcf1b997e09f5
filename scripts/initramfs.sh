#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# initramfs.sh [-c MAIN] OUT FILE...: a guest's file system: busybox, FILEs in /bin
# (PATH=FILE: at PATH), with the libraries that they are linked with.
#
# /init (scripts/guest/init) mounts what programs expect and runs MAIN, a shell
# command; without one, an interactive shell.  BUSYBOX=FILE: of another machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
main=''
if [ "$1" = -c ]; then
	main=$2
	shift 2
fi
out=$1
shift

root=$(mktemp -d)
chmod 755 "$root"
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$root/bin" "$root/etc" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/root" "$root/lib64"
cp "${BUSYBOX:-$(command -v busybox)}" "$root/bin/busybox"
cp "$here/guest/init" "$root/init"
chmod 755 "$root/init"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
[ -z "$main" ] || printf '%s\n' "$main" > "$root/etc/main"

for file in "$@"; do
	case $file in
	*=*) to=${file%%=*} file=${file#*=} ;;
	*) to=/bin/${file##*/} ;;
	esac
	mkdir -p "$root/$(dirname "$to")"
	cp -L "$file" "$root/$to"
	ldd "$file" 2> /dev/null | grep -o '/[^ ]*' | while read -r library; do
		[ -f "$root/$library" ] || install -D "$library" "$root/$library"
	done || :
done

mkdir -p "$(dirname "$out")"
(cd "$root" && find . | cpio --quiet -o -H newc --owner=+0:+0) | gzip -1 > "$out.tmp"
mv "$out.tmp" "$out"
