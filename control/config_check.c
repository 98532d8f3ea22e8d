// SPDX-License-Identifier: Apache-2.0
// config_check: mistakes that only show when the whole file has been read: references, duplicates,
// combinations. Rows that were wrong by themselves have been reported; nothing is said twice about
// them.
#include "control/config_read.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/config_value.h"

// --- machine, listeners, backends: a handful of rows each ---

static void
missing(struct reader *r, uint32_t rows, const char *name, const char *what)
{
	bool in_machine = strncmp(name, "machine.", 8) == 0;

	if (rows > 0)
		return;
	diag_error(r->d, in_machine && r->machine.line > 0 ? r->machine.line : 1,
		   in_machine && r->machine.line > 0 ? r->machine.column : 1,
		   "%s: at least one %s is needed", name, what);
}

static struct ipprefix
addr_network(const struct config_port_addr *a)
{
	return (struct ipprefix){ipaddr_mask(&a->addr, (uint8_t)a->prefix_bits),
				 (uint8_t)a->prefix_bits};
}

// The address k of port p must not be in the first `count` of port q's too.
static void
check_address(struct reader *r, const struct config_port *p, uint32_t k,
	      const struct config_port *q, uint32_t count)
{
	for (uint32_t m = 0; m < count; m++)
		if (ipaddr_eq(&p->addr[k].addr, &q->addr[m].addr))
			diag_error(r->d, p->addr[k].line, p->addr[k].column,
				   "machine.ports: the address is used %s line %u",
				   p == q ? "already in" : "by the port in",
				   p == q ? q->addr[m].line : q->line);
}

// Said once for two ports, whatever the number of their networks.
static void
check_overlap(struct reader *r, const struct config_port *p, const struct config_port *q)
{
	for (uint32_t k = 0; k < p->addr_count; k++) {
		for (uint32_t m = 0; m < q->addr_count; m++) {
			const struct config_port_addr *a = &p->addr[k], *b = &q->addr[m];
			struct ipprefix an = addr_network(a), bn = addr_network(b);
			if (ipaddr_eq(&a->addr, &b->addr) ||
			    (!ipprefix_has(&an, &b->addr) && !ipprefix_has(&bn, &a->addr)))
				continue;
			diag_warning(
				r->d, a->line, a->column,
				"machine.ports: the network overlaps that of the port in line %u",
				q->line);
			return;
		}
	}
}

static void
check_device(struct reader *r, const struct config_port *p, const struct config_port *q)
{
	struct span a = span_str(p->device), b = span_str(q->device);

	if (value_device_clashes(a, b))
		diag_error(r->d, p->line, p->column,
			   "machine.ports: the device of the port in line %u has the same name, "
			   "but other arguments",
			   q->line);
	struct span iface = value_device_iface(a);
	if (!value_device_is_same(a, b) && iface.n > 0 && span_eq(iface, value_device_iface(b)))
		diag_error(r->d, p->line, p->column,
			   "machine.ports: the interface \"%.*s\" is that of the port in line %u; "
			   "two VLANs "
			   "of it need one device, written alike",
			   SPAN_FMT(iface), q->line);
	if (!value_device_is_same(a, b) || p->vlan != q->vlan || p->vlan == UINT32_MAX)
		return;
	diag_error(r->d, p->line, p->column,
		   "machine.ports: the device \"%s\" is used by the port in line %u%s", p->device,
		   q->line,
		   p->vlan == 0 ? "; only a \"vlan\" tells them apart"
				: ", with the same \"vlan\"");
}

