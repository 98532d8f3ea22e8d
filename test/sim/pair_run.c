// SPDX-License-Identifier: Apache-2.0
// pair_run: seeded pairs of machines, each our own net and TCP behind a simulated NIC, and a wire
// that does anything to their frames.
//
// Each seed draws the wire's two directions, windows, MTUs, memory, and up to three connections
// with two ends each that write 0 B to 1 MB at their own pace, read slowly, close early, late or
// half, abort, or forget their connection. It runs until nothing can happen any more and checks:
//   the bytes that arrived are those that were sent, in order, as far as they came
//   all of them came, and both ends heard of an orderly end, where nobody broke off and the wire
//   was fair every user hears of the end of his connection exactly once no segment broke a rule of
//   the protocol (wirecheck) afterwards no connection, no chunk, no frame and no timer is left, and
//   no pool went over its cap
// Usage: see seeds.h.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/lib/impair_draw.h"
#include "test/sim/lib/seeds.h"
#include "test/sim/lib/simnic.h"
#include "test/sim/lib/vnet.h"
#include "test/sim/lib/wirecheck.h"

#define PORT 25
#define CONNS_MAX 3
#define TURNS_AT_ONCE_MAX 100000u
#define RUN_US (3600ull * 1000000)
#define SETTLE_US 4000000ull // IPv6 asks first whether somebody has the address already
#define SEEDS_DEFAULT 1000

enum ending {
	END_CLOSE,  // FIN behind the last byte
	END_LATE,   // FIN when the peer's FIN has come
	END_ABORT,  // RST somewhere on the way
	END_FORGET, // leaves, somewhere on the way
};

struct world;

struct app { // one end of a connection
	struct world *w;
	struct tcp_conn *c;
	uint64_t to_send, sent, received, stop_at; // stop_at: bytes of both directions, for abort
	uint64_t read_us, write_us;                // paused until then
	uint32_t write_most, hold, pause_ppm;
	uint8_t out, in; // streams
	enum ending ending;
	enum tcp_gone why;
	uint32_t opens, eofs, gones;
	bool is_open, is_closed, is_wrong, is_held, has_left;
};

struct world {
	struct rng rng;
	struct vnet *net;
	struct vnet_link *link;
	struct simnic *nic[2];
	struct vnet_host host[2];
	struct vnet_host_args args[2];
	struct wirecheck check;
	uint32_t conns, accepted;
	uint32_t turns_at_once; // in which the clock has not moved
	struct app app[CONNS_MAX][2];
	bool is_harsh, is_small; // paths; memory
	char why[400];
	bool failed;
};

#define FAIL(w, ...)                                                                               \
	do {                                                                                       \
		if (!(w)->failed)                                                                  \
			(void)snprintf((w)->why, sizeof((w)->why), __VA_ARGS__);                   \
		(w)->failed = true;                                                                \
	} while (0)

// --- the users ---

static uint8_t
stream_byte(uint8_t stream, uint64_t at)
{
	return (uint8_t)(((uint32_t)at * 2654435761u >> 11) ^ (at >> 7) ^ stream);
}

static uint64_t
now(const struct app *a)
{
	return vnet_now(a->w->net);
}

static void
on_open(void *user, struct tcp_conn *c)
{
	struct app *a = user;

	CHECK(a->c == c);
	a->opens++;
	a->is_open = true;
}

static uint32_t
on_recv(void *user, struct tcp_conn *c, struct span data)
{
	struct app *a = user;
	uint32_t n = data.n;

	(void)c;
	if (a->read_us > now(a)) {
		a->is_held = true;
		return 0;
	}
	if (a->hold > 0)
		n = MIN(n, a->hold);
	for (uint32_t i = 0; i < n; i++)
		a->is_wrong |= data.p[i] != stream_byte(a->in, a->received + i);
	a->received += n;
	if (n < data.n || rng_chance(&a->w->rng, a->pause_ppm)) {
		a->read_us = now(a) + 1 + rng_below(&a->w->rng, 200000);
		a->is_held = true;
	}
	return n;
}

