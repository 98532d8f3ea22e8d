// SPDX-License-Identifier: Apache-2.0
// Commands: framing at every split point, verbs, paths, parameters.
#include <criterion/criterion.h>
#include <string.h>

#include "control/base/rng.h"
#include "control/base/strbuf.h"
#include "dataplane/smtp_command.h"

struct frame_row {
	const char *in;
	uint32_t n;
	enum smtp_frame end; // after all complete lines
	uint32_t lines;      // complete before that
	const char *last;    // the last complete one
};

#define IN(s) s, sizeof(s) - 1
static const struct frame_row frame_rows[] = {
	{IN("NOOP\r\n"), SMTP_FRAME_MORE, 1, "NOOP"},
	{IN("\r\n"), SMTP_FRAME_MORE, 1, ""},
	{IN("A\r\nBC\r\nD"), SMTP_FRAME_MORE, 2, "BC"},
	{IN("A\r\nBC\r\nD\r"), SMTP_FRAME_MORE, 2, "BC"},
	{IN("A\n"), SMTP_FRAME_BARE_LF, 0, ""},
	{IN("A\r\nB\nC\r\n"), SMTP_FRAME_BARE_LF, 1, "A"},
	{IN("A\rB\r\n"), SMTP_FRAME_BARE_CR, 0, ""},
	{IN("A\r\r\n"), SMTP_FRAME_BARE_CR, 0, ""},
	{IN("A\r\0\n"), SMTP_FRAME_BARE_CR, 0, ""},
	{IN("A\0\r\n"), SMTP_FRAME_NUL, 0, ""},
	{IN("\n\r"), SMTP_FRAME_BARE_LF, 0, ""},
};

static struct pool lines;

static void
setup(void)
{
	cr_assert(pool_init(&lines, &mem_heap, "lines", sizeof(struct smtp_line), 2));
}

static void
teardown(void)
{
	pool_fini(&lines);
}

TestSuite(smtp_command, .init = setup, .fini = teardown);

struct frame_run {
	struct smtp_line *buf;
	enum smtp_frame end;
	uint32_t count;
	char last[SMTP_LINE_MAX];
};

static void
frame_feed(struct frame_run *r, struct span in)
{
	while (in.n > 0 && (r->end == SMTP_FRAME_MORE || r->end == SMTP_FRAME_LINE)) {
		struct span line = SPAN_NONE;
		uint32_t taken = 0;
		r->end = smtp_line_take(&r->buf, &lines, in, &taken, &line);
		cr_assert(taken > 0 && taken <= in.n);
		in = span_from(in, taken);
		if (r->end == SMTP_FRAME_LINE) {
			r->count++;
			cr_assert_lt(line.n, sizeof(r->last));
			memcpy(r->last, line.p, line.n);
			r->last[line.n] = '\0';
			smtp_line_done(&r->buf, &lines);
			r->end = SMTP_FRAME_MORE;
		}
	}
}

Test(smtp_command, framing_at_every_pair_of_splits)
{
	for (size_t i = 0; i < ARRAY_LEN(frame_rows); i++) {
		const struct frame_row *row = &frame_rows[i];
		struct span in = span_of(row->in, row->n);
		for (uint32_t a = 0; a <= in.n; a++)
			for (uint32_t b = a; b <= in.n; b++) {
				struct frame_run r = {.end = SMTP_FRAME_MORE};
				frame_feed(&r, span_sub(in, 0, a));
				frame_feed(&r, span_sub(in, a, b - a));
				frame_feed(&r, span_from(in, b));
				smtp_line_done(&r.buf, &lines);
				cr_assert_eq(r.end, row->end, "row %zu cut %u %u: %d", i, a, b,
					     r.end);
				cr_assert_eq(r.count, row->lines);
				cr_assert_str_eq(r.last, row->last);
			}
	}
	cr_assert_eq(lines.used, 0);
}

