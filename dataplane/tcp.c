// SPDX-License-Identifier: Apache-2.0
// tcp: the instance, its loop, and what users call. Runs on the owning worker. See tcp.h for the
// contract, tcp_conn.h for the parts.
//
// The dead list: a connection that ends is taken out of the table, the timers and the lists at
// once, but `gone` is called and the memory given back only by tcp_work, so users may end any
// connection from any call. TIME_WAIT is a record of its own (tcp_wait.c): `gone` comes as soon as
// the user's last bytes are taken.
#include "dataplane/tcp_sent.h"

#define TCP_WORK_EXTRA 64u // connections that become ready during a pass and are still served in it

static bool
open_tables(struct tcp *t, const struct tcp_args *a)
{
	uint32_t embryos = a->embryos_max > 0 ? a->embryos_max : a->conns_max / 4 + 16;
	uint32_t waits = a->waits_max > 0 ? a->waits_max : a->conns_max / 4 + 16;
	// What flies is in chunks, one for each full segment; some more for FINs.
	uint32_t sents = a->chunks->pool.cap + TCP_SENT_EXTRA;
	uint32_t flights = MIN(sents, a->conns_max);

	t->dests = mem_get(a->mem, TCP_DESTS_MAX * sizeof(*t->dests), "local ports");
	t->embryos_high = embryos - embryos / 4;
	return t->dests != NULL &&
	       pool_init(&t->conns, a->mem, "connections", sizeof(struct tcp_conn), a->conns_max) &&
	       pool_init(&t->sents, a->mem, "segments sent", sizeof(struct tcp_sent), sents) &&
	       pool_init(&t->flights, a->mem, "flights", sizeof(struct tcp_flight), flights) &&
	       pool_init(&t->embryos, a->mem, "half-open", sizeof(struct tcp_embryo), embryos) &&
	       pool_init(&t->waits, a->mem, "time wait", sizeof(struct tcp_wait), waits) &&
	       flow_init(&t->flows, a->mem, a->conns_max + embryos + waits, t->key);
}

static void
close_tables(struct tcp *t)
{
	flow_fini(&t->flows);
	pool_fini(&t->waits);
	pool_fini(&t->embryos);
	pool_fini(&t->flights);
	pool_fini(&t->sents);
	pool_fini(&t->conns);
	if (t->dests != NULL)
		mem_put(t->mem, t->dests, TCP_DESTS_MAX * sizeof(*t->dests));
	t->magic = 0;
	mem_put(t->mem, t, sizeof(*t));
}

struct tcp *
tcp_open(const struct tcp_args *a)
{
	CHECK(a->conns_max > 0);
	CHECK(a->chunks != NULL);
	CHECK(a->counters != NULL);
	CHECK(a->mem != NULL);
	CHECK(a->net != NULL && a->net->seg_get != NULL && a->net->seg_put != NULL);
	struct tcp *t = mem_get(a->mem, sizeof(*t), "tcp");

	if (t == NULL)
		return NULL;
	t->magic = TCP_MAGIC;
	t->chunks = a->chunks;
	t->counters = a->counters;
	t->trace = a->trace != NULL ? a->trace : &trace_off;
	t->net = a->net;
	t->net_ctx = a->net_ctx;
	t->conns_max = a->conns_max;
	t->mtu = a->mtu;
	t->mem = a->mem;
	tcp_settings(t, &a->settings);
	memcpy(&t->key, a->secret, sizeof(t->key));
	rng_init(&t->rng, a->seed);
	list_init(&t->ready);
	list_init(&t->blocked);
	list_init(&t->dead);
	list_init(&t->drain);
	list_init(&t->orphans);
	list_init(&t->gaps);
	wheel_init(&t->wheel, 0);
	t->challenges.s = t->resets.s = UINT64_MAX; // no second has begun
	if (!open_tables(t, a)) {
		close_tables(t);
		return NULL;
	}
	return t;
}

static void
close_collect(void *ctx, uint32_t ref)
{
	struct tcp *t = ctx;

	if (tcp_ref_kind(ref) != TCP_KIND_CONN)
		return;
	struct tcp_conn *c = pool_at(&t->conns, tcp_ref_index(ref));

	c->flags &= ~TF_FLOW; // the table goes as a whole
	tcp_conn_die(c, TCP_GONE_CLOSED);
}

