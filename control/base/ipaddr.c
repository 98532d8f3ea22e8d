// SPDX-License-Identifier: Apache-2.0
// ipaddr: see ipaddr.h. Text in and out is the C library's inet_pton and inet_ntop, which are
// strict: no leading zeros in IPv4 parts, no zones, no missing parts.
#include "control/base/ipaddr.h"

#include <arpa/inet.h>
#include <string.h>

#include "control/base/bytes.h"

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct ipaddr
ipaddr_v4(uint32_t host_order)
{
	struct ipaddr a;
	memcpy(a.b, v4_prefix, sizeof(v4_prefix));
	store_be32(a.b + 12, host_order);
	return a;
}

bool
ipaddr_is_v4(const struct ipaddr *a)
{
	return memcmp(a->b, v4_prefix, sizeof(v4_prefix)) == 0;
}

uint32_t
ipaddr_to_v4(const struct ipaddr *a)
{
	CHECK(ipaddr_is_v4(a));
	return load_be32(a->b + 12);
}

bool
ipaddr_is_link_local(const struct ipaddr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

bool
ipaddr_is_unicast(const struct ipaddr *a)
{
	static const uint8_t zero[12];

	if (ipaddr_is_v4(a))
		return a->b[12] != 0 && a->b[12] != 127 && a->b[12] < 224;
	return a->b[0] != 0xff && memcmp(a->b, zero, sizeof(zero)) != 0;
}

bool
ipaddr_eq(const struct ipaddr *a, const struct ipaddr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool
ipaddr_parse(struct span s, struct ipaddr *out)
{
	CHECK(out != NULL);
	char text[IPADDR_TEXT_SIZE];
	if (s.n == 0 || s.n >= sizeof(text) || span_find(s, 0) >= 0)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (span_find(s, ':') >= 0)
		return inet_pton(AF_INET6, text, out->b) == 1;
	uint8_t v4[4];
	if (inet_pton(AF_INET, text, v4) != 1)
		return false;
	*out = ipaddr_v4(load_be32(v4));
	return true;
}

void
ipaddr_format(struct strbuf *b, const struct ipaddr *a)
{
	char text[INET6_ADDRSTRLEN];
	const char *done;
	if (ipaddr_is_v4(a))
		done = inet_ntop(AF_INET, a->b + 12, text, sizeof(text));
	else
		done = inet_ntop(AF_INET6, a->b, text, sizeof(text));
	CHECK(done != NULL);
	strbuf_add_str(b, done);
}

struct ipaddr
ipaddr_mask(const struct ipaddr *a, uint8_t bits)
{
	CHECK(bits <= 128);
	struct ipaddr m = {{0}};
	memcpy(m.b, a->b, bits / 8);
	if (bits % 8 != 0)
		m.b[bits / 8] = a->b[bits / 8] & (uint8_t)(0xff00 >> (bits % 8));
	return m;
}

bool
ipprefix_parse(struct span s, struct ipprefix *out)
{
	CHECK(out != NULL);
	int64_t slash = span_find(s, '/');
	struct span host = slash < 0 ? s : span_sub(s, 0, (uint32_t)slash);
	struct ipprefix p = {.bits = 128};
	if (!ipaddr_parse(host, &p.addr))
		return false;
	if (slash >= 0) {
		struct span len = span_from(s, (uint32_t)slash + 1);
		bool v4_text = span_find(host, ':') < 0;
		uint64_t bits;
		if (!span_u64(len, v4_text ? 32 : 128, &bits) || (len.n > 1 && len.p[0] == '0'))
			return false;
		p.bits = (uint8_t)(v4_text ? 96 + bits : bits);
	}
	struct ipaddr masked = ipaddr_mask(&p.addr, p.bits);
	if (!ipaddr_eq(&masked, &p.addr))
		return false;
	*out = p;
	return true;
}

void
ipprefix_format(struct strbuf *b, const struct ipprefix *p)
{
	ipaddr_format(b, &p->addr);
	if (p->bits == 128)
		return;
	bool v4 = ipaddr_is_v4(&p->addr) && p->bits >= 96;
	strbuf_add_char(b, '/');
	strbuf_add_u64(b, v4 ? p->bits - 96u : p->bits);
}

bool
ipprefix_is_all(const struct ipprefix *p)
{
	return p->bits == 0 || (p->bits == 96 && ipaddr_is_v4(&p->addr));
}

bool
ipprefix_has(const struct ipprefix *p, const struct ipaddr *a)
{
	struct ipaddr masked = ipaddr_mask(a, p->bits);

	if (p->bits < 96 && ipaddr_is_v4(a))
		return false;
	return ipaddr_eq(&masked, &p->addr);
}
