// SPDX-License-Identifier: Apache-2.0
// log_tail: reads the message log for `postern log tail`, by lines, from a place on.
//
// What for: the last lines, and what came since. Who calls it: posternd's api_log.c. Memory: lines
// are borrowed for the callback. What can go wrong: the file was cut short (copytruncate): reading
// begins at its start again; it cannot be read: no lines. A line without end is not given yet,
// unless it is longer than any of ours. All work of one call is bounded.
#pragma once

#include "control/base/strbuf.h"

#define LOG_TAIL_LINES_MAX 10000u
#define LOG_TAIL_BYTES_MAX (4u << 20) // read by one call

struct log_place {
	uint64_t device, inode, offset;
};

typedef void (*log_tail_fn)(void *ctx, struct span line); // without its newline

// The place where the last `lines` lines of the file begin.
must_use bool log_tail_place(int fd, uint32_t lines, struct log_place *out);
// The start of the file.
must_use bool log_tail_begin(int fd, struct log_place *out);
bool log_tail_is_of(int fd, const struct log_place *p);
// Gives what is there from *p on, and moves *p behind it. Returns the number of lines.
uint32_t log_tail_read(int fd, struct log_place *p, log_tail_fn line, void *ctx);
// A place as text, for the client to keep: "dev-inode-offset" in hex.
void log_place_format(struct strbuf *b, const struct log_place *p);
must_use bool log_place_parse(const char *text, struct log_place *out);
