// SPDX-License-Identifier: Apache-2.0
// policy: the compiled, immutable configuration as one position-independent block of bytes.
//
//   head | sections: arrays of one struct each, 8-byte aligned | strings | pattern databases
//
// What for: posternd builds an image (policy_build.h), the dataplane copies it out of shared
// memory, validates the copy and reads it through a view; nothing in it is trusted before
// policy_view_open has said OK. Who calls it: the view functions run on every worker, read-only.
// Memory: the caller's bytes, borrowed by the view for its life. Errors: policy_view_open returns
// POLICY_BAD with a reason text; the old policy stays in force. All lookups are bounded and total
// afterwards.
#pragma once

#include "control/abi/model.h"
#include "control/base/ipaddr.h"

#define POLICY_MAGIC 0x4c4f5031u // "1POL"
#define POLICY_VERSION 2u
#define POLICY_IMAGE_MAX (64u << 20)
#define POLICY_LIST_MAX 1000000u // rows of one section

#define POLICY_PORTS_MAX 8
#define POLICY_PORT_ADDRS_MAX 16
#define POLICY_VLAN_MAX 4094u
#define POLICY_CORES_MAX 32
#define POLICY_HOPS_MAX 16
#define POLICY_LISTENERS_MAX 16
#define POLICY_PATTERNS_MAX 100000u

enum policy_failure { FAILURE_PASS, FAILURE_DEFER, FAILURE_REJECT, FAILURE_COUNT };
enum policy_sender_action { SENDER_ACTION_REJECT, SENDER_ACTION_STAMP_STATUS, SENDER_ACTION_COUNT };

struct policy_str {
	uint32_t off; // into the STRINGS section
	uint32_t len;
};

struct policy_settings {
#define SETTING_U32(section, key, min, max, def, unit, help) uint32_t section##_##key;
#define SETTING_BOOL(section, key, def, help) uint32_t section##_##key;
#define SETTING_TEXT(section, key, max, def, help) struct policy_str section##_##key;
#define SETTING_CHOICE(section, key, choices, def, help) uint32_t section##_##key;
#include "control/abi/setting.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
};

struct policy_port_addr { // one local address, IPv4 or IPv6
	struct ipaddr addr;
	struct ipaddr gateway; // all zero: none; of the same family
	uint32_t prefix_bits;  // of the 128-bit form
};

// A network of ours: a NIC, or one VLAN of a NIC that several rows share. `device` is a PCI address
// ("0000:03:00.0") or a vdev ("net_af_packet0,iface=pst0").
struct policy_port {
	struct policy_str name, device;
	uint32_t vlan; // 802.1Q tag, 0: untagged
	uint32_t line; // in the configuration file
	uint32_t addr_count;
	struct policy_port_addr addr[POLICY_PORT_ADDRS_MAX]; // the first is the row's `address`
};

struct policy_core {
	uint32_t cpu;
};

struct policy_listener {
	uint32_t port; // index into PORTS
	uint16_t tcp_port;
	uint16_t direction; // enum direction
};

struct policy_hop {
	struct policy_str name;
	struct ipaddr address;
	uint16_t tcp_port;
	uint16_t direction; // the sessions that it serves
	uint32_t line;
};

struct policy_agent {
	uint32_t enabled;
	uint32_t priority; // 1..AGENT_COUNT, each once
};

// For each event the agents that are enabled and registered on it, by priority.
struct policy_order {
	uint32_t count;
	uint8_t agent[12];
};

// IP allow and block lists: sorted by (bits descending, address, longest-lived first), so the
// longest prefix is found first, and of equal prefixes the first has expired only when all have.
struct policy_prefix {
	struct ipaddr addr;
	uint32_t bits;
	uint32_t line;      // 0: added with the CLI
	uint64_t expires_s; // Unix time; 0: never
	struct policy_str comment;
};

// Senders, recipients, domains: lower case, sorted bytewise by text, then by kind. kind says how it
// matches.
#define POLICY_ADDR_MAX 320u // bytes of an address; longer ones match nothing
enum policy_addr_kind { ADDR_EXACT, ADDR_DOMAIN, ADDR_DOMAIN_AND_SUBDOMAINS, ADDR_KIND_COUNT };
struct policy_addr {
	struct policy_str text; // "user@dom" or "dom"
	uint32_t kind;
	uint32_t line;
};

enum policy_influence { INFLUENCE_BAD_WORD, INFLUENCE_GOOD_WORD, INFLUENCE_COUNT };
struct policy_phrase { // index = pattern id in DB_CONTENT
	struct policy_str text;
	uint32_t influence;
	uint32_t line;
};

// A blocked attachment name ("*.exe", "setup.bin"): index = pattern id in DB_NAMES.
struct policy_name {
	struct policy_str text;
	uint32_t line;
};

// A blocked content type ("application/hta"), lower case, sorted.
struct policy_type {
	struct policy_str text;
	uint32_t line;
};

struct policy_byte {
	uint8_t v;
};

