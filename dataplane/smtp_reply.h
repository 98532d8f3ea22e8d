// SPDX-License-Identifier: Apache-2.0
// smtp_reply: SMTP replies as values: ours to clients, and the backend's, parsed as hostile input.
//
// What for: one form for "code, enhanced code, lines of text" on both halves; what is written to a
// client is always printable ASCII in bounded lines, with CRLF only where we put it. Who calls it:
// session, backend and relay. Memory: values. What can go wrong: a backend's reply with a long
// line, too many lines, no digits, different codes, a bare CR, LF or NUL is BAD: the connection is
// aborted. RFC 5321 4.2, RFC 2034, 3463.
#pragma once

#include "control/base/strbuf.h"

#define SMTP_REPLY_LINE_MAX 1024 // with CRLF; RFC 5321 4.5.3.1.5 says 512
#define SMTP_REPLY_LINES_MAX 128
#define SMTP_REPLY_KEPT 8 // lines whose text is kept and passed on
#define SMTP_REPLY_TEXT_SIZE 1024
#define SMTP_REPLY_WIRE_SIZE (SMTP_REPLY_TEXT_SIZE + SMTP_REPLY_KEPT * 24)

struct smtp_reply {
	uint16_t code;
	uint16_t len;      // of text
	uint8_t lines;     // in text, separated by '\n'
	char enhanced[12]; // "" : none
	char text[SMTP_REPLY_TEXT_SIZE];
};

struct smtp_reply_parser {
	uint16_t code;  // of the first line, 0: none yet
	uint16_t lines; // complete so far
	uint16_t len;   // of line
	bool after_cr;
	uint8_t line[SMTP_REPLY_LINE_MAX];
	struct smtp_reply reply;
};

enum smtp_reply_step {
	SMTP_REPLY_MORE,
	SMTP_REPLY_LINE, // a line of a reply that goes on
	SMTP_REPLY_DONE, // its last line
	SMTP_REPLY_BAD,
};

void smtp_reply_parser_init(struct smtp_reply_parser *p);
// Takes from `in`; *text is the text of the line that has ended, valid until the next call.
must_use enum smtp_reply_step smtp_reply_parse(struct smtp_reply_parser *p, struct span in,
					       uint32_t *taken, struct span *text);

// Sets one line of text; whatever is not printable ASCII becomes '?'.
void smtp_reply_set(struct smtp_reply *r, uint16_t code, const char *enhanced, struct span text);
// Fills in the enhanced code if it is missing or of another class than the code.
void smtp_reply_complete(struct smtp_reply *r);
// As bytes for the wire, CRLF included. `enhanced` "" leaves it out (banner, EHLO, 354).
void smtp_reply_format(const struct smtp_reply *r, struct strbuf *out);
bool smtp_enhanced_is_valid(struct span s, uint32_t class); // "5.7.1", class 5
void smtp_text_clean(struct strbuf *out, struct span text); // appends printable ASCII
