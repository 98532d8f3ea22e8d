// SPDX-License-Identifier: Apache-2.0
// tcp: the TCP endpoint of one worker (RFC 9293), passive to clients and active to backends.
//
// What for: carries the two halves of a relay. Who calls it: net.c from below (tcp_input), the SMTP
// machines from above, the worker's loop (tcp_run, tcp_work). No rte_ type here or above; time is
// what tcp_run was told. Memory: connections, records and chunks from the worker's pools; an idle
// connection holds no chunk; half-open ones and TIME_WAIT are records, not connections (tcp_door.h
// says what they do when they run out). A tcp_conn belongs to this module; the user's pointer stays
// valid from accept or open until its `gone` call, which is the last one. What can go wrong: many
// half-open connections: SYN cookies (TCP_COOKIES_SENT); no connection free: a complete handshake
// waits up to a minute for one, then the client is reset (TCP_ACCEPT_FULL), tcp_conn_open returns
// NULL; SHED_DROP: no answer to a SYN (TCP_SYN_SHED); no chunk: segment dropped (TCP_NO_CHUNK), the
// peer sends it again; no frame or no ARP entry: the segment stays unsent and is tried again on the
// next tcp_work. RFCs: 9293, 6298 (RTO), 8985 (RACK-TLP), 6937 (PRR), 9438 (CUBIC), 9406
// (HyStart++), 5681, 6582 and 3042 (peers without SACK), 3522 and 4015 (undo), 7323 (window scale,
// timestamps, PAWS), 2018 (SACK), 2883 (D-SACK), 5961 (challenge ACK), 6528 (ISN), 4987 (SYN
// floods), 6191 and 1337 (TIME_WAIT), 6056 (ports), 1122 4.2.3.6 (keepalive), 1191 and 8201 (path
// MTU), 2923 (black holes), 5927 (ICMP), 5482 (user timeout, as policy).
#pragma once

#include "control/abi/counter.h"
#include "control/base/ipaddr.h"
#include "control/base/mem.h"
#include "dataplane/chunk.h"
#include "dataplane/shed.h"
#include "dataplane/trace.h"

#define TCP_LISTENERS_MAX 16
#define TCP_SEND_BYTES_MAX (256u << 10) // a connection's send queue, whatever its window
#define TCP_SEND_BYTES_MOST (4u << 20)  // the same when twice the congestion window asks for more
#define TCP_WINDOW_BYTES (64u << 10) // what a receive window begins with, unless the most is less
#define TCP_TIME_WAIT_MS 30000u
#define TCP_FIN_WAIT2_MS 60000u
#define TCP_SYN_RETRIES 9u
#define TCP_SYN_ACK_RETRIES 5u
#define TCP_RETRIES 10u
#define TCP_KEEPALIVE_PROBES 6u
#define TCP_KEEPALIVE_STEP_MS 10000u

struct tcp;
struct tcp_conn;

// The four-tuple as we see it; `side` is the ingress port (transparent mode needs it).
struct tcp_path {
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;
	uint16_t side;
};

enum tcp_gone {
	TCP_GONE_CLOSED,  // both ends closed in order (also: we aborted it)
	TCP_GONE_RESET,   // the peer reset it
	TCP_GONE_TIMEOUT, // no answer to retransmissions or keepalives, or to our SYN
	TCP_GONE_REFUSED, // RST in answer to our SYN
};

// Calls up to the user. None of them may be followed by a direct call down into recv:
// tcp_conn_resume only marks the connection, tcp_work delivers.
struct tcp_user_ops {
	void (*open)(void *user, struct tcp_conn *c); // active open: established
	// Bytes in order. Returns how many were taken; the rest stays queued, and the window
	// closes, until tcp_conn_resume.
	uint32_t (*recv)(void *user, struct tcp_conn *c, struct span data);
	void (*sent)(void *user, struct tcp_conn *c); // the send queue has become shorter
	// The peer's FIN, after all its data was taken.
	void (*eof)(void *user, struct tcp_conn *c);
	void (*gone)(void *user, struct tcp_conn *c, enum tcp_gone why); // last call
};

// A client's handshake is complete. Sets *ops and returns the user pointer, or NULL to reset. Who
// has called tcp_conn_forget in it is not called any more; what is returned does not matter then.
typedef void *(*tcp_accept_fn)(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops);

struct tcp_route { // where an open of ours leaves
	struct ipaddr laddr;
	uint16_t side, mtu;
};

// Calls down: how segments leave, and which local ports come back to this worker.
struct tcp_net_ops {
	// Where to write a segment of up to `size` bytes (header and payload); NULL: not now.
	uint8_t *(*seg_get)(void *ctx, const struct tcp_path *path, uint32_t size);
	// Fills the checksum, sends.
	void (*seg_put)(void *ctx, const struct tcp_path *path, uint32_t size);
	bool (*port_is_mine)(void *ctx, const struct tcp_path *path); // RSS of the reply
	// The nth local address that may speak to raddr (0: the preferred one); false: no route, or
	// no nth address.
	bool (*route)(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct tcp_route *out);
	// The segment that has just come in (false) or that is being made (true) is of a connection
	// that is captured; NULL: nobody can have one.
	void (*capture)(void *ctx, bool is_ours);
};

