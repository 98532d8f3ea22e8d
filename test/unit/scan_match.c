// SPDX-License-Identifier: Apache-2.0
// Tests of the matcher: loading, streams, their pool, and what is refused.
#include <criterion/criterion.h>

#include "test/unit/scan_rig.h"

static struct rig r;

static void
setup(void)
{
	rig_standard(&r);
}

static void
teardown(void)
{
	rig_close(&r);
}

TestSuite(match, .init = setup, .fini = teardown);

struct seen {
	uint32_t count, last;
	uint64_t to;
	bool stop;
};

static bool
on_match(void *ctx, uint32_t id, uint64_t to)
{
	struct seen *s = ctx;

	s->count++;
	s->last = id;
	s->to = to;
	return s->stop;
}

Test(match, across_pieces)
{
	static const char text[] = "so, buy cheap pills, buy cheap pills";

	for (uint32_t cut = 0; cut <= sizeof(text) - 1; cut++) {
		struct match_stream *s = NULL;
		struct seen seen = {0};

		cr_assert_eq(match_open(r.matcher, 0, MATCH_CONTENT, &s), MATCH_OK);
		cr_assert_not_null(s);
		cr_assert_eq(match_feed(s, span_of(text, cut), on_match, &seen), MATCH_OK);
		cr_assert_eq(
			match_feed(s, span_of(text + cut, sizeof(text) - 1 - cut), on_match, &seen),
			MATCH_OK);
		cr_assert_eq(seen.count, 1, "once a stream, cut at %u", cut);
		cr_assert_eq(seen.last, 0);
		cr_assert_eq(seen.to, 19);
		match_close(&s);
		cr_assert_null(s);
	}
}

Test(match, reset_begins_a_new_text)
{
	struct match_stream *s = NULL;
	struct seen seen = {0};

	cr_assert_eq(match_open(r.matcher, 0, MATCH_CONTENT, &s), MATCH_OK);
	cr_assert_eq(match_feed(s, SPAN_LIT("hidden "), on_match, &seen), MATCH_OK);
	cr_assert_eq(match_reset(s, on_match, &seen), MATCH_OK);
	cr_assert_eq(match_feed(s, SPAN_LIT("words"), on_match, &seen), MATCH_OK);
	cr_assert_eq(seen.count, 0, "not across texts");
	for (uint32_t i = 1; i <= 3; i++) {
		cr_assert_eq(match_reset(s, on_match, &seen), MATCH_OK);
		cr_assert_eq(match_feed(s, SPAN_LIT("hidden words"), on_match, &seen), MATCH_OK);
		cr_assert_eq(seen.count, i, "again in each text");
	}
	match_close(&s);
}

// Names are bound to the end, so they fire at the reset.
Test(match, names)
{
	struct match_stream *s = NULL;
	struct seen seen = {0};

	cr_assert_eq(match_open(r.matcher, 0, MATCH_NAMES, &s), MATCH_OK);
	cr_assert_eq(match_feed(s, SPAN_LIT("a.exe"), on_match, &seen), MATCH_OK);
	cr_assert_eq(seen.count, 0);
	cr_assert_eq(match_reset(s, on_match, &seen), MATCH_OK);
	cr_assert_eq(seen.count, 1);
	cr_assert_eq(match_feed(s, SPAN_LIT("a.exe.txt"), on_match, &seen), MATCH_OK);
	cr_assert_eq(match_reset(s, on_match, &seen), MATCH_OK);
	cr_assert_eq(seen.count, 1);
	match_close(&s);
}

Test(match, callback_may_stop)
{
	struct match_stream *s = NULL;
	struct seen seen = {.stop = true};

	cr_assert_eq(match_open(r.matcher, 0, MATCH_CONTENT, &s), MATCH_OK);
	cr_assert_eq(match_feed(s, SPAN_LIT("hidden words buy cheap pills"), on_match, &seen),
		     MATCH_OK);
	cr_assert_eq(seen.count, 1);
	cr_assert_eq(match_feed(s, SPAN_LIT("buy cheap pills"), on_match, &seen), MATCH_OK);
	cr_assert_eq(seen.count, 1);
	cr_assert_eq(match_reset(s, on_match, &seen), MATCH_OK);
	cr_assert_eq(match_feed(s, SPAN_LIT("buy cheap pills"), on_match, &seen), MATCH_OK);
	cr_assert_eq(seen.count, 2);
	match_close(&s);
}

