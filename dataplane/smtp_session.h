// SPDX-License-Identifier: Apache-2.0
// smtp_session: the private inside of smtp.h: one client's session, its transaction, and the
// worker's tables.
//
// What for: what the files smtp*.c share. Who calls it: only they, on the owning worker. Memory:
// sessions, partial lines, transactions and backend connections from pools of struct smtp; a
// transaction belongs to its session, a backend connection to the transaction it is lent to, else
// to its hop. What can go wrong: see smtp.h. Objects are freed at one place only:
// smtp_session_settle, which every entry from outside calls last.
//
//   accept, OnConnect --220--> COMMAND <----------------------------------+<------------+
//       |                      |    |                                     |             |
//       | refused              |    +--RCPT to the backend--> WAIT --its answer         |
//       v                      |                               ^                        |
//    LINGER                    +--DATA, 354--> DATA            |                        |
//                                               |              |                        |
//                                               +--CRLF.CRLF---+ verdict is yes         |
//                                                      |                                |
//                                                      +-------- no: answered at once --+
//   refusal with verdict.tarpit: TARPIT --tarpit_s--> COMMAND
//   any, framing fault, 421 or verdict.close: LINGER --eof or 10 s--> ENDED
//   any, QUIT, eof or gone: ENDED --settle--> freed
//
// In WAIT and TARPIT nothing is taken from TCP, so the client's window closes by itself. A session
// whose client is gone while the backend already has the whole message stays in WAIT without conn,
// until the answer.
#pragma once

#include "control/base/list.h"
#include "control/base/wheel.h"
#include "dataplane/clients.h"
#include "dataplane/smtp.h"
#include "dataplane/smtp_backend.h"
#include "dataplane/smtp_command.h"
#include "dataplane/smtp_data.h"
#include "dataplane/smtp_reply.h"

#define SMTP_SESSION_MAGIC 0x53455353u
#define SMTP_TX_MAGIC 0x54584e21u
#define SMTP_HOPS_MAX (POLICY_HOPS_MAX * 4) // of all policies held
#define SMTP_LINGER_MS 10000u
#define SMTP_STEPS_MAX 64 // commands of one session in one go, then the others come first
#define SMTP_REPLY_BACKLOG (16u << 10) // replies that the client has not taken: beyond it we wait
#define SMTP_CUT_BYTES (256u << 10)    // held beyond hold_bytes_max before the client has to wait
#define SMTP_RCPT_TEXT_SIZE 640        // recipients joined for the log
#define SMTP_ASKS_MAX 8                // questions under way
#define SMTP_ASK_ROWS 32               // sessions listed in one smtp_run

enum smtp_state { SMTP_COMMAND, SMTP_DATA, SMTP_WAIT, SMTP_TARPIT, SMTP_LINGER, SMTP_ENDED };

enum smtp_phase {
	TX_OPEN,  // MAIL accepted: recipients, DATA
	TX_RCPT,  // a recipient is at the backend
	TX_BODY,  // DATA: the message arrives
	TX_FINAL, // all of it is here; the answer is not
};

struct smtp_tx { // one transaction, MAIL to final reply
	uint32_t magic;
	enum smtp_phase phase;
	struct smtp_session *session;
	const struct policy_use *policy; // pinned; NULL: given up, the transaction is doomed
	uint32_t policy_slot;
	uint32_t tried; // bit a hop row of the policy: connecting failed for this recipient
	struct smtp_backend *backend; // lent to us; NULL: none
	struct scan *scan;            // ours, DATA to the end
	struct event_tx ev;
	struct chunkq body; // wire bytes that wait; edits first, the terminator last
	uint64_t mail_us;
	struct list_node node;  // of smtp.tx_list
	struct list_node waits; // of smtp.waiting; not linked: it does not
	uint64_t moved_us;      // when the client last did its part ..
	uint64_t moved_bytes;   // .. and how much of the message there was
	uint32_t rcpt_passed;   // accepted by the backend
	enum smtp_data_state data;
	enum smtp_body body_type;
	bool is_retried;   // a kept connection turned out dead and was replaced
	bool is_doomed;    // `verdict` is the final reply; what still comes is thrown away
	bool is_deleted;   // an agent said DeleteMessage: what still comes is thrown away, then 250
	bool rcpt_dropped; // an agent said DeleteRecipients for the recipient under way
	bool is_cut;       // cut through: the backend gets the body while it arrives
	bool is_accepted;  // verdict said yes, the terminator is queued
	enum event verdict_event; // where `verdict` came from
	struct verdict verdict;   // of the doom or of the deletion
	char from[SMTP_ADDRESS_MAX + 1];
	char rcpt[SMTP_ADDRESS_MAX + 1]; // under way
	uint16_t rcpt_len;
	uint8_t hop_row;        // of the policy, that `backend` belongs to
	bool has_hop;           // `hop_row` is set
	bool is_over_limit;     // doomed by a limit or a policy of ours, not by the backend
	bool is_sent;           // the backend gets bytes of the message: edits are with it
	const char *cause_text; // of an incomplete scan, NULL: none
	char named[64];         // the edits, for the log
	struct strbuf rcpts;    // accepted ones, joined by ", "
	char rcpts_mem[SMTP_RCPT_TEXT_SIZE];
};

