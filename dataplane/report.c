// SPDX-License-Identifier: Apache-2.0
// report: log records into the event ring. Runs on the owning worker.

#include "dataplane/report.h"

bool
report_put(struct report *r, struct logrec *rec)
{
	CHECK(rec != NULL);
	CHECK(rec->kind < LOGREC_KIND_COUNT);
	rec->time_us = r->wall_us;
	rec->worker = r->worker;
	if (r->tap != NULL)
		r->tap(r->tap_ctx, rec);
	// Lost when posternd has been away for long: the log must not hold up mail.
	if (r->events == NULL || !ring_put(r->events, rec)) {
		COUNT(r->counters, LOG_LOST);
		return false;
	}
	COUNT(r->counters, LOG_RECORDS);
	return true;
}
