// SPDX-License-Identifier: Apache-2.0
// Tests of the pattern compiler, by scanning with what it made.
#include <criterion/criterion.h>
#include <hs/hs_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/pattern_compile.h"

static char why_mem[256];
static uint32_t bad;

static hs_database_t *
compile(enum pattern_kind kind, const char *const *texts, uint32_t count)
{
	struct span *s = calloc(count, sizeof(*s));
	hs_database_t *db = NULL;
	struct strbuf why;
	size_t size;
	void *bytes;

	for (uint32_t i = 0; i < count; i++)
		s[i] = span_str(texts[i]);
	strbuf_init(&why, why_mem, sizeof(why_mem));
	if (pattern_compile(kind, s, count, &bytes, &size, &bad, &why) == PATTERN_OK)
		cr_assert_eq(hs_deserialize_database(bytes, size, &db), HS_SUCCESS);
	else
		cr_assert_null(bytes);
	free(bytes);
	free(s);
	return db;
}

struct hits {
	uint32_t count[8];
};

static int
on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *ctx)
{
	struct hits *h = ctx;

	(void)from, (void)to, (void)flags;
	cr_assert_lt(id, 8);
	h->count[id]++;
	return 0;
}

// Scans one stream, cut at every place; all must say the same.
static struct hits
scan(hs_database_t *db, const char *text, size_t n)
{
	hs_scratch_t *scratch = NULL;
	struct hits first = {{0}};

	cr_assert_eq(hs_alloc_scratch(db, &scratch), HS_SUCCESS);
	for (size_t cut = 0; cut <= n; cut++) {
		struct hits h = {{0}};
		hs_stream_t *s;

		cr_assert_eq(hs_open_stream(db, 0, &s), HS_SUCCESS);
		if (cut > 0)
			cr_assert_eq(
				hs_scan_stream(s, text, (unsigned)cut, 0, scratch, on_match, &h),
				HS_SUCCESS);
		if (cut < n)
			cr_assert_eq(hs_scan_stream(s, text + cut, (unsigned)(n - cut), 0, scratch,
						    on_match, &h),
				     HS_SUCCESS);
		cr_assert_eq(hs_close_stream(s, scratch, on_match, &h), HS_SUCCESS);
		if (cut == 0)
			first = h;
		cr_assert_eq(memcmp(&first, &h, sizeof(h)), 0, "'%s' cut at %zu", text, cut);
	}
	hs_free_scratch(scratch);
	return first;
}

static bool
hit(enum pattern_kind kind, const char *pattern, const char *text)
{
	hs_database_t *db = compile(kind, &pattern, 1);
	struct hits h;

	cr_assert_not_null(db, "'%s': %s", pattern, why_mem);
	h = scan(db, text, strlen(text));
	hs_free_database(db);
	cr_assert_leq(h.count[0], 1, "'%s' reported %u times", pattern, h.count[0]);
	return h.count[0] == 1;
}

#define YES(kind, pattern, text)                                                                   \
	cr_assert(hit(kind, pattern, text), "'%s' must match '%s'", pattern, text)
#define NO(kind, pattern, text)                                                                    \
	cr_assert(!hit(kind, pattern, text), "'%s' must not match '%s'", pattern, text)

Test(pattern, phrases)
{
	YES(PATTERN_PHRASE, "cheap pills", "buy CHEAP Pills now");
	YES(PATTERN_PHRASE, "cheap pills", "cheap pills cheap pills cheap pills");
	YES(PATTERN_PHRASE, "cheap \t pills", "cheap pills");
	NO(PATTERN_PHRASE, "cheap pills", "cheappills");
	NO(PATTERN_PHRASE, "cheap pills", "cheap, pills");
	YES(PATTERN_PHRASE, "ill", "pills"); // a phrase is no word
	YES(PATTERN_PHRASE, " ill", "an ill wind");
	NO(PATTERN_PHRASE, " ill", "pills");
	NO(PATTERN_PHRASE, "ill ", "pills");
}

