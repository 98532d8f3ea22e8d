// SPDX-License-Identifier: Apache-2.0
// TCP: TIME_WAIT as records: what still reaches an ended connection, who may take its name again.
#include <string.h>

#include "control/base/bytes.h"
#include "test/unit/plane_tcp_rig.h"

#define SYN_TS OPTIONS("\x02\x04\x05\xb4\x01\x01\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00")

static void
init(void)
{
	segpeer_init(&p, NULL);
}

TestSuite(plane_tcp_wait, .init = init);

static void
send_ts(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t tsval, const char *data)
{
	uint8_t o[12] = {1, 1, 8, 10};

	store_be32(o + 4, tsval);
	store_be32(o + 8, p.ts_seen);
	segpeer_send_options(&p, flags, seq, ack, 65535, span_of(o, 12), span_str(data));
}

static void
syn_ts(uint32_t seq, uint32_t tsval)
{
	uint8_t o[12] = {1, 1, 8, 10};

	store_be32(o + 4, tsval);
	segpeer_send_options(&p, SP_SYN, seq, 0, 65535, span_of(o, 12), SPAN_NONE);
}

// Opened and closed by us, then by the peer: TIME_WAIT with rcv_nxt 2 and snd_nxt 2.
static void
close_both(bool has_ts)
{
	p.knows_stack_iss = false;
	p.user.gones = 0;
	if (has_ts) {
		segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_TS, SPAN_NONE);
		send_ts(SP_ACK, 1, 1, 0x1001, "");
	} else {
		segpeer_accept(&p, NULL);
	}
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	if (has_ts)
		send_ts(SP_ACK | SP_FIN, 1, 2, 0x2000, "");
	else
		segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
	segpeer_skip(&p);
}

Test(plane_tcp_wait, costs_no_connection)
{
	close_both(false);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_CLOSED);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_wait(&p, 29900);
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_wait(&p, 300);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	segpeer_send(&p, SP_ACK, 2, 2, 65535, NULL, 0); // now nobody knows it
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, user_with_unread_bytes_keeps_them)
{
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, "unread", 6);
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	cr_assert_eq(tcp_conn_count(p.tcp), 1, "the user has not had all");
	cr_assert_eq(p.user.gones, 0);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, "unread", 6);
	next(SP_ACK, 2, 8, 0);
	segpeer_wait(&p, 31000);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 6);
	cr_assert_eq(p.user.eofs, 1);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, repeated_fin_is_acknowledged_with_timestamp)
{
	close_both(true);
	segpeer_wait(&p, 100);
	uint32_t seen = p.ts_seen;

	send_ts(SP_ACK | SP_FIN, 1, 2, 0x2005, "");
	next(SP_ACK, 2, 2, 0);
	cr_assert(s.has_ts);
	cr_assert_eq(s.tsecr, 0x2005);
	cr_assert_eq(s.tsval - seen, 100, "the same clock as before");
	segpeer_fini(&p);
}

