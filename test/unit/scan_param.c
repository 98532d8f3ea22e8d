// SPDX-License-Identifier: Apache-2.0
// Tests of MIME parameters: syntax, comments, RFC 2231, and the readings of what is none of these.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/base/strbuf.h"
#include "scanner/param.h"

// All parameters as "attr[*N][*]=reading|reading" in lines; '!' soft, '!!' hard oddity.
static const char *
text_of(const char *in)
{
	static char mem[4096];
	struct span s = span_str(in);
	uint8_t *copy = malloc(s.n + 1), *work = malloc(2 * s.n + 1);
	struct param_reader r;
	struct param p;
	struct strbuf b;

	memcpy(copy, s.p, s.n);
	strbuf_init(&b, mem, sizeof(mem));
	param_reader_init(&r, span_of(copy, s.n), work, 2 * s.n);
	while (param_next(&r, &p)) {
		strbuf_add(&b, p.attr);
		if (p.section >= 0)
			strbuf_addf(&b, "*%d", p.section);
		strbuf_add_str(&b, p.extended ? "*=" : "=");
		for (uint32_t i = 0; i < p.count; i++) {
			strbuf_add_str(&b, i > 0 ? "|" : "");
			strbuf_add(&b, p.reading[i]);
		}
		strbuf_add_str(&b, p.odd == PARAM_ODD_HARD   ? "!!\n"
				   : p.odd == PARAM_ODD_SOFT ? "!\n"
							     : "\n");
	}
	strbuf_add_str(&b, r.is_odd ? "odd\n" : "");
	strbuf_add_str(&b, r.is_full ? "full\n" : "");
	free(copy);
	free(work);
	return mem;
}

#define CHECK_TEXT(in, want) cr_assert_str_eq(text_of(in), want, "%s gives\n%s", in, text_of(in))

Test(param, syntax)
{
	CHECK_TEXT("", "");
	CHECK_TEXT(";", "");
	CHECK_TEXT("; a=b", "a=b\n");
	CHECK_TEXT(";a=b;c=\"d e\"", "a=b\nc=d e\n");
	CHECK_TEXT(" ; a = b ; c =\t\"d\" ;;", "a=b\nc=d\n");
	CHECK_TEXT("; a=", "a=\n");
	CHECK_TEXT("; a=\"\"", "a=\n");
	CHECK_TEXT("; a=\"x\\\"y\"", "a=x\"y|x\\\"y\n");
	CHECK_TEXT("; a=\"b;c=d\"; e=f", "a=b;c=d\ne=f\n");
	CHECK_TEXT("; boundary=----=_Part_1", "boundary=----=_Part_1\n");
}

Test(param, comments)
{
	CHECK_TEXT("; a=b (comment)", "a=b (comment)|b!\n");
	CHECK_TEXT("; (x) a=b", "a=b\n");
	CHECK_TEXT("; a=\"b\" (c)", "a=b!\n");
	CHECK_TEXT("; a (x) = b", "a=b!!\n");
	CHECK_TEXT("; a((c))=b", "a=b!!\n");
	CHECK_TEXT("; na(c)me=b", "name=b!!\n");
	CHECK_TEXT("; a((c=d;e))=b", "a=b!!\n");
	CHECK_TEXT("; a= (c) b", "a=b!!\n");
	CHECK_TEXT("; a=b(c)d", "a=b(c)d|b|bd!\n");
	CHECK_TEXT("; a=b(c(d)\\)e)f", "a=b(c(d)\\)e)f|b|bf!\n");
	CHECK_TEXT("; a=b(c", "a=b(c|b!\n");
	CHECK_TEXT("; (never closed; a=b", "a=b\nodd\n");
}

Test(param, rfc2231)
{
	CHECK_TEXT("; a*=utf-8''x", "a*=utf-8''x\n");
	CHECK_TEXT("; a*0=x; a*1=y", "a*0=x\na*1=y\n");
	CHECK_TEXT("; a*0*=x; a*10*=y", "a*0*=x\na*10*=y\n");
	CHECK_TEXT("; a*00=x", "a*0=x!!\n");
	CHECK_TEXT("; a*x=y", "a=y!!\n");
	CHECK_TEXT("; a*99999=y", "a=y!!\n");
}

Test(param, odd)
{
	CHECK_TEXT("; a=\"b", "a=b!!\n");
	CHECK_TEXT("; a=\"b; c=d", "a=b; c=d|b!!\nc=d\n");
	CHECK_TEXT("; a=\"b\".exe", "a=b|b.exe!!\n");
	CHECK_TEXT("; a=\"b\" \"c\"; d=e", "a=b|b c!!\nd=e\n");
	CHECK_TEXT("; a=b c", "a=b c|b!\n");
	CHECK_TEXT("; a=b\"c\"", "a=b\"c\"|bc!!\n");
	CHECK_TEXT("; junk; a=b", "a=b\nodd\n");
	CHECK_TEXT("; b a=c", "a=c!!\n"); // a ';' was forgotten
	CHECK_TEXT("; a=file;.exe", "a=file|file;.exe!!\nodd\n");
	CHECK_TEXT("; a=file;.exe; b=c", "a=file|file;.exe!!\nb=c\nodd\n");
	CHECK_TEXT("; @#$; boundary=b",
		   "boundary=b\nodd\n"); // hid what followed in MIME-tools 5.521
}

