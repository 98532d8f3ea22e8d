// SPDX-License-Identifier: Apache-2.0
// param: see the header.
#include "scanner/param.h"

#include <string.h>

#include "scanner/decode.h"

#define SECTION_DIGITS_MAX 4

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span
trim(struct span s)
{
	while (s.n > 0 && is_blank(s.p[0]))
		s = span_from(s, 1);
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

uint32_t
param_comment_len(struct span s)
{
	uint32_t depth = 0;

	CHECK(s.n > 0 && s.p[0] == '(');
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return 0;
}

bool
param_skip_cfws(struct span *s, bool *no_comments)
{
	bool found = false;

	while (s->n > 0) {
		uint32_t n;

		if (is_blank(s->p[0])) {
			*s = span_from(*s, 1);
			continue;
		}
		if (s->p[0] != '(' || *no_comments)
			break;
		n = param_comment_len(*s);
		if (n == 0) {
			*no_comments = true;
			break;
		}
		*s = span_from(*s, n);
		found = true;
	}
	return found;
}

void
param_reader_init(struct param_reader *r, struct span text, uint8_t *mem, uint32_t size)
{
	CHECK(r != NULL);
	CHECK(mem != NULL || size == 0);
	*r = (struct param_reader){.rest = text, .mem = mem, .mem_size = size};
}

static bool
reader_put(struct param_reader *r, uint8_t c)
{
	if (r->mem_len == r->mem_size) {
		r->is_full = true;
		return false;
	}
	r->mem[r->mem_len++] = c;
	return true;
}

static void
reading_add(struct param *p, struct span value)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (span_eq(p->reading[i], value))
			return;
	if (p->count < PARAM_READINGS_MAX)
		p->reading[p->count++] = value;
}

static void
odd_set(struct param *p, enum param_odd odd)
{
	p->odd = MAX(p->odd, odd);
}

// The bytes up to `stop` or the end.
static uint32_t
find_stop(struct span s, uint8_t stop)
{
	int64_t at = span_find(s, stop);

	return at < 0 ? s.n : (uint32_t)at;
}

// Copies text without quotes and the backslashes before quotes: what a reader sees who joins
// `"a" "b".exe` to one value.
static struct span
text_unquote(struct param_reader *r, struct span head, struct span junk)
{
	uint32_t start = r->mem_len;

	for (uint32_t i = 0; i < head.n; i++)
		if (!reader_put(r, head.p[i]))
			break;
	for (uint32_t i = 0; i < junk.n; i++)
		if (junk.p[i] != '"' && !reader_put(r, junk.p[i]))
			break;
	return trim(span_of(r->mem + start, r->mem_len - start));
}

// r->rest begins with '"'.
static void
value_quoted(struct param_reader *r, struct param *p)
{
	struct span all = span_from(r->rest, 1), rest;
	struct span plain;
	uint32_t start = r->mem_len, i;
	bool closed = false, comment;

	CHECK(r->rest.n > 0 && r->rest.p[0] == '"');
	for (i = 0; i < all.n; i++) {
		uint8_t c = all.p[i];

		if (c == '"') {
			closed = true;
			break;
		}
		if (c == '\\' && i + 1 < all.n)
			c = all.p[++i];
		if (!reader_put(r, c))
			break;
	}
	reading_add(p, span_of(r->mem + start, r->mem_len - start));
	plain = span_sub(all, 0, i); // with its backslashes: "C:\temp\x.exe" is read that way too
	reading_add(p, plain);
	if (!closed) { // one reader takes all the rest, another stops at the next ';'
		odd_set(p, PARAM_ODD_HARD);
		i = find_stop(all, ';');
		reading_add(p, trim(span_sub(all, 0, i)));
		r->rest = span_from(all, i);
		return;
	}
	rest = span_from(all, i + 1);
	r->rest = rest;
	comment = param_skip_cfws(&r->rest, &r->no_comments);
	if (r->rest.n == 0 || r->rest.p[0] == ';') {
		if (comment)
			odd_set(p, PARAM_ODD_SOFT);
		return;
	}
	odd_set(p, PARAM_ODD_HARD);
	i = find_stop(rest, ';');
	reading_add(p, text_unquote(r, plain, span_sub(rest, 0, i)));
	r->rest = span_from(rest, i);
}

