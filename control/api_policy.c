// SPDX-License-Identifier: Apache-2.0
// api_policy: `postern policy check|apply|show`.
#include "control/api.h"

#include <string.h>

// The CLI makes the path absolute: posternd's working directory is nobody's business. *reader: the
// user who asks.
static bool
file_arg(struct api_call *c, const char **out, uid_t *reader)
{
	*out = api_arg(c, "file");
	if (!server_peer(c->api->server, c->who, reader)) {
		api_error(c, "it is unknown who asks");
		return false;
	}
	if (*out == NULL || (*out)[0] == '/')
		return true;
	api_error(c, "%s: an absolute path is wanted", *out);
	return false;
}

// The rows one by one, for programs; people get them as errors and warnings.
static json_t *
diags_json(const struct diag_list *d)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < d->count; i++) {
		const struct diag *row = &d->row[i];
		json_t *o = json_pack("{s:s, s:I, s:I, s:o}", "level", diag_level_name(row->level),
				      "line", (json_int_t)row->line, "column",
				      (json_int_t)row->column, "text", api_texts(row->text));
		(void)json_array_append_new(list, o);
	}
	return list;
}

void
api_policy_check(struct api_call *c)
{
	struct runtime *rt = c->api->runtime;
	struct diag_list d;
	const char *file;
	uid_t reader;

	if (!file_arg(c, &file, &reader))
		return;
	diag_init(&d, NULL);
	enum runtime_result r = runtime_check(rt, file, reader, &d);
	api_diags(c, &d);
	const char *name = file != NULL ? file : runtime_config_file(rt);
	c->data = json_pack("{s:o, s:b, s:I, s:I, s:o}", "file", api_texts(name), "valid",
			    r == RUNTIME_OK, "errors", (json_int_t)d.errors, "warnings",
			    (json_int_t)d.warnings, "diagnostics", diags_json(&d));
	diag_fini(&d);
	if (r == RUNTIME_OK)
		api_printf(c, "%s is valid\n", name);
	else
		c->exit = API_REFUSED;
}

void
api_policy_apply(struct api_call *c)
{
	struct runtime *rt = c->api->runtime;
	struct diag_list d;
	const char *file;
	uid_t reader;

	if (!file_arg(c, &file, &reader))
		return;
	diag_init(&d, NULL);
	enum runtime_result r = runtime_apply(rt, file, reader, &d);
	api_diags(c, &d);
	diag_fini(&d);
	if (r == RUNTIME_OK)
		api_changed(c, "policy of %s", file != NULL ? file : runtime_config_file(rt));
	else
		c->exit = API_REFUSED;
}

// --- show ---

static json_t *
option_row(const struct runtime *rt, enum setting_id id)
{
	const struct setting *s = schema_setting(id);
	struct setting_value v = runtime_setting(rt, id), standard = schema_default(id);
	char name[96], value[512], usual[512], source[32] = "default";
	struct strbuf b;

	strbuf_init(&b, name, sizeof(name));
	strbuf_addf(&b, "%s.%s", s->section, s->key);
	strbuf_init(&b, value, sizeof(value));
	schema_format(id, &v, &b);
	strbuf_init(&b, usual, sizeof(usual));
	schema_format(id, &standard, &b);
	if (v.line > 0) {
		strbuf_init(&b, source, sizeof(source));
		strbuf_addf(&b, "line %u", v.line);
	}
	return json_pack("{s:s, s:o, s:o, s:s, s:s, s:b, s:s}", "option", name, "value",
			 api_texts(value), "default", api_texts(usual), "source", source, "unit",
			 s->unit, "needs_restart", schema_is_restart(id), "help", s->help);
}

static json_t *
options_json(const struct runtime *rt, bool all)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		if (all || runtime_setting(rt, i).line > 0)
			(void)json_array_append_new(list, option_row(rt, i));
	}
	return list;
}

static json_t *
address_json(const struct ipaddr *a)
{
	static const struct ipaddr none;
	char text[IPADDR_TEXT_SIZE];
	struct strbuf b;

	if (ipaddr_eq(a, &none))
		return json_null();
	strbuf_init(&b, text, sizeof(text));
	ipaddr_format(&b, a);
	return json_string(text);
}

static json_t *
port_row(const struct config_port *p, const struct config_port_addr *a)
{
	bool is_v4 = ipaddr_is_v4(&a->addr);

	return json_pack("{s:o, s:o, s:o, s:o, s:i, s:o}", "name", api_texts(p->name), "device",
			 api_texts(p->device), "vlan",
			 p->vlan != 0 ? json_integer(p->vlan) : json_null(), "address",
			 address_json(&a->addr), "bits",
			 (int)(is_v4 ? a->prefix_bits - 96 : a->prefix_bits), "gateway",
			 address_json(is_v4 ? &p->gateway : &p->gateway6));
}

// One row an address, so that a port with several has several.
static json_t *
ports_json(const struct config *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->ports_count; i++)
		for (uint32_t k = 0; k < f->ports[i].addr_count; k++)
			(void)json_array_append_new(list,
						    port_row(&f->ports[i], &f->ports[i].addr[k]));
	return list;
}

