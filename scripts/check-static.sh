# SPDX-License-Identifier: GPL-2.0-only
# check-static.sh: the suites that run nothing of ours; part of check.sh, which
# gives them $suite, $log and $results.
# shellcheck shell=sh disable=SC2154

# Our C files, as paths in the kernel tree.
sources()
{
	(cd "$top" && find "$@" -name '*.[ch]' ! -name '.*' 2> /dev/null | sort) || :
}

# by_file FILE...: verdicts from the log, whose lines begin with the file complained of
by_file()
{
	for file; do
		if complaint=$(grep -m 1 "^$file:" "$log"); then
			fail "$file" "${complaint#"$file":}"
		else
			pass "$file"
		fi
	done >> "$results"
}

# Words in the log while all files are well: the tool itself has failed.
tool_failed()
{
	! grep -q '^fail' "$results" || return 0
	complaint=$(grep -vE -m 1 '^[^ :]+:[0-9]+: ' "$log") || return 0
	fail "$suite" "$complaint" >> "$results"
}

dictionary=/usr/lib/python3/dist-packages/codespell_lib/data/dictionary.txt
checkpatch_flags='--strict --no-signoff --no-summary --quiet --terse --show-types'

suite_checkpatch()
{
	files=$(sources mm include/linux tools)
	traces=$(sources include/trace)
	patches=$(cd "$top" && ls patches/*.patch)
	# shellcheck disable=SC2086
	{
		(cd "$linux" && echo $files | xargs -n 8 -P "$jobs" scripts/checkpatch.pl $checkpatch_flags \
			--codespell --codespellfile "$dictionary" -f) > "$log" 2>&1 || :
		# the layout that all trace headers have is none that checkpatch likes
		(cd "$linux" && scripts/checkpatch.pl $checkpatch_flags \
			--ignore PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE -f $traces) >> "$log" 2>&1 || :
		# with git at hand it would take a patch that git tracks for a source file
		(cd "$top" && GIT_DIR=none "$linux/scripts/checkpatch.pl" --root "$linux" \
			$checkpatch_flags $patches) >> "$log" 2>&1 || :
		by_file $files $traces $patches
	}
	tool_failed
}

suite_kernel_doc()
{
	# without -Wall a missing Return: is not noticed
	files=$(sources mm include/linux)
	# shellcheck disable=SC2086
	{
		(cd "$linux" && scripts/kernel-doc -none -Wall -Werror $files) > "$log" 2>&1 || :
		by_file $files
	}
	tool_failed
}

# compile FOLDER FRAGMENTS SETTINGS: the objects of ours, once more, where make kernel does not look, or W=1 would
# have all of them built anew.
compile()
{
	# shellcheck disable=SC2086
	"$top/scripts/configure.sh" "$linux" "$1" $2 >> "$log" 2>&1 &&
		make -k -C "$linux" O="$1" ARCH=x86_64 -j"$jobs" CC='ccache gcc' HOSTCC='ccache gcc' \
			$3 mm/ksm.o mm/ksm/ >> "$log" 2>&1
}

# object_verdicts NAME: by file, for complaints in the log
object_verdicts()
{
	for file in $(cd "$top" && ls mm/ksm.c mm/ksm/*.c mm/ksm/tests/*.c 2> /dev/null); do
		if complaint=$(grep -m 1 -E "(^|/)${file%.c}\.[ch]:[0-9]+.*(warning|error):" "$log"); then
			fail "$file ($1)" "$complaint"
		else
			pass "$file ($1)"
		fi
	done >> "$results"
}

# As the test kernel has them, and as make kernel's.
suite_warnings()
{
	for kind in debug release; do
		fragments=$top/configs/base.config
		[ $kind = release ] || fragments="$fragments $top/configs/debug.config"
		compile "$build/w1-$kind" "$fragments" 'W=1 KCFLAGS=-Werror' ||
			fail "build ($kind)" "make W=1 failed" >> "$results"
		object_verdicts $kind
		cat "$log" >> "$log.all"
		: > "$log"
	done
	mv "$log.all" "$log"
}

suite_sparse()
{
	compile "$build/w1-debug" "$top/configs/base.config $top/configs/debug.config" \
		'W=1 KCFLAGS=-Werror C=2 CF=-Wno-context' || fail build "make C=2 failed" >> "$results"
	object_verdicts sparse
}

# floors_of NAME PLAN SOURCES OBJECTS FILES
floors_of()
{
	if "$top/scripts/floors.sh" "$3" "$4" "$top/scripts/$2" "$5" > "$log.$1" 2>&1; then
		pass "$1"
	else
		fail "$1" "$(wc -l < "$log.$1") breaches of scripts/$2"
	fi >> "$results"
	cat "$log.$1" >> "$log"
}

suite_floors()
{
	floors_of engine floors.plan "$linux/mm" "$build/w1-debug/mm" 'ksm.c ksm/*.c ksm/*.h'
	"$top/scripts/selftests.sh" ours > "$log" 2>&1 || fail selftests "do not build" >> "$results"
	# ksm_util.h is all of them in one
	floors_of selftests selftests.plan "$linux/tools/testing/selftests/mm" "$build/tests/obj" \
		"$(cd "$top/tools/testing/selftests/mm" &&
			find . -name 'ksm_*.[ch]' ! -name '*_tests.c' ! -name ksm_util.h -printf '%f\n' | sort | paste -sd ' ')"
}
