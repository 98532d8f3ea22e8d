// SPDX-License-Identifier: Apache-2.0
// Fuzz target: one TCP instance, driven by a stream of operations: segments whose numbers are
// relative to where the connection stands (so that they reach deep states), writes, partial reads,
// resumes, closes, aborts, time, missing frames, pressure. What is checked: our own CHECKs and the
// sanitizers, that calls up come in their order and gone once and last, that no frame is too large,
// and that in the end nothing is left.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/base/bytes.h"
#include "dataplane/tcp.h"

#define USERS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_user {
	struct tcp_conn *c;
	bool is_gone, had_eof, had_open;
};

struct fuzz {
	struct tcp *tcp;
	struct chunk_pool chunks;
	struct counters counters;
	uint64_t now_us;
	struct span in;
	struct fuzz_user user[USERS_MAX];
	uint32_t user_count, current;
	struct tcp_path path;
	uint8_t frame[2048];
	bool is_writing, has_no_frames;
	uint32_t snd_nxt, rcv_nxt; // what the peer would send next, and expects
	uint32_t tsval, tsecr;
	uint8_t mood; // what the users do in their calls
};

static uint32_t
take(struct fuzz *f, uint32_t n)
{
	uint32_t v = 0;

	while (n-- > 0) {
		v = v << 8 | (f->in.n > 0 ? f->in.p[0] : 0);
		f->in = span_from(f->in, 1);
	}
	return v;
}

static void
call_down(struct fuzz *f, struct fuzz_user *u)
{
	static const uint8_t text[3000];

	if (u->c == NULL)
		return;
	switch (f->mood & 15) {
	case 1:
		tcp_conn_abort(u->c);
		break;
	case 2:
		tcp_conn_close(u->c);
		break;
	case 3:
		tcp_conn_forget(u->c);
		u->c = NULL;
		break;
	case 4:
		tcp_conn_write(u->c, span_of(text, sizeof(text)));
		break;
	case 5:
		tcp_conn_resume(u->c);
		break;
	case 6:
		tcp_conn_write(u->c, span_of(text, 10));
		tcp_conn_close(u->c);
		break;
	default:
		break;
	}
	f->mood = (uint8_t)(f->mood >> 1 | f->mood << 7);
}

static struct fuzz *fuzz_now; // the user pointer is the fuzz_user; calls down need the rest

static void
on_open(void *user, struct tcp_conn *c)
{
	struct fuzz_user *u = user;

	CHECK(u->c == c && !u->is_gone && !u->had_open);
	u->had_open = true;
	call_down(fuzz_now, u);
}

static uint32_t
on_recv(void *user, struct tcp_conn *c, struct span s)
{
	struct fuzz_user *u = user;
	volatile uint8_t sum = 0;

	CHECK(u->c == c && !u->is_gone && !u->had_eof && s.n > 0);
	call_down(fuzz_now, u);
	for (uint32_t i = 0; i < s.n; i++) // still readable after whatever was called
		sum = (uint8_t)(sum + s.p[i]);
	return fuzz_now->mood & 0x40 ? s.n / 2 : s.n;
}

static void
on_sent(void *user, struct tcp_conn *c)
{
	struct fuzz_user *u = user;

	CHECK(u->c == c && !u->is_gone);
	call_down(fuzz_now, u);
}

static void
on_eof(void *user, struct tcp_conn *c)
{
	struct fuzz_user *u = user;

	CHECK(u->c == c && !u->is_gone && !u->had_eof);
	u->had_eof = true;
	call_down(fuzz_now, u);
}

static void
on_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct fuzz_user *u = user;

	CHECK(u->c == c && !u->is_gone && why <= TCP_GONE_REFUSED);
	call_down(fuzz_now, u);
	u->is_gone = true;
	u->c = NULL;
}

static const struct tcp_user_ops ops = {on_open, on_recv, on_sent, on_eof, on_gone};

static struct fuzz_user *
user_new(struct fuzz *f)
{
	for (uint32_t i = 0; i < USERS_MAX; i++) {
		struct fuzz_user *u = &f->user[(f->user_count + i) % USERS_MAX];

		if (u->c == NULL) {
			f->user_count += i;
			f->current = f->user_count % USERS_MAX;
			f->user_count++;
			*u = (struct fuzz_user){0};
			return u;
		}
	}
	return NULL;
}

static void *
on_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **o)
{
	struct fuzz *f = ctx;
	struct fuzz_user *u = f->mood & 0x80 && f->mood & 1 ? NULL : user_new(f);

	if (u == NULL)
		return NULL;
	u->c = c;
	*o = &ops;
	return u;
}

