// SPDX-License-Identifier: Apache-2.0
// worker: the loop's one turn, and the opening of what a worker owns. Everything runs on the
// worker's own core, but for worker_policy_offer and worker_policy_uses, which any thread may
// call.

#include "dataplane/worker.h"

#include <string.h>

#define WORKER_MAGIC 0x4b524f57u
#define WORKER_TIMERS 256u    // timers that fire in one turn, in TCP and in SMTP each
#define WORKER_STOCK_US 1000u // between two looks at what is used
#define WORKER_COMMANDS 4u    // commands that are taken in one turn
// A turn counts no more than this and twice the mean before it: some turns in which somebody else
// had the core, as happens right after a start, say nothing of the load. The fourth in a row does,
// and the eighteenth reaches the highest level.
#define WORKER_TURN_US 16000u

struct worker {
	uint32_t magic;
	uint32_t index, cpu;
	uint32_t iface_count;
	uint32_t sessions_max;
	struct net_iface iface[NET_IFACES_MAX];
	const struct policy_use *policy; // in force for new transactions
	struct counters *counters;
	struct ring *commands;
	struct region_worker_state *state;
	struct mem_source *mem;
	uint32_t scans_max;
	uint64_t loops;
	struct shed shed;
	uint64_t stock_us;  // when stock was taken last
	uint64_t turn_us;   // when the turn before began
	uint32_t loop_us16; // duration of busy turns, smoothed, sixteenths of a microsecond
	bool was_busy;
	struct net *net;
	struct tcp *tcp;
	struct smtp *smtp;
	struct scanner *scanner;
	bool is_polled[NET_IFACES_MAX]; // the first interface of its port
	bool has_chunks, has_match;
	bool has_old_policies; // transactions may still hold some
	struct chunk_pool chunks;
	struct report report;
	struct trace trace;
	// What other threads touch: a line of its own.
	const struct policy_use *offered __attribute__((aligned(CACHE_LINE)));
	uint64_t generation; // of `policy`; stored after `held`
	uint64_t held[SMTP_POLICIES_MAX];
};

// --- opening ---

static uint16_t
mtu_of(const struct worker *w)
{
	uint16_t mtu = UINT16_MAX;

	for (uint32_t i = 0; i < w->iface_count; i++)
		mtu = MIN(mtu, w->iface[i].port->mtu);
	return mtu;
}

static void
capture_frame(void *ctx, struct span frame, bool is_ours)
{
	struct worker *w = ctx;

	smtp_captured(w->smtp, frame, is_ours);
}

static struct tcp_settings
tcp_settings_of(const struct policy_settings *s)
{
	return (struct tcp_settings){
		.window_bytes = MIN(s->limits_window_bytes_max, TCP_WINDOW_BYTES),
		.window_bytes_max = s->limits_window_bytes_max,
		.keepalive_s = s->timeouts_keepalive_s,
		.zero_window_s = s->timeouts_zero_window_s,
		.user_s = s->timeouts_tcp_user_s,
	};
}

// How many connections and records of them, all from bounded pools. A session has one connection to
// its client; the eighth and the constant are for those that outlive their session, two for each
// scan for what smtp.c keeps to backends. SYNs and TIME_WAIT have records: the first for as many as
// come in while an ACK is on its way (beyond it there are cookies), the second for 30 s of closes.
// With machine.sessions_max = 1,000,000 and scans_max = 1024, in MB of 10^6 bytes:
//   1,128,072 connections of 384 B 433.2, 1,000,000 sessions of 456 B 456.0,
//   39,442 embryos of 80 B 3.2, 315,536 waits of 64 B 20.2,
//   1,483,050 table entries in 655,364 buckets of 64 B 41.9, ports 0.4: 954.9 together.
// What is in flight has records beside these; they follow the chunks, not the sessions (tcp.c).
static void
size_tcp(struct tcp_args *tcp, const struct policy_settings *s)
{
	uint32_t sessions = s->machine_sessions_max;

	tcp->conns_max = sessions + sessions / 8 + 2 * s->machine_scans_max + 1024;
	tcp->embryos_max = sessions / 32 + 8192;
	tcp->waits_max = sessions / 4 + 65536;
}