static void
on_sent(void *user, struct tcp_conn *c)
{
	(void)user;
	(void)c;
}

static void
on_eof(void *user, struct tcp_conn *c)
{
	(void)c;
	((struct app *)user)->eofs++;
}

static void
on_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct app *a = user;

	(void)c;
	a->gones++;
	a->why = why;
	a->c = NULL;
}

static const struct tcp_user_ops app_ops = {on_open, on_recv, on_sent, on_eof, on_gone};

static void *
on_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct world *w = ctx;

	for (uint32_t i = 0; i < w->conns; i++) {
		struct app *a = &w->app[i][0], *b = &w->app[i][1];
		if (a->c == NULL || tcp_conn_path(a->c)->lport != tcp_conn_path(c)->rport)
			continue;
		if (b->opens > 0)
			break;
		b->c = c;
		b->opens++;
		b->is_open = true;
		*ops = &app_ops;
		w->accepted++;
		return b;
	}
	return NULL; // whoever opened it has gone already
}

static bool
app_write(struct app *a)
{
	uint8_t bytes[4096];
	uint64_t left = a->to_send - a->sent;
	uint32_t most =
		MIN(MIN(a->write_most, (uint32_t)sizeof(bytes)), (uint32_t)MIN(left, 4096u));

	if (left == 0 || a->write_us > now(a) || tcp_conn_room(a->c) == 0)
		return false;
	for (uint32_t i = 0; i < most; i++)
		bytes[i] = stream_byte(a->out, a->sent + i);
	uint32_t n = tcp_conn_write(a->c, span_of(bytes, most));
	a->sent += n;
	if (rng_chance(&a->w->rng, a->pause_ppm / 4))
		a->write_us = now(a) + 1 + rng_below(&a->w->rng, 200000);
	return n > 0;
}

// What a user does by himself; true: something.
static bool
app_work(struct app *a)
{
	bool moved = false;

	if (a->c == NULL || !a->is_open || a->has_left)
		return false;
	if (a->ending >= END_ABORT && a->sent + a->received >= a->stop_at) {
		a->has_left = true;
		if (a->ending == END_ABORT) {
			tcp_conn_abort(a->c);
		} else {
			tcp_conn_forget(a->c);
			a->c = NULL;
		}
		return true;
	}
	if (a->is_held && a->read_us <= now(a)) {
		a->is_held = false;
		tcp_conn_resume(a->c);
		moved = true;
	}
	for (uint32_t i = 0; i < 16 && app_write(a); i++)
		moved = true;
	if (a->sent == a->to_send && !a->is_closed && (a->ending != END_LATE || a->eofs > 0)) {
		a->is_closed = true;
		tcp_conn_close(a->c);
		moved = true;
	}
	return moved;
}

static uint64_t
app_next_us(const struct app *a)
{
	uint64_t next = UINT64_MAX;

	if (a->c == NULL || !a->is_open || a->has_left)
		return next;
	if (a->is_held)
		next = MIN(next, a->read_us);
	if (a->sent < a->to_send && a->write_us > now(a))
		next = MIN(next, a->write_us);
	return next;
}

// --- drawing a world ---

static uint64_t
draw_bytes(struct rng *r, bool is_long)
{
	uint32_t kind = rng_below(r, 100), big = rng_below(r, 1u << 20), small = rng_below(r, 1500);

	if (kind < (is_long ? 20 : 2))
		return big;
	return kind < 12 ? 0 : kind < 60 ? small : small * 40u;
}

