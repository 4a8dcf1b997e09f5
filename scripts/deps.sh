#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# deps.sh [LIST...]: install what is missing of the packages in the list beside this
# file, and in packages.LIST.
set -eu
. "$(dirname "$0")/lib.sh"

lists=$top/scripts/packages
for list; do
	lists="$lists $top/scripts/packages.$list"
done
# shellcheck disable=SC2086
wanted=$(sed 's/#.*//' $lists | awk 'NF { print $1 }')

command -v dpkg-query > /dev/null ||
	die "deps: this machine has no dpkg; install what Debian calls:" $wanted

# shellcheck disable=SC2086
have=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' $wanted 2> /dev/null |
	sed -n 's/^.i *//p') || :
missing=$(printf '%s\n' "$wanted" | grep -vxF "$have" || :)
[ -n "$missing" ] || exit 0

echo "deps: to install:" $missing
[ "$(id -u)" -eq 0 ] ||
	die "deps: needs root; run as root: apt-get install --no-install-recommends" $missing

export DEBIAN_FRONTEND=noninteractive
apt="apt-get -y -o DPkg::Lock::Timeout=300"
# shellcheck disable=SC2086
{
	step apt-update "apt-get update" 0 $apt update
	step apt-install "apt-get install" 0 $apt install --no-install-recommends $missing
}
