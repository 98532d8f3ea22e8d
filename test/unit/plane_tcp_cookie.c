// SPDX-License-Identifier: Apache-2.0
// TCP: SYN cookies, and what makes room for whom among half-open connections.
#include <string.h>

#include "control/base/bytes.h"
#include "control/base/rng.h"
#include "test/unit/plane_tcp_rig.h"

#define MSS_ONLY OPTIONS("\x02\x04\x05\xb4")
// MSS 1460, SACK permitted, timestamps 0x1000, window scale 7.
#define ALL_OPTIONS                                                                                \
	OPTIONS("\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00\x01\x03\x03"     \
		"\x07")

static void
init(void)
{
	segpeer_init(&p, NULL);
	tcp_shed(p.tcp, SHED_COOKIES);
}

TestSuite(plane_tcp_cookie, .init = init);

// The peer's SYN and our answer in s; nothing is kept for it.
static void
syn(struct span options)
{
	p.knows_stack_iss = false;
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, options, SPAN_NONE);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 0);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
}

static void
ack_ts(uint32_t tsval, uint32_t tsecr, uint32_t wnd, const char *data)
{
	uint8_t o[12] = {1, 1, 8, 10};

	store_be32(o + 4, tsval);
	store_be32(o + 8, tsecr);
	segpeer_send_options(&p, SP_ACK, 1, 1, wnd, span_of(o, 12), span_str(data));
}

Test(plane_tcp_cookie, handshake_without_memory)
{
	syn(MSS_ONLY);
	cr_assert_eq(s.mss, 1460);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.accepts, 1);
	silence();
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "EHLO", 4);
	cr_assert_eq(p.user.received, 4);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_SENT), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_GOOD), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_BAD), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, ack_may_carry_data_and_fin)
{
	syn(MSS_ONLY);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 1, 65535, "QUIT\r\n", 6);
	cr_assert_eq(p.user.accepts, 1);
	cr_assert_eq(p.user.received, 6);
	cr_assert_eq(p.user.eofs, 1);
	next(SP_ACK, 1, 8, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, mss_is_rounded_down)
{
	static const uint16_t asked[] = {1460, 1459, 1300, 9000, 536, 535, 100, 1},
			      got[] = {1460, 1440, 1220, 1460, 536, 256, 64, 64};
	static uint8_t b[9000];

	for (uint32_t i = 0; i < ARRAY_LEN(asked); i++) {
		uint8_t o[4] = {2, 4, (uint8_t)(asked[i] >> 8), (uint8_t)asked[i]};

		p.path.rport++;
		syn(span_of(o, 4));
		segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
		cr_assert_eq(p.user.accepts, i + 1);
		tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
		segpeer_work(&p);
		next(SP_ACK, 1, 1, got[i]);
		tcp_conn_abort(p.user.c);
		segpeer_work(&p);
		segpeer_skip(&p);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, missing_mss_means_536)
{
	static uint8_t b[2000];

	syn(SPAN_NONE);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 536);
	tcp_conn_abort(p.user.c);
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::1"), &p.path.laddr));
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::2"), &p.path.raddr));
	segpeer_work(&p);
	segpeer_skip(&p);
	syn(SPAN_NONE);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 1220);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, no_timestamps_no_scale_no_sack)
{
	// MSS, SACK permitted, window scale: but no place to keep them in.
	syn(OPTIONS("\x02\x04\x05\xb4\x01\x01\x04\x02\x01\x03\x03\x07"));
	cr_assert(!s.has_wscale && !s.has_sack_ok && !s.has_ts);
	segpeer_send(&p, SP_ACK, 1, 1, 100, NULL, 0);
	static uint8_t b[1000];

	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 100); // unscaled, and all of it
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, timestamps_bring_back_scales_and_sack)
{
	struct segpeer_args a = {.window_bytes = 1 << 20, .conns_max = 16, .chunks = 64};
	static uint8_t b[20000];

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	tcp_shed(p.tcp, SHED_COOKIES);
	syn(ALL_OPTIONS);
	cr_assert(s.has_wscale && s.has_sack_ok && s.has_ts);
	cr_assert_eq(s.wscale, 5);
	cr_assert_eq(s.tsecr, 0x1000);
	// A policy between the two must not change what was agreed on.
	tcp_settings(p.tcp, &(struct tcp_settings){.window_bytes = 3000});
	tcp_settings(p.tcp, &(struct tcp_settings){.window_bytes = 1 << 20});
	ack_ts(0x1001, s.tsval, 100, "");
	cr_assert_eq(p.user.accepts, 1);
	p.has_ts = true;
	p.ts_base = 0x2000 - (uint32_t)(p.now_us / 1000);
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	uint32_t bytes = 0;

	while (segpeer_next(&p, &s)) {
		cr_assert(s.has_ts);
		bytes += s.len;
	}
	cr_assert_eq(bytes, 8 * 1448, "the whole segments of 100 << 7, not %u bytes", bytes);
	segpeer_send(&p, SP_ACK, 5, 1, 100, "gap", 3);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.sack_count, 1);
	cr_assert(s.wnd >= 60000 >> 5 && s.wnd <= (1 << 20) >> 5, "%u", s.wnd);
	segpeer_fini(&p);
}

