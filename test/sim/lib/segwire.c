// SPDX-License-Identifier: Apache-2.0
// segwire: see segwire.h. Deterministic: everything that happens follows from args.seed.
#include "test/sim/lib/segwire.h"

#include <stdlib.h>
#include <string.h>

#include "control/base/bytes.h"

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
	wirecheck_segment(&w->check, path, (struct span){s->data, size}, w->now_us);
	w->fault = w->check.fault;
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
wire_route(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct tcp_route *out)
{
	struct segwire_port *port = ctx;

	(void)raddr;
	if (nth > 0)
		return false;
	*out = (struct tcp_route){
		.laddr = port->w->addr[port->end],
		.mtu = port->w->args.mtu[port->end],
	};
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
	wirecheck_init(&w->check);
	w->check.is_short_of_frames = args->frameless_ppm > 0;
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
	wirecheck_fini(&w->check);
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
