// SPDX-License-Identifier: Apache-2.0
// TCP: opening and closing, with segments made by hand.
#include <string.h>

#include "test/unit/plane_tcp_rig.h"

#define ALL_OPTIONS                                                                                \
	span_of("\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00\x01\x03\x03"     \
		"\x07",                                                                            \
		20)

static void
init(void)
{
	segpeer_init(&p, NULL);
}

TestSuite(plane_tcp_open, .init = init);

Test(plane_tcp_open, passive_handshake_and_a_word_each_way)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert(s.has_mss && s.mss == 1460);
	cr_assert_eq(p.user.accepts, 0, "not before the third segment");
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.accepts, 1);
	silence();
	segpeer_send(&p, SP_ACK | SP_PSH, 1, 1, 65535, "EHLO x\r\n", 8);
	cr_assert_eq(p.user.received, 8);
	cr_assert_arr_eq(p.user.data, "EHLO x\r\n", 8);
	silence(); // the ACK waits for the answer
	cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("250 ")), 4);
	cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("ok\r\n")), 4);
	segpeer_work(&p);
	next(SP_ACK | SP_PSH, 1, 9, 8); // both writes and the ACK in one segment
	cr_assert_arr_eq(s.data, "250 ok\r\n", 8);
	cr_assert_eq(tcp_conn_unsent(p.user.c), 8);
	segpeer_send(&p, SP_ACK, 9, 9, 65535, NULL, 0);
	cr_assert_eq(tcp_conn_unsent(p.user.c), 0);
	cr_assert_eq(p.user.sents, 1);
	cr_assert_eq(p.chunks.pool.used, 0, "an idle connection holds no chunk");
	silence();
	segpeer_fini(&p);
}

Test(plane_tcp_open, rfc7323_options_only_when_the_syn_has_them)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert(!s.has_wscale && !s.has_ts && !s.has_sack_ok);
	p.path.rport++;
	p.knows_stack_iss = false;
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, ALL_OPTIONS, SPAN_NONE);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert(s.has_wscale && s.has_ts && s.has_sack_ok);
	cr_assert_eq(s.tsecr, 0x1000);
	cr_assert_eq(s.wscale, 0, "65535 bytes need no scale");
	segpeer_fini(&p);
}

Test(plane_tcp_open, rfc7323_timestamp_offsets_differ_between_connections)
{
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, ALL_OPTIONS, SPAN_NONE);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	uint32_t first = s.tsval;

	p.path.rport++;
	p.knows_stack_iss = false;
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, ALL_OPTIONS, SPAN_NONE);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert_neq(s.tsval, first);
	segpeer_fini(&p);
}

Test(plane_tcp_open, rfc6528_isn_grows_with_time_and_differs_between_tuples)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	uint32_t first = p.stack_iss;

	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0); // frees the tuple
	segpeer_wait(&p, 1000);
	p.knows_stack_iss = false;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	cr_assert_eq(p.stack_iss - first, 250000, "one tick in 4 us");
	p.path.rport++;
	p.knows_stack_iss = false;
	uint32_t same_time = p.stack_iss;

	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	cr_assert_neq(p.stack_iss, same_time);
	segpeer_fini(&p);
}

Test(plane_tcp_open, mss_missing_means_536_and_tiny_is_clamped)
{
	static uint8_t b[3000];

	segpeer_accept(&p, &(struct span){NULL, 0});
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 536);
	tcp_conn_abort(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	p.path.rport++;
	p.knows_stack_iss = false;
	segpeer_accept(&p, &(struct span){(const uint8_t *)"\x02\x04\x00\x01", 4});
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 64);
	segpeer_fini(&p);
}

Test(plane_tcp_open, mss_counts_the_timestamp_option)
{
	static uint8_t b[5000];

	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, ALL_OPTIONS, SPAN_NONE);
	p.has_ts = true;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 1448);
	cr_assert(s.has_ts);
	segpeer_fini(&p);
}

