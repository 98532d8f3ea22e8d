// SPDX-License-Identifier: Apache-2.0
// tcp_rcv: what arrives: delivery, the receive queue, our window, when to acknowledge. Runs on the
// owning worker.
//
//   in order      > user's recv > what it does not take into rcvq
//   out of order  > tcp_ooo.c; SACK blocks come from there
//
// The window. A connection earns one (`window`): it begins with the setting's first step and grows
// to four times what its user took in a round trip (what a sender in slow start sends in the next
// two), and a bit. What it gets of that is rcv_allowed(), by how much stream memory is free (the
// marks are chunk.h's); less rcvq, that is what we promise. The edge never goes back: a promise
// that became too large is not renewed as it is used.
//
// A promise costs nothing while users take bytes at once. The danger is the pause: a thousand
// clients earn 4 MiB each, by dripping a megabyte within one round trip that they stretch
// themselves (it need not even be fast), and then their backend is slow and all of them pour. So
// what was promised is not what may be kept. A connection whose user pauses, or whose bytes have a
// gap before them, keeps at most rcv_kept() as it stands at that moment: beyond the first step an
// eighth of what is free and nothing once memory is short; less than the first step once it is low,
// and at the last nothing. The rest is dropped unacknowledged (TCP_WINDOW_SHED) and comes again. Of
// the thousand the first dozen get half of the pool, the others 64 KiB each as ever, then 8 KiB: a
// connection whose user takes its bytes needs no memory and runs on. Honest senders meet the drop
// only when that many pause at once.
//
// Messages that are under way are the ones who pause together, when a mail server stops. Where they
// are many (chunk.h) each connection is promised a message's share of the memory, and may keep that
// and its first step: honest senders are slowed by their windows. Only what was promised before
// there were so many may be dropped.
//
// The first bytes that arrived for a sequence number win: a later copy with other contents changes
// nothing, whether they were delivered, queued or wait behind a gap. Sources: RFC 9293 3.8.6.2.2
// (silly window), RFC 7323 2.4 (rounding of a scaled window), RFC 2018 4 (order of SACK blocks),
// RFC 2883 (duplicates), RFC 5681 4.2 (when to ACK at once).
#include "dataplane/tcp_conn.h"

#define RCV_SHARE 8u            // one connection: no more than this part of what is free
#define RCV_SHRUNK_BYTES 8192u  // what still moves when memory or time is short
#define RCV_OOO_SPARE 16u       // chunks of reassembly beyond a window's worth: part full ones
#define RCV_ROUND_MAX_MS 10000u // a round trip that takes longer was a pause
#define RCV_QUICK_ACKS 16u      // full segments acknowledged one by one: a sender's first rounds
#define RCV_STRETCH 4u          // full segments for one ACK inside a burst (RFC 5681 4.2)

bool
tcp_rcv_is_drained(const struct tcp_conn *c)
{
	return chunkq_is_empty(&c->rcvq) && (!(c->flags & TF_FIN_RCVD) || (c->flags & TF_EOF_DONE));
}

// What one connection gets by how much is free alone.
static uint32_t
rcv_fair(const struct tcp *t)
{
	const struct pool *pool = &t->chunks->pool;
	uint32_t spare = pool_free_count(pool);

	if (t->shed >= SHED_SHRINK || chunk_pool_is_low(t->chunks))
		return RCV_SHRUNK_BYTES;
	if (chunk_pool_is_short(t->chunks))
		return t->set.window_bytes;
	uint64_t share = (uint64_t)(spare / RCV_SHARE) * CHUNK_DATA;

	return (uint32_t)MAX(MIN(share, t->set.window_bytes_max), t->set.window_bytes);
}

// Bytes that it may be promised, as things stand.
static uint32_t
rcv_allowed(const struct tcp_conn *c)
{
	const struct chunk_pool *p = c->tcp->chunks;
	uint32_t most = rcv_fair(c->tcp);

	if (!chunk_pool_is_shared(p))
		return most;
	uint64_t share = (uint64_t)chunk_pool_share(p) * CHUNK_DATA;

	if (!(c->flags & TF_PAUSED)) // its user takes what comes
		share = MAX(share, CHUNK_DATA);
	return (uint32_t)MIN(share, most);
}

