// SPDX-License-Identifier: Apache-2.0
// tcp_out: segments that leave. Runs on the owning worker.
//
// tcp_out_work makes one pass over what a connection has to say: SYN, what is lost, data, FIN, and
// a bare ACK when nothing else carried it. Bytes are copied from sndq into a fresh frame every
// time, so a frame that the NIC still holds is never rewritten. Nothing changes in the connection
// before seg_get has given a frame: without one no timer starts for what was never sent. Nagle's
// algorithm is off (SMTP is command and response); several writes of one loop leave as one segment
// because output comes last.
#include "dataplane/tcp_sent.h"

#include <string.h>

#define OPT_TS_WORD 0x0101080au

// Of our own opens: all that we know; when two SYNs have crossed, what the peer's had (answers to
// clients leave in tcp_embryo.c).
static uint32_t
out_options_syn(const struct tcp_conn *c, uint8_t *p)
{
	bool is_answer = c->state == TCPS_SYN_RCVD;
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

// The sequence number of segments without data: not beyond its window when that has shrunk.
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
	if ((s->flags & TCP_RST) || !tcp_reset_allowed(t))
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

static void
out_arm(struct tcp_conn *c)
{
	if (c->rtx_ms == 0)
		c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
}

bool
tcp_out_probe(struct tcp_conn *c)
{
	bool has_data = !chunkq_is_empty(&c->sndq);

	CHECK(has_data || (c->flags & TF_FIN_QUEUED));
	if (!out_segment(c, c->snd_una, has_data, TCP_ACK | (has_data ? 0 : TCP_FIN)))
		return false;
	// snd_nxt stays, and no record: the byte is outside the window. Should it be taken, snd_max
	// admits the ACK.
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
	}
	c->syn_us = (uint32_t)c->tcp->now_us;
	c->snd_nxt = c->snd_una + 1;
	c->snd_max = c->snd_nxt;
	out_arm(c);
	return true;
}

// Sends a record's bytes once more. False: no frame.
static bool
out_again(struct tcp_conn *c, struct tcp_sent *r)
{
	uint32_t end = tcp_snd_end(c);
	bool is_fin = seq_lt(end, r->end);
	uint32_t len = tcp_sent_len(r) - is_fin;
	uint8_t flags =
		TCP_ACK | (len > 0 && r->seq + len == end ? TCP_PSH : 0) | (is_fin ? TCP_FIN : 0);

	if (!out_segment(c, r->seq, len, flags))
		return false;
	COUNT(c->tcp->counters, TCP_RETRANSMIT);
	if (c->flight->recovery == TCPR_FAST)
		COUNT(c->tcp->counters, TCP_FAST_RETRANSMIT);
	tcp_sent_again(c, r);
	if (r != c->flight->first) {
		out_arm(c);
		return true;
	}
	uint32_t ms = tcp_timer_rto(c);

	// Who lost in the same moment must not try again in the same moment, time after time.
	if (c->backoff > 0)
		ms += rng_below(&c->tcp->rng, ms / 32 + 1);
	c->rtx_ms = tcp_after(c, ms);
	return true;
}

// A lost record becomes what fits into a segment now: its MSS may have changed, and small ones take
// from the lost ones that follow. False: no record for the rest.
static bool
out_shape(struct tcp_conn *c, struct tcp_sent *r)
{
	uint32_t end = tcp_snd_end(c);

	while (r->next != NULL && (r->next->flags & TSF_LOST) && // each turn takes a record away
	       tcp_sent_len(r) < c->mss)
		tcp_sent_join(c, r);
	if (seq_min(r->end, end) - r->seq > c->mss)
		return tcp_sent_split(c, r, c->mss);
	return true;
}

static enum tcp_out
out_lost(struct tcp_conn *c, uint32_t *sent)
{
	struct tcp_flight *f = c->flight;

	for (uint32_t n = 0; n < TCP_OUT_BURST; n++) {
		struct list_node *node = list_first(&f->lost);

		if (node == NULL)
			return TCP_OUT_DONE;
		struct tcp_sent *r = CONTAINER_OF(node, struct tcp_sent, order);

		if (!out_shape(c, r))
			return TCP_OUT_BLOCKED;
		uint32_t pipe = tcp_pipe(c);

		if (pipe > 0 && pipe + tcp_sent_len(r) > c->cwnd)
			return TCP_OUT_DONE;
		if (!out_again(c, r))
			return TCP_OUT_BLOCKED;
		(*sent)++;
	}
	return TCP_OUT_MORE;
}

