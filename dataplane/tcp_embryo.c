// SPDX-License-Identifier: Apache-2.0
// tcp_embryo: passive connections before the handshake's third segment: SYN_RCVD of RFC 9293 as a
// record of 80 bytes. Runs on the owning worker.
//
//   SYN > record, SYN,ACK > list 0 -1 s-> list 1 -2 s-> .. list 5 -32 s-> dropped
//                  no frame > last list, tried again with each tcp_work
//   ACK > tcp_conn in the record's place
//
// The tests of an arriving segment are those of a synchronized connection (tcp_in.c), in the same
// order; what needs bytes or a user comes after the ACK is found good, on the connection.
#include "dataplane/tcp_conn.h"

#define LINK offsetof(struct tcp_embryo, link)
#define BLOCKED (TCP_EMBRYO_LISTS - 1)
#define WORK_MOST 64u // answers that are tried again in one tcp_work

static inline bool
embryo_due(const struct tcp *t, const struct tcp_embryo *e)
{
	return (int32_t)(e->due_ms - t->now_ms32) <= 0;
}

static void
embryo_file(struct tcp *t, struct tcp_embryo *e, uint32_t list, uint32_t ms)
{
	e->list = (uint8_t)list;
	e->due_ms = t->now_ms32 + ms;
	tcp_fifo_push(&t->embryo_list[list], &t->embryos, LINK, e);
}

static void
embryo_unlink(struct tcp *t, struct tcp_embryo *e)
{
	tcp_fifo_remove(&t->embryo_list[e->list], &t->embryos, LINK, e);
}

static void
embryo_free(struct tcp *t, struct tcp_embryo *e)
{
	embryo_unlink(t, e);
	pool_put(&t->embryos, e);
}

static uint32_t
embryo_ref(const struct tcp *t, const struct tcp_embryo *e)
{
	return tcp_ref(TCP_KIND_EMBRYO, pool_index(&t->embryos, e));
}

static void
embryo_drop(struct tcp *t, struct tcp_embryo *e)
{
	flow_remove(&t->flows, tcp_path_hash(t, &e->path), embryo_ref(t, e));
	embryo_free(t, e);
}

static bool
embryo_send(struct tcp *t, const struct tcp_embryo *e, uint8_t flags)
{
	uint32_t ts_offset;

	(void)tcp_isn(t, &e->path, &ts_offset);
	return tcp_seg_send(t, &e->path,
			    &(struct tcp_bare){
				    .seq = e->iss + !(flags & TCP_SYN),
				    .ack = e->irs + 1,
				    .tsval = t->now_ms32 + ts_offset,
				    .tsecr = e->ts_recent,
				    .wnd = flags & TCP_RST ? 0 : e->rcv_wnd,
				    .mss = tcp_mss_for(&e->path.laddr, t->mtu),
				    .flags = flags,
				    .wscale = e->rcv_wscale,
				    .opts = e->opts,
			    });
}

// Sends the answer and waits for the next time; without a frame it waits for one. A lost answer is
// asked for again after a second, and what goes out then carries the new timestamp. Were ours there
// first, with the old one, the client would measure a round trip of a second and have a timeout of
// three.
static void
embryo_answer(struct tcp *t, struct tcp_embryo *e)
{
	if (embryo_send(t, e, TCP_SYN | TCP_ACK))
		embryo_file(t, e, e->retries, TCP_RTO_SYN_ACK_MS << e->retries);
	else
		embryo_file(t, e, BLOCKED, TCP_SYN_LIFE_MS);
}

// The lists with more repetitions behind them hold the older ones.
static void
embryo_drop_oldest(struct tcp *t)
{
	for (uint32_t i = TCP_EMBRYO_LISTS; i-- > 0;) {
		struct tcp_embryo *e = tcp_fifo_first(&t->embryo_list[i], &t->embryos);

		if (e != NULL) {
			COUNT(t->counters, TCP_EMBRYO_DROPPED);
			embryo_drop(t, e);
			return;
		}
	}
}

