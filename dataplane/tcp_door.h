// SPDX-License-Identifier: Apache-2.0
// tcp_door: what TCP keeps of connections that are not there yet, and of those that have ended.
//
// What for: a stranger's SYN must not cost a connection, nor must the half minute after the last
// FIN. Both have compact records in pools of their own; a SYN flood or a burst of closes takes
// memory from neither the connections nor each other. Who calls it: tcp_in.c (segments), tcp.c (the
// loop), tcp_open.c (ports of our own opens). Memory: pools from tcp_open; records are found by the
// same table as connections (tcp_find.c), as typed references. What can go wrong:
//   no embryo free            above 3/4 of the pool SYNs get cookies; what still needs a record (a
//                             SYN that reopens a TIME_WAIT) takes the oldest one's
//   handshake, pool is full   with a record: the ACK is not taken, the client repeats what it sends
//                             and we our SYN,ACK; after a minute it is reset. With a cookie: reset.
//   no wait record free       the oldest one goes early
//   no local port free        the next local address, then ports in TIME_WAIT whose timestamps
//                             allow it, then NULL
// All of it is counted. Deadlines: each list holds one constant timeout, so it is in order by
// itself and only its head is looked at.
#pragma once

#include "control/base/pool.h"
#include "control/base/siphash.h"
#include "dataplane/tcp.h"

#define TCP_EMBRYO_MAGIC 0x5259424du
#define TCP_WAIT_MAGIC 0x54494157u
#define TCP_EMBRYO_LISTS (TCP_SYN_ACK_RETRIES + 2u) // by repetitions done; the last: found no frame
#define TCP_COOKIE_STEP_S 64u                       // a cookie is good for one to two of these
#define TCP_COOKIE_TS_BITS 9u  // low bits of TSval: 4 our scale, 4 the peer's, 1 SACK
#define TCP_RESETS_PER_S 1000u // to strangers; half of it certain, half of it chance
#define TCP_WAIT_TICK_MS 64u   // grain of a wait record's deadline
#define TCP_CONNS_KEPT 64u // one of so many is kept for our own opens; above the marks of shed.c
#define TCP_DESTS_MAX 32u  // destinations whose ports are remembered; the least used goes
#define TCP_LADDRS_MAX 16u // local addresses that are tried for one open
#define TCP_PORT_MIN 16384u
#define TCP_PORT_COUNT (65536u - TCP_PORT_MIN)
#define TCP_PORT_TRIES 2048u    // candidates of one open and local address
#define TCP_PORT_REUSE_MS 1000u // a port in TIME_WAIT is left alone that long in any case

// Numbers of records are index + 1, 0: none.
struct tcp_link {
	uint32_t prev, next;
};

struct tcp_fifo {
	uint32_t first, last, count;
};

// A SYN that was answered. 80 bytes.
struct tcp_embryo {
	uint32_t magic;
	struct tcp_path path;
	uint8_t listener;
	uint8_t opts; // TCP_OPT_ of its SYN
	uint32_t irs, iss;
	uint32_t ts_recent;
	struct tcp_link link;
	uint32_t due_ms;   // next repetition or end
	uint16_t mss, wnd; // as the SYN says
	uint16_t rcv_wnd;  // as our answer says
	uint8_t snd_wscale, rcv_wscale;
	uint8_t retries;
	uint8_t list;
	bool is_complete; // its ACK came, but there was no connection
	bool is_repeated; // more than one answer left without our timer: no round trip can be told
};
static_assert(sizeof(struct tcp_embryo) == 80, "64 and a key's 38 would be allowed");

// A connection in TIME_WAIT, or in FIN_WAIT2 without a user. One cache line.
struct tcp_wait {
	uint32_t magic;
	struct tcp_path path;
	uint16_t has_ts : 1, is_half : 1, tick : 14; // is_half: FIN_WAIT2; tick: deadline
	uint32_t rcv_nxt, snd_nxt;
	uint32_t ts_recent;
	struct tcp_link link;
};
static_assert(sizeof(struct tcp_wait) == CACHE_LINE, "one line");

// A budget a second. How much is left must not tell a stranger what others use (CVE-2016-5696).
struct tcp_limit {
	uint64_t s; // the second that it is for
	uint32_t left;
};

// The ports towards one address and port, from one of ours.
struct tcp_dest {
	struct ipaddr laddr, raddr;
	uint16_t rport, side;
	uint32_t next; // where the last search ended: a port comes again after all others
	uint32_t uses; // opens; halved for all now and then
	bool is_set;
	uint64_t used[TCP_PORT_COUNT / 64];
	uint64_t alien[TCP_PORT_COUNT / 64]; // their replies go to other workers
};

