// SPDX-License-Identifier: Apache-2.0
// decode: the content transfer encodings (RFC 2045 6.7, 6.8) as push decoders.
//
// What for: turns the lines of a MIME body into the bytes that a reader sees, and undoes the
// percent and base64 forms inside header fields. Who calls it: the scan, on its worker. Memory: all
// state is in struct decode; output goes to the caller's array. What can go wrong: input that the
// encoding does not allow sets `bad` (and stays there); decoding goes on as tolerant readers do, so
// that what they would show is seen here too. Cuts of the input change nothing.
#pragma once

#include "control/base/span.h"

enum decode_kind { DECODE_IDENTITY, DECODE_BASE64, DECODE_QP };

#define DECODE_END_MAX 3 // the most bytes that decode_end writes

struct decode {
	uint8_t kind;
	uint8_t held; // base64: digits in acc, 0..3; QP: where in an escape, enum qp_state
	bool bad;
	bool padded; // base64: a '=' was seen, only more of them and line ends may follow
	uint8_t hex; // QP: the first digit of an escape
	uint32_t acc;
};

void decode_init(struct decode *d, enum decode_kind kind);
// Decodes as much of `in` as fits; returns the bytes written, *taken says how far it came. Stops
// behind the byte that makes the input bad, once, so that the caller learns the place.
uint32_t decode_feed(struct decode *d, struct span in, uint32_t *taken, uint8_t *out,
		     uint32_t size);
// The end of the input: at most DECODE_END_MAX bytes.
uint32_t decode_end(struct decode *d, uint8_t *out);

// Folds every run of SP, HTAB, CR and LF in p[0, n) to one SP, in place; returns what is left.
// *blank: the byte before was one of them; carries the run over to the next call. Phrases are
// compiled for such text.
uint32_t decode_fold(uint8_t *p, uint32_t n, bool *blank);
// What it chooses from, by what the processor has; for tests.
uint32_t decode_fold_ssse3(uint8_t *p, uint32_t n, bool *blank);
uint32_t decode_fold_avx512(uint8_t *p, uint32_t n, bool *blank);

// Undoes %XX; returns the bytes written, at most in.n. Escapes that are none stay as they are.
uint32_t decode_percent(struct span in, uint8_t *out, uint32_t size);
int decode_hex_digit(uint8_t c); // -1: none
