// SPDX-License-Identifier: Apache-2.0
// Tests of the simulated NIC, and of several workers behind it.

#include <criterion/criterion.h>

#include "control/base/bytes.h"
#include "control/base/rng.h"
#include "test/sim/lib/appliance.h"
#include "test/sim/lib/smtp_peer.h"

// The key and the test vectors that NIC makers verify theirs with (Microsoft, "Verifying the RSS
// hash calculation").
static const uint8_t ms_key[STEER_KEY_SIZE] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

struct rig {
	struct vnet *v;
	struct vnet_link *l;
	struct simnic *nic;
};

static void
rig_open(struct rig *r, uint32_t queues, uint32_t ring)
{
	r->v = vnet_open(1);
	r->l = vnet_link_open(r->v, NULL, NULL);
	r->nic = simnic_open(&(struct simnic_args){.wire = vnet_port(r->l, VNET_B),
						   .queues = queues,
						   .ring_frames = ring,
						   .key = ms_key});
	cr_assert_not_null(r->nic);
}

static void
rig_close(struct rig *r)
{
	simnic_close(&r->nic);
	vnet_close(&r->v);
}

static uint32_t
frame_v4(uint8_t f[60], uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	memset(f, 0, 60);
	store_be16(f + 12, 0x0800);
	f[14] = 0x45;
	f[23] = 6;
	store_be32(f + 26, src);
	store_be32(f + 30, dst);
	store_be16(f + 34, sport);
	store_be16(f + 36, dport);
	return 60;
}

static enum simnic_hash
hash_of(const struct rig *r, const uint8_t *f, uint32_t n, uint32_t *hash)
{
	return simnic_hash(r->nic, span_of(f, n), hash);
}

Test(simnic, hashes_as_the_makers_say)
{
	static const struct {
		uint32_t src, dst;
		uint16_t sport, dport;
		uint32_t addresses, ports;
	} rows[] = {
		{0x420995bb, 0xa18e6450, 2794, 1766, 0x323e8fc2, 0x51ccc178},
		{0xc75c6f02, 0x41458c53, 14230, 4739, 0xd718262a, 0xc626b0ea},
		{0x1813c65f, 0x0c16cfb8, 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
	};
	struct steer *s = steer_open(2, ms_key, &mem_heap);
	struct rig r;
	uint8_t f[60];
	uint32_t hash;

	rig_open(&r, 2, 0);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t n = frame_v4(f, rows[i].src, rows[i].dst, rows[i].sport, rows[i].dport);
		cr_assert_eq(hash_of(&r, f, n, &hash), SIMNIC_PORTS);
		cr_assert_eq(hash, rows[i].ports, "row %u: %x", i, hash);
		cr_assert_eq(hash,
			     steer_hash(s, rows[i].src, rows[i].dst, rows[i].sport, rows[i].dport));
		f[20] = 0x20; // more fragments
		cr_assert_eq(hash_of(&r, f, n, &hash), SIMNIC_ADDRESSES);
		cr_assert_eq(hash, rows[i].addresses, "row %u: %x", i, hash);
		f[20] = 0;
		f[21] = 1; // a later fragment
		cr_assert_eq(hash_of(&r, f, n, &hash), SIMNIC_ADDRESSES);
		f[21] = 0;
		f[23] = 17; // UDP
		cr_assert_eq(hash_of(&r, f, n, &hash), SIMNIC_ADDRESSES);
		cr_assert_eq(hash, rows[i].addresses);
	}
	steer_close(&s);
	rig_close(&r);
}

// 3ffe:2501:200:1fff::7.2794 > 3ffe:2501:200:3::1.1766 of the same page.
static bool
ports_reach_all(const struct steer *s, struct rng *rng, bool is_v6)
{
	struct tcp_path p = {.rport = 25, .laddr = ipaddr_v4((uint32_t)rng_next(rng))};
	uint32_t first = 16384 + (uint32_t)rng_next(rng) % (49152 - STEER_PORT_RUN), seen = 0;

	p.raddr = ipaddr_v4((uint32_t)rng_next(rng));
	for (uint32_t i = 0; is_v6 && i < 16; i++) {
		p.laddr.b[i] = (uint8_t)(rng_next(rng) | 1);
		p.raddr.b[i] = (uint8_t)(rng_next(rng) | 1);
	}
	for (uint32_t i = 0; i < STEER_PORT_RUN; i++) {
		p.lport = (uint16_t)(first + i);
		for (uint32_t w = 0; w < steer_count(s); w++)
			seen |= (uint32_t)steer_path_is(s, w, &p) << w;
	}
	return seen == (uint32_t)((1ull << steer_count(s)) - 1);
}

