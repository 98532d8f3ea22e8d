// SPDX-License-Identifier: Apache-2.0
// scan_rig: a policy with patterns, a matcher and a scanner, to run messages through; for tests and
// the fuzzer.
//
// Who calls it: the scan tests, one rig a process. Memory: heap, freed by rig_close. What can go
// wrong: nothing that a test could go on after: CHECK stops it.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "control/abi/counter.h"
#include "control/abi/policy_build.h"
#include "control/base/strbuf.h"
#include "control/pattern_compile.h"
#include "scanner/scan.h"

#define RIG_PATTERNS_MAX 64
#define RIG_TRACE_SIZE 8192

struct rig {
	struct policy_build *build;
	struct policy_settings *set; // to be changed before rig_finish
	struct span phrase[RIG_PATTERNS_MAX], name[RIG_PATTERNS_MAX];
	uint32_t phrase_count, name_count;
	void *image;
	struct policy_view view;
	struct matcher *matcher;
	struct scanner *scanner;
	struct counters counters;
};

static inline void
rig_begin(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->build = policy_build_open();
	CHECK(r->build != NULL);
	policy_build_least(r->build);
	r->set = policy_build_settings(r->build);
}

static inline void
rig_phrase(struct rig *r, const char *text, enum policy_influence influence)
{
	struct policy_phrase row = {policy_build_str(r->build, span_str(text)), influence, 1};

	CHECK(r->phrase_count < RIG_PATTERNS_MAX);
	r->phrase[r->phrase_count++] = span_str(text);
	policy_build_row(r->build, POLICY_PHRASES, &row, sizeof(row));
}

static inline void
rig_name(struct rig *r, const char *glob)
{
	struct policy_name row = {policy_build_str(r->build, span_str(glob)), 1};

	CHECK(r->name_count < RIG_PATTERNS_MAX);
	r->name[r->name_count++] = span_str(glob);
	policy_build_row(r->build, POLICY_NAMES, &row, sizeof(row));
}

static inline void
rig_type(struct rig *r, const char *type)
{
	struct policy_type row = {policy_build_str(r->build, span_str(type)), 1};

	policy_build_row(r->build, POLICY_TYPES, &row, sizeof(row));
}

static inline void
rig_compile(struct rig *r, enum pattern_kind kind, enum policy_section_id section,
	    const struct span *texts, uint32_t count)
{
	char mem[256];
	struct strbuf why;
	void *db;
	size_t size;
	uint32_t bad;
	enum pattern_result result;

	strbuf_init(&why, mem, sizeof(mem));
	result = pattern_compile(kind, texts, count, &db, &size, &bad, &why);
	CHECK(result == PATTERN_OK);
	if (size > 0)
		policy_build_bytes(r->build, section, db, size);
	free(db);
}

static inline void
rig_finish(struct rig *r)
{
	struct scanner_args args = {.scans_max = 4, .counters = &r->counters, .mem = &mem_heap};
	char mem[256];
	struct strbuf why;
	size_t size;
	bool ok;

	strbuf_init(&why, mem, sizeof(mem));
	rig_compile(r, PATTERN_PHRASE, POLICY_DB_CONTENT, r->phrase, r->phrase_count);
	rig_compile(r, PATTERN_NAME, POLICY_DB_NAMES, r->name, r->name_count);
	r->image = policy_build_finish(r->build, 1, &size);
	CHECK(r->image != NULL);
	ok = policy_view_open(&r->view, r->image, size, &why) == POLICY_OK;
	CHECK(ok);
	ok = match_worker_init(0, &mem_heap, 4 * SCAN_STREAMS_MAX);
	CHECK(ok);
	r->matcher = matcher_open(&r->view, 1, &why);
	CHECK(r->matcher != NULL);
	r->scanner = scanner_open(&args);
	CHECK(r->scanner != NULL);
}

static inline void
rig_close(struct rig *r)
{
	scanner_close(&r->scanner);
	matcher_close(&r->matcher);
	match_worker_fini(0);
	free(r->image);
	policy_build_close(&r->build);
}

