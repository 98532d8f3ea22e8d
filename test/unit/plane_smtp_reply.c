// SPDX-License-Identifier: Apache-2.0
// Replies: what is read from backends and what is written to clients.
#include <criterion/criterion.h>
#include <string.h>

#include "dataplane/smtp_reply.h"

struct row {
	const char *in;
	enum smtp_reply_step step; // at the end of `in`
	uint16_t code;
	const char *enhanced, *text;
};

static const struct row rows[] = {
	{"250 ok\r\n", SMTP_REPLY_DONE, 250, "", "ok"},
	{"250\r\n", SMTP_REPLY_DONE, 250, "", ""},
	{"250 \r\n", SMTP_REPLY_DONE, 250, "", ""},
	{"250 2.1.5 ok\r\n", SMTP_REPLY_DONE, 250, "2.1.5", "ok"},
	{"250 2.1.5\r\n", SMTP_REPLY_DONE, 250, "2.1.5", ""},
	{"550 5.7.123 no\r\n", SMTP_REPLY_DONE, 550, "5.7.123", "no"},
	{"550 5.7.1234 no\r\n", SMTP_REPLY_DONE, 550, "", "5.7.1234 no"},
	{"550 4.7.1 no\r\n", SMTP_REPLY_DONE, 550, "", "4.7.1 no"}, // another class than the code
	{"250-2.0.0 a\r\n250-2.0.0 b\r\n250 2.0.0 c\r\n", SMTP_REPLY_DONE, 250, "2.0.0", "a\nb\nc"},
	{"250 a\tb\x80\x7f\r\n", SMTP_REPLY_DONE, 250, "", "a?b??"},
	{"354 go\r\n", SMTP_REPLY_DONE, 354, "", "go"},
	{"", SMTP_REPLY_MORE, 0, NULL, NULL},
	{"250", SMTP_REPLY_MORE, 0, NULL, NULL},
	{"250 ok\r", SMTP_REPLY_MORE, 0, NULL, NULL},
	{"250-ok\r\n", SMTP_REPLY_LINE, 0, NULL, NULL},
	{"250 ok\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"250 o\rk\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"250-a\r\n251 b\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"25\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"150 x\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"650 x\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"260 x\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"25a x\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"250x\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
	{"2500 x\r\n", SMTP_REPLY_BAD, 0, NULL, NULL},
};

static enum smtp_reply_step
feed(struct smtp_reply_parser *p, struct span in)
{
	enum smtp_reply_step step = SMTP_REPLY_MORE;
	while (in.n > 0 && step != SMTP_REPLY_BAD) {
		uint32_t taken = 0;
		struct span text;
		step = smtp_reply_parse(p, in, &taken, &text);
		cr_assert(taken > 0 && taken <= in.n);
		in = span_from(in, taken);
	}
	return step;
}

Test(smtp_reply, table_at_every_split)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span in = span_str(rows[i].in);
		for (uint32_t cut = 0; cut <= in.n; cut++) {
			struct smtp_reply_parser p;
			smtp_reply_parser_init(&p);
			enum smtp_reply_step step = feed(&p, span_sub(in, 0, cut));
			if (cut < in.n && step != SMTP_REPLY_BAD)
				step = feed(&p, span_from(in, cut));
			cr_assert_eq(step, rows[i].step, "row %zu cut %u: %d", i, cut, step);
			if (step != SMTP_REPLY_DONE)
				continue;
			cr_assert_eq(p.reply.code, rows[i].code);
			cr_assert_str_eq(p.reply.enhanced, rows[i].enhanced, "row %zu", i);
			cr_assert_str_eq(p.reply.text, rows[i].text, "row %zu", i);
		}
	}
}

Test(smtp_reply, limits_of_lines)
{
	struct smtp_reply_parser p;
	char line[SMTP_REPLY_LINE_MAX + 8];
	memset(line, 'x', sizeof(line));
	memcpy(line, "250 ", 4);
	smtp_reply_parser_init(&p);
	memcpy(line + SMTP_REPLY_LINE_MAX - 2, "\r\n", 2);
	cr_assert_eq(feed(&p, span_of(line, SMTP_REPLY_LINE_MAX)), SMTP_REPLY_DONE);
	smtp_reply_parser_init(&p);
	memset(line + SMTP_REPLY_LINE_MAX - 2, 'x', 4);
	cr_assert_eq(feed(&p, span_of(line, SMTP_REPLY_LINE_MAX)), SMTP_REPLY_BAD);
	smtp_reply_parser_init(&p);
	for (uint32_t i = 0; i < SMTP_REPLY_LINES_MAX; i++)
		cr_assert_eq(feed(&p, SPAN_LIT("250-line\r\n")), SMTP_REPLY_LINE);
	cr_assert_eq(p.reply.lines, SMTP_REPLY_KEPT);
	cr_assert_eq(feed(&p, SPAN_LIT("250-line\r\n")), SMTP_REPLY_BAD);
}

