#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks every #include of the tree against test/layers.txt; prints FILE:LINE: WHY for each violation.
#
#   test/layers.sh [DIR]          DIR: the tree to look at; default: this one
#   test/layers.sh --self-test    breaks rules on purpose in a copy and expects each to be found
#
# Prints "ok" and "not ok" lines and ends with "N passed, N failed".
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The files that are looked at, relative to the tree.
sources() { # TREE
	(cd "$1" && find control scanner dataplane test bench -name '*.[ch]' -type f 2>/dev/null | LC_ALL=C sort)
}

# All the work: one awk over the rules and then over the sources.
check_tree() { # TREE RULES
	local tree=$1 rules=$2
	(
		cd "$tree"
		sources . | awk -v rules="$rules" '
		function fail(where, why) { print where ": " why; bad++ }
		# Shell-like match with "*" alone.
		function fits(glob, s,    re) {
			re = glob
			gsub(/[.+(){}^$|]/, "\\\\&", re)
			gsub(/\*/, ".*", re)
			return s ~ ("^" re "$")
		}
		function any_fits(list, s,    n, g, i) {
			n = split(list, g, " ")
			for (i = 1; i <= n; i++)
				if (fits(g[i], s))
					return 1
			return 0
		}
		function dir_of(path) { sub(/\/[^\/]*$/, "", path); return path }
		# The longest DIR of `area` lines that holds the path.
		function area_of(path,    d) {
			for (d = dir_of(path); ; d = dir_of(d)) {
				if (d in may)
					return d
				if (d !~ /\//)
					return ""
			}
		}
		function stem_of(path) { sub(/^.*\//, "", path); sub(/\.[^.]*$/, "", path); return path }
		# Layer number of a file inside an ordered directory; 0: no line names it.
		function layer_of(dir, path,    i) {
			for (i = 1; i <= order_count[dir]; i++)
				if (fits(order_stem[dir, i], stem_of(path)))
					return order_layer[dir, i]
			return 0
		}
		function read_rules(    line, word, dir, rest, n, f, i, layer) {
			while ((getline line < rules) > 0) {
				rule_line++
				sub(/#.*/, "", line)
				if (line ~ /^[ \t]*$/)
					continue
				word = line
				sub(/[ \t].*/, "", word)
				rest = line
				sub(/^[^ \t]*[ \t]+/, "", rest)
				dir = rest
				if (!sub(/:.*/, "", dir)) {
					fail(rules ":" rule_line, "no colon")
					continue
				}
				sub(/^[^:]*:[ \t]*/, "", rest)
				if (word == "area") {
					may[dir] = rest
				} else if (word == "order") {
					n = split(rest, f, /[ \t]+/)
					layer = 1
					for (i = 1; i <= n; i++) {
						if (f[i] == "|") {
							layer++
						} else if (f[i] != "") {
							order_count[dir]++
							order_stem[dir, order_count[dir]] = f[i]
							order_layer[dir, order_count[dir]] = layer
						}
					}
				} else if (word == "only") {
					only_count++
					only_headers[only_count] = dir
					only_files[only_count] = rest
				} else if (word == "never") {
					never[dir] = never[dir] " " rest
				} else {
					fail(rules ":" rule_line, "unknown word \"" word "\"")
				}
			}
			close(rules)
		}
		function check_own(where, file, area, header,    target) {
			if (header !~ /\//) {
				fail(where, "\"" header "\": paths begin at the top of the tree")
				return
			}
			if ((getline target < header) < 0) {
				fail(where, "\"" header "\": no such file")
				return
			}
			close(header)
			target = area_of(header)
			if (may[area] != "*" && !any_fits(may[area], target)) {
				fail(where, "\"" header "\": " area " may include only " may[area])
				return
			}
			if (area == target && (area in order_count)) {
				if (!layer_of(area, file))
					fail(where, "no layer for " stem_of(file) ": name it in test/layers.txt")
				else if (!layer_of(area, header))
					fail(where, "no layer for " header ": name it in test/layers.txt")
				else if (layer_of(area, header) > layer_of(area, file))
					fail(where, "\"" header "\" is a layer above this file")
			}
		}
		# A header may be named by several `only` lines; one that allows the file is enough.
		function check_system(where, file, area, header,    i, named, allowed) {
			for (i = 1; i <= only_count; i++) {
				if (!any_fits(only_headers[i], header))
					continue
				named = named " " only_files[i]
				if (any_fits(only_files[i], file))
					allowed = 1
			}
			if (named != "" && !allowed)
				fail(where, "<" header "> may be included only by" named)
			for (i = area; ; i = dir_of(i)) {
				if ((i in never) && any_fits(never[i], header))
					fail(where, "<" header ">: never in " i)
				if (i !~ /\//)
					break
			}
		}
		function check_file(file,    area, line, number, header, where) {
			area = area_of(file)
			if (area == "") {
				fail(file ":1", "no area for this directory in test/layers.txt")
				return
			}
			while ((getline line < file) > 0) {
				number++
				if (line !~ /^[ \t]*#[ \t]*include/)
					continue
				includes++
				where = file ":" number
				header = line
				if (header ~ /"[^"]*"/) {
					sub(/^[^"]*"/, "", header)
					sub(/".*/, "", header)
					check_own(where, file, area, header)
					# A library is as confined when somebody writes it with quotes.
					check_system(where, file, area, header)
				} else if (header ~ /<[^>]*>/) {
					sub(/^[^<]*</, "", header)
					sub(/>.*/, "", header)
					check_system(where, file, area, header)
				} else {
					fail(where, "an include that this check cannot read")
				}
			}
			close(file)
			files++
		}
		BEGIN { read_rules() }
		{ check_file($0) }
		END {
			if (!files)
				fail("layers", "no sources found")
			printf "# %d includes in %d files, %d violations\n", includes, files, bad
			exit bad ? 1 : 0
		}'
	)
}

self_test_dir=
passed=0
failed=0

# Adds one line to a file of a small tree and expects a complaint about that very line.
expect_violation() { # NAME FILE INCLUDE-LINE
	local tree=$self_test_dir/tree out
	rm -rf "$tree"
	mkdir -p "$tree"/control/base "$tree"/control/abi "$tree"/scanner/agents "$tree"/dataplane "$tree"/test "$tree"/bench
	local h
	for h in control/base/a control/abi/a control/a control/cli_a scanner/match dataplane/port dataplane/tcp dataplane/smtp; do
		echo '#include <stdint.h>' >"$tree/$h.h"
	done
	echo '#include "scanner/match.h"' >"$tree/dataplane/tcp.c"
	if ! check_tree "$tree" "$root/test/layers.txt" >"$self_test_dir/out"; then
		echo "not ok - layers self-test: the sound tree was refused"
		cat "$self_test_dir/out"
		failed=$((failed + 1))
		return
	fi
	printf '#include <stdint.h>\n%s\n' "$3" >"$tree/$2"
	if out=$(check_tree "$tree" "$root/test/layers.txt") || ! grep -q "^$2:2: " <<<"$out"; then
		echo "not ok - layers self-test: $1"
		echo "$out"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}

self_test() {
	self_test_dir=$(mktemp -d)
	trap 'rm -rf "$self_test_dir"' EXIT
	expect_violation "base includes abi" control/base/x.c '#include "control/abi/a.h"'
	expect_violation "abi includes control" control/abi/x.h '#include "control/a.h"'
	expect_violation "control includes scanner" control/x.c '#include "scanner/match.h"'
	expect_violation "control includes dataplane" control/x.c '#include "dataplane/port.h"'
	expect_violation "the CLI includes posternd's header" control/cli_x.c '#include "control/a.h"'
	expect_violation "scanner includes control" scanner/x.c '#include "control/a.h"'
	expect_violation "scanner includes dataplane" scanner/x.c '#include "dataplane/port.h"'
	expect_violation "dataplane includes control" dataplane/tcp.c '#include "control/a.h"'
	expect_violation "tcp includes smtp" dataplane/tcp_in.c '#include "dataplane/smtp.h"'
	expect_violation "a path relative to the file" dataplane/tcp_in.c '#include "tcp.h"'
	expect_violation "a header that is not there" dataplane/tcp_in.c '#include "dataplane/none.h"'
	expect_violation "a file without a layer" dataplane/unheard_of.c '#include "dataplane/tcp.h"'
	expect_violation "rte_ above port_dpdk" dataplane/tcp_in.c '#include <rte_mbuf.h>'
	expect_violation "rte_ in quotes" dataplane/smtp_x.c '#  include "rte_mbuf.h"'
	expect_violation "Hyperscan in an agent" scanner/agents/x.c '#include <hs.h>'
	expect_violation "Hyperscan's compiler in the scanner" scanner/match.c '#include <hs_compile.h>'
	expect_violation "rte_ in a file that needs none" dataplane/steer.c '#include <rte_mbuf.h>'
	expect_violation "YAML in the dataplane" dataplane/boot.c '#include <yaml.h>'
	expect_violation "YAML beside its one file" control/config_read.c '#include <yaml.h>'
	expect_violation "SQLite beside its one file" control/x.c '#include <sqlite3.h>'
	expect_violation "JSON in the YAML reader" control/yaml.c '#include <jansson.h>'
	expect_violation "sockets in the scanner" scanner/agents/x.c '#include <sys/socket.h>'
	[ $failed -gt 0 ] || echo "ok - layers self-test"
	echo "$passed passed, $failed failed"
	[ $failed -eq 0 ]
}

case ${1:-} in
--self-test) self_test ;;
-*) sed -n '3,8s/^# \{0,3\}//p' "$0" >&2; exit 2 ;;
*)
	tree=${1:-$root}
	if check_tree "$tree" "$root/test/layers.txt"; then
		echo "ok - include rules"
		echo "1 passed, 0 failed"
	else
		echo "not ok - include rules"
		echo "0 passed, 1 failed"
		exit 1
	fi
	;;
esac
