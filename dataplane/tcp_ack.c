// SPDX-License-Identifier: Apache-2.0
// tcp_ack: what acknowledgements mean: RTT (RFC 6298), the peer's window, the progress of our FIN;
// what they tell of single segments is tcp_sent.h's. Runs on the owning worker.
//
// Departures: the timeout is at least TCP_RTO_MIN_MS above the smoothed round trip (RFC 6298 has a
// second in all): the peer's delayed ACKs fit in, and the probe (RFC 8985) is there before it.
#include "dataplane/tcp_sent.h"

uint32_t
tcp_cwnd_initial(const struct tcp_conn *c)
{
	uint32_t mss = c->mss;

	return MIN(10 * mss, MAX(2 * mss, 14600u)); // RFC 6928
}

static void
ack_sample(struct tcp_conn *c, uint32_t us)
{
	uint32_t m = MAX(us, 1u);

	if (c->srtt8 == 0) {
		c->srtt8 = m * 8;
		c->rttvar4 = m * 2;
	} else {
		int32_t err = (int32_t)m - (int32_t)(c->srtt8 >> 3);
		uint32_t dev = (uint32_t)(err < 0 ? -err : err);

		c->srtt8 = (uint32_t)((int32_t)c->srtt8 + err);
		c->rttvar4 = c->rttvar4 - (c->rttvar4 >> 2) + dev;
		c->srtt8 = MAX(c->srtt8, 8u);
	}
	uint32_t rto = (c->srtt8 >> 3) / 1000 + MAX(c->rttvar4 / 1000, TCP_RTO_MIN_MS);

	c->rto_ms = MIN(rto, TCP_RTO_MAX_MS);
}

static void
ack_rtt(struct tcp_conn *c, const struct tcp_acked *a)
{
	const struct tcp_seg *s = a->seg;

	if (a->rtt_us != UINT32_MAX) {
		ack_sample(c, a->rtt_us);
	} else if (c->snd_una != a->una && (c->flags & TF_TS) && (s->opts & TCP_OPT_TS)) {
		// Sent more than once: the echo tells which transmission it was.
		uint32_t ms = c->tcp->now_ms32 + c->ts_offset - s->tsecr;

		if (ms <= 2 * TCP_RTO_MAX_MS) // else it makes no sense
			ack_sample(c, MAX(ms, 1u) * 1000);
	}
}

// The round trip of the handshake. When the SYN was sent more than once the echo tells which; but
// one of an earlier SYN tells nothing: Linux, whose answer was lost, repeats it with the first
// echo.
static void
ack_syn(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t us = (uint32_t)c->tcp->now_us - c->syn_us;

	if (!(c->flags & TF_RTT)) {
		uint32_t ms = c->tcp->now_ms32 + c->ts_offset - s->tsecr;

		if (!(c->flags & TF_TS) || !(s->opts & TCP_OPT_TS) || ms > us / 1000 + 1)
			return;
		us = ms * 1000;
	}
	ack_sample(c, us);
	tcp_rack_min_rtt(c, us);
	c->flags &= ~TF_RTT;
}

void
tcp_ack_window(struct tcp_conn *c, const struct tcp_seg *s, uint32_t wnd)
{
	// Only news may change the window (RFC 9293 3.10.7.4): an old ACK must not close it again.
	if (seq_lt(s->seq, c->snd_wl1) || (s->seq == c->snd_wl1 && seq_lt(s->ack, c->snd_wl2)))
		return;
	uint32_t edge = s->ack + wnd;

	if (wnd == 0 && seq_lt(c->snd_una, c->snd_edge))
		COUNT(c->tcp->counters, TCP_ZERO_WINDOW);
	if (seq_lt(c->snd_edge, edge) && tcp_has_unsent(c))
		tcp_ready(c);
	c->snd_edge = edge;
	c->snd_wl1 = s->seq;
	c->snd_wl2 = s->ack;
	c->snd_wnd_max = MAX(c->snd_wnd_max, wnd);
}

void
tcp_ack_open(struct tcp_conn *c, const struct tcp_seg *s)
{
	CHECK(s->ack == c->snd_una + 1);
	CHECK(chunkq_is_empty(&c->sndq) || (c->flags & TF_ACTIVE));
	ack_syn(c, s);
	if ((c->flags & TF_SYN_LOST) && c->srtt8 == 0)
		c->rto_ms = TCP_RTO_SYN_LOST_MS;
	c->snd_una = s->ack;
	c->snd_nxt = s->ack;
	CHECK(c->snd_max == s->ack);
	// One lost SYN is no sign of congestion yet (RFC 6928 2).
	c->cwnd = c->retries > 1 ? c->mss : tcp_cwnd_initial(c);
	c->rtx_ms = 0;
	c->retries = 0;
	c->backoff = 0;
}

