#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# busybox.sh [MACHINE]: say where a busybox for a guest is: this machine's own, or
# Debian's for i386 or arm64 in build/busybox-MACHINE, fetched if it is not there.
#
# apt-get keeps what it knows of the other architecture under build/, too: dpkg of
# this machine need not know of it.
set -eu
. "$(dirname "$0")/lib.sh"

case ${1:-} in
i386 | arm64) machine=$1 ;;
*) exec sh -c 'command -v busybox' ;;
esac

busybox=$build/busybox-$machine
if [ ! -x "$busybox" ]; then
	lock busybox
	apt=$build/apt-$machine
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	options="-q -o APT::Architecture=$machine -o APT::Architectures=$machine -o Dir::State=$apt
		-o Dir::State::lists=$apt/lists -o Dir::State::status=/dev/null -o Dir::Cache=$apt
		-o Acquire::Languages=none -o APT::Sandbox::User=root"
	cd "$apt"
	# one list of several that cannot be had (a mirror that is being filled) need not matter
	# shellcheck disable=SC2086
	step "busybox-$machine" "fetch busybox ($machine)" 0 sh -c \
		'apt-get "$@" update || :; apt-get "$@" download busybox-static' sh $options >&2
	dpkg-deb --fsys-tarfile busybox-static_*.deb | tar -xO ./bin/busybox > busybox
	chmod 755 busybox
	mv busybox "$busybox"
	cd "$top"
	rm -rf "$apt"
fi
echo "$busybox"
