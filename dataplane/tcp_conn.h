// SPDX-License-Identifier: Apache-2.0
// tcp_conn: the inside of TCP, shared by the tcp*.c files and by nobody else.
//
// What for: the layout of a connection and of the instance, and the calls between the parts: tcp.c
// (what users call, the loop), tcp_open.c (birth and death of connections), tcp_seg.c (parsing),
// tcp_in.c (the state machine of arriving segments), tcp_ack.c (acknowledgements, RTT), tcp_sent.h
// (what is in flight: loss detection, recovery, congestion), tcp_rcv.c (delivery, our window, when
// to acknowledge), tcp_ooo.c (reassembly), tcp_out.c (segments that leave), tcp_mtu.c (how large
// they may be), tcp_error.c (what ICMP says of them), tcp_timer.c. Who calls it: the owning worker.
// Memory: connections come from one pool; chunks in sndq, rcvq and ooo are the connection's until
// they are dropped. What can go wrong: see tcp.h.
//
// Rules inside: users are called only through tcp_call_*, and after each of these calls the
// connection may be dead (TF_DEAD) or without a user. Dead connections keep their memory until
// tcp_work reaps them, so nobody further up the stack ever holds a freed pointer. Output happens in
// tcp_work (except duplicate ACKs and resets): whoever has something to send calls tcp_ready.
#pragma once

#include "control/base/bytes.h"
#include "control/base/list.h"
#include "control/base/pool.h"
#include "control/base/rng.h"
#include "control/base/wheel.h"
#include "dataplane/flow.h"
#include "dataplane/tcp_door.h"

#define TCP_CONN_MAGIC 0x4e4e4f43u
#define TCP_MAGIC 0x31504354u

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

#define TCP_HEADER_MIN 20u
#define TCP_OPTIONS_MAX 40u
#define TCP_WSCALE_MAX 14
#define TCP_MSS_DEFAULT 536u
#define TCP_MSS_DEFAULT6 1220u
#define TCP_MSS_MIN 64u // a peer that asks for less gets this: tiny segments are an attack
#define TCP_MTU_MIN 576u
#define TCP_RTO_MIN_MS 200u
#define TCP_RTO_INITIAL_MS 1000u
#define TCP_RTO_SYN_ACK_MS 1100u  // later than the client's own repetition, see tcp_embryo.c
#define TCP_SYN_STEADY 4u         // repetitions of a SYN before its timeout doubles
#define TCP_RTO_SYN_LOST_MS 3000u // RFC 6298 5.7
#define TCP_RTO_MAX_MS 60000u
#define TCP_BACKOFF_MAX 16u
#define TCP_DELACK_MS 40u
#define TCP_SYN_LIFE_MS 64000u // of our SYN, of an answer that could never be sent
#define TCP_CWND_MAX TCP_SEND_BYTES_MOST
#define TCP_DUPACKS 3
#define TCP_RENEGE_MS 10u
#define TCP_SENT_EXTRA 256u
#define TCP_PAWS_IDLE_S (24u * 24 * 3600)
#define TCP_OUT_BURST 10u         // segments of one connection in one turn: an initial window
#define TCP_CHALLENGES_PER_S 200u // half of it certain, half of it chance (CVE-2016-5696)
#define TCP_STRAY_ACKS 8u         // answers to odd segments without data: per connection and 256 ms
#define TCP_ORPHANS_SHARE 10u     // of the number of flights: without a user while a pool is short
#define TCP_ORPHANS_MIN 16u
#define TCP_PRESSED_S                                                                              \
	20u // a client that takes nothing, while others are refused for want of memory
#define TCP_MTU_SETS 64u
#define TCP_MTU_WAYS 4u
#define TCP_SACK_BLOCKS_MAX 4u

enum tcp_state { // RFC 9293 3.3.2; LISTEN is the listener table, CLOSED no object or one to be
		 // reaped
	TCPS_CLOSED,
	TCPS_SYN_SENT,
	TCPS_SYN_RCVD,
	TCPS_ESTABLISHED,
	TCPS_FIN_WAIT1,
	TCPS_FIN_WAIT2,
	TCPS_CLOSE_WAIT,
	TCPS_CLOSING,
	TCPS_LAST_ACK,
	TCPS_TIME_WAIT, // until our last ACK has left; then a record waits (tcp_wait.c)
	TCPS_DRAIN, // both FINs are acknowledged, the user has not taken all bytes yet; not in the
		    // flow table
};

