// SPDX-License-Identifier: Apache-2.0
// sim_run: seeded simulation of client, appliance and backend over a wire that loses and reorders.
//
// Each seed draws links, messages (also hostile ones), the way they are cut and pipelined, and
// faults of the backend, runs until nothing can happen any more, and checks the invariants of the
// architecture:
//   1 no message lost        a 250 to the client means: the sink answered 250 for these very bytes
//   2 bytes in = bytes out   behind the two header lines that the log names
//   3 one message stays one  what the sink has is some accepted message, envelope and all, once
//   4 cuts are invisible     without faults, the same dialogue cut otherwise gets the same answers
//   5 bounded                afterwards no session, no connection, no chunk is left
// Usage: sim_run [-v] [-s SEED] [-n COUNT]. A failure prints its seed; `-s SEED -n 1` replays it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/lib/appliance.h"
#include "test/sim/lib/smtp_peer.h"

#define SOURCES_MAX 4
#define MESSAGES_MAX 4
#define RUN_US (3600ull * 1000000) // virtual time after which a run counts as stuck
#define SEEDS_DEFAULT 300

struct drawn_message {
	struct source_message m;
	char from[64], rcpt[4][64];
	bool has_bare, has_bad_word; // must be refused
	uint8_t *wire;
};

struct world {
	uint64_t seed;
	struct rng rng;
	struct appliance *a;
	struct testpolicy *tp;
	struct sink sink;
	uint32_t sources, messages;
	struct source source[SOURCES_MAX];
	struct drawn_message drawn[SOURCES_MAX][MESSAGES_MAX];
	struct source_message list[SOURCES_MAX][MESSAGES_MAX];
	char why[600];
	bool failed, with_faults;
};

#define FAIL(w, ...)                                                                               \
	do {                                                                                       \
		if (!(w)->failed)                                                                  \
			(void)snprintf((w)->why, sizeof((w)->why), __VA_ARGS__);                   \
		(w)->failed = true;                                                                \
	} while (0)

static uint32_t
draw_size(struct rng *r)
{
	switch (rng_below(r, 8)) {
	case 0:
		return rng_below(r, 40);
	case 1:
		return 300000 + rng_below(r, 400000); // beyond the hold limit
	case 2:
		return 20000 + rng_below(r, 60000);
	default:
		return 100 + rng_below(r, 6000);
	}
}

// A message as on the wire, dot-stuffed. Its first line carries its number: it can be found again.
static void
draw_message(struct world *w, uint32_t s, uint32_t i)
{
	static const char *const odd[] = {"..\r\n",  "..dot\r\n", "\r\n",
					  "...\r\n", "a\r\n",     ".. \r\n"};
	struct drawn_message *d = &w->drawn[s][i];
	uint32_t body = draw_size(&w->rng), n = 0, kind = rng_below(&w->rng, 20);
	d->wire = malloc(body + 4096);
	CHECK(d->wire != NULL);
	n += (uint32_t)snprintf((char *)d->wire, 512,
				"X-Number: %u.%u\r\nFrom: a@example.test\r\nSubject: seed %" PRIu64
				"\r\n\r\n",
				s, i, w->seed);
	uint32_t head = n;
	while (n < head + body) {
		if (rng_below(&w->rng, 6) == 0) {
			const char *o = odd[rng_below(&w->rng, ARRAY_LEN(odd))];
			memcpy(d->wire + n, o, strlen(o));
			n += (uint32_t)strlen(o);
			continue;
		}
		uint32_t len = 1 + rng_below(&w->rng, 200);
		for (uint32_t k = 0; k < len; k++)
			d->wire[n++] = (uint8_t)('a' + rng_below(&w->rng, 26));
		memcpy(d->wire + n, "\r\n", 2);
		n += 2;
	}
	if (kind == 0 && n > head + 10) { // one framing fault, well inside the body
		static const uint8_t bad[] = {'\r', '\n', 0};
		d->wire[head + 1 + rng_below(&w->rng, n - head - 8)] = bad[rng_below(&w->rng, 3)];
		for (uint32_t k = 0; k < n; k++) {
			bool cr = d->wire[k] == '\r', lf = d->wire[k] == '\n';
			d->has_bare |= d->wire[k] == 0 ||
				       (cr && (k + 1 == n || d->wire[k + 1] != '\n')) ||
				       (lf && (k == 0 || d->wire[k - 1] != '\r'));
		}
	} else if (kind == 1) {
		memcpy(d->wire + n, "cheap zebra pills\r\n", 19);
		n += 19;
		d->has_bad_word = true;
	}
	(void)snprintf(d->from, sizeof(d->from), "s%u.%u@example.test", s, i);
	d->m.from = d->from;
	uint32_t rcpts = 1 + rng_below(&w->rng, 3);
	for (uint32_t k = 0; k < rcpts; k++) {
		(void)snprintf(d->rcpt[k], sizeof(d->rcpt[k]), "r%u.%u.%u@example.test", s, i, k);
		d->m.rcpt[k] = d->rcpt[k];
	}
	d->m.data = d->wire;
	d->m.size = n;
	w->list[s][i] = d->m;
}

