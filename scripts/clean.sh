#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# clean.sh: remove what was built; the source trees and ccache's store stay.
set -eu
. "$(dirname "$0")/lib.sh"

for path in "$build"/*; do
	case ${path##*/} in
	base | base.stamp | linux | linux.list | ccache) ;;
	*) rm -rf "$path" ;;
	esac
done
