// SPDX-License-Identifier: Apache-2.0
// Sessions and backend connections of a whole appliance that is left without memory: the test takes
// the worker's chunks itself, so that exactly as many are free as it says.
#include <criterion/criterion.h>
#include <string.h>

#include "test/sim/lib/appliance.h"

#define BACKENDS 8
#define SECOND 1000000u
#define CHUNKS 256u

struct world {
	struct testpolicy *tp;
	struct appliance *a;
	struct endpoint client, backend[BACKENDS];
	uint32_t backend_count;
	struct chunkq taken;
};

static struct world w;

static void *
backend_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct world *x = ctx;

	cr_assert_lt(x->backend_count, BACKENDS);
	struct endpoint *e = &x->backend[x->backend_count++];
	endpoint_init(e);
	e->conn = c;
	e->is_open = true;
	*ops = &endpoint_ops;
	return e;
}

static void
leave_free(uint32_t chunks)
{
	struct chunk_pool *p = worker_chunks(w.a->worker[0]);
	static const uint8_t byte;

	chunkq_clear(&w.taken, p);
	while (pool_free_count(&p->pool) > chunks) {
		struct chunkq one;

		chunkq_init(&one);
		cr_assert_eq(chunkq_add(&one, p, span_of(&byte, 1)), 1);
		chunkq_take(&w.taken, &one);
	}
}

static void
begin(void)
{
	char mem[256];
	struct strbuf why;

	memset(&w, 0, sizeof(w));
	strbuf_init(&why, mem, sizeof(mem));
	w.tp = testpolicy_open();
	cr_assert(testpolicy_line(w.tp, SPAN_LIT("machine.chunks 256")));
	w.a = appliance_open(&(struct appliance_args){.policy = w.tp, .seed = 7}, &why);
	cr_assert_not_null(w.a, "%s", mem);
	cr_assert(tcp_listen(w.a->backend.tcp, TCP_SIDE_ANY, TEST_SMTP_PORT, backend_accept, &w));
	endpoint_init(&w.client);
}

static void
end(void)
{
	leave_free(CHUNKS);
	endpoint_fini(&w.client);
	for (uint32_t i = 0; i < w.backend_count; i++)
		endpoint_fini(&w.backend[i]);
	appliance_close(&w.a);
	testpolicy_close(&w.tp);
}

TestSuite(smtp_memory, .init = begin, .fini = end);

static void
run_for(uint64_t us)
{
	uint64_t until = w.a->now_us + us;

	while (appliance_step(w.a, until))
		;
	appliance_goto(w.a, until);
}

static void
say(struct endpoint *e, const char *line)
{
	struct span s = span_str(line);

	cr_assert_eq(endpoint_write(e, s), s.n);
	cr_assert_eq(endpoint_write(e, SPAN_LIT("\r\n")), 2);
	run_for(1000);
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
settle(void)
{
	while (appliance_step(w.a, w.a->now_us))
		;
}

// The health check's connection, which says nothing, and the message's, which is asked for EHLO.
static struct endpoint *
up_to_ehlo(void)
{
	struct ipaddr to = ipaddr_v4(TEST_OUTSIDE_IP);

	run_for(SECOND / 10);
	cr_assert_eq(w.backend_count, 1);
	cr_assert(endpoint_open(&w.client, w.a->client.tcp, &to, TEST_SMTP_PORT));
	expect(&w.client, "220 ");
	say(&w.client, "HELO c.example");
	expect(&w.client, "250 ");
	say(&w.client, "MAIL FROM:<a@example.com>");
	expect(&w.client, "250 ");
	say(&w.client, "RCPT TO:<b@example.net>");
	cr_assert_eq(w.backend_count, 2);
	struct endpoint *b = &w.backend[1];
	say(b, "220 b");
	expect(b, "EHLO ");
	return b;
}

static struct endpoint *
up_to_data(void)
{
	struct endpoint *b = up_to_ehlo();

	say(b, "250 b");
	expect(b, "MAIL ");
	say(b, "250 ok");
	expect(b, "RCPT ");
	say(b, "250 ok");
	expect(&w.client, "250 ");
	say(&w.client, "DATA");
	expect(&w.client, "354 ");
	return b;
}

// What others hold leaves it no share at all: it goes through step by step.
Test(smtp_memory, a_message_that_holds_nothing_takes_a_step)
{
	static const char text[] = "a line of the message, of which there are some\r\n";
	struct endpoint *b = up_to_data();
	uint32_t sent = 0, most = 400 * (uint32_t)(sizeof(text) - 1);

	leave_free(14);
	cr_assert_eq(chunk_pool_share(worker_chunks(w.a->worker[0])), 0);
	bool is_asked = false;
	char line[64];
	for (uint32_t turn = 0; turn < 3000 && sent < most; turn++) {
		uint32_t at = sent % (uint32_t)(sizeof(text) - 1);
		sent += endpoint_write(&w.client, span_from(span_str(text), at));
		run_for(10000);
		if (is_asked || !endpoint_line(b, line, sizeof(line)))
			continue;
		cr_assert_str_eq(line, "DATA");
		say(b, "354 go");
		is_asked = true;
	}
	cr_assert(is_asked);
	cr_assert_eq(sent, most);
	say(&w.client, ".");
	for (uint32_t turn = 0; turn < 600; turn++) {
		struct span all = endpoint_bytes(b);
		if (all.n > 5 && memcmp(all.p + all.n - 5, "\r\n.\r\n", 5) == 0)
			break;
		run_for(SECOND / 10);
	}
	struct span all = endpoint_bytes(b);
	cr_assert_gt(all.n, most, "it has come to rest after %u bytes", all.n);
	endpoint_take(b, all.n);
	say(b, "250 ok");
	expect(&w.client, "250 ");
	cr_assert_eq(w.a->counters->v[COUNTER_SHED_MEMORY], 0);
}

// A health check that there was no memory for says nothing about the server, but the next one is
// due all the same: a server that was down would never be used again.
Test(smtp_memory, a_probe_without_memory_is_made_again)
{
	run_for(SECOND / 10);
	cr_assert_eq(w.backend_count, 1);
	leave_free(0);
	say(&w.backend[0], "220 b"); // no chunk for EHLO
	run_for(SECOND / 10);
	cr_assert_eq(w.a->counters->v[COUNTER_SHED_MEMORY], 1);
	cr_assert_eq(w.a->counters->backends_open, 0);
	leave_free(CHUNKS);
	run_for(40 * SECOND);
	cr_assert_gt(w.backend_count, 1, "nobody asks any more");
}

// There was no memory for MAIL and RCPT: what a server says before the connection has ended for it
// answers nothing.
Test(smtp_memory, a_command_that_was_not_sent_is_not_answered)
{
	struct endpoint *b = up_to_ehlo();

	run_for(SECOND); // EHLO is acknowledged: no chunk comes free with the next segment
	leave_free(0);
	cr_assert_eq(endpoint_write(b, SPAN_LIT("250-b\r\n250 PIPELINING\r\n")), 23);
	settle();
	leave_free(CHUNKS);
	cr_assert_eq(endpoint_write(b, SPAN_LIT("250 a\r\n250 b\r\n")), 14);
	settle();
	expect(&w.client, "451 4.3.1 ");
	settle();
	cr_assert(b->is_gone || b->has_eof);
	say(&w.client, "DATA");
	expect(&w.client, "554 ");
}
