// SPDX-License-Identifier: Apache-2.0
// tcp_out: segments that leave. Runs on the owning worker.
//
// tcp_out_work makes one pass over what a connection has to say: SYN, holes of a recovery, data,
// FIN, and a bare ACK when nothing else carried it. Bytes are copied from sndq into a fresh frame
// every time, so a frame that the NIC still holds is never rewritten. Nothing changes in the
// connection before seg_get has given a frame: without one no timer starts for what was never sent.
// Nagle's algorithm is off (SMTP is command and response); several writes of one loop leave as one
// segment because output comes last.
#include "dataplane/tcp_conn.h"

#include <string.h>

#define OPT_TS_WORD 0x0101080au

static uint32_t
out_options_syn(const struct tcp_conn *c, uint8_t *p)
{
	bool is_answer = c->state == TCPS_SYN_RCVD; // also when two SYNs have crossed
	uint32_t n = 4;

	p[0] = 2;
	p[1] = 4;
	store_be16(p + 2, c->adv_mss);
	if (!is_answer || (c->flags & TF_TS)) {
		store_be32(p + n, is_answer && !(c->flags & TF_SACK) ? OPT_TS_WORD : 0x0402080au);
		store_be32(p + n + 4, c->tcp->now_ms32 + c->ts_offset);
		store_be32(p + n + 8, c->ts_recent);
		n += 12;
	} else if (c->flags & TF_SACK) {
		store_be32(p + n, 0x01010402u);
		n += 4;
	}
	// A peer without window scaling in its SYN gets none (RFC 7323 2.2).
	if (!is_answer || (c->flags & TF_WSCALE)) {
		store_be32(p + n, 0x01030300u | c->rcv_wscale);
		n += 4;
	}
	return n;
}

// Options of all but SYNs, into p; at most `most` bytes. Full data segments have no room for SACK
// blocks: those leave on the bare ACK that every out-of-order segment causes.
static uint32_t
out_options(const struct tcp_conn *c, uint8_t flags, uint32_t most, uint8_t *p)
{
	uint32_t n = 0;

	if (c->flags & TF_TS) {
		store_be32(p, OPT_TS_WORD);
		store_be32(p + 4, c->tcp->now_ms32 + c->ts_offset);
		store_be32(p + 8, c->ts_recent);
		n = 12;
	}
	if (!tcp_has_sack(c) || (flags & TCP_RST) || most < n + 12)
		return n;
	struct tcp_range blocks[TCP_SACK_BLOCKS_MAX];
	uint32_t count = tcp_rcv_sack(c, blocks, MIN((most - n - 4) / 8, TCP_SACK_BLOCKS_MAX));

	if (count == 0)
		return n;
	store_be32(p + n, 0x01010500u | (2 + 8 * count));
	n += 4;
	for (uint32_t i = 0; i < count; i++, n += 8) {
		store_be32(p + n, blocks[i].start);
		store_be32(p + n + 4, blocks[i].end);
	}
	return n;
}

// Bytes [seq, seq + n) of the send queue. The cursor remembers where the last copy ended.
static void
out_copy(struct tcp_conn *c, uint32_t seq, uint8_t *to, uint32_t n)
{
	struct chunk *k = c->snd_chunk;
	uint32_t at = c->snd_chunk_seq;

	CHECK(seq_le(c->snd_una, seq));
	CHECK(seq - c->snd_una + (uint64_t)n <= c->sndq.bytes);
	if (k == NULL || seq_lt(seq, at)) {
		k = c->sndq.first;
		at = c->snd_una;
	}
	for (;;) { // each turn goes one chunk on
		OBJ_CHECK(k, CHUNK_MAGIC);
		if (seq - at < k->len) {
			uint32_t off = seq - at, part = MIN(n, k->len - off);

			memcpy(to, k->data + k->off + off, part);
			to += part;
			seq += part;
			n -= part;
			if (n == 0)
				break;
		}
		at += k->len;
		k = k->next;
	}
	c->snd_chunk = k;
	c->snd_chunk_seq = at;
}

static void
out_header(uint8_t *p, const struct tcp_path *path, uint32_t header, uint8_t flags)
{
	store_be16(p, path->lport);
	store_be16(p + 2, path->rport);
	p[12] = (uint8_t)(header / 4 << 4);
	p[13] = flags;
	store_be32(p + 16, 0); // checksum: seg_put; urgent pointer
}

