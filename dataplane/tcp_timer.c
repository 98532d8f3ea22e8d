// SPDX-License-Identifier: Apache-2.0
// tcp_timer: the four deadlines of a connection behind its one wheel node. Runs on the owning
// worker.
//
// The node is armed for the earliest deadline or earlier: moving a deadline away does not touch the
// wheel, the node then fires once for nothing and is filed again.
#include "dataplane/tcp_sent.h"

static inline bool
timer_due(const struct tcp_conn *c, uint32_t deadline)
{
	return deadline != 0 && (int32_t)(deadline - c->tcp->now_ms32) <= 0;
}

static inline int64_t
timer_left(const struct tcp *t, uint32_t deadline)
{
	return deadline == 0 ? INT64_MAX : (int32_t)(deadline - t->now_ms32);
}

uint32_t
tcp_timer_rto(const struct tcp_conn *c)
{
	uint64_t ms = (uint64_t)c->rto_ms << MIN(c->backoff, TCP_BACKOFF_MAX);

	return (uint32_t)MIN(ms, TCP_RTO_MAX_MS);
}

void
tcp_timer_update(struct tcp_conn *c)
{
	struct tcp *t = c->tcp;
	int64_t best = timer_left(t, c->rtx_ms);

	DCHECK(!tcp_is_dead(c));
	best = MIN(best, timer_left(t, c->ack_ms));
	best = MIN(best, timer_left(t, c->idle_ms));
	best = MIN(best, timer_left(t, c->fast_ms));
	if (best == INT64_MAX)
		return;
	uint64_t at = t->now_ms + (uint64_t)MAX(best, 0);

	if (!wheel_is_set(&c->timer) || c->timer.deadline_ms != at)
		wheel_set(&t->wheel, &c->timer, at);
}

void
tcp_timer_keepalive(struct tcp_conn *c)
{
	c->probes = 0;
	if (c->keepalive_s == 0) {
		c->idle_ms = 0;
		return;
	}
	// Up to a sixteenth later: a million connections must not probe in step after a stall.
	uint32_t ms = c->keepalive_s * 1000u;

	c->idle_ms =
		tcp_after(c, ms + (uint32_t)((uint64_t)(ms / 16) * (c->ts_offset >> 16) >> 16));
}

static void
timer_count(const struct tcp_conn *c)
{
	COUNT(c->tcp->counters, TCP_TIMEOUT);
	if (c->flags & TF_SOFT_ERROR)
		COUNT(c->tcp->counters, TCP_UNREACHABLE);
}

static void
timer_give_up(struct tcp_conn *c)
{
	timer_count(c);
	tcp_conn_reset(c, TCP_GONE_TIMEOUT);
}

static void
timer_idle(struct tcp_conn *c)
{
	c->idle_ms = 0;
	switch (c->state) {
	case TCPS_ESTABLISHED:
	case TCPS_CLOSE_WAIT:
		break;
	case TCPS_TIME_WAIT:
		// A user that still has bytes to take goes on without the table's entry.
		tcp_finish(c);
		return;
	case TCPS_SYN_SENT: // the SYN itself found no way out
		timer_count(c);
		tcp_conn_die(c, TCP_GONE_TIMEOUT);
		return;
	case TCPS_FIN_WAIT2:
		if (c->ops != NULL && !chunkq_is_empty(&c->rcvq)) {
			// Our own user keeps the window shut: the peer may have more, and a FIN.
			c->idle_ms = tcp_after(c, TCP_FIN_WAIT2_MS);
			return;
		}
		timer_give_up(c);
		return;
	default: // a forgotten connection that makes no progress
		timer_give_up(c);
		return;
	}
	// With bytes in flight or a closed window the other timer finds out whether the peer lives.
	if (c->rtx_ms != 0) {
		tcp_timer_keepalive(c);
		return;
	}
	if (c->probes >= TCP_KEEPALIVE_PROBES) {
		timer_give_up(c);
		return;
	}
	c->probes++;
	trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_TIMER, TRACE_KEEPALIVE);
	(void)tcp_out_keepalive(c); // without a frame the probe counts as lost
	c->idle_ms = tcp_after(c, TCP_KEEPALIVE_STEP_MS);
}

