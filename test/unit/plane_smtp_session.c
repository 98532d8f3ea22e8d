// SPDX-License-Identifier: Apache-2.0
// Sessions under pressure, on a whole appliance: policies held, pools that run out, session lists.
// What one client and one backend say to each other is in test/smtp/*.mtc.
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "control/abi/policy_build.h"
#include "test/sim/lib/appliance.h"

#define CLIENTS 24
#define SECOND 1000000u

struct world {
	struct testpolicy *tp;
	struct appliance *a;
	struct endpoint client[CLIENTS];
	struct endpoint backend[CLIENTS];
	uint32_t backend_count;
};

static struct world w;

static void *
backend_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct world *x = ctx;
	cr_assert_lt(x->backend_count, CLIENTS);
	struct endpoint *e = &x->backend[x->backend_count++];
	endpoint_init(e);
	e->conn = c;
	e->is_open = true;
	*ops = &endpoint_ops;
	return e;
}

static void
policy(const char *line)
{
	cr_assert(testpolicy_line(w.tp, span_str(line)), "%s", line);
}

static void
begin(void)
{
	memset(&w, 0, sizeof(w));
	w.tp = testpolicy_open();
	policy("server.received_header false");
	policy("server.result_header false");
}

static uint32_t peer_window; // 0: the default
static uint32_t client_delay_us;
static bool over_v6;

static void
open_appliance(bool with_backend)
{
	char mem[256];
	struct strbuf why;
	strbuf_init(&why, mem, sizeof(mem));
	w.a = appliance_open(&(struct appliance_args){.policy = w.tp,
						      .seed = 7,
						      .window_bytes = peer_window,
						      .is_v6 = over_v6,
						      .client_link = {.delay_us = client_delay_us}},
			     &why);
	cr_assert_not_null(w.a, "%s", mem);
	if (with_backend)
		cr_assert(tcp_listen(w.a->backend.tcp, TCP_SIDE_ANY, TEST_SMTP_PORT, backend_accept,
				     &w));
}

static void
end(void)
{
	for (uint32_t i = 0; i < CLIENTS; i++) {
		endpoint_fini(&w.client[i]);
		endpoint_fini(&w.backend[i]);
	}
	if (w.a != NULL)
		appliance_close(&w.a);
	testpolicy_close(&w.tp);
}

TestSuite(smtp_session, .init = begin, .fini = end);

static void
settle(void)
{
	while (appliance_step(w.a, w.a->now_us))
		;
}

static void
expect(struct endpoint *e, const char *want)
{
	char line[1200];
	uint64_t limit = w.a->now_us + SECOND;
	while (!endpoint_line(e, line, sizeof(line)))
		cr_assert(appliance_step(w.a, limit), "nothing came instead of %s", want);
	cr_assert_eq(strncmp(line, want, strlen(want)), 0, "%s, not %s", line, want);
}

static void
say(struct endpoint *e, const char *line)
{
	struct span s = span_str(line);
	cr_assert_eq(endpoint_write(e, s), s.n);
	cr_assert_eq(endpoint_write(e, SPAN_LIT("\r\n")), 2);
	settle();
}

static void
connect_to(struct endpoint *e)
{
	struct ipaddr to = ipaddr_v4(TEST_OUTSIDE_IP);
	uint64_t limit = w.a->now_us + SECOND;
	endpoint_init(e);
	cr_assert(endpoint_open(e, w.a->client.tcp, &to, TEST_SMTP_PORT));
	while (!e->is_open)
		cr_assert(appliance_step(w.a, limit));
}

static void
greet(struct endpoint *e)
{
	connect_to(e);
	expect(e, "220 ");
	say(e, "HELO c.example");
	expect(e, "250 ");
}

static void
new_policy(const char *line)
{
	char mem[256];
	struct strbuf why;
	strbuf_init(&why, mem, sizeof(mem));
	policy(line);
	cr_assert(appliance_policy(w.a, w.tp, &why), "%s", mem);
	settle();
}

