// SPDX-License-Identifier: Apache-2.0
// event: raises an event: asks the agents registered for it, by priority, until one decides.
//
// What for: the seam between the SMTP state machine and the agents; what Exchange's agents get in
// their event arguments is what they find here. Who calls it: the session on its worker, between a
// command's check and its effect. Memory: all borrowed for the call, but for the verdict, which
// holds its own texts. What can go wrong: nothing: an event without agents gives ACTION_NONE. Every
// agent registered for the event runs until a verdict other than NONE; OnReject and OnDisconnect
// call all of them, since nothing can be decided there (Disconnect after OnReject excepted).
#pragma once

#include "control/abi/counter.h"
#include "control/abi/policy.h"

struct scan_result;

#define VERDICT_TEXT_SIZE 256
#define VERDICT_EVIDENCE_SIZE 160

// What an agent decided. Texts are sanitised: printable ASCII, no CR or LF. Rule and evidence go
// into the log only and may hold bytes from 0x80 on: operators write their phrases in their own
// language.
struct verdict {
	enum action action;
	uint32_t agent;      // enum agent_id; AGENT_NONE: nobody decided
	uint16_t reply_code; // 4xx or 5xx; 0: the action's default
	bool close;          // close the session after the reply
	bool tarpit;         // delay the reply by timeouts.tarpit_s
	char enhanced[12];   // "5.7.1"
	char text[VERDICT_TEXT_SIZE];
	char rule[VERDICT_EVIDENCE_SIZE];     // list and line that won: "BadWord phrase (line 41)"
	char evidence[VERDICT_EVIDENCE_SIZE]; // what was found: the phrase, the name, the address
};

// What is known of the session; filled by the dataplane, read by agents. The bag at the end is the
// agents' own: it lives as long as the session, is zero at OnConnect, and each field names its
// writer.
struct event_session {
	uint64_t id;
	struct ipaddr client, local;
	uint16_t client_port, local_port;
	enum direction direction;
	struct span helo;
	bool esmtp;
	// the agents' bag
	bool antispam_bypass; // Connection Filtering: the address is on the IP allow list
};

// What is known of the transaction; also with a bag.
struct event_tx {
	struct span from;       // without <>; empty: null sender
	struct span rcpt;       // OnRcpt: the recipient asked for
	uint32_t rcpt_count;    // accepted so far
	uint64_t size_declared; // SIZE=, 0: none
	uint64_t bytes;         // of the message so far
	// the agents' bag
	int8_t scl;             // -1: bypassed or not rated yet (scl_is_set tells), 0..9
	bool scl_is_set;        // Content Filter
	bool sender_is_blocked; // Sender Filter with StampStatus
	char sender_rule[48];   // the same: the list and line, for the log
};

typedef void (*event_trace_fn)(void *ctx, enum event event, uint32_t agent,
			       const struct verdict *v);

struct event_ctx {
	enum event event;
	const struct policy_view *policy;
	struct event_session *session;
	struct event_tx *tx;            // NULL outside a transaction
	const struct scan_result *scan; // from OnEndOfHeaders on, else NULL
	const struct verdict *refused;  // OnReject: what was answered
	enum disconnect_reason reason;  // OnDisconnect
	uint64_t now_s;                 // Unix time
	struct counters *counters;
	// NULL: none. Called once with AGENT_NONE on raising, then after each agent.
	event_trace_fn trace;
	void *trace_ctx;
};

// An agent's handler: looks, and sets *v (zeroed, v->agent set) if it decides.
typedef void (*agent_fn)(struct event_ctx *e, struct verdict *v);

void verdict_init(struct verdict *v);
// Counts, runs the agents, returns v->action.
enum action event_raise(struct event_ctx *e, struct verdict *v);

// For agents: sets action, reply, and texts in one go; `text` may hold {0}, replaced by `subject`.
void verdict_set(struct verdict *v, enum action action, uint16_t code, const char *enhanced,
		 struct span text, struct span subject);
// Line 0: "added with the CLI".
void verdict_set_rule(struct verdict *v, const char *list, uint32_t line);
void verdict_set_evidence(struct verdict *v, struct span evidence);