// The low bits of a cookie's timestamp are no time.
Test(plane_tcp_cookie, its_echo_is_no_round_trip)
{
	for (int i = 0; i < 2; i++) { // of two, half a period apart, one is 256 ms too old
		segpeer_fini(&p);
		init();
		segpeer_wait(&p, 256 * i);
		syn(ALL_OPTIONS);
		ack_ts(0x1001, s.tsval, 100, "");
		cr_assert_eq(p.user.accepts, 1);
		p.has_ts = true;
		p.ts_base = 0x2000 - (uint32_t)(p.now_us / 1000);
		peer_is_known_to_be_near();
	}
	segpeer_fini(&p);
}

// RFC 9293 SHLD-14, when a policy lowers the window while the cookie is away.
Test(plane_tcp_cookie, edge_is_not_taken_back_by_smaller_windows)
{
	tcp_settings(p.tcp, &(struct tcp_settings){.window_bytes = 60000});
	syn(MSS_ONLY);
	cr_assert_eq(s.wnd, 60000);
	tcp_settings(p.tcp, &(struct tcp_settings){.window_bytes = 3000});
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_send(&p, SP_ACK, 5, 1, 65535, "gap", 3);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.wnd, 60000);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, peer_without_scale_gets_none)
{
	static uint8_t b[1000];

	syn(OPTIONS("\x02\x04\x05\xb4\x01\x01\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00"));
	cr_assert(!s.has_wscale && !s.has_sack_ok && s.has_ts);
	ack_ts(0x1000, s.tsval, 100, "");
	tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 100);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, tsval_never_runs_ahead_of_what_follows)
{
	p.has_ts = true;
	for (uint32_t ms = 0; ms < 1100; ms += 3) { // over two turns of the low bits
		p.path.rport++;
		syn(ALL_OPTIONS);
		uint32_t cookie = s.tsval;

		segpeer_wait(&p, 3);
		syn(ALL_OPTIONS); // its SYN again
		cr_assert((int32_t)(s.tsval - cookie) >= 0);
		cookie = s.tsval;
		ack_ts(0x1000, s.tsval, 65535, "");
		tcp_conn_write(p.user.c, SPAN_LIT("220 x\r\n"));
		segpeer_work(&p);
		cr_assert(segpeer_next(&p, &s));
		cr_assert((int32_t)(s.tsval - cookie) >= 0, "%u ms: %d", ms,
			  (int32_t)(s.tsval - cookie));
		cr_assert((int32_t)(s.tsval - cookie) < 1024);
		tcp_conn_abort(p.user.c);
		segpeer_work(&p);
		segpeer_skip(&p);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, same_syn_gets_the_same_number)
{
	syn(MSS_ONLY);
	uint32_t first = p.stack_iss;

	segpeer_wait(&p, 1000);
	syn(MSS_ONLY);
	cr_assert_eq(p.stack_iss, first);
	segpeer_wait(&p, 64000);
	syn(MSS_ONLY);
	cr_assert_neq(p.stack_iss, first, "another step");
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, is_good_for_one_step_and_not_for_three)
{
	syn(MSS_ONLY);
	segpeer_wait(&p, 63000);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.accepts, 1);
	tcp_conn_abort(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	p.path.rport++;
	syn(MSS_ONLY);
	segpeer_wait(&p, 100000);
	p.path.rport++;
	uint32_t iss = p.stack_iss;

	syn(MSS_ONLY); // cookies are out still, but not that one
	p.stack_iss = iss;
	p.path.rport--;
	segpeer_wait(&p, 50000);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.accepts, 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_BAD), 1);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, nothing_is_believed_long_after_the_last_one)
{
	syn(MSS_ONLY);
	segpeer_wait(&p, 129000);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_BAD), 0, "not even looked at");
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, any_other_name_or_number_is_refused)
{
	static const struct {
		int lport, rport, raddr, side;
		uint32_t seq, ack;
	} other[] = {
		{0, 1, 0, 0, 1, 1}, {0, 0, 1, 0, 1, 1},       {0, 0, 0, 1, 1, 1},
		{0, 0, 0, 0, 2, 1}, {0, 0, 0, 0, 0, 1},       {0, 0, 0, 0, 1, 2},
		{0, 0, 0, 0, 1, 0}, {0, 0, 0, 0, 1, 9},       {0, 0, 0, 0, 1, 5},
		{1, 0, 0, 0, 1, 1}, {0, 0, 0, 0, 1, 1 << 31},
	};

	syn(MSS_ONLY);
	struct tcp_path path = p.path;

	for (uint32_t i = 0; i < ARRAY_LEN(other); i++) {
		p.path = path;
		p.path.lport = (uint16_t)(p.path.lport + other[i].lport);
		p.path.rport = (uint16_t)(p.path.rport + other[i].rport);
		p.path.side = (uint16_t)other[i].side;
		p.path.raddr.b[15] = (uint8_t)(p.path.raddr.b[15] + other[i].raddr);
		segpeer_send(&p, SP_ACK, other[i].seq, other[i].ack, 65535, NULL, 0);
		cr_assert(segpeer_next(&p, &s), "%u", i);
		cr_assert_eq(s.flags, SP_RST, "%u", i);
	}
	cr_assert_eq(p.user.accepts, 0);
	p.path = path;
	ack_ts(1, 1, 65535, ""); // a timestamp that the SYN did not have
	cr_assert_eq(p.user.accepts, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, missing_timestamp_is_refused)
{
	syn(ALL_OPTIONS);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.accepts, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_BAD), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, guesses_fail_and_their_resets_are_limited)
{
	struct rng r;
	uint32_t resets = 0;

	rng_init(&r, 11);
	syn(MSS_ONLY);
	for (uint32_t i = 0; i < 100000; i++) {
		segpeer_send(&p, SP_ACK, (uint32_t)rng_next(&r), (uint32_t)rng_next(&r), 65535,
			     NULL, 0);
		resets += segpeer_pending(&p);
		segpeer_skip(&p);
	}
	cr_assert_eq(p.user.accepts, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_COOKIES_BAD), 100000);
	cr_assert(resets <= 1000, "%u", resets);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, full_pool_resets_at_once)
{
	struct segpeer_args a = {
		.window_bytes = 65535, .keepalive_s = 0, .conns_max = 1, .chunks = 64};

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	segpeer_accept(&p, NULL);
	tcp_shed(p.tcp, SHED_COOKIES);
	p.path.rport++;
	p.knows_stack_iss = false;
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, MSS_ONLY, SPAN_NONE);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.flags, SP_RST);
	cr_assert_eq(s.seq, 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ACCEPT_FULL), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, levels)
{
	tcp_shed(p.tcp, SHED_NONE);
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	segpeer_skip(&p);
	p.path.rport++;
	tcp_shed(p.tcp, SHED_DROP);
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_SYN_SHED), 1);
	p.path.rport--;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0); // what was begun goes on
	cr_assert_eq(p.user.accepts, 1);
	segpeer_fini(&p);
}

