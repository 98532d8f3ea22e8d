// SPDX-License-Identifier: Apache-2.0
// TCP: half-open connections: the answer and its repetitions, and what becomes of a complete
// handshake.
#include "test/unit/plane_tcp_rig.h"

static void
init(void)
{
	segpeer_init(&p, NULL);
}

TestSuite(plane_tcp_embryo, .init = init);

Test(plane_tcp_embryo, wrong_ack_in_syn_rcvd_is_reset)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 77, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	cr_assert_eq(s.seq, 77);
	cr_assert_eq(p.user.accepts, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0); // the right one still counts
	cr_assert_eq(p.user.accepts, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, repeated_syn_gets_the_same_answer)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	cr_assert_eq(tcp_conn_count(p.tcp), 0, "a record, not a connection");
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, syn_ack_is_repeated_with_back_off_then_given_up)
{
	static const uint32_t at_ms[] = {1100, 3300, 7700, 16500, 34100};
	uint64_t start = p.now_us;

	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	segpeer_wait(&p, 200000);
	for (uint32_t i = 0; i < 5; i++) {
		next(SP_SYN | SP_ACK, 0, 1, 0);
		cr_assert_eq((s.at_us - start) / 1000, at_ms[i], "repetition %u at %lu", i,
			     (s.at_us - start) / 1000);
	}
	silence();
	cr_assert_eq(tcp_embryo_count(p.tcp), 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_EMBRYO_EXPIRED), 1);
	cr_assert_eq(p.user.accepts, 0);
	segpeer_fini(&p);
}

// How long after a word of ours it is sent again, ms.
static uint64_t
resent_after(void)
{
	uint64_t start = p.now_us;

	segpeer_skip(&p);
	tcp_conn_write(p.user.c, SPAN_LIT("220 hello\r\n"));
	segpeer_work(&p);
	next(SP_ACK | SP_PSH, 1, 1, 11);
	segpeer_wait(&p, 3000);
	next(SP_ACK | SP_PSH, 1, 1, 11);
	return (s.at_us - start) / 1000;
}

Test(plane_tcp_embryo, rfc6298_handshake_gives_the_first_round_trip)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_wait(&p, 100);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert(resent_after() <= 400);
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, rfc6298_karn_answers_to_two_syns_give_none)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_wait(&p, 900);
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_wait(&p, 50);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert_eq(resent_after(), 1000);
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, half_open_connections_take_no_connection)
{
	for (uint16_t i = 0; i < 15; i++) { // as many as get a record: 3/4 of 20
		p.path.rport = (uint16_t)(5000 + i);
		p.knows_stack_iss = false;
		segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	}
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 15);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.accepts, 1);
	cr_assert_eq(tcp_conn_count(p.tcp), 1);
	cr_assert_eq(tcp_embryo_count(p.tcp), 14);
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, full_pool_takes_no_handshake_until_there_is_room)
{
	struct segpeer_args a = {65535, 7200, 2, 64};
	struct tcp_conn *first = NULL;

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	for (uint16_t i = 1; i <= 3; i++) {
		p.path.rport = (uint16_t)(5000 + i);
		p.knows_stack_iss = false;
		segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
		segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
		first = i == 1 ? p.user.c : first;
	}
	cr_assert_eq(p.user.accepts, 2);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ACCEPT_FULL), 1);
	segpeer_skip(&p);
	silence(); // not even a reset: its data comes again
	tcp_conn_forget(first);
	tcp_conn_abort(first);
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "EHLO", 4);
	cr_assert_eq(p.user.accepts, 3);
	cr_assert_eq(p.user.received, 4);
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, full_pool_resets_a_complete_handshake_in_the_end)
{
	struct segpeer_args a = {65535, 7200, 1, 64};

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	segpeer_accept(&p, NULL);
	p.path.rport++;
	p.knows_stack_iss = false;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_wait(&p, 69000);
	segpeer_skip(&p);
	segpeer_wait(&p, 1000);
	next(SP_RST | SP_ACK, 1, 1, 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, some_connections_are_kept_for_our_own_opens)
{
	struct segpeer_args a = {65535, 7200, 128, 64};

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	for (uint16_t i = 0; i < 128; i++) {
		p.path.rport = (uint16_t)(5000 + i);
		p.knows_stack_iss = false;
		segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
		segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
		segpeer_skip(&p);
	}
	cr_assert_eq(p.user.accepts, 126);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ACCEPT_FULL), 2);
	for (int i = 0; i < 2; i++)
		cr_assert_not_null(tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user));
	cr_assert_null(tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user));
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, syn_ack_without_a_frame_leaves_when_there_is_one)
{
	p.has_no_frames = true;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_wait(&p, 5000);
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	p.has_no_frames = false;
	segpeer_wait(&p, 1);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	silence();
	p.has_no_frames = true; // and one that never finds one ends as well
	p.path.rport++;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_wait(&p, 130000);
	cr_assert_eq(tcp_embryo_count(p.tcp), 0);
	segpeer_fini(&p);
}

static void
window_is_lowered(void)
{
	tcp_settings(p.tcp, &(struct tcp_settings){.window_bytes = 4096, .window_bytes_max = 4096});
	tcp_shed(p.tcp, SHED_SHRINK);
}

// What the first answer promised is promised again, and kept, whatever the policy says meanwhile.
Test(plane_tcp_embryo, promise_of_the_window_outlives_a_policy_change)
{
	static const uint8_t scale[] = {2, 4, 5, 180, 1, 3, 3, 7};
	static uint8_t b[1460];

	tcp_settings(p.tcp,
		     &(struct tcp_settings){.window_bytes = 65535, .window_bytes_max = 4 << 20});
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, span_of(scale, sizeof(scale)), SPAN_NONE);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	uint32_t wnd = s.wnd, shift = s.wscale;

	tcp_settings(p.tcp, &(struct tcp_settings){.window_bytes = 4096, .window_bytes_max = 4096});
	segpeer_wait(&p, 1100);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert_eq(s.wnd, wnd);
	cr_assert_eq(s.wscale, shift);
	segpeer_send(&p, SP_ACK, 1, 1, 512, NULL, 0);
	cr_assert_eq(p.user.accepts, 1);
	for (uint32_t at = 0; at + sizeof(b) <= wnd; at += sizeof(b)) {
		segpeer_pattern(b, at, sizeof(b));
		segpeer_put(&p, SP_ACK, 1 + at, 1, 512, b, sizeof(b));
	}
	segpeer_work(&p);
	cr_assert_eq(p.user.received, wnd / sizeof(b) * sizeof(b));
	while (segpeer_next(&p, &s)) // the edge never goes back
		cr_assert_geq(s.ack + (s.wnd << shift), 1 + wnd - (1u << shift));
	segpeer_fini(&p);
}

Test(plane_tcp_embryo, promise_in_a_simultaneous_open_too)
{
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	cr_assert(segpeer_next(&p, &s));
	uint32_t wnd = s.wnd;

	window_is_lowered();
	segpeer_wait(&p, 1000);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.wnd, wnd, "the SYN again: %u", s.wnd);
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert_eq(s.wnd, wnd, "the answer: %u", s.wnd);
	segpeer_fini(&p);
}