Test(smtp_session, policies_are_let_go_when_their_transactions_end)
{
	open_appliance(false);
	greet(&w.client[0]);
	say(&w.client[0], "MAIL FROM:<a@example.com>");
	expect(&w.client[0], "250 ");
	uint64_t first = w.a->policy[0]->generation;
	new_policy("limits.hops_max 20");
	new_policy("limits.hops_max 21");
	cr_assert(worker_policy_uses(w.a->worker[0], first));
	cr_assert_not(worker_policy_uses(w.a->worker[0], first + 1),
		      "nobody took it up for a transaction");
	say(&w.client[0], "RSET");
	expect(&w.client[0], "250 ");
	settle();
	(void)appliance_step(w.a, w.a->now_us + SECOND);
	cr_assert_not(worker_policy_uses(w.a->worker[0], first));
	cr_assert(worker_policy_uses(w.a->worker[0], first + 2));
}

Test(smtp_session, the_oldest_of_too_many_policies_ends_its_transactions)
{
	open_appliance(false);
	char line[64];
	uint64_t first = 0;
	for (uint32_t i = 0; i < 17; i++) {
		greet(&w.client[i]);
		say(&w.client[i], "MAIL FROM:<a@example.com>");
		expect(&w.client[i], "250 ");
		if (i == 0)
			first = w.a->policy[0]->generation;
		(void)snprintf(line, sizeof(line), "limits.hops_max %u", 20 + i);
		new_policy(line);
	}
	(void)appliance_step(w.a, w.a->now_us + SECOND);
	cr_assert_not(worker_policy_uses(w.a->worker[0], first));
	cr_assert(worker_policy_uses(w.a->worker[0], first + 2));
	say(&w.client[0], "RCPT TO:<b@example.net>");
	expect(&w.client[0], "451 4.3.2 Configuration has changed");
	say(&w.client[0], "DATA");
	expect(&w.client[0], "451 4.3.2");
	say(&w.client[0], "MAIL FROM:<a@example.com>");
	expect(&w.client[0], "250 ");
	// The younger ones go on.
	say(&w.client[5], "RSET");
	expect(&w.client[5], "250 ");
}

static void
backend_up_to_rcpt(struct endpoint *b)
{
	cr_assert_eq(endpoint_write(b, SPAN_LIT("220 b\r\n")), 7);
	expect(b, "EHLO ");
	say(b, "250 b");
	expect(b, "MAIL ");
	say(b, "250 ok");
	expect(b, "RCPT ");
}

Test(smtp_session, a_policy_that_has_to_go_answers_a_waiting_recipient_and_spares_a_final_answer)
{
	open_appliance(true);
	settle();
	(void)appliance_step(w.a, w.a->now_us + 1000);
	settle();
	uint32_t probes = w.backend_count;
	greet(&w.client[0]);
	say(&w.client[0], "MAIL FROM:<a@example.com>");
	expect(&w.client[0], "250 ");
	say(&w.client[0], "RCPT TO:<b@example.net>");
	cr_assert_eq(w.backend_count, probes + 1);
	backend_up_to_rcpt(&w.backend[probes]); // and is not answered
	greet(&w.client[1]);
	say(&w.client[1], "MAIL FROM:<a@example.com>");
	expect(&w.client[1], "250 ");
	say(&w.client[1], "RCPT TO:<b@example.net>");
	struct endpoint *b = &w.backend[probes + 1];
	backend_up_to_rcpt(b);
	say(b, "250 ok");
	expect(&w.client[1], "250 ");
	say(&w.client[1], "DATA");
	expect(&w.client[1], "354 ");
	say(&w.client[1], "x: y\r\n\r\nz\r\n.");
	expect(b, "DATA");
	say(b, "354 go");
	expect(b, "x: y");
	char line[64];
	for (uint32_t i = 2; i < 18; i++) {
		(void)snprintf(line, sizeof(line), "limits.hops_max %u", 20 + i);
		new_policy(line);
		greet(&w.client[i]);
		say(&w.client[i], "MAIL FROM:<a@example.com>");
		expect(&w.client[i], "250 ");
	}
	expect(&w.client[0], "451 4.3.2 Configuration has changed");
	say(b, "250 2.0.0 taken");
	expect(&w.client[1], "250 2.0.0 taken");
}

