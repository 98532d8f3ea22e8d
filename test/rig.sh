#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A running appliance between two network namespaces, with a mail server behind it.
#
#   test/rig.sh up [--config FILE] [--backend postfix|sink|none] [--workers N] [--name NAME] [--no-start]
#                   [--wire ARGS] [--backend-wire ARGS]    impairs that link: arguments of simwire, one word
#   test/rig.sh down [--name NAME]             removes all of it; also after a failure, also twice
#   test/rig.sh vars [--name NAME]             prints the NAME=value lines of `up` again
#   test/rig.sh start posternd|dataplane [--name NAME]    starts one that was stopped or killed
#   test/rig.sh stop posternd|dataplane [--name NAME]
#
# Several rigs run side by side under different names (default: rig). Needs root. README.md in this
# directory explains the topology, the printed names and what may stand in --config.
#
# FILE may leave out the sections machine, listeners and backends: each that is missing is appended, as it fits this
# rig and --workers. Without --config: test/rig.d/policy.yaml.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/${VARIANT:-release}
# Sockets and pids live in /run; mail, queue and log on disk, for they become large.
run_base=/run/postern-rig
data_base=/var/lib/postern-rig

client_ip=192.0.2.1
outside_ip=192.0.2.10
inside_ip=198.51.100.10
server_ip=198.51.100.20
smtp_port=25
start_seconds=30

