// SPDX-License-Identifier: Apache-2.0
// segwire: see segwire.h. Deterministic: everything that happens follows from args.seed.
#include "test/sim/lib/segwire.h"

#include <stdlib.h>
#include <string.h>

#include "control/base/bytes.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

static int32_t
diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

static struct segwire_flow *
flow_of(struct segwire *w, const struct tcp_path *path, int end)
{
	uint16_t a = end == 0 ? path->lport : path->rport, b = end == 0 ? path->rport : path->lport;

	for (uint32_t i = 0; i < w->flow_count; i++) {
		if (w->flow[i].port[0] == a && w->flow[i].port[1] == b)
			return &w->flow[i];
	}
	CHECK(w->flow_count < SEGWIRE_FLOWS_MAX);
	struct segwire_flow *f = &w->flow[w->flow_count++];

	memset(f, 0, sizeof(*f));
	f->port[0] = a;
	f->port[1] = b;
	return f;
}

static void
fault(struct segwire *w, const char *what)
{
	if (w->fault == NULL)
		w->fault = what;
}

// The shift of a SYN's window scale option; 255: none.
static uint8_t
syn_wscale(const uint8_t *p, uint32_t header)
{
	for (uint32_t i = 20; i + 2 < header;) {
		if (p[i] == 3)
			return p[i + 2];
		if (p[i] <= 1)
			i++;
		else
			i += MAX(p[i + 1], 2);
	}
	return 255;
}

static void
check_syn(struct segwire_flow *f, int end, const uint8_t *p, uint32_t header, uint32_t seq)
{
	uint8_t ws = syn_wscale(p, header);

	if (!f->has_syn[end] || f->max[end] == seq) {
		f->has_syn[end] = true;
		f->max[end] = seq;
	}
	f->has_wscale[end] = ws != 255;
	f->wscale[end] = ws == 255 ? 0 : ws;
}

// RFC 2018: blocks lie above the ACK, hold what was sent, and do not overlap; the first one may be
// a duplicate (RFC 2883): below the ACK, or inside the second.
static void
check_sack(struct segwire *w, const uint8_t *p, uint32_t header, uint32_t ack, uint32_t sent)
{
	uint32_t at = 20, start[4], end[4], n = 0;

	while (at + 1 < header && p[at] != 5)
		at += p[at] <= 1 ? 1u : MAX(p[at + 1], 2u);
	if (at + 1 >= header)
		return;
	if (p[at + 1] < 10 || p[at + 1] % 8 != 2 || at + p[at + 1] > header) {
		fault(w, "length of a SACK option");
		return;
	}
	for (uint32_t i = at + 2; i < at + p[at + 1]; i += 8, n++) {
		start[n] = load_be32(p + i);
		end[n] = load_be32(p + i + 4);
		if (diff(start[n], end[n]) >= 0 || diff(end[n], sent) > 0)
			fault(w, "a SACK block of nothing that was sent");
	}
	bool is_dup = diff(end[0], ack) <= 0 ||
		      (n > 1 && diff(start[1], start[0]) <= 0 && diff(end[0], end[1]) <= 0);

	for (uint32_t i = is_dup; i < n; i++) {
		if (diff(start[i], ack) <= 0)
			fault(w, "a SACK block that the ACK covers");
		for (uint32_t k = is_dup; k < i; k++) {
			if (diff(start[i], end[k]) <= 0 && diff(start[k], end[i]) <= 0)
				fault(w, "SACK blocks that touch");
		}
	}
}

