// SPDX-License-Identifier: Apache-2.0
// TCP: windows of both ends, silly windows, zero windows and probes, delayed ACKs, reassembly.
#include <string.h>

#include "test/unit/plane_tcp_rig.h"

static uint8_t b[300000];

#define SYN_SACK OPTIONS("\x02\x04\x05\xb4\x04\x02\x01\x01")
#define SYN_SCALE(n) OPTIONS("\x02\x04\x05\xb4\x01\x03\x03" n)

static void
init(void)
{
	segpeer_init(&p, NULL);
	segpeer_pattern(b, 1, sizeof(b)); // b[i] is the byte with sequence number 1 + i
}

// Bytes [seq, seq + n) of the peer's stream.
static void
send_data(uint32_t seq, uint32_t n)
{
	segpeer_send(&p, SP_ACK, seq, 1, 65535, b + seq - 1, n);
}

static void
restart(uint32_t window, uint32_t chunks)
{
	struct segpeer_args a = {window, 7200, 16, chunks};

	segpeer_fini(&p);
	segpeer_init(&p, &a);
}

TestSuite(plane_tcp_window, .init = init);

Test(plane_tcp_window, rfc7323_scale_never_applies_to_syn)
{
	restart(200000, 256);
	segpeer_send_options(&p, SP_SYN, 0, 0, 100, SYN_SCALE("\x07"), SPAN_NONE);
	next(SP_SYN | SP_ACK, 0, 1, 0);
	cr_assert(s.has_wscale);
	cr_assert_eq(s.wscale, 2);
	cr_assert_eq(s.wnd, 65535, "unscaled in the SYN-ACK");
	segpeer_put(&p, SP_ACK, 1, 1, 100, NULL, 0); // from here on 100 << 7
	tcp_conn_write(p.user.c, span_of(b, 20000));
	segpeer_work(&p);
	uint32_t sent = 0;

	while (segpeer_next(&p, &s))
		sent += s.len;
	cr_assert_eq(sent, 12800 / 1460 * 1460, "%u bytes: full segments of 12800", sent);
	segpeer_fini(&p);
}

Test(plane_tcp_window, rfc7323_scaled_window_is_advertised_after_the_handshake)
{
	restart(200000, 256);
	segpeer_accept(&p, &SYN_SCALE("\x00"));
	send_data(1, 1000);
	segpeer_wait(&p, 50);
	next(SP_ACK, 1, 1001, 0);
	cr_assert_eq(s.wnd, 200000 / 4);
	segpeer_fini(&p);
}

Test(plane_tcp_window, rfc7323_shift_above_14_counts_as_14)
{
	segpeer_accept(&p, &SYN_SCALE("\xff"));
	segpeer_send(&p, SP_ACK, 1, 1, 1, NULL, 0); // 1 << 14
	tcp_conn_write(p.user.c, span_of(b, 16384));
	segpeer_work(&p);
	uint32_t sent = 0;

	while (segpeer_next(&p, &s))
		sent += s.len;
	cr_assert_eq(sent, 10 * 1460, "the initial congestion window, not the window");
	segpeer_send(&p, SP_ACK, 1, 14601, 0, NULL, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_window, without_the_peers_scale_neither_side_scales)
{
	restart(200000, 256);
	segpeer_accept(&p, NULL);
	send_data(1, 1460);
	segpeer_wait(&p, 50);
	next(SP_ACK, 1, 1461, 0);
	cr_assert_eq(s.wnd, 65535);
	segpeer_send(&p, SP_ACK, 1461, 1, 3000, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 10000));
	segpeer_work(&p);
	next(SP_ACK, 1, 1461, 1460);
	next(SP_ACK, 1461, 1461, 1460);
	silence();
	segpeer_fini(&p);
}