static bool
out_segment(struct tcp_conn *c, uint32_t seq, uint32_t len, uint8_t flags)
{
	struct tcp *t = c->tcp;
	uint8_t opt[TCP_OPTIONS_MAX];
	uint32_t opt_len, most = TCP_OPTIONS_MAX;

	CHECK(len <= c->mss);
	if (len > 0)
		most = MIN(most, c->mss + (c->flags & TF_TS ? 12u : 0u) - len);
	if (flags & TCP_SYN)
		opt_len = out_options_syn(c, opt);
	else
		opt_len = out_options(c, flags, most, opt);
	CHECK(opt_len % 4 == 0 && opt_len <= TCP_OPTIONS_MAX);
	uint32_t size = TCP_HEADER_MIN + opt_len + len;
	uint8_t *p = t->net->seg_get(t->net_ctx, &c->path, size);

	if (p == NULL)
		return false;
	out_header(p, &c->path, TCP_HEADER_MIN + opt_len, flags);
	store_be32(p + 4, seq);
	store_be32(p + 8, flags & TCP_ACK ? c->rcv_nxt : 0);
	store_be16(p + 14, flags & TCP_RST ? 0 : tcp_rcv_window(c, flags & TCP_SYN));
	memcpy(p + TCP_HEADER_MIN, opt, opt_len);
	if (len > 0)
		out_copy(c, seq, p + TCP_HEADER_MIN + opt_len, len);
	tcp_trace_out(c, p, len);
	t->net->seg_put(t->net_ctx, &c->path, size);
	COUNT(t->counters, TCP_OUT);
	c->last_send_ms = t->now_ms32;
	if (flags & TCP_ACK) {
		c->last_ack_sent = c->rcv_nxt;
		c->ack_ms = 0;
		c->flags &= ~TF_ACK_NOW;
	}
	return true;
}

// The sequence number of segments without data: acceptable to the peer also after a timeout has
// taken snd_nxt back, and not beyond its window when that has shrunk.
static uint32_t
out_seq(const struct tcp_conn *c)
{
	return seq_le(c->snd_max, c->snd_edge) ? c->snd_max : seq_max(c->snd_edge, c->snd_una);
}

static bool
out_ack(struct tcp_conn *c)
{
	return out_segment(c, out_seq(c), 0, TCP_ACK);
}

void
tcp_out_ack_now(struct tcp_conn *c)
{
	if (out_ack(c))
		return;
	c->flags |= TF_ACK_NOW;
	tcp_ready(c);
}

void
tcp_out_stray_ack(struct tcp_conn *c, bool is_limited)
{
	uint8_t tick = (uint8_t)(c->tcp->now_ms32 >> 8);

	if (is_limited) { // two ends that find each other's bare ACKs odd must not play ping-pong
		if (c->stray_tick != tick) {
			c->stray_tick = tick;
			c->stray_count = 0;
		}
		if (c->stray_count >= TCP_STRAY_ACKS)
			return;
		c->stray_count++;
	}
	tcp_out_ack_now(c);
}

void
tcp_out_challenge(struct tcp_conn *c)
{
	if (!tcp_challenge_allowed(c->tcp))
		return;
	COUNT(c->tcp->counters, TCP_CHALLENGE_ACK);
	(void)out_ack(c);
}

bool
tcp_out_rst(struct tcp_conn *c)
{
	// Where the peer stands: beyond a window that it has closed it would not believe it.
	if (!out_segment(c, out_seq(c), 0, TCP_RST | TCP_ACK))
		return false;
	COUNT(c->tcp->counters, TCP_RST_OUT);
	c->flags &= ~TF_RST_DUE;
	return true;
}

void
tcp_out_rst_for(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s)
{
	if (s->flags & TCP_RST)
		return;
	uint8_t *p = t->net->seg_get(t->net_ctx, path, TCP_HEADER_MIN);

	if (p == NULL)
		return; // the peer asks again
	bool has_ack = s->flags & TCP_ACK;
	uint32_t len = s->data.n + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);

	out_header(p, path, TCP_HEADER_MIN, has_ack ? TCP_RST : TCP_RST | TCP_ACK);
	store_be32(p + 4, has_ack ? s->ack : 0);
	store_be32(p + 8, has_ack ? 0 : s->seq + len);
	store_be16(p + 14, 0);
	t->net->seg_put(t->net_ctx, path, TCP_HEADER_MIN);
	COUNT(t->counters, TCP_OUT);
	COUNT(t->counters, TCP_RST_OUT);
}

bool
tcp_out_keepalive(struct tcp_conn *c)
{
	return out_segment(c, c->snd_una - 1, 0, TCP_ACK);
}

