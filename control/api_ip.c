// SPDX-License-Identifier: Apache-2.0
// api_ip: `postern allow ..` and `postern block ..`: the IP lists of the Connection Filtering
// agent.
#include "control/api.h"

#include <string.h>
#include <time.h>

#define FOR_MAX_S (100ull * 365 * 86400)

bool
api_duration_parse(const char *text, uint64_t *out)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	struct span s = span_str(text);
	uint64_t n;

	if (s.n < 2 || !span_u64(span_sub(s, 0, s.n - 1), FOR_MAX_S, &n) || n == 0)
		return false;
	for (uint32_t i = 0; i < ARRAY_LEN(units); i++) {
		if (s.p[s.n - 1] != (uint8_t)units[i].unit)
			continue;
		*out = n * units[i].seconds;
		return *out <= FOR_MAX_S;
	}
	return false;
}

// False: the errors say what is wrong. *out 0: never.
static bool
expiry_arg(struct api_call *c, uint64_t *out)
{
	const char *at = api_arg(c, "expires"), *in = api_arg(c, "for");
	uint64_t now_s = (uint64_t)time(NULL), duration_s;

	*out = 0;
	if (at != NULL && in != NULL) {
		api_error(c, "--expires and --for exclude each other");
		c->exit = API_USAGE;
		return false;
	}
	if (in != NULL) {
		if (!api_duration_parse(in, &duration_s)) {
			api_error(c,
				  "--for %s: a number with a unit is wanted: 90s, 30m, 12h, 7d, 4w",
				  in);
			return false;
		}
		*out = now_s + duration_s;
	} else if (at != NULL) {
		if (!config_time_parse(span_str(at), out)) {
			api_error(c,
				  "--expires %s: a time such as 2026-12-31T18:00:00Z or "
				  "2026-12-31 is wanted",
				  at);
			return false;
		}
		if (*out <= now_s) {
			api_error(c, "--expires %s is in the past", at);
			return false;
		}
	}
	return true;
}

// The usual mistake is an address inside a network ("192.0.2.1/24"): the answer names the network.
static void
prefix_hint(struct api_call *c, const char *text)
{
	struct span s = span_str(text);
	int64_t slash = span_find(s, '/');
	char hint[64];
	struct strbuf b;
	struct ipprefix p;
	uint64_t bits;

	if (slash > 0 && ipaddr_parse(span_sub(s, 0, (uint32_t)slash), &p.addr)) {
		uint64_t most = ipaddr_is_v4(&p.addr) ? 32 : 128;
		if (span_u64(span_from(s, (uint32_t)slash + 1), most, &bits)) {
			p.bits = (uint8_t)(128 - most + bits);
			p.addr = ipaddr_mask(&p.addr, p.bits);
			strbuf_init(&b, hint, sizeof(hint));
			ipprefix_format(&b, &p);
			api_error(c, "%s has bits beyond its length; the network is %s", text,
				  hint);
			return;
		}
	}
	api_error(c,
		  "\"%s\" is neither an address nor a network (192.0.2.1, 192.0.2.0/24, "
		  "2001:db8::/32)",
		  text);
}

static bool
prefix_arg(struct api_call *c, struct ipprefix *out)
{
	const char *text = api_arg(c, "prefix");

	if (text == NULL) {
		api_error(c, "PREFIX is missing");
		c->exit = API_USAGE;
		return false;
	}
	if (ipprefix_parse(span_str(text), out))
		return true;
	prefix_hint(c, text);
	return false;
}

static bool
comment_is_sound(struct api_call *c, const char *comment)
{
	size_t n = comment == NULL ? 0 : strlen(comment);

	if (n > STORE_COMMENT_MAX) {
		api_error(c, "--comment: %zu bytes, at most %u are kept", n, STORE_COMMENT_MAX);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)comment[i] >= 0x20 && comment[i] != 0x7f)
			continue;
		api_error(c, "--comment: control characters are not taken");
		return false;
	}
	return true;
}

// What the CLI's entry says: permanent, comment "noise". Empty: there is none.
static void
entry_print(struct api_call *c, enum store_list list, const struct ipprefix *p, struct strbuf *b)
{
	struct runtime_ip ip;

	if (!runtime_ip_find(c->api->runtime, list, p, &ip))
		return;
	if (ip.expires_s == 0) {
		strbuf_add_str(b, "permanent");
	} else {
		strbuf_add_str(b, "until ");
		config_time_format(b, ip.expires_s);
	}
	if (ip.comment[0] != '\0')
		strbuf_addf(b, ", comment \"%s\"", ip.comment);
	else
		strbuf_add_str(b, ", no comment");
}

// An entry that the file has for good: no failure, and for a program the keys of a change.
static void
ip_add_nothing(struct api_call *c)
{
	struct runtime *rt = c->api->runtime;

	c->data = json_pack("{s:s, s:I, s:b, s:s}", "done", "nothing is added", "generation",
			    (json_int_t)runtime_generation(rt), "in_force",
			    (int)runtime_is_in_force(rt), "state", "unchanged");
}

