// SPDX-License-Identifier: Apache-2.0
// Tests of log records: what is set can be read, what is too long is cut, and nothing a record says
// is believed.
#include <criterion/criterion.h>
#include <string.h>

#include "control/abi/logrec.h"
#include "control/base/rng.h"

Test(logrec, round_trip)
{
	struct logrec r;
	logrec_init(&r);
	cr_assert(logrec_is_valid(&r));
	cr_assert_eq(r.agent, AGENT_NONE);
	logrec_set(&r, LOGREC_HELO, SPAN_LIT("mx.example"));
	logrec_set(&r, LOGREC_FROM, SPAN_NONE);
	logrec_set(&r, LOGREC_RCPT, SPAN_LIT("a@b"));
	logrec_set(&r, LOGREC_REPLY, SPAN_LIT("550 no\x01"));
	cr_assert(logrec_is_valid(&r));
	cr_assert(span_eq(logrec_get(&r, LOGREC_HELO), SPAN_LIT("mx.example")));
	cr_assert_eq(logrec_get(&r, LOGREC_TLS).n, 0);
	cr_assert_eq(logrec_get(&r, LOGREC_FROM).n, 0);
	cr_assert(span_eq(logrec_get(&r, LOGREC_RCPT), SPAN_LIT("a@b")));
	cr_assert(span_eq(logrec_get(&r, LOGREC_REPLY), SPAN_LIT("550 no\x01")));
	cr_assert_eq(r.cut, 0);
	cr_assert_str_eq(logrec_field_name(LOGREC_EVIDENCE), "evidence");
	cr_assert_str_eq(logrec_field_name(LOGREC_FIELD_COUNT), "?");
}

Test(logrec, long_texts_leave_room_for_later_ones)
{
	static char big[5000];
	memset(big, 'x', sizeof(big));
	struct logrec r;
	logrec_init(&r);
	for (uint32_t f = 0; f < LOGREC_RULE; f++)
		logrec_set(&r, (enum logrec_field)f, span_of(big, sizeof(big)));
	logrec_set(&r, LOGREC_RULE, SPAN_LIT("IP block list (line 7)"));
	logrec_set(&r, LOGREC_EVIDENCE, SPAN_LIT("192.0.2.1"));
	logrec_set(&r, LOGREC_REPLY, span_of(big, sizeof(big)));
	cr_assert(logrec_is_valid(&r));
	cr_assert(span_eq(logrec_get(&r, LOGREC_RULE), SPAN_LIT("IP block list (line 7)")));
	cr_assert(span_eq(logrec_get(&r, LOGREC_EVIDENCE), SPAN_LIT("192.0.2.1")));
	cr_assert_geq(logrec_get(&r, LOGREC_REPLY).n, 120);
	cr_assert_geq(logrec_get(&r, LOGREC_RCPT).n, 190);
	cr_assert_eq(r.cut, 1 << LOGREC_HELO | 1 << LOGREC_TLS | 1 << LOGREC_AUTH |
				    1 << LOGREC_FROM | 1 << LOGREC_RCPT | 1 << LOGREC_REPLY);
}

Test(logrec, wrong_numbers_are_refused)
{
	struct logrec good, r;
	logrec_init(&good);
	logrec_set(&good, LOGREC_RULE, SPAN_LIT("rule"));
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		r = good;                                                                          \
		change;                                                                            \
		cr_assert(!logrec_is_valid(&r), #change);                                          \
	} while (0)
	REFUSED(r.kind = LOGREC_KIND_COUNT);
	REFUSED(r.direction = DIRECTION_COUNT);
	REFUSED(r.event = EVENT_COUNT);
	REFUSED(r.agent = AGENT_COUNT);
	REFUSED(r.action = ACTION_COUNT);
	REFUSED(r.reason = DISCONNECT_COUNT);
	REFUSED(r.scl_plus_1 = 11);
	REFUSED(r.cut = 0x100);
	REFUSED(r.len[LOGREC_HELO] = sizeof(r.text) - 3);
	REFUSED(memset(r.len, 0xff, sizeof(r.len)));
	r = good;
	r.len[LOGREC_HELO] = sizeof(r.text) - 4;
	cr_assert(logrec_is_valid(&r));
}

Test(logrec, random_bytes_stay_inside)
{
	struct rng rng;
	rng_init(&rng, 9);
	for (uint32_t i = 0; i < 20000; i++) {
		struct logrec r;
		logrec_init(&r);
		uint8_t *p = (uint8_t *)&r;
		for (uint32_t k = 0; k < 6; k++)
			p[60 + rng_below(&rng, 40)] = (uint8_t)rng_next(&rng);
		bool valid = logrec_is_valid(&r);
		for (uint32_t f = 0; f < LOGREC_FIELD_COUNT; f++) {
			struct span s = logrec_get(&r, (enum logrec_field)f);
			cr_assert_leq(s.n, sizeof(r.text));
			if (valid && s.n > 0)
				cr_assert(s.p >= (uint8_t *)r.text && s.p + s.n <= p + sizeof(r));
		}
	}
}