Test(smtp_session, no_session_free_gives_421)
{
	policy("machine.sessions_max 16");
	open_appliance(false);
	for (uint32_t i = 0; i < 16; i++)
		greet(&w.client[i]);
	connect_to(&w.client[16]);
	expect(&w.client[16], "421 4.3.2 ");
	uint64_t limit = w.a->now_us + SECOND;
	while (!w.client[16].has_eof)
		cr_assert(appliance_step(w.a, limit));
	cr_assert_eq(w.a->counters->v[COUNTER_SESSIONS_REFUSED], 1);
	say(&w.client[0], "QUIT");
	expect(&w.client[0], "221 ");
	endpoint_close(&w.client[0]);
	settle();
	greet(&w.client[17]);
}

Test(smtp_session, no_scan_free_gives_452)
{
	policy("machine.scans_max 4");
	open_appliance(false);
	for (uint32_t i = 0; i < 4; i++) {
		greet(&w.client[i]);
		say(&w.client[i], "MAIL FROM:<a@example.com>");
		expect(&w.client[i], "250 ");
	}
	greet(&w.client[4]);
	say(&w.client[4], "MAIL FROM:<a@example.com>");
	expect(&w.client[4], "452 4.3.1 ");
	say(&w.client[0], "RSET");
	expect(&w.client[0], "250 ");
	say(&w.client[4], "MAIL FROM:<a@example.com>");
	expect(&w.client[4], "250 ");
}

Test(smtp_session, a_message_larger_than_memory_waits_and_goes_through)
{
	policy("machine.chunks 256");
	policy("limits.hold_bytes_max 16777216");
	open_appliance(true);
	settle();
	(void)appliance_step(w.a, w.a->now_us + 1000);
	settle();
	uint32_t probes = w.backend_count;
	greet(&w.client[0]);
	say(&w.client[0], "MAIL FROM:<a@example.com>");
	expect(&w.client[0], "250 ");
	say(&w.client[0], "RCPT TO:<b@example.net>");
	struct endpoint *b = &w.backend[probes];
	backend_up_to_rcpt(b);
	say(b, "250 ok");
	expect(&w.client[0], "250 ");
	say(&w.client[0], "DATA");
	expect(&w.client[0], "354 ");
	static char block[8192];
	memset(block, 'x', sizeof(block));
	memcpy(block + sizeof(block) - 2, "\r\n", 2);
	bool is_taken = false;
	char line[64];
	for (uint32_t sent = 0; sent < 100 * sizeof(block);) { // more than 256 chunks hold
		struct span rest =
			span_of(block + sent % sizeof(block), sizeof(block) - sent % sizeof(block));
		uint32_t n = endpoint_write(&w.client[0], rest);
		sent += n;
		settle();
		if (!is_taken && n == 0 && endpoint_line(b, line, sizeof(line))) {
			cr_assert_str_eq(line, "DATA", "cut through before its hold limit");
			cr_assert_gt(w.a->counters->v[COUNTER_MESSAGES_SLOWED], 0);
			say(b, "354 go");
			is_taken = true;
		}
		if (n == 0)
			cr_assert(appliance_step(w.a, w.a->now_us + 10 * SECOND));
	}
	say(&w.client[0], ".");
	settle();
	struct span all = endpoint_bytes(b);
	cr_assert(is_taken && all.n > 100 * sizeof(block), "%u bytes", all.n);
	cr_assert_eq(memcmp(all.p + all.n - 5, "\r\n.\r\n", 5), 0);
	endpoint_take(b, all.n);
	say(b, "250 ok");
	expect(&w.client[0], "250 ");
	cr_assert_eq(w.a->counters->v[COUNTER_SHED_MEMORY], 0);
}

static void
up_to_rcpt(struct endpoint *e)
{
	uint32_t next = w.backend_count;

	greet(e);
	say(e, "MAIL FROM:<a@example.com>");
	expect(e, "250 ");
	say(e, "RCPT TO:<bob@example.net>");
	while (w.backend_count == next)
		cr_assert(appliance_step(w.a, w.a->now_us + SECOND));
	backend_up_to_rcpt(&w.backend[next]);
	say(&w.backend[next], "250 ok");
	expect(e, "250 ");
}

