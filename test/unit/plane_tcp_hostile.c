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
	cr_assert_leq(tcp_conn_count(p.tcp), 49, "three quarters and the newest");
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ORPHAN_DROPPED),
		     CLIENTS - tcp_conn_count(p.tcp));
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_RST_OUT),
		     segpeer_count(&p, COUNTER_TCP_ORPHAN_DROPPED));
	segpeer_fini(&p);
}

static void
many_connections_and_little_memory(void)
{
	static const struct segpeer_args args = {
		.window_bytes = 65535, .keepalive_s = 7200, .conns_max = 8192, .chunks = 256};

	segpeer_fini(&p);
	segpeer_init(&p, &args);
	p.user.hook = say_and_leave;
}

// Many idle sessions are no shortage of memory: who says goodbye meanwhile has time to acknowledge.
Test(plane_tcp_hostile, idle_sessions_cut_no_farewell_short)
{
	static const struct segpeer_args args = {
		.window_bytes = 65535, .keepalive_s = 7200, .conns_max = 1024, .chunks = 256};

	segpeer_fini(&p);
	segpeer_init(&p, &args);
	for (uint32_t i = 0; i < 800; i++)
		client_next();
	p.user.hook = say_and_leave;
	for (uint32_t i = 0; i < 90; i++) {
		client_next();
		segpeer_skip(&p);
	}
	cr_assert_eq(tcp_conn_count(p.tcp), 890);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_ORPHAN_DROPPED), 0);
	segpeer_fini(&p);
}

// Where there are far more connections than chunks, it is chunks that they would use up.
Test(plane_tcp_hostile, who_vanishes_from_the_farewell_leaves_chunks)
{
	many_connections_and_little_memory();
	for (uint32_t i = 0; i < 2 * CLIENTS; i++) {
		client_next();
		segpeer_skip(&p);
		cr_assert_leq(p.chunks.pool.used, 129, "half of them and the newest's");
	}
	segpeer_fini(&p);
}

// Who takes the farewell and never acknowledges the FIN holds no chunk, but an account of what is
// in flight, of which there are as many as chunks and some. Without one nobody can send.
Test(plane_tcp_hostile, who_vanishes_from_the_fin_leaves_accounts)
{
	many_connections_and_little_memory();
	for (uint32_t i = 0; i < 4 * CLIENTS; i++) {
		client_next();
		segpeer_send(&p, SP_ACK, 1, 14, 65535, NULL, 0);
		segpeer_skip(&p);
	}
	cr_assert_eq(p.chunks.pool.used, 0);
	cr_assert_eq(segpeer_count(&p, COUNTER_TCP_NO_RECORD), 0);
	cr_assert_leq(tcp_flight_count(p.tcp), 385, "three quarters and the newest's");
	segpeer_fini(&p);
}

// Many replies at once, for which the client has asked.
static void
say_much(struct segpeer_user *u, const char *call)
{
	static const uint8_t text[640];

	if (strcmp(call, "accept") == 0)
		cr_assert_eq(tcp_conn_write(u->c, span_of(text, sizeof(text))), sizeof(text));
}

// Every segment in flight has a record, however small the client wants them.
Test(plane_tcp_hostile, who_wants_crumbs_leaves_records_for_messages)
{
	static const struct segpeer_args args = {
		.window_bytes = 65535, .keepalive_s = 7200, .conns_max = 256, .chunks = 256};
	const struct span crumbs = OPTIONS("\x02\x04\x00\x40");
	static uint8_t message[5 * 1460];

	segpeer_fini(&p);
	segpeer_init(&p, &args);
	p.user.hook = say_much;
	for (uint32_t i = 0; i < 100; i++) {
		p.path.rport++;
		p.knows_stack_iss = false;
		segpeer_accept(&p, &crumbs);
	}
	p.user.hook = NULL;
	p.knows_stack_iss = false;
	cr_assert_not_null(segpeer_open(&p));
	cr_assert_eq(tcp_conn_write(p.user.c, span_of(message, sizeof(message))), sizeof(message));
	segpeer_work(&p);
	cr_assert_eq(segpeer_pending(&p), 5, "not %u", segpeer_pending(&p));
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

static void
one_byte_at(uint32_t seq)
{
	segpeer_send(&p, SP_ACK, seq, 1, 65535, "x", 1);
	segpeer_skip(&p);
}

// A segment of one byte pins a chunk as long as the gap before it stays.
Test(plane_tcp_hostile, gaps_that_stay_give_memory_back)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < 6; i++) {
		client_next();
		for (uint32_t k = 0; k < 60; k++)
			one_byte_at(3 + 2 * k);
		used = MAX(used, p.chunks.pool.used);
		segpeer_wait(&p, 1000);
	}
	cr_assert_gt(used, 200, "the attack has to work at first: %u", used);
	segpeer_wait(&p, 5000);
	segpeer_skip(&p);
	cr_assert_leq(p.chunks.pool.used, 128);
	cr_assert_gt(segpeer_count(&p, COUNTER_TCP_GAP_SHED), 0);
	cr_assert_eq(p.user.gones, 0);
	// What was thrown away comes again, and nothing is lost or mixed up.
	uint8_t b[200];

	segpeer_pattern(b, 0, sizeof(b));
	segpeer_send(&p, SP_ACK, 1, 1, 65535, b, sizeof(b));
	next(SP_ACK, 1, 201, 0);
	segpeer_fini(&p);
}

// With memory to spare a gap may stay.
Test(plane_tcp_hostile, gaps_stay_while_there_is_memory)
{
	client_next();
	for (uint32_t k = 0; k < 40; k++)
		one_byte_at(3 + 2 * k);
	uint32_t used = p.chunks.pool.used;

	segpeer_wait(&p, 60000);
	cr_assert_eq(p.chunks.pool.used, used);
	segpeer_fini(&p);
}

