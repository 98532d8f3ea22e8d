// SPDX-License-Identifier: Apache-2.0
// mime: see the header.
#include "scanner/mime.h"

#include <string.h>

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span
boundary_at(const struct mime_stack *s, uint32_t i)
{
	CHECK(i < s->count);
	return span_of(s->arena + s->boundary[i].off, s->boundary[i].len);
}

void
mime_stack_init(struct mime_stack *s)
{
	s->depth = 0;
	s->owned = 0;
	s->count = 0;
	s->arena_len = 0;
	s->guessing = 0;
}

static enum mime_result
boundary_put(struct mime_stack *s, struct span b)
{
	if (s->count == MIME_BOUNDARIES_MAX || s->count - s->owned == MIME_READINGS_MAX ||
	    b.n > MIME_BOUNDARY_MAX || b.n > (uint32_t)(MIME_ARENA_SIZE - s->arena_len))
		return MIME_FULL;
	memcpy(s->arena + s->arena_len, b.p, b.n);
	s->boundary[s->count].off = s->arena_len;
	s->boundary[s->count].len = (uint16_t)b.n;
	s->arena_len = (uint16_t)(s->arena_len + b.n);
	s->count++;
	return MIME_OK;
}

enum mime_result
mime_boundary_add(struct mime_stack *s, struct span b)
{
	CHECK(s->owned <= s->count);
	while (b.n > 0 && is_blank(b.p[0]))
		b = span_from(b, 1);
	while (b.n > 0 && is_blank(b.p[b.n - 1]))
		b.n--;
	if (b.n == 0)
		return MIME_KNOWN;
	for (uint32_t i = s->owned; i < s->count; i++)
		if (span_eq(boundary_at(s, i), b))
			return MIME_KNOWN;
	return boundary_put(s, b);
}

uint32_t
mime_pending_count(const struct mime_stack *s)
{
	CHECK(s->count >= s->owned);
	return s->count - s->owned;
}

void
mime_pending_drop(struct mime_stack *s)
{
	CHECK(s->count >= s->owned);
	if (s->count > s->owned)
		s->arena_len = s->boundary[s->owned].off;
	s->count = s->owned;
}

enum mime_result
mime_push(struct mime_stack *s, enum mime_frame_kind kind, bool is_digest)
{
	struct mime_frame *f;

	CHECK(s->depth <= MIME_DEPTH_MAX);
	if (s->depth == MIME_DEPTH_MAX)
		return MIME_FULL;
	f = &s->frame[s->depth++];
	*f = (struct mime_frame){.kind = (uint8_t)kind, .is_digest = is_digest, .first = s->owned};
	if (kind == MIME_MULTIPART && s->count == s->owned) {
		f->guess = true;
		s->guessing++;
	}
	s->owned = s->count;
	return MIME_OK;
}

bool
mime_pop_to(struct mime_stack *s, uint32_t depth)
{
	bool unclosed = false;

	CHECK(depth <= s->depth);
	mime_pending_drop(s);
	while (s->depth > depth) {
		struct mime_frame *f = &s->frame[--s->depth];

		if (f->kind == MIME_MULTIPART && !f->is_closed)
			unclosed = true;
		if (f->guess) {
			CHECK(s->guessing > 0);
			s->guessing--;
		}
		if (f->first < s->count)
			s->arena_len = s->boundary[f->first].off;
		s->count = f->first;
		s->owned = f->first;
	}
	return unclosed;
}

bool
mime_has_open_multipart(const struct mime_stack *s)
{
	for (uint32_t i = 0; i < s->depth; i++)
		if (s->frame[i].kind == MIME_MULTIPART && !s->frame[i].is_closed)
			return true;
	return false;
}

static int32_t
frame_of(const struct mime_stack *s, uint32_t boundary)
{
	for (uint32_t i = s->depth; i > 0; i--)
		if (s->frame[i - 1].first <= boundary)
			return (int32_t)i - 1;
	CHECK(false); // every owned boundary has a frame
	return -1;
}

// The innermost multipart whose boundary is not known takes the line as its first delimiter. That
// works only where its boundary would be the newest one.
static void
guess_take(struct mime_stack *s, struct span text)
{
	struct mime_frame *f = &s->frame[s->depth - 1];

	CHECK(s->depth > 0);
	CHECK(f->guess);
	mime_pending_drop(s);
	if (mime_boundary_add(s, text) != MIME_OK)
		return;
	s->owned = s->count;
	f->guess = false;
	s->guessing--;
}

struct mime_delimiter
mime_line_check(struct mime_stack *s, struct span line)
{
	struct mime_delimiter d = {.frame = -1};
	struct span text;
	bool opens = false, closes = false, twice = false;

	while (line.n > 0 && is_blank(line.p[line.n - 1]))
		line.n--;
	if (line.n < 3 || line.p[0] != '-' || line.p[1] != '-')
		return d;
	text = span_from(line, 2);
	for (uint32_t i = s->owned; i > 0; i--) { // innermost first
		struct span b = boundary_at(s, i - 1);
		int32_t frame;

		if (text.n < b.n || memcmp(text.p, b.p, b.n) != 0)
			continue;
		if (text.n == b.n || (text.n == b.n + 2 && memcmp(text.p + b.n, "--", 2) == 0)) {
			bool is_close = text.n != b.n;

			opens |= !is_close;
			closes |= is_close;
			frame = frame_of(s, i - 1);
			// The same boundary twice: the innermost multipart that is still open.
			if (d.frame < 0 ||
			    (s->frame[d.frame].is_closed && !s->frame[frame].is_closed)) {
				twice |= d.frame >= 0;
				d.frame = frame;
				d.is_close = is_close;
			} else {
				twice |= d.frame != frame;
			}
			continue;
		}
		d.is_prefix = true;
	}
	d.is_both = twice || (opens && closes);
	if (d.frame < 0 && s->depth > 0 && s->frame[s->depth - 1].guess) {
		guess_take(s, text);
		if (!s->frame[s->depth - 1].guess) {
			d.frame = s->depth - 1;
			d.is_prefix = false;
		}
	}
	return d;
}
