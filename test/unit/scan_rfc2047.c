// SPDX-License-Identifier: Apache-2.0
// Tests of encoded words.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scanner/rfc2047.h"

static void
check(const char *in, const char *want, uint32_t found)
{
	struct span s = span_str(in);
	uint8_t *out = malloc(s.n + 1); // as large as it must be, and not larger
	uint32_t n = 0, got = rfc2047_decode(s, out, s.n, &n);

	cr_assert(n == strlen(want) && memcmp(out, want, n) == 0, "'%s' gives '%.*s', not '%s'", in,
		  (int)n, (const char *)out, want);
	cr_assert_eq(got, found, "'%s' finds %u", in, got);
	free(out);
}

Test(rfc2047, words)
{
	check("", "", 0);
	check("plain text", "plain text", 0);
	check("=?utf-8?Q?caf=C3=A9?=", "caf\xc3\xa9", RFC2047_WORD);
	check("=?UTF-8?q?a_b?=", "a b", RFC2047_WORD);
	check("=?utf-8?B?Y2Fmw6k=?=", "caf\xc3\xa9", RFC2047_WORD);
	check("=?iso-8859-1?q?caf=E9?=", "caf\xe9", RFC2047_WORD);
	check("=?utf-8*en?q?hello?=", "hello", RFC2047_WORD); // RFC 2231 5
	check("re: =?utf-8?q?x?= y", "re: x y", RFC2047_WORD);
	check("=?utf-8?q?"
	      "?=",
	      "", RFC2047_WORD);
}

// RFC 2047 8: blanks between two words are not part of the text.
Test(rfc2047, neighbours)
{
	check("=?utf-8?q?a?= =?utf-8?q?b?=", "ab", RFC2047_WORD);
	check("=?utf-8?q?a?=\r\n \t=?utf-8?q?b?=", "ab", RFC2047_WORD);
	check("=?utf-8?q?a?= c =?utf-8?q?b?=", "a c b", RFC2047_WORD);
	check("=?utf-8?q?a?= ", "a ", RFC2047_WORD);
	check("=?utf-8?q?a_?= =?utf-8?q?b?=", "a b", RFC2047_WORD);
	check("=?utf-8?b?YQ==?= =?utf-8?b?Yg==?=", "ab", RFC2047_WORD);
}

Test(rfc2047, odd)
{
	check("ab=?utf-8?q?.exe?=", "ab.exe", RFC2047_WORD | RFC2047_ODD); // inside a word
	check("=?utf-8?q?a=?= x", "a= x", RFC2047_WORD | RFC2047_ODD);
	check("=?utf-8?q?a=zz?=", "a=zz", RFC2047_WORD | RFC2047_ODD);
	check("=?utf-8?q?what?ever?=", "what?ever", RFC2047_WORD | RFC2047_ODD);
	check("=?utf-8?b?Y!Q==?=", "a", RFC2047_WORD | RFC2047_ODD);
	check("=?utf-8?x?abc?=", "=?utf-8?x?abc?=", RFC2047_ODD);
	check("=?utf-8?q?no end", "=?utf-8?q?no end", RFC2047_ODD);
	check("=?", "=?", RFC2047_ODD);
	check("=?utf-8?q", "=?utf-8?q", RFC2047_ODD);
	check("=??q?a?=", "a", RFC2047_WORD);
	check("=", "=", 0);
	check("=?a b?q?c?=", "=?a b?q?c?=", RFC2047_ODD);
}

Test(rfc2047, charsets)
{
	check("=?utf-7?q?+ADw-?=", "+ADw-", RFC2047_WORD | RFC2047_CHARSET);
	cr_assert(rfc2047_charset_is_opaque(SPAN_LIT("UTF-16LE")));
	cr_assert(rfc2047_charset_is_opaque(SPAN_LIT("utf-7")));
	cr_assert(!rfc2047_charset_is_opaque(SPAN_LIT("utf-8")));
	cr_assert(!rfc2047_charset_is_opaque(SPAN_LIT("iso-2022-jp")));
	cr_assert(!rfc2047_charset_is_opaque(SPAN_NONE));
}

static double
seconds_of(const char *unit, uint32_t times)
{
	uint32_t n = (uint32_t)strlen(unit), len;
	uint8_t *in = malloc((size_t)n * times), *out = malloc((size_t)n * times);
	clock_t t = clock();

	for (uint32_t i = 0; i < times; i++)
		memcpy(in + (size_t)i * n, unit, n);
	(void)rfc2047_decode(span_of(in, (size_t)n * times), out, n * times, &len);
	cr_assert_leq(len, n * times);
	free(in);
	free(out);
	return (double)(clock() - t) / CLOCKS_PER_SEC;
}

// "=?" x 8000 and its relatives (128 MB in MIME-tools 5.521) take time in proportion.
Test(rfc2047, is_linear)
{
	static const char *const units[] = {"=?",      "=?a?q?", "=?a?q?x",
					    "=?a?q??", "=?=",    "=?a?b?=?"};

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		cr_assert_lt(seconds_of(units[i], 1000000), 1.0, "%s", units[i]);
}