void
tcp_close(struct tcp **tp)
{
	struct tcp *t = *tp;
	struct list_node *n;

	if (t == NULL)
		return;
	OBJ_CHECK(t, TCP_MAGIC);
	*tp = NULL;
	flow_each(&t->flows, close_collect, t);
	while ((n = list_first(&t->drain)) != NULL)
		tcp_conn_die(CONTAINER_OF(n, struct tcp_conn, node), TCP_GONE_CLOSED);
	while ((n = list_first(&t->dead)) != NULL) {
		struct tcp_conn *c = CONTAINER_OF(n, struct tcp_conn, work);

		c->ops = NULL;
		c->flags &= ~TF_RST_DUE;
		tcp_conn_free(c);
	}
	CHECK(t->conns.used == 0);
	CHECK(t->sents.used == 0);
	CHECK(t->flights.used == 0);
	close_tables(t);
}

bool
tcp_listen(struct tcp *t, uint16_t side, uint16_t port, tcp_accept_fn accept, void *ctx)
{
	OBJ_CHECK(t, TCP_MAGIC);
	CHECK(accept != NULL);
	CHECK(port != 0);
	if (t->listener_count == TCP_LISTENERS_MAX)
		return false;
	t->listeners[t->listener_count++] = (struct tcp_listener){
		.side = side,
		.port = port,
		.accept = accept,
		.ctx = ctx,
	};
	return true;
}

void
tcp_settings(struct tcp *t, const struct tcp_settings *s)
{
	OBJ_CHECK(t, TCP_MAGIC);
	CHECK(s->window_bytes > 0);
	t->set = *s;
	// RFC 7323 2.3: a window must stay below 2^30.
	t->set.window_bytes = MIN(s->window_bytes, (1u << 30) - 1);
	t->set.window_bytes_max = MIN(MAX(s->window_bytes_max, s->window_bytes), (1u << 30) - 1);
}

void
tcp_shed(struct tcp *t, enum shed_level level)
{
	OBJ_CHECK(t, TCP_MAGIC);
	t->shed = level;
}

uint32_t
tcp_conn_count(const struct tcp *t)
{
	OBJ_CHECK(t, TCP_MAGIC);
	return t->conns.used;
}

uint32_t
tcp_conn_max(const struct tcp *t)
{
	OBJ_CHECK(t, TCP_MAGIC);
	return t->conns_max;
}

uint32_t
tcp_flight_count(const struct tcp *t)
{
	OBJ_CHECK(t, TCP_MAGIC);
	return t->flights.used;
}

uint32_t
tcp_embryo_count(const struct tcp *t)
{
	OBJ_CHECK(t, TCP_MAGIC);
	return t->embryos.used;
}

uint32_t
tcp_wait_count(const struct tcp *t)
{
	OBJ_CHECK(t, TCP_MAGIC);
	return t->waits.used;
}

void
tcp_ready(struct tcp_conn *c)
{
	if (c->flags & (TF_READY | TF_BLOCKED | TF_DEAD))
		return;
	c->flags |= TF_READY;
	list_push_back(&c->tcp->ready, &c->work);
}

bool
tcp_challenge_allowed(struct tcp *t)
{
	return tcp_limit_allows(t, &t->challenges, TCP_CHALLENGES_PER_S);
}

bool
tcp_reset_allowed(struct tcp *t)
{
	if (tcp_limit_allows(t, &t->resets, TCP_RESETS_PER_S))
		return true;
	COUNT(t->counters, TCP_RST_LIMITED);
	return false;
}

void
tcp_enter_time_wait(struct tcp_conn *c)
{
	CHECK(chunkq_is_empty(&c->sndq));
	c->state = TCPS_TIME_WAIT;
	c->rtx_ms = 0;
	c->flags &= ~TF_PERSIST;
	c->idle_ms = tcp_after(c, TCP_TIME_WAIT_MS);
	tcp_ready(c); // our ACK, then the record
}