static void
check_port(struct reader *r, uint32_t i)
{
	const struct config_port *p = &r->c->ports[i];

	CHECK(i < r->c->ports_count);
	for (uint32_t k = 1; k < p->addr_count; k++)
		check_address(r, p, k, p, k);
	for (uint32_t j = 0; j < i; j++) {
		const struct config_port *q = &r->c->ports[j];
		for (uint32_t k = 0; k < p->addr_count; k++)
			check_address(r, p, k, q, q->addr_count);
		check_overlap(r, p, q);
		if (p->name != NULL && q->name != NULL && strcmp(p->name, q->name) == 0)
			diag_error(r->d, p->line, p->column,
				   "machine.ports: the name \"%s\" is taken by the port in line %u",
				   p->name, q->line);
		if (p->device != NULL && q->device != NULL)
			check_device(r, p, q);
	}
}

static void
check_machine(struct reader *r)
{
	const struct config *c = r->c;

	missing(r, r->ports_read, "machine.ports", "port");
	missing(r, r->cores_read, "machine.cores", "core");
	for (uint32_t i = 0; i < c->ports_count; i++)
		check_port(r, i);
	for (uint32_t i = 0; i < c->cores_count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (c->cores[i].cpu == c->cores[j].cpu)
				diag_error(r->d, c->cores[i].line, c->cores[i].column,
					   "machine.cores: core %u is given twice",
					   c->cores[i].cpu);
		}
	}
}

static void
resolve_port(struct reader *r, struct config_listener *l)
{
	const struct config *c = r->c;
	struct nearest near;
	struct strbuf hint;
	char mem[96];

	CHECK(l->port_name != NULL);
	nearest_init(&near, span_str(l->port_name));
	for (uint32_t i = 0; i < c->ports_count; i++) {
		if (c->ports[i].name == NULL) // its own mistake
			return;
		if (strcmp(c->ports[i].name, l->port_name) == 0) {
			l->port = i;
			return;
		}
		nearest_offer(&near, c->ports[i].name);
	}
	strbuf_init(&hint, mem, sizeof(mem));
	diag_error(r->d, l->line, l->column,
		   "listeners: there is no port \"%s\" in machine.ports%s", l->port_name,
		   nearest_hint(&near, &hint));
}

static void
check_listeners(struct reader *r)
{
	struct config *c = r->c;

	missing(r, r->listeners_read, "listeners", "listener");
	for (uint32_t i = 0; i < c->listeners_count; i++) {
		struct config_listener *l = &c->listeners[i];
		resolve_port(r, l);
		for (uint32_t j = 0; j < i; j++) {
			const struct config_listener *m = &c->listeners[j];
			if (strcmp(l->port_name, m->port_name) == 0 && l->tcp_port == m->tcp_port)
				diag_error(r->d, l->line, l->column,
					   "listeners: TCP port %u of \"%s\" is taken by line %u",
					   l->tcp_port, l->port_name, m->line);
		}
	}
}

// A router that announces itself is believed where no gateway6 is given (RFC 4861), so IPv6 may
// have a way out that the file does not know.
static bool
router_may_come(const struct config *c, const struct config_backend *b)
{
	static const struct ipaddr none;

	for (uint32_t i = 0; i < c->ports_count && !ipaddr_is_v4(&b->address); i++) {
		const struct config_port *p = &c->ports[i];
		for (uint32_t k = 0; k < p->addr_count; k++)
			if (!ipaddr_is_v4(&p->addr[k].addr) && ipaddr_eq(&p->gateway6, &none))
				return true;
	}
	return false;
}

// Whether packets to this backend have a way out; ports with mistakes count as one.
static bool
backend_is_reachable(const struct config *c, const struct config_backend *b)
{
	static const struct ipaddr none;

	for (uint32_t i = 0; i < c->ports_count; i++) {
		const struct config_port *p = &c->ports[i];
		const struct ipaddr *gateway =
			ipaddr_is_v4(&b->address) ? &p->gateway : &p->gateway6;
		if (p->is_unsure || !ipaddr_eq(gateway, &none))
			return true;
		for (uint32_t k = 0; k < p->addr_count; k++) {
			struct ipprefix net = addr_network(&p->addr[k]);
			if (ipprefix_has(&net, &b->address))
				return true;
		}
	}
	return c->ports_count == 0;
}

