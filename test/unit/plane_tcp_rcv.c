// SPDX-License-Identifier: Apache-2.0
// TCP, the receiving side: windows that grow, what a paused connection may keep, reassembly of a
// whole window, SACK and D-SACK, when an ACK leaves, and how long a peer may stall us.
#include <string.h>

#include "control/base/rng.h"
#include "test/unit/plane_tcp_rig.h"

static uint8_t b[1 << 20];

#define SYN_SACK OPTIONS("\x02\x04\x05\xb4\x04\x02\x01\x01")
#define SYN_SCALE OPTIONS("\x02\x04\x05\xb4\x01\x03\x03\x00")
#define SYN_SACK_SCALE OPTIONS("\x02\x04\x05\xb4\x04\x02\x01\x01\x01\x03\x03\x00")
#define SYN_TS_SCALE                                                                               \
	OPTIONS("\x02\x04\x05\xb4\x04\x02\x08\x0a\xff\xff\xff\xf0\x00\x00\x00\x00\x01\x03\x03"     \
		"\x00")
#define MAX_BYTES (4u << 20)
#define MSS 1448u // with timestamps

static void
init(void)
{
	segpeer_pattern(b, 1, sizeof(b)); // b[i] is the byte with sequence number 1 + i
}

static void
begin(uint32_t chunks, uint32_t window, uint32_t window_max)
{
	const struct segpeer_args a = {window, 7200, 16, chunks};
	const struct tcp_settings set = {window, window_max, 7200, 0, 0};

	segpeer_init(&p, &a);
	tcp_settings(p.tcp, &set);
}

static void
accept_ts(void)
{
	p.has_ts = true;
	segpeer_accept(&p, &SYN_TS_SCALE);
}

static void
send_data(uint32_t seq, uint32_t n)
{
	segpeer_send(&p, SP_ACK, seq, 1, 65535, b + seq - 1, n);
}

// The latest advertised window, in bytes; 0: nothing came.
static uint32_t
last_window(uint32_t shift)
{
	uint32_t w = 0;

	while (segpeer_next(&p, &s))
		w = s.wnd << shift;
	return w;
}

// One round trip of 100 ms in which `count` full segments arrive.
static uint32_t
one_round(uint32_t seq, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++, seq += MSS) {
		segpeer_skip(&p);
		send_data(seq, MSS);
	}
	segpeer_wait(&p, 100);
	return seq;
}

TestSuite(plane_tcp_rcv, .init = init);

Test(plane_tcp_rcv, scale_that_is_offered_fits_the_widest_window)
{
	static const struct {
		uint32_t max;
		uint8_t shift;
	} row[] = {{65535, 0}, {65536, 1}, {4u << 20, 7}, {16u << 20, 9}};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		begin(256, 4096, row[i].max);
		segpeer_send_options(&p, SP_SYN, 0, 0, 100, SYN_SCALE, SPAN_NONE);
		next(SP_SYN | SP_ACK, 0, 1, 0);
		cr_assert_eq(s.wscale, row[i].shift, "%u: %u", row[i].max, s.wscale);
		cr_assert_eq(s.wnd, 4096, "it begins small all the same");
		segpeer_fini(&p);
	}
}

