// SPDX-License-Identifier: Apache-2.0
// span: a pointer and a length as one value; a borrowed view of bytes that somebody else owns.
//
// Who calls it: everybody. Memory: a span owns nothing and is valid until the next call on the
// object it came from. Errors: none; every function is total (out-of-range offsets give an empty
// span). Comparisons without case are ASCII only (RFC 5321 2.4): bytes above 127 compare as they
// are.
#pragma once

#include <string.h>

#include "control/base/check.h"

struct span {
	const uint8_t *p;
	uint32_t n;
};

#define SPAN_LIT(s) ((struct span){(const uint8_t *)("" s), sizeof(s) - 1})
#define SPAN_NONE ((struct span){NULL, 0})
// For printf: printf("%.*s", SPAN_FMT(s)).
#define SPAN_FMT(s) (int)(s).n, (const char *)(s).p

// The four below are inline because every byte of mail passes them many times.
static inline struct span
span_of(const void *p, size_t n)
{
	if (p == NULL)
		return SPAN_NONE;
	return (struct span){(const uint8_t *)p, (uint32_t)MIN(n, (size_t)UINT32_MAX)};
}

static inline struct span
span_str(const char *s) // NULL gives an empty span
{
	return s == NULL ? SPAN_NONE : span_of(s, strlen(s));
}

static inline struct span
span_sub(struct span s, uint32_t off, uint32_t n) // clipped to s
{
	if (off >= s.n)
		return (struct span){s.p == NULL ? NULL : s.p + s.n, 0};
	return (struct span){s.p + off, MIN(n, s.n - off)};
}

static inline struct span
span_from(struct span s, uint32_t off) // all from off on
{
	return span_sub(s, off, UINT32_MAX);
}

struct span span_trim(struct span s); // SP and HTAB off both ends
bool span_eq(struct span a, struct span b);
bool span_eq_nocase(struct span a, struct span b);
bool span_starts_nocase(struct span s, struct span prefix);
bool span_ends_nocase(struct span s, struct span suffix);
int span_cmp(struct span a, struct span b);                // bytewise, shorter first
int64_t span_find(struct span s, uint8_t byte);            // -1: not there
int64_t span_rfind(struct span s, uint8_t byte);           // -1: not there
bool span_u64(struct span s, uint64_t max, uint64_t *out); // decimal digits only, all of s, <= max
uint8_t ascii_lower(uint8_t c);
