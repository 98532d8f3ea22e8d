// SPDX-License-Identifier: Apache-2.0
// crowd: thousands of clients of the appliance made by hand, segment by segment: the ones that an
// honest stack would never be.
//
//   crowd (frames put on the outside wire; a tap sees what the appliance answers)
//
// What for: overload (press_run.c). A member costs a few words, so ten thousand of them do. It does
// what its fields say: it acknowledges or not, keeps its window shut or not, says its script line
// by line as replies come, and is otherwise moved by calls. Who calls it: one thread. Memory: heap,
// freed by crowd_close. What can go wrong: nothing is sent again: what the appliance drops under
// pressure is gone, as for a peer that does not care. Members are CROWD_ADDRS stations next to the
// appliance, all behind one station address; they answer for their neighbours' questions.
#pragma once

#include "test/sim/lib/appliance.h"

#define CROWD_ADDRS 128u // addresses; member i has the (i % CROWD_ADDRS)th and a port of its own
#define CROWD_NETS 64u // an IPv6 /58 of another site, when has_nets: member i in the (i % 64)th /64
#define CROWD_MAX 60000u

enum member_state { MEMBER_NONE, MEMBER_SYN, MEMBER_OPEN, MEMBER_ENDED, MEMBER_RESET };

struct member {
	uint32_t seq, ack; // next to send, next expected
	uint32_t acked;    // of ours, by the appliance
	uint32_t edge;     // how far we may send
	uint32_t window;   // that we tell
	enum member_state state;
	bool is_deaf;              // neither hears nor answers
	bool is_filling;           // takes nothing: the window closes with every byte
	uint16_t code, last_code;  // of the first and of the newest reply
	uint32_t body_seq;         // where it was when it was told 354
	uint32_t replies;          // segments with bytes
	const char *const *script; // what it says on each reply, up to a NULL
	uint64_t ended_us;         // when the appliance closed or reset it
	bool has_fin;
};

struct crowd {
	struct appliance *a;
	struct member *m;
	uint32_t count;
	bool is_v6;
	bool has_nets; // set before any of them begins
	bool is_deaf;  // all of them, those who have not begun too
	uint64_t out, in, resets;
};

void crowd_open(struct crowd *c, struct appliance *a, uint32_t count, bool is_v6);
void crowd_close(struct crowd *c);
// In IPv4: all its addresses ask for the appliance's, which knows them from then on.
void crowd_meet(struct crowd *c);
struct ipaddr crowd_addr(const struct crowd *c, uint32_t i);
void crowd_syn(struct crowd *c, uint32_t i); // begins, from whatever state
void crowd_say(struct crowd *c, uint32_t i, struct span s);
// The same at `at` bytes behind what was sent so far, which does not move.
void crowd_say_at(struct crowd *c, uint32_t i, uint32_t at, struct span s);
void crowd_fin(struct crowd *c, uint32_t i);
void crowd_rst(struct crowd *c, uint32_t i);
void crowd_ack(struct crowd *c, uint32_t i);            // tells its window
uint32_t crowd_room(const struct crowd *c, uint32_t i); // that the appliance gives it now
uint32_t crowd_in_state(const struct crowd *c, enum member_state s);
