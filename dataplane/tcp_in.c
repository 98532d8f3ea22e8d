// SPDX-License-Identifier: Apache-2.0
// tcp_in: arriving segments: the state machine of RFC 9293 3.10.7 with RFC 5961 (blind attacks) and
// RFC 7323 (PAWS). Runs on the owning worker.
//
//   LISTEN -SYN-> SYN_RCVD -ACK-> ESTABLISHED -FIN-> CLOSE_WAIT -close-> LAST_ACK -ACK-> gone
//   open > SYN_SENT -SYN,ACK--------^   | close
//              | SYN > SYN_RCVD     FIN_WAIT1 -ACK-> FIN_WAIT2 -FIN-> TIME_WAIT -30 s-> gone
//                                       | FIN > CLOSING -ACK-------------^
//
// The order of tests in a synchronized state: timestamp, window, RST, SYN, ACK, then bytes and FIN.
// A segment that fails one of the first two is answered with an ACK (unless it is a RST) and
// forgotten. SYN_RCVD of a client, TIME_WAIT and FIN_WAIT2 without a user are records
// (tcp_embryo.c, tcp_wait.c); what is here of SYN_RCVD is for the simultaneous open and for the
// segment that turns a record into a connection.
#include "dataplane/tcp_conn.h"

static void
in_window_limit(struct tcp_conn *c)
{
	// Without the peer's consent the window field is all there is.
	if (!(c->flags & TF_WSCALE)) {
		c->rcv_wscale = 0;
		c->snd_wscale = 0;
		c->window = MIN(c->window, UINT16_MAX);
	}
}

// What the peer's SYN (or SYN-ACK) settles.
void
tcp_in_syn_options(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t mss = s->opts & TCP_OPT_MSS ? s->mss : tcp_mss_default(&c->path.laddr);

	mss = MAX(MIN(mss, c->adv_mss), TCP_MSS_MIN);
	if (s->opts & TCP_OPT_TS) {
		c->flags |= TF_TS;
		c->ts_recent = s->tsval;
		c->ts_recent_s = c->tcp->now_s;
		mss -= 12; // the option goes with every segment (RFC 6691)
	}
	if (s->opts & TCP_OPT_SACK_OK)
		c->flags |= TF_SACK;
	if (s->opts & TCP_OPT_WSCALE) {
		c->flags |= TF_WSCALE;
		c->snd_wscale = MIN(s->wscale, TCP_WSCALE_MAX); // RFC 7323 2.3
		if (s->wscale > TCP_WSCALE_MAX)
			COUNT(c->tcp->counters, TCP_SCALE_LARGE);
	}
	in_window_limit(c);
	c->mss = (uint16_t)tcp_mtu_mss(c, mss);
	c->rcv_nxt = s->seq + 1;
	c->last_ack_sent = c->rcv_nxt;
	c->rcv_edge = c->rcv_nxt + MIN(c->window, UINT16_MAX); // as the SYN says, unscaled
	c->snd_wl1 = s->seq;
	c->snd_wl2 = c->snd_una;
	c->snd_edge = c->snd_una + 1 + s->wnd;
	c->snd_wnd_max = s->wnd;
}

