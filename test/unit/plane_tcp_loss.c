// SPDX-License-Identifier: Apache-2.0
// TCP: retransmission, back-off, fast retransmit, SACK, congestion window, frames that are not
// there.
#include <string.h>

#include "control/base/bytes.h"
#include "test/unit/plane_tcp_rig.h"

static uint8_t b[300000];

#define SYN_SACK OPTIONS("\x02\x04\x05\xb4\x04\x02\x01\x01")
#define SYN_TS OPTIONS("\x02\x04\x05\xb4\x01\x01\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00")

// The same, and the bytes are those of our stream.
static void
next_data(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	next(flags, seq, ack, len);
	if (len > 0)
		cr_assert_arr_eq(s.data, b + seq - 1, len);
}

static void
init(void)
{
	segpeer_init(&p, NULL);
	segpeer_pattern(b, 1, sizeof(b));
}

static void
sack(uint32_t ack, uint32_t start, uint32_t end)
{
	uint8_t o[12] = {1, 1, 5, 10};
	uint32_t v[2] = {p.stack_iss + start, p.stack_iss + end};

	for (int i = 0; i < 8; i++)
		o[4 + i] = (uint8_t)(v[i / 4] >> (24 - i % 4 * 8));
	segpeer_send_options(&p, SP_ACK, 1, ack, 65535, span_of(o, 12), SPAN_NONE);
}

// A handshake that takes `ms`: the stack's first sample.
static void
accept_after(const struct span *options, uint32_t ms)
{
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, *options, SPAN_NONE);
	segpeer_wait(&p, ms);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_skip(&p);
}

TestSuite(plane_tcp_loss, .init = init);

Test(plane_tcp_loss, rfc6298_times_back_off_and_end)
{
	// The handshake took no time, so the first timeout is the minimum; then doubled, at most 60
	// s, and a little more by chance.
	static const uint32_t gap_ms[] = {200,  400,   800,   1600,  3200,
					  6400, 12800, 25600, 51200, 60000};
	uint64_t last = p.now_us;

	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 500));
	segpeer_work(&p);
	next_data(SP_ACK | SP_PSH, 1, 1, 500);
	segpeer_wait(&p, 300000);
	for (uint32_t i = 0; i < 10; i++) {
		next_data(SP_ACK | SP_PSH, 1, 1, 500);
		uint64_t gap = (s.at_us - last) / 1000;

		uint32_t jitter = i > 0 ? gap_ms[i] / 32 : 0;

		cr_assert(gap >= gap_ms[i] && gap <= gap_ms[i] + jitter + 2,
			  "repetition %u after %lu", i, gap);
		last = s.at_us;
	}
	next_data(SP_RST | SP_ACK, 501, 1, 0);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 10);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 10);
	segpeer_fini(&p);
}

