// SPDX-License-Identifier: Apache-2.0
// Golden files: every test/mime/NAME.eml must give the trace in NAME.ref, however it is cut.
//
// The messages are our own, with LF line ends in the file and CRLF in the test. The patterns are
// those of rig_standard. POSTERN_GOLDEN_WRITE=1 writes the .ref files anew: read the difference
// before keeping it.
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>

#include "test/unit/scan_rig.h"

#define MESSAGE_MAX (1 << 20)

static uint8_t message[MESSAGE_MAX];
static struct rig r;

static uint32_t
message_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint32_t n = 0;
	int c;

	cr_assert_not_null(f, "%s", path);
	while ((c = fgetc(f)) != EOF) {
		cr_assert_lt(n, MESSAGE_MAX - 2);
		if (c == '\n')
			message[n++] = '\r';
		message[n++] = (uint8_t)c;
	}
	fclose(f);
	return n;
}

static void
trace(uint32_t n, const uint8_t *lens, size_t count, char *out)
{
	struct scan_result result;
	struct strbuf b;

	strbuf_init(&b, out, RIG_TRACE_SIZE);
	rig_run(&r, span_of(message, n), lens, count, &result);
	rig_trace(&result, &b);
}

static void
ref_path(const char *eml, char *out, size_t size)
{
	size_t n = strlen(eml) - 4;

	cr_assert_lt(n + 5, size);
	memcpy(out, eml, n);
	memcpy(out + n, ".ref", 5);
}

static void
ref_compare(const char *eml, const char *got)
{
	static char want[RIG_TRACE_SIZE];
	char path[256];
	size_t n;
	FILE *f;

	ref_path(eml, path, sizeof(path));
	if (getenv("POSTERN_GOLDEN_WRITE") != NULL) {
		f = fopen(path, "wb");
		cr_assert_not_null(f, "%s", path);
		fputs(got, f);
		fclose(f);
	}
	f = fopen(path, "rb");
	cr_assert_not_null(f, "%s is missing", path);
	n = fread(want, 1, sizeof(want) - 1, f);
	fclose(f);
	want[n] = '\0';
	cr_assert_str_eq(got, want, "%s gives\n%s", eml, got);
}

Test(golden, messages)
{
	static char whole[RIG_TRACE_SIZE], cut[RIG_TRACE_SIZE];
	static const uint8_t pieces[][3] = {{1, 1, 1}, {2, 3, 5}, {13, 1, 64}, {255, 200, 1}};
	glob_t files;

	cr_assert_eq(glob("test/mime/*.eml", 0, NULL, &files), 0, "run from the top of the tree");
	rig_standard(&r);
	cr_assert_geq(files.gl_pathc, 10);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		const char *path = files.gl_pathv[i];
		uint32_t n = message_read(path);

		trace(n, NULL, 0, whole);
		for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
			trace(n, pieces[k], 3, cut);
			cr_assert_str_eq(cut, whole, "%s, pieces %zu", path, k);
		}
		for (uint32_t at = 1; at < 255; at++) {
			uint8_t lens[] = {(uint8_t)at, 255};

			trace(n, lens, 2, cut);
			cr_assert_str_eq(cut, whole, "%s cut at %u", path, at);
		}
		ref_compare(path, whole);
	}
	globfree(&files);
	rig_close(&r);
}
