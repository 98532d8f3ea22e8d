// SPDX-License-Identifier: Apache-2.0
// policy_compile: configuration + overlay -> image. See policy_compile.h.
#include "control/policy_compile.h"

#include <stdlib.h>
#include <string.h>

#include "control/abi/policy_build.h"
#include "control/base/siphash.h"
#include "control/pattern_compile.h"

static_assert(PATTERN_TEXT_MAX == 256, "the longest phrase that config_list.c lets through");

// The database in force and the one of a file that is only checked, or was in force before.
#define CACHE_WAYS 2
#define CACHE_KINDS 2

struct cached {
	bool is_used;
	uint64_t hash[2]; // of all texts, under two keys
	uint64_t used_at;
	void *db; // ours; NULL: no patterns
	size_t size;
};

struct policy_compiler {
	struct cached cache[CACHE_KINDS][CACHE_WAYS];
	uint64_t clock;
	uint32_t compiled;
};

struct policy_compiler *
policy_compiler_open(void)
{
	return calloc(1, sizeof(struct policy_compiler));
}

void
policy_compiler_close(struct policy_compiler **c)
{
	CHECK(c != NULL);
	if (*c == NULL)
		return;
	for (uint32_t k = 0; k < CACHE_KINDS; k++) {
		for (uint32_t w = 0; w < CACHE_WAYS; w++)
			free((*c)->cache[k][w].db);
	}
	free(*c);
	*c = NULL;
}

uint32_t
policy_compiler_compiled(const struct policy_compiler *c)
{
	CHECK(c != NULL);
	return c->compiled;
}

// --- pattern databases ---

// A chain of hashes, each over the one before, so that texts cannot run into each other.
static void
texts_hash(const struct span *texts, uint32_t count, uint64_t out[2])
{
	for (uint32_t k = 0; k < 2; k++) {
		uint64_t h = count;
		for (uint32_t i = 0; i < count; i++) {
			struct siphash_key key = {h, 0x9e3779b97f4a7c15ull + k};
			h = siphash13(key, texts[i].p, texts[i].n) ^ texts[i].n;
		}
		out[k] = h;
	}
}

static struct cached *
cache_find(struct policy_compiler *c, enum pattern_kind kind, const uint64_t hash[2])
{
	CHECK((uint32_t)kind < CACHE_KINDS);
	for (uint32_t w = 0; w < CACHE_WAYS; w++) {
		struct cached *e = &c->cache[kind][w];
		if (e->is_used && e->hash[0] == hash[0] && e->hash[1] == hash[1])
			return e;
	}
	return NULL;
}

static struct cached *
cache_oldest(struct policy_compiler *c, enum pattern_kind kind)
{
	struct cached *oldest = &c->cache[kind][0];

	for (uint32_t w = 0; w < CACHE_WAYS; w++) {
		struct cached *e = &c->cache[kind][w];
		if (!e->is_used)
			return e;
		if (e->used_at < oldest->used_at)
			oldest = e;
	}
	return oldest;
}

// NULL: one of them cannot be compiled; which, and why, is in bad and why.
static const struct cached *
patterns_get(struct policy_compiler *c, enum pattern_kind kind, const struct span *texts,
	     uint32_t count, uint32_t *bad, struct strbuf *why)
{
	uint64_t hash[2];
	void *db = NULL;
	size_t size = 0;

	texts_hash(texts, count, hash);
	struct cached *e = cache_find(c, kind, hash);
	if (e == NULL) {
		if (pattern_compile(kind, texts, count, &db, &size, bad, why) != PATTERN_OK)
			return NULL;
		CHECK((db == NULL) == (size == 0));
		c->compiled++;
		e = cache_oldest(c, kind);
		free(e->db);
		*e = (struct cached){.is_used = true, .db = db, .size = size};
		memcpy(e->hash, hash, sizeof(hash));
	}
	e->used_at = ++c->clock;
	return e;
}