// The end of a delay calls the session back, and in the same turn, before it is called, a body
// comes that has to wait.
Test(smtp_session, a_body_that_waits_may_be_called_for_another_reason)
{
	static char block[65536];

	policy("machine.chunks 256");
	policy("limits.hold_bytes_max 16777216");
	policy("recipient_filter.recipient_validation true");
	policy("recipient bob@example.net");
	policy("accepted_domain example.net");
	policy("timeouts.tarpit_s 5");
	client_delay_us = 20000;
	open_appliance(true);
	settle();
	(void)appliance_step(w.a, w.a->now_us + 1000);
	settle();
	memset(block, 'x', sizeof(block));
	for (uint32_t i = 0; i < 10; i++) {
		up_to_rcpt(&w.client[i]);
		if (i == 9)
			break;
		say(&w.client[i], "DATA");
		expect(&w.client[i], "354 ");
		cr_assert_eq(endpoint_write(&w.client[i], span_of(block, 900)), 900);
	}
	for (uint32_t i = 0; i < 50; i++) { // half of the memory, and more
		(void)endpoint_write(&w.client[0], span_of(block, sizeof(block)));
		(void)appliance_step(w.a, w.a->now_us + SECOND);
		settle();
	}
	uint64_t slowed = w.a->counters->v[COUNTER_MESSAGES_SLOWED];
	cr_assert_gt(slowed, 0);
	say(&w.client[9], "RCPT TO:<nobody@example.net>");
	uint64_t heard_us = w.a->now_us + client_delay_us, over_us = heard_us + 5 * SECOND;
	over_us -= over_us % 1000;
	while (appliance_step(w.a, over_us - client_delay_us))
		;
	appliance_goto(w.a, over_us - client_delay_us);
	cr_assert_eq(endpoint_write(&w.client[9], SPAN_LIT("DATA\r\n")), 6);
	(void)endpoint_write(&w.client[9], span_of(block, sizeof(block)));
	settle();
	expect(&w.client[9], "550 ");
	expect(&w.client[9], "354 ");
	cr_assert_gt(w.a->counters->v[COUNTER_MESSAGES_SLOWED], slowed);
}

Test(smtp_session, a_client_that_does_not_read_its_replies_has_to_wait)
{
	policy("limits.commands_max 1000000");
	peer_window = 4096;
	open_appliance(false);
	struct endpoint *e = &w.client[0];
	greet(e);
	e->hold = 1; // reads a byte a call
	uint64_t before = w.a->counters->v[COUNTER_COMMANDS];
	const uint32_t most = 20000;
	uint32_t sent = 0;
	for (uint32_t i = 0; i < 200; i++) {
		while (sent < most * 6) {
			struct span rest = span_from(SPAN_LIT("NOOP\r\n"), sent % 6);
			uint32_t n = endpoint_write(e, rest);
			sent += n;
			if (n < rest.n)
				break;
		}
		(void)appliance_step(w.a, w.a->now_us + 1000);
	}
	uint64_t done = w.a->counters->v[COUNTER_COMMANDS] - before;
	cr_assert_lt(done, 4000, "its replies would fill our memory: %llu",
		     (unsigned long long)done);
	e->hold = 0;
	tcp_conn_resume(e->conn);
	for (uint32_t i = 0; i < sent / 6; i++)
		expect(e, "250 2.0.0 OK");
}

Test(smtp_session, gauges_and_ends)
{
	open_appliance(false);
	for (uint32_t i = 0; i < 3; i++)
		greet(&w.client[i]);
	(void)appliance_step(w.a, w.a->now_us + 1000);
	settle();
	cr_assert_eq(w.a->counters->sessions_open, 3);
	for (uint32_t i = 0; i < 3; i++) {
		say(&w.client[i], "QUIT");
		expect(&w.client[i], "221 ");
		endpoint_close(&w.client[i]);
	}
	settle();
	(void)appliance_step(w.a, w.a->now_us + 1000);
	cr_assert_eq(w.a->counters->sessions_open, 0);
	cr_assert_eq(w.a->counters->v[COUNTER_SESSIONS], 3);
	cr_assert_eq(w.a->counters->v[COUNTER_SESSIONS_ENDED], 3);
	for (uint32_t i = 1; i < w.a->log_count; i++)
		cr_assert_neq(w.a->log[i].session_id, w.a->log[i - 1].session_id);
}

