// SPDX-License-Identifier: Apache-2.0
// TCP: RACK-TLP (RFC 8985), the SACK scoreboard, undo (Eifel, D-SACK), transmit records.
#include <string.h>

#include "control/base/bytes.h"
#include "control/base/rng.h"
#include "test/unit/plane_tcp_rig.h"

#define MSS 1460u
#define RTT_MS 40u
#define AT(n) (1 + (n)*MSS) // where segment n begins

static uint8_t b[400000];
static bool has_ts;
static uint32_t written, tsval;

static void
init(void)
{
	segpeer_init(&p, NULL);
	segpeer_pattern(b, 1, sizeof(b));
	has_ts = false;
	written = 0;
	tsval = 5000;
}

TestSuite(plane_tcp_rack, .init = init);

// An ACK with timestamps (echoing `tsecr`) where they were agreed on, and SACK blocks.
static void
ack_blocks(uint32_t ack, uint32_t tsecr, uint32_t count, const uint32_t *blocks)
{
	uint8_t o[40];
	uint32_t n = 0;

	if (has_ts) {
		store_be32(o, 0x0101080a);
		store_be32(o + 4, tsval++);
		store_be32(o + 8, tsecr);
		n = 12;
	}
	if (count > 0) {
		store_be32(o + n, 0x01010500 | (2 + 8 * count));
		n += 4;
		for (uint32_t i = 0; i < 2 * count; i++, n += 4)
			store_be32(o + n, p.stack_iss + blocks[i]);
	}
	segpeer_send_options(&p, SP_ACK, 1, ack, 65535, span_of(o, n), SPAN_NONE);
}

static void
sack(uint32_t ack, uint32_t start, uint32_t end)
{
	uint32_t block[2] = {start, end};

	ack_blocks(ack, p.ts_seen, 1, block);
}

static void
ack(uint32_t number)
{
	ack_blocks(number, p.ts_seen, 0, NULL);
}

// A handshake of RTT_MS with SACK, and `segments` written; what left of them is taken note of.
static uint32_t
start(bool ts, uint32_t segments)
{
	static const uint8_t plain[] = "\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07\x01\x01";
	static const uint8_t stamped[] =
		"\x02\x04\x05\xc0\x04\x02\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00";

	has_ts = ts;
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535,
			     ts ? span_of(stamped, 16) : span_of(plain, 12), SPAN_NONE);
	segpeer_wait(&p, RTT_MS);
	ack(1);
	segpeer_skip(&p);
	written = tcp_conn_write(p.user.c, span_of(b, segments * MSS));
	segpeer_work(&p);
	uint32_t n = segpeer_pending(&p);

	segpeer_skip(&p);
	return n;
}

static void
data(uint32_t seq)
{
	cr_assert(segpeer_next(&p, &s), "segment %u was expected", (seq - 1) / MSS);
	cr_assert_eq(s.seq, seq, "seq %u, not %u", s.seq, seq);
	cr_assert_arr_eq(s.data, b + seq - 1, s.len);
}

