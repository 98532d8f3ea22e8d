// SPDX-License-Identifier: Apache-2.0
// simpeer: our own network stack on an interface of the kernel, in real time, as one end of bulk
// transfers.
//
// What for: the goodput of our TCP against the kernel's, without DPDK and SMTP in between. A source
// opens --conns connections at once, writes --bytes on each and is done when each was answered with
// one byte; a sink answers that byte as soon as it has --bytes of a connection. The poll order is
// the worker's; when idle it sleeps until a frame comes or a timer is due. The interface must have
// no address in the kernel. A source prints one line of JSON and ends, at the latest after
// --cap-ms; a sink ends on SIGTERM. With --counters also what the stack counted.
//
// Usage: simpeer --if INTERFACE --addr A.B.C.D --peer A.B.C.D --role source|sink --bytes N
//        [--conns N] [--port N] [--window N] [--cap-ms N] [--counters 1]
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "test/sim/lib/pktport.h"
#include "test/sim/lib/realtime.h"
#include "test/sim/lib/vnet.h"

#define CONNS_MAX 1024u
#define CHUNKS 65536u // 128 MiB: memory is not what is measured
#define SLEEP_US_MAX 10000u
#define SETTLE_US                                                                                  \
	50000u // our address is announced, and the neighbour's known, before the clock starts
#define LINGER_US 200000u // the last ACKs and FINs leave before we end
#define PREFIX_BITS (96 + 24)

struct transfer { // one connection
	struct tcp_conn *conn;
	uint64_t moved; // bytes written or received
	bool is_used, is_done, is_failed;
};

struct args {
	const char *interface, *addr, *peer, *role;
	uint32_t bytes, conns, port, window, cap_ms, counters;
};

struct peer {
	struct args args;
	struct ipaddr addr, remote;
	struct pktport wire;
	struct vnet_host host;
	uint64_t now_us, begin_us;
	struct transfer transfer[CONNS_MAX];
	uint32_t done, failed;
	uint64_t acked;   // by connections that have ended
	uint64_t done_us; // that they took, all together
	uint8_t pattern[65536];
};

static struct peer peer;
// --- the connections ---

static bool
is_source(void)
{
	return strcmp(peer.args.role, "source") == 0;
}

static void
transfer_write(struct transfer *t)
{
	while (t->moved < peer.args.bytes) {
		uint64_t left = peer.args.bytes - t->moved;
		uint32_t n = (uint32_t)MIN(left, sizeof(peer.pattern));
		n = MIN(n, tcp_conn_room(t->conn));
		uint32_t took = n > 0 ? tcp_conn_write(t->conn, span_of(peer.pattern, n)) : 0;
		if (took == 0)
			return;
		t->moved += took;
	}
}

static void
transfer_done(struct transfer *t)
{
	t->is_done = true;
	peer.done++;
	peer.done_us += peer.now_us - peer.begin_us;
	peer.acked += peer.args.bytes;
	tcp_conn_close(t->conn);
}

static void
on_open(void *user, struct tcp_conn *c)
{
	struct transfer *t = user;

	t->conn = c;
	transfer_write(t);
}

static uint32_t
on_recv(void *user, struct tcp_conn *c, struct span data)
{
	struct transfer *t = user;

	if (is_source()) {
		if (!t->is_done)
			transfer_done(t);
		return data.n;
	}
	uint64_t before = t->moved;
	t->moved += data.n;
	if (before < peer.args.bytes && t->moved >= peer.args.bytes)
		(void)tcp_conn_write(c, span_of((const uint8_t *)"k", 1));
	return data.n;
}

static void
on_sent(void *user, struct tcp_conn *c)
{
	struct transfer *t = user;

	t->conn = c;
	if (is_source())
		transfer_write(t);
}

static void
on_eof(void *user, struct tcp_conn *c)
{
	(void)user;
	tcp_conn_close(c);
}

static void
on_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct transfer *t = user;

	(void)c;
	(void)why;
	if (is_source() && !t->is_done) {
		t->is_failed = true;
		peer.failed++;
	}
	t->conn = NULL;
	if (!is_source())
		t->is_used = false;
}

static const struct tcp_user_ops transfer_ops = {on_open, on_recv, on_sent, on_eof, on_gone};

static void *
on_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	(void)ctx;
	for (uint32_t i = 0; i < CONNS_MAX; i++) {
		struct transfer *t = &peer.transfer[i];
		if (t->is_used)
			continue;
		*t = (struct transfer){.conn = c, .is_used = true};
		*ops = &transfer_ops;
		return t;
	}
	return NULL;
}

static bool
transfers_open(void)
{
	for (uint32_t i = 0; i < peer.args.conns; i++) {
		struct transfer *t = &peer.transfer[i];
		t->is_used = true;
		t->conn = tcp_conn_open(peer.host.tcp, &peer.remote, (uint16_t)peer.args.port,
					&transfer_ops, t);
		if (t->conn == NULL)
			return false;
	}
	return true;
}

// --- the loop ---

static void
peer_sleep(void)
{
	uint64_t next = vnet_host_next_us(&peer.host);
	uint64_t us = next > peer.now_us ? MIN(next - peer.now_us, SLEEP_US_MAX) : 0;
	struct pollfd p = {peer.wire.fd, POLLIN, 0};
	// Not zero: something that is due but cannot be done (no ARP entry yet) is tried again
	// soon.
	const struct timespec t = {0, (long)MAX(us, 50u) * 1000};

	(void)ppoll(&p, 1, &t, NULL);
}

