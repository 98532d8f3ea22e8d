// SPDX-License-Identifier: Apache-2.0
// Limits of single clients, and the worker's shedding level.

#include <criterion/criterion.h>

#include "control/base/rng.h"
#include "dataplane/clients.h"
#include "dataplane/shed.h"

static const struct siphash_key key = {1, 2};

static struct client_hold
enter_at(struct clients *t, struct ipaddr addr, const struct client_limits *l, uint64_t now_us,
	 enum client_result want)
{
	struct client_answer got = clients_enter(t, &addr, l, now_us);

	cr_assert(got.result == want, "at %lu: %d", (unsigned long)now_us, (int)got.result);
	cr_assert(want == CLIENT_OK ||
		  got.hold.at[CLIENT_NARROW] + got.hold.at[CLIENT_WIDE] == CLIENT_NONE);
	return got.hold;
}

static struct client_hold
enter(struct clients *t, uint32_t v4, const struct client_limits *l, uint64_t now_us,
      enum client_result want)
{
	return enter_at(t, ipaddr_v4(v4), l, now_us, want);
}

static void
enter_and_leave(struct clients *t, uint32_t v4, const struct client_limits *l, uint64_t now_us)
{
	struct client_hold h = enter(t, v4, l, now_us, CLIENT_OK);

	clients_leave(t, &h);
	cr_assert(h.at[CLIENT_NARROW] == CLIENT_NONE);
	clients_leave(t, &h); // nothing more
}

// Of 2001:db8:SITE:NET::/64.
static struct ipaddr
v6(uint8_t site, uint8_t net, uint8_t host)
{
	return (struct ipaddr){
		{[0] = 0x20, [1] = 1, [2] = 0xd, [3] = 0xb8, [5] = site, [7] = net, [15] = host}};
}

Test(plane_clients, sessions_of_one_client)
{
	const struct client_limits l = {.sessions_max = 2, .bits4 = {32}};
	struct clients t;

	cr_assert(clients_init(&t, &mem_heap, 8, key));
	struct client_hold a = enter(&t, 1, &l, 0, CLIENT_OK), b = enter(&t, 1, &l, 0, CLIENT_OK);
	cr_assert(a.at[CLIENT_NARROW] != CLIENT_NONE && a.at[CLIENT_WIDE] == CLIENT_NONE);
	cr_assert(a.at[CLIENT_NARROW] == b.at[CLIENT_NARROW]);
	(void)enter(&t, 1, &l, 0, CLIENT_TOO_MANY);
	(void)enter(&t, 2, &l, 0, CLIENT_OK); // somebody else
	cr_assert(clients_count(&t) == 2);
	clients_leave(&t, &a);
	(void)enter(&t, 1, &l, 0, CLIENT_OK);
	(void)enter(&t, 1, &l, 0, CLIENT_TOO_MANY);
	clients_fini(&t);
}

Test(plane_clients, prefixes)
{
	const struct client_limits l = {.sessions_max = 1, .bits4 = {24}, .bits6 = {64}};
	struct clients t;

	cr_assert(clients_init(&t, &mem_heap, 8, key));
	(void)enter(&t, 0x0a000001, &l, 0, CLIENT_OK);
	(void)enter(&t, 0x0a0000ff, &l, 0, CLIENT_TOO_MANY);
	(void)enter(&t, 0x0a000100, &l, 0, CLIENT_OK);
	(void)enter_at(&t, v6(1, 0, 0), &l, 0, CLIENT_OK);
	(void)enter_at(&t, v6(1, 0, 9), &l, 0, CLIENT_TOO_MANY);
	(void)enter_at(&t, v6(1, 1, 0), &l, 0, CLIENT_OK);
	clients_fini(&t);
}

