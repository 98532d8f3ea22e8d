// SPDX-License-Identifier: Apache-2.0
// config_value: what single values of the configuration may look like, without knowing YAML.
//
// Who calls it: the configuration reader, and CLI commands that take the same values. Memory: none.
// What can go wrong: a value is not right: false (or the reason as a constant text).
#pragma once

#include "control/base/ipaddr.h"

#define VALUE_DOMAIN_MAX 253
#define VALUE_LOCAL_MAX 64

must_use bool value_bool(struct span s, bool *out); // true false yes no on off, any case
enum value_number { VALUE_NUMBER_OK, VALUE_NUMBER_BAD, VALUE_NUMBER_SMALL, VALUE_NUMBER_LARGE };
// Decimal digits; with `bytes` also a suffix k or M (1024, 1048576).
must_use enum value_number value_u32(struct span s, uint32_t min, uint32_t max, bool bytes,
				     uint32_t *out);
bool value_is_domain(struct span s);    // RFC 1035 labels, "_" too; not an address
bool value_is_mailbox(struct span s);   // local@domain, ASCII
bool value_is_printable(struct span s); // ASCII 0x20 .. 0x7e
bool value_is_device(struct span s);    // a PCI address or net_...
// Two texts for one device (0000:03:00.0 and 03:00.0); two virtual devices of one name, of which
// DPDK can make only one.
bool value_device_is_same(struct span a, struct span b);
bool value_device_clashes(struct span a, struct span b);
struct span
value_device_iface(struct span s); // its argument iface=, the kernel's interface; empty: none
bool value_is_content_type(struct span s);              // token/token (RFC 2045), no wildcard
bool value_has_control(struct span s);                  // a control character
must_use bool value_time(struct span s, uint64_t *out); // see config_time_parse
// NULL: fine. Else what is wrong; when host bits are set, `fixed` has the prefix that was meant.
const char *value_prefix(struct span s, struct ipprefix *out, struct strbuf *fixed);
// "192.0.2.10/24", "2001:db8::10/64": a host's address and its subnet; `bits` are of the 128-bit
// form. NULL: fine.
const char *value_interface(struct span s, struct ipaddr *out, uint32_t *bits);
// The address of one station; of a gateway it may be link-local. NULL: fine.
const char *value_host(struct span s, struct ipaddr *out);
const char *value_gateway(struct span s, struct ipaddr *out);
// NULL, or why no station can have this address in its network of so many bits.
const char *value_interface_edge(const struct ipaddr *a, uint32_t bits);
