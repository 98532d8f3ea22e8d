// SPDX-License-Identifier: Apache-2.0
// sim_run: seeded simulation of client, appliance and backend over a wire that does anything.
//
// Each seed draws links, NICs, workers, memory and limits, messages (also hostile ones), the way
// they are cut and pipelined, clients that leave, policy and RETA changes on the way, slow backends
// and faults of theirs, runs until nothing can happen any more, and checks the invariants of the
// architecture:
//   1 no message lost        a 250 to the client means: the sink answered 250 for these very bytes
//   2 bytes in = bytes out   behind the two header lines that the log names
//   3 one message stays one  what the sink has is some accepted message, envelope and all, once
//   4 cuts are invisible     without faults, the same dialogue cut otherwise, over other wires,
//                            NICs and workers, gets the same answers
//   5 bounded                afterwards no session, connection, transaction, scan, chunk, frame or
//                            timer is left, but for the health probe's
// and that no segment on either wire broke a rule of TCP (wirecheck), and that nothing is handed
// from worker to worker where the NICs have our key and table. Usage: see seeds.h.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/lib/appliance.h"
#include "test/sim/lib/impair_draw.h"
#include "test/sim/lib/seeds.h"
#include "test/sim/lib/smtp_peer.h"
#include "test/sim/lib/wirecheck.h"

#define SOURCES_MAX 12
#define MESSAGES_MAX 12
#define FEW 4 // sources, and messages of each, unless more of everything is wanted
#define RUN_US (3600ull * 1000000) // virtual time after which a run counts as stuck
#define DRAIN_US                                                                                   \
	(400ull * 1000000) // TIME_WAIT, idle backends, unused ARP entries: all is over by then
#define TURNS_AT_ONCE_MAX 2000000u // a source may write a megabyte byte by byte
#define PROBE_S "3600"
#define PROBE_LEAST_US (2000ull * 1000000)
#define SETTLE_US 4000000ull // IPv6 asks first whether somebody has the address already
#define SEEDS_DEFAULT 1000

struct drawn_message {
	struct source_message m;
	char from[64], rcpt[4][64];
	bool has_bare, has_bad_word; // must be refused
	uint8_t *wire;
};

enum leaving { LEAVE_NOT, LEAVE_ABORT, LEAVE_HALF, LEAVE_CLOSE, LEAVE_VANISH };

struct world {
	uint64_t seed;
	const struct seeds_options *o;
	struct appliance_args args;
	struct wirecheck check[2];
	// What happens on the way, counted in turns of the loop.
	enum leaving leaving[SOURCES_MAX];
	uint32_t leaves_at[SOURCES_MAX], policy_at[3], policies, reta_every;
	uint32_t sink_pause_us;
	uint32_t turns_at_once; // in which the clock has not moved
	uint64_t sink_resume_us;
	struct rng rng;
	struct appliance *a;
	struct testpolicy *tp;
	struct sink sink;
	uint32_t sources, messages;
	struct source source[SOURCES_MAX];
	struct drawn_message drawn[SOURCES_MAX][MESSAGES_MAX];
	struct source_message list[SOURCES_MAX][MESSAGES_MAX];
	char why[600];
	bool failed, with_faults, is_mixed; // is_mixed: frames may be handed over
	bool no_250_ok;                     // memory may have been short
	bool is_big;                        // large messages, and little memory for them
};

#define FAIL(w, ...)                                                                               \
	do {                                                                                       \
		if (!(w)->failed)                                                                  \
			(void)snprintf((w)->why, sizeof((w)->why), __VA_ARGS__);                   \
		(w)->failed = true;                                                                \
	} while (0)

static uint32_t
draw_size(struct rng *r, bool is_big)
{
	uint32_t kind = rng_below(r, 64);

	if (is_big && kind < 56)
		return 50000 + rng_below(r, 250000);

	if (kind == 0)
		return rng_below(r, 1u << 20);
	if (kind < 3)
		return 250000 + rng_below(r, 40000); // around the usual hold limit
	if (kind < 14)
		return 20000 + rng_below(r, 60000);
	return kind < 24 ? rng_below(r, 40) : 100 + rng_below(r, 6000);
}

