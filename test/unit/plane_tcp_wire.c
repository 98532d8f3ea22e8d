// SPDX-License-Identifier: Apache-2.0
// Two TCP instances over a bad wire: whatever the wire does, both streams arrive byte by byte, no
// window is violated, and in the end nothing is left: no connection, no chunk, no timer.
#include <criterion/criterion.h>
#include <string.h>

#include "test/sim/lib/segwire.h"

#define HOUR_US 3600000000ull

struct end { // a user of one connection: writes a pseudo-random stream, checks the other's
	struct segwire *w;
	struct tcp_conn *c;
	struct rng rng; // its moods; not the stream
	uint64_t to_send, sent, received, expected;
	uint8_t stream_out, stream_in;
	uint32_t pause_ppm;
	uint32_t opens, eofs, gones;
	bool is_paused, is_closed, is_wrong, closes_late;
	uint64_t resume_us;
	enum tcp_gone why;
};

static uint8_t
stream_byte(uint8_t id, uint64_t pos)
{
	return (uint8_t)((pos * 31 + (pos >> 8) * 7 + (pos >> 16)) ^ id);
}

static void
end_write(struct end *e)
{
	uint8_t b[5000];

	while (e->c != NULL && e->sent < e->to_send) {
		uint32_t n = 1 + rng_below(&e->rng, sizeof(b));

		n = (uint32_t)MIN(n, e->to_send - e->sent);
		for (uint32_t i = 0; i < n; i++)
			b[i] = stream_byte(e->stream_out, e->sent + i);
		uint32_t taken = tcp_conn_write(e->c, (struct span){b, n});

		e->sent += taken;
		if (taken < n)
			return;
	}
	if (e->c != NULL && e->sent == e->to_send && !e->is_closed &&
	    (!e->closes_late || e->eofs)) {
		e->is_closed = true;
		tcp_conn_close(e->c);
	}
}

static void
on_open(void *user, struct tcp_conn *c)
{
	struct end *e = user;

	cr_assert_eq(e->c, c);
	e->opens++;
	end_write(e);
}

static uint32_t
on_recv(void *user, struct tcp_conn *c, struct span s)
{
	struct end *e = user;
	uint32_t n = s.n;

	(void)c;
	cr_assert(s.n > 0);
	cr_assert_eq(e->gones, 0);
	cr_assert_eq(e->eofs, 0, "data after eof");
	if (e->is_paused)
		cr_assert_fail("recv while paused");
	if (rng_chance(&e->rng, e->pause_ppm)) {
		n = rng_below(&e->rng, s.n);
		e->is_paused = true;
		e->resume_us = e->w->now_us + rng_below(&e->rng, 3000000);
	}
	for (uint32_t i = 0; i < n; i++)
		e->is_wrong |= s.p[i] != stream_byte(e->stream_in, e->received + i);
	e->received += n;
	return n;
}

static void
on_sent(void *user, struct tcp_conn *c)
{
	struct end *e = user;

	(void)c;
	cr_assert_eq(e->gones, 0);
	end_write(e);
}

static void
on_eof(void *user, struct tcp_conn *c)
{
	struct end *e = user;

	(void)c;
	e->eofs++;
	end_write(e);
}

static void
on_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct end *e = user;

	cr_assert_eq(e->c, c);
	e->gones++;
	e->why = why;
	e->c = NULL;
}

static const struct tcp_user_ops ops = {on_open, on_recv, on_sent, on_eof, on_gone};

static void *
on_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **o)
{
	struct end *e = ctx;

	cr_assert_null(e->c);
	*o = &ops;
	e->c = c;
	e->opens++;
	end_write(e); // the server speaks first
	return e;
}

static void
end_init(struct end *e, struct segwire *w, int i, uint64_t bytes, uint32_t pause_ppm)
{
	memset(e, 0, sizeof(*e));
	e->w = w;
	rng_init(&e->rng, w->args.seed * 2 + (uint64_t)i);
	e->to_send = bytes;
	e->stream_out = (uint8_t)i;
	e->stream_in = (uint8_t)(1 - i);
	e->pause_ppm = pause_ppm;
	e->closes_late = rng_chance(&e->rng, 300000);
}

