// SPDX-License-Identifier: Apache-2.0
// tcp_ack: what acknowledgements mean: RTT (RFC 6298), congestion window and recovery (RFC 5681,
// 6582, with the peer's SACK blocks), the peer's window, the progress of our FIN. Runs on the
// owning worker.
//
// Recovery: three duplicate ACKs begin it; `recover` is the last byte sent then. Until that is
// covered every partial ACK releases one hole (rtx_credit), and so does every duplicate ACK while
// the peer's SACK blocks show a hole that was not sent again (high_rxt); other duplicate ACKs
// inflate cwnd by a segment.
#include "dataplane/tcp_conn.h"

uint32_t
tcp_cwnd_initial(const struct tcp_conn *c)
{
	uint32_t mss = c->mss;

	if (c->flags & TF_SYN_LOST) // RFC 5681 3.1
		return mss;
	return MIN(10 * mss, MAX(2 * mss, 14600u)); // RFC 6928
}

static void
ack_rtt_sample(struct tcp_conn *c, uint32_t ms)
{
	uint32_t m = MAX(ms, 1u); // the clock's grain

	if (c->srtt8 == 0) {
		c->srtt8 = m * 8;
		c->rttvar4 = m * 2;
	} else {
		int32_t err = (int32_t)m - (int32_t)(c->srtt8 >> 3);
		uint32_t dev = (uint32_t)(err < 0 ? -err : err);

		c->srtt8 = (uint32_t)((int32_t)c->srtt8 + err);
		c->rttvar4 = c->rttvar4 - (c->rttvar4 >> 2) + dev;
		c->srtt8 = MAX(c->srtt8, 1u);
	}
	uint32_t rto = (c->srtt8 >> 3) + MAX(c->rttvar4, 1u);

	c->rto_ms = MIN(MAX(rto, TCP_RTO_MIN_MS), TCP_RTO_MAX_MS);
}

static void
ack_rtt(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t now = c->tcp->now_ms32, ms = now - c->rtt_start_ms;

	if (!(c->flags & TF_RTT) || seq_lt(s->ack, c->rtt_seq))
		return;
	c->flags &= ~TF_RTT;
	if (c->flags & TF_TS)
		ms = now + c->ts_offset - s->tsecr; // the echo tells which transmission it was
	if (ms <= 2 * TCP_RTO_MAX_MS)               // else the echo makes no sense
		ack_rtt_sample(c, ms);
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
	c->rtt_seq = s->ack;
	ack_rtt(c, s);
	if ((c->flags & TF_SYN_LOST) && c->srtt8 == 0)
		c->rto_ms = TCP_RTO_SYN_LOST_MS;
	c->snd_una = s->ack;
	c->snd_nxt = s->ack;
	CHECK(c->snd_max == s->ack);
	c->rtx_ms = 0;
	c->retries = 0;
	c->backoff = 0;
	c->cwnd = tcp_cwnd_initial(c);
}

// Notes the blocks of a segment; true: something new.
static bool
ack_sack(struct tcp_conn *c, const struct tcp_seg *s)
{
	bool is_news = false;

	for (uint32_t b = 0; b < s->sack_count; b++) {
		uint32_t start = s->sack[b].start, end = s->sack[b].end;

		if (!seq_lt(start, end) || seq_le(start, c->snd_una) || seq_lt(c->snd_max, end))
			continue; // nonsense, or about bytes that are acknowledged (D-SACK)
		uint32_t i = 0, j;

		while (i < c->sacked_count && seq_lt(c->sacked[i].end, start))
			i++;
		for (j = i; j < c->sacked_count && seq_le(c->sacked[j].start, end); j++) {
			if (seq_le(c->sacked[j].start, start) && seq_le(end, c->sacked[j].end))
				break;
			start = seq_min(start, c->sacked[j].start);
			end = seq_max(end, c->sacked[j].end);
		}
		if (j < c->sacked_count && seq_le(c->sacked[j].start, start) &&
		    seq_le(end, c->sacked[j].end))
			continue; // known
		if (i == j && c->sacked_count == TCP_SACKED_MAX) {
			if (i == TCP_SACKED_MAX)
				continue;  // the lowest ones matter most
			c->sacked_count--; // the highest one is forgotten
			j = i;
		}
		uint32_t tail = c->sacked_count - j;

		memmove(&c->sacked[i + 1], &c->sacked[j], tail * sizeof(c->sacked[0]));
		c->sacked[i].start = start;
		c->sacked[i].end = end;
		c->sacked_count = (uint8_t)(i + 1 + tail);
		CHECK(c->sacked_count <= TCP_SACKED_MAX);
		is_news = true;
	}
	return is_news;
}

static void
ack_sack_trim(struct tcp_conn *c)
{
	uint32_t n = 0;

	// A block that snd_una has run into goes too: a peer that holds those bytes acknowledges
	// them.
	while (n < c->sacked_count && seq_le(c->sacked[n].start, c->snd_una))
		n++;
	if (n > 0) {
		c->sacked_count = (uint8_t)(c->sacked_count - n);
		memmove(&c->sacked[0], &c->sacked[n], c->sacked_count * sizeof(c->sacked[0]));
	}
}

static void
ack_grow(struct tcp_conn *c, uint32_t acked, uint32_t flight)
{
	if (flight * 2 < c->cwnd)
		return; // the window was not what held us back
	if (c->cwnd < c->ssthresh) {
		c->cwnd += MIN(acked,
			       2u * c->mss); // RFC 3465, L = 2: our peers' ACKs may be stretched
	} else {
		c->cc_acked += acked;
		if (c->cc_acked >= c->cwnd) {
			c->cc_acked -= c->cwnd;
			c->cwnd += c->mss;
		}
	}
	c->cwnd = MIN(c->cwnd, TCP_CWND_MAX);
}