// The pool gives as many streams as it has, then says so; nothing comes from the heap instead.
Test(match, pool_runs_out)
{
	struct match_stream *s[4 * SCAN_STREAMS_MAX], *one_more;

	for (size_t i = 0; i < ARRAY_LEN(s); i++)
		cr_assert_eq(match_open(r.matcher, 0, MATCH_CONTENT, &s[i]), MATCH_OK);
	cr_assert_eq(match_open(r.matcher, 0, MATCH_NAMES, &one_more), MATCH_ERROR);
	cr_assert_null(one_more);
	match_close(&s[3]);
	cr_assert_eq(match_open(r.matcher, 0, MATCH_NAMES, &s[3]), MATCH_OK);
	for (size_t i = 0; i < ARRAY_LEN(s); i++)
		match_close(&s[i]);
}

Test(match, empty_set)
{
	struct rig empty;
	struct match_stream *s = (struct match_stream *)&empty;
	struct seen seen = {0};

	rig_close(&r);
	rig_begin(&empty);
	rig_finish(&empty);
	cr_assert_eq(match_open(empty.matcher, 0, MATCH_CONTENT, &s), MATCH_OK);
	cr_assert_null(s);
	cr_assert_eq(match_feed(s, SPAN_LIT("x"), on_match, &seen), MATCH_OK);
	cr_assert_eq(match_reset(s, on_match, &seen), MATCH_OK);
	match_close(&s);
	rig_close(&empty);
	rig_standard(&r);
}

Test(match, every_worker_has_its_scratch)
{
	char mem[128];
	struct strbuf why;
	struct matcher *m;

	strbuf_init(&why, mem, sizeof(mem));
	m = matcher_open(&r.view, 3, &why);
	cr_assert_not_null(m, "%s", mem);
	for (uint32_t w = 0; w < 3; w++) {
		struct match_stream *s = NULL;
		struct seen seen = {0};

		if (w > 0) // the rig's own
			cr_assert(match_worker_init(w, &mem_heap, 1));
		cr_assert_eq(match_open(m, w, MATCH_CONTENT, &s), MATCH_OK);
		cr_assert_eq(match_feed(s, SPAN_LIT("hidden words"), on_match, &seen), MATCH_OK);
		cr_assert_eq(seen.count, 1);
		match_close(&s);
		if (w > 0)
			match_worker_fini(w);
	}
	matcher_close(&m);
	cr_assert_null(m);
}

// A database that was damaged on its way is refused, with a reason, wherever the damage is.
Test(match, damaged_database)
{
	struct policy_view v = r.view;
	uint32_t n = v.count[POLICY_DB_CONTENT];
	uint8_t *copy = malloc(n);
	char mem[128];
	struct strbuf why;

	for (uint32_t at = 0; at < n; at += at < 64 ? 1 : 997) {
		struct matcher *m;

		memcpy(copy, r.view.db_content, n);
		copy[at] ^= 0x40;
		v.db_content = copy;
		strbuf_init(&why, mem, sizeof(mem));
		m = matcher_open(&v, 1, &why);
		// Bytes that Hyperscan keeps but does not read (reserved, padding) may change
		// nothing.
		if (m != NULL)
			cr_assert_lt(at, 64);
		else
			cr_assert_gt(strlen(mem), 0);
		matcher_close(&m);
	}
	for (uint32_t size = 1; size < n; size += 501) {
		struct matcher *m;

		v.db_content = r.view.db_content;
		v.count[POLICY_DB_CONTENT] = size;
		strbuf_init(&why, mem, sizeof(mem));
		m = matcher_open(&v, 1, &why);
		cr_assert_null(m);
		cr_assert_not_null(strstr(mem, "phrases: database"), "%s", mem);
	}
	free(copy);
}