// May change while connections are open; windows and keepalives are those of new ones.
struct tcp_settings {
	uint32_t window_bytes;     // receive window to begin with
	uint32_t window_bytes_max; // up to which it grows; less than that: it stays as it begins
	uint32_t keepalive_s;
	uint32_t zero_window_s; // a peer that keeps its window closed this long is given up; 0:
				// never
	uint32_t user_s;        // and one that acknowledges nothing this long (RFC 5482); 0: never
};

struct tcp_args {
	uint32_t conns_max;
	uint32_t embryos_max, waits_max; // half-open, TIME_WAIT; 0: a quarter of conns_max
	struct tcp_settings settings;
	uint64_t seed;      // jitter and local ports
	uint8_t secret[16]; // ISNs (RFC 6528) and the flow table's hash
	uint16_t mtu;       // for the MSS that we offer
	struct chunk_pool *chunks;
	struct counters *counters;
	struct trace *trace; // NULL: none
	struct mem_source *mem;
	const struct tcp_net_ops *net;
	void *net_ctx;
};

// What the network says about a segment of ours (ICMP, ICMPv6), not yet believed. None of it ends a
// connection that is open; TCP_ERROR_HARD ends an open that was not answered (TCP_GONE_REFUSED).
enum tcp_error_kind {
	TCP_ERROR_SOFT,    // network or host unreachable, time exceeded (RFC 9293 3.9.2.2)
	TCP_ERROR_HARD,    // port or protocol unreachable, administratively prohibited
	TCP_ERROR_TOO_BIG, // needs fragmentation; `mtu` is the next hop's, 0: not said; below 552
			   // it counts as that, and IPv6's below 1280 not at all
};

struct tcp_error {
	enum tcp_error_kind kind;
	uint32_t seq; // of the segment, as quoted
	uint32_t mtu;
};

struct tcp *must_use tcp_open(const struct tcp_args *args); // boot; NULL: no memory
void tcp_close(struct tcp **t);                             // gone is not called
// On every local address of a side: the network takes only what is for an address of the interface
// that it came in by.
#define TCP_SIDE_ANY UINT16_MAX
must_use bool tcp_listen(struct tcp *t, uint16_t side, uint16_t port, tcp_accept_fn accept,
			 void *ctx);

// One segment, checksum already verified; `seg` is the TCP header on, trimmed to the IP length.
void tcp_input(struct tcp *t, const struct tcp_path *path, struct span seg);
// An ICMP error about a segment that left on `path` (ours: laddr is the quoted source). Believed
// only when `seq` is in flight (RFC 5927); counted otherwise.
void tcp_error(struct tcp *t, const struct tcp_path *path, const struct tcp_error *e);
// Takes over the time and fires due timers, at most `most`. Returns how many.
uint32_t tcp_run(struct tcp *t, uint64_t now_us, uint32_t most);
// Delivers to resumed connections and sends what is ready. Returns the work done; 0: idle.
uint32_t tcp_work(struct tcp *t);
// The earliest timer, or now when tcp_work has something to do; UINT64_MAX: nothing comes by
// itself.
uint64_t tcp_next_ms(const struct tcp *t);
uint32_t tcp_conn_count(const struct tcp *t);   // without the two that follow
uint32_t tcp_embryo_count(const struct tcp *t); // handshakes that wait for their last segment
uint32_t tcp_wait_count(const struct tcp *t);   // in TIME_WAIT, and in FIN_WAIT2 without a user
uint32_t tcp_flight_count(const struct tcp *t); // connections with an account of what is in flight
uint32_t tcp_conn_max(const struct tcp *t);
// How hard the worker is pressed (shed.h): from SHED_COOKIES on SYNs are answered without memory,
// from SHED_SHRINK on windows do not grow, from SHED_DROP on SYNs are dropped.
void tcp_shed(struct tcp *t, enum shed_level level);
void tcp_settings(struct tcp *t, const struct tcp_settings *s);

// Active open towards raddr:rport; `open` or `gone` is called later, never from inside. NULL: no
// route, no connection or no local port.
struct tcp_conn *must_use tcp_conn_open(struct tcp *t, const struct ipaddr *raddr, uint16_t rport,
					const struct tcp_user_ops *ops, void *user);
uint32_t tcp_conn_room(const struct tcp_conn *c); // bytes that tcp_conn_write would take now
uint32_t tcp_conn_write(struct tcp_conn *c, struct span s); // copies; returns bytes taken
// Moves whole chunks without copying while the queue is below its limit; q keeps the rest.
uint64_t tcp_conn_write_chunks(struct tcp_conn *c, struct chunkq *q);
bool tcp_conn_is_full(const struct tcp_conn *c);    // the send queue is at its limit
uint32_t tcp_conn_unsent(const struct tcp_conn *c); // bytes that the peer has not acknowledged yet
void tcp_conn_resume(struct tcp_conn *c);           // recv may be called again
void tcp_conn_close(struct tcp_conn *c);            // FIN behind what is queued; recv still comes
void tcp_conn_abort(struct tcp_conn *c);            // RST now; gone(CLOSED) follows from tcp_work
// The user leaves: no more calls up; input is thrown away, what is queued is still sent, then the
// connection closes.
void tcp_conn_forget(struct tcp_conn *c);
const struct tcp_path *tcp_conn_path(const struct tcp_conn *c);
// For people who look at a connection: all but is_backend is filled in.
void tcp_conn_half(const struct tcp_conn *c, struct trace_half *h);
uint32_t tcp_conn_trace(const struct tcp_conn *c);         // its newest record, 0: none
void tcp_conn_capture(struct tcp_conn *c, bool is_wanted); // frames go to tcp_net_ops.capture