static uint8_t *
net_get(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct fuzz *f = ctx;

	(void)path;
	CHECK(!f->is_writing && size <= sizeof(f->frame));
	if (f->has_no_frames)
		return NULL;
	f->is_writing = true;
	return f->frame;
}

static void
net_put(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct fuzz *f = ctx;
	uint32_t header = (uint32_t)(f->frame[12] >> 4) * 4;

	CHECK(f->is_writing && header >= 20 && header <= size && size <= 1480);
	f->is_writing = false;
	f->path = *path;
	if (f->frame[13] & 4)
		return;
	f->snd_nxt = load_be32(f->frame + 8);
	f->rcv_nxt = load_be32(f->frame + 4) + size - header + (f->frame[13] & 1) +
		     (f->frame[13] >> 1 & 1);
	for (uint32_t i = 20; i + 10 <= header; i++) {
		if (f->frame[i] == 8 && f->frame[i + 1] == 10) {
			f->tsecr = load_be32(f->frame + i + 2);
			break;
		}
	}
}

static bool
net_port_is_mine(void *ctx, const struct tcp_path *path)
{
	(void)ctx;
	return path->lport % 3 != 0;
}

static bool
net_route(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct tcp_route *out)
{
	(void)ctx;
	(void)raddr;
	if (nth > 0)
		return false;
	*out = (struct tcp_route){.laddr = ipaddr_v4(0x0a000001), .mtu = 1500};
	return true;
}

static const struct tcp_net_ops net_ops = {net_get, net_put, net_port_is_mine, net_route};

// A number near where it matters: exact, a little off, or anything.
static uint32_t
near(struct fuzz *f, uint32_t base, uint8_t how)
{
	switch (how & 3) {
	case 0:
		return base;
	case 1:
		return base + take(f, 1) - 128;
	case 2:
		return base + take(f, 2) - 32768;
	default:
		return take(f, 4);
	}
}

static uint32_t
put_options(struct fuzz *f, uint8_t *o, uint8_t how)
{
	uint32_t n = 0;

	if (how & 1) {
		memcpy(o, "\x02\x04\x05\xb4\x04\x02\x01\x01\x01\x03\x03\x07", 12);
		n = 12;
	}
	if (how & 2) {
		f->tsval += 1 + (how >> 6);
		memcpy(o + n, "\x01\x01\x08\x0a", 4);
		store_be32(o + n + 4, how & 16 ? take(f, 4) : f->tsval);
		store_be32(o + n + 8, how & 32 ? take(f, 4) : f->tsecr);
		n += 12;
	}
	if (how & 4) {
		memcpy(o + n, "\x01\x01\x05\x0a", 4);
		uint32_t start = near(f, f->rcv_nxt, 2);

		store_be32(o + n + 4, start);
		store_be32(o + n + 8, start + take(f, 2));
		n += 12;
	} else if (how & 8) {
		store_be32(o + n, take(f, 4));
		n += 4;
	}
	CHECK(n <= 40);
	return n;
}

static void
inject(struct fuzz *f)
{
	uint8_t head[60] = {0};
	uint8_t flags = (uint8_t)take(f, 1), how = (uint8_t)take(f, 1), opt = (uint8_t)take(f, 1);
	uint32_t seq = near(f, f->snd_nxt, how), ack = near(f, f->rcv_nxt, how >> 2);
	uint32_t len = how & 0x10 ? take(f, 2) % 1461 : how & 0x20 ? take(f, 1) : 0;
	uint32_t header = 20 + put_options(f, head + 20, opt);

	store_be16(head, f->path.rport);
	store_be16(head + 2, f->path.lport);
	store_be32(head + 4, seq);
	store_be32(head + 8, ack);
	head[12] = (uint8_t)(header / 4 << 4);
	head[13] = flags & 0x3f;
	store_be16(head + 14, how & 0x40 ? (uint16_t)take(f, 2) : how & 0x80 ? 0 : 65535);
	uint8_t *b = malloc(header + len);

	CHECK(b != NULL);
	memcpy(b, head, header);
	memset(b + header, 'x', len);
	tcp_input(f->tcp, &f->path, (struct span){b, header + len});
	free(b);
}

static void
icmp(struct fuzz *f)
{
	const struct tcp_error e = {
		.kind = (enum tcp_error_kind)(take(f, 1) % 3),
		.seq = f->rcv_nxt - take(f, 2),
		.mtu = take(f, 2),
	};

	tcp_error(f->tcp, &f->path, &e);
}

