// SPDX-License-Identifier: Apache-2.0
// The message on its way: recipients to the backend, the body through framing and scanner into the
// hold queue, verdict, cut-through, edits, and the backend's answer back to the client. Runs on the
// session's worker.
//
//   RCPT: take a backend, MAIL and RCPT to it, its answer to the client. DATA: 354 is ours.
//   body run: hold queue and scanner; beyond hold_bytes_max, or its share of memory: cut through
//     (DATA, chunks move)
//   CRLF.CRLF: scan_end, OnEndOfHeaders, loop, causes, OnEndOfData, OnSubmitted, OnRouted, then
//     no:  answer now; the backend gets RSET, or RST where bytes of the message are already there
//     yes: [backend DATA], edits, body, terminator; its 250, and only that, is the client's

#include <stdlib.h>
#include <string.h>

#include "dataplane/smtp_session.h"

#define RELAY_EDIT_MAX 1024
#define RELAY_LATE_MS 1000u         // behind the backend's own timers, which know better
#define RELAY_LOOKS 32u             // messages that wait, looked at in one turn
#define RELAY_STEP_BYTES CHUNK_DATA // no less is worth a turn
#define RELAY_STEP_CHUNKS 8u        // that such a step takes, with edits and a terminator

static const struct smtp_refusal lost_rows[SMTP_LOST_COUNT] = {
	[SMTP_LOST_CONNECT] = {451, "4.4.1", "Mail server does not answer, try again later"},
	[SMTP_LOST_GREETING] = {451, "4.4.1", "Mail server is not available, try again later"},
	[SMTP_LOST_CLOSED] = {451, "4.4.2",
			      "Connection to the mail server was lost, try again later"},
	[SMTP_LOST_TIMEOUT] = {451, "4.4.2", "Mail server did not answer in time, try again later"},
	[SMTP_LOST_BAD_REPLY] = {451, "4.3.0",
				 "Mail server gave an unusable answer, try again later"},
	[SMTP_LOST_BUSY] = {451, "4.3.2", "Mail server is not accepting mail now, try again later"},
	[SMTP_LOST_EIGHTBIT] = {451, "4.4.1", "Mail server is not available, try again later"},
	[SMTP_LOST_MEMORY] = {451, "4.3.1", "Insufficient system resources, try again later"},
};
static const struct smtp_refusal no_memory = {452, "4.3.1",
					      "Insufficient system resources, try again later"};
static const struct smtp_refusal too_large = {552, "5.3.4",
					      "Message size exceeds fixed maximum message size",
					      "limits.message_bytes_max"};
static const struct smtp_refusal loop = {554, "5.4.6", "Too many hops, mail loop detected",
					 "limits.hops_max"};
static const char scan_defer[] = "Message could not be scanned in full, try again";
static const char scan_reject[] = "Message could not be scanned in full";

static struct smtp_tx *
live(const struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	return tx != NULL && !tx->is_doomed && !tx->is_deleted ? tx : NULL;
}

// For the log: which backend said so, or is not there.
static void
verdict_name_backend(struct verdict *v, const struct smtp_tx *tx)
{
	struct strbuf b;
	if (!tx->has_hop || tx->policy == NULL)
		return;
	const struct policy_view *p = &tx->policy->view;
	CHECK(tx->hop_row < p->count[POLICY_HOPS]);
	strbuf_init(&b, v->rule, sizeof(v->rule));
	strbuf_add_str(&b, "backend ");
	strbuf_add(&b, policy_text(p, p->hops[tx->hop_row].name));
}

// A lost connection as a verdict.
static void
verdict_from_loss(struct verdict *v, const struct smtp_tx *tx, const struct smtp_refusal *why)
{
	smtp_verdict_row(v, why);
	if (why >= lost_rows && why < lost_rows + SMTP_LOST_COUNT)
		verdict_name_backend(v, tx);
}

