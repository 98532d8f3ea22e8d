// SPDX-License-Identifier: Apache-2.0
// tcp_rack: RACK-TLP (RFC 8985): what must be lost because something that left later has arrived,
// and a probe where nothing comes back that could tell. Runs on the owning worker.
//
// Departures: the timer for what is not overdue yet (7.2 step 5) is that of the first such segment,
// not of the last, so that an ACK never walks over what cannot be lost yet; timers have the wheel's
// grain of a millisecond, rounded up.
#include "dataplane/tcp_sent.h"

#define RACK_REO_PERSIST 16u // recoveries that a wider window lasts
#define RACK_REO_MULT_MAX 255u
#define RACK_DUP_SEGMENTS 3u
#define TLP_INITIAL_US 1000000u
#define TLP_DELACK_US 200000u // what the peer may hold an ACK of a single segment back
#define TLP_SLACK_US 2000u

static inline uint32_t
rack_ms(uint64_t us)
{
	return (uint32_t)MIN(us / 1000 + 1, TCP_RTO_MAX_MS);
}

static bool
rack_is_after(uint64_t a_us, uint32_t a_end, uint64_t b_us, uint32_t b_end)
{
	return a_us > b_us || (a_us == b_us && seq_lt(b_end, a_end));
}

void
tcp_rack_min_rtt(struct tcp_conn *c, uint32_t us)
{
	uint32_t now = c->tcp->now_s;

	if (c->min_rtt_us == 0 || us <= c->min_rtt_us || now - c->min_rtt_s > 60) {
		c->min_rtt_us = MAX(us, 1u);
		c->min_rtt_s = now;
	}
}

void
tcp_rack_arrived(struct tcp_conn *c, const struct tcp_sent *r, struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;
	const struct tcp_seg *s = a->seg;
	uint64_t rtt = c->tcp->now_us - r->sent_us;

	if (r->flags & TSF_AGAIN) {
		uint32_t ts = (uint32_t)(r->sent_us / 1000) + c->ts_offset;

		if ((c->flags & TF_TS) && (s->opts & TCP_OPT_TS) && seq_lt(s->tsecr, ts))
			return; // that was an earlier transmission
		if (rtt < c->min_rtt_us)
			return;
	} else {
		uint32_t us = (uint32_t)MIN(rtt, 2000u * TCP_RTO_MAX_MS);

		if (a->rtt_us == UINT32_MAX)
			a->rtt_us = us;
		a->last_rtt_us = us;
		tcp_rack_min_rtt(c, us);
		if (seq_lt(r->end, f->fack) && !(c->flags & TF_REORDER)) {
			c->flags |= TF_REORDER;
			COUNT(c->tcp->counters, TCP_REORDER);
		}
	}
	f->rack_rtt_us = (uint32_t)MIN(rtt, UINT32_MAX);
	if (rack_is_after(r->sent_us, r->end, f->rack_us, f->rack_end)) {
		f->rack_us = r->sent_us;
		f->rack_end = r->end;
	}
}

static uint32_t
rack_window_us(const struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;

	if (!(c->flags & TF_REORDER) &&
	    (f->recovery != TCPR_OPEN || f->sacked >= RACK_DUP_SEGMENTS * c->mss))
		return 0;
	uint64_t us = (uint64_t)c->min_rtt_us * MAX(c->reo_mult, 1u) / 4;

	return (uint32_t)MIN(us, c->srtt8 >> 3);
}

void
tcp_rack_detect(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	uint64_t now = c->tcp->now_us;
	struct list_node *n;

	if (f->rack_us == 0)
		return;
	if (f->is_reo) {
		f->is_reo = false;
		c->fast_ms = 0;
	}
	uint64_t late = (uint64_t)f->rack_rtt_us + rack_window_us(c);

	while ((n = list_first(&f->flying)) != NULL) { // each turn marks a record
		struct tcp_sent *r = CONTAINER_OF(n, struct tcp_sent, order);

		if (!rack_is_after(f->rack_us, f->rack_end, r->sent_us, r->end))
			break;
		// What was repeated in this very instant is not lost yet, however short the path
		// is.
		uint64_t wait = r->flags & TSF_AGAIN ? MAX(late, 1u) : late;

		if (r->sent_us + wait > now) {
			c->fast_ms = tcp_after(c, rack_ms(r->sent_us + wait - now));
			f->is_reo = true;
			break;
		}
		COUNT(c->tcp->counters, TCP_RACK_LOSS);
		tcp_sent_lost(f, r);
	}
}

