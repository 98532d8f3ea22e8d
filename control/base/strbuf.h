// SPDX-License-Identifier: Apache-2.0
// strbuf: builds a string in caller's storage, never beyond it, always NUL-terminated.
//
// Who calls it: everybody who makes text. Memory: the caller's array, borrowed for the strbuf's
// life. Errors are sticky: what does not fit is cut and `truncated` stays true, so ten additions
// need one test at the end.
#pragma once

#include "control/base/span.h"

struct strbuf {
	char *p;
	uint32_t size; // bytes of storage, the NUL included; at least 1
	uint32_t len;  // bytes in use without the NUL
	bool truncated;
};

void strbuf_init(struct strbuf *b, char *mem, uint32_t size);
void strbuf_reset(struct strbuf *b);
void strbuf_add(struct strbuf *b, struct span s);
void strbuf_add_u64(struct strbuf *b, uint64_t v);
// Zeros in front up to that many digits, 20 at most.
void strbuf_add_padded(struct strbuf *b, uint64_t v, uint32_t digits);
void strbuf_add_hex64(struct strbuf *b, uint64_t v); // 16 digits
void strbuf_addf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct span strbuf_span(const struct strbuf *b);

// Inline, so that the length of a literal is a constant.
static inline void
strbuf_add_str(struct strbuf *b, const char *s)
{
	strbuf_add(b, span_str(s));
}

static inline void
strbuf_add_char(struct strbuf *b, char c)
{
	CHECK(b->len < b->size);
	if (b->len + 1 == b->size) {
		b->truncated = true;
		return;
	}
	b->p[b->len++] = c;
	b->p[b->len] = '\0';
}