// What the golden files are about; other tests take it too where it serves.
static inline void
rig_standard(struct rig *r)
{
	rig_begin(r);
	rig_phrase(r, "buy cheap pills", INFLUENCE_BAD_WORD);  // 0
	rig_phrase(r, "hidden words", INFLUENCE_BAD_WORD);     // 1
	rig_phrase(r, "caf\xc3\xa9 noir", INFLUENCE_BAD_WORD); // 2
	rig_phrase(r, "project postern", INFLUENCE_GOOD_WORD); // 3
	rig_phrase(r, " after all", INFLUENCE_BAD_WORD);       // 4
	rig_name(r, "*.exe");                                  // 0
	rig_name(r, "*.js");                                   // 1
	rig_name(r, "setup.bin");                              // 2
	rig_type(r, "application/hta");
	rig_type(r, "message/partial");
	rig_finish(r);
}

// Cuts: `lens` gives the sizes of the pieces, over and over; NULL: all at once. Zero sizes count
// as 1.
static inline void
rig_run(struct rig *r, struct span msg, const uint8_t *lens, size_t lens_count,
	struct scan_result *out)
{
	struct scan *s = scan_open(r->scanner, &r->view, r->matcher);
	uint32_t at = 0, headers_ends = 0, headers_at = 0;
	size_t k = 0;

	CHECK(s != NULL);
	while (at < msg.n) {
		uint32_t n = msg.n - at, taken = 0;
		enum scan_step step;
		uint8_t *copy;

		if (lens_count > 0) {
			n = MIN(n, MAX(lens[k], 1u));
			k = (k + 1) % lens_count;
		}
		copy = malloc(n); // its end is where the sanitizer wants it
		CHECK(copy != NULL);
		memcpy(copy, msg.p + at, n);
		step = scan_feed(s, span_of(copy, n), &taken);
		free(copy);
		CHECK(taken <= n);
		CHECK(step == SCAN_HEADERS_END || taken == n);
		at += taken;
		if (step == SCAN_HEADERS_END) {
			headers_ends++;
			headers_at = at;
			CHECK(scan_result(s)->headers_done);
		}
	}
	if (scan_end(s) == SCAN_HEADERS_END)
		headers_ends++;
	CHECK(headers_ends == 1);
	CHECK(headers_at <= msg.n);
	*out = *scan_result(s);
	CHECK(out->bytes == msg.n);
	scan_close(&s);
	CHECK(scanner_free_count(r->scanner) == 4);
}

static inline void
rig_trace_list(struct strbuf *b, const char *what, uint32_t count, const struct scan_finding *list)
{
	if (count == 0)
		return;
	strbuf_addf(b, "%s: %u\n", what, count);
	for (uint32_t i = 0; i < MIN(count, SCAN_EVIDENCE_MAX); i++)
		strbuf_addf(b, "  %u%s%s\n", list[i].id, list[i].text[0] != '\0' ? " " : "",
			    list[i].text);
}

// The result as text, one fact a line.
static inline void
rig_trace(const struct scan_result *r, struct strbuf *b)
{
	static const char *const names[] = {"limit", "broken", "ambiguous", "error"};

	strbuf_add_str(b, "causes:");
	for (uint32_t i = 0; i < ARRAY_LEN(names); i++)
		if (r->causes & 1u << i)
			strbuf_addf(b, " %s", names[i]);
	strbuf_addf(b, "\ncause: %s\n", r->cause_text != NULL ? r->cause_text : "-");
	strbuf_addf(b, "from: %u %s\n", r->header_from_count, r->header_from);
	strbuf_addf(b, "received: %u\n", r->received_count);
	strbuf_addf(b, "parts: %u\n", r->part_count);
	rig_trace_list(b, "bad", r->bad_count, r->bad);
	rig_trace_list(b, "good", r->good_count, r->good);
	rig_trace_list(b, "name", r->name_count, r->name);
	rig_trace_list(b, "type", r->type_count, r->type);
	CHECK(!b->truncated);
}
