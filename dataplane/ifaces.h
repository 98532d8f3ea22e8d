// SPDX-License-Identifier: Apache-2.0
// ifaces: rows of machine.ports (networks of ours) and the devices that they live on.
//
// What for: several rows may be VLANs of one NIC, which is opened and polled once; everybody above
// counts in rows, port_dpdk in devices. Who calls it: boot, in the main thread. Memory: the
// caller's struct; the policy is borrowed for its life. What can go wrong: DPDK does not have a
// device: false and a reason.
#pragma once

#include "control/abi/policy.h"
#include "dataplane/net.h"

struct ifaces {
	const struct policy_view *view;
	uint32_t count; // rows
	uint32_t port_count;
	uint32_t port[POLICY_PORTS_MAX];  // by row: its device ..
	uint32_t first[POLICY_PORTS_MAX]; // .. by device: its first row ..
	uint16_t id[POLICY_PORTS_MAX];    // .. and the number that DPDK has for it
};

// After eal_start. Rows whose texts name one device, in whatever form, share it.
must_use bool ifaces_find(struct ifaces *f, const struct policy_view *v, struct strbuf *why);
bool ifaces_port_has_v6(const struct ifaces *f, uint32_t port); // on any of its VLANs
struct span ifaces_port_name(const struct ifaces *f, uint32_t port);
// Row i as a worker sees it, whose end of the row's device is `port`.
void ifaces_row(const struct ifaces *f, uint32_t i, struct port *port, struct net_iface *out);
