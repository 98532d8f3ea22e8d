// SPDX-License-Identifier: Apache-2.0
// The client half: one connection to a mail server, from connect to QUIT. Runs on the owning
// worker. What the server says is hostile input: smtp_reply.c parses it, and every code has its
// place below or ends in BAD_REPLY.

#include "dataplane/smtp_session.h"

#include <string.h>

#define BACKEND_LINE_SIZE 1024 // MAIL and RCPT together: twice 254 bytes and some words

enum backend_exit {
	EXIT_ABORT, // RST
	EXIT_CLOSE, // FIN: the server has closed or said 421
	EXIT_QUIT,  // in order
	EXIT_GONE,  // TCP has ended it
};

static const struct tcp_user_ops backend_ops;

static const struct policy_settings *
backend_settings(const struct smtp_backend *b)
{
	return smtp_policy_now(b->smtp)->view.settings;
}

static void
backend_arm_ms(struct smtp_backend *b, uint64_t ms)
{
	if (b->is_broken)
		return;
	smtp_timer_stop(b->smtp, &b->timer);
	smtp_timer_set(b->smtp, &b->timer, ms);
}

static void
backend_arm(struct smtp_backend *b, uint32_t seconds)
{
	backend_arm_ms(b, seconds * 1000ull);
}

static void
backend_write(struct smtp_backend *b, struct span bytes)
{
	CHECK(b->conn != NULL);
	if (b->is_broken || tcp_conn_write(b->conn, bytes) == bytes.n)
		return;
	// No memory for a command: the timer ends the connection, not a call from inside the
	// caller.
	COUNT(b->smtp->counters, SHED_MEMORY);
	smtp_timer_stop(b->smtp, &b->timer);
	smtp_timer_set(b->smtp, &b->timer, 0);
	b->is_broken = true;
}

static void
backend_settle(struct smtp_backend *b)
{
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	if (b->state != BACKEND_DEAD || b->conn != NULL)
		return;
	CHECK(b->tx == NULL);
	CHECK(!list_node_is_linked(&b->node));
	CHECK(b->hop->probe != b);
	CHECK(b->hop->conn_count > 0);
	smtp_timer_stop(b->smtp, &b->timer);
	b->hop->conn_count--;
	pool_put(&b->smtp->backends, b);
}

// It is nobody's future connection any more: it is READY, or it ends.
static void
backend_adopt(struct smtp_backend *b)
{
	if (!b->is_orphan)
		return;
	CHECK(b->hop->orphan_count > 0);
	b->hop->orphan_count--;
	b->is_orphan = false;
}

// Ends the connection; b is freed by the settle of this entry or by TCP's last call.
static void
backend_leave(struct smtp_backend *b, enum backend_exit how)
{
	CHECK(b->tx == NULL);
	backend_adopt(b);
	if (b->hop->probe == b)
		b->hop->probe = NULL;
	if (list_node_is_linked(&b->node)) {
		list_remove(&b->hop->idle, &b->node);
		list_node_init(&b->node);
	}
	smtp_timer_stop(b->smtp, &b->timer);
	if (how == EXIT_QUIT && !b->is_broken) {
		b->state = BACKEND_QUIT;
		backend_arm(b, SMTP_QUIT_MS / 1000);
		backend_write(b, SPAN_LIT("QUIT\r\n"));
		return;
	}
	b->state = BACKEND_DEAD;
	switch (how) {
	case EXIT_QUIT:
	case EXIT_ABORT:
		tcp_conn_abort(b->conn);
		return; // gone follows
	case EXIT_CLOSE:
		tcp_conn_close(b->conn);
		tcp_conn_forget(b->conn);
		break;
	case EXIT_GONE:
		break;
	}
	b->conn = NULL;
}