// After a segment with bytes or FIN up to `end` has left.
static void
out_sent(struct tcp_conn *c, uint32_t seq, uint32_t end)
{
	bool is_new = seq_lt(c->snd_max, end);

	if (!is_new)
		COUNT(c->tcp->counters, TCP_RETRANSMIT);
	// One segment a round trip is timed; without timestamps never one that was sent twice
	// (Karn).
	if (!(c->flags & TF_RTT) && ((c->flags & TF_TS) || (is_new && seq_le(c->snd_max, seq)))) {
		c->flags |= TF_RTT;
		c->rtt_seq = end;
		c->rtt_start_ms = c->tcp->now_ms32;
	}
	if (is_new)
		c->snd_max = end;
}

bool
tcp_out_probe(struct tcp_conn *c)
{
	bool has_data = !chunkq_is_empty(&c->sndq);

	CHECK(has_data || (c->flags & TF_FIN_QUEUED));
	if (!out_segment(c, c->snd_una, has_data, TCP_ACK | (has_data ? 0 : TCP_FIN)))
		return false;
	// snd_nxt stays: the byte is outside the window. Should it be taken, snd_max admits the
	// ACK.
	c->snd_max = seq_max(c->snd_max, c->snd_una + 1);
	return true;
}

static bool
out_syn(struct tcp_conn *c, uint32_t *sent)
{
	if (!out_segment(c, c->snd_una, 0, c->state == TCPS_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK))
		return false;
	(*sent)++;
	c->flags &= ~TF_SYN_DUE;
	if (c->snd_max != c->snd_una) {
		COUNT(c->tcp->counters, TCP_RETRANSMIT);
		c->flags &= ~TF_RTT;
	} else {
		c->flags |= TF_RTT;
		c->rtt_start_ms = c->tcp->now_ms32;
	}
	c->snd_nxt = c->snd_una + 1;
	c->snd_max = c->snd_nxt;
	if (c->rtx_ms == 0)
		c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
	return true;
}

// The next hole of a recovery: its first byte at *seq, bytes to send; 0: none that is known to be
// lost.
static uint32_t
out_hole(const struct tcp_conn *c, uint32_t *seq)
{
	uint32_t at = seq_max(c->snd_una, c->high_rxt);
	uint32_t limit = seq_min(tcp_snd_end(c), c->snd_max);

	for (uint32_t i = 0; i < c->sacked_count; i++) {
		if (seq_lt(at, c->sacked[i].start)) {
			limit = seq_min(limit, c->sacked[i].start);
			*seq = at;
			return seq_lt(at, limit) ? MIN(c->mss, limit - at) : 0;
		}
		at = seq_max(at, c->sacked[i].end);
	}
	// Above all that the peer reported nothing counts as lost but the very first byte.
	if (at != c->snd_una || !seq_le(at, c->recover) || !seq_lt(at, limit))
		return 0;
	*seq = at;
	return MIN(c->mss, limit - at);
}

static bool
out_holes(struct tcp_conn *c, uint32_t *sent)
{
	while (c->rtx_credit > 0) { // at most 255
		uint32_t seq, len = out_hole(c, &seq);
		bool is_fin = false;

		if (len == 0) {
			// All bytes have arrived; what is missing at snd_una is our FIN.
			is_fin = (c->flags & TF_FIN_QUEUED) && c->sndq.bytes == 0 &&
				 seq_lt(c->snd_una, c->snd_max) && !seq_lt(c->snd_una, c->high_rxt);
			if (!is_fin) {
				c->rtx_credit = 0;
				break;
			}
			seq = c->snd_una;
		}
		if (!out_segment(c, seq, len, TCP_ACK | (is_fin ? TCP_FIN : 0)))
			return false;
		COUNT(c->tcp->counters, TCP_FAST_RETRANSMIT);
		if (!(c->flags & TF_TS))
			c->flags &= ~TF_RTT;
		out_sent(c, seq, seq + len + is_fin);
		c->high_rxt = seq + len + is_fin;
		c->rtx_credit--;
		(*sent)++;
		if (c->rtx_ms == 0)
			c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
	}
	return true;
}

// After a timeout: bytes that the peer reported are not sent again. Should it have dropped them
// (RFC 2018 allows that), the next timeout forgets the report.
static void
out_skip_sacked(struct tcp_conn *c)
{
	for (uint32_t i = 0; i < c->sacked_count; i++) {
		if (seq_le(c->sacked[i].start, c->snd_nxt) && seq_lt(c->snd_nxt, c->sacked[i].end))
			c->snd_nxt = c->sacked[i].end;
	}
}

static uint32_t
out_limit(const struct tcp_conn *c)
{
	uint32_t cwnd = c->cwnd;

	if (!(c->flags & TF_RECOVERY)) // limited transmit, RFC 3042
		cwnd += MIN(c->dupacks, 2u) * c->mss;
	return seq_min(c->snd_una + cwnd, c->snd_edge);
}

