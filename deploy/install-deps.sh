#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing of deploy/packages.txt with apt-get, and nothing when nothing is missing.
#
#   deploy/install-deps.sh [--check] [GROUP ..]     groups: build run test check; default: build run test
#
#   --check   only lists the missing packages, one a line; exit 0: none, 1: some
#
# Installing needs root. A mail server that comes in this way (Postfix, for the tests) is neither
# configured nor started. Nothing is installed when apt-get would have to remove something for it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/packages.txt

usage() {
	sed -n 's/^# \{0,3\}//; 3,9p' "$0"
}

packages_of() { # GROUP ..: their packages, one a line
	local groups=" $* "
	local group="" line
	while IFS= read -r line || [ -n "$line" ]; do
		line=${line%%#*}
		line=${line//[[:space:]]/}
		case $line in
		"") ;;
		"["*"]") group=${line#[}; group=${group%]} ;;
		*) if [[ $groups == *" $group "* ]]; then echo "$line"; fi ;;
		esac
	done <"$list"
}

# Alternatives that do the same work as a package that is not there under its own name.
is_installed() { # PACKAGE
	local status
	status=$(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null || true)
	if grep -qx installed <<<"$status"; then
		return 0
	fi
	case $1 in
	mawk) command -v awk >/dev/null ;;
	pkg-config) command -v pkg-config >/dev/null ;;
	*) return 1 ;;
	esac
}

check_only=no
groups=()
for arg in "$@"; do
	case $arg in
	--check) check_only=yes ;;
	-h | --help) usage; exit 0 ;;
	build | run | test | check) groups+=("$arg") ;;
	*) echo "install-deps: unknown argument '$arg'" >&2; usage >&2; exit 2 ;;
	esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build run test)

if ! command -v dpkg-query >/dev/null; then
	echo "install-deps: this is no Debian; install by hand what deploy/packages.txt names" >&2
	exit 1
fi

missing=()
while IFS= read -r p; do
	is_installed "$p" || missing+=("$p")
done < <(packages_of "${groups[@]}")

if [ $check_only = yes ]; then
	[ ${#missing[@]} -eq 0 ] && exit 0
	printf '%s\n' "${missing[@]}"
	exit 1
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "install-deps: run as root to install: ${missing[*]}" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt=(apt-get -q -o DPkg::Lock::Timeout=300)
echo "install-deps: installing ${missing[*]}"
"${apt[@]}" update || echo "install-deps: apt-get update failed; trying with the lists that are here" >&2

# A server with another mail server on it keeps that one: better no demo than no mail.
plan=$("${apt[@]}" -s install --no-install-recommends "${missing[@]}")
if removed=$(grep '^Remv ' <<<"$plan"); then
	echo "install-deps: refused, because apt-get would remove packages:" >&2
	echo "$removed" >&2
	exit 1
fi

# invoke-rc.d asks this file whether it may start a service; 101 means no. Only ours is taken away again.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\n# put here by Postern deploy/install-deps.sh while it runs\nexit 101\n' >$policy
	chmod 755 $policy
fi
for p in "${missing[@]}"; do
	if [ "$p" = postfix ] && command -v debconf-set-selections >/dev/null; then
		# Without a main.cf the system's own Postfix does not start at the next boot either.
		echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
	fi
done
"${apt[@]}" install -y --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"