// --- agents ---

// Agents that the overlay gives a place keep their order among each other; the others are put in at
// the place that the file gives them, first to last. With no overlay that is the file's order.
void
policy_agents_merge(const struct config *config, const struct store_overlay *overlay,
		    struct policy_agent out[AGENT_COUNT])
{
	uint8_t order[AGENT_COUNT];
	uint32_t n = 0;

	CHECK(config != NULL);
	for (uint32_t p = 1; overlay != NULL && p <= AGENT_COUNT; p++) {
		for (uint32_t a = 0; a < AGENT_COUNT; a++) {
			if (overlay->agent[a].priority == p)
				order[n++] = (uint8_t)a;
		}
	}
	CHECK(n <= AGENT_COUNT);
	for (uint32_t i = 0; i < AGENT_COUNT; i++) {
		uint8_t a = config->agent_order[i];
		CHECK(a < AGENT_COUNT);
		if (overlay != NULL && overlay->agent[a].priority != 0)
			continue;
		uint32_t at = MIN(i, n);
		memmove(order + at + 1, order + at, n - at);
		order[at] = a;
		n++;
	}
	CHECK(n == AGENT_COUNT);
	for (uint32_t i = 0; i < AGENT_COUNT; i++) {
		uint8_t a = order[i];
		int enabled = overlay != NULL ? overlay->agent[a].enabled : -1;
		out[a].priority = i + 1;
		out[a].enabled = enabled >= 0 ? enabled == 1 : config->agent_enabled[a];
	}
}

// --- rows ---

static struct policy_str
text_put(struct policy_build *b, const char *s)
{
	CHECK(s != NULL);
	return policy_build_str(b, span_str(s));
}

static void
put_settings(struct policy_build *b, const struct config *c)
{
	uint8_t *base = (uint8_t *)policy_build_settings(b);

	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *s = schema_setting(i);
		const struct setting_value *v = &c->setting[i];
		if (s->kind == SETTING_KIND_TEXT) {
			struct policy_str str = text_put(b, v->text);
			memcpy(base + s->offset, &str, sizeof(str));
		} else {
			memcpy(base + s->offset, &v->number, sizeof(v->number));
		}
	}
}

static void
put_machine(struct policy_build *b, const struct config *c)
{
	for (uint32_t i = 0; i < c->ports_count; i++) {
		const struct config_port *p = &c->ports[i];
		struct policy_port row = {.name = text_put(b, p->name),
					  .device = text_put(b, p->device),
					  .vlan = p->vlan,
					  .line = p->line,
					  .addr_count = p->addr_count};
		for (uint32_t k = 0; k < p->addr_count; k++)
			row.addr[k] = (struct policy_port_addr){
				.addr = p->addr[k].addr,
				.gateway =
					ipaddr_is_v4(&p->addr[k].addr) ? p->gateway : p->gateway6,
				.prefix_bits = p->addr[k].prefix_bits};
		policy_build_row(b, POLICY_PORTS, &row, sizeof(row));
	}
	for (uint32_t i = 0; i < c->cores_count; i++) {
		struct policy_core row = {.cpu = c->cores[i].cpu};
		policy_build_row(b, POLICY_CORES, &row, sizeof(row));
	}
	for (uint32_t i = 0; i < c->listeners_count; i++) {
		const struct config_listener *l = &c->listeners[i];
		CHECK(l->port < c->ports_count);
		struct policy_listener row = {
			.port = l->port, .tcp_port = l->tcp_port, .direction = l->direction};
		policy_build_row(b, POLICY_LISTENERS, &row, sizeof(row));
	}
	for (uint32_t i = 0; i < c->backends_count; i++) {
		const struct config_backend *h = &c->backends[i];
		struct policy_hop row = {.name = text_put(b, h->name),
					 .address = h->address,
					 .tcp_port = h->tcp_port,
					 .direction = h->direction,
					 .line = h->line};
		policy_build_row(b, POLICY_HOPS, &row, sizeof(row));
	}
}