Test(plane_tcp_rack, late_is_not_lost)
{
	start(false, 4);
	segpeer_wait(&p, RTT_MS);
	sack(1, AT(1), AT(2));
	segpeer_wait(&p, 8); // a quarter of the round trip is 10
	silence();
	sack(AT(2), AT(3), AT(4)); // there it is, and the next one is late
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_REORDER), 1);
	segpeer_wait(&p, 8);
	ack(AT(4));
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, timer_finds_the_loss_that_no_third_segment_shows)
{
	start(false, 2);
	segpeer_wait(&p, RTT_MS);
	sack(1, AT(1), AT(2));
	segpeer_wait(&p, 8);
	silence();
	segpeer_wait(&p, 4);
	data(AT(0));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RACK_LOSS), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RECOVERY), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, lost_repetition_is_found_without_a_timeout)
{
	start(false, 30); // 10 leave
	segpeer_wait(&p, RTT_MS);
	for (uint32_t i = 2; i <= 10; i++)
		sack(1, AT(1), AT(i));
	uint32_t end = AT(10);
	bool is_again = false;

	while (segpeer_next(&p, &s)) { // and new ones: proportional rate reduction
		is_again |= s.seq == AT(0);
		end = MAX(end, s.seq + s.len);
	}
	cr_assert(is_again);
	cr_assert(end >= AT(12) && end < AT(20), "%u", end);
	segpeer_wait(&p, RTT_MS);
	sack(1, AT(1), end); // they arrived, the repetition did not
	segpeer_wait(&p, RTT_MS / 4 + 2);
	data(AT(0));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, third_report_ends_the_waiting)
{
	cr_assert_eq(start(false, 30), 10);
	segpeer_wait(&p, RTT_MS);
	sack(1, AT(1), AT(2));
	sack(1, AT(1), AT(3));
	segpeer_wait(&p, 5); // a quarter of the round trip is 10
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 0);
	segpeer_skip(&p); // what left is new
	sack(1, AT(1), AT(4));
	data(AT(0));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RECOVERY), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, recovery_lasts_until_all_that_was_out_is_acknowledged)
{
	uint32_t blocks[4] = {AT(6), AT(10), AT(1), AT(5)}, end = AT(10);

	cr_assert_eq(start(false, 60), 10);
	segpeer_wait(&p, RTT_MS);
	ack_blocks(1, 0, 2, blocks); // 0 and 5 are lost
	while (segpeer_next(&p, &s))
		end = MAX(end, s.seq + s.len);
	cr_assert(end > AT(11));
	segpeer_wait(&p, RTT_MS);
	sack(AT(5), AT(6), end); // the second one once more: the same recovery
	data(AT(5));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RECOVERY), 1);
	segpeer_wait(&p, RTT_MS);
	ack(end); // it is over: the next one is another
	while (segpeer_next(&p, &s))
		;
	segpeer_wait(&p, RTT_MS);
	sack(end, end + MSS, end + 4 * MSS);
	data(end);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RECOVERY), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, probe_repeats_the_tail)
{
	start(false, 3);
	segpeer_wait(&p, 2 * RTT_MS - 1);
	silence();
	segpeer_wait(&p, 5);
	data(AT(2));
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_TLP_PROBE), 1);
	segpeer_wait(&p, RTT_MS);
	sack(1, AT(2), AT(3)); // only that one: the others are lost
	segpeer_wait(&p, RTT_MS / 4 + 2);
	data(AT(0));
	segpeer_wait(&p, RTT_MS);
	ack(AT(1)); // one for one
	data(AT(1));
	ack(AT(3));
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, probe_is_new_data_where_there_is_some)
{
	cr_assert_eq(start(false, 20), 10);
	segpeer_wait(&p, 2 * RTT_MS + 5);
	data(AT(10));
	silence();
	segpeer_wait(&p, 100); // one probe only; then the timeout
	silence();
	segpeer_wait(&p, 200);
	data(AT(0));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_TLP_PROBE), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 1);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, tail_that_a_probe_repaired_counts_as_a_loss)
{
	for (uint32_t has_dsack = 0; has_dsack < 2; has_dsack++) {
		uint32_t block[2] = {AT(2), AT(3)};

		start(false, 3);
		segpeer_wait(&p, 2 * RTT_MS + 5);
		data(AT(2));
		tcp_conn_write(p.user.c, span_of(b + 3 * MSS, 2 * MSS));
		segpeer_work(&p);
		data(AT(3));
		data(AT(4));
		if (has_dsack) // both copies arrived
			ack_blocks(AT(3), 0, 1, block);
		ack(AT(4));
		cr_assert_eq(segpeer_count(&p, COUNTER_TCP_TLP_LOSS), !has_dsack);
		cr_assert_eq(segpeer_count(&p, COUNTER_TCP_DSACK_IN), has_dsack);
		tcp_conn_write(p.user.c, span_of(b + 5 * MSS, 20 * MSS));
		segpeer_work(&p);
		// One is in flight, and the window of ten is one of seven now.
		cr_assert_eq(segpeer_pending(&p), has_dsack ? 9 : 6, "%u", segpeer_pending(&p));
		segpeer_fini(&p);
		init();
	}
	segpeer_fini(&p);
}

