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
	uint32_t refused; // sessions since the log was told
	struct ipprefix prefix;
	uint64_t booked_us; // GCRA: the time up to which its rate is used up
	uint64_t told_us;   // when the log was told of it; 0: never
	struct list_node node;
};
static_assert(sizeof(struct client) == 64, "an entry is one cache line");
static_assert(sizeof(struct ipprefix) == 17, "a key has no padding");

bool
clients_init(struct clients *t, struct mem_source *m, uint32_t sessions_max, struct siphash_key key)
{
	uint32_t cap = CLIENT_TIERS * MIN(sessions_max, CLIENTS_MAX / CLIENT_TIERS);

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

// The entry of a prefix; when all have sessions, one of somebody else. NULL: not even that, which
// the table's secret key makes a matter of chance, and chance does not do it (flow.h).
static struct client *
client_get(struct clients *t, const struct ipprefix *prefix)
{
	uint64_t hash = flow_hash(&t->table, prefix, sizeof(*prefix));
	uint32_t index = flow_find(&t->table, hash, prefix, client_is, &t->pool);

	if (index != FLOW_NONE)
		return pool_at(&t->pool, index);
	if (pool_free_count(&t->pool) == 0) {
		struct list_node *n = list_pop_front(&t->unused);

		if (n == NULL)
			return pool_at(&t->pool, (uint32_t)(hash % t->pool.cap));
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
	c->sessions = c->refused = 0;
	c->prefix = *prefix;
	c->booked_us = c->told_us = 0;
	list_node_init(&c->node);
	list_push_back(&t->unused, &c->node);
	return c;
}

bool
clients_are_limited(const struct client_limits *l)
{
	return l->sessions_max > 0 || l->rate > 0;
}

// False: this tier is off.
static bool
prefix_of(const struct ipaddr *addr, const struct client_limits *l, enum client_tier tier,
	  struct ipprefix *out)
{
	bool is_v4 = ipaddr_is_v4(addr);
	const uint8_t *bits = is_v4 ? l->bits4 : l->bits6;

	CHECK(bits[tier] <= (is_v4 ? 32 : 128));
	if (tier == CLIENT_WIDE && (bits[tier] == 0 || bits[tier] >= bits[CLIENT_NARROW]))
		return false;
	out->bits = (uint8_t)(bits[tier] + (is_v4 ? 96 : 0));
	out->addr = ipaddr_mask(addr, out->bits);
	return true;
}

static uint32_t
tier_times(uint32_t tier, uint32_t limit)
{
	return tier == CLIENT_WIDE ? CLIENT_WIDE_TIMES * limit : limit;
}

static enum client_result
client_judge(const struct client *c, struct client_answer *a, const struct client_limits *l,
	     uint64_t now_us)
{
	uint32_t sessions_max = tier_times(a->tier, l->sessions_max);
	uint32_t rate = tier_times(a->tier, l->rate);

	a->limit = sessions_max;
	if (c == NULL)
		return CLIENT_TOO_MANY;
	OBJ_CHECK(c, CLIENT_MAGIC);
	if (sessions_max > 0 && c->sessions >= sessions_max)
		return CLIENT_TOO_MANY;
	a->limit = rate;
	if (rate == 0)
		return CLIENT_OK;
	uint64_t step = MINUTE_US / rate, booked = MAX(c->booked_us, now_us);
	return booked - now_us > MAX(BURST_US, step) - step ? CLIENT_TOO_FAST : CLIENT_OK;
}

// The wide prefix is asked first: at its limit no more narrow ones get entries. Each that consents
// is charged at once, so that its entry stays; the rate is booked when both have.
struct client_answer
clients_enter(struct clients *t, const struct ipaddr *addr, const struct client_limits *l,
	      uint64_t now_us)
{
	struct client_answer a = {.result = CLIENT_OK};

	for (uint32_t k = CLIENT_TIERS; k-- > 0;) {
		a.tier = (enum client_tier)k;
		if (!prefix_of(addr, l, a.tier, &a.prefix))
			continue;
		struct client *c = client_get(t, &a.prefix);
		a.result = client_judge(c, &a, l, now_us);
		if (a.result != CLIENT_OK) {
			clients_leave(t, &a.hold);
			return a;
		}
		a.is_shared |= !client_is(&t->pool, pool_index(&t->pool, c), &a.prefix);
		if (c->sessions++ == 0)
			list_remove(&t->unused, &c->node);
		a.hold.at[k] = pool_index(&t->pool, c) + 1;
	}
	for (uint32_t k = 0; k < CLIENT_TIERS && l->rate > 0; k++) {
		if (a.hold.at[k] == CLIENT_NONE)
			continue;
		struct client *c = pool_at(&t->pool, a.hold.at[k] - 1);
		c->booked_us =
			MAX(c->booked_us, now_us) + MINUTE_US / MAX(tier_times(k, l->rate), 1u);
	}
	return a;
}

uint32_t
clients_refused(struct clients *t, const struct ipprefix *prefix, uint64_t now_us)
{
	struct client *c = client_get(t, prefix);
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
clients_leave(struct clients *t, struct client_hold *hold)
{
	for (uint32_t k = 0; k < CLIENT_TIERS; k++) {
		if (hold->at[k] == CLIENT_NONE)
			continue;
		struct client *c = pool_at(&t->pool, hold->at[k] - 1);

		OBJ_CHECK(c, CLIENT_MAGIC);
		CHECK(c->sessions > 0);
		if (--c->sessions == 0)
			list_push_back(&t->unused, &c->node);
		hold->at[k] = CLIENT_NONE;
	}
}

uint32_t
clients_count(const struct clients *t)
{
	return t->pool.used - t->unused.count;
}
