// SPDX-License-Identifier: Apache-2.0
// TCP: clients that keep every rule and answer nothing: what they cost stays bounded, and honest
// ones get in.
#include <string.h>

#include "test/unit/plane_tcp_rig.h"

#define CLIENTS 200u

// What SMTP does with who is refused, and with a QUIT.
static void
say_and_leave(struct segpeer_user *u, const char *call)
{
	if (strcmp(call, "accept") != 0)
		return;
	cr_assert_eq(tcp_conn_write(u->c, SPAN_LIT("421 not now\r\n")), 13);
	tcp_conn_close(u->c);
	tcp_conn_forget(u->c);
}

// One more client from another port of the same address.
static void
client_next(void)
{
	p.path.rport++;
	p.knows_stack_iss = false;
	segpeer_accept(&p, NULL);
}

static void
init(void)
{
	static const struct segpeer_args args = {
		.window_bytes = 65535, .keepalive_s = 7200, .conns_max = 64, .chunks = 256};

	segpeer_init(&p, &args);
}

TestSuite(plane_tcp_hostile, .init = init);

// Each takes the handshake and never acknowledges what it is told: a connection and a chunk for a
// minute each would be all there are.
Test(plane_tcp_hostile, who_vanishes_from_the_farewell_keeps_nobody_out)
{
	p.user.hook = say_and_leave;
	for (uint32_t i = 0; i < CLIENTS; i++) {
		client_next();
		segpeer_wait(&p, 5);
		segpeer_skip(&p);
	}
	cr_assert_eq(p.user.accepts, CLIENTS);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ACCEPT_FULL), 0);
	cr_assert_leq(tcp_conn_count(p.tcp), 17);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ORPHAN_DROPPED),
		     CLIENTS - tcp_conn_count(p.tcp));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RST_OUT),
		     segpeer_count(&p, COUNTER_TCP_ORPHAN_DROPPED));
	segpeer_fini(&p);
}

// The newest are left alone: an honest client has a round trip's time to take what it was told.
Test(plane_tcp_hostile, an_honest_farewell_is_taken_meanwhile)
{
	p.user.hook = say_and_leave;
	for (uint32_t i = 0; i < CLIENTS; i++)
		client_next();
	client_next();
	struct tcp_path honest = p.path;
	uint32_t iss = p.stack_iss;

	for (uint32_t i = 0; i < 10; i++)
		client_next();
	p.path = honest;
	p.stack_iss = iss;
	segpeer_skip(&p);
	segpeer_send(&p, SP_FIN | SP_ACK, 1, 15, 65535, NULL, 0);
	next(SP_ACK, 15, 2, 0);
	cr_assert_eq(tcp_wait_count(p.tcp), 1);
	segpeer_fini(&p);
}
