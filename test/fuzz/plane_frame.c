// SPDX-License-Identifier: Apache-2.0
// Fuzz target: frames from the wire into a host's net and TCP. The input is a list of frames: a
// byte of flags, two bytes of length, the bytes. Flag bits: 1 repair the IPv4 header (checksum), 2
// repair the TCP or ICMP checksum too, 4 a second passes, 8 the frame is a copy (FRAME_LEARN_ONLY),
// 16 address the frame to us. What is checked: our CHECKs and the sanitizers; that every frame sent
// is sound; that nothing is sent for a copy; that no more frames leave than are allowed for one
// that came in.
#include <stdint.h>
#include <string.h>

#include "control/base/bytes.h"
#include "test/sim/lib/vnet.h"

#define US 0x0a000001u
#define ANSWERS_MAX                                                                                \
	70u // one frame may teach an address for which a connection's whole window waits

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t
sum16(const uint8_t *p, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i++)
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void
repair(uint8_t *f, uint32_t n, uint8_t flags)
{
	uint8_t *ip = f + 14;

	if (n < 34 || load_be16(f + 12) != 0x0800)
		return;
	uint32_t size = (ip[0] & 15u) * 4, total = load_be16(ip + 2);
	if (size < 20 || total < size || total > n - 14)
		return;
	if ((flags & 2) != 0 && ip[9] == 6 && total >= size + 20) {
		uint32_t sum = sum16(ip + 12, 8, 0) + 6 + (total - size);
		store_be16(ip + size + 16, 0);
		store_be16(ip + size + 16, (uint16_t)~sum16(ip + size, total - size, sum));
	}
	if ((flags & 2) != 0 && ip[9] == 1 && total >= size + 8) {
		store_be16(ip + size + 2, 0);
		store_be16(ip + size + 2, (uint16_t)~sum16(ip + size, total - size, 0));
	}
	store_be16(ip + 10, 0);
	store_be16(ip + 10, (uint16_t)~sum16(ip, size, 0));
}

static void
sent_frame(void *ctx, struct span f, enum vnet_end from, uint64_t now_us)
{
	uint32_t *count = ctx;

	(void)now_us;
	if (from != VNET_A)
		return;
	(*count)++;
	CHECK(f.n >= 42);
	CHECK((f.p[6] & 1) == 0);
	if (load_be16(f.p + 12) == 0x0806) {
		CHECK(load_be32(f.p + 28) == US);
		return;
	}
	const uint8_t *ip = f.p + 14;
	uint32_t total = load_be16(ip + 2);
	CHECK(load_be16(f.p + 12) == 0x0800);
	CHECK(f.n == 14 + total);
	CHECK(sum16(ip, 20, 0) == 0xffff);
	CHECK(load_be32(ip + 12) == US);
	CHECK((f.p[0] & 1) == 0); // no answer to a group
	if (ip[9] == 6)
		CHECK(sum16(ip + 20, total - 20, sum16(ip + 12, 8, 0) + 6 + (total - 20)) ==
		      0xffff);
	else
		CHECK(sum16(ip + 20, total - 20, 0) == 0xffff);
}

static uint32_t
take_all(void *user, struct tcp_conn *c, struct span data)
{
	(void)user;
	(void)tcp_conn_write(c, data); // an echo service
	return data.n;
}

static void
close_too(void *user, struct tcp_conn *c)
{
	(void)user;
	tcp_conn_close(c);
}

static void
nothing(void *user, struct tcp_conn *c)
{
	(void)user;
	(void)c;
}

static void
ended(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	(void)user;
	(void)c;
	(void)why;
}

static const struct tcp_user_ops echo_ops = {
	.open = nothing, .recv = take_all, .sent = nothing, .eof = close_too, .gone = ended};

static void *
accept_any(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	(void)c;
	*ops = &echo_ops;
	return ctx;
}

static void
frame_in(struct vnet_host *h, struct vnet_link *l, uint8_t flags, uint8_t *bytes, uint32_t n,
	 uint32_t *sent)
{
	struct vnet *v = h->v;
	const struct frame copy = {.data = bytes, .len = n, .flags = FRAME_LEARN_ONLY};

	if ((flags & 16) != 0 && n >= 6)
		memcpy(bytes, h->port->mac, 6);
	if ((flags & 3) != 0)
		repair(bytes, n, flags);
	if ((flags & 4) != 0)
		vnet_advance(v, 1000000);
	vnet_host_poll(h, vnet_now(v));
	*sent = 0;
	if ((flags & 8) != 0) {
		net_input(h->net, 0, &copy);
		CHECK(*sent == 0);
		return;
	}
	CHECK(vnet_inject(l, VNET_B, span_of(bytes, n)));
	vnet_host_poll(h, vnet_now(v));
	CHECK(*sent <= ANSWERS_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vnet *v = vnet_open(1);
	const struct vnet_path small = {.queue_frames = 128};
	struct vnet_link *l = vnet_link_open(v, &small, &small);
	struct vnet_host h;
	uint32_t sent = 0;
	uint8_t bytes[PORT_FRAME_SIZE];
	struct frame got[PORT_BURST];
	const struct vnet_host_args args = {.link = l,
					    .end = VNET_A,
					    .addr = ipaddr_v4(US),
					    .gateway = ipaddr_v4(US + 253),
					    .prefix_bits = 120,
					    .conns_max = 16,
					    .chunks = 64,
					    .seed = 1};

	CHECK(vnet_host_open(&h, v, &args));
	CHECK(tcp_listen(h.tcp, TCP_SIDE_ANY, 25, accept_any, &h));
	vnet_link_tap(l, sent_frame, &sent);
	while (size >= 3) {
		uint8_t flags = data[0];
		uint32_t n = MIN(load_be16(data + 1), MIN(size - 3, sizeof(bytes)));
		memcpy(bytes, data + 3, n);
		data += 3 + n;
		size -= 3 + n;
		frame_in(&h, l, flags, bytes, n, &sent);
		struct port *b = vnet_port(l, VNET_B);
		for (uint32_t k = b->ops->rx(b, got, PORT_BURST); k > 0; k--)
			b->ops->rx_free(b, &got[k - 1]);
	}
	vnet_host_close(&h);
	vnet_close(&v);
	return 0;
}
