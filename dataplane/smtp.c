// SPDX-License-Identifier: Apache-2.0
// The worker's tables: pools, policies held, timers, listeners, session lists. Runs on the owning
// worker.

#include "dataplane/smtp.h"

#include "dataplane/smtp_session.h"

uint64_t
smtp_now_ms(const struct smtp *s)
{
	return s->now_us / 1000;
}

void
smtp_timer_set(struct smtp *s, struct smtp_timer *t, uint64_t in_ms)
{
	wheel_set(&s->wheel, &t->node, smtp_now_ms(s) + in_ms);
}

void
smtp_timer_stop(struct smtp *s, struct smtp_timer *t)
{
	wheel_cancel(&s->wheel, &t->node);
}

static void
smtp_fire(void *ctx, struct wheel_node *n, uint64_t now_ms)
{
	struct smtp *s = ctx;
	struct smtp_timer *t = CONTAINER_OF(n, struct smtp_timer, node);
	(void)now_ms;
	switch (t->kind) {
	case SMTP_TIMER_SESSION:
		smtp_session_fire(CONTAINER_OF(t, struct smtp_session, timer));
		return;
	case SMTP_TIMER_BACKEND:
		smtp_backend_fire(CONTAINER_OF(t, struct smtp_backend, timer));
		return;
	case SMTP_TIMER_HOP:
		smtp_hop_fire(s, CONTAINER_OF(t, struct smtp_hop, timer));
		return;
	}
	CHECK(false);
}

// --- policies ---

const struct policy_use *
smtp_policy_now(const struct smtp *s)
{
	const struct policy_use *use = s->policy[s->policy_now].use;
	CHECK(use != NULL);
	return use;
}

void
smtp_policy_unpin(struct smtp_tx *tx)
{
	struct smtp *s = tx->session->smtp;
	if (tx->policy == NULL)
		return;
	struct smtp_policy_slot *slot = &s->policy[tx->policy_slot];
	CHECK(slot->use == tx->policy);
	CHECK(slot->tx_count > 0);
	slot->tx_count--;
	tx->policy = NULL;
	if (slot->tx_count == 0 && tx->policy_slot != s->policy_now)
		slot->use = NULL;
}

// No slot is free: the transactions on the oldest policy end with 451, so that it can go.
static uint32_t
policy_expire(struct smtp *s)
{
	uint32_t oldest = s->policy_now;
	for (uint32_t i = 0; i < SMTP_POLICIES_MAX; i++) {
		CHECK(s->policy[i].use != NULL);
		if (s->policy[i].use->generation < s->policy[oldest].use->generation)
			oldest = i;
	}
	CHECK(oldest != s->policy_now);
	struct list_node *n = s->session_list.head.next;
	while (n != &s->session_list.head) {
		struct smtp_session *ses = CONTAINER_OF(n, struct smtp_session, node);
		n = n->next; // the session may be freed
		OBJ_CHECK(ses, SMTP_SESSION_MAGIC);
		if (ses->tx != NULL && ses->tx->policy != NULL && ses->tx->policy_slot == oldest)
			smtp_tx_expire(ses->tx);
	}
	CHECK(s->policy[oldest].use == NULL);
	return oldest;
}

void
smtp_policy(struct smtp *s, const struct policy_use *p)
{
	CHECK(p != NULL);
	CHECK(p->generation > smtp_policy_now(s)->generation);
	struct smtp_policy_slot *now = &s->policy[s->policy_now];
	uint32_t slot = s->policy_now;
	if (now->tx_count > 0) {
		for (slot = 0; slot < SMTP_POLICIES_MAX; slot++)
			if (s->policy[slot].use == NULL)
				break;
		if (slot == SMTP_POLICIES_MAX)
			slot = policy_expire(s);
	}
	s->policy[slot].use = p;
	s->policy[slot].tx_count = 0;
	s->policy_now = slot;
	smtp_hops_sync(s);
}

void
smtp_policy_held(const struct smtp *s, uint64_t held[SMTP_POLICIES_MAX])
{
	for (uint32_t i = 0; i < SMTP_POLICIES_MAX; i++)
		held[i] = s->policy[i].use != NULL ? s->policy[i].use->generation : 0;
}

uint64_t
smtp_policy_oldest(const struct smtp *s)
{
	uint64_t oldest = smtp_policy_now(s)->generation;
	for (uint32_t i = 0; i < SMTP_POLICIES_MAX; i++)
		if (s->policy[i].use != NULL)
			oldest = MIN(oldest, s->policy[i].use->generation);
	return oldest;
}

// --- overload ---