void
tcp_finish(struct tcp_conn *c)
{
	CHECK(chunkq_is_empty(&c->sndq));
	if (c->ops == NULL || tcp_rcv_is_drained(c)) {
		tcp_conn_die(c, TCP_GONE_CLOSED);
		return;
	}
	if (c->flags & TF_FLOW)
		tcp_conn_unfile(c);
	c->flags &= ~(TF_PERSIST | TF_ACK_NOW);
	c->state = TCPS_DRAIN;
	c->rtx_ms = 0;
	c->ack_ms = 0;
	c->idle_ms = 0; // how long it may take is the user's own limit
	list_push_back(&c->tcp->drain, &c->node);
}

uint32_t
tcp_run(struct tcp *t, uint64_t now_us, uint32_t most)
{
	OBJ_CHECK(t, TCP_MAGIC);
	CHECK(now_us >= t->now_us);
	t->now_us = now_us;
	t->now_ms = now_us / 1000;
	t->now_ms32 = (uint32_t)t->now_ms;
	t->now_s = (uint32_t)(t->now_ms / 1000);
	uint32_t count = 0;

	if (t->records_ms != t->now_ms) { // most loops: the millisecond is still the same
		uint32_t part = (most + 3) / 4;
		uint32_t embryos = tcp_embryo_run(t, part), waits = tcp_wait_run(t, part);

		if (embryos < part && waits < part)
			t->records_ms = t->now_ms;
		count = embryos + waits + tcp_ooo_shed(t);
	}
	if (t->wheel.now_ms >= t->now_ms && t->wheel.due == NULL)
		return count;
	return count + wheel_run(&t->wheel, t->now_ms, most - MIN(count, most), tcp_timer_fire, t);
}

uint64_t
tcp_next_ms(const struct tcp *t)
{
	OBJ_CHECK(t, TCP_MAGIC);
	if (t->ready.count > 0 || t->dead.count > 0)
		return t->now_ms;
	uint64_t next = wheel_next_ms(&t->wheel);

	next = MIN(next, MIN(tcp_embryo_next_ms(t), tcp_wait_next_ms(t)));
	return t->blocked.count > 0 ? MIN(next, t->now_ms + 1) : next;
}

// Nobody is there, all that we had to say has arrived, and nothing of the peer's is in the way.
static bool
work_is_half(const struct tcp_conn *c)
{
	return c->state == TCPS_FIN_WAIT2 && tcp_is_forgotten(c) && c->ooo == NULL &&
	       !(c->flags & TF_FIN_EARLY);
}

// A connection whose TCP is over and whose user has had everything: tell it.
static void
work_settle(struct tcp_conn *c)
{
	if (!(c->flags & TF_BLOCKED) && (c->state == TCPS_TIME_WAIT || work_is_half(c)))
		(void)tcp_wait_enter(c);
	else if (c->state == TCPS_DRAIN && (c->ops == NULL || tcp_rcv_is_drained(c)))
		tcp_conn_die(c, TCP_GONE_CLOSED);
}

static uint32_t
work_conn(struct tcp_conn *c)
{
	struct tcp *t = c->tcp;
	uint32_t work = 0;

	OBJ_CHECK(c, TCP_CONN_MAGIC);
	CHECK(!tcp_is_dead(c));
	if (tcp_is_forgotten(c))
		chunkq_clear(&c->rcvq, t->chunks);
	if (c->flags & TF_RESUME)
		work += tcp_rcv_deliver(c);
	if (!tcp_is_dead(c) && (c->flags & TF_STARVED) && pool_free_count(&t->chunks->pool) > 0) {
		c->flags &= ~TF_STARVED;
		work++;
		if (c->ops != NULL)
			c->ops->sent(c->user, c);
	}
	if (tcp_is_dead(c))
		return work;
	enum tcp_out out = tcp_out_work(c, &work);

	if (out == TCP_OUT_MORE) {
		tcp_ready(c);
	} else if ((out == TCP_OUT_BLOCKED || (c->flags & TF_STARVED)) && !(c->flags & TF_READY)) {
		c->flags |= TF_BLOCKED;
		list_push_back(&t->blocked, &c->work);
	}
	tcp_timer_update(c);
	work_settle(c); // last: the connection may be gone afterwards
	return work;
}