Test(plane_tcp_window, edge_is_enforced_exactly)
{
	restart(1000, 64);
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	send_data(1, 1200); // 200 bytes too many
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_OUT_OF_WINDOW), 1);
	segpeer_wait(&p, 50);
	next(SP_ACK, 1, 1001, 0);
	cr_assert_eq(s.wnd, 0);
	send_data(1001, 100);
	next(SP_ACK, 1, 1001, 0); // a probe is answered, not taken
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	next(SP_ACK, 1, 1001, 0); // the window opens: told at once
	cr_assert_eq(s.wnd, 1000);
	cr_assert_eq(p.user.received, 1000);
	cr_assert_arr_eq(p.user.data, b, 1000);
	segpeer_fini(&p);
}

Test(plane_tcp_window, fin_at_the_edge_is_outside)
{
	restart(1000, 64);
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 1, 65535, b, 1000);
	segpeer_wait(&p, 50);
	next(SP_ACK, 1, 1001, 0);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.eofs, 0);
	segpeer_send(&p, SP_ACK | SP_FIN, 1001, 1, 65535, NULL, 0);
	cr_assert_eq(p.user.eofs, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_window, rfc9293_receiver_avoids_silly_windows)
{
	restart(4000, 64);
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	send_data(1, 1460);
	send_data(1461, 1460);
	send_data(2921, 1080);
	segpeer_wait(&p, 50);
	segpeer_skip(&p);
	p.user.take_most = 100; // one bite
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	silence(); // 100 bytes are no news
	send_data(4001, 1);
	next(SP_ACK, 1, 4001, 0);
	cr_assert_eq(s.wnd, 0, "nor are they offered when an ACK leaves anyway");
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	next(SP_ACK, 1, 4001, 0);
	cr_assert_eq(s.wnd, 4000);
	segpeer_fini(&p);
}

Test(plane_tcp_window, edge_is_never_taken_back)
{
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	uint32_t edge = 1 + 65535, seq = 1;

	while (seq < 60000) {
		send_data(seq, 700);
		seq += 700;
		segpeer_wait(&p, 50);
		while (segpeer_next(&p, &s)) {
			cr_assert(s.ack + s.wnd >= edge);
			edge = s.ack + s.wnd;
		}
	}
	segpeer_fini(&p);
}

// Nor when memory becomes short: what was promised is used up, and only then the window is small.
Test(plane_tcp_window, edge_stays_when_memory_is_short)
{
	uint32_t edge = 1 + 65535, least = 65535;

	segpeer_accept(&p, NULL);
	tcp_shed(p.tcp, SHED_SHRINK);
	for (uint32_t seq = 1; seq < 80000; seq += 700) {
		send_data(seq, 700);
		segpeer_wait(&p, 50);
		while (segpeer_next(&p, &s)) {
			cr_assert(s.ack + s.wnd >= edge, "%u after %u", s.ack + s.wnd, edge);
			edge = s.ack + s.wnd;
			least = MIN(least, s.wnd);
		}
	}
	cr_assert(least > 0 && least < 10000, "%u", least);
	segpeer_fini(&p);
}

Test(plane_tcp_window, sender_keeps_within_the_window_and_sends_no_crumbs)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 2000, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	segpeer_work(&p);
	next(SP_ACK, 1, 1, 1460);
	silence(); // 540 bytes would fit: RFC 9293 3.8.6.2.1 says wait
	segpeer_send(&p, SP_ACK, 1, 1461, 2000, NULL, 0);
	next(SP_ACK, 1461, 1, 1460);
	silence();
	segpeer_fini(&p);
}

Test(plane_tcp_window, sender_forces_a_small_window_after_a_while)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 100, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	segpeer_work(&p);
	silence();
	segpeer_wait(&p, 1100);
	next(SP_ACK, 1, 1, 100);
	cr_assert_arr_eq(s.data, b, 100);
	segpeer_fini(&p);
}

Test(plane_tcp_window, small_window_without_answers_gives_up)
{
	// Found by the fuzzer: the forced segment was lost, its repetition was a crumb again, and
	// so on.
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 100, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	segpeer_wait(&p, 1000000);
	cr_assert(segpeer_pending(&p) > 5 && segpeer_pending(&p) < 20, "%u", segpeer_pending(&p));
	next(SP_ACK, 1, 1, 100);
	uint64_t first = s.at_us;

	next(SP_ACK, 1, 1, 100); // what was sent is repeated by the timeout, small or not
	cr_assert(s.at_us - first <= 410000, "%lu us", s.at_us - first);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	segpeer_fini(&p);
}

