// SPDX-License-Identifier: Apache-2.0
// share: see the header. The numbers of `client_says` and its like are the payload bytes of a 4 KB
// message on the links of bench_pipeline.
#include "bench/share.h"

#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "dataplane/net.h"
#include "dataplane/trace.h"
#include "test/sim/lib/vnet.h"

#define TALKS 16u // as many as bench_pipeline has under way
#define STOCK 256u
#define TIMERS 256u
#define SMTP_PORT 25u
#define STEPS_MAX 100000000ull
#define REST_US 90000000ull

// What a side says once so many bytes of the other have come.
struct say {
	uint32_t after, bytes;
};

static const struct say client_says[] = {
	{35, 18},                    // EHLO
	{35 + 95, 66},               // MAIL, RCPT, DATA
	{35 + 95 + 21 + 60, 4099},   // the message
	{35 + 95 + 21 + 60 + 22, 6}, // QUIT
};
static const struct say backend_says[] = {
	{60, 28},           // to MAIL and RCPT
	{60 + 6, 8},        // 354
	{60 + 6 + 4306, 22} // 250
};
#define BODY_AT (18u + 66u)
#define BODY_BYTES 4099u
#define EDIT_BYTES 207u // that the appliance puts before it
#define BACKEND_BYTES (28u + 8u + 22u)
#define TAKEN_BYTES (60u + 6u + EDIT_BYTES + BODY_BYTES)

struct peer { // a connection of one of the two machines
	struct share *s;
	struct tcp_conn *conn;
	uint32_t came, said;
	bool has_eof;
};

struct talk { // one message on its way through the relay
	struct share *s;
	struct tcp_conn *client, *backend;
	uint32_t from_client, from_backend;
	struct chunkq body;
};

struct shim { // the relay's port: a burst in, a burst out, and no wire while the clock runs
	struct port port, *wire;
	struct frame in[PORT_BURST], stock[STOCK], out[STOCK];
	uint32_t in_count, stock_count, out_count;
};

struct share {
	struct vnet *v;
	struct vnet_host client, backend;
	struct peer from[TALKS], to[TALKS];
	uint32_t to_count;
	struct talk talk[TALKS];
	uint32_t free_talk[TALKS], free_count;
	uint64_t started, wanted, done;
	uint64_t cycles;
	// The relay.
	struct shim shim[2];
	struct net *net;
	struct tcp *tcp;
	struct chunk_pool chunks;
	struct counters counters;
	struct trace trace;
};

static const uint8_t text[4400];

static void
say(struct tcp_conn *c, uint32_t n)
{
	CHECK(n <= sizeof(text));
	CHECK(tcp_conn_write(c, span_of(text, n)) == n);
}

// --- the relay's port ---

static struct shim *
shim_of(struct port *p)
{
	return CONTAINER_OF(p, struct shim, port);
}

static uint16_t
shim_rx(struct port *p, struct frame *f, uint16_t most)
{
	struct shim *h = shim_of(p);

	CHECK(h->in_count <= most);
	memcpy(f, h->in, h->in_count * sizeof(*f));
	return (uint16_t)h->in_count;
}

static void
shim_rx_free(struct port *p, struct frame *f)
{
	(void)p;
	(void)f; // after the turn
}

static bool
shim_tx_get(struct port *p, struct frame *f)
{
	struct shim *h = shim_of(p);

	if (h->stock_count == 0)
		return false;
	*f = h->stock[--h->stock_count];
	return true;
}

static void
shim_tx_put(struct port *p, struct frame *f)
{
	struct shim *h = shim_of(p);

	CHECK(h->out_count < STOCK);
	h->out[h->out_count++] = *f;
}

static uint32_t
shim_tx_flush(struct port *p)
{
	(void)p;
	return 0;
}

static const struct port_ops shim_ops = {
	.rx = shim_rx,
	.rx_free = shim_rx_free,
	.tx_get = shim_tx_get,
	.tx_put = shim_tx_put,
	.tx_flush = shim_tx_flush,
};

