// SPDX-License-Identifier: Apache-2.0
// TCP: segments from strangers, old segments, broken segments (RFC 5961, RFC 7323, RFC 9293).
#include <string.h>

#include "control/base/bytes.h"
#include "test/unit/plane_tcp_rig.h"

#define SYN_TS OPTIONS("\x02\x04\x05\xb4\x01\x01\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00")

static void
init(void)
{
	segpeer_init(&p, NULL);
}

// A segment with a timestamp of our choice.
static void
send_ts(uint8_t flags, uint32_t seq, uint32_t tsval, const char *data)
{
	uint8_t o[12] = {1, 1, 8, 10};

	store_be32(o + 4, tsval);
	store_be32(o + 8, p.ts_seen);
	segpeer_send_options(&p, flags, seq, 1, 65535, span_of(o, 12), span_str(data));
}

static void
accept_ts(uint32_t tsval)
{
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_TS, SPAN_NONE);
	send_ts(SP_ACK, 1, tsval, "");
	cr_assert_eq(p.user.accepts, 1);
	segpeer_skip(&p);
}

TestSuite(plane_tcp_attack, .init = init);

Test(plane_tcp_attack, rfc5961_rst_counts_only_at_rcv_nxt)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_RST, 2, 0, 0, NULL, 0); // inside the window
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_CHALLENGE_ACK), 1);
	segpeer_send(&p, SP_RST, 0, 0, 0, NULL, 0); // before it
	segpeer_send(&p, SP_RST, 70000, 0, 0, NULL, 0);
	silence();
	cr_assert_eq(p.user.gones, 0);
	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_RESET);
	silence();
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc5961_syn_is_challenged_wherever_it_stands)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_SYN, 1, 0, 65535, NULL, 0);
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_SYN, 0x70000000, 0, 65535, NULL, 0);
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_SYN | SP_ACK, 0, 1, 65535, NULL, 0);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_CHALLENGE_ACK), 3);
	cr_assert_eq(p.user.gones, 0);
	// The peer has really restarted: its RST to our challenge stands at rcv_nxt.
	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc5961_ack_range)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, "injected", 8); // acknowledges what we never sent
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 1, 1u - 65536, 65535, "injected", 8); // more than a window old
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(p.user.received, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_CHALLENGE_ACK), 2);
	segpeer_send(&p, SP_ACK, 1, 1u - 65535, 65535, "old ack, good data", 18);
	cr_assert_eq(p.user.received, 18);
	segpeer_fini(&p);
}

// Who guesses a place in the window but no ACK injects no timestamp either: one far ahead would
// make all that the peer sends look old.
Test(plane_tcp_attack, rfc5961_ack_range_holds_for_the_timestamp_too)
{
	uint8_t o[12] = {1, 1, 8, 10, 0x40};

	accept_ts(0x2000);
	segpeer_send_options(&p, SP_ACK, 1, 100000, 65535, span_of(o, 12), SPAN_LIT("injected"));
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.tsecr, 0x2000);
	send_ts(SP_ACK, 1, 0x2001, "honest");
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PAWS), 0);
	cr_assert_eq(p.user.received, 6);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc5961_challenges_are_limited)
{
	segpeer_accept(&p, NULL);
	uint32_t answers[3] = {0, 0, 0};

	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < 1000; i++) {
			segpeer_send(&p, SP_SYN, 5, 0, 65535, NULL, 0);
			answers[k] += segpeer_pending(&p);
			segpeer_skip(&p);
		}
		segpeer_wait(&p, 1000);
		segpeer_skip(&p);
	}
	for (int k = 0; k < 3; k++)
		cr_assert(answers[k] >= 100 && answers[k] <= 200, "%u", answers[k]);
	cr_assert(answers[0] != answers[1] || answers[1] != answers[2], "the limit must vary");
	segpeer_fini(&p);
}

