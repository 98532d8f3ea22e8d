// SPDX-License-Identifier: Apache-2.0
// steer: flow hash and hand-over. Each function says on which core it runs in steer.h.

#include "dataplane/steer.h"

#include "control/base/bytes.h"

#define TUPLE_WORDS 3u
#define ETH_SIZE 14u

struct steer {
	uint32_t workers;
	uint32_t key[STEER_KEY_SIZE / 4]; // words in host order
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

struct steer *
steer_open(uint32_t workers, const uint8_t key[STEER_KEY_SIZE], struct mem_source *mem)
{
	CHECK(workers > 1);
	CHECK(workers <= STEER_WORKERS_MAX);
	struct steer *s = mem_get(mem, steer_size(workers), "steer");

	if (s == NULL)
		return NULL;
	s->workers = workers;
	s->mem = mem;
	for (uint32_t i = 0; i < STEER_KEY_SIZE / 4; i++)
		s->key[i] = load_be32(key + 4 * i);
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

// Toeplitz: for each set bit of the tuple, the 32 bits of the key that begin at that bit's number.
uint32_t
steer_hash(const struct steer *s, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	const uint32_t tuple[TUPLE_WORDS] = {src, dst, (uint32_t)sport << 16 | dport};
	uint32_t hash = 0;

	for (uint32_t w = 0; w < TUPLE_WORDS; w++) {
		uint64_t key = (uint64_t)s->key[w] << 32 | s->key[w + 1];
		for (uint32_t bits = tuple[w]; bits != 0; bits &= bits - 1)
			hash ^= (uint32_t)(key >> ((uint32_t)__builtin_ctz(bits) + 1));
	}
	return hash;
}

uint32_t
steer_worker(const struct steer *s, uint32_t hash)
{
	return s->table[hash % STEER_TABLE];
}

uint32_t
steer_owner(const struct steer *s, struct span frame, const uint32_t *nic_hash)
{
	if (frame.n < ETH_SIZE + 20)
		return STEER_LOCAL;
	uint16_t type = load_be16(frame.p + 12);
	if (type == 0x0806)
		return STEER_ALL;
	const uint8_t *ip = frame.p + ETH_SIZE;
	uint32_t size = (ip[0] & 15u) * 4;
	// What is no whole TCP segment ends on any worker: echo requests are answered, the rest is
	// dropped.
	if (type != 0x0800 || ip[0] >> 4 != 4 || ip[9] != 6 || (load_be16(ip + 6) & 0x3fff) != 0 ||
	    size < 20 || frame.n < ETH_SIZE + size + 4)
		return STEER_LOCAL;
	if (nic_hash != NULL)
		return steer_worker(s, *nic_hash);
	uint32_t hash = steer_hash(s, load_be32(ip + 12), load_be32(ip + 16), load_be16(ip + size),
				   load_be16(ip + size + 2));
	return steer_worker(s, hash);
}

bool
steer_path_is(const struct steer *s, uint32_t worker, const struct tcp_path *path)
{
	CHECK(worker < s->workers);
	uint32_t hash = steer_hash(s, ipaddr_to_v4(&path->raddr), ipaddr_to_v4(&path->laddr),
				   path->rport, path->lport);

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