// A backend's refusal as a verdict, for OnReject and the log: its first line.
static void
verdict_from_reply(struct verdict *v, const struct smtp_tx *tx, struct smtp_reply *r)
{
	char text[VERDICT_TEXT_SIZE];
	struct strbuf b;
	smtp_reply_complete(r);
	struct span all = span_of(r->text, r->len);
	int64_t end = span_find(all, '\n');
	strbuf_init(&b, text, sizeof(text));
	smtp_text_clean(&b, end < 0 ? all : span_sub(all, 0, (uint32_t)end));
	smtp_verdict_protocol(v, r->code, r->enhanced, text);
	verdict_name_backend(v, tx);
}

// --- recipients ---

// The first hop of the session's direction that connecting has not failed to yet; those believed to
// be up first.
static bool
relay_take(struct smtp_tx *tx, bool fresh)
{
	struct smtp *smtp = tx->session->smtp;
	const struct policy_view *v = &tx->policy->view;
	for (uint32_t pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < v->count[POLICY_HOPS] && i < 32; i++) {
			if (v->hops[i].direction != tx->session->ev.direction ||
			    (tx->tried & (1u << i)))
				continue;
			struct smtp_hop *h = smtp_hop_find(smtp, v, i);
			if (h == NULL || (pass == 0 && h->is_down))
				continue;
			tx->hop_row = (uint8_t)i;
			tx->has_hop = true;
			if (smtp_backend_take(h, tx, fresh))
				return true;
			tx->tried |= 1u << i;
		}
	return false;
}

void
smtp_relay_rcpt_refused(struct smtp_tx *tx, const struct smtp_refusal *why)
{
	struct smtp_session *s = tx->session;
	struct verdict v;
	tx->phase = TX_OPEN;
	s->commands++;
	verdict_from_loss(&v, tx, why);
	smtp_log_refusal(s, EVENT_RCPT, &v);
	smtp_session_no(s, &v, false, NULL);
	smtp_session_go_on(s);
}

void
smtp_relay_rcpt(struct smtp_tx *tx)
{
	struct smtp_session *s = tx->session;
	CHECK(tx->phase == TX_OPEN);
	CHECK(s->state == SMTP_COMMAND);
	CHECK(tx->policy != NULL);
	smtp_tx_moved(tx);
	tx->tried = 0;
	tx->is_retried = false;
	if (tx->backend == NULL && !relay_take(tx, false)) {
		smtp_relay_rcpt_refused(tx, &lost_rows[SMTP_LOST_CONNECT]);
		return;
	}
	tx->phase = TX_RCPT;
	smtp_session_wait(s);
	smtp_backend_rcpt(tx->backend);
}

void
smtp_relay_rcpt_accepted(struct smtp_tx *tx, struct smtp_reply *r)
{
	struct smtp_session *s = tx->session;
	tx->phase = TX_OPEN;
	tx->ev.rcpt_count++;
	if (tx->rcpts.len > 0)
		strbuf_add_str(&tx->rcpts, ", ");
	strbuf_add(&tx->rcpts, tx->ev.rcpt);
	if (r == NULL) {
		smtp_session_say(s, 250, "2.1.5", "Recipient OK");
		return;
	}
	smtp_reply_complete(r);
	smtp_session_reply(s, r);
}

void
smtp_relay_rcpt_answer(struct smtp_tx *tx, struct smtp_reply *r, bool for_mail)
{
	struct smtp_session *s = tx->session;
	CHECK(tx->phase == TX_RCPT);
	CHECK(s->state == SMTP_WAIT);
	if (r->code < 300) {
		CHECK(!for_mail);
		tx->rcpt_passed++;
		smtp_relay_rcpt_accepted(tx, r);
	} else {
		struct verdict v;
		tx->phase = TX_OPEN;
		s->commands++; // not the client's error, but no reason to ask for ever
		verdict_from_reply(&v, tx, r);
		smtp_log_refusal(s, EVENT_RCPT, &v);
		smtp_session_no(s, &v, false, r);
	}
	smtp_session_go_on(s);
	smtp_session_settle(s);
}