static void
run_pair(struct segwire *w, struct end *e, uint64_t until_us)
{
	while (w->now_us < until_us && !(e[0].gones && e[1].gones)) {
		for (int i = 0; i < 2; i++) {
			if (e[i].c != NULL && e[i].is_paused && e[i].resume_us <= w->now_us) {
				e[i].is_paused = false;
				tcp_conn_resume(e[i].c);
			}
		}
		uint64_t step = w->now_us + 20000; // users look after their pauses this often

		segwire_run(w, step);
		w->now_us = step;
	}
}

static uint64_t
	total[COUNTER_COUNT]; // of all pairs of a test: shows that the wire was as bad as meant

static void
pair(const struct segwire_args *args, uint64_t bytes0, uint64_t bytes1, uint32_t pause_ppm)
{
	static struct segwire w;
	struct end e[2];
	static const struct ipaddr any;

	segwire_init(&w, args);
	end_init(&e[0], &w, 0, bytes0, pause_ppm);
	end_init(&e[1], &w, 1, bytes1, pause_ppm);
	if (e[0].closes_late && e[1].closes_late)
		e[1].closes_late = false; // somebody has to begin
	cr_assert(tcp_listen(w.tcp[1], &any, 25, on_accept, &e[1]));
	e[0].c = tcp_conn_open(w.tcp[0], &w.addr[1], 25, &ops, &e[0]);
	cr_assert_not_null(e[0].c);
	run_pair(&w, e, w.now_us + HOUR_US);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(e[i].opens, 1, "seed %lu end %d: opens %u", args->seed, i, e[i].opens);
		cr_assert_eq(e[i].gones, 1, "seed %lu end %d: gones %u", args->seed, i, e[i].gones);
		cr_assert_eq(e[i].why, TCP_GONE_CLOSED, "seed %lu end %d: why %d", args->seed, i,
			     e[i].why);
		cr_assert(!e[i].is_wrong, "seed %lu end %d: wrong bytes", args->seed, i);
		cr_assert_eq(e[i].received, e[1 - i].to_send, "seed %lu end %d: %lu of %lu bytes",
			     args->seed, i, e[i].received, e[1 - i].to_send);
		cr_assert_eq(e[i].eofs, 1, "seed %lu end %d: eofs", args->seed, i);
	}
	cr_assert_null(w.fault, "seed %lu: %s", args->seed, w.fault);
	// TIME_WAIT runs out, then nothing is left.
	cr_assert(!segwire_run(&w, w.now_us + 2 * HOUR_US), "seed %lu: a timer goes on",
		  args->seed);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(tcp_conn_count(w.tcp[i]), 0, "seed %lu end %d", args->seed, i);
		cr_assert_eq(w.chunks[i].pool.used, 0, "seed %lu end %d: chunks", args->seed, i);
		for (int k = 0; k < COUNTER_COUNT; k++)
			total[k] += w.counters[i].v[k];
		cr_assert_eq(tcp_next_ms(w.tcp[i]), UINT64_MAX, "seed %lu end %d: timer",
			     args->seed, i);
	}
	segwire_fini(&w);
}

static struct segwire_args
plain_args(uint64_t seed)
{
	return (struct segwire_args){
		.seed = seed,
		.delay_us = 1000,
		.window_bytes = {65535, 65535},
		.chunks = {1000, 1000},
		.conns_max = 16,
		.mtu = {1500, 1500},
		.keepalive_s = 7200,
	};
}

Test(plane_tcp_wire, clean_wire)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct segwire_args a = plain_args(seed);

		pair(&a, 300000, 200000, 0);
	}
	cr_assert_eq(total[COUNTER_TCP_RETRANSMIT], 0, "a clean wire needs no repetition");
	cr_assert_eq(total[COUNTER_TCP_OUT_OF_WINDOW], 0);
}