// A policy with two mail servers on the backend's machine: port 2525 first, then 25.
static struct policy_use *
two_hops(void)
{
	char mem[256];
	struct strbuf why;
	size_t size;
	struct policy_build *b = policy_build_open();
	struct policy_core core = {0};
	struct policy_listener listener = {0, TEST_SMTP_PORT, DIRECTION_INBOUND};
	struct policy_hop hop[2] = {{policy_build_str(b, SPAN_LIT("mail1")),
				     ipaddr_v4(TEST_BACKEND_IP), 2525, DIRECTION_INBOUND, 3},
				    {policy_build_str(b, SPAN_LIT("mail2")),
				     ipaddr_v4(TEST_BACKEND_IP), TEST_SMTP_PORT, DIRECTION_INBOUND,
				     4}};
	policy_build_port(b, "outside", "wire0", ipaddr_v4(TEST_OUTSIDE_IP), 120);
	policy_build_port(b, "inside", "wire1", ipaddr_v4(TEST_INSIDE_IP), 120);
	for (uint32_t i = 0; i < 2; i++)
		(void)policy_build_row(b, POLICY_HOPS, &hop[i], sizeof(hop[i]));
	(void)policy_build_row(b, POLICY_CORES, &core, sizeof(core));
	(void)policy_build_row(b, POLICY_LISTENERS, &listener, sizeof(listener));
	void *image = policy_build_finish(b, 2, &size);
	policy_build_close(&b);
	cr_assert_not_null(image);
	strbuf_init(&why, mem, sizeof(mem));
	struct policy_use *use = policy_use_open(image, size, 1, &why);
	cr_assert_not_null(use, "%s", mem);
	return use;
}

Test(smtp_session, the_next_hop_takes_over_when_the_first_fails)
{
	open_appliance(true);
	cr_assert(tcp_listen(w.a->backend.tcp, TCP_SIDE_ANY, 2525, backend_accept, &w));
	settle();
	(void)appliance_step(w.a, w.a->now_us + 1000);
	settle();
	uint32_t probes = w.backend_count; // of the first policy
	struct policy_use *use = two_hops();
	worker_policy_offer(w.a->worker[0], use);
	for (uint32_t i = 0; i < 50; i++)
		(void)appliance_step(w.a, w.a->now_us + 1000);
	cr_assert_eq(w.backend_count,
		     probes + 1); // the new hop is probed, and says nothing for now
	probes = w.backend_count;
	greet(&w.client[0]);
	say(&w.client[0], "MAIL FROM:<a@example.com>");
	expect(&w.client[0], "250 ");
	say(&w.client[0], "RCPT TO:<b@example.net>");
	struct endpoint *b = &w.backend[probes];
	cr_assert_eq(w.backend_count, probes + 1);
	cr_assert_eq(tcp_conn_path(b->conn)->lport, 2525);
	say(b, "554 not today");
	expect(b, "QUIT");
	b = &w.backend[probes + 1];
	cr_assert_eq(w.backend_count, probes + 2);
	cr_assert_eq(tcp_conn_path(b->conn)->lport, TEST_SMTP_PORT);
	backend_up_to_rcpt(b);
	say(b, "250 2.1.5 ok");
	expect(&w.client[0], "250 2.1.5 ok");
	// The first is known to be down now: the next client does not wait for it.
	greet(&w.client[1]);
	say(&w.client[1], "MAIL FROM:<a@example.com>");
	expect(&w.client[1], "250 ");
	say(&w.client[1], "RCPT TO:<b@example.net>");
	cr_assert_eq(w.backend_count, probes + 3);
	cr_assert_eq(tcp_conn_path(w.backend[probes + 2].conn)->lport, TEST_SMTP_PORT);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		endpoint_fini(&w.client[i]);
		endpoint_fini(&w.backend[i]);
	}
	appliance_close(&w.a);
	policy_use_close(&use);
}

