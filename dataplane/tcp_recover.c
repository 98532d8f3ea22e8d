// SPDX-License-Identifier: Apache-2.0
// tcp_recover: what follows from a loss: fast recovery by proportional rate reduction (RFC 6937,
// with the slow-start reduction bound), the timeout (RFC 6298, 5681, 8985 6.3), NewReno where the
// peer has no SACK (RFC 6582), and taking a reduction back that was a mistake (Eifel, RFC 3522 and
// 4015; D-SACK, RFC 2883 and 3708). Runs on the owning worker.
//
//   OPEN -a loss-> FAST -all up to `recover` is acknowledged, or it was a mistake-> OPEN
//     |              |
//     +---timeout----+-> LOSS -the same-> OPEN
//
// Departures: the window's share in a recovery counts from cwnd, not from what was in flight (see
// tcp_cubic.c). After a timeout slow start begins from what still flies. F-RTO (RFC 5682) is left
// out: timestamps tell the same one segment earlier, and nearly all peers have them.
#include "dataplane/tcp_sent.h"

static void
recover_note(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	f->prior_cwnd = c->cwnd;
	f->prior_ssthresh = c->ssthresh;
	f->prior_w_max = c->w_max;
	f->is_undoable = true;
	f->has_undo_ts = false;
	f->undo_retrans = 0;
	f->undo_una = c->snd_una;
	c->ssthresh = tcp_cubic_reduced(c);
}

static void
recover_enter(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	COUNT(c->tcp->counters, TCP_RECOVERY);
	trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_RECOVERY, 1);
	recover_note(c);
	f->recovery = TCPR_FAST;
	f->prr_from = f->prior_cwnd;
	f->prr_delivered = 0;
	f->prr_out = 0;
	f->has_tlp = false;
	c->recover = c->snd_nxt - 1;
}

// One ACK's share of a recovery. `is_safe`: it brings progress and shows no further loss.
static void
recover_prr(struct tcp_conn *c, uint32_t delivered, bool is_safe)
{
	struct tcp_flight *f = c->flight;
	uint32_t pipe = tcp_pipe(c);
	int64_t share;

	if (delivered == 0)
		return;
	f->prr_delivered += delivered;
	if (pipe > c->ssthresh) {
		uint64_t due = (uint64_t)f->prr_delivered * c->ssthresh + f->prr_from - 1;

		share = (int64_t)(due / f->prr_from) - f->prr_out;
	} else {
		share = MAX((int64_t)f->prr_delivered - f->prr_out, (int64_t)delivered);
		if (is_safe)
			share += c->mss;
		share = MIN(share, (int64_t)c->ssthresh - pipe);
	}
	share = MAX(share, f->prr_out == 0 ? (int64_t)c->mss : 0);
	c->cwnd = MAX((uint32_t)(pipe + share), (uint32_t)c->mss);
}

static void
recover_undo(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (f->recovery == TCPR_LOSS)
		COUNT(c->tcp->counters, TCP_UNDO_RTO);
	else
		COUNT(c->tcp->counters, TCP_UNDO);
	c->cwnd = MAX(c->cwnd, f->prior_cwnd);
	c->ssthresh = MAX(c->ssthresh, f->prior_ssthresh);
	c->w_max = f->prior_w_max;
	tcp_cubic_reset(f);
	tcp_sent_found(f);
	if (f->recovery == TCPR_FAST)
		c->flags |= TF_REORDER; // what else made it look like a loss
	f->is_undoable = false;
	trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_RECOVERY, 0);
	f->recovery = TCPR_OPEN;
	tcp_ready(c);
}

// Nothing was sent again, or what has arrived now left before anything was.
static bool
recover_is_delayed(const struct tcp_conn *c, const struct tcp_seg *s)
{
	const struct tcp_flight *f = c->flight;

	if (!f->has_undo_ts)
		return true;
	return (c->flags & TF_TS) && (s->opts & TCP_OPT_TS) && seq_lt(s->tsecr, f->undo_ts);
}

static bool
recover_was_in_vain(const struct tcp_flight *f)
{
	return f->is_undoable && f->has_undo_ts && f->undo_retrans == 0;
}

static void
recover_dsack(struct tcp_conn *c, const struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;

	if (f->is_undoable && f->undo_retrans > 0 && seq_lt(f->undo_una, a->dsack_end)) {
		uint32_t n = MAX((a->dsack_end - a->dsack_start) / c->mss, 1u);

		f->undo_retrans -= MIN(n, f->undo_retrans);
	}
	tcp_rack_dsack(c, a);
}