static void
draw_app(struct world *w, uint32_t i, uint32_t end, bool is_long)
{
	struct app *a = &w->app[i][end];
	uint32_t ending = rng_below(&w->rng, 20);
	bool is_slow = rng_below(&w->rng, 3) == 0, is_holding = rng_below(&w->rng, 6) == 0;

	*a = (struct app){.w = w,
			  .to_send = draw_bytes(&w->rng, is_long),
			  .write_most = 1 + rng_below(&w->rng, 4096),
			  .pause_ppm = rng_below(&w->rng, 200000),
			  .hold = 1 + rng_below(&w->rng, 3000),
			  .out = (uint8_t)(2 * i + end),
			  .in = (uint8_t)(2 * i + 1 - end)};
	a->ending = ending == 0   ? END_ABORT
		    : ending == 1 ? END_FORGET
		    : ending < 8  ? END_LATE
				  : END_CLOSE;
	a->write_most += (uint32_t)a->to_send / 300;
	if (!is_slow)
		a->pause_ppm = 0;
	if (!is_holding)
		a->hold = 0;
	a->stop_at = rng_below(&w->rng, (uint32_t)a->to_send + 1000);
	if (end == 1 && a->ending == END_LATE && w->app[i][0].ending == END_LATE)
		a->ending = END_CLOSE; // somebody has to begin
}

static struct ipaddr
host_addr(bool is_v6, uint32_t last)
{
	struct ipaddr a = {{0xfd, 0, 0, 0, 0, 0, 0, 1}};

	if (!is_v6)
		return ipaddr_v4(0x0a000000u + last);
	a.b[15] = (uint8_t)last;
	return a;
}

static bool
world_open(struct world *w, uint64_t seed, const struct seeds_options *o)
{
	struct vnet_path path[2];
	uint32_t kinds = IMPAIR_DRAW_FAIR;

	rng_init(&w->rng, seed);
	wirecheck_init(&w->check);
	w->check.is_tracing = o->verbose;
	kinds |= rng_below(&w->rng, 5) == 0 ? IMPAIR_DRAW_BURSTS : 0;
	kinds |= rng_below(&w->rng, 8) == 0 ? IMPAIR_DRAW_DARK : 0;
	kinds |= rng_below(&w->rng, 10) == 0 ? IMPAIR_DRAW_MTU : 0;
	bool has_router = rng_below(&w->rng, 2) == 0;
	for (uint32_t i = 0; i < 2; i++) {
		path[i] = impair_draw(&w->rng, kinds, VNET_START_US);
		if (has_router)
			path[i].router = host_addr(o->is_v6, 77);
		w->is_harsh |= impair_is_harsh(&path[i]);
	}
	w->conns = 1 + rng_below(&w->rng, CONNS_MAX);
	w->is_small = rng_below(&w->rng, 4) == 0;
	if (w->is_small)
		w->conns = 1;
	for (uint32_t i = 0; i < w->conns; i++) {
		for (uint32_t e = 0; e < 2; e++)
			draw_app(w, i, e, o->is_long);
		for (uint32_t e = 0; e < 2; e++) // even the slowest is done before FIN_WAIT_2 ends
			if (w->app[i][e].hold > 0)
				w->app[i][e].hold += (uint32_t)w->app[i][1 - e].to_send / 200;
	}
	w->net = vnet_open(seed);
	w->link = vnet_link_open(w->net, &path[0], &path[1]);
	CHECK(w->link != NULL);
	vnet_link_tap(w->link, wirecheck_frame, &w->check);
	for (uint32_t i = 0; i < 2; i++) {
		struct simnic_args na = {.wire = vnet_port(w->link, i), .queues = 1};
		w->nic[i] = simnic_open(&na);
		struct port *p = simnic_port(w->nic[i], 0);
		uint16_t least = o->is_v6 ? 1280 : 576;
		if (rng_below(&w->rng, 3) == 0)
			p->mtu = (uint16_t)(least + rng_below(&w->rng, 1500u - least));
		w->args[i] = (struct vnet_host_args){
			.port = p,
			.addr = host_addr(o->is_v6, 1 + i),
			.prefix_bits = o->is_v6 ? 64 : 120,
			.conns_max = 16,
			.chunks = w->is_small ? 24 + rng_below(&w->rng, 64) : 1500,
			.window_bytes = 1000 + rng_below(&w->rng, 200000),
			.keepalive_s = 30 + rng_below(&w->rng, 100),
			.seed = seed + i};
		if (!vnet_host_open(&w->host[i], w->net, &w->args[i]))
			return false;
	}
	// Who answers with cookies knows nothing of a client whose last ACK is lost: that one hears
	// so from a reset, when it asks.
	enum shed_level level = rng_below(&w->rng, 6) == 0 ? SHED_COOKIES : SHED_NONE;
	tcp_shed(w->host[1].tcp, level);
	w->is_harsh |= level != SHED_NONE;
	return tcp_listen(w->host[1].tcp, TCP_SIDE_ANY, PORT, on_accept, w);
}