void
tcp_rack_timeout(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	uint64_t now = c->tcp->now_us, late = (uint64_t)f->rack_rtt_us + rack_window_us(c);

	// By sequence number: the first one goes out first.
	for (struct tcp_sent *r = f->first; r != NULL; r = r->next) { // TCP_SENT_MAX at most
		if (r->flags & TSF_SACKED)
			continue;
		if (r->flags & TSF_LOST) {
			list_remove(&f->lost, &r->order);
			list_push_back(&f->lost, &r->order);
			continue;
		}
		if (r == f->first || f->rack_us == 0 || r->sent_us + late <= now)
			tcp_sent_lost(f, r);
	}
	f->is_reo = false;
	f->has_tlp = false;
	c->fast_ms = 0;
}

void
tcp_rack_dsack(struct tcp_conn *c, const struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;

	if (f->has_tlp && a->dsack_end == f->tlp_end)
		return; // the probe was in vain: that is no reordering
	if (f->has_dsack_round && seq_lt(c->snd_una, f->dsack_round))
		return; // once a round trip
	f->has_dsack_round = true;
	f->dsack_round = c->snd_nxt;
	c->reo_mult = (uint8_t)MIN(MAX(c->reo_mult, 1u) + 1u, RACK_REO_MULT_MAX);
	c->reo_persist = RACK_REO_PERSIST;
}

void
tcp_rack_recovered(struct tcp_conn *c)
{
	if (c->reo_persist > 0 && --c->reo_persist == 0)
		c->reo_mult = 1;
}

void
tcp_rack_probe_acked(struct tcp_conn *c, const struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;

	if (!f->has_tlp || seq_lt(a->seg->ack, f->tlp_end))
		return;
	// New bytes, or both have arrived: a D-SACK says so, or else a duplicate.
	bool is_told = !f->is_tlp_again || (a->has_dsack && a->dsack_end == f->tlp_end);
	bool is_twice = c->snd_una == a->una && !a->has_sack && a->seg->data.n == 0;

	if (!is_told && seq_lt(f->tlp_end, a->seg->ack)) {
		// Nobody got it twice, so the first one was lost.
		f->has_tlp = false;
		COUNT(c->tcp->counters, TCP_TLP_LOSS);
		tcp_recover_tail(c);
	} else if (is_told || is_twice) {
		f->has_tlp = false;
	}
}

void
tcp_rack_arm_probe(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (f->is_reo || !(c->flags & TF_SACK))
		return;
	c->fast_ms = 0;
	if (f->has_tlp || f->recovery != TCPR_OPEN || f->sacked > 0 || f->lost.count > 0 ||
	    f->count == 0 || c->rtx_ms == 0 || (c->flags & TF_PERSIST))
		return;
	uint32_t us = c->srtt8 == 0 ? TLP_INITIAL_US : (c->srtt8 >> 2) + TLP_SLACK_US;

	if (f->count == 1)
		us += TLP_DELACK_US;
	uint32_t ms = rack_ms(us);

	if ((int32_t)(c->rtx_ms - c->tcp->now_ms32) > (int32_t)ms)
		c->fast_ms = tcp_after(c, ms);
}

void
tcp_rack_fire(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	c->fast_ms = 0;
	if (f == NULL || f->count == 0)
		return;
	if (f->is_reo) {
		trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_TIMER, TRACE_RACK);
		tcp_rack_detect(c);
		if (f->lost.count > 0)
			tcp_recover_losses(c);
		return;
	}
	bool is_again;

	if (f->has_tlp || !tcp_out_tail(c, &is_again))
		return;
	COUNT(c->tcp->counters, TCP_TLP_PROBE);
	trace_number(c->tcp->trace, &c->trace_last, TRACE_TCP_TIMER, TRACE_TLP);
	f->has_tlp = true;
	f->is_tlp_again = is_again;
	f->tlp_end = c->snd_nxt;
	c->rtx_ms = tcp_after(c, tcp_timer_rto(c));
}
