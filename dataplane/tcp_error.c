// SPDX-License-Identifier: Apache-2.0
// tcp_error: ICMP errors about our segments. Anybody can send one, so it counts only when it quotes
// bytes that are in flight (RFC 5927 4.1). Runs on the owning worker.
#include "dataplane/tcp_conn.h"

void
tcp_error(struct tcp *t, const struct tcp_path *path, const struct tcp_error *e)
{
	OBJ_CHECK(t, TCP_MAGIC);
	struct tcp_conn *c = tcp_conn_find(t, path);

	if (c == NULL) {
		COUNT(t->counters, TCP_ERROR_STRAY);
		return;
	}
	OBJ_CHECK(c, TCP_CONN_MAGIC);
	if (seq_lt(e->seq, c->snd_una) || !seq_lt(e->seq, c->snd_max)) {
		COUNT(t->counters, TCP_ERROR_STRAY);
		return;
	}
	COUNT(t->counters, TCP_ERROR_IN);
}