// The path is gone, and meanwhile smaller segments are tried: that takes no time off R2.
Test(plane_tcp_loss, rfc9293_full_segments_are_given_up_no_sooner)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 20000));
	segpeer_work(&p);
	segpeer_wait(&p, 100000);
	cr_assert_eq(p.user.gones, 0);
	cr_assert_gt(segpeer_count(&p, COUNTER_TCP_MTU_BLACK_HOLE), 0);
	segpeer_wait(&p, 300000);
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc6298_initial_timeout_is_three_seconds_after_a_lost_syn)
{
	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_wait(&p, 2100);
	cr_assert_eq(segpeer_pending(&p), 3);
	segpeer_skip(&p);
	segpeer_send(&p, SP_SYN | SP_ACK, 0, 1, 65535, NULL, 0);
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, 3000));
	segpeer_work(&p);
	next_data(SP_ACK, 1, 1, 536);
	silence(); // and the window is one segment: two SYNs were lost (RFC 6928 2)
	segpeer_wait(&p, 2990);
	silence();
	segpeer_wait(&p, 20);
	next_data(SP_ACK, 1, 1, 536);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc6928_one_lost_syn_costs_no_window)
{
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_TS, SPAN_NONE);
	p.has_ts = true;
	segpeer_wait(&p, 1130); // the SYN-ACK was lost; the second one takes 30 ms
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, 30000));
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 10);
	segpeer_skip(&p);
	segpeer_wait(&p, 300); // and the echo has told the round trip: no timeout of 3 s
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc6298_timeout_follows_the_round_trip_time)
{
	segpeer_send(&p, SP_SYN, 0, 0, 65535, NULL, 0);
	segpeer_wait(&p, 400);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0); // R = 400: RTO = 400 + 4 * 200
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, 500));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_wait(&p, 1199);
	silence();
	segpeer_wait(&p, 3);
	next_data(SP_ACK | SP_PSH, 1, 1, 500);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, karn_an_ack_of_repeated_bytes_is_no_sample)
{
	segpeer_accept(&p, NULL); // RTO 200
	tcp_conn_write(p.user.c, span_of(b, 500));
	segpeer_wait(&p, 5000); // sent again a few times
	segpeer_send(&p, SP_ACK, 1, 501, 65535, NULL, 0);
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b + 500, 500));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_wait(&p, 205); // neither a sample of 5 s nor the back-off is left
	next_data(SP_ACK | SP_PSH, 501, 1, 500);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, karn_timestamps_make_repeated_bytes_a_sample)
{
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_TS, SPAN_NONE);
	p.has_ts = true;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 500));
	segpeer_wait(&p, 210); // sent again at 200
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 1);
	segpeer_wait(&p, 300);
	segpeer_send(&p, SP_ACK, 1, 501, 65535, NULL, 0); // echoes the repetition: about 310 ms
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b + 500, 500));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_wait(&p, 300);
	silence();
	segpeer_wait(&p, 400);
	next_data(SP_ACK | SP_PSH, 501, 1, 500);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, karn_timestamps_tell_the_original_from_the_repetition)
{
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_TS, SPAN_NONE);
	p.has_ts = true;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0); // srtt 1 ms
	tcp_conn_write(p.user.c, span_of(b, 500));
	segpeer_work(&p);
	uint32_t original = p.ts_seen;

	segpeer_wait(&p, 205); // sent again at 200
	cr_assert_neq(p.ts_seen, original);
	p.ts_seen = original;
	segpeer_send(&p, SP_ACK, 1, 501, 65535, NULL, 0); // 205 ms, not 5: RTO about 27 + 206
	tcp_conn_write(p.user.c, span_of(b + 500, 500));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_wait(&p, 215);
	silence();
	segpeer_wait(&p, 30);
	next_data(SP_ACK | SP_PSH, 501, 1, 500);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, karn_an_echo_of_an_earlier_syn_is_no_sample)
{
	uint8_t options[16] = {2, 4, 5, 180, 1, 1, 8, 10, 0, 0, 16, 0};

	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	store_be32(options + 12, p.ts_seen);
	segpeer_wait(&p, 1020); // the answer is lost and both are repeated, but it echoes the first
	cr_assert_eq(segpeer_pending(&p), 1);
	segpeer_skip(&p);
	segpeer_send_options(&p, SP_SYN | SP_ACK, 0, 1, 65535, span_of(options, 16), SPAN_NONE);
	p.has_ts = true;
	segpeer_skip(&p);
	peer_is_known_to_be_near();
	segpeer_fini(&p);
}

Test(plane_tcp_loss, timeout_rewinds_but_acks_above_stay_valid)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 4));
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 4);
	segpeer_skip(&p);
	segpeer_wait(&p, 202);
	next_data(SP_ACK, 1, 1, 1460); // one segment: the loss window
	silence();
	segpeer_send(&p, SP_ACK, 1, 1 + 1460 * 4, 65535, NULL, 0); // the originals had arrived
	silence();
	cr_assert_eq(tcp_conn_unsent(p.user.c), 0);
	tcp_conn_write(p.user.c, span_of(b + 1460 * 4, 100));
	segpeer_work(&p);
	next_data(SP_ACK | SP_PSH, 1 + 1460 * 4, 1, 100); // goes on behind all that was sent
	segpeer_fini(&p);
}