static void
work_reap(struct tcp_conn *c)
{
	const struct tcp_user_ops *ops = c->ops;

	OBJ_CHECK(c, TCP_CONN_MAGIC);
	c->ops = NULL;
	if (ops != NULL)
		ops->gone(c->user, c, (enum tcp_gone)c->why);
	tcp_conn_free(c);
}

uint32_t
tcp_work(struct tcp *t)
{
	struct list_node *n;
	uint32_t work = 0, count, i;

	OBJ_CHECK(t, TCP_MAGIC);
	while ((n = list_pop_front(&t->blocked)) != NULL) { // one more try each
		struct tcp_conn *c = CONTAINER_OF(n, struct tcp_conn, work);

		c->flags &= ~TF_BLOCKED;
		tcp_ready(c);
	}
	count = 2 * t->ready.count + TCP_WORK_EXTRA;
	for (i = 0; i < count && (n = list_pop_front(&t->ready)) != NULL; i++) {
		struct tcp_conn *c = CONTAINER_OF(n, struct tcp_conn, work);

		c->flags &= ~TF_READY;
		work += work_conn(c);
	}
	work += tcp_embryo_work(t);
	count = t->dead.count + TCP_WORK_EXTRA;
	for (i = 0; i < count && (n = list_first(&t->dead)) != NULL; i++, work++)
		work_reap(CONTAINER_OF(n, struct tcp_conn, work));
	return work;
}

// How long the send queue may become: what flies and as much again, so that the window can grow,
// but not more than a fair part of the memory that is left.
static uint32_t
conn_limit(const struct tcp_conn *c)
{
	const struct chunk_pool *p = c->tcp->chunks;

	if (2 * c->cwnd <= TCP_SEND_BYTES_MAX || chunk_pool_is_low(p))
		return TCP_SEND_BYTES_MAX;
	uint64_t fair = (uint64_t)pool_free_count(&p->pool) * CHUNK_DATA / 4;

	fair = MAX(fair, TCP_SEND_BYTES_MAX);
	return (uint32_t)MIN(MIN(2 * c->cwnd, TCP_SEND_BYTES_MOST), fair);
}

bool
tcp_conn_is_full(const struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	return c->sndq.bytes >= conn_limit(c);
}

uint32_t
tcp_conn_room(const struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	uint32_t limit = conn_limit(c);

	if ((c->flags & (TF_DEAD | TF_FIN_QUEUED)) || c->sndq.bytes >= limit)
		return 0;
	const struct chunk *last = c->sndq.last;
	uint64_t room = limit - c->sndq.bytes;
	uint64_t memory = (uint64_t)pool_free_count(&c->tcp->chunks->pool) * CHUNK_DATA;

	if (last != NULL)
		memory += CHUNK_DATA - last->off - last->len;
	return (uint32_t)MIN(room, memory);
}

uint32_t
tcp_conn_write(struct tcp_conn *c, struct span s)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	uint32_t limit = conn_limit(c);

	if ((c->flags & (TF_DEAD | TF_FIN_QUEUED)) || c->sndq.bytes >= limit)
		return 0;
	s = span_sub(s, 0, limit - (uint32_t)c->sndq.bytes);
	uint32_t n = chunkq_add(&c->sndq, c->tcp->chunks, s);

	if (n < s.n)
		c->flags |= TF_STARVED;
	if (s.n > 0)
		tcp_ready(c);
	return n;
}

uint64_t
tcp_conn_write_chunks(struct tcp_conn *c, struct chunkq *q)
{
	uint64_t moved = 0;

	OBJ_CHECK(c, TCP_CONN_MAGIC);
	uint32_t limit = conn_limit(c);

	if (c->flags & (TF_DEAD | TF_FIN_QUEUED))
		return 0;
	while (q->first != NULL && c->sndq.bytes < limit) { // each turn moves a chunk
		struct chunk *k = q->first;

		OBJ_CHECK(k, CHUNK_MAGIC);
		CHECK(q->count > 0 && q->bytes >= k->len);
		q->first = k->next;
		if (q->first == NULL)
			q->last = NULL;
		q->count--;
		q->bytes -= k->len;
		moved += k->len;
		chunkq_push(&c->sndq, k);
	}
	if (moved > 0)
		tcp_ready(c);
	return moved;
}

