// SPDX-License-Identifier: Apache-2.0
// mass: a million SMTP clients behind one port, without memory for any of them.
//
// What for: benchmarks of very many sessions. Each frame that the worker sends is answered from
// what stands in it alone: SYN-ACK by ACK, banner by EHLO, its reply by nothing (the session is
// idle then) or by QUIT, FIN by FIN. Who calls it: one thread. Memory: the frames on their way, on
// the heap. What can go wrong: the queue of answers is full: mass_open says no, and the caller
// polls first. Client number n has the address 10.0.0.1 + n / MASS_PORTS and one of MASS_PORTS
// ports.
#pragma once

#include "dataplane/port.h"

#define MASS_PORTS 16u // sessions of one client address
#define MASS_QUEUE 8192u

struct mass {
	struct port port;
	uint32_t server; // IPv4 address, TCP port 25
	uint8_t server_mac[6];
	bool is_quitting; // answer the EHLO reply with QUIT
	uint64_t banners, idle, closed, resets, refused;
	uint32_t head, tail; // of the ring of answers
	struct {
		uint16_t len;
		uint8_t data[126];
	} * queue;
	uint8_t tx[PORT_FRAME_SIZE];
};

void mass_init(struct mass *c, uint32_t server_addr, const uint8_t server_mac[6]);
void mass_fini(struct mass *c);
must_use bool mass_open(struct mass *c, uint32_t client); // sends its SYN; false: not now
uint32_t mass_pending(const struct mass *c);
