// SPDX-License-Identifier: Apache-2.0
// machine: see machine.h. Lines of the file do not count: moving a port down changes nothing.
#include "control/abi/machine.h"

#include <stddef.h>
#include <string.h>

#include "control/base/siphash.h"

enum { PART_PORTS, PART_CORES, PART_LISTENERS, PART_OPTIONS };

struct option {
	const char *section, *key;
	size_t offset; // in struct policy_settings
	bool is_text;
};

static const struct option options[] = {
#define FIELD(s, k) offsetof(struct policy_settings, s##_##k)
#define SETTING_U32(s, k, min, max, def, unit, help) {#s, #k, FIELD(s, k), false},
#define SETTING_BOOL(s, k, def, help) {#s, #k, FIELD(s, k), false},
#define SETTING_TEXT(s, k, max, def, help) {#s, #k, FIELD(s, k), true},
#define SETTING_CHOICE(s, k, choices, def, help) {#s, #k, FIELD(s, k), false},
#include "control/abi/setting.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
};

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
		h = mix(h, &p->vlan, sizeof(p->vlan));
		h = mix(h, p->addr, p->addr_count * sizeof(p->addr[0]));
	}
	return h;
}

static uint64_t
option_of(const struct policy_view *v, const struct option *o)
{
	const uint8_t *at = (const uint8_t *)v->settings + o->offset;
	struct policy_str text;
	uint32_t number;

	CHECK(o->offset + sizeof(number) <= sizeof(*v->settings));
	if (o->is_text) {
		memcpy(&text, at, sizeof(text));
		return mix_text(0, policy_text(v, text));
	}
	memcpy(&number, at, sizeof(number));
	return number;
}

// The next option of the section `machine`, from *i on. NULL: no more.
static const struct option *
option_next(uint32_t *i)
{
	while (*i < ARRAY_LEN(options)) {
		const struct option *o = &options[(*i)++];
		if (strcmp(o->section, "machine") == 0)
			return o;
	}
	return NULL;
}

void
machine_sig_of(struct machine_sig *s, const struct policy_view *v)
{
	CHECK(s != NULL);
	CHECK(v != NULL);
	uint64_t part[MACHINE_PARTS_MAX] = {[PART_PORTS] = ports_of(v)};
	uint32_t n = PART_OPTIONS, at = 0;
	const struct option *o;

	for (uint32_t i = 0; i < v->count[POLICY_CORES]; i++)
		part[PART_CORES] = mix(part[PART_CORES], &v->cores[i].cpu, sizeof(v->cores[i].cpu));
	for (uint32_t i = 0; i < v->count[POLICY_LISTENERS]; i++) {
		const struct policy_listener *l = &v->listeners[i];
		uint32_t word[3] = {l->port, l->tcp_port, l->direction};
		part[PART_LISTENERS] = mix(part[PART_LISTENERS], word, sizeof(word));
	}
	while ((o = option_next(&at)) != NULL) {
		CHECK(n < MACHINE_PARTS_MAX);
		part[n++] = option_of(v, o);
	}
	__atomic_store_n(&s->is_known, 0, __ATOMIC_RELEASE);
	memcpy(s->part, part, sizeof(part));
	__atomic_store_n(&s->is_known, 1, __ATOMIC_RELEASE);
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
	uint32_t n = PART_OPTIONS, at = 0;
	const struct option *o;

	if (__atomic_load_n(&a->is_known, __ATOMIC_ACQUIRE) != 1 ||
	    __atomic_load_n(&b->is_known, __ATOMIC_ACQUIRE) != 1)
		return;
	if (a->part[PART_PORTS] != b->part[PART_PORTS])
		name_add(out, "machine", "ports");
	if (a->part[PART_CORES] != b->part[PART_CORES])
		name_add(out, "machine", "cores");
	while ((o = option_next(&at)) != NULL) {
		CHECK(n < MACHINE_PARTS_MAX);
		if (a->part[n] != b->part[n])
			name_add(out, o->section, o->key);
		n++;
	}
	if (a->part[PART_LISTENERS] != b->part[PART_LISTENERS])
		name_add(out, "listeners", "");
}
