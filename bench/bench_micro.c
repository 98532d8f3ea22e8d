// SPDX-License-Identifier: Apache-2.0
// bench_micro: the small parts that every packet or byte passes: flow table, timer wheel, decoders,
// matcher. One function measures one row; its baseline is the plain thing that one would take
// otherwise.
#include <hs/hs.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "control/abi/counter.h"
#include "control/base/rng.h"
#include "control/base/wheel.h"
#include "dataplane/flow.h"
#include "scanner/decode.h"
#include "scanner/scan.h"
#include "test/sim/lib/testpolicy.h"

#define KEYS (1u << 17)
#define LOOKUPS (1u << 18)
#define TIMERS (1u << 16)
#define TEXT_SIZE (256u << 10)
#define SLICE 1448

struct key {
	uint8_t addr[32];
	uint16_t lport, rport;
};

static struct key keys[KEYS];
static uint32_t order[LOOKUPS];

static bool
key_is(const void *ctx, uint32_t index, const void *key)
{
	return memcmp(&((const struct key *)ctx)[index], key, sizeof(struct key)) == 0;
}

static int
key_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct key));
}

static void
bench_flow(struct bench *b)
{
	struct rng r;
	struct flow_table f;
	double own[BENCH_RUNS], tree[BENCH_RUNS];
	void *root = NULL;

	rng_init(&r, 1);
	CHECK(flow_init(&f, &mem_heap, KEYS, (struct siphash_key){1, 2}));
	for (uint32_t i = 0; i < KEYS; i++) {
		for (uint32_t k = 0; k < sizeof(keys[i].addr); k++)
			keys[i].addr[k] = (uint8_t)rng_below(&r, 256);
		CHECK(flow_add(&f, flow_hash(&f, &keys[i], sizeof(keys[i])), i));
		CHECK(tsearch(&keys[i], &root, key_compare) != NULL);
	}
	for (uint32_t i = 0; i < LOOKUPS; i++)
		order[i] = rng_below(&r, KEYS);
	for (uint32_t run = 0; run < BENCH_RUNS; run++) {
		uint64_t begin = bench_cycles();
		for (uint32_t i = 0; i < LOOKUPS; i++) {
			const struct key *k = &keys[order[i]];
			CHECK(flow_find(&f, flow_hash(&f, k, sizeof(*k)), k, key_is, keys) ==
			      order[i]);
		}
		own[run] = (double)(bench_cycles() - begin) / LOOKUPS;
		begin = bench_cycles();
		for (uint32_t i = 0; i < LOOKUPS; i++)
			CHECK(tfind(&keys[order[i]], &root, key_compare) != NULL);
		tree[run] = (double)(bench_cycles() - begin) / LOOKUPS;
	}
	bench_add(b, "flow_find_131072", bench_median(own, BENCH_RUNS), "cycles/lookup",
		  "tfind(3), a red-black tree", bench_median(tree, BENCH_RUNS));
	flow_fini(&f);
	while (root != NULL)
		(void)tdelete(*(struct key **)root, &root, key_compare);
}

struct timer {
	struct wheel_node node;
	uint64_t deadline, number;
};

static uint64_t fired;

static void
on_fire(void *ctx, struct wheel_node *n, uint64_t now_ms)
{
	(void)ctx;
	(void)n;
	(void)now_ms;
	fired++;
}

static int
timer_compare(const void *a, const void *b)
{
	const struct timer *x = a, *y = b;
	if (x->deadline != y->deadline)
		return x->deadline < y->deadline ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static void
bench_wheel(struct bench *b)
{
	static struct wheel w;
	static struct timer t[TIMERS];
	double own[BENCH_RUNS], tree[BENCH_RUNS];
	struct rng r;

	rng_init(&r, 3);
	for (uint32_t i = 0; i < TIMERS; i++) {
		t[i].deadline = 1 + rng_below(&r, 4000);
		t[i].number = i;
	}
	for (uint32_t run = 0; run < BENCH_RUNS; run++) {
		void *root = NULL;
		wheel_init(&w, 0);
		fired = 0;
		uint64_t begin = bench_cycles();
		for (uint32_t i = 0; i < TIMERS; i++) {
			wheel_node_init(&t[i].node);
			wheel_set(&w, &t[i].node, t[i].deadline);
		}
		for (uint64_t now = 1; now <= 4001; now++)
			while (wheel_run(&w, now, 1024, on_fire, NULL) == 1024)
				;
		own[run] = (double)(bench_cycles() - begin) / TIMERS;
		CHECK(fired == TIMERS);
		begin = bench_cycles();
		for (uint32_t i = 0; i < TIMERS; i++)
			CHECK(tsearch(&t[i], &root, timer_compare) != NULL);
		for (uint32_t i = 0; i < TIMERS; i++)
			CHECK(tdelete(&t[i], &root, timer_compare) != NULL);
		tree[run] = (double)(bench_cycles() - begin) / TIMERS;
	}
	bench_add(b, "wheel_set_and_fire_65536", bench_median(own, BENCH_RUNS), "cycles/timer",
		  "tsearch(3) and tdelete(3) by deadline", bench_median(tree, BENCH_RUNS));
}

static uint8_t text[TEXT_SIZE], out[TEXT_SIZE];

static void
make_base64(void)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct rng r;
	rng_init(&r, 5);
	for (uint32_t i = 0; i < TEXT_SIZE; i++) {
		uint32_t at = i % 78;
		text[i] = at == 76 ? '\r' : at == 77 ? '\n' : (uint8_t)alphabet[rng_below(&r, 64)];
	}
}