// Our FIN is acknowledged.
static void
ack_fin(struct tcp_conn *c)
{
	c->flags |= TF_FIN_ACKED;
	switch (c->state) {
	case TCPS_FIN_WAIT1:
		c->state = TCPS_FIN_WAIT2;
		c->idle_ms = tcp_after(c, TCP_FIN_WAIT2_MS);
		break;
	case TCPS_CLOSING:
		tcp_enter_time_wait(c);
		break;
	case TCPS_LAST_ACK:
		tcp_finish(c);
		break;
	default:
		CHECK(!"a FIN was sent in one of three states");
	}
}

// What the segment tells of single segments of ours.
static void
ack_scoreboard(struct tcp_conn *c, struct tcp_acked *a)
{
	const struct tcp_seg *s = a->seg;

	if (c->snd_una != a->una)
		tcp_sent_acked(c, c->snd_una, a);
	if (s->sack_count > 0 && (c->flags & TF_SACK))
		tcp_sent_sacked(c, a);
	ack_rtt(c, a);
	tcp_recover_input(c, a);
}

static void
ack_timers(struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;

	if (f == NULL || f->count == 0) {
		c->fast_ms = 0;
		c->rtx_ms = 0;
		return;
	}
	c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
	if (f->first->flags & TSF_SACKED) // it has thrown away what it reported: no reason to wait
		c->rtx_ms = tcp_after(c, MAX((c->srtt8 >> 4) / 1000, TCP_RENEGE_MS));
	tcp_rack_arm_probe(c);
}

static void
ack_new(struct tcp_conn *c, struct tcp_acked *a)
{
	uint32_t acked = a->seg->ack - c->snd_una;
	uint32_t bytes = (uint32_t)MIN(acked, c->sndq.bytes);
	bool is_fin = acked > bytes;

	CHECK(!is_fin || (acked == bytes + 1 && (c->flags & TF_FIN_QUEUED)));
	CHECK(!is_fin || !(c->flags & TF_FIN_ACKED));
	c->snd_una = a->seg->ack;
	if (c->snd_chunk != NULL) { // the cursor must not point into what is dropped now
		uint32_t end = c->snd_chunk_seq + c->snd_chunk->len;

		if (seq_le(end, c->snd_una))
			c->snd_chunk = NULL;
		else if (seq_lt(c->snd_chunk_seq, c->snd_una))
			c->snd_chunk_seq = c->snd_una;
	}
	chunkq_drop(&c->sndq, c->tcp->chunks, bytes);
	c->snd_nxt = seq_max(c->snd_nxt, c->snd_una);
	c->retries = 0;
	c->backoff = 0;
	c->flags &= ~TF_PERSIST;
	if (c->flight != NULL && tcp_sent_plain(c, a))
		ack_rtt(c, a);
	else if (c->flight != NULL)
		ack_scoreboard(c, a);
	ack_timers(c);
	// Forgotten, but it gets on: by full segments, or a byte a minute would keep it for ever.
	if (c->ops == NULL && (c->flags & TF_USED) && acked >= c->mss)
		c->idle_ms = tcp_after(c, TCP_FIN_WAIT2_MS);
	if (is_fin)
		ack_fin(c);
	else if (tcp_has_unsent(c))
		tcp_ready(c);
	if (bytes > 0 && c->ops != NULL && !tcp_is_dead(c))
		c->ops->sent(c->user, c);
	// More to send will need what the flight knows: tcp_out_work sees to that.
	if (c->flight != NULL && (is_fin || !tcp_has_unsent(c)))
		tcp_sent_settle(c);
}

void
tcp_ack_input(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t wnd = s->wnd << c->snd_wscale;
	struct tcp_acked a = {
		.seg = s,
		.una = c->snd_una,
		.rtt_us = UINT32_MAX,
		.last_rtt_us = UINT32_MAX,
	};

	CHECK(seq_le(s->ack, c->snd_max));
	if (seq_lt(c->snd_una, s->ack)) {
		tcp_ack_window(c, s, wnd);
		ack_new(c, &a);
		return;
	}
	if (s->ack == c->snd_una) { // else it is old, and its window too
		a.is_duplicate = s->data.n == 0 && !(s->flags & TCP_FIN) && c->flight != NULL &&
				 !(c->flags & (TF_PERSIST | TF_SACK)) &&
				 c->snd_edge == s->ack + wnd;
		tcp_ack_window(c, s, wnd);
		if (c->snd_edge == c->snd_una)
			c->retries = 0; // a peer that answers lives, however long it keeps its
					// window shut
	}
	if (c->flight == NULL || (s->sack_count == 0 && !a.is_duplicate && !c->flight->has_tlp))
		return;
	ack_scoreboard(c, &a);
	tcp_rack_arm_probe(c);
}
