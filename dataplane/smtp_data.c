// SPDX-License-Identifier: Apache-2.0
// Runs on the worker that owns the session; pure: input in, runs out.

#include "dataplane/smtp_data.h"

#include <emmintrin.h>

void
smtp_data_init(enum smtp_data_state *d)
{
	*d = SMTP_DATA_LINE;
}

// How many bytes from p on are text: up to the first CR, LF or NUL.
static uint32_t
text_length(const uint8_t *p, uint32_t n)
{
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
	uint32_t i = 0;
	for (; n - i >= 16; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		__m128i end = _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf));
		end = _mm_or_si128(end, _mm_cmpeq_epi8(v, _mm_setzero_si128()));
		uint32_t mask = (uint32_t)_mm_movemask_epi8(end);
		if (mask != 0)
			return i + (uint32_t)__builtin_ctz(mask);
	}
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
	uint32_t i = 0;
	bool at_line = *d == SMTP_DATA_LINE;
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