Test(plane_tcp_wait, fin_while_our_last_ack_has_found_no_frame)
{
	segpeer_accept(&p, NULL);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	p.has_no_frames = true;
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 0, "its ACK is still to be sent");
	p.has_no_frames = false;
	segpeer_put(&p, SP_ACK, 2, 2, 65535, NULL, 0); // wants no answer of its own
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	next(SP_ACK, 2, 2, 0);
	segpeer_work(&p);
	silence();
	cr_assert_eq(p.user.gones, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, old_segments_get_an_ack_resets_nothing)
{
	close_both(false);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "x", 1);
	next(SP_ACK, 2, 2, 0);
	segpeer_send(&p, SP_ACK, 0, 2, 65535, NULL, 0); // a keepalive
	next(SP_ACK, 2, 2, 0);
	segpeer_send(&p, SP_ACK | SP_FIN, 900, 2, 65535, NULL, 0);
	next(SP_ACK, 2, 2, 0);
	segpeer_send(&p, SP_ACK, 2, 2, 65535, NULL, 0); // all in order: nothing to say
	segpeer_send(&p, SP_RST, 2, 0, 0, NULL, 0);     // RFC 1337
	segpeer_send(&p, SP_RST | SP_ACK, 2, 2, 0, NULL, 0);
	silence();
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, two_ends_do_not_play_ping_pong)
{
	uint32_t answers = 0;

	close_both(false);
	for (int i = 0; i < 1000; i++) {
		segpeer_send(&p, SP_ACK, 1, 2, 65535, NULL, 0);
		answers += segpeer_pending(&p);
		segpeer_skip(&p);
	}
	cr_assert(answers <= 200, "%u", answers);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, rfc7323_paws_holds_in_time_wait)
{
	close_both(true);
	send_ts(SP_ACK | SP_FIN, 1, 2, 0x1fff, "");
	next(SP_ACK, 2, 2, 0);
	cr_assert_eq(s.tsecr, 0x2000);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PAWS), 1);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0); // without its timestamp
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PAWS), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, rfc6191_syn_with_timestamps)
{
	close_both(true);
	uint32_t old_end = p.stack_iss + 2;

	syn_ts(1000, 0x1fff); // older, whatever its sequence number
	next(SP_ACK, 2, 2, 0);
	syn_ts(1, 0x2000); // the same time: the number decides
	next(SP_ACK, 2, 2, 0);
	p.knows_stack_iss = false;
	syn_ts((uint32_t)-5000, 0x2001); // newer, though its number is lower
	next(SP_SYN | SP_ACK, 0, (uint32_t)-4999, 0);
	cr_assert((int32_t)(p.stack_iss - old_end) > 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_WAIT_REUSED), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, rfc6191_equal_time_and_higher_number)
{
	close_both(true);
	p.knows_stack_iss = false;
	syn_ts(3, 0x2000);
	next(SP_SYN | SP_ACK, 0, 4, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, syn_reopens_with_a_record_also_under_pressure)
{
	close_both(false);
	uint32_t old_end = p.stack_iss + 2;

	tcp_shed(p.tcp, SHED_COOKIES);
	p.knows_stack_iss = false;
	segpeer_send(&p, SP_SYN, 3, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 4, 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	cr_assert((int32_t)(p.stack_iss - old_end) > 0);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, rfc6191_first_timestamps_open_whatever_the_number)
{
	close_both(false);
	uint32_t old_end = p.stack_iss + 2;

	p.knows_stack_iss = false;
	syn_ts((uint32_t)-5000, 7);
	next(SP_SYN | SP_ACK, 0, (uint32_t)-4999, 0);
	cr_assert((int32_t)(p.stack_iss - old_end) > 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_WAIT_REUSED), 1);
	segpeer_fini(&p);
}

// It gets no cookie, so where there is no record left the oldest stranger gives his up (RFC 4987
// 3.4), and nobody else.
Test(plane_tcp_wait, syn_that_reopens_drops_the_oldest_half_open_one)
{
	const struct segpeer_args args = {.window_bytes = 65535,
					  .keepalive_s = 7200,
					  .conns_max = 8,
					  .chunks = 64,
					  .embryos_max = 4,
					  .waits_max = 8};
	uint16_t port = p.path.rport;

	segpeer_fini(&p);
	segpeer_init(&p, &args);
	for (uint16_t i = 0; i < 2; i++) { // these have their number again soon
		p.path.rport = (uint16_t)(port + i);
		close_both(false);
	}
	for (uint16_t i = 10; i < 14; i++) { // three records, and a cookie
		p.path.rport = (uint16_t)(port + i);
		p.knows_stack_iss = false;
		segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
		segpeer_wait(&p, 10);
		next(SP_SYN | SP_ACK, 0, 1, 0);
	}
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_SENT), 1);
	for (uint16_t i = 0; i < 2; i++) {
		p.path.rport = (uint16_t)(port + i);
		p.knows_stack_iss = false;
		segpeer_send(&p, SP_SYN, 3, 0, 65535, NULL, 0);
		next(SP_SYN | SP_ACK, 0, 4, 0);
		cr_assert_eq(segpeer_count(&p, COUNTER_TCP_EMBRYO_DROPPED), i);
		cr_assert_eq(tcp_embryo_count(p.tcp), 4);
	}
	segpeer_wait(&p, 1110); // of the three strangers the first is gone
	for (uint16_t i = 11; i < 13; i++) {
		cr_assert(segpeer_next(&p, &s));
		cr_assert_eq(s.rport, port + i, "to %u", s.rport - port);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_wait, reopened_number_is_above_also_after_much_data)
{
	p.knows_stack_iss = false;
	segpeer_accept(&p, NULL);
	send_much(300000); // the clock stands still meanwhile
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	cr_assert(segpeer_next(&p, &s));
	uint32_t end = s.seq + 1, old_end = p.stack_iss + end;

	segpeer_send(&p, SP_ACK | SP_FIN, 1, end, 65535, NULL, 0);
	segpeer_skip(&p);
	p.knows_stack_iss = false;
	segpeer_send(&p, SP_SYN, 3, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 4, 0);
	cr_assert((int32_t)(p.stack_iss - old_end) > 0);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, syn_that_is_shed_leaves_the_record)
{
	close_both(false);
	tcp_shed(p.tcp, SHED_DROP);
	segpeer_send(&p, SP_SYN, 3, 0, 65535, NULL, 0);
	silence();
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_fini(&p);
}

// Forgotten, our FIN acknowledged: rcv_nxt 1, snd_nxt 2.
static void
forget(void)
{
	p.knows_stack_iss = false;
	segpeer_accept(&p, NULL);
	tcp_conn_forget(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, NULL, 0);
	segpeer_skip(&p);
}