Test(plane_tcp_loss, after_a_timeout_all_is_sent_again_in_slow_start)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 4));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_wait(&p, 202);
	next_data(SP_ACK, 1, 1, 1460);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	next_data(SP_ACK, 1461, 1, 1460);
	next_data(SP_ACK, 2921, 1, 1460);
	silence();
	segpeer_send(&p, SP_ACK, 1, 4381, 65535, NULL, 0);
	next_data(SP_ACK | SP_PSH, 4381, 1, 1460);
	segpeer_fini(&p);
}

// Acknowledges what has left, one segment after the other. Returns how many those were.
static uint32_t
round_trip(uint32_t *acked)
{
	uint32_t n = segpeer_pending(&p), ends[64];

	cr_assert(n <= 64);
	for (uint32_t i = 0; i < n; i++) {
		cr_assert(segpeer_next(&p, &s));
		ends[i] = s.seq + s.len;
	}
	for (uint32_t i = 0; i < n; i++) {
		*acked = MAX(*acked, ends[i]);
		segpeer_put(&p, SP_ACK, 1, *acked, 65535, NULL, 0);
	}
	segpeer_work(&p);
	return n;
}

Test(plane_tcp_loss, rfc5681_repeated_timeouts_leave_the_threshold)
{
	static const uint32_t window[] = {1, 2, 4, 7, 7};
	uint32_t acked = 1;

	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 100000));
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 10);
	segpeer_wait(&p, 700); // twice: after 200 ms and 600
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 2);
	cr_assert_eq(segpeer_pending(&p), 12);
	for (int i = 0; i < 11; i++)
		cr_assert(segpeer_next(&p, &s));
	for (uint32_t i = 0; i < 5; i++) { // seven tenths of ten, not of one
		uint32_t n = round_trip(&acked);

		cr_assert(n == window[i] || (i == 4 && n == 8), "round %u: %u", i, n);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc5681_threshold_is_two_segments_at_least)
{
	static const uint32_t window[] = {1, 2, 2};
	uint32_t acked = 1;

	p.user.c = tcp_conn_open(p.tcp, &p.path.raddr, 25, &segpeer_ops, &p.user);
	p.path = *tcp_conn_path(p.user.c);
	segpeer_work(&p);
	segpeer_wait(&p, 2100); // two SYNs are lost: the window is one segment
	segpeer_skip(&p);
	segpeer_send(&p, SP_SYN | SP_ACK, 0, 1, 65535, NULL, 0);
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b, 20000));
	segpeer_work(&p);
	next_data(SP_ACK, 1, 1, 536);
	segpeer_send(&p, SP_ACK, 1, 537, 65535, NULL, 0);
	cr_assert_eq(segpeer_pending(&p), 2); // and now these
	segpeer_skip(&p);
	segpeer_wait(&p, 210);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 3);
	for (uint32_t i = 0; i < 3; i++) { // slow start to two, not to 1.4
		uint32_t n = round_trip(&acked);

		cr_assert_eq(n, window[i], "round %u: %u", i, n);
	}
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc7323_echo_without_news_is_no_sample)
{
	uint64_t from;

	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_TS, SPAN_NONE);
	p.has_ts = true;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0); // RTO 200
	segpeer_skip(&p);
	uint32_t old = p.ts_seen;

	segpeer_wait(&p, 5000);
	tcp_conn_write(p.user.c, span_of(b, 500));
	segpeer_work(&p);
	next_data(SP_ACK | SP_PSH, 1, 1, 500);
	from = s.at_us;
	p.ts_seen = old;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0); // a duplicate, five seconds old
	segpeer_wait(&p, 1000);
	next_data(SP_ACK | SP_PSH, 1, 1, 500);
	next_data(SP_ACK | SP_PSH, 1, 1, 500);
	cr_assert(s.at_us - from < 650000, "after %lu us", s.at_us - from); // 200 and 400
	segpeer_fini(&p);
}