Test(plane_tcp_rcv, window_grows_to_four_times_what_is_taken_in_a_round_trip)
{
	uint32_t seq = 1;

	begin(16384, 65536, MAX_BYTES);
	accept_ts();
	for (int i = 0; i < 5; i++)
		seq = one_round(seq, 40);
	uint32_t w = last_window(7), want = 4 * 40 * MSS;

	// The clock's grain may add a few segments of the next round.
	cr_assert(w >= want && w <= want * 11 / 10 + 16 * 1460, "%u, not %u", w, want);
	cr_assert(segpeer_count(&p, COUNTER_TCP_WINDOW_GROWN) > 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, window_of_a_slow_sender_stays)
{
	uint32_t seq = 1;

	begin(16384, 65536, MAX_BYTES);
	accept_ts();
	for (int i = 0; i < 200; i++)
		seq = one_round(seq, 3);
	cr_assert_leq(last_window(7), 65536);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_WINDOW_GROWN), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, window_of_a_slow_user_stays)
{
	begin(16384, 65536, MAX_BYTES);
	accept_ts();
	p.user.take_most = 300;
	for (uint32_t i = 0, seq = 1; i < 40; i++) { // 12 KB a second, whatever the sender would do
		if (seq - 1 - p.user.received < 60000)
			seq = one_round(seq, 1);
		tcp_conn_resume(p.user.c);
		segpeer_work(&p);
	}
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_WINDOW_GROWN), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, without_timestamps_the_handshake_tells_the_round_trip)
{
	uint32_t seq = 1;

	begin(16384, 65536, MAX_BYTES);
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, SYN_SCALE, SPAN_NONE);
	segpeer_wait(&p, 100);
	segpeer_send(&p, SP_ACK, 1, 1, 65535, NULL, 0);
	for (int i = 0; i < 5; i++)
		seq = one_round(seq, 40);
	uint32_t w = last_window(7);

	cr_assert(w >= 4 * 40 * MSS && w <= 2 * 4 * 40 * MSS, "%u", w);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, without_scaling_it_grows_to_what_the_field_holds)
{
	uint32_t seq = 1;

	begin(16384, 4096, MAX_BYTES);
	segpeer_accept(&p, NULL);
	segpeer_wait(&p, 10);
	for (int i = 0; i < 12; i++) {
		send_data(seq, 1460);
		send_data(seq + 1460, 1460);
		seq += 2920;
		segpeer_wait(&p, 50);
	}
	cr_assert_gt(last_window(0), 4096);
	for (int i = 0; i < 8; i++)
		seq = one_round(seq, 20);
	cr_assert_eq(last_window(0), 65535);
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	silence(); // there is never more to tell
	segpeer_fini(&p);
}

static void
forget_bytes(struct segpeer_user *u, const char *call)
{
	(void)call;
	u->received = 0;
}

// A sender in slow start, then at the path's rate: how many round trips of 100 ms it needs for 20
// MB, and how many it would need if there were no window.
Test(plane_tcp_rcv, window_never_holds_back_a_sender_in_slow_start)
{
	static const uint32_t path_bytes[] = {100000, 400000, 900000};

	for (size_t i = 0; i < ARRAY_LEN(path_bytes); i++) {
		const uint32_t total = 20000000;
		uint32_t seq = 1, edge = 65536, cwnd = 10 * MSS, rounds = 0, ideal = 0;
		uint64_t sent = 0;

		begin(65536, 65536, MAX_BYTES);
		accept_ts();
		p.user.hook = forget_bytes;
		for (uint64_t n = 0, w = cwnd; n < total; ideal++) {
			n += w;
			w = MIN(2 * w, path_bytes[i]);
		}
		for (; sent < total; rounds++) {
			uint32_t from = seq, send = MIN(cwnd, edge - seq) / MSS * MSS;

			for (; seq != from + send; seq += MSS) {
				segpeer_skip(&p);
				segpeer_send(&p, SP_ACK, seq, 1, 65535, b, MSS);
			}
			segpeer_wait(&p, 100);
			while (segpeer_next(&p, &s))
				edge = s.ack + (s.wnd << 7);
			sent += send;
			cwnd = MIN(2 * cwnd, path_bytes[i]);
		}
		cr_assert(rounds * 9 <= ideal * 10, "%u bytes a round: %u rounds, %u at best",
			  path_bytes[i], rounds, ideal);
		segpeer_fini(&p);
	}
}