// --- answers to the whole message ---

static void
relay_evidence(const struct smtp_tx *tx, struct strbuf *b)
{
	if (tx->is_sent)
		strbuf_add_str(b, tx->named);
	if (tx->ev.sender_is_blocked)
		strbuf_addf(b, "%ssender=blocked by %s", b->len > 0 ? "; " : "",
			    tx->ev.sender_rule);
	if (tx->cause_text == NULL)
		return;
	strbuf_add_str(b, b->len > 0 ? "; scan: " : "scan: ");
	strbuf_add_str(b, tx->cause_text);
}

// The doom's verdict goes to the client.
static void
relay_finish_no(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	CHECK(tx->is_doomed);
	struct verdict v = tx->verdict;
	char mem[VERDICT_EVIDENCE_SIZE];
	struct strbuf b;
	strbuf_init(&b, mem, sizeof(mem));
	relay_evidence(tx, &b);
	if (v.agent != AGENT_NONE || tx->is_over_limit)
		COUNT(s->smtp->counters, MESSAGES_REJECTED);
	else
		COUNT(s->smtp->counters, MESSAGES_FAILED);
	smtp_log_message(s, tx->verdict_event, v.action, &v, mem);
	smtp_session_no(s, &v, false, NULL);
	smtp_tx_close(s);
	smtp_session_go_on(s);
}

static void
relay_finish_deleted(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	struct verdict v = tx->verdict;
	char mem[VERDICT_EVIDENCE_SIZE];
	struct strbuf b;
	COUNT(s->smtp->counters, MESSAGES_DELETED);
	v.reply_code = 250;
	memcpy(v.enhanced, "2.6.0", 6);
	memcpy(v.text, "Message accepted", 17);
	strbuf_init(&b, mem, sizeof(mem));
	relay_evidence(tx, &b);
	smtp_log_message(s, tx->verdict_event, ACTION_DELETE_MESSAGE, &v, mem);
	bool closes = v.close;
	smtp_tx_close(s);
	smtp_session_say(s, v.reply_code, v.enhanced, v.text);
	if (closes)
		smtp_session_end(s, DISCONNECT_LOCAL, true);
	smtp_session_go_on(s);
}

void
smtp_relay_delivered(struct smtp_tx *tx, struct smtp_reply *r)
{
	struct smtp_session *s = tx->session;
	struct verdict v;
	char mem[VERDICT_EVIDENCE_SIZE];
	struct strbuf b;
	CHECK(tx->phase == TX_FINAL);
	CHECK(tx->is_accepted);
	CHECK(r->code >= 200 && r->code < 300);
	r->code = 250;
	verdict_from_reply(&v, tx, r);
	if (tx->verdict.rule[0] != '\0') // why an agent let it pass
		memcpy(v.rule, tx->verdict.rule, sizeof(v.rule));
	memcpy(v.evidence, tx->verdict.evidence, sizeof(v.evidence));
	strbuf_init(&b, mem, sizeof(mem));
	relay_evidence(tx, &b);
	COUNT(s->smtp->counters, MESSAGES_DELIVERED);
	smtp_log_message(s, EVENT_ROUTED, ACTION_ACCEPT_MESSAGE, &v, mem);
	smtp_tx_close(s);
	smtp_session_reply(s, r);
	smtp_session_go_on(s);
	smtp_session_settle(s);
}

static void
relay_fail(struct smtp_tx *tx, const struct verdict *v)
{
	struct smtp_session *s = tx->session;
	bool all_here = tx->phase == TX_FINAL;
	smtp_tx_doom(tx, all_here ? EVENT_ROUTED : EVENT_END_OF_DATA, v);
	if (all_here)
		relay_finish_no(s);
	smtp_session_settle(s);
}

void
smtp_relay_refused(struct smtp_tx *tx, struct smtp_reply *r)
{
	struct verdict v;
	CHECK(r->code >= 400 && r->code != 421);
	verdict_from_reply(&v, tx, r);
	v.action = ACTION_REJECT_MESSAGE;
	relay_fail(tx, &v);
}