static struct vnet_path
draw_link(struct rng *r)
{
	struct vnet_path c = {0};
	c.delay_us = rng_below(r, 3) == 0 ? 0 : rng_below(r, 30000);
	if (rng_below(r, 3) != 0) {
		c.loss_ppm = rng_below(r, 3) == 0 ? 0 : rng_below(r, 50000);
		c.dup_ppm = rng_below(r, 2) == 0 ? 0 : rng_below(r, 50000);
		c.reorder_ppm = rng_below(r, 2) == 0 ? 0 : rng_below(r, 100000);
	}
	return c;
}

static void
world_draw(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	rng_init(&w->rng, seed);
	w->with_faults = rng_below(&w->rng, 2) == 0;
	w->sources = 1 + rng_below(&w->rng, SOURCES_MAX);
	w->messages = 1 + rng_below(&w->rng, MESSAGES_MAX);
	for (uint32_t s = 0; s < w->sources; s++)
		for (uint32_t i = 0; i < w->messages; i++)
			draw_message(w, s, i);
}

static void
world_fini(struct world *w)
{
	for (uint32_t s = 0; s < w->sources; s++) {
		source_close(&w->source[s]);
		for (uint32_t i = 0; i < w->messages; i++)
			free(w->drawn[s][i].wire);
	}
	sink_close(&w->sink);
	if (w->a != NULL)
		appliance_close(&w->a);
	if (w->tp != NULL)
		testpolicy_close(&w->tp);
}

// `variant` draws links and cuts; the messages and the dialogue are the seed's.
static bool
world_start(struct world *w, uint64_t variant)
{
	struct rng r;
	char why[256];
	struct strbuf b;
	strbuf_init(&b, why, sizeof(why));
	rng_init(&r, w->seed * 1000003 + variant);
	w->tp = testpolicy_open();
	CHECK(testpolicy_line(w->tp, SPAN_LIT("bad_word cheap zebra pills")));
	CHECK(testpolicy_line(w->tp, SPAN_LIT("server.hostname mx.example.test")));
	struct appliance_args args = {.policy = w->tp,
				      .seed = w->seed + variant,
				      .client_link = draw_link(&r),
				      .backend_link = draw_link(&r)};
	w->a = appliance_open(&args, &b);
	if (w->a == NULL) {
		FAIL(w, "the appliance does not start: %s", why);
		return false;
	}
	CHECK(sink_open(&w->sink, w->a->backend.tcp, TEST_SMTP_PORT, w->seed));
	w->sink.has_pipelining = rng_below(&w->rng, 4) != 0;
	if (w->with_faults)
		for (uint32_t f = 0; f < SINK_FAULT_COUNT; f++)
			w->sink.fault[f] = rng_below(&w->rng, 3) == 0 ? rng_below(&w->rng, 200) : 0;
	if (w->sink.fault[SINK_RESET_IN_DATA] > 20)
		w->sink.fault[SINK_RESET_IN_DATA] = 20; // drawn for every segment
	struct ipaddr to = ipaddr_v4(TEST_OUTSIDE_IP);
	for (uint32_t s = 0; s < w->sources; s++) {
		struct source *c = &w->source[s];
		memset(c, 0, sizeof(*c));
		c->message = w->list[s];
		c->count = w->messages;
		c->pipelining = (w->seed >> s) & 1;
		c->cut = rng_below(&r, 3) == 0 ? 1 + rng_below(&r, 3000) : 0;
		CHECK(source_open(c, w->a->client.tcp, &to, TEST_SMTP_PORT));
	}
	return true;
}