static void
shim_before(struct shim *h)
{
	h->in_count = h->wire->ops->rx(h->wire, h->in, PORT_BURST);
	while (h->stock_count < STOCK)
		CHECK(h->wire->ops->tx_get(h->wire, &h->stock[h->stock_count++]));
}

static void
shim_after(struct shim *h)
{
	for (uint32_t i = 0; i < h->in_count; i++)
		h->wire->ops->rx_free(h->wire, &h->in[i]);
	for (uint32_t i = 0; i < h->out_count; i++)
		h->wire->ops->tx_put(h->wire, &h->out[i]);
	h->in_count = h->out_count = 0;
	CHECK(h->wire->ops->tx_flush(h->wire) == 0);
}

// --- the relay's users ---

static void
talk_nothing(void *user, struct tcp_conn *c)
{
	(void)user;
	(void)c;
}

static uint32_t
talk_client_recv(void *user, struct tcp_conn *c, struct span in)
{
	struct talk *t = user;
	uint32_t body_end = BODY_AT + BODY_BYTES;

	t->from_client += in.n;
	if (t->from_client == 18) {
		say(c, 95);
	} else if (t->from_client == BODY_AT) {
		say(c, 21);
		say(t->backend, 60);
	} else if (t->from_client <= body_end) {
		CHECK(chunkq_add(&t->body, &t->s->chunks, in) == in.n);
		if (t->from_client == body_end)
			say(t->backend, 6);
	} else {
		say(c, 48);
		tcp_conn_close(c);
	}
	return in.n;
}

static uint32_t
talk_backend_recv(void *user, struct tcp_conn *c, struct span in)
{
	struct talk *t = user;

	t->from_backend += in.n;
	if (t->from_backend == 28) {
		say(t->client, 60);
	} else if (t->from_backend == 28 + 8) {
		CHECK(tcp_conn_write_chunks(c, &t->body) == EDIT_BYTES + BODY_BYTES);
	} else {
		CHECK(t->from_backend == BACKEND_BYTES);
		t->from_backend = 0;
		say(t->client, 22);
	}
	return in.n;
}

static void
talk_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct talk *t = user;

	CHECK(c == t->client);
	CHECK(why == TCP_GONE_CLOSED);
	t->client = NULL;
	t->s->free_talk[t->s->free_count++] = (uint32_t)(t - t->s->talk);
	t->s->done++;
}

static void
talk_backend_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	(void)user;
	(void)c;
	(void)why;
	CHECK(!"the backend's connections are kept");
}

static const struct tcp_user_ops talk_client_ops = {
	.open = talk_nothing,
	.recv = talk_client_recv,
	.sent = talk_nothing,
	.eof = talk_nothing,
	.gone = talk_gone,
};

static const struct tcp_user_ops talk_backend_ops = {
	.open = talk_nothing,
	.recv = talk_backend_recv,
	.sent = talk_nothing,
	.eof = talk_nothing,
	.gone = talk_backend_gone,
};

static void *
talk_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct share *s = ctx;

	CHECK(s->free_count > 0);
	struct talk *t = &s->talk[s->free_talk[--s->free_count]];

	t->client = c;
	t->from_client = 0;
	CHECK(chunkq_add(&t->body, &s->chunks, span_of(text, EDIT_BYTES)) == EDIT_BYTES);
	say(c, 35);
	*ops = &talk_client_ops;
	return t;
}

static uint32_t
relay_turn(struct share *s)
{
	uint64_t now_us = vnet_now(s->v);
	struct frame burst[PORT_BURST];

	for (uint32_t i = 0; i < 2; i++)
		shim_before(&s->shim[i]);
	uint64_t begin = bench_cycles();

	s->trace.now_us = now_us;
	net_run(s->net, now_us);
	uint32_t work = tcp_run(s->tcp, now_us, TIMERS);

	for (uint32_t i = 0; i < 2; i++) {
		struct port *p = &s->shim[i].port;
		uint32_t count = p->ops->rx(p, burst, PORT_BURST);

		for (uint32_t k = 0; k < count; k++) {
			net_input(s->net, i, &burst[k]);
			p->ops->rx_free(p, &burst[k]);
		}
		work += count;
	}
	work += tcp_work(s->tcp);
	net_flush(s->net);
	if (work > 0)
		s->cycles += bench_cycles() - begin;
	for (uint32_t i = 0; i < 2; i++)
		shim_after(&s->shim[i]);
	return work;
}

