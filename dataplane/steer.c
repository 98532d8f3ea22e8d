// SPDX-License-Identifier: Apache-2.0
// steer: flow hash and hand-over. Each function says on which core it runs in steer.h.

#include "dataplane/steer.h"

#include "control/base/bytes.h"

#define ETH_SIZE 14u
#define TAG_SIZE 4u
#define IP4_SIZE 20u
#define IP6_SIZE 40u
#define PROTO_ICMP 1u
#define PROTO_TCP 6u
#define PROTO_ICMP6 58u
#define EXT_MAX 4u     // as ip6.c
#define TUPLE_BYTES 36 // two IPv6 addresses and two ports

struct steer {
	uint32_t workers;
	uint32_t part[TUPLE_BYTES * 2][16]; // what four bits of the tuple add to the hash
	uint8_t table[STEER_TABLE];
	struct mem_source *mem;
	uint32_t next[STEER_WORKERS_MAX]; // by receiver: the sender whose ring is looked at first
	struct spsc ring[];               // [from * workers + to]
};

static size_t
steer_size(uint32_t workers)
{
	return sizeof(struct steer) + (size_t)workers * workers * sizeof(struct spsc);
}

// Toeplitz: for each set bit of the tuple, the 32 bits of the key that begin at that bit's number.
static void
parts_fill(struct steer *s, const uint8_t key[STEER_KEY_SIZE])
{
	static_assert(TUPLE_BYTES + 4 <= STEER_KEY_SIZE, "the key covers the longest tuple");
	for (uint32_t i = 0; i < TUPLE_BYTES * 2; i++) {
		uint64_t bits = (uint64_t)load_be32(key + i / 2) << 32 | (uint64_t)key[i / 2 + 4]
										 << 24;
		for (uint32_t v = 0; v < 16; v++)
			for (uint32_t bit = 0; bit < 4; bit++)
				if ((v >> (3 - bit) & 1) != 0)
					s->part[i][v] ^=
						(uint32_t)(bits << (i % 2 * 4 + bit) >> 32);
	}
}

// The hash is linear: the entries that the low PORT_BITS of a port reach are the span of what each
// of these bits adds. All of them: as many independent ones as an entry has bits.
#define ENTRY_BITS 6u
#define PORT_BITS 10u
static_assert(1u << ENTRY_BITS == STEER_TABLE, "an entry's number");
static_assert(STEER_PORT_RUN == (2u << PORT_BITS) - 1, "holds one aligned run of low bits");

static uint32_t
key_entry(const uint8_t *key, uint32_t bit) // what this bit of the tuple adds to the entry
{
	uint32_t first = bit + 32 - ENTRY_BITS, two = load_be16(key + first / 8);

	return two >> (16 - ENTRY_BITS - first % 8) & (STEER_TABLE - 1);
}

static bool
key_spreads(const uint8_t *key, uint32_t port_at) // the byte of the tuple
{
	uint32_t base[ENTRY_BITS] = {0}, rank = 0;

	for (uint32_t i = 16 - PORT_BITS; i < 16; i++) {
		uint32_t v = key_entry(key, port_at * 8 + i);

		for (uint32_t b = ENTRY_BITS; b-- > 0 && v != 0;) {
			if ((v >> b & 1) == 0)
				continue;
			if (base[b] == 0) {
				base[b] = v;
				rank++;
			}
			v ^= base[b];
		}
	}
	return rank == ENTRY_BITS;
}

bool
steer_key_is_good(const uint8_t key[STEER_KEY_SIZE])
{
	return key_spreads(key, 8) && key_spreads(key, 10) && key_spreads(key, 32) &&
	       key_spreads(key, 34);
}

