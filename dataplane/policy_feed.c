// SPDX-License-Identifier: Apache-2.0
// policy_feed: runs in the main thread.

#include "dataplane/policy_feed.h"

#include <string.h>

void
policy_feed_init(struct policy_feed *f, struct region *r)
{
	*f = (struct policy_feed){.region = r};
}

void
policy_feed_fini(struct policy_feed *f)
{
	for (uint32_t i = 0; i < f->count; i++)
		policy_use_close(&f->policy[i]);
	f->count = f->worker_count = 0;
}

void
policy_feed_add(struct policy_feed *f, struct worker *w)
{
	CHECK(w != NULL);
	CHECK(f->worker_count < POLICY_CORES_MAX);
	f->worker[f->worker_count++] = w;
}

// What is set up in boot (ports, cores, listeners, sizes) stays as it is until the next start,
// whatever the policy says: posternd tells the operator that a restart is due, and lists and agents
// must go on changing meanwhile.
static bool
policy_is_newer(const struct policy_feed *f, const struct policy_use *p, struct strbuf *why)
{
	if (f->count > 0 && p->generation <= f->policy[f->count - 1]->generation) {
		strbuf_add_str(why, "its generation is not newer than the one in force");
		return false;
	}
	return true;
}

static bool
is_used(const struct policy_feed *f, const struct policy_use *p)
{
	for (uint32_t i = 0; i < f->worker_count; i++)
		if (worker_policy_uses(f->worker[i], p->generation))
			return true;
	return f->worker_count == 0;
}

static void
retire(struct policy_feed *f)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		if (i + 1 < f->count && !is_used(f, f->policy[i]))
			policy_use_close(&f->policy[i]);
		else
			f->policy[kept++] = f->policy[i];
	}
	f->count = kept;
}

static enum policy_feed_result
refuse(struct policy_feed *f, uint64_t generation, const struct strbuf *why)
{
	struct region_head *h = f->region->head;
	struct strbuf s;

	strbuf_init(&s, h->why, sizeof(h->why));
	strbuf_add(&s, strbuf_span(why));
	__atomic_store_n(&h->refused_generation, generation, __ATOMIC_RELEASE);
	return POLICY_FEED_REFUSED;
}

enum policy_feed_result
policy_feed_step(struct policy_feed *f, struct strbuf *why)
{
	uint64_t generation = 0;
	size_t size;

	CHECK(f->region->head != NULL);
	retire(f);
	if (f->count == POLICY_FEED_MAX)
		return POLICY_FEED_NONE;
	// Nothing in force yet and a new run of posternd: its numbers may begin anew.
	uint64_t epoch = __atomic_load_n(&f->region->head->control_epoch, __ATOMIC_RELAXED);
	if (f->count == 0 && epoch != f->epoch)
		f->seen = 0;
	f->epoch = epoch;
	void *image = region_take(f->region, f->seen, &size, &generation);
	if (image == NULL)
		return POLICY_FEED_NONE;
	f->seen = generation;
	// For the first policy the number of workers is in the image, which is not checked yet: the
	// limit does.
	struct policy_use *p = policy_use_open(
		image, size, f->worker_count > 0 ? f->worker_count : POLICY_CORES_MAX, why);
	if (p == NULL)
		return refuse(f, generation, why);
	if (!policy_is_newer(f, p, why)) {
		policy_use_close(&p);
		return refuse(f, generation, why);
	}
	f->policy[f->count++] = p;
	for (uint32_t i = 0; i < f->worker_count; i++)
		worker_policy_offer(f->worker[i], p);
	return POLICY_FEED_TAKEN;
}
