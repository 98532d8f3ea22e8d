// SPDX-License-Identifier: Apache-2.0
// testpolicy: see the header. Each make builds the whole image from the lines, as posternd does.
#include "test/sim/lib/testpolicy.h"

#include <stdlib.h>
#include <string.h>

#include "control/abi/policy_build.h"
#include "control/pattern_compile.h"

#define LINES_MAX 4096

struct line {
	char *key, *value;
};

struct testpolicy {
	struct line line[LINES_MAX];
	uint32_t count;
	uint64_t generation;
	bool is_v6;
};

struct testpolicy *
testpolicy_open(void)
{
	struct testpolicy *t = calloc(1, sizeof(*t));
	CHECK(t != NULL);
	return t;
}

void
testpolicy_close(struct testpolicy **tp)
{
	struct testpolicy *t = *tp;
	*tp = NULL;
	for (uint32_t i = 0; i < t->count; i++) {
		free(t->line[i].key);
		free(t->line[i].value);
	}
	free(t);
}

void
testpolicy_v6(struct testpolicy *t)
{
	t->is_v6 = true;
}

struct ipaddr
testpolicy_addr(enum test_place p, bool is_v6)
{
	static const uint32_t v4[] = {TEST_CLIENT_IP, TEST_OUTSIDE_IP, TEST_INSIDE_IP,
				      TEST_BACKEND_IP};
	struct ipaddr a = {{0xfd, 0, 0, p <= TEST_OUTSIDE ? 1 : 2}};

	if (!is_v6)
		return ipaddr_v4(v4[p]);
	a.b[15] = (uint8_t)v4[p];
	return a;
}

static char *
text_dup(struct span s)
{
	char *p = malloc(s.n + 1);
	CHECK(p != NULL);
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = 0;
	return p;
}

static bool
choice_find(const char *const *names, uint32_t n, const char *value, uint32_t *out)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(names[i], value) == 0) {
			*out = i;
			return true;
		}
	return false;
}

static const char *const choice_failure[] = {"pass", "defer", "reject"};
static const char *const choice_sender_action[] = {"reject", "stamp_status"};

