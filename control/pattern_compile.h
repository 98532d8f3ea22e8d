// SPDX-License-Identifier: Apache-2.0
// pattern_compile: turns phrases and attachment names into a serialised Hyperscan database; the one
// place in this directory that knows Hyperscan's compiler.
//
// Who calls it: posternd when it compiles a policy; tests and benches that need one. It takes up to
// seconds. Memory: *db is malloc'ed and becomes the caller's. What can go wrong: a pattern that
// Hyperscan refuses: PATTERN_BAD with its index and reason. No patterns: PATTERN_OK, *db NULL,
// *size 0. Streaming mode, caseless, one report a pattern and stream, for the target that this
// process runs on. Phrases match as literals; runs of white space in a phrase match any run of SP,
// HTAB, CR and LF. For that the text must come with such runs folded to one SP: the scan does it
// (decode_fold), so that phrases stay literals. Names are globs with `*` and `?`, bound to both
// ends of the name.
#pragma once

#include "control/base/span.h"
#include "control/base/strbuf.h"

enum pattern_kind { PATTERN_PHRASE, PATTERN_NAME };
enum pattern_result { PATTERN_OK, PATTERN_BAD };

#define PATTERN_TEXT_MAX 256 // bytes of one pattern, as in Exchange

must_use enum pattern_result pattern_compile(enum pattern_kind kind, const struct span *texts,
					     uint32_t count, void **db, size_t *size, uint32_t *bad,
					     struct strbuf *why);