static void
world_run(struct world *w)
{
	uint64_t end = w->a->now_us + RUN_US;
	bool busy = true;
	while (busy) {
		bool more = appliance_step(w->a, end);
		bool open = false;
		for (uint32_t s = 0; s < w->sources; s++) {
			more |= source_work(&w->source[s]);
			open |= w->source[s].state != SOURCE_DONE || w->source[s].e.conn != NULL;
		}
		// After the last client left, what remains may drain; health checks would go on for
		// ever.
		if (!open && end > w->a->now_us + 200000000)
			end = w->a->now_us + 200000000;
		busy = more;
		if (w->a->now_us >= end)
			break;
	}
	for (uint32_t s = 0; s < w->sources; s++)
		if (w->source[s].state != SOURCE_DONE)
			FAIL(w, "source %u is stuck in state %d at message %u", s,
			     w->source[s].state, w->source[s].now);
}

// The sink's bytes without the two lines that we add, if they are there.
static struct span
without_edits(struct span m)
{
	static const char *const added[] = {"Received: ", "X-Postern-Result: "};
	for (uint32_t i = 0; i < ARRAY_LEN(added); i++) {
		if (!span_starts_nocase(m, span_str(added[i])))
			return SPAN_NONE;
		do { // the line and its folded continuation
			int64_t lf = span_find(m, '\n');
			if (lf < 0)
				return SPAN_NONE;
			m = span_from(m, (uint32_t)lf + 1);
		} while (m.n > 0 && (m.p[0] == ' ' || m.p[0] == '\t'));
	}
	return m;
}

static bool
same_envelope(const struct sink_message *k, const struct source_message *m)
{
	char want[1024] = "";
	for (uint32_t i = 0; i < ARRAY_LEN(m->rcpt) && m->rcpt[i] != NULL; i++)
		if (m->rcpt_code[i] == 250) {
			size_t n = strlen(want);
			(void)snprintf(want + n, sizeof(want) - n, "%s%s", n > 0 ? " " : "",
				       m->rcpt[i]);
		}
	return strcmp(k->from, m->from) == 0 && strcmp(k->rcpt, want) == 0;
}

static void
check_message(struct world *w, uint32_t s, uint32_t i)
{
	const struct source_message *m = &w->list[s][i];
	const struct drawn_message *d = &w->drawn[s][i];
	uint32_t found = 0;
	for (uint32_t k = 0; k < w->sink.count; k++) {
		const struct sink_message *got = &w->sink.message[k];
		if (strcmp(got->from, m->from) != 0 || !got->acknowledged)
			continue;
		struct span body = without_edits(span_of(got->data, got->size));
		if (body.n != m->size || memcmp(body.p, m->data, m->size) != 0)
			FAIL(w, "message %u.%u arrived changed (%u bytes of %zu)", s, i, body.n,
			     m->size);
		else if (!same_envelope(got, m) && m->final_code == 250)
			FAIL(w, "message %u.%u arrived with another envelope: %.60s > %.300s", s, i,
			     got->from, got->rcpt);
		else
			found++;
	}
	if (m->final_code == 250 && found != 1)
		FAIL(w, "message %u.%u was acknowledged and arrived %u times", s, i, found);
	if (m->final_code != 250 && m->final_code >= 400 && found != 0 && !w->with_faults)
		FAIL(w, "message %u.%u was refused with %u and arrived", s, i, m->final_code);
	if ((d->has_bare || d->has_bad_word) && found != 0)
		FAIL(w, "message %u.%u had to be refused and arrived", s, i);
	bool tried = m->mail_code != 0 && m->data_code == 354;
	if (!w->with_faults && tried && !d->has_bare &&
	    m->final_code != (d->has_bad_word ? 550 : 250))
		FAIL(w, "message %u.%u got %u", s, i, m->final_code);
}

