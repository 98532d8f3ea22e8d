// SPDX-License-Identifier: Apache-2.0
// Tests of the transfer decoders: vectors, errors, every cut, every size of the output.
#include <criterion/criterion.h>
#include <string.h>

#include "scanner/decode.h"

struct vector {
	const char *in, *out;
	bool bad;
};

// Feeds `in` cut at `cut`, with room for `room` bytes of output at a time.
static void
check(enum decode_kind kind, const struct vector *v, uint32_t cut, uint32_t room)
{
	struct span in = span_str(v->in), part[2];
	uint8_t out[256];
	uint32_t n = 0;
	struct decode d;

	part[0] = span_sub(in, 0, cut);
	part[1] = span_from(in, cut);
	decode_init(&d, kind);
	for (int i = 0; i < 2; i++) {
		uint32_t at = 0, idle = 0;

		while (at < part[i].n) {
			uint32_t taken, got;

			got = decode_feed(&d, span_from(part[i], at), &taken, out + n, room);
			cr_assert_leq(got, room);
			idle = got + taken == 0 ? idle + 1 : 0;
			cr_assert(idle == 0, "no progress in '%s'", v->in);
			n += got;
			at += taken;
		}
	}
	n += decode_end(&d, out + n);
	cr_assert(n == strlen(v->out) && memcmp(out, v->out, n) == 0,
		  "'%s' gives '%.*s', not '%s' (cut %u)", v->in, (int)n, (const char *)out, v->out,
		  cut);
	cr_assert(d.bad == v->bad, "'%s': bad is %d (cut %u)", v->in, d.bad, cut);
}

static void
check_all(enum decode_kind kind, const struct vector *v, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (uint32_t cut = 0; cut <= strlen(v[i].in); cut++)
			for (uint32_t room = 3; room < 8; room++)
				check(kind, &v[i], cut, room);
}

Test(decode, base64)
{
	static const struct vector v[] = {
		// RFC 4648 10
		{"", "", false},
		{"Zg==", "f", false},
		{"Zm8=", "fo", false},
		{"Zm9v", "foo", false},
		{"Zm9vYg==", "foob", false},
		{"Zm9vYmE=", "fooba", false},
		{"Zm9vYmFy", "foobar", false},
		// lines, blanks
		{"Zm9v\r\nYmFy\r\n", "foobar", false},
		{" Z m\t9v\nYm\r\nFy", "foobar", false},
		{"Zm9vYg=\r\n=\r\n", "foob", false},
		// letters that do not belong there are left out, as RFC 2045 wants
		{"Zm9v!YmFy", "foobar", true},
		{"Zm-9v", "foo", true},
		// no padding, one digit left over
		{"Zm8", "fo", true},
		{"Zg", "f", true},
		{"Zm9vY", "foo", true},
		// padding in the middle: what follows counts, for some
		{"Zg==Zm9v", "ffoo", true},
		{"Zm8=Zm9v\r\n", "fofoo", true},
		{"=Zm9v", "foo", true},
		{"Z===", "", true},
		{"Zm9v====", "foo", true},
	};
	check_all(DECODE_BASE64, v, ARRAY_LEN(v));
}

Test(decode, base64_of_all_bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t text[1024], out[1024];
	uint32_t n = 0, taken, got;
	struct decode d;

	for (uint32_t i = 0; i < 256; i += 3) { // 258 bytes: 0..255, 0, 1
		uint32_t v = (i & 255) << 16 | ((i + 1) & 255) << 8 | ((i + 2) & 255);

		for (int k = 3; k >= 0; k--)
			text[n++] = (uint8_t)digits[v >> (6 * k) & 63];
	}
	decode_init(&d, DECODE_BASE64);
	got = decode_feed(&d, span_of(text, n), &taken, out, sizeof(out));
	cr_assert_eq(taken, n);
	cr_assert_eq(got, 258);
	for (uint32_t i = 0; i < got; i++)
		cr_assert_eq(out[i], (uint8_t)i);
	cr_assert(!d.bad);
}

