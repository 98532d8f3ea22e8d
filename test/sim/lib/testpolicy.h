// SPDX-License-Identifier: Apache-2.0
// testpolicy: a policy from `key value` lines, without YAML and without posternd.
//
// What for: session scripts, the simulation and the benches need real policy images, patterns and
// all. Who calls it: test and bench programs. Memory: the object keeps its lines, so that a policy
// can be changed by adding a line and making it anew. What can go wrong: an unknown key or a value
// out of range: testpolicy_line returns false; what the image's own checks refuse: testpolicy_make
// returns NULL. Network that every policy here describes: client 192.0.2.1, appliance 192.0.2.10
// (outside, port 25) and 198.51.100.10 (inside), backend 198.51.100.20 port 25.
#pragma once

#include "control/abi/policy.h"
#include "dataplane/policy_use.h"

#define TEST_CLIENT_IP 0xc0000201u
#define TEST_OUTSIDE_IP 0xc000020au
#define TEST_INSIDE_IP 0xc633640au
#define TEST_BACKEND_IP 0xc6336414u
#define TEST_SMTP_PORT 25

// The same places in IPv6: fd00:1::/32 outside, fd00:2::/32 inside, last byte as above.
enum test_place { TEST_CLIENT, TEST_OUTSIDE, TEST_INSIDE, TEST_BACKEND };
struct ipaddr testpolicy_addr(enum test_place p, bool is_v6);

struct testpolicy;

struct testpolicy *must_use testpolicy_open(void);
void testpolicy_close(struct testpolicy **t);
void testpolicy_v6(struct testpolicy *t); // its network is IPv6 from now on
// "section.key value" for any row of setting.def, and: block PREFIX, allow PREFIX, blocked_sender
// A, blocked_domain D, blocked_domain_and_subdomains D, blocked_recipient A, recipient A,
// accepted_domain D, bad_word TEXT, good_word TEXT, file_name GLOB, content_type T, enable AGENT,
// disable AGENT, priority AGENT N (only "move to the front": N = 1), unblock PREFIX (takes an
// earlier block away).
must_use bool testpolicy_line(struct testpolicy *t, struct span line);
// A new generation each time. The caller closes it with policy_use_close.
struct policy_use *must_use testpolicy_make(struct testpolicy *t, uint32_t workers,
					    struct strbuf *why);