// Every letter stands for itself.
Test(pattern, phrases_are_literal)
{
	static const char letters[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

	for (const char *c = letters; *c != '\0'; c++) {
		char phrase[] = {'x', *c, 'y', '\0'};

		YES(PATTERN_PHRASE, phrase, phrase);
		NO(PATTERN_PHRASE, phrase, "xay");
		NO(PATTERN_PHRASE, phrase, "xy");
		NO(PATTERN_PHRASE, phrase, "xxy");
	}
	NO(PATTERN_PHRASE, ".*", "anything");
	NO(PATTERN_PHRASE, "\\d", "1");
}

Test(pattern, letters_beyond_ascii)
{
	YES(PATTERN_PHRASE, "caf\xc3\xa9", "CAF\xc3\x89"); // e acute, E acute
	YES(PATTERN_PHRASE, "caf\xc3\x89", "caf\xc3\xa9");
	YES(PATTERN_PHRASE, "caf\xc3\xa9", "caf\xe9"); // ISO-8859-1
	YES(PATTERN_PHRASE, "caf\xc3\xa9", "CAF\xc9");
	NO(PATTERN_PHRASE, "caf\xc3\xa9", "cafe");
	NO(PATTERN_PHRASE, "\xc3\xb7", "\xc3\x97"); // division and multiplication are no pair
	YES(PATTERN_PHRASE, "\xd0\xbf\xd1\x80", "\xd0\x9f\xd0\xa0"); // Cyrillic pr, PR
	YES(PATTERN_PHRASE, "\xce\xb1", "\xce\x91");                 // alpha
	YES(PATTERN_PHRASE, "\xc5\xbc", "\xc5\xbb");                 // z with dot
	YES(PATTERN_PHRASE, "\xe4\xb8\xad\xe6\x96\x87", "x\xe4\xb8\xad\xe6\x96\x87y");
	YES(PATTERN_PHRASE, "\xf0\x9f\x92\x8a pill", "\xf0\x9f\x92\x8a Pill");
	YES(PATTERN_PHRASE, "caf\xe9", "caf\xe9"); // not UTF-8: the bytes
	NO(PATTERN_PHRASE, "caf\xe9", "caf\xc3\xa9");
	// Text that is not valid UTF-8 hides nothing.
	YES(PATTERN_PHRASE, "caf\xc3\xa9", "\xff\xc3\xf0 caf\xc3\xa9");
}

Test(pattern, names)
{
	YES(PATTERN_NAME, "*.exe", "evil.exe");
	YES(PATTERN_NAME, "*.exe", "EVIL.EXE");
	YES(PATTERN_NAME, "*.exe", ".exe");
	YES(PATTERN_NAME, "*.exe", "a.txt.exe");
	YES(PATTERN_NAME, "*.exe", "evil.exe."); // Windows drops these
	YES(PATTERN_NAME, "*.exe", "evil.exe ");
	YES(PATTERN_NAME, "*.exe", "evil.exe . .\t");
	NO(PATTERN_NAME, "*.exe", "evil.exe.txt");
	NO(PATTERN_NAME, "*.exe", "exe");
	NO(PATTERN_NAME, "*.exe", "evilexe");
	YES(PATTERN_NAME, "setup.bin", "Setup.BIN");
	NO(PATTERN_NAME, "setup.bin", "a setup.bin");
	NO(PATTERN_NAME, "setup.bin", "setup.bin2");
	YES(PATTERN_NAME, "inv?ice.*", "invoice.pdf");
	YES(PATTERN_NAME, "inv?ice.*", "inv\xc3\xb6ice.");
	NO(PATTERN_NAME, "inv?ice.*", "invice.pdf");
	NO(PATTERN_NAME, "inv?ice.*", "my invoice.pdf");
	YES(PATTERN_NAME, "*a*b*", "xxaxxbxx");
	YES(PATTERN_NAME, "**.exe", "x.exe");
	YES(PATTERN_NAME, "*", "anything");
	YES(PATTERN_NAME, "a*", "a\nb");
	NO(PATTERN_NAME, "*", "");
}

Test(pattern, ids_are_indices)
{
	static const char *const texts[] = {"one", "two", "three"};
	hs_database_t *db = compile(PATTERN_PHRASE, texts, 3);
	struct hits h = scan(db, "three two", 9);

	cr_assert_eq(h.count[0], 0);
	cr_assert_eq(h.count[1], 1);
	cr_assert_eq(h.count[2], 1);
	hs_free_database(db);
}

Test(pattern, refusals)
{
	static const char *const blank[] = {"good", " \t"};
	static const char *const empty[] = {"good", "good too", ""};
	char longer[PATTERN_TEXT_MAX + 2];
	const char *texts[] = {longer};

	cr_assert_null(compile(PATTERN_PHRASE, blank, 2));
	cr_assert_eq(bad, 1);
	cr_assert_str_eq(why_mem, "empty");
	cr_assert_null(compile(PATTERN_NAME, empty, 3));
	cr_assert_eq(bad, 2);
	memset(longer, 'x', sizeof(longer));
	longer[PATTERN_TEXT_MAX + 1] = '\0';
	cr_assert_null(compile(PATTERN_PHRASE, texts, 1));
	cr_assert_eq(bad, 0);
	cr_assert_not_null(strstr(why_mem, "256"));
}

Test(pattern, none)
{
	struct strbuf why;
	void *db = &why;
	size_t size = 1;

	strbuf_init(&why, why_mem, sizeof(why_mem));
	cr_assert_eq(pattern_compile(PATTERN_NAME, NULL, 0, &db, &size, &bad, &why), PATTERN_OK);
	cr_assert_null(db);
	cr_assert_eq(size, 0);
}

// The longest phrases of the most expensive kind still compile.
Test(pattern, longest)
{
	char accents[PATTERN_TEXT_MAX + 1], marks[PATTERN_TEXT_MAX + 1], high[PATTERN_TEXT_MAX + 1];
	const char *phrases[] = {accents, high}, *names[] = {marks};
	hs_database_t *db;

	for (int i = 0; i < PATTERN_TEXT_MAX; i += 2)
		memcpy(accents + i, "\xc3\xa9", 3);
	memset(high, 0xe9, PATTERN_TEXT_MAX);
	high[PATTERN_TEXT_MAX] = '\0';
	memset(marks, '?', PATTERN_TEXT_MAX);
	marks[PATTERN_TEXT_MAX] = '\0';
	db = compile(PATTERN_PHRASE, phrases, 2);
	cr_assert_not_null(db, "%s", why_mem);
	hs_free_database(db);
	cr_assert_null(compile(PATTERN_NAME, names, 1)); // Hyperscan's limit, not ours
	cr_assert_eq(bad, 0);
	cr_assert_gt(strlen(why_mem), 0);
	marks[32] = '\0';
	db = compile(PATTERN_NAME, names, 1);
	cr_assert_not_null(db, "%s", why_mem);
	hs_free_database(db);
}

Test(pattern, five_hundred)
{
	static char mem[500][48];
	const char *texts[500];
	struct timespec a, b;
	hs_database_t *db;
	size_t stream_size;

	for (int i = 0; i < 500; i++) {
		snprintf(mem[i], sizeof(mem[i]), "offer number %d of %d today", i * 7919 % 1000, i);
		texts[i] = mem[i];
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	db = compile(PATTERN_PHRASE, texts, 500);
	clock_gettime(CLOCK_MONOTONIC, &b);
	cr_assert_not_null(db, "%s", why_mem);
	cr_assert_leq(b.tv_sec - a.tv_sec, 10); // 50 ms on an idle machine
	cr_assert_eq(hs_stream_size(db, &stream_size), HS_SUCCESS);
	cr_assert_lt(stream_size, 8192);
	hs_free_database(db);
}
