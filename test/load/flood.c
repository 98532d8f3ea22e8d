// SPDX-License-Identifier: Apache-2.0
// flood: an attacker: SYNs from forged addresses and garbage, as fast as one core sends them.
//
//   flood INTERFACE MAC SERVER_IP PORT SECONDS [MIX]     MIX: percent that are SYNs; 90
//
// Sources are random addresses of 10.0.0.0/8, so every SYN is another stranger. Garbage is: random
// bytes as a frame, as an IP packet, as a TCP segment with a right checksum to the open port,
// truncated frames, ARP and IPv6 nonsense. Prints "frames N seconds S" at the end. It sends on the
// given interface only.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "control/base/bytes.h"
#include "control/base/rng.h"
#include "test/sim/lib/framesum.h"

#define BURST 64
#define FRAME 128

static uint8_t frame[BURST][FRAME];
static struct iovec iov[BURST];
static struct mmsghdr msg[BURST];
static uint8_t server_mac[6];
static uint32_t server_ip;
static uint16_t server_port;

// Ethernet, IPv4 and TCP around whatever stands behind byte 14 + 20; returns the frame's length.
static uint32_t
wrap(uint8_t *f, struct rng *r, uint32_t tcp_size)
{
	uint8_t *ip = f + 14, *t = ip + 20;
	uint32_t src = 0x0a000000u | (rng_below(r, 1u << 24));

	memcpy(f, server_mac, 6);
	memcpy(f + 6, "\x02\x66\x6c\x6f\x6f\x64", 6);
	store_be16(f + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)(20 + tcp_size));
	ip[8] = 64;
	ip[9] = 6;
	store_be32(ip + 12, src);
	store_be32(ip + 16, server_ip);
	store_be16(ip + 10, (uint16_t)~framesum(ip, 20, 0));
	store_be16(t + 2, server_port);
	store_be16(t + 16, 0);
	store_be16(t + 16,
		   (uint16_t)~framesum(t, tcp_size, framesum_add(6 + tcp_size, ip + 12, 8)));
	return 34 + tcp_size;
}

static uint32_t
make_syn(uint8_t *f, struct rng *r)
{
	static const uint8_t options[20] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
					    0, 9, 0, 0,    0, 0, 1, 3,  3, 7};
	uint8_t *t = f + 34;

	memset(t, 0, 20);
	store_be16(t, (uint16_t)(1024 + rng_below(r, 60000)));
	store_be32(t + 4, (uint32_t)rng_next(r));
	t[12] = 10 << 4;
	t[13] = 2;
	store_be16(t + 14, 64240);
	memcpy(t + 20, options, sizeof(options));
	return wrap(f, r, 40);
}

static uint32_t
make_garbage(uint8_t *f, struct rng *r)
{
	uint32_t n = 20 + rng_below(r, FRAME - 34 - 20);

	for (uint32_t i = 0; i < FRAME; i += 8) {
		uint64_t v = rng_next(r);
		memcpy(f + i, &v, 8);
	}
	switch (rng_below(r, 6)) {
	case 0: // a segment: any flags, any options
		return wrap(f, r, n);
	case 1: // cut off
		(void)wrap(f, r, n);
		return 14 + rng_below(r, 40);
	case 2: // an IPv4 packet of random bytes
		memcpy(f, server_mac, 6);
		f[6] &= 0xfe;
		store_be16(f + 12, 0x0800);
		f[14] = 0x45;
		return 34 + rng_below(r, FRAME - 34);
	case 3:
		memset(f, 0xff, 6);
		f[6] &= 0xfe;
		store_be16(f + 12, 0x0806);
		return 60;
	case 4:
		memcpy(f, server_mac, 6);
		f[6] &= 0xfe;
		store_be16(f + 12, 0x86dd);
		f[14] = 0x60;
		return 54 + rng_below(r, FRAME - 54);
	default:
		return 14 + rng_below(r, FRAME - 14);
	}
}

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	struct rng r;
	struct in_addr ip;
	unsigned mac[6];

	if (argc < 6 || inet_pton(AF_INET, argv[3], &ip) != 1 ||
	    sscanf(argv[2], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		   &mac[5]) != 6) {
		(void)fprintf(stderr, "usage: flood INTERFACE MAC SERVER_IP PORT SECONDS [MIX]\n");
		return 2;
	}
	for (int i = 0; i < 6; i++)
		server_mac[i] = (uint8_t)mac[i];
	server_ip = ntohl(ip.s_addr);
	server_port = (uint16_t)strtoul(argv[4], NULL, 10);
	double seconds = strtod(argv[5], NULL);
	uint32_t mix = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 10) : 90;
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex(argv[1])};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || to.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
		perror(argv[1]);
		return 1;
	}
	rng_init(&r, 1);
	for (int i = 0; i < BURST; i++) {
		iov[i].iov_base = frame[i];
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	double begin = now(), end = begin;
	unsigned long sent = 0;
	while (end - begin < seconds) {
		for (int i = 0; i < BURST; i++)
			iov[i].iov_len = rng_below(&r, 100) < mix ? make_syn(frame[i], &r)
								  : make_garbage(frame[i], &r);
		int n = sendmmsg(fd, msg, BURST, 0);
		if (n > 0)
			sent += (unsigned long)n;
		end = now();
	}
	printf("frames %lu seconds %.3f\n", sent, end - begin);
	(void)close(fd);
	return 0;
}