#define POLICY_SECTIONS(X)                                                                         \
	/* ident, row type, least rows, most rows */                                               \
	X(SETTINGS, struct policy_settings, 1, 1)                                                  \
	X(PORTS, struct policy_port, 1, POLICY_PORTS_MAX)                                          \
	X(CORES, struct policy_core, 1, POLICY_CORES_MAX)                                          \
	X(LISTENERS, struct policy_listener, 1, POLICY_LISTENERS_MAX)                              \
	X(HOPS, struct policy_hop, 1, POLICY_HOPS_MAX)                                             \
	X(AGENTS, struct policy_agent, AGENT_COUNT, AGENT_COUNT)                                   \
	X(ORDER, struct policy_order, EVENT_COUNT, EVENT_COUNT)                                    \
	X(IP_ALLOW, struct policy_prefix, 0, POLICY_LIST_MAX)                                      \
	X(IP_BLOCK, struct policy_prefix, 0, POLICY_LIST_MAX)                                      \
	X(ACCEPTED_DOMAINS, struct policy_addr, 0, POLICY_LIST_MAX)                                \
	X(BLOCKED_SENDERS, struct policy_addr, 0, POLICY_LIST_MAX)                                 \
	X(BLOCKED_RECIPIENTS, struct policy_addr, 0, POLICY_LIST_MAX)                              \
	X(RECIPIENTS, struct policy_addr, 0, POLICY_LIST_MAX)                                      \
	X(PHRASES, struct policy_phrase, 0, POLICY_PATTERNS_MAX)                                   \
	X(NAMES, struct policy_name, 0, POLICY_PATTERNS_MAX)                                       \
	X(TYPES, struct policy_type, 0, POLICY_PATTERNS_MAX)                                       \
	X(STRINGS, struct policy_byte, 0, POLICY_IMAGE_MAX)                                        \
	X(DB_CONTENT, struct policy_byte, 0, POLICY_IMAGE_MAX)                                     \
	X(DB_NAMES, struct policy_byte, 0, POLICY_IMAGE_MAX)

enum policy_section_id {
#define X(id, type, least, most) POLICY_##id,
	POLICY_SECTIONS(X)
#undef X
		POLICY_SECTION_COUNT
};

struct policy_section {
	uint64_t off; // from the image's start: behind the section before, rounded up to 8
	uint32_t count;
	uint32_t row_size;
};

struct policy_head {
	uint32_t magic, version;
	uint64_t generation; // 1, 2, ..: set by the publisher
	uint64_t size;       // of the whole image
	uint64_t checksum;   // siphash13, fixed key, of everything after this head
	uint32_t section_count;
	uint32_t layout; // policy_layout() of the program that made it
	struct policy_section section[POLICY_SECTION_COUNT];
};

enum policy_result { POLICY_OK, POLICY_BAD };

// A fingerprint of the rows of setting.def, event.def and agent.def: programs that were built from
// different ones do not read each other's images, though nobody remembered to raise POLICY_VERSION.
uint32_t policy_layout(void);

// Typed, checked access: view->ports[i], i < view->port_count, and so on.
struct policy_view {
	const struct policy_head *head;
	const struct policy_settings *settings;
	const struct policy_port *ports;
	const struct policy_core *cores;
	const struct policy_listener *listeners;
	const struct policy_hop *hops;
	const struct policy_agent *agents; // [AGENT_COUNT]
	const struct policy_order *order;  // [EVENT_COUNT]
	const struct policy_prefix *ip_allow, *ip_block;
	const struct policy_addr *accepted_domains, *blocked_senders, *blocked_recipients,
		*recipients;
	const struct policy_phrase *phrases;
	const struct policy_name *names;
	const struct policy_type *types;
	const char *strings;
	const uint8_t *db_content, *db_names;
	uint32_t count[POLICY_SECTION_COUNT]; // rows a section
};

// Validates every byte that a later lookup relies on. `why` gets a short reason when POLICY_BAD.
must_use enum policy_result policy_view_open(struct policy_view *v, const void *image, size_t size,
					     struct strbuf *why);
// The checksum that the head of this image should have; size > sizeof(struct policy_head).
uint64_t policy_checksum(const void *image, size_t size);
// What ORDER must hold for these agents: enabled, registered on the event, by priority.
void policy_order_derive(const struct policy_agent agents[AGENT_COUNT],
			 struct policy_order order[EVENT_COUNT]);
struct span policy_text(const struct policy_view *v, struct policy_str s);
// The longest prefix that holds `a` and has not expired at now_s; NULL: none. A prefix of IPv6,
// ::/0 too, holds no IPv4 address.
const struct policy_prefix *policy_ip_find(const struct policy_view *v, enum policy_section_id list,
					   const struct ipaddr *a, uint64_t now_s);
// Matches an address against a list (any case): the exact address, then its domain, then parents of
// it. `address` is "local@domain" or a bare domain. NULL: no row.
const struct policy_addr *policy_addr_find(const struct policy_view *v, enum policy_section_id list,
					   struct span address);
// A content type "a/b" without parameters, any case; NULL: not listed.
const struct policy_type *policy_type_find(const struct policy_view *v, struct span type);
bool policy_port_has_v6(const struct policy_port *p);
const char *policy_list_name(enum policy_section_id list); // "IP block list": for evidence and logs
