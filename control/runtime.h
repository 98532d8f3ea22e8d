// SPDX-License-Identifier: Apache-2.0
// runtime: the truth of posternd in memory: the file + the store = the policy in force.
//
// What for: the object behind every CLI command that reads or changes the policy. Who calls it:
// posternd's main loop and api_*.c, one thread. Memory: heap, owned by the runtime; what accessors
// give out is valid until the next call that changes something (open, apply, agent_*, ip_*, poll).
// Order of a change: checked, committed to the store, compiled, handed to publish; a call that says
// RUNTIME_OK has done all of that, and runtime_poll carries it into the region (at once when the
// slot is free). What can go wrong: RUNTIME_REFUSED with every reason in d: nothing has changed. A
// runtime without a valid file (runtime_has_policy is false) publishes nothing: the dataplane keeps
// what it has, and runtime_apply can mend it. The store is described in store.h: it never stops
// mail.
#pragma once

#include "control/policy_compile.h"
#include "control/publish.h"

enum runtime_result { RUNTIME_OK, RUNTIME_REFUSED, RUNTIME_NOTHING };

struct runtime_paths {
	const char *config_file; // /etc/postern/postern.yaml
	const char *state_dir;   // /var/lib/postern
	uint32_t cpus;           // of this machine; 0: unknown
};

// An entry of an IP list, wherever it comes from.
struct runtime_ip {
	struct ipprefix prefix;
	uint64_t expires_s;  // 0: never
	uint64_t added_s;    // 0: from the file
	const char *comment; // never NULL
	uint32_t line;       // in the file; 0: added with the CLI
};

struct runtime_agent {
	enum agent_id agent;
	uint32_t priority; // 1..N
	bool enabled;
	bool enabled_from_cli; // not the file's
	bool priority_from_cli;
};

struct runtime;

// NULL only without memory. d gets what is wrong with the file and with the store; look at
// runtime_has_policy. No region is needed yet.
struct runtime *must_use runtime_open(const struct runtime_paths *paths, struct diag_list *d);
void runtime_close(struct runtime **rt);
// The region to publish into (borrowed until runtime_close). Compiles and publishes what there is.
void runtime_attach(struct runtime *rt, struct region *region, struct diag_list *d);
// Call it once per turn of the main loop: publishes what is pending, follows what the dataplane
// says, purges expired entries now and then. True: the state changed since the call before (log
// it).
bool runtime_poll(struct runtime *rt);

// Reads and compiles a file (NULL: the configured one) or a text, and forgets it again. `reader` is
// the user who asks: another file than the configured one must be one that they may read.
must_use enum runtime_result runtime_check(struct runtime *rt, const char *file, uid_t reader,
					   struct diag_list *d);
must_use enum runtime_result runtime_check_text(struct runtime *rt, const char *name,
						const char *text, size_t size, struct diag_list *d);
// The same, and puts it in force. NULL: reads the configured file again. Another file is in force
// until posternd starts anew (a warning says so). Warnings also name what needs a restart of the
// dataplane.
must_use enum runtime_result runtime_apply(struct runtime *rt, const char *file, uid_t reader,
					   struct diag_list *d);
must_use enum runtime_result runtime_apply_text(struct runtime *rt, const char *name,
						const char *text, size_t size, struct diag_list *d);

// Agents. priority: to position 1..N, the others move up; it and the order of all others is then
// kept in the store. reset: back to the file; AGENT_COUNT: all agents.
must_use enum runtime_result runtime_agent_enable(struct runtime *rt, enum agent_id a, bool enabled,
						  struct diag_list *d);
must_use enum runtime_result runtime_agent_priority(struct runtime *rt, enum agent_id a,
						    uint32_t position, struct diag_list *d);
must_use enum runtime_result runtime_agent_reset(struct runtime *rt, enum agent_id a,
						 struct diag_list *d);
// Agent at position 1..N, by effective priority.
struct runtime_agent runtime_agent_at(const struct runtime *rt, uint32_t position);

// IP lists. add of an entry that was added before gives it the new expiry, and the new comment if
// there is one; of one that the file has for good it is RUNTIME_NOTHING, with its line. del of an
// entry that the file holds is refused with its line. comment may be NULL; expires_s 0: never.
must_use enum runtime_result runtime_ip_add(struct runtime *rt, enum store_list list,
					    const struct ipprefix *p, uint64_t expires_s,
					    const char *comment, struct diag_list *d);
must_use enum runtime_result runtime_ip_del(struct runtime *rt, enum store_list list,
					    const struct ipprefix *p, struct diag_list *d);
// The CLI's entry of exactly this prefix. False: there is none.
must_use bool runtime_ip_find(const struct runtime *rt, enum store_list list,
			      const struct ipprefix *p, struct runtime_ip *out);
uint32_t runtime_ip_count(const struct runtime *rt, enum store_list list); // file's and CLI's
struct runtime_ip runtime_ip_at(const struct runtime *rt, enum store_list list, uint32_t index);

// For printing.
bool runtime_has_policy(const struct runtime *rt);
const struct config *runtime_config(const struct runtime *rt);    // NULL: none; ->text is the file
const struct policy_view *runtime_view(const struct runtime *rt); // of the newest image; NULL: none
const char *runtime_config_file(const struct runtime *rt);        // the path of the configured file
struct setting_value runtime_setting(const struct runtime *rt, enum setting_id id);
uint64_t runtime_generation(const struct runtime *rt); // of the newest image; 0: none
enum publish_state runtime_publish_state(const struct runtime *rt);
const char *runtime_publish_why(const struct runtime *rt); // of PUBLISH_REFUSED, else ""
bool runtime_is_in_force(const struct runtime *rt);        // every worker has the newest
uint32_t runtime_applied_s(const struct runtime *rt);      // seconds since the file was applied
// What the running dataplane has read at its start and the policy says otherwise now, comma
// separated; empty: nothing. ("machine.ports, machine.cores")
void runtime_restart_needed(const struct runtime *rt, struct strbuf *out);
bool runtime_store_is_writable(const struct runtime *rt);