static void
peer_run(uint64_t until_us)
{
	while (!realtime_is_over() && peer.now_us < until_us) {
		peer.now_us = realtime_us();
		if (vnet_host_poll(&peer.host, peer.now_us) == 0)
			peer_sleep();
		if (is_source() && peer.begin_us > 0 && peer.done + peer.failed == peer.args.conns)
			return;
	}
}

static void
print_counters(void)
{
	for (uint32_t i = 0; i < COUNTER_COUNT; i++)
		if (peer.host.counters.v[i] > 0)
			(void)fprintf(stderr, "%s %" PRIu64 "\n", counter_name(i),
				      peer.host.counters.v[i]);
}

static void
source_run(void)
{
	peer_run(peer.now_us + SETTLE_US);
	peer.now_us = peer.begin_us = realtime_us();
	bool is_open = transfers_open();
	CHECK(is_open);
	peer_run(peer.begin_us + peer.args.cap_ms * 1000ull);
	uint64_t us = realtime_us() - peer.begin_us;
	for (uint32_t i = 0; i < peer.args.conns; i++) {
		struct transfer *t = &peer.transfer[i];
		if (t->conn != NULL && !t->is_done)
			peer.acked += t->moved - tcp_conn_unsent(t->conn);
	}
	CHECK(peer.args.conns > 0);
	uint64_t each_us = (peer.done_us + us * (peer.args.conns - peer.done)) / peer.args.conns;
	printf("{\"bytes\": %" PRIu64 ", \"us\": %" PRIu64 ", \"each_us\": %" PRIu64
	       ", \"done\": %u, \"failed\": %u, \"conns\": %u}\n",
	       peer.acked, us, each_us, peer.done, peer.failed, peer.args.conns);
	(void)fflush(stdout);
	peer.begin_us = 0;
	peer_run(peer.now_us + LINGER_US);
}

static bool
arguments(int argc, char **argv, struct args *a)
{
	const struct {
		const char *name;
		const char **text;
		uint32_t *number;
	} row[] = {
		{"--if", &a->interface, NULL},  {"--addr", &a->addr, NULL},
		{"--peer", &a->peer, NULL},     {"--role", &a->role, NULL},
		{"--bytes", NULL, &a->bytes},   {"--conns", NULL, &a->conns},
		{"--port", NULL, &a->port},     {"--window", NULL, &a->window},
		{"--cap-ms", NULL, &a->cap_ms}, {"--counters", NULL, &a->counters},
	};

	for (int i = 1; i < argc; i += 2) {
		uint32_t k = 0;
		while (k < sizeof(row) / sizeof(row[0]) && strcmp(row[k].name, argv[i]) != 0)
			k++;
		if (k == sizeof(row) / sizeof(row[0]) || i + 1 == argc)
			return false;
		if (row[k].text != NULL)
			*row[k].text = argv[i + 1];
		else
			*row[k].number = (uint32_t)strtoul(argv[i + 1], NULL, 10);
	}
	return a->interface != NULL && a->addr != NULL && a->peer != NULL && a->role != NULL &&
	       a->bytes > 0 && a->conns > 0 && a->conns <= CONNS_MAX;
}

static bool
host_open(void)
{
	const struct vnet_host_args h = {
		.port = &peer.wire.port,
		.now_us = peer.now_us,
		.addr = peer.addr,
		.prefix_bits = PREFIX_BITS,
		.conns_max = 2 * CONNS_MAX,
		.chunks = CHUNKS,
		.window_bytes = MIN(peer.args.window, TCP_WINDOW_BYTES), // as a worker does
		.window_bytes_max = peer.args.window,
		.seed = peer.now_us, // ports and ISNs of each run are its own
	};

	return vnet_host_open(&peer.host, NULL, &h) &&
	       (is_source() ||
		tcp_listen(peer.host.tcp, TCP_SIDE_ANY, (uint16_t)peer.args.port, on_accept, NULL));
}

int
main(int argc, char **argv)
{
	struct args *a = &peer.args;

	*a = (struct args){.conns = 1, .port = 2525, .window = 4 << 20, .cap_ms = 60000};
	if (!arguments(argc, argv, a) || !ipaddr_parse(span_str(a->addr), &peer.addr) ||
	    !ipaddr_parse(span_str(a->peer), &peer.remote)) {
		(void)fprintf(stderr, "usage: see the top of test/sim/simpeer.c\n");
		return 2;
	}
	if (!pktport_open(&peer.wire, a->interface)) {
		(void)fprintf(stderr, "simpeer: %s: %s\n", a->interface, strerror(errno));
		return 1;
	}
	peer.now_us = realtime_us();
	if (!host_open()) {
		(void)fprintf(stderr, "simpeer: no memory\n");
		return 1;
	}
	realtime_begin();
	(void)prctl(PR_SET_TIMERSLACK, 1000); // nanoseconds
	memset(peer.pattern, 'p', sizeof(peer.pattern));
	if (is_source()) {
		source_run();
	} else {
		printf("ready\n");
		(void)fflush(stdout);
		peer_run(UINT64_MAX);
	}
	if (a->counters)
		print_counters();
	vnet_host_close(&peer.host);
	pktport_close(&peer.wire);
	return 0;
}
