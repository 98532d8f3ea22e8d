// SPDX-License-Identifier: Apache-2.0
// smtp_peer: the machines around the appliance: a source that sends mail, a sink that takes it.
//
// What for: simulation and benches. The sink is deliberately another reader than the product: it
// keeps the whole stream and looks for CRLF.CRLF itself, so that a framing mistake on our side
// shows as a difference. Who calls it: one thread. Memory: heap, with the messages that the sink
// kept. Faults are drawn from the caller's generator, per mille, one rate a place.
#pragma once

#include "control/base/rng.h"
#include "test/sim/lib/endpoint.h"

enum sink_fault {
	SINK_MAIL_4XX,
	SINK_RCPT_4XX,
	SINK_RCPT_5XX,
	SINK_DATA_4XX,
	SINK_FINAL_4XX,
	SINK_FINAL_5XX,
	SINK_CLOSE_AT_COMMAND,
	SINK_RESET_IN_DATA,
	SINK_RESET_BEFORE_FINAL, // after the end of data, without an answer
	SINK_FAULT_COUNT
};

struct sink_message {
	char from[256];
	char rcpt[4096]; // joined by blanks
	uint8_t *data;   // as on the wire, without the final ".CRLF"
	size_t size;
	bool acknowledged; // the 250 was written
};

struct sink {
	struct tcp *tcp;
	struct rng rng;
	uint32_t fault[SINK_FAULT_COUNT]; // per mille
	bool keep;                        // keep messages; else only count
	bool has_pipelining;
	uint32_t hold; // a slow reader: at most this much at once; more after sink_resume. 0: all
	struct sink_message *message;
	uint32_t count, size; // messages in the array
	uint64_t accepted;    // answered 250
	uint64_t bytes;
	// Commands out of order, bare CR or LF, NUL: the relay must never do that.
	uint32_t violations;
	const char *violation; // the first
	struct sink_conn *conns;
};

must_use bool sink_open(struct sink *s, struct tcp *t, uint16_t port, uint64_t seed);
void sink_resume(struct sink *s);
void sink_close(struct sink *s); // before its tcp is closed

struct source_message {
	const char *from, *rcpt[4]; // rcpt: up to 4, then NULL
	const uint8_t *data;        // as on the wire: dot-stuffed, without the final ".CRLF"
	size_t size;
	// filled in
	uint32_t mail_code, rcpt_code[4], data_code, final_code; // 0: no answer
};

enum source_state {
	SOURCE_CONNECT,
	SOURCE_BANNER,
	SOURCE_EHLO,
	SOURCE_ENVELOPE,
	SOURCE_GO,
	SOURCE_BODY,
	SOURCE_FINAL,
	SOURCE_QUIT,
	SOURCE_DONE
};

struct source {
	struct endpoint e;
	enum source_state state;
	struct source_message *message;
	uint32_t count, now;
	uint32_t part;                  // of the envelope: command sent and not answered yet
	uint32_t sent;                  // commands of this envelope written
	size_t at;                      // bytes of the body written
	bool pipelining;                // MAIL, RCPT.., DATA in one go
	uint32_t cut;                   // write at most this much per call; 0: all
	uint32_t last_code;             // of the banner, EHLO
	void (*done)(struct source *s); // NULL: none
	void *owner;
};

must_use bool source_open(struct source *s, struct tcp *t, const struct ipaddr *to, uint16_t port);
bool source_work(struct source *s); // true: it did something. Call after the network moved
void source_close(struct source *s);
