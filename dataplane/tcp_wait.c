// SPDX-License-Identifier: Apache-2.0
// tcp_wait: TIME_WAIT as a record of one cache line, and FIN_WAIT2 of a connection that its user
// has left (is_half): all of ours has arrived, only the peer's FIN is waited for. Runs on the
// owning worker.
//
// The record holds what the half minute is for: the peer's FIN, sent again because our last ACK was
// lost, is acknowledged, old segments reach no newer connection of that name, and a SYN that is
// newer for certain begins one (RFC 6191, RFC 9293 3.6.1). A RST ends nothing (RFC 1337). All wait
// equally long, so the list is in order of time; a repeated FIN puts its record at the end. Those
// of FIN_WAIT2 wait in a list of their own and are the first to go when there is no record left:
// who does not close must not shorten the wait of those who did. Bytes for nobody are answered with
// a RST (RFC 1122 4.2.2.13).
#include "dataplane/tcp_conn.h"

#define LINK offsetof(struct tcp_wait, link)
#define TICK_BITS 14u

static uint32_t
wait_tick(const struct tcp *t, uint32_t ms)
{
	return (uint32_t)((t->now_ms + ms) / TCP_WAIT_TICK_MS) & ((1u << TICK_BITS) - 1);
}

// Ticks until the deadline; negative: passed.
static int32_t
wait_left(const struct tcp *t, const struct tcp_wait *w)
{
	uint32_t left = (w->tick - wait_tick(t, 0)) << (32 - TICK_BITS);

	return (int32_t)left >> (32 - TICK_BITS);
}

bool
tcp_wait_is_old(const struct tcp *t, const struct tcp_wait *w, uint32_t ms)
{
	return wait_left(t, w) <= (int32_t)((TCP_TIME_WAIT_MS - ms) / TCP_WAIT_TICK_MS);
}

static void
wait_begin(struct tcp *t, struct tcp_wait *w)
{
	uint32_t ms = w->is_half ? TCP_FIN_WAIT2_MS : TCP_TIME_WAIT_MS;

	w->tick = wait_tick(t, ms + TCP_WAIT_TICK_MS) & ((1u << TICK_BITS) - 1);
	tcp_fifo_push(&t->wait_list[w->is_half], &t->waits, LINK, w);
}

static void
wait_again(struct tcp *t, struct tcp_wait *w)
{
	tcp_fifo_remove(&t->wait_list[w->is_half], &t->waits, LINK, w);
	w->is_half = false;
	wait_begin(t, w);
}

void
tcp_wait_drop(struct tcp *t, struct tcp_wait *w)
{
	struct tcp_path path = w->path;

	flow_remove(&t->flows, tcp_path_hash(t, &path),
		    tcp_ref(TCP_KIND_WAIT, pool_index(&t->waits, w)));
	tcp_fifo_remove(&t->wait_list[w->is_half], &t->waits, LINK, w);
	pool_put(&t->waits, w);
	tcp_port_put(t, &path);
}

static bool
wait_send(struct tcp *t, const struct tcp_wait *w, uint8_t flags)
{
	uint32_t ts_offset;

	(void)tcp_isn(t, &w->path, &ts_offset);
	return tcp_seg_send(t, &w->path,
			    &(struct tcp_bare){
				    .seq = w->snd_nxt,
				    .ack = w->rcv_nxt,
				    .tsval = t->now_ms32 + ts_offset,
				    .tsecr = w->ts_recent,
				    .wnd = flags & TCP_RST ? 0 : UINT16_MAX,
				    .flags = flags,
				    .opts = w->has_ts ? TCP_OPT_TS : 0,
			    });
}

// To what is odd or old. Without a frame nothing is lost: the peer repeats what wants an answer.
static void
wait_challenge(struct tcp *t, const struct tcp_wait *w)
{
	if (tcp_challenge_allowed(t))
		(void)wait_send(t, w, TCP_ACK);
}

struct tcp_wait *
tcp_wait_enter(struct tcp_conn *c)
{
	struct tcp *t = c->tcp;

	CHECK(c->state == TCPS_TIME_WAIT || c->state == TCPS_FIN_WAIT2);
	CHECK(c->flags & TF_FLOW);
	if (pool_free_count(&t->waits) == 0) {
		COUNT(t->counters, TCP_WAIT_DROPPED);
		tcp_wait_drop(t,
			      tcp_fifo_first(&t->wait_list[t->wait_list[1].count > 0], &t->waits));
	}
	struct tcp_wait *w = pool_get(&t->waits);

	CHECK(w != NULL);
	*w = (struct tcp_wait){
		.magic = TCP_WAIT_MAGIC,
		.path = c->path,
		.has_ts = !!(c->flags & TF_TS),
		.is_half = c->state == TCPS_FIN_WAIT2,
		.rcv_nxt = c->rcv_nxt,
		.snd_nxt = c->snd_max,
		.ts_recent = c->ts_recent,
	};
	wait_begin(t, w);
	flow_replace(&t->flows, tcp_path_hash(t, &c->path),
		     tcp_ref(TCP_KIND_CONN, pool_index(&t->conns, c)),
		     tcp_ref(TCP_KIND_WAIT, pool_index(&t->waits, w)));
	c->flags &= ~TF_FLOW;
	if ((c->flags & TF_ACK_NOW) || c->ack_ms != 0)
		(void)wait_send(t, w, TCP_ACK);
	tcp_finish(c);
	return w;
}

