// SPDX-License-Identifier: Apache-2.0
// Tests of header fields: which one, and the address in From.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scanner/rfc5322.h"

static void
check_field(const char *line, enum rfc5322_field want, const char *want_value, bool want_odd)
{
	struct span value;
	bool odd;
	enum rfc5322_field got = rfc5322_field_split(span_str(line), &value, &odd);

	cr_assert_eq(got, want, "'%s' is %d", line, got);
	cr_assert(span_eq(value, span_str(want_value)), "'%s': value '%.*s'", line,
		  SPAN_FMT(value));
	cr_assert_eq(odd, want_odd, "'%s': odd is %d", line, odd);
}

Test(rfc5322, fields)
{
	check_field("From: a", FIELD_FROM, " a", false);
	check_field("SUBJECT:x", FIELD_SUBJECT, "x", false);
	check_field("Received: by", FIELD_RECEIVED, " by", false);
	check_field("content-type: a/b", FIELD_CONTENT_TYPE, " a/b", false);
	check_field("Content-Transfer-Encoding: 7bit", FIELD_CONTENT_ENCODING, " 7bit", false);
	check_field("Content-Disposition:", FIELD_CONTENT_DISPOSITION, "", false);
	check_field("To: b", FIELD_OTHER, " b", false);
	check_field("Fromage: b", FIELD_OTHER, " b", false);
	check_field("X-A: b: c", FIELD_OTHER, " b: c", false);
}

Test(rfc5322, odd_fields)
{
	check_field("Content-Type : a/b", FIELD_CONTENT_TYPE, " a/b", true);
	check_field("From\t: a", FIELD_FROM, " a", true);
	check_field("\xef\xbb\xbf"
		    "From: a",
		    FIELD_FROM, " a", true); // a byte order mark
	check_field("\x01"
		    "Subject\x7f: a",
		    FIELD_SUBJECT, " a", true);
	check_field("", FIELD_NONE, "", false);
	check_field("no colon", FIELD_NONE, "", false);
	check_field(": x", FIELD_NONE, "", false);
	check_field("this is text: yes", FIELD_NONE, " yes", false);
}

static void
check_from(const char *in, const char *want, uint32_t count, bool odd)
{
	char mem[64];
	struct strbuf b;
	struct span s = span_str(in);
	uint8_t *copy = malloc(s.n + 1);
	struct rfc5322_from got;

	memcpy(copy, s.p, s.n);
	strbuf_init(&b, mem, sizeof(mem));
	got = rfc5322_from_parse(span_of(copy, s.n), &b);
	cr_assert_str_eq(mem, want, "'%s' gives '%s'", in, mem);
	cr_assert_eq(got.count, count, "'%s' counts %u", in, got.count);
	cr_assert_eq(got.odd, odd, "'%s': odd is %d", in, got.odd);
	free(copy);
}

Test(rfc5322, from)
{
	check_from(" a@b.example", "a@b.example", 1, false);
	check_from("Joe <a@b.example>", "a@b.example", 1, false);
	check_from("\"Joe, <x@y>\" <a@b.example>", "a@b.example", 1, false);
	check_from("x@y.example <a@b.example>", "a@b.example", 1, false);
	check_from("a@b.example (Joe <x@y>)", "a@b.example", 1, false);
	check_from("<a@b.example> (x", "a@b.example", 1, true);
	check_from("(c) a (c) @ (c) b.example", "a@b.example", 1, false);
	check_from("\"a b\"@c.example", "\"a b\"@c.example", 1, false);
	check_from("<@r1.example,@r2.example:a@b.example>", "a@b.example", 1, false);
	check_from("a@[192.0.2.1]", "a@[192.0.2.1]", 1, false);
	check_from("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", 1, false);
	check_from("team: a@b.example, c@d.example;", "a@b.example", 2, false);
	check_from("a@b.example, Joe <c@d.example>", "a@b.example", 2, false);
}

Test(rfc5322, from_odd)
{
	check_from("", "", 0, false);
	check_from("Joe", "", 0, false);
	check_from("<>", "", 0, false);
	check_from("Joe <a@b.example", "a@b.example", 1, true);
	check_from("<x@y.example> <a@b.example>", "a@b.example", 1, true);
	check_from("\"Joe <a@b.example>", "a@b.example", 1, true);
	check_from("<<a@b.example>", "<a@b.example", 1, true);
	check_from(",,;;", "", 0, false);
}

Test(rfc5322, from_is_bounded)
{
	char in[300], mem[16];
	struct strbuf b;

	memset(in, 'a', sizeof(in));
	in[100] = '@';
	strbuf_init(&b, mem, sizeof(mem));
	cr_assert_eq(rfc5322_from_parse(span_of(in, sizeof(in)), &b).count, 1);
	cr_assert(b.truncated);
	cr_assert_eq(strlen(mem), sizeof(mem) - 1);
}

Test(rfc5322, from_is_linear)
{
	static const char *const units[] = {"(",   "\"", "\\\"", "<", "((", "\"(",
					    "<\"", "@",  ",",    ":", "(<"};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		uint32_t n = (uint32_t)strlen(units[i]), times = 200000;
		uint8_t *in = malloc((size_t)n * times);
		char mem[64];
		struct strbuf b;
		clock_t t = clock();

		for (uint32_t k = 0; k < times; k++)
			memcpy(in + (size_t)k * n, units[i], n);
		strbuf_init(&b, mem, sizeof(mem));
		(void)rfc5322_from_parse(span_of(in, (size_t)n * times), &b);
		cr_assert_lt((double)(clock() - t) / CLOCKS_PER_SEC, 1.0, "%s", units[i]);
		free(in);
	}
}