// --- the two machines ---

static void
peer_hear(struct peer *p, const struct say *table, uint32_t count, uint32_t n)
{
	p->came += n;
	if (p->said < count && p->came >= table[p->said].after)
		say(p->conn, table[p->said++].bytes);
}

static uint32_t
from_recv(void *user, struct tcp_conn *c, struct span in)
{
	(void)c;
	peer_hear(user, client_says, ARRAY_LEN(client_says), in.n);
	return in.n;
}

static void
from_eof(void *user, struct tcp_conn *c)
{
	struct peer *p = user;

	(void)c;
	p->has_eof = true; // its FIN leaves after its ACK, in a segment of its own
}

static void
from_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct peer *p = user;

	CHECK(c == p->conn);
	CHECK(why == TCP_GONE_CLOSED);
	CHECK(p->said == ARRAY_LEN(client_says));
	p->conn = NULL;
}

static const struct tcp_user_ops from_ops = {
	.open = talk_nothing,
	.recv = from_recv,
	.sent = talk_nothing,
	.eof = from_eof,
	.gone = from_gone,
};

static uint32_t
to_recv(void *user, struct tcp_conn *c, struct span in)
{
	struct peer *p = user;

	(void)c;
	peer_hear(p, backend_says, ARRAY_LEN(backend_says), in.n);
	if (p->came == TAKEN_BYTES)
		p->came = p->said = 0;
	return in.n;
}

static const struct tcp_user_ops to_ops = {
	.open = talk_nothing,
	.recv = to_recv,
	.sent = talk_nothing,
	.eof = talk_nothing,
	.gone = talk_backend_gone,
};

static void *
to_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct share *s = ctx;

	CHECK(s->to_count < TALKS);
	struct peer *p = &s->to[s->to_count++];

	*p = (struct peer){.s = s, .conn = c};
	*ops = &to_ops;
	return p;
}

// --- all of it ---

static struct ipaddr
addr_of(uint32_t link, uint32_t host)
{
	return ipaddr_v4(0x0a000000u + link * 256 + host);
}

static void
host_start(struct share *s, struct vnet_host *h, struct vnet_link *l, uint32_t link)
{
	CHECK(vnet_host_open(h, s->v,
			     &(struct vnet_host_args){.link = l,
						      .end = VNET_A,
						      .addr = addr_of(link, 2),
						      .prefix_bits = 120,
						      .conns_max = 1024,
						      .window_bytes = 262144,
						      .seed = link + 1}));
}

static void
relay_start(struct share *s)
{
	struct net_iface iface[2] = {
		{.port = &s->shim[0].port, .addr_count = 1, .addr = {{.addr = addr_of(0, 1)}}},
		{.port = &s->shim[1].port, .addr_count = 1, .addr = {{.addr = addr_of(1, 1)}}},
	};
	struct net_args n = {
		.ifaces = iface, .iface_count = 2, .counters = &s->counters, .mem = &mem_heap};

	iface[0].addr[0].prefix_bits = iface[1].addr[0].prefix_bits = 120;
	CHECK(chunk_pool_init(&s->chunks, &mem_heap, 16384));
	CHECK(trace_init(&s->trace, &mem_heap));
	s->net = net_open(&n);
	CHECK(s->net != NULL);
	s->tcp = tcp_open(&(struct tcp_args){.conns_max = 4096,
					     .embryos_max = 8192,
					     .waits_max = 65536,
					     .settings.window_bytes = 65536,
					     .settings.window_bytes_max = 4 << 20,
					     .settings.keepalive_s = 7200,
					     .seed = 3,
					     .secret = {1, 2, 3},
					     .mtu = 1500,
					     .chunks = &s->chunks,
					     .counters = &s->counters,
					     .trace = &s->trace,
					     .mem = &mem_heap,
					     .net = &net_tcp_ops,
					     .net_ctx = s->net});
	CHECK(s->tcp != NULL);
	net_bind_tcp(s->net, s->tcp);
	CHECK(tcp_listen(s->tcp, 0, SMTP_PORT, talk_accept, s));
}