// One scalar; false when the key is none or the value does not fit.
static bool
setting_apply(struct policy_build *b, const char *key, const char *value)
{
	struct policy_settings *s = policy_build_settings(b);
	uint64_t u = 0;
	struct span v = span_str(value);
#define SETTING_U32(section, k, min, max, def, unit, help)                                         \
	if (strcmp(key, #section "." #k) == 0) {                                                   \
		if (!span_u64(v, max, &u) || (int64_t)u < (int64_t)(min))                          \
			return false;                                                              \
		s->section##_##k = (uint32_t)u;                                                    \
		return true;                                                                       \
	}
#define SETTING_BOOL(section, k, def, help)                                                        \
	if (strcmp(key, #section "." #k) == 0) {                                                   \
		s->section##_##k = strcmp(value, "true") == 0;                                     \
		return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;                  \
	}
#define SETTING_TEXT(section, k, max, def, help)                                                   \
	if (strcmp(key, #section "." #k) == 0) {                                                   \
		s->section##_##k = policy_build_str(b, v);                                         \
		return v.n <= (max);                                                               \
	}
#define SETTING_CHOICE(section, k, choices, def, help)                                             \
	if (strcmp(key, #section "." #k) == 0)                                                     \
		return choice_find(choice_##choices, ARRAY_LEN(choice_##choices), value,           \
				   &s->section##_##k);
#include "control/abi/setting.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
	return false;
}

static bool
addr_apply(struct policy_build *b, const char *key, struct span v)
{
	static const struct {
		const char *key;
		enum policy_section_id list;
		enum policy_addr_kind kind;
	} row[] = {
		{"blocked_sender", POLICY_BLOCKED_SENDERS, ADDR_EXACT},
		{"blocked_domain", POLICY_BLOCKED_SENDERS, ADDR_DOMAIN},
		{"blocked_domain_and_subdomains", POLICY_BLOCKED_SENDERS,
		 ADDR_DOMAIN_AND_SUBDOMAINS},
		{"blocked_recipient", POLICY_BLOCKED_RECIPIENTS, ADDR_EXACT},
		{"recipient", POLICY_RECIPIENTS, ADDR_EXACT},
		{"accepted_domain", POLICY_ACCEPTED_DOMAINS, ADDR_DOMAIN},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(row); i++)
		if (strcmp(row[i].key, key) == 0) {
			struct policy_addr a = {policy_build_str(b, v), row[i].kind, 1};
			(void)policy_build_row(b, row[i].list, &a, sizeof(a));
			return true;
		}
	return false;
}

static bool
agent_apply(struct policy_build *b, const char *key, struct span v)
{
	struct policy_agent *agents = policy_build_agents(b);
	enum agent_id id;

	if (strcmp(key, "priority") == 0) {
		int64_t sp = span_rfind(v, ' ');
		if (sp < 0 || !agent_find(span_sub(v, 0, (uint32_t)sp), &id))
			return false;
		for (uint32_t i = 0; i < AGENT_COUNT; i++)
			if (agents[i].priority < agents[id].priority)
				agents[i].priority++;
		agents[id].priority = 1;
		return true;
	}
	if (strcmp(key, "disable") != 0 && strcmp(key, "enable") != 0)
		return false;
	if (!agent_find(v, &id))
		return false;
	agents[id].enabled = key[0] == 'e';
	return true;
}

static bool
list_apply(struct policy_build *b, const char *key, struct span v)
{
	if (strcmp(key, "block") == 0 || strcmp(key, "allow") == 0) {
		struct ipprefix p;
		if (!ipprefix_parse(v, &p))
			return false;
		struct policy_prefix row = {.addr = p.addr, .bits = p.bits, .line = 1};
		(void)policy_build_row(b, key[0] == 'b' ? POLICY_IP_BLOCK : POLICY_IP_ALLOW, &row,
				       sizeof(row));
		return true;
	}
	if (strcmp(key, "bad_word") == 0 || strcmp(key, "good_word") == 0) {
		struct policy_phrase row = {
			policy_build_str(b, v),
			key[0] == 'b' ? INFLUENCE_BAD_WORD : INFLUENCE_GOOD_WORD, 1};
		(void)policy_build_row(b, POLICY_PHRASES, &row, sizeof(row));
		return true;
	}
	if (strcmp(key, "file_name") == 0) {
		struct policy_name row = {policy_build_str(b, v), 1};
		(void)policy_build_row(b, POLICY_NAMES, &row, sizeof(row));
		return true;
	}
	if (strcmp(key, "content_type") == 0) {
		struct policy_type row = {policy_build_str(b, v), 1};
		(void)policy_build_row(b, POLICY_TYPES, &row, sizeof(row));
		return true;
	}
	return addr_apply(b, key, v) || agent_apply(b, key, v);
}

bool
testpolicy_line(struct testpolicy *t, struct span line)
{
	line = span_trim(line);
	int64_t sp = span_find(line, ' ');
	if (sp <= 0 || t->count == LINES_MAX)
		return false;
	struct line l = {text_dup(span_sub(line, 0, (uint32_t)sp)),
			 text_dup(span_trim(span_from(line, (uint32_t)sp + 1)))};
	if (strcmp(l.key, "unblock") == 0) {
		for (uint32_t i = 0; i < t->count; i++)
			if (strcmp(t->line[i].key, "block") == 0 &&
			    strcmp(t->line[i].value, l.value) == 0)
				t->line[i].key[0] = '#';
		free(l.key);
		free(l.value);
		return true;
	}
	struct policy_build *b = policy_build_open();
	CHECK(b != NULL);
	bool ok = setting_apply(b, l.key, l.value) || list_apply(b, l.key, span_str(l.value));
	policy_build_close(&b);
	if (!ok) {
		free(l.key);
		free(l.value);
		return false;
	}
	t->line[t->count++] = l;
	return true;
}

static void
network_rows(struct policy_build *b, bool is_v6)
{
	uint8_t bits = is_v6 ? 32 : 120; // so that peers may have a /48 and many /64s
	struct policy_core core = {0};
	struct policy_listener listener = {0, TEST_SMTP_PORT, DIRECTION_INBOUND};
	struct policy_hop hop = {policy_build_str(b, SPAN_LIT("mail1")),
				 testpolicy_addr(TEST_BACKEND, is_v6), TEST_SMTP_PORT,
				 DIRECTION_INBOUND, 3};
	policy_build_port(b, "outside", "wire0", testpolicy_addr(TEST_OUTSIDE, is_v6), bits);
	policy_build_port(b, "inside", "wire1", testpolicy_addr(TEST_INSIDE, is_v6), bits);
	(void)policy_build_row(b, POLICY_CORES, &core, sizeof(core));
	(void)policy_build_row(b, POLICY_LISTENERS, &listener, sizeof(listener));
	(void)policy_build_row(b, POLICY_HOPS, &hop, sizeof(hop));
}

static bool
patterns_add(struct testpolicy *t, struct policy_build *b, enum pattern_kind kind,
	     struct strbuf *why)
{
	static struct span text[LINES_MAX];
	uint32_t n = 0, bad = 0;
	void *db = NULL;
	size_t size = 0;

	for (uint32_t i = 0; i < t->count; i++) {
		const char *k = t->line[i].key;
		bool phrase = strcmp(k, "bad_word") == 0 || strcmp(k, "good_word") == 0;
		if (kind == PATTERN_PHRASE ? phrase : strcmp(k, "file_name") == 0)
			text[n++] = span_str(t->line[i].value);
	}
	if (pattern_compile(kind, text, n, &db, &size, &bad, why) != PATTERN_OK)
		return false;
	if (size > 0)
		policy_build_bytes(b, kind == PATTERN_PHRASE ? POLICY_DB_CONTENT : POLICY_DB_NAMES,
				   db, size);
	free(db);
	return true;
}

struct policy_use *
testpolicy_make(struct testpolicy *t, uint32_t workers, struct strbuf *why)
{
	struct policy_build *b = policy_build_open();
	CHECK(b != NULL);
	network_rows(b, t->is_v6);
	for (uint32_t i = 0; i < t->count; i++)
		if (t->line[i].key[0] != '#')
			CHECK(setting_apply(b, t->line[i].key, t->line[i].value) ||
			      list_apply(b, t->line[i].key, span_str(t->line[i].value)));
	if (!patterns_add(t, b, PATTERN_PHRASE, why) || !patterns_add(t, b, PATTERN_NAME, why)) {
		policy_build_close(&b);
		return NULL;
	}
	size_t size = 0;
	void *image = policy_build_finish(b, ++t->generation, &size);
	policy_build_close(&b);
	if (image == NULL) {
		strbuf_add_str(why, "the image could not be built");
		return NULL;
	}
	return policy_use_open(image, size, workers, why);
}
