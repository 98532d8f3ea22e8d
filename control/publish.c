// SPDX-License-Identifier: Apache-2.0
// publish: images into the region, one after the other. See publish.h.
#include "control/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
publish_init(struct publish *p)
{
	CHECK(p != NULL);
	*p = (struct publish){0};
}

void
publish_fini(struct publish *p)
{
	CHECK(p != NULL);
	free(p->image);
	*p = (struct publish){0};
}

void
publish_attach(struct publish *p, struct region *r)
{
	CHECK(p != NULL);
	CHECK(r != NULL);
	CHECK(p->region == NULL);
	p->region = r;
}

static uint64_t
load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

// The region's own word is believed as a number only: a damaged one near the end of the range would
// leave no room for the generations to come.
static uint64_t
region_generation(const struct publish *p)
{
	uint64_t g = p->region != NULL ? load(&p->region->head->generation) : 0;

	return g <= UINT64_MAX / 2 ? g : 0;
}

uint64_t
publish_next_generation(const struct publish *p)
{
	CHECK(p != NULL);
	uint64_t region = region_generation(p);

	return MAX(region, p->generation) + 1;
}

void
publish_take(struct publish *p, void **image, size_t size)
{
	struct policy_head head;

	CHECK(p != NULL);
	CHECK(image != NULL);
	CHECK(*image != NULL);
	CHECK(size >= sizeof(head));
	memcpy(&head, *image, sizeof(head));
	CHECK(head.size == size);
	CHECK(head.generation > p->generation);
	free(p->image);
	p->image = *image;
	p->image_size = size;
	p->generation = head.generation;
	p->state = PUBLISH_PENDING;
	p->why[0] = '\0';
	*image = NULL;
}

static void
refuse(struct publish *p, const char *why)
{
	p->state = PUBLISH_REFUSED;
	(void)snprintf(p->why, sizeof(p->why), "%s", why);
}

static void
send_pending(struct publish *p)
{
	char why[80];
	int err = region_publish(p->region, p->image, p->image_size);

	if (err == -EBUSY)
		return;
	free(p->image);
	p->image = NULL;
	p->image_size = 0;
	if (err == 0) {
		p->sent = p->generation;
		p->state = PUBLISH_SENT;
		return;
	}
	(void)snprintf(why, sizeof(why), "the region does not take it: %s", strerror(-err));
	refuse(p, why);
}

// The words of the dataplane are input: it cannot have taken what we never sent.
static void
follow(struct publish *p)
{
	struct region_head *h = p->region->head;
	uint64_t taken = load(&h->taken_generation), refused = load(&h->refused_generation);
	char why[sizeof(h->why)];

	CHECK(p->sent == p->generation);
	if (refused == p->sent) {
		memcpy(why, h->why, sizeof(why));
		why[sizeof(why) - 1] = '\0';
		for (uint32_t i = 0; why[i] != '\0'; i++) {
			if (why[i] < 0x20 || why[i] == 0x7f)
				why[i] = '?';
		}
		refuse(p, why[0] != '\0' ? why : "no reason given");
	} else if (taken == p->sent) {
		p->state = PUBLISH_TAKEN;
	}
}

enum publish_state
publish_poll(struct publish *p)
{
	CHECK(p != NULL);
	if (p->region == NULL)
		return p->state;
	if (p->state == PUBLISH_PENDING)
		send_pending(p);
	// A dataplane that starts anew takes the image once more, and may find fault with it then.
	if (p->state == PUBLISH_SENT || p->state == PUBLISH_TAKEN)
		follow(p);
	return p->state;
}

bool
publish_is_in_force(const struct publish *p)
{
	CHECK(p != NULL);
	if (p->region == NULL || p->state != PUBLISH_TAKEN)
		return false;
	const struct region_head *h = p->region->head;
	uint32_t workers = MIN(__atomic_load_n(&h->workers, __ATOMIC_RELAXED), REGION_WORKERS_MAX);
	for (uint32_t w = 0; w < workers; w++) {
		if (load(&h->worker[w].generation) != p->sent)
			return false;
	}
	return workers > 0;
}

const char *
publish_state_name(enum publish_state s)
{
	static const char *const name[] = {"idle", "pending", "sent", "taken", "refused"};

	return (uint32_t)s < ARRAY_LEN(name) ? name[s] : "?";
}
