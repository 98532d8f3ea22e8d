// SPDX-License-Identifier: Apache-2.0
// crowd: see the header. One frame at a time, its checksums made the slow way.
#include "test/sim/lib/crowd.h"

#include <stdlib.h>
#include <string.h>

#include "test/sim/lib/framesum.h"

#define PORT_FIRST 2000u
#define ADDR_FIRST 64u // last byte of the first one
#define TCP_FLAG_FIN 1u
#define TCP_FLAG_SYN 2u
#define TCP_FLAG_RST 4u
#define TCP_FLAG_PSH 8u
#define TCP_FLAG_ACK 16u
#define SEG_MAX 1400u

static const uint8_t crowd_mac[6] = {2, 0, 0, 0, 0, 0x77};

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

struct ipaddr
crowd_addr(const struct crowd *c, uint32_t i)
{
	struct ipaddr a = testpolicy_addr(TEST_CLIENT, c->is_v6);

	a.b[15] = (uint8_t)(ADDR_FIRST + i % CROWD_ADDRS);
	if (c->has_nets) {
		a.b[5] = 1;
		a.b[7] = (uint8_t)(i % CROWD_NETS);
	}
	return a;
}

static bool
is_ours(const struct crowd *c, const struct ipaddr *a)
{
	struct ipaddr own = crowd_addr(c, a->b[15] - ADDR_FIRST);

	return ipaddr_eq(&own, a);
}

static struct ipaddr
addr_at(const uint8_t *p, bool is_v6)
{
	struct ipaddr a;

	if (!is_v6)
		return ipaddr_v4(get32(p));
	memcpy(a.b, p, 16);
	return a;
}

// --- making frames ---

static uint32_t
eth_put(const struct crowd *c, uint8_t *f, uint16_t type)
{
	memcpy(f, vnet_port(c->a->link[0], VNET_B)->mac, 6);
	memcpy(f + 6, crowd_mac, 6);
	put16(f + 12, type);
	return 14;
}

// The IP header before `n` bytes of payload; returns its size, and the pseudo header's sum.
static uint32_t
ip_put(const struct crowd *c, uint8_t *ip, const struct ipaddr *src, uint8_t proto, uint32_t n,
       uint64_t *sum)
{
	struct ipaddr dst = testpolicy_addr(TEST_OUTSIDE, c->is_v6);
	uint32_t at = c->is_v6 ? 0 : 12, addr = 16 - at;

	memset(ip, 0, 40);
	memcpy(ip + (c->is_v6 ? 8 : 12), src->b + at, addr);
	memcpy(ip + (c->is_v6 ? 24 : 16), dst.b + at, addr);
	*sum = framesum_add(proto + n, ip + (c->is_v6 ? 8 : 12), 2 * addr);
	if (c->is_v6) {
		ip[0] = 0x60;
		put16(ip + 4, (uint16_t)n);
		ip[6] = proto;
		ip[7] = proto == 6 ? 64 : 255;
		return 40;
	}
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(20 + n));
	ip[8] = 64;
	ip[9] = proto;
	put16(ip + 10, (uint16_t)~framesum_fold(framesum_add(0, ip, 20)));
	return 20;
}

static void
seg_send(struct crowd *c, uint32_t i, uint8_t flags, uint32_t seq, struct span s)
{
	uint8_t f[PORT_FRAME_SIZE];
	struct member *m = &c->m[i];
	struct ipaddr src = crowd_addr(c, i);
	uint32_t header = flags & TCP_FLAG_SYN ? 24 : 20;
	uint64_t sum;
	uint32_t at = eth_put(c, f, c->is_v6 ? 0x86dd : 0x0800);

	CHECK(s.n <= SEG_MAX);
	at += ip_put(c, f + at, &src, 6, header + s.n, &sum);
	uint8_t *t = f + at;
	memset(t, 0, header);
	put16(t, (uint16_t)(PORT_FIRST + i));
	put16(t + 2, TEST_SMTP_PORT);
	put32(t + 4, seq);
	put32(t + 8, flags & TCP_FLAG_ACK ? m->ack : 0);
	t[12] = (uint8_t)(header / 4 << 4);
	t[13] = flags;
	put16(t + 14, (uint16_t)m->window);
	if (flags & TCP_FLAG_SYN)
		put32(t + 20, 0x02040000u | SEG_MAX);
	if (s.n > 0)
		memcpy(t + header, s.p, s.n);
	put16(t + 16, (uint16_t)~framesum_fold(framesum_add(sum, t, header + s.n)));
	c->out++;
	(void)vnet_inject(c->a->link[0], VNET_A, span_of(f, at + header + s.n));
}