Test(plane_tcp_wait, half_closed_and_forgotten_costs_no_connection)
{
	forget();
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, NULL, 0);
	silence();
	segpeer_wait(&p, 50000);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
	next(SP_ACK, 2, 2, 0);
	segpeer_wait(&p, 29000);
	cr_assert_eq(tcp_wait_count(p.tcp), 1, "TIME_WAIT begins with the FIN");
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
	next(SP_ACK, 2, 2, 0);
	segpeer_wait(&p, 31000);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, half_closed_ends_after_a_minute)
{
	forget();
	segpeer_wait(&p, 59000);
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_wait(&p, 1500);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_TIMEOUT), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, half_closed_refuses_bytes_and_resets)
{
	forget();
	segpeer_send(&p, SP_RST, 500, 0, 0, NULL, 0); // in the window, but not exact
	next(SP_ACK, 2, 1, 0);
	segpeer_send(&p, SP_SYN, 500, 0, 65535, NULL, 0);
	next(SP_ACK, 2, 1, 0);
	segpeer_send(&p, SP_ACK, 0, 2, 65535, "x", 1); // an old byte
	next(SP_ACK, 2, 1, 0);
	segpeer_send(&p, SP_RST, 100000, 0, 0, NULL, 0);
	segpeer_send(&p, SP_FIN, 1, 0, 65535, NULL, 0);
	silence();
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	silence();
	p.path.rport++;
	forget();
	segpeer_send(&p, SP_ACK, 0, 2, 65535, "xy", 2); // one of them is new
	next(SP_RST | SP_ACK, 2, 1, 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, half_closed_with_a_gap_stays_a_connection)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK | SP_FIN, 3, 1, 65535, "z", 1); // two bytes before it are missing
	tcp_conn_forget(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, NULL, 0);
	segpeer_skip(&p);
	cr_assert_eq(tcp_conn_count(p.tcp), 1);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_wait, who_does_not_close_makes_room_first)
{
	struct segpeer_args a = {
		.window_bytes = 65535, .conns_max = 4, .chunks = 64, .waits_max = 3};

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	for (uint16_t i = 0; i < 5; i++) {
		p.path.rport = (uint16_t)(5000 + i);
		if (i == 1 || i == 2)
			forget();
		else
			close_both(false);
	}
	for (uint16_t i = 0; i < 5; i++) {
		p.path.rport = (uint16_t)(5000 + i);
		segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
		cr_assert(segpeer_next(&p, &s));
		cr_assert_eq(s.flags, i == 1 || i == 2 ? SP_RST : SP_ACK, "%u", i);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_wait, oldest_makes_room)
{
	struct segpeer_args a = {
		.window_bytes = 65535, .conns_max = 4, .chunks = 64, .waits_max = 3};

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	for (uint16_t i = 0; i < 5; i++) {
		p.path.rport = (uint16_t)(5000 + i);
		close_both(false);
	}
	cr_assert_eq(tcp_wait_count(p.tcp), 3);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_WAIT_DROPPED), 2);
	for (uint16_t i = 0; i < 5; i++) {
		p.path.rport = (uint16_t)(5000 + i);
		segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
		cr_assert(segpeer_next(&p, &s));
		cr_assert_eq(s.flags, i < 2 ? SP_RST : SP_ACK, "%u", i);
	}
	segpeer_fini(&p);
}

// The table, the pool and the list with many in them; a repeated FIN moves its record to the end.
Test(plane_tcp_wait, a_hundred_thousand_and_all_end_in_order)
{
	struct segpeer_args a = {
		.window_bytes = 65535, .conns_max = 16, .chunks = 64, .waits_max = 100000};
	uint32_t iss[1000];

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	for (uint32_t i = 0; i < 100000; i++) {
		p.path.raddr = ipaddr_v4(0x0b000000 + i % 1000);
		p.path.rport = (uint16_t)(1024 + i / 1000);
		close_both(false);
		if (i < 1000)
			iss[i] = p.stack_iss;
	}
	cr_assert_eq(tcp_wait_count(p.tcp), 100000);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_wait(&p, 20000);
	for (uint32_t i = 0; i < 1000; i++) {
		p.path.raddr = ipaddr_v4(0x0b000000 + i);
		p.path.rport = 1024;
		p.stack_iss = iss[i];
		segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
		next(SP_ACK, 2, 2, 0);
		segpeer_skip(&p);
	}
	segpeer_wait(&p, 9900);
	cr_assert_eq(tcp_wait_count(p.tcp), 100000);
	segpeer_wait(&p, 6000);
	cr_assert_eq(tcp_wait_count(p.tcp), 1000);
	segpeer_wait(&p, 15000);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	segpeer_fini(&p);
}