// A key may be such that the local port does not change the worker: then a worker has no port to
// connect from, for ever.
Test(simnic, good_keys_give_every_worker_ports)
{
	uint8_t key[STEER_KEY_SIZE];
	uint32_t good = 0;
	struct rng rng;

	rng_init(&rng, 1);
	cr_assert(steer_key_is_good(ms_key));
	for (uint32_t i = 0; i < 200; i++) {
		for (uint32_t k = 0; k < sizeof(key); k++)
			key[k] = (uint8_t)rng_next(&rng);
		if (!steer_key_is_good(key))
			continue;
		good++;
		struct steer *s = steer_open(2 + i % 31, key, &mem_heap);
		cr_assert(ports_reach_all(s, &rng, false), "key %u", i);
		cr_assert(ports_reach_all(s, &rng, true), "key %u", i);
		steer_close(&s);
	}
	cr_assert_gt(good, 100);
}

// Each place of the key whose bits a port's low bits bring to the entry.
Test(simnic, keys_that_a_port_does_not_reach_are_not_good)
{
	static const uint32_t port_byte[] = {8, 10, 32, 34};

	for (uint32_t i = 0; i < 4; i++) {
		uint8_t key[STEER_KEY_SIZE];
		memcpy(key, ms_key, sizeof(key));
		cr_assert(steer_key_is_good(key));
		// the last bit of every entry: with two workers the port changes nothing
		for (uint32_t bit = port_byte[i] * 8 + 6 + 31; bit < port_byte[i] * 8 + 16 + 31;
		     bit++)
			key[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
		cr_assert_not(steer_key_is_good(key), "byte %u", port_byte[i]);
	}
}

Test(simnic, hashes_ipv6_vlans_and_nothing_else)
{
	static const uint8_t addrs[32] = {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0,
					  0,    0,    0,    0,    7,    0x3f, 0xfe, 0x25, 1, 2, 0,
					  0,    3,    0,    0,    0,    0,    0,    0,    0, 1};
	struct rig r;
	uint8_t f[80] = {0};
	uint32_t hash;

	rig_open(&r, 2, 0);
	store_be16(f + 12, 0x86dd);
	f[14] = 0x60;
	f[20] = 6;
	memcpy(f + 22, addrs, 32);
	store_be16(f + 54, 2794);
	store_be16(f + 56, 1766);
	cr_assert_eq(hash_of(&r, f, 80, &hash), SIMNIC_PORTS);
	cr_assert_eq(hash, 0x40207d3d, "%x", hash);
	f[20] = 44; // a fragment header
	cr_assert_eq(hash_of(&r, f, 80, &hash), SIMNIC_ADDRESSES);
	cr_assert_eq(hash, 0x2cc18cd5, "%x", hash);
	memmove(f + 16, f + 12, 60);
	store_be16(f + 12, 0x8100); // the tag is looked through
	f[24] = 6;
	cr_assert_eq(hash_of(&r, f, 80, &hash), SIMNIC_PORTS);
	cr_assert_eq(hash, 0x40207d3d, "%x", hash);
	store_be16(f + 12, 0x0806); // ARP
	cr_assert_eq(hash_of(&r, f, 60, &hash), SIMNIC_NO_HASH);
	cr_assert_eq(hash, 0);
	cr_assert_eq(hash_of(&r, f, 10, &hash), SIMNIC_NO_HASH, "a runt");
	rig_close(&r);
}

static uint32_t
queue_count(struct rig *r, uint32_t queue)
{
	struct frame got[PORT_BURST];
	struct port *p = simnic_port(r->nic, queue);
	uint32_t n = p->ops->rx(p, got, PORT_BURST);

	for (uint32_t i = 0; i < n; i++)
		p->ops->rx_free(p, &got[i]);
	return n;
}

Test(simnic, the_table_chooses_the_queue_and_may_change)
{
	struct rig r;
	uint8_t f[60];
	uint32_t hash, n = frame_v4(f, 0x0a000001, 0x0a000002, 1000, 25);

	rig_open(&r, 3, 0);
	(void)hash_of(&r, f, n, &hash);
	uint32_t entry = hash & (SIMNIC_RETA_DEFAULT - 1);
	for (uint32_t q = 0; q < 3; q++) {
		simnic_reta_set(r.nic, entry, q);
		cr_assert(vnet_inject(r.l, VNET_A, span_of(f, n)));
		for (uint32_t k = 0; k < 3; k++)
			cr_assert_eq(queue_count(&r, k), k == q);
	}
	store_be16(f + 12, 0x0806);
	cr_assert(vnet_inject(r.l, VNET_A, span_of(f, n)));
	cr_assert_eq(queue_count(&r, 1), 0);
	cr_assert_eq(queue_count(&r, 0), 1, "ARP comes to queue 0");
	cr_assert_eq(simnic_stats(r.nic, 0)->portless, 1);
	rig_close(&r);
}

Test(simnic, a_full_ring_drops_and_says_so)
{
	struct rig r;
	uint8_t f[60] = {0};

	rig_open(&r, 1, 16);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert(vnet_inject(r.l, VNET_A, span_of(f, 60)));
	cr_assert_eq(queue_count(&r, 0), 16);
	cr_assert_eq(simnic_stats(r.nic, 0)->missed, 4);
	cr_assert_eq(simnic_pending(r.nic), 0);
	for (uint32_t i = 0; i < 3000; i++) { // what was dropped went back to the wire
		cr_assert(vnet_inject(r.l, VNET_A, span_of(f, 60)));
		cr_assert_eq(queue_count(&r, 0), 1);
	}
	cr_assert(vnet_inject(r.l, VNET_A, span_of(f, 60)));
	rig_close(&r); // with a frame on the wire
}

// --- workers ---

#define MAILS 24

struct office {
	struct testpolicy *tp;
	struct appliance *a;
	struct sink sink;
	struct source source[MAILS];
	struct source_message message[MAILS];
};

static void
office_open(struct office *o, struct appliance_args args)
{
	char why[200];
	struct strbuf b;

	memset(o, 0, sizeof(*o));
	strbuf_init(&b, why, sizeof(why));
	o->tp = testpolicy_open();
	args.policy = o->tp;
	args.seed = 5;
	o->a = appliance_open(&args, &b);
	cr_assert_not_null(o->a, "%s", why);
	cr_assert(sink_open(&o->sink, o->a->backend.tcp, TEST_SMTP_PORT, 1));
}

static void
office_close(struct office *o)
{
	for (uint32_t i = 0; i < MAILS; i++)
		source_close(&o->source[i]);
	sink_close(&o->sink);
	appliance_close(&o->a);
	testpolicy_close(&o->tp);
}

// One message from each of MAILS clients at the same time; every one has to arrive.
static void
office_send(struct office *o, void (*on_turn)(struct office *o))
{
	static uint8_t body[30000];
	struct ipaddr to = ipaddr_v4(TEST_OUTSIDE_IP);
	uint64_t end = o->a->now_us + 100000000, before = o->sink.accepted;
	bool is_open = true;

	memset(body, 'x', sizeof(body));
	for (uint32_t i = 60; i < sizeof(body); i += 60)
		memcpy(body + i - 2, "\r\n", 2);
	memcpy(body + sizeof(body) - 2, "\r\n", 2);
	for (uint32_t i = 0; i < MAILS; i++) {
		source_close(&o->source[i]);
		memset(&o->source[i], 0, sizeof(o->source[i]));
		o->message[i] = (struct source_message){.from = "a@example.test",
							.rcpt = {"b@example.test"},
							.data = body,
							.size = sizeof(body)};
		o->source[i].message = &o->message[i];
		o->source[i].count = 1;
		cr_assert(source_open(&o->source[i], o->a->client.tcp, &to, TEST_SMTP_PORT));
	}
	while (is_open && o->a->now_us < end) {
		(void)appliance_step(o->a, end);
		is_open = false;
		for (uint32_t i = 0; i < MAILS; i++) {
			(void)source_work(&o->source[i]);
			is_open |= o->source[i].state != SOURCE_DONE;
		}
		if (on_turn != NULL)
			on_turn(o);
	}
	for (uint32_t i = 0; i < MAILS; i++)
		cr_assert_eq(o->message[i].final_code, 250, "mail %u: %u", i,
			     o->message[i].final_code);
	cr_assert_eq(o->sink.accepted - before, MAILS);
}

static uint32_t
busy_workers(const struct office *o)
{
	uint32_t n = 0;

	for (uint32_t w = 0; w < o->a->workers; w++)
		n += o->a->counters[w].v[COUNTER_MESSAGES_DELIVERED] > 0;
	return n;
}

Test(workers, nothing_is_handed_over_by_nics_with_our_key)
{
	struct office o;

	for (uint32_t workers = 2; workers <= 4; workers++) {
		office_open(&o, (struct appliance_args){.workers = workers, .reta_size = 128});
		office_send(&o, NULL);
		uint64_t arp = appliance_count(o.a, COUNTER_HANDOFF_OUT);
		office_send(&o, NULL);
		cr_assert_eq(appliance_count(o.a, COUNTER_HANDOFF_OUT), arp,
			     "in steady state nothing is");
		cr_assert_leq(arp, 8 * workers, "ARP only");
		cr_assert_eq(busy_workers(&o), workers);
		office_close(&o);
	}
}

Test(workers, foreign_keys_cost_hand_overs_and_nothing_else)
{
	struct office o;

	office_open(&o, (struct appliance_args){.workers = 3, .rss = APPLIANCE_RSS_FOREIGN});
	office_send(&o, NULL);
	cr_assert_gt(appliance_count(o.a, COUNTER_HANDOFF_OUT), 500);
	cr_assert_eq(appliance_count(o.a, COUNTER_TCP_RST_OUT), 0, "a flow came to two workers");
	cr_assert_eq(busy_workers(&o), 3);
	office_close(&o);
}

static void
stir(struct office *o)
{
	static uint32_t turn;

	for (uint32_t i = 0; i < 2; i++)
		for (uint32_t k = 0; k < simnic_reta_size(o->a->nic[i]); k++)
			simnic_reta_set(o->a->nic[i], k, (k + turn / 3) % o->a->workers);
	turn++;
}

Test(workers, a_table_that_changes_moves_no_flow)
{
	struct office o;

	office_open(&o, (struct appliance_args){.workers = 3});
	office_send(&o, stir);
	cr_assert_gt(appliance_count(o.a, COUNTER_HANDOFF_OUT), 500);
	cr_assert_eq(appliance_count(o.a, COUNTER_TCP_RST_OUT), 0);
	cr_assert_eq(appliance_count(o.a, COUNTER_SESSIONS), MAILS);
	office_close(&o);
}

// Worker 1 does not look at its ring for a while: frames for it are dropped, and sent again.
Test(workers, a_full_hand_over_ring_loses_nothing_for_good)
{
	struct office o;
	uint8_t f[60];
	uint32_t n = 0;

	office_open(&o, (struct appliance_args){
				.workers = 2, .rss = APPLIANCE_RSS_NONE, .ring_frames = 1024});
	struct port *p = simnic_port(o.a->nic[0], 0);
	for (uint16_t port = 1000; o.a->counters[0].v[COUNTER_HANDOFF_FULL] == 0; port++) {
		struct frame got[PORT_BURST];
		(void)frame_v4(f, TEST_CLIENT_IP, TEST_OUTSIDE_IP, port, 25);
		memcpy(f, vnet_port(o.a->link[0], VNET_B)->mac, 6);
		cr_assert(vnet_inject(o.a->link[0], VNET_A, span_of(f, 60)));
		uint32_t kept = p->ops->rx(p, got, PORT_BURST);
		for (uint32_t i = 0; i < kept; i++)
			p->ops->rx_free(p, &got[i]);
		cr_assert_lt(n++, 10000);
	}
	cr_assert_eq(o.a->counters[0].v[COUNTER_HANDOFF_OUT], STEER_RING);
	office_send(&o, NULL);
	cr_assert_eq(vnet_link_held(o.a->link[0]), 0, "what was dropped went back");
	cr_assert_eq(busy_workers(&o), 2);
	office_close(&o);
}