// False: nothing happens before limit_us.
static bool
share_step(struct share *s, uint64_t limit_us)
{
	uint64_t now = vnet_now(s->v);
	uint32_t work = vnet_host_poll(&s->client, now);

	work += relay_turn(s);
	work += vnet_host_poll(&s->backend, now);
	if (work > 0)
		return true;
	uint64_t next = vnet_next_us(s->v), ms = tcp_next_ms(s->tcp);

	next = MIN(next, vnet_host_next_us(&s->client));
	next = MIN(next, vnet_host_next_us(&s->backend));
	next = MIN(next, net_next_us(s->net));
	next = MAX(MIN(next, ms == UINT64_MAX ? UINT64_MAX : ms * 1000), now + 1);
	if (next > limit_us)
		return false;
	vnet_advance_to(s->v, next);
	return true;
}

struct share *
share_open(void)
{
	struct share *s = calloc(1, sizeof(*s));

	CHECK(s != NULL);
	s->v = vnet_open(5);
	CHECK(s->v != NULL);
	struct vnet_host *host[2] = {&s->client, &s->backend};

	for (uint32_t i = 0; i < 2; i++) {
		struct vnet_link *l = vnet_link_open(s->v, NULL, NULL);
		struct shim *h = &s->shim[i];

		CHECK(l != NULL);
		h->wire = vnet_port(l, VNET_B);
		h->port = *h->wire;
		h->port.ops = &shim_ops;
		host_start(s, host[i], l, i);
	}
	relay_start(s);
	CHECK(tcp_listen(s->backend.tcp, TCP_SIDE_ANY, SMTP_PORT, to_accept, s));
	struct ipaddr to = addr_of(1, 2);

	for (uint32_t i = 0; i < 100; i++) // both machines know where the others are
		(void)share_step(s, vnet_now(s->v) + 2000000);
	for (uint32_t i = 0; i < TALKS; i++) {
		struct talk *t = &s->talk[i];

		t->s = s;
		chunkq_init(&t->body);
		t->backend = tcp_conn_open(s->tcp, &to, SMTP_PORT, &talk_backend_ops, t);
		CHECK(t->backend != NULL);
		s->free_talk[s->free_count++] = i;
	}
	for (uint64_t n = 0; s->to_count < TALKS; n++) {
		CHECK(n < STEPS_MAX);
		CHECK(share_step(s, UINT64_MAX));
	}
	return s;
}

double
share_run(struct share *s, uint64_t count)
{
	uint64_t cycles = s->cycles, done = s->done;
	struct ipaddr to = addr_of(0, 1);

	s->wanted += count;
	for (uint64_t n = 0; s->done < done + count; n++) {
		CHECK(n < STEPS_MAX);
		for (uint32_t i = 0; i < TALKS && s->started < s->wanted; i++) {
			struct peer *p = &s->from[i];

			if (p->conn != NULL)
				continue;
			*p = (struct peer){.s = s};
			p->conn = tcp_conn_open(s->client.tcp, &to, SMTP_PORT, &from_ops, p);
			CHECK(p->conn != NULL);
			s->started++;
		}
		(void)share_step(s, UINT64_MAX);
		for (uint32_t i = 0; i < TALKS; i++)
			if (s->from[i].conn != NULL && s->from[i].has_eof)
				tcp_conn_close(s->from[i].conn);
	}
	return (double)(s->cycles - cycles) / (double)count;
}

void
share_rest(struct share *s)
{
	uint64_t end = vnet_now(s->v) + REST_US;

	while (share_step(s, end))
		;
}

void
share_close(struct share **sp)
{
	struct share *s = *sp;

	*sp = NULL;
	vnet_host_close(&s->client);
	tcp_close(&s->tcp);
	net_close(&s->net);
	trace_fini(&s->trace);
	chunk_pool_fini(&s->chunks);
	vnet_host_close(&s->backend);
	vnet_close(&s->v);
	free(s);
}
