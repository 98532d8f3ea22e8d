// SPDX-License-Identifier: Apache-2.0
// bench_pipeline: what a complete message costs one worker: SYN to TIME_WAIT, both halves, SMTP,
// events, agents, MIME and 500 phrases, one client connection a message, the backend's connections
// kept.
//
// Counted are the TSC cycles inside worker_poll while it had work; the source and the sink of the
// mail run in the same thread and are not counted. Baseline: one hs_scan (block mode) of the same
// bytes with the same phrases, measured in the same run.
#include <hs/hs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/share.h"
#include "test/sim/lib/appliance.h"
#include "test/sim/lib/smtp_peer.h"

#define PHRASES 500
#define CONCURRENT 16
#define SHARE_SIZE 4096u // of the message whose TCP is measured alone
#define SHARE_COUNT 4000u
#define STEPS_MAX 200000000ull

static char phrase[PHRASES][64];

static void
make_phrases(struct rng *r)
{
	for (uint32_t i = 0; i < PHRASES; i++) {
		char w[3][16];
		for (uint32_t k = 0; k < 3; k++) {
			uint32_t n = 4 + rng_below(r, 7);
			for (uint32_t j = 0; j < n; j++)
				w[k][j] = (char)('a' + rng_below(r, 26));
			w[k][n] = 0;
		}
		(void)snprintf(phrase[i], sizeof(phrase[i]), "%s %s %s", w[0], w[1], w[2]);
	}
}

// English-like text: words from a small vocabulary, lines of about 70 characters.
static uint8_t *
make_message(struct rng *r, size_t size)
{
	static const char *const word[] = {"the",     "of",       "meeting",  "and",     "project",
					   "to",      "please",   "in",       "report",  "is",
					   "we",      "schedule", "for",      "invoice", "that",
					   "quarter", "you",      "attached", "on",      "delivery",
					   "with",    "customer", "as",       "regards", "have",
					   "update",  "be",       "tomorrow", "at",      "office"};
	uint8_t *m = malloc(size + 256);
	CHECK(m != NULL);
	size_t n = (size_t)snprintf(
		(char *)m, 256,
		"From: Alice <alice@example.test>\r\nTo: Bob <bob@example.test>\r\n"
		"Subject: Quarterly report\r\nMIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n\r\n");
	size_t line = 0;
	while (n + 2 < size) {
		const char *w = word[rng_below(r, ARRAY_LEN(word))];
		for (; *w != 0 && n + 2 < size; w++, line++)
			m[n++] = (uint8_t)*w;
		if (line > 66 && n + 4 < size) {
			m[n++] = '\r';
			m[n++] = '\n';
			line = 0;
		} else if (n + 2 < size) {
			m[n++] = ' ';
			line++;
		}
	}
	m[n++] = '\r';
	m[n++] = '\n';
	CHECK(n == size);
	return m;
}

struct load {
	struct appliance *a;
	struct sink sink;
	struct source source[CONCURRENT];
	struct source_message message[CONCURRENT];
	uint64_t started, done, wanted, refused;
};

static void
load_next(struct load *l, uint32_t i)
{
	struct ipaddr to = ipaddr_v4(TEST_OUTSIDE_IP);
	struct source *s = &l->source[i];
	if (l->started == l->wanted)
		return;
	l->started++;
	l->message[i].final_code = 0;
	s->message = &l->message[i];
	s->count = 1;
	s->pipelining = true;
	CHECK(source_open(s, l->a->client.tcp, &to, TEST_SMTP_PORT));
}

// Runs `count` messages, one connection each; returns cycles in the worker per message.
static double
load_run(struct load *l, uint64_t count)
{
	uint64_t cycles = l->a->worker_cycles, before = l->done;
	l->wanted = l->started + count;
	for (uint32_t i = 0; i < CONCURRENT; i++)
		load_next(l, i);
	for (uint64_t step = 0; l->done < before + count; step++) {
		CHECK(step < STEPS_MAX);
		bool more = appliance_step(l->a, l->a->now_us + 1000000);
		for (uint32_t i = 0; i < CONCURRENT; i++) {
			struct source *s = &l->source[i];
			bool was_done = s->state == SOURCE_DONE;
			more |= source_work(s);
			if (was_done || s->state != SOURCE_DONE)
				continue;
			l->refused += s->message->final_code != 250;
			l->done++;
			load_next(l, i);
		}
		CHECK(more);
	}
	return (double)(l->a->worker_cycles - cycles) / (double)count;
}

// Lets TIME_WAIT and kept backend connections run out, so that every run begins alike.
static void
load_rest(struct load *l)
{
	uint64_t end = l->a->now_us + 90000000;
	while (appliance_step(l->a, end))
		;
}

static struct load *
load_open(const uint8_t *data, size_t size)
{
	char line[128], why[256];
	struct strbuf w;
	struct testpolicy *tp = testpolicy_open();
	struct load *l = calloc(1, sizeof(*l));
	CHECK(l != NULL);
	strbuf_init(&w, why, sizeof(why));
	for (uint32_t i = 0; i < PHRASES; i++) {
		(void)snprintf(line, sizeof(line), "bad_word %.60s", phrase[i]);
		CHECK(testpolicy_line(tp, span_str(line)));
	}
	CHECK(testpolicy_line(tp, SPAN_LIT("file_name *.exe")));
	CHECK(testpolicy_line(tp, SPAN_LIT("machine.sessions_max 1024")));
	l->a = appliance_open(
		&(struct appliance_args){.policy = tp, .seed = 7, .peer_conns = 65536}, &w);
	if (l->a == NULL) {
		(void)fprintf(stderr, "the appliance does not start: %s\n", why);
		exit(1);
	}
	testpolicy_close(&tp);
	CHECK(sink_open(&l->sink, l->a->backend.tcp, TEST_SMTP_PORT, 1));
	l->sink.keep = false;
	for (uint32_t i = 0; i < CONCURRENT; i++) {
		l->message[i] = (struct source_message){.from = "alice@example.test",
							.rcpt = {"bob@example.test"},
							.data = data,
							.size = size};
		l->source[i].state = SOURCE_DONE;
	}
	for (uint32_t i = 0; i < 1000; i++) // the first health check
		(void)appliance_step(l->a, l->a->now_us + 1000);
	return l;
}