// It pours commands and keeps its window shut.
static uint32_t
seconds_of_a_pouring_client(enum shed_level level)
{
	static uint8_t b[1000];
	uint32_t seconds = 0;

	client_next();
	p.user.take_most = 0;
	cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("250 go on\r\n")), 11);
	for (uint32_t i = 0; i < 20; i++)
		segpeer_send(&p, SP_ACK, 1 + i * 1000, 1, 0, b, sizeof(b));
	tcp_shed(p.tcp, level);
	for (; p.user.gones == 0 && seconds < 2000; seconds++) {
		segpeer_wait(&p, 1000);
		segpeer_skip(&p);
		if (p.user.gones == 0) // it answers all probes
			segpeer_send(&p, SP_ACK, 20001, 1, 0, NULL, 0);
	}
	return seconds;
}

Test(plane_tcp_hostile, who_pours_and_does_not_read_goes_first)
{
	const struct tcp_settings set = {
		.window_bytes = 65535, .zero_window_s = 300, .user_s = 300};

	tcp_settings(p.tcp, &set);
	uint32_t seconds = seconds_of_a_pouring_client(SHED_REFUSE);

	cr_assert(seconds >= 20 && seconds <= 60, "%u", seconds);
	p.user.gones = 0;
	seconds = seconds_of_a_pouring_client(SHED_NONE);
	cr_assert(seconds >= 300, "%u", seconds);
	segpeer_fini(&p);
}

// The ACK of our FIN on a byte behind the peer's own FIN, into a window that is shut.
Test(plane_tcp_hostile, bytes_behind_the_fin_end_a_paused_connection)
{
	static uint8_t b[1285]; // 51 of them are the window
	uint32_t at = 1;

	client_next();
	p.user.take_most = 0;
	for (; at + sizeof(b) <= 65535; at += sizeof(b))
		segpeer_send(&p, SP_ACK, at, 1, 65535, b, sizeof(b));
	segpeer_send(&p, SP_ACK | SP_FIN, at, 1, 65535, b, 65535 - at);
	cr_assert_eq(p.user.eofs, 0);
	tcp_conn_close(p.user.c);
	segpeer_work(&p);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK, 65536, 2, 65535, "x", 1);
	segpeer_send(&p, SP_ACK, 65536, 2, 65535, "x", 1); // nobody is there any more
	cr_assert_eq(p.user.gones, 0);
	p.user.take_most = UINT32_MAX;
	tcp_conn_resume(p.user.c);
	segpeer_work(&p);
	cr_assert_eq(p.user.received, 65534);
	cr_assert_eq(p.user.eofs, 1);
	cr_assert_eq(p.user.gones, 1);
	segpeer_fini(&p);
}

// Its user leaves inside recv, with bytes behind a gap and the FIN known already.
static void
leave_in_recv(struct segpeer_user *u, const char *call)
{
	if (strcmp(call, "recv") == 0)
		tcp_conn_forget(u->c);
}

Test(plane_tcp_hostile, user_leaves_while_a_gap_is_filled)
{
	client_next();
	segpeer_send(&p, SP_ACK | SP_FIN, 9, 1, 65535, "end", 3);
	segpeer_send(&p, SP_ACK, 3, 1, 65535, "cd", 2);
	p.user.hook = leave_in_recv;
	segpeer_send(&p, SP_ACK, 1, 1, 65535, "ab", 2);
	cr_assert_eq(p.chunks.pool.used, 0);
	segpeer_skip(&p);
	segpeer_send(&p, SP_ACK | SP_FIN, 3, 2, 65535, "cdefghend", 9);
	segpeer_wait(&p, 61000);
	cr_assert_eq(tcp_conn_count(p.tcp), 0);
	segpeer_fini(&p);
}

// A hundred clients leave the smallest of replies unacknowledged, each in a segment of its own, and
// hold all transmit records. An honest one still has the record that its account of what is in
// flight brings along: one segment after the other gets through, to the last.
Test(plane_tcp_hostile, who_holds_all_records_does_not_stop_the_others)
{
	static uint8_t b[10 * 1460];
	uint32_t end = 1;

	client_next();
	struct tcp_path path = p.path;
	uint32_t iss = p.stack_iss;
	struct tcp_conn *honest = p.user.c;

	for (uint32_t i = 0; i < 10; i++) {
		client_next();
		for (uint32_t k = 0; k < 600; k++) {
			cr_assert_eq(tcp_conn_write(p.user.c, SPAN_LIT("2")), 1);
			segpeer_work(&p);
			segpeer_skip(&p);
		}
	}
	cr_assert_gt(segpeer_count(&p, COUNTER_TCP_NO_RECORD), 0, "the attack has to work");
	p.path = path;
	p.stack_iss = iss;
	p.user.c = honest;
	segpeer_pattern(b, 1, sizeof(b));
	cr_assert_eq(tcp_conn_write(honest, span_of(b, sizeof(b))), sizeof(b));
	segpeer_work(&p);
	while (end < 1 + sizeof(b)) {
		next(end + 1460 == 1 + sizeof(b) ? SP_ACK | SP_PSH : SP_ACK, end, 1, 1460);
		cr_assert_arr_eq(s.data, b + end - 1, s.len);
		silence();
		end += s.len;
		segpeer_wait(&p, 10);
		segpeer_send(&p, SP_ACK, 1, end, 65535, NULL, 0);
	}
	cr_assert_eq(tcp_conn_unsent(honest), 0);
	segpeer_fini(&p);
}