// A message as on the wire, dot-stuffed. Its first line carries its number: it can be found again.
static void
draw_message(struct world *w, uint32_t s, uint32_t i)
{
	static const char *const odd[] = {"..\r\n",  "..dot\r\n", "\r\n",
					  "...\r\n", "a\r\n",     ".. \r\n"};
	struct drawn_message *d = &w->drawn[s][i];
	uint32_t body = draw_size(&w->rng, w->is_big), n = 0, kind = rng_below(&w->rng, 20);
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

static void
world_draw(struct world *w, uint64_t seed, const struct seeds_options *o)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->o = o;
	w->is_big = seed % 8 == 1;
	rng_init(&w->rng, seed);
	w->with_faults = rng_below(&w->rng, 2) == 0;
	w->sources = 1 + rng_below(&w->rng, o->is_long ? SOURCES_MAX : FEW);
	w->messages = 1 + rng_below(&w->rng, o->is_long ? MESSAGES_MAX : FEW);
	for (uint32_t s = 0; s < w->sources; s++)
		for (uint32_t i = 0; i < w->messages; i++)
			draw_message(w, s, i);
	for (uint32_t s = 0; s < w->sources; s++) {
		bool leaves = rng_below(&w->rng, 12) == 0;
		w->leaving[s] = leaves ? LEAVE_ABORT + rng_below(&w->rng, 4) : LEAVE_NOT;
		w->leaves_at[s] = rng_below(&w->rng, 300);
		w->with_faults |= leaves;
	}
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
	wirecheck_fini(&w->check[0]);
	wirecheck_fini(&w->check[1]);
}

static void
policy_line(struct world *w, const char *format, uint32_t value)
{
	char line[100];

	(void)snprintf(line, sizeof(line), format, value);
	CHECK(testpolicy_line(w->tp, span_str(line)));
}

// Limits that change nothing of what a client is told, but for the memory.
static void
draw_policy(struct world *w, struct rng *r)
{
	static const uint32_t hold[] = {0, 5000, 40000, 262144};
	uint32_t chunks = 256 + rng_below(r, 150), most = hold[rng_below(r, ARRAY_LEN(hold))];

	w->tp = testpolicy_open();
	if (w->o->is_v6)
		testpolicy_v6(w->tp);
	CHECK(testpolicy_line(w->tp, SPAN_LIT("bad_word cheap zebra pills")));
	CHECK(testpolicy_line(w->tp, SPAN_LIT("server.hostname mx.example.test")));
	CHECK(testpolicy_line(w->tp, SPAN_LIT("timeouts.probe_s " PROBE_S)));
	CHECK(testpolicy_line(w->tp, SPAN_LIT("machine.sessions_max 64")));
	CHECK(testpolicy_line(w->tp, SPAN_LIT("machine.scans_max 32")));
	w->no_250_ok = w->is_big;
	policy_line(w, "machine.chunks %u", w->is_big ? chunks : 16384);
	policy_line(w, "limits.hold_bytes_max %u", w->is_big ? 262144 : most);
	policy_line(w, "limits.window_bytes_max %u", 4096 + rng_below(r, 200000));
	policy_line(w, "timeouts.backend_idle_s %u", rng_below(r, 10));
	w->policies = rng_below(r, 6) == 0 ? 1 + rng_below(r, ARRAY_LEN(w->policy_at)) : 0;
	for (uint32_t i = 0; i < ARRAY_LEN(w->policy_at); i++)
		w->policy_at[i] = rng_below(r, 300);
}

static void
draw_nics(struct world *w, struct rng *r)
{
	struct appliance_args *a = &w->args;
	bool changes = rng_below(r, 4) == 0;

	a->workers = rng_below(r, 4); // 0: straight on the wire
	a->rss = rng_below(r, 4);
	if (a->rss > APPLIANCE_RSS_NONE)
		a->rss = APPLIANCE_RSS_OURS;
	a->reta_size = 64u << rng_below(r, 4);
	a->ring_frames = 64u << rng_below(r, 3);
	w->reta_every = changes && a->workers > 1 ? 1 + rng_below(r, 50) : 0;
	w->is_mixed = changes || a->rss != APPLIANCE_RSS_OURS;
}