static void
check_backend(struct reader *r, uint32_t i)
{
	const struct config *c = r->c;
	const struct config_backend *b = &c->backends[i];

	CHECK(i < c->backends_count);
	CHECK(b->name != NULL);
	for (uint32_t j = 0; j < i; j++) {
		const struct config_backend *o = &c->backends[j];
		if (strcmp(b->name, o->name) == 0)
			diag_error(r->d, b->line, b->column,
				   "backends: the name \"%s\" is taken by line %u", b->name,
				   o->line);
		if (ipaddr_eq(&b->address, &o->address) && b->tcp_port == o->tcp_port &&
		    b->direction == o->direction)
			diag_error(r->d, b->line, b->column,
				   "backends: the same address, port and direction as in line %u",
				   o->line);
	}
	for (uint32_t j = 0; j < c->ports_count; j++) {
		const struct config_port *p = &c->ports[j];
		for (uint32_t k = 0; k < p->addr_count; k++) {
			if (!ipaddr_eq(&b->address, &p->addr[k].addr))
				continue;
			diag_error(r->d, b->line, b->column,
				   "backends: the address is our own (machine.ports, line %u)",
				   p->line);
			return;
		}
	}
	if (backend_is_reachable(c, b))
		return;
	if (router_may_come(c, b))
		diag_warning(r->d, b->line, b->column,
			     "backends: no port has a network with this address or a gateway6: a "
			     "router has to announce itself");
	else
		diag_error(r->d, b->line, b->column,
			   "backends: no port has a network with this address or a gateway");
}

static bool
direction_has_backend(const struct config *c, uint16_t direction)
{
	for (uint32_t i = 0; i < c->backends_count; i++) {
		if (c->backends[i].direction == direction)
			return true;
	}
	return false;
}

static bool
direction_has_listener(const struct config *c, uint16_t direction)
{
	for (uint32_t i = 0; i < c->listeners_count; i++) {
		if (c->listeners[i].direction == direction)
			return true;
	}
	return false;
}

static void
check_backends(struct reader *r)
{
	const struct config *c = r->c;

	missing(r, r->backends_read, "backends", "backend");
	for (uint32_t i = 0; i < c->backends_count; i++)
		check_backend(r, i);
	if (r->backends_read != c->backends_count || r->listeners_read != c->listeners_count)
		return; // a row that was wrong may be the missing one
	for (uint32_t i = 0; i < c->listeners_count && c->backends_count > 0; i++) {
		const struct config_listener *l = &c->listeners[i];
		if (!direction_has_backend(c, l->direction))
			diag_error(r->d, l->line, l->column,
				   "listeners: there is no backend for %s",
				   direction_name(l->direction));
	}
	for (uint32_t i = 0; i < c->backends_count && c->listeners_count > 0; i++) {
		const struct config_backend *b = &c->backends[i];
		if (!direction_has_listener(c, b->direction))
			diag_warning(r->d, b->line, b->column,
				     "backends: never used, there is no listener for %s",
				     direction_name(b->direction));
	}
}

// --- duplicates in long lists ---

struct shape {
	size_t size, line_off, column_off;
	int (*cmp)(const void *a, const void *b); // by what makes two rows the same
	void (*print)(struct strbuf *out, const void *row);
	// What is wrong with having both (NULL: nothing, the second is only not needed); may widen
	// `keep`.
	const char *(*merge)(void *keep, const void *drop);
};
#define SHAPE(type, cmp_, print_, merge_)                                                          \
	{                                                                                          \
		.size = sizeof(struct type), .line_off = offsetof(struct type, line),              \
		.column_off = offsetof(struct type, column), .cmp = cmp_, .print = print_,         \
		.merge = merge_                                                                    \
	}

