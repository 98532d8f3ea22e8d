// SPDX-License-Identifier: Apache-2.0
// TCP: local addresses and ports of our own opens.
#include <string.h>

#include "test/unit/plane_tcp_rig.h"

#define PORTS 49152u // 16384 to 65535
#define SYN_ACK_TS OPTIONS("\x02\x04\x05\xb4\x01\x01\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00")

static struct tcp_conn *conns[2 * PORTS];
static uint8_t seen[8][65536];

static void
start(uint32_t conns_max, uint32_t waits_max)
{
	struct segpeer_args a = {.window_bytes = 65535,
				 .conns_max = conns_max,
				 .chunks = 64,
				 .waits_max = waits_max};

	segpeer_init(&p, &a);
}

static struct tcp_conn *
connect_one(void)
{
	return tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
}

// The one port of ours in many is found in the course of some opens.
static struct tcp_conn *
connect_patiently(void)
{
	struct tcp_conn *c = NULL;

	for (int i = 0; i < 30 && c == NULL; i++)
		c = connect_one();
	return c;
}

static void
end(struct tcp_conn *c)
{
	tcp_conn_forget(c); // SYN_SENT with nothing to bring over: gone at once
	segpeer_work(&p);
	segpeer_skip(&p);
}

Test(plane_tcp_port, every_port_once_then_none_then_the_one_given_back)
{
	start(PORTS + 10, 16);
	for (uint32_t i = 0; i < PORTS; i++) {
		conns[i] = connect_one();
		cr_assert_not_null(conns[i], "%u", i);
		uint16_t port = tcp_conn_path(conns[i])->lport;

		cr_assert(port >= 16384 && !seen[0][port]++);
		if (i % 100 == 0) {
			segpeer_work(&p);
			segpeer_skip(&p);
		}
	}
	cr_assert_null(connect_one());
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PORTS_EXHAUSTED), 1);
	uint16_t port = tcp_conn_path(conns[777])->lport;

	end(conns[777]);
	conns[777] = connect_one();
	cr_assert_not_null(conns[777]);
	cr_assert_eq(tcp_conn_path(conns[777])->lport, port);
	segpeer_fini(&p);
}

