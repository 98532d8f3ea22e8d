// SPDX-License-Identifier: Apache-2.0
// pkt: the parts of the packet script runner: words (pkt_parse.c), frames (pkt_wire.c), what every
// segment of the appliance must keep to (pkt_check.c), connections and the worker between two
// wires (pkt_world.c), the boring parts of a conversation (pkt_macro.c), lines (pkt_run.c).
//
// What for: README.md describes the scripts. Who calls it: pkt_run, one thread. Memory: heap, one
// struct world a script. What can go wrong: world_fail keeps the first reason and the script ends.
// Nothing here uses the product's own encoder, decoder or checksums: an error that both shared
// would not be seen.
#pragma once

#include "dataplane/worker.h"
#include "test/sim/lib/testpolicy.h"
#include "test/sim/lib/vnet.h"

#define PKT_CONNS 8u
#define PKT_QUEUE 512u
#define PKT_DATA_MAX 1500u
#define PKT_STREAM_MAX (1u << 20)
#define PKT_TRACE_MAX 20000u
#define PKT_FLOOD_PORT 50000u // from here on: clients of a flood, whose segments nobody looks at
#define PKT_SLACK_US 5000u    // "at once" and "at exactly" are meant within this

enum pkt_side { SIDE_C, SIDE_B };

enum {
	FIN = 1,
	SYN = 2,
	RST = 4,
	PSH = 8,
	ACK = 16,
	URG = 32,
	ECE = 64,
	CWR = 128,
};

enum { OPT_MSS = 1, OPT_WSCALE = 2, OPT_SACK_OK = 4, OPT_TS = 8, OPT_SACK = 16 };

// A number of a script: N, *, *+N (automatic and so much more), >=N, <=N, A..B.
struct pkt_num {
	bool is_any;
	int64_t lo, hi; // is_any: lo is the difference
};

struct pkt_optspec {
	bool is_given, is_open; // is_open: others may be there too
	uint32_t want, ban;
	struct pkt_num mss, wscale, tsval, tsecr, sack[4][2];
	uint32_t sack_count;
	uint8_t raw[40];
	uint32_t raw_n;
};

struct pkt_mods { // what a sender should not do, or seldom does
	bool bad_tcp_sum, bad_ip_sum, more_fragments, no_df;
	int32_t ttl, fragoff, doff, iplen, sport, dport, proto, vlan; // -1: as it should be
	int32_t dscp;                                                 // the same; only expected
	uint32_t src, dst, pad, cut, urg, reserved;                   // 0: none
	uint8_t ipopt[40];
	uint32_t ipopt_n;
};

struct pkt_segspec { // one line that sends or expects
	uint32_t flags;
	bool any_flags, has_seq, has_len, has_end, has_ack, has_win, has_text;
	struct pkt_num seq, ack, win;
	int64_t end, len;
	struct pkt_optspec opt;
	struct pkt_mods mod;
	uint32_t times; // so many of the same length, one behind the other
	uint32_t text_n;
	uint8_t text[8192];
};

struct pkt_icmpspec {
	int32_t type, code;
	bool has_quote;
	int64_t quote;
	uint32_t mtu, quote_n, len, src, rport;
};

struct pkt_seg { // one that the appliance sent
	uint64_t at_us;
	bool is_icmp, is_ipv6;
	uint8_t icmp_type, icmp_code;
	uint32_t flags, seq, ack, win, urg;
	uint16_t sport, dport;
	uint32_t opts, mss, wscale, tsval, tsecr, sack_count, sack[4][2];
	uint32_t opt_n;
	uint32_t len;
	uint8_t data[PKT_DATA_MAX];
	uint8_t quote[72]; // IP header and first TCP bytes
	uint32_t quote_n, ip_n;
};

struct pkt_conn {
	enum pkt_side side;
	uint32_t index;
	bool is_used, is_auto, is_open, knows_irs; // is_open: the script's SYN was sent
	uint32_t offered, theirs;                  // options of the two SYNs
	uint32_t auto_step;
	uint16_t our_port, their_port;
	uint32_t iss, irs;          // ours is the script's
	uint32_t base_out, base_in; // what the script calls 0
	uint32_t snd_nxt, rcv_nxt;
	uint32_t win; // field that the script's segments carry
	uint32_t our_wscale, their_wscale, our_mss;
	uint32_t last_tsval;
	uint32_t ts_ahead; // of the script's automatic timestamps, since it gave one itself
	bool has_their_edge, has_ack;
	uint32_t our_edge;   // the farthest that the script ever permitted
	uint32_t their_edge; // the appliance's window
	uint32_t last_ack;
	struct pkt_seg queue[PKT_QUEUE];
	uint32_t head, count;
	struct pkt_seg last; // the latest one with bytes or SYN: what ICMP errors quote
	uint8_t *stream;     // bytes that the appliance sent, by seq - irs
	uint8_t *seen;
};

