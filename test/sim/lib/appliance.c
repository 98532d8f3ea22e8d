// SPDX-License-Identifier: Apache-2.0
// appliance: see the header. The worker's cycles are counted around worker_poll, and only for the
// turns in which it found work: an idle poll costs the core, but no message.
#include "test/sim/lib/appliance.h"

#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "control/base/rng.h"

#define EVENT_SLOTS 1024u
#define PEER_CHUNKS 65536u
#define WALL_START_US 1767225600000000ull // 2026-01-01: a fixed date, so that dates in output are

static bool
peer_open(struct appliance *a, const struct appliance_args *args, uint32_t i)
{
	const struct vnet_path *path = i == 0 ? &args->client_link : &args->backend_link;

	a->link[i] = vnet_link_open(a->net, path, path);
	if (a->link[i] == NULL)
		return false;
	struct vnet_host_args ha = {
		.link = a->link[i],
		.end = VNET_A,
		.addr = testpolicy_addr(i == 0 ? TEST_CLIENT : TEST_BACKEND, args->is_v6),
		.prefix_bits = args->is_v6 ? 32 : 120,
		.conns_max = args->peer_conns > 0 ? args->peer_conns : 1024,
		.chunks = args->peer_chunks > 0 ? args->peer_chunks : PEER_CHUNKS,
		.window_bytes = args->window_bytes > 0 ? args->window_bytes : 262144,
		.keepalive_s = args->peer_keepalive_s,
		.seed = args->seed + i};
	return vnet_host_open(i == 0 ? &a->client : &a->backend, a->net, &ha);
}

// A NIC's own key is another one for each, as drivers choose them.
static bool
nic_open(struct appliance *a, const struct appliance_args *args, const uint8_t *key, uint32_t i)
{
	uint8_t foreign[STEER_KEY_SIZE];
	struct rng rng;

	rng_init(&rng, args->seed ^ (0x6e69u + i));
	for (uint32_t k = 0; k < sizeof(foreign); k++)
		foreign[k] = (uint8_t)rng_next(&rng);
	struct simnic_args na = {.wire = vnet_port(a->link[i], VNET_B),
				 .queues = a->workers,
				 .reta_size = args->reta_size,
				 .ring_frames = args->ring_frames};
	if (args->rss != APPLIANCE_RSS_NONE)
		na.key = args->rss == APPLIANCE_RSS_OURS ? key : foreign;
	a->nic[i] = simnic_open(&na);
	if (a->nic[i] == NULL)
		return false;
	if (args->rss == APPLIANCE_RSS_OURS) // as port_dpdk.c programs it
		for (uint32_t k = 0; k < simnic_reta_size(a->nic[i]); k++)
			simnic_reta_set(a->nic[i], k, k % STEER_TABLE % a->workers);
	for (uint32_t w = 0; w < a->workers; w++)
		simnic_steer(a->nic[i], w, a->steer, i, &a->counters[w]);
	return true;
}

static bool
network_open(struct appliance *a, const struct appliance_args *args)
{
	uint8_t key[STEER_KEY_SIZE];
	struct rng rng;

	rng_init(&rng, args->seed ^ 0x6b6579);
	do {
		for (uint32_t k = 0; k < sizeof(key); k++)
			key[k] = (uint8_t)rng_next(&rng);
	} while (!steer_key_is_good(key)); // as boot.c
	a->net = vnet_open(args->seed);
	if (a->net == NULL || !peer_open(a, args, 0) || !peer_open(a, args, 1))
		return false;
	if (args->workers == 0)
		return true;
	if (a->workers > 1) {
		a->steer = steer_open(a->workers, key, &mem_heap);
		if (a->steer == NULL)
			return false;
	}
	return nic_open(a, args, key, 0) && nic_open(a, args, key, 1);
}

static bool
port_is_mine(void *ctx, const struct tcp_path *path)
{
	const struct appliance_end *e = ctx;

	return steer_path_is(e->a->steer, e->index, path);
}

static bool
workers_open(struct appliance *a, const struct appliance_args *args, const struct policy_use *use,
	     struct strbuf *why)
{
	struct worker_args wa = {.iface_count = 2,
				 .policy = use,
				 .events = args->no_log ? NULL : &a->events,
				 .mem = &mem_heap,
				 .trace = args->trace,
				 .trace_ctx = args->trace_ctx};

	for (uint32_t w = 0; w < a->workers; w++) {
		a->end[w] = (struct appliance_end){a, w};
		wa.index = w;
		wa.counters = &a->counters[w];
		wa.seed = args->seed + 0x9e3779b9ull * w;
		memset(wa.secret, (int)(0x5a + w), sizeof(wa.secret));
		wa.port_is_mine = a->steer != NULL ? port_is_mine : NULL;
		wa.port_ctx = &a->end[w];
		for (uint32_t i = 0; i < 2; i++)
			wa.ifaces[i] = (struct net_iface){
				.port = a->nic[i] != NULL ? simnic_port(a->nic[i], w)
							  : vnet_port(a->link[i], VNET_B),
				.addr_count = 1,
				.addr = {{.addr = testpolicy_addr(
						  i == 0 ? TEST_OUTSIDE : TEST_INSIDE, args->is_v6),
					  .prefix_bits = args->is_v6 ? 32 : 120}}};
		a->worker[w] = worker_open(&wa, a->now_us, why);
		if (a->worker[w] == NULL)
			return false;
	}
	return true;
}

