// SPDX-License-Identifier: Apache-2.0
// TCP: path MTU discovery, black holes, what is remembered of a path, and ICMP errors.
#include <string.h>

#include "test/unit/plane_tcp_rig.h"

static uint8_t b[100000];

#define SYN_TS OPTIONS("\x02\x04\x05\xb4\x01\x01\x08\x0a\xff\xff\xff\xf0\x00\x00\x00\x00")

static void
init(void)
{
	segpeer_init(&p, NULL);
	segpeer_pattern(b, 1, sizeof(b));
}

static void
icmp(enum tcp_error_kind kind, uint32_t seq, uint32_t mtu)
{
	const struct tcp_error e = {kind, p.stack_iss + seq, mtu};

	tcp_error(p.tcp, &p.path, &e);
	if (p.user.gones == 0)
		segpeer_work(&p);
}

static void
write_bytes(uint32_t n)
{
	cr_assert_eq(tcp_conn_write(p.user.c, span_of(b, n)), n);
	segpeer_work(&p);
}

static void
next_data(uint32_t seq, uint32_t len)
{
	cr_assert(segpeer_next(&p, &s), "a segment was expected");
	cr_assert_eq(s.seq, seq, "seq %u, not %u", s.seq, seq);
	cr_assert_eq(s.len, len, "len %u, not %u", s.len, len);
	cr_assert_arr_eq(s.data, b + seq - 1, len);
}

// Another connection of the same peer, or of another one.
static void
again(uint32_t raddr, uint16_t rport)
{
	if (p.user.c != NULL)
		tcp_conn_abort(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	p.path.raddr = ipaddr_v4(raddr);
	p.path.rport = rport;
	p.knows_stack_iss = false;
	memset(&p.user, 0, sizeof(p.user));
	p.user.take_most = UINT32_MAX;
	segpeer_accept(&p, NULL);
}

#define PEER 0x0a000002u

TestSuite(plane_tcp_mtu, .init = init);

Test(plane_tcp_mtu, rfc1191_what_is_in_flight_leaves_again_in_smaller_pieces)
{
	segpeer_accept(&p, NULL);
	write_bytes(4000);
	segpeer_skip(&p);
	icmp(TCP_ERROR_TOO_BIG, 1, 1300);
	next_data(1, 1260);
	next_data(1261, 1260);
	next_data(2521, 400); // the third was small enough and is on its way
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_LOWERED), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0, "at once");
	segpeer_send(&p, SP_ACK, 1, 4001, 65535, NULL, 0);
	write_bytes(3000); // and it stays
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.len, 1260);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, with_timestamps_the_option_is_counted)
{
	p.has_ts = true;
	segpeer_accept(&p, &SYN_TS);
	write_bytes(4000);
	segpeer_skip(&p);
	icmp(TCP_ERROR_TOO_BIG, 1, 1300);
	next_data(1, 1248);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, rfc5927_only_about_bytes_in_flight)
{
	segpeer_accept(&p, NULL);
	write_bytes(4000);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	segpeer_skip(&p);
	icmp(TCP_ERROR_TOO_BIG, 1460, 1300); // acknowledged
	icmp(TCP_ERROR_TOO_BIG, 4001, 1300); // not sent
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ERROR_STRAY), 2);
	p.path.rport++;
	icmp(TCP_ERROR_TOO_BIG, 1461, 1300); // nobody's
	p.path.rport--;
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ERROR_STRAY), 3);
	icmp(TCP_ERROR_TOO_BIG, 1461, 1500); // no news
	icmp(TCP_ERROR_TOO_BIG, 1461, 9000);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_REFUSED), 2);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_LOWERED), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, rfc5927_nothing_that_large_is_in_flight)
{
	segpeer_accept(&p, NULL);
	write_bytes(500);
	segpeer_skip(&p);
	icmp(TCP_ERROR_TOO_BIG, 1, 600);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_REFUSED), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, claims_below_the_floor_count_as_the_floor)
{
	segpeer_accept(&p, NULL);
	write_bytes(1460);
	segpeer_skip(&p);
	icmp(TCP_ERROR_TOO_BIG, 1, 68);
	next_data(1, 512);
	next_data(513, 512);
	icmp(TCP_ERROR_TOO_BIG, 1, 68);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_REFUSED), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, rfc8201_floor_of_ipv6_is_1280)
{
	memset(p.path.laddr.b, 0xfd, 16);
	memset(p.path.raddr.b, 0xfe, 16);
	segpeer_accept(&p, NULL);
	write_bytes(4000);
	next_data(1, 1440);
	segpeer_skip(&p);
	icmp(TCP_ERROR_TOO_BIG, 1, 0);
	icmp(TCP_ERROR_TOO_BIG, 1, 600);
	icmp(TCP_ERROR_TOO_BIG, 1, 1279);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_REFUSED), 3);
	icmp(TCP_ERROR_TOO_BIG, 1, 1280);
	next_data(1, 1220);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, router_that_names_no_mtu_gets_the_next_step)
{
	segpeer_accept(&p, NULL);
	write_bytes(1460);
	segpeer_skip(&p);
	icmp(TCP_ERROR_TOO_BIG, 1, 0);
	next_data(1, 1360);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, new_connections_begin_with_what_was_learnt_until_it_expires)
{
	segpeer_accept(&p, NULL);
	write_bytes(1460);
	icmp(TCP_ERROR_TOO_BIG, 1, 1300);
	again(PEER, 40001);
	write_bytes(3000);
	next_data(1, 1260);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_KNOWN), 1);
	again(PEER + 1, 40001); // another peer
	write_bytes(3000);
	next_data(1, 1460);
	tcp_conn_abort(p.user.c);
	segpeer_wait(&p, 599000);
	again(PEER, 40002);
	write_bytes(3000);
	next_data(1, 1260);
	again(PEER + 1, 40002); // what is known of others lasts
	write_bytes(1460);
	icmp(TCP_ERROR_TOO_BIG, 1, 1300);
	tcp_conn_abort(p.user.c);
	segpeer_wait(&p, 2000);
	again(PEER, 40003);
	write_bytes(3000);
	next_data(1, 1460);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, what_is_remembered_is_bounded)
{
	segpeer_accept(&p, NULL);
	for (uint32_t i = 0; i < 2000; i++) { // far more peers than there are entries
		again(PEER + i, 40000);
		write_bytes(1460);
		icmp(TCP_ERROR_TOO_BIG, 1, 1300);
		segpeer_skip(&p);
	}
	again(PEER + 1999, 40001); // the latest is always there
	write_bytes(3000);
	next_data(1, 1260);
	uint64_t known = segpeer_count(&p, COUNTER_TCP_MTU_KNOWN);

	for (uint32_t i = 0; i < 2000; i++) {
		again(PEER + i, 40002);
		segpeer_skip(&p);
	}
	known = segpeer_count(&p, COUNTER_TCP_MTU_KNOWN) - known;
	cr_assert(known > 128 && known <= 256, "%lu", known);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, rfc2923_black_hole_is_found_after_two_timeouts)
{
	// Anything over 1024 bytes vanishes.
	segpeer_accept(&p, NULL);
	write_bytes(10000);
	uint64_t start = p.now_us;
	bool is_through = false;

	for (int i = 0; i < 400 && !is_through; i++) {
		segpeer_wait(&p, 10);
		while (segpeer_next(&p, &s))
			is_through |= s.seq == 1 && s.len + 40 <= 1024;
	}
	cr_assert(is_through);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_BLACK_HOLE), 3, "1400, 1280, 1024");
	cr_assert_leq(p.now_us - start, 1500000, "%lu us", p.now_us - start);
	segpeer_send(&p, SP_ACK, 1, 985, 65535, NULL, 0);
	uint32_t acked = 985;

	for (int i = 0; i < 20; i++) { // the rest goes through without another timeout
		segpeer_wait(&p, 1);
		while (segpeer_next(&p, &s)) {
			cr_assert_leq(s.len, 984);
			acked = MAX(acked, s.seq + s.len);
		}
		segpeer_send(&p, SP_ACK, 1, acked, 65535, NULL, 0);
	}
	cr_assert_eq(acked, 10001);
	again(PEER, 40001);
	write_bytes(3000);
	next_data(1, 984);
	tcp_conn_abort(p.user.c);
	segpeer_wait(&p, 130000);
	again(PEER, 40002); // a guess is forgotten soon
	write_bytes(3000);
	next_data(1, 1460);
	segpeer_fini(&p);
}

