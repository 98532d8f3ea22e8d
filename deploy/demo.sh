#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows Postern at work on this machine: a mail client, the appliance and a real Postfix, each in a network
# namespace of its own. Installs what is missing, builds, sends real mail, cleans up, exits 0.
#
#   sudo deploy/demo.sh          on Debian 12; takes a minute or two
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset VARIANT CC CFLAGS LDFLAGS MAKEFLAGS

name=demo
work=

# --- how it is shown -------------------------------------------------------------------------------
bold="" plain=""
if [ -t 1 ]; then
	bold=$'\033[1m' plain=$'\033[0m'
fi
step=0
title() {
	step=$((step + 1))
	printf '\n%s%d. %s%s\n' "$bold" "$step" "$*" "$plain"
}
note() { printf '   %s\n' "$*"; }
indent() { sed 's/^/   | /'; }
fail() {
	printf '\ndemo: NOT AS EXPECTED: %s\n' "$*" >&2
	exit 1
}

# --- what it does ----------------------------------------------------------------------------------
finish() { # EXIT-STATUS
	trap - EXIT INT TERM HUP
	if [ "$1" -ne 0 ] && [ -n "$work" ]; then
		for f in /run/postern-rig/$name/{posternd,dataplane}.out; do
			[ -s "$f" ] && { echo "--- $f"; tail -n 20 "$f"; } >&2
		done
	fi
	test/rig.sh down --name $name || true
	[ -z "$work" ] || rm -rf "$work"
	exit "$1"
}

# Words as one would type them in a shell: quoted where they need it.
typed() { # WORD ..
	local word line=""
	for word in "$@"; do
		[[ $word =~ ^[a-zA-Z0-9_./:@%+=,-]+$ ]] || word=${word@Q}
		line+="${line:+ }$word"
	done
	echo "$line"
}

ctl() { # shows a command of the CLI and its answer
	note "\$ postern $(typed "$@")"
	"$CTL" "$@" | indent
}

# Sends a message file with swaks from a client address; keeps the transcript; gives swaks's exit status.
send() { # FILE [SWAKS-OPTION ..]
	local file=$1 status=0
	shift
	# swaks ends the message with a line end of its own.
	head -c -1 "$file" >"$work/data"
	nsenter --net="/run/netns/$CLIENT_NS" -- swaks --server "$APPLIANCE_IP" --port "$SMTP_PORT" --ehlo client.example \
		--from ada@client.example --to user@example.com --data "@$work/data" "$@" \
		>"$work/swaks" 2>&1 </dev/null || status=$?
	return $status
}

# The commands and replies of the last `send`, without the message.
transcript() {
	grep -E '^(<|~|\*\*\*| ->|<\*\*|<~| ~>)' "$work/swaks" | grep -E -i \
		'MAIL FROM|RCPT TO| -> DATA| -> \.$|<-  [45]|<\*\*|<-  250 2|<-  354' | indent
}

mails() { find "$MAILDIR/new" -type f 2>/dev/null | sort; }

# Waits for the message that was not there before; prints its file.
arrival() { # FILE-WITH-THE-LIST-BEFORE
	local tries new
	for ((tries = 0; tries < 100; tries++)); do
		new=$(mails | comm -13 "$1" -)
		if [ -n "$new" ]; then
			echo "$new"
			return
		fi
		sleep 0.1
	done
	fail "nothing arrived in the maildir"
}

# Shows that what arrived is what was sent. Servers add fields above the message, nowhere else.
same() { # SENT ARRIVED
	local first
	first=$(head -n 1 "$1")
	awk -v first="$first" '$0 == first { go = 1 } go' "$2" >"$work/arrived"
	note "added on the way, above the message:"
	awk -v first="$first" '$0 == first { exit } { print }' "$2" | cut -c 1-110 | indent
	note "compared with what was sent:"
	cmp "$1" "$work/arrived" || fail "the message was changed"
	note "equal: $(stat -c %s "$1") bytes, sha256 $(sha256sum <"$1" | cut -c 1-16).."
}

refused() { # CAPTION FILE [SWAKS-OPTION ..]
	local caption=$1 status=0
	shift
	mails >"$work/before"
	send "$@" || status=$?
	transcript
	[ $status -ne 0 ] || fail "$caption: was taken"
	sleep 0.3
	[ -z "$(mails | comm -13 "$work/before" -)" ] || fail "$caption: was delivered"
	note "refused; nothing arrived."
}

# One SMTP transaction by hand, the message in slices with pauses: a long transfer. Runs in the client's
# namespace, so it sees nothing of this script but its arguments.
slow_session() { # ADDRESS PORT FILE SLICE-BYTES PAUSE
	set -euo pipefail
	exec 3<>"/dev/tcp/$1/$2"
	reply() {
		local line
		while read -r -t 60 line <&3; do
			echo "<- ${line%$'\r'}"
			[[ $line == ???-* ]] || return 0
		done
		return 1
	}
	say() {
		echo "-> $1"
		printf '%s\r\n' "$1" >&3
		reply
	}
	reply
	say "EHLO client.example"
	say "MAIL FROM:<ada@client.example>"
	say "RCPT TO:<user@example.com>"
	say "DATA"
	sed 's/^\./../; s/$/\r/' "$3" | split -b "$4" --filter="cat; sleep $5" - >&3
	say "."
	say "QUIT"
}