Test(plane_tcp_open, syn_with_data_is_answered_without_taking_it)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, "early", 5);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "early", 5);
	cr_assert_eq(p.user.received, 5);
	segpeer_fini(&p);
}

Test(plane_tcp_open, data_and_fin_on_the_third_segment)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 1, 65535, "QUIT\r\n", 6);
	cr_assert_eq(p.user.accepts, 1);
	cr_assert_eq(p.user.received, 6);
	cr_assert_eq(p.user.eofs, 1);
	next(SP_ACK, 1, 8, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, user_refuses)
{
	p.user.is_refusing = true;
	segpeer_accept(&p, NULL);
	cr_assert_eq(p.user.accepts, 1);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RST_OUT), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_open, rst_for_closed_port_with_right_numbers)
{
	p.path.lport = 26;
	segpeer_send(&p, SP_SYN, 10, 0, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST | SP_ACK);
	cr_assert_eq(s.seq + p.stack_iss, 0);
	cr_assert_eq(s.ack, 11);
	segpeer_send(&p, SP_ACK, 10, 500, 65535, "abc", 3);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	cr_assert_eq(s.seq, 500);
	segpeer_send(&p, SP_FIN, 10, 0, 65535, "abc", 3);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.ack, 14, "data and FIN count");
	segpeer_send(&p, SP_RST, 10, 0, 0, NULL, 0);
	segpeer_send(&p, SP_RST | SP_ACK, 10, 1, 0, NULL, 0);
	silence(); // never a RST for a RST
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_REFUSED), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_open, ack_to_listener_without_connection_is_reset)
{
	segpeer_send(&p, SP_ACK, 10, 500, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	segpeer_send(&p, 0, 10, 0, 65535, NULL, 0);
	silence();
	segpeer_fini(&p);
}

static void *
refuse(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	(void)ctx;
	(void)c;
	(void)ops;
	return NULL;
}

// A listener serves every local address of its side, and no other side's.
Test(plane_tcp_open, listener_serves_its_side_only)
{
	cr_assert(tcp_listen(p.tcp, 1, 2525, refuse, NULL));
	p.path.lport = 2525;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST | SP_ACK);
	p.path.side = 1;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_SYN | SP_ACK);
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::25"), &p.path.laddr));
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::1"), &p.path.raddr));
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_SYN | SP_ACK, "and of both families");
	segpeer_fini(&p);
}

Test(plane_tcp_open, active_handshake)
{
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	cr_assert_not_null(p.user.c);
	cr_assert_eq(segpeer_pending(&p), 0, "nothing leaves from inside");
	p.path = *tcp_conn_path(p.user.c);
	cr_assert(p.path.lport >= 16384);
	segpeer_work(&p);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_SYN);
	cr_assert(s.has_mss && s.has_ts && s.has_sack_ok && s.has_wscale);
	cr_assert_eq(s.tsecr, 0);
	segpeer_send_options(&p, SP_SYN | SP_ACK, 0, 1, 5000, ALL_OPTIONS, SPAN_NONE);
	cr_assert_eq(p.user.opens, 1);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.tsecr, 0x1000);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_OPEN_ACTIVE), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_IN), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_OUT), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_open, data_written_in_open_leaves_with_the_ack)
{
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("hello")), 5, "before it is open");
	segpeer_work(&p);
	next(SP_SYN, 0, (uint32_t)-p.peer_iss, 0);
	segpeer_send(&p, SP_SYN | SP_ACK, 0, 1, 5000, NULL, 0);
	next(SP_ACK | SP_PSH, 1, 1, 5);
	segpeer_fini(&p);
}