// Why a connection did not get as far as READY, in the operator's words.
static void
backend_fault(const struct smtp_backend *b, enum smtp_lost why, struct strbuf *out)
{
	static const char *const texts[SMTP_LOST_COUNT] = {
		[SMTP_LOST_CONNECT] = "no answer",
		[SMTP_LOST_CLOSED] = "closed the connection before it was ready",
		[SMTP_LOST_TIMEOUT] = "connected, but no greeting in time",
		[SMTP_LOST_BAD_REPLY] = "an answer that is not SMTP",
	};
	if (why == SMTP_LOST_GREETING || why == SMTP_LOST_BUSY) {
		const struct smtp_reply *r = &b->parser.reply; // refused with this
		struct span all = span_of(r->text, r->len);
		int64_t end = span_find(all, '\n');
		strbuf_addf(out, "%u %s%s", r->code, r->enhanced,
			    r->enhanced[0] != '\0' ? " " : "");
		smtp_text_clean(out, end < 0 ? all : span_sub(all, 0, (uint32_t)end));
	} else if (why == SMTP_LOST_CONNECT && b->is_refused) {
		strbuf_add_str(out, "connection refused");
	} else {
		strbuf_add_str(out, texts[why] != NULL ? texts[why] : "lost");
	}
}

// The connection is of no use any more: tells the transaction, if any, last of all.
static void
backend_lose(struct smtp_backend *b, enum smtp_lost why, enum backend_exit how)
{
	char fault[VERDICT_EVIDENCE_SIZE];
	struct strbuf out;
	struct counters *cs = b->smtp->counters;
	struct smtp_tx *tx = b->tx;
	bool early = b->state < BACKEND_READY;
	bool stale =
		b->is_reused && !b->is_proven && (why == SMTP_LOST_CLOSED || why == SMTP_LOST_BUSY);
	if (why == SMTP_LOST_TIMEOUT || (why == SMTP_LOST_CONNECT && how == EXIT_ABORT))
		COUNT(cs, BACKEND_TIMEOUT);
	else if (why == SMTP_LOST_BAD_REPLY)
		COUNT(cs, BACKEND_BAD_REPLY);
	else if (!early && tx != NULL && !stale)
		COUNT(cs, BACKEND_CLOSED);
	if (early && why != SMTP_LOST_MEMORY && why != SMTP_LOST_EIGHTBIT) {
		COUNT(cs, BACKEND_DOWN);
		strbuf_init(&out, fault, sizeof(fault));
		backend_fault(b, why, &out);
		smtp_hop_failed(b->smtp, b->hop, strbuf_span(&out));
	} else if (b->hop->probe == b) {
		smtp_hop_unheard(b->smtp, b->hop);
	}
	if (tx != NULL) {
		smtp_capture_half(tx, b->conn, false);
		if (!early && !stale)
			smtp_anomaly(tx->session);
	}
	b->tx = NULL;
	backend_leave(b, how);
	if (tx == NULL)
		return;
	CHECK(tx->backend == b);
	tx->backend = NULL;
	smtp_relay_lost(tx, why, early, stale);
}

// --- commands ---

static void
backend_greet(struct smtp_backend *b, const char *verb)
{
	char mem[320];
	struct strbuf out;
	const struct policy_view *v = &smtp_policy_now(b->smtp)->view;
	strbuf_init(&out, mem, sizeof(mem));
	strbuf_add_str(&out, verb);
	strbuf_add(&out, policy_text(v, v->settings->server_hostname));
	strbuf_add_str(&out, "\r\n");
	CHECK(!out.truncated);
	b->ehlo_lines = 0;
	backend_arm(b, backend_settings(b)->timeouts_backend_command_s);
	backend_write(b, strbuf_span(&out));
}