static bool
open_network(struct worker *w, const struct worker_args *a)
{
	const struct policy_settings *s = a->policy->view.settings;
	const struct net_args net = {
		.ifaces = w->iface,
		.iface_count = w->iface_count,
		.counters = w->counters,
		.mem = w->mem,
		.port_is_mine = a->port_is_mine,
		.ctx = a->port_ctx,
		.capture = capture_frame,
		.capture_ctx = w,
		.ttl = (uint8_t)s->machine_ttl,
		.dscp = (uint8_t)s->machine_dscp,
	};
	struct tcp_args tcp = {
		.settings = tcp_settings_of(s),
		.seed = a->seed,
		.mtu = mtu_of(w),
		.chunks = &w->chunks,
		.counters = w->counters,
		.trace = &w->trace,
		.mem = w->mem,
		.net = &net_tcp_ops,
	};

	size_tcp(&tcp, s);
	memcpy(tcp.secret, a->secret, sizeof(tcp.secret));
	w->net = net_open(&net);
	if (w->net == NULL)
		return false;
	tcp.net_ctx = w->net;
	w->tcp = tcp_open(&tcp);
	if (w->tcp == NULL)
		return false;
	net_bind_tcp(w->net, w->tcp);
	return true;
}

static bool
open_scanner(struct worker *w, const struct worker_args *a)
{
	const struct policy_settings *s = a->policy->view.settings;
	const struct scanner_args args = {
		.worker = w->index,
		.scans_max = s->machine_scans_max,
		.counters = w->counters,
		.mem = w->mem,
	};

	w->has_match = match_worker_init(w->index, w->mem, s->machine_scans_max * SCAN_STREAMS_MAX);
	if (!w->has_match)
		return false;
	w->scans_max = s->machine_scans_max;
	w->scanner = scanner_open(&args);
	return w->scanner != NULL;
}

static bool
open_smtp(struct worker *w, const struct worker_args *a, uint64_t now_us, struct strbuf *why)
{
	struct smtp_args args = {
		.tcp = w->tcp,
		.chunks = &w->chunks,
		.scanner = w->scanner,
		.counters = w->counters,
		.report = &w->report,
		.trace_ring = &w->trace,
		.mem = w->mem,
		.policy = w->policy,
		.worker = w->index,
		.seed = a->seed ^ 0x736d7470, // another stream than TCP's
		.trace = a->trace,
		.trace_ctx = a->trace_ctx,
	};

	memcpy(args.secret, a->secret, sizeof(args.secret));
	w->smtp = smtp_open(&args, now_us, why);
	return w->smtp != NULL;
}

static void
worker_publish(struct worker *w)
{
	struct counters *c = w->counters;

	counter_add(&c->chunks_used, w->chunks.pool.used - c->chunks_used);
	counter_add(&c->connections_open, tcp_conn_count(w->tcp) - c->connections_open);
	counter_add(&c->handshakes_open, tcp_embryo_count(w->tcp) - c->handshakes_open);
	counter_add(&c->time_waits_open, tcp_wait_count(w->tcp) - c->time_waits_open);
	counter_add(&c->sessions_open, smtp_session_count(w->smtp) - c->sessions_open);
	if (w->state == NULL)
		return;
	__atomic_store_n(&w->state->loops, w->loops, __ATOMIC_RELAXED);
	__atomic_store_n(&w->state->generation, w->policy->generation, __ATOMIC_RELAXED);
}

