# SPDX-License-Identifier: GPL-2.0-only
# check-configs.sh: the suites `configs' and `cross', which compile our KSM and what
# calls it in the configurations of configs.plan; part of check.sh, which gives them
# $suite, $log and $results.
# shellcheck shell=sh disable=SC2154

# compiler_for MACHINE: its prefix; none where the machine's own does
compiler_for()
{
	case $1 in
	x86_64 | i386) ;;
	arm64) echo aarch64-linux-gnu- ;;
	s390) echo s390x-linux-gnu- ;;
	powerpc) echo powerpc64le-linux-gnu- ;;
	*) die "check: configs.plan: which compiler is for $1?" ;;
	esac
}

# compiled_in FOLDER: the objects that the folder's Makefile asks for, by $objects/.config
compiled_in()
{
	{
		echo 'all:'
		echo "include $objects/.config"
		echo "include $linux/$1/Makefile"
		# shellcheck disable=SC2016
		echo '$(info $(obj-y) $(proc-y) $(kvm-hv-y))'
	} | make -s -f - -C "$linux/$1" srctree="$linux" src="$linux/$1" obj="$1" \
		ARCH="$arch" SRCARCH="$arch" all 2> /dev/null |
		tr ' ' '\n' | sed -n "s,^[-a-z_0-9]*\.o$,$1/&,p"
}

# Whatever of the kernel's includes ksm.h or is changed by patches/, as objects; of them,
# what is in the configuration.
callers()
{
	{
		(cd "$linux" && grep -rl --include='*.c' 'include <linux/ksm\.h>' mm fs kernel \
			arch/s390/mm arch/powerpc/kvm)
		(cd "$top" && sed -n 's,^+++ b/\(.*\.c\)$,\1,p' patches/*.patch)
	} | grep -v '^mm/ksm\|^tools/' | grep "^[^a]\|^arch/$arch/" |
		sed 's/c$/o/' | sort -u > "$log.callers"
	sed 's,/[^/]*$,,' "$log.callers" | sort -u | while read -r folder; do
		compiled_in "$folder"
	done | sort -u | comm -12 - "$log.callers"
}

# make_objects OBJECT...: W=1 may be among them
make_objects()
{
	make -k -C "$linux" O="$objects" ARCH="$arch" CROSS_COMPILE="$cross" CC="ccache ${cross}gcc" \
		HOSTCC='ccache gcc' -j"$jobs" KCFLAGS=-Werror "$@" >> "$log" 2>&1
}

# object_verdict NAME OBJECT...
object_verdict()
{
	verdict=$1
	shift
	: > "$log"
	if make_objects "$@"; then
		pass "$verdict"
	else
		fail "$verdict" "$(grep -m 1 -E '(warning|error):|\*\*\*' "$log" || echo 'make failed')"
	fi >> "$results"
	cat "$log" >> "$log.all"
}

# A new configuration begins as a copy of the test kernel's, where there is one, which
# saves a build of the kernel's tools; what differs is made anew.
copy_model()
{
	model=$build/w1-debug	# the suite `warnings' leaves it
	if [ "$arch" = x86_64 ] && [ ! -d "$objects" ] && [ -f "$model/mm/ksm.o" ]; then
		rm -rf "$objects.new"
		mkdir -p "$build/configs"
		cp -a "$model" "$objects.new"
		mv "$objects.new" "$objects"
	fi
}

# configuration NAME MACHINE FRAGMENT...
configuration()
{
	name=$1 arch=$2
	shift 2
	[ ! -t 1 ] || printf '\r\033[K%s: %s' "$suite" "$name"
	objects=$build/configs/$name
	cross=$(compiler_for "$arch")
	files=''
	for fragment; do
		files="$files $top/configs/$fragment.config"
	done
	copy_model
	# shellcheck disable=SC2086
	ARCH=$arch CROSS_COMPILE=$cross "$top/scripts/configure.sh" "$linux" "$objects" \
		$files > "$log.config" 2>&1 || {
		fail "$name" "$(paste -sd ' ' "$log.config")" >> "$results"
		cat "$log.config" >> "$log.all"
		return
	}
	callers=$(callers)
	[ -n "$callers" ] || die "check: nobody seems to call KSM in the configuration $name"
	# shellcheck disable=SC2086
	object_verdict "$name: who calls KSM" $callers
	grep -qx CONFIG_KSM=y "$objects/.config" || return 0
	object_verdict "$name: KSM" W=1 mm/ksm.o mm/ksm/
	link_verdict "$name: no function of libgcc's"
}

# On 32-bit machines a plain division of 64 bits calls one, and the kernel does not link.
link_verdict()
{
	foreign=$(find "$objects/mm/ksm.o" "$objects/mm/ksm" -name '*.o' -print0 |
		xargs -0 "${cross}nm" -A -u 2> /dev/null | grep -m 1 -E ' U __u?(div|mod|divmod)[ds]i[34]$' || :)
	if [ -z "$foreign" ]; then
		pass "$1"
	else
		fail "$1" "${foreign#"$objects"/}"
	fi >> "$results"
}

# configurations MACHINES: those of the plan for one of the machines
configurations()
{
	: > "$log.all"
	# shellcheck disable=SC2013
	sed 's/#.*//' "$top/scripts/configs.plan" | grep -E "^[^ 	]+[ 	]+($1)[ 	]" > "$log.plan"
	while read -r name arch fragments <&3; do
		# shellcheck disable=SC2086
		configuration "$name" "$arch" $fragments
	done 3< "$log.plan"
	mv "$log.all" "$log"
}

suite_configs() { configurations 'x86_64|i386'; }
suite_cross() { configurations 'arm64|s390|powerpc'; }