void
smtp_shed(struct smtp *s, enum shed_level level)
{
	s->shed = level;
}

// The level is taken once a millisecond; memory may run out in between.
bool
smtp_is_pressed(const struct smtp *s)
{
	return s->shed >= SHED_REFUSE || chunk_pool_is_low(s->chunks);
}

// --- listeners ---

static const struct span not_now = SPAN_LIT("421 4.3.2 Service not available, try again later\r\n");

// The client is at a limit of its own: it gets 421, and the log a line now and then.
static struct span
client_refusal(const struct smtp_listener *l, const struct tcp_conn *c,
	       const struct client_answer *a)
{
	struct smtp *s = l->smtp;
	struct smtp_refused r = {.path = tcp_conn_path(c), .answer = a, .direction = l->direction};

	if (a->result == CLIENT_TOO_MANY) {
		COUNT(s->counters, CLIENT_TOO_MANY);
		r.reply = SPAN_LIT("421 4.7.0 Too many sessions from your address\r\n");
	} else {
		COUNT(s->counters, CLIENT_TOO_FAST);
		r.reply = SPAN_LIT(
			"421 4.7.0 Too many new sessions from your address, slow down\r\n");
	}
	if (a->tier == CLIENT_WIDE)
		COUNT(s->counters, CLIENT_WIDE);
	r.count = clients_refused(&s->clients, &a->prefix, s->now_us);
	if (r.count > 0)
		smtp_log_client(s, &r);
	return r.reply;
}

// What a new client is told instead of 220; empty: it may come in. Addresses on the IP allow list
// have no limit of their own.
static struct span
accept_refusal(const struct smtp_listener *l, const struct tcp_conn *c, struct client_hold *hold)
{
	struct smtp *s = l->smtp;
	const struct policy_use *use = smtp_policy_now(s);
	const struct policy_settings *set = use->view.settings;
	const struct ipaddr *addr = &tcp_conn_path(c)->raddr;
	const struct client_limits limits = {
		.sessions_max = set->limits_client_sessions_max,
		.rate = set->limits_client_rate,
		.bits4 = {(uint8_t)set->limits_client_prefix4,
			  (uint8_t)set->limits_client_prefix4_wide},
		.bits6 = {(uint8_t)set->limits_client_prefix6,
			  (uint8_t)set->limits_client_prefix6_wide},
	};
	if (smtp_is_pressed(s)) {
		COUNT(s->counters, SHED_SESSIONS);
		return not_now;
	}
	if (!clients_are_limited(&limits))
		return SPAN_NONE;
	if (policy_ip_find(&use->view, POLICY_IP_ALLOW, addr, s->wall_us / 1000000) != NULL)
		return SPAN_NONE;
	const struct client_answer a = clients_enter(&s->clients, addr, &limits, s->now_us);
	if (a.result != CLIENT_OK)
		return client_refusal(l, c, &a);
	if (a.is_shared)
		COUNT(s->counters, CLIENT_SHARED);
	*hold = a.hold;
	return SPAN_NONE;
}

static void *
smtp_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct smtp_listener *l = ctx;
	struct smtp *s = l->smtp;
	struct client_hold hold = {{0}};
	struct span no = accept_refusal(l, c, &hold);
	if (no.n == 0) {
		struct smtp_session *ses = smtp_session_open(l, c, &hold);
		if (ses != NULL) {
			*ops = &smtp_session_ops;
			return ses;
		}
		clients_leave(&s->clients, &hold);
		no = not_now;
	}
	COUNT(s->counters, SESSIONS_REFUSED);
	if (tcp_conn_write(c, no) == no.n)
		tcp_conn_forget(c); // it may be gone again: TCP has a limit of those
	return NULL;
}

static bool
smtp_listen(struct smtp *s, const struct smtp_args *args, struct strbuf *why)
{
	const struct policy_view *v = &args->policy->view;
	uint32_t count = v->count[POLICY_LISTENERS];
	CHECK(count <= POLICY_LISTENERS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		const struct policy_listener *l = &v->listeners[i];
		s->listener[i] = (struct smtp_listener){s, (uint8_t)l->direction, (uint8_t)i};
		if (!tcp_listen(s->tcp, (uint16_t)l->port, l->tcp_port, smtp_accept,
				&s->listener[i])) {
			strbuf_addf(why, "cannot listen on TCP port %u", l->tcp_port);
			return false;
		}
	}
	return true;
}

// --- open and close ---

