// SPDX-License-Identifier: Apache-2.0
// endpoint: one TCP connection as a test drives it: what came in is kept, what goes out is written.
//
// Who calls it: session scripts, the simulation, the benches. Memory: the caller's struct and a
// heap buffer that grows up to ENDPOINT_BYTES_MAX. The struct must outlive the connection:
// endpoint_fini forgets the connection first.
#pragma once

#include "dataplane/tcp.h"

#define ENDPOINT_BYTES_MAX (64u << 20)

struct endpoint {
	struct tcp_conn *conn; // NULL: none, or gone
	bool is_open, has_eof, is_gone;
	bool automatic; // the owner's: answered by the harness
	enum tcp_gone why;
	uint8_t *in; // bytes received and not taken yet: in[taken .. count)
	uint32_t count, taken, size;
	uint32_t hold; // take at most this much per call (0: all): a slow reader
	void (*on_data)(struct endpoint *e); // called after bytes came in; NULL: none
	void *owner;
};

extern const struct tcp_user_ops endpoint_ops;

void endpoint_init(struct endpoint *e);
void endpoint_fini(struct endpoint *e);
must_use bool endpoint_open(struct endpoint *e, struct tcp *t, const struct ipaddr *to,
			    uint16_t port);
uint32_t endpoint_write(struct endpoint *e, struct span s); // bytes taken
// One line, without its CRLF; false: not yet.
bool endpoint_line(struct endpoint *e, char *out, uint32_t size);
struct span endpoint_bytes(const struct endpoint *e); // all that is not taken yet
void endpoint_take(struct endpoint *e, uint32_t n);
void endpoint_close(struct endpoint *e);
void endpoint_abort(struct endpoint *e);