// Of a window of so many segments without SACK, 0 and 20 are lost, and so many duplicates come
// back.
static uint32_t
lose_two(uint32_t window, uint32_t duplicates)
{
	uint32_t acked = 1, n;

	segpeer_accept(&p, &OPTIONS("\x02\x04\x05\xb4\x01\x03\x03\x07"));
	tcp_conn_write(p.user.c, span_of(b, 1460 * 200));
	segpeer_work(&p);
	do {
		n = round_trip(&acked);
	} while (n < window / 2);
	cr_assert_eq(segpeer_pending(&p), window);
	segpeer_skip(&p);
	for (uint32_t i = 0; i < duplicates; i++)
		segpeer_send(&p, SP_ACK, 1, acked, 65535, NULL, 0);
	return acked;
}

// A duplicate stands for a segment (RFC 6937 3), which a partial ACK must not count once more.
Test(plane_tcp_loss, rfc6582_partial_ack_counts_what_no_duplicate_has_told)
{
	uint32_t acked = lose_two(80, 10), n = segpeer_pending(&p);

	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, acked + 1460 * 20, 65535, NULL, 0);
	next_data(SP_ACK, acked + 1460 * 20, 1, 1460);
	n += 1 + segpeer_pending(&p);
	// Twenty have arrived, of which seven tenths may leave.
	cr_assert(n >= 13 && n <= 15, "%u", n);
	segpeer_fini(&p);
}

// When nothing but those two is lost, neither the partial ACK nor the last one lets go more than
// a repetition and a segment or two (RFC 6582 3.2 step 3).
Test(plane_tcp_loss, rfc6582_recovery_without_sack_sends_no_bursts)
{
	uint32_t acked = lose_two(40, 38), n = segpeer_pending(&p), end = acked + 1460 * (39 + n);

	cr_assert(n >= 25 && n <= 30, "seven tenths: %u", n);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, acked + 1460 * 20, 65535, NULL, 0);
	next_data(SP_ACK, acked + 1460 * 20, 1, 1460);
	cr_assert(segpeer_pending(&p) <= 2, "%u", segpeer_pending(&p));
	end += 1460 * segpeer_pending(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, acked + 1460 * 42, 65535, NULL, 0);
	cr_assert(segpeer_pending(&p) <= 3, "%u", segpeer_pending(&p));
	while (segpeer_next(&p, &s)) {
		cr_assert_eq(s.seq, end);
		end += 1460;
	}
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, acks_between_do_not_hide_the_timeout)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 4));
	segpeer_work(&p);
	segpeer_wait(&p, 150);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0); // progress begins the timer anew
	segpeer_skip(&p);
	uint64_t from = p.now_us;

	segpeer_wait(&p, 1000);
	next_data(SP_ACK, 1461, 1, 1460);
	cr_assert(s.at_us - from >= 200000, "after %lu us", s.at_us - from);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc5681_three_duplicates_retransmit)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 8));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	for (int i = 0; i < 2; i++)
		segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	silence();
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	next_data(SP_ACK, 1461, 1, 1460);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_FAST_RETRANSMIT), 1);
	// RFC 6582: a partial ACK shows the next hole.
	segpeer_send(&p, SP_ACK, 1, 1461 + 1460 * 2, 65535, NULL, 0);
	next_data(SP_ACK, 1461 + 1460 * 2, 1, 1460);
	silence();
	segpeer_send(&p, SP_ACK, 1, 1 + 1460 * 8, 65535, NULL, 0);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, duplicates_in_one_burst_count_each)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 8));
	segpeer_work(&p);
	segpeer_skip(&p);
	for (int i = 0; i < 3; i++)
		segpeer_put(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_work(&p);
	next_data(SP_ACK, 1, 1, 1460);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, window_updates_and_data_are_no_duplicates)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 4));
	segpeer_work(&p);
	segpeer_skip(&p);
	for (uint32_t i = 0; i < 5; i++)
		segpeer_send(&p, SP_ACK, 1, 1, 60000 - i * 100, NULL, 0);
	for (uint32_t i = 0; i < 5; i++)
		segpeer_send(&p, SP_ACK, 1 + i, 1, 59600, "x", 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_FAST_RETRANSMIT), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, duplicates_after_a_timeout_do_not_retransmit)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 6));
	segpeer_work(&p);
	segpeer_wait(&p, 202);
	segpeer_skip(&p);
	for (int i = 0; i < 5; i++)
		segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0); // of the first repetition; below recover
	for (int i = 0; i < 5; i++)
		segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 3);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_FAST_RETRANSMIT), 0,
		     "RFC 6582: not above recover");
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc3042_limited_transmit)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 20));
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 10);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	next_data(SP_ACK, 1 + 14600, 1, 1460);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	next_data(SP_ACK, 1 + 16060, 1, 1460);
	silence();
	segpeer_fini(&p);
}

