// SPDX-License-Identifier: Apache-2.0
// list: an intrusive doubly linked ring; the node lives in the object.
//
// Who calls it: everybody; one thread a list. Memory: none of its own. A node that is in no list is
// linked to itself (list_node_init), so list_remove is safe twice.
#pragma once

#include "control/base/check.h"

struct list_node {
	struct list_node *prev, *next;
};

struct list {
	struct list_node head;
	uint32_t count;
};

// Inline because each segment of each connection passes them several times.
static inline void
list_node_init(struct list_node *n)
{
	n->prev = n;
	n->next = n;
}

static inline void
list_init(struct list *l)
{
	list_node_init(&l->head);
	l->count = 0;
}

static inline bool
list_node_is_linked(const struct list_node *n)
{
	return n->next != n;
}

void list_push_front(struct list *l, struct list_node *n);

static inline void
list_push_back(struct list *l, struct list_node *n)
{
	struct list_node *last = l->head.prev;

	CHECK(!list_node_is_linked(n));
	n->prev = last;
	n->next = &l->head;
	last->next = n;
	l->head.prev = n;
	l->count++;
}

void list_remove(struct list *l, struct list_node *n);

static inline struct list_node *
list_first(const struct list *l) // NULL: empty
{
	return l->head.next == &l->head ? NULL : l->head.next;
}

struct list_node *list_pop_front(struct list *l); // NULL: empty
