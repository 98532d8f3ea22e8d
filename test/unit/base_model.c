// SPDX-License-Identifier: Apache-2.0
// Tests of the shared words and of the counters' names.
#include <criterion/criterion.h>
#include <string.h>

#include "control/abi/counter.h"

Test(model, names)
{
	cr_assert_str_eq(event_name(EVENT_RCPT), "OnRcptCommand");
	cr_assert_str_eq(action_name(ACTION_REJECT_COMMAND), "RejectCommand");
	cr_assert_str_eq(agent_name(AGENT_sender_filter), "Sender Filter");
	cr_assert_str_eq(disconnect_name(DISCONNECT_QUIT_VERB), "QuitVerb");
	cr_assert_str_eq(direction_name(DIRECTION_OUTBOUND), "outbound");
	cr_assert_str_eq(event_name(EVENT_COUNT), "?");
	cr_assert_str_eq(action_name(UINT32_MAX), "?");
	cr_assert_str_eq(agent_name(AGENT_NONE), "?");
	cr_assert_str_eq(disconnect_name(DISCONNECT_COUNT), "?");
	cr_assert_str_eq(direction_name(2), "?");
}

Test(model, agents)
{
	uint32_t seen = 0;
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		seen |= 1u << agent_default_place(a);
	cr_assert_eq(seen, ((1u << AGENT_COUNT) - 1) << 1, "priorities are 1..N");
	static const enum agent_id exchange[] = {
		AGENT_connection_filtering, AGENT_content_filter,       AGENT_sender_filter,
		AGENT_recipient_filter,     AGENT_attachment_filtering,
	};
	for (uint32_t i = 1; i < ARRAY_LEN(exchange); i++)
		cr_assert_lt(agent_default_place(exchange[i - 1]), agent_default_place(exchange[i]),
			     "%s", agent_name(exchange[i]));
	cr_assert_eq(agent_default_place(AGENT_COUNT), 0);
	cr_assert_eq(agent_events(AGENT_recipient_filter), EVENT_BIT(RCPT));
	cr_assert_eq(agent_events(AGENT_COUNT), 0);
	enum agent_id id;
	cr_assert(agent_find(SPAN_LIT("connection_filtering"), &id) &&
		  id == AGENT_connection_filtering);
	cr_assert(agent_find(SPAN_LIT("Content Filter"), &id) && id == AGENT_content_filter);
	cr_assert(agent_find(SPAN_LIT("SENDER-FILTER"), &id) && id == AGENT_sender_filter);
	cr_assert(!agent_find(SPAN_LIT("sender"), &id));
	cr_assert(!agent_find(SPAN_LIT("sender-filter2"), &id));
	cr_assert(!agent_find(SPAN_NONE, &id));
}

Test(counter, names_and_count)
{
	cr_assert_str_eq(counter_name(COUNTER_RX_FRAMES), "rx_frames");
	cr_assert_str_eq(counter_name(COUNTER_TCP_PAWS), "tcp_paws");
	cr_assert_str_eq(counter_name(COUNTER_COUNT), "?");
	cr_assert_str_eq(counter_help(COUNTER_LOOPS), "poll loops");
	cr_assert_str_eq(counter_help(UINT32_MAX), "?");
	static struct counters c;
	COUNT(&c, SESSIONS);
	COUNT_N(&c, SESSIONS, 41);
	cr_assert_eq(counter_read(&c.v[COUNTER_SESSIONS]), 42);
	cr_assert_eq(counter_read(&c.v[COUNTER_SESSIONS_ENDED]), 0);
}