// Bytes that it may keep while its user pauses.
static uint32_t
rcv_kept(const struct tcp_conn *c)
{
	const struct chunk_pool *p = c->tcp->chunks;
	uint32_t most = rcv_fair(c->tcp);

	if (chunk_pool_is_last(p) && !(c->flags & TF_ACTIVE)) // a command still gets in
		return chunk_pool_is_shared(p) ? 0 : CHUNK_DATA;
	if (!chunk_pool_is_shared(p))
		return most;
	uint64_t share = (uint64_t)chunk_pool_share(p) * CHUNK_DATA;

	most = MAX(most, c->tcp->set.window_bytes);
	return (uint32_t)MAX(most, MIN(share, c->tcp->set.window_bytes_max));
}

static uint32_t
rcv_limit(const struct tcp_conn *c)
{
	return MIN(c->window, rcv_allowed(c));
}

static uint32_t
rcv_free(const struct tcp_conn *c, uint32_t limit)
{
	return c->rcvq.bytes < limit ? limit - c->rcvq.bytes : 0;
}

static void
rcv_eof(struct tcp_conn *c)
{
	if (!(c->flags & TF_FIN_RCVD) || (c->flags & TF_EOF_DONE) || c->ops == NULL ||
	    tcp_is_dead(c) || !chunkq_is_empty(&c->rcvq))
		return;
	c->flags |= TF_EOF_DONE;
	c->ops->eof(c->user, c);
}

// Offers bytes to the user; returns how many are done with. All of them when nobody wants them any
// more.
static uint32_t
rcv_offer(struct tcp_conn *c, struct span s)
{
	if (c->ops == NULL || tcp_is_dead(c))
		return s.n;
	uint32_t taken = c->ops->recv(c->user, c, s);

	CHECK(taken <= s.n);
	if (c->ops == NULL || tcp_is_dead(c))
		return s.n;
	if (taken < s.n)
		c->flags |= TF_PAUSED;
	return taken;
}

// Bytes at rcv_nxt: to the user, or behind what the user has not taken. Returns how many were kept.
static uint32_t
rcv_take(struct tcp_conn *c, struct span s)
{
	uint32_t taken = 0;

	if (s.n > 0 && !(c->flags & TF_PAUSED) && chunkq_is_empty(&c->rcvq))
		taken = rcv_offer(c, s);
	if (taken == s.n || c->ops == NULL)
		return s.n;
	uint32_t most = rcv_kept(c);
	uint32_t room = most > c->rcvq.bytes ? most - c->rcvq.bytes : 0;
	uint32_t fits = MIN(s.n - taken, room);
	uint32_t kept = chunkq_add(&c->rcvq, c->tcp->chunks, span_sub(s, taken, fits));

	if (kept < fits)
		COUNT(c->tcp->counters, TCP_NO_CHUNK);
	else if (taken + fits < s.n)
		COUNT(c->tcp->counters, TCP_WINDOW_SHED);
	return taken + kept;
}

// A chunk of ooo whose bytes are now in order: the same, without copying where that wastes no
// chunk.
static void
rcv_take_chunk(struct tcp_conn *c, struct chunk *k)
{
	struct chunk_pool *pool = c->tcp->chunks;
	uint32_t n = k->len, taken = 0;

	k->next = NULL;
	if (!(c->flags & TF_PAUSED) && chunkq_is_empty(&c->rcvq))
		taken = rcv_offer(c, (struct span){k->data + k->off, n});
	c->rcv_nxt += n;
	if (taken == n || c->ops == NULL) {
		chunk_put(pool, k);
		return;
	}
	k->off = (uint16_t)(k->off + taken);
	k->len = (uint16_t)(k->len - taken);
	// Two neighbours in rcvq always hold more than one chunk's worth, so that a peer cannot
	// make us keep a chunk for every byte.
	struct chunk *last = c->rcvq.last;

	if (last != NULL && (uint32_t)last->off + last->len + k->len <= CHUNK_DATA) {
		uint32_t kept = chunkq_add(&c->rcvq, pool, (struct span){k->data + k->off, k->len});

		CHECK(kept == k->len);
		chunk_put(pool, k);
	} else {
		chunkq_push(&c->rcvq, k);
	}
}

// What has come in order behind a gap. Its bytes never move the window's edge: they were inside it.
static void
rcv_fill_gap(struct tcp_conn *c)
{
	struct chunk *k;

	// At most the chunks that it holds.
	while (c->ooo != NULL && !tcp_is_dead(c) && (k = tcp_ooo_take(c)) != NULL)
		rcv_take_chunk(c, k);
}

