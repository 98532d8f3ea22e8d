// SPDX-License-Identifier: Apache-2.0
// tcp_find: names of connections, what is derived from them by secret, and the one table in which
// connections and records are found. Runs on the owning worker.
//
// One SipHash of the four-tuple finds whatever there is of it: connection, half-open or ended. The
// message of an IPv4 path is 15 bytes, not the 39 that mapped addresses would take. Each use of the
// hash has its own message (`what`), so that none reveals another.
#include "dataplane/tcp_conn.h"

#include <string.h>

static inline uint64_t
load_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline bool
path_is_v4(const struct tcp_path *p)
{
	static const uint8_t mapped[8] = {0, 0, 0xff, 0xff}; // bytes 8 to 11 of the address

	return load_u64(p->laddr.b) == 0 && load_u64(p->raddr.b) == 0 &&
	       memcmp(p->laddr.b + 8, mapped, 4) == 0 && memcmp(p->raddr.b + 8, mapped, 4) == 0;
}

uint64_t
tcp_secret(const struct tcp *t, const struct tcp_path *p, enum tcp_secret what)
{
	uint64_t last = (uint64_t)p->lport | (uint64_t)p->rport << 16 | (uint64_t)p->side << 32 |
			(uint64_t)what << 48;

	if (path_is_v4(p)) {
		uint64_t addrs;

		memcpy(&addrs, p->laddr.b + 12, 4);
		memcpy((uint8_t *)&addrs + 4, p->raddr.b + 12, 4);
		return siphash13_words(t->key, &addrs, 1, last | 15ull << 56);
	}
	const uint64_t words[4] = {load_u64(p->laddr.b), load_u64(p->laddr.b + 8),
				   load_u64(p->raddr.b), load_u64(p->raddr.b + 8)};

	return siphash13_words(t->key, words, 4, last | 39ull << 56);
}

uint64_t
tcp_path_hash(const struct tcp *t, const struct tcp_path *path)
{
	return tcp_secret(t, path, TCP_SECRET_FLOW);
}

static inline bool
path_eq(const struct tcp_path *a, const struct tcp_path *b)
{
	uint32_t x, y;
	uint16_t q, r;

	memcpy(&x, &a->lport, 4); // both ports
	memcpy(&y, &b->lport, 4);
	memcpy(&q, &a->side, 2);
	memcpy(&r, &b->side, 2);
	return x == y && q == r && load_u64(a->raddr.b + 8) == load_u64(b->raddr.b + 8) &&
	       load_u64(a->raddr.b) == load_u64(b->raddr.b) &&
	       load_u64(a->laddr.b + 8) == load_u64(b->laddr.b + 8) &&
	       load_u64(a->laddr.b) == load_u64(b->laddr.b);
}

static bool
find_is(const void *ctx, uint32_t ref, const void *key)
{
	const struct tcp *t = ctx;
	uint32_t index = tcp_ref_index(ref);

	switch (tcp_ref_kind(ref)) {
	case TCP_KIND_CONN: {
		const struct tcp_conn *c = pool_at(&t->conns, index);

		OBJ_CHECK(c, TCP_CONN_MAGIC);
		return path_eq(&c->path, key);
	}
	case TCP_KIND_EMBRYO: {
		const struct tcp_embryo *e = pool_at(&t->embryos, index);

		OBJ_CHECK(e, TCP_EMBRYO_MAGIC);
		return path_eq(&e->path, key);
	}
	case TCP_KIND_WAIT: {
		const struct tcp_wait *w = pool_at(&t->waits, index);

		OBJ_CHECK(w, TCP_WAIT_MAGIC);
		return path_eq(&w->path, key);
	}
	default:
		CHECK(!"the table holds three kinds");
		return false;
	}
}

uint32_t
tcp_find(const struct tcp *t, uint64_t hash, const struct tcp_path *path)
{
	return flow_find(&t->flows, hash, path, find_is, t);
}

struct tcp_conn *
tcp_conn_find(const struct tcp *t, const struct tcp_path *path)
{
	uint32_t ref = tcp_find(t, tcp_path_hash(t, path), path);

	return tcp_ref_kind(ref) == TCP_KIND_CONN ? pool_at(&t->conns, tcp_ref_index(ref)) : NULL;
}

uint32_t
tcp_isn(const struct tcp *t, const struct tcp_path *path, uint32_t *ts_offset)
{
	uint64_t name = tcp_secret(t, path, TCP_SECRET_NAME);

	// RFC 6528: a clock of 4 us plus a secret function of the connection's name. The offset of
	// the timestamps is the other half: it can be found again from the name alone.
	*ts_offset = (uint32_t)(name >> 32);
	return (uint32_t)(t->now_us / 4) + (uint32_t)name;
}

bool
tcp_limit_allows(struct tcp *t, struct tcp_limit *l, uint32_t per_s)
{
	if (l->s != t->now_s) {
		l->s = t->now_s;
		l->left = per_s / 2 + rng_below(&t->rng, per_s / 2 + 1);
	}
	if (l->left == 0)
		return false;
	l->left--;
	return true;
}
