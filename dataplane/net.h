// SPDX-License-Identifier: Apache-2.0
// net: everything between a port and TCP on one worker: Ethernet with VLAN tags, ARP, IPv4, ICMP,
// IPv6, neighbour discovery, ICMPv6, routes.
//
// What for: turns frames into TCP segments with verified checksums, and segments into frames. Who
// calls it: the worker's loop from below (net_input), TCP through net_tcp_ops from above. Memory:
// fixed tables in the struct. What can go wrong: every drop has its counter; nothing is answered
// for but ARP and neighbour solicitations for our addresses, echo requests (both rate limited) and
// what TCP answers; no ICMP error is ever sent. Next hops are resolved by ARP (RFC 826) or
// neighbour discovery (RFC 4861), one request a second and hop; meanwhile seg_get returns NULL.
// Entries are kept 60 s after their last confirmation, probed before they end. Fragments are
// dropped and counted, but for IPv6's atomic ones (RFC 6946). An IPv6 address speaks only after
// duplicate address detection (RFC 4862 5.4): a second after start. Layers inside: eth.c, neigh.c,
// arp.c, route.c, ip.c, icmp.c, ip6.c, icmp6.c, nd.c,
// mld.c.
#pragma once

#include "control/abi/counter.h"
#include "dataplane/port.h"
#include "dataplane/tcp.h"

#define NET_IFACES_MAX 8
#define NET_ADDRS_MAX 16
#define NET_NEIGHS_MAX 256 // next hops known at once, the one unused for longest goes first

struct net_addr { // one local address, IPv4 or IPv6
	struct ipaddr addr;
	struct ipaddr gateway; // all zero: none; of the same family
	uint8_t prefix_bits;   // of the 128-bit form
};

// A network of ours: a port, or one VLAN of a port that several interfaces share. With an IPv6
// address it gets a link-local one besides, from the port's station address, unless one is given.
struct net_iface {
	struct port *port;
	uint16_t vlan; // 802.1Q tag, 0: untagged
	uint32_t addr_count;
	struct net_addr addr[NET_ADDRS_MAX];
};

struct net;

struct net_args {
	const struct net_iface *ifaces;
	uint32_t iface_count;
	struct counters *counters;
	struct mem_source *mem;
	// Does a flow's reply come to this worker? NULL: yes (one worker).
	bool (*port_is_mine)(void *ctx, const struct tcp_path *path);
	void *ctx;
	// A frame of a connection that is captured, as on the wire.
	void (*capture)(void *ctx, struct span frame, bool is_ours);
	void *capture_ctx;
	uint8_t ttl;  // of our packets, and the hop limit; 0: 64
	uint8_t dscp; // their Diffserv code point
};

struct net *must_use net_open(const struct net_args *args);
void net_close(struct net **n);
void net_bind_tcp(struct net *n, struct tcp *t);
extern const struct tcp_net_ops net_tcp_ops; // its ctx is the struct net
// A frame of the port of interface `iface`; which of the port's interfaces it is for, its tag says.
// Does not free it.
void net_input(struct net *n, uint32_t iface, const struct frame *f);
void net_run(struct net *n, uint64_t now_us); // time; announces our addresses once
void net_flush(struct net *n);                // sends what was put
uint64_t net_next_us(const struct net *n); // net_run has something to do then; UINT64_MAX: nothing