static void
rcv_ooo(struct tcp_conn *c, uint32_t seq, struct span s)
{
	uint32_t room = rcv_free(c, rcv_limit(c));
	uint32_t chunks_max = room == 0 ? 0 : room / CHUNK_DATA + RCV_OOO_SPARE;
	struct tcp_range dup;

	if (c->ops == NULL)
		return; // nobody will read it
	switch (tcp_ooo_add(c, (struct tcp_range){seq, seq + s.n}, s.p, chunks_max, &dup)) {
	case TCP_OOO_KEPT:
		COUNT(c->tcp->counters, TCP_OUT_OF_ORDER);
		break;
	case TCP_OOO_KNOWN:
		COUNT(c->tcp->counters, TCP_DUPLICATE);
		break;
	case TCP_OOO_FULL:
		COUNT(c->tcp->counters, TCP_NO_CHUNK);
		break;
	}
	if (dup.start != dup.end)
		tcp_rcv_dsack_begin(c, dup.start, dup.end - dup.start);
}

void
tcp_rcv_dsack_begin(struct tcp_conn *c, uint32_t seq, uint32_t n)
{
	// Bytes from before the window, or nobody's at all: some of it may be another connection's.
	if (!(c->flags & TF_SACK) || n == 0 || n > c->tcp->set.window_bytes_max)
		return;
	c->tcp->dsack = (struct tcp_range){seq, seq + n};
	c->quick_acks = RCV_QUICK_ACKS; // it was sent again: the sender has little in flight now
	COUNT(c->tcp->counters, TCP_DSACK_OUT);
}

void
tcp_rcv_dsack_end(struct tcp_conn *c)
{
	c->tcp->dsack = (struct tcp_range){0, 0};
}

uint32_t
tcp_rcv_sack(const struct tcp_conn *c, struct tcp_range *blocks, uint32_t most)
{
	const struct tcp_range *d = &c->tcp->dsack;
	uint32_t count = 0;

	if (d->start != d->end && most > 0)
		blocks[count++] = *d;
	return count + tcp_ooo_sack(c, blocks + count, most - count);
}

uint8_t
tcp_rcv_wscale(const struct tcp *t)
{
	uint8_t n = 0;

	while (n < TCP_WSCALE_MAX && t->set.window_bytes_max >> n > UINT16_MAX)
		n++;
	return n;
}

uint16_t
tcp_rcv_window(struct tcp_conn *c, bool is_syn)
{
	uint32_t limit = rcv_limit(c), room = rcv_free(c, limit);

	if (is_syn) { // never scaled
		// Its repetition says the same, though there may be less by now.
		room = MAX(MIN(room, UINT16_MAX), c->rcv_edge - c->rcv_nxt);
		c->rcv_edge = c->rcv_nxt + room;
		return (uint16_t)room;
	}
	CHECK(seq_le(c->rcv_nxt, c->rcv_edge));
	// Open the window by a worthwhile step or not at all; never take back what was offered.
	uint32_t have = c->rcv_edge - c->rcv_nxt;

	if (room > have && room - have >= MIN(limit / 2, c->adv_mss))
		have = room;
	uint32_t wnd = have >> c->rcv_wscale;

	// Rounding down may fall short of the edge offered before: round up then, if there is room.
	// If not, the field falls short by less than one unit, while rcv_edge keeps what was
	// promised.
	if (seq_lt(c->rcv_nxt + (wnd << c->rcv_wscale), c->rcv_edge) &&
	    (wnd + 1) << c->rcv_wscale <= room)
		wnd++;
	wnd = MIN(wnd, UINT16_MAX);
	c->rcv_edge = seq_max(c->rcv_edge, c->rcv_nxt + (wnd << c->rcv_wscale));
	return (uint16_t)wnd;
}

// Has the window opened so far that the peer ought to hear of it unasked?
static bool
rcv_update_is_due(const struct tcp_conn *c)
{
	uint32_t limit = rcv_limit(c), room = rcv_free(c, limit), have = c->rcv_edge - c->rcv_nxt;

	return room > have && room - have >= MIN(limit / 2, 2u * c->adv_mss);
}