// What is refused names whose limit it was; the /48 that begins like its first /64 is another.
Test(plane_clients, wide_prefix)
{
	const struct client_limits l = {.sessions_max = 3, .bits4 = {32, 24}, .bits6 = {64, 48}};
	struct client_hold held[12];
	struct clients t;

	cr_assert(clients_init(&t, &mem_heap, 64, key));
	for (uint8_t i = 0; i < 12; i++)
		held[i] = enter_at(&t, v6(1, i / 2, i), &l, 0, CLIENT_OK);
	cr_assert(clients_count(&t) == 6 + 1);
	struct ipaddr next = v6(1, 200, 0), full = v6(2, 0, 0);
	struct client_answer a = clients_enter(&t, &next, &l, 0);
	cr_assert(a.result == CLIENT_TOO_MANY && a.tier == CLIENT_WIDE && a.limit == 12);
	cr_assert(a.prefix.bits == 48 && clients_refused(&t, &a.prefix, 0) == 1);
	cr_assert(clients_count(&t) == 6 + 1);
	for (uint8_t i = 0; i < 3; i++)
		(void)enter_at(&t, v6(2, 0, i), &l, 0, CLIENT_OK);
	a = clients_enter(&t, &full, &l, 0);
	cr_assert(a.result == CLIENT_TOO_MANY && a.tier == CLIENT_NARROW && a.limit == 3);
	cr_assert(a.prefix.bits == 64 && !a.is_shared);
	clients_leave(&t, &held[5]);
	(void)enter_at(&t, v6(1, 200, 0), &l, 0, CLIENT_OK);
	(void)enter_at(&t, v6(1, 201, 0), &l, 0, CLIENT_TOO_MANY);
	for (uint32_t i = 0; i < 12; i++)
		(void)enter(&t, 0x0a000000 + i, &l, 0, CLIENT_OK);
	(void)enter(&t, 0x0a0000ff, &l, 0, CLIENT_TOO_MANY);
	(void)enter(&t, 0x0a000100, &l, 0, CLIENT_OK);
	clients_fini(&t);
}

// Off: 0, and what is not shorter than the narrow one. None counts twice for one prefix.
Test(plane_clients, wide_prefix_off)
{
	static const uint8_t bits[][CLIENT_TIERS] = {{64, 0}, {64, 64}, {48, 64}};

	for (size_t k = 0; k < ARRAY_LEN(bits); k++) {
		const struct client_limits l = {.sessions_max = 2,
						.bits6 = {bits[k][0], bits[k][1]}};
		struct clients t;

		cr_assert(clients_init(&t, &mem_heap, 64, key));
		for (uint8_t i = 0; i < 20; i++)
			(void)enter_at(&t, v6(i / 2, 0, i), &l, 0, CLIENT_OK);
		(void)enter_at(&t, v6(0, 0, 0), &l, 0, CLIENT_TOO_MANY);
		cr_assert(clients_count(&t) == 10);
		clients_fini(&t);
	}
}

// Ten seconds' worth at once, then one every `60 / rate` seconds; a rate below six a minute still
// admits the first.
Test(plane_clients, rate)
{
	const struct client_limits fast = {.rate = 60, .bits4 = {32}};
	const struct client_limits slow = {.rate = 2, .bits4 = {32}};
	struct clients t;
	uint64_t now = 1000000;

	cr_assert(clients_init(&t, &mem_heap, 8, key));
	for (int i = 0; i < 10; i++)
		enter_and_leave(&t, 1, &fast, now);
	(void)enter(&t, 1, &fast, now, CLIENT_TOO_FAST);
	(void)enter(&t, 1, &fast, now + 999999, CLIENT_TOO_FAST);
	enter_and_leave(&t, 1, &fast, now + 1000000);
	(void)enter(&t, 1, &fast, now + 1000000, CLIENT_TOO_FAST);
	enter_and_leave(&t, 2, &slow, now);
	(void)enter(&t, 2, &slow, now + 29000000, CLIENT_TOO_FAST);
	enter_and_leave(&t, 2, &slow, now + 30000000);
	clients_fini(&t);
}

// The wide prefix has four times the rate; what one client is refused costs it nothing.
Test(plane_clients, wide_rate)
{
	const struct client_limits l = {.rate = 60, .bits4 = {32, 24}};
	struct clients t;
	uint64_t now = 1000000;

	cr_assert(clients_init(&t, &mem_heap, 64, key));
	for (int i = 0; i < 10; i++)
		enter_and_leave(&t, 1, &l, now);
	for (int i = 0; i < 100; i++)
		(void)enter(&t, 1, &l, now, CLIENT_TOO_FAST);
	for (uint32_t i = 0; i < 30; i++)
		enter_and_leave(&t, 2 + i, &l, now);
	(void)enter(&t, 99, &l, now, CLIENT_TOO_FAST);
	for (uint32_t i = 0; i < 4; i++)
		enter_and_leave(&t, 100 + i, &l, now + 1000000);
	(void)enter(&t, 99, &l, now + 1000000, CLIENT_TOO_FAST);
	cr_assert(clients_count(&t) == 0);
	clients_fini(&t);
}