static void
world_close(struct world *w)
{
	for (uint32_t i = 0; i < 2; i++) {
		vnet_host_close(&w->host[i]);
		simnic_close(&w->nic[i]);
	}
	vnet_close(&w->net);
	wirecheck_fini(&w->check);
}

// --- running ---

static bool
world_step(struct world *w, uint64_t limit_us)
{
	uint64_t at = vnet_now(w->net), next = vnet_next_us(w->net);
	bool moved = false;

	for (uint32_t i = 0; i < 2; i++) {
		moved |= vnet_host_poll(&w->host[i], at) > 0;
		next = MIN(next, vnet_host_next_us(&w->host[i]));
	}
	for (uint32_t i = 0; i < w->conns; i++)
		for (uint32_t e = 0; e < 2; e++) {
			moved |= app_work(&w->app[i][e]);
			next = MIN(next, app_next_us(&w->app[i][e]));
		}
	if (moved && ++w->turns_at_once < TURNS_AT_ONCE_MAX)
		return true;
	if (moved) {
		FAIL(w, "it does not come to rest at %" PRIu64 " us", at);
		return false;
	}
	w->turns_at_once = 0;
	next = MAX(next, at + 1);
	if (next > limit_us)
		return false;
	vnet_advance_to(w->net, next);
	return true;
}

static void
world_run(struct world *w, bool is_v6)
{
	struct tcp *t = w->host[0].tcp;
	uint64_t end = vnet_now(w->net) + RUN_US;

	while (is_v6 && world_step(w, VNET_START_US + SETTLE_US)) {
	}
	for (uint32_t i = 0; i < w->conns; i++) {
		struct app *a = &w->app[i][0];
		a->c = tcp_conn_open(t, &w->args[1].addr, PORT, &app_ops, a);
		if (a->c == NULL)
			FAIL(w, "connection %u cannot be opened", i);
		if (rng_below(&w->rng, 2) == 0) // some begin while others run
			for (uint32_t k = rng_below(&w->rng, 100); k > 0; k--)
				(void)world_step(w, end);
	}
	while (world_step(w, end)) {
	}
}

// --- checks ---

static void
check_app(struct world *w, uint32_t i, uint32_t e)
{
	const struct app *a = &w->app[i][e], *b = &w->app[i][1 - e];
	bool is_broken = a->ending >= END_ABORT || b->ending >= END_ABORT;

	if (a->is_wrong)
		FAIL(w, "connection %u end %u: wrong bytes among %" PRIu64, i, e, a->received);
	if (a->received > b->sent)
		FAIL(w, "connection %u end %u: more bytes than were sent", i, e);
	if (a->eofs > 1 || (a->eofs == 1 && a->received != b->to_send && b->ending <= END_LATE))
		FAIL(w,
		     "connection %u end %u: %u ends of data after %" PRIu64 " of %" PRIu64 " bytes",
		     i, e, a->eofs, a->received, b->to_send);
	if (a->ending != END_FORGET && a->gones != (e == 0 || a->opens > 0))
		FAIL(w, "connection %u end %u: heard of its end %u times", i, e, a->gones);
	if (is_broken || w->is_harsh)
		return;
	if (a->gones != 1 || a->why != TCP_GONE_CLOSED || a->received != b->to_send || a->eofs != 1)
		FAIL(w,
		     "connection %u end %u: ended with %d after %" PRIu64 " of %" PRIu64 " bytes",
		     i, e, (int)a->why, a->received, b->to_send);
}