static int
prefix_cmp(const void *a, const void *b)
{
	const struct config_prefix *p = a, *q = b;
	int diff = memcmp(&p->prefix.addr, &q->prefix.addr, sizeof(p->prefix.addr));

	return diff != 0 ? diff : (int)p->prefix.bits - (int)q->prefix.bits;
}

static void
prefix_print(struct strbuf *out, const void *row)
{
	ipprefix_format(out, &((const struct config_prefix *)row)->prefix);
}

static int
addr_cmp(const void *a, const void *b)
{
	return strcmp(((const struct config_addr *)a)->text, ((const struct config_addr *)b)->text);
}

static void
addr_print(struct strbuf *out, const void *row)
{
	strbuf_add_str(out, ((const struct config_addr *)row)->text);
}

// A domain with its subdomains holds the domain alone too.
static const char *
addr_merge(void *keep, const void *drop)
{
	struct config_addr *k = keep;

	k->kind = MAX(k->kind, ((const struct config_addr *)drop)->kind);
	return NULL;
}

static int
phrase_cmp(const void *a, const void *b)
{
	return strcasecmp(((const struct config_phrase *)a)->text,
			  ((const struct config_phrase *)b)->text);
}

static void
phrase_print(struct strbuf *out, const void *row)
{
	strbuf_add(out, span_sub(span_str(((const struct config_phrase *)row)->text), 0, 64));
}

static const char *
phrase_merge(void *keep, const void *drop)
{
	if (((struct config_phrase *)keep)->influence !=
	    ((const struct config_phrase *)drop)->influence)
		return "with the other influence";
	return NULL;
}

static int
word_cmp(const void *a, const void *b)
{
	return strcasecmp(((const struct config_word *)a)->text,
			  ((const struct config_word *)b)->text);
}

static void
word_print(struct strbuf *out, const void *row)
{
	strbuf_add(out, span_sub(span_str(((const struct config_word *)row)->text), 0, 64));
}

static int
order_cmp(const void *a, const void *b, void *ctx)
{
	const struct shape *s = ctx;
	const uint8_t *p = *(const uint8_t *const *)a, *q = *(const uint8_t *const *)b;
	int diff = s->cmp(p, q);

	return diff != 0 ? diff : (p > q) - (p < q); // rows of one array: in the order of the file
}

static uint32_t
row_u32(const void *row, size_t off)
{
	uint32_t v;

	memcpy(&v, (const uint8_t *)row + off, sizeof(v));
	return v;
}

static void
report_twice(struct reader *r, const struct shape *s, uint8_t *keep, const uint8_t *drop)
{
	const char *why = s->merge != NULL ? s->merge(keep, drop) : NULL;
	uint32_t line = row_u32(drop, s->line_off), column = row_u32(drop, s->column_off);
	struct strbuf text;
	char mem[320];

	strbuf_init(&text, mem, sizeof(mem));
	s->print(&text, drop);
	if (why != NULL)
		diag_error(r->d, line, column, "\"%s\" is in this list already, line %u, %s", mem,
			   row_u32(keep, s->line_off), why);
	else
		diag_warning(r->d, line, column, "\"%s\" is in this list already, line %u", mem,
			     row_u32(keep, s->line_off));
}

