// SPDX-License-Identifier: Apache-2.0
// rfc2047: decodes the encoded words of a header field, "=?utf-8?Q?caf=C3=A9?=".
//
// What for: Subject as people read it; attachment names, where encoded words are not allowed and
// still are what most clients write and accept. Who calls it: the scan, on its worker. Memory: the
// caller's output, never longer than the input. What can go wrong: whatever is no encoded word is
// copied as it is. Time is linear in the input whatever it holds. Charsets are not converted: the
// bytes of the word come out, which for US-ASCII, UTF-8, ISO-8859-* and all others that contain
// ASCII is what patterns look for.
#pragma once

#include "control/base/span.h"

enum rfc2047_found {         // bits
	RFC2047_WORD = 1,    // at least one encoded word
	RFC2047_ODD = 2,     // a word that stands inside text, or is malformed: readers differ
	RFC2047_CHARSET = 4, // a charset in which ASCII text does not look like ASCII
};

#define RFC2047_CHARSET_MAX 64

// Writes to out (size >= in.n), sets *len, returns a mask of enum rfc2047_found.
uint32_t rfc2047_decode(struct span in, uint8_t *out, uint32_t size, uint32_t *len);
// UTF-16, UTF-32, UTF-7 and the like.
bool rfc2047_charset_is_opaque(struct span charset);