Test(plane_tcp_attack, segment_without_ack_is_dropped)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, 0, 1, 0, 65535, "data", 4);
	segpeer_send(&p, SP_FIN, 1, 0, 65535, NULL, 0);
	silence();
	cr_assert_eq(p.user.received, 0);
	cr_assert_eq(p.user.eofs, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, outside_the_window_is_acknowledged_and_dropped)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 65536, 1, 65535, "beyond", 6);
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 0x80000001u, 1, 65535, "far", 3);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(p.user.received, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_OUT_OF_WINDOW) +
			     segpeer_count(&p, COUNTER_TCP_DUPLICATE),
		     2);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, duplicate_data_is_acknowledged)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "abc", 3);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "abc", 3);
	next(SP_ACK, 1, 4, 0);
	cr_assert_eq(p.user.received, 3);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_DUPLICATE), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, partly_old_segment_gives_its_new_part)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "abc", 3);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "XXXdef", 6);
	cr_assert_arr_eq(p.user.data, "abcdef", 6);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_old_timestamp_is_dropped_and_answered)
{
	accept_ts(0x2000);
	send_ts(SP_ACK, 1, 0x1fff, "old");
	cr_assert_eq(p.user.received, 0);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.tsecr, 0x2000);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PAWS), 1);
	send_ts(SP_ACK, 1, 0x2000, "new");
	cr_assert_eq(p.user.received, 3);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_rst_is_exempt)
{
	accept_ts(0x2000);
	send_ts(SP_RST, 1, 5, "");
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_RESET);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_rst_without_timestamp_is_taken)
{
	accept_ts(0x2000);
	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_missing_timestamp_is_dropped)
{
	accept_ts(0x2000);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "bare", 4);
	cr_assert_eq(p.user.received, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PAWS), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_timestamp_is_invalid_after_24_days)
{
	struct segpeer_args a = {65535, 0, 16, 64}; // without keepalive

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	accept_ts(0x2000);
	for (int i = 0; i < 25; i++)
		segpeer_wait(&p, 24 * 3600 * 1000);
	send_ts(SP_ACK, 1, 0x1000, "still the same peer");
	cr_assert_eq(p.user.received, 19);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_echo_is_of_the_segment_at_last_ack_sent)
{
	accept_ts(0x2000);
	send_ts(SP_ACK, 1, 0x2001, "a"); // not acknowledged yet: the ACK is delayed
	send_ts(SP_ACK, 2, 0x2005, "b");
	segpeer_wait(&p, 50);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.tsecr, 0x2001, "RFC 7323 4.3: the earliest one of a delayed ACK");
	send_ts(SP_ACK, 5, 0x2010, "out of order");
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.tsecr, 0x2001, "nothing behind a gap");
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_old_segment_does_not_move_the_echo)
{
	accept_ts(0x2000);
	send_ts(SP_ACK, 1, 0x2001, "a");
	segpeer_wait(&p, 50);
	segpeer_skip(&p);
	send_ts(SP_ACK, 70000, 0x9000, "outside the window");
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.tsecr, 0x2001);
	send_ts(SP_ACK, 1, 0x9000, "a"); // nor does what was taken before, though it is newer
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.tsecr, 0x2001);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, broken_headers)
{
	static const struct {
		uint32_t n;
		uint8_t b[40];
	} bad[] = {
		{0, {0}},
		{19, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2}},
		{20, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 2}}, // offset 4
		{20, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 2}}, // offset beyond the end
		{20, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 3}}, // SYN and FIN
		{20, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 6}}, // SYN and RST
		{24, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0,
		      0x60, 2,    0, 0,  0, 0, 0, 0, 2, 0, 0, 0}},
		{24, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0,
		      0x60, 2,    0, 0,  0, 0, 0, 0, 2, 5, 0, 0}},
		{24, {0x9c, 0x40, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0,
		      0x60, 2,    0, 0,  0, 0, 0, 0, 1, 1, 1, 8}},
	};

	for (uint32_t i = 0; i < ARRAY_LEN(bad); i++) {
		tcp_input(p.tcp, &p.path, (struct span){bad[i].b, bad[i].n});
		segpeer_work(&p);
		cr_assert_eq(segpeer_count(&p, COUNTER_TCP_BAD), i + 1, "case %u", i);
	}
	silence();
	p.path.rport = 0;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	silence();
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, odd_options_are_skipped)
{
	// Unknown kind, MSS of a wrong length, window scale of a wrong length, then a good MSS.
	struct span o = OPTIONS("\xfd\x04zz\x02\x03\x01\x03\x04\x01\x01\x02\x04\x02\x00\x00");
	static uint8_t b[2000];

	segpeer_accept(&p, &o);
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 512);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rst_in_syn_rcvd_frees_the_record)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_skip(&p);
	segpeer_send(&p, SP_RST, 5, 0, 0, NULL, 0);
	next(SP_ACK, 1, 1, 0); // not exact: challenged
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 0);
	cr_assert_eq(p.user.accepts, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, half_open_takes_nothing_from_outside)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_skip(&p);
	segpeer_send(&p, SP_RST, 70000, 0, 0, NULL, 0); // outside the window
	segpeer_send(&p, SP_RST | SP_ACK, 0, 1, 0, NULL, 0);
	segpeer_send(&p, 0, 1, 0, 65535, "no ACK", 6);
	silence();
	segpeer_send(&p, SP_SYN, 5000, 0, 65535, NULL, 0); // RFC 5961 4.2
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 70000, 1, 65535, "beyond", 6);
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 0x80000001u, 1, 65535, NULL, 0);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(p.user.accepts, 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	segpeer_send(&p, SP_ACK, 3, 1, 65535, "llo", 3); // good, but the bytes before are missing
	cr_assert_eq(p.user.accepts, 1);
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "he", 2);
	cr_assert_eq(p.user.received, 5);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, rfc7323_half_open_wants_its_timestamp)
{
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_TS, SPAN_NONE);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	silence();
	send_ts(SP_ACK, 1, 0xfff, ""); // the SYN had 0x1000
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PAWS), 2);
	cr_assert_eq(p.user.accepts, 0);
	send_ts(SP_ACK, 1, 0x1000, "");
	cr_assert_eq(p.user.accepts, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, resets_to_strangers_are_limited)
{
	uint32_t answers[3] = {0, 0, 0};

	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < 3000; i++) {
			p.path.rport = (uint16_t)(1024 + i);
			segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
			answers[k] += segpeer_pending(&p);
			segpeer_skip(&p);
		}
		segpeer_wait(&p, 1000);
	}
	for (int k = 0; k < 3; k++)
		cr_assert(answers[k] >= 500 && answers[k] <= 1000, "%u", answers[k]);
	cr_assert(answers[0] != answers[1] || answers[1] != answers[2], "the limit must vary");
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RST_LIMITED),
		     9000 - answers[0] - answers[1] - answers[2]);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, window_in_a_reset_to_another_flow_changes_nothing)
{
	static uint8_t b[1000];

	segpeer_accept(&p, NULL);
	p.path.rport++;
	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0); // its window is zero
	p.path.rport--;
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK | SP_PSH, 1, 1, 1000);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, same_tuple_on_another_side_is_another_connection)
{
	segpeer_accept(&p, NULL);
	p.path.side = 1;
	p.knows_stack_iss = false;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_SYN | SP_ACK);
	cr_assert_eq(tcp_conn_count(p.tcp), 1);
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_attack, segment_from_ourselves_is_dropped)
{
	p.path.raddr = p.path.laddr;
	p.path.rport = p.path.lport;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	silence();
	cr_assert_eq(tcp_embryo_count(p.tcp), 0);
	segpeer_fini(&p);
}