static bool
smtp_pools_init(struct smtp *s, const struct smtp_args *args)
{
	const struct policy_settings *set = args->policy->view.settings;
	struct siphash_key key;
	uint32_t sessions = set->machine_sessions_max, scans = set->machine_scans_max;
	memcpy(&key, args->secret, sizeof(key));
	key.k0 ^= 0x636c69656e747321; // another function than that of the flow table
	// Each transaction may hold one connection; as many again may be idle, closing or dead.
	return pool_init(&s->sessions, s->mem, "smtp sessions", sizeof(struct smtp_session),
			 sessions) &&
	       pool_init(&s->lines, s->mem, "smtp lines", sizeof(struct smtp_line),
			 sessions + 64) &&
	       pool_init(&s->txs, s->mem, "smtp transactions", sizeof(struct smtp_tx), scans) &&
	       pool_init(&s->backends, s->mem, "smtp backends", sizeof(struct smtp_backend),
			 2 * scans + SMTP_HOPS_MAX) &&
	       clients_init(&s->clients, s->mem, sessions, key);
}

struct smtp *
smtp_open(const struct smtp_args *args, uint64_t now_us, struct strbuf *why)
{
	CHECK(args->tcp != NULL && args->chunks != NULL && args->scanner != NULL);
	CHECK(args->policy != NULL && args->counters != NULL && args->report != NULL);
	struct smtp *s = mem_get(args->mem, sizeof(*s), "smtp");
	if (s == NULL) {
		strbuf_add_str(why, "no memory for the SMTP tables");
		return NULL;
	}
	s->tcp = args->tcp;
	s->chunks = args->chunks;
	s->scanner = args->scanner;
	s->counters = args->counters;
	s->report = args->report;
	s->trace_ring = args->trace_ring != NULL ? args->trace_ring : &trace_off;
	s->mem = args->mem;
	s->trace = args->trace;
	s->trace_ctx = args->trace_ctx;
	s->worker = args->worker;
	s->now_us = now_us;
	s->policy[0].use = args->policy;
	list_init(&s->session_list);
	list_init(&s->tx_list);
	list_init(&s->waiting);
	wheel_init(&s->wheel, smtp_now_ms(s));
	for (uint32_t i = 0; i < SMTP_HOPS_MAX; i++) {
		wheel_node_init(&s->hop[i].timer.node);
		s->hop[i].timer.kind = SMTP_TIMER_HOP;
		list_init(&s->hop[i].idle);
	}
	if (!smtp_pools_init(s, args)) {
		strbuf_add_str(why, "no memory for SMTP sessions");
		smtp_close(&s);
		return NULL;
	}
	if (!smtp_listen(s, args, why)) {
		smtp_close(&s);
		return NULL;
	}
	smtp_hops_sync(s);
	return s;
}

// For the end of the process and of tests: nobody is told, TCP is closed by its owner.
void
smtp_close(struct smtp **sp)
{
	struct smtp *s = *sp;
	if (s == NULL)
		return;
	struct list_node *n;
	while ((n = list_pop_front(&s->session_list)) != NULL) {
		struct smtp_session *ses = CONTAINER_OF(n, struct smtp_session, node);
		if (ses->tx != NULL)
			smtp_tx_scan_close(ses->tx);
		if (ses->tx != NULL)
			chunkq_clear(&ses->tx->body, s->chunks);
	}
	pool_fini(&s->sessions);
	pool_fini(&s->lines);
	pool_fini(&s->txs);
	pool_fini(&s->backends);
	clients_fini(&s->clients);
	mem_put(s->mem, s, sizeof(*s));
	*sp = NULL;
}

uint32_t
smtp_session_count(const struct smtp *s)
{
	return s->session_list.count;
}

struct smtp_usage
smtp_usage(const struct smtp *s)
{
	return (struct smtp_usage){
		.sessions = s->sessions.used,
		.transactions = s->txs.used,
		.backends = s->backends.used,
		.clients = clients_count(&s->clients),
	};
}

// --- time ---

uint32_t
smtp_run(struct smtp *s, uint64_t now_us, uint64_t wall_us, uint32_t most)
{
	CHECK(now_us >= s->now_us);
	s->now_us = now_us;
	s->wall_us = wall_us;
	uint32_t work = wheel_run(&s->wheel, smtp_now_ms(s), most, smtp_fire, s);
	work += smtp_relay_run(s);
	work += smtp_ask_run(s);
	__atomic_store_n(&s->counters->sessions_open, s->session_list.count, __ATOMIC_RELAXED);
	__atomic_store_n(&s->counters->backends_open, s->backends.used, __ATOMIC_RELAXED);
	return work;
}

uint64_t
smtp_next_ms(const struct smtp *s)
{
	return s->ask_count > 0 ? smtp_now_ms(s) : wheel_next_ms(&s->wheel);
}
