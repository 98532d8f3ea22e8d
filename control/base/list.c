// SPDX-License-Identifier: Apache-2.0
// list: see list.h.
#include "control/base/list.h"

void
list_push_front(struct list *l, struct list_node *n)
{
	struct list_node *first = l->head.next;

	CHECK(!list_node_is_linked(n));
	n->prev = &l->head;
	n->next = first;
	first->prev = n;
	l->head.next = n;
	l->count++;
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
list_pop_front(struct list *l)
{
	struct list_node *n = list_first(l);
	if (n != NULL)
		list_remove(l, n);
	return n;
}