Test(plane_tcp_open, active_open_refused_only_by_a_rst_with_our_number)
{
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_RST, 0, 0, 0, NULL, 0);
	segpeer_send(&p, SP_RST | SP_ACK, 0, 99, 0, NULL, 0);
	silence();
	cr_assert_eq(p.user.gones, 0, "RFC 9293 3.10.7.3: the ACK must be acceptable");
	segpeer_send(&p, SP_SYN | SP_ACK, 0, 99, 5000, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	cr_assert_eq(s.seq, 99);
	segpeer_send(&p, SP_RST | SP_ACK, 0, 1, 0, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_REFUSED);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, active_open_times_out)
{
	static const uint32_t at_s[] = {0, 1, 2, 3, 4, 5, 7, 11, 19, 35};

	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	uint64_t start = p.now_us;

	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_wait(&p, 63000);
	cr_assert_eq(p.user.gones, 0);
	for (uint32_t i = 0; i < ARRAY_LEN(at_s); i++) {
		next(SP_SYN, 0, (uint32_t)-p.peer_iss, 0);
		cr_assert_eq((s.at_us - start) / 1000000, at_s[i]);
	}
	silence();
	segpeer_wait(&p, 2000);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	segpeer_fini(&p);
}

Test(plane_tcp_open, syn_that_finds_no_frame_is_sent_later_and_starts_no_timer)
{
	p.has_no_frames = true;
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_wait(&p, 5000);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	p.has_no_frames = false;
	segpeer_wait(&p, 1);
	next(SP_SYN, 0, (uint32_t)-p.peer_iss, 0);
	silence();
	p.has_no_frames = true; // and one that never finds one ends as well
	segpeer_wait(&p, 70000);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	segpeer_fini(&p);
}

Test(plane_tcp_open, no_route_no_port)
{
	p.has_no_route = true;
	cr_assert_null(tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user));
	p.has_no_route = false;
	p.owns_no_port = true;
	cr_assert_null(tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PORTS_EXHAUSTED), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_open, rfc6056_ports_differ_and_are_not_reused)
{
	uint16_t port[10];

	for (int i = 0; i < 10; i++) {
		struct tcp_conn *c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);

		cr_assert_not_null(c);
		port[i] = tcp_conn_path(c)->lport;
		for (int k = 0; k < i; k++)
			cr_assert_neq(port[i], port[k]);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_open, simultaneous_open)
{
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert_eq(p.user.opens, 0);
	segpeer_send(&p, SP_SYN | SP_ACK, 0, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.opens, 1);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "x", 1);
	cr_assert_eq(p.user.received, 1);
	segpeer_fini(&p);
}

// Who answers a crossed SYN with a RST refuses as one does that answers a SYN alone (MUST-11).
Test(plane_tcp_open, simultaneous_open_is_refused)
{
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	segpeer_send(&p, SP_RST, 1, 0, 0, NULL, 0);
	cr_assert_eq(p.user.opens, 0);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_REFUSED);
	silence();
	segpeer_fini(&p);
}

Test(plane_tcp_open, peer_closes_first)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.eofs, 1);
	cr_assert_eq(p.user.gones, 0);
	next(SP_ACK, 1, 2, 0);
	tcp_conn_write(p.user.c, SPAN_LIT("still")); // half closed: we may go on
	tcp_conn_close(p.user.c);
	cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("no")), 0, "not after close");
	cr_assert_eq(tcp_conn_room(p.user.c), 0);
	segpeer_work(&p);
	next(SP_ACK | SP_PSH | SP_FIN, 1, 2, 5);
	segpeer_send(&p, SP_ACK, 2, 7, 65535, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_CLOSED);
	cr_assert_eq(tcp_conn_count(p.tcp), 0, "LAST_ACK needs no TIME_WAIT");
	segpeer_fini(&p);
}