Test(plane_tcp_rack, dsack_takes_the_reduction_back)
{
	uint32_t block[2] = {AT(0), AT(1)};

	start(false, 30);
	segpeer_wait(&p, RTT_MS);
	sack(1, AT(1), AT(10));
	data(AT(0));
	segpeer_skip(&p);
	segpeer_wait(&p, 1);
	ack(AT(10)); // the original
	segpeer_skip(&p);
	segpeer_wait(&p, 5);
	ack_blocks(AT(10), 0, 1, block); // and the repetition, which nobody needed
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_UNDO), 1);
	uint32_t n = segpeer_count(&p, COUNTER_TCP_OUT);

	segpeer_wait(&p, RTT_MS / 4);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RECOVERY), 1);
	cr_assert(n > 1 + 10 + 1 + 9, "the old window is full again: %u", n);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, eifel_takes_a_timeout_back)
{
	cr_assert_eq(start(true, 30), 10);
	uint32_t first = p.ts_seen;

	segpeer_wait(&p, RTT_MS * 8 + 15); // a stall longer than the timeout
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 1);
	segpeer_skip(&p);
	ack_blocks(1 + 2 * (MSS - 12), first, 0, NULL); // of the originals
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_UNDO_RTO), 1);
	while (segpeer_next(&p, &s)) // nothing of it goes out once more
		cr_assert(s.seq >= 1 + 10 * (MSS - 12), "%u", s.seq);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, a_timeout_that_was_right_is_not_taken_back)
{
	cr_assert_eq(start(true, 30), 10);
	segpeer_wait(&p, RTT_MS * 8 + 15);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 1);
	segpeer_skip(&p);
	ack(1 + (MSS - 12)); // echoes the repetition
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_UNDO_RTO), 0);
	data(1 + (MSS - 12));
	segpeer_fini(&p);
}

Test(plane_tcp_rack, only_what_is_missing_is_sent_again)
{
	uint32_t blocks[6] = {AT(8), AT(10), AT(5), AT(7), AT(2), AT(4)};

	start(false, 10);
	segpeer_wait(&p, RTT_MS);
	ack_blocks(AT(1), 0, 3, blocks);
	data(AT(1));
	data(AT(4));
	data(AT(7));
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 3);
	segpeer_wait(&p, RTT_MS);
	ack(AT(10));
	silence();
	segpeer_fini(&p);
}

Test(plane_tcp_rack, proportional_rate_reduction)
{
	uint32_t out = 0, acked;

	start(false, 200);
	for (acked = 10; acked < 40; acked += 2) { // the window grows to 40
		segpeer_wait(&p, acked == 10 ? RTT_MS : 0);
		ack(AT(acked));
	}
	segpeer_skip(&p);
	uint32_t before = (uint32_t)segpeer_count(&p, COUNTER_TCP_OUT);

	segpeer_wait(&p, RTT_MS);
	for (uint32_t i = 42; i < 62; i++) { // 38 is lost, 20 ACKs tell
		uint32_t block[2] = {AT(39), AT(i)};

		ack_blocks(AT(38), 0, 1, block);
	}
	out = (uint32_t)segpeer_count(&p, COUNTER_TCP_OUT) - before;
	cr_assert(out >= 12 && out <= 17, "seven tenths of what arrives: %u", out);
	segpeer_fini(&p);
}

