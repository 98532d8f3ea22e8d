// SPDX-License-Identifier: Apache-2.0
// plane_tcp_rig: what the hand-made-segment tests of TCP share: the peer, and what it expects next.
//
// What for: a test plays the other end, segment by segment (segpeer.h). Who calls it:
// plane_tcp_*.c, each a program of its own, so the peer is one a program. Memory: static;
// segpeer_init before each test. What can go wrong: another segment than expected: the test fails
// and says what came.
#pragma once

#include <criterion/criterion.h>

#include "test/sim/lib/segpeer.h"

static struct segpeer p;
static struct segpeer_seg s; // the segment that came last

#define OPTIONS(lit) ((struct span){(const uint8_t *)(lit), sizeof(lit) - 1})

// The next segment from TCP is just this.
static inline void
next(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	cr_assert(segpeer_next(&p, &s), "a segment was expected");
	cr_assert_eq(s.flags, flags, "flags %02x, not %02x", s.flags, flags);
	cr_assert_eq(s.seq, seq, "seq %u, not %u", s.seq, seq);
	cr_assert_eq(s.ack, ack, "ack %u, not %u", s.ack, ack);
	cr_assert_eq(s.len, len, "len %u, not %u", s.len, len);
}

static inline void
silence(void)
{
	cr_assert(!segpeer_next(&p, &s), "flags %02x seq %u ack %u len %u", s.flags, s.seq, s.ack,
		  s.len);
}

// No sample of the handshake was too long: with one exchange of 5 ms the stack knows that the peer
// is near, and what is lost then comes again soon.
static inline void
peer_is_known_to_be_near(void)
{
	tcp_conn_write(p.user.c, SPAN_LIT("220 hello\r\n"));
	segpeer_work(&p);
	next(SP_ACK | SP_PSH, 1, 1, 11);
	segpeer_wait(&p, 5);
	segpeer_send(&p, SP_ACK, 1, 12, 65535, NULL, 0);
	tcp_conn_write(p.user.c, SPAN_LIT("250 done\r\n"));
	segpeer_work(&p);
	next(SP_ACK | SP_PSH, 12, 1, 10);
	segpeer_wait(&p, 300);
	next(SP_ACK | SP_PSH, 12, 1, 10);
}

// The stack sends n bytes, faster than the clock of initial sequence numbers runs, and has them
// acknowledged. The peer has sent nothing.
static inline void
send_much(uint32_t n)
{
	static uint8_t b[16000];
	uint32_t end = 1;

	for (uint32_t sent = 0; sent < n;) {
		sent += tcp_conn_write(p.user.c, span_of(b, sizeof(b)));
		segpeer_work(&p);
		while (segpeer_next(&p, &s))
			end = s.seq + s.len;
		segpeer_send(&p, SP_ACK, 1, end, 65535, NULL, 0);
	}
	while (tcp_conn_unsent(p.user.c) > 0) {
		while (segpeer_next(&p, &s))
			end = s.seq + s.len;
		segpeer_send(&p, SP_ACK, 1, end, 65535, NULL, 0);
	}
	segpeer_skip(&p);
}