// A flood above the records: honest clients among it all get through.
Test(plane_tcp_cookie, flood_of_100000_syns_locks_nobody_out)
{
	struct segpeer_args a = {.window_bytes = 65535,
				 .conns_max = 2000,
				 .chunks = 64,
				 .embryos_max = 400,
				 .waits_max = 16};
	uint32_t honest = 0;

	segpeer_fini(&p);
	segpeer_init(&p, &a);
	for (uint32_t i = 0; i < 100000; i++) {
		p.path.raddr = ipaddr_v4(0xc0000000 + i);
		p.knows_stack_iss = false;
		segpeer_send_options(&p, SP_SYN, i * 977, 0, 65535, ALL_OPTIONS, SPAN_NONE);
		cr_assert(segpeer_next(&p, &s));
		cr_assert_eq(s.flags, SP_SYN | SP_ACK);
		cr_assert_eq(s.ack, i * 977 + 1);
		if (i % 100 == 99) {
			uint8_t o[12] = {1, 1, 8, 10, 0, 0, 0x10, 1};

			store_be32(o + 8, s.tsval);
			segpeer_send_options(&p, SP_ACK, i * 977 + 1, 1, 65535, span_of(o, 12),
					     SPAN_NONE);
			cr_assert_eq(p.user.accepts, ++honest);
		}
		segpeer_skip(&p);
		cr_assert(tcp_embryo_count(p.tcp) <= 300);
		if (i % 1000 == 0)
			segpeer_wait(&p, 10);
		segpeer_skip(&p);
	}
	cr_assert_eq(tcp_conn_count(p.tcp), 1000);
	cr_assert(segpeer_count(&p, COUNTER_TCP_COOKIES_SENT) > 90000);
	cr_assert(segpeer_count(&p, COUNTER_TCP_COOKIES_GOOD) > 900);
	for (int i = 0; i < 70; i++) {
		segpeer_wait(&p, 1000);
		segpeer_skip(&p);
	}
	cr_assert_eq(tcp_embryo_count(p.tcp), 0, "half-open ones end");
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, record_after_a_cookie_takes_the_cookies_ack)
{
	syn(MSS_ONLY);
	uint32_t iss = p.stack_iss;

	tcp_shed(p.tcp, SHED_NONE);
	p.knows_stack_iss = false;
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0); // the pressure is off: a record
	cr_assert_eq(tcp_embryo_count(p.tcp), 1);
	segpeer_skip(&p);
	p.stack_iss = iss;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0); // but the client has taken the first answer
	cr_assert_eq(p.user.accepts, 1);
	cr_assert_eq(tcp_embryo_count(p.tcp), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_cookie, ipv6_by_record_by_cookie_and_waiting)
{
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::1"), &p.path.laddr));
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::2"), &p.path.raddr));
	for (uint32_t i = 0; i < 4; i++) {
		tcp_shed(p.tcp, i % 2 == 0 ? SHED_NONE : SHED_COOKIES);
		if (i == 2) // one bit of an address, nothing else
			p.path.raddr.b[7] ^= 1;
		else
			p.path.rport++;
		p.knows_stack_iss = false;
		p.user.gones = 0;
		segpeer_send_options(&p, SP_SYN, 0, 0, 65535, MSS_ONLY, SPAN_NONE);
		next(SP_SYN | SP_ACK, 0, 1, 0);
		cr_assert_eq(s.mss, 1440);
		segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
		cr_assert_eq(p.user.accepts, i + 1);
		tcp_conn_close(p.user.c);
		segpeer_work(&p);
		segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 65535, NULL, 0);
		cr_assert_eq(tcp_wait_count(p.tcp), i + 1);
		segpeer_skip(&p);
	}
	segpeer_fini(&p);
}
