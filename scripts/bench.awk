# SPDX-License-Identifier: GPL-2.0-only
# bench.awk: medians of figures.csv, held against the goals of bench.plan.
#
#   mode=line	lines for one MACHINE,WORKLOAD,PAGES (only)
#   mode=points	lines KERNEL MACHINE NAME PAGES MEDIAN of all that there is
#   mode=report	all of the plan as a table; quick: bench-quick's; want: only names with that
#
# Files: bench.plan, figures.csv.

# "" is in every text
function has(text, part)
{
	return part == "" || index(text, part)
}

function median(key,	n, i, j, list, value)
{
	n = split(substr(values[key], 2), list, ";")
	for (i = 2; i <= n; i++) {
		value = list[i] + 0
		for (j = i - 1; j >= 1 && list[j] + 0 > value; j--)
			list[j + 1] = list[j]
		list[j + 1] = value
	}
	return n % 2 ? list[(n + 1) / 2] + 0 : (list[n / 2] + list[n / 2 + 1]) / 2
}

function short(value)
{
	if (value >= 100)
		return sprintf("%.0f", value)
	return sprintf(value >= 10 ? "%.1f" : "%.2f", value)
}

# growth GOAL MACHINE ID FIRST LAST: a line of its own kind
function growth(goal, machine, id, first, last, what,	bounds, base, ours, from, to, verdict, key)
{
	if (!(("ours," machine "," id "," first) in values) || !(("ours," machine "," id "," last) in values))
		return
	split(substr(goal, 9), bounds, "+")
	from = median("ours," machine "," id "," first)
	to = median("ours," machine "," id "," last)
	ours = to / from
	base = median("base," machine "," id "," last) / median("base," machine "," id "," first)
	verdict = ours <= bounds[1] || to - from <= bounds[2] ? "yes" : "no"
	printf "| %s | %s | %s, %d to %d MiB | %s | %s | %s | ≤ %s, or %s more | %s |\n", what, id, machine, \
		first / 256, last / 256, short(base), short(ours), short(base / ours), bounds[1], \
		bounds[2], verdict
}

# met GOAL BASE OURS
function met(goal, base, ours,	n, i, list)
{
	n = split(goal, list, ",")
	for (i = 1; i <= n; i++) {
		if (list[i] ~ /^>=/ && base < substr(list[i], 3) * ours)
			return "no"
		if (list[i] ~ /^<=/ && ours > substr(list[i], 3) + 0)
			return "no"
	}
	return "yes"
}

function goal_words(goal,	n, i, list, words)
{
	n = split(goal, list, ",")
	for (i = 1; i <= n; i++)
		words = words (i > 1 ? ", " : "") (list[i] ~ /^>=/ ? "≥ " substr(list[i], 3) : \
			list[i] ~ /^<=/ ? "≤ " substr(list[i], 3) " " unit : "–")
	return words
}

function row(machine, id, pages, goal, what,	key, base, ours, verdict)
{
	key = machine "," id "," pages
	unit = units[key]
	if (!(("base," key) in values) || !(("ours," key) in values)) {
		if (mode == "report")
			printf "| %s | %s | %s | – | – | – | – | not measured |\n", what, id, machine
		return
	}
	base = median("base," key)
	ours = median("ours," key)
	verdict = goal == "-" ? "–" : met(goal, base, ours)
	if (mode == "line")
		printf "%-4s %-16s %7d pages  base %8s  ours %8s %-8s  ratio %s%s\n", machine, id, pages, \
			short(base), short(ours), unit, ours ? short(base / ours) : "–", \
			goal == "-" ? "" : "  goal " goal_words(goal) ": " verdict
	else
		printf "| %s | %s | %s, %d MiB | %s %s | %s %s | %s | %s | %s |\n", what, id, machine, \
			pages / 256, short(base), unit, short(ours), unit, \
			ours ? short(base / ours) : "–", goal_words(goal), verdict
}

FNR == 1 { file++ }

file == 1 && !/^#/ {
	split($0, field, /\t+/)
	n++
	machines[n] = field[1]
	ids[n] = field[2]
	sizes[n] = quick ? field[4] : field[3]
	all_sizes[n] = field[3] "," field[4]
	goals[n] = field[5]
	first[n] = sizes[n]
	sub(/,.*/, "", first[n])
	whats[n] = field[6]
}

file == 2 && FNR > 1 {
	split($0, field, ",")
	key = field[2] "," field[4] "," field[5]
	values[field[1] "," key] = values[field[1] "," key] ";" field[6]
	units[key] = field[7]
}

END {
	if (mode == "points") {
		for (key in values) {
			split(key, field, ",")
			print field[1], field[2], field[3], field[4], median(key)
		}
		exit
	}
	if (mode == "report") {
		print "| workload | name | machine | base | ours | base/ours | goal | met |"
		print "|---|---|---|---|---|---|---|---|"
	}
	for (i = 1; i <= n; i++) {
		workload = ids[i]
		sub(/\..*/, "", workload)
		count = split(mode == "line" ? all_sizes[i] : sizes[i], list, ",")
		if (goals[i] ~ /^growth/) {
			if (mode == "report" && has(workload, want))
				growth(goals[i], machines[i], ids[i], list[1], list[2], whats[i])
			continue
		}
		delete done
		for (j = 1; j <= count; j++) {
			if (list[j] == "-" || done[list[j]]++)
				continue
			if (mode == "line" && only != machines[i] "," workload "," list[j])
				continue
			if (mode == "report" && !has(workload, want))
				continue
			row(machines[i], ids[i], list[j], mode == "line" && list[j] != first[i] ? "-" : goals[i], whats[i])
			if (mode == "report")
				break
		}
	}
}
