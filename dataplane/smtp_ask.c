// SPDX-License-Identifier: Apache-2.0
// smtp_ask: what the control plane asks about sessions: the list of all, one with its connections
// and its trace, and the capture of one. Runs on the owning worker.
//
// A question is answered over several turns, a few sessions in each: a million of them must not
// hold up the mail. The answer ends with LOGREC_SESSION_END, whatever was found.
#include "dataplane/smtp_session.h"

#define ANOMALY_STEP_US 1000000ull
#define ASK_LOOKS 512u // sessions looked at in one turn, in search of one

void
smtp_session_ask(struct smtp *s, const struct smtp_ask *q)
{
	if (s->ask_count == SMTP_ASKS_MAX) {
		// Nobody asks eight times at once in earnest; the answer is an empty list.
		smtp_log_row_end(s, q->request);
		return;
	}
	s->ask[s->ask_count++] = *q;
}

void
smtp_ask_removed(struct smtp *s, struct smtp_session *gone)
{
	if (s->ask_is_begun && s->ask_next == &gone->node)
		s->ask_next = gone->node.next;
	if (s->captured == gone)
		s->captured = NULL;
}

static struct tcp_conn *
ask_backend(const struct smtp_session *s)
{
	return s->tx != NULL && s->tx->backend != NULL ? s->tx->backend->conn : NULL;
}

static void
ask_half(struct smtp_session *s, struct tcp_conn *c, uint64_t request, bool is_backend)
{
	struct trace_half h = {.is_backend = is_backend};
	struct logrec r;

	tcp_conn_half(c, &h);
	smtp_log_raw(s, &r, LOGREC_HALF, request);
	logrec_raw_set(&r, span_of(&h, sizeof(h)));
	(void)report_put(s->smtp->report, &r);
}

static void
ask_trace(struct smtp_session *s, uint32_t last, uint64_t request, uint32_t half)
{
	struct trace_rec rec[LOGREC_RAW_MAX / sizeof(struct trace_rec)];
	struct logrec r;

	// Three records full: some eighty steps back, which is a whole message.
	for (uint32_t i = 0; i < 3 && last != 0; i++) {
		uint32_t n = trace_read(s->smtp->trace_ring, last, rec, ARRAY_LEN(rec));

		if (n == 0)
			return;
		for (uint32_t k = 0; k < n; k++)
			rec[k].half = half;
		last = n < ARRAY_LEN(rec) ? 0 : rec[n - 1].prev;
		smtp_log_raw(s, &r, LOGREC_TRACE, request);
		logrec_raw_set(&r, span_of(rec, n * (uint32_t)sizeof(rec[0])));
		(void)report_put(s->smtp->report, &r);
	}
}

static void
ask_tell(struct smtp_session *s, uint64_t request)
{
	struct tcp_conn *back = ask_backend(s);

	ask_trace(s, s->trace_last, request, 0);
	if (s->conn != NULL) {
		ask_half(s, s->conn, request, false);
		ask_trace(s, tcp_conn_trace(s->conn), request, tcp_conn_path(s->conn)->rport);
	}
	if (back != NULL) {
		ask_half(s, back, request, true);
		ask_trace(s, tcp_conn_trace(back), request, tcp_conn_path(back)->rport);
	}
}

// One that nobody asked for: something ended as it should not have. Once a second is enough to
// learn from, and no attacker fills the ring with it.
void
smtp_anomaly(struct smtp_session *s)
{
	struct smtp *smtp = s->smtp;

	COUNT(smtp->counters, ANOMALIES);
	if (smtp->now_us - smtp->anomaly_us < ANOMALY_STEP_US && smtp->anomaly_us != 0)
		return;
	smtp->anomaly_us = smtp->now_us;
	smtp_log_row(s, 0);
	ask_tell(s, 0);
}

// One capture at a time: the frames of several would have to be told apart.
static void
capture_set(struct smtp *s, struct smtp_session *of, const struct smtp_ask *q)
{
	struct smtp_session *old = s->captured;
	struct tcp_conn *back = old != NULL ? ask_backend(old) : NULL;

	if (old != NULL && old->conn != NULL)
		tcp_conn_capture(old->conn, false);
	if (back != NULL)
		tcp_conn_capture(back, false);
	s->captured = of;
	if (of == NULL)
		return;
	s->capture_request = q->request;
	s->capture_end_us = s->now_us + q->ms * 1000;
	back = ask_backend(of);
	if (of->conn != NULL)
		tcp_conn_capture(of->conn, true);
	if (back != NULL)
		tcp_conn_capture(back, true);
}

void
smtp_capture_half(struct smtp_tx *tx, struct tcp_conn *c, bool is_lent)
{
	struct smtp_session *s = tx->session;

	trace_number(s->smtp->trace_ring, &s->trace_last, TRACE_SMTP_BACKEND, is_lent);
	if (s->smtp->captured == s && c != NULL)
		tcp_conn_capture(c, is_lent);
}

// Does it concern this session? Then it is answered.
static bool
ask_one(struct smtp_session *s, const struct smtp_ask *q)
{
	if (q->kind != SMTP_ASK_LIST && s->ev.id != q->session)
		return false;
	smtp_log_row(s, q->request);
	if (q->kind == SMTP_ASK_SHOW)
		ask_tell(s, q->request);
	else if (q->kind == SMTP_ASK_CAPTURE)
		capture_set(s->smtp, q->ms > 0 ? s : NULL, q);
	return true;
}

static void
ask_end(struct smtp *s)
{
	smtp_log_row_end(s, s->ask[0].request);
	s->ask_is_begun = false;
	s->ask_count--;
	for (uint32_t i = 0; i < s->ask_count; i++)
		s->ask[i] = s->ask[i + 1];
}

uint32_t
smtp_ask_run(struct smtp *s)
{
	uint32_t rows = 0, looks = 0;

	if (s->captured != NULL && s->now_us >= s->capture_end_us)
		capture_set(s, NULL, NULL);
	if (s->ask_count == 0)
		return 0;
	if (!s->ask_is_begun) {
		s->ask_next = s->session_list.head.next;
		s->ask_is_begun = true;
	}
	const struct smtp_ask *q = &s->ask[0];
	bool is_found = false;
	while (rows < SMTP_ASK_ROWS && looks < ASK_LOOKS && s->ask_next != &s->session_list.head &&
	       !is_found) {
		struct smtp_session *ses = CONTAINER_OF(s->ask_next, struct smtp_session, node);

		OBJ_CHECK(ses, SMTP_SESSION_MAGIC);
		s->ask_next = s->ask_next->next;
		bool is_told = ask_one(ses, q);
		rows += is_told;
		is_found = is_told && q->kind != SMTP_ASK_LIST;
		looks++;
	}
	if (is_found || s->ask_next == &s->session_list.head)
		ask_end(s);
	return looks + 1;
}