// The text without its comments: "file.z(.gif)ip" is file.zip to who reads comments inside a word.
static struct span
text_uncomment(struct param_reader *r, struct span s)
{
	uint32_t start = r->mem_len;

	for (uint32_t i = 0; i < s.n;) {
		uint32_t comment = 0;

		if (s.p[i] == '(' && !r->no_comments) {
			comment = param_comment_len(span_from(s, i));
			r->no_comments = comment == 0; // looked for once, so that time stays linear
		}
		if (comment == 0 && !reader_put(r, s.p[i]))
			break;
		i += MAX(comment, 1);
	}
	return trim(span_of(r->mem + start, r->mem_len - start));
}

// Behind the ';' that ended a value without quotes: is there a parameter, or does the value go on,
// as in "name=file;.exe"? The bytes up to the end of such a tail; 0: none.
static uint32_t
value_tail(struct span rest)
{
	uint32_t i = 1;

	while (i < rest.n && rest.p[i] != ';' && rest.p[i] != '=')
		i++;
	if (rest.n == 0 || (i < rest.n && rest.p[i] == '='))
		return 0;
	return trim(span_sub(rest, 1, i - 1)).n > 0 ? i : 0;
}

static void
value_plain(struct param_reader *r, struct param *p)
{
	uint32_t n = find_stop(r->rest, ';');
	struct span all = trim(span_sub(r->rest, 0, n)), part;
	int64_t paren = r->no_comments ? -1 : span_find(all, '(');
	uint32_t word = 0, tail;

	part = all;
	if (paren >= 0) {
		part = trim(span_sub(all, 0, (uint32_t)paren));
		odd_set(p, PARAM_ODD_SOFT);
	}
	reading_add(p, all);
	reading_add(p, part);
	while (word < part.n && !is_blank(part.p[word]))
		word++;
	if (word < part.n) {
		odd_set(p, PARAM_ODD_SOFT);
		reading_add(p, span_sub(part, 0, word));
	}
	if (span_find(all, '"') >= 0) {
		odd_set(p, PARAM_ODD_HARD);
		reading_add(p, text_unquote(r, SPAN_NONE, all));
	}
	if (paren >= 0)
		reading_add(p, text_uncomment(r, all));
	tail = value_tail(span_from(r->rest, n));
	if (tail > 0) {
		odd_set(p, PARAM_ODD_HARD);
		reading_add(p, trim(span_sub(r->rest, 0, n + tail)));
	}
	r->rest = span_from(r->rest, n);
}

// Takes "*", "*0", "*0*" off the attribute.
static void
attr_marks(struct param *p)
{
	struct span a = p->attr;
	int64_t star;
	uint64_t section;

	p->section = -1;
	if (a.n > 0 && a.p[a.n - 1] == '*') {
		p->extended = true;
		a.n--;
	}
	star = span_rfind(a, '*');
	if (star >= 0) {
		struct span digits = span_from(a, (uint32_t)star + 1);

		// "name*00" and "name*07" are numbers to some readers and nothing to others.
		if (digits.n > 1 && digits.p[0] == '0')
			odd_set(p, PARAM_ODD_HARD);
		if (digits.n <= SECTION_DIGITS_MAX && span_u64(digits, 9999, &section))
			p->section = (int32_t)section;
		else
			odd_set(p, PARAM_ODD_HARD);
		a = span_sub(a, 0, (uint32_t)star);
	}
	p->attr = trim(a);
}

// Reads up to '=': the attribute. False: there is none before the next ';' or the end.
static bool
attr_read(struct param_reader *r, struct param *p)
{
	struct span s = r->rest, attr;
	uint32_t n = 0;
	int64_t paren;

	while (n < s.n && s.p[n] != '=' && s.p[n] != ';') {
		uint32_t comment = 0;

		if (s.p[n] == '(' && !r->no_comments) {
			comment = param_comment_len(span_from(s, n)); // may hold '=' and ';'
			r->no_comments = comment == 0;
		}
		n += MAX(comment, 1);
	}
	attr = trim(span_sub(s, 0, n));
	if (n == s.n || s.p[n] == ';') {
		if (attr.n > 0)
			r->is_odd = true;
		r->rest = span_from(s, n);
		return false;
	}
	r->rest = span_from(s, n + 1);
	paren = span_find(attr, '(');
	if (paren >= 0) { // boundary((c))=: a comment for some, part of the name for others
		odd_set(p, PARAM_ODD_HARD);
		attr = text_uncomment(r, attr);
	}
	// "utf-8 name=": a ';' was forgotten; the last word is the attribute.
	for (uint32_t i = attr.n; i > 0; i--) {
		if (is_blank(attr.p[i - 1]) || attr.p[i - 1] == ',' || attr.p[i - 1] == '"') {
			odd_set(p, PARAM_ODD_HARD);
			attr = span_from(attr, i);
			break;
		}
	}
	p->attr = attr;
	return true;
}

