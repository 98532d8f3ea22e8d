// SPDX-License-Identifier: Apache-2.0
// Tests of the spreading of flows over workers, against DPDK's own hash.

#include <criterion/criterion.h>
#include <rte_thash.h>
#include <string.h>

#include "control/base/bytes.h"
#include "control/base/rng.h"
#include "dataplane/steer.h"
#include "test/unit/dpdk_rig.h"

Test(steer, hash_is_toeplitz)
{
	struct steer *s = steer_open(4, ms_key, &mem_heap);
	uint32_t key[STEER_KEY_SIZE / 4], raw[STEER_KEY_SIZE / 4];
	struct rng rng;

	cr_assert_eq(steer_hash(s, 0x420995bb, 0xa18e6450, 2794, 1766), 0x51ccc178);
	cr_assert_eq(steer_hash(s, 0xc75c6f02, 0x41458c53, 14230, 4739), 0xc626b0ea);
	cr_assert_eq(steer_hash(s, 0x1813c65f, 0x0c16cfb8, 12898, 38024), 0x5c2b394a);
	memcpy(raw, ms_key, sizeof(raw));
	rte_convert_rss_key(raw, key, sizeof(key));
	rng_init(&rng, 3);
	for (uint32_t i = 0; i < 10000; i++) {
		uint32_t t[3] = {(uint32_t)rng_next(&rng), (uint32_t)rng_next(&rng),
				 (uint32_t)rng_next(&rng)};
		cr_assert_eq(steer_hash(s, t[0], t[1], (uint16_t)(t[2] >> 16), (uint16_t)t[2]),
			     rte_softrss_be(t, 3, (const uint8_t *)key));
	}
	steer_close(&s);
}

// Microsoft's vectors for IPv6 with TCP ports.
Test(steer, hash_of_ipv6_is_toeplitz)
{
	const struct {
		const char *src, *dst;
		uint16_t sport, dport;
		uint32_t hash;
	} rows[] = {
		{"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x40207d3d},
		{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde51bbf},
		{"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024,
		 0x02d1feef},
	};
	struct steer *s = steer_open(4, ms_key, &mem_heap);

	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ipaddr a, b;
		cr_assert(ipaddr_parse(span_str(rows[i].src), &a));
		cr_assert(ipaddr_parse(span_str(rows[i].dst), &b));
		cr_assert_eq(steer_hash6(s, a.b, b.b, rows[i].sport, rows[i].dport), rows[i].hash,
			     "row %u", i);
	}
	steer_close(&s);
}

