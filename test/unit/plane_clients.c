// SPDX-License-Identifier: Apache-2.0
// Limits of single clients, and the worker's shedding level.

#include <criterion/criterion.h>

#include "dataplane/clients.h"
#include "dataplane/shed.h"

static const struct siphash_key key = {1, 2};

static uint32_t
enter(struct clients *t, uint32_t v4, const struct client_limits *l, uint64_t now_us,
      enum client_result want)
{
	struct ipaddr a = ipaddr_v4(v4);
	uint32_t client = 77;

	enum client_result got = clients_enter(t, &a, l, now_us, &client);
	cr_assert(got == want, "%08x at %lu: %d", v4, (unsigned long)now_us, (int)got);
	cr_assert(want == CLIENT_OK || client == CLIENT_NONE);
	return client;
}

Test(plane_clients, sessions_of_one_client)
{
	const struct client_limits l = {.sessions_max = 2, .bits4 = 32, .bits6 = 64};
	struct clients t;

	cr_assert(clients_init(&t, &mem_heap, 8, key));
	uint32_t a = enter(&t, 1, &l, 0, CLIENT_OK), b = enter(&t, 1, &l, 0, CLIENT_OK);
	cr_assert(a != CLIENT_NONE && a == b);
	(void)enter(&t, 1, &l, 0, CLIENT_TOO_MANY);
	(void)enter(&t, 2, &l, 0, CLIENT_OK); // somebody else
	cr_assert(clients_count(&t) == 2);
	clients_leave(&t, a);
	(void)enter(&t, 1, &l, 0, CLIENT_OK);
	(void)enter(&t, 1, &l, 0, CLIENT_TOO_MANY);
	clients_fini(&t);
}

Test(plane_clients, prefixes)
{
	const struct client_limits l = {.sessions_max = 1, .bits4 = 24, .bits6 = 64};
	struct ipaddr a = {{0x20, 1, 0xd, 0xb8}}, b = a, c = a;
	struct clients t;
	uint32_t client;

	b.b[15] = 9; // the same /64
	c.b[7] = 1;  // another one
	cr_assert(clients_init(&t, &mem_heap, 8, key));
	(void)enter(&t, 0x0a000001, &l, 0, CLIENT_OK);
	(void)enter(&t, 0x0a0000ff, &l, 0, CLIENT_TOO_MANY);
	(void)enter(&t, 0x0a000100, &l, 0, CLIENT_OK);
	cr_assert(clients_enter(&t, &a, &l, 0, &client) == CLIENT_OK);
	cr_assert(clients_enter(&t, &b, &l, 0, &client) == CLIENT_TOO_MANY);
	cr_assert(clients_enter(&t, &c, &l, 0, &client) == CLIENT_OK);
	clients_fini(&t);
}

// Ten seconds' worth at once, then one every `60 / rate` seconds; a rate below six a minute still
// admits the first.
Test(plane_clients, rate)
{
	const struct client_limits fast = {.rate = 60, .bits4 = 32};
	const struct client_limits slow = {.rate = 2, .bits4 = 32};
	struct clients t;
	uint64_t now = 1000000;

	cr_assert(clients_init(&t, &mem_heap, 8, key));
	for (int i = 0; i < 10; i++)
		clients_leave(&t, enter(&t, 1, &fast, now, CLIENT_OK));
	(void)enter(&t, 1, &fast, now, CLIENT_TOO_FAST);
	(void)enter(&t, 1, &fast, now + 999999, CLIENT_TOO_FAST);
	clients_leave(&t, enter(&t, 1, &fast, now + 1000000, CLIENT_OK));
	(void)enter(&t, 1, &fast, now + 1000000, CLIENT_TOO_FAST);
	clients_leave(&t, enter(&t, 2, &slow, now, CLIENT_OK));
	(void)enter(&t, 2, &slow, now + 29000000, CLIENT_TOO_FAST);
	clients_leave(&t, enter(&t, 2, &slow, now + 30000000, CLIENT_OK));
	clients_fini(&t);
}

// Entries without sessions make room, the longest unused first; with sessions they never do.
Test(plane_clients, full_table)
{
	const struct client_limits l = {.sessions_max = 1, .bits4 = 32};
	struct clients t;
	uint32_t held[4];

	cr_assert(clients_init(&t, &mem_heap, 4, key));
	for (uint32_t round = 0; round < 100; round++)
		clients_leave(&t, enter(&t, 100 + round, &l, 0, CLIENT_OK));
	for (uint32_t i = 0; i < 4; i++)
		held[i] = enter(&t, i, &l, 0, CLIENT_OK);
	cr_assert(enter(&t, 9, &l, 0, CLIENT_OK) == CLIENT_NONE);
	cr_assert(enter(&t, 9, &l, 0, CLIENT_OK) == CLIENT_NONE); // not accounted
	(void)enter(&t, 2, &l, 0, CLIENT_TOO_MANY);
	clients_leave(&t, held[2]);
	cr_assert(enter(&t, 9, &l, 0, CLIENT_OK) != CLIENT_NONE);
	clients_leave(&t, CLIENT_NONE);
	clients_fini(&t);
}

static uint32_t
refused(struct clients *t, uint32_t v4, const struct client_limits *l, uint64_t now_us)
{
	struct ipaddr a = ipaddr_v4(v4);

	(void)enter(t, v4, l, now_us, CLIENT_TOO_MANY);
	return clients_refused(t, &a, l, now_us);
}

// The log hears of a client at once, and then once a minute with all that was refused meanwhile;
// of many clients it hears ten at once and one a second from then on.
Test(plane_clients, log_is_told_seldom)
{
	const struct client_limits l = {.sessions_max = 1, .bits4 = 32};
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
