// SPDX-License-Identifier: Apache-2.0
// Hops: the mail servers of all policies held, what each is known to offer, and the health probes.
// Runs on the owning worker; every worker learns for itself, so nothing is shared.

#include "control/base/siphash.h"
#include "dataplane/smtp_session.h"

static bool
hop_is_current(const struct smtp *s, const struct smtp_hop *h)
{
	return h->is_used && h->last_generation == smtp_policy_now(s)->generation;
}

static struct smtp_hop *
hop_lookup(struct smtp *s, const struct policy_hop *row)
{
	for (uint32_t i = 0; i < SMTP_HOPS_MAX; i++) {
		struct smtp_hop *h = &s->hop[i];
		if (h->is_used && h->port == row->tcp_port && h->direction == row->direction &&
		    ipaddr_eq(&h->addr, &row->address))
			return h;
	}
	return NULL;
}

struct smtp_hop *
smtp_hop_find(struct smtp *s, const struct policy_view *v, uint32_t row)
{
	CHECK(row < v->count[POLICY_HOPS]);
	return hop_lookup(s, &v->hops[row]);
}

static struct smtp_hop *
hop_add(struct smtp *s, const struct policy_hop *row)
{
	for (uint32_t i = 0; i < SMTP_HOPS_MAX; i++) {
		struct smtp_hop *h = &s->hop[i];
		if (h->is_used || h->conn_count > 0)
			continue;
		CHECK(h->idle.count == 0);
		CHECK(h->probe == NULL);
		h->is_used = true;
		h->is_known = false;
		h->is_down = false;
		h->is_told = false;
		h->early_probes = 0;
		h->direction = (uint8_t)row->direction;
		h->port = row->tcp_port;
		h->addr = row->address;
		h->caps = (struct smtp_caps){0};
		smtp_timer_set(s, &h->timer, 0);
		return h;
	}
	return NULL;
}

void
smtp_hops_sync(struct smtp *s)
{
	const struct policy_use *use = smtp_policy_now(s);
	uint64_t oldest = smtp_policy_oldest(s);
	for (uint32_t i = 0; i < SMTP_HOPS_MAX; i++) {
		struct smtp_hop *h = &s->hop[i];
		if (h->is_used && h->last_generation < oldest && h->conn_count == 0) {
			smtp_timer_stop(s, &h->timer);
			h->is_used = false;
		}
	}
	for (uint32_t i = 0; i < use->view.count[POLICY_HOPS]; i++) {
		struct smtp_hop *h = hop_lookup(s, &use->view.hops[i]);
		if (h == NULL)
			h = hop_add(s, &use->view.hops[i]);
		if (h == NULL)
			continue; // sixteen policies with other hops each: recipients get 451 until
				  // some end
		if (!wheel_is_set(&h->timer.node) && h->probe == NULL)
			smtp_timer_set(s, &h->timer, 0);
		h->last_generation = use->generation;
	}
}

static void
hop_arm(struct smtp *s, struct smtp_hop *h, uint64_t in_ms)
{
	smtp_timer_stop(s, &h->timer);
	if (hop_is_current(s, h))
		smtp_timer_set(s, &h->timer, in_ms);
}

static void
hop_failed(struct smtp *s, struct smtp_hop *h, bool is_early)
{
	h->is_down = true;
	h->early_probes += is_early;
	hop_arm(s, h, is_early ? SMTP_PROBE_EARLY_MS : SMTP_PROBE_DOWN_MS);
}

void
smtp_hop_fire(struct smtp *s, struct smtp_hop *h)
{
	if (!hop_is_current(s, h) || h->probe != NULL)
		return;
	COUNT(s->counters, BACKEND_PROBES);
	if (smtp_backend_probe(s, h))
		return;
	// The first second of our own IPv6 address is no news of the mail server.
	if (!h->is_known && h->early_probes == 0)
		hop_failed(s, h, true);
	else
		smtp_hop_failed(
			s, h,
			SPAN_LIT("no route, no address of ours in use yet, or no connection free"));
}

static const struct policy_hop *
hop_row(struct smtp *s, const struct smtp_hop *h)
{
	const struct policy_view *v = &smtp_policy_now(s)->view;
	for (uint32_t i = 0; i < v->count[POLICY_HOPS]; i++)
		if (hop_lookup(s, &v->hops[i]) == h)
			return &v->hops[i];
	return NULL;
}

// A change is told at once, another reason once a second, the same again at most once a probe
// interval: busy connections would fill the ring.
static void
hop_tell(struct smtp *s, struct smtp_hop *h, bool is_down, struct span why)
{
	const struct policy_view *v = &smtp_policy_now(s)->view;
	const struct policy_hop *row = hop_row(s, h);
	uint64_t now_ms = smtp_now_ms(s);
	uint64_t reason = why.n > 0 ? siphash13((struct siphash_key){0, 0}, why.p, why.n) : 0;
	uint64_t step_ms = reason != h->told_why ? SMTP_PROBE_EARLY_MS
						 : v->settings->timeouts_probe_s * 1000ull;
	if (row == NULL)
		return; // of an older policy: nobody asks for it any more
	if (h->is_told && h->is_down == is_down && now_ms - h->told_ms < step_ms)
		return;
	smtp_log_backend(s, h, policy_text(v, row->name), is_down, why);
	h->is_told = true;
	h->told_ms = now_ms;
	h->told_why = reason;
}

void
smtp_hop_learned(struct smtp *s, struct smtp_hop *h, const struct smtp_caps *caps)
{
	hop_tell(s, h, false, SPAN_NONE);
	h->is_known = true;
	h->is_down = false;
	h->caps = *caps;
	hop_arm(s, h, smtp_policy_now(s)->view.settings->timeouts_probe_s * 1000ull);
}

void
smtp_hop_failed(struct smtp *s, struct smtp_hop *h, struct span why)
{
	hop_tell(s, h, true, why);
	hop_failed(s, h, !h->is_known && h->early_probes < SMTP_PROBES_EARLY);
}

// It says nothing about the server, but whoever is believed to be down waits for the next one.
void
smtp_hop_unheard(struct smtp *s, struct smtp_hop *h)
{
	hop_arm(s, h, SMTP_PROBE_DOWN_MS);
}

bool
smtp_hops_caps(struct smtp *s, const struct policy_view *v, uint32_t direction,
	       struct smtp_caps *out)
{
	bool any = false;
	for (uint32_t i = 0; i < v->count[POLICY_HOPS]; i++) {
		const struct smtp_hop *h = smtp_hop_find(s, v, i);
		if (v->hops[i].direction != direction || h == NULL || !h->is_known)
			continue;
		if (!any) {
			*out = h->caps;
			any = true;
			continue;
		}
		// Any of them may get the message.
		out->pipelining = out->pipelining && h->caps.pipelining;
		out->eightbit = out->eightbit && h->caps.eightbit;
		if (h->caps.has_size && h->caps.size_max > 0) {
			out->size_max = out->has_size && out->size_max > 0
						? MIN(out->size_max, h->caps.size_max)
						: h->caps.size_max;
			out->has_size = true;
		}
	}
	return any;
}
