// SPDX-License-Identifier: Apache-2.0
// segpeer: see segpeer.h.
#include "test/sim/lib/segpeer.h"

#include <stdlib.h>
#include <string.h>

#include "control/base/bytes.h"

#define PORT 25

static void
hook(struct segpeer_user *u, const char *call)
{
	if (u->hook != NULL)
		u->hook(u, call);
}

static void
on_open(void *user, struct tcp_conn *c)
{
	struct segpeer_user *u = user;

	CHECK(u->c == c);
	u->opens++;
	hook(u, "open");
}

static uint32_t
on_recv(void *user, struct tcp_conn *c, struct span s)
{
	struct segpeer_user *u = user;
	uint32_t n = MIN(s.n, u->take_most);

	CHECK(u->c == c);
	CHECK(s.n > 0);
	CHECK(u->gones == 0);
	CHECK(u->received + n <= sizeof(u->data));
	memcpy(u->data + u->received, s.p, n);
	u->received += n;
	hook(u, "recv");
	return n;
}

static void
on_sent(void *user, struct tcp_conn *c)
{
	struct segpeer_user *u = user;

	CHECK(u->c == c);
	CHECK(u->gones == 0);
	u->sents++;
	hook(u, "sent");
}

static void
on_eof(void *user, struct tcp_conn *c)
{
	struct segpeer_user *u = user;

	CHECK(u->c == c);
	CHECK(u->gones == 0);
	u->eofs++;
	hook(u, "eof");
}

static void
on_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct segpeer_user *u = user;

	CHECK(u->c == c);
	u->gones++;
	u->why = why;
	hook(u, "gone");
	u->c = NULL;
}

const struct tcp_user_ops segpeer_ops = {on_open, on_recv, on_sent, on_eof, on_gone};

static void *
on_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct segpeer *p = ctx;

	p->user.accepts++;
	if (p->user.is_refusing)
		return NULL;
	p->user.c = c;
	*ops = &segpeer_ops;
	hook(&p->user, "accept");
	return &p->user;
}

static uint8_t *
peer_get(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct segpeer *p = ctx;

	(void)path;
	CHECK(size <= sizeof(p->frame));
	CHECK(!p->is_writing);
	if (p->has_no_frames)
		return NULL;
	p->is_writing = true;
	memset(p->frame, 0xee, sizeof(p->frame));
	return p->frame;
}

static void
read_options(struct segpeer *p, struct segpeer_seg *s, const uint8_t *o, uint32_t n)
{
	for (uint32_t i = 0; i < n && o[i] != 0;) {
		if (o[i] == 1) {
			i++;
			continue;
		}
		uint32_t len = o[i + 1];

		CHECK(len >= 2 && i + len <= n);
		if (o[i] == 2) {
			s->has_mss = true;
			s->mss = load_be16(o + i + 2);
		} else if (o[i] == 3) {
			s->has_wscale = true;
			s->wscale = o[i + 2];
		} else if (o[i] == 4) {
			s->has_sack_ok = true;
		} else if (o[i] == 5) {
			s->sack_count = (len - 2) / 8;
			for (uint32_t b = 0; b < s->sack_count; b++) {
				s->sack[b].start = load_be32(o + i + 2 + 8 * b) - p->peer_iss;
				s->sack[b].end = load_be32(o + i + 6 + 8 * b) - p->peer_iss;
			}
		} else if (o[i] == 8) {
			s->has_ts = true;
			s->tsval = load_be32(o + i + 2);
			s->tsecr = load_be32(o + i + 6);
			p->ts_seen = s->tsval;
		}
		i += len;
	}
}

