// SPDX-License-Identifier: Apache-2.0
// policy_build: see policy_build.h. Each section grows in a heap array of its own; finish sorts
// them and copies them one behind the other.
#include "control/abi/policy_build.h"

#include <stdlib.h>
#include <string.h>

struct section_buf {
	uint8_t *p;
	size_t bytes, cap;
};

struct policy_build {
	struct policy_settings settings;
	struct policy_agent agents[AGENT_COUNT];
	struct section_buf section[POLICY_SECTION_COUNT];
	bool failed;
};

static const struct {
	uint32_t row_size, most;
} sections[POLICY_SECTION_COUNT] = {
#define X(id, type, least, most) [POLICY_##id] = {sizeof(type), most},
	POLICY_SECTIONS(X)
#undef X
};

static void
append(struct policy_build *b, enum policy_section_id s, const void *p, size_t n)
{
	struct section_buf *buf = &b->section[s];
	if (b->failed || n == 0)
		return;
	if (n > POLICY_IMAGE_MAX ||
	    buf->bytes + n > (size_t)sections[s].row_size * sections[s].most) {
		b->failed = true;
		return;
	}
	if (buf->bytes + n > buf->cap) {
		size_t cap = MAX(buf->cap * 2, buf->bytes + n + 256);
		uint8_t *grown = realloc(buf->p, cap);
		if (grown == NULL) {
			b->failed = true;
			return;
		}
		buf->p = grown;
		buf->cap = cap;
	}
	memcpy(buf->p + buf->bytes, p, n);
	buf->bytes += n;
}

struct policy_str
policy_build_str(struct policy_build *b, struct span s)
{
	size_t off = b->section[POLICY_STRINGS].bytes;
	append(b, POLICY_STRINGS, s.p, s.n);
	if (b->failed)
		return (struct policy_str){0, 0};
	return (struct policy_str){(uint32_t)off, s.n};
}

static void
settings_default(struct policy_build *b)
{
	struct policy_settings *s = &b->settings;
#define CHOICE_failure(def) FAILURE_##def
#define CHOICE_sender_action(def) SENDER_ACTION_##def
#define SETTING_U32(section, key, min, max, def, unit, help) s->section##_##key = (def);
#define SETTING_BOOL(section, key, def, help) s->section##_##key = (def);
#define SETTING_TEXT(section, key, longest, def, help)                                             \
	s->section##_##key = policy_build_str(b, SPAN_LIT(def));
#define SETTING_CHOICE(section, key, choices, def, help) s->section##_##key = CHOICE_##choices(def);
#include "control/abi/setting.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
}

struct policy_build *
policy_build_open(void)
{
	struct policy_build *b = calloc(1, sizeof(*b));
	if (b == NULL)
		return NULL;
	settings_default(b);
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		b->agents[a] = (struct policy_agent){1, agent_default_place(a)};
	return b;
}

void
policy_build_close(struct policy_build **b)
{
	if (*b == NULL)
		return;
	for (uint32_t i = 0; i < POLICY_SECTION_COUNT; i++)
		free((*b)->section[i].p);
	free(*b);
	*b = NULL;
}

struct policy_settings *
policy_build_settings(struct policy_build *b)
{
	return &b->settings;
}

struct policy_agent *
policy_build_agents(struct policy_build *b)
{
	return b->agents;
}

static bool
is_addr_section(enum policy_section_id s)
{
	return s == POLICY_ACCEPTED_DOMAINS || s == POLICY_BLOCKED_SENDERS ||
	       s == POLICY_BLOCKED_RECIPIENTS || s == POLICY_RECIPIENTS;
}

static bool
is_prefix_section(enum policy_section_id s)
{
	return s == POLICY_IP_ALLOW || s == POLICY_IP_BLOCK;
}

