// SPDX-License-Identifier: Apache-2.0
// tcp_cubic: the congestion window: slow start with HyStart++ (RFC 9406), then CUBIC (RFC 9438).
// Runs on the owning worker.
//
// The window counts bytes; times are milliseconds of our clock, so the curve's cube is whole
// numbers: 0.4 * (s^3) segments are 4 * (ms^3) * mss / 10^10 bytes.
//
// Departures: slow start counts all bytes that an ACK acknowledges (RFC 5681 and 9406 limit them):
// receivers that merge segments acknowledge dozens at once, and an ACK cannot claim what was not
// sent. The reduction takes the window, not what was in flight: the window grows only while it is
// used (RFC 7661). The curve begins anew after time without enough to send (RFC 9438 5.8).
#include "dataplane/tcp_sent.h"

#define CUBIC_T_MAX_MS 50000 // keeps the cube within 64 bits up to jumbo frames
#define HYSTART_SAMPLES 8u
#define HYSTART_MIN_US 4000u
#define HYSTART_MAX_US 16000u
#define HYSTART_CSS_ROUNDS 5u
#define HYSTART_CSS_DIVISOR 4u

static uint32_t
cubic_root(uint64_t v)
{
	uint64_t x = 0;

	for (int bit = 20; bit >= 0; bit--) {
		uint64_t y = x | 1ull << bit;

		if (y * y * y <= v)
			x = y;
	}
	return (uint32_t)x;
}

static void
cubic_begin(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	f->cubic_ms = tcp_after(c, 0);
	f->cubic_est = c->cwnd;
	f->cubic_rem = 0;
	f->cubic_est_rem = 0;
	f->cubic_target_ms = 0;
	f->cubic_k_ms = 0;
	f->cubic_origin = c->cwnd;
	if (c->cwnd < c->w_max) {
		f->cubic_k_ms = cubic_root((c->w_max - c->cwnd) * 2500000000ull / c->mss);
		f->cubic_origin = c->w_max;
	}
}

// Where the curve is one round trip from now.
static uint32_t
cubic_target(const struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;
	int64_t t = (int64_t)(c->tcp->now_ms32 - f->cubic_ms) + (c->srtt8 >> 3) / 1000;

	t = MIN(MAX(t - f->cubic_k_ms, -CUBIC_T_MAX_MS), CUBIC_T_MAX_MS);
	int64_t w = f->cubic_origin + t * t * t * 4 / 10000 * c->mss / 1000000;

	return (uint32_t)MIN(MAX(w, (int64_t)c->cwnd), (int64_t)c->cwnd + c->cwnd / 2);
}

static void
cubic_avoid(struct tcp_conn *c, uint32_t acked)
{
	struct tcp_flight *f = c->flight;
	uint32_t now = tcp_after(c, 0);

	if (f->cubic_ms == 0)
		cubic_begin(c);
	if (f->cubic_target_ms != now) { // ACKs of a burst share it
		f->cubic_target_ms = now;
		f->cubic_target = cubic_target(c);
	}
	// What Reno with the same reduction would have (4.3): alpha is 9/17, 1 above the window
	// before the reduction, of which the threshold is seven tenths. w_max may be less (4.7).
	uint32_t up = c->w_max > 0 && f->cubic_est < c->ssthresh / 7 * 10 ? 9 : 17;
	uint64_t est = (uint64_t)acked * c->mss * up + f->cubic_est_rem, per = 17ull * c->cwnd;

	f->cubic_est += (uint32_t)(est / per);
	f->cubic_est_rem = (uint32_t)(est % per);
	if (f->cubic_target > c->cwnd) {
		uint64_t w = (uint64_t)acked * (f->cubic_target - c->cwnd) + f->cubic_rem;

		f->cubic_rem = (uint32_t)(w % c->cwnd);
		c->cwnd += (uint32_t)(w / c->cwnd);
	}
	c->cwnd = MAX(c->cwnd, MIN(f->cubic_est, TCP_CWND_MAX));
}

static void
hystart(struct tcp_conn *c, const struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;

	if (seq_le(f->round_end, c->snd_una)) {
		f->last_rtt_us = f->round_rtt_us;
		f->round_rtt_us = UINT32_MAX;
		f->round_samples = 0;
		f->round_end = c->snd_nxt;
		if (f->css_rounds > 0 && f->css_rounds++ == HYSTART_CSS_ROUNDS) {
			c->ssthresh = c->cwnd;
			return;
		}
	}
	if (a->last_rtt_us == UINT32_MAX)
		return;
	f->round_rtt_us = MIN(f->round_rtt_us, a->last_rtt_us);
	if (f->round_samples < HYSTART_SAMPLES)
		f->round_samples++;
	if (f->round_samples < HYSTART_SAMPLES || f->last_rtt_us == UINT32_MAX)
		return;
	uint32_t more = MIN(MAX(f->last_rtt_us / 8, HYSTART_MIN_US), HYSTART_MAX_US);

	if (f->css_rounds == 0 && f->round_rtt_us >= f->last_rtt_us + more) {
		COUNT(c->tcp->counters, TCP_HYSTART);
		f->css_rounds = 1;
		f->css_rtt_us = f->round_rtt_us;
	} else if (f->css_rounds > 0 && f->round_rtt_us < f->css_rtt_us) {
		f->css_rounds = 0; // it was no queue
	}
}

void
tcp_cubic_grow(struct tcp_conn *c, const struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;
	uint32_t acked = a->delivered;
	bool is_slow = c->cwnd < c->ssthresh;

	if (!f->is_cwnd_limited && !(is_slow && c->cwnd / 2 < f->used_max)) {
		tcp_cubic_reset(f); // the window was not what held us back
		return;
	}
	if (is_slow && c->ssthresh == TCP_CWND_MAX)
		hystart(c, a);
	if (is_slow) {
		uint32_t part = f->css_rounds > 0 ? HYSTART_CSS_DIVISOR : 1;
		uint32_t more = MIN(acked / part, c->ssthresh - MIN(c->ssthresh, c->cwnd));

		c->cwnd += more;
		acked -= more * part;
		if (c->cwnd < c->ssthresh)
			return;
	}
	cubic_avoid(c, acked);
	c->cwnd = MIN(c->cwnd, TCP_CWND_MAX);
}

uint32_t
tcp_cubic_reduced(struct tcp_conn *c)
{
	// Fast convergence (4.7): who has lost ground leaves room for others.
	c->w_max = c->cwnd < c->w_max ? c->cwnd / 20 * 17 : c->cwnd;
	tcp_cubic_reset(c->flight);
	c->flight->css_rounds = 0;
	return MAX(c->cwnd / 10 * 7, 2u * c->mss);
}

void
tcp_cubic_reset(struct tcp_flight *f)
{
	f->cubic_ms = 0;
}