static void
timer_syn(struct tcp_conn *c)
{
	if (c->retries >= TCP_SYN_RETRIES) {
		timer_count(c);
		tcp_conn_die(c, TCP_GONE_TIMEOUT);
		return;
	}
	// Departure from RFC 6298 5.5, as in Linux and BSD: the first ones come every second. A SYN
	// is 60 bytes and its loss no congestion of ours, and a client waits for its RCPT's reply.
	if (c->retries++ >= TCP_SYN_STEADY)
		c->backoff++;
	c->flags |= TF_SYN_DUE | TF_SYN_LOST;
	c->flags &= ~TF_RTT;
	COUNT(c->tcp->counters, TCP_RTO);
	tcp_ready(c);
}

// Policy (RFC 5482 5): has nothing moved for `limit_s` seconds? They count from the first of a
// series of probes or timeouts; only progress makes both counts 0 again.
static bool
timer_is_stalled(struct tcp_conn *c, uint32_t limit_s)
{
	uint16_t now_s = (uint16_t)c->tcp->now_s;

	if (c->backoff == 0 && c->retries == 0)
		c->stall_s = now_s;
	// It sends on and reads nothing: the chunks that it holds keep others out.
	if (c->tcp->shed >= SHED_REFUSE && !(c->flags & TF_ACTIVE) && c->rcvq.bytes >= CHUNK_DATA)
		limit_s = limit_s > 0 ? MIN(limit_s, TCP_PRESSED_S) : TCP_PRESSED_S;
	return limit_s > 0 && (uint16_t)(now_s - c->stall_s) >= limit_s;
}

static void
timer_persist(struct tcp_conn *c)
{
	if (timer_is_stalled(c, c->tcp->set.zero_window_s)) {
		COUNT(c->tcp->counters, TCP_ZERO_WINDOW_LIMIT);
		timer_give_up(c);
		return;
	}
	if (c->retries >= TCP_RETRIES) { // only unanswered probes count (see tcp_ack.c)
		timer_give_up(c);
		return;
	}
	trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_TIMER, TRACE_PERSIST);
	bool is_sent = seq_lt(c->snd_una, c->snd_edge) ? tcp_out_force(c) : tcp_out_probe(c);

	if (is_sent) {
		c->retries++;
		c->backoff = (uint8_t)MIN(c->backoff + 1u, TCP_BACKOFF_MAX);
	}
	if (c->flags & TF_PERSIST)
		c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
}

static void
timer_retransmit(struct tcp_conn *c)
{
	c->rtx_ms = 0;
	if (c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD) {
		timer_syn(c);
		return;
	}
	if (c->flags & TF_PERSIST) {
		timer_persist(c);
		return;
	}
	if (timer_is_stalled(c, c->tcp->set.user_s)) {
		COUNT(c->tcp->counters, TCP_USER_TIMEOUT);
		timer_give_up(c);
		return;
	}
	// Tries with smaller segments begin again with the shortest time (tcp_mtu.c): R2 is the sum
	// of ten doublings in any case (RFC 9293 3.8.3).
	if (MIN(c->retries, c->backoff) >= TCP_RETRIES) {
		timer_give_up(c);
		return;
	}
	COUNT(c->tcp->counters, TCP_RTO);
	trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_TIMER, TRACE_RTO);
	tcp_mtu_timeout(c);
	tcp_recover_timeout(c);
	tcp_ready(c);
}

void
tcp_timer_fire(void *ctx, struct wheel_node *n, uint64_t now_ms)
{
	struct tcp_conn *c = CONTAINER_OF(n, struct tcp_conn, timer);

	(void)now_ms; // the instance's clock is the one that deadlines were made with
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	CHECK(c->tcp == ctx);
	CHECK(!tcp_is_dead(c));
	if (timer_due(c, c->ack_ms)) {
		c->ack_ms = 0;
		c->flags |= TF_ACK_NOW;
		tcp_ready(c);
	}
	if (timer_due(c, c->fast_ms))
		tcp_rack_fire(c);
	if (timer_due(c, c->rtx_ms))
		timer_retransmit(c);
	if (!tcp_is_dead(c) && timer_due(c, c->idle_ms))
		timer_idle(c);
	if (!tcp_is_dead(c))
		tcp_timer_update(c);
}