static struct span
text_of(const struct policy_build *b, struct policy_str s)
{
	const struct section_buf *strings = &b->section[POLICY_STRINGS];
	CHECK(s.off <= strings->bytes && s.len <= strings->bytes - s.off);
	return span_of(strings->p + s.off, s.len);
}

// The same text in lower case. A copy, since the caller may use the string elsewhere too.
static struct policy_str
lower_str(struct policy_build *b, struct policy_str s)
{
	if (b->failed)
		return s;
	struct span text = text_of(b, s);
	bool upper = false;
	for (uint32_t i = 0; i < text.n && !upper; i++)
		upper = text.p[i] != ascii_lower(text.p[i]);
	if (!upper)
		return s;
	uint8_t *copy = malloc(text.n);
	if (copy == NULL) {
		b->failed = true;
		return s;
	}
	for (uint32_t i = 0; i < text.n; i++)
		copy[i] = ascii_lower(text.p[i]);
	struct policy_str lowered = policy_build_str(b, span_of(copy, text.n));
	free(copy);
	return lowered;
}

uint32_t
policy_build_row(struct policy_build *b, enum policy_section_id s, const void *row, size_t size)
{
	CHECK((uint32_t)s < POLICY_SECTION_COUNT);
	CHECK(size == sections[s].row_size);
	CHECK(s != POLICY_SETTINGS && s != POLICY_AGENTS && s != POLICY_ORDER); // the builder's own
	CHECK(s != POLICY_STRINGS);
	uint32_t index = (uint32_t)(b->section[s].bytes / sections[s].row_size);
	if (is_addr_section(s)) {
		struct policy_addr a;
		memcpy(&a, row, sizeof(a));
		a.text = lower_str(b, a.text);
		append(b, s, &a, sizeof(a));
	} else if (s == POLICY_TYPES) {
		struct policy_type t;
		memcpy(&t, row, sizeof(t));
		t.text = lower_str(b, t.text);
		append(b, s, &t, sizeof(t));
	} else {
		append(b, s, row, size);
	}
	return index;
}

void
policy_build_bytes(struct policy_build *b, enum policy_section_id s, const void *p, size_t n)
{
	CHECK((uint32_t)s < POLICY_SECTION_COUNT);
	CHECK(sections[s].row_size == 1);
	append(b, s, p, n);
}

void
policy_build_port(struct policy_build *b, const char *name, const char *device, struct ipaddr addr,
		  uint32_t prefix_bits)
{
	struct policy_port port = {
		.name = policy_build_str(b, span_str(name)),
		.device = policy_build_str(b, span_str(device)),
		.line = (uint32_t)(b->section[POLICY_PORTS].bytes / sizeof(port)) + 1,
		.addr_count = 1,
		.addr = {{.addr = addr, .prefix_bits = prefix_bits}},
	};

	policy_build_row(b, POLICY_PORTS, &port, sizeof(port));
}

void
policy_build_least(struct policy_build *b)
{
	struct policy_core core = {.cpu = 0};
	struct policy_listener listener = {
		.port = 0, .tcp_port = 25, .direction = DIRECTION_INBOUND};
	struct policy_hop hop = {
		.name = policy_build_str(b, SPAN_LIT("backend")),
		.address = ipaddr_v4(0xc0000203),
		.tcp_port = 25,
		.direction = DIRECTION_INBOUND,
		.line = 1,
	};
	policy_build_port(b, "port0", "net_null0", ipaddr_v4(0xc0000202), 120); // 192.0.2.2
	policy_build_row(b, POLICY_CORES, &core, sizeof(core));
	policy_build_row(b, POLICY_LISTENERS, &listener, sizeof(listener));
	policy_build_row(b, POLICY_HOPS, &hop, sizeof(hop));
}

