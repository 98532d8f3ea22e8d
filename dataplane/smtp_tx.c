// SPDX-License-Identifier: Apache-2.0
// Transactions: opened by MAIL with the policy of that moment, closed by every final answer, RSET,
// a greeting and the session's end; doomed when the final answer is known before the message has
// ended. Runs on the worker that owns the session.

#include <string.h>

#include "dataplane/smtp_session.h"

#define TX_IDLE_US 20000000ull // a client that does less than this much in it ..
#define TX_IDLE_BYTES 1024u    // .. gives way when there are no transactions left
#define TX_LOOKS 8u

uint64_t
smtp_tx_left_ms(const struct smtp_tx *tx, const struct policy_settings *set)
{
	uint64_t end_us = tx->mail_us + set->timeouts_message_s * 1000000ull;
	uint64_t now_us = tx->session->smtp->now_us;

	return now_us < end_us ? (end_us - now_us) / 1000 : 0;
}

void
smtp_tx_moved(struct smtp_tx *tx)
{
	struct smtp *smtp = tx->session->smtp;

	tx->moved_us = smtp->now_us;
	tx->moved_bytes = tx->ev.bytes;
	list_remove(&smtp->tx_list, &tx->node);
	list_push_back(&smtp->tx_list, &tx->node);
}

void
smtp_tx_body_moved(struct smtp_tx *tx)
{
	if (tx->ev.bytes - tx->moved_bytes >= TX_IDLE_BYTES)
		smtp_tx_moved(tx);
}

// There are far fewer transactions than sessions: a dozen clients that say MAIL in all that they
// may have, and then no more, would keep everybody else's mail out for minutes.
void
smtp_tx_make_room(struct smtp *smtp)
{
	struct list_node *n;

	for (uint32_t i = 0; i < TX_LOOKS && (n = list_first(&smtp->tx_list)) != NULL; i++) {
		struct smtp_tx *tx = CONTAINER_OF(n, struct smtp_tx, node);
		struct smtp_session *s = tx->session;

		OBJ_CHECK(tx, SMTP_TX_MAGIC);
		if (smtp->now_us - tx->moved_us < TX_IDLE_US)
			return;
		if (s->state == SMTP_COMMAND || (s->state == SMTP_DATA && !smtp_relay_waits(tx))) {
			COUNT(smtp->counters, SHED_SLOW);
			smtp_session_fire(s);
			return;
		}
		smtp_tx_moved(tx); // it is not the client whom it waits for
	}
}

struct smtp_tx *
smtp_tx_open(struct smtp_session *s, const struct smtp_command *mail)
{
	struct smtp *smtp = s->smtp;
	CHECK(s->tx == NULL);
	CHECK(mail->address.n <= SMTP_ADDRESS_MAX);
	struct smtp_tx *tx = pool_get(&smtp->txs);
	if (tx == NULL)
		return NULL;
	*tx = (struct smtp_tx){.magic = SMTP_TX_MAGIC, .phase = TX_OPEN, .session = s};
	tx->policy_slot = smtp->policy_now;
	tx->policy = smtp_policy_now(smtp);
	smtp->policy[tx->policy_slot].tx_count++;
	tx->mail_us = smtp->now_us;
	tx->moved_us = smtp->now_us;
	list_node_init(&tx->node);
	list_node_init(&tx->waits);
	list_push_back(&smtp->tx_list, &tx->node);
	tx->body_type = mail->body;
	if (mail->address.n > 0)
		memcpy(tx->from, mail->address.p, mail->address.n);
	tx->ev.from = span_of(tx->from, mail->address.n);
	tx->ev.size_declared = mail->size;
	chunkq_init(&tx->body);
	strbuf_init(&tx->rcpts, tx->rcpts_mem, sizeof(tx->rcpts_mem));
	verdict_init(&tx->verdict);
	s->tx_count++;
	return tx;
}

void
smtp_tx_scan_close(struct smtp_tx *tx)
{
	struct chunk_pool *p = tx->session->smtp->chunks;

	if (tx->scan == NULL)
		return;
	scan_close(&tx->scan);
	CHECK(p->messages > 0);
	p->messages--;
}

bool
smtp_tx_scan(struct smtp_tx *tx)
{
	struct smtp *smtp = tx->session->smtp;

	CHECK(tx->scan == NULL);
	tx->scan = scan_open(smtp->scanner, &tx->policy->view, tx->policy->matcher);
	smtp->chunks->messages += tx->scan != NULL;
	return tx->scan != NULL;
}

// What was kept of the message, and the backend with it.
static void
tx_drop(struct smtp_tx *tx)
{
	struct smtp_session *s = tx->session;
	smtp_tx_scan_close(tx);
	chunkq_clear(&tx->body, s->smtp->chunks);
	if (tx->backend != NULL)
		smtp_backend_release(tx);
	CHECK(tx->backend == NULL);
	CHECK(tx->scan == NULL);
	smtp_relay_wait_over(tx);
}

void
smtp_tx_close(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	if (tx == NULL)
		return;
	OBJ_CHECK(tx, SMTP_TX_MAGIC);
	CHECK(tx->session == s);
	tx_drop(tx);
	smtp_policy_unpin(tx);
	s->tx = NULL;
	list_remove(&s->smtp->tx_list, &tx->node);
	pool_put(&s->smtp->txs, tx);
}

void
smtp_tx_doom(struct smtp_tx *tx, enum event ev, const struct verdict *v)
{
	OBJ_CHECK(tx, SMTP_TX_MAGIC);
	CHECK(!tx->is_doomed);
	tx->is_doomed = true;
	tx->verdict = *v;
	tx->verdict_event = ev;
	smtp_verdict_complete(&tx->verdict);
	tx_drop(tx);
}

void
smtp_tx_doom_row(struct smtp_tx *tx, const struct smtp_refusal *why)
{
	struct verdict v;
	smtp_verdict_row(&v, why);
	v.action = ACTION_REJECT_MESSAGE;
	tx->is_over_limit = why->rule != NULL;
	smtp_tx_doom(tx, EVENT_END_OF_DATA, &v);
}

void
smtp_tx_delete(struct smtp_tx *tx, enum event ev, const struct verdict *v)
{
	OBJ_CHECK(tx, SMTP_TX_MAGIC);
	CHECK(!tx->is_doomed);
	tx->is_deleted = true;
	tx->verdict = *v;
	tx->verdict_event = ev;
	tx_drop(tx);
}

void
smtp_tx_remark(struct smtp_tx *tx, const struct verdict *v)
{
	if (v->rule[0] == '\0' || tx->is_doomed || tx->is_deleted)
		return;
	memcpy(tx->verdict.rule, v->rule, sizeof(v->rule));
	memcpy(tx->verdict.evidence, v->evidence, sizeof(v->evidence));
}

void
smtp_tx_expire(struct smtp_tx *tx)
{
	static const struct smtp_refusal why = {451, "4.3.2",
						"Configuration has changed, try again"};
	OBJ_CHECK(tx, SMTP_TX_MAGIC);
	bool waits_for_rcpt = tx->phase == TX_RCPT;
	struct smtp_session *s = tx->session;
	if (tx->phase == TX_FINAL) {
		// The verdict is in: only the backend's answer is missing, which needs no policy.
		smtp_tx_scan_close(tx);
	} else if (!tx->is_doomed) {
		smtp_tx_doom_row(tx, &why);
	}
	smtp_policy_unpin(tx);
	if (waits_for_rcpt)
		smtp_relay_rcpt_refused(tx, &why);
	smtp_session_settle(s);
}