// Returns the connection that a cookie comes back for: the segment is then for it.
static struct tcp_conn *
in_no_conn(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s)
{
	struct tcp_embryo cookie;

	if (s->flags & TCP_RST)
		return NULL;
	if (path->lport == path->rport && ipaddr_eq(&path->laddr, &path->raddr)) {
		COUNT(t->counters, TCP_BAD); // "from ourselves": an answer would come back here
		return NULL;
	}
	struct tcp_listener *l = tcp_listener_find(t, path);

	if ((s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		if (l != NULL) {
			tcp_embryo_syn(t, path, s, l, 0);
			return NULL;
		}
		COUNT(t->counters, TCP_REFUSED);
	} else if (l != NULL && !(s->flags & TCP_ACK)) {
		return NULL; // RFC 9293 3.10.7.2: neither SYN nor ACK means anything to a listener
	} else if (l != NULL && tcp_cookie_take(t, path, s, &cookie)) {
		struct tcp_conn *c = tcp_embryo_conn(t, &cookie, TCP_REF_NONE);

		if (c != NULL)
			return c;
	}
	tcp_out_rst_for(t, path, s);
	return NULL;
}

// Of a connection that is being accepted: its user may leave already, but is not called yet.
static const struct tcp_user_ops nobody;

// The handshake is complete. The caller goes on unless the connection is dead.
static void
in_established(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp *t = c->tcp;
	bool is_active = c->flags & TF_ACTIVE;

	tcp_ack_open(c, s);
	c->flags &= ~TF_SYN_DUE;
	c->state = c->flags & TF_FIN_QUEUED ? TCPS_FIN_WAIT1 : TCPS_ESTABLISHED;
	if (c->state == TCPS_ESTABLISHED)
		tcp_timer_keepalive(c);
	else
		c->idle_ms = 0;
	if (is_active) {
		if (c->ops != NULL)
			c->ops->open(c->user, c);
		else
			c->idle_ms = tcp_after(c, TCP_FIN_WAIT2_MS);
		if (!tcp_is_dead(c))
			tcp_ready(c); // what was written before may leave now
		return;
	}
	COUNT(t->counters, TCP_OPEN_PASSIVE);
	const struct tcp_listener *l = &t->listeners[c->listener];
	const struct tcp_user_ops *ops = NULL;

	c->flags |= TF_USED;
	c->ops = &nobody;
	void *user = l->accept(l->ctx, c, &ops);

	if (c->ops == NULL)
		return; // it has said something and left
	c->ops = NULL;
	if (user != NULL) {
		CHECK(ops != NULL);
		c->user = user;
		c->ops = ops;
	} else if (!tcp_is_dead(c)) {
		tcp_conn_reset(c, TCP_GONE_CLOSED);
	}
}

static void
in_syn_sent(struct tcp_conn *c, struct tcp_seg *s)
{
	bool has_ack = s->flags & TCP_ACK;

	if (has_ack && (s->ack != c->snd_una + 1 || c->snd_max == c->snd_una)) {
		tcp_out_rst_for(c->tcp, &c->path, s);
		return;
	}
	if (s->flags & TCP_RST) {
		if (!has_ack)
			return; // anybody could have sent that
		COUNT(c->tcp->counters, TCP_RST_IN);
		tcp_conn_die(c, TCP_GONE_REFUSED);
		return;
	}
	if (!(s->flags & TCP_SYN))
		return;
	tcp_in_syn_options(c, s);
	if (!has_ack) { // simultaneous open
		c->state = TCPS_SYN_RCVD;
		c->flags |= TF_SYN_DUE;
		tcp_ready(c);
		return;
	}
	c->snd_wl2 = s->ack;
	c->flags |= TF_ACK_NOW;
	tcp_ready(c);
	in_established(c, s);
	if (tcp_is_dead(c))
		return;
	s->seq++;
	s->flags &= (uint8_t)~TCP_SYN;
	tcp_rcv_input(c, s);
}

// False: an old segment (RFC 7323 5.3), or one without the timestamp that was agreed on.
static bool
in_timestamp_ok(const struct tcp_conn *c, const struct tcp_seg *s)
{
	if (!(c->flags & TF_TS) || (s->flags & TCP_RST))
		return true;
	if (!(s->opts & TCP_OPT_TS))
		return false;
	return !seq_lt(s->tsval, c->ts_recent) || c->tcp->now_s - c->ts_recent_s >= TCP_PAWS_IDLE_S;
}

static void
in_timestamp_take(struct tcp_conn *c, const struct tcp_seg *s)
{
	if (!(c->flags & TF_TS) || !(s->opts & TCP_OPT_TS) || seq_lt(c->last_ack_sent, s->seq))
		return;
	c->ts_recent = s->tsval; // not older: in_timestamp_ok saw to that
	c->ts_recent_s = c->tcp->now_s;
}

static bool
in_window_ok(const struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t len = s->data.n + !!(s->flags & TCP_FIN) + !!(s->flags & TCP_SYN);

	if (len == 0) // the edge itself is where a peer stands that has filled the window
		return seq_le(c->rcv_nxt, s->seq) && seq_le(s->seq, c->rcv_edge);
	return seq_lt(s->seq, c->rcv_edge) && seq_lt(c->rcv_nxt, s->seq + len);
}

static void
in_not_acceptable(struct tcp_conn *c, const struct tcp_seg *s)
{
	bool is_old = seq_lt(s->seq, c->rcv_nxt);

	if (is_old)
		COUNT(c->tcp->counters, TCP_DUPLICATE);
	else
		COUNT(c->tcp->counters, TCP_OUT_OF_WINDOW);
	if (s->flags & TCP_RST)
		return;
	// A probe of our closed window: what it acknowledges counts (RFC 9293 3.10.7.4).
	if (s->seq == c->rcv_nxt && c->rcv_edge == c->rcv_nxt && (s->flags & TCP_ACK) &&
	    !(s->flags & TCP_SYN) && c->state != TCPS_SYN_RCVD && seq_le(s->ack, c->snd_max))
		tcp_ack_input(c, s);
	if (tcp_is_dead(c))
		return;
	if (is_old)
		tcp_rcv_dsack_begin(c, s->seq, s->data.n);
	tcp_out_stray_ack(c, s->data.n == 0 && !(s->flags & TCP_FIN));
	tcp_rcv_dsack_end(c);
}

static void
in_rst(struct tcp_conn *c, const struct tcp_seg *s)
{
	if (s->seq != c->rcv_nxt) {
		tcp_out_challenge(c);
		return;
	}
	COUNT(c->tcp->counters, TCP_RST_IN);
	tcp_conn_die(c, c->state == TCPS_SYN_RCVD ? TCP_GONE_REFUSED : TCP_GONE_RESET);
}

// Returns false when nothing is left to do with this segment.
static bool
in_syn_rcvd(struct tcp_conn *c, struct tcp_seg *s)
{
	if (!(s->flags & TCP_SYN) || s->seq != c->rcv_nxt - 1)
		return true;
	if (!(s->flags & TCP_ACK)) { // its SYN again: our answer was lost
		c->flags |= TF_SYN_DUE;
		tcp_ready(c);
		return false;
	}
	if (s->ack == c->snd_una + 1) {
		s->seq++; // simultaneous open: the SYN is known, its ACK is news
		s->flags &= (uint8_t)~TCP_SYN;
	}
	return true;
}

// True: go on with the segment's bytes.
static bool
in_ack(struct tcp_conn *c, const struct tcp_seg *s)
{
	if (c->state == TCPS_SYN_RCVD) {
		if (s->ack != c->snd_una + 1 || c->snd_max == c->snd_una) {
			tcp_out_rst_for(c->tcp, &c->path, s);
			return false;
		}
		in_timestamp_take(c, s);
		tcp_ack_window(c, s, s->wnd << c->snd_wscale);
		in_established(c, s);
		return !tcp_is_dead(c);
	}
	// RFC 5961 5.2: an ACK that is too new or too old by more than a window comes from a
	// stranger. Not even his timestamp is taken: far ahead, it would make all that the peer
	// sends look old.
	if (seq_lt(c->snd_max, s->ack) || seq_lt(s->ack, c->snd_una - c->snd_wnd_max)) {
		tcp_out_challenge(c);
		return false;
	}
	in_timestamp_take(c, s);
	tcp_ack_input(c, s);
	return !tcp_is_dead(c);
}

static void
in_synchronized(struct tcp_conn *c, struct tcp_seg *s)
{
	if (c->state == TCPS_SYN_RCVD && !in_syn_rcvd(c, s))
		return;
	if (!in_timestamp_ok(c, s)) {
		COUNT(c->tcp->counters, TCP_PAWS);
		if (s->opts & TCP_OPT_TS)
			tcp_out_stray_ack(c, s->data.n == 0 && !(s->flags & TCP_FIN));
		else if (s->flags & TCP_SYN)
			tcp_out_challenge(c); // of another host behind the same address
		return;
	}
	if ((s->flags & TCP_SYN) && !(s->flags & TCP_RST)) {
		tcp_out_challenge(c); // RFC 5961 4.2: wherever it stands
		return;
	}
	if (!in_window_ok(c, s)) {
		in_not_acceptable(c, s);
		return;
	}
	if (s->flags & TCP_RST) {
		in_rst(c, s);
		return;
	}
	if (!(s->flags & TCP_ACK))
		return;
	if (c->ops != NULL && (c->state == TCPS_ESTABLISHED || c->state == TCPS_CLOSE_WAIT))
		tcp_timer_keepalive(c);
	if (!in_ack(c, s))
		return;
	if (c->state == TCPS_TIME_WAIT || c->state == TCPS_DRAIN)
		return;
	tcp_rcv_input(c, s);
}

static void
in_conn(struct tcp_conn *c, struct tcp_seg *s)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	CHECK(!tcp_is_dead(c));
	tcp_trace_in(c, s);
	switch (c->state) {
	case TCPS_SYN_SENT:
		in_syn_sent(c, s);
		break;
	case TCPS_TIME_WAIT: // our ACK has not left yet
		tcp_wait_input(c->tcp, tcp_wait_enter(c), s);
		break;
	default:
		in_synchronized(c, s);
		break;
	}
	if (tcp_is_dead(c))
		return;
	if (!(c->flags & TF_READY)) // else tcp_work does it, when all of this turn is known
		tcp_timer_update(c);
	if (c->state == TCPS_FIN_WAIT2 && tcp_is_forgotten(c))
		tcp_ready(c); // a record will do (tcp_wait.c)
}

