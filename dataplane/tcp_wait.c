// SPDX-License-Identifier: Apache-2.0
// tcp_wait: TIME_WAIT as a record of one cache line. Runs on the owning worker.
//
// The record holds what the half minute is for: the peer's FIN, sent again because our last ACK was
// lost, is acknowledged, old segments reach no newer connection of that name, and a SYN that is
// newer for certain begins one (RFC 6191, RFC 9293 3.6.1). A RST ends nothing (RFC 1337). All wait
// equally long, so the list is in order of time; a repeated FIN puts its record at the end.
#include "dataplane/tcp_conn.h"

#define LINK offsetof(struct tcp_wait, link)
#define TICK_BITS 15u

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
	w->tick = wait_tick(t, TCP_TIME_WAIT_MS + TCP_WAIT_TICK_MS) & ((1u << TICK_BITS) - 1);
	tcp_fifo_push(&t->wait_list, &t->waits, LINK, w);
}

void
tcp_wait_drop(struct tcp *t, struct tcp_wait *w)
{
	struct tcp_path path = w->path;

	flow_remove(&t->flows, tcp_path_hash(t, &path),
		    tcp_ref(TCP_KIND_WAIT, pool_index(&t->waits, w)));
	tcp_fifo_remove(&t->wait_list, &t->waits, LINK, w);
	pool_put(&t->waits, w);
	tcp_port_put(t, &path);
}

static void
wait_ack(struct tcp *t, const struct tcp_wait *w, bool is_limited)
{
	uint32_t ts_offset;

	if (is_limited && !tcp_challenge_allowed(t))
		return;
	(void)tcp_isn(t, &w->path, &ts_offset);
	// Without a frame nothing is lost: the peer repeats what this answers.
	(void)tcp_seg_send(t, &w->path,
			   &(struct tcp_bare){
				   .seq = w->snd_nxt,
				   .ack = w->rcv_nxt,
				   .tsval = t->now_ms32 + ts_offset,
				   .tsecr = w->ts_recent,
				   .wnd = UINT16_MAX,
				   .flags = TCP_ACK,
				   .opts = w->has_ts ? TCP_OPT_TS : 0,
			   });
}

struct tcp_wait *
tcp_wait_enter(struct tcp_conn *c)
{
	struct tcp *t = c->tcp;

	CHECK(c->state == TCPS_TIME_WAIT);
	CHECK(c->flags & TF_FLOW);
	if (pool_free_count(&t->waits) == 0) {
		COUNT(t->counters, TCP_WAIT_DROPPED);
		tcp_wait_drop(t, tcp_fifo_first(&t->wait_list, &t->waits));
	}
	struct tcp_wait *w = pool_get(&t->waits);

	CHECK(w != NULL);
	*w = (struct tcp_wait){
		.magic = TCP_WAIT_MAGIC,
		.path = c->path,
		.has_ts = !!(c->flags & TF_TS),
		.rcv_nxt = c->rcv_nxt,
		.snd_nxt = c->snd_max,
		.ts_recent = c->ts_recent,
	};
	wait_begin(t, w);
	flow_replace(&t->flows, tcp_path_hash(t, &c->path),
		     tcp_ref(TCP_KIND_CONN, pool_index(&t->conns, c)),
		     tcp_ref(TCP_KIND_WAIT, pool_index(&t->waits, w)));
	c->flags &= ~TF_FLOW;
	if (c->flags & TF_ACK_NOW)
		wait_ack(t, w, false);
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

	if (w->has_ts && (s->opts & TCP_OPT_TS))
		is_newer = seq_lt(w->ts_recent, s->tsval) || (is_newer && s->tsval == w->ts_recent);
	if (l == NULL || !is_newer) {
		wait_ack(t, w, true);
		return;
	}
	if (t->shed < SHED_DROP) {
		COUNT(t->counters, TCP_WAIT_REUSED);
		tcp_wait_drop(t, w);
	}
	tcp_embryo_syn(t, &path, s, l, last);
}

void
tcp_wait_input(struct tcp *t, struct tcp_wait *w, const struct tcp_seg *s)
{
	bool is_fin = s->flags & TCP_FIN;

	if (s->flags & TCP_RST)
		return; // RFC 1337: it would end the wait that others need
	if ((s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		wait_syn(t, w, s);
		return;
	}
	if (w->has_ts && (!(s->opts & TCP_OPT_TS) || seq_lt(s->tsval, w->ts_recent))) {
		COUNT(t->counters, TCP_PAWS);
		if (s->opts & TCP_OPT_TS)
			wait_ack(t, w, true);
		return;
	}
	if (is_fin && s->seq + s->data.n + 1 == w->rcv_nxt) { // our last ACK was lost
		tcp_fifo_remove(&t->wait_list, &t->waits, LINK, w);
		wait_begin(t, w);
		if (w->has_ts)
			w->ts_recent = s->tsval;
		wait_ack(t, w, false);
	} else if (is_fin || s->data.n > 0 || s->seq != w->rcv_nxt) {
		wait_ack(t, w, true);
	}
}

uint32_t
tcp_wait_run(struct tcp *t, uint32_t most)
{
	uint32_t count = 0;

	while (count < most) {
		struct tcp_wait *w = tcp_fifo_first(&t->wait_list, &t->waits);

		if (w == NULL || wait_left(t, w) > 0)
			break;
		tcp_wait_drop(t, w);
		count++;
	}
	return count;
}

uint64_t
tcp_wait_next_ms(const struct tcp *t)
{
	const struct tcp_wait *w = tcp_fifo_first(&t->wait_list, &t->waits);

	if (w == NULL)
		return UINT64_MAX;
	int32_t left = wait_left(t, w);

	if (left <= 0)
		return t->now_ms;
	return (t->now_ms / TCP_WAIT_TICK_MS + (uint32_t)left) * TCP_WAIT_TICK_MS;
}
