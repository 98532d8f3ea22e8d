// SPDX-License-Identifier: Apache-2.0
// policy_use: validates a policy's copy and loads its patterns. Runs in the main thread.

#include "dataplane/policy_use.h"

#include <stdlib.h>

struct policy_use *
policy_use_open(void *image, size_t size, uint32_t workers, struct strbuf *why)
{
	CHECK(image != NULL);
	CHECK(workers > 0);
	struct policy_use *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		strbuf_add_str(why, "no memory for the policy");
		free(image);
		return NULL;
	}
	p->image = image;
	if (policy_view_open(&p->view, image, size, why) == POLICY_OK) {
		p->generation = p->view.head->generation;
		p->matcher = matcher_open(&p->view, workers, why);
	}
	if (p->matcher == NULL)
		policy_use_close(&p);
	return p;
}

void
policy_use_close(struct policy_use **pp)
{
	struct policy_use *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	if (p->matcher != NULL)
		matcher_close(&p->matcher);
	free(p->image);
	free(p);
}