Test(plane_tcp_port, comes_again_only_after_all_others)
{
	start(16, 16);
	for (uint32_t i = 0; i < PORTS; i++) {
		struct tcp_conn *c = connect_one();

		cr_assert(!seen[0][tcp_conn_path(c)->lport]++, "port %u after %u opens",
			  tcp_conn_path(c)->lport, i);
		end(c);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_port, only_those_whose_replies_come_here)
{
	start(16, 16);
	p.ports_step = 32;
	for (uint32_t i = 0; i < 2 * PORTS / 32; i++) {
		struct tcp_conn *c = connect_one();

		cr_assert_not_null(c);
		cr_assert_eq(tcp_conn_path(c)->lport % 32, 0);
		end(c);
	}
	cr_assert(p.ports_asked <= PORTS + 2 * PORTS / 32, "%u: each is asked about once",
		  p.ports_asked);
	segpeer_fini(&p);
}

Test(plane_tcp_port, no_port_of_ours_is_found_out_within_bounds)
{
	start(16, 16);
	p.owns_no_port = true;
	for (int i = 0; i < 30; i++) {
		p.ports_asked = 0;
		cr_assert_null(connect_one());
		cr_assert(p.ports_asked <= 2048);
	}
	cr_assert_eq(p.ports_asked, 0, "all are known by now");
	segpeer_fini(&p);
}

Test(plane_tcp_port, destinations_do_not_share)
{
	start(32, 16);
	uint16_t first[8];

	for (uint32_t i = 0; i < 8; i++) {
		struct ipaddr raddr = ipaddr_v4(0x0a000100 + i);
		struct tcp_conn *c = tcp_conn_open(p.tcp, &raddr, 25, &segpeer_ops, &p.user);

		first[i] = tcp_conn_path(c)->lport;
	}
	uint32_t differ = 0;

	for (uint32_t i = 1; i < 8; i++)
		differ += first[i] != first[0] && first[i] != first[0] + i;
	cr_assert(differ >= 6, "RFC 6056: each begins at a place of its own");
	segpeer_fini(&p);
}

Test(plane_tcp_port, more_destinations_than_are_remembered)
{
	start(512, 16);
	for (uint32_t i = 0; i < 400; i++) {
		struct ipaddr raddr = ipaddr_v4(0x0a000100 + i % 100);
		struct tcp_conn *c = tcp_conn_open(p.tcp, &raddr, 25, &segpeer_ops, &p.user);

		cr_assert_not_null(c);
		conns[i] = c;
		for (uint32_t k = i % 100; k < i; k += 100)
			cr_assert_neq(tcp_conn_path(conns[k])->lport, tcp_conn_path(c)->lport);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_port, local_addresses_take_turns)
{
	uint32_t count[4] = {0};

	start(64, 16);
	p.laddr_count = 4;
	for (uint32_t i = 0; i < 40; i++)
		count[tcp_conn_path(connect_one())->laddr.b[15] - 1]++;
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(count[i], 10);
	segpeer_fini(&p);
}

Test(plane_tcp_port, next_address_when_one_has_no_port_left)
{
	uint32_t count[2] = {0};

	start(2 * PORTS + 10, 16);
	p.laddr_count = 2;
	p.ports_step = 16;
	for (uint32_t i = 0; i < 2 * PORTS / 16; i++) {
		conns[i] = connect_one();
		cr_assert_not_null(conns[i], "%u", i);
		uint8_t a = tcp_conn_path(conns[i])->laddr.b[15] - 1;

		count[a]++;
		cr_assert(!seen[a][tcp_conn_path(conns[i])->lport]++);
		segpeer_work(&p);
		segpeer_skip(&p);
	}
	cr_assert_eq(count[0], PORTS / 16);
	cr_assert_eq(count[1], PORTS / 16);
	cr_assert_null(connect_one());
	// One that is free, on the address whose turn it is not.
	end(conns[0]);
	cr_assert_not_null(connect_one());
	end(conns[3]);
	cr_assert_not_null(connect_one());
	segpeer_fini(&p);
}

// Opens and closes on our side, so that the name is in TIME_WAIT here.
static void
open_and_close(bool has_ts)
{
	static const uint8_t ts[12] = {1, 1, 8, 10, 0, 0, 0x10, 0};
	uint8_t o[12];
	struct span none = SPAN_NONE;

	p.knows_stack_iss = false;
	p.user.c = connect_patiently();
	p.user.gones = 0;
	cr_assert_not_null(p.user.c);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	cr_assert(segpeer_next(&p, &s));
	memcpy(o, ts, sizeof(o));
	struct span options = has_ts ? span_of(o, 12) : none;

	segpeer_send_options(&p, SP_SYN | SP_ACK, 0, 1, 65535, options, none);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_send_options(&p, SP_ACK | SP_FIN, 1, 2, 65535, options, none);
	segpeer_skip(&p);
}

Test(plane_tcp_port, rfc6191_time_wait_is_used_again_only_with_timestamps_and_last)
{
	start(64, 200);
	p.ports_step = 512; // 96 ports
	for (uint32_t i = 0; i < 96; i++) {
		open_and_close(i % 2 == 0);
		cr_assert(!seen[0][p.path.lport]++);
	}
	cr_assert_eq(tcp_wait_count(p.tcp), 96);
	cr_assert_null(connect_one(), "too fresh, all of them");
	segpeer_wait(&p, 2000);
	segpeer_skip(&p);
	for (uint32_t i = 0; i < 48; i++) {
		p.knows_stack_iss = false;
		struct tcp_conn *c = connect_one();

		cr_assert_not_null(c, "%u", i);
		cr_assert_eq(seen[0][tcp_conn_path(c)->lport]++, 1);
		segpeer_work(&p);
		cr_assert(segpeer_next(&p, &s));
		cr_assert_eq(s.flags, SP_SYN);
		cr_assert(s.has_ts);
	}
	cr_assert_null(connect_one(), "the other half has no timestamps");
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_WAIT_REUSED), 48);
	cr_assert_eq(tcp_wait_count(p.tcp), 48);
	segpeer_fini(&p);
}