Test(smtp_command, long_lines_end_and_the_next_is_read)
{
	static char text[5000];
	memset(text, 'x', sizeof(text));
	for (uint32_t n = SMTP_LINE_MAX - 2; n < SMTP_LINE_MAX + 3; n++)
		for (uint32_t piece = 1; piece < 3000; piece += 331) {
			struct frame_run r = {.end = SMTP_FRAME_MORE};
			for (uint32_t at = 0; at < n; at += piece)
				frame_feed(&r, span_of(text + at, MIN(piece, n - at)));
			cr_assert_eq(r.end, SMTP_FRAME_MORE);
			frame_feed(&r, SPAN_LIT("\r"));
			frame_feed(&r, SPAN_LIT("\n"));
			if (n + 2 > SMTP_LINE_MAX)
				cr_assert_eq(r.end, SMTP_FRAME_LONG, "%u by %u", n, piece);
			else
				cr_assert_eq(r.count, 1);
			smtp_line_done(&r.buf, &lines);
			r.end = SMTP_FRAME_MORE;
			frame_feed(&r, SPAN_LIT("NOOP\r\n"));
			cr_assert_str_eq(r.last, "NOOP");
		}
	// A fault in the part that is not kept is still a fault.
	struct frame_run r = {.end = SMTP_FRAME_MORE};
	frame_feed(&r, span_of(text, sizeof(text)));
	frame_feed(&r, SPAN_LIT("\n"));
	cr_assert_eq(r.end, SMTP_FRAME_BARE_LF);
	smtp_line_done(&r.buf, &lines);
	r.end = SMTP_FRAME_MORE;
	frame_feed(&r, span_of(text, sizeof(text)));
	frame_feed(&r, SPAN_LIT("\r"));
	frame_feed(&r, SPAN_LIT("x"));
	cr_assert_eq(r.end, SMTP_FRAME_BARE_CR);
	smtp_line_done(&r.buf, &lines);
}

Test(smtp_command, an_empty_pool_is_told)
{
	struct smtp_line *buf[3] = {NULL};
	enum smtp_frame f = SMTP_FRAME_MORE;
	for (uint32_t i = 0; i < 3; i++) {
		struct span line;
		uint32_t taken = 0;
		f = smtp_line_take(&buf[i], &lines, SPAN_LIT("NO"), &taken, &line);
	}
	cr_assert_eq(f, SMTP_FRAME_SHED);
	for (uint32_t i = 0; i < 3; i++)
		smtp_line_done(&buf[i], &lines);
}

Test(smtp_command, verbs)
{
	struct smtp_command c;
	smtp_command_parse(SPAN_LIT("  eHlO   a b  "), &c);
	cr_assert_eq(c.verb, SMTP_VERB_EHLO);
	cr_assert(span_eq(c.args, SPAN_LIT("a b")));
	smtp_command_parse(SPAN_LIT("QUIT"), &c);
	cr_assert_eq(c.verb, SMTP_VERB_QUIT);
	cr_assert_eq(c.args.n, 0);
	smtp_command_parse(SPAN_LIT("STARTTLS"), &c);
	cr_assert_eq(c.verb, SMTP_VERB_KNOWN);
	smtp_command_parse(SPAN_LIT("QUITX"), &c);
	cr_assert_eq(c.verb, SMTP_VERB_UNKNOWN);
	smtp_command_parse(SPAN_LIT("QUIT\t"), &c);
	cr_assert_eq(c.verb, SMTP_VERB_UNKNOWN);
	smtp_command_parse(SPAN_LIT(""), &c);
	cr_assert_eq(c.verb, SMTP_VERB_UNKNOWN);
}

struct path_row {
	const char *line;
	uint16_t code; // 0: good
	const char *enhanced, *address;
};