static void
check_left_over(struct world *w)
{
	const struct counters *c = w->a->counters;
	if (counter_read(&c->sessions_open) != 0)
		FAIL(w, "%" PRIu64 " sessions are left", counter_read(&c->sessions_open));
	if (counter_read(&c->chunks_used) != 0)
		FAIL(w, "%" PRIu64 " chunks are left", counter_read(&c->chunks_used));
	if (w->sink.violations != 0)
		FAIL(w, "the relay misbehaved towards the backend: %s", w->sink.violation);
	for (uint32_t k = 0; k < w->sink.count; k++) {
		unsigned s, i;
		if (sscanf(w->sink.message[k].from, "s%u.%u@", &s, &i) != 2 || s >= w->sources ||
		    i >= w->messages)
			FAIL(w, "a message that nobody sent arrived: %s", w->sink.message[k].from);
	}
}

// One run of a seed; codes[] gets the final answers, for the comparison of two variants.
static bool
run_once(uint64_t seed, uint64_t variant, uint32_t codes[SOURCES_MAX * MESSAGES_MAX],
	 bool *comparable, bool verbose)
{
	struct world *w = malloc(sizeof(*w));
	CHECK(w != NULL);
	world_draw(w, seed);
	*comparable = !w->with_faults;
	if (world_start(w, variant)) {
		world_run(w);
		for (uint32_t s = 0; s < w->sources; s++)
			for (uint32_t i = 0; i < w->messages; i++) {
				const struct source_message *m = &w->list[s][i];
				check_message(w, s, i);
				// After a framing fault the connection ends: whether its 550 is
				// heard depends on how much the client had still to send.
				codes[s * MESSAGES_MAX + i] =
					w->drawn[s][i].has_bare ? 0 : m->final_code;
				*comparable &= !w->drawn[s][i].has_bare;
				if (verbose)
					printf("  %u.%u size %zu: MAIL %u RCPT %u DATA %u final "
					       "%u\n",
					       s, i, m->size, m->mail_code, m->rcpt_code[0],
					       m->data_code, m->final_code);
			}
		check_left_over(w);
	}
	bool ok = !w->failed;
	if (!ok)
		printf("not ok sim seed %" PRIu64 " variant %" PRIu64 ": %s\n", seed, variant,
		       w->why);
	world_fini(w);
	free(w);
	return ok;
}

static bool
run_seed(uint64_t seed, bool verbose)
{
	uint32_t one[SOURCES_MAX * MESSAGES_MAX] = {0}, two[SOURCES_MAX * MESSAGES_MAX] = {0};
	bool comparable = false;
	if (!run_once(seed, 1, one, &comparable, verbose))
		return false;
	if (!comparable)
		return true;
	if (!run_once(seed, 2, two, &comparable, verbose))
		return false;
	if (memcmp(one, two, sizeof(one)) != 0) {
		printf("not ok sim seed %" PRIu64 ": other cuts, other answers\n", seed);
		return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	uint64_t seed = 1, count = SEEDS_DEFAULT, passed = 0, failed = 0;
	bool verbose = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0)
			verbose = true;
		else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc)
			count = strtoull(argv[++i], NULL, 10);
		else {
			(void)fprintf(stderr, "usage: %s [-v] [-s SEED] [-n COUNT]\n", argv[0]);
			return 2;
		}
	}
	for (uint64_t i = 0; i < count; i++) {
		if (verbose)
			printf("seed %" PRIu64 "\n", seed + i);
		if (run_seed(seed + i, verbose))
			passed++;
		else
			failed++;
		(void)fflush(stdout);
	}
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
	return failed > 0;
}