static void
peer_put(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct segpeer *p = ctx;
	const uint8_t *f = p->frame;
	uint32_t header = (uint32_t)(f[12] >> 4) * 4;

	CHECK(p->is_writing);
	CHECK(p->out_count < SEGPEER_OUT_MAX);
	CHECK(load_be16(f) == path->lport && load_be16(f + 2) == path->rport);
	p->is_writing = false;
	struct segpeer_seg *s = &p->out[p->out_count++];

	memset(s, 0, sizeof(*s));
	s->flags = f[13];
	if ((s->flags & SP_SYN) && !p->knows_stack_iss) {
		p->knows_stack_iss = true;
		p->stack_iss = load_be32(f + 4);
	}
	s->seq = load_be32(f + 4) - p->stack_iss;
	s->ack = load_be32(f + 8) - p->peer_iss;
	s->wnd = load_be16(f + 14);
	CHECK(header >= 20 && header <= size);
	s->len = size - header;
	memcpy(s->data, f + header, s->len);
	s->at_us = p->now_us;
	s->lport = path->lport;
	s->rport = path->rport;
	read_options(p, s, f + 20, header - 20);
}

static bool
peer_port_is_mine(void *ctx, const struct tcp_path *path)
{
	struct segpeer *p = ctx;

	p->ports_asked++;
	return !p->owns_no_port && (p->ports_step == 0 || path->lport % p->ports_step == 0);
}

static bool
peer_route(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct tcp_route *out)
{
	struct segpeer *p = ctx;

	(void)raddr;
	if (p->has_no_route || nth >= p->laddr_count)
		return false;
	*out = (struct tcp_route){.laddr = ipaddr_v4(0x0a000001 + nth), .mtu = SEGPEER_MTU};
	return true;
}

static const struct tcp_net_ops peer_net_ops = {peer_get, peer_put, peer_port_is_mine, peer_route};

void
segpeer_init(struct segpeer *p, const struct segpeer_args *args)
{
	static const struct segpeer_args usual = {
		.window_bytes = 65535, .keepalive_s = 7200, .conns_max = 16, .chunks = 256};

	if (args == NULL)
		args = &usual;
	memset(p, 0, sizeof(*p));
	p->now_us = 5000000000ull;
	p->peer_iss = 0xffffff00u; // sequence numbers wrap early in every test
	p->ts_base = 0xfffffff0u;
	p->user.take_most = UINT32_MAX;
	p->laddr_count = 1;
	p->path = (struct tcp_path){
		.laddr = ipaddr_v4(0x0a000001),
		.raddr = ipaddr_v4(0x0a000002),
		.lport = PORT,
		.rport = 40000,
	};
	CHECK(chunk_pool_init(&p->chunks, &mem_heap, args->chunks));
	struct tcp_args a = {
		.conns_max = args->conns_max,
		.embryos_max = args->embryos_max,
		.waits_max = args->waits_max,
		.settings.window_bytes = args->window_bytes,
		.settings.keepalive_s = args->keepalive_s,
		.seed = 1,
		.secret = "0123456789abcdef",
		.mtu = SEGPEER_MTU,
		.chunks = &p->chunks,
		.counters = &p->counters,
		.mem = &mem_heap,
		.net = &peer_net_ops,
		.net_ctx = p,
	};

	p->tcp = tcp_open(&a);
	CHECK(p->tcp != NULL);
	CHECK(tcp_listen(p->tcp, TCP_SIDE_ANY, PORT, on_accept, p));
	tcp_run(p->tcp, p->now_us, 10);
}

void
segpeer_fini(struct segpeer *p)
{
	tcp_close(&p->tcp);
	CHECK(p->chunks.pool.used == 0);
	chunk_pool_fini(&p->chunks);
}

static void
put_options(struct segpeer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd,
	    struct span options, struct span data)
{
	uint32_t size = 20 + options.n + data.n;
	uint8_t *b = malloc(size); // exactly: asan sees over-reads

