// SPDX-License-Identifier: Apache-2.0
// mime: the nesting of a message's parts, and which lines delimit them (RFC 2046 5.1).
//
// What for: the stack of multiparts and enclosed messages that are open, with every boundary that
// any reader might use for each. Who calls it: the scan, on its worker. Memory: fixed arrays inside
// the scan. What can go wrong: a table is full: the function says so and the scan marks
// SCAN_CAUSE_LIMIT. Boundaries found in a header section are pending until the part's frame is
// pushed; only those of frames delimit. Limits: the names below; depth and parts are further
// bounded by the policy (scan.mime_depth_max).
#pragma once

#include "control/base/span.h"

#define MIME_DEPTH_MAX 64                      // frames; the policy's limit is at most this
#define MIME_BOUNDARY_MAX 256                  // bytes of one; RFC 2046 allows 70
#define MIME_READINGS_MAX 6                    // boundaries of one multipart
#define MIME_BOUNDARIES_MAX 96                 // of all open multiparts
#define MIME_ARENA_SIZE 2816                   // bytes of all their boundaries
#define MIME_LINE_MAX (MIME_BOUNDARY_MAX + 64) // of a line that may be a delimiter
#define MIME_FIELD_MAX 4096                    // bytes of one header field, unfolded

enum mime_frame_kind { MIME_MULTIPART, MIME_MESSAGE };
enum mime_result { MIME_OK, MIME_KNOWN, MIME_FULL };

struct mime_frame {
	uint8_t kind;   // enum mime_frame_kind
	bool is_digest; // its parts are messages by default
	bool is_closed; // its closing delimiter was seen
	bool guess;     // no boundary is known: the first line that looks like a delimiter is one
	uint16_t first; // its boundaries: [first, the next frame's first)
};

struct mime_stack {
	uint16_t depth;
	uint16_t owned; // boundaries of frames; above them, up to count, the pending ones
	uint16_t count;
	uint16_t arena_len;
	uint16_t guessing; // frames with `guess`
	struct mime_frame frame[MIME_DEPTH_MAX];
	struct {
		uint16_t off, len;
	} boundary[MIME_BOUNDARIES_MAX];
	uint8_t arena[MIME_ARENA_SIZE];
};

struct mime_delimiter {
	int32_t frame; // index; -1: the line delimits nothing
	bool is_close;
	bool is_prefix; // no delimiter, but it begins like one: readers differ
	bool is_both;   // it delimits two multiparts, or opens by one reading and closes by another
};

void mime_stack_init(struct mime_stack *s);
// Adds a pending boundary, blanks at its ends taken off. KNOWN: it is pending already, or empty.
enum mime_result mime_boundary_add(struct mime_stack *s, struct span boundary);
uint32_t mime_pending_count(const struct mime_stack *s);
void mime_pending_drop(struct mime_stack *s);
// The pending boundaries become the new frame's. A multipart without any will guess.
enum mime_result mime_push(struct mime_stack *s, enum mime_frame_kind kind, bool is_digest);
// Leaves `depth` frames; returns whether a multipart among those removed had not been closed.
bool mime_pop_to(struct mime_stack *s, uint32_t depth);
bool mime_has_open_multipart(const struct mime_stack *s); // one that was not closed
// Whether lines have to be looked at at all.
static inline bool
mime_is_watching(const struct mime_stack *s)
{
	return s->owned > 0 || s->guessing > 0;
}
// `line` without its line end. A guessing frame takes its boundary from here.
struct mime_delimiter mime_line_check(struct mime_stack *s, struct span line);
