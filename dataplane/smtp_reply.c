// SPDX-License-Identifier: Apache-2.0
// Runs on the worker; pure.

#include "dataplane/smtp_reply.h"

#include <emmintrin.h>
#include <string.h>

void
smtp_text_clean(struct strbuf *out, struct span text)
{
	const __m128i low = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f);
	const __m128i mark = _mm_set1_epi8('?');
	char part[16];
	uint32_t i = 0;
	for (; text.n - i >= sizeof(part) && !out->truncated; i += sizeof(part)) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(text.p + i));
		// Bytes above 127 are negative numbers here.
		__m128i bad = _mm_or_si128(_mm_cmplt_epi8(v, low), _mm_cmpeq_epi8(v, del));
		v = _mm_or_si128(_mm_andnot_si128(bad, v), _mm_and_si128(bad, mark));
		_mm_storeu_si128((__m128i *)(void *)part, v);
		strbuf_add(out, span_of(part, sizeof(part)));
	}
	for (; i < text.n && !out->truncated; i++) {
		uint8_t c = text.p[i];
		strbuf_add_char(out, c >= 0x20 && c <= 0x7e ? (char)c : '?');
	}
}

// Length of "d.ddd.ddd" at the front with that class; 0: there is none.
static uint32_t
enhanced_length(struct span s, uint32_t class)
{
	uint32_t i = 2;
	if (s.n < 5 || s.p[0] != '0' + class || s.p[1] != '.')
		return 0;
	for (uint32_t part = 0; part < 2; part++) {
		uint32_t digits = 0;
		for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && digits < 3; digits++)
			i++;
		if (digits == 0)
			return 0;
		if (part == 0) {
			if (i >= s.n || s.p[i] != '.')
				return 0;
			i++;
		}
	}
	return i == s.n || s.p[i] == ' ' ? i : 0;
}

bool
smtp_enhanced_is_valid(struct span s, uint32_t class)
{
	return s.n > 0 && enhanced_length(s, class) == s.n;
}

// --- building ---

void
smtp_reply_set(struct smtp_reply *r, uint16_t code, const char *enhanced, struct span text)
{
	CHECK(code >= 200 && code <= 599);
	r->code = code;
	r->lines = 1;
	struct strbuf b;
	strbuf_init(&b, r->enhanced, sizeof(r->enhanced));
	strbuf_add_str(&b, enhanced);
	CHECK(!b.truncated);
	// One line: with code and CRLF within RFC 5321 4.5.3.1.5's 512 bytes.
	strbuf_init(&b, r->text, 480);
	smtp_text_clean(&b, text);
	r->len = (uint16_t)b.len;
}

void
smtp_reply_complete(struct smtp_reply *r)
{
	uint32_t class = r->code / 100;
	if (class == 3 || smtp_enhanced_is_valid(span_str(r->enhanced), class))
		return;
	memcpy(r->enhanced, "0.0.0", 6);
	r->enhanced[0] = (char)('0' + class);
}

void
smtp_reply_format(const struct smtp_reply *r, struct strbuf *out)
{
	CHECK(r->lines >= 1 && r->lines <= SMTP_REPLY_KEPT);
	struct span rest = span_of(r->text, r->len);
	for (uint32_t i = 0; i < r->lines; i++) {
		int64_t end = span_find(rest, '\n');
		struct span line = end < 0 ? rest : span_sub(rest, 0, (uint32_t)end);
		rest = end < 0 ? SPAN_NONE : span_from(rest, (uint32_t)end + 1);
		strbuf_add_u64(out, r->code);
		strbuf_add_char(out, i + 1u < r->lines ? '-' : ' ');
		strbuf_add_str(out, r->enhanced);
		if (r->enhanced[0] != '\0' && line.n > 0)
			strbuf_add_char(out, ' ');
		smtp_text_clean(out, line);
		strbuf_add_str(out, "\r\n");
	}
	CHECK(!out->truncated);
}

// --- parsing ---

void
smtp_reply_parser_init(struct smtp_reply_parser *p)
{
	p->code = 0;
	p->lines = 0;
	p->len = 0;
	p->after_cr = false;
}

// Keeps the text of a line for passing on, without its enhanced code, in printable ASCII.
static void
reply_keep(struct smtp_reply *r, struct span text)
{
	uint32_t n = enhanced_length(text, r->code / 100);
	if (r->lines == 0 && n > 0 && n < sizeof(r->enhanced)) {
		memcpy(r->enhanced, text.p, n);
		r->enhanced[n] = '\0';
	}
	if (n > 0)
		text = span_trim(span_from(text, n));
	if (r->lines >= SMTP_REPLY_KEPT)
		return;
	struct strbuf b;
	uint32_t room = (uint32_t)sizeof(r->text) - r->len;
	if (room < 16)
		return;
	strbuf_init(&b, r->text + r->len, MIN(room, 480u));
	if (r->lines > 0)
		strbuf_add_char(&b, '\n');
	smtp_text_clean(&b, text);
	r->len = (uint16_t)(r->len + b.len);
	r->lines++;
}

static bool
code_of(struct span line, uint16_t *code)
{
	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || line.p[1] < '0' ||
	    line.p[1] > '5' || line.p[2] < '0' || line.p[2] > '9')
		return false;
	*code = (uint16_t)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0'));
	return line.n == 3 || line.p[3] == ' ' || line.p[3] == '-';
}

// A whole line without CRLF.
static enum smtp_reply_step
reply_line(struct smtp_reply_parser *p, struct span line, struct span *text)
{
	uint16_t code;
	if (!code_of(line, &code) || (p->code != 0 && code != p->code) ||
	    p->lines >= SMTP_REPLY_LINES_MAX)
		return SMTP_REPLY_BAD;
	if (p->code == 0) {
		p->reply = (struct smtp_reply){.code = code};
		p->code = code;
	}
	p->lines++;
	*text = span_trim(span_from(line, 4));
	reply_keep(&p->reply, *text);
	if (line.n > 3 && line.p[3] == '-')
		return SMTP_REPLY_LINE;
	p->code = 0;
	p->lines = 0;
	return SMTP_REPLY_DONE;
}

enum smtp_reply_step
smtp_reply_parse(struct smtp_reply_parser *p, struct span in, uint32_t *taken, struct span *text)
{
	CHECK(in.n > 0);
	*text = SPAN_NONE;
	for (uint32_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		*taken = i + 1;
		if (p->after_cr) {
			if (c != '\n')
				return SMTP_REPLY_BAD;
			struct span line = span_of(p->line, p->len);
			p->after_cr = false;
			p->len = 0;
			return reply_line(p, line, text);
		}
		if (c == '\n' || c == 0)
			return SMTP_REPLY_BAD;
		if (c == '\r') {
			p->after_cr = true;
			continue;
		}
		if (p->len + 2u >= SMTP_REPLY_LINE_MAX)
			return SMTP_REPLY_BAD;
		p->line[p->len++] = c;
	}
	return SMTP_REPLY_MORE;
}
