# SPDX-License-Identifier: GPL-2.0-only
# lib.sh: what the scripts beside this file share.  Sourced, never run.
# shellcheck shell=sh disable=SC2034

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/build
package=linux-source-6.12
tarball=/usr/src/$package.tar.xz

# Folders whose files are laid into the kernel tree at the same path.
overlay_dirs="Documentation include mm tools"

# What the base calls its KSM: taken out before ours goes in.
base_ksm="mm/ksm.c include/linux/ksm.h include/trace/events/ksm.h
	Documentation/mm/ksm.rst Documentation/admin-guide/mm/ksm.rst
	tools/testing/selftests/mm/ksm_*.c"

# A make of the user's must not reach into the kernel's.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES ARCH CROSS_COMPILE KBUILD_OUTPUT
unset KCFLAGS KCPPFLAGS O V W C CF LLVM CC
export LC_ALL=C

jobs=$(nproc)
export CCACHE_DIR="${CCACHE_DIR:-$build/ccache}"

die()
{
	echo "$*" >&2
	exit 1
}

# kernel_version TREE: as 6.12.100
kernel_version()
{
	sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = //p' "$1/Makefile" | paste -sd.
}

# kernel_tree WHO TREE: the tree's absolute path, if it is a Linux 6.12
kernel_tree()
{
	# shellcheck disable=SC2088
	case $2 in
	'~/'*) set -- "$1" "$HOME/${2#'~/'}" ;;
	esac
	[ -d "$2" ] || die "$1: $2 is no folder"
	[ -f "$2/Makefile" ] && [ -f "$2/Kconfig" ] && [ -d "$2/mm" ] || die "$1: $2 is no kernel source tree"
	kernel_found=$(kernel_version "$2")
	case $kernel_found in
	6.12 | 6.12.*) ;;
	*) die "$1: $2 is Linux ${kernel_found:-of no version}; this KSM is for 6.12" ;;
	esac
	(cd "$2" && pwd -P)
}

# lock NAME: one at a time in this folder; released when the script ends.
lock()
{
	mkdir -p "$build"
	exec 9> "$build/.lock.$1"
	flock -n 9 || {
		echo "$1: waiting for another make in this folder"
		flock 9
	}
}

# end_with_guest: whoever ends this script from now on, ends what run_guest() runs, too
end_with_guest()
{
	guest=''
	trap end_guest EXIT
	trap 'exit 130' INT TERM HUP
}

end_guest()
{
	[ -z "$guest" ] || kill "$guest" 2> /dev/null || :
}

# run_guest COMMAND...: its status is the command's.  In the background, since a signal is
# heeded while a shell waits, and not while a command of its runs.
run_guest()
{
	"$@" 9>&- &
	guest=$!
	guest_status=0
	wait $guest || guest_status=$?
	guest=''
	return $guest_status
}

# What a kernel says when it is not well.
complaints='WARNING:|BUG:|BUG at|INFO: (possible|task|rcu|suspicious)|self-detected stall|detected stalls|inconsistent lock|possible (recursive|circular)|KASAN:|UBSAN:|kmemleak: [0-9]+ new|Bad (rss-counter|page)|Oops|general protection fault|Kernel panic|usercopy: Kernel'

# judge WHO CONSOLE [|MORE...]: false, and why on stderr, unless the guest said that all is
# well and its kernel complained of nothing; MORE are other complaints to look for.
judge()
{
	trouble=$(grep -aE -m 5 "$complaints${3-}" "$2" || :)
	if [ -n "$trouble" ]; then
		echo "$1: the kernel complained:" >&2
		printf '%s\n' "$trouble" | tr -d '\r' | sed 's/^/  /' >&2
		return 1
	fi
	grep -aqE '^KSM-GUEST-OK.?$' "$2" || {
		echo "$1: the guest ended without saying that all is well" >&2
		return 1
	}
}

# took SECONDS: as 7s or 3m07s
took()
{
	if [ "$1" -lt 60 ]; then
		printf '%ds' "$1"
	else
		printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
	fi
}

# Lines of a kernel build's log that stand for a file made.
count_made()
{
	grep -cE '^  (CC|AS|AR|LD|HOSTCC|HOSTLD|GEN|INSTALL|UNPACK|TEST) ' "$1" 2> /dev/null || :
}

# One line now and then while the command of step() runs.
step_watch()
{
	every=30 start=$(date +%s) last=0
	[ -t 1 ] && every=1
	while sleep 1 && kill -0 $$ 2> /dev/null; do
		now=$(($(date +%s) - start))
		[ $((now - last)) -ge $every ] || continue
		last=$now
		line="$1 $(took $now)"
		made=$(count_made "$3")
		if [ "${made:-0}" -gt 0 ]; then
			[ "$made" -gt "$2" ] && line="$line, $made files" ||
				line="$line, $made of about $2 files"
		fi
		if [ -t 1 ]; then
			printf '\r\033[K%s' "$line"
		else
			echo "$line"
		fi
	done
}

# step NAME TITLE TOTAL COMMAND...: run a long command with its output in
# build/log/NAME.log, say how far it is (TOTAL: files it will make, 0 if not
# known) and how long it took.  Ends the script if the command fails.
step()
{
	step_log=$build/log/$1.log step_title=$2 step_total=$3
	shift 3
	mkdir -p "$build/log"
	: > "$step_log"
	step_start=$(date +%s)
	step_watch "$step_title" "$step_total" "$step_log" 9>&- &
	step_watcher=$!
	step_status=0
	"$@" >> "$step_log" 2>&1 < /dev/null || step_status=$?
	kill $step_watcher 2> /dev/null || :
	wait $step_watcher 2> /dev/null || :
	[ ! -t 1 ] || printf '\r\033[K'
	step_time=$(took $(($(date +%s) - step_start)))
	if [ $step_status -ne 0 ]; then
		echo "$step_title: failed after $step_time; the log's last lines:" >&2
		# beside other jobs' lines, what went wrong may stand well above the end
		{
			head -n -20 "$step_log" | grep -E -A 4 '(error|warning): |undefined reference' | head -n 20
			tail -n 20 "$step_log"
		} | sed 's/^/  | /' >&2
		die "whole log: ${step_log#"$top"/}"
	fi
	step_made=$(count_made "$step_log")
	if [ "${step_made:-0}" -gt 0 ]; then
		echo "$step_title: $step_made files, $step_time"
	elif [ $(($(date +%s) - step_start)) -gt 4 ]; then
		echo "$step_title: $step_time"
	fi
}
