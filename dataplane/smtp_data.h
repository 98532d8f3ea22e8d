// SPDX-License-Identifier: Apache-2.0
// smtp_data: where a message ends: the framing of DATA, and its dots.
//
// What for: only CRLF.CRLF ends the data; a bare CR, a bare LF or a NUL is a fault, and no byte of
// it or after it is ever handed out, so nothing that a second reader could take for another end
// goes on. Who calls it: smtp_relay.c, byte runs in the order of arrival. Memory: a run points into
// the input or to constants. What can go wrong: the three faults. How the bytes are cut changes
// nothing. RFC 5321 4.5.2.
//
//   LINE --any but . CR--> TEXT --CR--> CR --LF--> LINE
//   LINE --CR--> CR        DOT --any but CR--> TEXT (the dot was stuffed)
//   LINE --.--> DOT --CR--> DOT_CR --LF--> END
//
// A byte that may still become part of the end or of a fault (a CR, the first dot of a line) is not
// handed out before the next one has been seen.
#pragma once

#include "control/base/span.h"

enum smtp_data_state {
	SMTP_DATA_LINE, // at the start of a line
	SMTP_DATA_TEXT,
	SMTP_DATA_CR,     // a CR is held back
	SMTP_DATA_DOT,    // a dot at the start of a line is held back
	SMTP_DATA_DOT_CR, // a dot and a CR are held back
	SMTP_DATA_OVER,   // the end or a fault was reported
};

enum smtp_data_step {
	SMTP_DATA_MORE,
	SMTP_DATA_END,
	SMTP_DATA_BARE_CR,
	SMTP_DATA_BARE_LF,
	SMTP_DATA_NUL
};

struct smtp_data_run {
	struct span bytes; // as on the wire, dots included; may be empty
	bool is_stuffing;  // the one dot that transparency added: no part of the content
};

void smtp_data_init(enum smtp_data_state *d);
// Takes some of `in` (in.n > 0) and gives at most one run. Call it until `in` is used up or a step
// other than MORE comes. Progress: each call takes a byte or gives a byte.
must_use enum smtp_data_step smtp_data_next(enum smtp_data_state *d, struct span in,
					    uint32_t *taken, struct smtp_data_run *run);

// What smtp_data_next chooses from, by what the processor has; for tests. How many bytes may be
// passed over, in blocks of 64: no NUL, no CR or LF without the other, no dot at the start of a
// line. at_line: is the first byte, is the one after them, at the start of a line? A CR at the very
// end is not among them.
uint32_t smtp_data_clean_sse2(const uint8_t *p, uint32_t n, bool *at_line);
uint32_t smtp_data_clean_avx512(const uint8_t *p, uint32_t n, bool *at_line);
