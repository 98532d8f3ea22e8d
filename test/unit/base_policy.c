// SPDX-License-Identifier: Apache-2.0
// Tests of the policy image: what the builder makes the view accepts and finds again; what is
// damaged it refuses; lookups agree with slow ones written down here anew.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "control/abi/machine.h"
#include "control/abi/policy_build.h"
#include "control/base/rng.h"

static char why_mem[256];
static struct strbuf why;

static struct strbuf *
fresh_why(void)
{
	strbuf_init(&why, why_mem, sizeof(why_mem));
	return &why;
}

static void
add_prefix(struct policy_build *b, enum policy_section_id s, const char *text, uint64_t expires_s,
	   uint32_t line)
{
	struct ipprefix p;
	cr_assert(ipprefix_parse(span_str(text), &p), "%s", text);
	struct policy_prefix row = {.addr = p.addr,
				    .bits = p.bits,
				    .line = line,
				    .expires_s = expires_s,
				    .comment = policy_build_str(b, SPAN_LIT("why"))};
	policy_build_row(b, s, &row, sizeof(row));
}

static void
add_addr(struct policy_build *b, enum policy_section_id s, const char *text,
	 enum policy_addr_kind kind, uint32_t line)
{
	struct policy_addr row = {policy_build_str(b, span_str(text)), kind, line};
	policy_build_row(b, s, &row, sizeof(row));
}

static struct ipaddr
addr_of(const char *text)
{
	struct ipaddr a;
	cr_assert(ipaddr_parse(span_str(text), &a), "%s", text);
	return a;
}

// Two VLANs of one device, with addresses of both families.
static void
add_vlans(struct policy_build *b)
{
	struct policy_port p = {
		.name = policy_build_str(b, SPAN_LIT("v20")),
		.device = policy_build_str(b, SPAN_LIT("net_null1")),
		.vlan = 20,
		.line = 2,
		.addr_count = 3,
		.addr = {{addr_of("198.51.100.1"), addr_of("198.51.100.254"), 120},
			 {addr_of("2001:db8:1::1"), addr_of("fe80::1"), 64},
			 {addr_of("2001:db8:2::1"), addr_of("2001:db8:1::ffff"), 64}},
	};
	policy_build_row(b, POLICY_PORTS, &p, sizeof(p));
	p.name = policy_build_str(b, SPAN_LIT("v21"));
	p.vlan = 21;
	p.addr_count = 1;
	p.addr[0] = (struct policy_port_addr){.addr = addr_of("2001:db8:3::1"), .prefix_bits = 64};
	policy_build_row(b, POLICY_PORTS, &p, sizeof(p));
}

static struct policy_build *
full_build(void)
{
	struct policy_build *b = policy_build_open();
	cr_assert_not_null(b);
	policy_build_least(b);
	add_vlans(b);
	add_prefix(b, POLICY_IP_BLOCK, "192.0.2.0/24", 0, 10);
	add_prefix(b, POLICY_IP_BLOCK, "192.0.2.128/25", 1000, 11);
	add_prefix(b, POLICY_IP_BLOCK, "192.0.2.130", 500, 12);
	add_prefix(b, POLICY_IP_BLOCK, "2001:db8::/32", 0, 13);
	add_prefix(b, POLICY_IP_ALLOW, "198.51.100.7", 0, 0);
	add_addr(b, POLICY_BLOCKED_SENDERS, "Bad@Example.COM", ADDR_EXACT, 20);
	add_addr(b, POLICY_BLOCKED_SENDERS, "spam.example", ADDR_DOMAIN, 21);
	add_addr(b, POLICY_BLOCKED_SENDERS, "evil.example", ADDR_DOMAIN_AND_SUBDOMAINS, 22);
	add_addr(b, POLICY_BLOCKED_SENDERS, "spam.example", ADDR_DOMAIN_AND_SUBDOMAINS, 23);
	add_addr(b, POLICY_RECIPIENTS, "u1@dest.example", ADDR_EXACT, 30);
	struct policy_phrase phrase = {policy_build_str(b, SPAN_LIT("buy now")), INFLUENCE_BAD_WORD,
				       40};
	policy_build_row(b, POLICY_PHRASES, &phrase, sizeof(phrase));
	struct policy_name name = {policy_build_str(b, SPAN_LIT("*.exe")), 50};
	policy_build_row(b, POLICY_NAMES, &name, sizeof(name));
	struct policy_type type = {policy_build_str(b, SPAN_LIT("text/scriptlet")), 61};
	policy_build_row(b, POLICY_TYPES, &type, sizeof(type));
	type = (struct policy_type){policy_build_str(b, SPAN_LIT("Application/HTA")), 60};
	policy_build_row(b, POLICY_TYPES, &type, sizeof(type));
	policy_build_bytes(b, POLICY_DB_CONTENT, "database", 8);
	return b;
}

