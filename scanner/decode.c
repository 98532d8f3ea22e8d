// SPDX-License-Identifier: Apache-2.0
// decode: see the header.
#include "scanner/decode.h"

#include <immintrin.h>
#include <string.h>

enum { B64_SKIP = 64, B64_PAD = 65, B64_BAD = 66 };

// What a byte means in base64: 0..63 a digit. White space (64) is skipped without a mark; RFC 2045
// wants all else (66) skipped too, but a byte that does not belong there may end the text for
// another reader.
static const uint8_t base64_table[256] = {
	66, 66, 66, 66, 66, 66, 66, 66, 66, 64, 64, 66, 66, 64, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 64, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 62,
	66, 66, 66, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 66, 66, 66, 65, 66, 66, 66, 0,
	1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
	23, 24, 25, 66, 66, 66, 66, 66, 66, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
	39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
};

enum qp_state { QP_TEXT, QP_EQUALS, QP_HEX, QP_BLANK, QP_CR };

int
decode_hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

void
decode_init(struct decode *d, enum decode_kind kind)
{
	CHECK(kind == DECODE_IDENTITY || kind == DECODE_BASE64 || kind == DECODE_QP);
	*d = (struct decode){.kind = (uint8_t)kind};
}

// --- base64 ----------------------------------------------------------------------------------

// The bytes that the digits held so far stand for; what is left of them is dropped.
static uint32_t
base64_flush(struct decode *d, uint8_t *out)
{
	uint32_t n = 0;

	CHECK(d->held < 4);
	if (d->held >= 2)
		out[n++] = (uint8_t)(d->acc >> (d->held == 2 ? 4 : 10));
	if (d->held == 3)
		out[n++] = (uint8_t)(d->acc >> 2);
	d->held = 0;
	d->acc = 0;
	return n;
}

// One byte; returns the bytes written, at most 3.
static uint32_t
base64_byte(struct decode *d, uint8_t c, uint8_t *out)
{
	uint8_t v = base64_table[c];

	if (v == B64_SKIP)
		return 0;
	if (v == B64_BAD) {
		d->bad = true;
		return 0;
	}
	if (v == B64_PAD) {
		// Legal behind two or three digits, and once more behind two.
		if (d->held < 2 && !d->padded)
			d->bad = true;
		d->padded = true;
		return base64_flush(d, out);
	}
	// Digits behind padding: one reader stops there, another goes on. We go on and say so.
	if (d->padded)
		d->bad = true;
	d->padded = false;
	d->acc = d->acc << 6 | v;
	if (++d->held < 4)
		return 0;
	out[0] = (uint8_t)(d->acc >> 16);
	out[1] = (uint8_t)(d->acc >> 8);
	out[2] = (uint8_t)d->acc;
	d->held = 0;
	d->acc = 0;
	return 3;
}

static uint32_t
base64_feed(struct decode *d, struct span in, uint32_t *taken, uint8_t *out, uint32_t size)
{
	uint32_t i = 0, n = 0;
	bool was_bad = d->bad;

	while (i < in.n && size - n >= 3) {
		if (d->held == 0 && !d->padded) { // whole groups of four digits
			while (in.n - i >= 4 && size - n >= 3) {
				uint32_t a = base64_table[in.p[i]], b = base64_table[in.p[i + 1]];
				uint32_t c = base64_table[in.p[i + 2]],
					 e = base64_table[in.p[i + 3]];
				uint32_t v = a << 18 | b << 12 | c << 6 | e;

				if ((a | b | c | e) >= 64)
					break;
				out[n] = (uint8_t)(v >> 16);
				out[n + 1] = (uint8_t)(v >> 8);
				out[n + 2] = (uint8_t)v;
				n += 3;
				i += 4;
			}
			if (i == in.n || size - n < 3)
				break;
		}
		n += base64_byte(d, in.p[i++], out + n);
		if (d->bad && !was_bad)
			break;
	}
	*taken = i;
	return n;
}

// --- quoted-printable ------------------------------------------------------------------------

