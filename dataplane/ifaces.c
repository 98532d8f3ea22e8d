// SPDX-License-Identifier: Apache-2.0
// ifaces: runs in the main thread.

#include "dataplane/ifaces.h"

#include "dataplane/eal.h"

static_assert(POLICY_PORTS_MAX <= NET_IFACES_MAX, "every row is an interface");
static_assert(POLICY_PORT_ADDRS_MAX <= NET_ADDRS_MAX, "every address has a place");

bool
ifaces_find(struct ifaces *f, const struct policy_view *v, struct strbuf *why)
{
	*f = (struct ifaces){.view = v, .count = v->count[POLICY_PORTS]};
	CHECK(f->count > 0);
	CHECK(f->count <= POLICY_PORTS_MAX);
	for (uint32_t i = 0; i < f->count; i++) {
		uint32_t k = 0;
		uint16_t id;
		if (!eal_port_find(v, i, &id, why))
			return false;
		while (k < f->port_count && f->id[k] != id)
			k++;
		f->port[i] = k;
		if (k < f->port_count)
			continue;
		f->id[k] = id;
		f->first[k] = i;
		f->port_count++;
	}
	return true;
}

bool
ifaces_port_has_v6(const struct ifaces *f, uint32_t port)
{
	CHECK(port < f->port_count);
	for (uint32_t i = 0; i < f->count; i++)
		if (f->port[i] == port && policy_port_has_v6(&f->view->ports[i]))
			return true;
	return false;
}

struct span
ifaces_port_name(const struct ifaces *f, uint32_t port)
{
	CHECK(port < f->port_count);
	return policy_text(f->view, f->view->ports[f->first[port]].name);
}

void
ifaces_row(const struct ifaces *f, uint32_t i, struct port *port, struct net_iface *out)
{
	CHECK(i < f->count);
	const struct policy_port *p = &f->view->ports[i];

	CHECK(p->addr_count > 0);
	CHECK(p->addr_count <= POLICY_PORT_ADDRS_MAX);
	*out = (struct net_iface){
		.port = port, .vlan = (uint16_t)p->vlan, .addr_count = p->addr_count};
	for (uint32_t k = 0; k < p->addr_count; k++)
		out->addr[k] = (struct net_addr){p->addr[k].addr, p->addr[k].gateway,
						 (uint8_t)p->addr[k].prefix_bits};
}