// "Who has?", of ARP or of neighbour discovery: all members live behind one station address.
static void
neighbour_answer(struct crowd *c, struct span in)
{
	uint8_t f[128];
	uint64_t sum;

	if (!c->is_v6) {
		const uint8_t *q = in.p + 14;
		struct ipaddr target = addr_at(q + 24, false);
		if (in.n < 42 || q[7] != 1 || !is_ours(c, &target))
			return;
		uint32_t at = eth_put(c, f, 0x0806);
		memcpy(f + at, q, 28);
		f[at + 7] = 2;
		memcpy(f + at + 8, crowd_mac, 6);
		memcpy(f + at + 14, q + 24, 4);
		memcpy(f + at + 18, q + 8, 10);
		(void)vnet_inject(c->a->link[0], VNET_A, span_of(f, at + 28));
		return;
	}
	const uint8_t *q = in.p + 54;
	if (in.n < 54 + 24 || q[0] != 135)
		return;
	struct ipaddr target = addr_at(q + 8, true);
	if (!is_ours(c, &target))
		return;
	uint32_t at = eth_put(c, f, 0x86dd);
	at += ip_put(c, f + at, &target, 58, 32, &sum);
	// Who asked may have used a link-local address: the answer goes there.
	memcpy(f + 14 + 24, in.p + 14 + 8, 16);
	sum = framesum_add(58 + 32, f + 14 + 8, 32);
	uint8_t *n = f + at;
	memset(n, 0, 32);
	n[0] = 136;
	n[4] = 0x60; // solicited, override
	memcpy(n + 8, target.b, 16);
	n[24] = 2;
	n[25] = 1;
	memcpy(n + 26, crowd_mac, 6);
	put16(n + 2, (uint16_t)~framesum_fold(framesum_add(sum, n, 32)));
	(void)vnet_inject(c->a->link[0], VNET_A, span_of(f, at + 32));
}

void
crowd_meet(struct crowd *c)
{
	uint8_t f[64] = {0};
	static const uint8_t arp[8] = {0, 1, 8, 0, 6, 4, 0, 1};

	for (uint32_t i = 0; i < CROWD_ADDRS && !c->is_v6; i++) {
		struct ipaddr a = crowd_addr(c, i);
		uint32_t at = eth_put(c, f, 0x0806);

		memcpy(f + at, arp, sizeof(arp));
		memcpy(f + at + 8, crowd_mac, 6);
		put32(f + at + 14, ipaddr_to_v4(&a));
		put32(f + at + 24, TEST_OUTSIDE_IP);
		(void)vnet_inject(c->a->link[0], VNET_A, span_of(f, at + 28));
	}
}

// --- members ---

static void
member_ended(struct crowd *c, struct member *m, enum member_state s)
{
	m->state = s;
	if (m->ended_us == 0)
		m->ended_us = c->a->now_us;
}

