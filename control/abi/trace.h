// SPDX-License-Identifier: Apache-2.0
// trace: the records by which a worker remembers what happened to a session lately, the state of a
// session's connections, and the names of both for people.
//
// Who calls it: workers make them (dataplane/trace.h), posternd shows them (`postern session show`,
// `postern trace`). They travel in log records as raw bytes. Memory: none. What can go wrong: the
// reader takes any value for possible: an unknown kind has the name "?".
#pragma once

#include "control/base/ipaddr.h"

enum trace_kind {
#define TRACE(id, name, fields) TRACE_##id,
#include "control/abi/trace.def"
#undef TRACE
	TRACE_KIND_COUNT
};

enum trace_timer { TRACE_RTO, TRACE_TLP, TRACE_RACK, TRACE_PERSIST, TRACE_KEEPALIVE, TRACE_TIMERS };

struct trace_rec {
	uint64_t us;   // the worker's clock
	uint32_t prev; // place of the record before it in the same chain; 0: none
	uint32_t seq, ack, wnd;
	uint16_t len;
	uint8_t kind;  // enum trace_kind
	uint8_t flags; // of TCP
	uint32_t half; // 0: the session itself; else the peer's port
};
static_assert(sizeof(struct trace_rec) == 32, "two a cache line");

// A connection as it is at this moment.
struct trace_half {
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;
	uint16_t mss;
	uint8_t state; // enum tcp_state
	uint8_t is_backend;
	uint8_t snd_wscale, rcv_wscale;
	uint8_t has_ts, has_sack;
	uint32_t cwnd, ssthresh, snd_window, rcv_window; // bytes
	uint32_t in_flight, send_queue, recv_queue;      // bytes
	uint32_t srtt_us, rto_ms;
};
static_assert(sizeof(struct trace_half) == 80, "no padding: it travels as bytes");

const char *trace_kind_name(uint32_t kind);
const char *trace_fields(uint32_t kind); // see trace.def; "" for what is unknown