// Whatever a peer reports: no CHECK fails, the work is bounded, and in the end all is there.
Test(plane_tcp_rack, any_report_is_survived)
{
	struct rng rng;

	for (uint32_t seed = 1; seed <= 60; seed++) {
		uint32_t una = 1, top = 1;

		rng_init(&rng, seed);
		start(seed % 2 == 0, 150);
		for (uint32_t turn = 0; turn < 400 && una < 1 + written; turn++) {
			uint32_t blocks[6];

			while (segpeer_next(&p, &s)) {
				cr_assert_arr_eq(s.data, b + s.seq - 1, s.len, "seed %u", seed);
				top = MAX(top, s.seq + s.len);
			}
			if (rng_chance(&rng, 300000))
				una += rng_below(&rng, top - una + 1);
			for (uint32_t i = 0; i < 3; i++) {
				blocks[2 * i] = una - 2000 + rng_below(&rng, top - una + 4000);
				blocks[2 * i + 1] = blocks[2 * i] + rng_below(&rng, 20000);
				if (rng_chance(&rng, 700000)) {
					blocks[2 * i] = AT((blocks[2 * i] - 1) / MSS);
					blocks[2 * i + 1] = AT((blocks[2 * i + 1] - 1) / MSS);
				}
			}
			ack_blocks(una, p.ts_seen, rng_below(&rng, 4), blocks);
			if (rng_chance(&rng, 200000))
				segpeer_wait(&p, rng_below(&rng, 300));
		}
		while (una < 1 + written) {
			while (segpeer_next(&p, &s))
				top = MAX(top, s.seq + s.len);
			una = top;
			ack(una);
			segpeer_wait(&p, 10);
		}
		cr_assert_eq(tcp_conn_unsent(p.user.c), 0, "seed %u", seed);
		segpeer_fini(&p);
		init();
	}
	segpeer_fini(&p);
}

Test(plane_tcp_rack, tiny_segments_get_no_more_records_than_there_are)
{
	const struct segpeer_args args = {
		.window_bytes = 65535, .keepalive_s = 7200, .conns_max = 4, .chunks = 100};
	uint32_t acked = 1;

	segpeer_fini(&p);
	segpeer_init(&p, &args);
	segpeer_accept(&p, &OPTIONS("\x02\x04\x00\x40\x04\x02\x01\x01"));
	written = tcp_conn_write(p.user.c, span_of(b, 90000));
	for (uint32_t i = 0; i < 1000 && acked < 1 + written; i++) {
		segpeer_work(&p);
		while (segpeer_next(&p, &s)) {
			cr_assert_eq(s.seq, acked);
			acked += s.len;
		}
		segpeer_put(&p, SP_ACK, 1, acked, 65535, NULL, 0);
	}
	cr_assert_eq(acked, 1 + written);
	cr_assert(segpeer_count(&p, COUNTER_TCP_NO_RECORD) > 0);
	segpeer_fini(&p);
}

#define TINY(n) (1 + (n)*64u) // where tiny segment n begins