// Segments of that size got through before: three timeouts are bad luck, five are a new path.
Test(plane_tcp_mtu, rfc2923_black_hole_behind_full_segments_takes_longer)
{
	segpeer_accept(&p, NULL);
	write_bytes(2920);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 2921, 65535, NULL, 0);
	write_bytes(14600);
	uint64_t start = p.now_us;

	while (segpeer_count(&p, COUNTER_TCP_RTO) < 4) {
		cr_assert_lt(p.now_us - start, 20000000);
		segpeer_wait(&p, 10);
		segpeer_skip(&p);
		cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_BLACK_HOLE), 0);
	}
	segpeer_wait(&p, 6000);
	cr_assert_geq(segpeer_count(&p, COUNTER_TCP_MTU_BLACK_HOLE), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, lost_small_segments_are_no_black_hole)
{
	segpeer_accept(&p, NULL);
	write_bytes(536);
	segpeer_wait(&p, 20000);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_BLACK_HOLE), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, one_timeout_is_no_black_hole)
{
	segpeer_accept(&p, NULL);
	write_bytes(1460);
	segpeer_wait(&p, 300);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_BLACK_HOLE), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, rfc5927_no_error_ends_an_open_connection)
{
	segpeer_accept(&p, NULL);
	write_bytes(100);
	icmp(TCP_ERROR_HARD, 1, 0);
	icmp(TCP_ERROR_SOFT, 1, 0);
	cr_assert_eq(p.user.gones, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ERROR_SOFT), 2);
	segpeer_wait(&p, 400000); // it is only said when the connection is given up
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_UNREACHABLE), 1);
	segpeer_fini(&p);
}

static void
open_only(void)
{
	p.path.rport = 25;
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	cr_assert(segpeer_next(&p, &s) && s.flags == SP_SYN);
}

Test(plane_tcp_mtu, hard_error_ends_an_open_that_was_not_answered)
{
	open_only();
	icmp(TCP_ERROR_HARD, 1, 0); // not our SYN
	cr_assert_eq(p.user.gones, 0);
	icmp(TCP_ERROR_SOFT, 0, 0);
	cr_assert_eq(p.user.gones, 0, "RFC 9293 3.9.2.2: soft");
	icmp(TCP_ERROR_HARD, 0, 0);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_REFUSED);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ERROR_REFUSED), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_mtu, soft_error_is_told_when_an_open_times_out)
{
	open_only();
	icmp(TCP_ERROR_SOFT, 0, 0);
	icmp(TCP_ERROR_TOO_BIG, 0, 600); // a SYN is small
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_MTU_REFUSED), 1);
	segpeer_wait(&p, 200000);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_UNREACHABLE), 1);
	segpeer_fini(&p);
}