static const struct path_row path_rows[] = {
	{"MAIL FROM:<a@b.example>", 0, "", "a@b.example"},
	{"MAIL FROM:<>", 0, "", ""},
	{"MAIL FROM: <>", 0, "", ""},
	{"mail from :  <a@b.example>", 0, "", "a@b.example"},
	{"MAIL FROM:<a@[192.0.2.1]>", 0, "", "a@[192.0.2.1]"},
	{"MAIL FROM:<a@[IPv6:2001:db8::1]>", 0, "", "a@[IPv6:2001:db8::1]"},
	{"MAIL FROM:<\"a b\"@c.example>", 0, "", "\"a b\"@c.example"},
	{"MAIL FROM:<\"a\\\"@\\>b\"@c.example>", 0, "", "\"a\\\"@\\>b\"@c.example"},
	{"MAIL FROM:<@x.example:a@b.example>", 0, "", "a@b.example"},
	{"MAIL FROM:<@x.example,@y.example:a@b.example>", 0, "", "a@b.example"},
	{"MAIL FROM:<a_b+c=d@e-f_g.example> SIZE=5", 0, "", "a_b+c=d@e-f_g.example"},
	{"MAIL FROM:<a@b.example>SIZE=5", 501, "5.1.7", ""},
	{"MAIL FROM:<a@b.example", 501, "5.1.7", ""},
	{"MAIL FROM:<a@b.example >", 501, "5.1.7", ""},
	{"MAIL FROM:< a@b.example>", 501, "5.1.7", ""},
	{"MAIL FROM:<a@b.example.>", 501, "5.1.7", ""},
	{"MAIL FROM:<a@.b.example>", 501, "5.1.7", ""},
	{"MAIL FROM:<a@[]>", 501, "5.1.7", ""},
	{"MAIL FROM:<a@[1 2]>", 501, "5.1.7", ""},
	{"MAIL FROM:<a b@c.example>", 501, "5.1.7", ""},
	{"MAIL FROM:<\"a@c.example>", 501, "5.1.7", ""},
	{"MAIL FROM:<\"a\\", 501, "5.1.7", ""},
	{"MAIL FROM:<\"a\"b@c.example>", 501, "5.1.7", ""},
	{"MAIL FROM:<@x.example:>", 501, "5.1.7", ""},
	{"MAIL FROM:<@x.example,a@b.example>", 501, "5.1.7", ""},
	{"MAIL FROM:<<a@b.example>>", 501, "5.1.7", ""},
	{"MAIL FROM:<", 501, "5.1.7", ""},
	{"MAIL FROM:", 501, "5.1.7", ""},
	{"MAIL FROM", 501, "5.5.2", ""},
	{"MAIL", 501, "5.5.2", ""},
	{"MAIL TO:<a@b.example>", 501, "5.5.2", ""},
	{"MAIL FROM:<postmaster>", 501, "5.1.7", ""},
	{"MAIL FROM:<a@b.example> \xc3\xa4", 553, "5.6.7", ""},
	{"MAIL FROM:<a@b.example> SIZE", 501, "5.5.4", ""},
	{"MAIL FROM:<a@b.example> SIZE=-1", 501, "5.5.4", ""},
	{"MAIL FROM:<a@b.example> SIZE=111111111111111111111", 501, "5.5.4", ""},
	{"MAIL FROM:<a@b.example> BODY=8BITMIME BODY=7BIT", 501, "5.5.4", ""},
	{"MAIL FROM:<a@b.example> RET=HDRS", 555, "5.5.4", ""},
	{"MAIL FROM:<a@b.example> =x", 555, "5.5.4", ""},
	{"RCPT TO:<a@b.example>", 0, "", "a@b.example"},
	{"RCPT TO:<POSTMASTER>", 0, "", "POSTMASTER"},
	{"RCPT TO:<>", 501, "5.1.3", ""},
	{"RCPT TO:<a>", 501, "5.1.3", ""},
	{"RCPT TO:<a@b.example> X", 555, "5.5.4", ""},
	{"RCPT TO:<a@b.example>X", 501, "5.1.3", ""},
	{"RCPT TO:a@b.example", 501, "5.1.3", ""},
	{"HELO x", 0, "", ""},
	{"EHLO [192.0.2.1]", 0, "", ""},
	{"EHLO [IPv6:2001:db8::1]", 0, "", ""},
	{"HELO [IPv6:fe80::1]", 0, "", ""},
	{"HELO", 501, "5.5.2", ""},
	{"HELO a b", 501, "5.5.2", ""},
	{"EHLO \x80", 501, "5.5.2", ""},
};

static const struct smtp_refusal *
parse(struct span line, struct smtp_command *c)
{
	smtp_command_parse(line, c);
	if (c->verb == SMTP_VERB_MAIL)
		return smtp_parse_mail(c, true);
	if (c->verb == SMTP_VERB_RCPT)
		return smtp_parse_rcpt(c);
	return smtp_parse_helo(c);
}