struct worker *
worker_open(const struct worker_args *a, uint64_t now_us, struct strbuf *why)
{
	CHECK(a->iface_count > 0);
	CHECK(a->iface_count <= NET_IFACES_MAX);
	CHECK(a->policy != NULL);
	CHECK(a->counters != NULL);
	struct worker *w = mem_get(a->mem, sizeof(*w), "worker");

	if (w == NULL) {
		strbuf_add_str(why, "no memory for the worker");
		return NULL;
	}
	w->magic = WORKER_MAGIC;
	w->index = a->index;
	w->cpu = a->cpu;
	w->iface_count = a->iface_count;
	for (uint32_t i = 0; i < a->iface_count; i++) {
		w->iface[i] = a->ifaces[i];
		w->is_polled[i] = true;
		for (uint32_t k = 0; k < i; k++)
			w->is_polled[i] &= w->iface[k].port != w->iface[i].port;
	}
	w->policy = w->offered = a->policy;
	w->generation = a->policy->generation;
	w->counters = a->counters;
	w->sessions_max = a->policy->view.settings->machine_sessions_max;
	w->turn_us = now_us;
	w->commands = a->commands;
	w->state = a->state;
	w->mem = a->mem;
	w->report = (struct report){
		.events = a->events, .counters = a->counters, .worker = (uint8_t)a->index};
	uint32_t chunks = a->policy->view.settings->machine_chunks;
	w->has_chunks = chunk_pool_init(&w->chunks, w->mem, chunks);
	if (!w->has_chunks || !trace_init(&w->trace, w->mem) || !open_network(w, a) ||
	    !open_scanner(w, a)) {
		strbuf_add_str(why, "no memory: lower machine.chunks, sessions_max or scans_max");
		worker_close(&w);
		return NULL;
	}
	net_run(w->net, now_us);
	tcp_run(w->tcp, now_us, 0);
	if (!open_smtp(w, a, now_us, why)) {
		worker_close(&w);
		return NULL;
	}
	counter_add(&w->counters->chunks_cap, chunks - w->counters->chunks_cap);
	counter_add(&w->counters->shed_level, 0 - w->counters->shed_level); // an earlier life's
	counter_add(&w->counters->addresses_taken, 0 - w->counters->addresses_taken);
	if (w->state != NULL) {
		w->state->cpu = a->cpu;
		w->state->node = a->node;
	}
	worker_publish(w);
	return w;
}

void
worker_close(struct worker **wp)
{
	struct worker *w = *wp;

	if (w == NULL)
		return;
	OBJ_CHECK(w, WORKER_MAGIC);
	*wp = NULL;
	// From the top down: each layer still has what it stands on while it closes.
	if (w->smtp != NULL)
		smtp_close(&w->smtp);
	if (w->scanner != NULL)
		scanner_close(&w->scanner);
	if (w->has_match)
		match_worker_fini(w->index);
	if (w->tcp != NULL)
		tcp_close(&w->tcp);
	net_close(&w->net);
	trace_fini(&w->trace);
	if (w->has_chunks)
		chunk_pool_fini(&w->chunks);
	w->magic = 0;
	mem_put(w->mem, w, sizeof(*w));
}

// --- the loop ---

static uint32_t
poll_rx(struct worker *w)
{
	struct frame burst[PORT_BURST];
	uint32_t total = 0;

	for (uint32_t i = 0; i < w->iface_count; i++) {
		struct port *p = w->iface[i].port;
		if (!w->is_polled[i])
			continue;
		uint32_t count = p->ops->rx(p, burst, PORT_BURST);
		CHECK(count <= PORT_BURST);
		for (uint32_t k = 0; k < MIN(count, 4u); k++)
			__builtin_prefetch(burst[k].data);
		for (uint32_t k = 0; k < count; k++) {
			if (k + 4 < count)
				__builtin_prefetch(burst[k + 4].data);
			net_input(w->net, i, &burst[k]);
			p->ops->rx_free(p, &burst[k]);
		}
		total += count;
	}
	if (total > 0)
		COUNT_N(w->counters, RX_FRAMES, total);
	return total;
}

static void
ask_sessions(struct worker *w, const struct command *c)
{
	static const enum smtp_ask_kind kind[COMMAND_COUNT] = {
		[COMMAND_SESSION_LIST] = SMTP_ASK_LIST,
		[COMMAND_SESSION_SHOW] = SMTP_ASK_SHOW,
		[COMMAND_SESSION_CAPTURE] = SMTP_ASK_CAPTURE,
	};

	CHECK(c->kind < COMMAND_COUNT);
	const struct smtp_ask q = {.kind = kind[c->kind],
				   .request = c->request,
				   .session = c->argument[0],
				   .ms = MIN(c->argument[1], COMMAND_CAPTURE_MS_MAX)};

	smtp_session_ask(w->smtp, &q);
}