Test(plane_tcp_port, rfc6191_number_and_timestamp_are_above_the_old_ones)
{
	start(16, 200);
	p.ports_step = 32768; // one port
	open_and_close(true);
	uint16_t port = p.path.lport;
	uint32_t old_end = p.stack_iss + 2, old_ts = p.ts_seen;

	segpeer_wait(&p, 1500);
	p.knows_stack_iss = false;
	p.user.c = connect_patiently();
	cr_assert_not_null(p.user.c);
	cr_assert_eq(tcp_conn_path(p.user.c)->lport, port);
	segpeer_work(&p);
	cr_assert(segpeer_next(&p, &s));
	cr_assert((int32_t)(p.stack_iss - old_end) > 0);
	cr_assert((int32_t)(s.tsval - old_ts) > 0);
	segpeer_fini(&p);
}

Test(plane_tcp_port, rfc6191_number_is_above_also_after_much_data)
{
	start(16, 200);
	p.ports_step = 32768;
	p.user.c = connect_patiently();
	p.path = *tcp_conn_path(p.user.c);
	p.has_ts = true;
	p.ts_base = 0x1000 - (uint32_t)(p.now_us / 1000);
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send_options(&p, SP_SYN | SP_ACK, 0, 1, 65535, SYN_ACK_TS, SPAN_NONE);
	send_much(800000);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	cr_assert(segpeer_next(&p, &s));
	uint32_t end = s.seq + 1;

	segpeer_send(&p, SP_ACK | SP_FIN, 1, end, 65535, NULL, 0);
	segpeer_wait(&p, 1500);
	segpeer_skip(&p);
	uint32_t old_end = p.stack_iss + end;

	p.knows_stack_iss = false;
	p.user.c = connect_patiently();
	cr_assert_not_null(p.user.c);
	segpeer_work(&p);
	cr_assert((int32_t)(p.stack_iss - old_end) > 0);
	segpeer_fini(&p);
}

Test(plane_tcp_port, rfc6191_is_for_time_wait_not_for_a_peer_that_has_not_closed)
{
	start(16, 200);
	p.ports_step = 32768;
	p.has_ts = true;
	p.user.c = connect_patiently();
	p.path = *tcp_conn_path(p.user.c);
	p.ts_base = 0x1000 - (uint32_t)(p.now_us / 1000);
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send_options(&p, SP_SYN | SP_ACK, 0, 1, 65535, SYN_ACK_TS, SPAN_NONE);
	tcp_conn_forget(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK, 1, 2, 65535, NULL, 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_wait(&p, 40000);
	segpeer_skip(&p);
	cr_assert_null(connect_patiently());
	segpeer_fini(&p);
}

Test(plane_tcp_port, given_back_at_the_end_of_time_wait)
{
	start(16, 200);
	p.ports_step = 32768;
	open_and_close(false);
	cr_assert_null(connect_patiently());
	segpeer_wait(&p, 31000);
	cr_assert_not_null(connect_one());
	segpeer_fini(&p);
}

Test(plane_tcp_port, given_back_when_there_is_no_connection)
{
	start(1, 16);
	p.ports_step = 16384; // 16384, 32768, 49152
	struct tcp_conn *c = connect_patiently();

	cr_assert_null(connect_patiently());
	uint64_t exhausted = segpeer_count(&p, COUNTER_TCP_PORTS_EXHAUSTED);

	for (int i = 0; i < 10; i++)
		cr_assert_null(connect_one());
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_PORTS_EXHAUSTED), exhausted,
		     "ports there were, but no connection");
	end(c);
	cr_assert_not_null(connect_one());
	segpeer_fini(&p);
}
