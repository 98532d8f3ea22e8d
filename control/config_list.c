// SPDX-License-Identifier: Apache-2.0
// config_list: reads every list of the file. A new list: a row type in config.h, a function here, a
// row in config_list_keys, and its way into the image in policy_compile.c.
#include "control/config_read.h"

#include <stdio.h>
#include <string.h>

#include "control/config_value.h"

#define QUOTE_MAX 64
#define QUOTED(s) (int)MIN((s).n, QUOTE_MAX), (const char *)(s).p

static const char *const direction_names[] = {"inbound", "outbound"};
static_assert(ARRAY_LEN(direction_names) == DIRECTION_COUNT, "one name a direction");
static const char *const influence_names[] = {"bad_word", "good_word"};
static_assert(ARRAY_LEN(influence_names) == INFLUENCE_COUNT, "one name an influence");

// --- machine ---

#define CPU_MAX 1023

static void
core_item(struct reader *r, yaml_ref n)
{
	uint32_t cpu;

	r->cores_read++;
	if (!read_u32(r, n, 0, CPU_MAX, false, &cpu))
		return;
	struct config_core *row = reader_add_cores(r, n);
	if (row != NULL)
		row->cpu = cpu;
}

static void
read_cores(struct reader *r, yaml_ref n)
{
	if (!read_items(r, n, core_item))
		r->cores_read++;
}

