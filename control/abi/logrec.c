// SPDX-License-Identifier: Apache-2.0
// logrec: see logrec.h. Texts lie one behind the other in field order; a field's place is the sum
// of the lengths before it.
#include "control/abi/logrec.h"

#include <string.h>

static const char *const field_names[LOGREC_FIELD_COUNT] = {
#define X(id, name) [LOGREC_##id] = name,
	LOGREC_FIELDS(X)
#undef X
};

// What is kept free for each field while earlier ones are set. Without it a client with a long HELO
// and long addresses could push the rule and the evidence out of its own log line.
static const uint16_t field_keep[LOGREC_FIELD_COUNT] = {
	[LOGREC_HELO] = 64,  [LOGREC_TLS] = 40,   [LOGREC_AUTH] = 64,      [LOGREC_FROM] = 190,
	[LOGREC_RCPT] = 190, [LOGREC_RULE] = 120, [LOGREC_EVIDENCE] = 120, [LOGREC_REPLY] = 120,
};
static_assert(64 + 40 + 64 + 190 + 190 + 120 * 3 <= sizeof(((struct logrec *)0)->text),
	      "every field gets what is kept for it");
static_assert(LOGREC_FIELD_COUNT <= 16, "one bit each in `cut`");

void
logrec_init(struct logrec *r)
{
	memset(r, 0, sizeof(*r));
	r->agent = AGENT_NONE;
}

void
logrec_set(struct logrec *r, enum logrec_field f, struct span s)
{
	CHECK((uint32_t)f < LOGREC_FIELD_COUNT);
	uint32_t used = 0, kept = 0;
	for (uint32_t i = 0; i < LOGREC_FIELD_COUNT; i++) {
		if (i < f)
			used += r->len[i];
		else
			CHECK(r->len[i] == 0); // ascending, each once
		if (i > f)
			kept += field_keep[i];
	}
	CHECK(used + kept <= sizeof(r->text));
	uint32_t room = (uint32_t)sizeof(r->text) - used - kept;
	uint32_t n = MIN(s.n, room);
	if (n < s.n)
		r->cut |= (uint16_t)(1u << f);
	if (n > 0)
		memcpy(r->text + used, s.p, n);
	r->len[f] = (uint16_t)n;
}

bool
logrec_is_valid(const struct logrec *r)
{
	if (r->kind >= LOGREC_KIND_COUNT || r->direction >= DIRECTION_COUNT)
		return false;
	if (r->event >= EVENT_COUNT || r->action >= ACTION_COUNT)
		return false;
	if (r->agent >= AGENT_COUNT && r->agent != AGENT_NONE)
		return false;
	if (r->reason >= DISCONNECT_COUNT || r->scl_plus_1 > 10)
		return false;
	if (r->cut >> LOGREC_FIELD_COUNT != 0)
		return false;
	uint32_t used = 0;
	for (uint32_t i = 0; i < LOGREC_FIELD_COUNT; i++)
		used += r->len[i];
	return used <= sizeof(r->text);
}

struct span
logrec_get(const struct logrec *r, enum logrec_field f)
{
	CHECK((uint32_t)f < LOGREC_FIELD_COUNT);
	uint32_t off = 0;
	for (uint32_t i = 0; i < f; i++)
		off += r->len[i];
	// Clipped once more: the record may lie in shared memory and have changed since it was
	// checked.
	return span_sub(span_of(r->text, sizeof(r->text)), off, r->len[f]);
}

void
logrec_raw_set(struct logrec *r, struct span s)
{
	CHECK(s.n <= sizeof(r->text));
	memcpy(r->text, s.p, s.n);
	r->len[0] = (uint16_t)s.n;
}

struct span
logrec_raw(const struct logrec *r)
{
	return span_of(r->text, MIN(r->len[0], sizeof(r->text)));
}

const char *
logrec_field_name(enum logrec_field f)
{
	return (uint32_t)f < LOGREC_FIELD_COUNT ? field_names[f] : "?";
}