struct smtp_session {
	uint32_t magic;
	uint8_t state;    // enum smtp_state
	uint8_t reason;   // enum disconnect_reason, once ended; in TARPIT the one to close with
	bool greeted;     // HELO or EHLO accepted
	bool is_eightbit; // the EHLO reply offered 8BITMIME
	bool eof_seen;
	bool is_choked;     // waiting for the client to take replies
	bool tarpit_closes; // close behind the delayed reply
	bool is_broken;     // a reply could not be written: the timer ends it
	uint8_t listener;
	uint32_t errors;   // protocol errors so far
	uint32_t commands; // counted ones, and those refused for now or by the backend
	uint32_t tx_count;
	uint32_t trace_last;       // of trace.h
	struct client_hold client; // whose session it is, in smtp.clients
	struct smtp *smtp;
	struct tcp_conn *conn; // NULL: gone or forgotten
	struct smtp_tx *tx;
	struct smtp_line *line;    // partial command
	struct smtp_line *delayed; // reply in the tarpit
	struct list_node node;     // of smtp.session_list, oldest first
	struct smtp_timer timer;
	uint64_t start_us;
	struct event_session ev; // ev.helo points to helo
	char helo[SMTP_HELO_MAX + 1];
};
static_assert(sizeof(struct smtp_session) <= 1024, "an idle session costs at most 1 KB");

struct smtp_listener {
	struct smtp *smtp;
	uint8_t direction, index;
};

struct smtp_policy_slot {
	const struct policy_use *use; // NULL: free
	uint32_t tx_count;
};

struct smtp {
	struct tcp *tcp;
	struct chunk_pool *chunks;
	struct scanner *scanner;
	struct counters *counters;
	struct report *report;
	struct mem_source *mem;
	event_trace_fn trace;
	void *trace_ctx;
	uint64_t now_us, wall_us;
	uint64_t id_last; // of sessions
	uint32_t worker;
	uint32_t policy_now; // slot
	struct smtp_policy_slot policy[SMTP_POLICIES_MAX];
	struct pool sessions, lines, txs, backends;
	struct clients clients;
	enum shed_level shed;
	struct list session_list;
	struct list tx_list; // the one whose client did nothing for longest first
	struct list waiting; // messages that take no more for now: the backend or memory is behind
	struct smtp_listener listener[POLICY_LISTENERS_MAX];
	struct smtp_hop hop[SMTP_HOPS_MAX];
	// Questions under way: the first is served.
	struct smtp_ask ask[SMTP_ASKS_MAX];
	uint32_t ask_count;
	bool ask_is_begun;
	struct list_node *ask_next;    // the session to look at next
	struct smtp_session *captured; // NULL: none
	uint64_t capture_request, capture_end_us, anomaly_us;
	struct trace *trace_ring;
	struct wheel wheel;
};

// --- smtp.c: tables ---
bool smtp_is_pressed(const struct smtp *s); // nothing new is begun
const struct policy_use *smtp_policy_now(const struct smtp *s);
void smtp_policy_unpin(struct smtp_tx *tx);
uint64_t smtp_now_ms(const struct smtp *s);
void smtp_timer_set(struct smtp *s, struct smtp_timer *t, uint64_t in_ms);
void smtp_timer_stop(struct smtp *s, struct smtp_timer *t);

// --- smtp_session.c: life, replies ---
extern const struct tcp_user_ops smtp_session_ops;
// NULL: refused. Else `hold` is taken over.
struct smtp_session *must_use smtp_session_open(struct smtp_listener *l, struct tcp_conn *c,
						const struct client_hold *hold);
void smtp_session_fire(struct smtp_session *s);   // its timer; settles
void smtp_session_settle(struct smtp_session *s); // frees what has ended: last thing of every entry
void smtp_session_arm_data(struct smtp_session *s); // the next piece of the message is waited for
void smtp_session_wait(struct smtp_session *s);     // no input is taken until smtp_session_go_on
void smtp_session_go_on(struct smtp_session *s);    // next command; ends if the client has
// Ends: OnDisconnect, transaction closed. With linger: FIN, input thrown away for a while.
void smtp_session_end(struct smtp_session *s, enum disconnect_reason why, bool linger);
void smtp_session_reply(struct smtp_session *s, const struct smtp_reply *r);
void smtp_session_say(struct smtp_session *s, uint16_t code, const char *enhanced,
		      const char *text);
// Says no: log, OnReject, error count, reply (delayed if tarpit), and close where verdict or limits
// want it. Afterwards the session may be in TARPIT, LINGER or ENDED.
void smtp_session_refuse(struct smtp_session *s, enum event ev, struct verdict *v);
// The same without the log. counts: it is the client's error. r: the reply's text if it is not the
// verdict's (a backend's, with several lines); else NULL.
void smtp_session_no(struct smtp_session *s, struct verdict *v, bool counts,
		     const struct smtp_reply *r);
