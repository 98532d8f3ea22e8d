// SPDX-License-Identifier: Apache-2.0
// config: postern.yaml as a checked structure that remembers the line of everything in it.
//
// What for: the step between the operator's text and the policy image. Who calls it: posternd's
// runtime, and tests. Memory: heap, all of it owned by the struct config, freed by config_close;
// texts in it are NUL-terminated and contain no NUL. What can go wrong: any mistake makes the
// result NULL and leaves one row for *each* mistake in the list, sorted by position; warnings alone
// do not. Limits are named below.
#pragma once

#include <sys/types.h>

#include "control/diag.h"
#include "control/schema.h"

#define CONFIG_FILE_MAX (16u << 20) // bytes of the file
#define CONFIG_DEPTH_MAX 16         // nesting of the YAML text
#define CONFIG_NODES_MAX 4000000u   // YAML nodes
#define CONFIG_COMMENT_MAX 256
#define CONFIG_NAME_MAX 32 // names of ports and backends
#define CONFIG_DEVICE_MAX 256

struct config_port_addr {
	struct ipaddr addr;
	uint32_t prefix_bits; // of the 128-bit form
	uint32_t line, column;
};

struct config_port {
	const char *name, *device;
	uint32_t vlan;                                       // 0: untagged
	struct ipaddr gateway, gateway6;                     // all zero: none
	struct config_port_addr addr[POLICY_PORT_ADDRS_MAX]; // `address` first, then `addresses`
	uint32_t addr_count;
	bool is_unsure; // an address or the VLAN was wrong, so what it reaches is not known
	uint32_t line, column;
};

struct config_core {
	uint32_t cpu;
	uint32_t line, column;
};

struct config_listener {
	const char *port_name;
	uint32_t port; // index into ports
	uint16_t tcp_port;
	uint16_t direction;
	uint32_t line, column;
};

struct config_backend {
	const char *name;
	struct ipaddr address;
	uint16_t tcp_port;
	uint16_t direction;
	uint32_t line, column;
};

// An entry of an IP list, from the file (line > 0) or from the store (line 0).
struct config_prefix {
	struct ipprefix prefix;
	uint64_t expires_s;  // 0: never
	const char *comment; // "" when there is none
	uint32_t line, column;
};

struct config_addr {
	const char *text; // lower case
	uint32_t kind;    // enum policy_addr_kind
	uint32_t line, column;
};

struct config_phrase {
	const char *text;
	uint32_t length;
	uint32_t influence; // enum policy_influence
	uint32_t line, column;
};

struct config_word { // a name pattern or a content type
	const char *text;
	uint32_t line, column;
};

// The lists: X(field, row type, most rows).
#define CONFIG_LISTS(X)                                                                            \
	X(ports, struct config_port, POLICY_PORTS_MAX)                                             \
	X(cores, struct config_core, POLICY_CORES_MAX)                                             \
	X(listeners, struct config_listener, POLICY_LISTENERS_MAX)                                 \
	X(backends, struct config_backend, POLICY_HOPS_MAX)                                        \
	X(ip_allow, struct config_prefix, POLICY_LIST_MAX)                                         \
	X(ip_block, struct config_prefix, POLICY_LIST_MAX)                                         \
	X(accepted_domains, struct config_addr, POLICY_LIST_MAX)                                   \
	X(blocked_senders, struct config_addr, POLICY_LIST_MAX)                                    \
	X(blocked_recipients, struct config_addr, POLICY_LIST_MAX)                                 \
	X(recipients, struct config_addr, POLICY_LIST_MAX)                                         \
	X(phrases, struct config_phrase, POLICY_PATTERNS_MAX)                                      \
	X(names, struct config_word, POLICY_PATTERNS_MAX)                                          \
	X(types, struct config_word, POLICY_PATTERNS_MAX)

struct config_arena;

struct config {
	char *file; // its name, as given
	char *text; // its bytes, as read
	size_t text_size;
	struct setting_value setting[SETTING_COUNT];
	uint8_t agent_order[AGENT_COUNT]; // agents, first to last; those not named come last, by
					  // default
	bool agent_enabled[AGENT_COUNT];
	uint32_t agent_line[AGENT_COUNT]; // where the file names it; 0: nowhere
#define X(field, type, most)                                                                       \
	type *field;                                                                               \
	uint32_t field##_count, field##_cap;
	CONFIG_LISTS(X)
#undef X
	struct config_arena *arena; // all texts
};

// Reads a file, or a text that has a name. NULL: there were errors (d says which). `now_s` (Unix
// time) is for the warning about entries that have expired. d is emptied first and gets the file's
// name.
struct config *must_use config_load(const char *file, uint64_t now_s, struct diag_list *d);
// The same for a file that the user `reader` has named: one that is neither theirs nor open to all
// is refused, unless they are root or posternd's own user.
struct config *must_use config_load_for(const char *file, uid_t reader, uint64_t now_s,
					struct diag_list *d);
struct config *must_use config_load_text(const char *name, const char *text, size_t size,
					 uint64_t now_s, struct diag_list *d);
void config_close(struct config **c);
// Warns about cores that a machine with so many CPUs has not; 0: unknown. The reader does not know
// the machine, so that one file gives one result everywhere.
void config_check_cores(const struct config *c, uint32_t cpus, struct diag_list *d);
// RFC 3339, "2026-12-31T00:00:00Z", "2026-12-31T00:00:00+01:00", or a date alone (midnight UTC):
// Unix time.
must_use bool config_time_parse(struct span s, uint64_t *out);
void config_time_format(struct strbuf *out, uint64_t unix_s); // ..Z
