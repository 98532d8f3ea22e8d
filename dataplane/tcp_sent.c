// SPDX-License-Identifier: Apache-2.0
// tcp_sent: the records of what is in flight, and the SACK scoreboard on them (RFC 2018, 2883). See
// tcp_sent.h. Runs on the owning worker.
//
// Departures: a block that covers a segment in part says nothing about it (RFC 6675 lets a sender
// count bytes); the peer's next block will. Blocks are looked up from where the last one was, or
// from an end that is nearer, at most TCP_SACK_STEPS records on; a search that ends there goes on
// with the next segment.
#include "dataplane/tcp_sent.h"

bool
tcp_sent_can_add(const struct tcp_conn *c)
{
	const struct tcp *t = c->tcp;

	if (c->flight == NULL) {
		if (pool_free_count(&t->flights) > 0)
			return true;
	} else if (c->flight->count == 0) {
		return true; // the one that it brings along
	} else {
		uint32_t left = pool_free_count(&t->sents);
		uint32_t most = left > t->sents.cap / 8 ? TCP_SENT_MAX : TCP_SENT_FEW;

		// The last are for messages: clients get replies, and can do with the record that
		// is in the flight.
		if (left <= t->sents.cap / 16 && !(c->flags & TF_ACTIVE))
			most = 1;
		if (left > 0 && c->flight->count < most)
			return true;
	}
	COUNT(t->counters, TCP_NO_RECORD);
	return false;
}

static struct tcp_flight *
flight_open(struct tcp_conn *c)
{
	struct tcp_flight *f = pool_get(&c->tcp->flights);

	CHECK(f != NULL); // tcp_sent_can_add said so
	// Of a size that the compiler does not know: for a known one it takes `rep stos`, which is
	// slow to begin.
	memset(f, 0, c->tcp->flights.stride);
	f->magic = TCP_FLIGHT_MAGIC;
	list_init(&f->flying);
	list_init(&f->lost);
	f->fack = c->snd_una;
	f->used_end = c->snd_una;
	f->round_end = c->snd_una;
	f->round_rtt_us = UINT32_MAX;
	f->last_rtt_us = UINT32_MAX;
	c->recover = c->snd_una - 1;
	c->dupacks = 0;
	c->flight = f;
	return f;
}

static struct tcp_sent *
sent_new(struct tcp_conn *c, uint32_t seq, uint32_t end)
{
	struct tcp_flight *f = c->flight;
	struct tcp_sent *r = f->count == 0 ? &f->one : pool_get(&c->tcp->sents);

	if (r == NULL)
		return NULL;
	r->magic = TCP_SENT_MAGIC;
	r->seq = seq;
	r->end = end;
	r->flags = 0;
	r->sent_us = c->tcp->now_us;
	list_node_init(&r->order);
	f->count++;
	return r;
}

static void
sent_insert_after(struct tcp_flight *f, struct tcp_sent *prev, struct tcp_sent *r)
{
	r->prev = prev;
	r->next = prev == NULL ? f->first : prev->next;
	if (r->next != NULL)
		r->next->prev = r;
	else
		f->last = r;
	if (prev != NULL)
		prev->next = r;
	else
		f->first = r;
}

// Out of whatever condition it is in.
static void
sent_leave(struct tcp_flight *f, struct tcp_sent *r)
{
	if (r->flags & TSF_SACKED) {
		CHECK(f->sacked >= tcp_sent_len(r));
		f->sacked -= tcp_sent_len(r);
	} else if (r->flags & TSF_LOST) {
		list_remove(&f->lost, &r->order);
	} else {
		CHECK(f->pipe >= tcp_sent_len(r));
		f->pipe -= tcp_sent_len(r);
		list_remove(&f->flying, &r->order);
	}
}

static void
sent_fly(struct tcp_flight *f, struct tcp_sent *r)
{
	f->pipe += tcp_sent_len(r);
	list_push_back(&f->flying, &r->order);
}

static void
sent_free(struct tcp_conn *c, struct tcp_sent *r)
{
	struct tcp_flight *f = c->flight;

	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		f->first = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	else
		f->last = r->prev;
	if (f->hint == r)
		f->hint = r->prev;
	CHECK(f->count > 0);
	f->count--;
	if (r != &f->one)
		pool_put(&c->tcp->sents, r);
}

void
tcp_sent_add(struct tcp_conn *c, uint32_t seq, uint32_t end)
{
	struct tcp_flight *f = c->flight != NULL ? c->flight : flight_open(c);
	struct tcp_sent *r = sent_new(c, seq, end);

	OBJ_CHECK(f, TCP_FLIGHT_MAGIC);
	CHECK(r != NULL); // tcp_sent_can_add said so
	CHECK(seq_lt(seq, end));
	CHECK(f->last == NULL || f->last->end == seq);
	sent_insert_after(f, f->last, r);
	sent_fly(f, r);
	if (f->recovery == TCPR_FAST)
		f->prr_out += end - seq;
}