static void
relay_doom_lost(struct smtp_tx *tx, enum smtp_lost why)
{
	struct verdict v;
	verdict_from_loss(&v, tx, &lost_rows[why]);
	v.action = ACTION_REJECT_MESSAGE;
	smtp_tx_doom(tx, EVENT_END_OF_DATA, &v);
}

void
smtp_relay_lost(struct smtp_tx *tx, enum smtp_lost why, bool early, bool stale)
{
	struct smtp_session *s = tx->session;
	CHECK(why < SMTP_LOST_COUNT);
	CHECK(tx->backend == NULL);
	CHECK(!tx->is_doomed && !tx->is_deleted);
	struct verdict v;
	switch (tx->phase) {
	case TX_RCPT:
		if (tx->rcpt_passed == 0 && (early || (stale && !tx->is_retried))) {
			if (early)
				tx->tried |= 1u << tx->hop_row;
			tx->is_retried = tx->is_retried || stale;
			if (relay_take(tx, stale)) {
				smtp_backend_rcpt(tx->backend);
				return;
			}
		}
		if (tx->rcpt_passed > 0)
			relay_doom_lost(tx, why);
		smtp_relay_rcpt_refused(tx, &lost_rows[why]);
		smtp_session_settle(s);
		return;
	case TX_OPEN:
		// Recipients that were accepted are gone with the connection: DATA must not succeed
		// now.
		if (tx->rcpt_passed > 0)
			relay_doom_lost(tx, why);
		return;
	case TX_BODY:
	case TX_FINAL:
		verdict_from_loss(&v, tx, &lost_rows[why]);
		v.action = ACTION_REJECT_MESSAGE;
		relay_fail(tx, &v);
		return;
	}
	CHECK(false);
}

// --- events of the message ---

static void
relay_raise(struct smtp_session *s, enum event ev)
{
	struct verdict v;
	struct smtp_tx *tx = s->tx;
	switch (smtp_session_raise(s, ev, &v, NULL)) {
	case ACTION_NONE:
	case ACTION_ACCEPT_MESSAGE:
		smtp_tx_remark(tx, &v);
		return;
	case ACTION_DELETE_MESSAGE:
	case ACTION_DELETE_RECIPIENTS: // there is one copy for all of them
		smtp_tx_delete(tx, ev, &v);
		return;
	case ACTION_DISCONNECT:
		smtp_session_drop(s, ev, &v);
		return;
	default:
		smtp_tx_doom(tx, ev, &v);
		return;
	}
}

struct relay_cause {
	uint32_t cause, policy; // enum failure_policy
	const char *rule;
};

// What could not be scanned: the strictest of the policies for its causes.
static void
relay_causes(struct smtp_tx *tx, const struct scan_result *r)
{
	const struct policy_settings *set = tx->policy->view.settings;
	const struct relay_cause rows[] = {
		{SCAN_CAUSE_LIMIT, set->scan_on_limit, "scan.on_limit"},
		{SCAN_CAUSE_BROKEN, set->scan_on_broken, "scan.on_broken"},
		{SCAN_CAUSE_AMBIGUOUS, set->scan_on_ambiguous, "scan.on_ambiguous"},
		{SCAN_CAUSE_ERROR, set->scan_on_error, "scan.on_error"},
	};
	struct smtp_refusal why = {0};
	uint32_t worst = FAILURE_PASS;
	if (r->causes == 0)
		return;
	tx->cause_text = r->cause_text != NULL ? r->cause_text : "incomplete";
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		if ((r->causes & rows[i].cause) == 0 || rows[i].policy <= worst)
			continue;
		worst = rows[i].policy;
		why.rule = rows[i].rule;
	}
	if (worst == FAILURE_DEFER)
		why = (struct smtp_refusal){451, "4.7.1", scan_defer, why.rule};
	else if (worst == FAILURE_REJECT)
		why = (struct smtp_refusal){550, "5.7.1", scan_reject, why.rule};
	if (why.code != 0)
		smtp_tx_doom_row(tx, &why);
}