// Entries without sessions make room, the longest unused first; with sessions they never do. Then
// newcomers share, always the same one, and its limit holds for all who do.
Test(plane_clients, full_table)
{
	const struct client_limits l = {.sessions_max = 2, .bits4 = {32}};
	struct client_hold held[4], more[4];
	struct ipaddr nine = ipaddr_v4(9);
	struct clients t;
	uint32_t in = 0;

	cr_assert(clients_init(&t, &mem_heap, 2, key)); // for two tiers: four entries
	for (uint32_t round = 0; round < 100; round++)
		enter_and_leave(&t, 100 + round, &l, 0);
	for (uint32_t i = 0; i < 4; i++)
		held[i] = enter(&t, i, &l, 0, CLIENT_OK);
	struct client_answer a = clients_enter(&t, &nine, &l, 0);
	cr_assert(a.result == CLIENT_OK && a.is_shared);
	(void)enter(&t, 9, &l, 0, CLIENT_TOO_MANY);
	for (uint32_t i = 0; i < 4; i++) { // three of the four have a place left
		struct ipaddr addr = ipaddr_v4(i);
		struct client_answer b = clients_enter(&t, &addr, &l, 0);

		if (b.result == CLIENT_OK)
			more[in++] = b.hold;
		cr_assert(!b.is_shared);
	}
	cr_assert(in == 3);
	for (uint32_t i = 1000; i < 2000; i++)
		(void)enter(&t, i, &l, 0, CLIENT_TOO_MANY);
	cr_assert(clients_count(&t) == 4);
	// Whoever's place it was: it is kept until both are gone, and then there is room again.
	for (uint32_t i = 0; i < 4; i++)
		clients_leave(&t, &held[i]);
	for (uint32_t i = 0; i < in; i++)
		clients_leave(&t, &more[i]);
	cr_assert(clients_count(&t) == 1);
	clients_leave(&t, &a.hold);
	cr_assert(clients_count(&t) == 0);
	a = clients_enter(&t, &nine, &l, 0);
	cr_assert(a.result == CLIENT_OK && !a.is_shared);
	clients_fini(&t);
}

// Sixteen times as many clients as entries, a session each: they share, and nobody is refused. One
// who then wants all that there is gets what one client may.
Test(plane_clients, full_table_is_fair)
{
	const struct client_limits l = {.sessions_max = 100, .bits4 = {32}};
	const struct ipaddr greedy = ipaddr_v4(0x0b000000);
	struct clients t;
	uint32_t in = 0;

	cr_assert(clients_init(&t, &mem_heap, 1u << 20, key));
	for (uint32_t i = 0; i < 16 * CLIENTS_MAX; i++)
		(void)enter(&t, 0x0a000000 + i, &l, 0, CLIENT_OK);
	cr_assert(clients_count(&t) == CLIENTS_MAX);
	for (uint32_t i = 0; i < 1000; i++)
		in += clients_enter(&t, &greedy, &l, 0).result == CLIENT_OK;
	cr_assert(in > 0 && in <= l.sessions_max, "%u", in);
	clients_fini(&t);
}

// --- property ---

#define HELD_MAX 64u
#define STEPS 40000u

struct model_session {
	struct client_hold hold;
	struct ipprefix prefix[CLIENT_TIERS]; // bits 0: does not count there
};

struct model {
	struct clients t;
	struct client_limits l;
	struct model_session held[HELD_MAX];
	uint32_t count;
	struct rng rng;
	uint32_t wide, narrow, in; // what happened
};

static uint32_t
model_count(const struct model *m, const struct ipprefix *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->count; i++)
		for (uint32_t k = 0; k < CLIENT_TIERS; k++)
			n += m->held[i].prefix[k].bits == p->bits &&
			     ipaddr_eq(&m->held[i].prefix[k].addr, &p->addr);
	return n;
}

// The limits of a policy: the prefixes change under sessions that began with others.
static void
model_policy(struct model *m)
{
	static const uint8_t four[][CLIENT_TIERS] = {{32, 24}, {32, 0}, {24, 16}, {30, 31}};
	static const uint8_t six[][CLIENT_TIERS] = {{64, 48}, {64, 56}, {48, 48}, {128, 64}};
	const uint8_t *b4 = four[rng_below(&m->rng, 4)], *b6 = six[rng_below(&m->rng, 4)];

	m->l = (struct client_limits){.sessions_max = rng_below(&m->rng, 4),
				      .bits4 = {b4[0], b4[1]},
				      .bits6 = {b6[0], b6[1]}};
}