static void
ack_recovery(struct tcp_conn *c, uint32_t acked)
{
	uint32_t mss = c->mss;

	if (seq_lt(c->recover,
		   c->snd_una)) { // all of it is there (RFC 6582 3.2, full acknowledgement)
		uint32_t flight = c->snd_max - c->snd_una;

		c->flags &= ~TF_RECOVERY;
		c->cwnd = MIN(c->ssthresh, MAX(flight, mss) + mss);
		c->dupacks = 0;
		c->rtx_credit = 0;
		c->cc_acked = 0;
		return;
	}
	c->cwnd = c->cwnd > acked + mss ? c->cwnd - acked : mss;
	if (acked >= mss)
		c->cwnd += mss;
	if (!seq_lt(c->snd_una, c->high_rxt) || c->sacked_count > 0)
		c->rtx_credit = (uint8_t)MAX(c->rtx_credit, 1u);
	tcp_ready(c);
}

static void
ack_duplicate(struct tcp_conn *c)
{
	uint32_t mss = c->mss;

	if (c->flags & TF_RECOVERY) {
		bool has_hole = c->sacked_count > 0 && seq_lt(seq_max(c->high_rxt, c->snd_una),
							      c->sacked[c->sacked_count - 1].start);

		if (has_hole && c->rtx_credit < UINT8_MAX)
			c->rtx_credit++;
		else
			c->cwnd = MIN(c->cwnd + mss, TCP_CWND_MAX);
		tcp_ready(c);
		return;
	}
	if (c->dupacks < UINT8_MAX)
		c->dupacks++;
	if (c->dupacks < TCP_DUPACKS) {
		tcp_ready(c); // limited transmit
		return;
	}
	// After a timeout the peer answers our repetitions with duplicates: those mean nothing.
	if (c->dupacks > TCP_DUPACKS || !seq_lt(c->recover, c->snd_una))
		return;
	c->ssthresh = MAX((c->snd_max - c->snd_una) / 2, 2 * mss);
	c->recover = c->snd_max - 1;
	c->flags |= TF_RECOVERY;
	c->high_rxt = c->snd_una;
	c->rtx_credit = 1;
	c->cwnd = c->ssthresh + TCP_DUPACKS * mss;
	c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
	tcp_ready(c);
}

void
tcp_ack_timeout(struct tcp_conn *c)
{
	if (c->retries == 0)
		c->ssthresh = MAX((c->snd_max - c->snd_una) / 2, 2u * c->mss);
	c->retries++;
	c->backoff = (uint8_t)MIN(c->backoff + 1u, TCP_BACKOFF_MAX);
	c->cwnd = c->mss;
	c->cc_acked = 0;
	c->snd_nxt = c->snd_una;
	c->recover = c->snd_max - 1;
	c->dupacks = 0;
	c->rtx_credit = 0;
	c->sacked_count = 0; // the peer may have dropped what it reported (RFC 2018 8)
	c->flags &= ~(TF_RECOVERY | TF_RTT);
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

static void
ack_new(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t acked = s->ack - c->snd_una, flight = c->snd_nxt - c->snd_una;
	uint32_t bytes = (uint32_t)MIN(acked, c->sndq.bytes);
	bool is_fin = acked > bytes;

	CHECK(!is_fin || (acked == bytes + 1 && (c->flags & TF_FIN_QUEUED)));
	CHECK(!is_fin || !(c->flags & TF_FIN_ACKED));
	ack_rtt(c, s);
	c->snd_una = s->ack;
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
	ack_sack_trim(c);
	if (c->flags & TF_RECOVERY) {
		ack_recovery(c, acked);
	} else {
		c->dupacks = 0;
		ack_grow(c, acked, flight);
	}
	c->rtx_ms = c->snd_nxt == c->snd_una ? 0 : tcp_after(c, tcp_timer_rto(c));
	if (c->ops == NULL && (c->flags & TF_USED))
		c->idle_ms = tcp_after(c, TCP_FIN_WAIT2_MS); // forgotten, but it gets on
	if (is_fin)
		ack_fin(c);
	else if (tcp_has_unsent(c))
		tcp_ready(c);
	if (bytes > 0 && c->ops != NULL && !tcp_is_dead(c))
		c->ops->sent(c->user, c);
}

void
tcp_ack_input(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t wnd = s->wnd << c->snd_wscale;
	bool is_news = s->sack_count > 0 && (c->flags & TF_SACK) && ack_sack(c, s);

	CHECK(seq_le(s->ack, c->snd_max));
	if (seq_lt(c->snd_una, s->ack)) {
		tcp_ack_window(c, s, wnd);
		ack_new(c, s);
		return;
	}
	if (s->ack != c->snd_una)
		return; // old; its window is old too
	bool is_duplicate = s->data.n == 0 && !(s->flags & TCP_FIN) && c->snd_nxt != c->snd_una &&
			    !(c->flags & TF_PERSIST) && (is_news || c->snd_edge == s->ack + wnd);

	tcp_ack_window(c, s, wnd);
	if (c->snd_edge == c->snd_una)
		c->retries = 0; // a peer that answers lives, however long it keeps its window shut
	if (is_duplicate)
		ack_duplicate(c);
}
