// SPDX-License-Identifier: Apache-2.0
// segpeer: one TCP instance, and a hand that makes the segments of its peer.
//
// What for: tests of single rules, each with its own segments. Sequence numbers are relative: 0 is
// the SYN of each side, 1 the first byte. Who calls it: tests. Memory: all in the struct and in the
// instance, which segpeer_fini closes; it CHECKs that no chunk is left. What can go wrong:
// segpeer_next returns false when the stack has sent nothing more. Time stands still but for
// segpeer_wait.
#pragma once

#include "dataplane/tcp.h"

#define SEGPEER_OUT_MAX 2048
#define SEGPEER_MTU 1500

#define SP_FIN 0x01u
#define SP_SYN 0x02u
#define SP_RST 0x04u
#define SP_PSH 0x08u
#define SP_ACK 0x10u

struct segpeer_seg {       // a segment that the stack sent, or the options of one that it gets
	uint32_t seq, ack; // relative
	uint32_t wnd;      // as in the header
	uint32_t len;
	uint8_t flags;
	bool has_mss, has_wscale, has_sack_ok, has_ts;
	uint16_t mss;
	uint8_t wscale;
	uint32_t tsval, tsecr;
	uint32_t sack_count;
	struct {
		uint32_t start, end; // relative
	} sack[4];
	uint8_t data[2048];
	uint64_t at_us; // when it was sent
	uint16_t lport, rport;
};

struct segpeer_user { // what the connection's user saw
	struct tcp_conn *c;
	uint32_t accepts, opens, eofs, gones, sents;
	enum tcp_gone why;
	uint8_t data[1 << 20];
	uint32_t received;
	uint32_t take_most; // recv takes no more than this in one call
	bool is_refusing;   // accept returns NULL
	// Called at the end of each call up, so that tests can call back down.
	void (*hook)(struct segpeer_user *u, const char *call);
};

struct segpeer {
	struct tcp *tcp;
	struct chunk_pool chunks;
	struct counters counters;
	uint64_t now_us;
	struct tcp_path path; // as the stack sees it
	uint32_t stack_iss, peer_iss;
	bool knows_stack_iss;
	bool has_ts;      // the peer's segments carry timestamps
	uint32_t ts_base; // tsval is ts_base + ms
	uint32_t ts_seen; // the stack's latest
	bool has_no_frames, has_no_route, owns_no_port;
	uint32_t laddr_count; // local addresses, 10.0.0.1 and up
	uint32_t ports_step;  // the stack owns only ports that this divides; 0: all
	uint32_t ports_asked; // how often it asked
	uint8_t frame[2048];
	bool is_writing;
	struct segpeer_seg out[SEGPEER_OUT_MAX];
	uint32_t out_count, out_read;
	struct segpeer_user user;
};

struct segpeer_args {
	uint32_t window_bytes, keepalive_s, conns_max, chunks;
	uint32_t embryos_max, waits_max; // 0: as conns_max says
};

void segpeer_init(struct segpeer *p, const struct segpeer_args *args); // NULL: usual values
void segpeer_fini(struct segpeer *p);
// A segment from the peer; then the stack works, unless `is_held`.
void segpeer_send(struct segpeer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd,
		  const void *data, uint32_t n);
// The same with options (bytes, a multiple of 4; timestamps are not added).
void segpeer_send_options(struct segpeer *p, uint8_t flags, uint32_t seq, uint32_t ack,
			  uint32_t wnd, struct span options, struct span data);
// Hands over a segment without letting the stack send.
void segpeer_put(struct segpeer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd,
		 const void *data, uint32_t n);
void segpeer_work(struct segpeer *p);
void segpeer_wait(struct segpeer *p, uint32_t ms); // time passes, millisecond by millisecond
bool segpeer_next(struct segpeer *p, struct segpeer_seg *s); // the next segment that the stack sent
uint32_t segpeer_pending(const struct segpeer *p);           // how many are there
void segpeer_skip(struct segpeer *p);                        // forgets them
// Handshake with the stack as server; options as given (NULL: MSS 1460 only). The peer's window is
// 65535.
void segpeer_accept(struct segpeer *p, const struct span *options);
// Handshake with the stack as client.
struct tcp_conn *segpeer_open(struct segpeer *p);
void segpeer_pattern(uint8_t *to, uint32_t from, uint32_t n); // byte i of the test stream
uint64_t segpeer_count(const struct segpeer *p, enum counter c);
extern const struct tcp_user_ops segpeer_ops;
