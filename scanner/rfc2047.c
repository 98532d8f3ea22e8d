// SPDX-License-Identifier: Apache-2.0
// rfc2047: see the header.
#include "scanner/rfc2047.h"

#include <string.h>

#include "scanner/decode.h"

struct word {
	struct span charset, text;
	uint8_t encoding; // 'b' or 'q'
	uint32_t size;    // from "=?" to "?="
};

bool
rfc2047_charset_is_opaque(struct span charset)
{
	static const char *const prefixes[] = {
		"utf-16", "utf16", "utf-32", "utf32",  "utf-7",
		"utf7",   "ucs-",  "ucs2",   "ucs4",   "unicode-1-1-utf-7",
		"x-utf",  "cp037", "ibm037", "ebcdic", "unicode"};

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (span_starts_nocase(charset, span_str(prefixes[i])))
			return true;
	return false;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Where "?=" begins in s; -1: nowhere.
static int64_t
word_end_find(struct span s)
{
	for (uint32_t i = 0; i < s.n; i++) {
		int64_t at = span_find(span_from(s, i), '?');

		if (at < 0 || i + (uint64_t)at + 1 >= s.n)
			return -1;
		i += (uint32_t)at;
		if (s.p[i + 1] == '=')
			return i;
	}
	return -1;
}

// s begins with "=?". *no_end: no "?=" is left in the field, so nobody need look again; together
// with the limit on charsets this keeps the time linear.
static bool
word_parse(struct span s, struct word *w, bool *no_end)
{
	uint32_t i = 2, text;
	int64_t end;

	CHECK(s.n >= 2 && s.p[0] == '=' && s.p[1] == '?');
	if (*no_end)
		return false;
	while (i < s.n && s.p[i] != '?' && s.p[i] != '=' && !is_blank(s.p[i]) &&
	       i < 2 + RFC2047_CHARSET_MAX)
		i++;
	if (i + 3 >= s.n || s.p[i] != '?' || s.p[i + 2] != '?')
		return false;
	w->charset = span_sub(s, 2, i - 2);
	w->encoding = ascii_lower(s.p[i + 1]);
	if (w->encoding != 'b' && w->encoding != 'q')
		return false;
	text = i + 3;
	end = word_end_find(span_from(s, text));
	if (end < 0) {
		*no_end = true;
		return false;
	}
	w->text = span_sub(s, text, (uint32_t)end);
	w->size = text + (uint32_t)end + 2;
	CHECK(w->size <= s.n);
	return true;
}

static uint32_t
word_decode_q(struct span text, uint8_t *out, uint32_t *found)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < text.n; i++) {
		int hi, lo;

		if (text.p[i] == '_') {
			out[n++] = ' ';
			continue;
		}
		if (text.p[i] != '=' || text.n - i < 3) {
			if (text.p[i] == '=' || text.p[i] == '?')
				*found |= RFC2047_ODD;
			out[n++] = text.p[i];
			continue;
		}
		hi = decode_hex_digit(text.p[i + 1]);
		lo = decode_hex_digit(text.p[i + 2]);
		if (hi < 0 || lo < 0) {
			*found |= RFC2047_ODD;
			out[n++] = '=';
			continue;
		}
		out[n++] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	return n;
}

static uint32_t
word_decode(const struct word *w, uint8_t *out, uint32_t size, uint32_t *found)
{
	struct decode d;
	uint32_t n = 0, at = 0;

	if (w->encoding == 'q')
		return word_decode_q(w->text, out, found);
	decode_init(&d, DECODE_BASE64);
	while (at < w->text.n) {
		uint32_t taken;

		n += decode_feed(&d, span_from(w->text, at), &taken, out + n, size - n);
		if (taken == 0) // no room: cannot be, base64 shrinks
			break;
		at += taken;
	}
	n += decode_end(&d, out + n);
	if (d.bad)
		*found |= RFC2047_ODD;
	return n;
}

uint32_t
rfc2047_decode(struct span in, uint8_t *out, uint32_t size, uint32_t *len)
{
	uint32_t found = 0, n = 0, i = 0;
	uint32_t behind_word =
		0; // output length behind the last word, while only blanks followed it
	bool word_before = false, no_end = false;

	CHECK(out != NULL && len != NULL);
	CHECK(size >= in.n);
	while (i < in.n) {
		struct word w;

		if (in.p[i] != '=' || in.n - i < 2 || in.p[i + 1] != '?') {
			if (!is_blank(in.p[i]))
				word_before = false;
			out[n++] = in.p[i++];
			continue;
		}
		if (!word_parse(span_from(in, i), &w, &no_end)) {
			found |= RFC2047_ODD;
			word_before = false;
			out[n++] = in.p[i++];
			continue;
		}
		if (word_before) // blanks between two words are not part of the text
			n = behind_word;
		else if (n > 0 && !is_blank(out[n - 1]) && out[n - 1] != '(' && out[n - 1] != '"')
			found |= RFC2047_ODD;
		found |= RFC2047_WORD;
		if (rfc2047_charset_is_opaque(w.charset))
			found |= RFC2047_CHARSET;
		n += word_decode(&w, out + n, size - n, &found);
		i += w.size;
		CHECK(n <= i);
		word_before = true;
		behind_word = n;
	}
	*len = n;
	CHECK(n <= in.n);
	return found;
}
