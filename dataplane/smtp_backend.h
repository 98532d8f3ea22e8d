// SPDX-License-Identifier: Apache-2.0
// smtp_backend: the client half: connections to mail servers, their pool a hop, and the health
// probes.
//
// What for: gives a transaction a connection that is past EHLO, carries its envelope and body, and
// hears the answers. Who calls it: smtp_relay.c; TCP and the timer wheel from below. Memory:
// objects of struct smtp's pool; from take to release or loss an object is lent to one transaction,
// which sees `tx->backend`. What can go wrong: everything ends in smtp_relay_lost with a reason;
// the connection is then already gone from the transaction. No call of the relay's into here calls
// back from inside: a write that TCP has no memory for fires the timer at once.
//
//   CONNECTING -> BANNER -> EHLO (-> HELO) -> READY <---> idle in the pool of its hop (LIFO)
//                                    |         | ^ ^
//                                    | probe   | | +--- RSET <--- release with MAIL done
//                                    v         v |
//                                   QUIT    MAIL -> RCPT -> READY -> DATA -> BODY -> FINAL -> READY
//
//   any -> QUIT (in order) or DEAD (aborted, waiting for TCP's last call)
#pragma once

#include "control/base/list.h"
#include "control/base/wheel.h"
#include "dataplane/smtp_reply.h"
#include "dataplane/tcp.h"

#define SMTP_BACKEND_MAGIC 0x4241434bu
#define SMTP_IDLE_MAX 32        // kept connections of one hop; also those under way for nobody
#define SMTP_BACKEND_TX_MAX 100 // transactions of one connection
#define SMTP_QUIT_MS 5000u
#define SMTP_PROBE_DOWN_MS 5000u
// The first failures of a server that has never answered: an IPv6 address of ours is not in use
// before a second of duplicate address detection (RFC 4862), and a neighbour may be slow.
#define SMTP_PROBE_EARLY_MS 1000u
#define SMTP_PROBES_EARLY 3u

struct smtp;
struct smtp_tx;
struct smtp_backend;
struct policy_view;

enum smtp_timer_kind { SMTP_TIMER_SESSION, SMTP_TIMER_BACKEND, SMTP_TIMER_HOP };
struct smtp_timer {
	struct wheel_node node;
	enum smtp_timer_kind kind;
};

struct smtp_caps {
	bool pipelining, eightbit, has_size;
	uint64_t size_max; // 0: no fixed limit
};

struct smtp_hop {
	bool is_used;
	uint8_t direction;
	uint16_t port;
	struct ipaddr addr;
	uint64_t last_generation; // of a policy that lists it
	bool is_known;            // caps were learned
	bool is_down;             // the last attempt failed
	uint8_t early_probes;     // failures so far, up to SMTP_PROBES_EARLY, while not known
	bool is_told;             // posternd was told how it is, the last time at told_ms
	uint64_t told_ms;
	uint64_t told_why; // hash of the reason
	struct smtp_caps caps;
	struct list idle;      // of smtp_backend.node, the warmest first
	uint32_t conn_count;   // connections of any state
	uint32_t orphan_count; // of these not READY yet, and opened for a transaction that has gone
	struct smtp_backend *probe;
	struct smtp_timer timer;
};

enum smtp_backend_state {
	BACKEND_CONNECTING,
	BACKEND_BANNER,
	BACKEND_EHLO,
	BACKEND_HELO,
	BACKEND_READY,
	BACKEND_MAIL,
	BACKEND_RCPT,
	BACKEND_RCPT_VOID, // MAIL was refused, the pipelined RCPT's answer is still to come
	BACKEND_DATA,
	BACKEND_BODY,
	BACKEND_FINAL,
	BACKEND_RSET,
	BACKEND_QUIT,
	BACKEND_DEAD,
};