static void
backend_envelope(struct smtp_backend *b)
{
	char mem[BACKEND_LINE_SIZE];
	struct strbuf out;
	const struct smtp_tx *tx = b->tx;
	CHECK(b->state == BACKEND_READY);
	CHECK(tx->phase == TX_RCPT);
	strbuf_init(&out, mem, sizeof(mem));
	b->rcpt_is_out = b->mail_done || b->caps.pipelining;
	if (!b->mail_done) {
		b->state = BACKEND_MAIL;
		strbuf_add_str(&out, "MAIL FROM:<");
		strbuf_add(&out, tx->ev.from);
		strbuf_add_str(&out, ">");
		if (b->caps.has_size && tx->ev.size_declared > 0)
			strbuf_addf(&out, " SIZE=%llu", (unsigned long long)tx->ev.size_declared);
		if (b->caps.eightbit && tx->body_type != SMTP_BODY_NONE)
			strbuf_add_str(&out, tx->body_type == SMTP_BODY_8BITMIME ? " BODY=8BITMIME"
										 : " BODY=7BIT");
		strbuf_add_str(&out, "\r\n");
	} else {
		b->state = BACKEND_RCPT;
	}
	if (b->rcpt_is_out) {
		strbuf_add_str(&out, "RCPT TO:<");
		strbuf_add(&out, tx->ev.rcpt);
		strbuf_add_str(&out, ">\r\n");
	}
	CHECK(!out.truncated);
	backend_arm(b, backend_settings(b)->timeouts_backend_command_s);
	backend_write(b, strbuf_span(&out));
}

void
smtp_backend_rcpt(struct smtp_backend *b)
{
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	CHECK(b->tx != NULL);
	if (b->state == BACKEND_READY)
		backend_envelope(b);
	else
		CHECK(b->state < BACKEND_READY); // goes out when it is
}

void
smtp_backend_data(struct smtp_backend *b)
{
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	CHECK(b->state == BACKEND_READY);
	CHECK(b->mail_done && b->tx->rcpt_passed > 0);
	b->state = BACKEND_DATA;
	backend_arm(b, backend_settings(b)->timeouts_backend_data_s);
	backend_write(b, SPAN_LIT("DATA\r\n"));
}

// Moves the body on. While bytes are in flight, a chunk that is not full stays behind to be filled
// up: else a client that sends single bytes would fill the send queue with chunks of one byte.
static void
backend_move(struct smtp_backend *b, struct chunkq *q, bool all)
{
	struct chunk *last = q->last, *before = q->first;
	uint32_t unsent = tcp_conn_unsent(b->conn);
	if (tcp_conn_is_full(b->conn) || last == NULL)
		return;
	if (all || unsent == 0 || (uint32_t)last->off + last->len == CHUNK_DATA) {
		(void)tcp_conn_write_chunks(b->conn, q);
		return;
	}
	if (before == last)
		return;
	while (before->next != last) // bounded by q->count
		before = before->next;
	before->next = NULL;
	q->last = before;
	q->count--;
	q->bytes -= last->len;
	(void)tcp_conn_write_chunks(b->conn, q);
	chunkq_push(q, last);
}

// The server has the time of backend_final_s from the moment that all is on its way. As long as it
// has not taken it, it must go on taking: each piece within backend_block_s, as before.
static void
backend_arm_final(struct smtp_backend *b)
{
	uint64_t now_us = b->smtp->now_us;
	uint64_t ms = now_us < b->final_us ? (b->final_us - now_us) / 1000 : 0;

	if (tcp_conn_unsent(b->conn) > 0)
		ms = MIN(ms, backend_settings(b)->timeouts_backend_block_s * 1000ull);
	backend_arm_ms(b, ms);
}

// The next piece has to be taken in time, and all of them before the message's own time is over: a
// backend that takes a few bytes now and then would hold half a megabyte for days.
static void
backend_arm_body(struct smtp_backend *b)
{
	const struct policy_settings *set = backend_settings(b);
	uint64_t ms = set->timeouts_backend_block_s * 1000ull;

	backend_arm_ms(b, MIN(ms, smtp_tx_left_ms(b->tx, set)));
}