say() { echo "rig: $*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n 's/^# \{0,3\}//; 4,16p' "$0" >&2; exit 2; }

set_names() { # NAME
	[[ $1 =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] || die "a name is made of a-z, 0-9 and -: '$1'"
	name=$1
	client_ns=pst-$name-client
	appliance_ns=pst-$name-appliance
	server_ns=pst-$name-server
	wire_ns=pst-$name-wire
	run_dir=$run_base/$name
	data_dir=$data_base/$name
	mail_dir=$data_dir/mail/inbox
	log_file=$data_dir/mail.log
	postfix_dir=$data_dir/postfix
	sink_dir=$data_dir/sink
}

# Not `ip netns exec` and `ip -n`: these remount /sys, which fails in a plain chroot.
in_ns() { # NS COMMAND ..
	local ns=$1
	shift
	nsenter --net="/run/netns/$ns" -- "$@"
}
has_ns() { [ -e "/run/netns/$1" ]; }

# --- network ---------------------------------------------------------------------------------------

# A kernel end of a veth must put real frames on the wire: no checksums left for a card to fill in, no
# frames larger than the wire's.
offloads_off() { # NS INTERFACE
	in_ns "$1" ethtool -K "$2" tx off rx off sg off tso off gso off gro off >/dev/null 2>&1 ||
		in_ns "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
}

make_ns() { # NS
	ip netns add "$1"
	# No IPv6 chatter before a link exists, so that frames on the wire are the test's own.
	in_ns "$1" sh -c 'cd /proc/sys/net/ipv6/conf &&
		echo 1 >all/disable_ipv6 && echo 1 >default/disable_ipv6' 2>/dev/null || true
	in_ns "$1" ip link set lo up
}

# eth0 of a kernel on one side, an end of the appliance on the other. The appliance's end carries no
# address: the kernel there answers nothing, Postern does.
make_link() { # NS END [SIMWIRE-ARGS]
	local ns=$1 end=$2 wire=$3
	if [ -z "$wire" ]; then
		ip link add eth0 netns "$ns" type veth peer name "$end" netns "$appliance_ns"
	else
		has_ns "$wire_ns" || make_ns "$wire_ns"
		ip link add eth0 netns "$ns" type veth peer name "$end-far" netns "$wire_ns"
		ip link add "$end" netns "$appliance_ns" type veth peer name "$end-near" netns "$wire_ns"
		start_wire "$end" "$wire"
	fi
	offloads_off "$ns" eth0
	offloads_off "$appliance_ns" "$end"
	in_ns "$appliance_ns" ip link set "$end" arp off up
}

start_wire() { # END SIMWIRE-ARGS
	local side args
	for side in far near; do
		offloads_off "$wire_ns" "$1-$side"
		in_ns "$wire_ns" ip link set "$1-$side" arp off up
	done
	read -ra args <<<"$2"
	setsid nsenter --net="/run/netns/$wire_ns" -- "$build/test/sim/simwire" --a "$1-far" --b "$1-near" "${args[@]}" \
		>"$run_dir/wire-$1.out" 2>&1 </dev/null &
	wait_for 5 "the wire of $1" grep -qs '^ready' "$run_dir/wire-$1.out" || {
		cat "$run_dir/wire-$1.out" >&2
		die "no wire"
	}
}

make_network() { # CLIENT-WIRE BACKEND-WIRE
	local ns
	for ns in "$client_ns" "$appliance_ns" "$server_ns"; do
		make_ns "$ns"
	done
	make_link "$client_ns" outside "$1"
	make_link "$server_ns" inside "$2"
	in_ns "$client_ns" ip addr add $client_ip/24 dev eth0
	# More addresses of clients, for tests that block one.
	local n
	for n in 2 3 4 5 6 7 8 9; do
		in_ns "$client_ns" ip addr add 192.0.2.$n/24 dev eth0
	done
	in_ns "$client_ns" ip link set eth0 up
	in_ns "$server_ns" ip addr add $server_ip/24 dev eth0
	in_ns "$server_ns" ip link set eth0 up
	# Many short connections of a load test come from few addresses.
	in_ns "$client_ns" sh -c 'echo "1024 65535" >/proc/sys/net/ipv4/ip_local_port_range' || true
}

# --- configuration ---------------------------------------------------------------------------------

worker_cores() { # N: "1, 2, .." modulo what the machine has, core 0 last
	local n=$1 cpus i list=""
	cpus=$(nproc --all)
	[ "$n" -le "$cpus" ] || die "$n workers, but only $cpus processors"
	for ((i = 1; i <= n; i++)); do
		list+="${list:+, }$((i % cpus))"
	done
	echo "$list"
}

has_section() { grep -q "^$1:" "$2"; } # SECTION FILE

# The caller's file comes first, so that line numbers in messages are its own.
make_config() { # FILE WORKERS
	local from=$1 workers=$2 to=$run_dir/postern.yaml
	cat "$from" >"$to"
	echo >>"$to"
	has_section machine "$from" || cat >>"$to" <<-END
		# appended by test/rig.sh
		machine:
		  cores: [$(worker_cores "$workers")]
		  memory_mib: 256
		  hugepages: false
		  idle_yield: true
		  ports:
		    - name: outside
		      device: "net_af_packet0,iface=outside"
		      address: $outside_ip/24
		    - name: inside
		      device: "net_af_packet1,iface=inside"
		      address: $inside_ip/24
	END
	has_section listeners "$from" || cat >>"$to" <<-END
		listeners:
		  - port: outside
		    tcp_port: $smtp_port
		    direction: inbound
	END
	has_section backends "$from" || cat >>"$to" <<-END
		backends:
		  - name: backend
		    address: $server_ip
		    tcp_port: $smtp_port
		    direction: inbound
	END
}

# --- backends --------------------------------------------------------------------------------------

start_postfix() {
	local uid gid
	uid=$(id -u nobody)
	gid=$(id -g nobody)
	mkdir -p "$postfix_dir/queue" "$postfix_dir/data" "$mail_dir"
	sed -e "s|@DIR@|$postfix_dir|; s|@MAIL_BASE@|$data_dir/mail|; s|@UID@|$uid|; s|@GID@|$gid|" \
		-e "s|@NETWORK@|198.51.100.0/24|" "$root/test/rig.d/postfix-main.cf" >"$postfix_dir/main.cf"
	cp "$root/test/rig.d/postfix-master.cf" "$postfix_dir/master.cf"
	mkdir -p "$mail_dir"/{new,cur,tmp}
	chown -R "$uid:$gid" "$data_dir/mail"
	chown postfix "$postfix_dir/data"
	in_ns "$server_ns" postfix -c "$postfix_dir" start >"$run_dir/postfix.out" 2>&1 || {
		cat "$run_dir/postfix.out" "$postfix_dir/maillog" >&2 2>/dev/null || true
		die "Postfix did not start"
	}
}

start_sink() {
	mkdir -p "$sink_dir"
	chown nobody "$sink_dir"
	setsid nsenter --net="/run/netns/$server_ns" -- smtp-sink -u nobody -R "$sink_dir" -d "%Y%m%d%H%M%S." \
		-m 2000 $server_ip:$smtp_port 1024 >"$run_dir/sink.out" 2>&1 </dev/null &
}

speaks_smtp() { # NS ADDRESS: a 220 within a second or two
	in_ns "$1" timeout 5 bash -c "
		exec 3<>/dev/tcp/$2/$smtp_port || exit 1
		read -r -t 4 line <&3 || exit 1
		printf 'QUIT\r\n' >&3
		[[ \$line == 220* ]]" 2>/dev/null
}

# Waits until a condition holds, while `alive` says that it still can.
wait_for() { # SECONDS WHAT COMMAND ..
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		if [ $SECONDS -ge $end ]; then
			say "$what: not within the time"
			return 1
		fi
		sleep 0.1
	done
}

# --- the appliance ---------------------------------------------------------------------------------

is_ours() { # PID: alive and in the appliance's namespace
	local pids
	[ -n "$1" ] || return 1
	pids=$(ip netns pids "$appliance_ns" 2>/dev/null) || return 1
	grep -qx "$1" <<<"$pids"
}

pid_of() { # posternd|dataplane
	local pid=""
	if [ -r "$run_dir/$1.pid" ]; then
		read -r pid <"$run_dir/$1.pid" || true
	fi
	if [[ $pid =~ ^[0-9]+$ ]]; then
		echo "$pid"
	fi
}

start_program() { # posternd|dataplane
	local which=$1 command
	if is_ours "$(pid_of "$which")"; then
		return 0
	fi
	if [ "$which" = posternd ]; then
		command=("$build/posternd" --config "$run_dir/postern.yaml" --run-dir "$run_dir"
			--state-dir "$data_dir/state" --log "$log_file")
	else
		command=("$build/postern-dataplane" --run-dir "$run_dir")
	fi
	# Right after a kill -9 the kernel may still hold the lock of the one before for some milliseconds.
	if [ -e "$run_dir/$which.lock" ]; then
		flock -w 10 "$run_dir/$which.lock" true || die "another $which still runs"
	fi
	rm -f "$run_dir/$which.pid"
	setsid nsenter --net="/run/netns/$appliance_ns" -- "${command[@]}" >>"$run_dir/$which.out" 2>&1 </dev/null &
	# `setsid` and `nsenter` become the program, so this is its process. It writes the file itself
	# too; until then, and if it should not, the number stands here.
	local pid=$!
	disown "$pid"
	[ -s "$run_dir/$which.pid" ] || echo "$pid" >"$run_dir/$which.pid"
}

stop_program() { # posternd|dataplane
	local pid tries
	pid=$(pid_of "$1")
	is_ours "$pid" || return 0
	kill -TERM "$pid" 2>/dev/null || true
	for ((tries = 0; tries < 50; tries++)); do
		is_ours "$pid" || return 0
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null || true
}

diagnose() {
	local f
	for f in posternd.out dataplane.out sink.out; do
		[ -s "$run_dir/$f" ] || continue
		say "--- $f"
		tail -n 40 "$run_dir/$f" >&2
	done
	if [ -x "$run_dir/ctl" ]; then
		say "--- status"
		timeout 5 "$run_dir/ctl" status >&2 || true
	fi
}

print_vars() {
	[ -r "$run_dir/vars" ] || die "no rig '$name' is up"
	cat "$run_dir/vars"
}

write_vars() { # BACKEND
	cat >"$run_dir/vars" <<-END
		CLIENT_NS=$client_ns
		SERVER_NS=$server_ns
		APPLIANCE_NS=$appliance_ns
		CLIENT_IP=$client_ip
		APPLIANCE_IP=$outside_ip
		SMTP_PORT=$smtp_port
		BACKEND_IP=$server_ip
		BACKEND_PORT=$smtp_port
		RUN_DIR=$run_dir
		LOG_FILE=$log_file
		CTL=$run_dir/ctl
	END
	case $1 in
	postfix) echo "MAILDIR=$mail_dir" >>"$run_dir/vars" ;;
	sink) echo "SINK_DIR=$sink_dir" >>"$run_dir/vars" ;;
	esac
	# One word, so that it works quoted and unquoted.
	# shellcheck disable=SC2016 # "$@" is for the script that is written
	printf '#!/bin/sh\nexec "%s" --run-dir "%s" "$@"\n' "$build/postern" "$run_dir" >"$run_dir/ctl"
	chmod 755 "$run_dir/ctl"
}