// Why a connection was lost.
enum smtp_lost {
	SMTP_LOST_CONNECT,  // refused, no route, no answer
	SMTP_LOST_GREETING, // no 220, or EHLO and HELO refused
	SMTP_LOST_CLOSED,
	SMTP_LOST_TIMEOUT,
	SMTP_LOST_BAD_REPLY,
	SMTP_LOST_BUSY,     // 421
	SMTP_LOST_EIGHTBIT, // is well, but has lost 8BITMIME, which this message needs
	SMTP_LOST_MEMORY,
	SMTP_LOST_COUNT
};

struct smtp_backend {
	uint32_t magic;
	enum smtp_backend_state state;
	struct smtp *smtp;
	struct smtp_hop *hop;
	struct tcp_conn *conn;
	struct smtp_tx *tx;    // lent to; NULL: nobody
	struct list_node node; // of hop.idle
	struct smtp_timer timer;
	struct smtp_caps caps;
	uint32_t tx_count;
	uint64_t final_us; // in FINAL: its answer must be there
	bool is_reused;    // has served a transaction before this one
	bool is_probe;
	bool is_refused;                // RST in answer to our SYN
	bool is_orphan;                 // not READY yet, and whom it was opened for has gone
	bool is_broken;                 // a write failed: the timer ends it
	bool mail_done;                 // MAIL was accepted in this transaction
	bool rcpt_is_out;               // RCPT was sent together with MAIL
	bool is_proven;                 // has answered a RCPT of this transaction
	uint8_t ehlo_lines;             // of the EHLO reply so far, saturating
	struct smtp_reply mail_refusal; // kept while RCPT_VOID
	struct smtp_reply_parser parser;
};

// A connection for `tx` (tx->backend is set): a kept one unless `fresh`, else a new one. False:
// none.
must_use bool smtp_backend_take(struct smtp_hop *h, struct smtp_tx *tx, bool fresh);
void smtp_backend_rcpt(
	struct smtp_backend *b); // MAIL if it was not yet, and RCPT; at once or when READY
void smtp_backend_data(struct smtp_backend *b); // DATA
void smtp_backend_pump(struct smtp_backend *b); // in BODY: moves tx->body; the whole message: FINAL
// Ends the loan in order: RSET where needed, then the pool; aborts if an answer is outstanding.
void smtp_backend_release(struct smtp_tx *tx);
bool smtp_backend_has_all(const struct smtp_backend *b); // the terminator is on its way
void smtp_backend_fire(struct smtp_backend *b);          // its timer

// --- smtp_hop.c ---
// The table follows the policies held: call after each change. New hops are probed at once.
void smtp_hops_sync(struct smtp *s);
struct smtp_hop *smtp_hop_find(struct smtp *s, const struct policy_view *v,
			       uint32_t row);           // NULL: no room was
void smtp_hop_fire(struct smtp *s, struct smtp_hop *h); // its timer
void smtp_hop_learned(struct smtp *s, struct smtp_hop *h, const struct smtp_caps *caps);
void smtp_hop_failed(struct smtp *s, struct smtp_hop *h, struct span why);
void smtp_hop_unheard(struct smtp *s, struct smtp_hop *h); // the probe ended, by no fault of its
// What all hops of a direction are known to offer; false: nothing is known.
bool smtp_hops_caps(struct smtp *s, const struct policy_view *v, uint32_t direction,
		    struct smtp_caps *out);
must_use bool smtp_backend_probe(struct smtp *s, struct smtp_hop *h); // smtp_backend.c

// --- smtp_relay.c: what the backend reports. The session settles inside. ---
void smtp_relay_rcpt_answer(struct smtp_tx *tx, struct smtp_reply *r, bool for_mail);
void smtp_relay_data_go(struct smtp_tx *tx);                         // 354
void smtp_relay_delivered(struct smtp_tx *tx, struct smtp_reply *r); // 2xx to the whole message
void smtp_relay_refused(struct smtp_tx *tx,
			struct smtp_reply *r); // to DATA, half way, or at the end
bool smtp_relay_room(struct smtp_tx *tx);      // the body queue has become shorter
// The connection is gone from the transaction. early: before it was READY once; stale: a kept
// connection that has answered nothing in this transaction.
void smtp_relay_lost(struct smtp_tx *tx, enum smtp_lost why, bool early, bool stale);