static void *
full_image(size_t *size)
{
	struct policy_build *b = full_build();
	void *image = policy_build_finish(b, 7, size);
	cr_assert_not_null(image);
	policy_build_close(&b);
	cr_assert_null(b);
	return image;
}

static uint32_t
ip_line(const struct policy_view *v, enum policy_section_id list, const char *text, uint64_t now_s)
{
	struct ipaddr a;
	cr_assert(ipaddr_parse(span_str(text), &a));
	const struct policy_prefix *p = policy_ip_find(v, list, &a, now_s);
	return p == NULL ? UINT32_MAX : p->line;
}

static uint32_t
sender_line(const struct policy_view *v, const char *text)
{
	const struct policy_addr *a = policy_addr_find(v, POLICY_BLOCKED_SENDERS, span_str(text));
	return a == NULL ? UINT32_MAX : a->line;
}

Test(policy, defaults)
{
	size_t size;
	struct policy_build *b = policy_build_open();
	void *image = policy_build_finish(b, 1, &size);
	struct policy_view v;
	cr_assert_not_null(image);
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_BAD, "no port");
	cr_assert_not_null(strstr(why_mem, "PORTS"), "%s", why_mem);
	free(image);
	policy_build_least(b);
	image = policy_build_finish(b, 1, &size);
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	cr_assert_eq(v.settings->limits_recipients_max, 100);
	cr_assert(v.settings->server_received_header);
	cr_assert(
		span_eq(policy_text(&v, v.settings->server_hostname), SPAN_LIT("postern.invalid")));
	cr_assert_eq(v.settings->scan_on_error, FAILURE_DEFER);
	cr_assert_eq(v.order[EVENT_RCPT].count, 2);
	cr_assert_eq(v.order[EVENT_RCPT].agent[0], AGENT_connection_filtering);
	cr_assert_eq(v.order[EVENT_RCPT].agent[1], AGENT_recipient_filter);
	cr_assert_eq(v.order[EVENT_HELP].count, 0);
	free(image);
	policy_build_close(&b);
}

Test(policy, round_trip_and_lookups)
{
	size_t size;
	void *image = full_image(&size);
	struct policy_view v;
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	cr_assert_eq(v.head->generation, 7);
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "192.0.2.130", 100), 12, "the longest prefix");
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "192.0.2.130", 499), 12);
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "192.0.2.130", 500), 11,
		     "expired: the next longest");
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "192.0.2.130", 5000), 10);
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "192.0.2.1", 0), 10);
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "192.0.3.1", 0), UINT32_MAX);
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "2001:db8:1::1", 0), 13);
	cr_assert_eq(ip_line(&v, POLICY_IP_ALLOW, "198.51.100.7", 0), 0);
	cr_assert_eq(ip_line(&v, POLICY_IP_ALLOW, "198.51.100.8", 0), UINT32_MAX);

	cr_assert_eq(sender_line(&v, "bad@example.com"), 20);
	cr_assert_eq(sender_line(&v, "BAD@EXAMPLE.com"), 20);
	cr_assert_eq(sender_line(&v, "bad@example.com."), 20);
	cr_assert_eq(sender_line(&v, "good@example.com"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "x@spam.example"), 21);
	cr_assert_eq(sender_line(&v, "x@a.spam.example"), 23);
	cr_assert_eq(sender_line(&v, "x@a.b.evil.example"), 22);
	cr_assert_eq(sender_line(&v, "x@evil.example"), 22);
	cr_assert_eq(sender_line(&v, "x@notevil.example"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "x@example"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "evil.example"), 22, "a bare domain");
	cr_assert_eq(sender_line(&v, "\"a@b\"@spam.example"), 21, "the last @ counts");
	cr_assert_eq(sender_line(&v, "\"bad\"@example.com"), 20, "quoted, the same mailbox");
	cr_assert_eq(sender_line(&v, "\"b\\Ad\"@Example.com"), 20);
	cr_assert_eq(sender_line(&v, "\"bad@example.com"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "\"bad\\\"@example.com"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "\"\"@example.com"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "\"@"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "\"\"@"), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "\"\"@spam.example"), 21);
	cr_assert_eq(sender_line(&v, ""), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "."), UINT32_MAX);
	cr_assert_eq(sender_line(&v, "x@"), UINT32_MAX);
	char longest[400];
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 321 - 14, "@spam.example", 14);
	cr_assert_eq(strlen(longest), 320);
	cr_assert_eq(sender_line(&v, longest), 21);
	memmove(longest + 1, longest, 321);
	cr_assert_eq(sender_line(&v, longest), UINT32_MAX, "321 bytes");

	const struct policy_type *t = policy_type_find(&v, SPAN_LIT("application/HTA"));
	cr_assert(t != NULL && t->line == 60);
	cr_assert_null(policy_type_find(&v, SPAN_LIT("application/ht")));
	cr_assert_null(policy_type_find(&v, SPAN_NONE));
	cr_assert(span_eq(policy_text(&v, v.phrases[0].text), SPAN_LIT("buy now")));
	cr_assert_eq(policy_text(&v, (struct policy_str){UINT32_MAX, UINT32_MAX}).n, 0);
	cr_assert_str_eq(policy_list_name(POLICY_IP_BLOCK), "IP block list");
	free(image);
}

