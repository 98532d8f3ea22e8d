// SPDX-License-Identifier: Apache-2.0
// net_priv: what the layers inside net share; private to them.
//
// Who calls it: the owning worker, through net.h. Memory: one struct net, fixed tables. What can go
// wrong: see net.h; a layer that drops a frame counts it and returns.
#pragma once

#include "control/base/bytes.h"
#include "dataplane/net.h"

#define NET_MAGIC 0x2054454eu
#define ETH_HEADER 14u
#define ETH_TAG 4u // an 802.1Q tag's bytes
#define ETH_IPV4 0x0800u
#define ETH_ARP 0x0806u
#define ETH_VLAN 0x8100u
#define ETH_QINQ 0x88a8u
#define ETH_IPV6 0x86ddu
#define IP_HEADER 20u
#define IP_PROTO_ICMP 1u
#define IP_PROTO_TCP 6u
#define IP_PROTO_ICMP6 58u
#define IP6_HEADER 40u
#define IP6_MTU_MIN 1280u
#define NET_STEP_US 1000000ull // between two sweeps, and between two requests for one hop
#define NET_ROUTERS_MAX 4u     // of router advertisements, by interface
#define NET_PREFIXES_MAX 4u

struct net_local4 { // host order; gateway 0: none
	uint32_t addr, mask, gateway;
	struct ipaddr hop; // the gateway once more
};

enum local_state {
	LOCAL_TENTATIVE, // not ours until nobody has objected for a second (RFC 4862 5.4)
	LOCAL_READY,
	LOCAL_TAKEN, // another station has it: we don't speak from it, and ask again later
};

struct net_local6 {
	struct ipaddr addr, gateway; // gateway all zero: none
	uint8_t prefix_bits;
	uint8_t state;
	bool is_probed;    // the solicitation has left
	uint8_t refusals;  // times in a row that another station objected
	uint64_t retry_us; // LOCAL_TAKEN: when to ask again
};

struct net_prefix6 { // on the link, says a router; bits 0: free
	struct ipaddr addr;
	uint8_t bits;
	uint64_t until_us;
};

struct net_router6 { // until_us 0: free
	struct ipaddr addr;
	uint64_t until_us;
};

struct net_if {
	struct port *port;
	uint32_t l2_size; // header bytes with the tag
	uint16_t vlan, mtu6;
	uint32_t link_ups; // of the port, when it was looked at
	bool is_announced;
	bool takes_routers; // it has an IPv6 address and no configured gateway
	uint8_t solicits;   // router solicitations still to be sent
	uint8_t joins;      // reports of our groups still to be sent unasked
	bool is_queried;    // somebody wants a report
	uint32_t v4_count, v6_count;
	struct net_local4 v4[NET_ADDRS_MAX];
	struct net_local6 v6[NET_ADDRS_MAX + 1]; // and the link-local one, last if it is not given
	struct net_router6 router[NET_ROUTERS_MAX];
	struct net_prefix6 prefix[NET_PREFIXES_MAX];
	uint64_t solicit_us;
	uint64_t defend_us; // when an IPv4 address may be defended again
	uint64_t neigh_us;  // GCRA of new neighbours: the time that is booked up to
};

struct net_neigh {
	struct ipaddr addr; // all zero: free
	uint64_t asked_us, confirmed_us, used_us;
	uint16_t iface;
	uint16_t next; // in its hash chain; NEIGH_NONE: the last
	uint8_t mac[6];
	bool is_known;
	bool is_wanted; // a segment has gone there, or wanted to
};