Test(decode, quoted_printable)
{
	static const struct vector v[] = {
		{"", "", false},
		{"plain text\r\n", "plain text\r\n", false},
		{"caf=C3=A9", "caf\xc3\xa9", false},
		{"caf=c3=a9", "caf\xc3\xa9", false},
		{"soft=\r\nbreak", "softbreak", false},
		{"soft=\nbreak", "softbreak", false},
		{"soft= \t\r\nbreak", "softbreak", false},
		{"=3D=3d", "==", false},
		{"at the end=", "at the end", false},
		{"at the end=\r\n", "at the end", false},
		// no escapes: shown as they are
		{"a=b", "a=b", true},
		{"a=4x", "a=4x", true},
		{"a=4", "a=4", true},
		{"a==42", "a=B", true},
		{"a=4=42", "a=4B", true},
		{"a= b", "a= b", true},
		{"a=\rb", "a=\rb", true},
		{"a=\r=42", "a=\rB", true},
	};
	check_all(DECODE_QP, v, ARRAY_LEN(v));
}

Test(decode, identity)
{
	static const struct vector v[] = {{"", "", false}, {"a=b\r\n\xff", "a=b\r\n\xff", false}};
	check_all(DECODE_IDENTITY, v, ARRAY_LEN(v));
}

// The caller is told where it went wrong, once.
Test(decode, stops_at_the_bad_byte)
{
	struct decode d;
	uint8_t out[64];
	uint32_t taken;

	decode_init(&d, DECODE_BASE64);
	(void)decode_feed(&d, SPAN_LIT("Zm9v!!Zm9v"), &taken, out, sizeof(out));
	cr_assert_eq(taken, 5);
	cr_assert(d.bad);
	(void)decode_feed(&d, SPAN_LIT("!Zm9v"), &taken, out, sizeof(out));
	cr_assert_eq(taken, 5);
	decode_init(&d, DECODE_QP);
	(void)decode_feed(&d, SPAN_LIT("a=zb=z"), &taken, out, sizeof(out));
	cr_assert_eq(taken, 2);
	cr_assert(d.bad);
}

Test(decode, percent)
{
	static const struct vector v[] = {
		{"", "", false},         {"a%2Eexe", "a.exe", false}, {"%41%62", "Ab", false},
		{"100%", "100%", false}, {"%4", "%4", false},         {"%zz%2", "%zz%2", false},
		{"%%41", "%A", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		uint8_t out[64];
		uint32_t n = decode_percent(span_str(v[i].in), out, sizeof(out));

		cr_assert(n == strlen(v[i].out) && memcmp(out, v[i].out, n) == 0, "%s", v[i].in);
	}
}

typedef uint32_t (*fold_fn)(uint8_t *p, uint32_t n, bool *blank);

// Against the definition, for every place in a block and every cut.
static void
check_fold(fold_fn fold)
{
	static const char letters[] = "ab \t\r\n";
	uint32_t seed = 1;

	for (uint32_t round = 0; round < 20000; round++) {
		char in[200], want[200], got[200];
		uint32_t n = round % 200, w = 0, g, cut = n > 0 ? round % n : 0;
		bool before = false, blank = false;

		for (uint32_t i = 0; i < n; i++) {
			bool is_blank;

			seed = seed * 1103515245 + 12345;
			// Mostly letters, as in text; in some rounds mostly blanks.
			in[i] = letters[(seed >> 16) % (round % 3 == 0 ? 6 : 60) % 6];
			is_blank = in[i] != 'a' && in[i] != 'b';
			if (!is_blank || !before)
				want[w++] = is_blank ? ' ' : in[i];
			before = is_blank;
		}
		memcpy(got, in, n);
		g = fold((uint8_t *)got, cut, &blank);
		memmove(got + g, got + cut, n - cut);
		g += fold((uint8_t *)got + g, n - cut, &blank);
		cr_assert_eq(g, w, "round %u", round);
		cr_assert_eq(memcmp(got, want, w), 0, "round %u: '%.*s'", round, (int)n, in);
		cr_assert_eq(blank, before);
	}
}

Test(decode, fold)
{
	check_fold(decode_fold);
	check_fold(decode_fold_ssse3);
	if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bw"))
		check_fold(decode_fold_avx512);
}