static void
load_close(struct load **lp)
{
	struct load *l = *lp;
	*lp = NULL;
	for (uint32_t i = 0; i < CONCURRENT; i++)
		source_close(&l->source[i]);
	sink_close(&l->sink);
	appliance_close(&l->a);
	free(l);
}

static int
on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *ctx)
{
	(void)id;
	(void)from;
	(void)to;
	(void)flags;
	(*(uint64_t *)ctx)++;
	return 0;
}

struct baseline {
	hs_database_t *db;
	hs_scratch_t *scratch;
};

static void
baseline_open(struct baseline *b)
{
	static char text[PHRASES][256];
	const char *expr[PHRASES];
	unsigned flags[PHRASES], ids[PHRASES];
	hs_compile_error_t *error = NULL;
	for (uint32_t i = 0; i < PHRASES; i++) {
		struct strbuf s;
		strbuf_init(&s, text[i], sizeof(text[i]));
		for (const char *p = phrase[i]; *p != 0; p++) {
			if (*p == ' ')
				strbuf_add_str(&s, "\\s+");
			else
				strbuf_add_char(&s, *p);
		}
		expr[i] = text[i];
		flags[i] = HS_FLAG_CASELESS | HS_FLAG_SINGLEMATCH;
		ids[i] = i;
	}
	CHECK(hs_compile_multi(expr, flags, ids, PHRASES, HS_MODE_BLOCK, NULL, &b->db, &error) ==
	      HS_SUCCESS);
	b->scratch = NULL;
	CHECK(hs_alloc_scratch(b->db, &b->scratch) == HS_SUCCESS);
}

static double
baseline_run(const struct baseline *b, const uint8_t *data, size_t size, uint32_t count)
{
	uint64_t matches = 0, begin = bench_cycles();
	for (uint32_t i = 0; i < count; i++)
		CHECK(hs_scan(b->db, (const char *)data, (unsigned)size, 0, b->scratch, on_match,
			      &matches) == HS_SUCCESS);
	return (double)(bench_cycles() - begin) / count;
}

// TCP's part of a message that costs `whole` all in all.
static void
measure_share(struct bench *b, double whole)
{
	double run[BENCH_RUNS];
	char name[64];
	struct share *s = share_open();

	(void)share_run(s, SHARE_COUNT / 10);
	for (uint32_t i = 0; i < BENCH_RUNS; i++) {
		share_rest(s);
		(void)share_run(s, CONCURRENT);
		run[i] = share_run(s, SHARE_COUNT);
	}
	share_close(&s);
	(void)snprintf(name, sizeof(name), "pipeline_tcp_%u", SHARE_SIZE);
	bench_add(b, name, bench_median(run, BENCH_RUNS), "cycles/message", "the whole message",
		  whole);
}

static void
measure(struct bench *b, const struct baseline *base, size_t size, uint64_t count)
{
	struct rng r;
	double run[BENCH_RUNS], scan[BENCH_RUNS];
	char name[64];

	rng_init(&r, size);
	uint8_t *data = make_message(&r, size);
	struct load *l = load_open(data, size);
	(void)load_run(l, count / 10 + CONCURRENT);
	for (uint32_t i = 0; i < BENCH_RUNS; i++) {
		load_rest(l);
		(void)load_run(l, CONCURRENT); // the backend's connections are kept from here on
		run[i] = load_run(l, count);
		scan[i] = baseline_run(base, data, size, (uint32_t)count);
	}
	if (l->refused > 0) {
		(void)fprintf(stderr, "%llu of %llu messages were not taken\n",
			      (unsigned long long)l->refused, (unsigned long long)l->done);
		exit(1);
	}
	CHECK(l->sink.accepted == l->done);
	double cycles = bench_median(run, BENCH_RUNS), scan_cycles = bench_median(scan, BENCH_RUNS);
	double hz = bench_tsc_hz();
	(void)snprintf(name, sizeof(name), "pipeline_%zu", size);
	bench_add(b, name, cycles, "cycles/message", "hs_scan of the same bytes", scan_cycles);
	(void)snprintf(name, sizeof(name), "pipeline_%zu_rate", size);
	bench_add(b, name, hz / cycles, "messages/s/core", "hs_scan of the same bytes",
		  hz / scan_cycles);
	load_close(&l);
	free(data);
	if (size == SHARE_SIZE)
		measure_share(b, cycles);
}

// bench_pipeline FILE [SIZE]: one size alone, for a profiler.
int
main(int argc, char **argv)
{
	static const struct {
		size_t size;
		uint64_t count;
	} sizes[] = {{1024, 4000}, {4096, 4000}, {65536, 600}, {1048576, 40}};
	struct bench b = {.file = argc > 1 ? argv[1] : "/dev/null"};
	struct baseline base;
	struct rng r;
	rng_init(&r, 42);
	make_phrases(&r);
	baseline_open(&base);
	for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (argc < 3 || strtoul(argv[2], NULL, 10) == sizes[i].size)
			measure(&b, &base, sizes[i].size, sizes[i].count);
	(void)hs_free_scratch(base.scratch);
	(void)hs_free_database(base.db);
	return bench_finish(&b);
}