struct net {
	uint32_t magic;
	uint32_t iface_count;
	uint64_t now_us, sweep_us;
	struct net_if iface[NET_IFACES_MAX];
	uint64_t own_bits[4]; // by a hash of the address: it may be ours
	struct counters *counters;
	struct mem_source *mem;
	uint8_t class, hops; // of our packets, see struct ip_out
	struct tcp *tcp;     // the worker's; net_bind_tcp
	bool (*port_is_mine)(void *ctx, const struct tcp_path *path);
	void *ctx;
	void (*capture)(void *ctx, struct span frame, bool is_ours);
	void *capture_ctx;
	struct span rx;          // the frame that is being looked at
	uint64_t echo_us, nd_us; // GCRA: the time that is booked up to
	bool has_nd_work;        // something of nd.c waits for a sweep
	// The one segment in construction, between seg_get and seg_put.
	bool seg_is_open;
	bool seg_is_wanted; // by a capture
	uint16_t seg_iface;
	uint32_t seg_size;
	uint8_t seg_mac[6];
	struct frame seg;
	uint32_t neigh_count;
	uint16_t neigh_head[NET_NEIGHS_MAX];
	struct net_neigh neigh[NET_NEIGHS_MAX];
};

struct ip_out {                     // what a header of ours says besides the addresses
	uint8_t proto, class, hops; // class: DSCP and ECN; hops: TTL or hop limit
	uint32_t size;              // of what follows the header
};

struct eth_in { // a received frame, its Ethernet header read
	uint32_t iface;
	uint32_t flags; // the frame's
	bool is_group;  // it was sent to a group
	const uint8_t *src;
	struct span l3;
};

// A packet to some station; neighbour discovery and MLD have their own hop limits.
static inline struct ip_out
ip_out_of(const struct net *n, uint8_t proto, uint32_t size)
{
	return (struct ip_out){.proto = proto, .class = n->class, .hops = n->hops, .size = size};
}

struct ip6_in { // its fixed header and extension headers read
	const struct eth_in *eth;
	const uint8_t *ip;
	struct span body; // behind the extension headers
	uint8_t proto;
	bool is_group;       // sent to a group
	bool is_unspecified; // its source
	bool has_ext, has_fragment;
};

// net.c: a frame to fill from *l3 on; false: none (counted). net_frame_put sends it after eth_fill;
// size: its bytes from l3 on.
must_use bool net_frame_get(struct net *n, uint32_t iface, struct frame *f, uint8_t **l3);
void net_frame_put(struct net *n, uint32_t iface, struct frame *f, uint32_t size);
// net.c: GCRA: books step_us in *booked_us; false: more than burst_us would be booked ahead.
must_use bool net_is_allowed(const struct net *n, uint64_t *booked_us, uint32_t step_us,
			     uint64_t burst_us);
bool net_is_ours(const struct net *n, const struct ipaddr *a); // on any interface, in any state
bool net_mac_is_sane(const struct net_if *i, const uint8_t mac[6]); // of a station, and not ours

// What every frame needs: inline, without a call for 16 bytes.
static inline bool
net_is_v4(const struct ipaddr *a)
{
	uint64_t w;

	memcpy(&w, a->b, 8);
	return w == 0 && load_be32(a->b + 8) == 0xffff;
}

static inline bool
net_addr_eq(const struct ipaddr *a, const struct ipaddr *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a->b, 16);
	memcpy(y, b->b, 16);
	return x[0] == y[0] && x[1] == y[1];
}

static inline bool
net_mac_eq(const uint8_t *a, const uint8_t *b)
{
	uint32_t x, y;

	memcpy(&x, a, 4);
	memcpy(&y, b, 4);
	return x == y && a[4] == b[4] && a[5] == b[5];
}

static inline uint32_t
net_v4(const struct ipaddr *a)
{
	DCHECK(net_is_v4(a));
	return load_be32(a->b + 12);
}

extern const uint8_t eth_broadcast[6];
void eth_input(struct net *n, uint32_t iface, const struct frame *f);
void eth_fill(const struct net_if *i, uint8_t *frame, const uint8_t dst[6], uint16_t type);

// neigh.c: stations by address, of ARP and of neighbour discovery.
#define NEIGH_MAKE 1u     // also when there is no entry yet
#define NEIGH_CONFIRM 2u  // it was an answer: the station hears us
#define NEIGH_OVERRIDE 4u // another station address than the known one is believed
void neigh_init(struct net *n);
struct net_neigh *neigh_find(struct net *n, uint32_t iface, const struct ipaddr *addr);
// The hop's station address; false: unknown, and asked for.
must_use bool neigh_resolve(struct net *n, uint32_t iface, const struct ipaddr *hop,
			    uint8_t mac[6]);