Test(plane_tcp_window, stale_ack_does_not_change_the_window)
{
	segpeer_accept(&p, NULL);
	send_data(1, 10);
	segpeer_send(&p, SP_ACK, 11, 1, 5000, NULL, 0);
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, 1000));
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK, 11, 1001, 5000, NULL, 0);
	segpeer_skip(&p);
	// Older by its ACK: overtaken on the way; it says zero.
	segpeer_send(&p, SP_ACK, 11, 501, 0, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 1000));
	segpeer_work(&p);
	next(SP_ACK | SP_PSH, 1001, 11, 1000);
	segpeer_fini(&p);
}

Test(plane_tcp_window, peer_shrinks_its_window)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 20000));
	segpeer_work(&p);
	while (segpeer_next(&p, &s))
		;
	segpeer_send(&p, SP_ACK, 1, 1461, 1460, NULL, 0); // edge back from 65536 to 2921
	silence();                                        // nothing new
	segpeer_wait(&p, 1100);
	next(SP_ACK, 1461, 1, 1460); // but what is inside is sent again
	segpeer_fini(&p);
}

Test(plane_tcp_window, zero_window_probes_carry_one_byte_and_back_off)
{
	static const uint32_t gap_ms[] = {200,   400,   800,   1600,  3200, 6400,
					  12800, 25600, 51200, 60000, 60000};
	uint64_t last = p.now_us;

	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ZERO_WINDOW), 1);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	segpeer_work(&p);
	silence();
	for (int i = 0; i < 11; i++) {
		segpeer_wait(&p, gap_ms[i] + 10);
		next(SP_ACK, 1, 1, 1);
		cr_assert_eq(s.data[0], b[0]);
		uint64_t gap = (s.at_us - last) / 1000;

		cr_assert(gap >= gap_ms[i] - 150 && gap <= gap_ms[i] + 20, "probe %d after %lu", i,
			  gap);
		last = s.at_us;
		segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0); // still shut
	}
	for (int i = 0; i < 30;
	     i++) { // much longer than TCP_RETRIES: answered probes never give up
		segpeer_wait(&p, 60000);
		segpeer_skip(&p);
		segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	}
	cr_assert_eq(p.user.gones, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	next(SP_ACK, 1, 1, 1460);
	segpeer_fini(&p);
}

Test(plane_tcp_window, zero_window_without_answers_gives_up)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	segpeer_wait(&p, 1000000);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_TIMEOUT), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_window, probe_byte_that_is_taken_moves_on)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	segpeer_wait(&p, 210);
	next(SP_ACK, 1, 1, 1);
	segpeer_send(&p, SP_ACK, 1, 2, 0, NULL, 0);
	silence();
	cr_assert_eq(tcp_conn_unsent(p.user.c), 4999);
	segpeer_wait(&p, 210);
	next(SP_ACK, 2, 1, 1);
	cr_assert_eq(s.data[0], b[1]);
	segpeer_send(&p, SP_ACK, 1, 3, 10000, NULL, 0);
	next(SP_ACK, 3, 1, 1460);
	cr_assert_arr_eq(s.data, b + 2, 1460);
	segpeer_fini(&p);
}

Test(plane_tcp_window, zero_window_with_only_a_fin_to_send)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	silence();
	segpeer_wait(&p, 1100);
	next(SP_ACK | SP_FIN, 1, 1, 0);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 2, 0, NULL, 0); // taken all the same
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_CLOSED);
	segpeer_fini(&p);
}

