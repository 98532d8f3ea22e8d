// SPDX-License-Identifier: Apache-2.0
// smtp: all SMTP sessions of one worker: server towards clients, client towards backends, relay
// between.
//
// What for: the state machine that takes mail and hands it on. Who calls it: the worker's loop
// (smtp_run, smtp_policy), TCP through its user calls. Memory: sessions, backend connections and
// envelopes from pools sized at boot; message bytes in the worker's chunks. What can go wrong: no
// session free, or too many from one client: 421 and close (SESSIONS_REFUSED); memory low: 421 for
// new sessions, 452 for new messages (SHED_MEMORY). Promise: 250 to end of data is written only
// after the backend's 250, or after an agent's DeleteMessage, logged. Inside: smtp_command.c
// (parser), smtp_session.c (life, replies), smtp_verb.c (commands), smtp_data.c (framing of DATA),
// smtp_tx.c (transactions), smtp_relay.c (recipients, hold, verdict, cut-through), smtp_edit.c,
// smtp_reply.c, smtp_backend.c (client), smtp_hop.c (pool, probes), smtp_log.c. RFC 5321, 1870,
// 2920, 6152, 2034.
#pragma once

#include "control/abi/counter.h"
#include "dataplane/policy_use.h"
#include "dataplane/report.h"
#include "dataplane/shed.h"
#include "dataplane/tcp.h"
#include "scanner/event.h"
#include "scanner/scan.h"

#define SMTP_POLICIES_MAX 16 // in use at once; beyond it the oldest transactions end with 451

struct smtp;

struct smtp_args {
	struct tcp *tcp;
	struct chunk_pool *chunks;
	struct scanner *scanner;
	struct counters *counters;
	struct report *report;
	struct trace *trace_ring; // NULL: none
	struct mem_source *mem;
	const struct policy_use *policy; // the first one; listeners and hops are read from it
	uint32_t worker;
	uint64_t seed;
	uint8_t secret[16];   // of the hash of clients
	event_trace_fn trace; // NULL: none
	void *trace_ctx;
};

// Opens, listens on every listener of the policy. NULL: no memory, reason in `why`.
struct smtp *must_use smtp_open(const struct smtp_args *args, uint64_t now_us, struct strbuf *why);
void smtp_close(struct smtp **s);
// How hard the worker is pressed: from SHED_REFUSE on new sessions get 421, new messages 452.
void smtp_shed(struct smtp *s, enum shed_level level);
// Time and due timers, at most `most`. Returns the work done.
uint32_t smtp_run(struct smtp *s, uint64_t now_us, uint64_t wall_us, uint32_t most);
uint64_t smtp_next_ms(const struct smtp *s);
// Quiet point: new commands outside transactions see `p` from here on.
void smtp_policy(struct smtp *s, const struct policy_use *p);
uint64_t smtp_policy_oldest(const struct smtp *s); // generation that is still in use
// The generations in use: that of new transactions and those that older ones hold; 0: none.
void smtp_policy_held(const struct smtp *s, uint64_t held[SMTP_POLICIES_MAX]);
// Answered with records into the event ring, spread over several smtp_run calls, the last one
// LOGREC_SESSION_END: LIST: one LOGREC_SESSION a session; SHOW: that of one session, its
// connections (LOGREC_HALF) and what happened lately (LOGREC_TRACE); CAPTURE: its row, and from
// then on LOGREC_FRAMEs (`ms` long; 0: no more).
enum smtp_ask_kind { SMTP_ASK_LIST, SMTP_ASK_SHOW, SMTP_ASK_CAPTURE };

struct smtp_ask {
	enum smtp_ask_kind kind;
	uint64_t request, session, ms;
};

void smtp_session_ask(struct smtp *s, const struct smtp_ask *q);
// A frame of the captured session, either half.
void smtp_captured(struct smtp *s, struct span frame, bool is_ours);
uint32_t smtp_session_count(const struct smtp *s);
struct smtp_usage { // objects out of their pools now
	uint32_t sessions, transactions, backends, clients;
};
struct smtp_usage smtp_usage(const struct smtp *s);
