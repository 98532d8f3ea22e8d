// SPDX-License-Identifier: Apache-2.0
// rfc5322: see the header.
#include "scanner/rfc5322.h"

#include "scanner/param.h"

#define NAME_MAX_LEN 78

static const struct {
	struct span name;
	enum rfc5322_field field;
} field_table[] = {
	{SPAN_LIT("from"), FIELD_FROM},
	{SPAN_LIT("subject"), FIELD_SUBJECT},
	{SPAN_LIT("received"), FIELD_RECEIVED},
	{SPAN_LIT("content-type"), FIELD_CONTENT_TYPE},
	{SPAN_LIT("content-transfer-encoding"), FIELD_CONTENT_ENCODING},
	{SPAN_LIT("content-disposition"), FIELD_CONTENT_DISPOSITION},
};

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// The names that matter begin with one of these; all others need no comparison.
static bool
name_may_matter(uint8_t c)
{
	c = ascii_lower(c);
	return c == 'f' || c == 's' || c == 'r' || c == 'c' || c < '!' || c > '~';
}

enum rfc5322_field
rfc5322_field_split(struct span line, struct span *value, bool *name_is_odd)
{
	int64_t colon = span_find(line, ':');
	struct span name;

	CHECK(value != NULL && name_is_odd != NULL);
	*name_is_odd = false;
	*value = SPAN_NONE;
	if (colon <= 0)
		return FIELD_NONE;
	name = span_sub(line, 0, (uint32_t)colon);
	*value = span_from(line, (uint32_t)colon + 1);
	if (!name_may_matter(name.p[0]) && name.n <= NAME_MAX_LEN && span_find(name, ' ') < 0 &&
	    span_find(name, '\t') < 0)
		return FIELD_OTHER;
	// Control characters, blanks and 8-bit letters at the ends: obsolete syntax, or somebody
	// who hopes that we do not see the field.
	while (name.n > 0 && (name.p[0] <= ' ' || name.p[0] > '~')) {
		name = span_from(name, 1);
		*name_is_odd = true;
	}
	while (name.n > 0 && (name.p[name.n - 1] <= ' ' || name.p[name.n - 1] > '~')) {
		name.n--;
		*name_is_odd = true;
	}
	for (uint32_t i = 0; i < name.n; i++)
		if (is_blank(name.p[i]))
			return FIELD_NONE; // a sentence with a colon in it
	for (size_t i = 0; i < ARRAY_LEN(field_table); i++)
		if (span_eq_nocase(name, field_table[i].name))
			return field_table[i].field;
	return name.n == 0 ? FIELD_NONE : FIELD_OTHER;
}

// --- From: -----------------------------------------------------------------------------------

struct from_parse {
	struct rfc5322_from result;
	struct strbuf *out;
	uint32_t start;   // where the mailbox under way begins in out
	bool has_at;      // that mailbox has an '@' in what was added
	bool had_bracket; // and its address came in <>
	bool no_comments; // an unclosed '(' was met: it is a letter from here on
	bool no_quotes;   // likewise '"'
	bool keep;        // still the first mailbox
};

static void
out_cut(struct strbuf *b, uint32_t len)
{
	CHECK(len <= b->len);
	b->len = len;
	b->p[len] = '\0';
}

// End of a mailbox: ',', ';' or the end of the field.
static void
mailbox_end(struct from_parse *f)
{
	if (f->has_at) {
		f->result.count++;
		f->keep = false;
		f->start = f->out->len;
	} else if (f->keep) {
		out_cut(f->out, f->start);
	}
	f->has_at = false;
	f->had_bracket = false;
}

// s begins with '"'. Its bytes; 0: never closed.
static uint32_t
quoted_len(struct span s)
{
	for (uint32_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

// The quoted string or comment at the head of s, or one byte; adds it to the mailbox where it
// belongs.
static uint32_t
token_take(struct from_parse *f, struct span s, bool bracket)
{
	bool add = f->keep && (bracket || !f->had_bracket);
	uint32_t n;

	CHECK(s.n > 0);
	if (s.p[0] == '(' && !f->no_comments) {
		n = param_comment_len(s);
		if (n > 0)
			return n;
		f->no_comments = true;
		f->result.odd = true;
	}
	if (s.p[0] == '"' && !f->no_quotes) {
		n = quoted_len(s);
		if (n > 0) {
			// A local part when '@' follows, else a display name.
			if (add && n < s.n && s.p[n] == '@')
				strbuf_add(f->out, span_sub(s, 0, n));
			return n;
		}
		f->no_quotes = true;
		f->result.odd = true;
		return 1;
	}
	if (s.p[0] == '@' && (bracket || !f->had_bracket))
		f->has_at = true;
	if (add && !is_blank(s.p[0]))
		strbuf_add_char(f->out, (char)s.p[0]);
	return 1;
}

// s begins behind '<'; returns the bytes up to and with '>'.
static uint32_t
bracket_take(struct from_parse *f, struct span s)
{
	uint32_t i = 0;

	if (f->had_bracket)
		f->result.odd = true;
	f->had_bracket = true;
	f->has_at = false;
	if (f->keep)
		out_cut(f->out, f->start);
	while (i < s.n && s.p[i] != '>') {
		if (s.p[i] == ':' && f->keep && f->out->len > f->start &&
		    f->out->p[f->start] == '@') { // RFC 822 source route: what counts is behind it
			out_cut(f->out, f->start);
			f->has_at = false;
			i++;
			continue;
		}
		if (s.p[i] == '<')
			f->result.odd = true;
		i += token_take(f, span_from(s, i), true);
	}
	if (i >= s.n) {
		f->result.odd = true;
		return s.n;
	}
	return i + 1;
}

struct rfc5322_from
rfc5322_from_parse(struct span value, struct strbuf *out)
{
	struct from_parse f = {.out = out, .start = out->len, .keep = true};
	uint32_t i = 0;

	CHECK(out->size > 0);
	while (i < value.n) {
		uint8_t c = value.p[i];

		if (c == ',' || c == ';') {
			mailbox_end(&f);
			i++;
		} else if (c == ':' && !f.has_at) { // a group's name ends
			if (f.keep)
				out_cut(out, f.start);
			f.has_at = false;
			i++;
		} else if (c == '<') {
			i += 1 + bracket_take(&f, span_from(value, i + 1));
		} else {
			i += token_take(&f, span_from(value, i), false);
		}
	}
	mailbox_end(&f);
	CHECK(i <= value.n + 1);
	return f.result;
}