static bool
backend_told(struct logrec *r)
{
	while (ring_get(&w.a->events, r))
		if (r->kind == LOGREC_BACKEND)
			return true;
	return false;
}

static void
expect_backend(enum logrec_backend state, const char *why)
{
	struct logrec r;
	uint64_t limit = w.a->now_us + 40 * SECOND;
	while (!backend_told(&r))
		cr_assert(appliance_step(w.a, limit), "nothing was told: %s", why);
	cr_assert(logrec_is_valid(&r));
	cr_assert_eq(r.reply_code, state);
	cr_assert_eq(r.client_port, TEST_SMTP_PORT);
	cr_assert(ipaddr_eq(&r.client, &(struct ipaddr){{0}}) == false);
	cr_assert(span_eq(logrec_get(&r, LOGREC_RULE), SPAN_LIT("mail1")));
	struct span e = logrec_get(&r, LOGREC_EVIDENCE);
	cr_assert(span_eq(e, span_str(why)), "%.*s, not %s", SPAN_FMT(e), why);
}

// What a probe finds is told at each change, and again once a probe interval.
Test(smtp_session, backends_that_go_down_and_up_are_told)
{
	struct logrec r;
	open_appliance(false);
	void *ring = w.a->ring_mem;
	w.a->ring_mem = NULL; // the records are ours
	expect_backend(LOGREC_BACKEND_DOWN, "connection refused");
	expect_backend(LOGREC_BACKEND_DOWN, "connection refused");
	cr_assert_geq(w.a->now_us, 30 * SECOND, "probed every 5 s, told every 30 s");
	cr_assert(tcp_listen(w.a->backend.tcp, TCP_SIDE_ANY, TEST_SMTP_PORT, backend_accept, &w));
	uint64_t limit = w.a->now_us + 10 * SECOND;
	while (w.backend_count == 0)
		cr_assert(appliance_step(w.a, limit));
	say(&w.backend[0], "220 here again");
	expect(&w.backend[0], "EHLO ");
	say(&w.backend[0], "250 mail1");
	expect_backend(LOGREC_BACKEND_UP, "");
	limit = w.a->now_us + 40 * SECOND;
	while (w.backend_count == 1)
		cr_assert(appliance_step(w.a, limit));
	cr_assert(!backend_told(&r), "nothing has changed");
	say(&w.backend[1], "421 4.3.2 too busy");
	expect_backend(LOGREC_BACKEND_DOWN, "421 4.3.2 too busy");
	// Another reason does not wait for the 30 s: it is what `postern status` shows.
	uint64_t begin_us = w.a->now_us;
	while (w.backend_count == 2)
		cr_assert(appliance_step(w.a, begin_us + 10 * SECOND));
	say(&w.backend[2], "554 5.3.2 closed for good");
	expect_backend(LOGREC_BACKEND_DOWN, "554 5.3.2 closed for good");
	cr_assert_leq(w.a->now_us - begin_us, 6 * SECOND);
	w.a->ring_mem = ring;
}

// Our own IPv6 address is asked for in the first second: that is no news of the mail server, and a
// warning at each start would soon be read by nobody.
Test(smtp_session, a_backend_is_not_called_down_while_our_address_is_asked_for)
{
	testpolicy_v6(w.tp);
	over_v6 = true;
	open_appliance(false);
	void *ring = w.a->ring_mem;
	w.a->ring_mem = NULL;
	expect_backend(LOGREC_BACKEND_DOWN, "connection refused");
	cr_assert_leq(w.a->now_us, 5 * SECOND);
	w.a->ring_mem = ring;
}

static uint64_t
count_of(enum counter id)
{
	return counter_read(&w.a->counters->v[id]);
}