enum tcp_flag {
	TF_TS = 1u << 0,         // timestamps negotiated
	TF_SACK = 1u << 1,       // SACK negotiated
	TF_ACTIVE = 1u << 2,     // we opened it
	TF_READY = 1u << 3,      // in the ready list
	TF_DEAD = 1u << 4,       // in the dead list
	TF_FLOW = 1u << 5,       // in the flow table
	TF_ACK_NOW = 1u << 6,    // an ACK must leave with the next output
	TF_SYN_DUE = 1u << 7,    // a SYN or SYN-ACK must be sent (again)
	TF_SYN_LOST = 1u << 8,   // our SYN was sent more than once
	TF_FIN_QUEUED = 1u << 9, // our FIN stands behind sndq
	TF_FIN_ACKED = 1u << 10,
	TF_FIN_EARLY = 1u << 11, // the peer's FIN is at fin_seq, but bytes before it are missing
	TF_FIN_RCVD = 1u << 12,
	TF_EOF_DONE = 1u << 13, // the user knows
	TF_PAUSED = 1u << 14,   // recv took less than it was offered
	TF_RESUME = 1u << 15,   // tcp_work shall deliver
	TF_REORDER = 1u << 16,  // the path is known to reorder (RFC 8985)
	TF_RTT = 1u << 17,      // the SYN is being timed
	TF_PERSIST = 1u << 18,  // rtx_ms is the persist timer
	TF_STARVED = 1u << 19, // a write found no chunk: `sent` is called when there are some again
	TF_RST_DUE = 1u << 20, // the RST of an abort found no frame
	TF_USED = 1u << 21,    // has had a user, so tcp_conn_forget is what took it away
	TF_BLOCKED = 1u << 22, // found no frame: in the blocked list, not the ready list
	TF_WSCALE = 1u << 23,  // window scaling negotiated
	TF_CAPTURE = 1u << 24, // its frames are wanted
	TF_SOFT_ERROR = 1u << 25, // the network said that it cannot reach the peer
	TF_FULL = 1u << 26,       // a segment of `mss` bytes has arrived there: the path takes them
};

