// SPDX-License-Identifier: Apache-2.0
// net_priv: what the layers inside net (eth.c, arp.c, ip.c, icmp.c, net.c) share; private to them.
//
// Who calls it: the owning worker, through net.h. Memory: one struct net, fixed tables. What can go
// wrong: see net.h; a layer that drops a frame counts it and returns.
#pragma once

#include "control/base/bytes.h"
#include "dataplane/net.h"

#define NET_MAGIC 0x2054454eu
#define ETH_HEADER 14u
#define ETH_IPV4 0x0800u
#define ETH_ARP 0x0806u
#define IP_HEADER 20u
#define IP_TTL 64u
#define IP_PROTO_ICMP 1u
#define IP_PROTO_TCP 6u
#define ARP_STEP_US 1000000ull // between two requests for one hop, and between two sweeps
#define ARP_CONFIRMED_US 60000000ull
#define ARP_PROBE_US 45000000ull  // age from which an entry in use is asked for again, by unicast
#define ARP_UNUSED_US 60000000ull // unused this long: not probed; unknown this long unused: freed
#define ICMP_STEP_US 10000ull     // 100 echo replies a second ..
#define ICMP_BURST_US 500000ull   // .. and 50 at once

struct net_if4 { // an interface's IPv4 numbers in host order; gateway 0: none
	uint32_t addr, mask, gateway;
};

struct net {
	uint32_t magic;
	uint32_t iface_count;
	uint64_t now_us, sweep_us;
	struct net_iface iface[NET_IFACES_MAX];
	struct net_if4 if4[NET_IFACES_MAX];
	bool is_announced[NET_IFACES_MAX];
	uint8_t arp_hint[NET_ARP_MAX]; // by the address's low bits: where its entry was last time
	struct net_arp arp[NET_ARP_MAX];
	struct counters *counters;
	struct mem_source *mem;
	struct tcp *tcp; // the worker's; net_bind_tcp
	bool (*port_is_mine)(void *ctx, const struct tcp_path *path);
	void *ctx;
	void (*capture)(void *ctx, struct span frame, bool is_ours);
	void *capture_ctx;
	struct span rx;   // the frame that is being looked at
	uint64_t echo_us; // GCRA: the time that is booked up to
	// The one segment in construction, between seg_get and seg_put.
	bool seg_is_open;
	bool seg_is_wanted; // by a capture
	uint16_t seg_iface;
	uint32_t seg_size;
	uint8_t seg_mac[6];
	struct frame seg;
};

// net.c: a frame to fill; false: none (counted). net_frame_put sends it with its header filled.
must_use bool net_frame_get(struct net *n, uint32_t iface, struct frame *f);
void net_frame_put(struct net *n, uint32_t iface, struct frame *f, const uint8_t mac[6],
		   uint16_t type);
// net.c: on the interface's network: the address itself, else its gateway; false: no route.
must_use bool net_hop(const struct net *n, uint32_t iface, uint32_t raddr, uint32_t *hop);

extern const uint8_t eth_broadcast[6];
void eth_input(struct net *n, uint32_t iface, const struct frame *f);
void eth_fill(uint8_t *frame, const uint8_t dst[6], const uint8_t src[6], uint16_t type);

void arp_input(struct net *n, uint32_t iface, const struct frame *f);
void arp_announce(struct net *n, uint32_t iface);
// The hop's station address; false: unknown, and asked for.
must_use bool arp_resolve(struct net *n, uint32_t iface, uint32_t hop, uint8_t mac[6]);
void arp_sweep(struct net *n);

void ip_input(struct net *n, uint32_t iface, const struct frame *f);
void ip_fill(uint8_t *ip, uint32_t src, uint32_t dst, uint8_t proto, uint32_t size);
// One's complement sum of n bytes, added to `sum`; ip_sum_fold gives the 16 bits as they lie in
// memory.
uint64_t ip_sum(const uint8_t *p, uint32_t n, uint64_t sum);
uint16_t ip_sum_fold(uint64_t sum);
uint64_t ip_sum_pseudo(const uint8_t *ip, uint8_t proto, uint32_t size);

void icmp_input(struct net *n, uint32_t iface, const struct frame *f, struct span icmp);
