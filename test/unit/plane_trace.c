// SPDX-License-Identifier: Apache-2.0
// The trace ring: chains of several sessions in one ring, and what is left of them later.
#include <criterion/criterion.h>

#include "dataplane/trace.h"

#define MANY 64

Test(plane_trace, chains_are_kept_apart)
{
	struct trace t;
	struct trace_rec out[MANY];
	uint32_t last[3] = {0};

	cr_assert(trace_init(&t, &mem_heap));
	for (uint32_t i = 0; i < 90; i++) {
		t.now_us = i;
		trace_number(&t, &last[i % 3], TRACE_SMTP_REPLY, i);
	}
	for (uint32_t c = 0; c < 3; c++) {
		cr_assert_eq(trace_read(&t, last[c], out, MANY), 30);
		for (uint32_t i = 0; i < 30; i++)
			cr_assert(out[i].seq == 87 + c - 3 * i && out[i].us == out[i].seq);
		cr_assert_eq(trace_read(&t, last[c], out, 7), 7);
	}
	cr_assert_eq(trace_read(&t, 0, out, MANY), 0);
	trace_fini(&t);
}

// What was overwritten is gone, and a chain that is older than the ring is empty.
Test(plane_trace, old_records_go)
{
	struct trace t;
	struct trace_rec out[MANY];
	uint32_t quiet = 0, busy = 0, half = 0;

	cr_assert(trace_init(&t, &mem_heap));
	trace_number(&t, &quiet, TRACE_TCP_GONE, 1);
	trace_number(&t, &half, TRACE_TCP_GONE, 2);
	for (uint32_t i = 0; i < TRACE_RECORDS - 2; i++)
		trace_number(&t, &busy, TRACE_SMTP_REPLY, i);
	trace_number(&t, &half, TRACE_TCP_GONE, 3);
	cr_assert_eq(trace_read(&t, quiet, out, MANY), 0);
	cr_assert_eq(trace_read(&t, half, out, MANY), 2);
	cr_assert(out[0].seq == 3 && out[1].seq == 2);
	trace_number(&t, &busy, TRACE_SMTP_REPLY, 9);
	cr_assert_eq(trace_read(&t, half, out, MANY), 1);
	trace_fini(&t);
}

// The count of places wraps: 0 is left out, chains go on over the seam or end there, none loops.
Test(plane_trace, count_wraps)
{
	struct trace t;
	struct trace_rec out[MANY];
	uint32_t last = 0;

	cr_assert(trace_init(&t, &mem_heap));
	t.next = UINT32_MAX - 5;
	for (uint32_t i = 0; i < 12; i++)
		trace_number(&t, &last, TRACE_SMTP_REPLY, i);
	uint32_t n = trace_read(&t, last, out, MANY);
	cr_assert(n >= 6 && n <= 12, "%u", n);
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(out[i].seq, 11 - i);
	trace_fini(&t);
}

Test(plane_trace, off)
{
	uint32_t last = 0;
	struct trace_rec out[1];

	trace_number(&trace_off, &last, TRACE_SMTP_REPLY, 1);
	cr_assert_eq(last, 0);
	cr_assert_eq(trace_read(&trace_off, 5, out, 1), 0);
}
