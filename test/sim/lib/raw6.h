// SPDX-License-Identifier: Apache-2.0
// raw6: one of our hosts at an end of a link, and IPv6 frames made by hand for it at the other end.
//
// Who calls it: the unit tests of net (test/unit/plane_n*.c), with Criterion. Memory: the caller's
// struct raw6 and frame buffers. What can go wrong: what must not happen in any test fails it.
#pragma once

#include "control/base/bytes.h"
#include "test/sim/lib/vnet.h"

#define SECOND 1000000ull
#define IP6 14u // of the IPv6 header in an untagged frame
#define L4 54u  // of what follows it

// Texts, so that a test shows what it means.
#define US "2001:db8::1"
#define US_2 "2001:db8::2"
#define US_LOCAL "fe80::ff:fe00:0" // from raw6_our_mac
#define PEER "2001:db8::99"
#define PEER_LOCAL "fe80::99"
#define GATEWAY "2001:db8::fe"
#define FAR "2001:db8:ffff::25"

struct raw6 {
	struct vnet *v;
	struct vnet_link *l;
	struct vnet_host h;
	uint8_t got[PORT_FRAME_SIZE];
	uint32_t got_len;
};

#define COUNTED(r, id) ((r)->h.counters.v[COUNTER_##id])

extern const uint8_t raw6_our_mac[6], raw6_peer_mac[6], raw6_other_mac[6], raw6_nodes_mac[6];

struct ipaddr raw6_addr(const char *text);

bool raw6_receive(struct raw6 *r); // the next frame that our host sent; false: none
uint32_t raw6_drain(struct raw6 *r);
void raw6_start(struct raw6 *r, const struct net_addr *addrs, uint32_t count, uint16_t vlan);
void raw6_wait(struct raw6 *r, uint64_t us); // and throws away what is sent meanwhile
// US, US_2 and 10.0.0.1, no gateway, past duplicate address detection.
void raw6_open(struct raw6 *r);
void raw6_close(struct raw6 *r);
void raw6_inject(struct raw6 *r, const uint8_t *f, uint32_t n);
// They ask for US, so we learn theirs.
void raw6_teach(struct raw6 *r, const char *addr, const uint8_t *mac);

// Of what begins `ext` bytes behind the IPv6 header and ends with the packet; 0xffff: sound.
uint32_t raw6_sum(const uint8_t *ip6, uint32_t ext, uint8_t proto);
void raw6_sum_put(uint8_t *ip6, uint32_t ext, uint8_t proto);

// Frames; they return their length.
uint8_t *raw6_ip_put(uint8_t *f, const char *src, const char *dst, uint8_t proto,
		     uint32_t size); // where the payload goes
void raw6_tcp_put(uint8_t *t);       // a SYN to the closed port 9: the answer is a reset
uint32_t raw6_syn_put(uint8_t *f, const char *src, const char *dst);
// A neighbour solicitation or advertisement; mac NULL: without an option.
uint32_t raw6_nd_put(uint8_t *f, uint8_t type, const char *src, const char *dst, const char *target,
		     const uint8_t *mac);
uint32_t raw6_ra_put(uint8_t *f, uint16_t lifetime_s, uint32_t mtu, const char *prefix);

bool raw6_is_solicit(const struct raw6 *r, const char *target);
bool raw6_is_reset(const struct raw6 *r, const char *from, const char *to);
