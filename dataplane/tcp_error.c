// SPDX-License-Identifier: Apache-2.0
// tcp_error: ICMP errors about our segments. Anybody can send one, so it counts only when it quotes
// bytes that are in flight (RFC 5927 4.1), and no error of any kind ends a connection that is open
// (RFC 5927 5.2 and 9293 3.9.2.2): a soft one says why, should the connection be given up. Only an
// open that was not answered yet ends at once when the network refuses it, so that another backend
// is tried. Runs on the owning worker.
#include "dataplane/tcp_conn.h"

static void
error_apply(struct tcp_conn *c, const struct tcp_error *e)
{
	struct tcp *t = c->tcp;

	switch (e->kind) {
	case TCP_ERROR_TOO_BIG:
		if (c->state == TCPS_SYN_SENT || c->state == TCPS_SYN_RCVD ||
		    !tcp_mtu_too_big(c, e->mtu))
			COUNT(t->counters, TCP_MTU_REFUSED);
		return;
	case TCP_ERROR_HARD:
		if (c->state == TCPS_SYN_SENT) {
			COUNT(t->counters, TCP_ERROR_REFUSED);
			tcp_conn_die(c, TCP_GONE_REFUSED);
			return;
		}
		break;
	case TCP_ERROR_SOFT:
		break;
	}
	c->flags |= TF_SOFT_ERROR;
	COUNT(t->counters, TCP_ERROR_SOFT);
}

void
tcp_error(struct tcp *t, const struct tcp_path *path, const struct tcp_error *e)
{
	OBJ_CHECK(t, TCP_MAGIC);
	uint32_t index = tcp_flow_find(t, flow_hash(&t->flows, path, sizeof(*path)), path);

	if (index == FLOW_NONE) {
		COUNT(t->counters, TCP_ERROR_STRAY);
		return;
	}
	struct tcp_conn *c = pool_at(&t->conns, index);

	OBJ_CHECK(c, TCP_CONN_MAGIC);
	if (seq_lt(e->seq, c->snd_una) || !seq_lt(e->seq, c->snd_max)) {
		COUNT(t->counters, TCP_ERROR_STRAY);
		return;
	}
	COUNT(t->counters, TCP_ERROR_IN);
	error_apply(c, e);
}
