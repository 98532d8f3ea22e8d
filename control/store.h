// SPDX-License-Identifier: Apache-2.0
// store: what the CLI changed, durable, in SQLite (STATE_DIR/postern.db).
//
// What for: entries of the IP lists and states of agents that were set with `postern`, on top of
// the file. Who calls it: posternd's runtime, on its one thread. Memory: heap; the store keeps a
// copy of all rows in memory (store_overlay), so making a policy reads nothing from disk. Every
// change is committed and synced before its call returns. What can go wrong: a damaged database is
// renamed to postern.db.damaged-<time> with a warning and a new one begun; one that cannot be
// opened at all gives an empty overlay and refuses changes with the reason. Neither stops mail.
#pragma once

#include "control/abi/policy.h"
#include "control/diag.h"

#define STORE_FILE "postern.db"
#define STORE_IP_MAX 500000u // entries added with the CLI, both lists together
#define STORE_COMMENT_MAX 256
#define STORE_SCHEMA_VERSION 1

enum store_list { STORE_ALLOW, STORE_BLOCK, STORE_LIST_COUNT };

struct store_ip {
	struct ipprefix prefix;
	uint64_t expires_s; // 0: never
	uint64_t added_s;
	char *comment; // ours; "" when none
};

struct store_agent {
	int8_t enabled;   // 1, 0, or -1: as in the file
	uint8_t priority; // 1..AGENT_COUNT, or 0: as in the file
};

struct store_overlay {
	struct store_ip *ip[STORE_LIST_COUNT]; // sorted by (address, bits)
	uint32_t ip_count[STORE_LIST_COUNT], ip_cap[STORE_LIST_COUNT];
	struct store_agent agent[AGENT_COUNT];
};

struct store;

enum store_result {
	STORE_OK,
	STORE_SAME,   // nothing to do: it is so already, or is not there
	STORE_FULL,   // STORE_IP_MAX
	STORE_FAILED, // the database refused; the reason is in d, nothing changed
};

// NULL only without memory. Warnings about the state of the database go to d.
struct store *must_use store_open(const char *dir, struct diag_list *d);
void store_close(struct store **s);
const struct store_overlay *store_overlay(const struct store *s); // valid until the next change
bool store_is_writable(const struct store *s);
// Adds an entry, or gives an existing one a new expiry and comment.
must_use enum store_result store_ip_put(struct store *s, enum store_list list,
					const struct store_ip *ip, struct diag_list *d);
must_use enum store_result store_ip_del(struct store *s, enum store_list list,
					const struct ipprefix *p, struct diag_list *d);
// NULL: not there.
const struct store_ip *store_ip_find(const struct store *s, enum store_list list,
				     const struct ipprefix *p);
// Deletes what expired before now_s; returns how many entries. Failures are left for the next call.
uint32_t store_ip_purge(struct store *s, uint64_t now_s);
// Replaces the states of all agents in one transaction.
must_use enum store_result
store_agents_put(struct store *s, const struct store_agent state[AGENT_COUNT], struct diag_list *d);
const char *store_list_name(enum store_list list); // "allow", "block"
