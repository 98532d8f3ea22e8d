// SPDX-License-Identifier: Apache-2.0
// Fuzzes the policy image: whatever policy_view_open accepts, every lookup must survive.
//
// The input's first byte chooses. Odd: the rest is the image itself, with magic, version, size and
// checksum put right, so that the fuzzer gets past them. Even: the rest are edits of three or six
// bytes in a sound image that is built here; such seeds stay good when the format changes.
#include <stdlib.h>
#include <string.h>

#include "control/abi/policy_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
add_addr(struct policy_build *b, enum policy_section_id s, struct span text,
	 enum policy_addr_kind kind)
{
	struct policy_addr row = {policy_build_str(b, text), kind, 7};
	policy_build_row(b, s, &row, sizeof(row));
}

static void
add_prefix(struct policy_build *b, enum policy_section_id s, struct span text, uint64_t expires_s)
{
	struct ipprefix p;
	bool ok = ipprefix_parse(text, &p);
	CHECK(ok);
	struct policy_prefix row = {.addr = p.addr, .bits = p.bits, .expires_s = expires_s};
	policy_build_row(b, s, &row, sizeof(row));
}

static void *
sound_image(size_t *size)
{
	struct policy_build *b = policy_build_open();
	CHECK(b != NULL);
	policy_build_least(b);
	add_prefix(b, POLICY_IP_BLOCK, SPAN_LIT("192.0.2.0/24"), 0);
	add_prefix(b, POLICY_IP_BLOCK, SPAN_LIT("192.0.2.0/25"), 99);
	add_prefix(b, POLICY_IP_BLOCK, SPAN_LIT("192.0.2.1"), 5);
	add_prefix(b, POLICY_IP_ALLOW, SPAN_LIT("2001:db8::/32"), 0);
	add_addr(b, POLICY_BLOCKED_SENDERS, SPAN_LIT("a@b.example"), ADDR_EXACT);
	add_addr(b, POLICY_BLOCKED_SENDERS, SPAN_LIT("b.example"), ADDR_DOMAIN);
	add_addr(b, POLICY_BLOCKED_SENDERS, SPAN_LIT("example"), ADDR_DOMAIN_AND_SUBDOMAINS);
	add_addr(b, POLICY_RECIPIENTS, SPAN_LIT("c@d.example"), ADDR_EXACT);
	add_addr(b, POLICY_ACCEPTED_DOMAINS, SPAN_LIT("d.example"), ADDR_DOMAIN);
	struct policy_phrase phrase = {policy_build_str(b, SPAN_LIT("buy")), INFLUENCE_BAD_WORD, 1};
	policy_build_row(b, POLICY_PHRASES, &phrase, sizeof(phrase));
	struct policy_name name = {policy_build_str(b, SPAN_LIT("*.exe")), 2};
	policy_build_row(b, POLICY_NAMES, &name, sizeof(name));
	struct policy_type type = {policy_build_str(b, SPAN_LIT("a/b")), 3};
	policy_build_row(b, POLICY_TYPES, &type, sizeof(type));
	type.text = policy_build_str(b, SPAN_LIT("c/d"));
	policy_build_row(b, POLICY_TYPES, &type, sizeof(type));
	void *image = policy_build_finish(b, 1, size);
	CHECK(image != NULL);
	policy_build_close(&b);
	return image;
}

static void
edit(uint8_t *image, size_t size, const uint8_t *data, size_t n)
{
	while (n >= 3) {
		size_t off = (size_t)(data[0] | (data[1] & 0x7f) << 8) % size;
		size_t len = data[1] & 0x80 ? 4 : 1;
		if (n < 2 + len)
			break;
		memcpy(image + off, data + 2, MIN(len, size - off));
		data += 2 + len;
		n -= 2 + len;
	}
}

static volatile uint64_t sink; // keeps the reads from being optimised away

static void
read_text(const struct policy_view *v, struct policy_str s)
{
	struct span text = policy_text(v, s);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < text.n; i++)
		sum += text.p[i];
	sink += sum;
}

static void
look_up(const struct policy_view *v)
{
	static const enum policy_section_id lists[] = {
		POLICY_ACCEPTED_DOMAINS, POLICY_BLOCKED_SENDERS, POLICY_BLOCKED_RECIPIENTS,
		POLICY_RECIPIENTS};
	static const char *const addresses[] = {
		"a@b.example", "x@y.b.example.",       "d.example", "",   "@",
		".",           "\"c\\\\d\"@d.example", "\"\"@",     "\"@"};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (size_t k = 0; k < ARRAY_LEN(addresses); k++)
			sink += policy_addr_find(v, lists[i], span_str(addresses[k])) != NULL;
	for (uint64_t now = 0; now < 200; now += 50) {
		struct ipaddr a = ipaddr_v4(0xc0000201);
		sink += policy_ip_find(v, POLICY_IP_BLOCK, &a, now) != NULL;
		a.b[0] = 0x20;
		sink += policy_ip_find(v, POLICY_IP_ALLOW, &a, now) != NULL;
	}
	sink += policy_type_find(v, SPAN_LIT("A/b")) != NULL;
	for (uint32_t e = 0; e < EVENT_COUNT; e++)
		for (uint32_t i = 0; i < v->order[e].count; i++)
			CHECK(v->order[e].agent[i] < AGENT_COUNT);
	for (uint32_t i = 0; i < v->count[POLICY_LISTENERS]; i++)
		read_text(v, v->ports[v->listeners[i].port].device);
	for (uint32_t i = 0; i < v->count[POLICY_PORTS]; i++) {
		CHECK(v->ports[i].vlan <= POLICY_VLAN_MAX);
		CHECK(v->ports[i].addr_count >= 1);
		CHECK(v->ports[i].addr_count <= POLICY_PORT_ADDRS_MAX);
		sink += policy_port_has_v6(&v->ports[i]);
	}
	for (uint32_t i = 0; i < v->count[POLICY_PHRASES]; i++)
		read_text(v, v->phrases[i].text);
	for (uint32_t i = 0; i < v->count[POLICY_NAMES]; i++)
		read_text(v, v->names[i].text);
	read_text(v, v->settings->server_hostname);
	read_text(v, v->settings->content_filter_rejection_response);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 1u << 20)
		return 0;
	uint8_t *image;
	size_t image_size;
	if (data[0] & 1) {
		image_size = size - 1;
		image = malloc(image_size > 0 ? image_size : 1);
		CHECK(image != NULL);
		memcpy(image, data + 1, image_size);
	} else {
		image = sound_image(&image_size);
		edit(image, image_size, data + 1, size - 1);
	}
	if (image_size >= sizeof(struct policy_head)) {
		struct policy_head *h = (struct policy_head *)(void *)image;
		h->magic = POLICY_MAGIC;
		h->version = POLICY_VERSION;
		h->size = image_size;
		h->checksum = policy_checksum(image, image_size);
	}
	char mem[200];
	struct strbuf why;
	struct policy_view v;
	strbuf_init(&why, mem, sizeof(mem));
	if (policy_view_open(&v, image, image_size, &why) == POLICY_OK)
		look_up(&v);
	else
		CHECK(why.len > 0);
	free(image);
	return 0;
}
