// SPDX-License-Identifier: Apache-2.0
// Fuzzes the scan: a message in one piece, byte by byte, and cut as the input says, gives one
// result.
//
// The input's first byte is the number of cut sizes (0..15) that follow; the rest is the message.
#include "test/unit/scan_rig.h"

#define CUTS_MAX 15

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
compare(struct rig *r, struct span msg, const uint8_t *lens, size_t count, const char *want)
{
	static char mem[RIG_TRACE_SIZE];
	struct scan_result result;
	struct strbuf b;

	strbuf_init(&b, mem, sizeof(mem));
	rig_run(r, msg, lens, count, &result);
	rig_trace(&result, &b);
	CHECK(strcmp(mem, want) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t one = 1;
	static struct rig rig;
	static char whole[RIG_TRACE_SIZE];
	struct scan_result result;
	struct strbuf b;
	struct span msg;
	size_t cuts;

	if (rig.scanner == NULL)
		rig_standard(&rig);
	if (size == 0)
		return 0;
	cuts = MIN(data[0] & CUTS_MAX, size - 1);
	msg = span_of(data + 1 + cuts, size - 1 - cuts);
	strbuf_init(&b, whole, sizeof(whole));
	rig_run(&rig, msg, NULL, 0, &result);
	rig_trace(&result, &b);
	compare(&rig, msg, &one, 1, whole);
	if (cuts > 0)
		compare(&rig, msg, data + 1, cuts, whole);
	return 0;
}