void
smtp_backend_pump(struct smtp_backend *b)
{
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	struct smtp_tx *tx = b->tx;
	if (b->state != BACKEND_BODY)
		return;
	backend_move(b, &tx->body, tx->is_accepted);
	if (chunkq_is_empty(&tx->body) && tx->is_accepted) {
		b->state = BACKEND_FINAL;
		b->final_us = b->smtp->now_us +
			      backend_settings(b)->timeouts_backend_final_s * 1000000ull;
		backend_arm_final(b);
	} else {
		backend_arm_body(b);
	}
}

bool
smtp_backend_has_all(const struct smtp_backend *b)
{
	return b->state == BACKEND_FINAL;
}

// --- lending ---

static struct smtp_backend *
backend_open(struct smtp *s, struct smtp_hop *h)
{
	struct smtp_backend *b = pool_get(&s->backends);
	if (b == NULL)
		return NULL;
	*b = (struct smtp_backend){
		.magic = SMTP_BACKEND_MAGIC, .state = BACKEND_CONNECTING, .smtp = s, .hop = h};
	list_node_init(&b->node);
	wheel_node_init(&b->timer.node);
	b->timer.kind = SMTP_TIMER_BACKEND;
	smtp_reply_parser_init(&b->parser);
	b->conn = tcp_conn_open(s->tcp, &h->addr, h->port, &backend_ops, b);
	if (b->conn == NULL) {
		pool_put(&s->backends, b);
		return NULL;
	}
	h->conn_count++;
	COUNT(s->counters, BACKEND_CONNECTS);
	backend_arm(b, backend_settings(b)->timeouts_backend_connect_s);
	return b;
}

bool
smtp_backend_probe(struct smtp *s, struct smtp_hop *h)
{
	CHECK(h->probe == NULL);
	struct smtp_backend *b = backend_open(s, h);
	if (b == NULL)
		return false;
	b->is_probe = true;
	h->probe = b;
	return true;
}

bool
smtp_backend_take(struct smtp_hop *h, struct smtp_tx *tx, bool fresh)
{
	struct smtp *s = tx->session->smtp;
	struct smtp_backend *b;
	CHECK(tx->backend == NULL);
	if (tx->body_type == SMTP_BODY_8BITMIME && h->is_known && !h->caps.eightbit)
		return false; // it has lost 8BITMIME since we offered it (RFC 6152 3)
	struct list_node *n = fresh ? NULL : list_pop_front(&h->idle);
	if (n != NULL) {
		b = CONTAINER_OF(n, struct smtp_backend, node);
		OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
		CHECK(b->state == BACKEND_READY);
		CHECK(b->tx == NULL && !b->mail_done);
		list_node_init(&b->node);
		smtp_timer_stop(s, &b->timer);
		b->is_reused = true;
		COUNT(s->counters, BACKEND_REUSED);
	} else {
		b = backend_open(s, h);
		if (b == NULL)
			return false;
	}
	b->is_proven = false;
	b->tx_count++;
	b->tx = tx;
	tx->backend = b;
	smtp_capture_half(tx, b->conn, true);
	return true;
}

static void
backend_idle(struct smtp_backend *b)
{
	uint32_t keep_s = backend_settings(b)->timeouts_backend_idle_s;
	CHECK(b->state == BACKEND_READY);
	CHECK(b->tx == NULL && !b->mail_done);
	if (keep_s == 0 || b->tx_count >= SMTP_BACKEND_TX_MAX ||
	    b->hop->idle.count >= SMTP_IDLE_MAX || b->is_broken) {
		backend_leave(b, EXIT_QUIT);
		return;
	}
	list_push_front(&b->hop->idle, &b->node);
	backend_arm(b, keep_s);
}