// Reports and removes rows that are there twice; the order of the others stays.
static void
dedup(struct reader *r, const struct shape *s, void *rows, uint32_t *count)
{
	uint8_t *base = rows;
	uint32_t n = *count, kept = 0;

	if (n < 2)
		return;
	CHECK(rows != NULL);
	CHECK(s->cmp != NULL);
	uint8_t **order = calloc(n, sizeof(*order));
	bool *drop = calloc(n, sizeof(*drop));
	if (order == NULL || drop == NULL) {
		r->no_memory = true;
		free(order);
		free(drop);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		order[i] = base + i * s->size;
	qsort_r(order, n, sizeof(*order), order_cmp, (void *)(uintptr_t)s);
	for (uint32_t i = 1, first = 0; i < n; i++) {
		if (s->cmp(order[first], order[i]) != 0) {
			first = i;
			continue;
		}
		report_twice(r, s, order[first], order[i]);
		drop[(size_t)(order[i] - base) / s->size] = true;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (drop[i])
			continue;
		if (kept != i)
			memcpy(base + kept * s->size, base + i * s->size, s->size);
		kept++;
	}
	CHECK(kept > 0);
	CHECK(kept <= n);
	*count = kept;
	free(order);
	free(drop);
}

static void
check_duplicates(struct reader *r)
{
	static const struct shape prefix = SHAPE(config_prefix, prefix_cmp, prefix_print, NULL);
	static const struct shape addr = SHAPE(config_addr, addr_cmp, addr_print, addr_merge);
	static const struct shape phrase =
		SHAPE(config_phrase, phrase_cmp, phrase_print, phrase_merge);
	static const struct shape word = SHAPE(config_word, word_cmp, word_print, NULL);
	struct config *c = r->c;

	dedup(r, &prefix, c->ip_allow, &c->ip_allow_count);
	dedup(r, &prefix, c->ip_block, &c->ip_block_count);
	dedup(r, &addr, c->accepted_domains, &c->accepted_domains_count);
	dedup(r, &addr, c->blocked_senders, &c->blocked_senders_count);
	dedup(r, &addr, c->blocked_recipients, &c->blocked_recipients_count);
	dedup(r, &addr, c->recipients, &c->recipients_count);
	dedup(r, &phrase, c->phrases, &c->phrases_count);
	dedup(r, &word, c->names, &c->names_count);
	dedup(r, &word, c->types, &c->types_count);
}

// --- lists that contradict each other ---

// A sorted copy to look things up in. NULL: no memory, or nothing in it.
static void *
rows_sorted(struct reader *r, const void *rows, uint32_t count, size_t size,
	    int (*cmp)(const void *, const void *))
{
	if (count == 0)
		return NULL;
	void *copy = calloc(count, size);
	if (copy == NULL) {
		r->no_memory = true;
		return NULL;
	}
	memcpy(copy, rows, count * size);
	qsort(copy, count, size, cmp);
	return copy;
}

static bool
has_expired(const struct reader *r, const struct config_prefix *p)
{
	return p->expires_s != 0 && p->expires_s <= r->now_s;
}

static void
check_allow_and_block(struct reader *r)
{
	const struct config *c = r->c;
	struct config_prefix *allow =
		rows_sorted(r, c->ip_allow, c->ip_allow_count, sizeof(*allow), prefix_cmp);

	for (uint32_t i = 0; allow != NULL && i < c->ip_block_count; i++) {
		const struct config_prefix *b = &c->ip_block[i];
		const struct config_prefix *a =
			bsearch(b, allow, c->ip_allow_count, sizeof(*allow), prefix_cmp);
		struct strbuf text;
		char mem[64];
		if (a == NULL || has_expired(r, a) || has_expired(r, b))
			continue;
		strbuf_init(&text, mem, sizeof(mem));
		prefix_print(&text, b);
		diag_warning(r->d, b->line, b->column,
			     "connection_filtering.block: %s is in the allow list too, line %u: it "
			     "is allowed",
			     mem, a->line);
	}
	free(allow);
}

// Whether a domain is one of the accepted ones, or below one that holds its subdomains.
static bool
domain_is_accepted(const struct config_addr *accepted, uint32_t count, const char *domain)
{
	for (const char *at = domain; at != NULL; at = strchr(at, '.')) {
		at += at != domain; // behind the dot
		const struct config_addr key = {.text = at};
		const struct config_addr *row =
			bsearch(&key, accepted, count, sizeof(*accepted), addr_cmp);
		if (row != NULL && (at == domain || row->kind == ADDR_DOMAIN_AND_SUBDOMAINS))
			return true;
	}
	return false;
}

// One row for all of them: they are often a forgotten domain with thousands of mailboxes.
static void
check_recipients(struct reader *r)
{
	const struct config *c = r->c;
	const struct config_addr *first = NULL;
	uint32_t outside = 0;

	if (diag_has_error(r->d)) // the domain may be the one that was wrong
		return;
	struct config_addr *accepted = rows_sorted(
		r, c->accepted_domains, c->accepted_domains_count, sizeof(*accepted), addr_cmp);
	for (uint32_t i = 0; accepted != NULL && i < c->recipients_count; i++) {
		const char *at = strrchr(c->recipients[i].text, '@');
		CHECK(at != NULL);
		if (domain_is_accepted(accepted, c->accepted_domains_count, at + 1))
			continue;
		first = first == NULL ? &c->recipients[i] : first;
		outside++;
	}
	if (outside == 1)
		diag_warning(r->d, first->line, first->column,
			     "recipient_filter.recipients: \"%s\" is in none of "
			     "server.accepted_domains",
			     first->text);
	else if (outside > 1)
		diag_warning(r->d, first->line, first->column,
			     "recipient_filter.recipients: \"%s\" and %u more are in none of "
			     "server.accepted_domains",
			     first->text, outside - 1);
	free(accepted);
}

// --- combinations ---

// A default that is off because of the other one's length is nobody's mistake.
static void
check_wide(struct reader *r, const char *family, uint32_t wide, uint32_t narrow)
{
	const struct setting_value *w = &r->c->setting[wide], *n = &r->c->setting[narrow];

	if (w->line > 0 && w->number != 0 && w->number >= n->number)
		diag_warning(r->d, w->line, w->column,
			     "limits.client_prefix%s_wide: %u is without effect, it has to be "
			     "shorter than client_prefix%s (%u); 0 is none",
			     family, w->number, family, n->number);
}

static void
check_settings(struct reader *r)
{
	const struct config *c = r->c;
	const struct setting_value *v = c->setting;
	const struct setting_value *del = &v[SETTING_content_filter_scl_delete_threshold];
	const struct setting_value *rej = &v[SETTING_content_filter_scl_reject_threshold];
	const struct setting_value *validate = &v[SETTING_recipient_filter_recipient_validation];
	const struct setting_value *host = &v[SETTING_server_hostname];

	if (v[SETTING_content_filter_scl_delete].number != 0 &&
	    v[SETTING_content_filter_scl_reject].number != 0 && del->number <= rej->number) {
		const struct setting_value *at = del->line > 0 ? del : rej;
		diag_error(r->d, at->line, at->column,
			   "content_filter: scl_delete_threshold (%u) must be above "
			   "scl_reject_threshold (%u)",
			   del->number, rej->number);
	}
	if (validate->number != 0 && c->recipients_count == 0)
		diag_warning(r->d, validate->line, validate->column,
			     "recipient_filter.recipient_validation: recipients is empty, so every "
			     "recipient is refused");
	check_wide(r, "4", SETTING_limits_client_prefix4_wide, SETTING_limits_client_prefix4);
	check_wide(r, "6", SETTING_limits_client_prefix6_wide, SETTING_limits_client_prefix6);
	if (host->line == 0)
		diag_warning(r->d, 1, 1, "server.hostname is not set, we call ourselves %s",
			     host->text);
	if (c->accepted_domains_count == 0 && direction_has_listener(c, DIRECTION_INBOUND))
		diag_warning(r->d, 1, 1,
			     "server.accepted_domains is empty: mail to every domain is "
			     "relayed to the backend");
}

void
check_config(struct reader *r)
{
	CHECK(r->c != NULL);
	check_machine(r);
	check_listeners(r);
	check_backends(r);
	check_duplicates(r);
	check_allow_and_block(r);
	check_recipients(r);
	check_settings(r);
}
