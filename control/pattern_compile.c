// SPDX-License-Identifier: Apache-2.0
// pattern_compile: see the header. Every pattern becomes a regular expression over bytes.
//
// HS_FLAG_UTF8 is not used on purpose: Hyperscan calls the result of scanning text that is not
// valid UTF-8 undefined, and mail is whatever the sender likes. Letters beyond ASCII are spelled
// out instead, as an alternation of their two cases in UTF-8 and, where it has them, in ISO-8859-1.
#include "control/pattern_compile.h"

#include <errno.h>
#include <hs_compile.h>

#include <stdlib.h>
#include <string.h>

// The longest that one byte of a pattern becomes: half of "(?:\xc3\xa9|\xc3\x89|\xe9|\xc9)" or
// "(?:[\xc2-\xf4][\x80-\xbf]{1,3}|.)" for one '?'.
#define EXPANSION_MAX 40
#define FRAME_MAX 32 // anchors and trailing class
#define EXPRESSION_MAX (PATTERN_TEXT_MAX * EXPANSION_MAX + FRAME_MAX)

// Windows drops dots and blanks at the end of a file name: "x.exe. ." is x.exe there.
#define NAME_TAIL "[ .\\t\\r\\n]*\\z"

struct pattern_list {
	char **expr;
	unsigned *flags, *ids;
	uint32_t count;
};

struct case_range {
	uint32_t first, last; // upper case letters
	uint32_t step;        // 1: each; 2: every other, its lower case is the next one
	uint32_t distance;    // to the lower case
};

// Scripts with case that phrases are written in. Others match as they are spelled.
static const struct case_range case_ranges[] = {
	{0x00c0, 0x00d6, 1, 32}, {0x00d8, 0x00de, 1, 32}, {0x0100, 0x012e, 2, 1},
	{0x0132, 0x0136, 2, 1},  {0x0139, 0x0147, 2, 1},  {0x014a, 0x0176, 2, 1},
	{0x0179, 0x017d, 2, 1},  {0x0388, 0x038a, 1, 37}, {0x0391, 0x03a1, 1, 32},
	{0x03a3, 0x03ab, 1, 32}, {0x0400, 0x040f, 1, 80}, {0x0410, 0x042f, 1, 32},
	{0x0460, 0x0480, 2, 1},  {0x048a, 0x04be, 2, 1},  {0x04d0, 0x052e, 2, 1},
	{0x1e00, 0x1e94, 2, 1},  {0x1ea0, 0x1efe, 2, 1},
};

static uint32_t
case_other(uint32_t c)
{
	for (size_t i = 0; i < ARRAY_LEN(case_ranges); i++) {
		const struct case_range *r = &case_ranges[i];

		if (c >= r->first && c <= r->last && (c - r->first) % r->step == 0)
			return c + r->distance;
		if (c >= r->first + r->distance && c <= r->last + r->distance &&
		    (c - r->distance - r->first) % r->step == 0)
			return c - r->distance;
	}
	return c;
}