struct tcp_conn {
	// --- line 0: which one it is, what every segment asks
	uint32_t magic;
	uint8_t state;
	uint8_t snd_wscale, rcv_wscale;
	uint8_t listener; // of a passive open
	struct tcp_path path;
	uint16_t mss; // payload of a full segment that we send: the option's value less timestamps
	uint32_t flags;
	uint32_t snd_wnd_max; // largest window that the peer ever offered
	uint32_t srtt8;       // us * 8; 0: no sample yet
	uint32_t rttvar4;     // us * 4
	// --- line 1: sequence numbers
	uint32_t rcv_nxt;
	uint32_t rcv_edge; // right edge of the window as advertised: what is enforced
	uint32_t snd_una;
	uint32_t snd_nxt;  // new data goes out from here
	uint32_t snd_max;  // end of what was ever sent: snd_nxt, or a window probe's byte more
	uint32_t snd_edge; // right edge of the peer's window
	uint32_t snd_wl1, snd_wl2;
	uint32_t cwnd, ssthresh;
	uint32_t last_ack_sent; // RFC 7323 4.3
	uint32_t ts_recent;
	uint32_t ts_recent_s; // when it was taken, seconds of our clock
	uint32_t ts_offset;
	uint32_t window;  // bytes of rcvq that it has earned; what it gets of them: tcp_rcv.c
	uint32_t recover; // the last byte sent when a loss was found
	// --- line 2: queues
	struct chunkq sndq; // from snd_una on
	struct chunkq rcvq; // in order, not taken by the user yet; ends at rcv_nxt
	uint32_t round_seq; // the round trip that is being measured: what the user had taken
	uint32_t round_ms;  // when it began; 0: no data yet
	uint16_t stall_s;   // when the first of a series of timeouts or probes went off
	uint8_t quick_acks; // full segments that are still acknowledged one by one
	// --- line 3: time; deadlines are ms of our clock modulo 2^32, 0: off
	struct wheel_node timer; // armed for the earliest of the three, or earlier
	struct tcp *tcp;
	uint32_t rtx_ms;  // retransmission, or persist
	uint32_t ack_ms;  // delayed ACK
	uint32_t idle_ms; // keepalive, or the end of FIN_WAIT2, TIME_WAIT, a forgotten connection
	uint32_t rto_ms;  // before back-off
	uint32_t last_send_ms;
	uint16_t keepalive_s;
	uint8_t stray_tick, stray_count; // limits answers to odd segments
	// --- line 4: user, lists
	const struct tcp_user_ops *ops; // NULL: no user
	void *user;
	struct list_node work;   // ready, blocked or dead list
	struct list_node node;   // drain list, orphans, or gaps
	struct chunk *ooo;       // the index of what came out of order (tcp_ooo.c); NULL: nothing
	struct chunk *snd_chunk; // where the last copy ended: makes sending O(1) along a long queue
	// --- line 5
	uint32_t snd_chunk_seq;
	uint32_t fast_ms;               // RACK's reordering timer or the tail loss probe's, 0: off
	struct tcp_flight *flight;      // NULL: nothing is in flight
	uint32_t syn_us;                // when the SYN left, the last one
	uint32_t min_rtt_us, min_rtt_s; // smallest sample of the last minute and its time, 0: none
	uint32_t w_max;                 // CUBIC: window before the last reduction
	uint32_t fin_seq;
	uint16_t rcv_mss; // largest payload seen
	uint16_t adv_mss; // what we offered
	uint8_t retries, backoff, probes, dupacks;
	uint8_t why;
	uint8_t reo_mult,
		reo_persist; // RFC 8985 6.2: width of the reordering window, and for how long
	uint32_t trace_last; // of trace.h
};
static_assert(sizeof(struct tcp_conn) <= 6 * CACHE_LINE, "six lines");
static_assert(offsetof(struct tcp_conn, rcv_nxt) == 1 * CACHE_LINE, "line 1");
static_assert(offsetof(struct tcp_conn, sndq) == 2 * CACHE_LINE, "line 2");
static_assert(offsetof(struct tcp_conn, timer) == 3 * CACHE_LINE, "line 3");
static_assert(offsetof(struct tcp_conn, ops) == 4 * CACHE_LINE, "line 4");
static_assert(offsetof(struct tcp_conn, snd_chunk_seq) == 5 * CACHE_LINE, "line 5");
static_assert(sizeof(struct tcp_path) == 38, "no padding: it is hashed as bytes");

struct tcp_listener {
	uint16_t side, port;
	tcp_accept_fn accept;
	void *ctx;
};

struct tcp_range { // of sequence numbers
	uint32_t start, end;
};

struct tcp_mtu { // what is known of the path to one peer (tcp_mtu.c)
	struct ipaddr raddr;
	uint32_t until_s;
	uint16_t mtu; // 0: free
};

struct tcp {
	uint32_t magic;
	uint32_t now_ms32, now_s;
	uint64_t now_us, now_ms;
	struct chunk_pool *chunks;
	struct counters *counters;
	struct trace *trace;
	const struct tcp_net_ops *net;
	void *net_ctx;
	uint32_t conns_max, embryos_high;
	struct tcp_settings set;
	uint16_t mtu;
	uint32_t ooo_age;       // counts out-of-order arrivals: orders SACK blocks
	struct tcp_range dsack; // for the ACK that is being written; empty: none
	struct tcp_limit challenges, resets;
	enum shed_level shed;
	uint32_t listener_count;
	struct siphash_key key;
	struct rng rng;
	struct list ready, blocked, dead, drain;
	struct list orphans; // forgotten connections, the oldest first
	struct list gaps;    // those with `ooo`, the oldest gap first; they have a user
	struct pool conns, sents, flights, embryos, waits;
	struct flow_table flows; // of connections, embryos and waits, see tcp_find.c
	struct tcp_fifo embryo_list[TCP_EMBRYO_LISTS];
	struct tcp_fifo wait_list[2]; // TIME_WAIT; FIN_WAIT2
	uint64_t records_ms;          // when the deadlines of records were last looked at
	uint64_t cookie_ms;           // until then our cookies may come back
	uint16_t cookie_wnd;          // the widest window that such a one has offered
	struct tcp_dest *dests;       // TCP_DESTS_MAX of them
	uint32_t laddr_next;          // which local address the next open begins with
	struct tcp_listener listeners[TCP_LISTENERS_MAX];
	struct tcp_mtu mtus[TCP_MTU_SETS][TCP_MTU_WAYS];
	uint32_t mtu_until_s; // none of them lasts longer
	struct mem_source *mem;
	struct wheel wheel;
};

