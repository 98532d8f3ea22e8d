// SPDX-License-Identifier: Apache-2.0
// tcp_fifo: lists of compact records, linked by their numbers (4 bytes instead of a pointer's 8).
// Runs on the owning worker.
#include "dataplane/tcp_conn.h"

static struct tcp_link *
fifo_link(const struct pool *p, uint32_t off, uint32_t number)
{
	return (struct tcp_link *)((uint8_t *)pool_at(p, number - 1) + off);
}

void
tcp_fifo_push(struct tcp_fifo *f, struct pool *p, uint32_t off, void *obj)
{
	uint32_t number = pool_index(p, obj) + 1;

	*fifo_link(p, off, number) = (struct tcp_link){.prev = f->last};
	if (f->last == 0)
		f->first = number;
	else
		fifo_link(p, off, f->last)->next = number;
	f->last = number;
	f->count++;
}

void
tcp_fifo_remove(struct tcp_fifo *f, struct pool *p, uint32_t off, void *obj)
{
	uint32_t number = pool_index(p, obj) + 1;
	const struct tcp_link *l = fifo_link(p, off, number);

	CHECK(f->count > 0);
	CHECK((l->prev == 0) == (f->first == number));
	CHECK((l->next == 0) == (f->last == number));
	if (l->prev == 0)
		f->first = l->next;
	else
		fifo_link(p, off, l->prev)->next = l->next;
	if (l->next == 0)
		f->last = l->prev;
	else
		fifo_link(p, off, l->next)->prev = l->prev;
	f->count--;
}

void *
tcp_fifo_first(const struct tcp_fifo *f, const struct pool *p)
{
	return f->first == 0 ? NULL : pool_at(p, f->first - 1);
}