void
smtp_backend_release(struct smtp_tx *tx)
{
	struct smtp_backend *b = tx->backend;
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	CHECK(b->tx == tx);
	smtp_capture_half(tx, b->conn, false);
	tx->backend = NULL;
	b->tx = NULL;
	if (b->state < BACKEND_READY && backend_settings(b)->timeouts_backend_idle_s > 0 &&
	    b->hop->orphan_count < SMTP_IDLE_MAX) {
		b->is_orphan = true; // the next transaction will be glad of it
		b->hop->orphan_count++;
		return;
	}
	if (b->state != BACKEND_READY) {
		backend_leave(b, EXIT_ABORT);
	} else if (b->mail_done) {
		b->state = BACKEND_RSET;
		b->mail_done = false;
		backend_arm(b, backend_settings(b)->timeouts_backend_command_s);
		backend_write(b, SPAN_LIT("RSET\r\n"));
	} else {
		backend_idle(b);
	}
}

// --- answers ---

static void
backend_ready(struct smtp_backend *b)
{
	b->state = BACKEND_READY;
	backend_adopt(b);
	smtp_timer_stop(b->smtp, &b->timer);
	smtp_hop_learned(b->smtp, b->hop, &b->caps);
	if (b->is_probe) {
		backend_leave(b, EXIT_QUIT);
	} else if (b->tx == NULL) {
		backend_idle(b);
	} else if (b->tx->body_type == SMTP_BODY_8BITMIME && !b->caps.eightbit) {
		b->state = BACKEND_HELO; // as early as the others: the next hop may do
		backend_lose(b, SMTP_LOST_EIGHTBIT, EXIT_QUIT);
	} else if (b->tx->phase == TX_RCPT) {
		backend_envelope(b);
	}
}

// One line of the EHLO reply; the first is the greeting.
static void
backend_capability(struct smtp_backend *b, struct span line)
{
	if (b->ehlo_lines == 0)
		b->caps = (struct smtp_caps){0};
	if (b->ehlo_lines < UINT8_MAX)
		b->ehlo_lines++;
	if (b->ehlo_lines == 1)
		return;
	int64_t space = span_find(line, ' ');
	struct span word = space < 0 ? line : span_sub(line, 0, (uint32_t)space);
	struct span rest = space < 0 ? SPAN_NONE : span_trim(span_from(line, (uint32_t)space));
	if (span_eq_nocase(word, SPAN_LIT("PIPELINING"))) {
		b->caps.pipelining = true;
	} else if (span_eq_nocase(word, SPAN_LIT("8BITMIME"))) {
		b->caps.eightbit = true;
	} else if (span_eq_nocase(word, SPAN_LIT("SIZE"))) {
		b->caps.has_size = true;
		if (!span_u64(rest, UINT64_MAX, &b->caps.size_max))
			b->caps.size_max = 0;
	}
}

static void
answer_greeting(struct smtp_backend *b, const struct smtp_reply *r)
{
	if (b->state == BACKEND_BANNER && r->code == 220) {
		b->state = BACKEND_EHLO;
		backend_greet(b, "EHLO ");
	} else if (b->state == BACKEND_EHLO && r->code == 250) {
		backend_ready(b);
	} else if (b->state == BACKEND_EHLO && r->code >= 500) {
		b->state = BACKEND_HELO;
		backend_greet(b, "HELO ");
	} else if (b->state == BACKEND_HELO && r->code == 250) {
		b->caps = (struct smtp_caps){0};
		backend_ready(b);
	} else {
		backend_lose(b, SMTP_LOST_GREETING, EXIT_QUIT);
	}
}

static void
answer_mail(struct smtp_backend *b, struct smtp_reply *r)
{
	if (r->code < 300) {
		b->mail_done = true;
		if (b->rcpt_is_out) {
			b->state = BACKEND_RCPT;
			backend_arm(b, backend_settings(b)->timeouts_backend_command_s);
		} else {
			b->state = BACKEND_READY;
			backend_envelope(b);
		}
	} else if (b->rcpt_is_out) {
		b->mail_refusal = *r;
		b->state = BACKEND_RCPT_VOID;
	} else {
		b->state = BACKEND_READY;
		b->is_proven = true;
		smtp_timer_stop(b->smtp, &b->timer);
		smtp_relay_rcpt_answer(b->tx, r, true);
	}
}