static void
draw_links(struct world *w, struct rng *r, struct vnet_path back[2])
{
	uint32_t kinds = IMPAIR_DRAW_FAIR;
	struct vnet_path *path[4] = {&w->args.client_link, &w->args.backend_link, &back[0],
				     &back[1]};

	// These belong to the seed: both variants have to be comparable, or not.
	kinds |= w->seed % 8 == 3 ? IMPAIR_DRAW_BURSTS : 0;
	kinds |= w->seed % 16 == 5 ? IMPAIR_DRAW_DARK : 0;
	kinds |= w->seed % 16 == 7 ? IMPAIR_DRAW_MTU : 0;
	w->with_faults |= (kinds & (IMPAIR_DRAW_BURSTS | IMPAIR_DRAW_DARK)) != 0;
	bool has_router = rng_below(r, 2) == 0;
	for (uint32_t i = 0; i < 4; i++) {
		*path[i] = impair_draw(r, kinds, VNET_START_US);
		if (has_router) {
			path[i]->router = testpolicy_addr(i % 2 == 0 ? TEST_CLIENT : TEST_BACKEND,
							  w->o->is_v6);
			path[i]->router.b[15] ^= 0x40;
		}
	}
}

static void
sources_open(struct world *w, struct rng *r)
{
	struct ipaddr to = testpolicy_addr(TEST_OUTSIDE, w->o->is_v6);

	while (w->o->is_v6 && appliance_step(w->a, VNET_START_US + SETTLE_US)) {
	}
	for (uint32_t s = 0; s < w->sources; s++) {
		struct source *c = &w->source[s];
		memset(c, 0, sizeof(*c));
		c->message = w->list[s];
		c->count = w->messages;
		c->pipelining = (w->seed >> s) & 1;
		c->cut = rng_below(r, 3) == 0 ? 1 + rng_below(r, 3000) : 0;
		CHECK(source_open(c, w->a->client.tcp, &to, TEST_SMTP_PORT));
	}
}

static void
sink_draw(struct world *w)
{
	bool is_slow = rng_below(&w->rng, 6) == 0;

	w->sink.has_pipelining = rng_below(&w->rng, 4) != 0;
	if (w->with_faults)
		for (uint32_t f = 0; f < SINK_FAULT_COUNT; f++)
			w->sink.fault[f] = rng_below(&w->rng, 3) == 0 ? rng_below(&w->rng, 200) : 0;
	if (w->sink.fault[SINK_RESET_IN_DATA] > 20)
		w->sink.fault[SINK_RESET_IN_DATA] = 20; // drawn for every segment
	if (is_slow || w->is_big) {
		w->sink.hold = 3000 + rng_below(&w->rng, 10000);
		w->sink_pause_us = 1 + rng_below(&w->rng, 50000);
	}
}

// `variant` draws wires, NICs, workers, limits and cuts; the messages and the dialogue are the
// seed's.
static bool
world_start(struct world *w, uint64_t variant)
{
	struct rng r;
	char why[256];
	struct strbuf b;
	struct vnet_path back[2];

	strbuf_init(&b, why, sizeof(why));
	rng_init(&r, w->seed * 1000003 + variant);
	draw_policy(w, &r);
	draw_nics(w, &r);
	draw_links(w, &r, back);
	w->args.policy = w->tp;
	w->args.seed = w->seed + variant;
	w->args.is_v6 = w->o->is_v6;
	w->args.window_bytes = 2000 + rng_below(&r, 300000);
	w->args.peer_conns = 128;
	w->args.peer_chunks = 8192;
	w->args.peer_keepalive_s = 60; // of two that lost each other in the dark, one notices
	w->a = appliance_open(&w->args, &b);
	if (w->a == NULL) {
		FAIL(w, "the appliance does not start: %s", why);
		return false;
	}
	for (uint32_t i = 0; i < 2; i++) {
		wirecheck_init(&w->check[i]);
		w->check[i].is_tracing = w->o->verbose;
		w->check[i].name = i == 0 ? "outside" : "inside";
		vnet_link_set(w->a->link[i], VNET_B, &back[i]);
		vnet_link_tap(w->a->link[i], wirecheck_frame, &w->check[i]);
	}
	CHECK(sink_open(&w->sink, w->a->backend.tcp, TEST_SMTP_PORT, w->seed));
	sink_draw(w);
	sources_open(w, &r);
	return true;
}

