// SPDX-License-Identifier: Apache-2.0
// shed: the marks and the level. Runs on the owning worker.

#include "dataplane/shed.h"

#define NEVER UINT32_MAX

// The use at which each level begins. Sessions and connections end in an orderly way at their own
// limits (421, RST), so they only ask for cookies before. A loop of a millisecond is forty times
// what a burst of full segments costs with its scanning.
static const uint32_t mark[SHED_RESOURCES][SHED_LEVELS] = {
	[SHED_FRAMES] = {0, 700, 800, 900, 950},         [SHED_CHUNKS] = {0, 700, 800, 875, 950},
	[SHED_SESSIONS] = {0, 900, NEVER, NEVER, NEVER}, [SHED_CONNS] = {0, 900, 970, NEVER, NEVER},
	[SHED_LOOP] = {0, 1000, 4000, 10000, 30000},
};

// The highest level whose mark is reached when every mark is `slack` twentieths lower.
static enum shed_level
level_of(const struct shed_use *use, uint32_t slack, enum shed_resource *cause)
{
	uint32_t level = SHED_NONE;

	for (uint32_t r = 0; r < SHED_RESOURCES; r++) {
		for (uint32_t l = level + 1; l < SHED_LEVELS; l++) {
			if (mark[r][l] == NEVER ||
			    use->of[r] < mark[r][l] - mark[r][l] / 20 * slack)
				break;
			level = l;
			*cause = (enum shed_resource)r;
		}
	}
	return (enum shed_level)level;
}

bool
shed_update(struct shed *s, const struct shed_use *use, uint64_t now_us)
{
	enum shed_resource cause = s->cause;
	enum shed_level now = level_of(use, 0, &cause);

	CHECK(s->level < SHED_LEVELS);
	if (now > s->level) {
		s->level = now;
		s->cause = cause;
		s->calm_us = 0;
		return true;
	}
	if (s->level == SHED_NONE || level_of(use, 1, &cause) >= s->level) {
		s->calm_us = 0;
		return false;
	}
	if (s->calm_us == 0)
		s->calm_us = now_us;
	if (now_us - s->calm_us < SHED_CALM_US)
		return false;
	s->level--;
	s->calm_us = 0;
	return true;
}