slow_send() { # FILE SLICE-BYTES PAUSE
	nsenter --net="/run/netns/$CLIENT_NS" -- bash -c "$(declare -f slow_session); slow_session \"\$@\"" \
		slow_session "$APPLIANCE_IP" "$SMTP_PORT" "$@"
}

[ "$(id -u)" -eq 0 ] || { echo "demo: run as root: sudo deploy/demo.sh" >&2; exit 1; }
trap 'finish $?' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
work=$(mktemp -d)

title "Packages and build"
deploy/install-deps.sh build run test >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "packages"; }
note "packages are there ($(wc -l <"$work/log") lines of apt)"
make -j2 >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "build"; }
note "built: postern, posternd, postern-dataplane"

title "The appliance between two network namespaces, a real Postfix behind it"
test/rig.sh down --name $name
test/rig.sh up --name $name --backend postfix >"$work/vars"
while IFS='=' read -r key value; do
	printf -v "$key" '%s' "$value"
done <"$work/vars"
: "${CLIENT_NS:?}" "${APPLIANCE_IP:?}" "${SMTP_PORT:?}" "${CTL:?}" "${MAILDIR:?}" "${LOG_FILE:?}" "${CLIENT_IP:?}"
note "client $CLIENT_IP  --->  [ Postern $APPLIANCE_IP ]  --->  Postfix ${BACKEND_IP:?}"
note "while this runs, the commands below are for $CTL, here called postern"
ctl status

title "Good mail passes, byte for byte"
for eml in test/mail/ham-plain.eml test/mail/ham-multipart.eml; do
	note "$eml"
	mails >"$work/before"
	send $eml || { transcript; fail "$eml was refused"; }
	transcript
	arrived=$(arrival "$work/before")
	same $eml "$arrived"
done

title "A phrase of the content filter, hidden in quoted-printable and in base64"
refused "phrase in quoted-printable" test/mail/phrase-qp.eml
refused "phrase in base64" test/mail/phrase-base64.eml

title "A program as attachment, in base64"
refused "attachment" test/mail/exe-base64.eml

title "A client's address on the block list, and off again: no restart, at once"
ctl block add 192.0.2.2
refused "blocked address" test/mail/ham-plain.eml --local-interface 192.0.2.2
ctl block list
ctl block del 192.0.2.2
send test/mail/ham-plain.eml --local-interface 192.0.2.2 || { transcript; fail "still blocked"; }
transcript
note "taken."

title "Policy changes while a long transfer is running"
{
	printf 'From: Ada Miller <ada@client.example>\nTo: user@example.com\nSubject: A long one\n'
	printf 'Date: Fri, 07 Aug 2026 09:00:00 +0200\nMessage-ID: <20260807-0900@client.example>\n\n'
	seq -f 'This is line %06.0f of a long message. It takes its time, and nothing may change it.' 1 65000
} >"$work/long.eml"
note "a message of $(stat -c %s "$work/long.eml") bytes begins; it will take some seconds"
mails >"$work/before"
slow_send "$work/long.eml" 300000 0.3 >"$work/slow" 2>&1 &
slow=$!
sleep 1.5
ctl session list
ctl pipeline
ctl agent priority "Attachment Filtering" 1
ctl block add 203.0.113.77
ctl block add "$CLIENT_IP"
note "even the sender's own address is blocked now: the transfer goes on, for a transaction keeps its policy"
kill -0 $slow 2>/dev/null || fail "the transfer ended before the changes were made"
ctl pipeline
refused "a new session from the blocked address" test/mail/ham-plain.eml --local-interface "$CLIENT_IP"
ctl block del "$CLIENT_IP"
ctl agent priority "Attachment Filtering" 5
wait $slow || { tail -n 5 "$work/slow"; fail "the long transfer broke"; }
tail -n 3 "$work/slow" | indent
grep -q '^<- 250 .*' <(tail -n 3 "$work/slow") || fail "the long message was refused"
arrived=$(arrival "$work/before")
same "$work/long.eml" "$arrived"

title "What the message log says (JSON lines): one in full, then what every refusal says for itself"
grep '"action":"Reject' "$LOG_FILE" >"$work/refusals" || fail "no refusal in the log"
sed -n 1p "$work/refusals" | fold -w 110 | indent
sed -E 's/.*"client":"([^"]*)".*"event":"([^"]*)","agent":"([^"]*)","action":"([^"]*)","rule":"([^"]*)","evidence":"([^"]*)".*/\1  \2  \3: \4; \5: \6/' \
	"$work/refusals" | indent

title "Counters"
note "\$ postern stats | grep '[1-9]'"
"$CTL" stats | grep '[1-9]' | indent

title "Done: all as expected; now everything is removed again"