Test(plane_tcp_wire, paused_readers_on_a_clean_wire)
{
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct segwire_args a = plain_args(seed);

		a.window_bytes[seed % 2] = 1 + (uint32_t)(seed * 7919 % 300000);
		a.mtu[seed % 2] = (uint16_t)(600 + seed * 9);
		pair(&a, 100000, 60000, 200000);
	}
	cr_assert(total[COUNTER_TCP_ZERO_WINDOW] > 100);
}

Test(plane_tcp_wire, loss_duplication_reordering)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct segwire_args a = plain_args(seed);

		a.loss_ppm = (uint32_t)(seed % 10) * 10000;
		a.dup_ppm = (uint32_t)(seed % 7) * 10000;
		a.reorder_ppm = (uint32_t)(seed % 5) * 30000;
		a.jitter_us = (uint32_t)(seed % 3) * 2000;
		a.delay_us = 100 + (uint32_t)(seed % 50) * 997;
		if (seed % 4 == 0)
			a.window_bytes[0] = 200000;
		if (seed % 3 == 0)
			a.window_bytes[1] = 250001;
		pair(&a, 50000 + seed * 211, 30000, 0);
	}
	cr_assert(total[COUNTER_TCP_RETRANSMIT] > 1000);
	cr_assert(total[COUNTER_TCP_FAST_RETRANSMIT] > 300);
	cr_assert(total[COUNTER_TCP_RTO] > 100);
	cr_assert(total[COUNTER_TCP_OUT_OF_ORDER] > 1000);
	cr_assert(total[COUNTER_TCP_DUPLICATE] > 1000);
}

Test(plane_tcp_wire, everything_at_once)
{
	for (uint64_t seed = 1000; seed < 1300; seed++) {
		struct segwire_args a = plain_args(seed);

		a.loss_ppm = (uint32_t)(seed % 9) * 10000;
		a.dup_ppm = (uint32_t)(seed % 7) * 10000;
		a.reorder_ppm = (uint32_t)(seed % 5) * 30000;
		a.frameless_ppm = (uint32_t)(seed % 4) * 50000;
		a.jitter_us = (uint32_t)(seed % 3) * 5000;
		a.delay_us = 100 + (uint32_t)(seed % 30) * 1997;
		a.window_bytes[0] = 1000 + (uint32_t)(seed * 7919 % 100000);
		a.window_bytes[1] = 1000 + (uint32_t)(seed * 104729 % 100000);
		a.window_bytes_max[0] = (uint32_t)(seed % 3) * 300000;
		a.path_mtu = seed % 6 == 0 ? (uint16_t)(600 + seed % 900) : 0;
		a.is_told = seed % 4 == 0;
		a.chunks[0] = 20 + seed % 64;
		a.chunks[1] = 20 + seed % 32;
		a.mtu[0] = (uint16_t)(576 + seed * 3 % 2000);
		pair(&a, 40000, 30000, 100000);
	}
	cr_assert(total[COUNTER_TCP_NO_CHUNK] > 0);
	cr_assert(total[COUNTER_TCP_ZERO_WINDOW] > 100);
	cr_assert(total[COUNTER_TCP_RETRANSMIT] > 1000);
}

Test(plane_tcp_wire, windows_grow_over_a_long_path)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct segwire_args a = plain_args(seed);

		a.delay_us = 50000;
		a.loss_ppm = (uint32_t)(seed % 3) * 2000;
		a.window_bytes[0] = a.window_bytes[1] = 20000;
		a.window_bytes_max[0] = a.window_bytes_max[1] = 1 << 20;
		a.chunks[0] = a.chunks[1] = 8192;
		pair(&a, 900000, 100000, 0);
	}
	cr_assert(total[COUNTER_TCP_WINDOW_GROWN] > 100);
}

Test(plane_tcp_wire, path_carries_less_than_both_ends_think)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct segwire_args a = plain_args(seed);

		a.path_mtu = (uint16_t)(580 + seed * 15);
		a.is_told = seed % 2 == 0;
		a.loss_ppm = (uint32_t)(seed % 3) * 10000;
		pair(&a, 200000, 100000, 0);
	}
	cr_assert(total[COUNTER_TCP_MTU_LOWERED] > 30);
	cr_assert(total[COUNTER_TCP_MTU_BLACK_HOLE] > 30);
}
