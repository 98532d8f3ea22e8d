// SPDX-License-Identifier: Apache-2.0
// clients: how many sessions each client has open, and how fast it opens new ones.
//
// What for: one client must not take what is there for all (limits.client_sessions_max,
// limits.client_rate). A client is an address prefix: one IPv4 address and an IPv6 /64 by default,
// for an IPv6 host may choose among 2^64 addresses. Who calls it: the owning worker, when a session
// begins and ends; the limits are one worker's. Memory: one block at boot, CLIENTS_MAX entries at
// most; an entry is kept while it has sessions, and its rate until somebody else needs the place.
// What can go wrong: so many clients have sessions that no entry is free: the session is admitted
// and not accounted to anybody (CLIENT_UNTRACKED); the limits of the whole worker still hold.
#pragma once

#include "control/base/ipaddr.h"
#include "control/base/list.h"
#include "control/base/pool.h"
#include "dataplane/flow.h"

#define CLIENTS_MAX 65536u
#define CLIENT_NONE 0u
#define CLIENTS_TELL_US 60000000ull    // between two log lines about one client
#define CLIENTS_TELL_ALL_US 1000000ull // about all, on the average; ten may come at once

struct client_limits {
	uint32_t sessions_max; // 0: no limit
	uint32_t rate;         // new sessions a minute; 0: no limit
	uint8_t bits4, bits6;  // length of the prefix, of the 32 and of the 128 bits
};

enum client_result { CLIENT_OK, CLIENT_TOO_MANY, CLIENT_TOO_FAST };

struct clients {
	struct pool pool;
	struct flow_table table;
	struct list unused;      // without sessions, the longest so first
	uint64_t tell_booked_us; // GCRA of the log lines
};

must_use bool clients_init(struct clients *t, struct mem_source *m, uint32_t sessions_max,
			   struct siphash_key key);
void clients_fini(struct clients *t);
// Is there any limit? Else nobody need be entered.
bool clients_are_limited(const struct client_limits *l);
// A session begins. *client is for clients_leave; CLIENT_NONE when it is refused or not accounted.
must_use enum client_result clients_enter(struct clients *t, const struct ipaddr *addr,
					  const struct client_limits *l, uint64_t now_us,
					  uint32_t *client);
// A session of `addr` has just been refused. How many of its client's have been since the log was
// last told; 0: it is not to be told now. A flood, from however many addresses, must not fill it.
must_use uint32_t clients_refused(struct clients *t, const struct ipaddr *addr,
				  const struct client_limits *l, uint64_t now_us);
void clients_leave(struct clients *t, uint32_t client); // CLIENT_NONE: nothing
uint32_t clients_count(const struct clients *t);        // entries with sessions