Test(smtp_reply, the_parser_starts_anew_after_a_reply)
{
	struct smtp_reply_parser p;
	smtp_reply_parser_init(&p);
	cr_assert_eq(feed(&p, SPAN_LIT("250-a\r\n250 2.0.0 b\r\n550 no\r\n")), SMTP_REPLY_DONE);
	cr_assert_eq(p.reply.code, 550);
	cr_assert_eq(p.reply.lines, 1);
	cr_assert_str_eq(p.reply.text, "no");
	cr_assert_str_eq(p.reply.enhanced, "");
}

static void
format(const struct smtp_reply *r, char *mem, uint32_t size)
{
	struct strbuf b;
	strbuf_init(&b, mem, size);
	smtp_reply_format(r, &b);
}

Test(smtp_reply, what_is_written_is_canonical)
{
	struct smtp_reply r;
	char mem[SMTP_REPLY_WIRE_SIZE];
	smtp_reply_set(&r, 550, "5.7.1", SPAN_LIT("no\r\n250 2.0.0 yes\0\xff"));
	format(&r, mem, sizeof(mem));
	cr_assert_str_eq(mem, "550 5.7.1 no??250 2.0.0 yes??\r\n");
	smtp_reply_set(&r, 354, "", SPAN_LIT("go"));
	format(&r, mem, sizeof(mem));
	cr_assert_str_eq(mem, "354 go\r\n");
	char text[2000];
	memset(text, 'x', sizeof(text));
	smtp_reply_set(&r, 250, "2.0.0", span_of(text, sizeof(text)));
	format(&r, mem, sizeof(mem));
	cr_assert_leq(strlen(mem), 512);
}

Test(smtp_reply, longest_reply_of_a_backend_fits)
{
	struct smtp_reply_parser p;
	char line[600], mem[SMTP_REPLY_WIRE_SIZE];
	memset(line, 'x', sizeof(line));
	memcpy(line, "550-5.255.255 ", 14);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	smtp_reply_parser_init(&p);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(feed(&p, span_of(line, sizeof(line))), SMTP_REPLY_LINE);
	line[3] = ' ';
	cr_assert_eq(feed(&p, span_of(line, sizeof(line))), SMTP_REPLY_DONE);
	smtp_reply_complete(&p.reply);
	format(&p.reply, mem, sizeof(mem));
	cr_assert_str_eq(p.reply.enhanced, "5.255.255");
	for (char *at = mem, *end; *at != '\0'; at = end + 2) {
		end = strstr(at, "\r\n");
		cr_assert_not_null(end);
		cr_assert_leq(end + 2 - at, 512);
		cr_assert_eq(at[3], end[2] == '\0' ? ' ' : '-');
	}
}

Test(smtp_reply, enhanced_code_follows_the_code)
{
	struct smtp_reply r;
	smtp_reply_set(&r, 450, "5.7.1", SPAN_LIT("x"));
	smtp_reply_complete(&r);
	cr_assert_str_eq(r.enhanced, "4.0.0");
	smtp_reply_set(&r, 250, "2.1.5", SPAN_LIT("x"));
	smtp_reply_complete(&r);
	cr_assert_str_eq(r.enhanced, "2.1.5");
	cr_assert(!smtp_enhanced_is_valid(SPAN_LIT("5.7"), 5));
	cr_assert(!smtp_enhanced_is_valid(SPAN_LIT("5.7.1 "), 5));
	cr_assert(!smtp_enhanced_is_valid(SPAN_LIT(""), 5));
	cr_assert(smtp_enhanced_is_valid(SPAN_LIT("5.7.1"), 5));
}

// Every byte at every place of texts of every length, into room for less too.
Test(smtp_reply, text_is_printable)
{
	for (uint32_t n = 0; n <= 70; n++)
		for (uint32_t c = 0; c < 256; c++) {
			uint8_t text[70];
			char mem[71], want[71];
			struct strbuf out;
			uint32_t size = 1 + (n + c) % 71;

			for (uint32_t i = 0; i < n; i++) {
				text[i] = (uint8_t)(c + i * (n | 1u));
				want[i] = text[i] >= 0x20 && text[i] <= 0x7e ? (char)text[i] : '?';
			}
			strbuf_init(&out, mem, size);
			smtp_text_clean(&out, span_of(text, n));
			cr_assert_eq(out.len, MIN(n, size - 1));
			cr_assert_eq(out.truncated, n > size - 1);
			cr_assert_arr_eq(mem, want, out.len, "length %u, from byte %u", n, c);
		}
}
