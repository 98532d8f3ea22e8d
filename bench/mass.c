// SPDX-License-Identifier: Apache-2.0
// mass: see mass.h.

#include "bench/mass.h"

#include <stdlib.h>
#include <string.h>

#include "control/base/bytes.h"

#define FIRST_ADDR 0x0a000001u
#define FIRST_PORT 20000u
#define ISS 1000u
#define FIN 1u
#define SYN 2u
#define RST 4u
#define PSH 8u
#define ACK 16u

struct reply { // a segment to the server
	uint32_t client_addr, seq, ack, tsval, tsecr;
	uint16_t client_port;
	uint8_t flags;
	const char *text;
};

static uint16_t
sum16(const uint8_t *p, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i + 1 < n; i += 2)
		sum += load_be16(p + i);
	if (n & 1)
		sum += (uint32_t)p[n - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void
put(struct mass *c, const struct reply *r)
{
	static const uint8_t syn_options[] = {2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7};
	uint32_t n = r->text != NULL ? (uint32_t)strlen(r->text) : 0;
	uint32_t options = 12 + (r->flags & SYN ? 12 : 0), tcp = 20 + options;

	CHECK(c->head - c->tail < MASS_QUEUE);
	uint8_t *f = c->queue[c->head % MASS_QUEUE].data, *ip = f + 14, *t = ip + 20;

	CHECK(14 + 20 + tcp + n <= sizeof(c->queue[0].data));
	memcpy(f, c->server_mac, 6);
	memcpy(f + 6, c->port.mac, 6);
	f[11] = 1; // not our own: the clients are behind a router
	store_be16(f + 12, 0x0800);
	memset(ip, 0, 20 + tcp);
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)(20 + tcp + n));
	ip[8] = 64;
	ip[9] = 6;
	store_be32(ip + 12, r->client_addr);
	store_be32(ip + 16, c->server);
	store_be16(ip + 10, sum16(ip, 20, 0));
	store_be16(t, r->client_port);
	store_be16(t + 2, 25);
	store_be32(t + 4, r->seq);
	store_be32(t + 8, r->ack);
	t[12] = (uint8_t)(tcp / 4 << 4);
	t[13] = r->flags;
	store_be16(t + 14, 65535);
	store_be32(t + 20, 0x0101080a);
	store_be32(t + 24, r->tsval);
	store_be32(t + 28, r->tsecr);
	if (r->flags & SYN)
		memcpy(t + 32, syn_options, sizeof(syn_options));
	if (n > 0)
		memcpy(t + tcp, r->text, n);
	uint32_t pseudo = (r->client_addr >> 16) + (r->client_addr & 0xffff) + (c->server >> 16) +
			  (c->server & 0xffff) + 6 + tcp + n;
	store_be16(t + 16, sum16(t, tcp + n, pseudo));
	c->queue[c->head % MASS_QUEUE].len = (uint16_t)(14 + 20 + tcp + n);
	c->head++;
}

// The worker asks for the router's address.
static void
answer_arp(struct mass *c, const uint8_t *f)
{
	if (load_be16(f + 20) != 1 || load_be32(f + 38) == c->server)
		return;
	uint8_t *a = c->queue[c->head % MASS_QUEUE].data;

	CHECK(c->head - c->tail < MASS_QUEUE);
	memcpy(a, f + 6, 6);
	memcpy(a + 6, c->port.mac, 6);
	a[11] = 1;
	store_be16(a + 12, 0x0806);
	memcpy(a + 14, f + 14, 6);
	store_be16(a + 20, 2);
	memcpy(a + 22, a + 6, 6);
	memcpy(a + 28, f + 38, 4);
	memcpy(a + 32, f + 22, 10);
	c->queue[c->head % MASS_QUEUE].len = 60;
	c->head++;
}