static void
wait_syn(struct tcp *t, struct tcp_wait *w, const struct tcp_seg *s)
{
	struct tcp_path path = w->path;
	struct tcp_listener *l = tcp_listener_find(t, &path);
	bool is_newer = seq_lt(w->rcv_nxt, s->seq); // RFC 6191
	uint32_t last = w->snd_nxt;

	if (s->opts & TCP_OPT_TS) // the old connection had none: any timestamp is newer than that
		is_newer = !w->has_ts || seq_lt(w->ts_recent, s->tsval) ||
			   (is_newer && s->tsval == w->ts_recent);
	if (l == NULL || !is_newer || w->is_half || (s->flags & TCP_ACK)) {
		wait_challenge(t, w);
		return;
	}
	if (t->shed < SHED_DROP) {
		COUNT(t->counters, TCP_WAIT_REUSED);
		tcp_wait_drop(t, w);
	}
	tcp_embryo_syn(t, &path, s, l, last);
}

static void
wait_rst(struct tcp *t, struct tcp_wait *w, const struct tcp_seg *s)
{
	if (!w->is_half)
		return; // RFC 1337: it would end the wait that others need
	if (s->seq == w->rcv_nxt) {
		COUNT(t->counters, TCP_RST_IN);
		tcp_wait_drop(t, w);
	} else if (s->seq - w->rcv_nxt < UINT16_MAX) {
		wait_challenge(t, w);
	}
}

// The peer's half is still open. True: nothing more is to be done.
static bool
wait_half(struct tcp *t, struct tcp_wait *w, const struct tcp_seg *s)
{
	uint32_t end = s->seq + s->data.n;

	if (s->seq == w->rcv_nxt && s->data.n == 0 && (s->flags & TCP_FIN)) {
		w->rcv_nxt++;
		return false; // from here on it is a FIN that is to be acknowledged
	}
	if (s->data.n > 0 && end - w->rcv_nxt - 1 < UINT16_MAX) {
		if (wait_send(t, w, TCP_RST | TCP_ACK))
			COUNT(t->counters, TCP_RST_OUT);
		tcp_wait_drop(t, w);
		return true;
	}
	if ((s->flags & TCP_FIN) || s->data.n > 0 || s->seq != w->rcv_nxt)
		wait_challenge(t, w);
	return true;
}

void
tcp_wait_input(struct tcp *t, struct tcp_wait *w, const struct tcp_seg *s)
{
	bool is_fin = s->flags & TCP_FIN;

	if (s->flags & TCP_RST) {
		wait_rst(t, w, s);
		return;
	}
	if (s->flags & TCP_SYN) {
		wait_syn(t, w, s);
		return;
	}
	if (w->has_ts && (!(s->opts & TCP_OPT_TS) || seq_lt(s->tsval, w->ts_recent))) {
		COUNT(t->counters, TCP_PAWS);
		if (s->opts & TCP_OPT_TS)
			wait_challenge(t, w);
		return;
	}
	if (!(s->flags & TCP_ACK) || (w->is_half && wait_half(t, w, s)))
		return;
	if (is_fin && s->seq + s->data.n + 1 == w->rcv_nxt) { // or our last ACK was lost
		wait_again(t, w);
		if (w->has_ts)
			w->ts_recent = s->tsval;
		(void)wait_send(t, w, TCP_ACK);
	} else if (is_fin || s->data.n > 0 || s->seq != w->rcv_nxt) {
		wait_challenge(t, w);
	}
}

uint32_t
tcp_wait_run(struct tcp *t, uint32_t most)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < 2; i++) {
		struct tcp_wait *w;

		while (count < most) {
			w = tcp_fifo_first(&t->wait_list[i], &t->waits);
			if (w == NULL || wait_left(t, w) > 0)
				break;
			if (w->is_half)
				COUNT(t->counters, TCP_TIMEOUT);
			tcp_wait_drop(t, w);
			count++;
		}
	}
	return count;
}

uint64_t
tcp_wait_next_ms(const struct tcp *t)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < 2; i++) {
		const struct tcp_wait *w = tcp_fifo_first(&t->wait_list[i], &t->waits);
		int32_t left = w == NULL ? 0 : wait_left(t, w);
		uint64_t tick = t->now_ms / TCP_WAIT_TICK_MS;

		if (w != NULL)
			next = MIN(next, left <= 0 ? t->now_ms
						   : (tick + (uint32_t)left) * TCP_WAIT_TICK_MS);
	}
	return next;
}