// New data, or after a timeout old data again, from snd_nxt on. `is_forced`: also a small part of
// the queue into a small window (RFC 9293 3.8.6.2.1, the override timer).
static enum tcp_out
out_data(struct tcp_conn *c, bool is_forced, uint32_t *sent)
{
	for (uint32_t n = 0; n < TCP_OUT_BURST; n++) {
		if (c->sacked_count > 0 && seq_lt(c->snd_nxt, c->snd_max))
			out_skip_sacked(c);
		uint32_t seq = c->snd_nxt, end = tcp_snd_end(c), limit = out_limit(c);

		if ((c->flags & TF_FIN_ACKED) || seq_lt(end, seq))
			return TCP_OUT_DONE; // the FIN is out too
		uint32_t left = end - seq, room = seq_lt(seq, limit) ? limit - seq : 0;
		uint32_t len = MIN(MIN(left, room), c->mss);
		bool is_fin = (c->flags & TF_FIN_QUEUED) && len == left && room > len;

		if (len == 0 && !is_fin)
			return TCP_OUT_DONE;
		bool is_crumb = len < left && len < c->mss && len < c->snd_wnd_max / 2;

		if (is_crumb && !is_forced && !seq_lt(seq, c->snd_max))
			return TCP_OUT_DONE; // what was sent before must not wait for a wider
					     // window
		uint8_t flags =
			TCP_ACK | (len == left && len > 0 ? TCP_PSH : 0) | (is_fin ? TCP_FIN : 0);

		if (!out_segment(c, seq, len, flags))
			return TCP_OUT_BLOCKED;
		(*sent)++;
		out_sent(c, seq, seq + len + is_fin);
		c->snd_nxt = seq + len + is_fin;
		if (c->flags & TF_PERSIST) {
			c->flags &= ~TF_PERSIST;
			c->rtx_ms = 0;
			c->backoff = 0;
			c->retries = 0;
		}
		if (c->rtx_ms == 0)
			c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
	}
	return TCP_OUT_MORE;
}

bool
tcp_out_force(struct tcp_conn *c)
{
	uint32_t sent = 0, backoff = c->backoff, retries = c->retries;

	(void)out_data(c, true, &sent);
	if (sent > 0) { // still one series of probes
		c->backoff = (uint8_t)backoff;
		c->retries = (uint8_t)retries;
	}
	return sent > 0;
}

static bool
out_can_send(const struct tcp_conn *c)
{
	switch (c->state) {
	case TCPS_ESTABLISHED:
	case TCPS_CLOSE_WAIT:
	case TCPS_FIN_WAIT1:
	case TCPS_CLOSING:
	case TCPS_LAST_ACK:
		return true;
	default:
		return false;
	}
}

// Bytes wait, nothing is in flight and the window does not let them out: only a probe will find out
// when it opens, should the update be lost.
static void
out_persist(struct tcp_conn *c)
{
	bool has_more =
		!(c->flags & TF_FIN_ACKED) && (c->sndq.bytes > 0 || (c->flags & TF_FIN_QUEUED));

	if (c->rtx_ms != 0 || !has_more || c->snd_nxt != c->snd_una)
		return;
	c->flags |= TF_PERSIST; // back-off and retries go on: they are 0 unless a timeout led here
	c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
}

enum tcp_out
tcp_out_work(struct tcp_conn *c, uint32_t *sent)
{
	enum tcp_out r = TCP_OUT_DONE;

	CHECK(!tcp_is_dead(c));
	if (c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD) {
		if ((c->flags & TF_SYN_DUE) && !out_syn(c, sent))
			return TCP_OUT_BLOCKED;
		return TCP_OUT_DONE;
	}
	if (out_can_send(c)) {
		// RFC 5681 4.1: after silence longer than a timeout the old window means nothing.
		if (c->snd_una == c->snd_max && c->sndq.bytes > 0 &&
		    c->tcp->now_ms32 - c->last_send_ms > c->rto_ms)
			c->cwnd = MIN(c->cwnd, tcp_cwnd_initial(c));
		if (c->rtx_credit > 0 && !out_holes(c, sent))
			return TCP_OUT_BLOCKED;
		r = out_data(c, false, sent);
		if (r == TCP_OUT_BLOCKED)
			return r;
		if (r == TCP_OUT_DONE)
			out_persist(c);
	}
	if (c->flags & TF_ACK_NOW) {
		if (!out_ack(c))
			return TCP_OUT_BLOCKED;
		(*sent)++;
	}
	return r;
}