// 10.0.0.0 or 2001:db8:: and a little.
static struct ipaddr
some_addr(struct rng *r, uint32_t below)
{
	struct ipaddr a = ipaddr_v4(0x0a000000 + rng_below(r, below));
	struct ipaddr v6 = addr_of("2001:db8::");

	if (rng_chance(r, 500000))
		return a;
	memcpy(v6.b + 14, a.b + 14, 2);
	return v6;
}

Test(policy, ports_with_several_addresses)
{
	size_t size;
	void *image = full_image(&size);
	struct policy_view v;

	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	cr_assert_eq(v.count[POLICY_PORTS], 3);
	cr_assert(v.ports[1].vlan == 20 && v.ports[1].addr_count == 3);
	struct ipaddr want = addr_of("2001:db8:2::1");
	cr_assert(ipaddr_eq(&v.ports[1].addr[2].addr, &want));
	cr_assert(!policy_port_has_v6(&v.ports[0]));
	cr_assert(policy_port_has_v6(&v.ports[1]));
	cr_assert(policy_port_has_v6(&v.ports[2]));
	free(image);
}

// What a change of the first VLAN's row needs a restart for.
static void
assert_port_change(uint32_t row, bool is_change)
{
	struct machine_sig was = {0}, is = {0};
	struct policy_view v;
	char names[64] = "";
	struct strbuf b;
	size_t size;
	void *image = full_image(&size);
	struct policy_head *h = image;
	struct policy_port *p =
		(void *)((uint8_t *)image + h->section[POLICY_PORTS].off + sizeof(*p));

	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	machine_sig_of(&was, &v);
	switch (row) {
	case 0:
		p->vlan = 30;
		break;
	case 1:
		p->addr_count--;
		break;
	case 2:
		p->addr[2].addr.b[15]++;
		break;
	case 3:
		p->addr[1].gateway.b[15]++;
		break;
	case 4:
		p->addr[2].prefix_bits++;
		break;
	default:
		p->line++;
	}
	h->checksum = policy_checksum(image, size);
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	machine_sig_of(&is, &v);
	strbuf_init(&b, names, sizeof(names));
	machine_sig_diff(&was, &is, &b);
	cr_assert_str_eq(names, is_change ? "machine.ports" : "", "change %u", row);
	free(image);
}

Test(policy, machine_fingerprint_has_every_part_of_a_port)
{
	for (uint32_t i = 0; i < 5; i++)
		assert_port_change(i, true);
	assert_port_change(5, false);
}