// One byte of an escape; returns the bytes written, at most 3. *again: the byte is still to be
// read.
static uint32_t
qp_escape(struct decode *d, uint8_t c, uint8_t *out, bool *again)
{
	int digit = decode_hex_digit(c);
	uint32_t n = 0;

	CHECK(d->held != QP_TEXT);
	*again = false;
	if (d->held == QP_HEX && digit >= 0) {
		out[0] = (uint8_t)(d->hex << 4 | digit);
		CHECK(d->hex < 16);
		d->held = QP_TEXT;
		return 1;
	}
	if (d->held == QP_EQUALS && digit >= 0) {
		d->hex = (uint8_t)digit;
		d->acc = c; // as it was written
		d->held = QP_HEX;
		return 0;
	}
	if (d->held != QP_HEX && c == '\n') { // a soft line break
		d->held = QP_TEXT;
		return 0;
	}
	if ((d->held == QP_EQUALS || d->held == QP_BLANK) && c == '\r') {
		d->held = QP_CR;
		return 0;
	}
	if ((d->held == QP_EQUALS || d->held == QP_BLANK) && (c == ' ' || c == '\t')) {
		d->held = QP_BLANK;
		return 0;
	}
	// No escape after all: show it as it is, as readers do. A run of blanks becomes one.
	d->bad = true;
	out[n++] = '=';
	if (d->held == QP_HEX)
		out[n++] = (uint8_t)d->acc;
	else if (d->held == QP_BLANK)
		out[n++] = ' ';
	else if (d->held == QP_CR)
		out[n++] = '\r';
	d->held = QP_TEXT;
	*again = true;
	return n;
}

static uint32_t
qp_feed(struct decode *d, struct span in, uint32_t *taken, uint8_t *out, uint32_t size)
{
	uint32_t i = 0, n = 0;
	bool was_bad = d->bad;

	while (i < in.n && size - n >= 3) {
		bool again;

		if (d->held == QP_TEXT) {
			uint32_t run = MIN(in.n - i, size - n);
			const uint8_t *eq = memchr(in.p + i, '=', run);

			if (eq != NULL)
				run = (uint32_t)(eq - (in.p + i));
			memcpy(out + n, in.p + i, run);
			n += run;
			i += run;
			if (eq == NULL)
				continue;
			d->held = QP_EQUALS;
			i++;
			continue;
		}
		n += qp_escape(d, in.p[i], out + n, &again);
		if (!again)
			i++;
		if (d->bad && !was_bad)
			break;
	}
	*taken = i;
	return n;
}

// --- both ------------------------------------------------------------------------------------

uint32_t
decode_feed(struct decode *d, struct span in, uint32_t *taken, uint8_t *out, uint32_t size)
{
	uint32_t n;

	CHECK(d != NULL && taken != NULL);
	CHECK(out != NULL);
	switch (d->kind) {
	case DECODE_BASE64:
		n = base64_feed(d, in, taken, out, size);
		break;
	case DECODE_QP:
		n = qp_feed(d, in, taken, out, size);
		break;
	default:
		CHECK(d->kind == DECODE_IDENTITY);
		n = MIN(in.n, size);
		if (n > 0)
			memcpy(out, in.p, n);
		*taken = n;
		break;
	}
	CHECK(n <= size);
	CHECK(*taken <= in.n);
	return n;
}

uint32_t
decode_end(struct decode *d, uint8_t *out)
{
	uint32_t n = 0;

	if (d->kind == DECODE_BASE64) {
		if (d->held >
		    0) // one digit is no byte; without padding some readers drop the last bytes
			d->bad = true;
		n = base64_flush(d, out);
	} else if (d->kind == DECODE_QP && d->held != QP_TEXT) {
		if (d->held == QP_HEX) {
			out[n++] = '=';
			out[n++] = (uint8_t)d->acc;
			d->bad = true;
		}
		d->held = QP_TEXT; // "=" at the very end: a soft break before nothing
	}
	CHECK(n <= DECODE_END_MAX);
	return n;
}

// --- folding ---------------------------------------------------------------------------------

// No machine without the first runs Hyperscan, or DPDK.
#define SSSE3 __attribute__((target("ssse3")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt")))

static uint32_t
fold_bytes(uint8_t *out, const uint8_t *in, uint32_t n, bool *blank)
{
	uint32_t o = 0;

	for (uint32_t i = 0; i < n; i++) {
		bool is_blank = in[i] == ' ' || in[i] == '\t' || in[i] == '\r' || in[i] == '\n';

		if (!is_blank || !*blank)
			out[o++] = is_blank ? ' ' : in[i];
		*blank = is_blank;
	}
	return o;
}

// At the place of its low digit each blank; a byte that a shuffle by itself turns into itself is
// one.
static const uint8_t blank_table[16] = {[0] = ' ', [9] = '\t', [10] = '\n', [13] = '\r'};

