// SPDX-License-Identifier: Apache-2.0
// span: see span.h. Empty spans may hold a NULL pointer, so memcmp and memchr are never called for
// zero bytes.
#include "control/base/span.h"

#include <string.h>

struct span
span_trim(struct span s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

bool
span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

uint8_t
ascii_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool
span_eq_nocase(struct span a, struct span b)
{
	if (a.n != b.n)
		return false;
	for (uint32_t i = 0; i < a.n; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

bool
span_starts_nocase(struct span s, struct span prefix)
{
	return s.n >= prefix.n && span_eq_nocase(span_sub(s, 0, prefix.n), prefix);
}

bool
span_ends_nocase(struct span s, struct span suffix)
{
	return s.n >= suffix.n && span_eq_nocase(span_from(s, s.n - suffix.n), suffix);
}

int
span_cmp(struct span a, struct span b)
{
	uint32_t n = MIN(a.n, b.n);
	int r = n == 0 ? 0 : memcmp(a.p, b.p, n);
	if (r != 0)
		return r < 0 ? -1 : 1;
	return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

int64_t
span_find(struct span s, uint8_t byte)
{
	if (s.n == 0)
		return -1;
	const uint8_t *at = memchr(s.p, byte, s.n);
	return at == NULL ? -1 : at - s.p;
}

int64_t
span_rfind(struct span s, uint8_t byte)
{
	if (s.n == 0)
		return -1;
	const uint8_t *at = memrchr(s.p, byte, s.n);
	return at == NULL ? -1 : at - s.p;
}

bool
span_u64(struct span s, uint64_t max, uint64_t *out)
{
	CHECK(out != NULL);
	if (s.n == 0)
		return false;
	uint64_t v = 0;
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s.p[i] - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
		if (v > max)
			return false;
	}
	*out = v;
	return true;
}