static json_t *
listeners_json(const struct config *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->listeners_count; i++) {
		const struct config_listener *l = &f->listeners[i];
		CHECK(l->port < f->ports_count);
		json_t *row = json_pack(
			"{s:o, s:i, s:s}", "port", api_texts(f->ports[l->port].name), "tcp_port",
			(int)l->tcp_port, "direction", direction_name(l->direction));
		(void)json_array_append_new(list, row);
	}
	return list;
}

static json_t *
backends_json(const struct config *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->backends_count; i++) {
		const struct config_backend *h = &f->backends[i];
		json_t *row =
			json_pack("{s:o, s:o, s:i, s:s}", "name", api_texts(h->name), "address",
				  address_json(&h->address), "tcp_port", (int)h->tcp_port,
				  "direction", direction_name(h->direction));
		(void)json_array_append_new(list, row);
	}
	return list;
}

// How many entries each list has, those of the CLI included.
static json_t *
lists_json(const struct policy_view *v)
{
	static const struct {
		enum policy_section_id section;
		const char *name;
	} lists[] = {
		{POLICY_IP_ALLOW, "ip_allow"},
		{POLICY_IP_BLOCK, "ip_block"},
		{POLICY_ACCEPTED_DOMAINS, "accepted_domains"},
		{POLICY_BLOCKED_SENDERS, "blocked_senders"},
		{POLICY_BLOCKED_RECIPIENTS, "blocked_recipients"},
		{POLICY_RECIPIENTS, "recipients"},
		{POLICY_PHRASES, "phrases"},
		{POLICY_NAMES, "attachment_names"},
		{POLICY_TYPES, "attachment_types"},
	};
	json_t *o = json_object();

	for (uint32_t i = 0; v != NULL && i < ARRAY_LEN(lists); i++)
		(void)json_object_set_new(o, lists[i].name,
					  json_integer((json_int_t)v->count[lists[i].section]));
	return o;
}

static void
print_policy(struct api_call *c)
{
	static const struct api_column ports[] = {{"name", "PORT"}, {"device", "DEVICE"},
						  {"vlan", "VLAN"}, {"address", "ADDRESS"},
						  {"bits", "BITS"}, {"gateway", "GATEWAY"}};
	static const struct api_column listeners[] = {
		{"port", "LISTENER"}, {"tcp_port", "TCP"}, {"direction", "DIRECTION"}};
	static const struct api_column backends[] = {{"name", "BACKEND"},
						     {"address", "ADDRESS"},
						     {"tcp_port", "TCP"},
						     {"direction", "DIRECTION"}};
	static const struct api_column options[] = {{"option", "OPTION"},
						    {"value", "VALUE"},
						    {"default", "DEFAULT"},
						    {"source", "FROM"}};
	const char *key;
	json_t *v;

	api_printf(c, "policy of %s, generation %llu\n\n",
		   json_string_value(json_object_get(c->data, "source")),
		   (unsigned long long)runtime_generation(c->api->runtime));
	api_table(c, json_object_get(c->data, "ports"), ports, ARRAY_LEN(ports));
	api_printf(c, "\n");
	api_table(c, json_object_get(c->data, "listeners"), listeners, ARRAY_LEN(listeners));
	api_printf(c, "\n");
	api_table(c, json_object_get(c->data, "backends"), backends, ARRAY_LEN(backends));
	api_printf(c, "\n%-22s%s\n", "LIST", "ENTRIES");
	json_object_foreach(json_object_get(c->data, "lists"), key, v)
		api_printf(c, "%-22s%7lld\n", key, (long long)json_integer_value(v));
	if (json_array_size(json_object_get(c->data, "options")) > 0) {
		api_printf(c, "\n");
		api_table(c, json_object_get(c->data, "options"), options, ARRAY_LEN(options));
	}
	api_printf(c, "\nall options: postern policy show --options\n");
}

void
api_policy_show(struct api_call *c)
{
	static const struct api_column options[] = {
		{"option", "OPTION"}, {"value", "VALUE"},       {"unit", "UNIT"},
		{"source", "FROM"},   {"help", "WHAT IT DOES"},
	};
	struct runtime *rt = c->api->runtime;
	const struct config *f = runtime_config(rt);

	if (!api_has_policy(c))
		return;
	CHECK(f != NULL);
	if (api_flag(c, "options")) {
		c->data = options_json(rt, true);
		api_table(c, c->data, options, ARRAY_LEN(options));
		return;
	}
	json_t *cores = json_array();
	for (uint32_t i = 0; i < f->cores_count; i++)
		(void)json_array_append_new(cores, json_integer((json_int_t)f->cores[i].cpu));
	c->data = json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "source",
			    api_texts(f->file), "generation", (json_int_t)runtime_generation(rt),
			    "ports", ports_json(f), "cores", cores, "listeners", listeners_json(f),
			    "backends", backends_json(f), "lists", lists_json(runtime_view(rt)),
			    "options", options_json(rt, false));
	if (c->data == NULL) {
		api_error(c, "out of memory");
		return;
	}
	print_policy(c);
}