static int
prefix_compare(const void *x, const void *y, void *ctx)
{
	(void)ctx;
	const struct policy_prefix *a = x, *b = y;
	if (a->bits != b->bits)
		return a->bits > b->bits ? -1 : 1;
	int c = memcmp(a->addr.b, b->addr.b, sizeof(a->addr.b));
	if (c != 0)
		return c;
	uint64_t a_end = a->expires_s == 0 ? UINT64_MAX : a->expires_s;
	uint64_t b_end = b->expires_s == 0 ? UINT64_MAX : b->expires_s;
	if (a_end != b_end)
		return a_end > b_end ? -1 : 1;
	return a->line == b->line ? 0 : a->line < b->line ? -1 : 1;
}

static int
addr_compare(const void *x, const void *y, void *ctx)
{
	const struct policy_addr *a = x, *b = y;
	int c = span_cmp(text_of(ctx, a->text), text_of(ctx, b->text));
	if (c != 0)
		return c;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->line == b->line ? 0 : a->line < b->line ? -1 : 1;
}

static int
type_compare(const void *x, const void *y, void *ctx)
{
	const struct policy_type *a = x, *b = y;
	int c = span_cmp(text_of(ctx, a->text), text_of(ctx, b->text));
	if (c != 0)
		return c;
	return a->line == b->line ? 0 : a->line < b->line ? -1 : 1;
}

static void
sort_sections(struct policy_build *b)
{
	for (uint32_t i = 0; i < POLICY_SECTION_COUNT; i++) {
		enum policy_section_id s = (enum policy_section_id)i;
		struct section_buf *buf = &b->section[i];
		size_t rows = buf->bytes / sections[i].row_size;
		if (rows < 2)
			continue;
		if (is_prefix_section(s))
			qsort_r(buf->p, rows, sections[i].row_size, prefix_compare, b);
		else if (is_addr_section(s))
			qsort_r(buf->p, rows, sections[i].row_size, addr_compare, b);
		else if (s == POLICY_TYPES)
			qsort_r(buf->p, rows, sections[i].row_size, type_compare, b);
	}
}

static struct span
section_bytes(const struct policy_build *b, const struct policy_order *order, uint32_t i)
{
	switch (i) {
	case POLICY_SETTINGS:
		return span_of(&b->settings, sizeof(b->settings));
	case POLICY_AGENTS:
		return span_of(b->agents, sizeof(b->agents));
	case POLICY_ORDER:
		return span_of(order, sizeof(*order) * EVENT_COUNT);
	default:
		return span_of(b->section[i].p, b->section[i].bytes);
	}
}

void *
policy_build_finish(struct policy_build *b, uint64_t generation, size_t *size)
{
	CHECK(size != NULL);
	if (b->failed)
		return NULL;
	sort_sections(b);
	struct policy_order order[EVENT_COUNT];
	policy_order_derive(b->agents, order);
	struct policy_head head = {
		.magic = POLICY_MAGIC,
		.version = POLICY_VERSION,
		.layout = policy_layout(),
		.generation = generation,
		.section_count = POLICY_SECTION_COUNT,
	};
	uint64_t off = sizeof(head);
	for (uint32_t i = 0; i < POLICY_SECTION_COUNT; i++) {
		struct span bytes = section_bytes(b, order, i);
		head.section[i] = (struct policy_section){.off = off,
							  .count = bytes.n / sections[i].row_size,
							  .row_size = sections[i].row_size};
		off = (off + bytes.n + 7) & ~7ull;
	}
	if (off > POLICY_IMAGE_MAX)
		return NULL;
	head.size = off;
	uint8_t *image = calloc(1, off);
	if (image == NULL)
		return NULL;
	for (uint32_t i = 0; i < POLICY_SECTION_COUNT; i++) {
		struct span bytes = section_bytes(b, order, i);
		if (bytes.n > 0)
			memcpy(image + head.section[i].off, bytes.p, bytes.n);
	}
	memcpy(image, &head, sizeof(head));
	head.checksum = policy_checksum(image, off);
	memcpy(image, &head, sizeof(head));
	*size = off;
	return image;
}
