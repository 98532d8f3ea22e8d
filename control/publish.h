// SPDX-License-Identifier: Apache-2.0
// publish: brings one policy image after the other into the region, and knows what became of each.
//
//   IDLE --publish_take--> PENDING --publish_poll--> SENT --> TAKEN | REFUSED
//                             ^ slot busy: stays        (an image taken later replaces one PENDING)
//
// Who calls it: posternd's runtime; publish_poll from the main loop. It never waits. Memory: the
// pending image is owned here until it is in the region. Generations go on from the highest one
// that the region has ever seen, so they rise across restarts of posternd. What can go wrong: the
// dataplane refuses an image: REFUSED, its reason in `why`; the policy before stays in force there.
// Words of the dataplane in the region are input: a generation from the future counts as none.
#pragma once

#include "control/abi/region.h"

enum publish_state { PUBLISH_IDLE, PUBLISH_PENDING, PUBLISH_SENT, PUBLISH_TAKEN, PUBLISH_REFUSED };

struct publish {
	struct region *region; // borrowed; NULL: not attached yet
	void *image;           // ours; pending
	size_t image_size;
	uint64_t generation; // of the last image given to publish_take; 0: none
	uint64_t sent;       // highest generation written into the region by us
	enum publish_state state;
	char why[256]; // of REFUSED
};

void publish_init(struct publish *p);
void publish_fini(struct publish *p);
void publish_attach(struct publish *p, struct region *r);
uint64_t publish_next_generation(const struct publish *p);
// Takes the image over (*image becomes NULL). Its generation must be publish_next_generation's.
void publish_take(struct publish *p, void **image, size_t size);
enum publish_state publish_poll(struct publish *p);
// True when every running worker works with the last generation (false while there are none).
bool publish_is_in_force(const struct publish *p);
const char *publish_state_name(enum publish_state s);