static uint32_t
poll_commands(struct worker *w)
{
	struct command c;
	uint32_t count = 0;

	if (w->commands == NULL)
		return 0;
	while (count < WORKER_COMMANDS && ring_get(w->commands, &c)) {
		count++;
		COUNT(w->counters, COMMANDS_CONTROL);
		switch (c.kind) { // another process wrote it: any value is possible
		case COMMAND_SESSION_LIST:
		case COMMAND_SESSION_SHOW:
		case COMMAND_SESSION_CAPTURE:
			ask_sessions(w, &c);
			break;
		default:
			COUNT(w->counters, COMMANDS_CONTROL_BAD);
			break;
		}
	}
	return count;
}

static uint32_t
permille(uint64_t used, uint64_t cap)
{
	return cap == 0 ? 0 : (uint32_t)(used * 1000 / cap);
}

// Invariant 5: who gives way, and when.
static void
take_stock(struct worker *w, uint64_t now_us)
{
	static const enum counter raised[SHED_RESOURCES] = {
		[SHED_FRAMES] = COUNTER_PRESSED_FRAMES,     [SHED_CHUNKS] = COUNTER_PRESSED_CHUNKS,
		[SHED_SESSIONS] = COUNTER_PRESSED_SESSIONS, [SHED_CONNS] = COUNTER_PRESSED_CONNS,
		[SHED_LOOP] = COUNTER_PRESSED_LOOP,
	};
	struct shed_use use = {0};
	enum shed_level before = w->shed.level;

	w->stock_us = now_us;
	// A core that has idle turns keeps up, whatever the busy ones took: else the level would
	// last until strangers, who are refused, had made enough of them.
	if (!w->was_busy)
		w->loop_us16 -= w->loop_us16 / 16;
	for (uint32_t i = 0; i < w->iface_count; i++) {
		struct port *p = w->iface[i].port;
		if (p->ops->use != NULL)
			use.of[SHED_FRAMES] = MAX(use.of[SHED_FRAMES], p->ops->use(p));
	}
	use.of[SHED_CHUNKS] = permille(w->chunks.pool.used, w->chunks.pool.cap);
	use.of[SHED_SESSIONS] = permille(smtp_session_count(w->smtp), w->sessions_max);
	use.of[SHED_CONNS] = permille(tcp_conn_count(w->tcp), tcp_conn_max(w->tcp));
	use.of[SHED_LOOP] = w->loop_us16 / 16;
	if (!shed_update(&w->shed, &use, now_us))
		return;
	if (w->shed.level > before)
		counter_add(&w->counters->v[raised[w->shed.cause]], 1);
	counter_add(&w->counters->shed_level, w->shed.level - w->counters->shed_level);
	counter_add(&w->counters->shed_cause, w->shed.cause - w->counters->shed_cause);
	tcp_shed(w->tcp, w->shed.level);
	smtp_shed(w->smtp, w->shed.level);
}

// A busy turn ends where the next one begins: nothing lies between them. After an idle one the core
// may have slept.
static void
measure_turn(struct worker *w, uint64_t now_us)
{
	uint64_t us = now_us - w->turn_us;

	w->turn_us = now_us;
	if (!w->was_busy)
		return;
	uint32_t bucket = us == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(us);
	counter_add(&w->counters->loop[MIN(bucket, LOOP_BUCKETS - 1u)], 1);
	uint32_t most = MIN(WORKER_TURN_US + w->loop_us16 / 8, 1000000u);
	w->loop_us16 += (uint32_t)MIN(us, most) - w->loop_us16 / 16;
}

// What the main thread may free: see worker_policy_uses. False: nothing but the newest is in use.
static bool
publish_policies(struct worker *w)
{
	uint64_t held[SMTP_POLICIES_MAX];
	bool has_old = false;

	smtp_policy_held(w->smtp, held);
	for (uint32_t i = 0; i < SMTP_POLICIES_MAX; i++) {
		__atomic_store_n(&w->held[i], held[i], __ATOMIC_RELAXED);
		has_old |= held[i] != 0 && held[i] != w->policy->generation;
	}
	__atomic_store_n(&w->generation, w->policy->generation, __ATOMIC_RELEASE);
	return has_old;
}