Test(plane_tcp_loss, sack_only_holes_are_sent_again)
{
	accept_after(&SYN_SACK, 40);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 9));
	segpeer_work(&p);
	segpeer_skip(&p);
	// Segments 0 and 4 are lost.
	segpeer_wait(&p, 40);
	sack(1, 1 + 1460, 1 + 1460 * 2);
	sack(1, 1 + 1460, 1 + 1460 * 3);
	silence();
	sack(1, 1 + 1460, 1 + 1460 * 4);
	next_data(SP_ACK, 1, 1, 1460);
	sack(1, 1 + 1460 * 5, 1 + 1460 * 6); // shows the second hole
	next_data(SP_ACK, 1 + 1460 * 4, 1, 1460);
	sack(1, 1 + 1460 * 5, 1 + 1460 * 7);
	silence(); // no hole that was not sent again
	segpeer_send(&p, SP_ACK, 1, 1 + 1460 * 4, 65535, NULL, 0);
	silence();
	segpeer_send(&p, SP_ACK, 1, 1 + 1460 * 9, 65535, NULL, 0);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, sack_nonsense_is_ignored)
{
	segpeer_accept(&p, &SYN_SACK);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 3));
	segpeer_work(&p);
	segpeer_skip(&p);
	sack(1, 1 + 1460 * 2, 1 + 1460 * 9); // beyond what was sent
	sack(1, 3000, 2000);
	sack(1, (uint32_t)-5000, (uint32_t)-4000);
	sack(1, 1, 1461); // begins at snd_una
	segpeer_wait(&p, 210);
	segpeer_skip(&p);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_SACK_BAD), 2);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 1);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0);
	next_data(SP_ACK, 1461, 1, 1460); // everything is sent again
	next_data(SP_ACK | SP_PSH, 2921, 1, 1460);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, sack_reneging_is_survived)
{
	segpeer_accept(&p, &SYN_SACK);
	tcp_conn_write(p.user.c, span_of(b, 1460 * 3));
	segpeer_work(&p);
	segpeer_skip(&p);
	sack(1, 1461, 1 + 1460 * 3);
	segpeer_wait(&p, 5);
	next_data(SP_ACK, 1, 1, 1460);
	segpeer_send(&p, SP_ACK, 1, 1461, 65535, NULL, 0); // the peer has thrown the rest away
	silence();
	segpeer_wait(&p, 15); // no reason to wait for the whole timeout
	next_data(SP_ACK, 1461, 1, 1460);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_SACK_RENEGE), 1);
	segpeer_send(&p, SP_ACK, 1, 2921, 65535, NULL, 0);
	next_data(SP_ACK | SP_PSH, 2921, 1, 1460);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc6928_initial_window_and_slow_start)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 200000));
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 10);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 1, 1 + 2920, 65535, NULL, 0);
	cr_assert_eq(segpeer_pending(&p), 4, "two for two, and two more: %u", segpeer_pending(&p));
	segpeer_fini(&p);
}