// A flight of 1500 segments: what is reported at its end and in its middle is found though a report
// near its beginning comes with each ACK, and so is what is reported near its beginning afterwards.
Test(plane_tcp_rack, reports_far_apart_are_all_found)
{
	static const struct segpeer_args args = {
		.window_bytes = 65535, .keepalive_s = 7200, .conns_max = 16, .chunks = 4096};
	static const uint8_t tiny[] = "\x02\x04\x00\x40\x04\x02\x01\x03\x03\x07\x01\x01";
	uint32_t end = 1, base, blocks[6];

	segpeer_fini(&p);
	segpeer_init(&p, &args);
	segpeer_send_options(&p, SP_SYN, 0, 0, 65535, span_of(tiny, 12), SPAN_NONE);
	segpeer_wait(&p, RTT_MS);
	ack(1);
	segpeer_skip(&p);
	for (uint32_t n = 10; n < 2000; n *= 2) { // slow start
		tcp_conn_write(p.user.c, span_of(b, n * 64));
		segpeer_work(&p);
		segpeer_skip(&p);
		end += n * 64;
		segpeer_wait(&p, RTT_MS);
		ack(end);
	}
	base = end - 1;
	cr_assert_eq(tcp_conn_write(p.user.c, span_of(b, 1500 * 64)), 1500 * 64);
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 1500);
	segpeer_skip(&p);
	segpeer_wait(&p, RTT_MS);
	sack(base + 1, base + TINY(5), base + TINY(6));
	blocks[2] = base + TINY(5);
	blocks[3] = base + TINY(6);
	blocks[4] = base + TINY(700);
	blocks[5] = base + TINY(701);
	blocks[0] = base + TINY(1400);
	for (uint32_t i = 1; i <= 10; i++) { // what lies between them is lost
		blocks[1] = base + TINY(1400 + i);
		ack_blocks(base + 1, 0, 3, blocks);
	}
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RACK_LOSS), 1398);
	segpeer_skip(&p);
	segpeer_wait(&p, RTT_MS);
	// The repetition of 0 was lost too, those behind it arrive.
	for (uint32_t i = 2; i <= 20; i++) {
		ack_blocks(base + 1, 0, 2,
			   (uint32_t[]){base + TINY(1), base + TINY(MAX(i, 6)), base + TINY(1400),
					base + TINY(1410)});
	}
	// And so were those at the end, which had left before what arrived now.
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RACK_LOSS), 1398 + 1 + 90);
	// The oldest is what all others wait for there: it goes before those never sent again yet.
	cr_assert(segpeer_next(&p, &s));
	cr_assert_eq(s.seq, base + 1, "segment %u", (s.seq - base - 1) / 64);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	segpeer_fini(&p);
}

// --- the reordering window ---

// Two segments, the first one is lost: how long after the report of the second it is sent again.
// `at` is where they begin; both are acknowledged then.
static uint32_t
lose_one(uint32_t at, uint32_t rtt_ms)
{
	tcp_conn_write(p.user.c, span_of(b + at - 1, 2 * MSS));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_wait(&p, rtt_ms);
	sack(at, at + MSS, at + 2 * MSS);
	uint64_t from_us = p.now_us;

	segpeer_wait(&p, 150);
	data(at);
	uint32_t late_ms = (uint32_t)((s.at_us - from_us) / 1000);

	segpeer_skip(&p);
	ack(at + 2 * MSS);
	silence();
	return late_ms;
}

// A segment is sent and acknowledged, and the ACK says that something old arrived twice.
static uint32_t
duplicate(uint32_t at, uint32_t rtt_ms)
{
	uint32_t block[2] = {at - MSS, at};

	tcp_conn_write(p.user.c, span_of(b + at - 1, MSS));
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_wait(&p, rtt_ms);
	ack_blocks(at + MSS, 0, 1, block);
	silence();
	return at + MSS;
}

Test(plane_tcp_rack, dsack_widens_for_16_recoveries)
{
	uint32_t at = AT(1);

	start(false, 1);
	segpeer_wait(&p, RTT_MS);
	ack(at);
	at = duplicate(at, RTT_MS);
	for (uint32_t i = 0; i < 18; i++, at += 2 * MSS) {
		uint32_t late_ms = lose_one(at, RTT_MS), quarters = i < 16 ? 2 : 1;

		cr_assert(late_ms >= quarters * RTT_MS / 4 && late_ms <= quarters * RTT_MS / 4 + 2,
			  "recovery %u: %u ms", i, late_ms);
	}
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RECOVERY), 18);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, window_is_a_smoothed_round_trip_at_most)
{
	uint32_t at = AT(1);

	start(false, 1);
	segpeer_wait(&p, RTT_MS);
	ack(at);
	for (uint32_t i = 0; i < 10; i++)
		at = duplicate(at, RTT_MS);
	uint32_t late_ms = lose_one(at, RTT_MS); // not eleven quarters

	cr_assert(late_ms >= RTT_MS - 1 && late_ms <= RTT_MS + 2, "%u ms", late_ms);
	segpeer_fini(&p);
}