# --- up and down -----------------------------------------------------------------------------------

up() {
	local config=$root/test/rig.d/policy.yaml backend=postfix workers=1 start=yes wire="" backend_wire=""
	while [ $# -gt 0 ]; do
		case $1 in
		--config) config=${2:?}; shift ;;
		--backend) backend=${2:?}; shift ;;
		--workers) workers=${2:?}; shift ;;
		--wire) wire=${2:?}; shift ;;
		--backend-wire) backend_wire=${2:?}; shift ;;
		--name) shift ;;
		--no-start) start=no ;;
		*) usage ;;
		esac
		shift
	done
	[ -r "$config" ] || die "cannot read $config"
	[[ $workers =~ ^[1-9][0-9]?$ ]] || die "--workers: a number"
	case $backend in postfix | sink | none) ;; *) die "--backend: postfix, sink or none" ;; esac
	if [ $start = yes ]; then
		local b
		for b in postern posternd postern-dataplane; do
			[ -x "$build/$b" ] && continue
			make -C "$root" -j2 VARIANT="${VARIANT:-release}" >&2 || die "the build failed"
			break
		done
	fi
	if [ -n "$wire$backend_wire" ] && [ ! -x "$build/test/sim/simwire" ]; then
		make -C "$root" -j2 VARIANT="${VARIANT:-release}" "build/${VARIANT:-release}/test/sim/simwire" >&2 || die "the build failed"
	fi
	# The lock's descriptor is closed for everything that is started here, or it would outlive us.
	mkdir -p "$run_base" "$data_base"
	exec 9>"$run_base/.$name.lock"
	flock -w 60 9 || die "another 'rig.sh up' holds the name '$name'"
	if [ -e "$run_dir" ] || has_ns "$client_ns" || has_ns "$appliance_ns" || has_ns "$server_ns"; then
		die "'$name' is up already (test/rig.sh down --name $name)"
	fi
	trap 'end_of_up $?' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir -m 755 "$run_dir"
	rm -rf "$data_dir"
	mkdir -m 755 "$data_dir"
	mkdir -m 700 "$data_dir/state"
	make_network "$wire" "$backend_wire" 9>&-
	make_config "$config" "$workers"
	write_vars "$backend"
	case $backend in
	postfix) start_postfix 9>&- ;;
	sink) start_sink 9>&- ;;
	esac
	if [ "$backend" != none ]; then
		wait_for 15 "the backend's banner" speaks_smtp "$server_ns" $server_ip 9>&- || die "no backend"
	fi
	if [ $start = yes ]; then
		start_program posternd 9>&-
		start_program dataplane 9>&-
		wait_for_appliance 9>&-
	fi
	print_vars
}