// The edits go in front of what is held. False: no memory.
static bool
relay_edit(struct smtp_tx *tx, const char *scl, const char *action)
{
	struct smtp *smtp = tx->session->smtp;
	char mem[RELAY_EDIT_MAX];
	struct strbuf out, named;
	struct chunkq q;
	strbuf_init(&out, mem, sizeof(mem));
	strbuf_init(&named, tx->named, sizeof(tx->named));
	smtp_edit_build(tx, scl, action, &out, &named);
	if (out.len == 0)
		return true;
	chunkq_init(&q);
	uint32_t added = chunkq_add(&q, smtp->chunks, strbuf_span(&out));
	chunkq_take(&q, &tx->body);
	tx->body = q;
	return added == out.len;
}

// The verdict is yes: what is left of the message goes to the backend, terminator last.
static bool
relay_send(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	struct span end = SPAN_LIT(".\r\n");
	char scl[8] = "none";
	struct strbuf b;
	CHECK(tx->backend != NULL);
	CHECK(tx->data == SMTP_DATA_OVER);
	CHECK(tx->rcpt_passed > 0);
	if (tx->ev.scl_is_set) {
		strbuf_init(&b, scl, sizeof(scl));
		if (tx->ev.scl < 0)
			strbuf_add_char(&b, '-');
		strbuf_add_u64(&b, (uint64_t)abs(tx->ev.scl));
	}
	if (!tx->is_cut && !relay_edit(tx, scl, "AcceptMessage"))
		return false;
	if (chunkq_add(&tx->body, s->smtp->chunks, end) != end.n)
		return false;
	tx->is_accepted = true;
	if (tx->is_cut)
		smtp_backend_pump(tx->backend);
	else
		smtp_backend_data(tx->backend);
	return true;
}

static void
relay_judge(struct smtp_session *s)
{
	if (live(s) != NULL && scan_end(s->tx->scan) == SCAN_HEADERS_END)
		relay_raise(s, EVENT_END_OF_HEADERS);
	if (live(s) != NULL) {
		const struct scan_result *r = scan_result(s->tx->scan);
		if (r->received_count > smtp_session_settings(s)->limits_hops_max) {
			COUNT(s->smtp->counters, MESSAGES_LOOP);
			smtp_tx_doom_row(s->tx, &loop);
		} else {
			relay_causes(s->tx, r);
		}
	}
	if (live(s) != NULL)
		relay_raise(s, EVENT_END_OF_DATA);
	if (live(s) != NULL)
		relay_raise(s, EVENT_SUBMITTED);
	if (live(s) != NULL)
		relay_raise(s, EVENT_ROUTED);
}

// CRLF.CRLF has come.
static void
relay_end(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	COUNT(s->smtp->counters, MESSAGES);
	COUNT_N(s->smtp->counters, MESSAGE_BYTES, tx->ev.bytes);
	tx->phase = TX_FINAL;
	smtp_session_wait(s);
	relay_judge(s);
	if (s->tx == NULL)
		return; // an agent has dropped the session
	if (live(s) != NULL && !relay_send(s)) {
		COUNT(s->smtp->counters, SHED_MEMORY);
		smtp_tx_doom_row(tx, &no_memory);
	}
	if (tx->is_doomed)
		relay_finish_no(s);
	else if (tx->is_deleted)
		relay_finish_deleted(s);
}

// --- the body while it arrives ---

// What a message holds of this worker is its body and what its backend has not taken yet. While
// half of the memory is free it may hold what waits for the verdict and a bit; beyond that its
// share of what is left (chunk.h), so that any number of messages comes to rest before memory is
// used up. Who is at its share takes no more, its client's window closes, and its verdict waits no
// longer: what it holds goes to the backend, for only from there memory comes back. What a client
// may send into the pause is tcp_rcv.c's to bound.
static uint64_t
relay_share(const struct smtp *s)
{
	const struct chunk_pool *p = s->chunks;
	return (uint64_t)(chunk_pool_is_short(p) ? chunk_pool_share(p) : chunk_pool_spare(p)) *
	       CHUNK_DATA;
}