void
tcp_embryo_syn(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s,
	       const struct tcp_listener *l, uint32_t isn_above)
{
	uint32_t ts_offset;

	if (t->shed >= SHED_DROP) {
		COUNT(t->counters, TCP_SYN_SHED);
		return;
	}
	// Who reopens a TIME_WAIT needs a number above the old ones, which no cookie has.
	bool is_pressed = t->shed >= SHED_COOKIES || t->embryos.used >= t->embryos_high;

	if (is_pressed && isn_above == 0) {
		tcp_cookie_send(t, path, s);
		return;
	}
	if (pool_free_count(&t->embryos) == 0)
		embryo_drop_oldest(t);
	struct tcp_embryo *e = pool_get(&t->embryos);

	CHECK(e != NULL);
	*e = (struct tcp_embryo){
		.magic = TCP_EMBRYO_MAGIC,
		.path = *path,
		.listener = (uint8_t)(l - t->listeners),
		.opts = s->opts,
		.irs = s->seq,
		.iss = tcp_isn(t, path, &ts_offset),
		.ts_recent = s->tsval,
		.mss = s->mss,
		.wnd = (uint16_t)s->wnd,
		.rcv_wnd = (uint16_t)MIN(t->set.window_bytes, UINT16_MAX),
		.snd_wscale = s->wscale,
		.rcv_wscale = tcp_rcv_wscale(t),
	};
	if (isn_above != 0 && seq_le(e->iss, isn_above)) // RFC 1122 4.2.2.13
		e->iss = isn_above + 64000;
	if (!flow_add(&t->flows, tcp_path_hash(t, path), embryo_ref(t, e))) {
		COUNT(t->counters, TCP_SYN_SHED);
		pool_put(&t->embryos, e);
		return;
	}
	embryo_answer(t, e); // bytes on a SYN are not taken: the peer sends them again
}

struct tcp_conn *
tcp_embryo_conn(struct tcp *t, const struct tcp_embryo *e, uint32_t ref)
{
	// Some are kept for our own opens: a message that has come so far is worth more.
	struct tcp_conn *c = pool_free_count(&t->conns) > t->conns_max / TCP_CONNS_KEPT
				     ? tcp_conn_new(t, &e->path, e->iss)
				     : NULL;

	if (c == NULL) {
		COUNT(t->counters, TCP_ACCEPT_FULL);
		return NULL;
	}
	uint64_t hash = tcp_path_hash(t, &e->path);
	uint32_t own = tcp_ref(TCP_KIND_CONN, pool_index(&t->conns, c));

	if (ref != TCP_REF_NONE) {
		flow_replace(&t->flows, hash, ref, own);
	} else if (!flow_add(&t->flows, hash, own)) {
		COUNT(t->counters, TCP_ACCEPT_FULL);
		pool_put(&t->conns, c);
		return NULL;
	}
	c->flags |= TF_FLOW | (e->retries > 0 ? TF_SYN_LOST : 0);
	c->state = TCPS_SYN_RCVD;
	c->listener = e->listener;
	c->syn_us = (uint32_t)t->now_us; // nobody knows when a cookie left
	c->adv_mss = tcp_mss_for(&e->path.laddr, t->mtu);
	c->rcv_wscale = e->rcv_wscale;
	tcp_in_syn_options(c, &(struct tcp_seg){
				      .seq = e->irs,
				      .wnd = e->wnd,
				      .tsval = e->ts_recent,
				      .mss = e->mss,
				      .opts = e->opts,
				      .wscale = e->snd_wscale,
			      });
	c->rcv_edge = c->rcv_nxt + e->rcv_wnd;
	c->snd_nxt = c->snd_una + 1;
	c->snd_max = c->snd_nxt;
	return c;
}

static struct tcp_conn *
embryo_open(struct tcp *t, struct tcp_embryo *e)
{
	struct tcp_conn *c = tcp_embryo_conn(t, e, embryo_ref(t, e));

	if (c == NULL) {
		e->is_complete = true;
		return NULL;
	}
	if (e->list != BLOCKED) {
		uint32_t left_ms = e->due_ms - (TCP_RTO_SYN_ACK_MS << e->retries);

		c->syn_us = (uint32_t)t->now_us - (t->now_ms32 - left_ms) * 1000;
		// The round trip of our answer is the first sample, if there was one answer (Karn).
		if (e->retries == 0 && !e->is_repeated)
			c->flags |= TF_RTT;
	}
	embryo_free(t, e);
	return c;
}

// Odd segments get an ACK, so that an honest peer finds out; limited as challenges are.
static void
embryo_challenge(struct tcp *t, const struct tcp_embryo *e)
{
	if (!tcp_challenge_allowed(t))
		return;
	COUNT(t->counters, TCP_CHALLENGE_ACK);
	(void)embryo_send(t, e, TCP_ACK); // the peer asks again
}

static void
embryo_rst(struct tcp *t, struct tcp_embryo *e, const struct tcp_seg *s)
{
	if (s->seq != e->irs + 1) {
		embryo_challenge(t, e);
		return;
	}
	COUNT(t->counters, TCP_RST_IN);
	embryo_drop(t, e);
}

