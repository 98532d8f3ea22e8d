// SPDX-License-Identifier: Apache-2.0
// trace: see trace.h. Runs on the owning worker.
#include "dataplane/trace.h"

struct trace trace_off;

bool
trace_init(struct trace *t, struct mem_source *m)
{
	*t = (struct trace){.next = 1, .mem = m};
	t->rec = mem_get(m, TRACE_RECORDS * sizeof(*t->rec), "trace");
	return t->rec != NULL;
}

void
trace_fini(struct trace *t)
{
	if (t->rec != NULL)
		mem_put(t->mem, t->rec, TRACE_RECORDS * sizeof(*t->rec));
	t->rec = NULL;
}

uint32_t
trace_read(const struct trace *t, uint32_t last, struct trace_rec *out, uint32_t most)
{
	uint32_t n = 0;

	CHECK(out != NULL || most == 0);
	if (t->rec == NULL)
		return 0;
	// A place is gone when the ring has come round to it. Places only fall along a chain, so
	// the walk ends (after 2^32 records a chain may end early: that is all).
	for (uint32_t at = last; n < most && at != 0 && t->next - at <= TRACE_RECORDS; n++) {
		const struct trace_rec *r = &t->rec[at % TRACE_RECORDS];

		out[n] = *r;
		if (t->next - r->prev <=
		    t->next - at) // not older: damage, or the count has wrapped
			return n + 1;
		at = r->prev;
	}
	return n;
}