static void
make_qp(void)
{
	struct rng r;
	rng_init(&r, 6);
	uint32_t i = 0;
	while (i + 80 < TEXT_SIZE) {
		for (uint32_t k = 0; k < 24; k++)
			text[i++] = (uint8_t)('a' + rng_below(&r, 26));
		memcpy(text + i, "=C3=A4", 6);
		i += 6;
		for (uint32_t k = 0; k < 40; k++)
			text[i++] = (uint8_t)('a' + rng_below(&r, 26));
		memcpy(text + i, "=\r\n", 3);
		i += 3;
	}
	memset(text + i, 'a', TEXT_SIZE - i);
}

static void
bench_decode(struct bench *b, const char *name, enum decode_kind kind)
{
	double own[BENCH_RUNS], copy[BENCH_RUNS];
	for (uint32_t run = 0; run < BENCH_RUNS; run++) {
		struct decode d;
		uint32_t made = 0, taken = 0;
		decode_init(&d, kind);
		uint64_t begin = bench_cycles();
		for (uint32_t at = 0; at < TEXT_SIZE; at += taken) {
			struct span in = span_of(text + at, MIN(TEXT_SIZE - at, (uint32_t)SLICE));
			made += decode_feed(&d, in, &taken, out, sizeof(out));
			CHECK(taken > 0);
		}
		own[run] = (double)(bench_cycles() - begin) / TEXT_SIZE;
		CHECK(!d.bad && made > TEXT_SIZE / 2);
		begin = bench_cycles();
		for (uint32_t at = 0; at < TEXT_SIZE; at += SLICE)
			memcpy(out + at, text + at, MIN(TEXT_SIZE - at, (uint32_t)SLICE));
		__asm__ volatile("" ::"r"(out) : "memory");
		copy[run] = (double)(bench_cycles() - begin) / TEXT_SIZE;
	}
	bench_add(b, name, bench_median(own, BENCH_RUNS), "cycles/byte",
		  "memcpy in the same slices", bench_median(copy, BENCH_RUNS));
}

static bool
on_match(void *ctx, uint32_t id, uint64_t to)
{
	(void)ctx;
	(void)id;
	(void)to;
	return false;
}

static void
make_words(void)
{
	struct rng r;
	rng_init(&r, 8);
	for (uint32_t i = 0; i < TEXT_SIZE; i++)
		text[i] = rng_below(&r, 6) == 0 ? ' ' : (uint8_t)('a' + rng_below(&r, 26));
}

static int
on_hs(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *ctx)
{
	(void)id;
	(void)from;
	(void)to;
	(void)flags;
	(void)ctx;
	return 0;
}

static struct policy_use *
make_policy(struct rng *r, hs_database_t **db)
{
	static char phrase[500][64];
	const char *expr[500];
	unsigned flags[500];
	char why[256], line[128];
	struct strbuf w;
	hs_compile_error_t *error = NULL;
	struct testpolicy *tp = testpolicy_open();

	strbuf_init(&w, why, sizeof(why));
	for (uint32_t i = 0; i < 500; i++) {
		uint32_t n = 10 + rng_below(r, 12);
		for (uint32_t k = 0; k < n; k++)
			phrase[i][k] = (char)('a' + rng_below(r, 26));
		phrase[i][n] = 0;
		expr[i] = phrase[i];
		flags[i] = HS_FLAG_CASELESS | HS_FLAG_SINGLEMATCH;
		(void)snprintf(line, sizeof(line), "bad_word %.40s", phrase[i]);
		CHECK(testpolicy_line(tp, span_str(line)));
	}
	CHECK(hs_compile_multi(expr, flags, NULL, 500, HS_MODE_BLOCK, NULL, db, &error) ==
	      HS_SUCCESS);
	struct policy_use *use = testpolicy_make(tp, 1, &w);
	CHECK(use != NULL);
	testpolicy_close(&tp);
	return use;
}