static void
answer(struct mass *c, const uint8_t *f, uint32_t len)
{
	const uint8_t *ip = f + 14, *t = ip + 20;

	if (load_be16(f + 12) == 0x0806) {
		answer_arp(c, f);
		return;
	}
	CHECK(len >= 54 && ip[9] == 6);
	uint32_t header = (uint32_t)(t[12] >> 4) * 4, n = load_be16(ip + 2) - 20u - header;
	const uint8_t *data = t + header;
	bool has_ts = header >= 32 && load_be32(t + 20) == 0x0101080a;
	struct reply r = {
		.client_addr = load_be32(ip + 16),
		.client_port = load_be16(t + 2),
		.seq = load_be32(t + 8),
		.ack = load_be32(t + 4) + n + !!(t[13] & SYN) + !!(t[13] & FIN),
		.flags = ACK,
	};
	if (t[13] & SYN) { // MSS, SACK permitted, timestamps
		has_ts = header >= 36 && load_be32(t + 24) == 0x0402080a;
		r.tsecr = has_ts ? load_be32(t + 28) : 0;
		r.tsval = has_ts ? load_be32(t + 32) + 1 : 0;
	} else if (has_ts) {
		r.tsecr = load_be32(t + 24);
		r.tsval = load_be32(t + 28) + 1;
	}
	if (t[13] & RST) {
		c->resets++;
		return;
	}
	if (n == 0 && (t[13] & (SYN | FIN)) == 0)
		return;
	if (n >= 4 && memcmp(data, "220 ", 4) == 0) {
		c->banners++;
		r.flags |= PSH;
		r.text = "EHLO client.example.com\r\n";
	} else if (n >= 4 && memcmp(data, "250-", 4) == 0) {
		c->idle++;
		if (c->is_quitting) {
			r.flags |= PSH;
			r.text = "QUIT\r\n";
		}
	} else if (n >= 4 && memcmp(data, "421 ", 4) == 0) {
		c->refused++;
	}
	if (t[13] & FIN) {
		c->closed++;
		r.flags |= FIN;
	}
	put(c, &r);
}

static uint16_t
mass_rx(struct port *p, struct frame *f, uint16_t most)
{
	struct mass *c = CONTAINER_OF(p, struct mass, port);
	uint16_t n = 0;

	// A frame stays where it is until the next call: answers are made at the other end.
	for (; n < most && n < MASS_QUEUE / 2 && c->tail != c->head; n++, c->tail++)
		f[n] = (struct frame){.data = c->queue[c->tail % MASS_QUEUE].data,
				      .len = c->queue[c->tail % MASS_QUEUE].len};
	return n;
}

static void
mass_rx_free(struct port *p, struct frame *f)
{
	(void)p;
	(void)f;
}

static bool
mass_tx_get(struct port *p, struct frame *f)
{
	struct mass *c = CONTAINER_OF(p, struct mass, port);

	*f = (struct frame){.data = c->tx};
	return c->head - c->tail < MASS_QUEUE - 2 * PORT_BURST;
}

static void
mass_tx_put(struct port *p, struct frame *f)
{
	answer(CONTAINER_OF(p, struct mass, port), f->data, f->len);
}

static uint32_t
mass_tx_flush(struct port *p)
{
	(void)p;
	return 0;
}

static const struct port_ops mass_ops = {
	.rx = mass_rx,
	.rx_free = mass_rx_free,
	.tx_get = mass_tx_get,
	.tx_put = mass_tx_put,
	.tx_flush = mass_tx_flush,
};

void
mass_init(struct mass *c, uint32_t server_addr, const uint8_t server_mac[6])
{
	*c = (struct mass){.port = {.ops = &mass_ops, .mtu = 1500}, .server = server_addr};
	memcpy(c->server_mac, server_mac, 6);
	memcpy(c->port.mac, server_mac, 6);
	c->queue = calloc(MASS_QUEUE, sizeof(*c->queue));
	CHECK(c->queue != NULL);
}

void
mass_fini(struct mass *c)
{
	free(c->queue);
	c->queue = NULL;
}

bool
mass_open(struct mass *c, uint32_t client)
{
	const struct reply syn = {
		.client_addr = FIRST_ADDR + client / MASS_PORTS,
		.client_port = (uint16_t)(FIRST_PORT + client % MASS_PORTS),
		.seq = ISS,
		.flags = SYN,
		.tsval = 1,
	};
	if (c->head - c->tail >= MASS_QUEUE / 4)
		return false;
	put(c, &syn);
	return true;
}

uint32_t
mass_pending(const struct mass *c)
{
	return c->head - c->tail;
}