static void
member_reply(struct crowd *c, uint32_t i, struct span s)
{
	struct member *m = &c->m[i];

	m->last_code =
		s.n >= 3 ? (uint16_t)((s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + s.p[2] - '0')
			 : 0;
	if (m->last_code == 354)
		m->body_seq = m->seq;
	if (m->replies++ == 0)
		m->code = m->last_code;
	if (m->script == NULL || *m->script == NULL || m->last_code >= 400)
		return;
	const char *line = *m->script++;
	crowd_say(c, i, span_str(line));
}

static void
member_bytes(struct crowd *c, uint32_t i, uint32_t seq, struct span s, bool has_fin)
{
	struct member *m = &c->m[i];

	if (seq != m->ack) {
		crowd_ack(c, i);
		return;
	}
	if (s.n > m->window) { // a probe of a closed window
		crowd_ack(c, i);
		return;
	}
	m->ack += s.n + has_fin;
	if (m->is_filling)
		m->window -= s.n;
	if (has_fin)
		m->has_fin = true;
	crowd_ack(c, i);
	if (s.n > 0)
		member_reply(c, i, s);
	if (has_fin)
		member_ended(c, m, MEMBER_ENDED);
}

static void
seg_input(struct crowd *c, const uint8_t *t, uint32_t n)
{
	uint32_t i = (uint32_t)get16(t + 2) - PORT_FIRST, header = t[12] >> 4 << 2;

	if (get16(t + 2) < PORT_FIRST || i >= c->count || n < header || c->is_deaf)
		return;
	struct member *m = &c->m[i];
	uint32_t seq = get32(t + 4);
	uint8_t flags = t[13];

	c->in++;
	if (m->state == MEMBER_NONE || m->is_deaf)
		return;
	if (flags & TCP_FLAG_RST) {
		c->resets++;
		member_ended(c, m, MEMBER_RESET);
		return;
	}
	if (flags & TCP_FLAG_ACK) {
		m->acked = get32(t + 8);
		m->edge = m->acked + get16(t + 14); // we never ask for a scale
	}
	if (flags & TCP_FLAG_SYN) {
		if (m->state != MEMBER_SYN)
			return;
		m->state = MEMBER_OPEN;
		m->ack = seq + 1;
		crowd_ack(c, i);
		return;
	}
	struct span s = span_of(t + header, n - header);
	bool has_fin = flags & TCP_FLAG_FIN;
	if (s.n > 0 || has_fin)
		member_bytes(c, i, seq, s, has_fin);
	else if (seq != m->ack) // a keepalive
		crowd_ack(c, i);
}

static void
crowd_tap(void *ctx, struct span f, enum vnet_end from, uint64_t now_us)
{
	struct crowd *c = ctx;
	uint16_t type = get16(f.p + 12);
	uint32_t ip = c->is_v6 ? 40 : 20;

	(void)now_us;
	if (from != VNET_B)
		return;
	if (type == 0x0806 || (type == 0x86dd && f.n > 54 && f.p[20] == 58)) {
		neighbour_answer(c, f);
		return;
	}
	if (type != (c->is_v6 ? 0x86dd : 0x0800) || f.n < 14 + ip + 20)
		return;
	struct ipaddr to = addr_at(f.p + (c->is_v6 ? 14 + 24 : 14 + 16), c->is_v6);
	uint32_t size = c->is_v6 ? 40u + get16(f.p + 18) : get16(f.p + 16);
	if (is_ours(c, &to) && f.p[c->is_v6 ? 20 : 23] == 6 && size >= ip + 20 && 14 + size <= f.n)
		seg_input(c, f.p + 14 + ip, size - ip);
}

void
crowd_open(struct crowd *c, struct appliance *a, uint32_t count, bool is_v6)
{
	CHECK(count <= CROWD_MAX);
	*c = (struct crowd){.a = a, .count = count, .is_v6 = is_v6};
	c->m = calloc(MAX(count, 1u), sizeof(*c->m));
	CHECK(c->m != NULL);
	vnet_link_tap(a->link[0], crowd_tap, c);
}

void
crowd_close(struct crowd *c)
{
	if (c->a != NULL)
		vnet_link_tap(c->a->link[0], NULL, NULL);
	free(c->m);
	*c = (struct crowd){0};
}

void
crowd_syn(struct crowd *c, uint32_t i)
{
	struct member *m = &c->m[i];
	const struct member was = *m;

	// A new name each time would cost ports; a number far above the old one does as well.
	*m = (struct member){.seq = was.seq + 1000000 + i * 7919u,
			     .window = was.window > 0 ? was.window : 65535,
			     .state = MEMBER_SYN,
			     .is_deaf = was.is_deaf,
			     .is_filling = was.is_filling,
			     .script = was.script};
	m->acked = m->edge = m->seq;
	seg_send(c, i, TCP_FLAG_SYN, m->seq++, SPAN_NONE);
}

void
crowd_say_at(struct crowd *c, uint32_t i, uint32_t at, struct span s)
{
	seg_send(c, i, TCP_FLAG_PSH | TCP_FLAG_ACK, c->m[i].seq + at, s);
}

void
crowd_say(struct crowd *c, uint32_t i, struct span s)
{
	crowd_say_at(c, i, 0, s);
	c->m[i].seq += s.n;
}

void
crowd_fin(struct crowd *c, uint32_t i)
{
	seg_send(c, i, TCP_FLAG_FIN | TCP_FLAG_ACK, c->m[i].seq++, SPAN_NONE);
}

void
crowd_rst(struct crowd *c, uint32_t i)
{
	struct member *m = &c->m[i];

	seg_send(c, i, TCP_FLAG_RST, m->seq, SPAN_NONE);
	if (m->state == MEMBER_OPEN && m->acked != m->seq) // what was dropped is still expected
		seg_send(c, i, TCP_FLAG_RST, m->acked, SPAN_NONE);
	m->state = MEMBER_NONE;
}

void
crowd_ack(struct crowd *c, uint32_t i)
{
	seg_send(c, i, TCP_FLAG_ACK, c->m[i].seq, SPAN_NONE);
}

uint32_t
crowd_room(const struct crowd *c, uint32_t i)
{
	int32_t room = (int32_t)(c->m[i].edge - c->m[i].seq);

	return room > 0 ? (uint32_t)room : 0;
}

uint32_t
crowd_in_state(const struct crowd *c, enum member_state s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->count; i++)
		n += c->m[i].state == s;
	return n;
}