	CHECK(b != NULL);
	CHECK(options.n % 4 == 0);
	memset(b, 0, 20);
	store_be16(b, p->path.rport);
	store_be16(b + 2, p->path.lport);
	store_be32(b + 4, p->peer_iss + seq);
	store_be32(b + 8, flags & SP_ACK ? p->stack_iss + ack : 0);
	b[12] = (uint8_t)((20 + options.n) / 4 << 4);
	b[13] = flags;
	store_be16(b + 14, (uint16_t)wnd);
	if (options.n > 0)
		memcpy(b + 20, options.p, options.n);
	if (data.n > 0)
		memcpy(b + 20 + options.n, data.p, data.n);
	tcp_input(p->tcp, &p->path, (struct span){b, size});
	free(b);
}

void
segpeer_put(struct segpeer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd,
	    const void *data, uint32_t n)
{
	uint8_t o[12] = {1, 1, 8, 10};

	store_be32(o + 4, p->ts_base + (uint32_t)(p->now_us / 1000));
	store_be32(o + 8, p->ts_seen);
	put_options(p, flags, seq, ack, wnd, p->has_ts ? span_of(o, 12) : SPAN_NONE,
		    span_of(data, n));
}

void
segpeer_send(struct segpeer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd,
	     const void *data, uint32_t n)
{
	segpeer_put(p, flags, seq, ack, wnd, data, n);
	segpeer_work(p);
}

void
segpeer_send_options(struct segpeer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd,
		     struct span options, struct span data)
{
	put_options(p, flags, seq, ack, wnd, options, data);
	segpeer_work(p);
}

void
segpeer_work(struct segpeer *p)
{
	for (uint32_t i = 0; i < 100 && tcp_work(p->tcp) > 0; i++)
		;
}

void
segpeer_wait(struct segpeer *p, uint32_t ms)
{
	uint64_t until = p->now_us + ms * 1000ull;

	while (p->now_us < until) {
		uint64_t next = tcp_next_ms(p->tcp);

		// Jumps over the time in which nothing can happen.
		next = next == UINT64_MAX ? until : MAX(next * 1000, p->now_us + 1000);
		p->now_us = MIN(next, until);
		tcp_run(p->tcp, p->now_us, 100);
		segpeer_work(p);
	}
}

bool
segpeer_next(struct segpeer *p, struct segpeer_seg *s)
{
	if (p->out_read == p->out_count) {
		p->out_read = 0;
		p->out_count = 0;
		return false;
	}
	*s = p->out[p->out_read++];
	return true;
}

uint32_t
segpeer_pending(const struct segpeer *p)
{
	return p->out_count - p->out_read;
}

void
segpeer_skip(struct segpeer *p)
{
	p->out_read = 0;
	p->out_count = 0;
}

void
segpeer_accept(struct segpeer *p, const struct span *options)
{
	static const uint8_t mss[4] = {2, 4, 1460 >> 8, 1460 & 0xff};
	struct span o = options != NULL ? *options : span_of(mss, 4);

	segpeer_send_options(p, SP_SYN, 0, 0, 65535, o, SPAN_NONE);
	segpeer_send(p, SP_ACK, 1, 1, 65535, NULL, 0);
	CHECK(p->user.is_refusing || p->user.c != NULL);
	segpeer_skip(p);
}

struct tcp_conn *
segpeer_open(struct segpeer *p)
{
	static const uint8_t mss[4] = {2, 4, 1460 >> 8, 1460 & 0xff};

	p->path.rport = PORT;
	p->user.c = tcp_conn_open(p->tcp, &p->path.raddr, PORT, &segpeer_ops, &p->user);
	if (p->user.c == NULL)
		return NULL;
	p->path = *tcp_conn_path(p->user.c);
	segpeer_work(p);
	if (p->out_count == 0)
		return p->user.c;
	segpeer_skip(p);
	segpeer_send_options(p, SP_SYN | SP_ACK, 0, 1, 65535, span_of(mss, 4), SPAN_NONE);
	segpeer_skip(p);
	return p->user.c;
}

void
segpeer_pattern(uint8_t *to, uint32_t from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		to[i] = (uint8_t)((from + i) * 167 + ((from + i) >> 8));
}

uint64_t
segpeer_count(const struct segpeer *p, enum counter c)
{
	return p->counters.v[c];
}