Test(plane_tcp_open, we_close_first_then_time_wait)
{
	segpeer_accept(&p, NULL);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	next(SP_ACK | SP_FIN, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, NULL, 0);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, "late", 4);
	cr_assert_eq(p.user.received, 4, "recv still comes after close");
	segpeer_send(&p, SP_ACK | SP_FIN, 5, 2, 65535, NULL, 0);
	next(SP_ACK, 2, 6, 0);
	cr_assert_eq(p.user.eofs, 1);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_CLOSED);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 1, "TIME_WAIT stays");
	segpeer_wait(&p, 20000);
	segpeer_send(&p, SP_ACK | SP_FIN, 5, 2, 65535, NULL, 0); // our last ACK was lost
	next(SP_ACK, 2, 6, 0);
	segpeer_wait(&p, 29000);
	cr_assert_eq(tcp_wait_count(p.tcp), 1, "the repeated FIN began the wait anew");
	segpeer_wait(&p, 2000);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, simultaneous_close)
{
	segpeer_accept(&p, NULL);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	next(SP_ACK | SP_FIN, 1, 1, 0);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 1, 65535, NULL,
		     0); // crossed: does not acknowledge ours
	next(SP_ACK, 2, 2, 0);
	cr_assert_eq(p.user.gones, 0);
	segpeer_send(&p, SP_ACK, 2, 2, 65535, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 1, "CLOSING leads to TIME_WAIT");
	segpeer_wait(&p, 31000);
	cr_assert_eq(tcp_wait_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, fin_out_of_order_waits_for_the_bytes)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK | SP_FIN, 6, 1, 65535, "world", 5);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(p.user.eofs, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "hello", 5);
	cr_assert_eq(p.user.received, 10);
	cr_assert_arr_eq(p.user.data, "helloworld", 10);
	cr_assert_eq(p.user.eofs, 1);
	next(SP_ACK, 1, 12, 0);
	segpeer_send(&p, SP_ACK, 12, 1, 65535, "after the FIN", 13);
	cr_assert_eq(p.user.received, 10);
	segpeer_fini(&p);
}

Test(plane_tcp_open, bare_fin_out_of_order)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK | SP_FIN, 6, 1, 65535, NULL, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "hello, and more than the FIN allows", 35);
	cr_assert_eq(p.user.received, 5, "nothing is behind a FIN");
	cr_assert_eq(p.user.eofs, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_open, fin_wait_2_ends_after_a_minute)
{
	segpeer_accept(&p, NULL);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, NULL, 0);
	segpeer_wait(&p, 59000);
	cr_assert_eq(p.user.gones, 0);
	segpeer_wait(&p, 2000);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	segpeer_fini(&p);
}

Test(plane_tcp_open, syn_in_time_wait_reopens_only_when_newer)
{
	segpeer_accept(&p, NULL);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	segpeer_skip(&p);
	segpeer_send(&p, SP_SYN, 1, 0, 65535, NULL, 0); // not above what we have received
	next(SP_ACK, 2, 2, 0);
	uint32_t old_iss = p.stack_iss;

	p.knows_stack_iss = false;
	segpeer_send(&p, SP_SYN, 3, 0, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_SYN | SP_ACK);
	cr_assert_eq(s.ack, 4);
	cr_assert((int32_t)(p.stack_iss - (old_iss + 2)) > 0, "our number is above the old ones");
	segpeer_send(&p, SP_ACK, 4, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.accepts, 2);
	segpeer_fini(&p);
}

Test(plane_tcp_open, rst_does_not_end_time_wait)
{
	segpeer_accept(&p, NULL);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
	segpeer_skip(&p);
	segpeer_send(&p, SP_RST, 2, 0, 0, NULL, 0);
	silence();
	cr_assert_eq(tcp_wait_count(p.tcp), 1, "RFC 1337");
	segpeer_fini(&p);
}

Test(plane_tcp_open, abort_resets_at_once_and_gone_follows)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, SPAN_LIT("never sent"));
	tcp_conn_abort(p.user.c);
	cr_assert_eq(p.user.gones, 0);
	next(SP_RST | SP_ACK, 1, 1, 0);
	segpeer_work(&p);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_CLOSED);
	silence();
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}

static void
abort_in_recv(struct segpeer_user *u, const char *call)
{
	if (strcmp(call, "recv") == 0)
		tcp_conn_abort(u->c);
}

