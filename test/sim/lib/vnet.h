// SPDX-License-Identifier: Apache-2.0
// vnet: an Ethernet in memory with a virtual clock: links of two impaired directions (impair.h),
// whose ends are ports; and hosts made of our own net and TCP on such an end.
//
// What for: tests, simulation and benches drive the real dataplane without NIC and without waiting.
// Who calls it: one thread. Memory: heap at open, nothing afterwards; a frame lives in one of the
// link's slots from tx_get to rx_free, so a clean link copies nothing. What can go wrong: the
// link's queue is full: the frame is dropped, and port_tx_flush says so. All chance comes from the
// seed of vnet_open: the same calls give the same frames.
#pragma once

#include "control/base/span.h"
#include "dataplane/net.h"
#include "dataplane/port.h"
#include "test/sim/lib/impair.h"

#define VNET_LINKS_MAX 16
#define VNET_START_US 1000000ull // the clock's first value

enum vnet_end { VNET_A, VNET_B };

struct vnet;
struct vnet_link;

// Sees every frame as it was sent, before the path harms it.
typedef void (*vnet_tap_fn)(void *ctx, struct span frame, enum vnet_end from, uint64_t now_us);

struct vnet *must_use vnet_open(uint64_t seed);
void vnet_close(struct vnet **v); // with its links
uint64_t vnet_now(const struct vnet *v);
void vnet_advance(struct vnet *v, uint64_t us);
void vnet_advance_to(struct vnet *v, uint64_t now_us); // never back
uint64_t vnet_next_us(const struct vnet *v); // the earliest delivery; UINT64_MAX: nothing under way

// a_to_b, b_to_a: NULL: perfect. The ends' station addresses are 02:00:00:00:<link>:<end>.
struct vnet_link *must_use vnet_link_open(struct vnet *v, const struct vnet_path *a_to_b,
					  const struct vnet_path *b_to_a);
struct port *vnet_port(struct vnet_link *l, enum vnet_end end);
// Another path from now on; what is under way stays so. queue_frames is ignored.
void vnet_link_set(struct vnet_link *l, enum vnet_end from, const struct vnet_path *p);
void vnet_link_tap(struct vnet_link *l, vnet_tap_fn tap, void *ctx);
const struct vnet_stats *vnet_link_stats(const struct vnet_link *l, enum vnet_end from);
// Frames that ends hold: received and not freed, or got and not sent.
uint32_t vnet_link_held(const struct vnet_link *l);
// Puts a frame on the wire as if `from` had sent it: raw packets of tests.
bool vnet_inject(struct vnet_link *l, enum vnet_end from, struct span frame);

struct vnet_host_args {
	struct vnet_link *link;
	enum vnet_end end;
	struct port *port;              // instead of link and end, if it is not NULL
	uint64_t now_us;                // the time, if vnet_host_open's v is NULL
	struct ipaddr addr, gateway;    // gateway all zero: none
	uint8_t prefix_bits;            // of the 128-bit form
	const struct net_iface *ifaces; // instead of the three above; the port is filled in
	uint32_t iface_count;           // 0: one untagged, with the address above
	uint32_t conns_max;             // 0: 256
	uint32_t chunks;                // 0: 4096
	uint32_t window_bytes;          // 0: 65536
	uint32_t window_bytes_max;      // 0: it stays as it begins
	uint32_t keepalive_s;           // 0: 7200
	uint64_t seed;
};

// A machine at an end of a link: a client, or a mail server. Its tcp is used like the worker's own.
struct vnet_host {
	struct vnet *v;
	struct port *port;
	struct net *net;
	struct tcp *tcp;
	struct chunk_pool chunks;
	struct counters counters;
};

must_use bool vnet_host_open(struct vnet_host *h, struct vnet *v,
			     const struct vnet_host_args *args);
void vnet_host_close(struct vnet_host *h);
uint32_t vnet_host_poll(struct vnet_host *h, uint64_t now_us); // returns the work done
uint64_t vnet_host_next_us(const struct vnet_host *h);         // its earliest timer