// --- running ---

static void
source_leave(struct source *s, enum leaving how)
{
	if (s->e.conn == NULL || s->state == SOURCE_DONE)
		return;
	if (how == LEAVE_ABORT)
		endpoint_abort(&s->e);
	else if (how == LEAVE_VANISH)
		endpoint_fini(&s->e);
	else
		endpoint_close(&s->e);
	if (how != LEAVE_HALF) // who half-closes waits for what he is told
		s->state = SOURCE_DONE;
}

// What was drawn for this turn.
static void
world_events(struct world *w, uint32_t turn)
{
	char why[256];
	struct strbuf b;

	for (uint32_t s = 0; s < w->sources; s++)
		if (w->leaving[s] != LEAVE_NOT && w->leaves_at[s] == turn)
			source_leave(&w->source[s], w->leaving[s]);
	for (uint32_t i = 0; i < w->policies; i++) {
		if (w->policy_at[i] != turn)
			continue;
		strbuf_init(&b, why, sizeof(why));
		policy_line(w, "timeouts.backend_idle_s %u", turn % 10);
		policy_line(w, "limits.window_bytes_max %u", 5000 + turn * 100);
		if (!appliance_policy(w->a, w->tp, &b))
			FAIL(w, "a policy was refused: %s", why);
	}
	if (w->reta_every > 0 && turn % w->reta_every == 0)
		for (uint32_t i = 0; i < 2; i++)
			for (uint32_t k = 0; k < 8; k++) {
				struct simnic *nic = w->a->nic[i];
				uint32_t entry = rng_below(&w->rng, simnic_reta_size(nic));
				simnic_reta_set(nic, entry, rng_below(&w->rng, w->a->workers));
			}
	if (w->sink.hold > 0 && w->a->now_us >= w->sink_resume_us) {
		sink_resume(&w->sink);
		w->sink_resume_us = w->a->now_us + w->sink_pause_us;
	}
}

static bool
world_step(struct world *w, uint64_t end_us)
{
	bool is_slow = w->sink.hold > 0 && w->sink.conns != NULL;
	uint64_t before_us = w->a->now_us;
	uint64_t limit = is_slow ? MIN(end_us, w->sink_resume_us) : end_us;
	bool moved = appliance_step(w->a, limit);

	for (uint32_t s = 0; s < w->sources; s++)
		moved |= source_work(&w->source[s]);
	if (!moved && limit < end_us) {
		appliance_goto(w->a, limit);
		moved = true;
	}
	w->turns_at_once = w->a->now_us > before_us ? 0 : w->turns_at_once + 1;
	if (w->turns_at_once == TURNS_AT_ONCE_MAX)
		FAIL(w, "it does not come to rest at %" PRIu64 " us", w->a->now_us);
	return moved && w->turns_at_once < TURNS_AT_ONCE_MAX;
}

// All clients are done: the wires become clean, so that what is left can end.
static void
world_drain(struct world *w)
{
	static const struct vnet_path clean;
	uint64_t end = w->a->now_us + DRAIN_US;

	memset(w->sink.fault, 0, sizeof(w->sink.fault));
	for (uint32_t i = 0; i < 2; i++) {
		vnet_link_set(w->a->link[i], VNET_A, &clean);
		vnet_link_set(w->a->link[i], VNET_B, &clean);
	}
	for (uint32_t turn = 0; world_step(w, end); turn++)
		if (w->sink.hold > 0 && w->a->now_us >= w->sink_resume_us) {
			sink_resume(&w->sink);
			w->sink_resume_us = w->a->now_us + 1000000;
		}
	appliance_goto(w->a, end);
}