Test(plane_tcp_window, two_closed_windows_do_not_storm)
{
	restart(1000, 64);
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	segpeer_send(&p, SP_ACK, 1, 1, 0, b, 1000);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	segpeer_wait(&p, 60);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1001, 1, 0, NULL, 0); // a bare ACK is no reason to answer
	silence();
	for (int i = 0; i < 100; i++) // nor, endlessly, is one that cannot be right
		segpeer_send(&p, SP_ACK, 1500, 1, 0, NULL, 0);
	cr_assert(segpeer_pending(&p) <= 16, "%u answers", segpeer_pending(&p));
	segpeer_fini(&p);
}

Test(plane_tcp_window, probe_of_our_closed_window_carries_an_ack)
{
	restart(1000, 64);
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	send_data(1, 1000);
	segpeer_wait(&p, 60);
	tcp_conn_write(p.user.c, span_of(b, 100));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1001, 101, 65535, b, 1); // a probe; its ACK counts
	next(SP_ACK, 101, 1001, 0);
	cr_assert_eq(tcp_conn_unsent(p.user.c), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_window, delayed_ack_after_40_ms)
{
	segpeer_accept(&p, NULL);
	send_data(1, 100);
	segpeer_wait(&p, 39);
	silence();
	uint64_t start = p.now_us;

	segpeer_wait(&p, 5);
	next(SP_ACK, 1, 101, 0);
	cr_assert(s.at_us - start <= 2000);
	segpeer_fini(&p);
}

Test(plane_tcp_window, every_second_full_segment_is_acknowledged)
{
	segpeer_accept(&p, NULL);
	for (uint32_t i = 0; i < 40; i++) {
		send_data(1 + i * 1460, 1460);
		if (i < 16 || i % 2 == 1) // the first ones each: a sender begins slowly
			next(SP_ACK, 1, 1 + (i + 1) * 1460, 0);
		silence();
	}
	segpeer_fini(&p);
}

Test(plane_tcp_window, out_of_order_is_acknowledged_at_once_and_each_time)
{
	segpeer_accept(&p, NULL);
	for (uint32_t i = 1; i <= 4; i++)
		segpeer_put(&p, SP_ACK, 1 + i * 100, 1, 65535, b + i * 100, 100); // in one burst
	for (int i = 0; i < 4; i++)
		next(SP_ACK, 1, 1, 0);
	segpeer_put(&p, SP_ACK, 1, 1, 65535, b, 100);
	segpeer_work(&p);
	next(SP_ACK, 1, 501, 0); // gap filled
	silence();
	cr_assert_arr_eq(p.user.data, b, 500);
	segpeer_fini(&p);
}

Test(plane_tcp_window, rfc2018_sack_blocks_newest_first)
{
	segpeer_accept(&p, &SYN_SACK);
	send_data(101, 100);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.sack_count, 1);
	cr_assert(s.sack[0].start == 101 && s.sack[0].end == 201);
	send_data(501, 100);
	send_data(301, 100);
	segpeer_next(&p, &s);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.sack_count, 3);
	cr_assert(s.sack[0].start == 301 && s.sack[0].end == 401);
	cr_assert(s.sack[1].start == 501 && s.sack[2].start == 101);
	send_data(201, 100); // joins two blocks: the first one now
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.sack_count, 2);
	cr_assert(s.sack[0].start == 101 && s.sack[0].end == 401);
	send_data(901, 100);
	send_data(1101, 100);
	send_data(1301, 100);
	while (segpeer_pending(&p) > 1)
		segpeer_next(&p, &s);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.sack_count, 4, "as many as fit");
	cr_assert(s.sack[0].start == 1301 && s.sack[1].start == 1101);
	segpeer_fini(&p);
}

