// SPDX-License-Identifier: Apache-2.0
// clients: how many sessions each client has open, and how fast it opens new ones.
//
// What for: one client must not take what is there for all (limits.client_sessions_max,
// limits.client_rate). A client is an address prefix: one IPv4 address and an IPv6 /64 by default,
// for an IPv6 host may choose among 2^64 addresses. Who rents a host often gets a /56 or a /48 of
// such prefixes with it, so the wide prefix around a client, a /48 by default, has a limit too:
// CLIENT_WIDE_TIMES that of one client. A session counts for both or for neither. Who calls it: the
// owning worker, when a session begins (after the handshake: an address that is forged gets no
// entry) and ends; the limits are one worker's. Memory: one block at boot, 64 bytes an entry and 17
// in its table, two entries a session and CLIENTS_MAX at most; an entry is kept while it has
// sessions, its rate until somebody else needs the place. That gives away at most one burst, which
// the one who causes it has anyway by a prefix of its own. What can go wrong: all entries have
// sessions. Whoever comes then shares the entry that a keyed hash of the prefix says
// (CLIENT_SHARED): all limits hold as before, and only as many newcomers meet a used up limit as
// there are entries that have used up theirs, or wide ones that hold more than the newcomer may.
#pragma once

#include "control/base/ipaddr.h"
#include "control/base/list.h"
#include "control/base/pool.h"
#include "dataplane/flow.h"

#define CLIENTS_MAX 65536u
#define CLIENT_NONE 0u
#define CLIENT_WIDE_TIMES 4u           // a wide prefix may have as many sessions as so many clients
#define CLIENTS_TELL_US 60000000ull    // between two log lines about one client
#define CLIENTS_TELL_ALL_US 1000000ull // about all, on the average; ten may come at once

enum client_tier { CLIENT_NARROW, CLIENT_WIDE, CLIENT_TIERS };

struct client_limits {
	uint32_t sessions_max; // 0: no limit
	uint32_t rate;         // new sessions a minute; 0: no limit
	// Lengths of the prefixes, of the 32 and of the 128 bits. A wide one that is 0, or not
	// shorter than the narrow one, is off.
	uint8_t bits4[CLIENT_TIERS], bits6[CLIENT_TIERS];
};

enum client_result { CLIENT_OK, CLIENT_TOO_MANY, CLIENT_TOO_FAST };

struct client_hold { // where one session counts; zeroed: nowhere
	uint32_t at[CLIENT_TIERS];
};

struct client_answer {
	enum client_result result;
	struct client_hold hold; // for clients_leave; zeroed when refused
	bool is_shared;          // it counts for somebody else's entry
	// When refused: the limit that was reached, and whose.
	enum client_tier tier;
	struct ipprefix prefix;
	uint32_t limit;
};

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
// A session begins, or is refused and counts for nobody.
must_use struct client_answer clients_enter(struct clients *t, const struct ipaddr *addr,
					    const struct client_limits *l, uint64_t now_us);
// A session has just been refused for `prefix`. How many have been since the log was last told of
// it; 0: it is not to be told now. A flood, from however many addresses, must not fill it.
must_use uint32_t clients_refused(struct clients *t, const struct ipprefix *prefix,
				  uint64_t now_us);
void clients_leave(struct clients *t, struct client_hold *hold); // zeroes it
uint32_t clients_count(const struct clients *t);                 // entries with sessions
