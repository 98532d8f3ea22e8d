// SPDX-License-Identifier: Apache-2.0
// Fuzzes what reads a peer's bytes: commands, backend replies, and the framing of DATA.
//
// The input's first byte chooses (C, R, D), the second is the size of the pieces; the rest is the
// peer's. Each is read twice, whole and in pieces: the outcome must be the same, and what comes out
// canonical.
#include <stdlib.h>
#include <string.h>

#include "dataplane/smtp_command.h"
#include "dataplane/smtp_data.h"
#include "dataplane/smtp_reply.h"

#define OUT_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct out { // a digest of an outcome, as text
	struct strbuf b;
	char mem[OUT_MAX];
};

static void
one_command(struct out *o, struct span line)
{
	struct smtp_command c;
	smtp_command_parse(line, &c);
	const struct smtp_refusal *no = NULL;
	if (c.verb == SMTP_VERB_MAIL)
		no = smtp_parse_mail(&c, line.n % 2 == 0);
	else if (c.verb == SMTP_VERB_RCPT)
		no = smtp_parse_rcpt(&c);
	else if (c.verb == SMTP_VERB_HELO || c.verb == SMTP_VERB_EHLO)
		no = smtp_parse_helo(&c);
	strbuf_addf(&o->b, "%u %u ", c.verb, no != NULL ? no->code : 0);
	if (no != NULL || c.verb >= SMTP_VERB_COUNT)
		return;
	CHECK(c.address.n <= SMTP_ADDRESS_MAX);
	CHECK(c.helo.n <= SMTP_HELO_MAX);
	for (uint32_t i = 0; i < c.address.n; i++)
		CHECK(c.address.p[i] >= 0x20 && c.address.p[i] <= 0x7e);
	for (uint32_t i = 0; i < c.helo.n; i++)
		CHECK(c.helo.p[i] > 0x20 && c.helo.p[i] <= 0x7e);
	CHECK(smtp_address_domain(c.address).n <= c.address.n);
	if (c.verb != SMTP_VERB_MAIL && c.verb != SMTP_VERB_RCPT)
		return;
	// What we would write to the backend must be read as the same address.
	char again[SMTP_ADDRESS_MAX + 32];
	struct strbuf b;
	struct smtp_command d;
	strbuf_init(&b, again, sizeof(again));
	strbuf_addf(&b, "%s:<", c.verb == SMTP_VERB_MAIL ? "MAIL FROM" : "RCPT TO");
	strbuf_add(&b, c.address);
	strbuf_add_str(&b, ">");
	CHECK(!b.truncated);
	smtp_command_parse(strbuf_span(&b), &d);
	no = d.verb == SMTP_VERB_MAIL ? smtp_parse_mail(&d, true) : smtp_parse_rcpt(&d);
	CHECK(no == NULL);
	CHECK(span_eq(c.address, d.address));
	strbuf_add(&o->b, c.address);
}

static void
commands(struct out *o, struct span in, uint32_t piece)
{
	struct pool pool;
	struct smtp_line *buf = NULL;
	enum smtp_frame f = SMTP_FRAME_MORE;
	CHECK(pool_init(&pool, &mem_heap, "lines", sizeof(struct smtp_line), 1));
	while (in.n > 0 && (f == SMTP_FRAME_MORE || f == SMTP_FRAME_LINE || f == SMTP_FRAME_LONG)) {
		struct span line = SPAN_NONE, some = span_sub(in, 0, piece);
		uint32_t taken = 0;
		f = smtp_line_take(&buf, &pool, some, &taken, &line);
		CHECK(taken > 0 && taken <= some.n);
		in = span_from(in, taken);
		if (f == SMTP_FRAME_MORE)
			continue;
		strbuf_addf(&o->b, "[%u] ", f);
		if (f == SMTP_FRAME_LINE)
			one_command(o, line);
		smtp_line_done(&buf, &pool);
	}
	smtp_line_done(&buf, &pool);
	CHECK(pool.used == 0);
	pool_fini(&pool);
}

static void
replies(struct out *o, struct span in, uint32_t piece)
{
	static struct smtp_reply_parser p;
	enum smtp_reply_step step = SMTP_REPLY_MORE;
	smtp_reply_parser_init(&p);
	while (in.n > 0 && step != SMTP_REPLY_BAD) {
		struct span text, some = span_sub(in, 0, piece);
		uint32_t taken = 0;
		step = smtp_reply_parse(&p, some, &taken, &text);
		CHECK(taken > 0 && taken <= some.n);
		in = span_from(in, taken);
		if (step == SMTP_REPLY_MORE)
			continue;
		strbuf_addf(&o->b, "[%u] ", step);
		strbuf_add(&o->b, text);
		if (step != SMTP_REPLY_DONE)
			continue;
		char wire[SMTP_REPLY_WIRE_SIZE];
		struct strbuf w;
		strbuf_init(&w, wire, sizeof(wire));
		CHECK(p.reply.lines >= 1 && p.reply.lines <= SMTP_REPLY_KEPT);
		smtp_reply_complete(&p.reply);
		smtp_reply_format(&p.reply, &w);
		for (uint32_t i = 0; i < w.len; i++)
			CHECK((wire[i] >= 0x20 && wire[i] <= 0x7e) ||
			      (wire[i] == '\r' && wire[i + 1] == '\n') ||
			      (wire[i] == '\n' && wire[i - 1] == '\r'));
		strbuf_add(&o->b, strbuf_span(&w));
	}
}

static void
body(struct out *o, struct span in, uint32_t piece)
{
	enum smtp_data_state d;
	enum smtp_data_step step = SMTP_DATA_MORE;
	smtp_data_init(&d);
	uint8_t last = '\n';
	while (in.n > 0 && step == SMTP_DATA_MORE) {
		struct span some = span_sub(in, 0, piece);
		struct smtp_data_run run;
		uint32_t taken = 0;
		step = smtp_data_next(&d, some, &taken, &run);
		CHECK(taken > 0 || run.bytes.n > 0 || step != SMTP_DATA_MORE);
		in = span_from(in, taken);
		for (uint32_t i = 0; i < run.bytes.n; i++) {
			uint8_t c = run.bytes.p[i];
			CHECK(c != 0);
			CHECK((last == '\r') == (c == '\n'));
			last = c;
		}
		strbuf_add(&o->b, run.bytes);
	}
	CHECK(step != SMTP_DATA_END || last == '\n');
	strbuf_addf(&o->b, "[%u %u]", step, in.n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct out whole, pieces;
	if (size < 3 || size > OUT_MAX / 8)
		return 0;
	struct span in = span_of(data + 2, size - 2);
	uint32_t piece = data[1] == 0 ? 1 : data[1];
	strbuf_init(&whole.b, whole.mem, sizeof(whole.mem));
	strbuf_init(&pieces.b, pieces.mem, sizeof(pieces.mem));
	void (*read)(struct out *, struct span, uint32_t) = data[0] == 'C'   ? commands
							    : data[0] == 'R' ? replies
									     : body;
	read(&whole, in, in.n);
	read(&pieces, in, piece);
	if (read == body) {
		// Of the line that has not ended, how much is certain depends on the cuts; the
		// outcome does not.
		char *a = strrchr(whole.mem, '['), *b = strrchr(pieces.mem, '[');
		CHECK(a != NULL && b != NULL);
		CHECK(strcmp(a, b) == 0);
		return 0;
	}
	CHECK(whole.b.truncated == pieces.b.truncated);
	CHECK(span_eq(strbuf_span(&whole.b), strbuf_span(&pieces.b)));
	return 0;
}