#define TCP_OPT_MSS 1u
#define TCP_OPT_WSCALE 2u
#define TCP_OPT_SACK_OK 4u
#define TCP_OPT_TS 8u

struct tcp_seg {                // an arrived segment
	uint32_t seq, ack, wnd; // wnd as it stands in the header
	uint32_t tsval, tsecr;
	struct span data;
	uint16_t mss;
	uint8_t flags, opts, wscale, sack_count;
	struct {
		uint32_t start, end;
	} sack[TCP_SACK_BLOCKS_MAX];
};

struct tcp_bare { // a segment without bytes that belongs to no connection
	uint32_t seq, ack;
	uint32_t tsval, tsecr;
	uint16_t wnd, mss;
	uint8_t flags, wscale;
	uint8_t opts; // TCP_OPT_; all but timestamps on a SYN only
};

static inline bool
seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool
seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

static inline uint32_t
seq_max(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? b : a;
}

static inline uint32_t
seq_min(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? a : b;
}

// Bytes and FIN that sndq stands for end here.
static inline uint32_t
tcp_snd_end(const struct tcp_conn *c)
{
	return c->snd_una + (uint32_t)c->sndq.bytes;
}

// Is there anything that was not sent, or not again after a timeout?
static inline bool
tcp_has_unsent(const struct tcp_conn *c)
{
	bool is_fin = (c->flags & (TF_FIN_QUEUED | TF_FIN_ACKED)) == TF_FIN_QUEUED;

	return seq_lt(c->snd_nxt, tcp_snd_end(c) + is_fin);
}

// Is there anything for a SACK option?
static inline bool
tcp_has_sack(const struct tcp_conn *c)
{
	const struct tcp_range *d = &c->tcp->dsack;

	return (c->ooo != NULL || d->start != d->end) && (c->flags & TF_SACK);
}

static inline bool
tcp_is_dead(const struct tcp_conn *c)
{
	return (c->flags & TF_DEAD) != 0;
}

static inline bool
tcp_is_forgotten(const struct tcp_conn *c)
{
	return c->ops == NULL && (c->flags & TF_USED) != 0;
}

// tcp_open.c
// In no state and not in the table.
struct tcp_conn *must_use tcp_conn_new(struct tcp *t, const struct tcp_path *path, uint32_t iss);
void tcp_conn_die(struct tcp_conn *c,
		  enum tcp_gone why); // `gone` and the memory follow in tcp_work
void tcp_conn_reset(struct tcp_conn *c, enum tcp_gone why); // the same with an RST
void tcp_conn_free(struct tcp_conn *c);
uint16_t tcp_mss_for(const struct ipaddr *laddr, uint16_t mtu);
uint16_t tcp_mss_default(const struct ipaddr *laddr); // of a peer that names none
void tcp_conn_unfile(struct tcp_conn *c);             // out of the table
struct tcp_listener *tcp_listener_find(struct tcp *t, const struct tcp_path *path);

// tcp.c
void tcp_ready(struct tcp_conn *c);
void tcp_enter_time_wait(struct tcp_conn *c);
void tcp_finish(struct tcp_conn *c); // both FINs acknowledged, no TIME_WAIT
bool tcp_challenge_allowed(struct tcp *t);
bool tcp_reset_allowed(struct tcp *t);

// tcp_info.c
void tcp_trace_in(struct tcp_conn *c, const struct tcp_seg *s);
void tcp_trace_out(struct tcp_conn *c, const uint8_t *header, uint32_t len); // a whole TCP header

// tcp_seg.c
must_use bool tcp_seg_parse(struct tcp_seg *s, struct span raw);
bool tcp_seg_send(struct tcp *t, const struct tcp_path *path,
		  const struct tcp_bare *b); // false: no frame

// tcp_in.c
void tcp_in_syn_options(struct tcp_conn *c, const struct tcp_seg *s); // what a SYN settles