Test(plane_tcp_rcv, one_connection_is_promised_no_more_than_an_eighth_of_what_is_free)
{
	uint32_t seq = 1;

	begin(1024, 65536, MAX_BYTES);
	accept_ts();
	for (int i = 0; i < 4; i++)
		seq = one_round(seq, 100);
	uint32_t w = last_window(7);

	cr_assert(w <= 1024 / 8 * CHUNK_DATA && w > 1024 / 8 * CHUNK_DATA - 4096, "%u", w);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, under_pressure_windows_close_as_they_drain_and_nothing_stalls)
{
	uint32_t seq = 1, edge = 0, w = 0;

	begin(16384, 65536, MAX_BYTES);
	accept_ts();
	for (int i = 0; i < 3; i++)
		seq = one_round(seq, 40);
	cr_assert_gt(last_window(7), 200000);
	tcp_shed(p.tcp, SHED_SHRINK);
	for (int i = 0; i < 200; i++) {
		send_data(seq, MSS);
		seq += MSS;
		segpeer_wait(&p, 50);
		while (segpeer_next(&p, &s)) {
			w = s.wnd << 7;
			cr_assert(s.ack + w + 127 >= edge, "the edge went back");
			edge = s.ack + w;
		}
		if (w <= 8192)
			break;
	}
	cr_assert(w <= 8192 && w >= 8192 - 1460, "%u", w);
	cr_assert_eq(p.user.received, seq - 1, "all of it was taken");
	seq = one_round(seq, 5); // it still moves
	cr_assert_leq(last_window(7), 8192);
	cr_assert_eq(p.user.received, seq - 1);
	tcp_shed(p.tcp, SHED_NONE);
	seq = one_round(seq, 5);
	cr_assert_gt(last_window(7), 200000, "and comes back");
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, paused_connection_keeps_less_than_it_was_promised_when_memory_is_short)
{
	static struct chunk *taken[2048];
	uint32_t seq = 1, n = 0, paused;

	begin(2048, 65536, MAX_BYTES);
	accept_ts();
	for (int i = 0; i < 3; i++)
		seq = one_round(seq, 60);
	uint32_t w = last_window(7), end = seq + w;

	cr_assert_gt(w, 300000);
	while (p.chunks.pool.used <= 1024) // others fill half of the pool
		taken[n++] = chunk_get(&p.chunks);
	p.user.take_most = 0; // and now the backend is slow
	paused = seq;
	for (; seq + MSS <= end; seq += MSS) {
		segpeer_skip(&p);
		send_data(seq, MSS);
	}
	cr_assert(p.chunks.pool.used - n <= 65536 / CHUNK_DATA + 1, "%u chunks",
		  p.chunks.pool.used - n);
	cr_assert_gt(segpeer_count(&p, COUNTER_TCP_WINDOW_SHED), 0);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.chunks.pool.used, n);
	seq = 1 + p.user.received; // what was dropped comes again
	cr_assert_gt(seq, paused + 60000);
	while (p.chunks.pool.used <= 1800) // seven eighths are used now
		taken[n++] = chunk_get(&p.chunks);
	p.user.take_most = 0;
	for (uint32_t i = 0; i < 20; i++)
		send_data(seq + i * MSS, MSS);
	segpeer_skip(&p);
	cr_assert_leq(p.chunks.pool.used - n, 8192 / CHUNK_DATA + 1, "%u chunks, %u free",
		      p.chunks.pool.used - n, p.chunks.pool.cap - p.chunks.pool.used);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	while (1 + p.user.received + MSS <= end) {
		segpeer_skip(&p);
		send_data(1 + p.user.received, MSS);
	}
	cr_assert_arr_eq(p.user.data, b, p.user.received);
	while (n > 0)
		chunk_put(&p.chunks, taken[--n]);
	segpeer_fini(&p);
}

// --- reassembly ---

