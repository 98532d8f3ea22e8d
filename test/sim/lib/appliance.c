// SPDX-License-Identifier: Apache-2.0
// appliance: see the header. The worker's cycles are counted around worker_poll, and only for the
// turns in which it found work: an idle poll costs the core, but no message.
#include "test/sim/lib/appliance.h"

#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define EVENT_SLOTS 1024u
#define CLIENT_CHUNKS 65536u
#define WALL_START_US 1767225600000000ull // 2026-01-01: a fixed date, so that dates in output are

static bool
network_open(struct appliance *a, const struct appliance_args *args, struct worker_args *wa)
{
	struct vnet_path none = {0};
	const struct vnet_path *paths[2] = {&args->client_link, &args->backend_link};
	struct vnet_host *host[2] = {&a->client, &a->backend};
	static const uint32_t host_ip[2] = {TEST_CLIENT_IP, TEST_BACKEND_IP};
	static const uint32_t our_ip[2] = {TEST_OUTSIDE_IP, TEST_INSIDE_IP};

	a->net = vnet_open(args->seed);
	if (a->net == NULL)
		return false;
	for (uint32_t i = 0; i < 2; i++) {
		bool perfect = memcmp(paths[i], &none, sizeof(none)) == 0;
		struct vnet_link *l = vnet_link_open(a->net, perfect ? NULL : paths[i],
						     perfect ? NULL : paths[i]);
		if (l == NULL)
			return false;
		struct vnet_host_args ha = {
			.link = l,
			.end = VNET_A,
			.addr = ipaddr_v4(host_ip[i]),
			.prefix_bits = 120,
			.conns_max = args->peer_conns > 0 ? args->peer_conns : 1024,
			.chunks = CLIENT_CHUNKS,
			.window_bytes = args->window_bytes > 0 ? args->window_bytes : 262144,
			.seed = args->seed + i};
		if (!vnet_host_open(host[i], a->net, &ha))
			return false;
		wa->ifaces[i] = (struct net_iface){
			.port = vnet_port(l, VNET_B),
			.addr_count = 1,
			.addr = {{.addr = ipaddr_v4(our_ip[i]), .prefix_bits = 120}}};
	}
	wa->iface_count = 2;
	return true;
}

static bool
open_all(struct appliance *a, const struct appliance_args *args, struct strbuf *why)
{
	struct worker_args wa = {.seed = args->seed,
				 .mem = &mem_heap,
				 .trace = args->trace,
				 .trace_ctx = args->trace_ctx,
				 .counters = a->counters};
	struct policy_use *use = testpolicy_make(args->policy, 1, why);
	if (use == NULL)
		return false;
	a->policy[a->policy_count++] = use;
	if (!network_open(a, args, &wa)) {
		strbuf_add_str(why, "no memory for the network");
		return false;
	}
	if (!args->no_log) {
		a->ring_mem = aligned_alloc(CACHE_LINE,
					    (ring_bytes(LOGREC_SIZE, EVENT_SLOTS) + 63) & ~63ull);
		CHECK(a->ring_mem != NULL);
		ring_format(a->ring_mem, LOGREC_SIZE, EVENT_SLOTS);
		CHECK(ring_attach(&a->events, a->ring_mem, LOGREC_SIZE, EVENT_SLOTS));
		wa.events = &a->events;
	}
	wa.policy = use;
	memset(wa.secret, 0x5a, sizeof(wa.secret));
	a->now_us = vnet_now(a->net);
	a->worker = worker_open(&wa, a->now_us, why);
	return a->worker != NULL;
}

struct appliance *
appliance_open(const struct appliance_args *args, struct strbuf *why)
{
	struct appliance *a = calloc(1, sizeof(*a));
	CHECK(a != NULL);
	a->counters = calloc(1, sizeof(*a->counters));
	a->log = malloc(APPLIANCE_LOG_MAX * sizeof(*a->log));
	CHECK(a->counters != NULL && a->log != NULL);
	if (!open_all(a, args, why))
		appliance_close(&a);
	return a;
}

void
appliance_close(struct appliance **ap)
{
	struct appliance *a = *ap;
	*ap = NULL;
	if (a->worker != NULL)
		worker_close(&a->worker);
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
poll_all(struct appliance *a)
{
	uint32_t work = vnet_host_poll(&a->client, a->now_us);
	uint64_t begin = __rdtsc();
	uint32_t own = worker_poll(a->worker, a->now_us, WALL_START_US + a->now_us);
	if (own > 0)
		a->worker_cycles += __rdtsc() - begin;
	work += own;
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
	next = MIN(next, worker_next_us(a->worker));
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
	struct policy_use *use = testpolicy_make(p, 1, why);
	if (use == NULL)
		return false;
	a->policy[a->policy_count++] = use;
	worker_policy_offer(a->worker, use);
	return true;
}
