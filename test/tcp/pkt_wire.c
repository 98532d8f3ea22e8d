// SPDX-License-Identifier: Apache-2.0
// pkt_wire: frames, written and read by hand: Ethernet, VLAN, ARP, IPv4, IPv6, ICMP, TCP. Slow and
// plain on purpose, and independent of the product's own.
#include <stdio.h>
#include <string.h>

#include "test/sim/lib/framesum.h"
#include "test/tcp/pkt.h"

uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

// What stands in a header. `sum` is what was added before.
static uint16_t
wire_sum(const uint8_t *p, uint32_t n, uint64_t sum)
{
	return (uint16_t)~framesum(p, n, sum);
}

static uint64_t
pseudo_sum(const uint8_t *ip, uint8_t proto, uint32_t n)
{
	bool is6 = ip[0] >> 4 == 6;

	return framesum_add(proto + n, is6 ? ip + 8 : ip + 12, is6 ? 32 : 8);
}

static void
v6_addr(uint8_t *p, uint32_t v4) // the script's world in IPv6: 2001:db8::<IPv4 address>
{
	memset(p, 0, 16);
	put32(p, 0x20010db8);
	put32(p + 12, v4);
}

// Ethernet and IP headers; returns where the transport's begins. The lengths come later.
static uint8_t *
head(uint8_t *f, const struct pkt_out *o, uint8_t proto)
{
	static const struct pkt_mods none = {.ttl = -1, .fragoff = -1, .proto = -1, .vlan = -1};
	const struct pkt_mods *m = o->mod != NULL ? o->mod : &none;
	uint8_t *p = f + 12;

	memcpy(f, o->dst_mac, 6);
	memcpy(f + 6, o->src_mac, 6);
	if (m->vlan >= 0) {
		put16(p, 0x8100);
		put16(p + 2, (uint32_t)m->vlan);
		p += 4;
	}
	put16(p, o->is_ipv6 ? 0x86dd : 0x0800);
	p += 2;
	uint8_t ttl = (uint8_t)(m->ttl >= 0 ? m->ttl : 64);
	if (m->proto >= 0)
		proto = (uint8_t)m->proto;
	if (o->is_ipv6) {
		memset(p, 0, 40);
		p[0] = 0x60;
		p[6] = proto;
		p[7] = ttl;
		v6_addr(p + 8, o->src);
		v6_addr(p + 24, o->dst);
		return p + 40;
	}
	uint32_t opt_n = (m->ipopt_n + 3) & ~3u;
	memset(p, 0, 20 + opt_n);
	p[0] = (uint8_t)(0x45 + opt_n / 4);
	put16(p + 4, 0x1234);
	put16(p + 6, (m->no_df || m->more_fragments || m->fragoff >= 0 ? 0 : 0x4000) |
			     (m->more_fragments ? 0x2000 : 0) |
			     (uint32_t)(m->fragoff > 0 ? m->fragoff / 8 : 0));
	p[8] = ttl;
	p[9] = proto;
	put32(p + 12, o->src);
	put32(p + 16, o->dst);
	memcpy(p + 20, m->ipopt, m->ipopt_n);
	return p + 20 + opt_n;
}

static uint32_t
finish(uint8_t *f, const struct pkt_out *o, uint8_t *l4, uint32_t n)
{
	static const struct pkt_mods none = {.iplen = -1, .vlan = -1};
	const struct pkt_mods *m = o->mod != NULL ? o->mod : &none;
	uint8_t *ip = f + 14 + (m->vlan >= 0 ? 4 : 0);
	uint32_t total = (uint32_t)(l4 - ip) + n;

	if (o->is_ipv6) {
		put16(ip + 4, m->iplen >= 0 ? (uint32_t)m->iplen : total - 40);
	} else {
		put16(ip + 2, m->iplen >= 0 ? (uint32_t)m->iplen : total);
		put16(ip + 10, 0);
		put16(ip + 10, wire_sum(ip, (uint32_t)(l4 - ip), 0));
		if (m->bad_ip_sum)
			ip[10] ^= 0x55;
	}
	uint32_t len = (uint32_t)(ip - f) + total;
	memset(f + len, 0xa5, m->pad); // padding need not be zero
	len += m->pad;
	return m->cut > 0 && m->cut < len ? len - m->cut : len;
}