static bool
open_all(struct appliance *a, const struct appliance_args *args, struct strbuf *why)
{
	struct policy_use *use = testpolicy_make(args->policy, a->workers, why);
	if (use == NULL)
		return false;
	a->policy[a->policy_count++] = use;
	if (!network_open(a, args)) {
		strbuf_add_str(why, "no memory for the network");
		return false;
	}
	if (!args->no_log) {
		a->ring_mem = aligned_alloc(CACHE_LINE,
					    (ring_bytes(LOGREC_SIZE, EVENT_SLOTS) + 63) & ~63ull);
		CHECK(a->ring_mem != NULL);
		ring_format(a->ring_mem, LOGREC_SIZE, EVENT_SLOTS);
		CHECK(ring_attach(&a->events, a->ring_mem, LOGREC_SIZE, EVENT_SLOTS));
	}
	a->now_us = vnet_now(a->net);
	return workers_open(a, args, use, why);
}

struct appliance *
appliance_open(const struct appliance_args *args, struct strbuf *why)
{
	struct appliance *a = calloc(1, sizeof(*a));
	CHECK(a != NULL);
	a->workers = MAX(args->workers, 1u);
	CHECK(a->workers <= APPLIANCE_WORKERS_MAX);
	a->counters = calloc(a->workers, sizeof(*a->counters));
	a->log = malloc(APPLIANCE_LOG_MAX * sizeof(*a->log));
	CHECK(a->counters != NULL && a->log != NULL);
	if (!open_all(a, args, why))
		appliance_close(&a);
	return a;
}

static void
nics_close(struct appliance *a)
{
	struct steer_item item;

	for (uint32_t w = 0; w < a->workers && a->steer != NULL; w++)
		while (steer_recv(a->steer, w, &item, 1) > 0)
			simnic_frame_free(a->nic[item.iface], &item.frame);
	steer_close(&a->steer);
	simnic_close(&a->nic[0]);
	simnic_close(&a->nic[1]);
}

void
appliance_close(struct appliance **ap)
{
	struct appliance *a = *ap;
	*ap = NULL;
	for (uint32_t w = 0; w < a->workers; w++)
		worker_close(&a->worker[w]);
	nics_close(a);
	if (a->client.net != NULL)
		vnet_host_close(&a->client);
	if (a->backend.net != NULL)
		vnet_host_close(&a->backend);
	if (a->net != NULL)
		vnet_close(&a->net);
	for (uint32_t i = 0; i < a->policy_count; i++) {
		struct policy_use *p = (struct policy_use *)(uintptr_t)a->policy[i];
		policy_use_close(&p);
	}
	free(a->ring_mem);
	free(a->counters);
	free(a->log);
	free(a);
}

static void
log_drain(struct appliance *a)
{
	static struct logrec r;
	while (a->ring_mem != NULL && ring_get(&a->events, &r)) {
		CHECK(logrec_is_valid(&r));
		if (r.kind == LOGREC_MESSAGE && a->log_count < APPLIANCE_LOG_MAX)
			a->log[a->log_count++] = r;
	}
}

static uint32_t
poll_worker(struct appliance *a, uint32_t w)
{
	uint64_t handed = a->counters[w].v[COUNTER_HANDOFF_OUT], begin = __rdtsc();
	uint32_t work = steer_rx_handed(a->steer, w, a->worker[w]);

	work += worker_poll(a->worker[w], a->now_us, WALL_START_US + a->now_us);
	if (work > 0)
		a->worker_cycles += __rdtsc() - begin;
	// What was handed over is work for another: the clock must not jump before.
	return work + (uint32_t)(a->counters[w].v[COUNTER_HANDOFF_OUT] - handed);
}

static uint32_t
poll_all(struct appliance *a)
{
	uint32_t work = vnet_host_poll(&a->client, a->now_us);

	for (uint32_t w = 0; w < a->workers; w++)
		work += poll_worker(a, w);
	for (uint32_t i = 0; i < 2; i++)
		work += a->nic[i] != NULL ? simnic_pending(a->nic[i]) : 0;
	work += vnet_host_poll(&a->backend, a->now_us);
	log_drain(a);
	return work;
}

bool
appliance_step(struct appliance *a, uint64_t limit_us)
{
	if (poll_all(a) > 0)
		return true;
	uint64_t next = vnet_next_us(a->net);
	next = MIN(next, vnet_host_next_us(&a->client));
	next = MIN(next, vnet_host_next_us(&a->backend));
	for (uint32_t w = 0; w < a->workers; w++)
		next = MIN(next, worker_next_us(a->worker[w]));
	// Due, and yet nobody moved: a bound of one of them (bursts, timers a turn); time has to go
	// on.
	next = MAX(next, a->now_us + 1);
	if (next > limit_us)
		return false;
	appliance_goto(a, next);
	return true;
}

void
appliance_goto(struct appliance *a, uint64_t now_us)
{
	CHECK(now_us >= a->now_us);
	a->now_us = now_us;
	vnet_advance_to(a->net, now_us);
}

bool
appliance_policy(struct appliance *a, struct testpolicy *p, struct strbuf *why)
{
	CHECK(a->policy_count < APPLIANCE_POLICIES_MAX);
	struct policy_use *use = testpolicy_make(p, a->workers, why);
	if (use == NULL)
		return false;
	a->policy[a->policy_count++] = use;
	for (uint32_t w = 0; w < a->workers; w++)
		worker_policy_offer(a->worker[w], use);
	return true;
}

uint64_t
appliance_count(const struct appliance *a, enum counter c)
{
	uint64_t sum = 0;

	for (uint32_t w = 0; w < a->workers; w++)
		sum += a->counters[w].v[c];
	return sum;
}