// An operator who blocks ::/0 means IPv6, not the IPv4 addresses that we hold inside it.
Test(policy, prefixes_of_ipv6_hold_no_ipv4_address)
{
	size_t size;
	struct policy_view v;
	struct policy_build *b = full_build();

	add_prefix(b, POLICY_IP_ALLOW, "::/0", 0, 90);
	add_prefix(b, POLICY_IP_ALLOW, "::/80", 0, 91);
	void *image = policy_build_finish(b, 1, &size);
	policy_build_close(&b);
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	cr_assert_eq(ip_line(&v, POLICY_IP_ALLOW, "2001:db8::1", 5), 90);
	cr_assert_eq(ip_line(&v, POLICY_IP_ALLOW, "192.0.2.1", 5), UINT32_MAX);
	cr_assert_eq(ip_line(&v, POLICY_IP_ALLOW, "198.51.100.7", 5), 0, "its own row");
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "2001:db8:ffff::1", 5), 13);
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "2001:db9::1", 5), UINT32_MAX);
	free(image);
}

Test(policy, ip_find_agrees_with_a_linear_search)
{
	struct rng r;
	rng_init(&r, 11);
	for (uint32_t round = 0; round < 30; round++) {
		struct policy_build *b = policy_build_open();
		struct policy_prefix rows[200];
		uint32_t n = 1 + rng_below(&r, 200);
		policy_build_least(b);
		for (uint32_t i = 0; i < n; i++) {
			uint8_t bits = (uint8_t)(round % 2 == 0 ? 118 + rng_below(&r, 11)
								: rng_below(&r, 129));
			struct ipaddr a = some_addr(&r, 1024);
			rows[i] = (struct policy_prefix){
				.addr = ipaddr_mask(&a, bits),
				.bits = bits,
				.line = i,
				.expires_s = rng_chance(&r, 500000) ? 0 : rng_below(&r, 100)};
			policy_build_row(b, POLICY_IP_BLOCK, &rows[i], sizeof(rows[i]));
		}
		size_t size;
		void *image = policy_build_finish(b, 1, &size);
		struct policy_view v;
		cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s",
			     why_mem);
		for (uint32_t k = 0; k < 500; k++) {
			struct ipaddr a = some_addr(&r, 1100);
			uint64_t now = rng_below(&r, 120);
			int want_bits = -1;
			for (uint32_t i = 0; i < n; i++) {
				struct ipprefix p = {rows[i].addr, (uint8_t)rows[i].bits};
				bool lives = rows[i].expires_s == 0 || rows[i].expires_s > now;
				if (lives && ipprefix_has(&p, &a) && (int)p.bits > want_bits)
					want_bits = p.bits;
			}
			const struct policy_prefix *hit =
				policy_ip_find(&v, POLICY_IP_BLOCK, &a, now);
			cr_assert_eq(hit == NULL ? -1 : (int)hit->bits, want_bits);
			if (hit != NULL)
				cr_assert(hit->expires_s == 0 || hit->expires_s > now);
		}
		free(image);
		policy_build_close(&b);
	}
}

// Every lookup on an image that was accepted, whatever it holds.
static void
use_all(const struct policy_view *v)
{
	static const enum policy_section_id lists[] = {
		POLICY_ACCEPTED_DOMAINS, POLICY_BLOCKED_SENDERS, POLICY_BLOCKED_RECIPIENTS,
		POLICY_RECIPIENTS};
	struct ipaddr a = ipaddr_v4(0xc0000282);
	(void)policy_ip_find(v, POLICY_IP_ALLOW, &a, 5);
	(void)policy_ip_find(v, POLICY_IP_BLOCK, &a, 5);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		(void)policy_addr_find(v, lists[i], SPAN_LIT("x@a.spam.example"));
	(void)policy_type_find(v, SPAN_LIT("application/hta"));
	uint32_t sum = 0;
	struct span host = policy_text(v, v->settings->server_hostname);
	for (uint32_t i = 0; i < host.n; i++)
		sum += host.p[i];
	for (uint32_t i = 0; i < v->count[POLICY_DB_CONTENT]; i++)
		sum += v->db_content[i];
	cr_assert_gt(sum, 0);
}