uint32_t
tcp_conn_unsent(const struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	return (uint32_t)c->sndq.bytes;
}

void
tcp_conn_resume(struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	if (c->flags & TF_DEAD)
		return;
	c->flags |= TF_RESUME;
	tcp_ready(c);
}

void
tcp_conn_close(struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	if (c->flags & (TF_DEAD | TF_FIN_QUEUED))
		return;
	if (c->state == TCPS_SYN_SENT && chunkq_is_empty(&c->sndq)) {
		tcp_conn_die(c, TCP_GONE_CLOSED); // nothing to bring over
		return;
	}
	c->flags |= TF_FIN_QUEUED;
	if (c->state == TCPS_ESTABLISHED)
		c->state = TCPS_FIN_WAIT1;
	else if (c->state == TCPS_CLOSE_WAIT)
		c->state = TCPS_LAST_ACK;
	else
		CHECK(c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD);
	c->idle_ms = c->state == TCPS_SYN_SENT ? c->idle_ms : 0;
	tcp_ready(c);
}

void
tcp_conn_abort(struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	if (c->flags & TF_DEAD)
		return;
	if (c->state == TCPS_SYN_SENT || c->state == TCPS_TIME_WAIT || c->state == TCPS_DRAIN)
		tcp_conn_die(c, TCP_GONE_CLOSED); // the peer needs no telling
	else
		tcp_conn_reset(c, TCP_GONE_CLOSED);
}

// Who takes his 421 or 221 by never answering would keep a connection and a chunk for a minute, and
// no limit of SMTP's counts him any more; who takes the reply and not the FIN keeps a connection
// and a flight. There are as many flights as connections, or as chunks where those are fewer. The
// oldest is the one that has had time to answer.
static bool
orphans_are_many(const struct tcp *t)
{
	uint32_t most = UINT32_MAX; // each shortage has its own: a million idle sessions are none

	if (pool_free_count(&t->conns) < t->conns_max / 4)
		most = t->conns_max / TCP_ORPHANS_SHARE;
	if (pool_free_count(&t->flights) < t->flights.cap / 4 ||
	    pool_free_count(&t->chunks->pool) < t->chunks->pool.cap / 2)
		most = MIN(most, t->flights.cap / TCP_ORPHANS_SHARE);
	return t->orphans.count > MAX(most, TCP_ORPHANS_MIN);
}

static void
conn_orphan(struct tcp_conn *c)
{
	struct tcp *t = c->tcp;

	list_push_back(&t->orphans, &c->node);
	for (uint32_t i = 0; i < 2 && orphans_are_many(t); i++) { // two for one: they become fewer
		COUNT(t->counters, TCP_ORPHAN_DROPPED);
		tcp_conn_abort(CONTAINER_OF(list_first(&t->orphans), struct tcp_conn, node));
	}
}

void
tcp_conn_forget(struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	if (c->ops == NULL)
		return;
	c->ops = NULL;
	c->user = NULL;
	if (c->flags & TF_DEAD)
		return;
	if (c->state == TCPS_DRAIN) {
		tcp_conn_die(c, TCP_GONE_CLOSED);
		return;
	}
	tcp_conn_close(c);
	if (c->flags & TF_DEAD)
		return;
	tcp_ooo_clear(c); // what it would have been for is gone; the peer repeats what it must
	c->flags &= ~(TF_RESUME | TF_STARVED);
	// Nobody above watches it any more: it must end by itself.
	if (c->state != TCPS_TIME_WAIT && c->state != TCPS_SYN_SENT)
		c->idle_ms = tcp_after(c, TCP_FIN_WAIT2_MS);
	tcp_timer_update(c);
	tcp_ready(c); // throws away what was queued for the user
	conn_orphan(c);
}

const struct tcp_path *
tcp_conn_path(const struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	return &c->path;
}
