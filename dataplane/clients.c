// SPDX-License-Identifier: Apache-2.0
// clients: see clients.h. Runs on the owning worker.

#include "dataplane/clients.h"

#include <string.h>

#define CLIENT_MAGIC 0x544e4c43u
#define MINUTE_US 60000000ull
#define BURST_US 10000000ull // a client may open what ten seconds allow at once, and at least one

struct client {
	uint32_t magic;
	uint32_t sessions;
	struct ipaddr prefix;
	uint64_t booked_us; // GCRA: the time up to which its rate is used up
	uint64_t told_us;   // when the log was told of it; 0: never
	uint32_t refused;   // sessions since then
	struct list_node node;
};

bool
clients_init(struct clients *t, struct mem_source *m, uint32_t sessions_max, struct siphash_key key)
{
	uint32_t cap = MIN(sessions_max, CLIENTS_MAX);

	CHECK(cap > 0);
	*t = (struct clients){0};
	list_init(&t->unused);
	if (!pool_init(&t->pool, m, "clients", sizeof(struct client), cap))
		return false;
	if (flow_init(&t->table, m, cap, key))
		return true;
	pool_fini(&t->pool);
	return false;
}

void
clients_fini(struct clients *t)
{
	if (t->table.buckets == NULL)
		return;
	flow_fini(&t->table);
	pool_fini(&t->pool);
}

static bool
client_is(const void *ctx, uint32_t index, const void *key)
{
	const struct client *c = pool_at((const struct pool *)ctx, index);

	return memcmp(&c->prefix, key, sizeof(c->prefix)) == 0;
}

static struct client *
client_get(struct clients *t, const struct ipaddr *prefix)
{
	uint64_t hash = flow_hash(&t->table, prefix, sizeof(*prefix));
	uint32_t index = flow_find(&t->table, hash, prefix, client_is, &t->pool);

	if (index != FLOW_NONE)
		return pool_at(&t->pool, index);
	if (pool_free_count(&t->pool) == 0) {
		struct list_node *n = list_pop_front(&t->unused);

		if (n == NULL)
			return NULL;
		struct client *old = CONTAINER_OF(n, struct client, node);
		flow_remove(&t->table, flow_hash(&t->table, &old->prefix, sizeof(old->prefix)),
			    pool_index(&t->pool, old));
		pool_put(&t->pool, old);
	}
	struct client *c = pool_get(&t->pool);

	CHECK(c != NULL);
	if (!flow_add(&t->table, hash, pool_index(&t->pool, c))) {
		pool_put(&t->pool, c);
		return NULL;
	}
	c->magic = CLIENT_MAGIC;
	c->sessions = 0;
	c->prefix = *prefix;
	c->booked_us = c->told_us = 0;
	c->refused = 0;
	list_node_init(&c->node);
	list_push_back(&t->unused, &c->node);
	return c;
}

static bool
rate_allows(struct client *c, uint32_t rate, uint64_t now_us)
{
	uint64_t step = MINUTE_US / rate, booked = MAX(c->booked_us, now_us);

	if (booked - now_us > MAX(BURST_US, step) - step)
		return false;
	c->booked_us = booked + step;
	return true;
}

bool
clients_are_limited(const struct client_limits *l)
{
	return l->sessions_max > 0 || l->rate > 0;
}

static struct ipaddr
prefix_of(const struct ipaddr *addr, const struct client_limits *l)
{
	CHECK(l->bits4 <= 32);
	CHECK(l->bits6 <= 128);
	return ipaddr_mask(addr, ipaddr_is_v4(addr) ? (uint8_t)(96 + l->bits4) : l->bits6);
}

enum client_result
clients_enter(struct clients *t, const struct ipaddr *addr, const struct client_limits *l,
	      uint64_t now_us, uint32_t *client)
{
	struct ipaddr prefix = prefix_of(addr, l);

	*client = CLIENT_NONE;
	struct client *c = client_get(t, &prefix);
	if (c == NULL)
		return CLIENT_OK;
	OBJ_CHECK(c, CLIENT_MAGIC);
	if (l->sessions_max > 0 && c->sessions >= l->sessions_max)
		return CLIENT_TOO_MANY;
	if (l->rate > 0 && !rate_allows(c, l->rate, now_us))
		return CLIENT_TOO_FAST;
	if (c->sessions++ == 0)
		list_remove(&t->unused, &c->node);
	*client = pool_index(&t->pool, c) + 1;
	return CLIENT_OK;
}

uint32_t
clients_refused(struct clients *t, const struct ipaddr *addr, const struct client_limits *l,
		uint64_t now_us)
{
	struct ipaddr prefix = prefix_of(addr, l);
	struct client *c = client_get(t, &prefix);
	uint64_t booked = MAX(t->tell_booked_us, now_us);

	if (c == NULL)
		return 0;
	OBJ_CHECK(c, CLIENT_MAGIC);
	c->refused += c->refused < UINT32_MAX;
	if ((c->told_us != 0 && now_us - c->told_us < CLIENTS_TELL_US) ||
	    booked - now_us > 9 * CLIENTS_TELL_ALL_US)
		return 0;
	uint32_t n = c->refused;
	t->tell_booked_us = booked + CLIENTS_TELL_ALL_US;
	c->told_us = now_us;
	c->refused = 0;
	return n;
}

void
clients_leave(struct clients *t, uint32_t client)
{
	if (client == CLIENT_NONE)
		return;
	struct client *c = pool_at(&t->pool, client - 1);

	OBJ_CHECK(c, CLIENT_MAGIC);
	CHECK(c->sessions > 0);
	if (--c->sessions == 0)
		list_push_back(&t->unused, &c->node);
}

uint32_t
clients_count(const struct clients *t)
{
	return t->pool.used - t->unused.count;
}
