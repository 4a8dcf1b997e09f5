# SPDX-License-Identifier: GPL-2.0-only
# pitfalls.awk: the work of pitfalls.sh, which says what is what.
#
# A pitfall is a heading `P1: title' with fields below it, `:Name:' alone on a line,
# their text indented.  In `Where' and `Tests' what is in double backquotes counts.

BEGIN {
	LAST = 87
	FS = "\t"
	while ((getline line < ours) > 0)
		known[line] = 1
	while ((getline < verdicts) > 0) {
		suite = $1
		sub(/: .*/, "", suite)
		kind = substr($1, length(suite) + 3)
		verdict[suite ": " $2] = kind
		reason[suite ": " $2] = $3
	}
	FS = " "
}

/^P[0-9]+: / {
	p = substr($1, 2) + 0
	if (seen[p]++)
		wrong(p, "is there twice")
	field = ""
	next
}

/^=+$/ { p = 0 }
!p { next }

/^:[^:]+:$/ {
	field = substr($0, 2, length($0) - 2)
	has[p, field] = 1
	next
}

field == "" { next }

/[^ ]/ { text[p, field] = text[p, field] " " $0 }

function wrong(p, why) { complaint[p] = complaint[p] (complaint[p] == "" ? "" : "; ") why }

# names(p, field): what is in double backquotes, as list[1...]; returns how many
function names(p, field,	rest, n)
{
	n = 0
	split("", list)
	rest = text[p, field]
	while (match(rest, /``[^`]+``/)) {
		list[++n] = substr(rest, RSTART + 2, RLENGTH - 4)
		rest = substr(rest, RSTART + RLENGTH)
	}
	return n
}

function look_at(p,	i, n, tests)
{
	if (!seen[p]) {
		wrong(p, "is missing")
		return
	}
	if (text[p, "Open"] != "") {
		wrong(p, "open:" text[p, "Open"])
		open++
		return
	}
	if (text[p, "Trigger"] == "" || text[p, "Rule"] == "")
		wrong(p, "has no trigger or no rule")
	n = names(p, "Where")
	if (!n)
		wrong(p, "names no function")
	for (i = 1; i <= n; i++)
		if (!(list[i] in known))
			wrong(p, list[i] " is none of ours")
	tests = names(p, "Tests")
	for (i = 1; i <= tests; i++)
		if (!(list[i] in verdict))
			wrong(p, list[i] " did not run")
		else if (verdict[list[i]] != "pass")
			wrong(p, list[i] ": " verdict[list[i]] " " reason[list[i]])
	if (!tests && text[p, "By inspection"] == "")
		wrong(p, "has neither test nor reason")
	if (complaint[p] != "")
		return
	tested += tests > 0
	inspected += tests == 0
}

function check(	p, bad, rest)
{
	for (p = 1; p <= LAST; p++) {
		look_at(p)
		printf "%s\tP%d\t%s\n", complaint[p] == "" ? "pass" : "fail", p, complaint[p]
		if (complaint[p] != "") {
			bad++
			printf "P%d: %s\n", p, complaint[p] > "/dev/stderr"
		}
	}
	for (p in seen)
		if (p + 0 < 1 || p + 0 > LAST)
			printf "fail\tP%d\tis none of the %d\n", p, LAST
	rest = bad - open
	printf "%d of %d with a running test, %d by inspection, %s open%s\n", tested, LAST, inspected,
		open ? open : "none", (rest ? ", " rest " not as the page says" : "") > "/dev/stderr"
}

# The outcome of a pitfall on the base: the first of its tests that fails, or what came of the guest.
function outcome(p,	i, n, suite, passed, lost)
{
	n = names(p, "Tests")
	for (i = 1; i <= n; i++) {
		suite = list[i]
		sub(/: .*/, "", suite)
		if (!(list[i] in verdict) && verdict[suite ": the guest"] == "fail")
			lost = "fails\t" list[i] "\t" reason[suite ": the guest"]
		else if (verdict[list[i]] == "fail")
			return "fails\t" list[i] "\t" reason[list[i]]
		else if (verdict[list[i]] == "pass")
			passed = list[i]
	}
	if (lost != "")
		return lost
	if (passed != "")
		return "passes\t" passed "\t"
	return "not run\t\t" (text[p, "Tests"] ~ /_tests:/ ? "" : "no test that this kernel could run")
}

function table(	p, n, shown, part)
{
	for (p = 1; p <= LAST; p++) {
		if (text[p, "In 6.12.117"] == "")
			continue
		n++
		split(outcome(p), part, "\t")
		shown += part[1] == "fails"
		printf "  P%-3d %-8s %s\n", p, part[1], part[2] == "" ? part[3] : \
			part[2] (part[3] == "" ? "" : ": " part[3])
	}
	printf "%d of the %d pitfalls that 6.12.117 is in (%s) fail here\n", shown, n, page
}

END {
	if (mode == "base")
		table()
	else
		check()
}