struct steer *
steer_open(uint32_t workers, const uint8_t key[STEER_KEY_SIZE], struct mem_source *mem)
{
	CHECK(workers > 1);
	CHECK(workers <= STEER_WORKERS_MAX);
	CHECK(steer_key_is_good(key));
	struct steer *s = mem_get(mem, steer_size(workers), "steer");

	if (s == NULL)
		return NULL;
	s->workers = workers;
	s->mem = mem;
	parts_fill(s, key);
	for (uint32_t i = 0; i < STEER_TABLE; i++)
		s->table[i] = (uint8_t)(i % workers);
	for (uint32_t i = 0; i < workers * workers; i++) {
		if (i / workers == i % workers)
			continue; // nobody sends to himself
		if (!spsc_init(&s->ring[i], mem, sizeof(struct steer_item), STEER_RING)) {
			steer_close(&s);
			return NULL;
		}
	}
	return s;
}

void
steer_close(struct steer **sp)
{
	struct steer *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	for (uint32_t i = 0; i < s->workers * s->workers; i++)
		if (s->ring[i].base != NULL)
			spsc_fini(&s->ring[i]);
	mem_put(s->mem, s, steer_size(s->workers));
}

uint32_t
steer_count(const struct steer *s)
{
	return s->workers;
}

// On the way of every frame, with a size that the compiler knows: half the time when it is written
// out.
static inline __attribute__((always_inline)) uint32_t
hash_add(const struct steer *s, uint32_t hash, uint32_t at, struct span tuple)
{
	CHECK(at + tuple.n <= TUPLE_BYTES);
#pragma GCC unroll 16
	for (uint32_t i = 0; i < tuple.n; i++) {
		hash ^= s->part[2 * (at + i)][tuple.p[i] >> 4];
		hash ^= s->part[2 * (at + i) + 1][tuple.p[i] & 15];
	}
	return hash;
}

uint32_t
steer_hash(const struct steer *s, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	uint8_t tuple[12];

	store_be32(tuple, src);
	store_be32(tuple + 4, dst);
	store_be16(tuple + 8, sport);
	store_be16(tuple + 10, dport);
	return hash_add(s, 0, 0, span_of(tuple, sizeof(tuple)));
}

uint32_t
steer_hash6(const struct steer *s, const uint8_t src[16], const uint8_t dst[16], uint16_t sport,
	    uint16_t dport)
{
	uint8_t ports[4];

	store_be16(ports, sport);
	store_be16(ports + 2, dport);
	uint32_t hash = hash_add(s, 0, 0, span_of(src, 16));
	hash = hash_add(s, hash, 16, span_of(dst, 16));
	return hash_add(s, hash, 32, span_of(ports, 4));
}

uint32_t
steer_worker(const struct steer *s, uint32_t hash)
{
	return s->table[hash % STEER_TABLE];
}

// The worker of the flow of the quoted packet, which is one of ours: its answers count.
static uint32_t
quote_owner(const struct steer *s, struct span q)
{
	if (q.n >= IP4_SIZE && q.p[0] >> 4 == 4) {
		const uint8_t *t = q.p + (q.p[0] & 15u) * 4;
		if (q.p[9] != PROTO_TCP || (q.p[0] & 15u) * 4 + 4 > q.n || (q.p[0] & 15) < 5)
			return STEER_LOCAL;
		return steer_worker(s, steer_hash(s, load_be32(q.p + 16), load_be32(q.p + 12),
						  load_be16(t + 2), load_be16(t)));
	}
	if (q.n < IP6_SIZE + 4 || q.p[0] >> 4 != 6 || q.p[6] != PROTO_TCP)
		return STEER_LOCAL;
	const uint8_t *t = q.p + IP6_SIZE;
	return steer_worker(s, steer_hash6(s, q.p + 24, q.p + 8, load_be16(t + 2), load_be16(t)));
}

// What is no whole TCP segment and no error about one ends on any worker: echo requests are
// answered, the rest is dropped.
static uint32_t
owner4(const struct steer *s, struct span ip)
{
	uint32_t size = ip.n < IP4_SIZE ? 0 : (ip.p[0] & 15u) * 4;

	if (size < IP4_SIZE || ip.p[0] >> 4 != 4 || (load_be16(ip.p + 6) & 0x3fff) != 0)
		return STEER_LOCAL;
	struct span body = span_from(ip, size);
	if (ip.p[9] == PROTO_ICMP && body.n > 8 &&
	    (body.p[0] == 3 || body.p[0] == 11 || body.p[0] == 12))
		return quote_owner(s, span_from(body, 8));
	if (ip.p[9] != PROTO_TCP || body.n < 4)
		return STEER_LOCAL;
	return steer_worker(s, steer_hash(s, load_be32(ip.p + 12), load_be32(ip.p + 16),
					  load_be16(body.p), load_be16(body.p + 2)));
}