Test(plane_tcp_rcv, a_whole_window_waits_behind_one_lost_segment)
{
	begin(8192, 900000, 0);
	segpeer_accept(&p, &SYN_SACK_SCALE);
	for (uint32_t seq = 1 + 1460; seq + 1460 <= 900000; seq += 1460) {
		segpeer_skip(&p);
		send_data(seq, 1460);
	}
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_NO_CHUNK), 0);
	cr_assert(p.chunks.pool.used <= 900000 / CHUNK_DATA + 2, "%u", p.chunks.pool.used);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.sack_count, 1);
	send_data(1, 1460);
	cr_assert_eq(p.user.received, 899360);
	cr_assert_arr_eq(p.user.data, b, 899360);
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, every_second_byte_is_bounded_and_harms_nobody)
{
	struct rng r;

	rng_init(&r, 1);
	begin(8192, 900000, 0);
	segpeer_accept(&p, &SYN_SACK_SCALE);
	for (uint32_t i = 0; i < 50000; i++) {
		segpeer_skip(&p);
		send_data(3 + 2 * rng_below(&r, 200000), 1);
	}
	cr_assert_leq(p.chunks.pool.used, 101, "%u", p.chunks.pool.used); // 100 blocks
	cr_assert_gt(segpeer_count(&p, COUNTER_TCP_NO_CHUNK), 0);
	for (uint32_t i = 0; i < 400002; i += 1000) { // and the honest rest of it arrives
		segpeer_skip(&p);
		send_data(1 + i, 1000);
	}
	cr_assert_geq(p.user.received, 400002);
	cr_assert_arr_eq(p.user.data, b, 400002);
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, growing_backwards_fills_no_more_than_the_window)
{
	begin(8192, 60000, 0);
	segpeer_accept(&p, NULL);
	for (uint32_t i = 20000; i-- > 1;) { // one block, a chunk for every byte
		segpeer_skip(&p);
		send_data(1 + i, 1);
	}
	cr_assert_leq(p.chunks.pool.used, 60000 / CHUNK_DATA + 16);
	send_data(1, 30000);
	cr_assert_eq(p.user.received, 30000);
	cr_assert_arr_eq(p.user.data, b, 30000);
	segpeer_fini(&p);
}

// What the peer has sent and what must be held, by a model of one flag a byte.
#define MODEL 6000u

static void
model_check(const uint8_t *has, uint32_t latest, uint32_t n, uint64_t seed)
{
	uint32_t top = 0;

	while (has[top])
		top++;
	cr_assert_eq(s.ack, 1 + top, "seed %lu", seed);
	cr_assert_eq(p.user.received, top, "seed %lu", seed);
	uint32_t i = 0;
	bool is_first = true;

	// A duplicate is reported first: below the ACK, or inside the block behind it.
	if (s.sack_count > 0 &&
	    (s.sack[0].end <= s.ack || (s.sack_count > 1 && s.sack[0].start >= s.sack[1].start &&
					s.sack[0].end <= s.sack[1].end))) {
		cr_assert(s.sack[0].start >= 1 + latest && s.sack[0].end <= 1 + latest + n);
		i = 1;
	}
	for (; i < s.sack_count; i++, is_first = false) {
		uint32_t from = s.sack[i].start - 1, to = s.sack[i].end - 1;

		cr_assert(from > top && to > from && to <= MODEL, "seed %lu", seed);
		for (uint32_t k = from; k < to; k++)
			cr_assert(has[k], "seed %lu: byte %u is not there", seed, k);
		cr_assert(!has[from - 1] && !has[to], "seed %lu: a whole block", seed);
		if (is_first && latest > top)
			cr_assert(from <= latest + n && latest <= to, "seed %lu: newest first",
				  seed);
	}
}

Test(plane_tcp_rcv, rfc2018_blocks_are_what_is_held_in_any_order)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		uint8_t has[MODEL + 1] = {0};
		struct rng r;

		rng_init(&r, seed);
		begin(1024, 900000, 0);
		segpeer_accept(&p, &SYN_SACK_SCALE);
		uint32_t most = 1 + rng_below(&r, 300);

		for (int i = 0; i < 90; i++) {
			uint32_t at = rng_below(&r, MODEL), n = 1 + rng_below(&r, most);

			n = MIN(n, MODEL - at);
			segpeer_skip(&p);
			send_data(1 + at, n);
			memset(has + at, 1, n);
			cr_assert_eq(segpeer_count(&p, COUNTER_TCP_NO_CHUNK), 0);
			if (segpeer_pending(&p) == 0)
				segpeer_wait(&p, 50); // a delayed one
			cr_assert(segpeer_next(&p, &s));
			model_check(has, at, n, seed);
		}
		send_data(1, MODEL);
		cr_assert_eq(p.user.received, MODEL);
		cr_assert_arr_eq(p.user.data, b, MODEL);
		segpeer_fini(&p);
	}
}