static void
put_prefix(struct policy_build *b, enum policy_section_id s, const struct config_prefix *p,
	   uint64_t now_s)
{
	if (p->expires_s != 0 && p->expires_s <= now_s)
		return;
	struct policy_prefix row = {.addr = p->prefix.addr,
				    .bits = p->prefix.bits,
				    .line = p->line,
				    .expires_s = p->expires_s};
	if (p->comment[0] != '\0')
		row.comment = text_put(b, p->comment);
	policy_build_row(b, s, &row, sizeof(row));
}

static void
put_ip_list(struct policy_build *b, enum policy_section_id s, const struct config_prefix *rows,
	    uint32_t count, uint64_t now_s)
{
	for (uint32_t i = 0; i < count; i++)
		put_prefix(b, s, &rows[i], now_s);
}

static void
put_ip_overlay(struct policy_build *b, const struct store_overlay *o, uint64_t now_s)
{
	static const enum policy_section_id section[] = {
		[STORE_ALLOW] = POLICY_IP_ALLOW, [STORE_BLOCK] = POLICY_IP_BLOCK};
	static_assert(ARRAY_LEN(section) == STORE_LIST_COUNT, "one section a list");

	for (uint32_t l = 0; o != NULL && l < STORE_LIST_COUNT; l++) {
		for (uint32_t i = 0; i < o->ip_count[l]; i++) {
			const struct store_ip *ip = &o->ip[l][i];
			struct config_prefix p = {.prefix = ip->prefix,
						  .expires_s = ip->expires_s,
						  .comment = ip->comment};
			put_prefix(b, section[l], &p, now_s);
		}
	}
}

static void
put_addrs(struct policy_build *b, enum policy_section_id s, const struct config_addr *rows,
	  uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct policy_addr row = {.text = text_put(b, rows[i].text),
					  .kind = rows[i].kind,
					  .line = rows[i].line};
		policy_build_row(b, s, &row, sizeof(row));
	}
}

static void
put_lists(struct policy_build *b, const struct config *c, const struct store_overlay *o,
	  uint64_t now_s)
{
	put_ip_list(b, POLICY_IP_ALLOW, c->ip_allow, c->ip_allow_count, now_s);
	put_ip_list(b, POLICY_IP_BLOCK, c->ip_block, c->ip_block_count, now_s);
	put_ip_overlay(b, o, now_s);
	put_addrs(b, POLICY_ACCEPTED_DOMAINS, c->accepted_domains, c->accepted_domains_count);
	put_addrs(b, POLICY_BLOCKED_SENDERS, c->blocked_senders, c->blocked_senders_count);
	put_addrs(b, POLICY_BLOCKED_RECIPIENTS, c->blocked_recipients, c->blocked_recipients_count);
	put_addrs(b, POLICY_RECIPIENTS, c->recipients, c->recipients_count);
	for (uint32_t i = 0; i < c->types_count; i++) {
		struct policy_type row = {.text = text_put(b, c->types[i].text),
					  .line = c->types[i].line};
		policy_build_row(b, POLICY_TYPES, &row, sizeof(row));
	}
	for (uint32_t i = 0; i < c->phrases_count; i++) {
		const struct config_phrase *p = &c->phrases[i];
		struct policy_phrase row = {
			.text = policy_build_str(b, span_of(p->text, p->length)),
			.influence = p->influence,
			.line = p->line};
		policy_build_row(b, POLICY_PHRASES, &row, sizeof(row));
	}
	for (uint32_t i = 0; i < c->names_count; i++) {
		struct policy_name row = {.text = text_put(b, c->names[i].text),
					  .line = c->names[i].line};
		policy_build_row(b, POLICY_NAMES, &row, sizeof(row));
	}
}

// --- databases ---

