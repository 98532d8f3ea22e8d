// SPDX-License-Identifier: Apache-2.0
// Tests of the intrusive list against an array that does the same slowly.
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "control/base/list.h"
#include "control/base/rng.h"

struct item {
	uint32_t id;
	struct list_node node;
};

Test(list, order_and_count)
{
	struct list l;
	struct item a = {1}, b = {2}, c = {3};
	list_init(&l);
	list_node_init(&a.node);
	list_node_init(&b.node);
	list_node_init(&c.node);
	cr_assert_null(list_first(&l));
	cr_assert_null(list_pop_front(&l));
	list_push_back(&l, &a.node);
	list_push_back(&l, &b.node);
	list_push_front(&l, &c.node);
	cr_assert_eq(l.count, 3);
	cr_assert_eq(CONTAINER_OF(list_first(&l), struct item, node)->id, 3);
	list_remove(&l, &a.node);
	list_remove(&l, &a.node); // twice is safe
	cr_assert(!list_node_is_linked(&a.node));
	cr_assert_eq(l.count, 2);
	cr_assert_eq(list_pop_front(&l), &c.node);
	cr_assert_eq(list_pop_front(&l), &b.node);
	cr_assert_null(list_pop_front(&l));
	cr_assert_eq(l.count, 0);
}

Test(list, random_against_array)
{
	enum { N = 32 };
	struct item item[N];
	struct list l;
	struct list_node *model[N];
	uint32_t count = 0;
	struct rng r;
	rng_init(&r, 1);
	list_init(&l);
	for (uint32_t i = 0; i < N; i++)
		list_node_init(&item[i].node);
	for (uint32_t step = 0; step < 20000; step++) {
		struct list_node *n = &item[rng_below(&r, N)].node;
		uint32_t at = 0;
		while (at < count && model[at] != n)
			at++;
		cr_assert_eq(at < count, list_node_is_linked(n));
		if (at < count) {
			list_remove(&l, n);
			memmove(&model[at], &model[at + 1], (--count - at) * sizeof(model[0]));
		} else if (rng_chance(&r, 500000)) {
			list_push_back(&l, n);
			model[count++] = n;
		} else {
			list_push_front(&l, n);
			memmove(&model[1], &model[0], count++ * sizeof(model[0]));
			model[0] = n;
		}
		cr_assert_eq(l.count, count);
		uint32_t i = 0;
		for (struct list_node *x = l.head.next; x != &l.head; x = x->next, i++)
			cr_assert(i < count && model[i] == x);
		cr_assert_eq(i, count);
	}
}

#ifndef __SANITIZE_ADDRESS__ // which turns the trap into an exit
Test(list, push_of_a_linked_node_traps, .signal = SIGILL)
{
	struct list l;
	struct list_node n;
	list_init(&l);
	list_node_init(&n);
	list_push_back(&l, &n);
	list_push_back(&l, &n);
}
#endif