static void
answer_rcpt(struct smtp_backend *b, struct smtp_reply *r)
{
	bool is_void = b->state == BACKEND_RCPT_VOID;
	if (is_void && r->code < 300) {
		backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT); // a recipient without a sender
		return;
	}
	b->state = BACKEND_READY;
	b->is_proven = true;
	smtp_timer_stop(b->smtp, &b->timer);
	smtp_relay_rcpt_answer(b->tx, is_void ? &b->mail_refusal : r, is_void);
}

static void
answer_final(struct smtp_backend *b, struct smtp_reply *r)
{
	bool has_all = tcp_conn_unsent(b->conn) == 0;
	if (r->code < 300 && !has_all) {
		backend_lose(b, SMTP_LOST_BAD_REPLY,
			     EXIT_ABORT); // it cannot have what it says it took
		return;
	}
	if (has_all) {
		b->state = BACKEND_READY;
		b->mail_done = false;
		smtp_timer_stop(b->smtp, &b->timer);
	}
	if (r->code < 300)
		smtp_relay_delivered(b->tx, r);
	else
		smtp_relay_refused(b->tx, r);
}

static void
backend_answer(struct smtp_backend *b, struct smtp_reply *r)
{
	if (r->code == 421) {
		backend_lose(b, SMTP_LOST_BUSY, EXIT_CLOSE);
		return;
	}
	if (r->code >= 300 && r->code < 400 && !(b->state == BACKEND_DATA && r->code == 354)) {
		backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT);
		return;
	}
	switch (b->state) {
	case BACKEND_BANNER:
	case BACKEND_EHLO:
	case BACKEND_HELO:
		answer_greeting(b, r);
		return;
	case BACKEND_MAIL:
		answer_mail(b, r);
		return;
	case BACKEND_RCPT:
	case BACKEND_RCPT_VOID:
		answer_rcpt(b, r);
		return;
	case BACKEND_DATA:
		if (r->code == 354) {
			b->state = BACKEND_BODY;
			smtp_relay_data_go(b->tx);
		} else if (r->code >= 400) {
			b->state = BACKEND_READY;
			smtp_timer_stop(b->smtp, &b->timer);
			smtp_relay_refused(b->tx, r);
		} else {
			backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT);
		}
		return;
	case BACKEND_BODY:
		if (r->code >= 400)
			smtp_relay_refused(b->tx, r); // its release aborts: the body is half way
		else
			backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT);
		return;
	case BACKEND_FINAL:
		answer_final(b, r);
		return;
	case BACKEND_RSET:
		if (r->code >= 300) {
			backend_leave(b, EXIT_QUIT);
			return;
		}
		b->state = BACKEND_READY;
		backend_idle(b);
		return;
	case BACKEND_CONNECTING:
	case BACKEND_READY: // nobody has asked
		backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT);
		return;
	case BACKEND_QUIT:
	case BACKEND_DEAD:
		return;
	}
	CHECK(false);
}

// --- TCP's calls ---

// A whole reply. `rest`: bytes came behind it. If it made us send the next command, they were there
// before that command and cannot answer it; taken for its answer, each later reply would answer the
// wrong command.
static void
backend_reply(struct smtp_backend *b, bool rest)
{
	bool has_two_out = b->state == BACKEND_MAIL && b->rcpt_is_out;
	backend_answer(b, &b->parser.reply);
	if (!rest || has_two_out)
		return;
	switch (b->state) {
	case BACKEND_EHLO:
	case BACKEND_HELO:
	case BACKEND_MAIL:
	case BACKEND_RCPT:
		backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT);
		return;
	default:
		return; // the next turn hears it
	}
}

