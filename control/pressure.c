// SPDX-License-Identifier: Apache-2.0
#include "control/pressure.h"

#include "control/oplog.h"

enum pressure_news
pressure_step(struct pressure *p, uint32_t worker, uint64_t level, uint64_t now_ms)
{
	CHECK(worker < REGION_WORKERS_MAX);
	bool refuses = level >= SHED_REFUSE;

	if (refuses == p->is_told[worker] ||
	    (p->told_ms[worker] != 0 && now_ms - p->told_ms[worker] < PRESSURE_SAY_MS))
		return PRESSURE_NONE;
	p->is_told[worker] = refuses;
	p->told_ms[worker] = now_ms;
	return refuses ? PRESSURE_BEGINS : PRESSURE_ENDS;
}

void
pressure_poll(struct pressure *p, const struct region *r, uint32_t workers, uint64_t now_ms)
{
	CHECK(workers <= REGION_WORKERS_MAX);
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		const struct counters *n = region_counters(r, w);
		uint64_t level = w < workers ? counter_read(&n->shed_level) : 0;
		uint64_t cause = counter_read(&n->shed_cause);

		switch (pressure_step(p, w, level, now_ms)) {
		case PRESSURE_BEGINS:
			oplog(OPLOG_WARNING, "worker %u is short of %s: %s", w,
			      shed_resource_name((uint32_t)MIN(cause, UINT32_MAX)),
			      shed_level_name((uint32_t)MIN(level, UINT32_MAX)));
			break;
		case PRESSURE_ENDS:
			oplog(OPLOG_INFO, "worker %u takes new sessions and messages again", w);
			break;
		case PRESSURE_NONE:
			break;
		}
	}
}