Test(policy, every_byte_damaged)
{
	size_t size;
	uint8_t *image = full_image(&size);
	size_t generation = offsetof(struct policy_head, generation);
	struct policy_view v;
	for (size_t i = 0; i < size; i++) {
		for (uint32_t k = 0; k < 3; k++) {
			uint8_t flip = (uint8_t)(k == 0 ? 1 : k == 1 ? 0x80 : 0xff);
			image[i] ^= flip;
			enum policy_result res = policy_view_open(&v, image, size, fresh_why());
			if (i < generation || i >= generation + 8)
				cr_assert_eq(res, POLICY_BAD, "byte %zu", i);
			if (res == POLICY_BAD)
				cr_assert(why.len > 0);
			image[i] ^= flip;
		}
	}
	// The same with a checksum that fits: refused or harmless.
	struct policy_head *h = (struct policy_head *)(void *)image;
	for (size_t i = 0; i < size; i++) {
		uint8_t flip = (uint8_t)(i % 2 == 0 ? 1 : 0xff);
		image[i] ^= flip;
		uint64_t sum = h->checksum;
		h->checksum = policy_checksum(image, size);
		if (policy_view_open(&v, image, size, fresh_why()) == POLICY_OK)
			use_all(&v);
		h->checksum = sum;
		image[i] ^= flip;
	}
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK);
	free(image);
}

Test(policy, cut_images)
{
	size_t size;
	uint8_t *image = full_image(&size);
	struct policy_view v;
	for (size_t n = 0; n < size; n++) {
		uint8_t *part =
			malloc(n + 1); // of just that size, so that the sanitizer sees its end
		memcpy(part, image, n);
		cr_assert_eq(policy_view_open(&v, part, n, fresh_why()), POLICY_BAD);
		free(part);
	}
	cr_assert_eq(policy_view_open(&v, NULL, size, fresh_why()), POLICY_BAD);
	uint8_t *shifted = malloc(size + 8);
	memcpy(shifted + 4, image, size);
	cr_assert_eq(policy_view_open(&v, shifted + 4, size, fresh_why()), POLICY_BAD);
	free(shifted);
	free(image);
}

// Gives the rows of a section for writing, in an image that nobody else reads.
#define ROWS(image, type, s)                                                                       \
	((type *)(void *)((uint8_t *)(image) + ((struct policy_head *)(image))->section[s].off))

