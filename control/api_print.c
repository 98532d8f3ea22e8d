// SPDX-License-Identifier: Apache-2.0
// api_print: JSON values for the answers, and tables of them for people (api.h).
//
// Texts in the data may come from SMTP clients. In a table each control character becomes `?`, so
// that nothing in a HELO name can move the cursor of the operator's terminal.
#include "control/api.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 16
#define CELL_MAX 512 // bytes of one cell; the rest is cut

void
api_printf(struct api_call *c, const char *fmt, ...)
{
	va_list ap;

	CHECK(c != NULL && c->out != NULL);
	if (c->json)
		return;
	va_start(ap, fmt);
	(void)vfprintf(c->out, fmt, ap); // no memory: answer_make sees it
	va_end(ap);
}

json_t *
api_text(struct span s)
{
	json_t *v = json_stringn((const char *)s.p, s.n);

	if (v != NULL || s.n == 0)
		return v != NULL ? v : json_string("");
	// Not UTF-8: each byte becomes the character of that number. At most two bytes each.
	char *copy = malloc((size_t)s.n * 2);
	size_t n = 0;
	if (copy == NULL)
		return NULL;
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] >= 0x80)
			copy[n++] = (char)(0xc0 | s.p[i] >> 6);
		copy[n++] = (char)(s.p[i] >= 0x80 ? 0x80 | (s.p[i] & 0x3f) : s.p[i]);
	}
	v = json_stringn(copy, n);
	free(copy);
	return v;
}

json_t *
api_texts(const char *s)
{
	CHECK(s != NULL);
	return api_text(span_str(s));
}

json_t *
api_time(uint64_t unix_s)
{
	char text[48];
	struct strbuf b;

	if (unix_s == 0)
		return json_null();
	strbuf_init(&b, text, sizeof(text));
	config_time_format(&b, unix_s);
	return json_string(text);
}

static void
cell_text(struct strbuf *b, const json_t *v)
{
	const unsigned char *s = (const unsigned char *)json_string_value(v);
	size_t n = json_string_length(v);

	for (size_t i = 0; i < n; i++) {
		// C1 controls are c2 80 .. c2 9f in UTF-8.
		if (s[i] == 0xc2 && i + 1 < n && s[i + 1] < 0xa0) {
			strbuf_add_char(b, '?');
			i++;
		} else {
			strbuf_add_char(b, s[i] < 0x20 || s[i] == 0x7f ? '?' : (char)s[i]);
		}
	}
	if (!b->truncated)
		return;
	// Cut: not in the middle of a character.
	while (b->len > 0 && ((unsigned char)b->p[b->len - 1] & 0xc0) == 0x80)
		b->len--;
	if (b->len > 0 && (unsigned char)b->p[b->len - 1] >= 0xc0)
		b->len--;
}

static void
cell_format(struct strbuf *b, const json_t *v)
{
	strbuf_reset(b);
	if (json_is_string(v) && json_string_length(v) > 0)
		cell_text(b, v);
	else if (json_is_integer(v))
		strbuf_addf(b, "%lld", (long long)json_integer_value(v));
	else if (json_is_boolean(v))
		strbuf_add_str(b, json_is_true(v) ? "yes" : "no");
	else
		strbuf_add_str(b, "-");
}

// Characters, not bytes, so that columns stay straight.
static uint32_t
cell_width(struct span s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s.n; i++)
		n += (s.p[i] & 0xc0) != 0x80;
	return n;
}

static void
cell_print(struct api_call *c, struct span s, uint32_t width, bool right, bool last)
{
	int pad = (int)(width - MIN(width, cell_width(s)));

	if (right)
		api_printf(c, "%*s%.*s", pad, "", SPAN_FMT(s));
	else
		api_printf(c, "%.*s%*s", SPAN_FMT(s), last ? 0 : pad, "");
	api_printf(c, last ? "\n" : "  ");
}

void
api_table(struct api_call *c, const json_t *table, const struct api_column *columns, uint32_t count)
{
	uint32_t width[COLUMNS_MAX];
	char cell[CELL_MAX];
	struct strbuf b;
	json_t *row;
	size_t i;

	CHECK(c != NULL && columns != NULL);
	CHECK(count > 0 && count <= COLUMNS_MAX);
	if (c->json)
		return;
	strbuf_init(&b, cell, sizeof(cell));
	for (uint32_t k = 0; k < count; k++) {
		width[k] = cell_width(span_str(columns[k].title));
		json_array_foreach(table, i, row)
		{
			cell_format(&b, json_object_get(row, columns[k].key));
			width[k] = MAX(width[k], cell_width(strbuf_span(&b)));
		}
	}
	const json_t *first = json_array_get(table, 0);
	for (uint32_t k = 0; k < count; k++) {
		bool right = json_is_integer(json_object_get(first, columns[k].key));
		cell_print(c, span_str(columns[k].title), width[k], right, k + 1 == count);
	}
	json_array_foreach(table, i, row)
	{
		for (uint32_t k = 0; k < count; k++) {
			const json_t *v = json_object_get(row, columns[k].key);
			cell_format(&b, v);
			cell_print(c, strbuf_span(&b), width[k], json_is_integer(v),
				   k + 1 == count);
		}
	}
}