static void
check_segment(struct segwire *w, int end, const struct tcp_path *path, const uint8_t *p,
	      uint32_t size)
{
	struct segwire_flow *f = flow_of(w, path, end);
	uint32_t header = (uint32_t)(p[12] >> 4) * 4, seq = load_be32(p + 4),
		 ack = load_be32(p + 8);
	uint32_t len = size - header + !!(p[13] & FIN) + !!(p[13] & SYN), wnd = load_be16(p + 14);
	int other = 1 - end;

	if (header < 20 || header > size)
		fault(w, "header length");
	if (p[13] & SYN)
		check_syn(f, end, p, header, seq);
	else if (!f->has_syn[end] && !(p[13] & RST))
		fault(w, "segment before a SYN");
	if (p[13] & RST)
		return; // may be the answer to a segment of a connection that is over
	if (p[13] & ACK) {
		bool scaled = !(p[13] & SYN) && f->has_wscale[0] && f->has_wscale[1];
		uint32_t shift = scaled ? f->wscale[end] : 0, edge = ack + (wnd << shift);

		if (f->has_syn[other] && diff(ack, f->max[other]) > 0)
			fault(w, "acknowledges what was not sent");
		if (f->has_syn[other] && !(p[13] & SYN))
			check_sack(w, p, header, ack, f->max[other]);
		if (f->has_edge[end] && diff(edge, f->edge[end]) <= -(1 << shift) && !(p[13] & SYN))
			fault(w, "window edge taken back");
		if (!f->has_edge[end] || diff(edge, f->edge[end]) > 0)
			f->edge[end] = edge;
		f->has_edge[end] = true;
	}
	uint32_t last = seq + len;

	if (!(p[13] & SYN) && f->has_edge[other] && len > 1 && diff(last, f->edge[other]) > 0)
		fault(w, "bytes beyond the window");
	if (len == 1 && !(p[13] & SYN) && f->has_edge[other] && diff(last, f->edge[other]) > 1)
		fault(w, "a probe beyond the first byte");
	if (diff(last, f->max[end]) > 0)
		f->max[end] = last;
}

static uint8_t *
wire_get(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct segwire_port *port = ctx;
	struct segwire *w = port->w;

	(void)path;
	CHECK(w->being_written == NULL);
	if (w->args.frameless_ppm > 0 && rng_chance(&w->rng, w->args.frameless_ppm))
		return NULL;
	w->being_written = malloc(sizeof(struct segwire_seg) + size);
	CHECK(w->being_written != NULL);
	w->being_written->size = size;
	w->being_written->error_mtu = 0;
	memset(w->being_written->data, 0xee, size);
	return w->being_written->data;
}

static void
queue_add(struct segwire *w, struct segwire_seg *s)
{
	struct segwire_seg **at = &w->queue;

	while (*at != NULL && (*at)->due_us <= s->due_us)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
}

static uint64_t
delay(struct segwire *w)
{
	uint64_t us = w->args.delay_us;

	if (w->args.jitter_us > 0)
		us += rng_below(&w->rng, w->args.jitter_us);
	if (w->args.reorder_ppm > 0 && rng_chance(&w->rng, w->args.reorder_ppm))
		us += (uint64_t)w->args.delay_us * (1 + rng_below(&w->rng, 4));
	return us;
}

static void
wire_put(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct segwire_port *port = ctx;
	struct segwire *w = port->w;
	struct segwire_seg *s = w->being_written;

	CHECK(s != NULL);
	CHECK(s->size == size);
	w->being_written = NULL;
	w->segments++;
	check_segment(w, port->end, path, s->data, size);
	s->to = 1 - port->end;
	s->path = (struct tcp_path){
		.laddr = path->raddr,
		.raddr = path->laddr,
		.lport = path->rport,
		.rport = path->lport,
	};
	if (w->args.path_mtu > 0 && size + 20 > w->args.path_mtu) {
		w->too_big++;
		if (w->args.is_told) { // back to where it came from, as that end knows the flow
			s->to = port->end;
			s->path = *path;
			s->error_mtu = w->args.path_mtu;
			s->error_seq = load_be32(s->data + 4);
			s->size = 0;
			s->due_us = w->now_us + delay(w);
			queue_add(w, s);
		} else {
			free(s);
		}
		return;
	}
	if (rng_chance(&w->rng, w->args.loss_ppm)) {
		w->lost++;
		free(s);
		return;
	}
	s->due_us = w->now_us + delay(w);
	if (w->args.dup_ppm > 0 && rng_chance(&w->rng, w->args.dup_ppm)) {
		struct segwire_seg *copy = malloc(sizeof(*copy) + size);

		CHECK(copy != NULL);
		memcpy(copy, s, sizeof(*copy) + size);
		copy->due_us = w->now_us + delay(w);
		queue_add(w, copy);
	}
	queue_add(w, s);
}

static bool
wire_port_is_mine(void *ctx, const struct tcp_path *path)
{
	(void)ctx;
	return path->lport % 2 == 1; // as if two workers shared the ports
}