static uint32_t
backend_recv(void *user, struct tcp_conn *c, struct span data)
{
	struct smtp_backend *b = user;
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	(void)c;
	uint32_t done = 0;
	// It is broken: nothing can be an answer to a command that was not sent; its timer ends it.
	while (done < data.n && !b->is_broken && b->state != BACKEND_QUIT &&
	       b->state != BACKEND_DEAD) {
		struct span text;
		uint32_t taken = 0;
		if (b->state == BACKEND_READY && b->tx == NULL) {
			backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT); // speaks while idle
			break;
		}
		enum smtp_reply_step step =
			smtp_reply_parse(&b->parser, span_from(data, done), &taken, &text);
		done += taken;
		bool is_line = step == SMTP_REPLY_LINE || step == SMTP_REPLY_DONE;
		if (is_line && b->state == BACKEND_EHLO)
			backend_capability(b, text);
		if (step == SMTP_REPLY_DONE)
			backend_reply(b, done < data.n);
		else if (step == SMTP_REPLY_BAD)
			backend_lose(b, SMTP_LOST_BAD_REPLY, EXIT_ABORT);
	}
	backend_settle(b);
	return data.n;
}

static void
backend_opened(void *user, struct tcp_conn *c)
{
	struct smtp_backend *b = user;
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	(void)c;
	if (b->state != BACKEND_CONNECTING)
		return;
	b->state = BACKEND_BANNER;
	backend_arm(b, backend_settings(b)->timeouts_backend_banner_s);
}

static void
backend_sent(void *user, struct tcp_conn *c)
{
	struct smtp_backend *b = user;
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	(void)c;
	if (b->state == BACKEND_FINAL)
		backend_arm_final(b);
	if (b->state != BACKEND_BODY)
		return;
	smtp_backend_pump(b);
	(void)smtp_relay_room(b->tx);
}

static void
backend_eof(void *user, struct tcp_conn *c)
{
	struct smtp_backend *b = user;
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	(void)c;
	if (b->state == BACKEND_QUIT)
		backend_leave(b, EXIT_CLOSE);
	else if (b->state != BACKEND_DEAD)
		backend_lose(b, SMTP_LOST_CLOSED, EXIT_CLOSE);
	backend_settle(b);
}

static void
backend_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct smtp_backend *b = user;
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	CHECK(b->conn == c);
	b->is_refused = why == TCP_GONE_REFUSED;
	if (b->state == BACKEND_DEAD || b->state == BACKEND_QUIT)
		backend_leave(b, EXIT_GONE);
	else
		backend_lose(b,
			     b->state == BACKEND_CONNECTING ? SMTP_LOST_CONNECT : SMTP_LOST_CLOSED,
			     EXIT_GONE);
	backend_settle(b);
}

static const struct tcp_user_ops backend_ops = {.open = backend_opened,
						.recv = backend_recv,
						.sent = backend_sent,
						.eof = backend_eof,
						.gone = backend_gone};

void
smtp_backend_fire(struct smtp_backend *b)
{
	OBJ_CHECK(b, SMTP_BACKEND_MAGIC);
	if (b->is_broken && b->state != BACKEND_DEAD) {
		backend_lose(b, SMTP_LOST_MEMORY, EXIT_ABORT);
		backend_settle(b);
		return;
	}
	switch (b->state) {
	case BACKEND_CONNECTING:
		backend_lose(b, SMTP_LOST_CONNECT, EXIT_ABORT);
		break;
	case BACKEND_READY:
		if (b->tx == NULL)
			backend_leave(b, EXIT_QUIT); // idle long enough
		break;
	case BACKEND_BODY:
		// Nothing on its way: it is the client who is slow, and its own timer knows.
		if (tcp_conn_unsent(b->conn) == 0 && chunkq_is_empty(&b->tx->body))
			backend_arm(b, backend_settings(b)->timeouts_backend_block_s);
		else
			backend_lose(b, SMTP_LOST_TIMEOUT, EXIT_ABORT);
		break;
	case BACKEND_QUIT:
		backend_leave(b, EXIT_CLOSE);
		break;
	case BACKEND_DEAD:
		break;
	default:
		backend_lose(b, SMTP_LOST_TIMEOUT, EXIT_ABORT);
		break;
	}
	backend_settle(b);
}