// tcp_ack.c
void tcp_ack_open(struct tcp_conn *c, const struct tcp_seg *s); // the ACK of our SYN
void tcp_ack_input(struct tcp_conn *c, const struct tcp_seg *s);
void tcp_ack_window(struct tcp_conn *c, const struct tcp_seg *s, uint32_t wnd);
uint32_t tcp_cwnd_initial(const struct tcp_conn *c);

// tcp_rcv.c
void tcp_rcv_input(struct tcp_conn *c, const struct tcp_seg *s);
uint32_t tcp_rcv_deliver(struct tcp_conn *c); // returns calls made
uint16_t tcp_rcv_window(struct tcp_conn *c, bool is_syn);
uint8_t tcp_rcv_wscale(const struct tcp *t); // that we offer: fits the widest window
// The SACK option of the next segment: a duplicate that just arrived (RFC 2883), then the blocks.
uint32_t tcp_rcv_sack(const struct tcp_conn *c, struct tcp_range *blocks, uint32_t most);
// Bytes that were there already; cut to what RFC 2883 may report. Until tcp_rcv_dsack_end.
void tcp_rcv_dsack_begin(struct tcp_conn *c, uint32_t seq, uint32_t n);
void tcp_rcv_dsack_end(struct tcp_conn *c);
bool tcp_rcv_is_drained(const struct tcp_conn *c); // the user has had everything, eof too

// tcp_ooo.c
enum tcp_ooo {
	TCP_OOO_KEPT,  // some of it was new
	TCP_OOO_KNOWN, // none of it was
	TCP_OOO_FULL,  // there was no room for some of it
};
// Keeps what is new of the bytes at seq, in at most `chunks_max` chunks of the connection. `dup`:
// the first bytes that were there already.
enum tcp_ooo tcp_ooo_add(struct tcp_conn *c, struct tcp_range at, const uint8_t *bytes,
			 uint32_t chunks_max, struct tcp_range *dup);
// The first bytes behind a gap; false: there are none.
bool tcp_ooo_first(const struct tcp_conn *c, uint32_t *seq);
struct chunk *tcp_ooo_take(struct tcp_conn *c); // what begins at rcv_nxt; NULL: nothing
uint32_t tcp_ooo_sack(const struct tcp_conn *c, struct tcp_range *blocks, uint32_t most);
void tcp_ooo_clear(struct tcp_conn *c);
uint32_t tcp_ooo_shed(struct tcp *t); // when memory is short: gaps that nobody fills

// tcp_mtu.c
uint32_t tcp_mtu_mss(struct tcp_conn *c, uint32_t mss); // at the handshake: what the path allows
bool tcp_mtu_too_big(struct tcp_conn *c, uint32_t mtu); // false: not believed
void tcp_mtu_timeout(struct tcp_conn *c); // before a repetition: is it the size that is lost?

// tcp_out.c
enum tcp_out { TCP_OUT_DONE, TCP_OUT_MORE, TCP_OUT_BLOCKED };
enum tcp_out tcp_out_work(struct tcp_conn *c, uint32_t *sent);
void tcp_out_ack_now(struct tcp_conn *c); // at once; later when there is no frame
bool tcp_out_probe(struct tcp_conn *c);
bool tcp_out_tail(struct tcp_conn *c, bool *is_again); // tail loss probe
bool tcp_out_keepalive(struct tcp_conn *c);
bool tcp_out_force(struct tcp_conn *c); // a small segment into a small window
bool tcp_out_rst(struct tcp_conn *c);
void tcp_out_rst_for(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s);
void tcp_out_stray_ack(struct tcp_conn *c, bool is_limited); // to a segment that was not accepted
void tcp_out_challenge(struct tcp_conn *c);

// tcp_timer.c
void tcp_timer_fire(void *ctx, struct wheel_node *n, uint64_t now_ms);
void tcp_timer_update(struct tcp_conn *c); // files the earliest deadline
void tcp_timer_keepalive(struct tcp_conn *c);
uint32_t tcp_timer_rto(const struct tcp_conn *c); // backed off
static inline uint32_t
tcp_after(const struct tcp_conn *c, uint32_t ms)
{
	uint32_t d = c->tcp->now_ms32 + ms;

	return d == 0 ? 1 : d;
}
