// SPDX-License-Identifier: Apache-2.0
// tcp_port: local addresses and ports of our own opens (RFC 6056, RFC 6191). Runs on the owning
// worker.
//
// Every destination (its address and port, and the local address) has all the ports to itself. The
// search begins at a secret place and goes on where it ended, so a port comes again only after all
// others: firewalls between us and a mail server still know it otherwise. Two bits a port are kept
// for the destinations in use: taken, and "replies go to another worker"; the second never changes,
// so each port is asked about once, and a crowded search looks at 64 ports a step. The bits are a
// memory only: whether a port is free is what the flow table says. When all are taken, one in
// TIME_WAIT is used again if its peer will know the new SYN by its timestamp, which is above the
// old ones by construction (one offset a name).
#include "dataplane/tcp_conn.h"

#include <string.h>

#define WORDS (TCP_PORT_COUNT / 64)
#define REUSE_TRIES 256u // ports in TIME_WAIT that are looked at in one open
static_assert(TCP_PORT_COUNT % 64 == 0, "whole words");

static bool
dest_is(const struct tcp_dest *d, const struct tcp_path *p)
{
	return d->rport == p->rport && d->side == p->side && ipaddr_eq(&d->raddr, &p->raddr) &&
	       ipaddr_eq(&d->laddr, &p->laddr);
}

static struct tcp_dest *
dest_find(const struct tcp *t, const struct tcp_path *p)
{
	for (uint32_t i = 0; i < TCP_DESTS_MAX; i++) {
		if (!t->dests[i].is_set)
			return NULL; // they fill up in order
		if (dest_is(&t->dests[i], p))
			return &t->dests[i];
	}
	return NULL;
}

// The least used one gives way.
static struct tcp_dest *
dest_get(struct tcp *t, const struct tcp_path *p)
{
	struct tcp_dest *d = dest_find(t, p), *least = &t->dests[0];

	if (d == NULL) {
		for (uint32_t i = 1; i < TCP_DESTS_MAX; i++) {
			if (t->dests[i].uses < least->uses)
				least = &t->dests[i];
		}
		d = least;
		*d = (struct tcp_dest){.laddr = p->laddr,
				       .raddr = p->raddr,
				       .rport = p->rport,
				       .side = p->side,
				       .is_set = true};
		struct tcp_path name = *p;

		name.lport = 0;
		d->next = (uint32_t)tcp_secret(t, &name, TCP_SECRET_PORT) % TCP_PORT_COUNT;
	}
	if (++d->uses == UINT32_MAX / 2) {
		for (uint32_t i = 0; i < TCP_DESTS_MAX; i++)
			t->dests[i].uses /= 2;
	}
	return d;
}

static inline void
bit_set(uint64_t *words, uint32_t i)
{
	words[i / 64] |= 1ull << i % 64;
}

// The next port of ours from `from` on, if it must be free one that may be; TCP_PORT_COUNT: none.
static uint32_t
dest_next(const struct tcp_dest *d, uint32_t from, bool is_free)
{
	uint64_t mask = ~0ull << from % 64;

	for (uint32_t n = 0, w = from / 64; n <= WORDS; n++, w = (w + 1) % WORDS) {
		uint64_t free = ~((is_free ? d->used[w] : 0) | d->alien[w]) & mask;

		if (free != 0)
			return w * 64 + (uint32_t)__builtin_ctzll(free);
		mask = ~0ull;
	}
	return TCP_PORT_COUNT;
}

static bool
port_is_mine(struct tcp *t, struct tcp_dest *d, const struct tcp_path *path)
{
	if (t->net->port_is_mine == NULL || t->net->port_is_mine(t->net_ctx, path))
		return true;
	bit_set(d->alien, path->lport - TCP_PORT_MIN);
	return false;
}

static bool
port_fresh(struct tcp *t, struct tcp_dest *d, struct tcp_path *path)
{
	for (uint32_t i = 0; i < TCP_PORT_TRIES; i++) {
		uint32_t port = dest_next(d, d->next, true);

		if (port == TCP_PORT_COUNT)
			return false;
		path->lport = (uint16_t)(TCP_PORT_MIN + port);
		d->next = (port + 1) % TCP_PORT_COUNT;
		if (path->lport == path->rport && ipaddr_eq(&path->laddr, &path->raddr)) {
			bit_set(d->alien, port); // a connection with itself
			continue;
		}
		if (!port_is_mine(t, d, path))
			continue;
		bit_set(d->used, port);
		if (tcp_find(t, tcp_path_hash(t, path), path) == FLOW_NONE)
			return true;
	}
	return false;
}

// All are taken: one whose connection has ended. The peer takes our SYN for a new one if its TSval
// is above all earlier ones, also if it still waits for our last ACK.
static bool
port_again(struct tcp *t, struct tcp_dest *d, struct tcp_path *path, uint32_t *isn_above)
{
	for (uint32_t i = 0; i < REUSE_TRIES; i++) {
		uint32_t port = dest_next(d, d->next, false);

		if (port == TCP_PORT_COUNT)
			return false;
		d->next = (port + 1) % TCP_PORT_COUNT;
		path->lport = (uint16_t)(TCP_PORT_MIN + port);
		uint32_t ref = tcp_find(t, tcp_path_hash(t, path), path);

		if (tcp_ref_kind(ref) != TCP_KIND_WAIT)
			continue;
		struct tcp_wait *w = pool_at(&t->waits, tcp_ref_index(ref));

		if (!w->has_ts || w->is_half || !tcp_wait_is_old(t, w, TCP_PORT_REUSE_MS))
			continue;
		*isn_above = w->snd_nxt;
		COUNT(t->counters, TCP_WAIT_REUSED);
		tcp_wait_drop(t, w);
		bit_set(d->used, port);
		return true;
	}
	return false;
}

bool
tcp_port_get(struct tcp *t, struct tcp_path *path, uint16_t *mtu, uint32_t *isn_above)
{
	struct tcp_route r;
	uint32_t count = 0;

	*isn_above = 0;
	while (count < TCP_LADDRS_MAX && t->net->route(t->net_ctx, &path->raddr, count, &r))
		count++;
	if (count == 0)
		return false;
	uint32_t start = t->laddr_next++ % count; // the load is spread

	for (uint32_t i = 0; i < 2 * count; i++) {
		if (!t->net->route(t->net_ctx, &path->raddr, (start + i) % count, &r))
			return false;
		path->laddr = r.laddr;
		path->side = r.side;
		*mtu = r.mtu;
		struct tcp_dest *d = dest_get(t, path);

		if (i < count ? port_fresh(t, d, path) : port_again(t, d, path, isn_above))
			return true;
	}
	COUNT(t->counters, TCP_PORTS_EXHAUSTED);
	return false;
}

void
tcp_port_put(struct tcp *t, const struct tcp_path *path)
{
	if (path->lport < TCP_PORT_MIN)
		return;
	struct tcp_dest *d = dest_find(t, path);
	uint32_t port = path->lport - TCP_PORT_MIN;

	if (d != NULL)
		d->used[port / 64] &= ~(1ull << port % 64);
}