static void
world_run(struct world *w)
{
	uint64_t end = w->a->now_us + RUN_US;
	bool is_open = true;

	for (uint32_t turn = 0; is_open && w->a->now_us < end; turn++) {
		world_events(w, turn);
		bool moved = world_step(w, end);
		is_open = false;
		for (uint32_t s = 0; s < w->sources; s++)
			is_open |= w->source[s].state != SOURCE_DONE;
		if (!moved)
			break;
	}
	for (uint32_t s = 0; s < w->sources; s++)
		if (w->source[s].state != SOURCE_DONE)
			FAIL(w, "source %u is stuck in state %d at message %u", s,
			     w->source[s].state, w->source[s].now);
	world_drain(w);
}

// --- checks ---

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

// A framing fault ends the connection: whether its 550 is heard depends on how much the client had
// still to send.
static bool
is_cut_off(const struct world *w, uint32_t s, uint32_t i)
{
	for (uint32_t k = 0; k <= i; k++)
		if (w->drawn[s][k].has_bare)
			return true;
	return false;
}

static uint32_t
right_code(const struct world *w, uint32_t s, uint32_t i)
{
	if (is_cut_off(w, s, i))
		return w->list[s][i].final_code;
	return w->drawn[s][i].has_bad_word ? 550 : 250;
}

// Memory may have been short: then 452, 421 or 451, or no banner at all; and behind a refused MAIL
// or RCPT that was pipelined come 503 and 554.
static bool
is_shed(const struct world *w, const struct source_message *m)
{
	bool is_late = m->mail_code / 100 == 4 || m->rcpt_code[0] / 100 == 4;

	return w->no_250_ok && m->final_code != 250 &&
	       (m->final_code < 500 || (is_late && m->data_code != 354));
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
	if (!w->with_faults && m->final_code != right_code(w, s, i) && !is_shed(w, m))
		FAIL(w, "message %u.%u got %u", s, i, m->final_code);
}

static void
check_worker(struct world *w, uint32_t i)
{
	const struct worker_usage u = worker_usage(w->a->worker[i]);
	uint64_t next = worker_next_us(w->a->worker[i]);

	if (u.sessions + u.transactions + u.scans + u.connections + u.backends + u.chunks +
		    u.clients !=
	    0)
		FAIL(w,
		     "worker %u: left are %u sessions, %u transactions, %u scans, %u connections, "
		     "%u backends, %u chunks, %u clients",
		     i, u.sessions, u.transactions, u.scans, u.connections, u.backends, u.chunks,
		     u.clients);
	// The health probe, an hour after the last one, is all that may still come.
	if (next < w->a->now_us + PROBE_LEAST_US)
		FAIL(w, "worker %u: a timer goes on", i);
}

static void
check_peer(struct world *w, const struct vnet_host *h, const char *name)
{
	if (tcp_conn_count(h->tcp) != 0 || h->chunks.pool.used != 0)
		FAIL(w, "%s: left are %u connections, %u chunks", name, tcp_conn_count(h->tcp),
		     h->chunks.pool.used);
	if (vnet_host_next_us(h) != UINT64_MAX)
		FAIL(w, "%s: a timer goes on", name);
}

// What neighbours say is copied to every worker, ICMP errors go to whom they concern; nothing else
// may be handed over where the NICs do it right.
static void
check_handoff(struct world *w)
{
	uint64_t handed = appliance_count(w->a, COUNTER_HANDOFF_OUT) +
			  appliance_count(w->a, COUNTER_HANDOFF_FULL);
	uint64_t copies = 0;

	for (uint32_t i = 0; i < 2 && w->a->nic[i] != NULL; i++)
		for (uint32_t q = 0; q < w->a->workers; q++)
			copies += simnic_stats(w->a->nic[i], q)->portless * (w->a->workers - 1);
	if (!w->is_mixed && handed > copies)
		FAIL(w, "%" PRIu64 " frames were handed over, neighbours explain %" PRIu64, handed,
		     copies);
}