// So many seconds of single segments.
static uint32_t
some_time(uint32_t at, uint32_t seconds, uint32_t rtt_ms)
{
	for (uint64_t until_us = p.now_us + seconds * 1000000ull; p.now_us < until_us; at += MSS) {
		tcp_conn_write(p.user.c, span_of(b + at - 1, MSS));
		segpeer_work(&p);
		segpeer_skip(&p);
		segpeer_wait(&p, rtt_ms);
		ack(at + MSS);
		segpeer_wait(&p, 1000);
	}
	return at;
}

Test(plane_tcp_rack, least_round_trip_grows_old)
{
	uint32_t at = AT(1), late_ms;

	start(false, 1);
	segpeer_wait(&p, RTT_MS);
	ack(at);
	at = some_time(at, 40, 3 * RTT_MS); // the path is slower now, which may pass
	late_ms = lose_one(at, 3 * RTT_MS);
	cr_assert(late_ms <= RTT_MS / 4 + 2, "%u ms", late_ms);
	at = some_time(at + 2 * MSS, 25, 3 * RTT_MS); // it did not
	late_ms = lose_one(at, 3 * RTT_MS);
	cr_assert(late_ms >= 3 * RTT_MS / 4, "%u ms", late_ms);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 0);
	segpeer_fini(&p);
}

// An ACK that came too soon to be of the repetition, or echoes an older time, is of the original:
// what left between the two is not overdue (RFC 8985 6.2 step 2).
Test(plane_tcp_rack, ack_of_the_original_says_nothing_about_the_repetition)
{
	for (uint32_t ts = 0; ts < 2; ts++) {
		uint32_t mss = ts ? MSS - 12 : MSS, original;

		cr_assert_eq(start(ts, 30), 10);
		original = p.ts_seen;
		segpeer_wait(&p, RTT_MS);
		ack_blocks(1, original, 1, (uint32_t[]){1 + mss, 1 + 2 * mss});
		segpeer_wait(&p, RTT_MS / 4 + 2);
		cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 1);
		segpeer_wait(&p, ts ? RTT_MS + 10 : 5); // with timestamps time alone would not tell
		ack_blocks(1 + 2 * mss, original, 0, NULL);
		segpeer_wait(&p, 5);
		cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 1, "timestamps: %u", ts);
		segpeer_fini(&p);
		init();
	}
	segpeer_fini(&p);
}

Test(plane_tcp_rack, timeout_leaves_young_segments_alone)
{
	start(false, 3);
	segpeer_wait(&p, RTT_MS);
	ack(AT(1)); // the timeout is 240 ms, counted from the probe
	segpeer_wait(&p, 2 * RTT_MS + 5);
	data(AT(2));
	segpeer_wait(&p, 225);
	tcp_conn_write(p.user.c, span_of(b + 3 * MSS, MSS)); // a moment before it
	segpeer_work(&p);
	data(AT(3));
	segpeer_wait(&p, 15);
	data(AT(1));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RTO), 1);
	ack(AT(3)); // it was too early
	segpeer_wait(&p, 5);
	silence();
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RETRANSMIT), 2);
	segpeer_fini(&p);
}

Test(plane_tcp_rack, recovery_forgets_the_probe)
{
	start(false, 3);
	segpeer_wait(&p, 2 * RTT_MS + 5);
	data(AT(2));
	segpeer_wait(&p, RTT_MS);
	sack(1, AT(2), AT(3)); // it repairs nothing: the others are lost, and that is told by SACK
	segpeer_wait(&p, RTT_MS / 4 + 2);
	data(AT(0));
	segpeer_wait(&p, RTT_MS);
	tcp_conn_write(p.user.c, span_of(b + 3 * MSS, MSS));
	ack(AT(1));
	data(AT(1));
	segpeer_wait(&p, RTT_MS);
	ack(AT(3));
	data(AT(3));
	segpeer_wait(&p, RTT_MS);
	ack(AT(4));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_TLP_PROBE), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RECOVERY), 1);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_TLP_LOSS), 0);
	segpeer_fini(&p);
}