static void
model_enter(struct model *m, bool is_exact)
{
	uint8_t r = (uint8_t)rng_below(&m->rng, 64);
	bool is_v4 = rng_below(&m->rng, 2) == 0;
	struct ipaddr addr = is_v4 ? ipaddr_v4(0x0a000000u + (r & 1u) * 256 + r / 2)
				   : v6(r & 1, r >> 1 & 7, r >> 4);
	const uint8_t *bits = is_v4 ? m->l.bits4 : m->l.bits6;
	struct model_session s = {.prefix = {{.bits = 0}}};
	enum client_result want = CLIENT_OK;

	for (uint32_t k = 0; k < CLIENT_TIERS; k++) {
		uint32_t limit = m->l.sessions_max * (k == CLIENT_WIDE ? CLIENT_WIDE_TIMES : 1);

		if (k == CLIENT_WIDE && (bits[k] == 0 || bits[k] >= bits[CLIENT_NARROW]))
			continue;
		s.prefix[k].bits = (uint8_t)(bits[k] + (is_v4 ? 96 : 0));
		s.prefix[k].addr = ipaddr_mask(&addr, s.prefix[k].bits);
		if (limit > 0 && model_count(m, &s.prefix[k]) >= limit)
			want = CLIENT_TOO_MANY;
	}
	struct client_answer a = clients_enter(&m->t, &addr, &m->l, 0);
	if (is_exact) {
		cr_assert(a.result == want, "%d, not %d", (int)a.result, (int)want);
		cr_assert(!a.is_shared);
	}
	m->wide += a.result != CLIENT_OK && a.tier == CLIENT_WIDE;
	m->narrow += a.result != CLIENT_OK && a.tier == CLIENT_NARROW;
	m->in += a.result == CLIENT_OK;
	s.hold = a.hold;
	if (a.result == CLIENT_OK)
		m->held[m->count++] = s;
	else
		cr_assert(clients_refused(&m->t, &a.prefix, 0) <= m->wide + m->narrow);
}

static void
model_leave(struct model *m)
{
	uint32_t i = rng_below(&m->rng, m->count);

	clients_leave(&m->t, &m->held[i].hold);
	m->held[i] = m->held[--m->count];
}

// Sessions come and go under changing policies: each is judged by those that are open and nothing
// else, and when all have ended no prefix has any. The same in a table that is mostly full, where
// only the balance can be told.
Test(plane_clients, property_balance)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct model m = {.count = 0};
		bool is_exact = seed % 2 == 0;

		rng_init(&m.rng, seed);
		cr_assert(clients_init(&m.t, &mem_heap, is_exact ? HELD_MAX : 4, key));
		model_policy(&m);
		for (uint32_t i = 0; i < STEPS; i++) {
			if (rng_below(&m.rng, 100) == 0)
				model_policy(&m);
			if (m.count < HELD_MAX && rng_below(&m.rng, 100) < 60)
				model_enter(&m, is_exact);
			else if (m.count > 0)
				model_leave(&m);
			cr_assert(clients_count(&m.t) <= CLIENT_TIERS * m.count);
		}
		while (m.count > 0)
			model_leave(&m);
		cr_assert(clients_count(&m.t) == 0, "seed %lu: %u have sessions",
			  (unsigned long)seed, clients_count(&m.t));
		cr_assert(m.in > 1000 && m.wide > 100 && m.narrow > 100, "%u in, %u, %u", m.in,
			  m.wide, m.narrow);
		clients_fini(&m.t);
	}
}

static uint32_t
refused(struct clients *t, uint32_t v4, const struct client_limits *l, uint64_t now_us)
{
	struct ipaddr addr = ipaddr_v4(v4);
	struct client_answer a = clients_enter(t, &addr, l, now_us);

	cr_assert(a.result == CLIENT_TOO_MANY);
	return clients_refused(t, &a.prefix, now_us);
}