static void
check_left_over(struct world *w)
{
	for (uint32_t i = 0; i < w->a->workers; i++)
		check_worker(w, i);
	check_peer(w, &w->a->client, "client");
	check_peer(w, &w->a->backend, "backend");
	check_handoff(w);
	for (uint32_t i = 0; i < 2; i++) {
		if (w->check[i].fault != NULL)
			FAIL(w, "%s: %s", w->check[i].fault, w->check[i].text);
		const struct simnic *nic = w->a->nic[i];
		if (nic != NULL && simnic_pending(nic) + simnic_copies(nic) != 0)
			FAIL(w, "frames are left in a NIC");
		if (vnet_link_held(w->a->link[i]) != 0)
			FAIL(w, "%u frames were not given back", vnet_link_held(w->a->link[i]));
	}
	if (vnet_next_us(w->a->net) != UINT64_MAX)
		FAIL(w, "frames are under way for ever");
	if (w->sink.violations != 0)
		FAIL(w, "the relay misbehaved towards the backend: %s", w->sink.violation);
	for (uint32_t k = 0; k < w->sink.count; k++) {
		unsigned s, i;
		if (sscanf(w->sink.message[k].from, "s%u.%u@", &s, &i) != 2 || s >= w->sources ||
		    i >= w->messages)
			FAIL(w, "a message that nobody sent arrived: %s", w->sink.message[k].from);
	}
}

static void
show(const struct world *w)
{
	printf("  workers %u, rss %d, reta %u, ring %u, reta changes every %u, policies %u, faults "
	       "%d\n",
	       w->args.workers, (int)w->args.rss, w->args.reta_size, w->args.ring_frames,
	       w->reta_every, w->policies, w->with_faults);
	for (uint32_t s = 0; s < w->sources; s++)
		for (uint32_t i = 0; i < w->messages; i++) {
			const struct source_message *m = &w->list[s][i];
			printf("  %u.%u size %zu: MAIL %u RCPT %u DATA %u final %u%s\n", s, i,
			       m->size, m->mail_code, m->rcpt_code[0], m->data_code, m->final_code,
			       w->leaving[s] != LEAVE_NOT ? " (leaves)" : "");
		}
	for (uint32_t c = 0; c < COUNTER_COUNT; c++)
		if (appliance_count(w->a, c) > 0)
			printf("    %s %" PRIu64 "\n", counter_name(c), appliance_count(w->a, c));
}

// One run of a seed; codes[] gets the final answers, for the comparison of two variants.
static bool
run_once(uint64_t seed, uint64_t variant, uint32_t codes[SOURCES_MAX * MESSAGES_MAX],
	 bool *comparable, const struct seeds_options *o)
{
	struct world *w = malloc(sizeof(*w));

	CHECK(w != NULL);
	world_draw(w, seed, o);
	if (world_start(w, variant)) {
		world_run(w);
		*comparable = !w->with_faults && !w->no_250_ok;
		for (uint32_t s = 0; s < w->sources; s++)
			for (uint32_t i = 0; i < w->messages; i++) {
				check_message(w, s, i);
				codes[s * MESSAGES_MAX + i] =
					is_cut_off(w, s, i) ? 0 : w->list[s][i].final_code;
			}
		check_left_over(w);
		if (o->verbose)
			show(w);
	}
	bool ok = !w->failed;
	if (!ok)
		printf("not ok - sim seed %" PRIu64 " variant %" PRIu64 ": %s\n", seed, variant,
		       w->why);
	world_fini(w);
	free(w);
	return ok;
}

static bool
run_seed(uint64_t seed, const struct seeds_options *o)
{
	uint32_t one[SOURCES_MAX * MESSAGES_MAX] = {0}, two[SOURCES_MAX * MESSAGES_MAX] = {0};
	bool comparable = false;

	if (!run_once(seed, 1, one, &comparable, o))
		return false;
	if (!comparable)
		return true;
	if (!run_once(seed, 2, two, &comparable, o))
		return false;
	if (comparable && memcmp(one, two, sizeof(one)) != 0) {
		printf("not ok - sim seed %" PRIu64 ": other cuts, other answers\n", seed);
		return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	return seeds_main(argc, argv, SEEDS_DEFAULT, run_seed);
}