Test(plane_tcp_rcv, rfc2883_duplicate_below_the_ack_is_reported)
{
	begin(256, 65535, 0);
	segpeer_accept(&p, &SYN_SACK);
	send_data(1, 1000);
	send_data(1001, 1000);
	segpeer_wait(&p, 50);
	segpeer_skip(&p);
	send_data(1, 1000);
	next(SP_ACK, 1, 2001, 0);
	cr_assert_eq(s.sack_count, 1);
	cr_assert(s.sack[0].start == 1 && s.sack[0].end == 1001);
	send_data(1501, 1000); // half of it
	next(SP_ACK, 1, 2501, 0);
	cr_assert_eq(s.sack_count, 1);
	cr_assert(s.sack[0].start == 1501 && s.sack[0].end == 2001);
	send_data(2501, 10);
	segpeer_wait(&p, 50);
	next(SP_ACK, 1, 2511, 0);
	cr_assert_eq(s.sack_count, 0, "once");
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_DSACK_OUT), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, rfc2883_duplicate_above_a_gap_names_its_block_too)
{
	begin(256, 65535, 0);
	segpeer_accept(&p, &SYN_SACK);
	send_data(1001, 2000);
	send_data(5001, 1000);
	segpeer_skip(&p);
	send_data(1501, 500);
	next(SP_ACK, 1, 1, 0);
	cr_assert_eq(s.sack_count, 3);
	cr_assert(s.sack[0].start == 1501 && s.sack[0].end == 2001);
	cr_assert(s.sack[1].start == 1001 && s.sack[1].end == 3001);
	cr_assert(s.sack[2].start == 5001 && s.sack[2].end == 6001);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, no_duplicate_report_without_sack)
{
	begin(256, 65535, 0);
	segpeer_accept(&p, NULL);
	send_data(1, 1000);
	segpeer_wait(&p, 50);
	segpeer_skip(&p);
	send_data(1, 1000);
	next(SP_ACK, 1, 1001, 0);
	cr_assert_eq(s.sack_count, 0);
	segpeer_fini(&p);
}

// --- when an ACK leaves ---

Test(plane_tcp_rcv, a_burst_is_acknowledged_in_strides)
{
	uint32_t acked = 1, worst = 0, count = 0;

	begin(256, 65535, 0);
	segpeer_accept(&p, NULL);
	for (uint32_t i = 0; i < 31; i++)
		segpeer_put(&p, SP_ACK, 1 + i * 1460, 1, 65535, b + i * 1460, 1460);
	segpeer_work(&p);
	while (segpeer_next(&p, &s)) {
		cr_assert(s.ack > acked, "none of them twice");
		worst = MAX(worst, s.ack - acked);
		acked = s.ack;
		count++;
	}
	cr_assert_eq(acked, 1 + 31 * 1460);
	cr_assert(worst <= 4 * 1460 && count <= 16, "%u bytes, %u ACKs", worst, count);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, gap_filled_in_a_burst_is_acknowledged_once)
{
	begin(256, 65535, 0);
	segpeer_accept(&p, &SYN_SACK);
	for (uint32_t i = 1; i < 8; i++)
		send_data(1 + i * 1460, 1460);
	segpeer_skip(&p);
	send_data(1, 1460);
	next(SP_ACK, 1, 1 + 8 * 1460, 0);
	silence(); // a second one would count as a duplicate
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, full_segments_are_acknowledged_at_once_in_the_beginning_and_after_a_pause)
{
	uint32_t seq = 1, i;

	begin(256, 65535, 0);
	segpeer_accept(&p, NULL);
	send_data(seq, 100); // a command is not what this is for
	silence();
	segpeer_wait(&p, 50);
	segpeer_skip(&p);
	seq += 100;
	for (int k = 0; k < 2; k++) {
		for (i = 0; i < 30; i++) {
			send_data(seq, 1460);
			seq += 1460;
			if (segpeer_pending(&p) == 0)
				break;
			segpeer_skip(&p);
		}
		cr_assert_eq(i, 16, "%u", i);
		segpeer_wait(&p, 2000);
		segpeer_skip(&p);
	}
	segpeer_fini(&p);
}

