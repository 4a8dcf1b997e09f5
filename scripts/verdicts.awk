# SPDX-License-Identifier: GPL-2.0-only
# verdicts.awk: what a suite said in its guest (guest/suite), as lines of
#	pass|fail|skip, tab, test, tab, reason
#
# After all tests "nothing left" is what our KSM's slabs and pages say, and "no leaks" what
# kmemleak says, where there is one.
#
# -v suite=NAME
#
# TAP counts only at the begin of a line, and each number once: children of a test may
# print totals of their own.  A call with options, or what speaks no TAP, is one test
# and judged by its exit code.
# KUnit's cases are indented once, the parameters of a case twice.

function verdict(kind, name, why)
{
	if (kind == "fail")
		failures++
	printf "%s\t%s\t%s\n", kind, name, why
}

# result(text): of `ok 1 - name # SKIP why' all that follows the number
function result(text, failed,	at, why)
{
	if ((at = index(text, "#")) > 0) {
		why = substr(text, at + 1)
		text = substr(text, 1, at - 1)
	}
	sub(/^(- )?/, "", text)
	gsub(/^[ \t]+|[ \t]+$/, "", text)
	gsub(/^[ \t]+|[ \t]+$/, "", why)
	name_is = text
	why_is = why
	kind_is = why ~ /^SKIP/ ? "skip" : failed ? "fail" : "pass"
}

/^### begin / {
	test = substr($0, 11)
	running = 1
	plan = count = failures = 0
	bail = ""
	delete kind
	next
}

!running { next }

/^    # Subtest: / { subtest = $3; next }

/^    (not )?ok [0-9]+/ && suite == "kunit" {
	failed = /^ *not/
	sub(/^ *(not )?ok [0-9]+ */, "")
	result($0, failed)
	verdict(kind_is, subtest "." name_is, why_is)
	cases++
	next
}

suite == "kunit" && !/^###/ { next }

# A call with options is one test.
test ~ / / && !/^###/ { next }

/^1\.\.[0-9]+/ && !plan { plan = substr($0, 4) + 0; next }

/^(not )?ok [0-9]+/ {
	failed = /^not/
	sub(/^(not )?ok /, "")
	number = $1
	sub(/^[0-9]+ */, "")
	result($0, failed)
	if (number in kind) {
		if (kind[number] == "fail")
			next
	} else {
		order[++count] = number
	}
	kind[number] = kind_is
	name[number] = name_is == "" ? test " " number : name_is
	why[number] = why_is
	next
}

/^Bail out!/ { bail = ": " $0; next }

/^### exit / {
	running = 0
	tell()
	skipped_all = $3 == 4
	ended = ($3 == 137 ? "took too long and was stopped" : "ended with status " $3) bail
	if (plan > count)
		verdict("fail", test, plan - count " of its " plan " tests gave no result; " ended)
	else if (suite == "kunit" && !cases)
		verdict("fail", test, "no case was run")
	else if (count && $3 && !skipped_all && !failures)
		verdict("fail", test, ended)
	else if (!count && (suite != "kunit" || test ~ /^(nothing left|no leaks)$/))
		verdict($3 == 0 ? "pass" : skipped_all ? "skip" : "fail", test, $3 ? ended : "")
}

function tell(	i)
{
	for (i = 1; i <= count; i++)
		verdict(kind[order[i]], name[order[i]], why[order[i]])
}

END {
	if (running) {
		tell()
		verdict("fail", test, "did not end")
	}
}
