// SPDX-License-Identifier: Apache-2.0
// machine_sig: see machine_sig.h. Lines of the file do not count: moving a port down changes
// nothing.
#include "control/machine_sig.h"

#include <stdlib.h>
#include <string.h>

#include "control/base/siphash.h"

static uint64_t
mix(uint64_t h, const void *p, size_t n)
{
	return siphash13((struct siphash_key){h, n}, p, n);
}

static uint64_t
mix_text(uint64_t h, struct span s)
{
	return mix(h, s.p, s.n);
}

static uint64_t
ports_of(const struct policy_view *v)
{
	uint64_t h = 0;

	for (uint32_t i = 0; i < v->count[POLICY_PORTS]; i++) {
		const struct policy_port *p = &v->ports[i];
		h = mix_text(h, policy_text(v, p->name));
		h = mix_text(h, policy_text(v, p->device));
		h = mix(h, &p->address, sizeof(p->address));
		h = mix(h, &p->gateway, sizeof(p->gateway));
		h = mix(h, &p->prefix_bits, sizeof(p->prefix_bits));
	}
	return h;
}

void
machine_sig_of(struct machine_sig *s, const struct policy_view *v)
{
	CHECK(s != NULL);
	CHECK(v != NULL);
	const uint8_t *settings = (const uint8_t *)v->settings;

	*s = (struct machine_sig){.is_known = true};
	s->ports = ports_of(v);
	for (uint32_t i = 0; i < v->count[POLICY_CORES]; i++)
		s->cores = mix(s->cores, &v->cores[i].cpu, sizeof(v->cores[i].cpu));
	for (uint32_t i = 0; i < v->count[POLICY_LISTENERS]; i++) {
		const struct policy_listener *l = &v->listeners[i];
		uint32_t word[3] = {l->port, l->tcp_port, l->direction};
		s->listeners = mix(s->listeners, word, sizeof(word));
	}
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *set = schema_setting(i);
		struct policy_str text;
		uint32_t number;
		if (!schema_is_restart(i))
			continue;
		if (set->kind == SETTING_KIND_TEXT) {
			memcpy(&text, settings + set->offset, sizeof(text));
			s->setting[i] = mix_text(0, policy_text(v, text));
		} else {
			memcpy(&number, settings + set->offset, sizeof(number));
			s->setting[i] = number;
		}
	}
}

void
machine_sig_of_region(struct machine_sig *s, const struct region *r)
{
	CHECK(s != NULL);
	CHECK(r != NULL);
	uint64_t size = __atomic_load_n(&r->head->image_size, __ATOMIC_ACQUIRE);
	uint32_t slot = __atomic_load_n(&r->head->active_slot, __ATOMIC_ACQUIRE);
	struct policy_view v;
	struct strbuf why;
	char mem[160];

	*s = (struct machine_sig){0};
	if (r->head->generation == 0 || slot >= REGION_SLOTS || size < sizeof(struct policy_head) ||
	    size > POLICY_IMAGE_MAX)
		return;
	// A copy: what a view has found sound must not change under it.
	void *image = malloc(size);
	if (image == NULL)
		return;
	memcpy(image, region_slot(r, slot), size);
	strbuf_init(&why, mem, sizeof(mem));
	if (policy_view_open(&v, image, size, &why) == POLICY_OK)
		machine_sig_of(s, &v);
	free(image);
}

static void
name_add(struct strbuf *out, const char *section, const char *key)
{
	strbuf_addf(out, "%s%s%s%s", out->len > 0 ? ", " : "", section, key[0] != '\0' ? "." : "",
		    key);
}

void
machine_sig_diff(const struct machine_sig *a, const struct machine_sig *b, struct strbuf *out)
{
	CHECK(a != NULL);
	CHECK(b != NULL);
	CHECK(out != NULL);
	if (!a->is_known || !b->is_known)
		return;
	if (a->ports != b->ports)
		name_add(out, "machine", "ports");
	if (a->cores != b->cores)
		name_add(out, "machine", "cores");
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		if (a->setting[i] != b->setting[i])
			name_add(out, schema_setting(i)->section, schema_setting(i)->key);
	}
	if (a->listeners != b->listeners)
		name_add(out, "listeners", "");
}