static void
check_left_over(struct world *w)
{
	if (w->check.fault != NULL)
		FAIL(w, "%s: %s", w->check.fault, w->check.text);
	for (uint32_t i = 0; i < 2; i++) {
		const struct vnet_host *h = &w->host[i];
		if (tcp_conn_count(h->tcp) != 0)
			FAIL(w, "host %u: %u connections are left", i, tcp_conn_count(h->tcp));
		if (h->chunks.pool.used != 0)
			FAIL(w, "host %u: %u chunks are left", i, h->chunks.pool.used);
		if (h->chunks.pool.used_max > h->chunks.pool.cap)
			FAIL(w, "host %u: more chunks than there are", i);
		if (vnet_host_next_us(h) != UINT64_MAX)
			FAIL(w, "host %u: a timer goes on", i);
		if (simnic_pending(w->nic[i]) != 0)
			FAIL(w, "host %u: frames are left", i);
	}
	if (vnet_link_held(w->link) != 0)
		FAIL(w, "%u frames were not given back", vnet_link_held(w->link));
	if (vnet_next_us(w->net) != UINT64_MAX)
		FAIL(w, "frames are under way for ever");
}

static void
show(const struct world *w)
{
	for (uint32_t i = 0; i < 2; i++) {
		const struct vnet_stats *t = vnet_link_stats(w->link, i);
		printf("  host %u: mtu %u window %u chunks %u; sent %" PRIu64 " lost %" PRIu64
		       " (dark %" PRIu64 ", too big %" PRIu64 ") twice %" PRIu64 " late %" PRIu64
		       " bad %" PRIu64 " queue full %" PRIu64 "\n",
		       i, w->host[i].port->mtu, w->args[i].window_bytes, w->args[i].chunks, t->sent,
		       t->lost, t->dark, t->too_big, t->duplicated, t->reordered,
		       t->corrupted + t->truncated, t->queue_full);
		for (uint32_t c = 0; c < COUNTER_COUNT; c++)
			if (w->host[i].counters.v[c] > 0)
				printf("    %s %" PRIu64 "\n", counter_name(c),
				       w->host[i].counters.v[c]);
	}
	for (uint32_t i = 0; i < w->conns; i++)
		for (uint32_t e = 0; e < 2; e++) {
			const struct app *a = &w->app[i][e];
			printf("  connection %u end %u: ending %d, sent %" PRIu64 " of %" PRIu64
			       ", received %" PRIu64 ", eof %u, gone %u (%d)\n",
			       i, e, (int)a->ending, a->sent, a->to_send, a->received, a->eofs,
			       a->gones, (int)a->why);
		}
}

static bool
run_seed(uint64_t seed, const struct seeds_options *o)
{
	struct world *w = calloc(1, sizeof(*w));
	CHECK(w != NULL);
	if (world_open(w, seed, o)) {
		world_run(w, o->is_v6);
		for (uint32_t i = 0; i < w->conns; i++)
			for (uint32_t e = 0; e < 2; e++)
				check_app(w, i, e);
		check_left_over(w);
		if (o->verbose)
			show(w);
	} else {
		FAIL(w, "the world does not start");
	}
	bool ok = !w->failed;
	if (!ok)
		printf("not ok - pair seed %" PRIu64 "%s: %s\n", seed,
		       w->is_harsh ? " (harsh)" : "", w->why);
	world_close(w);
	free(w);
	return ok;
}

int
main(int argc, char **argv)
{
	return seeds_main(argc, argv, SEEDS_DEFAULT, run_seed);
}