Test(plane_tcp_loss, rfc5681_idle_restart)
{
	segpeer_accept(&p, NULL);
	uint32_t acked = 1;

	tcp_conn_write(p.user.c, span_of(b, 100000));
	while (acked < 100001) { // the window grows
		segpeer_work(&p);
		while (segpeer_next(&p, &s))
			acked += s.len;
		segpeer_put(&p, SP_ACK, 1, acked, 65535, NULL, 0);
	}
	segpeer_wait(&p, 10000);
	segpeer_skip(&p);
	tcp_conn_write(p.user.c, span_of(b + 100000, 100000));
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 10);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, fin_is_sent_again)
{
	segpeer_accept(&p, NULL);
	tcp_conn_write(p.user.c, span_of(b, 100));
	segpeer_work(&p);
	next_data(SP_ACK | SP_PSH, 1, 1, 100);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	next_data(SP_ACK | SP_FIN, 101, 1, 0);
	segpeer_wait(&p, 202);
	next_data(SP_ACK | SP_PSH | SP_FIN, 1, 1, 100);   // both in one
	segpeer_send(&p, SP_ACK, 1, 101, 65535, NULL, 0); // only the bytes arrived
	silence();
	segpeer_wait(&p, 250);
	next_data(SP_ACK | SP_FIN, 101, 1, 0);
	segpeer_send(&p, SP_ACK | SP_FIN, 1, 102, 65535, NULL, 0);
	cr_assert_eq(p.user.gones, 1);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, no_frame_no_timer)
{
	segpeer_accept(&p, NULL);
	p.has_no_frames = true;
	tcp_conn_write(p.user.c, span_of(b, 1000));
	segpeer_work(&p);
	segpeer_wait(&p, 10000);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0, "nothing was sent, so nothing is lost");
	cr_assert_eq(tcp_work(p.tcp), 0, "waiting for a frame is not work");
	p.has_no_frames = false;
	segpeer_work(&p);
	next_data(SP_ACK | SP_PSH, 1, 1, 1000);
	silence();
	segpeer_wait(&p, 202);
	next_data(SP_ACK | SP_PSH, 1, 1, 1000);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, no_frame_for_an_ack_or_a_reset_is_made_good)
{
	segpeer_accept(&p, NULL);
	p.has_no_frames = true;
	segpeer_send(&p, SP_ACK, 101, 1, 65535, b + 100, 100);
	silence();
	p.has_no_frames = false;
	segpeer_work(&p);
	next_data(SP_ACK, 1, 1, 0);
	p.has_no_frames = true;
	tcp_conn_abort(p.user.c);
	silence();
	p.has_no_frames = false;
	segpeer_work(&p);
	next_data(SP_RST | SP_ACK, 1, 1, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_loss, piggybacked_ack_needs_no_other)
{
	segpeer_accept(&p, NULL);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "x", 1);
	tcp_conn_write(p.user.c, span_of(b, 10));
	segpeer_work(&p);
	next_data(SP_ACK | SP_PSH, 1, 2, 10);
	segpeer_wait(&p, 100);
	silence();
	segpeer_fini(&p);
}

Test(plane_tcp_loss, large_queue_leaves_in_order_from_several_writes)
{
	segpeer_accept(&p, NULL);
	uint32_t acked = 1, written = 0;

	while (acked < 1 + sizeof(b)) {
		uint32_t n = MIN(7777u, (uint32_t)sizeof(b) - written);

		written += tcp_conn_write(p.user.c, span_of(b + written, n));
		segpeer_work(&p);
		while (segpeer_next(&p, &s)) {
			cr_assert_eq(s.seq, acked);
			cr_assert_arr_eq(s.data, b + s.seq - 1, s.len);
			acked += s.len;
		}
		segpeer_put(&p, SP_ACK, 1, acked, 65535, NULL, 0);
	}
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}
