// SPDX-License-Identifier: Apache-2.0
// strbuf: see strbuf.h. The invariant after every call: len < size and p[len] is NUL.
#include "control/base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
strbuf_init(struct strbuf *b, char *mem, uint32_t size)
{
	CHECK(mem != NULL);
	CHECK(size >= 1);
	*b = (struct strbuf){.p = mem, .size = size};
	mem[0] = '\0';
}

void
strbuf_reset(struct strbuf *b)
{
	CHECK(b->size >= 1);
	b->len = 0;
	b->truncated = false;
	b->p[0] = '\0';
}

void
strbuf_add(struct strbuf *b, struct span s)
{
	CHECK(b->len < b->size);
	uint32_t room = b->size - 1 - b->len;
	uint32_t n = MIN(s.n, room);
	if (n < s.n)
		b->truncated = true;
	if (n > 0)
		memcpy(b->p + b->len, s.p, n);
	b->len += n;
	b->p[b->len] = '\0';
}

void
strbuf_add_padded(struct strbuf *b, uint64_t v, uint32_t digits)
{
	char text[20]; // 2^64 - 1 has 20
	uint32_t at = sizeof(text);
	CHECK(digits <= sizeof(text));
	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0 || sizeof(text) - at < digits);
	strbuf_add(b, span_of(text + at, sizeof(text) - at));
}

void
strbuf_add_u64(struct strbuf *b, uint64_t v)
{
	strbuf_add_padded(b, v, 1);
}

void
strbuf_add_hex64(struct strbuf *b, uint64_t v)
{
	char text[16];
	for (uint32_t i = 0; i < sizeof(text); i++)
		text[i] = "0123456789abcdef"[v >> (60 - 4 * i) & 15];
	strbuf_add(b, span_of(text, sizeof(text)));
}

void
strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	CHECK(b->len < b->size);
	uint32_t room = b->size - b->len;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(b->p + b->len, room, fmt, ap);
	va_end(ap);
	if (n < 0) { // an encoding error: nothing was added, and the reader is told
		b->p[b->len] = '\0';
		b->truncated = true;
		return;
	}
	if ((uint32_t)n >= room) {
		b->truncated = true;
		n = (int)room - 1;
	}
	b->len += (uint32_t)n;
	CHECK(b->p[b->len] == '\0');
}

struct span
strbuf_span(const struct strbuf *b)
{
	return span_of(b->p, b->len);
}