Test(param, count_is_limited)
{
	char in[8 * (PARAM_COUNT_MAX + 5)];
	uint8_t mem[sizeof(in)];
	struct param_reader r;
	struct param p;
	uint32_t n = 0;

	in[0] = '\0';
	for (int i = 0; i < PARAM_COUNT_MAX + 3; i++)
		memcpy(in + 4 * i, ";a=b", 5);
	param_reader_init(&r, span_str(in), mem, sizeof(mem));
	while (param_next(&r, &p))
		n++;
	cr_assert_eq(n, PARAM_COUNT_MAX);
	cr_assert(r.is_full);
}

static double
seconds_of(const char *unit, uint32_t times)
{
	uint32_t n = (uint32_t)strlen(unit), total = n * times + 4;
	uint8_t *in = malloc(total), *mem = malloc(2 * total);
	struct param_reader r;
	struct param p;
	clock_t t = clock();

	memcpy(in, "; a=", 4);
	for (uint32_t i = 0; i < times; i++)
		memcpy(in + 4 + (size_t)i * n, unit, n);
	param_reader_init(&r, span_of(in, total), mem, 2 * total);
	while (param_next(&r, &p))
		;
	free(in);
	free(mem);
	return (double)(clock() - t) / CLOCKS_PER_SEC;
}

// Unclosed "(" was quadratic elsewhere (MIME-tools 5.521).
Test(param, is_linear)
{
	static const char *const units[] = {"(",  "\"",   "((",  "\\\"", ";a=\"", ";(",
					    "a(", ";a=(", "(\"", ";",    "=",     " "};

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		cr_assert_lt(seconds_of(units[i], 200000), 1.0, "%s", units[i]);
}

static const char *
join_of(const char *in, bool as_written, bool *odd)
{
	static char out[256];
	uint8_t mem[512];
	struct param_join j = {0};
	struct param_reader r;
	struct param p;

	param_reader_init(&r, span_str(in), mem, sizeof(mem));
	while (param_next(&r, &p))
		if (p.section >= 0)
			param_join_add(&j, &p);
	out[param_join_value(&j, as_written, (uint8_t *)out, sizeof(out) - 1)] = '\0';
	*odd = param_join_is_odd(&j);
	return out;
}

Test(param, join)
{
	bool odd;

	cr_assert_str_eq(join_of("; n*0=a; n*1=.exe", false, &odd), "a.exe");
	cr_assert(!odd);
	cr_assert_str_eq(join_of("; n*0*=utf-8'en'caf%C3; n*1*=%A9; n*2=%41", false, &odd),
			 "caf\xc3\xa9%41");
	cr_assert(!odd);
	cr_assert_str_eq(join_of("; n*1=.exe; n*0=a", false, &odd), "a.exe");
	cr_assert(odd);
	cr_assert_str_eq(join_of("; n*1=.exe; n*0=a", true, &odd), ".exea");
	cr_assert_str_eq(join_of("; n*0=a; n*2=b", false, &odd), "ab");
	cr_assert(odd);
	cr_assert_str_eq(join_of("; n*0=a; n*0=b; n*1=c", false, &odd), "ac");
	cr_assert(odd);
	cr_assert_str_eq(join_of("", false, &odd), "");
	cr_assert(!odd);
}

Test(param, join_is_limited)
{
	struct param_join j = {0};
	struct param p = {.section = 0, .count = 1, .reading = {SPAN_LIT("x")}};
	uint8_t out[PARAM_SECTIONS_MAX];

	for (int i = 0; i < PARAM_SECTIONS_MAX; i++, p.section++)
		param_join_add(&j, &p);
	cr_assert(!param_join_is_odd(&j));
	param_join_add(&j, &p);
	cr_assert(j.is_full);
	cr_assert(param_join_is_odd(&j));
	cr_assert_eq(param_join_value(&j, false, out, sizeof(out)), PARAM_SECTIONS_MAX);
	cr_assert_eq(param_join_value(&j, false, out, 10), 10);
}

Test(param, extended)
{
	static const char *const v[][2] = {
		{"utf-8''a%2eexe", "a.exe"},
		{"utf-8'en-US'x.exe", "x.exe"}, // an empty name in
						// MIME-tools 5.521
		{"no head", "no head"},
		{"one'quote", "one'quote"},
		{"''", ""},
		{"", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		char out[64];
		uint32_t n = param_extended_decode(span_str(v[i][0]), (uint8_t *)out, sizeof(out));

		cr_assert(n == strlen(v[i][1]) && memcmp(out, v[i][1], n) == 0, "%s", v[i][0]);
	}
}