// Timestamp, SYN, window and RST. True: its ACK counts.
static bool
embryo_acceptable(struct tcp *t, struct tcp_embryo *e, const struct tcp_seg *s)
{
	uint32_t nxt = e->irs + 1, edge = nxt + e->rcv_wnd;
	uint32_t len = s->data.n + !!(s->flags & TCP_FIN);

	if ((e->opts & TCP_OPT_TS) && !(s->flags & TCP_RST) &&
	    (!(s->opts & TCP_OPT_TS) || seq_lt(s->tsval, e->ts_recent))) {
		COUNT(t->counters, TCP_PAWS);
		if ((s->opts & TCP_OPT_TS) || (s->flags & TCP_SYN))
			embryo_challenge(t, e);
		return false;
	}
	if ((s->flags & TCP_SYN) && !(s->flags & TCP_RST)) {
		embryo_challenge(t, e); // RFC 5961 4.2: wherever it stands
		return false;
	}
	bool is_in = len == 0 ? seq_le(nxt, s->seq) && seq_le(s->seq, edge)
			      : seq_lt(s->seq, edge) && seq_lt(nxt, s->seq + len);

	if (!is_in) {
		if (seq_lt(s->seq, nxt))
			COUNT(t->counters, TCP_DUPLICATE);
		else
			COUNT(t->counters, TCP_OUT_OF_WINDOW);
		if (!(s->flags & TCP_RST))
			embryo_challenge(t, e);
		return false;
	}
	if (s->flags & TCP_RST) {
		embryo_rst(t, e, s);
		return false;
	}
	return (s->flags & TCP_ACK) != 0;
}

struct tcp_conn *
tcp_embryo_input(struct tcp *t, struct tcp_embryo *e, struct tcp_seg *s)
{
	struct tcp_embryo cookie;

	if ((s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && s->seq == e->irs) {
		// Its SYN again: our answer was lost. The timer stays as it is. Who blames the
		// options (BSD from the fourth SYN on) has none of those any more that it leaves
		// out now: it would neither scale its window nor send the timestamps.
		e->opts &= (uint8_t)(s->opts | TCP_OPT_MSS);
		if ((s->opts & TCP_OPT_TS) && seq_lt(e->ts_recent, s->tsval))
			e->ts_recent = s->tsval;
		e->is_repeated = true;
		COUNT(t->counters, TCP_RETRANSMIT);
		(void)embryo_send(t, e, TCP_SYN | TCP_ACK);
		return NULL;
	}
	if (!embryo_acceptable(t, e, s))
		return NULL;
	if (s->ack == e->iss + 1)
		return embryo_open(t, e);
	// A SYN before this record's may have been answered with a cookie.
	if (tcp_cookie_take(t, &e->path, s, &cookie)) {
		struct tcp_conn *c = tcp_embryo_conn(t, &cookie, embryo_ref(t, e));

		if (c != NULL)
			embryo_free(t, e);
		return c;
	}
	tcp_out_rst_for(t, &e->path, s);
	return NULL;
}

static void
embryo_expire(struct tcp *t, struct tcp_embryo *e)
{
	if (e->list == BLOCKED || e->retries >= TCP_SYN_ACK_RETRIES) {
		COUNT(t->counters, TCP_EMBRYO_EXPIRED);
		if (e->is_complete && embryo_send(t, e, TCP_RST | TCP_ACK))
			COUNT(t->counters, TCP_RST_OUT); // it believes to be connected
		embryo_drop(t, e);
		return;
	}
	COUNT(t->counters, TCP_RTO);
	COUNT(t->counters, TCP_RETRANSMIT);
	embryo_unlink(t, e);
	e->retries++;
	embryo_answer(t, e);
}

uint32_t
tcp_embryo_run(struct tcp *t, uint32_t most)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < TCP_EMBRYO_LISTS; i++) {
		struct tcp_embryo *e;

		while (count < most) {
			e = tcp_fifo_first(&t->embryo_list[i], &t->embryos);
			if (e == NULL || !embryo_due(t, e))
				break;
			embryo_expire(t, e);
			count++;
		}
	}
	return count;
}

uint32_t
tcp_embryo_work(struct tcp *t)
{
	struct tcp_fifo *f = &t->embryo_list[BLOCKED];
	uint32_t most = MIN(f->count, WORK_MOST), sent = 0;

	for (uint32_t i = 0; i < most; i++) {
		struct tcp_embryo *e = tcp_fifo_first(f, &t->embryos);
		uint32_t left = e->due_ms - t->now_ms32;

		embryo_unlink(t, e);
		embryo_answer(t, e);
		if (e->list == BLOCKED)
			e->due_ms = t->now_ms32 + left; // it has one life only
		else
			sent++;
	}
	return sent;
}

uint64_t
tcp_embryo_next_ms(const struct tcp *t)
{
	uint64_t next = UINT64_MAX;

	if (t->embryo_list[BLOCKED].count > 0)
		return t->now_ms + 1;
	for (uint32_t i = 0; i < BLOCKED; i++) {
		const struct tcp_embryo *e = tcp_fifo_first(&t->embryo_list[i], &t->embryos);

		if (e != NULL) {
			int32_t left = (int32_t)(e->due_ms - t->now_ms32);

			next = MIN(next, t->now_ms + (uint64_t)MAX(left, 0));
		}
	}
	return next;
}
