// SPDX-License-Identifier: Apache-2.0
// match: the pattern matcher; the one place in this directory that knows Hyperscan's runtime.
//
// What for: rule sets of a policy, loaded once, run over streams of decoded bytes. Who calls it:
// matcher_open and matcher_close in the dataplane's main thread (they allocate and take
// milliseconds); the rest on a worker. Memory: databases and one scratch a worker belong to the
// matcher; stream state comes from the worker's own pool (match_worker_init), so opening a stream
// never reaches malloc. What can go wrong: MATCH_ERROR (Hyperscan refused, or the pool was empty):
// the scan marks the message as not scanned in full and the policy scan.on_error decides. A
// database whose stream state is larger than MATCH_STREAM_BYTES_MAX is refused at load.
#pragma once

#include "control/abi/policy.h"
#include "control/base/mem.h"

#define MATCH_STREAM_BYTES_MAX 8192

enum match_set { MATCH_CONTENT, MATCH_NAMES, MATCH_SET_COUNT };
enum match_result { MATCH_OK, MATCH_ERROR };

// id: index of the phrase or name; to: offset of the byte after the match. Returns true to stop.
typedef bool (*match_fn)(void *ctx, uint32_t id, uint64_t to);

// Phrases are compiled for text in which every run of SP, HTAB, CR and LF is one SP: the caller
// folds it (decode_fold). Names come as they are, one text each, ended by match_reset.
struct matcher;
struct match_stream; // opaque, in the worker's pool

// Loads the databases of a policy for `workers` workers. NULL: refused, reason in `why`.
struct matcher *must_use matcher_open(const struct policy_view *v, uint32_t workers,
				      struct strbuf *why);
void matcher_close(struct matcher **m);

// The worker's pool for `streams` open streams; once, in boot.
must_use bool match_worker_init(uint32_t worker, struct mem_source *m, uint32_t streams);
void match_worker_fini(uint32_t worker);

// An empty rule set gives MATCH_OK and *out NULL; the calls below take NULL and do nothing.
must_use enum match_result match_open(struct matcher *m, uint32_t worker, enum match_set set,
				      struct match_stream **out);
must_use enum match_result match_feed(struct match_stream *s, struct span bytes, match_fn fn,
				      void *ctx);
// Ends the text (patterns bound to its end fire now) and begins a new one on the same stream.
must_use enum match_result match_reset(struct match_stream *s, match_fn fn, void *ctx);
void match_close(struct match_stream **s); // reports nothing more
