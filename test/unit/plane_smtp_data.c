// SPDX-License-Identifier: Apache-2.0
// The framing of DATA against a naive reading of RFC 5321: random bytes, cut anywhere.
#include <criterion/criterion.h>
#include <string.h>

#include "control/base/rng.h"
#include "dataplane/smtp_data.h"

#define INPUT_MAX 300

struct outcome {
	enum smtp_data_step step;
	uint32_t taken; // for END: behind the terminator
	uint8_t wire[INPUT_MAX], text[INPUT_MAX];
	uint32_t wire_len, text_len;
};

// Whole input at once, by the book: split at CRLF, look at each line.
static void
reference(const uint8_t *in, uint32_t n, struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	o->step = SMTP_DATA_MORE;
	uint32_t line = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (in[i] == 0) {
			o->step = SMTP_DATA_NUL;
			return;
		}
		if (in[i] == '\n') {
			o->step = SMTP_DATA_BARE_LF;
			return;
		}
		if (in[i] != '\r')
			continue;
		if (i + 1 == n)
			return;
		if (in[i + 1] != '\n') {
			o->step = SMTP_DATA_BARE_CR;
			return;
		}
		if (i - line == 1 && in[line] == '.') {
			o->step = SMTP_DATA_END;
			o->taken = i + 2;
			return;
		}
		uint32_t skip = in[line] == '.' ? 1 : 0;
		memcpy(o->wire + o->wire_len, in + line, i + 2 - line);
		o->wire_len += i + 2 - line;
		memcpy(o->text + o->text_len, in + line + skip, i + 2 - line - skip);
		o->text_len += i + 2 - line - skip;
		i++;
		line = i + 1;
	}
}

static void
feed(enum smtp_data_state *d, const uint8_t *in, uint32_t n, struct outcome *o)
{
	uint32_t done = 0;
	while (done < n && o->step == SMTP_DATA_MORE) {
		struct smtp_data_run run;
		uint32_t taken = 0;
		o->step = smtp_data_next(d, span_of(in + done, n - done), &taken, &run);
		cr_assert(taken > 0 || run.bytes.n > 0 || o->step != SMTP_DATA_MORE, "progress");
		cr_assert_leq(taken, n - done);
		done += taken;
		cr_assert_leq(o->wire_len + run.bytes.n, INPUT_MAX);
		if (run.bytes.n > 0)
			memcpy(o->wire + o->wire_len, run.bytes.p, run.bytes.n);
		o->wire_len += run.bytes.n;
		if (run.is_stuffing || run.bytes.n == 0)
			continue;
		memcpy(o->text + o->text_len, run.bytes.p, run.bytes.n);
		o->text_len += run.bytes.n;
	}
	o->taken += done;
}

static void
check_pieces(const uint8_t *in, uint32_t n, const uint32_t *cut, uint32_t cuts)
{
	struct outcome want, got = {.step = SMTP_DATA_MORE};
	enum smtp_data_state d;
	reference(in, n, &want);
	smtp_data_init(&d);
	uint32_t from = 0;
	for (uint32_t i = 0; i <= cuts && got.step == SMTP_DATA_MORE; i++) {
		uint32_t to = i < cuts ? cut[i] : n;
		if (to > from)
			feed(&d, in + from, to - from, &got);
		from = to > from ? to : from;
	}
	cr_assert_eq(got.step, want.step, "step %d, not %d", got.step, want.step);
	// Complete lines must have come out; of the last, partial line what is certain may have.
	cr_assert_geq(got.wire_len, want.wire_len);
	cr_assert_arr_eq(got.wire, want.wire, want.wire_len);
	cr_assert_arr_eq(got.text, want.text, want.text_len);
	for (uint32_t i = 0; i < got.wire_len; i++) {
		bool cr = i > 0 && got.wire[i - 1] == '\r';
		cr_assert_neq(got.wire[i], 0);
		cr_assert(cr == (got.wire[i] == '\n'), "no bare CR or LF goes on");
	}
	if (want.step != SMTP_DATA_END)
		return;
	cr_assert_eq(got.taken, want.taken);
	cr_assert_eq(got.wire_len, want.wire_len);
	cr_assert_eq(got.text_len, want.text_len);
}

static const uint8_t alphabet[] = {'\r', '\n', '.', 0, 'a'};

Test(smtp_data, every_short_string_cut_everywhere)
{
	uint8_t in[7];
	uint32_t combinations = 1;
	for (uint32_t n = 1; n <= 7; n++) {
		combinations *= ARRAY_LEN(alphabet);
		for (uint32_t c = 0; c < combinations; c++) {
			for (uint32_t i = 0, v = c; i < n; i++, v /= ARRAY_LEN(alphabet))
				in[i] = alphabet[v % ARRAY_LEN(alphabet)];
			for (uint32_t cut = 0; cut < n; cut++)
				check_pieces(in, n, &cut, 1);
		}
	}
}

Test(smtp_data, random_strings_in_random_pieces)
{
	struct rng r;
	rng_init(&r, 4711);
	for (uint32_t round = 0; round < 200000; round++) {
		uint8_t in[INPUT_MAX];
		uint32_t cut[4], n = 1 + rng_below(&r, 48);
		for (uint32_t i = 0; i < n; i++) {
			// Mostly sound CRLFs, so that the later states are reached.
			if (i + 1 < n && rng_below(&r, 3) == 0) {
				in[i++] = '\r';
				in[i] = '\n';
			} else {
				in[i] = rng_below(&r, 20) == 0
						? alphabet[rng_below(&r, 4)]
						: (uint8_t)(rng_below(&r, 2) ? '.' : 0x80 + i);
			}
		}
		for (uint32_t i = 0, at = 0; i < 4; i++)
			cut[i] = at = at + rng_below(&r, n - at + 1);
		check_pieces(in, n, cut, 4);
	}
}

