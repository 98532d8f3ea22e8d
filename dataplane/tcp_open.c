// SPDX-License-Identifier: Apache-2.0
// tcp_open: birth and death of connections: initial sequence numbers, local ports, listeners, the
// pool. Runs on the owning worker.
//
// When the pool is empty the oldest TIME_WAIT goes first, then (for our own opens only: the
// backend's half of a relay is worth more than a stranger's SYN) the oldest embryonic connection.
#include "dataplane/tcp_sent.h"

#include <string.h>

enum { HASH_ISN = 1, HASH_TS, HASH_PORT };

// A keyed hash of the four-tuple; `what` keeps the uses apart, so that one does not reveal another.
static uint64_t
open_hash(const struct tcp *t, const struct tcp_path *path, uint8_t what)
{
	uint8_t b[sizeof(*path) + 1];

	memcpy(b, path, sizeof(*path));
	b[sizeof(*path)] = what;
	return siphash13(t->key, b, sizeof(b));
}

uint32_t
tcp_isn(const struct tcp *t, const struct tcp_path *path)
{
	// RFC 6528: a clock of 4 us plus a secret function of the connection's name.
	return (uint32_t)(t->now_us / 4) + (uint32_t)open_hash(t, path, HASH_ISN);
}

uint16_t
tcp_mss_for(const struct ipaddr *laddr, uint16_t mtu)
{
	uint32_t headers = ipaddr_is_v4(laddr) ? 40 : 60;

	return (uint16_t)(MAX(mtu, TCP_MTU_MIN) - headers);
}

static bool
open_flow_is(const void *ctx, uint32_t index, const void *key)
{
	const struct tcp *t = ctx;
	const struct tcp_conn *c = pool_at(&t->conns, index);
	const struct tcp_path *p = key;

	OBJ_CHECK(c, TCP_CONN_MAGIC);
	return c->path.rport == p->rport && c->path.lport == p->lport && c->path.side == p->side &&
	       memcmp(&c->path.raddr, &p->raddr, sizeof(p->raddr)) == 0 &&
	       memcmp(&c->path.laddr, &p->laddr, sizeof(p->laddr)) == 0;
}

uint32_t
tcp_flow_find(const struct tcp *t, uint64_t hash, const struct tcp_path *path)
{
	return flow_find(&t->flows, hash, path, open_flow_is, t);
}

struct tcp_listener *
tcp_listener_find(struct tcp *t, const struct tcp_path *path)
{
	for (uint32_t i = 0; i < t->listener_count; i++) {
		struct tcp_listener *l = &t->listeners[i];

		if (l->port == path->lport && (l->is_any || ipaddr_eq(&l->addr, &path->laddr)))
			return l;
	}
	return NULL;
}

void
tcp_drop_oldest(struct tcp *t, struct list *l)
{
	struct list_node *n = list_first(l);

	CHECK(n != NULL);
	struct tcp_conn *c = CONTAINER_OF(n, struct tcp_conn, node);

	OBJ_CHECK(c, TCP_CONN_MAGIC);
	CHECK(c->tcp == t);
	CHECK(c->ops == NULL);
	tcp_conn_die(c, TCP_GONE_CLOSED);
	tcp_conn_free(c);
}

static struct tcp_conn *
open_get(struct tcp *t, bool is_active)
{
	if (pool_free_count(&t->conns) == 0) {
		if (t->time_wait.count > 0)
			tcp_drop_oldest(t, &t->time_wait);
		else if (is_active && t->embryos.count > 0)
			tcp_drop_oldest(t, &t->embryos);
	}
	return pool_get(&t->conns);
}

struct tcp_conn *
tcp_conn_new(struct tcp *t, const struct tcp_path *path, bool is_active)
{
	struct tcp_conn *c = open_get(t, is_active);

	if (c == NULL)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->magic = TCP_CONN_MAGIC;
	c->tcp = t;
	c->path = *path;
	c->flags = TF_FLOW | (is_active ? TF_ACTIVE : 0);
	wheel_node_init(&c->timer);
	list_node_init(&c->work);
	list_node_init(&c->node);
	chunkq_init(&c->sndq);
	chunkq_init(&c->rcvq);
	c->window = t->set.window_bytes;
	c->rcv_wscale = tcp_rcv_wscale(t);
	c->keepalive_s = (uint16_t)MIN(t->set.keepalive_s, UINT16_MAX);
	c->rto_ms = TCP_RTO_INITIAL_MS;
	c->ssthresh = TCP_CWND_MAX;
	c->ts_offset = (uint32_t)open_hash(t, path, HASH_TS);
	c->snd_una = tcp_isn(t, path);
	c->snd_nxt = c->snd_una;
	c->snd_max = c->snd_una;
	c->recover = c->snd_una;
	c->last_send_ms = t->now_ms32;
	if (!flow_add(&t->flows, flow_hash(&t->flows, path, sizeof(*path)),
		      pool_index(&t->conns, c))) {
		pool_put(&t->conns, c);
		return NULL;
	}
	return c;
}