Test(plane_tcp_open, abort_inside_recv)
{
	segpeer_accept(&p, NULL);
	p.user.hook = abort_in_recv;
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 1, 65535, "bye", 3);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.eofs, 0, "nothing after the abort but gone");
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, abort_inside_recv_of_queued_bytes)
{
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "queued", 6);
	cr_assert_eq(p.chunks.pool.used, 1);
	p.user.hook = abort_in_recv;
	p.user.take_most = 3;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 3);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}

static void
forget_in_recv(struct segpeer_user *u, const char *call)
{
	if (strcmp(call, "recv") == 0)
		tcp_conn_forget(u->c);
}

Test(plane_tcp_open, forget_inside_recv_sends_the_rest_and_closes)
{
	segpeer_accept(&p, NULL);
	p.user.hook = forget_in_recv;
	tcp_conn_write(p.user.c, SPAN_LIT("221 bye\r\n"));
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "QUIT\r\n", 6);
	next(SP_ACK | SP_PSH | SP_FIN, 1, 7, 9);
	segpeer_send(&p, SP_ACK, 7, 11, 65535, NULL, 0);
	segpeer_send(&p, SP_ACK | SP_FIN, 7, 11, 65535, NULL, 0);
	next(SP_ACK, 11, 8, 0);
	segpeer_wait(&p, 31000);
	cr_assert_eq(p.user.gones, 0, "never for a user that left");
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, rfc1122_data_for_nobody_is_reset)
{
	segpeer_accept(&p, NULL);
	tcp_conn_forget(p.user.c);
	segpeer_work(&p);
	next(SP_ACK | SP_FIN, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "thrown away", 11);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 12, 2, 65535, NULL, 0);
	next(SP_ACK, 2, 12, 0); // was due, and leaves before the record takes over
	segpeer_send(&p, SP_ACK, 12, 2, 65535, "more", 4);
	cr_assert(segpeer_next(&p, &s));
	cr_assert(s.flags & SP_RST);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, forgotten_connection_ends_without_its_peer)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, SPAN_LIT("nobody listens"));
	tcp_conn_forget(p.user.c);
	segpeer_work(&p);
	for (int i = 0; i < 30; i++) { // a peer that keeps its window shut but answers
		segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
		segpeer_wait(&p, 3000);
		segpeer_skip(&p);
	}
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, close_with_bytes_not_taken_waits_for_the_user)
{
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 1, 65535, "unread", 6);
	cr_assert_eq(p.user.eofs, 0, "not before its bytes");
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK, 8, 2, 65535, NULL, 0);
	cr_assert_eq(p.user.gones, 0);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 6);
	cr_assert_eq(p.user.eofs, 1);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, keepalive_probes_then_gives_up)
{
	segpeer_accept(&p, NULL);
	segpeer_wait(&p, 7190000);
	silence();
	segpeer_wait(&p, 500000);
	cr_assert_eq(segpeer_pending(&p), 6 + 1, "six probes and a reset, not %u",
		     segpeer_pending(&p));
	next(SP_ACK, 0, 1, 0); // one below: the peer must answer
	uint64_t first = s.at_us;

	next(SP_ACK, 0, 1, 0);
	cr_assert_eq(s.at_us - first, 10000000);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	segpeer_fini(&p);
}

Test(plane_tcp_open, keepalive_answer_counts_as_life)
{
	segpeer_accept(&p, NULL);
	for (int i = 0; i < 7700 && segpeer_pending(&p) == 0; i++)
		segpeer_wait(&p, 1000);
	cr_assert_eq(segpeer_pending(&p), 1);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_wait(&p, 7100000);
	silence();
	cr_assert_eq(p.user.gones, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_open, keepalive_of_the_peer_is_answered)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 0, 1, 65535, NULL, 0);
	next(SP_ACK, 1, 1, 0);
	segpeer_send(&p, SP_ACK, 0, 1, 65535, "x", 1); // some send a byte of garbage
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(p.user.received, 0);
	segpeer_fini(&p);
}