// One new segment, as far as the peer's window and `most` bytes allow. `is_forced`: also a small
// part of the queue into a small window (RFC 9293 3.8.6.2.1, the override timer). MORE: it has
// left.
static enum tcp_out
out_new(struct tcp_conn *c, uint32_t most, bool is_forced)
{
	uint32_t seq = c->snd_nxt, end = tcp_snd_end(c);

	if ((c->flags & TF_FIN_ACKED) || seq_lt(end, seq))
		return TCP_OUT_DONE; // the FIN is out too
	uint32_t left = end - seq, room = seq_lt(seq, c->snd_edge) ? c->snd_edge - seq : 0;

	room = MIN(room, most);
	uint32_t len = MIN(MIN(left, room), c->mss);
	bool is_fin = (c->flags & TF_FIN_QUEUED) && len == left && room > len;

	if (len == 0 && !is_fin)
		return TCP_OUT_DONE;
	bool is_crumb = len < left && len < c->mss && len < c->snd_wnd_max / 2;

	if (is_crumb && !is_forced && !seq_lt(seq, c->snd_max))
		return TCP_OUT_DONE; // what was sent before must not wait for a wider window
	uint8_t flags = TCP_ACK | (len == left && len > 0 ? TCP_PSH : 0) | (is_fin ? TCP_FIN : 0);

	if (!tcp_sent_can_add(c) || !out_segment(c, seq, len, flags))
		return TCP_OUT_BLOCKED;
	end = seq + len + is_fin;
	tcp_sent_add(c, seq, end);
	c->snd_nxt = end;
	c->snd_max = seq_max(c->snd_max, end);
	if (c->flags & TF_PERSIST) {
		c->flags &= ~TF_PERSIST;
		c->rtx_ms = 0;
		c->backoff = 0;
		c->retries = 0;
	}
	out_arm(c);
	return TCP_OUT_MORE;
}

// Was it the congestion window that held us back in this round (RFC 7661)?
static void
out_note_use(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	uint32_t flight = c->snd_nxt - c->snd_una, left = tcp_snd_end(c) - c->snd_nxt;
	uint32_t pipe = tcp_pipe(c);
	bool is_limited = (int32_t)left > 0 && pipe + MIN(left, (uint32_t)c->mss) > c->cwnd;

	if (is_limited || seq_le(f->used_end, c->snd_una) ||
	    (!f->is_cwnd_limited && flight > f->used_max)) {
		f->is_cwnd_limited = is_limited;
		f->used_max = flight;
		f->used_end = c->snd_nxt;
	}
}

static enum tcp_out
out_data(struct tcp_conn *c, bool is_forced, uint32_t *sent)
{
	enum tcp_out r = TCP_OUT_MORE;
	uint32_t n;

	for (n = 0; n < TCP_OUT_BURST && r == TCP_OUT_MORE; n++) {
		if (!tcp_has_unsent(c)) {
			r = TCP_OUT_DONE;
			break;
		}
		uint32_t pipe = tcp_pipe(c);

		r = out_new(c, c->cwnd > pipe ? c->cwnd - pipe : 0, is_forced);
		*sent += r == TCP_OUT_MORE;
	}
	if (c->flight != NULL && n > 0) {
		tcp_rack_arm_probe(c);
		out_note_use(c);
	}
	return r;
}

bool
tcp_out_tail(struct tcp_conn *c, bool *is_again)
{
	struct tcp_sent *r = c->flight->last;

	*is_again = false;
	enum tcp_out new = out_new(c, c->mss + 1u, false);

	if (new != TCP_OUT_DONE)
		return new == TCP_OUT_MORE;
	if ((r->flags & (TSF_SACKED | TSF_LOST)) || tcp_sent_len(r) > c->mss)
		return false;
	*is_again = true;
	return out_again(c, r);
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

// RFC 5681 4.1: after silence the old window means ever less: half of it for each timeout.
static void
out_restart(struct tcp_conn *c)
{
	uint32_t idle = c->tcp->now_ms32 - c->last_send_ms, first = tcp_cwnd_initial(c);

	if (idle <= c->rto_ms || c->cwnd <= first)
		return;
	COUNT(c->tcp->counters, TCP_CWND_RESTART);
	if (c->ssthresh != TCP_CWND_MAX)
		c->ssthresh = MAX(c->ssthresh, c->cwnd - c->cwnd / 4);
	for (; idle > c->rto_ms && c->cwnd > first; idle -= c->rto_ms)
		c->cwnd /= 2;
	c->cwnd = MAX(c->cwnd, first);
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
		if (c->flight == NULL && c->sndq.bytes > 0)
			out_restart(c);
		if (c->flight != NULL && c->flight->lost.count > 0)
			r = out_lost(c, sent);
		if (r == TCP_OUT_DONE && (c->flight == NULL || c->flight->lost.count == 0))
			r = out_data(c, false, sent);
		if (r == TCP_OUT_BLOCKED)
			return r;
		if (r == TCP_OUT_DONE) {
			out_persist(c);
			tcp_sent_settle(c);
		}
	}
	if (c->flags & TF_ACK_NOW) {
		if (!out_ack(c))
			return TCP_OUT_BLOCKED;
		(*sent)++;
	}
	return r;
}