// A protocol refusal; `said` is what the client sent, for the log.
void smtp_session_refuse_row(struct smtp_session *s, enum event ev, const struct smtp_refusal *why,
			     struct span said);
void smtp_session_fault(struct smtp_session *s, enum smtp_frame f, bool in_data);
// An agent said Disconnect.
void smtp_session_drop(struct smtp_session *s, enum event ev, struct verdict *v);
const struct policy_use *
smtp_session_policy(const struct smtp_session *s); // the transaction's, else the newest
const struct policy_settings *smtp_session_settings(const struct smtp_session *s);
enum action smtp_session_raise(struct smtp_session *s, enum event ev, struct verdict *v,
			       const struct verdict *refused);
void smtp_verdict_complete(
	struct verdict *v); // code, enhanced code and text where the agent left them out
void smtp_verdict_protocol(struct verdict *v, uint16_t code, const char *enhanced,
			   const char *text);
void smtp_verdict_row(struct verdict *v, const struct smtp_refusal *why);

// --- smtp_verb.c: commands ---
void smtp_verb_run(struct smtp_session *s, struct span line);

// --- smtp_tx.c: transactions ---
// What is left of timeouts.message_s, which both halves of the transaction have to keep.
uint64_t smtp_tx_left_ms(const struct smtp_tx *tx, const struct policy_settings *set);
struct smtp_tx *must_use smtp_tx_open(struct smtp_session *s,
				      const struct smtp_command *mail); // NULL: shed
must_use bool smtp_tx_scan(struct smtp_tx *tx); // the message begins; false: shed
void smtp_tx_scan_close(struct smtp_tx *tx);    // safe without one
void smtp_tx_moved(struct smtp_tx *tx);         // the client has done its part of it
void smtp_tx_body_moved(struct smtp_tx *tx);    // the same if it has sent enough since
void smtp_tx_make_room(struct smtp *smtp);      // ends the session of a client that holds one idly
void smtp_tx_close(struct smtp_session *s);     // both sides; no reply. Safe without one
// The final reply is decided; memory, scan and backend go back now, what still comes is thrown
// away.
void smtp_tx_doom(struct smtp_tx *tx, enum event ev, const struct verdict *v);
void smtp_tx_doom_row(struct smtp_tx *tx, const struct smtp_refusal *why);
void smtp_tx_delete(struct smtp_tx *tx, enum event ev, const struct verdict *v);
void smtp_tx_remark(struct smtp_tx *tx,
		    const struct verdict *v); // why an agent let it pass, for the log
void smtp_tx_expire(struct smtp_tx *tx);      // its policy has to go

// --- smtp_relay.c: the message ---
// The recipient in tx->rcpt goes to the backend; the session waits.
void smtp_relay_rcpt(struct smtp_tx *tx);
uint32_t smtp_relay_body(struct smtp_session *s,
			 struct span in); // bytes taken; 0: it waits for room
bool smtp_relay_waits(const struct smtp_tx *tx);
void smtp_relay_wait_over(struct smtp_tx *tx); // safe when it does not wait
uint32_t smtp_relay_run(struct smtp *s); // whoever waits and has room now goes on; returns work
void smtp_relay_rcpt_accepted(struct smtp_tx *tx, struct smtp_reply *r); // NULL: 250 2.1.5 is ours
void smtp_relay_rcpt_refused(struct smtp_tx *tx,
			     const struct smtp_refusal *why); // sync or while waiting

// --- smtp_edit.c ---
// The header lines that the policy wants, as bytes; the message's first bytes are in tx->body. Sets
// what the log says about them in `named`.
void smtp_edit_build(const struct smtp_tx *tx, const char *scl, const char *action,
		     struct strbuf *out, struct strbuf *named);

// --- smtp_ask.c ---
uint32_t smtp_ask_run(struct smtp *s);
void smtp_ask_removed(struct smtp *s, struct smtp_session *gone); // keeps the cursor sound
// A backend connection is lent to the transaction, or given back.
void smtp_capture_half(struct smtp_tx *tx, struct tcp_conn *c, bool is_lent);
void smtp_anomaly(struct smtp_session *s); // it ends as it should not: what is known is told

// --- smtp_log.c ---
// The head of a raw record about a session.
void smtp_log_raw(struct smtp_session *s, struct logrec *r, enum logrec_kind kind,
		  uint64_t request);
void smtp_log_refusal(struct smtp_session *s, enum event ev, const struct verdict *v);
void smtp_log_message(struct smtp_session *s, enum event ev, enum action action,
		      const struct verdict *v, const char *evidence);
// A client that is refused at its own limit, before there is a session.
struct smtp_refused {
	const struct tcp_path *path;
	const struct client_answer *answer;
	uint8_t direction;
	uint32_t count;    // of refusals since the log was told last
	struct span reply; // with CRLF
};
void smtp_log_client(struct smtp *s, const struct smtp_refused *refused);
void smtp_log_end(struct smtp_session *s);
void smtp_log_backend(struct smtp *s, const struct smtp_hop *h, struct span name, bool is_down,
		      struct span why);
void smtp_log_row(struct smtp_session *s, uint64_t request);
void smtp_log_row_end(struct smtp *s, uint64_t request);