// The log hears of a client at once, and then once a minute with all that was refused meanwhile;
// of many clients it hears ten at once and one a second from then on.
Test(plane_clients, log_is_told_seldom)
{
	const struct client_limits l = {.sessions_max = 1, .bits4 = {32}};
	const uint64_t minute = CLIENTS_TELL_US;
	uint64_t now = 77;
	uint32_t told = 0;
	struct clients t;

	cr_assert(clients_init(&t, &mem_heap, 4096, key));
	for (uint32_t i = 0; i < 1000; i++)
		(void)enter(&t, i, &l, now, CLIENT_OK);
	cr_assert(refused(&t, 1, &l, now) == 1);
	for (int i = 1; i < 60; i++)
		cr_assert(refused(&t, 1, &l, now + (uint64_t)i * 1000000) == 0);
	cr_assert(refused(&t, 1, &l, now + minute - 1) == 0);
	cr_assert(refused(&t, 1, &l, now + minute) == 61);
	now += 10 * minute;
	for (uint32_t i = 0; i < 1000; i++)
		told += refused(&t, i, &l, now) > 0;
	cr_assert(told == 10, "%u", told);
	cr_assert(refused(&t, 999, &l, now + CLIENTS_TELL_ALL_US - 1) == 0);
	cr_assert(refused(&t, 999, &l, now + CLIENTS_TELL_ALL_US) == 3); // nothing was forgotten
	cr_assert(refused(&t, 998, &l, now + CLIENTS_TELL_ALL_US) == 0);
	clients_fini(&t);
}

static bool
shed_at(struct shed *s, enum shed_resource r, uint32_t permille, uint64_t now_us)
{
	struct shed_use use = {0};

	use.of[r] = permille;
	return shed_update(s, &use, now_us);
}

Test(plane_shed, each_resource_has_its_marks)
{
	static const struct {
		enum shed_resource r;
		uint32_t use;
		enum shed_level level;
	} row[] = {
		{SHED_FRAMES, 699, SHED_NONE},       {SHED_FRAMES, 700, SHED_COOKIES},
		{SHED_FRAMES, 800, SHED_REFUSE},     {SHED_FRAMES, 900, SHED_SHRINK},
		{SHED_FRAMES, 950, SHED_DROP},       {SHED_CHUNKS, 700, SHED_COOKIES},
		{SHED_CHUNKS, 800, SHED_REFUSE},     {SHED_CHUNKS, 875, SHED_SHRINK},
		{SHED_CHUNKS, 1000, SHED_DROP},      {SHED_SESSIONS, 899, SHED_NONE},
		{SHED_SESSIONS, 1000, SHED_COOKIES}, {SHED_CONNS, 970, SHED_REFUSE},
		{SHED_CONNS, 1000, SHED_REFUSE},     {SHED_LOOP, 999, SHED_NONE},
		{SHED_LOOP, 1000, SHED_COOKIES},     {SHED_LOOP, 30000, SHED_DROP},
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct shed s = {0};

		cr_assert(shed_at(&s, row[i].r, row[i].use, 1) == (row[i].level != SHED_NONE));
		cr_assert(s.level == row[i].level, "row %zu: level %d", i, (int)s.level);
		cr_assert(s.level == SHED_NONE || s.cause == row[i].r);
	}
}

// Up at once, down one step each tenth of a second of calm; just below the mark is no calm.
Test(plane_shed, goes_down_slowly)
{
	struct shed s = {0};
	uint64_t now = 1000;

	cr_assert(shed_at(&s, SHED_CHUNKS, 900, now));
	cr_assert(s.level == SHED_SHRINK);
	for (int i = 0; i < 500; i++)
		cr_assert_not(shed_at(&s, SHED_CHUNKS, 870, now += 1000));
	cr_assert(s.level == SHED_SHRINK);
	cr_assert_not(shed_at(&s, SHED_CHUNKS, 0, now += 1000));
	cr_assert_not(shed_at(&s, SHED_CHUNKS, 0, now + SHED_CALM_US - 1));
	cr_assert_not(shed_at(&s, SHED_CHUNKS, 870, now + SHED_CALM_US)); // begins anew
	for (uint32_t level = SHED_SHRINK; level > SHED_NONE; level--) {
		now += SHED_CALM_US;
		cr_assert_not(shed_at(&s, SHED_CHUNKS, 0, now));
		now += SHED_CALM_US;
		cr_assert(shed_at(&s, SHED_CHUNKS, 0, now));
		cr_assert(s.level == level - 1);
	}
	cr_assert_not(shed_at(&s, SHED_CHUNKS, 0, now + SHED_CALM_US));
}
