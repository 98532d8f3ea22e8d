// SPDX-License-Identifier: Apache-2.0
// endpoint: see the header.
#include "test/sim/lib/endpoint.h"

#include <stdlib.h>
#include <string.h>

static void
on_open(void *user, struct tcp_conn *c)
{
	struct endpoint *e = user;
	CHECK(e->conn == c);
	e->is_open = true;
}

static uint32_t
on_recv(void *user, struct tcp_conn *c, struct span data)
{
	struct endpoint *e = user;
	uint32_t n = e->hold > 0 ? MIN(e->hold, data.n) : data.n;
	(void)c;
	if (e->taken == e->count)
		e->taken = e->count = 0;
	if (e->count + n > e->size) {
		if (e->taken > 0) {
			memmove(e->in, e->in + e->taken, e->count - e->taken);
			e->count -= e->taken;
			e->taken = 0;
		}
		uint32_t size = MAX(e->size, 4096u);
		while (size < e->count + n)
			size *= 2;
		CHECK(size <= ENDPOINT_BYTES_MAX);
		e->in = realloc(e->in, size);
		CHECK(e->in != NULL);
		e->size = size;
	}
	memcpy(e->in + e->count, data.p, n);
	e->count += n;
	if (e->on_data != NULL)
		e->on_data(e);
	return n;
}

static void
on_sent(void *user, struct tcp_conn *c)
{
	(void)user;
	(void)c;
}

static void
on_eof(void *user, struct tcp_conn *c)
{
	(void)c;
	((struct endpoint *)user)->has_eof = true;
}

static void
on_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct endpoint *e = user;
	(void)c;
	e->conn = NULL;
	e->is_open = false;
	e->is_gone = true;
	e->why = why;
}

const struct tcp_user_ops endpoint_ops = {on_open, on_recv, on_sent, on_eof, on_gone};

void
endpoint_init(struct endpoint *e)
{
	endpoint_fini(e);
	memset(e, 0, sizeof(*e));
}

void
endpoint_fini(struct endpoint *e)
{
	free(e->in);
	e->in = NULL;
	if (e->conn != NULL)
		tcp_conn_forget(e->conn);
	e->conn = NULL;
}

bool
endpoint_open(struct endpoint *e, struct tcp *t, const struct ipaddr *to, uint16_t port)
{
	e->conn = tcp_conn_open(t, to, port, &endpoint_ops, e);
	return e->conn != NULL;
}

uint32_t
endpoint_write(struct endpoint *e, struct span s)
{
	return e->conn != NULL && e->is_open ? tcp_conn_write(e->conn, s) : 0;
}

bool
endpoint_line(struct endpoint *e, char *out, uint32_t size)
{
	struct span s = endpoint_bytes(e);
	for (uint32_t i = 0; i + 1 < s.n; i++)
		if (s.p[i] == '\r' && s.p[i + 1] == '\n') {
			uint32_t n = MIN(i, size - 1);
			memcpy(out, s.p, n);
			out[n] = 0;
			endpoint_take(e, i + 2);
			return true;
		}
	return false;
}

struct span
endpoint_bytes(const struct endpoint *e)
{
	return span_of(e->in + e->taken, e->count - e->taken);
}

void
endpoint_take(struct endpoint *e, uint32_t n)
{
	CHECK(n <= e->count - e->taken);
	e->taken += n;
}

void
endpoint_close(struct endpoint *e)
{
	if (e->conn != NULL)
		tcp_conn_close(e->conn);
}

void
endpoint_abort(struct endpoint *e)
{
	if (e->conn != NULL)
		tcp_conn_abort(e->conn);
}
