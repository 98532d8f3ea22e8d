// SPDX-License-Identifier: Apache-2.0
// logrec: one record from a worker to posternd: a message-log line or a session-list row.
//
// What for: the worker writes fixed-size binary records without formatting; posternd turns them
// into JSON lines. Who calls it: logrec_* writers run on workers, readers in posternd. Memory: 1024
// bytes in the caller's storage (or in the ring). What can go wrong: a text that does not fit is
// cut and the field's bit in `cut` is set; readers never trust lengths: logrec_is_valid first.
#pragma once

#include "control/abi/model.h"
#include "control/base/ipaddr.h"

#define LOGREC_SIZE 1024
#define LOGREC_RAW_MAX (LOGREC_SIZE - 96u)

// Text fields, in the order in which they are stored; names are the keys of the JSON line.
#define LOGREC_FIELDS(X)                                                                           \
	X(HELO, "helo")                                                                            \
	X(TLS, "tls")                                                                              \
	X(AUTH, "auth")                                                                            \
	X(FROM, "from")                                                                            \
	X(RCPT, "rcpt")                                                                            \
	X(RULE, "rule")                                                                            \
	X(EVIDENCE, "evidence")                                                                    \
	X(REPLY, "reply")

enum logrec_field {
#define X(id, name) LOGREC_##id,
	LOGREC_FIELDS(X)
#undef X
		LOGREC_FIELD_COUNT
};

enum logrec_kind {
	LOGREC_MESSAGE, // a line of the message log
	// A row of `postern session list`; `request` says of which call. 0: an anomaly, told
	// unasked, and so are the raw ones behind it.
	LOGREC_SESSION,
	LOGREC_SESSION_END, // no more rows from this worker for that call
	// What the worker finds of a mail server: `client` is its address, `reply_code` enum
	// logrec_backend, the rule its name, the evidence why it is down. Sent at each change, and
	// repeated with the probes, so that a posternd that has just started knows soon.
	LOGREC_BACKEND,
	// Raw ones: bytes instead of texts, see logrec_raw.
	LOGREC_HALF,  // struct trace_half of a session that was asked for
	LOGREC_TRACE, // struct trace_rec, the newest first
	LOGREC_FRAME, // a frame of a captured session: `bytes` its length, `reply_code` 1: ours
	LOGREC_KIND_COUNT
};

enum logrec_backend { LOGREC_BACKEND_DOWN, LOGREC_BACKEND_UP };

struct logrec {
	uint64_t time_us;    // Unix time
	uint64_t session_id; // unique for the appliance's life
	uint64_t bytes;      // of the message so far
	uint64_t request;    // LOGREC_SESSION*: the command's number
	struct ipaddr client;
	uint32_t us; // since the session began; in the last record of a transaction since MAIL
	uint16_t client_port;
	uint16_t reply_code; // 0: none
	uint8_t kind;        // enum logrec_kind
	uint8_t worker;
	uint8_t direction;  // enum direction
	uint8_t event;      // enum event
	uint8_t agent;      // enum agent_id or AGENT_NONE
	uint8_t action;     // enum action
	uint8_t reason;     // enum disconnect_reason
	uint8_t scl_plus_1; // 0: no SCL; else SCL + 1
	uint16_t cut;       // bit a field: text was cut
	uint16_t len[LOGREC_FIELD_COUNT];
	uint16_t reserved[7];
	char text[LOGREC_SIZE - 96];
};
static_assert(sizeof(struct logrec) == LOGREC_SIZE, "one ring slot");

void logrec_init(struct logrec *r);
// Fields are set in ascending order only, each once; control bytes stay as they are (JSON escapes).
void logrec_set(struct logrec *r, enum logrec_field f, struct span s);
bool logrec_is_valid(const struct logrec *r);
struct span logrec_get(const struct logrec *r, enum logrec_field f); // of a valid record
// Raw kinds: up to LOGREC_RAW_MAX bytes. A longer frame goes on in the next record; `cut` says so.
void logrec_raw_set(struct logrec *r, struct span s);
struct span logrec_raw(const struct logrec *r); // of a valid record
const char *logrec_field_name(enum logrec_field f);
