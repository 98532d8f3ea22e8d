// SPDX-License-Identifier: Apache-2.0
// Runs on the worker that owns the session; pure: input in, runs out.

#include "dataplane/smtp_data.h"

#include <immintrin.h>

void
smtp_data_init(enum smtp_data_state *d)
{
	*d = SMTP_DATA_LINE;
}

// --- whole blocks of sound text ----------------------------------------------------------------
//
// Most text is passed over 64 bytes at a time, without a branch that depends on where lines end,
// for no processor can foresee it.

#define BLOCK 64u

struct marks { // a bit for each byte of a block
	uint64_t cr, lf, dot, nul;
};

struct carry { // what the byte before a block was, 0 or 1 each
	uint64_t cr, lf;
};

// Has the block nothing to stop at: no NUL, no CR or LF without the other, no dot at the start of a
// line? A CR at its very end is the next block's.
static inline bool
block_is_clean(const struct marks *m, struct carry c)
{
	uint64_t bad = m->lf ^ (m->cr << 1 | c.cr); // the byte after a bare CR, or a bare LF

	return (bad | m->nul | (m->dot & (m->lf << 1 | c.lf))) == 0;
}

// A CR at the end of the last clean block is given back.
static inline uint32_t
clean_end(const uint8_t *p, uint32_t i, struct carry c, bool *at_line)
{
	i -= (uint32_t)c.cr;
	if (i > 0)
		*at_line = p[i - 1] == '\n';
	return i;
}

static inline uint64_t
mask_of(__m128i a, __m128i b, __m128i c, __m128i d)
{
	uint64_t low = (uint32_t)_mm_movemask_epi8(a) | (uint32_t)_mm_movemask_epi8(b) << 16;
	uint64_t high = (uint32_t)_mm_movemask_epi8(c) | (uint32_t)_mm_movemask_epi8(d) << 16;

	return low | high << 32;
}

static inline struct marks
marks_of(const uint8_t *p)
{
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
	const __m128i dot = _mm_set1_epi8('.'), *at = (const __m128i *)(const void *)p;
	__m128i a = _mm_loadu_si128(at), b = _mm_loadu_si128(at + 1);
	__m128i c = _mm_loadu_si128(at + 2), d = _mm_loadu_si128(at + 3);
	__m128i least = _mm_min_epu8(_mm_min_epu8(a, b), _mm_min_epu8(c, d));

	// Of NULs it is enough that there is one.
	least = _mm_cmpeq_epi8(least, _mm_setzero_si128());
	return (struct marks){
		.cr = mask_of(_mm_cmpeq_epi8(a, cr), _mm_cmpeq_epi8(b, cr), _mm_cmpeq_epi8(c, cr),
			      _mm_cmpeq_epi8(d, cr)),
		.lf = mask_of(_mm_cmpeq_epi8(a, lf), _mm_cmpeq_epi8(b, lf), _mm_cmpeq_epi8(c, lf),
			      _mm_cmpeq_epi8(d, lf)),
		.dot = mask_of(_mm_cmpeq_epi8(a, dot), _mm_cmpeq_epi8(b, dot),
			       _mm_cmpeq_epi8(c, dot), _mm_cmpeq_epi8(d, dot)),
		.nul = (uint64_t)_mm_movemask_epi8(least),
	};
}

uint32_t
smtp_data_clean_sse2(const uint8_t *p, uint32_t n, bool *at_line)
{
	struct carry c = {0, *at_line};
	uint32_t i = 0;

	for (; n - i >= BLOCK; i += BLOCK) {
		struct marks m = marks_of(p + i);

		if (unlikely(!block_is_clean(&m, c)))
			break;
		c = (struct carry){m.cr >> (BLOCK - 1), m.lf >> (BLOCK - 1)};
	}
	return clean_end(p, i, c, at_line);
}

__attribute__((target("avx512f,avx512bw"))) uint32_t
smtp_data_clean_avx512(const uint8_t *p, uint32_t n, bool *at_line)
{
	struct carry c = {0, *at_line};
	uint32_t i = 0;

	while (i < n) {
		uint32_t size = MIN(n - i, BLOCK);
		uint64_t part = size < BLOCK ? (1ull << size) - 1 : ~0ull;
		__m512i v = _mm512_maskz_loadu_epi8(part, p + i);
		struct marks m = {
			.cr = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\r')),
			.lf = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\n')),
			.dot = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('.')),
			.nul = _mm512_mask_testn_epi8_mask(part, v, v),
		};
		uint64_t last = m.cr >> (size - 1) & 1;

		if (size < BLOCK) // what follows its last CR is not in this block
			m.cr &= ~(last << (size - 1));
		if (unlikely(!block_is_clean(&m, c)))
			break;
		c = (struct carry){last, m.lf >> (size - 1)};
		i += size;
	}
	return clean_end(p, i, c, at_line);
}