bool
param_next(struct param_reader *r, struct param *p)
{
	CHECK(r != NULL && p != NULL);
	while (r->rest.n > 0 && !r->is_full) {
		if (r->rest.p[0] == ';' || r->rest.p[0] == ',') {
			r->rest = span_from(r->rest, 1);
			continue;
		}
		(void)param_skip_cfws(&r->rest, &r->no_comments);
		if (r->rest.n == 0)
			break;
		if (r->rest.p[0] == ';' || r->rest.p[0] == ',')
			continue;
		if (r->count == PARAM_COUNT_MAX) {
			r->is_full = true;
			break;
		}
		*p = (struct param){.section = -1};
		if (!attr_read(r, p))
			continue;
		r->count++;
		attr_marks(p);
		if (param_skip_cfws(&r->rest, &r->no_comments))
			odd_set(p, PARAM_ODD_HARD);
		if (r->rest.n > 0 && r->rest.p[0] == '"')
			value_quoted(r, p);
		else
			value_plain(r, p);
		CHECK(p->count > 0 && p->count <= PARAM_READINGS_MAX);
		return true;
	}
	return false;
}

// --- RFC 2231 --------------------------------------------------------------------------------

// Where the text begins behind charset'language'; 0: there is no such head.
static uint32_t
extended_head(struct span value)
{
	int64_t first = span_find(value, '\''), second;

	if (first < 0)
		return 0;
	second = span_find(span_from(value, (uint32_t)first + 1), '\'');
	return second < 0 ? 0 : (uint32_t)(first + second) + 2;
}

uint32_t
param_extended_decode(struct span value, uint8_t *out, uint32_t size)
{
	CHECK(size >= value.n);
	return decode_percent(span_from(value, extended_head(value)), out, size);
}

void
param_join_add(struct param_join *j, const struct param *p)
{
	CHECK(p->section >= 0);
	CHECK(p->count > 0);
	if (j->count == PARAM_SECTIONS_MAX) {
		j->is_full = true;
		return;
	}
	j->part[j->count].section = p->section;
	j->part[j->count].extended = p->extended;
	j->part[j->count].value = p->reading[0];
	j->count++;
}

bool
param_join_is_odd(const struct param_join *j)
{
	for (uint32_t i = 0; i < j->count; i++)
		if (j->part[i].section != (int32_t)i)
			return true;
	return j->is_full;
}

// The index of the section that comes next behind `last`, the first of equals; count: none.
static uint32_t
join_next(const struct param_join *j, int32_t last)
{
	uint32_t best = j->count;

	for (uint32_t i = 0; i < j->count; i++)
		if (j->part[i].section > last &&
		    (best == j->count || j->part[i].section < j->part[best].section))
			best = i;
	return best;
}

uint32_t
param_join_value(const struct param_join *j, bool as_written, uint8_t *out, uint32_t size)
{
	uint32_t n = 0;
	int32_t last = -1;

	CHECK(j->count <= PARAM_SECTIONS_MAX);
	for (uint32_t k = 0; k < j->count; k++) {
		uint32_t i = as_written ? k : join_next(j, last);
		struct span value;

		if (i == j->count)
			break;
		last = j->part[i].section;
		value = span_sub(j->part[i].value, 0, size - n);
		if (!j->part[i].extended) {
			if (value.n > 0)
				memcpy(out + n, value.p, value.n);
			n += value.n;
			continue;
		}
		if (k == 0)
			value = span_from(value, extended_head(value));
		n += decode_percent(value, out + n, size - n);
	}
	CHECK(n <= size);
	return n;
}