// What the flow table holds: a connection's index, or a record's with its kind on top.
enum tcp_kind { TCP_KIND_CONN, TCP_KIND_EMBRYO, TCP_KIND_WAIT, TCP_KIND_NONE };
#define TCP_KIND_SHIFT 30
#define TCP_REF_NONE UINT32_MAX

static inline enum tcp_kind
tcp_ref_kind(uint32_t ref)
{
	return (enum tcp_kind)(ref >> TCP_KIND_SHIFT);
}

static inline uint32_t
tcp_ref_index(uint32_t ref)
{
	return ref & ((1u << TCP_KIND_SHIFT) - 1);
}

static inline uint32_t
tcp_ref(enum tcp_kind kind, uint32_t index)
{
	return (uint32_t)kind << TCP_KIND_SHIFT | index;
}

struct tcp_seg;
struct tcp_listener;

// tcp_find.c: names, hashes, the one table
enum tcp_secret { TCP_SECRET_FLOW, TCP_SECRET_NAME, TCP_SECRET_PORT, TCP_SECRET_COOKIE };
uint64_t tcp_secret(const struct tcp *t, const struct tcp_path *path, enum tcp_secret what);
uint64_t tcp_path_hash(const struct tcp *t, const struct tcp_path *path); // of the flow table
uint32_t tcp_find(const struct tcp *t, uint64_t hash, const struct tcp_path *path);
struct tcp_conn *tcp_conn_find(const struct tcp *t, const struct tcp_path *path); // NULL: none
// RFC 6528 and RFC 7323 5.4: where the connection of that name begins to count.
uint32_t tcp_isn(const struct tcp *t, const struct tcp_path *path, uint32_t *ts_offset);
bool tcp_limit_allows(struct tcp *t, struct tcp_limit *l, uint32_t per_s);

// tcp_fifo.c: lists of records by index; `off` is where the record has its link
void tcp_fifo_push(struct tcp_fifo *f, struct pool *p, uint32_t off, void *obj);
void tcp_fifo_remove(struct tcp_fifo *f, struct pool *p, uint32_t off, void *obj);
void *tcp_fifo_first(const struct tcp_fifo *f, const struct pool *p); // NULL: empty

// tcp_embryo.c
// Answers a SYN with a record or a cookie. isn_above: 0, or our number must be above it.
void tcp_embryo_syn(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s,
		    const struct tcp_listener *l, uint32_t isn_above);
// A segment for a half-open connection. Returns the connection if this completes the handshake: the
// segment is then for it.
struct tcp_conn *tcp_embryo_input(struct tcp *t, struct tcp_embryo *e, struct tcp_seg *s);
uint32_t tcp_embryo_run(struct tcp *t, uint32_t most); // deadlines
uint32_t tcp_embryo_work(struct tcp *t);               // those that found no frame
uint64_t tcp_embryo_next_ms(const struct tcp *t);
// The record's, or a cookie's, connection in SYN_RCVD, in the table in the place of `ref`
// (TCP_REF_NONE: of nothing). NULL: none free, counted.
struct tcp_conn *tcp_embryo_conn(struct tcp *t, const struct tcp_embryo *e, uint32_t ref);

// tcp_cookie.c
void tcp_cookie_send(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s);
// Is this the ACK of one of our cookies? Then *e is the record that we have not kept.
bool tcp_cookie_take(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s,
		     struct tcp_embryo *e);

// tcp_wait.c
// Takes over the place in the table of a connection in TIME_WAIT, whose user may still have bytes
// to take, or in FIN_WAIT2 without a user.
struct tcp_wait *tcp_wait_enter(struct tcp_conn *c);
void tcp_wait_input(struct tcp *t, struct tcp_wait *w, const struct tcp_seg *s);
void tcp_wait_drop(struct tcp *t, struct tcp_wait *w);
bool tcp_wait_is_old(const struct tcp *t, const struct tcp_wait *w, uint32_t ms);
uint32_t tcp_wait_run(struct tcp *t, uint32_t most);
uint64_t tcp_wait_next_ms(const struct tcp *t);

// tcp_port.c
// Fills side, laddr and lport. isn_above: 0, or what our number must be above (RFC 6191).
bool tcp_port_get(struct tcp *t, struct tcp_path *path, uint16_t *mtu, uint32_t *isn_above);
void tcp_port_put(struct tcp *t, const struct tcp_path *path); // nothing uses it any more
