// SPDX-License-Identifier: Apache-2.0
// scan_in: what the three files of the scan share; nobody else includes it.
//
//   scan.c        lines: header sections, delimiters, parts
//   scan_field.c  what one header field means
//   scan_text.c   lanes: bodies, decoded, into the matcher
//
// A lane is one reading of the body: a decoder, a buffer and a match stream. Lane TEXT carries the
// encoding that the part declares; where that is in doubt, TEXT reads it as base64, ALT as
// quoted-printable and RAW as it is. RAW starts with the first cause (raw_on) and runs to the end
// of the message, headers and delimiters included. In which pieces the matcher gets the bytes, and
// in which order lanes find things, must not show in the result. All of it runs on the worker;
// memory: the worker's pool.
#pragma once

#include "control/abi/counter.h"
#include "control/base/pool.h"
#include "scanner/decode.h"
#include "scanner/mime.h"
#include "scanner/scan.h"

#define SCAN_MAGIC 0x4e414353u
#define SCANNER_MAGIC 0x524e4353u

#define SCAN_TEXT_SIZE 4096
#define SCAN_LANE_SIZE 1024 // of the lanes that only marked messages use
#define SCAN_SNIFF_SIZE 512
#define SCAN_SET_SLOTS 128 // hash slots for SCAN_COUNT_MAX ids
static_assert(SCAN_SET_SLOTS > SCAN_COUNT_MAX && (SCAN_SET_SLOTS & (SCAN_SET_SLOTS - 1)) == 0,
	      "probing");

enum scan_lane_id { LANE_TEXT, LANE_ALT, LANE_RAW, LANE_COUNT };
enum scan_reading { READ_NOTHING, READ_IDENTITY, READ_BASE64, READ_QP, READ_ALL };

enum scan_state {
	STATE_FIELD_START, // at the head of a line of a header section
	STATE_FIELD,       // inside it
	STATE_BODY_START,  // at the head of a line of a body
	STATE_BODY,
	STATE_DASHES, // in a line that begins with '-' and may be a delimiter; it is in `line`
};

struct scan_lane {
	struct match_stream *stream;
	struct decode decode;
	uint8_t *buf;
	uint16_t size, len;
	bool is_on;
	bool is_open;  // match_open was called (an empty rule set has no stream)
	bool is_dirty; // the stream has seen bytes since its last reset
	bool blank;    // the last byte was white space: a run of it is one SP to the matcher
	bool drop_nul; // UTF-16 and the like: what is left of ASCII text without its NULs
};

// What the header section of the part under way said, by any reading.
struct scan_part {
	uint8_t type_count, encoding_count, disposition_count, subject_count;
	bool is_multipart, is_message, is_text, is_digest;
	bool encoding_odd; // unknown or contradicting: all readings
	bool is_wide;
	bool blank_line; // the continuation line under way holds only blanks so far
	uint8_t reading; // enum scan_reading: IDENTITY, BASE64 or QP
};

struct scan_set {
	uint32_t used;
	uint32_t slot[SCAN_SET_SLOTS]; // id + 1; 0: free
};

struct scan {
	uint32_t magic;
	uint8_t state; // enum scan_state
	bool raw_on;
	bool cr_held;        // a CR ended the last bytes: it may belong to a line end
	bool dashes_in_head; // STATE_DASHES was entered from a header section
	bool line_cut;       // blanks at the end of `line` were left out
	bool field_active;   // `field` holds a field that is not finished
	bool field_cut;      // and it was longer than that
	bool head_over;      // beyond header_bytes_max: fields are no longer read
	bool is_top;         // in the message's own header section
	bool is_first_line;
	bool sniff_text; // the sniffer listens to TEXT (an encoded message), not to RAW
	bool sniff_skip, sniff_fold;
	uint8_t eol; // line end before this line, not yet given on: 0, 1 (LF), 2 (CRLF)
	uint16_t line_len, field_len, sniff_len;
	uint32_t head_bytes, name_count;
	struct scanner *scanner;
	const struct policy_view *view;
	struct matcher *matcher;
	struct match_stream *names;
	bool names_open;
	struct scan_lane lane[LANE_COUNT];
	struct scan_part part;
	struct scan_set bad_set, good_set;
	// From here on not cleared as a whole: each has its own beginning.
	struct scan_result result;
	struct mime_stack stack;
	uint8_t line[MIME_LINE_MAX];
	uint8_t sniff[SCAN_SNIFF_SIZE];
	uint8_t field[MIME_FIELD_MAX];
	uint8_t text_buf[SCAN_TEXT_SIZE];
	uint8_t alt_buf[SCAN_LANE_SIZE];
	uint8_t raw_buf[SCAN_LANE_SIZE];
};
static_assert(sizeof(struct scan) <= 24 * 1024, "one scan of a worker's pool");

struct scanner {
	uint32_t magic;
	uint32_t worker;
	struct counters *counters;
	struct mem_source *mem;
	struct pool pool;
};

// scan_text.c
void scan_cause(struct scan *s, enum scan_cause cause, const char *text);
void scan_finding_set(struct scan_finding *f, uint32_t id, struct span text);
// A text begins in TEXT (and ALT): what was before has ended.
void scan_text_begin(struct scan *s, enum scan_reading reading, bool drop_nul);
void scan_text_add(struct scan *s,
		   struct span bytes); // body bytes: to the lanes that are on, and RAW
void scan_text_end(struct scan *s);
void scan_text_alone(struct scan *s, struct span text); // a text of its own while no body is read
void scan_raw_add(struct scan *s,
		  struct span bytes); // bytes that are no body: to RAW, if that is on
void scan_raw_end(struct scan *s);
void scan_streams_close(struct scan *s);

// scan_field.c
void scan_field_finish(struct scan *s); // s->field holds an unfolded field
void scan_sniff_add(struct scan *s, struct span bytes);
void scan_sniff_end(struct scan *s);
