// SPDX-License-Identifier: Apache-2.0
// tcp_info: what can be seen of a connection from outside: its state, its trace, its frames. Runs
// on the owning worker.
#include "dataplane/tcp_conn.h"

void
tcp_trace_in(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct trace_rec *r = trace_add(c->tcp->trace, &c->trace_last, TRACE_SEG_IN);

	if (r != NULL) {
		r->flags = s->flags;
		r->len = (uint16_t)s->data.n;
		r->seq = s->seq;
		r->ack = s->ack;
		r->wnd = s->wnd;
	}
	if (unlikely(c->flags & TF_CAPTURE))
		c->tcp->net->capture(c->tcp->net_ctx, false);
}

void
tcp_trace_out(struct tcp_conn *c, const uint8_t *header, uint32_t len)
{
	struct trace_rec *r = trace_add(c->tcp->trace, &c->trace_last, TRACE_SEG_OUT);

	if (r != NULL) {
		r->flags = header[13];
		r->len = (uint16_t)len;
		r->seq = load_be32(header + 4);
		r->ack = load_be32(header + 8);
		r->wnd = load_be16(header + 14);
	}
	if (unlikely(c->flags & TF_CAPTURE))
		c->tcp->net->capture(c->tcp->net_ctx, true);
}

uint32_t
tcp_conn_trace(const struct tcp_conn *c)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	return c->trace_last;
}

void
tcp_conn_capture(struct tcp_conn *c, bool is_wanted)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	if (is_wanted && c->tcp->net->capture != NULL)
		c->flags |= TF_CAPTURE;
	else
		c->flags &= ~TF_CAPTURE;
}

void
tcp_conn_half(const struct tcp_conn *c, struct trace_half *h)
{
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	*h = (struct trace_half){
		.laddr = c->path.laddr,
		.raddr = c->path.raddr,
		.lport = c->path.lport,
		.rport = c->path.rport,
		.mss = c->mss,
		.state = c->state,
		.is_backend = h->is_backend,
		.snd_wscale = c->snd_wscale,
		.rcv_wscale = c->rcv_wscale,
		.has_ts = (c->flags & TF_TS) != 0,
		.has_sack = (c->flags & TF_SACK) != 0,
		.cwnd = c->cwnd,
		.ssthresh = c->ssthresh,
		.snd_window = seq_lt(c->snd_una, c->snd_edge) ? c->snd_edge - c->snd_una : 0,
		.rcv_window = c->rcv_edge - c->rcv_nxt,
		.in_flight = c->snd_max - c->snd_una,
		.send_queue = (uint32_t)c->sndq.bytes,
		.recv_queue = (uint32_t)c->rcvq.bytes,
		.srtt_us = c->srtt8 >> 3,
		.rto_ms = c->rto_ms,
	};
}
