// SPDX-License-Identifier: Apache-2.0
// smtp_command: from the client's bytes to commands: line framing, verbs, paths and parameters.
//
// What for: strict in framing (only CRLF ends a line; a bare CR, a bare LF or a NUL is a fault that
// ends the session), tolerant in syntax. Who calls it: smtp_session.c and smtp_verb.c on their
// worker; it knows neither. Memory: spans into the line, valid until the line is done with; a
// partial line is kept in one object of the caller's pool. What can go wrong: everything that the
// peer can send has its row: a parse function returns NULL or the reply to give. How the bytes are
// cut changes nothing. RFC 5321 4.1.1, 4.1.2, 4.5.3.1; RFC 1870 (SIZE); RFC 6152 (BODY).
#pragma once

#include "control/abi/model.h"
#include "control/base/pool.h"

#define SMTP_LINE_MAX 1024   // of any command line, CRLF included: MAIL with its parameters
#define SMTP_COMMAND_MAX 512 // of the others (RFC 5321 4.5.3.1.4)
#define SMTP_ADDRESS_MAX 254
#define SMTP_LOCAL_MAX 64
#define SMTP_HELO_MAX 255
#define SMTP_PARAMS_MAX 8 // of one MAIL
#define SMTP_LINE_MAGIC 0x454e494cu
#define SMTP_EVENT_NONE EVENT_COUNT // a verb without an event

enum smtp_frame {
	SMTP_FRAME_MORE, // no end of line yet; all bytes were taken
	SMTP_FRAME_LINE, // *line is the command without CRLF
	SMTP_FRAME_LONG, // a line over SMTP_LINE_MAX has ended
	SMTP_FRAME_BARE_CR,
	SMTP_FRAME_BARE_LF,
	SMTP_FRAME_NUL,
	SMTP_FRAME_SHED, // the pool is empty
};

struct smtp_line { // of a pool: the part of a line that has come so far
	uint32_t magic;
	uint16_t len;
	bool is_long; // beyond SMTP_LINE_MAX: only the last byte is kept
	uint8_t data[SMTP_LINE_MAX];
};

enum smtp_verb {
#define SMTP_VERB(id, name, event, check, effect, flags) SMTP_VERB_##id,
#define SMTP_VERB_ABSENT(name)
#include "dataplane/smtp_verb.def"
#undef SMTP_VERB
#undef SMTP_VERB_ABSENT
	SMTP_VERB_COUNT,
	SMTP_VERB_KNOWN, // an RFC has it, we do not offer it
	SMTP_VERB_UNKNOWN,
};

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

struct smtp_command {
	enum smtp_verb verb;
	struct span args; // without spaces at both ends
	// filled by the verb's check
	struct span helo;
	struct span address; // of MAIL (may be empty) or RCPT, without <> and source route
	uint64_t size;       // SIZE=
	enum smtp_body body;
};

struct smtp_refusal { // a row of the protocol's own refusals
	uint16_t code;
	const char *enhanced, *text;
	const char *rule; // the setting that it comes from, for the log; NULL: the protocol itself
};
extern const struct smtp_refusal smtp_line_too_long;

// Looks for the end of a line from the start of `in`: *taken bytes are done with. What is partial
// is kept in *buf (NULL: none yet).
must_use enum smtp_frame smtp_line_take(struct smtp_line **buf, struct pool *pool, struct span in,
					uint32_t *taken, struct span *line);
void smtp_line_done(struct smtp_line **buf, struct pool *pool); // gives the object back, if any

void smtp_command_parse(struct span line, struct smtp_command *cmd);
const struct smtp_refusal *must_use smtp_parse_helo(struct smtp_command *cmd);
const struct smtp_refusal *must_use smtp_parse_mail(struct smtp_command *cmd, bool with_8bitmime);
const struct smtp_refusal *must_use smtp_parse_rcpt(struct smtp_command *cmd);
// The domain of an address as the parser lets it pass; empty: none ("", "postmaster").
struct span smtp_address_domain(struct span address);