Test(plane_tcp_window, no_sack_blocks_without_negotiation)
{
	segpeer_accept(&p, NULL);
	send_data(101, 100);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.sack_count, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_window, overlap_first_bytes_win)
{
	static uint8_t other[1000];

	memset(other, '!', sizeof(other));
	segpeer_accept(&p, NULL);
	send_data(301, 200);                                 // 301..500
	segpeer_send(&p, SP_ACK, 201, 1, 65535, other, 400); // new: 201..300 and 501..600
	segpeer_send(&p, SP_ACK, 351, 1, 65535, other, 50);  // nothing new
	segpeer_send(&p, SP_ACK, 1, 1, 65535, b, 250);       // new: 1..200
	cr_assert_eq(p.user.received, 600);
	cr_assert_arr_eq(p.user.data, b, 200);
	for (int i = 200; i < 300; i++)
		cr_assert_eq(p.user.data[i], '!');
	cr_assert_arr_eq(p.user.data + 300, b + 300, 200);
	for (int i = 500; i < 600; i++)
		cr_assert_eq(p.user.data[i], '!');
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_window, retransmission_with_other_bytes_changes_nothing)
{
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	send_data(1, 100);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "xxxxxxxxxx", 10);
	next(SP_ACK, 1, 101, 0);
	segpeer_send(&p, SP_ACK, 91, 1, 65535, "xxxxxxxxxxyyyyy", 15);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 105);
	cr_assert_arr_eq(p.user.data, b, 100);
	cr_assert_arr_eq(p.user.data + 100, "yyyyy", 5);
	segpeer_fini(&p);
}

Test(plane_tcp_window, reassembly_in_any_order)
{
	static const uint8_t order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	for (int i = 0; i < 6; i++) {
		restart(65535, 64);
		segpeer_accept(&p, NULL);
		for (int k = 0; k < 3; k++)
			send_data(1 + order[i][k] * 5000u, 5000);
		cr_assert_eq(p.user.received, 15000);
		cr_assert_arr_eq(p.user.data, b, 15000);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_window, reassembly_is_bounded)
{
	segpeer_accept(&p, NULL);
	for (uint32_t i = 1; i < 200; i++)
		send_data(1 + 2 * i, 1);
	cr_assert_eq(p.chunks.pool.used, 65535 / CHUNK_DATA + 16, "a window's worth, and a bit");
	cr_assert(segpeer_count(&p, COUNTER_TCP_NO_CHUNK) > 0);
	segpeer_skip(&p);
	send_data(1, 400); // what was dropped comes again
	cr_assert_eq(p.user.received, 400);
	cr_assert_arr_eq(p.user.data, b, 400);
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_window, reassembly_gives_way_when_memory_is_low)
{
	restart(65535, 16);
	segpeer_accept(&p, NULL);
	for (uint32_t i = 1; i < 40; i++)
		send_data(1 + 3000 * (i % 20), 1);
	cr_assert(p.chunks.pool.used <= 15, "%u chunks", p.chunks.pool.used);
	segpeer_fini(&p);
}

Test(plane_tcp_window, small_chunks_of_reassembly_do_not_pile_up)
{
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	for (uint32_t seq = 1; seq < 20000; seq += 40) {
		for (uint32_t i = 20; i-- > 0;) // backwards: each byte in a chunk of its own
			send_data(seq + 2 * i, 2);
		segpeer_skip(&p);
	}
	cr_assert(p.chunks.pool.used < 3 * 20000 / CHUNK_DATA, "%u chunks", p.chunks.pool.used);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 20000);
	cr_assert_arr_eq(p.user.data, b, 20000);
	segpeer_fini(&p);
}

Test(plane_tcp_window, without_chunks_only_what_fits_is_acknowledged)
{
	restart(65535, 2);
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	for (uint32_t i = 0; i < 4; i++)
		send_data(1 + i * 1460, 1460);
	while (segpeer_pending(&p) > 1)
		segpeer_next(&p, &s);
	next(SP_ACK, 1, 1 + 2 * CHUNK_DATA, 0);
	cr_assert(segpeer_count(&p, COUNTER_TCP_NO_CHUNK) > 0);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	send_data(1 + 2 * CHUNK_DATA, 1000);
	cr_assert_eq(p.user.received, 2 * CHUNK_DATA + 1000);
	cr_assert_arr_eq(p.user.data, b, p.user.received);
	segpeer_fini(&p);
}

