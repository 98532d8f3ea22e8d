// SPDX-License-Identifier: Apache-2.0
// Session lists: a row each, spread over several runs, while sessions end in between. Looks at the
// private inside, since rows of a hundred sessions need no hundred conversations.
#include <criterion/criterion.h>
#include <stdlib.h>

#include "control/abi/policy_build.h"
#include "dataplane/smtp_session.h"

#define SESSIONS 100

static uint8_t *
no_frame(void *ctx, const struct tcp_path *path, uint32_t size)
{
	(void)ctx, (void)path, (void)size;
	return NULL;
}

static void
no_put(void *ctx, const struct tcp_path *path, uint32_t size)
{
	(void)ctx, (void)path, (void)size;
}

static bool
not_mine(void *ctx, const struct tcp_path *path)
{
	(void)ctx, (void)path;
	return false;
}

static bool
no_route(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct tcp_route *out)
{
	(void)ctx, (void)raddr, (void)nth, (void)out;
	return false;
}

static struct {
	struct chunk_pool chunks;
	struct counters counters;
	struct report report;
	struct tcp *tcp;
	struct scanner *scanner;
	struct policy_use use;
	struct smtp *smtp;
	uint32_t rows, ends;
	uint64_t last_id;
} w;

static void
ask_list(uint64_t request)
{
	const struct smtp_ask q = {.kind = SMTP_ASK_LIST, .request = request};

	smtp_session_ask(w.smtp, &q);
}

static void
tap(void *ctx, const struct logrec *r)
{
	(void)ctx;
	if (r->kind == LOGREC_SESSION) {
		cr_assert_eq(r->request, 7 + w.ends);
		cr_assert_gt(r->session_id, w.last_id, "each once, oldest first");
		w.last_id = r->session_id;
		w.rows++;
	} else if (r->kind == LOGREC_SESSION_END) {
		cr_assert_eq(r->request, 7 + w.ends);
		w.ends++;
		w.last_id = 0;
	}
}

static void
setup(void)
{
	static const struct tcp_net_ops net = {.seg_get = no_frame,
					       .seg_put = no_put,
					       .port_is_mine = not_mine,
					       .route = no_route};
	char mem[256];
	struct strbuf why;
	size_t size;
	strbuf_init(&why, mem, sizeof(mem));
	struct policy_build *b = policy_build_open();
	struct policy_core core = {0};
	struct policy_listener listener = {0, 25, DIRECTION_INBOUND};
	struct policy_hop hop = {policy_build_str(b, SPAN_LIT("m")), ipaddr_v4(0xc0000202), 25,
				 DIRECTION_INBOUND, 1};
	policy_build_port(b, "outside", "wire0", ipaddr_v4(0xc0000201), 120);
	(void)policy_build_row(b, POLICY_CORES, &core, sizeof(core));
	(void)policy_build_row(b, POLICY_LISTENERS, &listener, sizeof(listener));
	(void)policy_build_row(b, POLICY_HOPS, &hop, sizeof(hop));
	w.use.image = policy_build_finish(b, 1, &size);
	policy_build_close(&b);
	cr_assert_eq(policy_view_open(&w.use.view, w.use.image, size, &why), POLICY_OK, "%s", mem);
	cr_assert(chunk_pool_init(&w.chunks, &mem_heap, 64));
	w.report = (struct report){.counters = &w.counters, .tap = tap};
	w.tcp = tcp_open(&(struct tcp_args){.conns_max = 16,
					    .settings.window_bytes = 65536,
					    .settings.keepalive_s = 60,
					    .mtu = 1500,
					    .chunks = &w.chunks,
					    .counters = &w.counters,
					    .mem = &mem_heap,
					    .net = &net});
	w.scanner = scanner_open(&(struct scanner_args){0, 4, &w.counters, &mem_heap});
	cr_assert(w.tcp != NULL && w.scanner != NULL);
	w.smtp = smtp_open(&(struct smtp_args){.tcp = w.tcp,
					       .chunks = &w.chunks,
					       .scanner = w.scanner,
					       .counters = &w.counters,
					       .report = &w.report,
					       .mem = &mem_heap,
					       .policy = &w.use},
			   1000, &why);
	cr_assert_not_null(w.smtp, "%s", mem);
}

static void
teardown(void)
{
	smtp_close(&w.smtp);
	scanner_close(&w.scanner);
	tcp_close(&w.tcp);
	chunk_pool_fini(&w.chunks);
	free(w.use.image);
}

TestSuite(smtp_list, .init = setup, .fini = teardown);

static struct smtp_session *session[SESSIONS];

static void
sessions_make(void)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct smtp_session *s = pool_get(&w.smtp->sessions);
		cr_assert_not_null(s);
		*s = (struct smtp_session){.magic = SMTP_SESSION_MAGIC, .smtp = w.smtp};
		s->ev.id = i + 1;
		s->timer.kind = SMTP_TIMER_SESSION;
		wheel_node_init(&s->timer.node);
		list_node_init(&s->node);
		list_push_back(&w.smtp->session_list, &s->node);
		session[i] = s;
	}
}

static void
run(uint32_t times)
{
	for (uint32_t i = 0; i < times; i++)
		(void)smtp_run(w.smtp, w.smtp->now_us + 1, 1, 16);
}

Test(smtp_list, rows_come_in_steps_and_requests_one_after_the_other)
{
	sessions_make();
	ask_list(7);
	ask_list(8);
	cr_assert_eq(smtp_next_ms(w.smtp), w.smtp->now_us / 1000);
	run(1);
	cr_assert_eq(w.rows, SMTP_ASK_ROWS);
	run(3);
	cr_assert_eq(w.rows, SESSIONS);
	cr_assert_eq(w.ends, 1);
	run(4);
	cr_assert_eq(w.rows, 2 * SESSIONS);
	cr_assert_eq(w.ends, 2);
	run(2);
	cr_assert_eq(w.ends, 2);
}

Test(smtp_list, sessions_that_end_meanwhile_do_not_upset_it)
{
	sessions_make();
	ask_list(7);
	run(1);
	// The one that the list stands at, one before, one behind, and the last.
	const uint32_t gone[] = {SMTP_ASK_ROWS, SMTP_ASK_ROWS + 1, 3, SMTP_ASK_ROWS + 5,
				 SESSIONS - 1};
	for (uint32_t i = 0; i < ARRAY_LEN(gone); i++) {
		session[gone[i]]->state = SMTP_ENDED;
		smtp_session_settle(session[gone[i]]);
	}
	run(4);
	cr_assert_eq(w.ends, 1);
	cr_assert_eq(w.rows, SESSIONS - 4);
	cr_assert_eq(smtp_session_count(w.smtp), SESSIONS - 5);
}

Test(smtp_list, no_sessions_give_an_end)
{
	ask_list(7);
	run(1);
	cr_assert_eq(w.rows, 0);
	cr_assert_eq(w.ends, 1);
}