static bool
wire_route(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct ipaddr *laddr,
	   uint16_t *side, uint16_t *mtu)
{
	struct segwire_port *port = ctx;

	(void)raddr;
	if (nth > 0)
		return false;
	*laddr = port->w->addr[port->end];
	*side = 0;
	*mtu = port->w->args.mtu[port->end];
	return true;
}

const struct tcp_net_ops segwire_net_ops = {
	.seg_get = wire_get,
	.seg_put = wire_put,
	.port_is_mine = wire_port_is_mine,
	.route = wire_route,
};

void
segwire_init(struct segwire *w, const struct segwire_args *args)
{
	memset(w, 0, sizeof(*w));
	w->args = *args;
	rng_init(&w->rng, args->seed);
	w->now_us = 1000000 + rng_below(&w->rng, 1u << 30) * 5000ull; // any time, also near 2^32 ms
	for (int i = 0; i < 2; i++) {
		w->port[i] = (struct segwire_port){w, i};
		w->addr[i] = ipaddr_v4(0x0a000001u + (uint32_t)i);
		CHECK(chunk_pool_init(&w->chunks[i], &mem_heap, args->chunks[i]));
		struct tcp_args a = {
			.conns_max = args->conns_max,
			.settings.window_bytes = args->window_bytes[i],
			.settings.window_bytes_max = args->window_bytes_max[i],
			.settings.keepalive_s = args->keepalive_s,
			.seed = args->seed + (uint64_t)i,
			.mtu = args->mtu[i],
			.chunks = &w->chunks[i],
			.counters = &w->counters[i],
			.mem = &mem_heap,
			.net = &segwire_net_ops,
			.net_ctx = &w->port[i],
		};

		memset(a.secret, (int)args->seed & 0xff, sizeof(a.secret));
		a.secret[0] = (uint8_t)i;
		w->tcp[i] = tcp_open(&a);
		CHECK(w->tcp[i] != NULL);
		tcp_run(w->tcp[i], w->now_us, 100);
	}
}

void
segwire_fini(struct segwire *w)
{
	while (w->queue != NULL) {
		struct segwire_seg *s = w->queue;

		w->queue = s->next;
		free(s);
	}
	for (int i = 0; i < 2; i++) {
		tcp_close(&w->tcp[i]);
		CHECK(w->chunks[i].pool.used == 0);
		chunk_pool_fini(&w->chunks[i]);
	}
}

static void
deliver(struct segwire *w)
{
	while (w->queue != NULL && w->queue->due_us <= w->now_us) {
		struct segwire_seg *s = w->queue;
		struct segwire_seg *exact = malloc(sizeof(*s) + s->size); // asan sees over-reads

		CHECK(exact != NULL);
		w->queue = s->next;
		memcpy(exact, s, sizeof(*s) + s->size);
		free(s);
		const struct tcp_error e = {TCP_ERROR_TOO_BIG, exact->error_seq, exact->error_mtu};

		if (exact->error_mtu > 0)
			tcp_error(w->tcp[exact->to], &exact->path, &e);
		else
			tcp_input(w->tcp[exact->to], &exact->path,
				  (struct span){exact->data, exact->size});
		free(exact);
	}
}

static uint64_t
next_us(const struct segwire *w)
{
	uint64_t next = w->queue != NULL ? w->queue->due_us : UINT64_MAX;

	for (int i = 0; i < 2; i++) {
		uint64_t ms = tcp_next_ms(w->tcp[i]);

		if (ms != UINT64_MAX)
			next = MIN(next, ms * 1000);
	}
	return next;
}

bool
segwire_run(struct segwire *w, uint64_t until_us)
{
	for (;;) {
		for (int i = 0; i < 2; i++)
			tcp_run(w->tcp[i], w->now_us, 1000);
		deliver(w);
		for (int i = 0; i < 2; i++)
			tcp_work(w->tcp[i]);
		uint64_t next = next_us(w);

		if (next == UINT64_MAX)
			return false;
		if (next > until_us) {
			w->now_us = MAX(until_us, w->now_us);
			return true;
		}
		w->now_us = MAX(next, w->now_us);
	}
}