static uint32_t
count_quick(uint32_t *seq)
{
	for (uint32_t i = 0; i < 30; i++) {
		segpeer_skip(&p);
		send_data(*seq, 1460);
		*seq += 1460;
		if (segpeer_pending(&p) == 0)
			return i;
	}
	return 30;
}

// A sender whose last segments were all lost has one or two in flight then: each delayed ACK would
// cost it more than a round trip.
Test(plane_tcp_rcv, full_segments_are_acknowledged_at_once_after_a_timeout_of_the_sender)
{
	uint32_t seq = 1;

	begin(256, 65535, 0);
	segpeer_accept(&p, &SYN_SACK_SCALE);
	cr_assert_eq(count_quick(&seq), 16);
	segpeer_wait(&p, 50);
	cr_assert_eq(count_quick(&seq), 0);
	segpeer_wait(&p, 250); // the round trip is no time at all
	cr_assert_eq(count_quick(&seq), 16);
	segpeer_wait(&p, 50);
	segpeer_skip(&p);
	send_data(seq - 1460, 1460); // our ACK was lost
	cr_assert_eq(count_quick(&seq), 16);
	segpeer_fini(&p);
}

// --- how long a peer may stall us ---

static void
begin_limits(uint32_t zero_window_s, uint32_t user_s)
{
	const struct tcp_settings set = {65535, 0, 7200, zero_window_s, user_s};

	segpeer_init(&p, NULL);
	tcp_settings(p.tcp, &set);
	segpeer_accept(&p, NULL);
}

Test(plane_tcp_rcv, closed_window_is_given_up_by_policy_though_probes_are_answered)
{
	begin_limits(100, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 5000));
	for (int i = 0; i < 99; i++) {
		segpeer_wait(&p, 1000);
		segpeer_skip(&p);
		segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	}
	cr_assert_eq(p.user.gones, 0);
	for (int i = 0; i < 60 && p.user.gones == 0; i++) { // probes are a minute apart at most
		segpeer_wait(&p, 1000);
		segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	}
	cr_assert_eq(p.user.gones, 1);
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ZERO_WINDOW_LIMIT), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, closed_window_that_opens_now_and_then_is_not_given_up)
{
	uint32_t acked = 1;

	begin_limits(100, 0);
	segpeer_send(&p, SP_ACK, 1, 1, 0, NULL, 0);
	tcp_conn_write(p.user.c, span_of(b, 50000));
	for (int i = 0; i < 20; i++) {
		segpeer_wait(&p, 60000);
		segpeer_skip(&p);
		segpeer_send(&p, SP_ACK, 1, acked, 1460, NULL, 0);
		next(SP_ACK, acked, 1, 1460);
		acked += 1460;
		segpeer_send(&p, SP_ACK, 1, acked, 0, NULL, 0);
	}
	cr_assert_eq(p.user.gones, 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rcv, rfc5482_nothing_acknowledged_ends_by_policy)
{
	begin_limits(0, 10);
	tcp_conn_write(p.user.c, span_of(b, 500));
	segpeer_wait(&p, 9000);
	cr_assert_eq(p.user.gones, 0);
	segpeer_wait(&p, 9000);
	cr_assert_eq(p.user.gones, 1, "not only after ten timeouts");
	cr_assert_eq(p.user.why, TCP_GONE_TIMEOUT);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_USER_TIMEOUT), 1);
	segpeer_fini(&p);
}
