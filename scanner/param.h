// SPDX-License-Identifier: Apache-2.0
// param: the parameters of Content-Type and Content-Disposition, in every way that a reader may
// read them.
//
// What for: `; name="a.exe"; filename*0*=utf-8''b%2E; filename*1=exe (comment)` as a list of
// attributes, each with all the values that are in use for it (RFC 2045 5.1, RFC 2231 3 and 4, and
// what clients accept beyond). Who calls it: the scan, on its worker. Memory: readings are spans of
// the field or of the reader's array. What can go wrong: nothing stops the reader before the end of
// the field or PARAM_COUNT_MAX parameters (`is_full`); what two readers would read differently gets
// a second reading and a mark. Time is linear in the field: comments nest by counting, an unclosed
// comment or quote is looked for once.
#pragma once

#include "control/base/span.h"

#define PARAM_COUNT_MAX 128   // of one field
#define PARAM_SECTIONS_MAX 64 // of one RFC 2231 value
#define PARAM_READINGS_MAX 6

enum param_odd {
	PARAM_ODD_NONE,
	PARAM_ODD_SOFT, // blanks or parentheses in a value without quotes: common in names
	PARAM_ODD_HARD, // unclosed or doubled quotes, junk behind a value, comment before '='
};

struct param {
	struct span attr; // without the marks of RFC 2231
	int32_t section;  // *N; -1: none
	bool extended;    // a '*' at the end: percent-encoded
	enum param_odd odd;
	uint32_t count; // readings, at least 1
	struct span reading[PARAM_READINGS_MAX];
};

struct param_reader {
	struct span rest;
	uint8_t *mem;
	uint32_t mem_size, mem_len;
	uint32_t count;
	bool is_full;     // a limit was reached: the rest was not read
	bool is_odd;      // text between the parameters that is none
	bool no_comments; // a '(' was never closed: from here on it is a letter
};

struct param_join {
	uint32_t count;
	bool is_full;
	struct {
		int32_t section;
		bool extended;
		struct span value;
	} part[PARAM_SECTIONS_MAX];
};

// `text` is what follows the type, unfolded. mem should have twice its size.
void param_reader_init(struct param_reader *r, struct span text, uint8_t *mem, uint32_t size);
bool param_next(struct param_reader *r, struct param *p); // false: end

// s begins with '('. The bytes of the comment, nested ones included; 0: it is never closed.
uint32_t param_comment_len(struct span s);
// Skips blanks and comments (nested) at the head of *s; returns whether there was a comment. An
// unclosed one sets *no_comments and stays.
bool param_skip_cfws(struct span *s, bool *no_comments);

void param_join_add(struct param_join *j, const struct param *p);
// The sections joined by number (or, with as_written, in the order of the field) and decoded; the
// bytes written. 0: no sections.
uint32_t param_join_value(const struct param_join *j, bool as_written, uint8_t *out, uint32_t size);
// Whether sections are missing, doubled or out of order.
bool param_join_is_odd(const struct param_join *j);

// An extended value, "utf-8'en'caf%C3%A9": charset and language off, escapes undone.
uint32_t param_extended_decode(struct span value, uint8_t *out, uint32_t size);