// The quiet point: between two turns nothing of this worker looks at a policy, but for the
// transactions, which hold theirs until they end.
static uint32_t
poll_policy(struct worker *w)
{
	const struct policy_use *p = __atomic_load_n(&w->offered, __ATOMIC_ACQUIRE);
	uint32_t work = 0;

	if (unlikely(p != w->policy)) {
		CHECK(p->generation > w->policy->generation);
		smtp_policy(w->smtp, p);
		const struct tcp_settings set = tcp_settings_of(p->view.settings);

		tcp_settings(w->tcp, &set);
		w->policy = p;
		COUNT(w->counters, POLICY_SWITCHES);
		work = 1;
		w->has_old_policies = true;
	}
	if (unlikely(w->has_old_policies))
		w->has_old_policies = publish_policies(w);
	return work;
}

uint32_t
worker_poll(struct worker *w, uint64_t now_us, uint64_t wall_us)
{
	OBJ_CHECK(w, WORKER_MAGIC);
	measure_turn(w, now_us);
	if (now_us - w->stock_us >= WORKER_STOCK_US)
		take_stock(w, now_us);
	w->report.wall_us = wall_us;
	w->trace.now_us = now_us;
	net_run(w->net, now_us);
	// TCP and the sessions take the time before they get segments.
	uint32_t work = tcp_run(w->tcp, now_us, WORKER_TIMERS);
	work += smtp_run(w->smtp, now_us, wall_us, WORKER_TIMERS);
	work += poll_rx(w);
	work += tcp_work(w->tcp);
	net_flush(w->net);
	work += poll_commands(w);
	work += poll_policy(w);
	w->loops++;
	w->was_busy = work > 0;
	COUNT(w->counters, LOOPS);
	if (work > 0) {
		COUNT(w->counters, LOOPS_BUSY);
		worker_publish(w);
	} else if ((w->loops & 1023) == 0) {
		worker_publish(w); // an idle worker still shows that it lives
	}
	return work;
}

void
worker_frame(struct worker *w, uint32_t iface, struct frame *f)
{
	OBJ_CHECK(w, WORKER_MAGIC);
	CHECK(iface < w->iface_count);
	struct port *p = w->iface[iface].port;

	if ((f->flags & FRAME_LEARN_ONLY) == 0)
		COUNT(w->counters, RX_FRAMES);
	net_input(w->net, iface, f);
	p->ops->rx_free(p, f);
}

struct worker_usage
worker_usage(const struct worker *w)
{
	OBJ_CHECK(w, WORKER_MAGIC);
	const struct smtp_usage u = smtp_usage(w->smtp);

	return (struct worker_usage){
		.connections = tcp_conn_count(w->tcp),
		.sessions = u.sessions,
		.transactions = u.transactions,
		.backends = u.backends,
		.clients = u.clients,
		.scans = w->scans_max - scanner_free_count(w->scanner),
		.chunks = w->chunks.pool.used,
		.chunks_most = w->chunks.pool.used_max,
		.flights = tcp_flight_count(w->tcp),
	};
}

struct chunk_pool *
worker_chunks(struct worker *w)
{
	OBJ_CHECK(w, WORKER_MAGIC);
	return &w->chunks;
}

uint64_t
worker_next_us(const struct worker *w)
{
	OBJ_CHECK(w, WORKER_MAGIC);
	uint64_t ms = MIN(tcp_next_ms(w->tcp), smtp_next_ms(w->smtp));
	uint64_t us = ms == UINT64_MAX ? UINT64_MAX : ms * 1000;

	return MIN(us, net_next_us(w->net));
}

void
worker_policy_offer(struct worker *w, const struct policy_use *p)
{
	CHECK(p != NULL);
	__atomic_store_n(&w->offered, p, __ATOMIC_RELEASE);
}

bool
worker_policy_uses(const struct worker *w, uint64_t generation)
{
	OBJ_CHECK(w, WORKER_MAGIC);
	// A policy that is not the newest here gets no new transactions, so its entry in `held` can
	// only go; entries of one generation never move.
	if (generation >= __atomic_load_n(&w->generation, __ATOMIC_ACQUIRE))
		return true;
	for (uint32_t i = 0; i < SMTP_POLICIES_MAX; i++)
		if (__atomic_load_n(&w->held[i], __ATOMIC_RELAXED) == generation)
			return true;
	return false;
}