// Text long enough for whole blocks, sound but for one byte: at every place, in one piece and cut
// where a block ends, a byte before and a byte after.
Test(smtp_data, one_byte_anywhere_in_long_text)
{
	for (uint32_t line = 1; line < 140; line += 7) {
		uint8_t in[INPUT_MAX], sound[INPUT_MAX];
		for (uint32_t i = 0; i < INPUT_MAX; i++) {
			uint32_t at = i % (line + 2);
			sound[i] = at < line ? 'a' : at == line ? '\r' : '\n';
		}
		for (uint32_t i = 0; i < INPUT_MAX; i++)
			for (uint32_t a = 0; a < ARRAY_LEN(alphabet); a++) {
				memcpy(in, sound, sizeof(in));
				in[i] = alphabet[a];
				for (uint32_t cut = 62; cut < 67; cut++)
					check_pieces(in, INPUT_MAX, &cut, 1);
				check_pieces(in, INPUT_MAX, NULL, 0);
			}
	}
}

// The same, with lines of every length from 0 and dots.
Test(smtp_data, long_text_in_random_pieces)
{
	struct rng r;
	rng_init(&r, 4712);
	for (uint32_t round = 0; round < 20000; round++) {
		uint8_t in[INPUT_MAX];
		uint32_t cut[4], n = 0;
		while (n < INPUT_MAX) {
			uint32_t len = rng_below(&r, round % 2 ? 8 : 150);
			for (uint32_t i = 0; i < len && n < INPUT_MAX; i++)
				in[n++] = i == 0 && rng_below(&r, 4) == 0 ? '.' : 'b';
			if (n + 2 <= INPUT_MAX) {
				in[n++] = '\r';
				in[n++] = '\n';
			}
		}
		if (rng_below(&r, 2) == 0)
			in[rng_below(&r, n)] = alphabet[rng_below(&r, ARRAY_LEN(alphabet))];
		for (uint32_t i = 0, at = 0; i < 4; i++)
			cut[i] = at = at + rng_below(&r, n - at + 1);
		check_pieces(in, n, cut, 4);
	}
}

typedef uint32_t (*clean_fn)(const uint8_t *p, uint32_t n, bool *at_line);

// Against the definition: what is passed over is sound, and it ends no more than a block too early.
static void
check_clean(clean_fn fn, const uint8_t *in, uint32_t n, bool begins_line)
{
	bool at_line = begins_line;
	uint32_t got = fn(in, n, &at_line), stop = 0;
	for (; stop < n && in[stop] != 0; stop++) {
		bool cr = stop > 0 && in[stop - 1] == '\r';
		bool starts = stop > 0 ? in[stop - 1] == '\n' : begins_line;
		if (cr != (in[stop] == '\n') || (starts && in[stop] == '.'))
			break;
	}
	cr_assert_leq(got, stop);
	cr_assert_geq(got + 64, stop < n ? stop : n - n % 64 + 63);
	cr_assert_eq(at_line, got > 0 ? in[got - 1] == '\n' : begins_line);
	cr_assert(got == 0 || in[got - 1] != '\r');
}

Test(smtp_data, both_ways_to_pass_over_text)
{
	bool has_avx512 = __builtin_cpu_supports("avx512bw");
	struct rng r;
	rng_init(&r, 4713);
	for (uint32_t round = 0; round < 200000; round++) {
		uint8_t in[INPUT_MAX];
		uint32_t n = 1 + rng_below(&r, INPUT_MAX), at = 0;
		while (at < n) {
			uint32_t len = rng_below(&r, 80);
			for (uint32_t i = 0; i < len && at < n; i++)
				in[at++] = i > 0 && rng_below(&r, 20) == 0 ? '.' : 'b';
			if (at < n)
				in[at++] = '\r';
			if (at < n)
				in[at++] = '\n';
		}
		if (rng_below(&r, 2) == 0)
			in[rng_below(&r, n)] = alphabet[rng_below(&r, ARRAY_LEN(alphabet))];
		check_clean(smtp_data_clean_sse2, in, n, round & 1);
		if (has_avx512)
			check_clean(smtp_data_clean_avx512, in, n, round & 1);
	}
}

Test(smtp_data, the_end_is_taken_and_no_more)
{
	enum smtp_data_state d;
	struct smtp_data_run run;
	uint32_t taken = 0;
	smtp_data_init(&d);
	struct span in = SPAN_LIT("a\r\n.\r\nQUIT\r\n");
	cr_assert_eq(smtp_data_next(&d, in, &taken, &run), SMTP_DATA_MORE);
	cr_assert_eq(taken, 4); // the dot is held back
	cr_assert_eq(run.bytes.n, 3);
	in = span_from(in, taken);
	cr_assert_eq(smtp_data_next(&d, in, &taken, &run), SMTP_DATA_MORE);
	cr_assert_eq(run.bytes.n, 0);
	in = span_from(in, taken);
	cr_assert_eq(smtp_data_next(&d, in, &taken, &run), SMTP_DATA_END);
	in = span_from(in, taken);
	cr_assert(span_eq(in, SPAN_LIT("QUIT\r\n")));
}