# Nothing half up is left behind, whatever stopped us.
end_of_up() { # EXIT-STATUS
	trap - EXIT INT TERM HUP
	if [ "$1" -ne 0 ]; then
		diagnose || true
		take_down
	fi
	exit "$1"
}

both_live() { is_ours "$(pid_of posternd)" && is_ours "$(pid_of dataplane)"; }

wait_for_appliance() {
	local end=$((SECONDS + start_seconds))
	until speaks_smtp "$client_ns" $outside_ip; do
		both_live || die "a process of the appliance has ended"
		[ $SECONDS -lt $end ] || die "the appliance does not answer after $start_seconds s"
		sleep 0.1
	done
	# The first worker answers while others may still be starting.
	wait_for 10 "all workers to run" says_running || die "the dataplane does not say that it runs"
}

says_running() {
	local status
	status=$(timeout 5 "$run_dir/ctl" status 2>/dev/null) || return 1
	grep -q '^dataplane *running' <<<"$status"
}

take_down() {
	local ns pid tries
	stop_program dataplane || true
	stop_program posternd || true
	if [ -e "$postfix_dir/main.cf" ] && has_ns "$server_ns"; then
		in_ns "$server_ns" timeout 20 postfix -c "$postfix_dir" stop >/dev/null 2>&1 || true
	fi
	# Whatever else runs in namespaces that are ours alone: first asked, then ended.
	local signal
	for signal in TERM KILL; do
		for ns in "$client_ns" "$appliance_ns" "$server_ns" "$wire_ns"; do
			has_ns "$ns" || continue
			for pid in $(ip netns pids "$ns" 2>/dev/null); do
				kill -$signal "$pid" 2>/dev/null || true
			done
			for ((tries = 0; tries < 20; tries++)); do
				[ -n "$(ip netns pids "$ns" 2>/dev/null)" ] || break
				sleep 0.1
			done
		done
	done
	for ns in "$client_ns" "$appliance_ns" "$server_ns" "$wire_ns"; do
		has_ns "$ns" && { ip netns del "$ns" || say "cannot delete the namespace $ns"; }
	done
	rm -rf "${run_base:?}/${name:?}" "${data_base:?}/${name:?}"
	rm -f "$run_base/.$name.lock"
	rmdir "$run_base" "$data_base" 2>/dev/null || true
}

main() {
	[ $# -gt 0 ] || usage
	local verb=$1 wanted=rig i
	shift
	case $verb in -h | --help) usage ;; esac
	local args=("$@")
	for ((i = 0; i < ${#args[@]}; i++)); do
		[ "${args[i]}" != --name ] || wanted=${args[i + 1]:-}
	done
	set_names "$wanted"
	if [ "$verb" != vars ] && [ "$(id -u)" -ne 0 ]; then
		die "needs root (network namespaces)"
	fi
	case $verb in
	up) up "$@" ;;
	down) take_down ;;
	vars) print_vars ;;
	start | stop)
		case ${1:-} in posternd | dataplane) ;; *) usage ;; esac
		[ -d "$run_dir" ] || die "no rig '$name' is up"
		"${verb}_program" "$1"
		;;
	*) usage ;;
	esac
}

main "$@"