struct world {
	const char *file;
	uint32_t line;
	bool failed, verbose, is_open, is_exact, is_ipv6, arp_on[2];
	char why[1024];
	struct testpolicy *tp;
	struct policy_use *policy;
	struct vnet *net;
	struct vnet_link *link[2];
	struct worker *worker;
	struct counters counters, counters_start;
	uint64_t now_us, event_us;
	struct pkt_conn conn[2][PKT_CONNS + 1]; // the last one of B: health checks
	uint64_t probes_seen;
	struct pkt_optspec syn[2];
	uint32_t syn_win[2];
	uint16_t vlan[2];   // tag of that wire; 0: none
	uint64_t rtt_us[2]; // what the macros let pass before they answer
	char *trace[PKT_TRACE_MAX];
	uint32_t trace_count;
};

// pkt_parse.c: a cursor over a line. NULL or false with a reason in *why.
struct cursor {
	const char *p;
	const char *why;
};
bool cursor_word(struct cursor *c, char *out, uint32_t size); // false: end of line
bool cursor_is(struct cursor *c, const char *word);           // takes it when it comes next
bool cursor_at_end(struct cursor *c);
char cursor_peek(struct cursor *c);
bool parse_num(const char *s, struct pkt_num *n);
bool parse_options(struct cursor *c, struct pkt_optspec *o);
bool parse_text(struct cursor *c, uint8_t *out, uint32_t size, uint32_t *n);
bool parse_seg(struct cursor *c, struct pkt_segspec *s);
bool parse_icmp(struct cursor *c, struct pkt_icmpspec *s);
bool parse_hex(const char *s, uint8_t *out, uint32_t size, uint32_t *n);
bool parse_us(const char *s, uint64_t *us);
bool num_matches(const struct pkt_num *n, int64_t v);

// pkt_wire.c
struct pkt_out { // a segment to be sent
	uint32_t src, dst;
	bool is_ipv6;
	uint8_t src_mac[6], dst_mac[6];
	uint16_t sport, dport;
	uint32_t seq, ack, win, flags;
	const uint8_t *opt, *data;
	uint32_t opt_n, len;
	const struct pkt_mods *mod;
};
uint32_t wire_tcp(uint8_t *frame, uint32_t size, const struct pkt_out *o);
uint32_t wire_icmp(uint8_t *frame, const struct pkt_out *o, uint8_t type, uint8_t code,
		   uint32_t mtu);
uint32_t wire_arp_request(uint8_t *frame, const struct pkt_out *o);
uint32_t wire_arp_reply(uint8_t *frame, const uint8_t *request, const uint8_t mac[6]);
uint32_t wire_nd_reply(uint8_t *frame, const uint8_t *request, uint32_t n, const uint8_t mac[6]);
// NULL: fine; else what is wrong with the frame.
const char *wire_read(const uint8_t *frame, uint32_t n, struct pkt_seg *s);
uint16_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);

// pkt_check.c: NULL, or which rule of every TCP sender the segment breaks. Notes what it says.
const char *check_seg(struct pkt_conn *k, const struct pkt_seg *s);

// pkt_world.c
void world_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool world_open(struct world *w);
void world_close(struct world *w);
void world_settle(struct world *w);
void world_pass(struct world *w, uint64_t us); // time passes
void world_frame(struct world *w, enum pkt_side side, const uint8_t *f, uint32_t n);
void conn_init(struct pkt_conn *k, enum pkt_side side, uint32_t index);
void conn_fini(struct pkt_conn *k);
void conn_rebase(struct pkt_conn *k);
void conn_send(struct world *w, struct pkt_conn *k, const struct pkt_segspec *s);
void conn_icmp(struct world *w, struct pkt_conn *k, const struct pkt_icmpspec *s);
struct pkt_seg *conn_head(struct pkt_conn *k); // NULL: none
void conn_pop(struct pkt_conn *k);
// The next one; bare ACKs count too. Waits at most us.
struct pkt_seg *conn_next(struct world *w, struct pkt_conn *k, uint64_t us);
static inline bool
conn_has(const struct pkt_conn *k, uint32_t option) // agreed on
{
	return (k->offered & k->theirs & option) != 0;
}
void seg_cut_fin(struct pkt_conn *k); // the first one's FIN becomes a segment of its own
bool seg_is_bare(const struct pkt_seg *s);
void seg_text(const struct pkt_conn *k, const struct pkt_seg *s, char *out, uint32_t size);
void segspec_text(const struct pkt_segspec *s, char *out, uint32_t size);
// NULL: it is what was expected; else what differs.
const char *seg_differs(const struct pkt_conn *k, const struct pkt_seg *s,
			const struct pkt_segspec *want);

// pkt_macro.c
void macro_handshake(struct world *w, struct pkt_conn *k, struct cursor *c);
void macro_say(struct world *w, struct pkt_conn *k, const uint8_t *p, uint32_t n);
void macro_hear(struct world *w, struct pkt_conn *k, const char *prefix);
void macro_send(struct world *w, struct pkt_conn *k, uint32_t n);
uint32_t macro_fill(struct world *w, struct pkt_conn *k);
uint32_t macro_drain(struct world *w, struct pkt_conn *k);
void macro_flood(struct world *w, uint32_t n); // SYNs of clients that never finish
void macro_relay(struct world *w, const char *how);
// n bytes wait for the backend's window, which opens then: as many full segments as cwnd permits
// leave.
void macro_bulk(struct world *w, uint32_t n);
void macro_auto(struct world *w, struct pkt_conn *k); // health checks