uint32_t
wire_tcp(uint8_t *f, uint32_t size, const struct pkt_out *o)
{
	const struct pkt_mods *m = o->mod;
	uint8_t *t = head(f, o, 6), *ip;
	uint32_t opt_n = (o->opt_n + 3) & ~3u, n = 20 + opt_n + o->len;

	if ((uint32_t)(t - f) + n + m->pad > size)
		return 0;
	memset(t, 0, 20 + opt_n);
	put16(t, o->sport);
	put16(t + 2, o->dport);
	put32(t + 4, o->seq);
	put32(t + 8, o->ack);
	t[12] = (uint8_t)((m->doff >= 0 ? (uint32_t)m->doff : 5 + opt_n / 4) << 4 | m->reserved);
	t[13] = (uint8_t)o->flags;
	put16(t + 14, o->win);
	put16(t + 18, m->urg);
	memcpy(t + 20, o->opt, o->opt_n);
	if (o->len > 0)
		memcpy(t + 20 + opt_n, o->data, o->len);
	ip = f + 14 + (m->vlan >= 0 ? 4 : 0);
	put16(t + 16, wire_sum(t, n, pseudo_sum(ip, 6, n)));
	if (m->bad_tcp_sum)
		t[16] ^= 0x55;
	return finish(f, o, t, n);
}

// o->data: what follows the first eight bytes.
uint32_t
wire_icmp(uint8_t *f, const struct pkt_out *o, uint8_t type, uint8_t code, uint32_t mtu)
{
	uint8_t proto = o->is_ipv6 ? 58 : 1;
	uint8_t *t = head(f, o, proto);

	t[0] = type;
	t[1] = code;
	put16(t + 2, 0);
	put32(t + 4, mtu);
	memcpy(t + 8, o->data, o->len);
	put16(t + 2,
	      wire_sum(t, 8 + o->len, o->is_ipv6 ? pseudo_sum(f + 14, proto, 8 + o->len) : 0));
	return finish(f, o, t, 8 + o->len);
}

// 0: no request that wants an answer.
uint32_t
wire_arp_reply(uint8_t *f, const uint8_t *q, const uint8_t mac[6])
{
	const uint8_t *a = q + 14;

	if (get16(a + 6) != 1 || memcmp(a + 14, a + 24, 4) == 0)
		return 0;
	memcpy(f, a + 8, 6);
	memcpy(f + 6, mac, 6);
	put16(f + 12, 0x0806);
	uint8_t *p = f + 14;
	memcpy(p, a, 6);
	put16(p + 6, 2);
	memcpy(p + 8, mac, 6);
	memcpy(p + 14, a + 24, 4);
	memcpy(p + 18, a + 8, 10);
	return 42;
}

// Who has o->dst? It tells the appliance where o->src is.
uint32_t
wire_arp_request(uint8_t *f, const struct pkt_out *o)
{
	static const uint8_t start[8] = {0, 1, 8, 0, 6, 4, 0, 1};

	memset(f, 0xff, 6);
	memcpy(f + 6, o->src_mac, 6);
	put16(f + 12, 0x0806);
	memcpy(f + 14, start, 8);
	memcpy(f + 22, o->src_mac, 6);
	put32(f + 28, o->src);
	memset(f + 32, 0, 6);
	put32(f + 38, o->dst);
	return 42;
}

// A neighbour solicitation that is no duplicate address detection gets its advertisement.
uint32_t
wire_nd_reply(uint8_t *f, const uint8_t *q, uint32_t n, const uint8_t mac[6])
{
	static const uint8_t zero[16];
	const uint8_t *ip = q + 14, *icmp = ip + 40;

	if (n < 14 + 40 + 24 || ip[6] != 58 || icmp[0] != 135 || memcmp(ip + 8, zero, 16) == 0)
		return 0;
	memcpy(f, q + 6, 6);
	memcpy(f + 6, mac, 6);
	put16(f + 12, 0x86dd);
	uint8_t *p = f + 14;
	memset(p, 0, 40 + 32);
	p[0] = 0x60;
	put16(p + 4, 32);
	p[6] = 58;
	p[7] = 255;
	memcpy(p + 8, icmp + 8, 16); // the target speaks
	memcpy(p + 24, ip + 8, 16);
	p[40] = 136;
	p[44] = 0x60; // solicited, override
	memcpy(p + 48, icmp + 8, 16);
	p[64] = 2;
	p[65] = 1;
	memcpy(p + 66, mac, 6);
	put16(p + 42, wire_sum(p + 40, 32, pseudo_sum(p, 58, 32)));
	return 14 + 72;
}

