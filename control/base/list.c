// SPDX-License-Identifier: Apache-2.0
// list: see list.h.
#include "control/base/list.h"

void
list_init(struct list *l)
{
	list_node_init(&l->head);
	l->count = 0;
}

void
list_node_init(struct list_node *n)
{
	n->prev = n;
	n->next = n;
}

bool
list_node_is_linked(const struct list_node *n)
{
	return n->next != n;
}

static void
insert_between(struct list *l, struct list_node *n, struct list_node *prev, struct list_node *next)
{
	CHECK(!list_node_is_linked(n));
	DCHECK(prev->next == next);
	DCHECK(next->prev == prev);
	n->prev = prev;
	n->next = next;
	prev->next = n;
	next->prev = n;
	l->count++;
}

void
list_push_back(struct list *l, struct list_node *n)
{
	insert_between(l, n, l->head.prev, &l->head);
}

void
list_push_front(struct list *l, struct list_node *n)
{
	insert_between(l, n, &l->head, l->head.next);
}

void
list_remove(struct list *l, struct list_node *n)
{
	CHECK(n != &l->head);
	if (!list_node_is_linked(n))
		return;
	CHECK(l->count > 0);
	CHECK(n->prev->next == n);
	CHECK(n->next->prev == n);
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_node_init(n);
	l->count--;
}

struct list_node *
list_first(const struct list *l)
{
	return l->head.next == &l->head ? NULL : l->head.next;
}

struct list_node *
list_pop_front(struct list *l)
{
	struct list_node *n = list_first(l);
	if (n != NULL)
		list_remove(l, n);
	return n;
}