static void
ip_add(struct api_call *c, enum store_list list)
{
	const char *comment = api_arg(c, "comment");
	char text[64], old[STORE_COMMENT_MAX + 64], new[STORE_COMMENT_MAX + 64];
	struct strbuf b, old_b, new_b;
	struct diag_list d;
	struct ipprefix p;
	uint64_t expires_s;

	if (!prefix_arg(c, &p) || !expiry_arg(c, &expires_s) || !comment_is_sound(c, comment))
		return;
	strbuf_init(&b, text, sizeof(text));
	ipprefix_format(&b, &p);
	strbuf_init(&old_b, old, sizeof(old));
	entry_print(c, list, &p, &old_b);
	diag_init(&d, NULL);
	enum runtime_result r = runtime_ip_add(c->api->runtime, list, &p, expires_s, comment, &d);
	api_diags(c, &d);
	diag_fini(&d);
	strbuf_init(&new_b, new, sizeof(new));
	entry_print(c, list, &p, &new_b);
	if (r == RUNTIME_OK && old_b.len > 0 && strcmp(old, new) != 0)
		api_changed(c, "%s is on the %s list, %s (replaced: was %s)", text,
			    store_list_name(list), new, old);
	else if (r == RUNTIME_OK)
		api_changed(c, "%s is on the %s list", text, store_list_name(list));
	else if (r == RUNTIME_NOTHING)
		ip_add_nothing(c);
	else
		c->exit = API_REFUSED;
}

static void
ip_del(struct api_call *c, enum store_list list)
{
	char text[64];
	struct strbuf b;
	struct diag_list d;
	struct ipprefix p;

	if (!prefix_arg(c, &p))
		return;
	diag_init(&d, NULL);
	enum runtime_result r = runtime_ip_del(c->api->runtime, list, &p, &d);
	api_diags(c, &d);
	diag_fini(&d);
	strbuf_init(&b, text, sizeof(text));
	ipprefix_format(&b, &p);
	if (r == RUNTIME_OK)
		api_changed(c, "%s is off the %s list", text, store_list_name(list));
	else
		c->exit = API_REFUSED;
}

// A program gets "expired" by itself, a person behind the time.
static json_t *
ip_row(const struct runtime_ip *ip, uint64_t now_s, bool json)
{
	char prefix[64], source[32] = "cli", expires[64];
	bool expired = ip->expires_s != 0 && ip->expires_s <= now_s;
	json_t *until = api_time(ip->expires_s);
	struct strbuf b;

	if (expired && !json) {
		strbuf_init(&b, expires, sizeof(expires));
		config_time_format(&b, ip->expires_s);
		strbuf_add_str(&b, " (expired)");
		json_decref(until);
		until = json_string(expires);
	}

	strbuf_init(&b, prefix, sizeof(prefix));
	ipprefix_format(&b, &ip->prefix);
	if (ip->line > 0) {
		strbuf_init(&b, source, sizeof(source));
		strbuf_addf(&b, "file, line %u", ip->line);
	}
	return json_pack("{s:s, s:o, s:b, s:o, s:s, s:o}", "prefix", prefix, "expires", until,
			 "expired", (int)expired, "added", api_time(ip->added_s), "source", source,
			 "comment", api_texts(ip->comment));
}

static void
ip_list(struct api_call *c, enum store_list list)
{
	static const struct api_column columns[] = {
		{"prefix", "PREFIX"}, {"expires", "EXPIRES"}, {"added", "ADDED"},
		{"source", "SOURCE"}, {"comment", "COMMENT"},
	};
	uint32_t count = runtime_ip_count(c->api->runtime, list);
	uint64_t now_s = (uint64_t)time(NULL);

	if (!runtime_has_policy(c->api->runtime))
		api_warning(c,
			    "only what was added with postern is shown, and it is not published: "
			    "%s has errors, see `postern policy check`",
			    runtime_config_file(c->api->runtime));
	c->data = json_array();
	for (uint32_t i = 0; i < MIN(count, API_ROWS_MAX); i++) {
		struct runtime_ip ip = runtime_ip_at(c->api->runtime, list, i);
		(void)json_array_append_new(c->data, ip_row(&ip, now_s, c->json));
	}
	if (count > API_ROWS_MAX)
		api_warning(c, "the first %u of %u entries", API_ROWS_MAX, count);
	if (count == 0)
		api_printf(c, "the %s list is empty\n", store_list_name(list));
	else
		api_table(c, c->data, columns, ARRAY_LEN(columns));
}

void
api_allow_add(struct api_call *c)
{
	ip_add(c, STORE_ALLOW);
}

void
api_allow_del(struct api_call *c)
{
	ip_del(c, STORE_ALLOW);
}

void
api_allow_list(struct api_call *c)
{
	ip_list(c, STORE_ALLOW);
}

void
api_block_add(struct api_call *c)
{
	ip_add(c, STORE_BLOCK);
}

void
api_block_del(struct api_call *c)
{
	ip_del(c, STORE_BLOCK);
}

void
api_block_list(struct api_call *c)
{
	ip_list(c, STORE_BLOCK);
}
