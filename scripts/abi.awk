# SPDX-License-Identifier: GPL-2.0-only
# abi.awk: verdicts on what users see of KSM, as lines of
#	pass|fail|skip, tab, what, tab, reason
#
# list=base FILE list=meant FILE list=seen FILE: what the base shows, what is meant to
# differ, what a running kernel shows.  All have lines NAME, tab, VALUE (abi.c); in the
# second, a VALUE `missing' says that what the base has is not there yet.

BEGIN { FS = "\t" }

/^#/ || !NF { next }

list == "base" { base[$1] = $2 }

list == "meant" { meant[$1] = $2 }

list == "seen" { seen[$1] = $2 }

function verdict(kind, name, why) { printf "%s\t%s\t%s\n", kind, name, why }

END {
	for (name in base)
		if (name in seen)
			there(name)
		else if (meant[name] == "missing")
			verdict("skip", name, "is not there yet")
		else
			verdict("fail", name, "is missing; the base has: " base[name])
	for (name in seen)
		if (!(name in base))
			addition(name)
	for (name in meant)
		if (meant[name] == "missing" && !(name in base))
			verdict("fail", name, "is missing by scripts/abi.ours, but the base has no such thing")
		else if (meant[name] != "" && meant[name] != "missing" && !(name in seen))
			verdict("fail", name, "is in scripts/abi.ours, but not there")
}

function there(name)
{
	if (meant[name] == "missing")
		verdict("fail", name, "is there: take it off scripts/abi.ours")
	else if (meant[name] != "" && meant[name] == base[name])
		verdict("fail", name, "is as in the base: take it off scripts/abi.ours")
	else if (seen[name] == (meant[name] != "" ? meant[name] : base[name]))
		verdict("pass", name)
	else
		verdict("fail", name, "is: " seen[name] "; the base has: " base[name])
}

function addition(name)
{
	if (meant[name] == "")
		verdict("fail", name, "is new, and not in scripts/abi.ours: " seen[name])
	else if (meant[name] == seen[name])
		verdict("pass", name)
	else
		verdict("fail", name, "is: " seen[name] "; scripts/abi.ours says: " meant[name])
}