uint32_t
tcp_rcv_deliver(struct tcp_conn *c)
{
	uint32_t calls = 0;

	c->flags &= ~(TF_RESUME | TF_PAUSED);
	while (!chunkq_is_empty(&c->rcvq) &&
	       !(c->flags & TF_PAUSED)) { // each turn drops a chunk or ends
		uint32_t n = rcv_offer(c, chunkq_head(&c->rcvq));

		calls++;
		if (tcp_is_dead(c))
			return calls;
		chunkq_drop(&c->rcvq, c->tcp->chunks, n);
	}
	rcv_eof(c);
	if (!tcp_is_dead(c) && !(c->flags & TF_FIN_RCVD) && rcv_update_is_due(c))
		c->flags |= TF_ACK_NOW;
	return calls;
}

static void
rcv_fin(struct tcp_conn *c)
{
	c->rcv_nxt++;
	c->rcv_edge = seq_max(c->rcv_edge, c->rcv_nxt);
	c->flags = (c->flags & ~TF_FIN_EARLY) | TF_FIN_RCVD | TF_ACK_NOW;
	tcp_ooo_clear(c);
	tcp_ready(c);
	switch (c->state) {
	case TCPS_ESTABLISHED:
		c->state = TCPS_CLOSE_WAIT;
		break;
	case TCPS_FIN_WAIT1:
		c->state = TCPS_CLOSING;
		break;
	case TCPS_FIN_WAIT2:
		tcp_enter_time_wait(c);
		break;
	default:
		CHECK(!"a FIN is taken once, in one of three states");
	}
	rcv_eof(c);
}

// A burst that arrives in one turn is acknowledged every RCV_STRETCH segments: a sender in slow
// start grows by what is acknowledged, but it spreads its segments, and measures round trips and
// loss, by how often. All other ACKs leave when the turn ends, with what the user has to say.
static void
rcv_schedule_ack(struct tcp_conn *c, uint32_t n)
{
	c->rcv_mss = (uint16_t)MAX(c->rcv_mss, MIN(n, UINT16_MAX));
	uint32_t unacked = c->rcv_nxt - c->last_ack_sent, full = c->rcv_mss;

	if (full >= TCP_MSS_DEFAULT && unacked >= RCV_STRETCH * full) {
		tcp_out_ack_now(c);
	} else if (unacked >= 2 * full) {
		c->flags |= TF_ACK_NOW;
		tcp_ready(c);
	} else if (c->quick_acks > 0 && n >= TCP_MSS_DEFAULT && n == full) {
		c->quick_acks--;
		c->flags |= TF_ACK_NOW;
		tcp_ready(c);
	} else if (c->ack_ms == 0 && !(c->flags & TF_ACK_NOW)) {
		c->ack_ms = tcp_after(c, TCP_DELACK_MS);
	}
}

// Measures what the user takes in a round trip, and lets the window grow with it. A round trip is
// over when a segment echoes an ACK that left after its beginning (RFC 7323), or has lasted as long
// as our own segments take to be acknowledged. Without any of them the window stays.
static void
rcv_round(struct tcp_conn *c, const struct tcp_seg *s)
{
	const struct tcp *t = c->tcp;
	uint32_t taken = c->rcv_nxt - c->rcvq.bytes, ms = t->now_ms32 - c->round_ms;
	bool is_over;

	if (c->flags & TF_TS)
		is_over = seq_lt(c->round_ms + c->ts_offset, s->tsecr);
	else
		is_over = c->srtt8 > 0 && ms >= MAX(c->srtt8 / 8000, 1u);
	bool is_first = c->round_ms == 0, is_pause = is_first || ms > RCV_ROUND_MAX_MS;

	if (!is_over && !is_pause)
		return;
	// As long as a timeout: the sender begins anew, or lost all that it had in flight.
	if (is_first || ms > c->rto_ms)
		c->quick_acks = RCV_QUICK_ACKS;
	if (!is_pause && !(c->flags & TF_PAUSED)) {
		uint64_t want = 4ull * (taken - c->round_seq) + 16u * c->adv_mss;
		uint32_t most = c->flags & TF_WSCALE ? t->set.window_bytes_max : UINT16_MAX;

		most = MIN(most, rcv_allowed(c));
		if (c->window < MIN(want, most)) {
			c->window = (uint32_t)MIN(want, most);
			COUNT(t->counters, TCP_WINDOW_GROWN);
		}
	}
	c->round_seq = taken;
	c->round_ms = tcp_after(c, 0);
}