static bool
is_name(struct span s)
{
	for (uint32_t i = 0; i < s.n; i++) {
		uint8_t c = ascii_lower(s.p[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	return s.n > 0 && s.n <= CONFIG_NAME_MAX;
}

static bool
read_name(struct reader *r, yaml_ref n, const char **out)
{
	struct span s;

	CHECK(out != NULL);
	if (!read_text(r, n, &s))
		return false;
	if (!is_name(s)) {
		READ_ERROR(r, n, "%s: \"%.*s\" is not a name: 1 to %u letters, digits, - and _",
			   r->path, QUOTED(s), CONFIG_NAME_MAX);
		return false;
	}
	*out = reader_copy(r, s, false);
	return *out != NULL;
}

static bool
read_device(struct reader *r, yaml_ref n, const char **out)
{
	struct span s;

	CHECK(out != NULL);
	if (!read_text(r, n, &s))
		return false;
	if (s.n > CONFIG_DEVICE_MAX || !value_is_device(s)) {
		READ_ERROR(r, n,
			   "%s: \"%.*s\" is neither a PCI address (0000:03:00.0) nor a virtual "
			   "device of DPDK (net_..)",
			   r->path, QUOTED(s));
		return false;
	}
	*out = reader_copy(r, s, false);
	return *out != NULL;
}

static bool
read_interface(struct reader *r, yaml_ref n, struct config_port_addr *out)
{
	struct yaml_place at = yaml_tree_place(r->t, n);
	struct span s;

	if (!read_text(r, n, &s))
		return false;
	const char *why = value_interface(s, &out->addr, &out->prefix_bits);
	if (why != NULL)
		READ_ERROR(r, n, "%s: \"%.*s\" %s", r->path, QUOTED(s), why);
	out->line = at.line;
	out->column = at.column;
	return why == NULL;
}

// One local address of r->port.
static void
interface_item(struct reader *r, yaml_ref n)
{
	struct config_port *p = r->port;
	struct config_port_addr a;

	if (p->addr_count == POLICY_PORT_ADDRS_MAX) {
		READ_ERROR(r, n, "%s: more than %u addresses on one port", r->path,
			   POLICY_PORT_ADDRS_MAX);
		r->full = true;
		return;
	}
	if (!read_interface(r, n, &a)) {
		p->is_unsure = true;
		return;
	}
	p->addr[p->addr_count++] = a;
}

static bool
read_host(struct reader *r, yaml_ref n, struct ipaddr *out)
{
	struct span s;

	if (!read_text(r, n, &s))
		return false;
	const char *why = value_host(s, out);
	if (why != NULL)
		READ_ERROR(r, n, "%s: \"%.*s\" %s", r->path, QUOTED(s), why);
	return why == NULL;
}

// A number from 1 on of one key of a row: the message names the key too.
static bool
read_row_u32(struct reader *r, yaml_ref n, const char *key, uint32_t max, uint32_t *out)
{
	size_t len = strlen(r->path);

	(void)snprintf(r->path + len, sizeof(r->path) - len, ": %s", key);
	bool ok = read_u32(r, n, 1, max, false, out);
	r->path[len] = '\0';
	return ok;
}

// Whether a gateway is one of the port's neighbours; what is wrong has been said then.
static void
check_gateway(struct reader *r, yaml_ref n, const struct config_port *p, const struct ipaddr *gw)
{
	bool has_family = false, is_near = ipaddr_is_link_local(gw), is_own = false;
	const char *edge = NULL;

	for (uint32_t i = 0; i < p->addr_count; i++) {
		const struct config_port_addr *a = &p->addr[i];
		struct ipprefix net = {ipaddr_mask(&a->addr, (uint8_t)a->prefix_bits),
				       (uint8_t)a->prefix_bits};
		has_family |= ipaddr_is_v4(&a->addr) == ipaddr_is_v4(gw);
		is_near |= ipprefix_has(&net, gw);
		if (ipprefix_has(&net, gw) && edge == NULL)
			edge = value_interface_edge(gw, a->prefix_bits);
		is_own |= ipaddr_eq(&a->addr, gw);
	}
	if (!has_family)
		READ_ERROR(r, n, "%s: a gateway, but the port has no IPv%c address", r->path,
			   ipaddr_is_v4(gw) ? '4' : '6');
	else if (!is_near)
		READ_ERROR(r, n, "%s: the gateway is not in a network of the port's addresses",
			   r->path);
	else if (is_own)
		READ_ERROR(r, n, "%s: the gateway is the port's own address", r->path);
	else if (edge != NULL && ipaddr_is_v4(gw)) // of IPv6 it means any router there
		READ_ERROR(r, n, "%s: the gateway %s", r->path, edge);
}

static void
read_gateway(struct reader *r, yaml_ref n, const struct config_port *p, struct ipaddr *out)
{
	bool wants_v6 = out == &p->gateway6;
	struct ipaddr gw;
	struct span s;

	if (n == YAML_REF_NONE || !read_text(r, n, &s))
		return;
	const char *why = value_gateway(s, &gw);
	if (why == NULL && ipaddr_is_v4(&gw) == wants_v6)
		why = wants_v6 ? "is an IPv4 address: it belongs to \"gateway\""
			       : "is an IPv6 address: it belongs to \"gateway6\"";
	if (why != NULL) {
		READ_ERROR(r, n, "%s: \"%.*s\" %s", r->path, QUOTED(s), why);
		return;
	}
	*out = gw;
	if (!p->is_unsure)
		check_gateway(r, n, p, &gw);
}

static void
read_port_addrs(struct reader *r, yaml_ref address, yaml_ref addresses, struct config_port *p)
{
	r->port = p;
	if (address != YAML_REF_NONE)
		interface_item(r, address);
	else
		p->is_unsure = true;
	if (addresses != YAML_REF_NONE && yaml_tree_kind(r->t, addresses) == YAML_KIND_TEXT) {
		READ_ERROR(r, addresses, "%s: addresses: needs a list, as in [192.0.2.11/24]",
			   r->path);
		p->is_unsure = true;
	} else if (addresses != YAML_REF_NONE && !read_items(r, addresses, interface_item)) {
		p->is_unsure = true;
	}
	r->full = false; // of the ports it is not
	r->port = NULL;
}

static void
port_item(struct reader *r, yaml_ref n)
{
	enum { NAME, DEVICE, ADDRESS, ADDRESSES, GATEWAY, GATEWAY6, VLAN };
	struct row_key k[] = {[NAME] = {"name", true},        [DEVICE] = {"device", true},
			      [ADDRESS] = {"address", true},  [ADDRESSES] = {"addresses", false},
			      [GATEWAY] = {"gateway", false}, [GATEWAY6] = {"gateway6", false},
			      [VLAN] = {"vlan", false}};
	struct config_port p = {0};
	bool ok = read_row(r, n, k, ARRAY_LEN(k));

	r->ports_read++;
	// Each value is looked at even when another one is wrong or missing.
	ok &= k[NAME].value == YAML_REF_NONE || read_name(r, k[NAME].value, &p.name);
	ok &= k[DEVICE].value == YAML_REF_NONE || read_device(r, k[DEVICE].value, &p.device);
	if (k[VLAN].value != YAML_REF_NONE &&
	    !read_row_u32(r, k[VLAN].value, "vlan", POLICY_VLAN_MAX, &p.vlan))
		p.vlan = UINT32_MAX; // no other port's
	read_port_addrs(r, k[ADDRESS].value, k[ADDRESSES].value, &p);
	read_gateway(r, k[GATEWAY].value, &p, &p.gateway);
	read_gateway(r, k[GATEWAY6].value, &p, &p.gateway6);
	struct config_port *row = reader_add_ports(r, n);
	if (row == NULL)
		return;
	uint32_t line = row->line, column = row->column;
	*row = p;
	row->line = line;
	row->column = column;
	// A row with mistakes stays, so that a reference to its name is not called wrong too.
	if (!ok || p.is_unsure)
		CHECK(diag_has_error(r->d) || r->no_memory);
}

static void
read_ports(struct reader *r, yaml_ref n)
{
	if (!read_items(r, n, port_item))
		r->ports_read++;
}

static void
listener_item(struct reader *r, yaml_ref n)
{
	struct row_key k[] = {{"port", true}, {"tcp_port", true}, {"direction", true}};
	uint32_t tcp_port = 0, direction = DIRECTION_INBOUND;
	const char *name = NULL;
	bool ok = read_row(r, n, k, ARRAY_LEN(k));

	r->listeners_read++;
	ok &= k[0].value == YAML_REF_NONE || read_name(r, k[0].value, &name);
	ok &= k[1].value == YAML_REF_NONE ||
	      read_row_u32(r, k[1].value, "tcp_port", 65535, &tcp_port);
	ok &= k[2].value == YAML_REF_NONE ||
	      read_choice(r, k[2].value, direction_names, DIRECTION_COUNT, &direction);
	struct config_listener *row = ok ? reader_add_listeners(r, n) : NULL;
	if (row == NULL)
		return;
	CHECK(name != NULL);
	CHECK(tcp_port > 0);
	row->port_name = name;
	row->tcp_port = (uint16_t)tcp_port;
	row->direction = (uint16_t)direction;
}

static void
read_listeners(struct reader *r, yaml_ref n)
{
	if (!read_items(r, n, listener_item))
		r->listeners_read++;
}

static void
backend_item(struct reader *r, yaml_ref n)
{
	struct row_key k[] = {
		{"name", true}, {"address", true}, {"tcp_port", true}, {"direction", true}};
	uint32_t tcp_port = 0, direction = DIRECTION_INBOUND;
	struct ipaddr address = {0};
	const char *name = NULL;
	bool ok = read_row(r, n, k, ARRAY_LEN(k));

	r->backends_read++;
	ok &= k[0].value == YAML_REF_NONE || read_name(r, k[0].value, &name);
	ok &= k[1].value == YAML_REF_NONE || read_host(r, k[1].value, &address);
	ok &= k[2].value == YAML_REF_NONE ||
	      read_row_u32(r, k[2].value, "tcp_port", 65535, &tcp_port);
	ok &= k[3].value == YAML_REF_NONE ||
	      read_choice(r, k[3].value, direction_names, DIRECTION_COUNT, &direction);
	struct config_backend *row = ok ? reader_add_backends(r, n) : NULL;
	if (row == NULL)
		return;
	CHECK(name != NULL);
	CHECK(tcp_port > 0);
	row->name = name;
	row->address = address;
	row->tcp_port = (uint16_t)tcp_port;
	row->direction = (uint16_t)direction;
}

static void
read_backends(struct reader *r, yaml_ref n)
{
	if (!read_items(r, n, backend_item))
		r->backends_read++;
}

// --- agents ---

static bool
read_agent(struct reader *r, yaml_ref n, enum agent_id *out)
{
	struct span s;
	struct nearest near;
	struct strbuf hint;
	char mem[96];

	if (!read_text(r, n, &s))
		return false;
	if (agent_find(s, out))
		return true;
	nearest_init(&near, s);
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		nearest_offer(&near, agent_name(a));
	strbuf_init(&hint, mem, sizeof(mem));
	READ_ERROR(r, n, "%s: there is no agent \"%.*s\"%s", r->path, QUOTED(s),
		   nearest_hint(&near, &hint));
	return false;
}

static void
order_item(struct reader *r, yaml_ref n)
{
	enum agent_id a;

	if (!read_agent(r, n, &a))
		return;
	if (r->agent_place[a].line > 0) {
		READ_ERROR(r, n, "%s: \"%s\" is given twice, first in line %u", r->path,
			   agent_name(a), r->agent_place[a].line);
		return;
	}
	CHECK(r->ordered < AGENT_COUNT);
	r->agent_place[a] = yaml_tree_place(r->t, n);
	r->c->agent_line[a] = r->agent_place[a].line;
	r->c->agent_order[r->ordered++] = (uint8_t)a;
}

static void
read_order(struct reader *r, yaml_ref n)
{
	read_items(r, n, order_item);
}

static void
disabled_item(struct reader *r, yaml_ref n)
{
	enum agent_id a;

	if (!read_agent(r, n, &a))
		return;
	if (r->is_disabled[a]) {
		READ_ERROR(r, n, "%s: \"%s\" is given twice", r->path, agent_name(a));
		return;
	}
	r->is_disabled[a] = true;
	r->c->agent_enabled[a] = false;
	if (r->c->agent_line[a] == 0)
		r->c->agent_line[a] = yaml_tree_place(r->t, n).line;
}

static void
read_disabled(struct reader *r, yaml_ref n)
{
	read_items(r, n, disabled_item);
}

// --- IP lists ---

static bool
read_prefix(struct reader *r, yaml_ref n, struct ipprefix *out)
{
	struct span s;
	struct strbuf fixed;
	char mem[64];

	if (!read_text(r, n, &s))
		return false;
	strbuf_init(&fixed, mem, sizeof(mem));
	const char *why = value_prefix(s, out, &fixed);
	if (why != NULL)
		READ_ERROR(r, n, "%s: \"%.*s\" %s%s%s", r->path, QUOTED(s), why,
			   mem[0] != '\0' ? "; its network is " : "", mem);
	else if (ipprefix_is_all(out))
		READ_WARNING(r, n, "%s: %.*s is every IPv%c address", r->path, QUOTED(s),
			     out->bits == 0 ? '6' : '4');
	return why == NULL;
}

static bool
read_expires(struct reader *r, yaml_ref n, uint64_t *out)
{
	struct span s;

	if (!read_text(r, n, &s))
		return false;
	if (!value_time(s, out)) {
		READ_ERROR(r, n, "%s: \"%.*s\" is not a time as in 2026-12-31T00:00:00Z", r->path,
			   QUOTED(s));
		return false;
	}
	if (*out <= r->now_s)
		READ_WARNING(r, n, "%s: this entry has expired", r->path);
	return true;
}

static bool
read_comment(struct reader *r, yaml_ref n, const char **out)
{
	struct span s;

	if (!read_text(r, n, &s))
		return false;
	if (s.n > CONFIG_COMMENT_MAX || value_has_control(s)) {
		READ_ERROR(r, n, "%s: a comment is one line of at most %u bytes", r->path,
			   CONFIG_COMMENT_MAX);
		return false;
	}
	*out = reader_copy(r, s, false);
	return *out != NULL;
}

// An entry is a prefix alone, or a mapping with its expiry and comment.
static bool
read_ip_entry(struct reader *r, yaml_ref n, struct config_prefix *out)
{
	struct row_key k[] = {{"prefix", true}, {"expires", false}, {"comment", false}};

	*out = (struct config_prefix){.comment = ""};
	if (yaml_tree_kind(r->t, n) == YAML_KIND_TEXT)
		return read_prefix(r, n, &out->prefix);
	bool ok = read_row(r, n, k, ARRAY_LEN(k));
	ok &= k[0].value == YAML_REF_NONE || read_prefix(r, k[0].value, &out->prefix);
	ok &= k[1].value == YAML_REF_NONE || read_expires(r, k[1].value, &out->expires_s);
	ok &= k[2].value == YAML_REF_NONE || read_comment(r, k[2].value, &out->comment);
	return ok;
}

static void
prefix_fill(struct config_prefix *row, const struct config_prefix *from)
{
	if (row == NULL)
		return;
	CHECK(from->prefix.bits <= 128);
	CHECK(from->comment != NULL);
	row->prefix = from->prefix;
	row->expires_s = from->expires_s;
	row->comment = from->comment;
}

static void
allow_item(struct reader *r, yaml_ref n)
{
	struct config_prefix p;

	if (read_ip_entry(r, n, &p))
		prefix_fill(reader_add_ip_allow(r, n), &p);
}

static void
block_item(struct reader *r, yaml_ref n)
{
	struct config_prefix p;

	if (read_ip_entry(r, n, &p))
		prefix_fill(reader_add_ip_block(r, n), &p);
}

static void
read_allow(struct reader *r, yaml_ref n)
{
	read_items(r, n, allow_item);
}

static void
read_block(struct reader *r, yaml_ref n)
{
	read_items(r, n, block_item);
}

// --- addresses and domains ---

// What to write in the place of a pattern.
static const char *
wildcard_hint(const struct reader *r, bool is_mailbox)
{
	bool is_sender = strncmp(r->path, "sender_filter.", 14) == 0;

	if (is_sender && is_mailbox)
		return "; whole domains go into sender_filter.blocked_domains or "
		       "blocked_domains_and_subdomains";
	if (is_sender)
		return "; a domain with everything below it is written without \"*.\" in "
		       "sender_filter.blocked_domains_and_subdomains";
	return is_mailbox ? "; every address is listed by itself"
			  : ", but for \"*.\" in front of a domain";
}

// A domain or a mailbox, in lower case. NULL: it is none, and that has been said.
static const char *
read_address(struct reader *r, yaml_ref n, struct span s, bool is_mailbox)
{
	struct span shown = yaml_tree_text(r->t, n); // s may be a part of it

	// Before the check: RFC 5321 allows a * in a mailbox, where nobody ever means it as such.
	if (span_find(s, '*') >= 0 && !span_starts_nocase(s, SPAN_LIT("\""))) {
		READ_ERROR(r, n, "%s: \"%.*s\": wildcards are not taken here%s", r->path,
			   QUOTED(shown), wildcard_hint(r, is_mailbox));
		return NULL;
	}
	if (is_mailbox ? value_is_mailbox(s) : value_is_domain(s))
		return reader_copy(r, s, true);
	READ_ERROR(r, n, "%s: \"%.*s\" is not %s", r->path, QUOTED(shown),
		   is_mailbox ? "an address as in user@example.org" : "a domain name");
	return NULL;
}

static void
addr_fill(struct config_addr *row, const char *text, uint32_t kind)
{
	if (row == NULL)
		return;
	CHECK(text != NULL);
	CHECK(kind < ADDR_KIND_COUNT);
	row->text = text;
	row->kind = kind;
}

// "example.org", or "*.example.org" for it and everything below it.
static void
accepted_item(struct reader *r, yaml_ref n)
{
	struct span s;
	uint32_t kind = ADDR_DOMAIN;

	if (!read_text(r, n, &s))
		return;
	if (span_starts_nocase(s, SPAN_LIT("*."))) {
		kind = ADDR_DOMAIN_AND_SUBDOMAINS;
		s = span_from(s, 2);
	}
	const char *text = read_address(r, n, s, false);
	if (text != NULL)
		addr_fill(reader_add_accepted_domains(r, n), text, kind);
}

static void
read_accepted(struct reader *r, yaml_ref n)
{
	read_items(r, n, accepted_item);
}

static void
sender_item(struct reader *r, yaml_ref n)
{
	struct span s;

	if (!read_text(r, n, &s))
		return;
	const char *text = read_address(r, n, s, r->addr_kind == ADDR_EXACT);
	if (text != NULL)
		addr_fill(reader_add_blocked_senders(r, n), text, r->addr_kind);
}

static void
read_senders(struct reader *r, yaml_ref n)
{
	r->addr_kind = ADDR_EXACT;
	read_items(r, n, sender_item);
}

static void
read_sender_domains(struct reader *r, yaml_ref n)
{
	r->addr_kind = ADDR_DOMAIN;
	read_items(r, n, sender_item);
}

static void
read_sender_subdomains(struct reader *r, yaml_ref n)
{
	r->addr_kind = ADDR_DOMAIN_AND_SUBDOMAINS;
	read_items(r, n, sender_item);
}

static void
blocked_recipient_item(struct reader *r, yaml_ref n)
{
	struct span s;

	if (!read_text(r, n, &s))
		return;
	const char *text = read_address(r, n, s, true);
	if (text != NULL)
		addr_fill(reader_add_blocked_recipients(r, n), text, ADDR_EXACT);
}

static void
recipient_item(struct reader *r, yaml_ref n)
{
	struct span s;

	if (!read_text(r, n, &s))
		return;
	const char *text = read_address(r, n, s, true);
	if (text != NULL)
		addr_fill(reader_add_recipients(r, n), text, ADDR_EXACT);
}

static void
read_blocked_recipients(struct reader *r, yaml_ref n)
{
	read_items(r, n, blocked_recipient_item);
}

static void
read_recipients(struct reader *r, yaml_ref n)
{
	read_items(r, n, recipient_item);
}

// --- patterns ---

#define PHRASE_MAX                                                                                 \
	256 // bytes, as in Exchange; PATTERN_TEXT_MAX is checked against it in policy_compile.c

static bool
read_phrase(struct reader *r, yaml_ref n, struct span *out)
{
	if (!read_text(r, n, out))
		return false;
	if (out->n > PHRASE_MAX) {
		READ_ERROR(r, n, "%s: %u bytes are too long, at most %u", r->path, out->n,
			   PHRASE_MAX);
		return false;
	}
	if (span_find(*out, 0) >= 0) {
		READ_ERROR(r, n, "%s: a NUL cannot be part of a phrase", r->path);
		return false;
	}
	for (uint32_t i = 0; i < out->n; i++) {
		if (span_find(SPAN_LIT(" \t\r\n"), out->p[i]) < 0)
			return true;
	}
	READ_ERROR(r, n, "%s: a phrase needs more than white space", r->path);
	return false;
}

static void
phrase_item(struct reader *r, yaml_ref n)
{
	struct row_key k[] = {{"text", true}, {"influence", true}};
	uint32_t influence = INFLUENCE_BAD_WORD;
	struct span s = SPAN_NONE;
	bool ok = read_row(r, n, k, ARRAY_LEN(k));

	ok &= k[0].value == YAML_REF_NONE || read_phrase(r, k[0].value, &s);
	ok &= k[1].value == YAML_REF_NONE ||
	      read_choice(r, k[1].value, influence_names, INFLUENCE_COUNT, &influence);
	const char *text = ok ? reader_copy(r, s, false) : NULL;
	struct config_phrase *row = text != NULL ? reader_add_phrases(r, n) : NULL;
	if (row == NULL)
		return;
	CHECK(s.n > 0);
	CHECK(s.n <= PHRASE_MAX);
	row->text = text;
	row->length = s.n;
	row->influence = influence;
}

static void
read_phrases(struct reader *r, yaml_ref n)
{
	read_items(r, n, phrase_item);
}

static void
name_item(struct reader *r, yaml_ref n)
{
	struct span s;

	if (!read_text(r, n, &s))
		return;
	if (s.n == 0 || s.n > PHRASE_MAX || value_has_control(s) || span_find(s, '/') >= 0) {
		READ_ERROR(r, n, "%s: \"%.*s\" is not a file name or a pattern as in *.exe",
			   r->path, QUOTED(s));
		return;
	}
	const char *text = reader_copy(r, s, false);
	struct config_word *row = text != NULL ? reader_add_names(r, n) : NULL;
	if (row != NULL)
		row->text = text;
}

static void
read_names(struct reader *r, yaml_ref n)
{
	r->has_names = true;
	read_items(r, n, name_item);
}

static void
type_item(struct reader *r, yaml_ref n)
{
	struct span s;

	if (!read_text(r, n, &s))
		return;
	if (s.n > PHRASE_MAX || !value_is_content_type(s)) {
		READ_ERROR(r, n,
			   "%s: \"%.*s\" is not a content type as in application/hta (no "
			   "wildcards)",
			   r->path, QUOTED(s));
		return;
	}
	const char *text = reader_copy(r, s, true);
	struct config_word *row = text != NULL ? reader_add_types(r, n) : NULL;
	if (row != NULL)
		row->text = text;
}

static void
read_types(struct reader *r, yaml_ref n)
{
	r->has_types = true;
	read_items(r, n, type_item);
}

const struct list_key config_list_keys[] = {
	{"", "listeners", read_listeners},
	{"", "backends", read_backends},
	{"server", "accepted_domains", read_accepted},
	{"machine", "cores", read_cores},
	{"machine", "ports", read_ports},
	{"agents", "order", read_order},
	{"agents", "disabled", read_disabled},
	{"connection_filtering", "allow", read_allow},
	{"connection_filtering", "block", read_block},
	{"sender_filter", "blocked_senders", read_senders},
	{"sender_filter", "blocked_domains", read_sender_domains},
	{"sender_filter", "blocked_domains_and_subdomains", read_sender_subdomains},
	{"recipient_filter", "blocked_recipients", read_blocked_recipients},
	{"recipient_filter", "recipients", read_recipients},
	{"content_filter", "phrases", read_phrases},
	{"attachment_filtering", "file_names", read_names},
	{"attachment_filtering", "content_types", read_types},
};
const uint32_t config_list_key_count = ARRAY_LEN(config_list_keys);