static void
step(struct fuzz *f)
{
	struct fuzz_user *u = &f->user[f->current];
	struct ipaddr raddr = ipaddr_v4(0x0a000002);

	switch (take(f, 1) % 16) {
	case 0: // pass the time
		f->now_us += (uint64_t)take(f, 1) * 1000;
		break;
	case 1:
		f->now_us += (uint64_t)take(f, 2) * 100000;
		break;
	case 2: // another tuple, or another user
		f->path.rport = (uint16_t)(40000 + take(f, 1) % 8);
		f->path.lport = 25;
		break;
	case 3:
		f->current = take(f, 1) % USERS_MAX;
		if (f->user[f->current].c != NULL)
			f->path = *tcp_conn_path(f->user[f->current].c);
		break;
	case 4:
		u = user_new(f);
		if (u != NULL)
			u->c = tcp_conn_open(f->tcp, &raddr, 25, &ops, u);
		break;
	case 5:
		f->mood = (uint8_t)take(f, 1);
		break;
	case 6:
		f->has_no_frames = take(f, 1) & 1;
		break;
	case 7:
		if (u->c != NULL && tcp_conn_room(u->c) > 0)
			tcp_conn_write(u->c, span_of("some bytes", take(f, 1) % 11));
		break;
	case 8:
		f->mood = 4;
		call_down(f, u);
		break;
	case 9:
		f->mood = 5;
		call_down(f, u);
		break;
	case 10:
		f->mood = (uint8_t)(1 + take(f, 1) % 3);
		call_down(f, u);
		break;
	case 11:
		icmp(f);
		break;
	case 12:
		tcp_shed(f->tcp, (enum shed_level)(take(f, 1) % (SHED_DROP + 1)));
		break;
	default:
		inject(f);
		break;
	}
	tcp_run(f->tcp, f->now_us, 50);
	if (take(f, 1) & 3) // sometimes several segments in one burst
		tcp_work(f->tcp);
}

static uint32_t
left(const struct fuzz *f)
{
	return tcp_conn_count(f->tcp) + tcp_embryo_count(f->tcp) + tcp_wait_count(f->tcp);
}

static void
finish(struct fuzz *f)
{
	f->has_no_frames = false;
	tcp_shed(f->tcp, SHED_NONE);
	f->mood = 0;
	for (uint32_t i = 0; i < USERS_MAX; i++) {
		if (f->user[i].c != NULL && i % 2 == 0)
			tcp_conn_abort(f->user[i].c);
		else if (f->user[i].c != NULL)
			tcp_conn_close(f->user[i].c);
	}
	for (uint32_t i = 0; i < 2000 && left(f) > 0; i++) {
		for (uint32_t k = 0; k < USERS_MAX; k++) {
			if (f->user[k].c != NULL)
				tcp_conn_resume(f->user[k].c);
		}
		f->now_us += 1000000;
		tcp_run(f->tcp, f->now_us, 1000);
		tcp_work(f->tcp);
	}
	CHECK(left(f) == 0);
	for (uint32_t i = 0; i < USERS_MAX; i++)
		CHECK(f->user[i].c == NULL);
	CHECK(f->chunks.pool.used == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz f;

	if (size > 4096)
		return 0;
	memset(&f, 0, sizeof(f));
	fuzz_now = &f;
	f.in = span_of(data, size);
	f.now_us = 1000000;
	f.path = (struct tcp_path){
		.laddr = ipaddr_v4(0x0a000001),
		.raddr = ipaddr_v4(0x0a000002),
		.lport = 25,
		.rport = 40000,
	};
	CHECK(chunk_pool_init(&f.chunks, &mem_heap, 64));
	struct tcp_args a = {
		.conns_max = 12,
		.embryos_max = 6,
		.waits_max = 4,
		.settings.window_bytes = take(&f, 1) & 1 ? 200000 : 3000,
		.settings.window_bytes_max = 1 << 20,
		.settings.keepalive_s = 300,
		.settings.zero_window_s = 100,
		.settings.user_s = 200,
		.seed = 1,
		.secret = "0123456789abcdef",
		.mtu = 1500,
		.chunks = &f.chunks,
		.counters = &f.counters,
		.mem = &mem_heap,
		.net = &net_ops,
		.net_ctx = &f,
	};

	f.tcp = tcp_open(&a);
	CHECK(f.tcp != NULL);
	CHECK(tcp_listen(f.tcp, TCP_SIDE_ANY, 25, on_accept, &f));
	tcp_run(f.tcp, f.now_us, 1);
	while (f.in.n > 0)
		step(&f);
	finish(&f);
	tcp_close(&f.tcp);
	chunk_pool_fini(&f.chunks);
	return 0;
}
