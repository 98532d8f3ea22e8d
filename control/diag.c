// SPDX-License-Identifier: Apache-2.0
// diag: collects, sorts and prints what is wrong. See diag.h.
#include "control/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
diag_init(struct diag_list *d, const char *file)
{
	CHECK(d != NULL);
	*d = (struct diag_list){0};
	diag_set_file(d, file);
}

void
diag_reset(struct diag_list *d)
{
	CHECK(d != NULL);
	CHECK(d->count <= d->cap);
	for (uint32_t i = 0; i < d->count; i++)
		free(d->row[i].text);
	d->count = d->errors = d->warnings = d->dropped = 0;
}

void
diag_fini(struct diag_list *d)
{
	diag_reset(d);
	free(d->row);
	d->row = NULL;
	d->cap = 0;
}

void
diag_set_file(struct diag_list *d, const char *file)
{
	struct strbuf b;

	CHECK(d != NULL);
	strbuf_init(&b, d->file, sizeof(d->file));
	if (file != NULL)
		strbuf_add_str(&b, file);
}

// The terminal that shows these rows obeys escape sequences; the file's author may not be its
// reader.
static void
text_escape(struct strbuf *out, struct span s)
{
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			strbuf_addf(out, "\\x%02x", s.p[i]);
		else
			strbuf_add_char(out, (char)s.p[i]);
	}
}

static bool
row_room(struct diag_list *d)
{
	if (d->count < d->cap)
		return true;
	if (d->cap >= DIAG_MAX)
		return false;
	uint32_t cap = d->cap == 0 ? 16 : MIN(2 * d->cap, DIAG_MAX);
	struct diag *row = realloc(d->row, cap * sizeof(*row));
	if (row == NULL)
		return false;
	d->row = row;
	d->cap = cap;
	return true;
}

static void
row_add(struct diag_list *d, struct diag row, const char *fmt, va_list ap)
{
	char plain[DIAG_TEXT_SIZE], escaped[DIAG_TEXT_SIZE];
	struct strbuf b;

	CHECK(d != NULL);
	CHECK(fmt != NULL);
	if (row.level == DIAG_ERROR)
		d->errors++;
	else
		d->warnings++;
	int n = vsnprintf(plain, sizeof(plain), fmt, ap);
	CHECK(n >= 0);
	strbuf_init(&b, escaped, sizeof(escaped));
	text_escape(&b, span_str(plain));
	row.text = row_room(d) ? strdup(escaped) : NULL;
	if (row.text == NULL) {
		d->dropped++;
		return;
	}
	d->row[d->count++] = row;
	CHECK(d->count <= d->cap);
}

void
diag_error(struct diag_list *d, uint32_t line, uint32_t column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	row_add(d, (struct diag){.level = DIAG_ERROR, .line = line, .column = column}, fmt, ap);
	va_end(ap);
}

void
diag_warning(struct diag_list *d, uint32_t line, uint32_t column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	row_add(d, (struct diag){.level = DIAG_WARNING, .line = line, .column = column}, fmt, ap);
	va_end(ap);
}

bool
diag_has_error(const struct diag_list *d)
{
	CHECK(d != NULL);
	return d->errors > 0;
}

static bool
row_is_after(const struct diag *a, const struct diag *b)
{
	return a->line != b->line ? a->line > b->line : a->column > b->column;
}

// An insertion sort: stable, DIAG_MAX rows at most, and these come nearly sorted.
void
diag_sort(struct diag_list *d)
{
	CHECK(d != NULL);
	for (uint32_t i = 1; i < d->count; i++) {
		struct diag row = d->row[i];
		uint32_t at = i;
		for (; at > 0 && row_is_after(&d->row[at - 1], &row); at--)
			d->row[at] = d->row[at - 1];
		d->row[at] = row;
	}
}

void
diag_format_place(const struct diag_list *d, uint32_t index, struct strbuf *out)
{
	CHECK(d != NULL);
	CHECK(index < d->count);
	const struct diag *row = &d->row[index];

	if (d->file[0] != '\0') {
		text_escape(out, span_str(d->file));
		strbuf_add_char(out, ':');
	}
	if (row->line > 0)
		strbuf_addf(out, "%u:%u:", row->line, row->column);
	if (out->len > 0)
		strbuf_add_char(out, ' ');
}

void
diag_format(const struct diag_list *d, uint32_t index, struct strbuf *out)
{
	diag_format_place(d, index, out);
	const struct diag *row = &d->row[index];

	strbuf_addf(out, "%s: %s", diag_level_name(row->level), row->text);
}

const char *
diag_level_name(enum diag_level level)
{
	return level == DIAG_ERROR ? "error" : "warning";
}