// Skips the extension headers that ip6.c skips, if it does. Returns the protocol behind them; 255:
// none that we know.
static uint8_t
ext_skip(struct span *body, uint8_t proto)
{
	for (uint32_t i = 0; i <= EXT_MAX; i++) {
		bool is_fragment = proto == 44;
		if (proto != 0 && proto != 43 && proto != 60 && !is_fragment)
			return proto;
		if (body->n < 8 || (is_fragment && (load_be16(body->p + 2) & 0xfff9) != 0))
			return 255;
		proto = body->p[0];
		*body = span_from(*body, is_fragment ? 8 : 8 + body->p[1] * 8u);
	}
	return 255;
}

static uint32_t
owner6(const struct steer *s, struct span ip)
{
	if (ip.n < IP6_SIZE || ip.p[0] >> 4 != 6)
		return STEER_LOCAL;
	struct span body = span_from(ip, IP6_SIZE);
	uint8_t proto = ext_skip(&body, ip.p[6]);
	if (proto == PROTO_ICMP6 && body.n > 8) {
		if (body.p[0] >= 134 && body.p[0] <= 136 && ip.p[7] == 255)
			return STEER_ALL;
		return body.p[0] >= 1 && body.p[0] <= 4 ? quote_owner(s, span_from(body, 8))
							: STEER_LOCAL;
	}
	if (proto != PROTO_TCP || body.n < 4)
		return STEER_LOCAL;
	return steer_worker(
		s, steer_hash6(s, ip.p + 8, ip.p + 24, load_be16(body.p), load_be16(body.p + 2)));
}

uint32_t
steer_owner(const struct steer *s, struct span frame)
{
	if (frame.n < ETH_SIZE)
		return STEER_LOCAL;
	uint16_t type = load_be16(frame.p + 12);
	struct span ip = span_from(frame, ETH_SIZE);
	if (type == 0x8100 && ip.n >= TAG_SIZE) {
		type = load_be16(ip.p + 2);
		ip = span_from(ip, TAG_SIZE);
	}
	switch (type) {
	case 0x0800:
		return owner4(s, ip);
	case 0x86dd:
		return owner6(s, ip);
	case 0x0806:
		return STEER_ALL;
	default:
		return STEER_LOCAL;
	}
}

bool
steer_path_is(const struct steer *s, uint32_t worker, const struct tcp_path *path)
{
	CHECK(worker < s->workers);
	uint32_t hash =
		ipaddr_is_v4(&path->raddr)
			? steer_hash(s, ipaddr_to_v4(&path->raddr), ipaddr_to_v4(&path->laddr),
				     path->rport, path->lport)
			: steer_hash6(s, path->raddr.b, path->laddr.b, path->rport, path->lport);

	return steer_worker(s, hash) == worker;
}

bool
steer_send(struct steer *s, uint32_t from, uint32_t to, const struct steer_item *item)
{
	CHECK(from < s->workers);
	CHECK(to < s->workers);
	CHECK(from != to);
	return spsc_put(&s->ring[from * s->workers + to], item);
}

// Takes from the senders in turn, beginning with another one each time, so that none starves.
uint32_t
steer_recv(struct steer *s, uint32_t to, struct steer_item *out, uint32_t most)
{
	CHECK(to < s->workers);
	uint32_t count = 0, from = s->next[to];

	for (uint32_t i = 0; i < s->workers; i++, from = (from + 1) % s->workers) {
		if (from == to)
			continue;
		while (count < most && spsc_get(&s->ring[from * s->workers + to], &out[count]))
			count++;
	}
	s->next[to] = (s->next[to] + 1) % s->workers;
	return count;
}