static uint32_t
clean_length(const uint8_t *p, uint32_t n, bool *at_line)
{
	if (__builtin_cpu_supports("avx512bw"))
		return smtp_data_clean_avx512(p, n, at_line);
	return smtp_data_clean_sse2(p, n, at_line);
}

// --- byte by byte ------------------------------------------------------------------------------

// How many bytes from p on are text: up to the first CR, LF or NUL.
static uint32_t
text_length(const uint8_t *p, uint32_t n)
{
	uint32_t i = 0;

	while (i < n && p[i] != '\r' && p[i] != '\n' && p[i] != 0)
		i++;
	return i;
}

static enum smtp_data_step
fault_of(uint8_t c)
{
	CHECK(c == 0 || c == '\n');
	return c == 0 ? SMTP_DATA_NUL : SMTP_DATA_BARE_LF;
}

// From LINE or TEXT: the longest run of whole and partial lines that holds no dot at the start of a
// line.
static enum smtp_data_step
run_text(enum smtp_data_state *d, struct span in, uint32_t *taken, struct smtp_data_run *run)
{
	bool at_line = *d == SMTP_DATA_LINE;
	uint32_t i = clean_length(in.p, in.n, &at_line); // the rest is less than a block, mostly
	enum smtp_data_step step = SMTP_DATA_MORE;
	enum smtp_data_state next = *d;
	for (;;) { // each turn takes a byte or leaves
		if (i == in.n) {
			next = at_line ? SMTP_DATA_LINE : SMTP_DATA_TEXT;
			*taken = i;
			break;
		}
		if (at_line && in.p[i] == '.') {
			next = SMTP_DATA_DOT;
			*taken = i + 1;
			break;
		}
		uint32_t n = text_length(in.p + i, in.n - i);
		i += n;
		at_line = at_line && n == 0;
		if (i == in.n)
			continue;
		if (in.p[i] != '\r') {
			step = fault_of(in.p[i]);
			next = SMTP_DATA_OVER;
			*taken = i + 1;
			break;
		}
		if (i + 1 == in.n) {
			next = SMTP_DATA_CR;
			*taken = i + 1;
			break;
		}
		if (in.p[i + 1] != '\n') {
			step = SMTP_DATA_BARE_CR;
			next = SMTP_DATA_OVER;
			*taken = i + 1;
			break;
		}
		i += 2;
		at_line = true;
	}
	*d = next;
	run->bytes = span_sub(in, 0, i);
	return step;
}

enum smtp_data_step
smtp_data_next(enum smtp_data_state *d, struct span in, uint32_t *taken, struct smtp_data_run *run)
{
	CHECK(in.n > 0);
	CHECK(*d != SMTP_DATA_OVER);
	*run = (struct smtp_data_run){SPAN_NONE, false};
	*taken = 0;
	uint8_t c = in.p[0];
	switch (*d) {
	case SMTP_DATA_LINE:
	case SMTP_DATA_TEXT:
		return run_text(d, in, taken, run);
	case SMTP_DATA_CR:
		if (c != '\n') {
			*d = SMTP_DATA_OVER;
			return SMTP_DATA_BARE_CR;
		}
		*d = SMTP_DATA_LINE;
		*taken = 1;
		run->bytes = SPAN_LIT("\r\n");
		return SMTP_DATA_MORE;
	case SMTP_DATA_DOT:
		if (c == '\r') {
			*d = SMTP_DATA_DOT_CR;
			*taken = 1;
			return SMTP_DATA_MORE;
		}
		// The dot was stuffed. What follows is text, whatever it is: a second dot too.
		*d = SMTP_DATA_TEXT;
		run->bytes = SPAN_LIT(".");
		run->is_stuffing = true;
		return SMTP_DATA_MORE;
	case SMTP_DATA_DOT_CR:
		*d = SMTP_DATA_OVER;
		if (c != '\n')
			return SMTP_DATA_BARE_CR;
		*taken = 1;
		return SMTP_DATA_END;
	case SMTP_DATA_OVER:
		break;
	}
	CHECK(false);
	return SMTP_DATA_MORE;
}