// A slow turn presses the worker; when there is nothing to do any more, that ends, though no turn
// has work to be measured.
Test(smtp_session, an_idle_worker_is_not_pressed_by_its_past)
{
	open_appliance(true);
	greet(&w.client[0]);
	for (int i = 0; i < 100 && w.a->counters->shed_level == SHED_NONE; i++) {
		cr_assert_gt(endpoint_write(&w.client[0], SPAN_LIT("NOOP\r\n")), 0);
		for (int turn = 0; turn < 4; turn++) {
			(void)appliance_step(w.a, w.a->now_us);
			w.a->now_us += 50000; // so long it took
		}
	}
	cr_assert_gt(w.a->counters->shed_level, SHED_NONE);
	for (int ms = 0; ms < 2000; ms++) {
		w.a->now_us += 1000;
		(void)worker_poll(w.a->worker[0], w.a->now_us, w.a->now_us);
	}
	cr_assert_eq(w.a->counters->shed_level, SHED_NONE, "%lu",
		     (unsigned long)w.a->counters->shed_level);
}

// A server that has not answered yet is asked again soon: our own IPv6 address may not be in use
// yet. Later, every 5 s.
Test(smtp_session, first_probes_come_soon)
{
	static const uint32_t after_s[] = {0, 1, 2, 3, 8, 13};
	open_appliance(false);
	uint64_t begin_us = w.a->now_us;
	for (uint32_t i = 0; i < ARRAY_LEN(after_s); i++) {
		uint64_t due_us = begin_us + after_s[i] * SECOND;
		while (appliance_step(w.a, due_us - SECOND / 10))
			;
		cr_assert_eq(count_of(COUNTER_BACKEND_PROBES), i, "too soon: %u s", after_s[i]);
		while (appliance_step(w.a, due_us + SECOND / 10))
			;
		cr_assert_eq(count_of(COUNTER_BACKEND_PROBES), i + 1, "at %u s", after_s[i]);
	}
}

// A message that we refuse by a limit is no failure of the backend; one that the backend refuses
// is, and what it never got is not in the log.
Test(smtp_session, refusals_name_their_cause)
{
	policy("server.received_header true");
	policy("server.result_header true");
	policy("limits.message_bytes_max 65536");
	open_appliance(true);
	settle();
	uint32_t probes = w.backend_count;
	for (uint32_t i = 0; i < 2; i++) {
		struct endpoint *c = &w.client[i], *b = &w.backend[probes + i];
		greet(c);
		say(c, "MAIL FROM:<a@example.com>");
		expect(c, "250 ");
		say(c, "RCPT TO:<b@example.net>");
		cr_assert_eq(w.backend_count, probes + 1 + i);
		backend_up_to_rcpt(b);
		say(b, "250 2.1.5 ok");
		expect(c, "250 2.1.5 ok");
		say(c, "DATA");
		expect(c, "354 ");
		say(c, "Subject: x");
		say(c, "");
		for (uint32_t k = 0; k < (i == 0 ? 4000 : 1); k++)
			say(c, "a line of the message");
		say(c, ".");
		const struct logrec *r = &w.a->log[w.a->log_count - 1];
		if (i == 0) {
			expect(c, "552 ");
			r = &w.a->log[w.a->log_count - 1];
			cr_assert(span_eq(logrec_get(r, LOGREC_RULE),
					  SPAN_LIT("limits.message_bytes_max")));
			cr_assert_eq(count_of(COUNTER_MESSAGES_FAILED), 0);
			cr_assert_eq(count_of(COUNTER_MESSAGES_REJECTED), 1);
			w.backend_count = probes + 1;
			expect(b, "RSET");
			endpoint_close(b);
			settle();
			continue;
		}
		expect(b, "DATA");
		say(b, "554 5.7.1 not from you");
		expect(c, "554 5.7.1");
		r = &w.a->log[w.a->log_count - 1];
		cr_assert(span_eq(logrec_get(r, LOGREC_RULE), SPAN_LIT("backend mail1")));
		struct span e = logrec_get(r, LOGREC_EVIDENCE);
		cr_assert_eq(e.n, 0, "nothing was added: %.*s", SPAN_FMT(e));
		cr_assert_eq(count_of(COUNTER_MESSAGES_FAILED), 1);
	}
}