#define REFUSED(text, change)                                                                      \
	do {                                                                                       \
		size_t size;                                                                       \
		void *image = full_image(&size);                                                   \
		struct policy_head *h = image;                                                     \
		(void)h;                                                                           \
		change;                                                                            \
		h->checksum = policy_checksum(image, size);                                        \
		struct policy_view v;                                                              \
		cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_BAD, #change); \
		cr_assert_not_null(strstr(why_mem, text), "%s: %s", #change, why_mem);             \
		cr_assert_null(v.settings);                                                        \
		free(image);                                                                       \
	} while (0)

Test(policy, damaged_heads_are_refused)
{
	REFUSED("not a policy", h->magic++);
	REFUSED("version", h->version++);
	REFUSED("size", h->size += 8);
	REFUSED("generation", h->generation = 0);
	REFUSED("section table", h->section_count--);
	REFUSED("another build", h->layout++);
	REFUSED("row size", h->section[POLICY_HOPS].row_size -= 8);
	REFUSED("rows", h->section[POLICY_AGENTS].count--);
	REFUSED("rows", h->section[POLICY_PORTS].count = POLICY_PORTS_MAX + 1);
	REFUSED("rows", h->section[POLICY_IP_BLOCK].count = UINT32_MAX);
	REFUSED("outside", h->section[POLICY_IP_BLOCK].count = 100000);
	REFUSED("outside", h->section[POLICY_IP_BLOCK].off += 4);
	REFUSED("outside", h->section[POLICY_IP_BLOCK].off = size);
	REFUSED("outside", h->section[POLICY_IP_BLOCK].off = UINT64_MAX - 7);
	REFUSED("outside", h->section[POLICY_IP_BLOCK].off = 0);
	REFUSED("outside", h->section[POLICY_STRINGS].off = size & ~7ull);
}

Test(policy, damaged_settings_are_refused)
{
#define S ROWS(image, struct policy_settings, POLICY_SETTINGS)
	REFUSED("limits.recipients_max", S->limits_recipients_max = 0);
	REFUSED("limits.recipients_max", S->limits_recipients_max = 1001);
	REFUSED("server.received_header", S->server_received_header = 2);
	REFUSED("scan.on_limit", S->scan_on_limit = FAILURE_COUNT);
	REFUSED("sender_filter.action", S->sender_filter_action = SENDER_ACTION_COUNT);
	REFUSED("content_filter.rejection_response",
		S->content_filter_rejection_response.len = 241);
	REFUSED("content_filter.rejection_response",
		S->content_filter_rejection_response.off = UINT32_MAX);
	REFUSED("hostname is empty", S->server_hostname.len = 0);
	REFUSED("not printable",
		ROWS(image, char, POLICY_STRINGS)[S->server_hostname.off + 1] = '\n');
	REFUSED("not printable", ROWS(image, char, POLICY_STRINGS)[S->server_hostname.off] = ' ');
}

Test(policy, damaged_rows_are_refused)
{
#define P ROWS(image, struct policy_port, POLICY_PORTS)
#define B ROWS(image, struct policy_prefix, POLICY_IP_BLOCK)
#define A ROWS(image, struct policy_addr, POLICY_BLOCKED_SENDERS)
	REFUSED("PORTS row 0: prefix", P->addr[0].prefix_bits = 129);
	REFUSED("PORTS row 0: prefix", P->addr[0].prefix_bits = 95);
	REFUSED("PORTS row 1: prefix", P[1].addr[1].prefix_bits = 0);
	REFUSED("PORTS row 0: without addresses", P->addr_count = 0);
	REFUSED("PORTS row 0: without addresses", P->addr_count = POLICY_PORT_ADDRS_MAX + 1);
	REFUSED("PORTS row 0: prefix", P->addr_count = 2); // of nothing
	REFUSED("PORTS row 0: not an address", P->addr[0].addr = addr_of("224.0.0.1"));
	REFUSED("PORTS row 2: not an address", P[2].addr[0].addr = addr_of("ff02::1"));
	REFUSED("PORTS row 2: not an address", P[2].addr[0].addr = addr_of("::1"));
	REFUSED("PORTS row 2: not an address", P[2].addr[0].addr = addr_of("fe80::1"));
	REFUSED("PORTS row 2: an address that", P[2].addr[0].addr = addr_of("2001:db8:2::1"));
	REFUSED("PORTS row 1: an address that", P[1].addr[2].addr = addr_of("2001:db8:1::1"));
	REFUSED("PORTS row 0: gateway", P->addr[0].gateway = addr_of("198.51.100.1"));
	REFUSED("PORTS row 0: gateway", P->addr[0].gateway = P->addr[0].addr);
	REFUSED("PORTS row 0: gateway", P->addr[0].gateway = addr_of("fe80::1"));
	REFUSED("PORTS row 1: gateway", P[1].addr[1].gateway = addr_of("198.51.100.254"));
	REFUSED("PORTS row 1: gateway", P[1].addr[1].gateway = addr_of("2001:db8:3::2"));
	REFUSED("PORTS row 1: gateway", P[1].addr[1].gateway = addr_of("ff02::2"));
	REFUSED("PORTS row 1: no such VLAN", P[1].vlan = 4095);
	REFUSED("PORTS row 2: a device and VLAN", P[2].vlan = 20);
	REFUSED("PORTS row 0", P->device.off = UINT32_MAX);
	REFUSED("PORTS row 0", P->name.len = 0);
	REFUSED("CORES row 0", ROWS(image, struct policy_core, POLICY_CORES)->cpu = 1024);
	REFUSED("LISTENERS row 0", ROWS(image, struct policy_listener, POLICY_LISTENERS)->port = 3);
	REFUSED("LISTENERS row 0",
		ROWS(image, struct policy_listener, POLICY_LISTENERS)->tcp_port = 0);
	REFUSED("LISTENERS row 0",
		ROWS(image, struct policy_listener, POLICY_LISTENERS)->direction = 2);
	REFUSED("HOPS row 0", ROWS(image, struct policy_hop, POLICY_HOPS)->direction = 2);
	REFUSED("HOPS row 0", ROWS(image, struct policy_hop, POLICY_HOPS)->name.len = UINT32_MAX);
	REFUSED("AGENTS row 1", ROWS(image, struct policy_agent, POLICY_AGENTS)[1].priority = 1);
	REFUSED("AGENTS row 0", ROWS(image, struct policy_agent, POLICY_AGENTS)[0].priority = 0);
	REFUSED("AGENTS row 0", ROWS(image, struct policy_agent, POLICY_AGENTS)[0].priority = 99);
	REFUSED("AGENTS row 2", ROWS(image, struct policy_agent, POLICY_AGENTS)[2].enabled = 2);
	REFUSED("ORDER row", ROWS(image, struct policy_agent, POLICY_AGENTS)[2].enabled = 0);
	REFUSED("ORDER row",
		ROWS(image, struct policy_order, POLICY_ORDER)[EVENT_RCPT].agent[1] = 0);
	REFUSED("ORDER row", ROWS(image, struct policy_order, POLICY_ORDER)[EVENT_RCPT].count = 13);
	REFUSED("ORDER row", ROWS(image, struct policy_order, POLICY_ORDER)[EVENT_HELP].count = 1);
	REFUSED("IP_BLOCK row 0", B[0].bits = 129);
	REFUSED("host bits", B[1].addr.b[15] |= 1);
	REFUSED("not sorted", B[0] = B[3]);
	REFUSED("IP_BLOCK row 0", B[0].comment.off = UINT32_MAX);
	REFUSED("BLOCKED_SENDERS row 0", A[0].kind = ADDR_KIND_COUNT);
	REFUSED("BLOCKED_SENDERS row 0", A[0].text.len = 0);
	REFUSED("BLOCKED_SENDERS row 0", A[0].text.len = POLICY_ADDR_MAX + 1);
	REFUSED("lower case", ROWS(image, char, POLICY_STRINGS)[A[0].text.off] = 'B');
	REFUSED("not sorted", A[0].text = A[3].text);
	REFUSED("not sorted", A[3].kind = ADDR_EXACT); // one text, kinds out of order
	REFUSED("PHRASES row 0", ROWS(image, struct policy_phrase, POLICY_PHRASES)->influence = 2);
	REFUSED("NAMES row 0", ROWS(image, struct policy_name, POLICY_NAMES)->text.len = 0);
	REFUSED("TYPES row 1",
		ROWS(image, struct policy_type, POLICY_TYPES)[1].text.off = UINT32_MAX);
	REFUSED("TYPES row 1", ROWS(image, struct policy_type, POLICY_TYPES)[0].text =
				       ROWS(image, struct policy_name, POLICY_TYPES)[1].text;
		ROWS(image, struct policy_type, POLICY_TYPES)[1].text.len--);
}

Test(policy, equal_prefixes_longest_lived_first)
{
	struct policy_build *b = policy_build_open();
	policy_build_least(b);
	add_prefix(b, POLICY_IP_BLOCK, "192.0.2.1", 100, 1);
	add_prefix(b, POLICY_IP_BLOCK, "192.0.2.1", 0, 2);
	add_prefix(b, POLICY_IP_BLOCK, "192.0.2.1", 200, 3);
	size_t size;
	void *image = policy_build_finish(b, 1, &size);
	struct policy_view v;
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	cr_assert_eq(ip_line(&v, POLICY_IP_BLOCK, "192.0.2.1", 150), 2);
	cr_assert_eq(v.ip_block[1].line, 3);
	struct policy_head *h = image;
	ROWS(image, struct policy_prefix, POLICY_IP_BLOCK)[2].expires_s = 300;
	h->checksum = policy_checksum(image, size);
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_BAD);
	cr_assert_not_null(strstr(why_mem, "not sorted"));
	free(image);
	policy_build_close(&b);
}

