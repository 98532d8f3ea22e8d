// SPDX-License-Identifier: Apache-2.0
// diag: the list of everything that is wrong (or odd) with what an operator gave us.
//
// What for: operator mistakes are reported all at once, each with its line and column, as
// `file:line:column: error: text`. Who calls it: posternd only: the configuration reader, the
// policy compiler, the store, and whoever prints the result. Memory: heap, owned by the list until
// diag_fini. What can go wrong: more than DIAG_MAX rows, or no memory: the rest is only counted
// (`dropped`), and diag_has_error stays right. Texts quote the operator's bytes: control characters
// are shown as \xNN.
#pragma once

#include <stdarg.h>

#include "control/base/strbuf.h"

#define DIAG_MAX 1000
#define DIAG_TEXT_SIZE 512 // a longer text is cut

enum diag_level { DIAG_ERROR, DIAG_WARNING };

struct diag {
	enum diag_level level;
	uint32_t line, column; // from 1; 0: no place in the file
	char *text;            // ours
};

struct diag_list {
	struct diag *row;
	uint32_t count, cap;
	uint32_t errors, warnings; // dropped ones too
	uint32_t dropped;
	char file[256]; // named in front of each row; empty: none
};

void diag_init(struct diag_list *d, const char *file); // file may be NULL
void diag_fini(struct diag_list *d);
void diag_reset(struct diag_list *d); // empties it, keeps the file name
void diag_set_file(struct diag_list *d, const char *file);
void diag_error(struct diag_list *d, uint32_t line, uint32_t column, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void diag_warning(struct diag_list *d, uint32_t line, uint32_t column, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool diag_has_error(const struct diag_list *d);
void
diag_sort(struct diag_list *d); // by position, rows of one position in the order of their making
// One row as `file:line:column: error: text` (without the parts that it has not), no line end.
void diag_format(const struct diag_list *d, uint32_t index, struct strbuf *out);
// The front of it: `file:line:column: `.
void diag_format_place(const struct diag_list *d, uint32_t index, struct strbuf *out);
const char *diag_level_name(enum diag_level level); // "error", "warning"