static const char *
read_options(struct pkt_seg *s, const uint8_t *o, uint32_t n)
{
	for (uint32_t i = 0; i < n && o[i] != 0;) {
		if (o[i] == 1) {
			i++;
			continue;
		}
		if (i + 1 >= n || o[i + 1] < 2 || i + o[i + 1] > n)
			return "an option's length is wrong";
		uint32_t len = o[i + 1];
		const uint8_t *v = o + i + 2;

		if (o[i] == 2 && len == 4) {
			s->opts |= OPT_MSS;
			s->mss = get16(v);
		} else if (o[i] == 3 && len == 3) {
			s->opts |= OPT_WSCALE;
			s->wscale = v[0];
		} else if (o[i] == 4 && len == 2) {
			s->opts |= OPT_SACK_OK;
		} else if (o[i] == 5 && (len - 2) % 8 == 0 && len > 2 && len <= 34) {
			s->opts |= OPT_SACK;
			s->sack_count = (len - 2) / 8;
			for (uint32_t b = 0; b < s->sack_count; b++) {
				s->sack[b][0] = get32(v + 8 * b);
				s->sack[b][1] = get32(v + 8 * b + 4);
			}
		} else if (o[i] == 8 && len == 10) {
			s->opts |= OPT_TS;
			s->tsval = get32(v);
			s->tsecr = get32(v + 4);
		} else {
			return "an unknown option, or one of the wrong size";
		}
		i += len;
	}
	return NULL;
}

static const char *
read_tcp(struct pkt_seg *s, const uint8_t *ip, const uint8_t *t, uint32_t n)
{
	if (n < 20)
		return "too short for TCP";
	if (wire_sum(t, n, pseudo_sum(ip, 6, n)) != 0)
		return "bad TCP checksum";
	uint32_t size = (uint32_t)(t[12] >> 4) * 4;

	if (size < 20 || size > n)
		return "bad data offset";
	if (t[12] & 15)
		return "reserved bits are not zero";
	s->sport = get16(t);
	s->dport = get16(t + 2);
	s->seq = get32(t + 4);
	s->ack = get32(t + 8);
	s->flags = t[13];
	s->win = get16(t + 14);
	s->urg = get16(t + 18);
	s->opt_n = size - 20;
	s->len = n - size;
	if (s->len > sizeof(s->data))
		return "longer than an Ethernet frame";
	memcpy(s->data, t + size, s->len);
	return read_options(s, t + 20, size - 20);
}

const char *
wire_read(const uint8_t *f, uint32_t n, struct pkt_seg *s)
{
	const uint8_t *ip, *t;
	uint32_t total, size;
	uint8_t proto;

	memset(s, 0, offsetof(struct pkt_seg, data));
	s->quote_n = 0;
	if (n > 18 && get16(f + 12) == 0x8100) { // the caller looks at the tag
		f += 4;
		n -= 4;
	}
	ip = f + 14;
	if (n < 14 + 20)
		return "too short for IP";
	if (get16(f + 12) == 0x86dd) {
		if (n < 54 || ip[0] >> 4 != 6 || get16(ip + 4) + 54u > n)
			return "bad IPv6 header";
		s->is_ipv6 = true;
		size = 40;
		total = 40u + get16(ip + 4);
		proto = ip[6];
	} else {
		size = (ip[0] & 15u) * 4;
		total = get16(ip + 2);
		proto = ip[9];
		if (ip[0] >> 4 != 4 || size != 20 || total < size || total + 14 > n)
			return "bad IPv4 header";
		if (wire_sum(ip, 20, 0) != 0)
			return "bad IPv4 header checksum";
		if ((get16(ip + 6) & 0x3fff) != 0)
			return "it is a fragment";
		if (ip[8] < 32)
			return "its TTL is small";
	}
	if (total > 1500)
		return "larger than the MTU";
	t = ip + size;
	s->ip_n = total;
	s->quote_n = total < sizeof(s->quote) ? total : (uint32_t)sizeof(s->quote);
	memcpy(s->quote, ip, s->quote_n);
	if (proto == 6)
		return read_tcp(s, ip, t, total - size);
	if (proto != 1 && proto != 58)
		return "neither TCP nor ICMP";
	if (total - size < 8 ||
	    wire_sum(t, total - size, proto == 58 ? pseudo_sum(ip, 58, total - size) : 0) != 0)
		return "bad ICMP checksum";
	s->is_icmp = true;
	s->icmp_type = t[0];
	s->icmp_code = t[1];
	s->len = total - size - 8;
	memcpy(s->data, t + 8, s->len < sizeof(s->data) ? s->len : sizeof(s->data));
	return NULL;
}
