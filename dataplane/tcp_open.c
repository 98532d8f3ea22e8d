// SPDX-License-Identifier: Apache-2.0
// tcp_open: birth and death of connections, listeners, the pool. Runs on the owning worker.
#include "dataplane/tcp_sent.h"

#include <string.h>

uint16_t
tcp_mss_for(const struct ipaddr *laddr, uint16_t mtu)
{
	uint32_t headers = ipaddr_is_v4(laddr) ? 40 : 60;

	return (uint16_t)(MAX(mtu, TCP_MTU_MIN) - headers);
}

uint16_t
tcp_mss_default(const struct ipaddr *laddr)
{
	return ipaddr_is_v4(laddr) ? TCP_MSS_DEFAULT : TCP_MSS_DEFAULT6;
}

struct tcp_listener *
tcp_listener_find(struct tcp *t, const struct tcp_path *path)
{
	for (uint32_t i = 0; i < t->listener_count; i++) {
		struct tcp_listener *l = &t->listeners[i];

		if (l->port == path->lport && (l->side == TCP_SIDE_ANY || l->side == path->side))
			return l;
	}
	return NULL;
}

struct tcp_conn *
tcp_conn_new(struct tcp *t, const struct tcp_path *path, uint32_t iss)
{
	struct tcp_conn *c = pool_get(&t->conns);

	if (c == NULL)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->magic = TCP_CONN_MAGIC;
	c->tcp = t;
	c->path = *path;
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
	(void)tcp_isn(t, path, &c->ts_offset);
	c->snd_una = iss;
	c->snd_nxt = c->snd_una;
	c->snd_max = c->snd_una;
	c->recover = c->snd_una;
	c->last_send_ms = t->now_ms32;
	return c;
}

void
tcp_conn_unfile(struct tcp_conn *c)
{
	struct tcp *t = c->tcp;

	flow_remove(&t->flows, tcp_path_hash(t, &c->path),
		    tcp_ref(TCP_KIND_CONN, pool_index(&t->conns, c)));
	c->flags &= ~TF_FLOW;
	tcp_port_put(t, &c->path);
}

void
tcp_conn_die(struct tcp_conn *c, enum tcp_gone why)
{
	struct tcp *t = c->tcp;

	CHECK(!tcp_is_dead(c));
	tcp_ooo_clear(c);
	if (c->flags & TF_FLOW)
		tcp_conn_unfile(c);
	wheel_cancel(&t->wheel, &c->timer);
	if (list_node_is_linked(&c->node))
		list_remove(c->state == TCPS_DRAIN ? &t->drain : &t->orphans, &c->node);
	if (c->flags & TF_READY)
		list_remove(&t->ready, &c->work);
	else if (c->flags & TF_BLOCKED)
		list_remove(&t->blocked, &c->work);
	CHECK(!list_node_is_linked(&c->work));
	c->flags &= ~(TF_READY | TF_BLOCKED);
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
	CHECK(!wheel_is_set(&c->timer));
	CHECK(!list_node_is_linked(&c->node));
	pool_put(&t->conns, c);
}

// In the table, with a number above the last one of the name's connection before (isn_above).
static struct tcp_conn *
open_active(struct tcp *t, const struct tcp_path *path, uint32_t isn_above)
{
	uint32_t ts_offset, iss = tcp_isn(t, path, &ts_offset);

	if (isn_above != 0 && seq_le(iss, isn_above))
		iss = isn_above + 64000;
	struct tcp_conn *c = tcp_conn_new(t, path, iss);

	if (c == NULL)
		return NULL;
	if (!flow_add(&t->flows, tcp_path_hash(t, path),
		      tcp_ref(TCP_KIND_CONN, pool_index(&t->conns, c)))) {
		pool_put(&t->conns, c);
		return NULL;
	}
	c->flags |= TF_FLOW | TF_ACTIVE;
	return c;
}

struct tcp_conn *
tcp_conn_open(struct tcp *t, const struct ipaddr *raddr, uint16_t rport,
	      const struct tcp_user_ops *ops, void *user)
{
	struct tcp_path path = {.raddr = *raddr, .rport = rport};
	uint16_t mtu = t->mtu;
	uint32_t isn_above;

	OBJ_CHECK(t, TCP_MAGIC);
	CHECK(ops != NULL);
	CHECK(rport != 0);
	if (!tcp_port_get(t, &path, &mtu, &isn_above))
		return NULL;
	struct tcp_conn *c = open_active(t, &path, isn_above);

	if (c == NULL) {
		tcp_port_put(t, &path);
		return NULL;
	}
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