static uint32_t
tcp6_frame(uint8_t *f, uint16_t sport, uint16_t dport)
{
	memset(f, 0, 80);
	store_be16(f + 12, 0x86dd);
	f[14] = 0x60;
	store_be16(f + 18, 26);
	f[20] = 6;
	memcpy(f + 22, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
	memcpy(f + 38, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	store_be16(f + 54, sport);
	store_be16(f + 56, dport);
	return 80;
}

static uint32_t
owner_of(const struct steer *s, const uint8_t *f, uint32_t n)
{
	return steer_owner(s, span_of(f, n));
}

// However it is wrapped, a flow's frame comes to its worker; so does an error about its segments.
Test(steer, tags_extension_headers_and_errors_come_to_the_owner)
{
	struct steer *s = steer_open(3, ms_key, &mem_heap);
	uint8_t f[160], g[160];

	for (uint16_t port = 2000; port < 2200; port++) {
		struct tcp_path path = {.lport = port, .rport = 25};
		uint32_t n = tcp6_frame(f, 25, port);
		memcpy(path.raddr.b, f + 22, 16);
		memcpy(path.laddr.b, f + 38, 16);
		uint32_t owner = owner_of(s, f, n);
		for (uint32_t w = 0; w < 3; w++)
			cr_assert_eq(steer_path_is(s, w, &path), w == owner);
		memcpy(g, f, 12); // a tag
		memcpy(g + 12, "\x81\0\0\7", 4);
		memcpy(g + 16, f + 12, n - 12);
		cr_assert_eq(steer_owner(s, span_of(g, n + 4)), owner);
		memcpy(g, f, 54); // an extension header
		g[20] = 60;
		memcpy(g + 54, "\6\0\1\4\0\0\0\0", 8);
		memcpy(g + 62, f + 54, n - 54);
		cr_assert_eq(steer_owner(s, span_of(g, n + 8)), owner);
		memset(g, 0, sizeof(g)); // packet too big
		memcpy(g, f, 54);
		g[20] = 58;
		g[54] = 2;
		memcpy(g + 62, f + 14, 40);
		memcpy(g + 62 + 8, f + 38, 16); // we sent it
		memcpy(g + 62 + 24, f + 22, 16);
		store_be16(g + 102, port);
		store_be16(g + 104, 25);
		cr_assert_eq(owner_of(s, g, 110), owner);
		for (uint32_t cut = 0; cut < 106; cut++)
			cr_assert_eq(owner_of(s, g, cut), STEER_LOCAL, "cut at %u", cut);
		// The same over IPv4.
		n = tcp_frame(f, 0x0a000002, 0x0a000001, 25, port);
		owner = owner_of(s, f, n);
		memset(g, 0, sizeof(g));
		memcpy(g, f, 34);
		g[23] = 1;
		g[34] = 3;
		g[35] = 4;
		memcpy(g + 42, f + 14, 20);
		store_be32(g + 42 + 12, 0x0a000001);
		store_be32(g + 42 + 16, 0x0a000002);
		store_be16(g + 62, port);
		store_be16(g + 64, 25);
		cr_assert_eq(owner_of(s, g, 70), owner);
		for (uint32_t cut = 0; cut < 66; cut++)
			cr_assert_eq(owner_of(s, g, cut), STEER_LOCAL, "cut at %u", cut);
		g[34] = 8;
		cr_assert_eq(owner_of(s, g, 70), STEER_LOCAL, "an echo request");
	}
	for (uint8_t type = 133; type <= 137; type++) {
		uint32_t n = tcp6_frame(f, 0, 0);
		f[20] = 58;
		f[54] = type;
		cr_assert_eq(owner_of(s, f, n), STEER_LOCAL, "not from the link");
		f[21] = 255;
		cr_assert_eq(owner_of(s, f, n) == STEER_ALL, type >= 134 && type <= 136);
	}
	steer_close(&s);
}

// The worker that a reply arrives at is the one whose port_is_mine said yes; all get their share.
Test(steer, replies_come_to_the_worker_that_chose_the_port)
{
	struct steer *s = steer_open(3, ms_key, &mem_heap);
	uint32_t share[3] = {0};
	uint8_t f[60];

	for (uint32_t port = 1024; port < 65536; port += 7) {
		const struct tcp_path path = {.laddr = ipaddr_v4(0x0a000001),
					      .raddr = ipaddr_v4(0x0a000002),
					      .lport = (uint16_t)port,
					      .rport = 25};
		uint32_t n = tcp_frame(f, 0x0a000002, 0x0a000001, 25, (uint16_t)port);
		uint32_t owner = steer_owner(s, span_of(f, n));
		cr_assert_lt(owner, 3);
		share[owner]++;
		for (uint32_t w = 0; w < 3; w++)
			cr_assert_eq(steer_path_is(s, w, &path), w == owner);
	}
	for (uint32_t w = 0; w < 3; w++)
		cr_assert_gt(share[w], 9000 / 5, "worker %u has %u flows", w, share[w]);
	tcp_frame(f, 1, 2, 3, 4);
	f[20] = 0x20; // a fragment has no ports
	cr_assert_eq(steer_owner(s, span_of(f, 60)), STEER_LOCAL);
	tcp_frame(f, 1, 2, 3, 4);
	for (uint32_t n = 0; n < 38; n++)
		cr_assert_eq(steer_owner(s, span_of(f, n)), STEER_LOCAL, "cut at %u", n);
	f[23] = 1;
	cr_assert_eq(steer_owner(s, span_of(f, 60)), STEER_LOCAL);
	store_be16(f + 12, 0x0806);
	cr_assert_eq(steer_owner(s, span_of(f, 60)), STEER_ALL);
	steer_close(&s);
}

Test(steer, rings_are_bounded_and_fair)
{
	struct steer *s = steer_open(3, ms_key, &mem_heap);
	struct steer_item item = {.iface = 1}, got[4];
	uint32_t sent = 0, from[3] = {0};

	while (steer_send(s, 0, 2, &item))
		sent++;
	cr_assert_eq(sent, STEER_RING);
	item.iface = 2;
	while (steer_send(s, 1, 2, &item))
		;
	for (uint32_t i = 0; i < 30; i++)
		for (uint32_t k = steer_recv(s, 2, got, 4); k > 0; k--)
			from[got[k - 1].iface]++;
	cr_assert_eq(from[1] + from[2], 120);
	cr_assert(from[1] >= 30 && from[2] >= 30, "%u and %u", from[1], from[2]);
	cr_assert_eq(steer_recv(s, 1, got, 4), 0);
	while (steer_recv(s, 2, got, 4) > 0)
		;
	steer_close(&s);
}