static void
bench_match(struct bench *b)
{
	double own[BENCH_RUNS], block[BENCH_RUNS];
	struct rng r;
	hs_database_t *db = NULL;
	hs_scratch_t *scratch = NULL;

	rng_init(&r, 9);
	struct policy_use *use = make_policy(&r, &db);
	CHECK(match_worker_init(0, &mem_heap, 8));
	CHECK(hs_alloc_scratch(db, &scratch) == HS_SUCCESS);
	for (uint32_t run = 0; run < BENCH_RUNS; run++) {
		struct match_stream *s = NULL;
		uint64_t begin = bench_cycles();
		CHECK(match_open(use->matcher, 0, MATCH_CONTENT, &s) == MATCH_OK);
		for (uint32_t at = 0; at < TEXT_SIZE; at += SLICE)
			CHECK(match_feed(s,
					 span_of(text + at, MIN(TEXT_SIZE - at, (uint32_t)SLICE)),
					 on_match, NULL) == MATCH_OK);
		match_close(&s);
		own[run] = (double)(bench_cycles() - begin) / TEXT_SIZE;
		begin = bench_cycles();
		CHECK(hs_scan(db, (const char *)text, TEXT_SIZE, 0, scratch, on_hs, NULL) ==
		      HS_SUCCESS);
		block[run] = (double)(bench_cycles() - begin) / TEXT_SIZE;
	}
	bench_add(b, "match_500_slices_1448", bench_median(own, BENCH_RUNS), "cycles/byte",
		  "hs_scan, block mode, in one go", bench_median(block, BENCH_RUNS));
	match_worker_fini(0);
	policy_use_close(&use);
	(void)hs_free_scratch(scratch);
	(void)hs_free_database(db);
}

static void
bench_scan(struct bench *b)
{
	static const char head[] = "Content-Type: text/plain; charset=utf-8\r\n\r\n";
	double own[BENCH_RUNS], copy[BENCH_RUNS];
	static struct counters counters;
	struct rng r;
	hs_database_t *db = NULL;
	uint32_t taken;

	rng_init(&r, 9);
	struct policy_use *use = make_policy(&r, &db);
	for (uint32_t i = 70; i + 1 < TEXT_SIZE; i += 72)
		memcpy(text + i, "\r\n", 2);
	CHECK(match_worker_init(0, &mem_heap, 8));
	struct scanner *s = scanner_open(
		&(struct scanner_args){.scans_max = 4, .counters = &counters, .mem = &mem_heap});
	CHECK(s != NULL);
	for (uint32_t run = 0; run < BENCH_RUNS; run++) {
		uint64_t begin = bench_cycles();
		struct scan *m = scan_open(s, &use->view, use->matcher);
		CHECK(m != NULL);
		CHECK(scan_feed(m, span_str(head), &taken) == SCAN_HEADERS_END);
		for (uint32_t at = 0; at < TEXT_SIZE; at += taken) {
			struct span in = span_of(text + at, MIN(TEXT_SIZE - at, (uint32_t)SLICE));
			CHECK(scan_feed(m, in, &taken) == SCAN_MORE);
		}
		(void)scan_end(m);
		CHECK(scan_result(m)->causes == 0);
		scan_close(&m);
		own[run] = (double)(bench_cycles() - begin) / TEXT_SIZE;
		struct match_stream *stream = NULL;
		begin = bench_cycles();
		CHECK(match_open(use->matcher, 0, MATCH_CONTENT, &stream) == MATCH_OK);
		CHECK(match_feed(stream, span_of(text, TEXT_SIZE), on_match, NULL) == MATCH_OK);
		match_close(&stream);
		copy[run] = (double)(bench_cycles() - begin) / TEXT_SIZE;
	}
	bench_add(b, "scan_plain_slices_1448", bench_median(own, BENCH_RUNS), "cycles/byte",
		  "the matcher alone, in one go", bench_median(copy, BENCH_RUNS));
	scanner_close(&s);
	match_worker_fini(0);
	policy_use_close(&use);
	(void)hs_free_database(db);
}

int
main(int argc, char **argv)
{
	static struct bench b;
	b.file = argc > 1 ? argv[1] : "/dev/null";
	bench_flow(&b);
	bench_wheel(&b);
	make_base64();
	bench_decode(&b, "decode_base64", DECODE_BASE64);
	make_qp();
	bench_decode(&b, "decode_qp", DECODE_QP);
	make_words();
	bench_match(&b);
	bench_scan(&b);
	return bench_finish(&b);
}
