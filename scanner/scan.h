// SPDX-License-Identifier: Apache-2.0
// scan: one message on its way through RFC 5322, MIME, decoders and matcher, while it arrives.
//
// What for: the dataplane feeds the message's bytes (dot-unstuffed, CRLF lines, any cuts) and reads
// the result at OnEndOfHeaders and OnEndOfData. Who calls it: a session on its worker. Memory: a
// scan is an object of the worker's pool, of fixed size, opened at the first byte of DATA and
// closed with the transaction. What can go wrong: pool empty: NULL, the session answers 452.
// Limits, broken or ambiguous MIME and matcher errors never stop the scan of what can still be
// read: each sets its bit in `causes`, once; the policy (scan.on_*) decides at end of data. How the
// bytes are cut changes nothing. Limits: those of setting.def's section scan, and the named ones in
// mime.h.
#pragma once

#include "scanner/match.h"

#define SCAN_EVIDENCE_MAX 8 // findings kept with their text, of each kind
#define SCAN_NAME_SIZE 256  // bytes of a decoded attachment name that are kept
#define SCAN_ADDR_SIZE 256
#define SCAN_COUNT_MAX 96  // phrases of one influence that are told apart; counting stops there
#define SCAN_STREAMS_MAX 4 // match streams that one scan may have open; most have one

enum scan_cause { // bits
	SCAN_CAUSE_LIMIT = 1,
	SCAN_CAUSE_BROKEN = 2,
	SCAN_CAUSE_AMBIGUOUS = 4,
	SCAN_CAUSE_ERROR = 8,
};

struct scan_finding {
	uint32_t id; // row in PHRASES, NAMES or TYPES
	// The name or the type found; for phrases empty. Printable, NUL-terminated.
	char text[SCAN_NAME_SIZE];
};

struct scan_result {
	uint32_t causes;        // enum scan_cause bits
	const char *cause_text; // of the first cause, for the log: "multipart without boundary"
	uint64_t bytes;
	uint32_t received_count; // Received: header fields
	uint32_t part_count;
	bool headers_done;
	char header_from[SCAN_ADDR_SIZE]; // addr-spec of the first From:, "" if none
	uint32_t header_from_count;       // From: fields seen; more than one is ambiguous
	// Phrases matched, each once: how many (at most SCAN_COUNT_MAX), and those first in the
	// list, in its order: in which order they were found depends on nothing that a reader could
	// see.
	uint32_t bad_count, good_count;
	struct scan_finding bad[SCAN_EVIDENCE_MAX], good[SCAN_EVIDENCE_MAX];
	// Attachment names and types that are on the lists: as found, each text once.
	uint32_t name_count, type_count;
	struct scan_finding name[SCAN_EVIDENCE_MAX], type[SCAN_EVIDENCE_MAX];
};

struct scanner; // of one worker
struct scan;

enum scan_step { SCAN_MORE, SCAN_HEADERS_END };

struct scanner_args {
	uint32_t worker; // index for the matcher's scratch
	uint32_t scans_max;
	struct counters *counters;
	struct mem_source *mem;
};

struct scanner *must_use scanner_open(const struct scanner_args *args); // boot; NULL: no memory
void scanner_close(struct scanner **s);
uint32_t scanner_free_count(const struct scanner *s);

// view and matcher stay the caller's and must outlive the scan. NULL: pool empty.
struct scan *must_use scan_open(struct scanner *s, const struct policy_view *view,
				struct matcher *m);
// Takes all of `bytes`, or stops behind the blank line after the headers: then *taken is how far it
// came and SCAN_HEADERS_END is returned, exactly once a message (a message without body gets it in
// scan_end).
must_use enum scan_step scan_feed(struct scan *s, struct span bytes, uint32_t *taken);
// End of data. SCAN_HEADERS_END if the blank line never came.
enum scan_step scan_end(struct scan *s);
const struct scan_result *scan_result(const struct scan *s);
void scan_close(struct scan **s);