void
tcp_sent_again(struct tcp_conn *c, struct tcp_sent *r)
{
	struct tcp_flight *f = c->flight;

	OBJ_CHECK(r, TCP_SENT_MAGIC);
	CHECK(!(r->flags & TSF_SACKED));
	sent_leave(f, r);
	r->flags = TSF_AGAIN;
	r->sent_us = c->tcp->now_us;
	sent_fly(f, r);
	if (f->recovery == TCPR_FAST)
		f->prr_out += tcp_sent_len(r);
	f->undo_retrans++;
	if (!f->has_undo_ts) {
		f->has_undo_ts = true;
		f->undo_ts = c->tcp->now_ms32 + c->ts_offset;
	}
}

bool
tcp_sent_split(struct tcp_conn *c, struct tcp_sent *r, uint32_t len)
{
	CHECK(len > 0 && len < tcp_sent_len(r));
	CHECK(!(r->flags & TSF_SACKED));
	struct tcp_sent *rest = sent_new(c, r->seq + len, r->end);

	if (rest == NULL)
		return false;
	rest->flags = r->flags;
	rest->sent_us = r->sent_us;
	r->end = rest->seq;
	sent_insert_after(c->flight, r, rest);
	// Right behind its first half: both lists stay in their order.
	struct list *l = r->flags & TSF_LOST ? &c->flight->lost : &c->flight->flying;
	struct list_node *n = &rest->order, *before = &r->order;

	n->prev = before;
	n->next = before->next;
	n->next->prev = n;
	before->next = n;
	l->count++;
	return true;
}

void
tcp_sent_join(struct tcp_conn *c, struct tcp_sent *r)
{
	struct tcp_sent *k = r->next;

	CHECK(r->flags & TSF_LOST);
	CHECK(k->flags & TSF_LOST);
	sent_leave(c->flight, k);
	r->end = k->end;
	r->flags |= k->flags;
	sent_free(c, k);
}

void
tcp_sent_lost(struct tcp_flight *f, struct tcp_sent *r)
{
	CHECK(!(r->flags & (TSF_LOST | TSF_SACKED)));
	sent_leave(f, r);
	r->flags |= TSF_LOST;
	if (r == f->first) // a repetition that was lost: all that has arrived waits for it
		list_push_front(&f->lost, &r->order);
	else
		list_push_back(&f->lost, &r->order);
}

void
tcp_sent_found(struct tcp_flight *f)
{
	struct list_node *n;

	while (f->lost.count > 0) { // older than all that flies: to the front, the first one last
		n = f->lost.head.prev;
		struct tcp_sent *r = CONTAINER_OF(n, struct tcp_sent, order);

		list_remove(&f->lost, n);
		r->flags &= ~TSF_LOST;
		f->pipe += tcp_sent_len(r);
		list_push_front(&f->flying, n);
	}
}

static void
sent_delivered(struct tcp_conn *c, struct tcp_sent *r, uint32_t end, struct tcp_acked *a)
{
	uint32_t n = end - r->seq;

	a->delivered += n;
	if (n >= c->mss)
		c->flags |= TF_FULL;
	tcp_rack_arrived(c, r, a);
}

void
tcp_sent_acked(struct tcp_conn *c, uint32_t una, struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;
	struct tcp_sent *r;

	OBJ_CHECK(f, TCP_FLIGHT_MAGIC);
	while ((r = f->first) != NULL && seq_lt(r->seq, una)) { // each turn takes a record away
		OBJ_CHECK(r, TCP_SENT_MAGIC);
		if (!(r->flags & TSF_SACKED))
			sent_delivered(c, r, seq_min(r->end, una), a);
		a->was_again |= (r->flags & TSF_AGAIN) != 0;
		if (seq_lt(una, r->end)) { // the first part only
			if (r->flags & TSF_SACKED)
				f->sacked -= una - r->seq;
			else if (!(r->flags & TSF_LOST))
				f->pipe -= una - r->seq;
			r->seq = una;
			break;
		}
		sent_leave(f, r);
		sent_free(c, r);
	}
	f->fack = seq_max(f->fack, una);
	if (a->was_again)
		a->rtt_us = UINT32_MAX; // also of those that waited behind it (Karn)
}

// r is known to have arrived. Returns the record that it is part of now.
static struct tcp_sent *
sack_mark(struct tcp_conn *c, struct tcp_sent *r, struct tcp_acked *a)
{
	struct tcp_flight *f = c->flight;
	struct tcp_sent *k = r->prev;

	a->has_sack = true;
	sent_delivered(c, r, r->end, a);
	sent_leave(f, r);
	r->flags = TSF_SACKED;
	f->sacked += tcp_sent_len(r);
	f->fack = seq_max(f->fack, r->end);
	if (k != NULL && (k->flags & TSF_SACKED)) {
		k->end = r->end;
		sent_free(c, r);
		r = k;
	}
	k = r->next;
	if (k != NULL && (k->flags & TSF_SACKED)) {
		r->end = k->end;
		sent_free(c, k);
	}
	return r;
}

static uint32_t
sack_distance(const struct tcp_sent *r, uint32_t start)
{
	return seq_lt(start, r->seq) ? r->seq - start : start - r->seq;
}

