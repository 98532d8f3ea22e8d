// SPDX-License-Identifier: Apache-2.0
// pktport: a network interface of the kernel as a port: frames in and out in bursts, real time.
//
// What for: our own stack, and the simulated wire, against the Linux kernel without DPDK. Who
// calls it: one thread of a program that has CAP_NET_RAW in the interface's namespace. Memory: the
// caller's struct, about 200 KB; received frames are borrowed until rx_free, all of them before the
// next rx. What can go wrong: no such interface or no right: pktport_open says so in errno; the
// kernel has no room: the frame is dropped by tx_flush and counted; frames that are longer than
// PORT_FRAME_SIZE (an offload that was left on) are dropped and counted in `oversized`.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "dataplane/port.h"

#define PKTPORT_FRAME_SIZE 2048

struct pktport_burst {
	uint8_t data[PORT_BURST][PKTPORT_FRAME_SIZE];
	struct iovec iov[PORT_BURST];
	struct mmsghdr msg[PORT_BURST];
};

struct pktport {
	struct port port;
	int fd; // readable when frames are there; -1: closed
	uint32_t tx_count;
	uint64_t oversized;
	uint32_t dropped; // since the last tx_flush
	struct pktport_burst rx, tx;
};

must_use bool pktport_open(struct pktport *p, const char *interface);
void pktport_close(struct pktport *p);