static bool
put_phrases_db(struct policy_compiler *pc, struct policy_build *b, const struct config *c,
	       struct diag_list *d)
{
	uint32_t bad = UINT32_MAX;
	struct strbuf why;
	char mem[200];
	struct span *texts = calloc(c->phrases_count + 1, sizeof(*texts));

	strbuf_init(&why, mem, sizeof(mem));
	if (texts == NULL) {
		diag_error(d, 0, 0, "no memory");
		return false;
	}
	for (uint32_t i = 0; i < c->phrases_count; i++)
		texts[i] = span_of(c->phrases[i].text, c->phrases[i].length);
	const struct cached *db =
		patterns_get(pc, PATTERN_PHRASE, texts, c->phrases_count, &bad, &why);
	free(texts);
	if (db != NULL) {
		policy_build_bytes(b, POLICY_DB_CONTENT, db->db, db->size);
		return true;
	}
	bool known = bad < c->phrases_count;
	diag_error(d, known ? c->phrases[bad].line : 0, known ? c->phrases[bad].column : 0,
		   "content_filter.phrases: cannot be compiled: %s", mem);
	return false;
}

static bool
put_names_db(struct policy_compiler *pc, struct policy_build *b, const struct config *c,
	     struct diag_list *d)
{
	uint32_t bad = UINT32_MAX;
	struct strbuf why;
	char mem[200];
	struct span *texts = calloc(c->names_count + 1, sizeof(*texts));

	strbuf_init(&why, mem, sizeof(mem));
	if (texts == NULL) {
		diag_error(d, 0, 0, "no memory");
		return false;
	}
	for (uint32_t i = 0; i < c->names_count; i++)
		texts[i] = span_str(c->names[i].text);
	const struct cached *db = patterns_get(pc, PATTERN_NAME, texts, c->names_count, &bad, &why);
	free(texts);
	if (db != NULL) {
		policy_build_bytes(b, POLICY_DB_NAMES, db->db, db->size);
		return true;
	}
	bool known = bad < c->names_count;
	diag_error(d, known ? c->names[bad].line : 0, known ? c->names[bad].column : 0,
		   "attachment_filtering.file_names: cannot be compiled: %s", mem);
	return false;
}

// --- the whole ---

// Looks at the image as the dataplane will.
static bool
image_is_sound(const void *image, size_t size, struct diag_list *d)
{
	struct policy_view v;
	struct strbuf why;
	char mem[200];

	strbuf_init(&why, mem, sizeof(mem));
	if (policy_view_open(&v, image, size, &why) == POLICY_OK)
		return true;
	diag_error(d, 0, 0, "the compiled policy would be refused: %s", mem);
	return false;
}

void *
policy_compile(struct policy_compiler *c, const struct config *config,
	       const struct store_overlay *overlay, uint64_t generation, uint64_t now_s,
	       struct diag_list *d, size_t *size)
{
	CHECK(c != NULL);
	CHECK(config != NULL);
	CHECK(generation > 0);
	CHECK(d != NULL);
	CHECK(size != NULL);
	struct policy_build *b = policy_build_open();
	void *image = NULL;

	if (b == NULL) {
		diag_error(d, 0, 0, "no memory");
		return NULL;
	}
	put_settings(b, config);
	put_machine(b, config);
	put_lists(b, config, overlay, now_s);
	policy_agents_merge(config, overlay, policy_build_agents(b));
	bool phrases = put_phrases_db(c, b, config, d);
	bool names = put_names_db(c, b, config, d);
	if (phrases && names) {
		image = policy_build_finish(b, generation, size);
		if (image == NULL)
			diag_error(d, 0, 0,
				   "the compiled policy is larger than %u MiB, one of its lists "
				   "has more than %u rows, or there is no memory",
				   POLICY_IMAGE_MAX >> 20, POLICY_LIST_MAX);
	}
	policy_build_close(&b);
	if (image != NULL && !image_is_sound(image, *size, d)) {
		free(image);
		image = NULL;
	}
	return image;
}