// mac NULL: it was not said.
void neigh_learn(struct net *n, uint32_t iface, const struct ipaddr *addr, const uint8_t *mac,
		 uint32_t flags);
void neigh_sweep(struct net *n);

void arp_input(struct net *n, const struct eth_in *in);
void arp_announce(struct net *n, uint32_t iface);
void arp_ask(struct net *n, uint32_t iface, uint32_t addr, const uint8_t *mac); // NULL: everybody

// route.c: the next hop of a path, borrowed from it or from the tables; NULL: no route.
const struct ipaddr *route_hop(struct net *n, const struct tcp_path *path);
bool route_is_on_link6(const struct net *n, const struct net_if *i, const struct ipaddr *a);
bool route_find(void *ctx, const struct ipaddr *raddr, uint32_t nth,
		struct tcp_route *out); // tcp_net_ops.route

static inline const struct net_local4 *
ip_local(const struct net_if *i, uint32_t addr)
{
	for (uint32_t k = 0; k < i->v4_count; k++)
		if (i->v4[k].addr == addr)
			return &i->v4[k];
	return NULL;
}
// The number of its network, or its broadcast address: no host has them.
static inline bool
ip_is_edge(const struct net_local4 *l, uint32_t addr)
{
	return ((addr ^ l->addr) & l->mask) == 0 && l->mask < 0xfffffffeu &&
	       ((addr & ~l->mask) == 0 || (addr | l->mask) == ~0u);
}
void ip_input(struct net *n, const struct eth_in *in);
void ip_fill(uint8_t *ip, uint32_t src, uint32_t dst, const struct ip_out *o);
// One's complement sum of n bytes, added to `sum`; ip_sum_fold gives the 16 bits as they lie in
// memory.
uint64_t ip_sum(const uint8_t *p, uint32_t n, uint64_t sum);
uint16_t ip_sum_fold(uint64_t sum);
uint64_t ip_sum_pseudo(const uint8_t *ip, uint8_t proto, uint32_t size);

must_use bool icmp_echo_is_allowed(struct net *n);
void icmp_input(struct net *n, const struct eth_in *in, struct span icmp);
// An error with `quote`, the beginning of a packet of ours, on its way to tcp_error.
void icmp_error(struct net *n, uint32_t iface, struct span quote, struct tcp_error *e);

struct net_local6 *ip6_local(struct net_if *i, const uint8_t addr[16]);
void ip6_input(struct net *n, const struct eth_in *in);
// Fills the header; the checksum of what follows comes from ip6_sum.
void ip6_fill(uint8_t *ip, const struct ipaddr *src, const struct ipaddr *dst,
	      const struct ip_out *o);
void ip6_label(uint8_t *ip, uint32_t ports);                          // the flow label (RFC 6437)
uint16_t ip6_sum(const uint8_t *ip, uint8_t proto, struct span body); // 0xffff: sound

void icmp6_input(struct net *n, const struct ip6_in *in);

void nd_init(struct net_if *i);
void nd_input(struct net *n, const struct ip6_in *in);
bool nd_is_claim(const struct ip6_in *in);                     // of an address, from that address
void nd_run(struct net *n, uint32_t iface);                    // each sweep
void nd_link_up(struct net *n, uint32_t iface, bool is_first); // there was none before
// What the station address of a group is (RFC 2464 7).
void nd_group_mac(const uint8_t group[16], uint8_t mac[6]);
bool nd_group_is_ours(const struct net_if *i, const uint8_t group[16]);
struct ipaddr nd_group_of(const struct ipaddr *a);           // its solicited-node group
const struct net_local6 *nd_speaker(const struct net_if *i); // who may speak; NULL: none yet
void nd_ask(struct net *n, uint32_t iface, const struct ipaddr *addr, const uint8_t *mac);

void mld_run(struct net *n, uint32_t iface);                     // each sweep
must_use bool mld_input(struct net *n, const struct ip6_in *in); // a query; false: not sound
