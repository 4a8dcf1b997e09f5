#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# bench-plots.sh FOLDER: SVG plots of what bench.sh has left there, as far as it has.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$1"
rm -f ./*.svg points.*

awk -f "$top/scripts/bench.awk" -v mode=points "$top/scripts/bench.plan" figures.csv > points.all

# by_size KERNEL: MiB, ns/page
by_size()
{
	awk -v kernel="$1" '$1 == kernel && $2 == "um" && $3 == "steady" { print $4 / 256, $5 }' points.all | sort -n
}

# by_writes KERNEL: per cent, ns/page; for the memory for which there are most points
by_writes()
{
	awk -v kernel="$1" '
		BEGIN {
			share["steady"] = 0; share["write1"] = 1; share["write3"] = 3
			share["write10"] = 10; share["write30"] = 30; share["writeall"] = 100
		}
		$1 == kernel && $2 == "um" && $3 in share {
			nr[$4]++
			lines[$4] = lines[$4] share[$3] " " $5 "\n"
		}
		END {
			for (pages in nr)
				if (nr[pages] > nr[best] || nr[pages] == nr[best] && pages + 0 > best + 0)
					best = pages
			printf "%s", lines[best]
		}' points.all | sort -n
}

# saved KERNEL WORKLOAD: seconds, MiB; of the first round
saved()
{
	awk -F , -v kernel="$1" -v workload="$2" '
		$1 == kernel && $3 == 1 && $4 == workload { print $6, $7 / 256 }' samples.csv
}

# plot NAME TITLE XLABEL YLABEL SETTINGS STYLE: of points.base and points.ours
plot()
{
	# a line needs two points
	[ "$(wc -l < points.base)" -ge 2 ] && [ "$(wc -l < points.ours)" -ge 2 ] || return 0
	gnuplot <<-END
		set terminal svg size 720,432 font "sans-serif,14" background "white"
		set output "$1.svg"
		set title "$2"
		set xlabel "$3"
		set ylabel "$4"
		set key tmargin center horizontal reverse Left
		set grid lc rgb "#dddddd"
		set border 3
		set tics nomirror
		set yrange [0:*]
		$5
		plot "points.base" with $6 lw 4 lc rgb "#d09080" title "base", \
		     "points.ours" with $6 lw 2 lc rgb "#2060a0" title "this KSM"
	END
}

for kernel in base ours; do by_size $kernel > points.$kernel; done
plot size "A steady round over unchanged, unique memory" "memory offered, MiB" \
	"ns of ksmd a page" "set logscale x 2; set logscale y; set yrange [1:10000]" "linespoints pt 7 ps 0.7"

for kernel in base ours; do by_writes $kernel > points.$kernel; done
plot writes "A round over unique memory of which a share was written" "pages written, %" \
	"ns of ksmd a page" "set xtics (0, 1, 3, 10, 30, 100); set logscale y; set yrange [1:20000]; \
	set xrange [0:110]; set nonlinear x via log(x+1) inverse exp(x)-1" "linespoints pt 7 ps 0.7"

for kernel in base ours; do saved $kernel save > points.$kernel; done
plot save "Memory saved over time, 1000 pages each 20 ms" "seconds" "MiB saved" "" lines

for kernel in base ours; do saved $kernel save_default > points.$kernel; done
plot save_default "New memory beside memory long known, knobs as at boot" "seconds" "MiB saved" "" lines

rm -f points.*