static struct list *
open_node_list(struct tcp_conn *c)
{
	switch (c->state) {
	case TCPS_TIME_WAIT:
		return &c->tcp->time_wait;
	case TCPS_DRAIN:
		return &c->tcp->drain;
	default:
		return &c->tcp->embryos;
	}
}

void
tcp_conn_die(struct tcp_conn *c, enum tcp_gone why)
{
	struct tcp *t = c->tcp;

	CHECK(!tcp_is_dead(c));
	if (c->flags & TF_FLOW)
		flow_remove(&t->flows, flow_hash(&t->flows, &c->path, sizeof(c->path)),
			    pool_index(&t->conns, c));
	wheel_cancel(&t->wheel, &c->timer);
	if (list_node_is_linked(&c->node))
		list_remove(open_node_list(c), &c->node);
	if (c->flags & TF_READY)
		list_remove(&t->ready, &c->work);
	else if (c->flags & TF_BLOCKED)
		list_remove(&t->blocked, &c->work);
	CHECK(!list_node_is_linked(&c->work));
	c->flags &= ~(TF_FLOW | TF_READY | TF_BLOCKED);
	c->flags |= TF_DEAD;
	c->state = TCPS_CLOSED;
	c->why = (uint8_t)why;
	list_push_back(&t->dead, &c->work);
}

void
tcp_conn_reset(struct tcp_conn *c, enum tcp_gone why)
{
	if (!tcp_out_rst(c))
		c->flags |= TF_RST_DUE;
	tcp_conn_die(c, why);
}

void
tcp_conn_free(struct tcp_conn *c)
{
	struct tcp *t = c->tcp;

	OBJ_CHECK(c, TCP_CONN_MAGIC);
	CHECK(tcp_is_dead(c));
	CHECK(c->ops == NULL);
	list_remove(&t->dead, &c->work);
	if (c->flags & TF_RST_DUE)
		(void)tcp_out_rst(c); // second and last try: the peer finds out by itself otherwise
	tcp_sent_clear(c);
	chunkq_clear(&c->sndq, t->chunks);
	chunkq_clear(&c->rcvq, t->chunks);
	tcp_ooo_clear(c);
	CHECK(!wheel_is_set(&c->timer));
	CHECK(!list_node_is_linked(&c->node));
	pool_put(&t->conns, c);
}

// RFC 6056 3.3.3: start at a secret offset of the destination plus a counter, take the first free
// port.
static bool
open_port(struct tcp *t, struct tcp_path *path)
{
	path->lport = 0;
	uint32_t offset = (uint32_t)open_hash(t, path, HASH_PORT);

	for (uint32_t i = 0; i < TCP_PORT_TRIES; i++) {
		path->lport = (uint16_t)(TCP_PORT_MIN + (offset + t->port_next) % TCP_PORT_COUNT);
		t->port_next++;
		if (path->lport == path->rport && ipaddr_eq(&path->laddr, &path->raddr))
			continue; // a connection with itself
		if (tcp_flow_find(t, flow_hash(&t->flows, path, sizeof(*path)), path) != FLOW_NONE)
			continue;
		if (t->net->port_is_mine == NULL || t->net->port_is_mine(t->net_ctx, path))
			return true;
	}
	COUNT(t->counters, TCP_PORTS_EXHAUSTED);
	return false;
}

struct tcp_conn *
tcp_conn_open(struct tcp *t, const struct ipaddr *raddr, uint16_t rport,
	      const struct tcp_user_ops *ops, void *user)
{
	struct tcp_path path = {.raddr = *raddr, .rport = rport};
	uint16_t mtu = t->mtu;

	OBJ_CHECK(t, TCP_MAGIC);
	CHECK(ops != NULL);
	CHECK(rport != 0);
	if (!t->net->route(t->net_ctx, raddr, 0, &path.laddr, &path.side, &mtu) ||
	    !open_port(t, &path))
		return NULL;
	struct tcp_conn *c = tcp_conn_new(t, &path, true);

	if (c == NULL)
		return NULL;
	c->state = TCPS_SYN_SENT;
	c->ops = ops;
	c->user = user;
	c->flags |= TF_SYN_DUE | TF_USED;
	c->adv_mss = tcp_mss_for(&path.laddr, mtu);
	c->snd_edge = c->snd_una + 1;
	c->idle_ms = tcp_after(c, TCP_SYN_LIFE_MS);
	tcp_timer_update(c);
	tcp_ready(c);
	COUNT(t->counters, TCP_OPEN_ACTIVE);
	return c;
}