void
tcp_input(struct tcp *t, const struct tcp_path *path, struct span raw)
{
	struct tcp_conn *c = NULL;
	struct tcp_seg s;

	OBJ_CHECK(t, TCP_MAGIC);
	COUNT(t->counters, TCP_IN);
	uint64_t hash = tcp_path_hash(t, path);

	flow_prefetch(&t->flows, hash); // the header is read meanwhile
	if (!tcp_seg_parse(&s, raw) || path->lport == 0 || path->rport == 0) {
		COUNT(t->counters, TCP_BAD);
		return;
	}
	uint32_t ref = tcp_find(t, hash, path), index = tcp_ref_index(ref);

	switch (tcp_ref_kind(ref)) {
	case TCP_KIND_CONN:
		c = pool_at(&t->conns, index);
		__builtin_prefetch(&c->rcv_nxt); // line 0 is here already: the key was compared
		__builtin_prefetch(&c->timer);
		__builtin_prefetch(&c->ops);
		__builtin_prefetch(&c->snd_chunk_seq);
		break;
	case TCP_KIND_EMBRYO:
		c = tcp_embryo_input(t, pool_at(&t->embryos, index), &s);
		break;
	case TCP_KIND_WAIT:
		tcp_wait_input(t, pool_at(&t->waits, index), &s);
		break;
	case TCP_KIND_NONE:
		c = in_no_conn(t, path, &s);
		break;
	}
	if (c == NULL)
		return;
	in_conn(c, &s);
	// A record became a connection because this segment completes the handshake, so it has.
	CHECK(c->state != TCPS_SYN_RCVD || (c->flags & TF_ACTIVE));
}
