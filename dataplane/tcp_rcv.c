// SPDX-License-Identifier: Apache-2.0
// tcp_rcv: what arrives: delivery, the receive queue, reassembly, our window. Runs on the owning
// worker.
//
//   in order      > user's recv > what it does not take into rcvq
//   out of order  > ooo: sorted, no overlaps; SACK blocks come from here
//
// The window is `window` less what rcvq holds; its edge never goes back.
//
// The first bytes that arrived for a sequence number win: a later copy with other contents changes
// nothing, whether they were delivered, queued or wait in ooo. Sources: RFC 9293 3.8.6.2.2 (silly
// window), RFC 7323 2.4 (rounding of a scaled window), RFC 2018 4 (order of SACK blocks), RFC
// 5681 4.2 (when to ACK at once).
#include "dataplane/tcp_conn.h"

bool
tcp_rcv_is_drained(const struct tcp_conn *c)
{
	return chunkq_is_empty(&c->rcvq) && (!(c->flags & TF_FIN_RCVD) || (c->flags & TF_EOF_DONE));
}

void
tcp_rcv_clear_ooo(struct tcp_conn *c)
{
	while (c->ooo != NULL) { // at most TCP_OOO_CHUNKS_MAX
		struct chunk *k = c->ooo;

		c->ooo = k->next;
		k->next = NULL;
		chunk_put(c->tcp->chunks, k);
		CHECK(c->ooo_count > 0);
		c->ooo_count--;
	}
	CHECK(c->ooo_count == 0);
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
	uint32_t kept = chunkq_add(&c->rcvq, c->tcp->chunks, span_from(s, taken));

	if (taken + kept < s.n)
		COUNT(c->tcp->counters, TCP_NO_CHUNK);
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

// What of ooo has come in order. Its bytes never move the window's edge: they were inside it.
static void
rcv_fill_gap(struct tcp_conn *c)
{
	while (c->ooo != NULL && !tcp_is_dead(c)) { // at most TCP_OOO_CHUNKS_MAX
		struct chunk *k = c->ooo;
		uint32_t seq = (uint32_t)k->tag;

		OBJ_CHECK(k, CHUNK_MAGIC);
		if (seq_lt(c->rcv_nxt, seq))
			return;
		c->ooo = k->next;
		c->ooo_count--;
		uint32_t old = c->rcv_nxt - seq; // bytes that have come in order meanwhile

		if (old >= k->len) {
			k->next = NULL;
			chunk_put(c->tcp->chunks, k);
			continue;
		}
		k->off = (uint16_t)(k->off + old);
		k->len = (uint16_t)(k->len - old);
		rcv_take_chunk(c, k);
	}
}

// One run of bytes that lies in a gap: behind `before` (NULL: at the front). False: no room.
static bool
rcv_ooo_insert(struct tcp_conn *c, struct chunk **before, uint32_t seq, struct span s, uint64_t age)
{
	struct chunk *k = *before;

	while (s.n > 0) { // each turn fills a chunk or ends
		uint32_t at = k == NULL ? 0 : (uint32_t)k->off + k->len;

		if (k == NULL || (uint32_t)k->tag + k->len != seq || at == CHUNK_DATA) {
			struct chunk *fresh;

			if (c->ooo_count >= TCP_OOO_CHUNKS_MAX || chunk_pool_is_low(c->tcp->chunks))
				return false;
			fresh = chunk_get(c->tcp->chunks);
			if (fresh == NULL)
				return false;
			fresh->tag = seq;
			fresh->next = k == NULL ? c->ooo : k->next;
			if (k == NULL)
				c->ooo = fresh;
			else
				k->next = fresh;
			c->ooo_count++;
			k = fresh;
			at = 0;
		}
		uint32_t n = MIN(s.n, CHUNK_DATA - at);

		memcpy(k->data + at, s.p, n);
		k->len = (uint16_t)(k->len + n);
		k->tag = (uint32_t)k->tag | age << 32;
		seq += n;
		s = span_from(s, n);
	}
	*before = k;
	return true;
}

// Keeps the bytes of s that are not there yet. Walks at most TCP_OOO_CHUNKS_MAX chunks.
static void
rcv_ooo(struct tcp_conn *c, uint32_t seq, struct span s)
{
	uint64_t age = ++c->tcp->ooo_age;
	struct chunk *before = NULL, *k = c->ooo;
	bool is_kept = false;

	while (s.n > 0) {
		OBJ_CHECK(c, TCP_CONN_MAGIC);
		uint32_t gap = s.n;

		if (k != NULL) {
			uint32_t start = (uint32_t)k->tag, end = start + k->len;

			if (seq_le(end, seq)) { // wholly before
				before = k;
				k = k->next;
				continue;
			}
			if (seq_le(start, seq)) { // its first bytes are there already
				k->tag = start | age << 32;
				s = span_from(s, MIN(s.n, end - seq));
				seq = end;
				before = k;
				k = k->next;
				continue;
			}
			gap = MIN(s.n, start - seq);
		}
		if (!rcv_ooo_insert(c, &before, seq, span_sub(s, 0, gap), age)) {
			COUNT(c->tcp->counters, TCP_NO_CHUNK);
			return;
		}
		is_kept = true;
		seq += gap;
		s = span_from(s, gap);
		k = before->next;
	}
	if (is_kept)
		COUNT(c->tcp->counters, TCP_OUT_OF_ORDER);
	else
		COUNT(c->tcp->counters, TCP_DUPLICATE);
}

uint32_t
tcp_rcv_sack(const struct tcp_conn *c, uint32_t blocks[][2], uint32_t most)
{
	uint32_t ages[TCP_SACK_BLOCKS_MAX];
	uint32_t count = 0;
	const struct chunk *k = c->ooo;

	CHECK(most <= TCP_SACK_BLOCKS_MAX);
	while (k != NULL && most > 0) { // at most TCP_OOO_CHUNKS_MAX turns, both loops together
		uint32_t start = (uint32_t)k->tag, end = start, age = (uint32_t)(k->tag >> 32), i;

		for (; k != NULL && (uint32_t)k->tag == end; k = k->next) {
			end += k->len;
			if (seq_lt(age, (uint32_t)(k->tag >> 32)))
				age = (uint32_t)(k->tag >> 32);
		}
		// Newest first; the oldest falls off the end.
		for (i = count; i > 0 && seq_lt(ages[i - 1], age); i--) {
			if (i < most) {
				ages[i] = ages[i - 1];
				blocks[i][0] = blocks[i - 1][0];
				blocks[i][1] = blocks[i - 1][1];
			}
		}
		if (i >= most)
			continue;
		ages[i] = age;
		blocks[i][0] = start;
		blocks[i][1] = end;
		count = MIN(count + 1, most);
	}
	return count;
}

static uint32_t
rcv_free(const struct tcp_conn *c)
{
	return c->rcvq.bytes < c->window ? c->window - (uint32_t)c->rcvq.bytes : 0;
}

uint16_t
tcp_rcv_window(struct tcp_conn *c, bool is_syn)
{
	uint32_t room = rcv_free(c);

	if (is_syn) { // never scaled
		room = MIN(room, UINT16_MAX);
		c->rcv_edge = c->rcv_nxt + room;
		return (uint16_t)room;
	}
	CHECK(seq_le(c->rcv_nxt, c->rcv_edge));
	// Open the window by a worthwhile step or not at all; never take back what was offered.
	uint32_t have = c->rcv_edge - c->rcv_nxt;

	if (room > have && room - have >= MIN(c->window / 2, c->adv_mss))
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
	uint32_t room = rcv_free(c), have = c->rcv_edge - c->rcv_nxt;

	return room > have && room - have >= MIN(c->window / 2, 2u * c->adv_mss);
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
	tcp_rcv_clear_ooo(c);
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

static void
rcv_schedule_ack(struct tcp_conn *c, uint32_t n)
{
	c->unacked += n;
	c->rcv_mss = (uint16_t)MAX(c->rcv_mss, MIN(n, UINT16_MAX));
	if (c->unacked >= 2u * c->rcv_mss) {
		c->flags |= TF_ACK_NOW;
		tcp_ready(c);
	} else if (c->ack_ms == 0 && !(c->flags & TF_ACK_NOW)) {
		c->ack_ms = tcp_after(c, TCP_DELACK_MS);
	}
}

// Takes the bytes of s up to what waits in ooo, then that, then what s has behind it, and so on:
// the first copy of a byte wins. False: the connection is dead, or memory ran out before the end of
// s.
static bool
rcv_in_order(struct tcp_conn *c, struct span s)
{
	uint32_t end = c->rcv_nxt + s.n, n = 0;

	do { // each turn but the last empties a chunk of ooo
		struct span part = span_from(s, s.n - (end - c->rcv_nxt));

		if (c->ooo != NULL && seq_lt((uint32_t)c->ooo->tag, end))
			part.n = (uint32_t)c->ooo->tag - c->rcv_nxt;
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
	if (had_gap || !is_all) { // RFC 5681 4.2; without memory: tell how far we are
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
	if (data.n > 0 && c->state == TCPS_FIN_WAIT2 && c->ops == NULL) {
		// Nobody will ever read it and all that we had to say has arrived (RFC
		// 1122 4.2.2.13).
		tcp_conn_reset(c, TCP_GONE_CLOSED);
		return;
	}
	if (seq_lt(seq, c->rcv_nxt)) {
		data = span_from(data, c->rcv_nxt - seq);
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
		rcv_next(c, data, is_fin);
		return;
	}
	if (data.n > 0)
		rcv_ooo(c, seq, data);
	if (is_fin) {
		c->flags |= TF_FIN_EARLY;
		c->fin_seq = seq + data.n;
	}
	tcp_out_ack_now(c); // each one: the peer counts them
}