// Takes the bytes of s up to what waits in ooo, then that, then what s has behind it, and so on:
// the first copy of a byte wins. False: the connection is dead, or memory ran out before the end of
// s.
static bool
rcv_in_order(struct tcp_conn *c, struct span s)
{
	uint32_t end = c->rcv_nxt + s.n, n = 0;

	do { // each turn but the last empties a block of ooo
		struct span part = span_from(s, s.n - (end - c->rcv_nxt));
		uint32_t block;

		if (c->ooo != NULL && tcp_ooo_first(c, &block) && seq_lt(block, end))
			part.n = block - c->rcv_nxt;
		uint32_t kept = rcv_take(c, part);

		if (tcp_is_dead(c))
			return false;
		c->rcv_nxt += kept;
		n += kept;
		CHECK(seq_le(c->rcv_nxt, c->rcv_edge));
		if (kept < part.n)
			break;
		rcv_fill_gap(c);
		if (tcp_is_dead(c))
			return false;
		CHECK(seq_le(c->rcv_nxt, c->rcv_edge));
	} while (seq_lt(c->rcv_nxt, end));
	if (n > 0)
		rcv_schedule_ack(c, n);
	return !seq_lt(c->rcv_nxt, end);
}

static void
rcv_next(struct tcp_conn *c, struct span s, bool is_fin)
{
	bool had_gap = c->ooo != NULL, is_all = rcv_in_order(c, s);

	if (tcp_is_dead(c))
		return;
	// RFC 5681 4.2, unless the burst has said it already; without memory: tell how far we are.
	if ((had_gap && c->last_ack_sent != c->rcv_nxt) || !is_all) {
		c->flags |= TF_ACK_NOW;
		tcp_ready(c);
	}
	if (c->state == TCPS_FIN_WAIT2 && c->ops != NULL)
		c->idle_ms = tcp_after(c, TCP_FIN_WAIT2_MS); // the peer is still busy
	if (is_all && (is_fin || ((c->flags & TF_FIN_EARLY) && c->fin_seq == c->rcv_nxt)))
		rcv_fin(c);
}

void
tcp_rcv_input(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t seq = s->seq;
	struct span data = s->data;
	bool is_fin = s->flags & TCP_FIN;

	if (c->state != TCPS_ESTABLISHED && c->state != TCPS_FIN_WAIT1 &&
	    c->state != TCPS_FIN_WAIT2)
		return; // the peer has sent its FIN: there is nothing behind it
	if (data.n == 0 && !is_fin)
		return;
	uint32_t known = 0; // bytes of it that were taken before

	if (data.n > 0 && c->state == TCPS_FIN_WAIT2 && c->ops == NULL) {
		// Nobody will ever read it and all that we had to say has arrived (RFC
		// 1122 4.2.2.13).
		tcp_conn_reset(c, TCP_GONE_CLOSED);
		return;
	}
	if (seq_lt(seq, c->rcv_nxt)) {
		known = MIN(c->rcv_nxt - seq, data.n);
		data = span_from(data, known);
		seq = c->rcv_nxt;
	}
	if (data.n > c->rcv_edge - seq) { // beyond the window, FIN included
		data.n = c->rcv_edge - seq;
		is_fin = false;
		COUNT(c->tcp->counters, TCP_OUT_OF_WINDOW);
	}
	if (is_fin && data.n == c->rcv_edge - seq)
		is_fin = false;        // the FIN takes a place in the window too
	if (c->flags & TF_FIN_EARLY) { // nothing is behind the FIN that we have seen
		if (seq_lt(c->fin_seq, seq))
			return;
		data.n = MIN(data.n, c->fin_seq - seq);
		is_fin = false;
	}
	if (seq == c->rcv_nxt) {
		rcv_round(c, s);
		rcv_next(c, data, is_fin);
		if (known == 0 || tcp_is_dead(c))
			return;
		tcp_rcv_dsack_begin(c, s->seq, known);
	} else {
		if (data.n > 0)
			rcv_ooo(c, seq, data);
		if (is_fin) {
			c->flags |= TF_FIN_EARLY;
			c->fin_seq = seq + data.n;
		}
	}
	tcp_out_ack_now(c); // each one: the peer counts them
	tcp_rcv_dsack_end(c);
}
