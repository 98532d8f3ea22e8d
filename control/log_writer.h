// SPDX-License-Identifier: Apache-2.0
// log_writer: the message log: one JSON line for each record that a worker sends.
//
// What for: `postern log`, log shippers and people read this file; its keys are a contract
// (architecture, section 7): time session client direction helo tls auth from rcpt event agent
// action rule evidence reply bytes us, always all of them, then worker, and scl, reason, cut where
// they say something. Who calls it: posternd, single-threaded. Memory: the writer owns one buffer
// and its descriptors; log_line_format writes into the caller's strbuf. What can go wrong: the disk
// is full or broken: lines wait in the buffer, those that do not fit any more are counted as lost,
// and writing goes on when there is room again. A write that stops inside a line is taken back, so
// the file holds whole lines only, at any instant but a crash; after a crash the next writer ends
// the torn line first.
#pragma once

#include "control/abi/logrec.h"
#include "control/base/strbuf.h"

// Room for the longest line: each text byte may take six characters (\u00ff), and the frame around
// it.
#define LOG_LINE_MAX (6 * LOGREC_SIZE + 1024)
#define LOG_BUFFER_BYTES (1u << 20)

struct log_writer;

struct log_stats {
	uint64_t lines;  // formatted, by this process
	uint64_t lost;   // of these never written
	uint64_t errors; // writes that failed
	uint32_t waiting_bytes;
};

// Opens or creates `path` (0640, append). NULL with a reason in `why`.
struct log_writer *must_use log_writer_open(const char *path, struct strbuf *why);
void log_writer_close(struct log_writer **w);                      // flushes what it can
void log_writer_put(struct log_writer *w, const struct logrec *r); // a valid record
// Writes what waits; 0 or -errno of the write that failed (what is left waits for the next call).
int log_writer_flush(struct log_writer *w);
// After rotation: `path` anew. On failure the old file stays in use and false is returned.
must_use bool log_writer_reopen(struct log_writer *w, struct strbuf *why);
struct log_stats log_writer_stats(const struct log_writer *w);
const char *log_writer_path(const struct log_writer *w);

// For `postern log tail`: the file in use, or the one before the last reopening (-1: there was
// none), which stays readable so that a follower misses nothing when the log is rotated. Borrowed.
int log_writer_read_fd(const struct log_writer *w, bool previous);

// The line of a valid record, with its newline.
void log_line_format(struct strbuf *b, const struct logrec *r);
// `s` as a JSON string with quotes: valid for any bytes. What is not UTF-8 becomes \u00xx.
void log_json_string(struct strbuf *b, struct span s);
// "2026-03-01T12:00:00.000001Z"; a time beyond the year 9999 is written as its last instant.
void log_time_format(struct strbuf *b, uint64_t time_us);
// "192.0.2.1:25", "[2001:db8::1]:25"; nothing for the address of all zeros.
void log_endpoint_format(struct strbuf *b, const struct ipaddr *a, uint16_t port);