// Where the search for a block begins: the reports of one segment may be thousands of records
// apart, mostly near either end.
static struct tcp_sent *
sack_near(const struct tcp_flight *f, uint32_t start)
{
	struct tcp_sent *r = f->hint != NULL ? f->hint : f->first;

	if (sack_distance(f->first, start) < sack_distance(r, start))
		r = f->first;
	if (sack_distance(f->last, start) < sack_distance(r, start))
		r = f->last;
	return r;
}

static void
sack_block(struct tcp_conn *c, uint32_t start, uint32_t end, struct tcp_acked *a, uint32_t *steps)
{
	struct tcp_flight *f = c->flight;
	struct tcp_sent *r = sack_near(f, start);
	bool is_hint = f->hint == NULL || r == f->hint;

	if (*steps == 0)
		return;
	for (; r->prev != NULL && seq_lt(start, r->seq) && *steps > 0; (*steps)--)
		r = r->prev;
	for (; *steps > 0 && seq_lt(r->seq, end); (*steps)--) {
		if (!(r->flags & TSF_SACKED) && seq_le(start, r->seq) && seq_le(r->end, end))
			r = sack_mark(c, r, a);
		if (r->next == NULL)
			break;
		r = r->next;
	}
	if (is_hint || *steps == 0) // blocks near the ends do not take it away from one between
		f->hint = r;
}

static bool
sack_is_duplicate(const struct tcp_seg *s)
{
	uint32_t start = s->sack[0].start, end = s->sack[0].end;

	if (seq_le(end, s->ack))
		return true;
	return s->sack_count > 1 && seq_le(s->sack[1].start, start) && seq_le(end, s->sack[1].end);
}

void
tcp_sent_sacked(struct tcp_conn *c, struct tcp_acked *a)
{
	const struct tcp_seg *s = a->seg;
	uint32_t order[TCP_SACK_BLOCKS_MAX], count = 0, steps = TCP_SACK_STEPS;
	uint32_t from = seq_max(c->snd_una, s->ack);

	for (uint32_t b = 0; b < s->sack_count; b++) {
		uint32_t start = s->sack[b].start, end = s->sack[b].end;

		if (!seq_lt(start, end) || seq_lt(c->snd_max, end)) {
			COUNT(c->tcp->counters, TCP_SACK_BAD);
			continue;
		}
		if (b == 0 && sack_is_duplicate(s)) {
			a->has_dsack = true;
			a->dsack_start = start;
			a->dsack_end = end;
			COUNT(c->tcp->counters, TCP_DSACK_IN);
			continue;
		}
		if (seq_le(start, from))
			continue; // about what is acknowledged
		uint32_t i = count++;

		// In ascending order, else a late report of old news would look like reordering.
		for (; i > 0 && seq_lt(start, s->sack[order[i - 1]].start); i--)
			order[i] = order[i - 1];
		order[i] = b;
	}
	for (uint32_t i = 0; i < count && c->flight->first != NULL; i++)
		sack_block(c, s->sack[order[i]].start, s->sack[order[i]].end, a, &steps);
}

void
tcp_sent_forget_sacks(struct tcp_flight *f)
{
	for (struct tcp_sent *r = f->first; r != NULL; r = r->next) { // TCP_SENT_MAX at most
		if (!(r->flags & TSF_SACKED))
			continue;
		f->sacked -= tcp_sent_len(r);
		r->flags = TSF_AGAIN; // nobody knows when it left
		sent_fly(f, r);
	}
}

bool
tcp_sent_plain(struct tcp_conn *c, struct tcp_acked *a)
{
	const struct tcp_flight *f = c->flight;
	const struct tcp_sent *r = f->first;

	if (f->count != 1 || r->flags != 0 || r->end != c->snd_una || a->seg->sack_count > 0 ||
	    f->recovery != TCPR_OPEN || f->has_tlp)
		return false;
	uint64_t us = c->tcp->now_us - r->sent_us;

	a->delivered = tcp_sent_len(r);
	if (a->delivered >= c->mss)
		c->flags |= TF_FULL;
	a->rtt_us = (uint32_t)MIN(us, 2000u * TCP_RTO_MAX_MS);
	a->last_rtt_us = a->rtt_us;
	tcp_rack_min_rtt(c, a->rtt_us);
	tcp_cubic_grow(c, a);
	sent_leave(c->flight, c->flight->first);
	sent_free(c, c->flight->first);
	return true;
}

void
tcp_sent_settle(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (f == NULL || f->count > 0)
		return;
	OBJ_CHECK(f, TCP_FLIGHT_MAGIC);
	CHECK(f->pipe == 0);
	CHECK(f->flying.count == 0 && f->lost.count == 0);
	c->flight = NULL;
	c->fast_ms = 0;
	pool_put(&c->tcp->flights, f);
}

void
tcp_sent_clear(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (f == NULL)
		return;
	while (f->first != NULL) { // each turn takes a record away
		sent_leave(f, f->first);
		sent_free(c, f->first);
	}
	tcp_sent_settle(c);
}