Test(plane_tcp_window, write_without_chunks_is_told_when_there_are_some)
{
	restart(65535, 2);
	segpeer_accept(&p, NULL);
	struct chunk *k = chunk_get(&p.chunks), *l = chunk_get(&p.chunks);

	cr_assert_eq(tcp_conn_room(p.user.c), 0);
	cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("x")), 0);
	segpeer_wait(&p, 10);
	cr_assert_eq(p.user.sents, 0);
	chunk_put(&p.chunks, k);
	segpeer_wait(&p, 1);
	cr_assert_eq(p.user.sents, 1);
	cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("x")), 1);
	chunk_put(&p.chunks, l);
	segpeer_fini(&p);
}

Test(plane_tcp_window, write_chunks_moves_whole_chunks)
{
	struct chunkq q;

	segpeer_accept(&p, NULL);
	chunkq_init(&q);
	cr_assert_eq(chunkq_add(&q, &p.chunks, span_of(b, 300000)), 300000);
	uint32_t used = p.chunks.pool.used;
	uint64_t n = tcp_conn_write_chunks(p.user.c, &q);

	cr_assert_eq(p.chunks.pool.used, used, "nothing is copied");
	cr_assert(n >= TCP_SEND_BYTES_MAX && n < TCP_SEND_BYTES_MAX + CHUNK_DATA);
	cr_assert_eq(q.bytes, 300000 - n);
	cr_assert_eq(tcp_conn_room(p.user.c), 0);
	cr_assert_eq(tcp_conn_write_chunks(p.user.c, &q), 0);
	uint32_t acked = 1;

	while (acked < 1 + n) { // all of it arrives
		segpeer_work(&p);
		while (segpeer_next(&p, &s)) {
			cr_assert_eq(s.seq, acked);
			cr_assert_arr_eq(s.data, b + acked - 1, s.len);
			acked += s.len;
		}
		segpeer_put(&p, SP_ACK, 1, acked, 65535, NULL, 0);
	}
	chunkq_clear(&q, &p.chunks);
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_window, rfc7323_rounding_takes_no_edge_back_while_there_is_room)
{
	restart(200000, 256);
	segpeer_accept(&p, &SYN_SCALE("\x00"));
	uint32_t edge = 0, seq = 1;

	for (int i = 0; i < 50; i++) {
		uint32_t n = i == 0 ? 1460 : 1 + (uint32_t)i % 5;

		send_data(seq, n);
		seq += n;
		segpeer_wait(&p, 50);
		while (segpeer_next(&p, &s)) {
			cr_assert(s.ack + (s.wnd << 2) >= edge, "segment %d", i);
			edge = s.ack + (s.wnd << 2);
		}
	}
	cr_assert(edge > 200000);
	segpeer_fini(&p);
}

Test(plane_tcp_window, overtaken_segment_does_not_change_the_window)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 11, 1, 5000, b + 10, 10);
	segpeer_send(&p, SP_ACK, 1, 1, 0, b, 10); // older, though its bytes are welcome
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, 1000));
	segpeer_work(&p);
	next(SP_ACK | SP_PSH, 1, 21, 1000);
	segpeer_fini(&p);
}

Test(plane_tcp_window, peer_without_scaling_fills_no_more_than_it_can_see)
{
	restart(200000, 256);
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	for (uint32_t seq = 1; seq < 100000; seq += 1000)
		send_data(seq, 1000);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 65535);
	segpeer_fini(&p);
}

Test(plane_tcp_window, fin_wait_2_waits_for_a_reader_that_pauses)
{
	segpeer_accept(&p, NULL);
	p.user.take_most = 0;
	send_data(1, 100);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_send(&p, SP_ACK, 101, 2, 65535, NULL, 0);
	segpeer_wait(&p, 200000);
	cr_assert_eq(p.user.gones, 0);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 100);
	segpeer_send(&p, SP_ACK | SP_FIN, 101, 2, 65535, NULL, 0);
	cr_assert_eq(p.user.why, TCP_GONE_CLOSED);
	cr_assert_eq(p.user.gones, 1);
	segpeer_fini(&p);
}