// One code point of two to four bytes; 0: not valid UTF-8 here.
static uint32_t
utf8_len(struct span s, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t n, v;

	CHECK(s.n > 0);
	if (s.p[0] >= 0xc2 && s.p[0] <= 0xdf)
		n = 2, v = s.p[0] & 0x1f;
	else if (s.p[0] >= 0xe0 && s.p[0] <= 0xef)
		n = 3, v = s.p[0] & 0x0f;
	else if (s.p[0] >= 0xf0 && s.p[0] <= 0xf4)
		n = 4, v = s.p[0] & 0x07;
	else
		return 0;
	if (s.n < n)
		return 0;
	for (uint32_t i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s.p[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*cp = v;
	return n;
}

static void
utf8_add(struct strbuf *b, uint32_t c)
{
	CHECK(c >= 0x80 && c <= 0x10ffff);
	if (c < 0x800) {
		strbuf_addf(b, "\\x%02x", 0xc0 | c >> 6);
	} else if (c < 0x10000) {
		strbuf_addf(b, "\\x%02x", 0xe0 | c >> 12);
		strbuf_addf(b, "\\x%02x", 0x80 | (c >> 6 & 0x3f));
	} else {
		strbuf_addf(b, "\\x%02x", 0xf0 | c >> 18);
		strbuf_addf(b, "\\x%02x", 0x80 | (c >> 12 & 0x3f));
		strbuf_addf(b, "\\x%02x", 0x80 | (c >> 6 & 0x3f));
	}
	strbuf_addf(b, "\\x%02x", 0x80 | (c & 0x3f));
}

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_alnum(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Adds the literal at the head of s; returns its bytes.
static uint32_t
literal_add(struct strbuf *b, struct span s)
{
	uint32_t c = 0, other, n;

	CHECK(s.n > 0);
	if (s.p[0] < 0x80) {
		if (is_alnum(s.p[0]))
			strbuf_add_char(b, (char)s.p[0]);
		else
			strbuf_addf(b, "\\x%02x", s.p[0]);
		return 1;
	}
	n = utf8_len(s, &c);
	if (n == 0) { // not UTF-8: the byte itself
		strbuf_addf(b, "\\x%02x", s.p[0]);
		return 1;
	}
	other = case_other(c);
	strbuf_add_str(b, "(?:");
	utf8_add(b, c);
	if (other != c) {
		strbuf_add_char(b, '|');
		utf8_add(b, other);
	}
	if (c <= 0xff)
		strbuf_addf(b, "|\\x%02x", c);
	if (other != c && other <= 0xff)
		strbuf_addf(b, "|\\x%02x", other);
	strbuf_add_char(b, ')');
	return n;
}

static bool
phrase_add(struct strbuf *b, struct span s)
{
	bool seen = false;

	for (uint32_t i = 0; i < s.n;) {
		if (!is_space(s.p[i])) {
			i += literal_add(b, span_from(s, i));
			seen = true;
			continue;
		}
		while (i < s.n && is_space(s.p[i]))
			i++;
		// The text has its runs folded already. A class like [ \t\r\n]+ instead would make
		// regular expressions of literals: 500 phrases that begin alike then take 4.5 s to
		// compile, not 20 ms.
		strbuf_add_char(b, ' ');
	}
	return seen;
}

static bool
name_add(struct strbuf *b, struct span s)
{
	bool seen = false;

	if (s.n == 0)
		return false;
	if (s.p[0] != '*')
		strbuf_add_str(b, "^");
	for (uint32_t i = 0; i < s.n;) {
		if (s.p[i] == '*') {
			if (seen && (i + 1 == s.n || s.p[i + 1] != '*'))
				strbuf_add_str(b, ".*");
			i++;
			continue;
		}
		seen = true;
		if (s.p[i] != '?') {
			i += literal_add(b, span_from(s, i));
			continue;
		}
		strbuf_add_str(b, "(?:[\\xc2-\\xf4][\\x80-\\xbf]{1,3}|.)");
		i++;
	}
	// "*" alone: every name. Without a byte of its own Hyperscan would call it empty.
	strbuf_add_str(b, seen ? NAME_TAIL : ".");
	return true;
}

static bool
list_add(struct pattern_list *l, enum pattern_kind kind, struct span text, struct strbuf *expr,
	 struct strbuf *why)
{
	bool ok;

	if (text.n > PATTERN_TEXT_MAX) {
		strbuf_addf(why, "longer than %u bytes", PATTERN_TEXT_MAX);
		return false;
	}
	strbuf_reset(expr);
	ok = kind == PATTERN_PHRASE ? phrase_add(expr, text) : name_add(expr, text);
	if (!ok) {
		strbuf_add_str(why, "empty");
		return false;
	}
	CHECK(!expr->truncated);
	l->expr[l->count] = strdup(expr->p);
	if (l->expr[l->count] == NULL) {
		strbuf_add_str(why, "out of memory");
		return false;
	}
	l->flags[l->count] = HS_FLAG_CASELESS | HS_FLAG_SINGLEMATCH | HS_FLAG_DOTALL;
	l->ids[l->count] = l->count;
	l->count++;
	return true;
}

static void
list_free(struct pattern_list *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		free(l->expr[i]);
	free(l->expr);
	free(l->flags);
	free(l->ids);
}

// The index of the pattern to blame: Hyperscan's own answer, else the first that fails alone.
static uint32_t
list_find_bad(const struct pattern_list *l, const hs_compile_error_t *err)
{
	if (err->expression >= 0 && (uint32_t)err->expression < l->count)
		return (uint32_t)err->expression;
	for (uint32_t i = 0; i < l->count; i++) {
		hs_compile_error_t *one = NULL;
		hs_expr_info_t *info = NULL;
		hs_error_t rc = hs_expression_info(l->expr[i], l->flags[i], &info, &one);

		free(info);
		hs_free_compile_error(one);
		if (rc != HS_SUCCESS)
			return i;
	}
	return 0;
}

static enum pattern_result
list_compile(const struct pattern_list *l, void **db, size_t *size, uint32_t *bad,
	     struct strbuf *why)
{
	hs_compile_error_t *err = NULL;
	hs_database_t *live = NULL;
	char *bytes = NULL;
	hs_error_t rc;

	rc = hs_compile_multi((const char *const *)l->expr, l->flags, l->ids, l->count,
			      HS_MODE_STREAM, NULL, &live, &err);
	if (rc != HS_SUCCESS) {
		*bad = err != NULL ? list_find_bad(l, err) : 0;
		strbuf_add_str(why, err != NULL ? err->message : "Hyperscan gives no reason");
		hs_free_compile_error(err);
		return PATTERN_BAD;
	}
	rc = hs_serialize_database(live, &bytes, size);
	hs_free_database(live);
	if (rc != HS_SUCCESS) {
		strbuf_addf(why, "cannot serialise the database: Hyperscan error %d", rc);
		return PATTERN_BAD;
	}
	*db = bytes; // Hyperscan's default allocator is malloc, and posternd sets no other
	return PATTERN_OK;
}

enum pattern_result
pattern_compile(enum pattern_kind kind, const struct span *texts, uint32_t count, void **db,
		size_t *size, uint32_t *bad, struct strbuf *why)
{
	struct pattern_list l = {0};
	enum pattern_result result = PATTERN_BAD;
	struct strbuf expr;
	char *mem;

	CHECK(kind == PATTERN_PHRASE || kind == PATTERN_NAME);
	CHECK(db != NULL && size != NULL && bad != NULL && why != NULL);
	CHECK(count == 0 || texts != NULL);
	*db = NULL;
	*size = 0;
	*bad = 0;
	if (count == 0)
		return PATTERN_OK;
	mem = malloc(EXPRESSION_MAX);
	l.expr = calloc(count, sizeof(*l.expr));
	l.flags = calloc(count, sizeof(*l.flags));
	l.ids = calloc(count, sizeof(*l.ids));
	if (mem == NULL || l.expr == NULL || l.flags == NULL || l.ids == NULL) {
		strbuf_add_str(why, "out of memory");
		goto out;
	}
	strbuf_init(&expr, mem, EXPRESSION_MAX);
	for (uint32_t i = 0; i < count; i++) {
		*bad = i;
		if (!list_add(&l, kind, texts[i], &expr, why))
			goto out;
	}
	*bad = 0;
	result = list_compile(&l, db, size, bad, why);
	CHECK(result != PATTERN_OK || (*db != NULL && *size > 0));
out:
	list_free(&l);
	free(mem);
	return result;
}