// Bytes that the message may take now.
static uint64_t
relay_free(const struct smtp_tx *tx)
{
	uint64_t held = tx->body.bytes, share = relay_share(tx->session->smtp);
	uint64_t bound =
		(uint64_t)tx->policy->view.settings->limits_hold_bytes_max + SMTP_CUT_BYTES;
	uint64_t room = bound > held ? bound - held : 0;

	if (tx->is_cut)
		held += tcp_conn_unsent(tx->backend->conn);
	// Who holds nothing may always take a step: memory may be full of bytes that wait in front
	// of messages, and then nobody else makes room.
	if (held == 0 && pool_free_count(&tx->session->smtp->chunks->pool) >= RELAY_STEP_CHUNKS)
		share = MAX(share, RELAY_STEP_BYTES);
	return MIN(room, share > held ? share - held : 0);
}

static void
relay_cut(struct smtp_tx *tx)
{
	CHECK(!tx->is_cut);
	CHECK(tx->backend != NULL);
	tx->is_cut = true;
	COUNT(tx->session->smtp->counters, MESSAGES_CUT_THROUGH);
	if (!relay_edit(tx, "unknown", "streamed")) {
		COUNT(tx->session->smtp->counters, SHED_MEMORY);
		smtp_tx_doom_row(tx, &no_memory);
		return;
	}
	smtp_backend_data(tx->backend);
}

static void
relay_scan(struct smtp_session *s, struct span bytes)
{
	while (bytes.n > 0 && live(s) != NULL) {
		uint32_t taken = 0;
		enum scan_step step = scan_feed(s->tx->scan, bytes, &taken);
		CHECK(taken > 0 && taken <= bytes.n);
		bytes = span_from(bytes, taken);
		if (step == SCAN_HEADERS_END)
			relay_raise(s, EVENT_END_OF_HEADERS);
		else
			CHECK(bytes.n == 0);
	}
}

static void
relay_run(struct smtp_session *s, const struct smtp_data_run *run)
{
	struct smtp_tx *tx = s->tx;
	if (!run->is_stuffing)
		tx->ev.bytes += run->bytes.n;
	if (live(s) == NULL)
		return;
	if (tx->ev.bytes > smtp_session_settings(s)->limits_message_bytes_max) {
		COUNT(s->smtp->counters, MESSAGES_TOO_LARGE);
		smtp_tx_doom_row(tx, &too_large);
		return;
	}
	uint32_t added = chunkq_add(&tx->body, s->smtp->chunks, run->bytes);
	CHECK(added == run->bytes.n); // there was room before we began
	if (!run->is_stuffing)
		relay_scan(s, run->bytes);
	if (live(s) != NULL && !tx->is_cut &&
	    tx->body.bytes > tx->policy->view.settings->limits_hold_bytes_max)
		relay_cut(tx);
}

// How much may be taken now; 0: the message has to wait.
static uint32_t
relay_allowance(struct smtp_session *s, uint32_t n)
{
	struct smtp_tx *tx = live(s);
	if (tx == NULL)
		return n; // thrown away
	uint64_t room = relay_free(tx);
	if (room >= MIN(n, RELAY_STEP_BYTES))
		return (uint32_t)MIN(n, room);
	if (tx->is_cut || chunkq_is_empty(&tx->body))
		return 0;
	COUNT(s->smtp->counters, MESSAGES_CUT_EARLY);
	relay_cut(tx);
	return tx->is_doomed ? n : 0;
}

bool
smtp_relay_waits(const struct smtp_tx *tx)
{
	return list_node_is_linked(&tx->waits);
}

