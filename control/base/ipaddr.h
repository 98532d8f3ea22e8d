// SPDX-License-Identifier: Apache-2.0
// ipaddr: an IP address and a prefix as values. IPv4 is held v4-mapped (RFC 4291 2.5.5.2), so one
// type serves both families; prefix lengths count from the 128-bit form (a.b.c.d/24 has bits 120).
//
// Who calls it: everybody. Memory: none. Errors: parse functions return false on anything that is
// not a complete, canonical-range address (no leading zeros in IPv4 parts, no zone).
#pragma once

#include "control/base/strbuf.h"

#define IPADDR_TEXT_SIZE 46

struct ipaddr {
	uint8_t b[16];
};

struct ipprefix {
	struct ipaddr addr; // bits beyond `bits` are zero
	uint8_t bits;       // 0 .. 128
};

struct ipaddr ipaddr_v4(uint32_t host_order);
uint32_t ipaddr_to_v4(const struct ipaddr *a); // host order; CHECKs that it is v4
bool ipaddr_is_v4(const struct ipaddr *a);
bool ipaddr_is_link_local(const struct ipaddr *a); // fe80::/10; IPv4 has none that we know
// May be one station's: not unspecified, loopback, multicast, broadcast or IPv4's "this network",
// and not of ::/96, whose uses are all deprecated (RFC 4291 2.5.5.1).
bool ipaddr_is_unicast(const struct ipaddr *a);
bool ipaddr_eq(const struct ipaddr *a, const struct ipaddr *b);
must_use bool ipaddr_parse(struct span s, struct ipaddr *out);
void ipaddr_format(struct strbuf *b, const struct ipaddr *a);
// "192.0.2.1", "192.0.2.0/24", "2001:db8::/32"; false too when host bits are set.
must_use bool ipprefix_parse(struct span s, struct ipprefix *out);
void ipprefix_format(struct strbuf *b, const struct ipprefix *p);
// Of one family: a prefix of IPv6 that happens to span the mapped form holds no IPv4 address.
bool ipprefix_has(const struct ipprefix *p, const struct ipaddr *a);
bool ipprefix_is_all(const struct ipprefix *p); // 0.0.0.0/0 or ::/0
struct ipaddr ipaddr_mask(const struct ipaddr *a, uint8_t bits);