Test(policy, order_follows_priorities)
{
	struct policy_build *b = full_build();
	struct policy_agent *agents = policy_build_agents(b);
	uint32_t place = agents[AGENT_connection_filtering].priority;
	agents[AGENT_connection_filtering].priority = agents[AGENT_recipient_filter].priority;
	agents[AGENT_recipient_filter].priority = place;
	agents[AGENT_sender_filter].enabled = 0;
	size_t size;
	void *image = policy_build_finish(b, 1, &size);
	struct policy_view v;
	cr_assert_eq(policy_view_open(&v, image, size, fresh_why()), POLICY_OK, "%s", why_mem);
	cr_assert_eq(v.order[EVENT_RCPT].agent[0], AGENT_recipient_filter);
	cr_assert_eq(v.order[EVENT_RCPT].agent[1], AGENT_connection_filtering);
	cr_assert_eq(v.order[EVENT_MAIL].count, 1);
	free(image);
	policy_build_close(&b);
}

Test(policy, builder_refuses_too_much)
{
	struct policy_build *b = policy_build_open();
	policy_build_least(b);
	struct policy_core core = {0};
	for (uint32_t i = 0; i < POLICY_CORES_MAX; i++)
		policy_build_row(b, POLICY_CORES, &core, sizeof(core));
	size_t size;
	cr_assert_null(policy_build_finish(b, 1, &size));
	policy_build_close(&b);
	policy_build_close(&b);
}