// The block without the byte at `at` (16: with all of them); behind it something.
SSSE3 static __m128i
block_without(__m128i v, uint32_t at)
{
	const __m128i place = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m128i behind = _mm_cmpgt_epi8(place, _mm_set1_epi8((char)((int)at - 1)));

	return _mm_shuffle_epi8(v, _mm_sub_epi8(place, behind));
}

// Sixteen bytes at a time, and the same steps whether a line ends among them or not: no processor
// foresees where. What is stored behind the block's text the next one covers, and it never reaches
// bytes that were not loaded yet, for o <= i.
SSSE3 uint32_t
decode_fold_ssse3(uint8_t *p, uint32_t n, bool *blank)
{
	const __m128i sp = _mm_set1_epi8(' '),
		      table = _mm_loadu_si128((const __m128i *)(const void *)blank_table);
	uint32_t i = 0, o = 0, before;

	CHECK(p != NULL && blank != NULL);
	before = *blank;
	for (; n - i >= 16; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		__m128i is_blank = _mm_cmpeq_epi8(v, _mm_shuffle_epi8(table, v));
		uint32_t all = (uint32_t)_mm_movemask_epi8(is_blank);
		uint32_t drop = all & (all << 1 | before), kept = 16 - (drop != 0);

		before = all >> 15;
		v = _mm_or_si128(_mm_andnot_si128(is_blank, v), _mm_and_si128(is_blank, sp));
		v = block_without(v, (uint32_t)__builtin_ctz(drop | 1u << 16));
		// Each one taken out moves the others down.
		while (unlikely((drop = (drop & (drop - 1)) >> 1) != 0)) {
			v = block_without(v, (uint32_t)__builtin_ctz(drop));
			kept--;
		}
		_mm_storeu_si128((__m128i *)(void *)(p + o), v);
		o += kept;
	}
	*blank = before != 0;
	o += fold_bytes(p + o, p + i, n - i, blank);
	CHECK(o <= n);
	return o;
}

// The blanks of a block.
AVX512 static inline uint64_t
wide_blanks(__m512i v)
{
	const __m128i *t = (const __m128i *)(const void *)blank_table;
	const __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128(t));

	return _mm512_cmpeq_epi8_mask(v, _mm512_shuffle_epi8(table, v));
}

AVX512 static inline __m512i
wide_folded(__m512i v, uint64_t blanks, uint64_t keep)
{
	return _mm512_maskz_compress_epi8(keep,
					  _mm512_mask_mov_epi8(v, blanks, _mm512_set1_epi8(' ')));
}

AVX512 uint32_t
decode_fold_avx512(uint8_t *p, uint32_t n, bool *blank)
{
	uint32_t i = 0, o = 0;

	CHECK(p != NULL && blank != NULL);
	uint64_t before = *blank;
	for (; n - i >= 64; i += 64) {
		__m512i v = _mm512_loadu_si512(p + i);
		uint64_t all = wide_blanks(v), keep = ~(all & (all << 1 | before));

		before = all >> 63;
		_mm512_storeu_si512(p + o, wide_folded(v, all, keep));
		o += (uint32_t)__builtin_popcountll(keep);
	}
	if (n > i) {
		uint64_t part = ~0ull >> (64 - (n - i));
		__m512i v = _mm512_maskz_loadu_epi8(part, p + i);
		uint64_t all = wide_blanks(v), keep = part & ~(all & (all << 1 | before));

		before = all >> (n - i - 1) & 1;
		_mm512_mask_storeu_epi8(p + o, part, wide_folded(v, all, keep));
		o += (uint32_t)__builtin_popcountll(keep);
	}
	*blank = before != 0;
	CHECK(o <= n);
	return o;
}

uint32_t
decode_fold(uint8_t *p, uint32_t n, bool *blank)
{
	if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bw"))
		return decode_fold_avx512(p, n, blank);
	return decode_fold_ssse3(p, n, blank);
}

uint32_t
decode_percent(struct span in, uint8_t *out, uint32_t size)
{
	uint32_t n = 0;

	CHECK(size >= in.n);
	for (uint32_t i = 0; i < in.n; i++) {
		int hi = -1, lo = -1;

		if (in.p[i] == '%' && in.n - i > 2) {
			hi = decode_hex_digit(in.p[i + 1]);
			lo = decode_hex_digit(in.p[i + 2]);
		}
		if (hi < 0 || lo < 0) {
			out[n++] = in.p[i];
			continue;
		}
		out[n++] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	return n;
}
