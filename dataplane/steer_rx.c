// SPDX-License-Identifier: Apache-2.0
// steer_rx: see the header. Runs on the worker that received the frame, or on the one that gets it.

#include "dataplane/steer_rx.h"

static void
hand_over(const struct steer_rx *r, struct port *p, uint32_t to, struct frame *f)
{
	const struct steer_item item = {.frame = *f, .iface = r->iface};

	if (steer_send(r->steer, r->worker, to, &item)) {
		COUNT(r->counters, HANDOFF_OUT);
		return;
	}
	COUNT(r->counters, HANDOFF_FULL);
	p->ops->rx_free(p, f);
}

// A copy of an ARP frame for every other worker. Without a buffer they go without: they ask
// themselves.
static void
copy_to_all(const struct steer_rx *r, struct port *p, const struct frame *f)
{
	struct frame copy;

	for (uint32_t w = 0; w < steer_count(r->steer); w++) {
		if (w == r->worker)
			continue;
		if (!r->copy(p, span_of(f->data, f->len), &copy))
			return;
		copy.flags = FRAME_LEARN_ONLY;
		hand_over(r, p, w, &copy);
	}
}

bool
steer_rx_keep(const struct steer_rx *r, struct port *p, struct frame *f)
{
	if (r->steer == NULL)
		return true;
	uint32_t owner = steer_owner(r->steer, span_of(f->data, f->len));

	if (owner == STEER_LOCAL || owner == r->worker)
		return true;
	if (owner == STEER_ALL) {
		copy_to_all(r, p, f);
		return true;
	}
	hand_over(r, p, owner, f);
	return false;
}

uint32_t
steer_rx_handed(struct steer *s, uint32_t index, struct worker *w)
{
	struct steer_item item[PORT_BURST];

	if (s == NULL)
		return 0;
	uint32_t count = steer_recv(s, index, item, PORT_BURST);
	CHECK(count <= PORT_BURST);
	for (uint32_t i = 0; i < count; i++)
		worker_frame(w, item[i].iface, &item[i].frame);
	return count;
}