// The backend's timers count while it has bytes to take, not the client's. A message that only
// waits for memory has the time that is left to it.
static void
relay_wait(struct smtp_tx *tx)
{
	struct smtp_session *s = tx->session;
	const struct policy_settings *set = smtp_session_settings(s);

	CHECK(!smtp_relay_waits(tx));
	list_push_back(&s->smtp->waiting, &tx->waits);
	COUNT(s->smtp->counters, MESSAGES_SLOWED);
	if (!s->is_broken)
		smtp_timer_set(s->smtp, &s->timer, smtp_tx_left_ms(tx, set) + RELAY_LATE_MS);
}

void
smtp_relay_wait_over(struct smtp_tx *tx)
{
	struct smtp_session *s = tx->session;

	if (!smtp_relay_waits(tx))
		return;
	list_remove(&s->smtp->waiting, &tx->waits);
	if (s->conn == NULL)
		return;
	smtp_session_arm_data(s);
	tcp_conn_resume(s->conn);
}

// A worthwhile step, or as much as it will ever get. Then it goes on, and may be over when this
// returns.
bool
smtp_relay_room(struct smtp_tx *tx)
{
	uint64_t step = MIN(SMTP_CUT_BYTES / 2, relay_share(tx->session->smtp) / 4);

	if (!smtp_relay_waits(tx) || relay_free(tx) < MAX(step, RELAY_STEP_BYTES))
		return false;
	smtp_relay_wait_over(tx);
	return true;
}

// Memory that others gave back calls nobody.
uint32_t
smtp_relay_run(struct smtp *s)
{
	uint32_t work = 0, count = MIN(s->waiting.count, RELAY_LOOKS);
	struct list_node *n;

	while (count > 0 && (n = list_pop_front(&s->waiting)) != NULL) {
		struct smtp_tx *tx = CONTAINER_OF(n, struct smtp_tx, waits);

		OBJ_CHECK(tx, SMTP_TX_MAGIC);
		list_push_back(&s->waiting, &tx->waits); // the others come before it next time
		work += smtp_relay_room(tx);
		count--;
	}
	return work;
}

uint32_t
smtp_relay_body(struct smtp_session *s, struct span in)
{
	CHECK(s->state == SMTP_DATA);
	CHECK(s->tx != NULL && s->tx->phase == TX_BODY);
	// Segments may come although it waits: when it was called back for another reason.
	list_remove(&s->smtp->waiting, &s->tx->waits);
	in.n = relay_allowance(s, in.n);
	if (in.n == 0) {
		relay_wait(s->tx);
		return 0;
	}
	smtp_session_arm_data(s);
	uint32_t taken = 0;
	enum smtp_data_step step = SMTP_DATA_MORE;
	while (taken < in.n && step == SMTP_DATA_MORE && s->state == SMTP_DATA) {
		struct smtp_data_run run;
		uint32_t n = 0;
		step = smtp_data_next(&s->tx->data, span_from(in, taken), &n, &run);
		taken += n;
		if (run.bytes.n > 0)
			relay_run(s, &run);
	}
	if (s->state != SMTP_DATA)
		return taken;
	smtp_tx_body_moved(s->tx);
	switch (step) {
	case SMTP_DATA_MORE:
		if (s->tx->is_cut && live(s) != NULL)
			smtp_backend_pump(s->tx->backend);
		break;
	case SMTP_DATA_END:
		relay_end(s);
		break;
	case SMTP_DATA_BARE_CR:
		smtp_session_fault(s, SMTP_FRAME_BARE_CR, true);
		break;
	case SMTP_DATA_BARE_LF:
		smtp_session_fault(s, SMTP_FRAME_BARE_LF, true);
		break;
	case SMTP_DATA_NUL:
		smtp_session_fault(s, SMTP_FRAME_NUL, true);
		break;
	}
	// A fault may be found in a byte that was held back: progress is made all the same.
	return taken;
}

void
smtp_relay_data_go(struct smtp_tx *tx)
{
	CHECK(tx->is_cut || tx->is_accepted);
	tx->is_sent = true;
	smtp_backend_pump(tx->backend);
	(void)smtp_relay_room(tx);
}