Test(smtp_command, paths)
{
	for (size_t i = 0; i < ARRAY_LEN(path_rows); i++) {
		struct smtp_command c;
		const struct smtp_refusal *no = parse(span_str(path_rows[i].line), &c);
		cr_assert_eq(no != NULL ? no->code : 0, path_rows[i].code, "%s", path_rows[i].line);
		if (no != NULL)
			cr_assert_str_eq(no->enhanced, path_rows[i].enhanced, "%s",
					 path_rows[i].line);
		else
			cr_assert(span_eq(c.address, span_str(path_rows[i].address)), "%s",
				  path_rows[i].line);
	}
}

Test(smtp_command, address_lengths)
{
	char line[600];
	struct smtp_command c;
	struct strbuf b;
	for (uint32_t local = 63; local <= 66; local++)
		for (uint32_t domain = 185; domain <= 192; domain++) {
			strbuf_init(&b, line, sizeof(line));
			strbuf_add_str(&b, "RCPT TO:<");
			for (uint32_t i = 0; i < local; i++)
				strbuf_add_char(&b, 'l');
			strbuf_add_char(&b, '@');
			for (uint32_t i = 0; i < domain; i++)
				strbuf_add_char(&b, 'd');
			strbuf_add_char(&b, '>');
			bool fits =
				local <= SMTP_LOCAL_MAX && local + 1 + domain <= SMTP_ADDRESS_MAX;
			cr_assert_eq(parse(strbuf_span(&b), &c) == NULL, fits, "%u %u", local,
				     domain);
		}
}

Test(smtp_command, parameters)
{
	struct smtp_command c;
	cr_assert_null(parse(SPAN_LIT("MAIL FROM:<> size=1000 body=8bitmime"), &c));
	cr_assert_eq(c.size, 1000);
	cr_assert_eq(c.body, SMTP_BODY_8BITMIME);
	cr_assert_null(parse(SPAN_LIT("MAIL FROM:<> BODY=7BIT"), &c));
	cr_assert_eq(c.body, SMTP_BODY_7BIT);
	cr_assert_null(parse(SPAN_LIT("MAIL FROM:<> SIZE=99999999999999999999"), &c));
	cr_assert_eq(c.size, UINT64_MAX);
	smtp_command_parse(SPAN_LIT("MAIL FROM:<> BODY=7BIT"), &c);
	const struct smtp_refusal *no = smtp_parse_mail(&c, false);
	cr_assert_not_null(no);
	cr_assert_eq(no->code, 555);
}

Test(smtp_command, domains)
{
	cr_assert(span_eq(smtp_address_domain(SPAN_LIT("a@b.example")), SPAN_LIT("b.example")));
	cr_assert(
		span_eq(smtp_address_domain(SPAN_LIT("\"a@x\"@b.example")), SPAN_LIT("b.example")));
	cr_assert_eq(smtp_address_domain(SPAN_LIT("postmaster")).n, 0);
	cr_assert_eq(smtp_address_domain(SPAN_NONE).n, 0);
}

// What comes through goes to the backend as it is: nothing in it may end a path, a line or a
// string.
Test(smtp_command, random_lines_give_safe_addresses)
{
	static const char alphabet[] = "<>@\"\\.:, ab[]\t=-_;()";
	struct rng r;
	rng_init(&r, 99);
	uint32_t good = 0;
	for (uint32_t round = 0; round < 300000; round++) {
		char line[64] = "RCPT TO:<a";
		uint32_t n = rng_chance(&r, 500000) ? 9 : 10, most = n + 1 + rng_below(&r, 14);
		for (; n < most; n++)
			line[n] = alphabet[rng_below(&r, sizeof(alphabet) - 1)];
		struct strbuf b;
		line[n] = '\0';
		strbuf_init(&b, line + n, sizeof(line) - n);
		strbuf_add_str(&b, rng_chance(&r, 700000) ? "@b>" : ">");
		struct smtp_command c;
		if (parse(span_str(line), &c) != NULL)
			continue;
		good++;
		char again[64];
		strbuf_init(&b, again, sizeof(again));
		strbuf_addf(&b, "RCPT TO:<%.*s>", SPAN_FMT(c.address));
		struct smtp_command d;
		cr_assert_null(parse(strbuf_span(&b), &d), "%s -> %s", line, again);
		cr_assert(span_eq(c.address, d.address));
	}
	cr_assert_gt(good, 100);
}