// Duplicate ACKs and partial ones stand for the scoreboard (RFC 6582 3.2).
static void
recover_newreno(struct tcp_conn *c, struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;
	struct tcp_sent *r = f->first;
	uint32_t acked = c->snd_una - a->una;

	if (acked > 0) {
		uint32_t known = r == NULL ? f->sacked : acked - MIN(acked, (uint32_t)c->mss);

		known = MIN(known, f->sacked);
		f->sacked -= known;
		if (f->recovery == TCPR_FAST) // the duplicates have told that already (RFC 6937 3)
			a->delivered -= MIN(a->delivered, known);
		c->dupacks = 0;
		if (r != NULL && f->recovery == TCPR_FAST && !seq_lt(c->recover, c->snd_una) &&
		    r->flags == 0)
			tcp_sent_lost(f, r);
		return;
	}
	if (!a->is_duplicate || f->recovery == TCPR_LOSS || r == NULL)
		return;
	if (f->sacked + c->mss <= f->pipe) {
		f->sacked += c->mss;
		a->delivered += c->mss;
	}
	if (c->dupacks < UINT8_MAX)
		c->dupacks++;
	// After a timeout the peer answers our repetitions with duplicates: those mean nothing.
	if (c->dupacks == TCP_DUPACKS && f->recovery == TCPR_OPEN &&
	    seq_lt(c->recover, c->snd_una) && !(r->flags & TSF_LOST))
		tcp_sent_lost(f, r);
}

// True: the recovery goes on.
static bool
recover_fast(struct tcp_conn *c, const struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;
	bool has_progress = c->snd_una != a->una, is_over = seq_lt(c->recover, c->snd_una);

	if (has_progress && f->is_undoable &&
	    (recover_is_delayed(c, a->seg) || (is_over && recover_was_in_vain(f)))) {
		recover_undo(c);
		tcp_rack_recovered(c);
		return false;
	}
	if (!is_over)
		return true;
	trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_RECOVERY, 0);
	f->recovery = TCPR_OPEN; // D-SACKs that are under way may still undo it
	c->cwnd = c->ssthresh;
	c->dupacks = 0;
	if (!(c->flags & TF_SACK))
		f->sacked = 0;
	tcp_rack_recovered(c);
	return false;
}

static void
recover_loss(struct tcp_conn *c, const struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;

	if (c->snd_una != a->una && f->is_undoable && recover_is_delayed(c, a->seg))
		recover_undo(c);
	else if (seq_lt(c->recover, c->snd_una))
		f->recovery = TCPR_OPEN;
}

void
tcp_recover_input(struct tcp_conn *c, struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;
	bool has_progress = c->snd_una != a->una, is_over = false;

	OBJ_CHECK(f, TCP_FLIGHT_MAGIC);
	if (a->has_dsack)
		recover_dsack(c, a);
	if (f->has_tlp)
		tcp_rack_probe_acked(c, a);
	if (f->recovery == TCPR_FAST)
		is_over = !recover_fast(c, a);
	else if (f->recovery == TCPR_LOSS)
		recover_loss(c, a);
	else if (a->has_dsack && recover_was_in_vain(f))
		recover_undo(c);
	uint32_t lost = f->lost.count;

	if (c->flags & TF_SACK)
		tcp_rack_detect(c);
	else
		recover_newreno(c, a);
	if (f->recovery == TCPR_OPEN && f->lost.count > 0)
		recover_enter(c);
	if (f->recovery == TCPR_FAST)
		recover_prr(c, a->delivered, has_progress && f->lost.count == lost);
	else if (!is_over && a->delivered > 0 && (has_progress || (c->flags & TF_REORDER)))
		tcp_cubic_grow(c, a);
	if (f->lost.count > 0 || a->delivered > 0)
		tcp_ready(c);
}

void
tcp_recover_losses(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (f->recovery == TCPR_OPEN) {
		recover_enter(c);
		recover_prr(c, c->mss, false);
	}
	tcp_ready(c);
}

void
tcp_recover_timeout(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	bool is_first = c->retries == 0;

	c->retries++;
	c->backoff = (uint8_t)MIN(c->backoff + 1u, TCP_BACKOFF_MAX);
	c->dupacks = 0;
	if (f == NULL || f->count == 0)
		return;
	if (f->first->flags & TSF_SACKED) { // RFC 2018 8
		COUNT(c->tcp->counters, TCP_SACK_RENEGE);
		tcp_sent_forget_sacks(f);
		f->rack_us = 0;
	}
	if (!(c->flags & TF_SACK))
		f->sacked = 0;
	if (f->recovery == TCPR_OPEN || (f->recovery == TCPR_LOSS && is_first))
		recover_note(c);
	f->recovery = TCPR_LOSS;
	c->recover = c->snd_nxt - 1;
	tcp_rack_timeout(c);
	c->cwnd = f->pipe + c->mss;
	f->is_cwnd_limited = true;
}

void
tcp_recover_tail(struct tcp_conn *c)
{
	if (c->flight->recovery != TCPR_OPEN)
		return;
	c->ssthresh = tcp_cubic_reduced(c);
	c->cwnd = MIN(c->cwnd, c->ssthresh);
}

void
tcp_recover_mtu(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (f == NULL)
		return;
	for (struct tcp_sent *r = f->first; r != NULL; r = r->next) { // TCP_SENT_MAX at most
		if (!(r->flags & (TSF_SACKED | TSF_LOST)) && tcp_sent_len(r) > c->mss)
			tcp_sent_lost(f, r);
	}
	if (f->recovery == TCPR_OPEN && f->lost.count > 0) { // no congestion: the window stays
		f->recovery = TCPR_LOSS;
		f->is_undoable = false;
		c->recover = c->snd_nxt - 1;
	}
	tcp_ready(c);
}
